"""What a cloud remembers: frozen rows, each the whole of one thing after a change.

A change is a few rows; installing them in order rebuilds the cloud, whatever code chose the addresses. Rows
are also what the embedded cloud's log holds. Identifiers come from a hash of (seed, kind, serial), so the
same calls on the same seed give the same names.
"""

from __future__ import annotations

import hashlib
from typing import TypeAlias

import msgspec

from ipamd.core.calls import CreatedEni
from ipamd.core.calls import CreateNetworkInterface as CoreCreation
from ipamd.core.types import CidrText, ConnectionTracking, EniId, Instant, Ipv4Text

from . import answers
from .limits import Limits
from .requests import AssociateTrunkInterface, CreateNetworkInterface, RunInstances


class _Row(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type"):
    """Frozen, compared by value, encoded with its class name in the member `type`."""


class VpcRow(_Row, frozen=True, tag=True):
    """A VPC: its CIDRs, first one primary, and the group that ENIs without groups get."""

    vpc: str
    region: str
    cidrs: tuple[CidrText, ...]
    default_group: str
    ipv6_cidr: CidrText = ""
    tags: dict[str, str] = {}


class VpcGone(_Row, frozen=True, tag=True):
    """The VPC was deleted, its default group with it."""

    vpc: str


class SubnetRow(_Row, frozen=True, tag=True):
    """One subnet; `vpc` "" is the first VPC, as logs of before there were several have it."""

    subnet: str
    cidr: CidrText
    zone: str
    tags: dict[str, str] = {}
    vpc: str = ""
    ipv6_cidr: CidrText = ""


class SubnetGone(_Row, frozen=True, tag=True):
    """The subnet was deleted, its reservations with it."""

    subnet: str


class ReservationRow(_Row, frozen=True, tag=True):
    """A range of a subnet, IPv4 or IPv6, that is kept for `prefix` or `explicit` use."""

    reservation: str
    subnet: str
    cidr: CidrText
    reservation_type: str
    description: str = ""
    tags: dict[str, str] = {}


class ReservationGone(_Row, frozen=True, tag=True):
    """The reservation was deleted; what is in use stays in use."""

    reservation: str


class GroupRow(_Row, frozen=True, tag=True):
    """One security group, without its rules."""

    group: str
    name: str
    vpc: str
    description: str = ""
    tags: dict[str, str] = {}


class GroupGone(_Row, frozen=True, tag=True):
    """The security group was deleted."""

    group: str


class InstanceRow(_Row, frozen=True, tag=True):
    """One instance, running, or (`terminated_at` > 0) gone but still shown.

    Its limits are written down, so a newer table does not change a running cloud.
    """

    instance: str
    instance_type: str
    zone: str
    limits: Limits
    primary_eni: EniId
    launched_at: Instant = 0
    tags: dict[str, str] = {}
    terminated_at: Instant = 0


class EniRow(_Row, frozen=True, tag=True):
    """One ENI. `addresses[0]` is the primary one; an efa-only ENI has none.

    An empty `attachment` means unattached. `association`, `trunk` and `vlan` are those of a branch on its trunk.
    """

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
    ipv6_addresses: tuple[str, ...] = ()
    ipv6_prefixes: tuple[CidrText, ...] = ()
    source_dest_check: bool = True
    attached_at: Instant = 0
    association: str = ""
    trunk: EniId = ""
    vlan: int = 0
    tracking: ConnectionTracking | None = None

    @property
    def status(self) -> str:
        """EC2's word: `in-use` while attached, `associated` on a trunk, else `available`."""
        return "in-use" if self.attachment else "associated" if self.association else "available"

    @property
    def slots(self) -> int:
        """IPv4 slots in use: each address and each prefix counts one (LIM-1)."""
        return len(self.addresses) + len(self.prefixes)

    @property
    def ipv6_slots(self) -> int:
        """IPv6 slots in use, counted in the same way."""
        return len(self.ipv6_addresses) + len(self.ipv6_prefixes)


class EniGone(_Row, frozen=True, tag=True):
    """The ENI was deleted; its addresses are free."""

    eni: EniId


class TokenRow(_Row, frozen=True, tag=True):
    """A client token as logs of before `UsedToken` have it: read, never written."""

    token: str
    call: CoreCreation
    result: CreatedEni
    at: Instant


class UsedToken(_Row, frozen=True, tag=True):
    """A client token that was used, with what it was sent with and what was answered."""

    token: str
    request: CreateNetworkInterface | RunInstances | AssociateTrunkInterface
    answer: answers.NetworkInterface | answers.Launched | answers.TrunkAssociation
    at: Instant


Row: TypeAlias = (
    VpcRow | VpcGone | SubnetRow | SubnetGone | ReservationRow | ReservationGone | GroupRow | GroupGone
    | InstanceRow | EniRow | EniGone | TokenRow | UsedToken
)


class Effect(msgspec.Struct, frozen=True):
    """What a request is answered, and the rows that its effect is; without rows it changes nothing."""

    answer: answers.Answer
    rows: tuple[Row, ...] = ()
    settled: bool = False
    """Whether instance metadata shows it at once: how an instance begins."""


def identifier(kind: str, seed: int, serial: int, n: int = 0) -> str:
    """An EC2 id of the long form: `eni-0` and 16 hex digits, and so for every kind.

    `n` tells the ids of one change apart.
    """
    return f"{kind}-0{_hash(f'{kind}/{n}' if n else kind, seed, serial)[:16]}"


def association_id(kind: str, resource: str, cidr: CidrText) -> str:
    """The id of a CIDR's association with its VPC or subnet, a function of both."""
    return f"{kind}-0{_hash(f'{resource} {cidr}', 0, 0)[:16]}"


def mac_address(seed: int, serial: int) -> str:
    """A locally administered unicast MAC, as ENIs have: `02:` and five bytes."""
    text = _hash("mac", seed, serial)
    return ":".join(("02", *(text[i : i + 2] for i in range(0, 10, 2))))


def draw(concern: str, seed: int, serial: int) -> int:
    """A 64-bit number that looks random and is a function of its arguments alone."""
    return int(_hash(concern, seed, serial)[:16], 16)


def _hash(concern: str, seed: int, serial: int) -> str:
    return hashlib.blake2b(f"{concern}/{seed}/{serial}".encode(), digest_size=16).hexdigest()
