"""VPCs as a pure model: no I/O, no clock, no chance. `serve` answers EC2's actions; `apply` and `look` ipamd's.

`now` is an argument; how long a request takes is `Latency`'s figure and what a fault adds, which a driver lets pass
around the call here. The same model runs in the embedded cloud, behind moto's API and in the simulator.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from ipaddress import IPv4Network
from typing import Final, assert_never

import msgspec

from ipamd.core.calls import Ec2Call, Failed, Lost, Outcome, Succeeded, View
from ipamd.core.settings import Node
from ipamd.core.types import Instant

from . import addresses, answers, instances, interfaces, networks, refusals, requests, tags, trunks
from .core_calls import request_of, result_of
from .faults import Fault
from .limits import limits_of, max_pods
from .listing import listing
from .port import Ec2Look, operation
from .requests import Change, InterfaceChange, Request, VpcChange
from .rows import Effect, InstanceRow, Row, SubnetRow, VpcRow, identifier
from .sights import instance_metadata, see
from .space import subnet_network, vpc_network
from .state import Vpc, VpcSettings

DEFAULT_SUBNET = "10.0.0.0/16"
DEFAULT_REGION = "us-west-2"
DEFAULT_ZONE = "us-west-2a"
PLAIN: Final = VpcSettings()
"""Seed 0, packed placement, no lag, no throttling."""
SHAPE_CODES: Final = frozenset({refusals.MISSING_PARAMETER, refusals.INVALID_COMBINATION, refusals.INVALID_VALUE})
"""What a permitted dry run is refused with all the same: a request that cannot be right."""


class Served(msgspec.Struct, frozen=True):
    """What a request is answered, and the rows that changed (none for a refusal or a repeated token).

    `earlier` are the rows of a first change, when a fault has the request done twice; `delay` is how much longer
    the answer takes than usual, in ns.
    """

    answer: answers.Answer | Failed | Lost
    rows: tuple[Row, ...] = ()
    settled: bool = False
    earlier: tuple[Row, ...] = ()
    delay: int = 0


class Performed(msgspec.Struct, frozen=True):
    """As `Served`, for one of ipamd's calls."""

    outcome: Outcome
    rows: tuple[Row, ...] = ()
    earlier: tuple[Row, ...] = ()
    delay: int = 0


def apply(vpc: Vpc, call: Ec2Call, now: Instant, instance: str = "") -> Outcome:
    """Carry out one call of one instance (the first one by default) and say what its caller hears."""
    return perform(vpc, call, now, instance).outcome


def perform(vpc: Vpc, call: Ec2Call, now: Instant, instance: str = "") -> Performed:
    """As `apply`, with the rows that changed, for those who keep a log."""
    served = serve(vpc, request_of(call, instance or vpc.first_instance), now)
    told = served.answer
    outcome = told if isinstance(told, Failed | Lost) else Succeeded(result_of(told))
    return Performed(outcome, served.rows, served.earlier, served.delay)


def serve(vpc: Vpc, request: Request, now: Instant) -> Served:
    """Answer one request: faults first, then throttling, permission, dry run, and what it is about."""
    now = max(now, vpc.at)
    action = operation(request)
    fault = vpc.faults.strike(action, now=now)
    delay = 0 if fault is None else fault.delay
    if fault is not None and fault.refuses:
        return Served(Failed(fault.code, fault.message), delay=delay)
    if fault is not None and fault.lost and not fault.effect:
        return Served(_lost(action), delay=delay)
    if not isinstance(request, requests.ReadInstanceMetadata):
        refusal = _refused(vpc, request, action, now)
        if refusal is not None:
            return Served(refusal, delay=delay)
    if fault is not None and fault.at_most >= 0:
        request = _fewer(request, fault.at_most)
    if isinstance(request, requests.ReadInstanceMetadata):
        return Served(instance_metadata(vpc, now, request.instance), delay=delay)
    if not isinstance(request, Change):
        page = listing(vpc, request, now)
        return Served(_lost(action) if fault is not None and fault.lost else page, delay=delay)
    earlier = _carry_out(vpc, request, now).rows if fault is not None and fault.twice else ()
    served = _carry_out(vpc, request, now)
    if fault is None:
        return served
    told = _lost(action) if fault.lost else served.answer
    return Served(told, served.rows, served.settled, earlier, delay)


def _refused(vpc: Vpc, request: Change | requests.Listing, action: str, now: Instant) -> Failed | None:
    """Refused whatever it is about: too many requests, no permission, or a dry run, which is always refused."""
    if not vpc.throttle.admit(action, now, vpc.settings.account, vpc.region):
        return refusals.throttled()
    if any(fnmatchcase(action, pattern.removeprefix("ec2:")) for pattern in vpc.settings.denied):
        return refusals.unauthorized()
    if not request.dry_run:
        return None
    wet = msgspec.structs.replace(request, dry_run=False)
    tried = decide(vpc, wet, now) if isinstance(wet, Change) else listing(vpc, wet, now)
    malformed = isinstance(tried, Failed) and (tried.code in SHAPE_CODES or tried.code.endswith(".Malformed"))
    return tried if isinstance(tried, Failed) and malformed else refusals.dry_run()


def _carry_out(vpc: Vpc, request: Change, now: Instant) -> Served:
    effect = decide(vpc, request, now)
    if isinstance(effect, Failed):
        return Served(effect)
    if effect.rows:
        vpc.install(effect.rows, now, settled=effect.settled)
    return Served(effect.answer, effect.rows, effect.settled)


def _fewer(request: Request, at_most: int) -> Request:
    """A request that is granted only in part: its counts are cut."""
    if not isinstance(request, requests.AssignPrivateIpAddresses | requests.AssignIpv6Addresses):
        return request
    counts = {"address_count": min(request.address_count, at_most), "prefix_count": min(request.prefix_count, at_most)}
    return msgspec.structs.replace(request, **counts)


def _lost(action: str) -> Lost:
    return Lost(f"injected: the reply to {action} was lost")


def decide(vpc: Vpc, request: Change, now: Instant) -> Effect | Failed:
    """What the request's effect would be; changes nothing."""
    if isinstance(request, VpcChange):
        return _decide_vpc(vpc, request)
    return _decide_interface(vpc, request, now)


def _decide_interface(vpc: Vpc, request: InterfaceChange, now: Instant) -> Effect | Failed:
    match request:
        case requests.AssignPrivateIpAddresses():
            return addresses.assign(vpc, request)
        case requests.UnassignPrivateIpAddresses():
            return addresses.unassign(vpc, request)
        case requests.CreateNetworkInterface():
            return interfaces.create(vpc, request, now)
        case requests.AttachNetworkInterface():
            return interfaces.attach(vpc, request, now)
        case requests.ModifyNetworkInterfaceAttribute():
            return interfaces.modify(vpc, request)
        case requests.DetachNetworkInterface():
            return interfaces.detach(vpc, request)
        case requests.DeleteNetworkInterface():
            return interfaces.delete(vpc, request)
        case requests.AssignIpv6Addresses():
            return addresses.assign6(vpc, request)
        case requests.UnassignIpv6Addresses():
            return addresses.unassign6(vpc, request)
        case requests.AssociateTrunkInterface():
            return trunks.associate(vpc, request, now)
        case requests.DisassociateTrunkInterface():
            return trunks.disassociate(vpc, request)
        case requests.RunInstances():
            return instances.run(vpc, request, now)
        case requests.TerminateInstances():
            return instances.terminate(vpc, request, now)
        case _:
            assert_never(request)


def _decide_vpc(vpc: Vpc, request: VpcChange) -> Effect | Failed:
    match request:
        case requests.CreateTags():
            return tags.create(vpc, request)
        case requests.DeleteTags():
            return tags.delete(vpc, request)
        case requests.CreateVpc():
            return networks.create_vpc(vpc, request)
        case requests.DeleteVpc():
            return networks.delete_vpc(vpc, request)
        case requests.AssociateVpcCidrBlock():
            return networks.associate_vpc(vpc, request)
        case requests.DisassociateVpcCidrBlock():
            return networks.disassociate_vpc(vpc, request)
        case requests.CreateSubnet():
            return networks.create_subnet(vpc, request)
        case requests.DeleteSubnet():
            return networks.delete_subnet(vpc, request)
        case requests.AssociateSubnetCidrBlock():
            return networks.associate_subnet(vpc, request)
        case requests.DisassociateSubnetCidrBlock():
            return networks.disassociate_subnet(vpc, request)
        case requests.CreateSubnetCidrReservation():
            return networks.create_reservation(vpc, request)
        case requests.DeleteSubnetCidrReservation():
            return networks.delete_reservation(vpc, request)
        case requests.CreateSecurityGroup():
            return networks.create_group(vpc, request)
        case requests.DeleteSecurityGroup():
            return networks.delete_group(vpc, request)
        case _:
            assert_never(request)


def look(vpc: Vpc, look: Ec2Look, now: Instant, instance: str = "") -> View | Failed | Lost:
    """Read once, as one instance (the first one by default). Only faults, token buckets and stale reads remember it."""
    return look_delayed(vpc, look, now, instance)[0]


def look_delayed(vpc: Vpc, look: Ec2Look, now: Instant, instance: str = "") -> tuple[View | Failed | Lost, int]:
    """As `look`, with how much longer than usual the answer takes, in ns."""
    now = max(now, vpc.at)
    fault = vpc.faults.strike(type(look).__name__, operation(look), now=now)
    return _look(vpc, look, now, instance, fault), 0 if fault is None else fault.delay


def _look(vpc: Vpc, look: Ec2Look, now: Instant, instance: str, fault: Fault | None) -> View | Failed | Lost:
    action = operation(look)
    if fault is not None and fault.refuses:
        return Failed(fault.code, fault.message)
    if fault is not None and fault.lost:
        return _lost(fault.action)
    if action != "ReadMetadata":
        if not vpc.throttle.admit(action, now, vpc.settings.account, vpc.region):
            return refusals.throttled()
        if any(fnmatchcase(action, pattern.removeprefix("ec2:")) for pattern in vpc.settings.denied):
            return refusals.unauthorized()
    return see(vpc, look, now, instance or vpc.first_instance)


# ---- how a cloud begins ------------------------------------------------------------------------------------


def make_vpc(
    settings: VpcSettings = PLAIN,
    *,
    instance_type: str = "m5.large",
    subnet: str = DEFAULT_SUBNET,
    vpc_cidr: str = "",
    region: str = DEFAULT_REGION,
    zone: str = DEFAULT_ZONE,
    now: Instant = 0,
    ipv6: bool = False,
) -> Vpc:
    """A VPC with one subnet and one running instance; `vpc_cidr` is by default the /16 around the subnet.

    With `ipv6` the VPC has a /56, the subnet a /64 of it, and the primary ENI an address of that.

    Raises ValueError for a subnet EC2 would refuse, `UnknownInstanceType` for a type without known limits.
    """
    limits_of(instance_type)
    around = vpc_network(vpc_cidr) if vpc_cidr else subnet_network(subnet).supernet(new_prefix=16)
    vpc = Vpc(settings)
    row = VpcRow(
        vpc=identifier("vpc", settings.seed, 1),
        region=region,
        cidrs=(str(around),),
        default_group=identifier("sg", settings.seed, 1),
        ipv6_cidr=networks.ipv6_of(settings.seed, 1) if ipv6 else "",
    )
    vpc.install((row,), now, settled=True)
    launch(vpc, instance_type, add_subnet(vpc, subnet, zone, now=now).subnet, now=now)
    return vpc


def add_subnet(
    vpc: Vpc, cidr: str, zone: str = DEFAULT_ZONE, *, tags: dict[str, str] | None = None, now: Instant
) -> SubnetRow:
    """One more subnet. Raises ValueError if it lies outside the VPC or overlaps another subnet."""
    network = subnet_network(cidr)
    if not any(network.subnet_of(IPv4Network(c)) for c in vpc.row.cidrs):
        raise ValueError(f"subnet {cidr}: lies outside {', '.join(vpc.row.cidrs)}; give the VPC a CIDR first")
    beside = (s for s in vpc.subnets.values() if s.vpc == vpc.row.vpc)
    other = next((s for s in beside if network.overlaps(IPv4Network(s.cidr))), None)
    if other is not None:
        raise ValueError(f"subnet {cidr}: overlaps {other.subnet} ({other.cidr}); choose a free range")
    name = identifier("subnet", vpc.settings.seed, vpc.serial + 1)
    row = SubnetRow(name, cidr, zone, tags or {}, vpc.row.vpc, networks.next_ipv6(vpc, vpc.row))
    vpc.install((row,), now)
    return row


def launch(vpc: Vpc, instance_type: str, subnet: str, *, now: Instant) -> InstanceRow:
    """One more running instance with its primary ENI (device 0) in the subnet, with an IPv6 address if that has any.

    Raises `UnknownInstanceType`, and ValueError if the subnet has no free address.
    """
    limits_of(instance_type)
    wide = int(bool(vpc.subnets[subnet].ipv6_cidr))
    effect = instances.run(vpc, requests.RunInstances(instance_type, subnet, ipv6_address_count=wide), now)
    if isinstance(effect, Failed):
        raise ValueError(f"{subnet}: no address for the instance's primary ENI: {effect.message}")
    vpc.install(effect.rows, now, settled=True)
    row = effect.rows[0]
    assert isinstance(row, InstanceRow)
    return row


def associate_cidr(vpc: Vpc, cidr: str, *, now: Instant) -> VpcRow:
    """One more CIDR of the VPC; instance metadata shows it after its lag. Raises ValueError for a bad one."""
    network = vpc_network(cidr)
    if any(network.overlaps(IPv4Network(c)) for c in vpc.row.cidrs):
        raise ValueError(f"CIDR {cidr}: overlaps the VPC's ({', '.join(vpc.row.cidrs)}); choose a free range")
    row = msgspec.structs.replace(vpc.row, cidrs=(*vpc.row.cidrs, cidr))
    vpc.install((row,), now)
    return row


def node_of(vpc: Vpc, instance: str = "") -> Node:
    """Facts of one instance (the first by default) as `Started` records them (INIT-9, INIT-12, INIT-32)."""
    host = vpc.instances[instance or vpc.first_instance]
    primary = vpc.enis[host.primary_eni]
    return Node(
        instance=host.instance,
        instance_type=host.instance_type,
        region=vpc.region,
        zone=host.zone,
        vpc=vpc.subnets[primary.subnet].vpc,
        subnet=primary.subnet,
        primary_eni=primary.eni,
        primary_ip=primary.addresses[0],
        enis_max=host.limits.enis,
        ips_per_eni=host.limits.ips_per_eni,
        max_pods=max_pods(host.instance_type),
        trunking_compatible=host.limits.trunking_compatible,
        cards=host.limits.cards,
        primary_ip6=primary.ipv6_addresses[0] if primary.ipv6_addresses else "",
    )
