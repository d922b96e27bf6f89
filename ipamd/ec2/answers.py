"""What the VPC model answers to `requests`: descriptions of things, and what a change gave.

A refusal is `ipamd.core.calls.Failed` (EC2's code and message), a lost reply is `Lost`.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ipamd.core.types import CidrText, ConnectionTracking, EniId, Instant, Ipv4Text

Tags: TypeAlias = dict[str, str]


class _Answer(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type"):
    """Frozen, compared by value, encoded with its class name in the member `type`."""


class Association(msgspec.Struct, frozen=True, omit_defaults=True):
    """A CIDR of a VPC or a subnet, with the id of its association."""

    association: str
    cidr: CidrText


class Vpc(_Answer, frozen=True, tag=True):
    """One VPC; `cidrs[0]` is the primary one."""

    vpc: str
    cidrs: tuple[Association, ...]
    ipv6_cidrs: tuple[Association, ...] = ()
    default_group: str = ""
    owner: str = ""
    tags: Tags = {}


class Subnet(_Answer, frozen=True, tag=True):
    """One subnet. `free` is AvailableIpAddressCount: IPv4 addresses that no ENI has."""

    subnet: str
    vpc: str
    cidr: CidrText
    zone: str
    free: int
    ipv6_cidrs: tuple[Association, ...] = ()
    owner: str = ""
    tags: Tags = {}


class CidrReservation(_Answer, frozen=True, tag=True):
    """One reserved range of a subnet; `reservation_type` is `prefix` or `explicit`."""

    reservation: str
    subnet: str
    cidr: CidrText
    reservation_type: str
    owner: str = ""
    description: str = ""
    tags: Tags = {}

    @property
    def ipv6(self) -> bool:
        return ":" in self.cidr


class NetworkInterface(_Answer, frozen=True, tag=True):
    """One ENI. `addresses[0]` is the primary IPv4 address; an efa-only ENI has none."""

    eni: EniId
    mac: str
    subnet: str
    vpc: str = ""
    zone: str = ""
    owner: str = ""
    status: str = "available"
    """`available`, `in-use` (attached) or `associated` (a branch on its trunk)."""
    interface_type: str = "interface"
    addresses: tuple[Ipv4Text, ...] = ()
    prefixes: tuple[CidrText, ...] = ()
    ipv6_addresses: tuple[str, ...] = ()
    ipv6_prefixes: tuple[CidrText, ...] = ()
    security_groups: tuple[str, ...] = ()
    description: str = ""
    source_dest_check: bool = True
    attachment: str = ""
    instance: str = ""
    device: int = -1
    card: int = 0
    delete_on_termination: bool = False
    attached_at: Instant = 0
    created_at: Instant = 0
    tags: Tags = {}
    tracking: ConnectionTracking | None = None


class TrunkAssociation(_Answer, frozen=True, tag=True):
    """A branch ENI on its trunk."""

    association: str
    branch: EniId
    trunk: EniId
    vlan: int


class Instance(_Answer, frozen=True, tag=True):
    """One instance with its ENIs by card and device; `state` is `running` or `terminated`."""

    instance: str
    instance_type: str
    zone: str
    state: str = "running"
    vpc: str = ""
    subnet: str = ""
    primary: Ipv4Text = ""
    interfaces: tuple[NetworkInterface, ...] = ()
    launched_at: Instant = 0
    owner: str = ""
    tags: Tags = {}


class InstanceType(_Answer, frozen=True, tag=True):
    """What one instance type carries. IPv6 addresses per ENI are as many as IPv4 ones."""

    instance_type: str
    enis: int
    ipv4_per_eni: int
    ipv6_per_eni: int
    cards: tuple[int, ...]
    """ENIs of each network card by card index."""
    hypervisor: str = "nitro"
    bare_metal: bool = False
    trunking_compatible: bool = False


class SecurityGroup(_Answer, frozen=True, tag=True):
    """One security group, without its rules."""

    group: str
    name: str
    vpc: str
    description: str = ""
    owner: str = ""
    tags: Tags = {}


class Tag(_Answer, frozen=True, tag=True):
    """One tag of one resource; `kind` is EC2's word for what it is (`subnet`, `network-interface`, ...)."""

    resource: str
    kind: str
    key: str
    value: str


class InstanceMetadata(_Answer, frozen=True, tag=True):
    """What an instance's own metadata shows: its ENIs by card and device, each with its subnet and the VPC.

    The ENIs' `security_groups` are the ids; `subnets` and `vpc` are as they were when they were last changed
    at least the metadata's lag ago.
    """

    instance: str
    instance_type: str
    region: str
    zone: str
    interfaces: tuple[NetworkInterface, ...]
    subnets: dict[str, Subnet]
    """By id, those of the interfaces. `free` is not metadata and is 0."""
    vpc: Vpc
    launched_at: Instant = 0
    tags: Tags = {}


# ---- what changes give ---------------------------------------------------------------------------------------


class Done(_Answer, frozen=True, tag=True):
    """Carried out; nothing else is told."""


class CidrAssociated(_Answer, frozen=True, tag=True):
    """The association that was made or ended; `resource` is the VPC or the subnet."""

    resource: str
    association: str
    cidr: CidrText


class Attached(_Answer, frozen=True, tag=True):
    """Result of AttachNetworkInterface."""

    attachment: str
    card: int = 0


class Granted(_Answer, frozen=True, tag=True):
    """What Assign (or UnassignIpv6) gave (or took), of one family."""

    addresses: tuple[str, ...] = ()
    prefixes: tuple[CidrText, ...] = ()


class Launched(_Answer, frozen=True, tag=True):
    """Result of RunInstances."""

    instances: tuple[Instance, ...]


class Terminated(_Answer, frozen=True, tag=True):
    """Result of TerminateInstances: (instance, state before) of each; the state now is `terminated`."""

    instances: tuple[tuple[str, str], ...]


Item: TypeAlias = (
    Vpc
    | Subnet
    | CidrReservation
    | NetworkInterface
    | TrunkAssociation
    | Instance
    | InstanceType
    | SecurityGroup
    | Tag
)


class Page(_Answer, frozen=True, tag=True):
    """Items of one listing; all of one kind. `next_token` is "" on the last page."""

    items: tuple[Item, ...]
    next_token: str = ""


Answer: TypeAlias = (
    Item | Done | CidrAssociated | Attached | Granted | Launched | Terminated | InstanceMetadata | Page
)
