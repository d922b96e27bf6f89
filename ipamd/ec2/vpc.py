"""A VPC as a pure model: no I/O, no clock, no chance. `apply` changes it, `look` reads it.

`now` is an argument; how long a request takes is `Latency`'s figure, which a driver lets pass before calling
here. The same model runs in the embedded cloud and in the simulator.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Final, assert_never

import msgspec

from ipamd.core.calls import (
    AssignPrivateIpAddresses,
    AttachNetworkInterface,
    CreateNetworkInterface,
    CreateTags,
    DeleteNetworkInterface,
    DetachNetworkInterface,
    Ec2Call,
    Failed,
    Lost,
    ModifyNetworkInterfaceAttribute,
    Outcome,
    Succeeded,
    UnassignPrivateIpAddresses,
    View,
)
from ipamd.core.settings import Node
from ipamd.core.types import Instant

from . import addresses, interfaces, refusals
from .addresses import Change
from .faults import Fault
from .limits import limits_of, max_pods
from .port import Ec2Look, operation
from .rows import EniRow, InstanceRow, Row, SubnetRow, VpcRow, identifier
from .sights import see
from .space import subnet_network, vpc_network
from .state import Vpc, VpcSettings

DEFAULT_SUBNET = "10.0.0.0/16"
DEFAULT_REGION = "us-west-2"
DEFAULT_ZONE = "us-west-2a"
PLAIN: Final = VpcSettings()
"""Seed 0, packed placement, no lag, no throttling."""


class Performed(msgspec.Struct, frozen=True):
    """What the caller hears, and the rows that changed (none for a refusal or a repeated token)."""

    outcome: Outcome
    rows: tuple[Row, ...] = ()


def apply(vpc: Vpc, call: Ec2Call, now: Instant, instance: str = "") -> Outcome:
    """Carry out one call of one instance (the first one by default) and say what its caller hears."""
    return perform(vpc, call, now, instance).outcome


def perform(vpc: Vpc, call: Ec2Call, now: Instant, instance: str = "") -> Performed:
    """As `apply`, with the rows that changed, for those who keep a log."""
    now = max(now, vpc.at)
    struck = vpc.faults.strike(operation(call))
    if struck is not None and not struck.lost:
        return Performed(Failed(struck.code, struck.message))
    if struck is not None and not struck.effect:
        return Performed(lost(struck))
    if vpc.throttle.admit(operation(call), now):
        change = decide(vpc, call, now, instance or vpc.first_instance)
    else:
        change = refusals.throttled()
    if isinstance(change, Failed):
        return Performed(change if struck is None else lost(struck))
    if change.rows:
        vpc.install(change.rows, now)
    return Performed(Succeeded(change.result) if struck is None else lost(struck), change.rows)


def decide(vpc: Vpc, call: Ec2Call, now: Instant, instance: str) -> Change | Failed:
    """What the call's effect would be; changes nothing."""
    match call:
        case CreateNetworkInterface():
            return interfaces.create(vpc, call, now)
        case AttachNetworkInterface():
            return interfaces.attach(vpc, call, instance)
        case ModifyNetworkInterfaceAttribute():
            return interfaces.modify(vpc, call)
        case AssignPrivateIpAddresses():
            return addresses.assign(vpc, call)
        case UnassignPrivateIpAddresses():
            return addresses.unassign(vpc, call)
        case DetachNetworkInterface():
            return interfaces.detach(vpc, call)
        case DeleteNetworkInterface():
            return interfaces.delete(vpc, call)
        case CreateTags():
            return interfaces.tag(vpc, call)
        case _:
            assert_never(call)


def look(vpc: Vpc, look: Ec2Look, now: Instant, instance: str = "") -> View | Failed | Lost:
    """Read once, as one instance (the first one by default). Only faults and token buckets remember it."""
    now = max(now, vpc.at)
    struck = vpc.faults.strike(type(look).__name__, operation(look))
    if struck is not None:
        return lost(struck) if struck.lost else Failed(struck.code, struck.message)
    if not vpc.throttle.admit(operation(look), now):
        return refusals.throttled()
    return see(vpc, look, now, instance or vpc.first_instance)


def lost(fault: Fault) -> Lost:
    return Lost(f"injected: the reply to {fault.action} was lost")


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
) -> Vpc:
    """A VPC with one subnet and one running instance; `vpc_cidr` is by default the /16 around the subnet.

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
    other = next((s for s in vpc.subnets.values() if network.overlaps(IPv4Network(s.cidr))), None)
    if other is not None:
        raise ValueError(f"subnet {cidr}: overlaps {other.subnet} ({other.cidr}); choose a free range")
    row = SubnetRow(identifier("subnet", vpc.settings.seed, vpc.serial + 1), cidr, zone, tags or {})
    vpc.install((row,), now)
    return row


def launch(vpc: Vpc, instance_type: str, subnet: str, *, now: Instant) -> InstanceRow:
    """One more running instance with its primary ENI (device 0) in the subnet.

    Raises `UnknownInstanceType`, and ValueError if the subnet has no free address.
    """
    limits = limits_of(instance_type)
    seed, serial = vpc.settings.seed, vpc.serial + 1
    chosen = addresses.choose(vpc, subnet, 1, 0)
    if isinstance(chosen, Failed):
        raise ValueError(f"{subnet}: no address for the instance's primary ENI: {chosen.message}")
    instance = identifier("i", seed, serial)
    eni = EniRow(
        eni=identifier("eni", seed, serial),
        mac=interfaces.new_mac(vpc),
        subnet=subnet,
        created_at=now,
        addresses=chosen.addresses,
        security_groups=(vpc.row.default_group,),
        attachment=identifier("eni-attach", seed, serial),
        instance=instance,
        device=0,
        delete_on_termination=True,
    )
    row = InstanceRow(instance, instance_type, vpc.subnets[subnet].zone, limits, eni.eni, now)
    vpc.install((row, eni), now, settled=True)
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
        region=vpc.row.region,
        zone=host.zone,
        vpc=vpc.row.vpc,
        subnet=primary.subnet,
        primary_eni=primary.eni,
        primary_ip=primary.addresses[0],
        enis_max=host.limits.enis,
        ips_per_eni=host.limits.ips_per_eni,
        max_pods=max_pods(host.instance_type),
        trunking_compatible=host.limits.trunking_compatible,
    )
