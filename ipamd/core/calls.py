"""What the machine asks of the world: calls change something, looks only read, views are what a look saw.

A call is journaled before it is performed (`CallStarted`) and after (`CallEnded`). A look leaves no record
unless what it saw changed something (`Observed` is then the record's cause). Names are EC2's own.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from .branch_calls import BranchCall, BranchResult
from .cluster_calls import ClusterCall, InstanceFacts
from .kube import KubeCall, KubeLook, KubeView
from .types import CidrText, ConnectionTracking, EniId, Instant, IpText, Ipv4Text


class _Tagged(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type"):
    """Frozen, compared by value, encoded with its class name in the member `type`."""


# ---- calls on EC2 --------------------------------------------------------------------------------------------


class CreateNetworkInterface(_Tagged, frozen=True, tag=True):
    """EC2-1. Exactly one of `secondary_ips`, `prefixes` and (in IPv6 mode) `ipv6_addresses` is >= 0; -1: not sent.

    `token` is the client token: the same token again gives the same ENI, however often it is sent.
    """

    subnet: str
    security_groups: tuple[str, ...]
    description: str
    token: str
    secondary_ips: int = -1
    prefixes: int = -1
    tags: dict[str, str] = {}
    ipv6_addresses: int = -1
    tracking: ConnectionTracking | None = None


class AttachNetworkInterface(_Tagged, frozen=True, tag=True):
    """EC2-7."""

    eni: EniId
    device: int
    card: int = 0


class ModifyNetworkInterfaceAttribute(_Tagged, frozen=True, tag=True):
    """EC2-9 (delete on termination of one attachment) or EC2-29 (security groups); the other is absent."""

    eni: EniId
    attachment: str = ""
    delete_on_termination: bool = False
    security_groups: tuple[str, ...] | None = None


class AssignPrivateIpAddresses(_Tagged, frozen=True, tag=True):
    """EC2-20: exactly one of the two counts is > 0."""

    eni: EniId
    secondary_ips: int = 0
    prefixes: int = 0


class UnassignPrivateIpAddresses(_Tagged, frozen=True, tag=True):
    """EC2-21: addresses without mask, or prefixes with it; one of the two is empty."""

    eni: EniId
    addresses: tuple[Ipv4Text, ...] = ()
    prefixes: tuple[CidrText, ...] = ()


class AssignIpv6Addresses(_Tagged, frozen=True, tag=True):
    """EC2-26: so many /80 prefixes."""

    eni: EniId
    prefixes: int = 1


class UnassignIpv6Addresses(_Tagged, frozen=True, tag=True):
    """EC2-21 for /80 prefixes."""

    eni: EniId
    prefixes: tuple[CidrText, ...]


class DetachNetworkInterface(_Tagged, frozen=True, tag=True):
    """EC2-22. An empty attachment id is sent when the ENI shows none; EC2 refuses it."""

    eni: EniId
    attachment: str


class DeleteNetworkInterface(_Tagged, frozen=True, tag=True):
    """EC2-24."""

    eni: EniId


class CreateTags(_Tagged, frozen=True, tag=True):
    """EC2-15: only the tags that are missing or different."""

    eni: EniId
    tags: dict[str, str]


# ---- calls on the host ---------------------------------------------------------------------------------------


class SetUpHost(_Tagged, frozen=True, tag=True):
    """INIT-18: MTU, main-ENI rule, SNAT and connmark."""

    primary_ip: IpText
    vpc_cidrs: tuple[CidrText, ...]
    """Of the active family, as is the address."""
    mac: str = ""
    """Of the primary ENI: how its link is found (NETW-1). Journals of before host networking was real lack it."""


class SetUpEni(_Tagged, frozen=True, tag=True):
    """INIT-37 step 7, NETW-4."""

    eni: EniId
    mac: str
    device: int
    table: int
    primary_ip: IpText
    subnet_cidr: CidrText
    card: int = 0
    trunk: bool = False
    """Without the rule of its primary address (SGP-8)."""


class TearDownEni(_Tagged, frozen=True, tag=True):
    """POOL-37: the `ip rule`s whose source is the ENI's primary address go."""

    eni: EniId
    primary_ip: IpText


class PrunePodRules(_Tagged, frozen=True, tag=True):
    """DM-63: the two rules of a pod whose allocation was dropped at start."""

    address: IpText


class RefreshPodRules(_Tagged, frozen=True, tag=True):
    """INIT-29: rules of the recovered pods, as (address, table) pairs."""

    pods: tuple[tuple[Ipv4Text, int], ...]


Ec2Call: TypeAlias = (
    CreateNetworkInterface
    | AttachNetworkInterface
    | ModifyNetworkInterfaceAttribute
    | AssignPrivateIpAddresses
    | UnassignPrivateIpAddresses
    | AssignIpv6Addresses
    | UnassignIpv6Addresses
    | DetachNetworkInterface
    | DeleteNetworkInterface
    | CreateTags
)
HostCall: TypeAlias = SetUpHost | SetUpEni | TearDownEni | PrunePodRules | RefreshPodRules
Call: TypeAlias = Ec2Call | HostCall | KubeCall | ClusterCall | BranchCall


# ---- what a call gave back -----------------------------------------------------------------------------------


class CreatedEni(_Tagged, frozen=True, tag=True):
    """Result of CreateNetworkInterface."""

    eni: EniId
    mac: str
    primary_ip: Ipv4Text
    subnet: str
    addresses: tuple[Ipv4Text, ...] = ()
    """Secondary addresses only."""
    prefixes: tuple[CidrText, ...] = ()
    ipv6_addresses: tuple[IpText, ...] = ()


class Attached(_Tagged, frozen=True, tag=True):
    """Result of AttachNetworkInterface."""

    attachment: str


class Granted(_Tagged, frozen=True, tag=True):
    """Result of the two Assign calls: just what is new. Both empty: a reply without content (POOL-29)."""

    addresses: tuple[Ipv4Text, ...] = ()
    prefixes: tuple[CidrText, ...] = ()


class Done(_Tagged, frozen=True, tag=True):
    """Result of a call that returns nothing of interest."""


Result: TypeAlias = CreatedEni | Attached | Granted | Done | InstanceFacts | BranchResult


class Succeeded(_Tagged, frozen=True, tag=True):
    """The effect is there."""

    result: Result = Done()


class Failed(_Tagged, frozen=True, tag=True):
    """The API (or the host) refused; there is no effect. `code` is EC2's own; "" where the error is not EC2's."""

    code: str
    message: str = ""


class Lost(_Tagged, frozen=True, tag=True):
    """No answer came: the effect is unknown."""

    why: str = ""


Outcome: TypeAlias = Succeeded | Failed | Lost


# ---- looks ---------------------------------------------------------------------------------------------------


class ReadMetadata(_Tagged, frozen=True, tag=True):
    """Every attached ENI as instance metadata shows it (EC2-35..37), with the VPC's CIDRs. May lag EC2."""


class DescribeNetworkInterfaces(_Tagged, frozen=True, tag=True):
    """EC2-25, EC2-30: the named ENIs from EC2, the truth."""

    ids: tuple[EniId, ...]


class FindNetworkInterfaces(_Tagged, frozen=True, tag=True):
    """Unattached ENIs (status `available`) that carry all these tags; how a lost create is sought."""

    tags: dict[str, str]


class DescribeInstances(_Tagged, frozen=True, tag=True):
    """EC2-5: this instance's attachments, for a free device index."""


class DescribeSubnets(_Tagged, frozen=True, tag=True):
    """POOL-43: subnets of the instance's VPC and availability zone."""


class ReadLinks(_Tagged, frozen=True, tag=True):
    """Names of the host's links (DM-62)."""


Look: TypeAlias = (
    ReadMetadata
    | DescribeNetworkInterfaces
    | FindNetworkInterfaces
    | DescribeInstances
    | DescribeSubnets
    | ReadLinks
    | KubeLook
)


# ---- views ---------------------------------------------------------------------------------------------------


class MetadataEni(msgspec.Struct, frozen=True, omit_defaults=True):
    """One ENI in instance metadata. `addresses[0]` is the primary one; without any it is efa-only (EC2-37)."""

    eni: EniId
    mac: str
    device: int
    subnet: str
    subnet_cidr: CidrText
    addresses: tuple[Ipv4Text, ...]
    prefixes: tuple[CidrText, ...] = ()
    card: int = 0
    ipv6_addresses: tuple[IpText, ...] = ()
    ipv6_prefixes: tuple[CidrText, ...] = ()
    subnet_cidr6: CidrText = ""


class MetadataView(_Tagged, frozen=True, tag=True):
    """What ReadMetadata saw. ENIs in ascending (card, device) order.

    `as_stored` says that the ENIs hold just what the store holds; `enis` is then empty, which keeps a quiet
    node's journal small (the driver asks `observe.condense`).
    """

    enis: tuple[MetadataEni, ...] = ()
    vpc_cidrs: tuple[CidrText, ...] = ()
    security_groups: tuple[str, ...] = ()
    as_stored: bool = False
    vpc_cidrs6: tuple[CidrText, ...] = ()


class Ec2Eni(msgspec.Struct, frozen=True, omit_defaults=True):
    """One ENI as DescribeNetworkInterfaces returns it. `addresses[0]` is the primary one."""

    eni: EniId
    mac: str
    subnet: str
    status: str
    """`available` or `in-use`."""
    addresses: tuple[Ipv4Text, ...] = ()
    prefixes: tuple[CidrText, ...] = ()
    attachment: str = ""
    instance: str = ""
    device: int = -1
    card: int = 0
    delete_on_termination: bool = False
    interface_type: str = "interface"
    description: str = ""
    tags: dict[str, str] = {}
    security_groups: tuple[str, ...] = ()
    created_at: Instant = 0
    ipv6_addresses: tuple[IpText, ...] = ()
    ipv6_prefixes: tuple[CidrText, ...] = ()
    tracking: ConnectionTracking | None = None


class EnisView(_Tagged, frozen=True, tag=True):
    """What DescribeNetworkInterfaces or FindNetworkInterfaces saw."""

    enis: tuple[Ec2Eni, ...]


class Attachment(msgspec.Struct, frozen=True, omit_defaults=True):
    """One row of DescribeInstances."""

    eni: EniId
    device: int
    card: int = 0


class AttachmentsView(_Tagged, frozen=True, tag=True):
    """What DescribeInstances saw."""

    attachments: tuple[Attachment, ...]


class Subnet(msgspec.Struct, frozen=True, omit_defaults=True):
    """One subnet. `free` is AvailableIpAddressCount."""

    subnet: str
    cidr: CidrText
    free: int
    zone: str = ""
    tags: dict[str, str] = {}


class SubnetsView(_Tagged, frozen=True, tag=True):
    """What DescribeSubnets saw, in EC2's order."""

    subnets: tuple[Subnet, ...]


class LinksView(_Tagged, frozen=True, tag=True):
    """What ReadLinks saw; `known` is false where the host port only records (then no row is judged by it)."""

    names: tuple[str, ...] = ()
    known: bool = True


View: TypeAlias = MetadataView | EnisView | AttachmentsView | SubnetsView | LinksView | KubeView


# ---- EC2's error codes that the machine knows (section 6.6) --------------------------------------------------

INSUFFICIENT_CIDR_BLOCKS = "InsufficientCidrBlocks"
INSUFFICIENT_FREE_ADDRESSES = "InsufficientFreeAddressesInSubnet"
ADDRESS_LIMIT_EXCEEDED = "PrivateIpAddressLimitExceeded"
ATTACHMENT_LIMIT_EXCEEDED = "AttachmentLimitExceeded"
REQUEST_LIMIT_EXCEEDED = "RequestLimitExceeded"
ENI_NOT_FOUND = "InvalidNetworkInterfaceID.NotFound"
ATTACHMENT_NOT_FOUND = "InvalidAttachmentID.NotFound"
UNAUTHORIZED = "UnauthorizedOperation"

INSUFFICIENT_CODES = frozenset({INSUFFICIENT_CIDR_BLOCKS, INSUFFICIENT_FREE_ADDRESSES})
"""POOL-28: the codes that start the 120 s pause."""
