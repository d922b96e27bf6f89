"""What a look sees: instance metadata with its lag, and EC2's descriptions, which are the truth or a little old."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar, assert_never, cast

from ipamd.core.calls import (
    Attachment,
    AttachmentsView,
    DescribeInstances,
    DescribeNetworkInterfaces,
    DescribeSubnets,
    Ec2Eni,
    EnisView,
    Failed,
    FindNetworkInterfaces,
    MetadataEni,
    MetadataView,
    ReadMetadata,
    Subnet,
    SubnetsView,
    View,
)
from ipamd.core.types import Instant

from . import answers, describe, refusals
from .past import Undone
from .port import Ec2Look
from .rows import EniRow, GroupRow, InstanceRow, ReservationRow, SubnetRow, VpcRow, draw
from .state import TERMINATED_SHOWN, Vpc

R = TypeVar("R")


class Seen:
    """The cloud's rows as one read finds them: as they are, or all as they were at one moment before."""

    def __init__(self, vpc: Vpc, now: Instant) -> None:
        """With stale reads, each draws its own age."""
        self.settings = vpc.settings
        self.vpcs: dict[str, VpcRow] = vpc.vpcs
        self.subnets: dict[str, SubnetRow] = vpc.subnets
        self.enis: dict[str, EniRow] = vpc.enis
        self.instances: dict[str, InstanceRow] = vpc.instances
        self.terminated: dict[str, InstanceRow] = {
            name: row for name, row in vpc.terminated.items() if row.terminated_at + TERMINATED_SHOWN > now
        }
        self.groups: dict[str, GroupRow] = vpc.groups
        self.reservations: dict[str, ReservationRow] = vpc.reservations
        self._spaces = vpc.spaces
        self._free: Mapping[str, object] = {}
        if not vpc.settings.stale:
            return
        vpc.reads += 1
        undone = vpc.past.since(now - draw("stale", vpc.settings.seed, vpc.reads) % (vpc.settings.stale + 1))
        self._free = undone.get("free", {})
        self.vpcs = _as_it_was(vpc.vpcs, undone, "vpcs")
        self.subnets = _as_it_was(vpc.subnets, undone, "subnets")
        self.enis = _as_it_was(vpc.enis, undone, "enis")
        self.instances = _as_it_was(vpc.instances, undone, "instances")
        self.terminated = _as_it_was(self.terminated, undone, "terminated")
        self.groups = _as_it_was(vpc.groups, undone, "groups")
        self.reservations = _as_it_was(vpc.reservations, undone, "reservations")

    def free(self, subnet: str) -> int:
        """AvailableIpAddressCount."""
        old = self._free.get(subnet)
        return cast(int, old) if old is not None else self._spaces[subnet].free

    def attached(self, instance: str) -> list[EniRow]:
        """The ENIs of an instance by card and device."""
        enis = [e for e in self.enis.values() if e.instance == instance]
        return sorted(enis, key=lambda e: (e.card, e.device))


def _as_it_was(now: dict[str, R], undone: Undone, table: str) -> dict[str, R]:
    changed = undone.get(table)
    if not changed:
        return now
    merged = {key: row for key, row in now.items() if key not in changed}
    merged.update({key: cast(R, old) for key, old in changed.items() if old is not None})
    return merged


def see(vpc: Vpc, look: Ec2Look, now: Instant, instance: str) -> View | Failed:
    """What one instance's look sees at `now`."""
    match look:
        case ReadMetadata():
            return vpc.faults.seen(metadata(vpc, now, instance))
        case DescribeNetworkInterfaces():
            return described(Seen(vpc, now), look.ids)
        case FindNetworkInterfaces():
            enis = Seen(vpc, now).enis.values()
            found = (e for e in enis if e.status == "available" and look.tags.items() <= e.tags.items())
            return EnisView(tuple(ec2_eni(e) for e in found))
        case DescribeInstances():
            return attachments(vpc, now, instance)
        case DescribeSubnets():
            home, seen = vpc.instances[instance], Seen(vpc, now)
            around = vpc.vpc_of(vpc.enis[home.primary_eni].subnet).vpc
            return SubnetsView(
                tuple(
                    Subnet(s.subnet, s.cidr, seen.free(s.subnet), s.zone, s.tags)
                    for s in seen.subnets.values()
                    if s.zone == home.zone and s.vpc == around
                )
            )
        case _:
            assert_never(look)


def metadata(vpc: Vpc, now: Instant, instance: str) -> MetadataView:
    """The instance's attached ENIs as they were `metadata_lag` ago; the groups are the primary ENI's."""
    shown = metadata_rows(vpc, now, instance)
    host = vpc.instances[instance]
    primary = vpc.enis[host.primary_eni]
    groups = next((s.security_groups for s in shown if s.eni == primary.eni), ())
    around = vpc.cidrs[vpc.subnets[primary.subnet].vpc].seen(now)
    return MetadataView(
        enis=tuple([_metadata_eni(vpc, s) for s in shown]),
        vpc_cidrs=around.cidrs,
        security_groups=groups,
        vpc_cidrs6=(around.ipv6_cidr,) if around.ipv6_cidr else (),
    )


def metadata_rows(vpc: Vpc, now: Instant, instance: str) -> list[EniRow]:
    """The ENIs that instance metadata shows, by card and device."""
    shown = [s for h in vpc.shown.get(instance, {}).values() if (s := h.seen(now)) is not None]
    shown.sort(key=lambda s: (s.card, s.device))
    return shown


def instance_metadata(vpc: Vpc, now: Instant, instance: str) -> answers.InstanceMetadata | Failed:
    """Everything an instance's own metadata shows of its network, IPv6 included."""
    host = vpc.instances.get(instance)
    if host is None:
        return refusals.no_such("instance", instance)
    shown = metadata_rows(vpc, now, instance)
    home = vpc.subnets[vpc.enis[host.primary_eni].subnet].vpc
    names = dict.fromkeys(row.subnet for row in shown)
    return answers.InstanceMetadata(
        instance=instance,
        instance_type=host.instance_type,
        region=vpc.region,
        zone=host.zone,
        interfaces=tuple(describe.network_interface(vpc, row) for row in shown),
        subnets={name: describe.subnet(vpc, vpc.subnets[name], 0) for name in names},
        vpc=describe.vpc_description(vpc, vpc.cidrs[home].seen(now)),
        launched_at=host.launched_at,
        tags=host.tags,
    )


def _metadata_eni(vpc: Vpc, row: EniRow) -> MetadataEni:
    return MetadataEni(
        eni=row.eni,
        mac=row.mac,
        device=row.device,
        subnet=row.subnet,
        subnet_cidr=vpc.subnets[row.subnet].cidr,
        addresses=row.addresses,
        prefixes=row.prefixes,
        card=row.card,
        ipv6_addresses=row.ipv6_addresses,
        ipv6_prefixes=row.ipv6_prefixes,
        subnet_cidr6=vpc.subnets[row.subnet].ipv6_cidr,
    )


def described(seen: Seen, ids: tuple[str, ...]) -> EnisView | Failed:
    """The named ENIs in the order asked for, all of them for no names; one unknown name fails the whole."""
    for eni in ids:
        if eni not in seen.enis:
            return refusals.no_such_eni(eni)
    return EnisView(tuple([ec2_eni(seen.enis[e]) for e in (ids or seen.enis)]))


def attachments(vpc: Vpc, now: Instant, instance: str) -> AttachmentsView:
    """The instance's ENIs by card and device."""
    if vpc.settings.stale:
        enis = Seen(vpc, now).attached(instance)
    else:
        enis = sorted((vpc.enis[e] for e in vpc.attached.get(instance, ())), key=lambda e: (e.card, e.device))
    return AttachmentsView(tuple([Attachment(e.eni, e.device, e.card) for e in enis]))


def ec2_eni(row: EniRow) -> Ec2Eni:
    """An ENI as EC2 describes it."""
    return Ec2Eni(
        eni=row.eni,
        mac=row.mac,
        subnet=row.subnet,
        status=row.status,
        addresses=row.addresses,
        prefixes=row.prefixes,
        attachment=row.attachment,
        instance=row.instance,
        device=row.device,
        card=row.card,
        delete_on_termination=row.delete_on_termination,
        interface_type=row.interface_type,
        description=row.description,
        tags=row.tags,
        security_groups=row.security_groups,
        created_at=row.created_at,
        ipv6_addresses=row.ipv6_addresses,
        ipv6_prefixes=row.ipv6_prefixes,
        tracking=row.tracking,
    )
