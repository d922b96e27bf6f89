"""The door to a cloud, as the runtime sees it: one method that changes something, one that reads.

Every backend (embedded, moto, AWS) is bound to one instance: `AttachNetworkInterface` attaches to it,
`ReadMetadata` and `DescribeInstances` are about it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol, TypeAlias

from ipamd.core.calls import (
    DescribeInstances,
    DescribeNetworkInterfaces,
    DescribeSubnets,
    Ec2Call,
    FindNetworkInterfaces,
    ReadMetadata,
    Result,
    View,
)
from ipamd.core.settings import Node
from ipamd.core.types import CallId

from .requests import Request

Ec2Look: TypeAlias = (
    ReadMetadata | DescribeNetworkInterfaces | FindNetworkInterfaces | DescribeInstances | DescribeSubnets
)
"""The looks a cloud answers; `ReadLinks` is the host's."""


class Feature(StrEnum):
    """What a backend serves beyond single addresses; a scenario that needs an absent one is not run on it."""

    IPV4_PREFIXES = "ipv4-prefixes"
    INSTANCE_METADATA = "instance-metadata"
    LIMITS = "limits"
    """Limits per ENI and per instance type are enforced."""


class Ec2Error(Exception):
    """The API (or instance metadata) refused: there is no effect."""

    def __init__(self, operation: str, code: str, message: str) -> None:
        super().__init__(": ".join(part for part in (operation, code, message) if part))
        self.operation = operation
        self.code = code
        """EC2's own code; "" where the error is not EC2's."""
        self.message = message


class Ec2Lost(Exception):
    """No answer came: a timeout or a broken connection. The effect of a call is unknown."""

    def __init__(self, operation: str, why: str) -> None:
        super().__init__(f"{operation}: no answer: {why}")
        self.operation = operation
        self.why = why


class Ec2(Protocol):
    """One instance's view of EC2 and of its instance metadata."""

    @property
    def features(self) -> frozenset[Feature]:
        """What this backend serves."""
        ...

    async def call(self, call: Ec2Call, call_id: CallId | None = None) -> Result:
        """Perform one call. Raises `Ec2Error` (no effect) or `Ec2Lost` (effect unknown).

        `call_id` is for the backend's own log; idempotence comes from the call's client token alone.
        """
        ...

    async def look(self, look: Ec2Look) -> View:
        """Read once, without retry. Raises `Ec2Error` or `Ec2Lost`."""
        ...

    async def node(self) -> Node:
        """Facts of the instance, as instance metadata and its type tell them (INIT-9, INIT-12)."""
        ...

    async def close(self) -> None:
        """End: what was answered is kept, whoever waits is answered or cancelled."""
        ...


def operation(request: Ec2Call | Ec2Look | Request) -> str:
    """EC2's name of the action; an unattached-ENI search is DescribeNetworkInterfaces with filters."""
    if isinstance(request, FindNetworkInterfaces):
        return "DescribeNetworkInterfaces"
    return type(request).__name__
