"""What anyone may ask of the VPC model: EC2's networking actions, with all the parameters it answers to.

The calls of `ipamd.core.calls` are the few that ipamd makes; these are the whole, for whoever speaks EC2's API.
`vpc.serve(vpc, request, now)` answers them, with what is in `answers`. Names are EC2's own. Left out is the default:
"" or an empty tuple for what was not sent, 0 for a count that was not sent. `named`, where a request has it, is the
id that the new thing shall get, for a door whose ids come from elsewhere; by default ids come from the seed.

A request does not say who asks: account and region are the model's. `dry_run` on any of them asks whether it
would be permitted: the answer is then always a refusal, `DryRunOperation` or `UnauthorizedOperation`.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ipamd.core.types import CidrText, ConnectionTracking, EniId, Ipv4Text

Tags: TypeAlias = dict[str, str]
Filters: TypeAlias = dict[str, tuple[str, ...]]
"""By name: an item passes when for each name one of its values is among those given; `*` and `?` are wild."""


class _Request(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", kw_only=True):
    """Frozen, compared by value, encoded with its class name, EC2's action, in the member `type`."""

    dry_run: bool = False


class _Paged(_Request, frozen=True, kw_only=True):
    """A listing, whole (`max_results` 0) or page by page: `next_token` is what the last page's answer held."""

    filters: Filters = {}
    max_results: int = 0
    next_token: str = ""


class Wanted(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a new ENI begins with. `primary` is its primary IPv4 address ("": any), the others are secondary.

    Of each family, addresses, their count, prefixes or their count: one of the four at most.
    """

    primary: Ipv4Text = ""
    addresses: tuple[Ipv4Text, ...] = ()
    address_count: int = 0
    prefixes: tuple[CidrText, ...] = ()
    prefix_count: int = 0
    ipv6_addresses: tuple[str, ...] = ()
    ipv6_address_count: int = 0
    ipv6_prefixes: tuple[CidrText, ...] = ()
    ipv6_prefix_count: int = 0


# ---- VPCs and subnets ----------------------------------------------------------------------------------------


class CreateVpc(_Request, frozen=True, tag=True):
    """-> `answers.Vpc`. IPv4 CIDR of /16 to /28; `ipv6` asks for a /56 that the model chooses."""

    cidr: CidrText
    ipv6: bool = False
    tags: Tags = {}
    named: str = ""


class DeleteVpc(_Request, frozen=True, tag=True):
    """-> `Done`. Refused while it holds subnets or groups other than its default one."""

    vpc: str


class AssociateVpcCidrBlock(_Request, frozen=True, tag=True):
    """-> `CidrAssociated`. One more IPv4 CIDR, or (`ipv6`) the /56."""

    vpc: str
    cidr: CidrText = ""
    ipv6: bool = False


class DisassociateVpcCidrBlock(_Request, frozen=True, tag=True):
    """-> `CidrAssociated`. Refused for the primary CIDR and for one that subnets lie in."""

    association: str


class DescribeVpcs(_Paged, frozen=True, tag=True):
    """-> `Page` of `answers.Vpc`."""

    ids: tuple[str, ...] = ()


class CreateSubnet(_Request, frozen=True, tag=True):
    """-> `answers.Subnet`. `zone` "" is the region's first; `ipv6_cidr` is a /64 inside the VPC's /56."""

    vpc: str
    cidr: CidrText
    zone: str = ""
    ipv6_cidr: CidrText = ""
    tags: Tags = {}
    named: str = ""


class DeleteSubnet(_Request, frozen=True, tag=True):
    """-> `Done`. Refused while it holds ENIs; its reservations go with it."""

    subnet: str


class AssociateSubnetCidrBlock(_Request, frozen=True, tag=True):
    """-> `CidrAssociated`."""

    subnet: str
    ipv6_cidr: CidrText


class DisassociateSubnetCidrBlock(_Request, frozen=True, tag=True):
    """-> `CidrAssociated`. Refused while an ENI has an address or a prefix of it."""

    association: str


class DescribeSubnets(_Paged, frozen=True, tag=True):
    """-> `Page` of `answers.Subnet`."""

    ids: tuple[str, ...] = ()


class CreateSubnetCidrReservation(_Request, frozen=True, tag=True):
    """-> `CidrReservation`. `reservation_type` is `prefix` or `explicit`; the CIDR is IPv4 or IPv6."""

    subnet: str
    cidr: CidrText
    reservation_type: str
    description: str = ""
    tags: Tags = {}


class DeleteSubnetCidrReservation(_Request, frozen=True, tag=True):
    """-> `CidrReservation`, the one that is gone. Addresses in use stay as they are."""

    reservation: str


class GetSubnetCidrReservations(_Paged, frozen=True, tag=True):
    """-> `Page` of `CidrReservation`, IPv4 and IPv6."""

    subnet: str


# ---- network interfaces --------------------------------------------------------------------------------------


class CreateNetworkInterface(Wanted, frozen=True, tag=True, tag_field="type"):
    """-> `NetworkInterface`. `interface_type` is `interface`, `trunk`, `branch`, `efa` or `efa-only`."""

    subnet: str
    security_groups: tuple[str, ...] = ()
    description: str = ""
    token: str = ""
    interface_type: str = "interface"
    tags: Tags = {}
    named: str = ""
    dry_run: bool = False
    tracking: ConnectionTracking | None = None


class DeleteNetworkInterface(_Request, frozen=True, tag=True):
    """-> `Done`. Refused while attached; a branch leaves its trunk by it."""

    eni: EniId


class AttachNetworkInterface(_Request, frozen=True, tag=True):
    """-> `Attached`."""

    eni: EniId
    instance: str
    device: int
    card: int = 0


class DetachNetworkInterface(_Request, frozen=True, tag=True):
    """-> `Done`."""

    attachment: str
    force: bool = False


class ModifyNetworkInterfaceAttribute(_Request, frozen=True, tag=True):
    """-> `Done`. One attribute a request; None (for the attachment "") is an attribute that was not sent."""

    eni: EniId
    attachment: str = ""
    delete_on_termination: bool = False
    security_groups: tuple[str, ...] | None = None
    description: str | None = None
    source_dest_check: bool | None = None
    tracking: ConnectionTracking | None = None


class AssignPrivateIpAddresses(_Request, frozen=True, tag=True):
    """-> `Granted`: just what is new. Exactly one of the four is sent.

    `allow_reassignment` lets a secondary address that another ENI has move here.
    """

    eni: EniId
    addresses: tuple[Ipv4Text, ...] = ()
    address_count: int = 0
    prefixes: tuple[CidrText, ...] = ()
    prefix_count: int = 0
    allow_reassignment: bool = False


class UnassignPrivateIpAddresses(_Request, frozen=True, tag=True):
    """-> `Done`."""

    eni: EniId
    addresses: tuple[Ipv4Text, ...] = ()
    prefixes: tuple[CidrText, ...] = ()


class AssignIpv6Addresses(_Request, frozen=True, tag=True):
    """-> `Granted`. Exactly one of the four is sent."""

    eni: EniId
    addresses: tuple[str, ...] = ()
    address_count: int = 0
    prefixes: tuple[CidrText, ...] = ()
    prefix_count: int = 0


class UnassignIpv6Addresses(_Request, frozen=True, tag=True):
    """-> `Granted`: what was taken away."""

    eni: EniId
    addresses: tuple[str, ...] = ()
    prefixes: tuple[CidrText, ...] = ()


class DescribeNetworkInterfaces(_Paged, frozen=True, tag=True):
    """-> `Page` of `NetworkInterface`, in the order of `ids` if there are any."""

    ids: tuple[EniId, ...] = ()


class AssociateTrunkInterface(_Request, frozen=True, tag=True):
    """-> `TrunkAssociation`. `vlan` (1 to 4094) is unique on its trunk."""

    branch: EniId
    trunk: EniId
    vlan: int
    token: str = ""


class DisassociateTrunkInterface(_Request, frozen=True, tag=True):
    """-> `Done`. The branch ENI is `available` again."""

    association: str
    token: str = ""


class DescribeTrunkInterfaceAssociations(_Paged, frozen=True, tag=True):
    """-> `Page` of `TrunkAssociation`."""

    ids: tuple[str, ...] = ()


# ---- instances -----------------------------------------------------------------------------------------------


class LaunchInterface(Wanted, frozen=True):
    """One ENI that an instance begins with: an existing one (`eni`), or a new one made with the rest."""

    device: int = 0
    card: int = 0
    eni: EniId = ""
    subnet: str = ""
    security_groups: tuple[str, ...] = ()
    description: str = ""
    interface_type: str = "interface"
    delete_on_termination: bool = True


class RunInstances(_Request, frozen=True, tag=True):
    """-> `Launched`: as many as there is room for, if that is `min_count` or more; else nothing is launched.

    Without `interfaces`, one ENI in `subnet` with `primary`, `security_groups` and `ipv6_address_count`.
    `interface_tags` go on every ENI made here; `named` are ids for the instances.
    """

    instance_type: str
    subnet: str = ""
    min_count: int = 1
    max_count: int = 1
    interfaces: tuple[LaunchInterface, ...] = ()
    security_groups: tuple[str, ...] = ()
    primary: Ipv4Text = ""
    ipv6_address_count: int = 0
    tags: Tags = {}
    interface_tags: Tags = {}
    token: str = ""
    named: tuple[str, ...] = ()


class TerminateInstances(_Request, frozen=True, tag=True):
    """-> `Terminated`. ENIs with delete-on-termination go, the others become `available`."""

    instances: tuple[str, ...]


class DescribeInstances(_Paged, frozen=True, tag=True):
    """-> `Page` of `answers.Instance`; a terminated one is shown for an hour."""

    ids: tuple[str, ...] = ()


class DescribeInstanceTypes(_Paged, frozen=True, tag=True):
    """-> `Page` of `InstanceType`."""

    names: tuple[str, ...] = ()


class ReadInstanceMetadata(_Request, frozen=True, tag=True):
    """-> `answers.InstanceMetadata`: what the instance's own metadata shows, which may lag. Not an EC2 action."""

    instance: str


# ---- groups and tags -----------------------------------------------------------------------------------------


class CreateSecurityGroup(_Request, frozen=True, tag=True):
    """-> `SecurityGroup`. The name is unique in its VPC. Rules are not modelled."""

    name: str
    description: str
    vpc: str
    tags: Tags = {}
    named: str = ""


class DeleteSecurityGroup(_Request, frozen=True, tag=True):
    """-> `Done`. Refused for a VPC's default group and while an ENI has it."""

    group: str


class DescribeSecurityGroups(_Paged, frozen=True, tag=True):
    """-> `Page` of `SecurityGroup`."""

    ids: tuple[str, ...] = ()


class CreateTags(_Request, frozen=True, tag=True):
    """-> `Done`. On any resource of the model, by id; all of them or none."""

    resources: tuple[str, ...]
    tags: Tags


class DeleteTags(_Request, frozen=True, tag=True):
    """-> `Done`. With a value, only if the tag has it; no tags at all: every one goes."""

    resources: tuple[str, ...]
    tags: dict[str, str | None] = {}


class DescribeTags(_Paged, frozen=True, tag=True):
    """-> `Page` of `Tag`."""


VpcChange: TypeAlias = (
    CreateVpc | DeleteVpc | AssociateVpcCidrBlock | DisassociateVpcCidrBlock | CreateSubnet | DeleteSubnet
    | AssociateSubnetCidrBlock | DisassociateSubnetCidrBlock | CreateSubnetCidrReservation
    | DeleteSubnetCidrReservation | CreateSecurityGroup | DeleteSecurityGroup | CreateTags | DeleteTags
)
InterfaceChange: TypeAlias = (
    CreateNetworkInterface | DeleteNetworkInterface | AttachNetworkInterface | DetachNetworkInterface
    | ModifyNetworkInterfaceAttribute | AssignPrivateIpAddresses | UnassignPrivateIpAddresses
    | AssignIpv6Addresses | UnassignIpv6Addresses | AssociateTrunkInterface | DisassociateTrunkInterface
    | RunInstances | TerminateInstances
)
Change: TypeAlias = VpcChange | InterfaceChange
Listing: TypeAlias = (
    DescribeVpcs | DescribeSubnets | GetSubnetCidrReservations | DescribeNetworkInterfaces
    | DescribeTrunkInterfaceAssociations | DescribeInstances | DescribeInstanceTypes | DescribeSecurityGroups
    | DescribeTags
)
Request: TypeAlias = Change | Listing | ReadInstanceMetadata
