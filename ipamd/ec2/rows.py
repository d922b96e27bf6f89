"""What a cloud remembers: frozen rows, each the whole of one thing after a change.

A change is a few rows; installing them in order rebuilds the cloud, whatever code chose the addresses. Rows
are also what the embedded cloud's log holds. Identifiers come from a hash of (seed, kind, serial), so the
same calls on the same seed give the same names.
"""

from __future__ import annotations

import hashlib
from typing import TypeAlias

import msgspec

from ipamd.core.calls import CreatedEni, CreateNetworkInterface
from ipamd.core.types import CidrText, EniId, Instant, Ipv4Text

from .limits import Limits


class _Row(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type"):
    """Frozen, compared by value, encoded with its class name in the member `type`."""


class VpcRow(_Row, frozen=True, tag=True):
    """The VPC: its CIDRs, first one primary, and the group that ENIs without groups get."""

    vpc: str
    region: str
    cidrs: tuple[CidrText, ...]
    default_group: str


class SubnetRow(_Row, frozen=True, tag=True):
    """One subnet of the VPC."""

    subnet: str
    cidr: CidrText
    zone: str
    tags: dict[str, str] = {}


class InstanceRow(_Row, frozen=True, tag=True):
    """One running instance. Its limits are written down, so a newer table does not change a running cloud."""

    instance: str
    instance_type: str
    zone: str
    limits: Limits
    primary_eni: EniId
    launched_at: Instant = 0


class EniRow(_Row, frozen=True, tag=True):
    """One ENI. `addresses[0]` is the primary one; an empty `attachment` means unattached (`available`)."""

    eni: EniId
    mac: str
    subnet: str
    created_at: Instant
    addresses: tuple[Ipv4Text, ...]
    prefixes: tuple[CidrText, ...] = ()
    security_groups: tuple[str, ...] = ()
    description: str = ""
    tags: dict[str, str] = {}
    interface_type: str = "interface"
    attachment: str = ""
    instance: str = ""
    device: int = -1
    card: int = 0
    delete_on_termination: bool = False

    @property
    def status(self) -> str:
        """EC2's word: `in-use` while attached, else `available`."""
        return "in-use" if self.attachment else "available"

    @property
    def slots(self) -> int:
        """IPv4 slots in use: each address and each prefix counts one (LIM-1)."""
        return len(self.addresses) + len(self.prefixes)


class EniGone(_Row, frozen=True, tag=True):
    """The ENI was deleted; its addresses are free."""

    eni: EniId


class TokenRow(_Row, frozen=True, tag=True):
    """A client token that was used, with what it was sent with and what it made."""

    token: str
    call: CreateNetworkInterface
    result: CreatedEni
    at: Instant


Row: TypeAlias = VpcRow | SubnetRow | InstanceRow | EniRow | EniGone | TokenRow


def identifier(kind: str, seed: int, serial: int) -> str:
    """An EC2 id of the long form: `eni-0` and 16 hex digits, and so for every kind."""
    return f"{kind}-0{_hash(kind, seed, serial)[:16]}"


def mac_address(seed: int, serial: int) -> str:
    """A locally administered unicast MAC, as ENIs have: `02:` and five bytes."""
    text = _hash("mac", seed, serial)
    return ":".join(("02", *(text[i : i + 2] for i in range(0, 10, 2))))


def draw(concern: str, seed: int, serial: int) -> int:
    """A 64-bit number that looks random and is a function of its arguments alone."""
    return int(_hash(concern, seed, serial)[:16], 16)


def _hash(concern: str, seed: int, serial: int) -> str:
    return hashlib.blake2b(f"{concern}/{seed}/{serial}".encode(), digest_size=16).hexdigest()
