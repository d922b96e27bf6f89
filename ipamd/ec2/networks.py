"""VPCs, subnets, their CIDRs, CIDR reservations and security groups."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

import msgspec

from ipamd.core.calls import Failed

from . import answers, describe, refusals, requests
from .rows import (
    Effect,
    GroupGone,
    GroupRow,
    ReservationGone,
    ReservationRow,
    SubnetGone,
    SubnetRow,
    VpcGone,
    VpcRow,
    association_id,
    draw,
    identifier,
)
from .space import subnet_network, vpc_network
from .space6 import BLOCK_LENGTH, subnet6_network
from .state import Vpc
from .tags import default_group, wrong_tags

CIDRS_MAX: Final = 5
"""IPv4 CIDRs of one VPC, EC2's default quota."""
RESERVATION_TYPES: Final = ("prefix", "explicit")
PREFIX_LENGTH: Final = 28


def create_vpc(vpc: Vpc, request: requests.CreateVpc) -> Effect | Failed:
    network = _network(request.cidr, "Vpc")
    if isinstance(network, Failed):
        return network
    wrong = wrong_tags({}, request.tags)
    if wrong is not None:
        return wrong
    if request.named in vpc.vpcs:
        return refusals.invalid("vpcId", request.named, "it exists")
    seed, serial = vpc.settings.seed, vpc.serial + 1
    row = VpcRow(
        vpc=request.named or identifier("vpc", seed, serial),
        region=vpc.region,
        cidrs=(str(network),),
        default_group=identifier("sg", seed, serial),
        ipv6_cidr=ipv6_of(seed, serial) if request.ipv6 else "",
        tags=request.tags,
    )
    return Effect(describe.vpc_description(vpc, row), (row, default_group(row)))


def delete_vpc(vpc: Vpc, request: requests.DeleteVpc) -> Effect | Failed:
    row = vpc.vpcs.get(request.vpc)
    if row is None:
        return refusals.no_such("vpc", request.vpc)
    groups = [g for g in vpc.groups.values() if g.vpc == row.vpc and g.group != row.default_group]
    if groups or any(s.vpc == row.vpc for s in vpc.subnets.values()):
        return refusals.has_dependents("vpc", row.vpc)
    return Effect(answers.Done(), (VpcGone(row.vpc),))


def associate_vpc(vpc: Vpc, request: requests.AssociateVpcCidrBlock) -> Effect | Failed:
    row = vpc.vpcs.get(request.vpc)
    if row is None:
        return refusals.no_such("vpc", request.vpc)
    if request.ipv6:
        if request.cidr or row.ipv6_cidr:
            return refusals.either("cidrBlock or an associated IPv6 CIDR", "amazonProvidedIpv6CidrBlock")
        cidr = ipv6_of(vpc.settings.seed, vpc.serial + 1)
        row = msgspec.structs.replace(row, ipv6_cidr=cidr)
    else:
        network = _network(request.cidr, "Vpc")
        if isinstance(network, Failed):
            return network
        cidr = str(network)
        if any(network.overlaps(IPv4Network(c)) for c in row.cidrs):
            return refusals.conflict("Vpc", cidr)
        if len(row.cidrs) >= CIDRS_MAX:
            return refusals.too_many_cidrs(CIDRS_MAX)
        row = msgspec.structs.replace(row, cidrs=(*row.cidrs, cidr))
    return Effect(answers.CidrAssociated(row.vpc, association_id("vpc-cidr-assoc", row.vpc, cidr), cidr), (row,))


def disassociate_vpc(vpc: Vpc, request: requests.DisassociateVpcCidrBlock) -> Effect | Failed:
    for row in vpc.vpcs.values():
        for cidr in (*row.cidrs, *([row.ipv6_cidr] if row.ipv6_cidr else [])):
            if association_id("vpc-cidr-assoc", row.vpc, cidr) != request.association:
                continue
            network = ip_network(cidr)
            held = [s for s in vpc.subnets.values() if s.vpc == row.vpc]
            if cidr == row.cidrs[0] or any(_inside(c, network) for s in held for c in (s.cidr, s.ipv6_cidr) if c):
                return refusals.cidr_in_use(cidr, row.vpc)
            left = tuple(c for c in row.cidrs if c != cidr)
            ipv6 = "" if cidr == row.ipv6_cidr else row.ipv6_cidr
            changed = msgspec.structs.replace(row, cidrs=left, ipv6_cidr=ipv6)
            return Effect(answers.CidrAssociated(row.vpc, request.association, cidr), (changed,))
    return refusals.no_such("vpc-cidr", request.association)


def create_subnet(vpc: Vpc, request: requests.CreateSubnet) -> Effect | Failed:
    home = vpc.vpcs.get(request.vpc)
    if home is None:
        return refusals.no_such("vpc", request.vpc)
    network = _network(request.cidr, "Subnet")
    if isinstance(network, Failed):
        return network
    if not any(_inside(str(network), ip_network(c)) for c in home.cidrs):
        return refusals.bad_range("Subnet", request.cidr)
    beside = [s for s in vpc.subnets.values() if s.vpc == home.vpc]
    if any(network.overlaps(IPv4Network(s.cidr)) for s in beside):
        return refusals.conflict("Subnet", request.cidr)
    wrong = wrong_tags({}, request.tags)
    if wrong is None and request.ipv6_cidr:
        wrong = _wrong_ipv6(vpc, home, request.ipv6_cidr)
    if wrong is not None:
        return wrong
    if request.named in vpc.subnets:
        return refusals.invalid("subnetId", request.named, "it exists")
    row = SubnetRow(
        subnet=request.named or identifier("subnet", vpc.settings.seed, vpc.serial + 1),
        cidr=str(network),
        zone=request.zone or f"{vpc.region}a",
        tags=request.tags,
        vpc=home.vpc,
        ipv6_cidr=request.ipv6_cidr,
    )
    return Effect(describe.subnet(vpc, row, network.num_addresses - 5), (row,))


def delete_subnet(vpc: Vpc, request: requests.DeleteSubnet) -> Effect | Failed:
    if request.subnet not in vpc.subnets:
        return refusals.no_such("subnet", request.subnet)
    if any(e.subnet == request.subnet for e in vpc.enis.values()):
        return refusals.has_dependents("subnet", request.subnet)
    return Effect(answers.Done(), (SubnetGone(request.subnet),))


def associate_subnet(vpc: Vpc, request: requests.AssociateSubnetCidrBlock) -> Effect | Failed:
    row = vpc.subnets.get(request.subnet)
    if row is None:
        return refusals.no_such("subnet", request.subnet)
    if row.ipv6_cidr:
        return refusals.conflict("Subnet", request.ipv6_cidr)
    wrong = _wrong_ipv6(vpc, vpc.vpcs[row.vpc], request.ipv6_cidr)
    if wrong is not None:
        return wrong
    name = association_id("subnet-cidr-assoc", row.subnet, request.ipv6_cidr)
    changed = msgspec.structs.replace(row, ipv6_cidr=request.ipv6_cidr)
    return Effect(answers.CidrAssociated(row.subnet, name, request.ipv6_cidr), (changed,))


def disassociate_subnet(vpc: Vpc, request: requests.DisassociateSubnetCidrBlock) -> Effect | Failed:
    for row in vpc.subnets.values():
        if row.ipv6_cidr and association_id("subnet-cidr-assoc", row.subnet, row.ipv6_cidr) == request.association:
            reserved = any(r.subnet == row.subnet and ":" in r.cidr for r in vpc.reservations.values())
            if reserved or any(e.subnet == row.subnet and e.ipv6_slots for e in vpc.enis.values()):
                return refusals.cidr_in_use(row.ipv6_cidr, row.subnet)
            changed = msgspec.structs.replace(row, ipv6_cidr="")
            return Effect(answers.CidrAssociated(row.subnet, request.association, row.ipv6_cidr), (changed,))
    return refusals.no_such("subnet-cidr", request.association)


def create_reservation(vpc: Vpc, request: requests.CreateSubnetCidrReservation) -> Effect | Failed:
    """What is in use inside the range stays in use; the rest is not given unasked any more."""
    home = vpc.subnets.get(request.subnet)
    if home is None:
        return refusals.no_such("subnet", request.subnet)
    kind = request.reservation_type
    if kind not in RESERVATION_TYPES:
        return refusals.invalid("reservationType", kind, f"want one of {', '.join(RESERVATION_TYPES)}")
    try:
        network = ip_network(request.cidr)
    except ValueError:
        return refusals.invalid("cidr", request.cidr, "want a CIDR of the subnet")
    whole = home.ipv6_cidr if network.version == 6 else home.cidr
    if not whole or not _inside(request.cidr, ip_network(whole)):
        return refusals.outside_subnet(request.cidr)
    longest = PREFIX_LENGTH if network.version == 4 else BLOCK_LENGTH
    if kind == "prefix" and network.prefixlen > longest:
        return refusals.invalid("cidr", request.cidr, f"a reservation of type prefix is a /{longest} or larger")
    beside = (ip_network(r.cidr) for r in vpc.reservations.values() if r.subnet == home.subnet)
    if any(o.version == network.version and o.overlaps(network) for o in beside):
        return refusals.invalid("cidr", request.cidr, "it overlaps another reservation of the subnet")
    wrong = wrong_tags({}, request.tags)
    if wrong is not None:
        return wrong
    row = ReservationRow(
        reservation=identifier("scr", vpc.settings.seed, vpc.serial + 1),
        subnet=home.subnet,
        cidr=str(network),
        reservation_type=kind,
        description=request.description,
        tags=request.tags,
    )
    return Effect(describe.reservation(vpc, row), (row,))


def delete_reservation(vpc: Vpc, request: requests.DeleteSubnetCidrReservation) -> Effect | Failed:
    row = vpc.reservations.get(request.reservation)
    if row is None:
        return refusals.no_such("subnet-cidr-reservation", request.reservation)
    return Effect(describe.reservation(vpc, row), (ReservationGone(row.reservation),))


def create_group(vpc: Vpc, request: requests.CreateSecurityGroup) -> Effect | Failed:
    home = vpc.vpcs.get(request.vpc)
    if home is None:
        return refusals.no_such("vpc", request.vpc)
    if not request.name or not request.description:
        return refusals.missing("groupDescription" if request.name else "groupName")
    if request.name.startswith("sg-") or len(request.name) > 255:
        return refusals.invalid("groupName", request.name, "want at most 255 characters that do not begin with sg-")
    names = {g.name for g in vpc.groups.values() if g.vpc == home.vpc}
    if request.name == "default" or request.name in names or request.named in vpc.groups:
        return refusals.group_exists(request.name, home.vpc)
    wrong = wrong_tags({}, request.tags)
    if wrong is not None:
        return wrong
    name = request.named or identifier("sg", vpc.settings.seed, vpc.serial + 1)
    row = GroupRow(name, request.name, home.vpc, request.description, request.tags)
    return Effect(describe.group(vpc, row), (row,))


def delete_group(vpc: Vpc, request: requests.DeleteSecurityGroup) -> Effect | Failed:
    if any(row.default_group == request.group for row in vpc.vpcs.values()):
        return refusals.default_group_stays(request.group)
    if request.group not in vpc.groups:
        return refusals.no_such("security-group", request.group)
    if any(request.group in e.security_groups for e in vpc.enis.values()):
        return refusals.has_dependents("security-group", request.group)
    return Effect(answers.Done(), (GroupGone(request.group),))


def ipv6_of(seed: int, serial: int) -> str:
    """The /56 that a VPC is given: of EC2's range of us-west-2, by the seed."""
    number = draw("ipv6", seed, serial)
    return str(IPv6Network(((0x2600_1F13 << 96) | (number & 0xFF_FFFF) << 72, 56)))


def _network(cidr: str, thing: str) -> IPv4Network | Failed:
    """EC2 takes a CIDR with bits beyond its length and answers with its canonical form."""
    try:
        network = IPv4Network(cidr, strict=False)
        return vpc_network(str(network)) if thing == "Vpc" else subnet_network(str(network))
    except ValueError:
        malformed = "/" not in cidr or not cidr.replace(".", "").replace("/", "").isdigit()
        if malformed:
            return refusals.invalid("cidrBlock", cidr, "This is not a valid CIDR block.")
        return refusals.bad_range(thing, cidr)


def next_ipv6(vpc: Vpc, home: VpcRow) -> str:
    """The first /64 of the VPC's /56 that no subnet has; "" if the VPC has no IPv6 or none is left."""
    if not home.ipv6_cidr:
        return ""
    taken = {s.ipv6_cidr for s in vpc.subnets.values() if s.vpc == home.vpc}
    free = (str(network) for network in IPv6Network(home.ipv6_cidr).subnets(new_prefix=64))
    return next((cidr for cidr in free if cidr not in taken), "")


def _wrong_ipv6(vpc: Vpc, home: VpcRow, cidr: str) -> Failed | None:
    try:
        network = subnet6_network(cidr)
    except ValueError as error:
        return refusals.invalid("ipv6CidrBlock", cidr, str(error))
    if not home.ipv6_cidr or not network.subnet_of(IPv6Network(home.ipv6_cidr)):
        return refusals.bad_range("Subnet", cidr)
    taken = (s.ipv6_cidr for s in vpc.subnets.values() if s.vpc == home.vpc and s.ipv6_cidr)
    return refusals.conflict("Subnet", cidr) if cidr in taken else None


def _inside(cidr: str, network: IPv4Network | IPv6Network) -> bool:
    inner = ip_network(cidr)
    if isinstance(inner, IPv4Network) and isinstance(network, IPv4Network):
        return inner.subnet_of(network)
    return isinstance(inner, IPv6Network) and isinstance(network, IPv6Network) and inner.subnet_of(network)
