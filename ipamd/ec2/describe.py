"""Rows as EC2 describes them."""

from __future__ import annotations

from typing import Protocol

from . import answers
from .limits import Limits
from .rows import (
    EniRow,
    GroupRow,
    InstanceRow,
    ReservationRow,
    SubnetRow,
    VpcRow,
    association_id,
)
from .state import VpcSettings


class Tables(Protocol):
    """The rows that a description is made of: the cloud's own, or those of a moment ago."""

    settings: VpcSettings

    @property
    def vpcs(self) -> dict[str, VpcRow]: ...

    @property
    def subnets(self) -> dict[str, SubnetRow]: ...

    @property
    def enis(self) -> dict[str, EniRow]: ...


def vpc_description(tables: Tables, row: VpcRow) -> answers.Vpc:
    return answers.Vpc(
        vpc=row.vpc,
        cidrs=tuple(answers.Association(association_id("vpc-cidr-assoc", row.vpc, c), c) for c in row.cidrs),
        ipv6_cidrs=_associated("vpc-cidr-assoc", row.vpc, row.ipv6_cidr),
        default_group=row.default_group,
        owner=tables.settings.account,
        tags=row.tags,
    )


def subnet(tables: Tables, row: SubnetRow, free: int) -> answers.Subnet:
    return answers.Subnet(
        subnet=row.subnet,
        vpc=row.vpc,
        cidr=row.cidr,
        zone=row.zone,
        free=free,
        ipv6_cidrs=_associated("subnet-cidr-assoc", row.subnet, row.ipv6_cidr),
        owner=tables.settings.account,
        tags=row.tags,
    )


def reservation(tables: Tables, row: ReservationRow) -> answers.CidrReservation:
    return answers.CidrReservation(
        reservation=row.reservation,
        subnet=row.subnet,
        cidr=row.cidr,
        reservation_type=row.reservation_type,
        owner=tables.settings.account,
        description=row.description,
        tags=row.tags,
    )


def group(tables: Tables, row: GroupRow) -> answers.SecurityGroup:
    return answers.SecurityGroup(
        group=row.group,
        name=row.name,
        vpc=row.vpc,
        description=row.description,
        owner=tables.settings.account,
        tags=row.tags,
    )


def network_interface(tables: Tables, row: EniRow) -> answers.NetworkInterface:
    home = tables.subnets.get(row.subnet)
    return answers.NetworkInterface(
        eni=row.eni,
        mac=row.mac,
        subnet=row.subnet,
        vpc=home.vpc if home else "",
        zone=home.zone if home else "",
        owner=tables.settings.account,
        status=row.status,
        interface_type=row.interface_type,
        addresses=row.addresses,
        prefixes=row.prefixes,
        ipv6_addresses=row.ipv6_addresses,
        ipv6_prefixes=row.ipv6_prefixes,
        security_groups=row.security_groups,
        description=row.description,
        source_dest_check=row.source_dest_check,
        attachment=row.attachment,
        instance=row.instance,
        device=row.device,
        card=row.card,
        delete_on_termination=row.delete_on_termination,
        attached_at=row.attached_at,
        created_at=row.created_at,
        tags=row.tags,
        tracking=row.tracking,
    )


def trunk_association(row: EniRow) -> answers.TrunkAssociation:
    return answers.TrunkAssociation(row.association, row.eni, row.trunk, row.vlan)


def instance(tables: Tables, row: InstanceRow, enis: list[EniRow]) -> answers.Instance:
    """A running one with its ENIs by card and device, or a terminated one, which has none."""
    primary = next((e for e in enis if e.eni == row.primary_eni), None)
    home = tables.subnets.get(primary.subnet) if primary else None
    return answers.Instance(
        instance=row.instance,
        instance_type=row.instance_type,
        zone=row.zone,
        state="terminated" if row.terminated_at else "running",
        vpc=home.vpc if home else "",
        subnet=primary.subnet if primary else "",
        primary=primary.addresses[0] if primary else "",
        interfaces=tuple(network_interface(tables, e) for e in sorted(enis, key=lambda e: (e.card, e.device))),
        launched_at=row.launched_at,
        owner=tables.settings.account,
        tags=row.tags,
    )


def instance_type(name: str, limits: Limits) -> answers.InstanceType:
    return answers.InstanceType(
        instance_type=name,
        enis=limits.enis,
        ipv4_per_eni=limits.ips_per_eni,
        ipv6_per_eni=limits.ips_per_eni,
        cards=limits.card_limits,
        hypervisor=limits.hypervisor,
        bare_metal=limits.bare_metal,
        trunking_compatible=limits.trunking_compatible,
    )


def _associated(kind: str, resource: str, cidr: str) -> tuple[answers.Association, ...]:
    return (answers.Association(association_id(kind, resource, cidr), cidr),) if cidr else ()
