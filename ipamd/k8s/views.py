"""What ipamd sees of the cluster's objects: the few fields it reads, each typed.

`version` is the object's resourceVersion, an opaque text.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from ipamd.core.kube import CUSTOM_NETWORKING as CUSTOM_NETWORKING
from ipamd.core.kube import POD_IPS as POD_IPS
from ipamd.core.kube import SECURITY_GROUPS_FOR_PODS as SECURITY_GROUPS_FOR_PODS
from ipamd.core.types import Instant

POD_ENI: Final = "vpc.amazonaws.com/pod-eni"
"""Annotation of a pod: its branch ENIs, written by the VPC resource controller (SGP-1). Also the resource's name."""


class PodView(msgspec.Struct, frozen=True):
    """A pod."""

    namespace: str
    name: str
    uid: str = ""
    version: str = ""
    node: str = ""
    host_network: bool = False
    phase: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    ips: tuple[str, ...] = ()
    deleting: bool = False
    first_limits: tuple[str, ...] = ()
    """Names of the resources that the first container has limits of (RPC-23)."""

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


class Taint(msgspec.Struct, frozen=True):
    """A taint of a node."""

    key: str
    effect: str = ""
    value: str = ""


class NodeView(msgspec.Struct, frozen=True):
    """A node (EV-5)."""

    name: str
    version: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False
    capacity: dict[str, str] = {}

    @property
    def key(self) -> str:
        """The name."""
        return self.name

    @property
    def pods_max(self) -> int | None:
        """The pods that the node takes, None if it does not say so in a whole number (INIT-7)."""
        text = self.capacity.get("pods", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


class EniConfigView(msgspec.Struct, frozen=True):
    """An ENIConfig: where new ENIs are made with custom networking (POOL-41)."""

    name: str
    version: str = ""
    subnet: str = ""
    security_groups: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The name."""
        return self.name


class Feature(msgspec.Struct, frozen=True):
    """One feature of a CNINode (SGP-2)."""

    name: str
    value: str = ""


class CniNodeView(msgspec.Struct, frozen=True):
    """A CNINode: what ipamd tells the VPC resource controller of its node (SGP-2)."""

    name: str
    version: str = ""
    features: tuple[Feature, ...] = ()

    @property
    def key(self) -> str:
        """The name."""
        return self.name


View: TypeAlias = PodView | NodeView | EniConfigView | CniNodeView


class Regarding(msgspec.Struct, frozen=True):
    """The pod that an event is about; all empty if it could not be looked up (EV-1)."""

    namespace: str = ""
    name: str = ""
    uid: str = ""
    version: str = ""


class EventNote(msgspec.Struct, frozen=True):
    """An event to be recorded (EV-1)."""

    reason: str
    action: str
    note: str
    at: Instant
    regarding: Regarding = Regarding()
    type: str = "Warning"
    controller: str = "aws-node"
    instance: str = "aws-node"


class ServerVersion(msgspec.Struct, frozen=True):
    """What the API server calls itself."""

    version: str
    platform: str = ""
