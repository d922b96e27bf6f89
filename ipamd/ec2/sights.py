"""What a look sees: instance metadata with its lag, and EC2's descriptions, which are the truth."""

from __future__ import annotations

from typing import assert_never

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
    MetadataView,
    ReadMetadata,
    Subnet,
    SubnetsView,
    View,
)
from ipamd.core.types import Instant

from . import refusals
from .port import Ec2Look
from .rows import EniRow
from .state import Vpc


def see(vpc: Vpc, look: Ec2Look, now: Instant, instance: str) -> View | Failed:
    """What one instance's look sees at `now`."""
    match look:
        case ReadMetadata():
            return vpc.faults.seen(metadata(vpc, now, instance))
        case DescribeNetworkInterfaces():
            return described(vpc, look.ids)
        case FindNetworkInterfaces():
            found = (e for e in vpc.enis.values() if not e.attachment and look.tags.items() <= e.tags.items())
            return EnisView(tuple(ec2_eni(e) for e in found))
        case DescribeInstances():
            return attachments(vpc, instance)
        case DescribeSubnets():
            zone = vpc.instances[instance].zone
            return SubnetsView(
                tuple(
                    Subnet(s.subnet, s.cidr, vpc.spaces[s.subnet].free, s.zone, s.tags)
                    for s in vpc.subnets.values()
                    if s.zone == zone
                )
            )
        case _:
            assert_never(look)


def metadata(vpc: Vpc, now: Instant, instance: str) -> MetadataView:
    """The instance's attached ENIs as they were `metadata_lag` ago; the groups are the primary ENI's."""
    shown = [s for h in vpc.shown.get(instance, {}).values() if (s := h.seen(now)) is not None]
    shown.sort(key=lambda s: (s.eni.card, s.eni.device))
    primary = vpc.instances[instance].primary_eni
    groups = next((s.security_groups for s in shown if s.eni.eni == primary), ())
    return MetadataView(
        enis=tuple(s.eni for s in shown), vpc_cidrs=vpc.cidrs.seen(now), security_groups=groups
    )


def described(vpc: Vpc, ids: tuple[str, ...]) -> EnisView | Failed:
    """The named ENIs in the order asked for, all of them for no names; one unknown name fails the whole."""
    for eni in ids:
        if eni not in vpc.enis:
            return refusals.no_such_eni(eni)
    return EnisView(tuple(ec2_eni(vpc.enis[e]) for e in (ids or vpc.enis)))


def attachments(vpc: Vpc, instance: str) -> AttachmentsView:
    """The instance's ENIs by card and device."""
    enis = [vpc.enis[e] for e in vpc.attached.get(instance, {})]
    enis.sort(key=lambda e: (e.card, e.device))
    return AttachmentsView(tuple(Attachment(e.eni, e.device, e.card) for e in enis))


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
    )
