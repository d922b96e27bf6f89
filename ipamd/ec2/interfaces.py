"""The life of an ENI as EC2 sees it: create, attach, modify, detach, delete."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from ipamd.core.calls import Failed
from ipamd.core.types import ConnectionTracking, Instant

from . import answers, refusals
from .addresses import (
    IPV4,
    IPV6,
    NOTHING,
    SLOTS_MAX,
    Ask,
    Chosen,
    choose,
    choose6,
    ipv6_of,
    secondary_of,
    wrong_ask,
)
from .describe import network_interface
from .requests import (
    AssociateTrunkInterface,
    AttachNetworkInterface,
    CreateNetworkInterface,
    DeleteNetworkInterface,
    DetachNetworkInterface,
    ModifyNetworkInterfaceAttribute,
    RunInstances,
    Wanted,
)
from .rows import Effect, EniGone, EniRow, InstanceRow, UsedToken, identifier, mac_address
from .state import TOKEN_LIFE, Vpc
from .tags import wrong_tags

UsedRequest: TypeAlias = CreateNetworkInterface | RunInstances | AssociateTrunkInterface
"""Requests that take a client token."""

DEVICES: Final = range(100)
"""Device indexes that can be attached to (EC2-5)."""
GROUPS_MAX: Final = 16
TRACKING: Final = {"tcp_established": (60, 432_000), "udp_stream": (60, 180), "udp": (30, 60)}
"""Seconds that each timeout of connection tracking may be."""
KINDS: Final = ("interface", "trunk", "branch", "efa", "efa-only")


def create(vpc: Vpc, request: CreateNetworkInterface, now: Instant) -> Effect | Failed:
    """EC2-1: an ENI with a primary address, and with the addresses or prefixes that are asked for.

    A client token that was used within a day answers as it did then and makes nothing, even after the ENI is
    gone; with other parameters it is refused.
    """
    used = repeated(vpc, request, now) if request.token else None
    if used is not None:
        return used
    eni = new_eni(vpc, request, request.subnet, request.security_groups, request.interface_type, now)
    if isinstance(eni, Failed):
        return eni
    wrong = wrong_tags({}, request.tags) or wrong_tracking(request.tracking)
    if wrong is not None:
        return wrong
    if request.named and request.named in vpc.enis:
        return refusals.invalid("networkInterfaceId", request.named, "it exists")
    eni = msgspec.structs.replace(
        eni,
        eni=request.named or eni.eni,
        description=request.description,
        tags=request.tags,
        tracking=request.tracking,
    )
    answer = network_interface(vpc, eni)
    if not request.token:
        return Effect(answer, (eni,))
    return Effect(answer, (eni, UsedToken(request.token, request, answer, now)))


def repeated(vpc: Vpc, request: UsedRequest, now: Instant) -> Effect | Failed | None:
    """The answer to a request whose token was used, or None for a new token."""
    used = vpc.tokens.get((type(request).__name__, request.token))
    if used is None or used.at + TOKEN_LIFE <= now:
        return None
    return Effect(used.answer) if used.request == request else refusals.token_mismatch(request.token)


def new_eni(
    vpc: Vpc,
    wanted: Wanted,
    subnet: str,
    groups: tuple[str, ...],
    kind: str,
    now: Instant,
    n: int = 0,
) -> EniRow | Failed:
    """An unattached ENI that is not yet installed; `n` tells the ENIs of one change apart."""
    if subnet not in vpc.subnets:
        return refusals.no_such("subnet", subnet)
    secondary, ipv6 = secondary_of(wanted), ipv6_of(wanted)
    wrong = wrong_ask(IPV4, secondary) or wrong_ask(IPV6, ipv6) or wrong_groups(vpc, groups, subnet)
    if wrong is not None:
        return wrong
    if kind not in KINDS:
        return refusals.invalid("interfaceType", kind, f"want one of {', '.join(KINDS)}")
    if kind == "efa-only" and (wanted.primary or secondary.total or ipv6.total):
        return refusals.either("interfaceType efa-only", "IP addresses")
    if 1 + secondary.total > SLOTS_MAX or ipv6.total > SLOTS_MAX:
        return refusals.too_many_addresses()
    chosen = NOTHING if kind == "efa-only" else _choose(vpc, subnet, wanted.primary, secondary)
    if isinstance(chosen, Failed):
        return chosen
    chosen6 = choose6(vpc, subnet, ipv6) if ipv6.total else NOTHING
    if isinstance(chosen6, Failed):
        return chosen6
    return EniRow(
        eni=identifier("eni", vpc.settings.seed, vpc.serial + 1, n),
        mac=new_mac(vpc, n),
        subnet=subnet,
        created_at=now,
        addresses=chosen.addresses,
        prefixes=chosen.prefixes,
        ipv6_addresses=chosen6.addresses,
        ipv6_prefixes=chosen6.prefixes,
        security_groups=groups or (vpc.vpc_of(subnet).default_group,),
        interface_type=kind,
    )


def _choose(vpc: Vpc, subnet: str, primary: str, ask: Ask) -> Chosen | Failed:
    """The primary address first, then the secondary ones; a counted primary is one more of the count."""
    if primary:
        return choose(vpc, subnet, msgspec.structs.replace(ask, addresses=(primary, *ask.addresses)))
    counted = choose(vpc, subnet, msgspec.structs.replace(ask, address_count=ask.address_count + 1))
    if isinstance(counted, Failed) or not ask.addresses:
        return counted
    *named, first = counted.addresses
    return Chosen((first, *named), counted.prefixes)


def attach(vpc: Vpc, request: AttachNetworkInterface, now: Instant) -> Effect | Failed:
    """EC2-7: an unattached ENI becomes a device of the instance, as its type's limits allow."""
    eni = vpc.enis.get(request.eni)
    if eni is None:
        return refusals.no_such_eni(request.eni)
    host = vpc.instances.get(request.instance)
    if host is None:
        return refusals.no_such("instance", request.instance)
    if eni.attachment or eni.association:
        return refusals.already_attached(eni.eni)
    devices = [vpc.enis[e] for e in vpc.attached[host.instance]]
    wrong = unfit(vpc, eni, host, devices, request.device, request.card)
    if wrong is not None:
        return wrong
    if eni.interface_type in ("efa", "efa-only"):
        return refusals.running(host.instance)
    attachment = identifier("eni-attach", vpc.settings.seed, vpc.serial + 1)
    row = on_instance(eni, host.instance, attachment, request.device, request.card, now)
    return Effect(answers.Attached(attachment, request.card), (row,))


def on_instance(eni: EniRow, instance: str, attachment: str, device: int, card: int, now: Instant) -> EniRow:
    """The ENI as a device of an instance; delete-on-termination is off, as EC2 has it after an attach."""
    return msgspec.structs.replace(
        eni,
        attachment=attachment,
        instance=instance,
        device=device,
        card=card,
        delete_on_termination=False,
        attached_at=now,
    )


def unfit(
    vpc: Vpc, eni: EniRow, host: InstanceRow, others: list[EniRow], device: int, card: int
) -> Failed | None:
    """Why an ENI cannot be that device of the instance, which has `others`."""
    cards = host.limits.card_limits
    if not 0 <= card < len(cards):
        return refusals.invalid("networkCardIndex", card, f"{host.instance_type} has {len(cards)}")
    if device not in DEVICES:
        return refusals.invalid("deviceIndex", device, f"want {DEVICES.start} to {DEVICES.stop - 1}")
    if vpc.subnets[eni.subnet].zone != host.zone:
        return refusals.other_zone()
    beside = [e for e in others if e.card == card]
    if any(e.device == device for e in beside):
        return refusals.device_in_use(host.instance, device)
    if len(beside) >= cards[card]:
        return refusals.too_many_interfaces(len(beside) + 1, host.instance_type)
    if max(eni.slots, eni.ipv6_slots) > host.limits.ips_per_eni:
        return refusals.too_many_addresses()
    if (eni.prefixes or eni.ipv6_prefixes) and not host.limits.prefixes:
        return refusals.no_prefixes(host.instance_type)
    return _unfit_kind(eni, host, others, device, card)


def _unfit_kind(eni: EniRow, host: InstanceRow, others: list[EniRow], device: int, card: int) -> Failed | None:
    """A trunk wants a type that carries one, one an instance; of the EFA kinds there is one a card at most."""
    kind = eni.interface_type
    if kind == "branch":
        return refusals.not_attachable(eni.eni, kind)
    if kind == "trunk":
        if not host.limits.trunking_compatible:
            return refusals.wrong_kind(kind, host.instance_type)
        if any(e.interface_type == kind for e in others):
            return refusals.one_only(kind, "instance")
    if kind in ("efa", "efa-only"):
        if not host.limits.prefixes:
            return refusals.wrong_kind(kind, host.instance_type)
        if any(e.interface_type in ("efa", "efa-only") and e.card == card for e in others):
            return refusals.one_only("efa", "network card")
        if kind == "efa-only" and (device, card) == (0, 0):
            return refusals.invalid("interfaceType", kind, "the primary network interface needs an IP address")
    return None


def modify(vpc: Vpc, request: ModifyNetworkInterfaceAttribute) -> Effect | Failed:
    """EC2-9 or EC2-29: delete-on-termination of one attachment, the security groups, or another; one a request."""
    eni = vpc.enis.get(request.eni)
    if eni is None:
        return refusals.no_such_eni(request.eni)
    sent = {
        "attachment": bool(request.attachment),
        "securityGroups": request.security_groups is not None,
        "description": request.description is not None,
        "sourceDestCheck": request.source_dest_check is not None,
        "connectionTrackingSpecification": request.tracking is not None,
    }
    names = [name for name, present in sent.items() if present]
    if len(names) > 1:
        return refusals.either(names[0], names[1])
    if request.attachment:
        if request.attachment != eni.attachment:
            return refusals.no_such_attachment(request.attachment)
        return Effect(
            answers.Done(),
            (msgspec.structs.replace(eni, delete_on_termination=request.delete_on_termination),),
        )
    if request.description is not None:
        return Effect(answers.Done(), (msgspec.structs.replace(eni, description=request.description),))
    if request.source_dest_check is not None:
        return Effect(answers.Done(), (msgspec.structs.replace(eni, source_dest_check=request.source_dest_check),))
    if request.tracking is not None:
        return wrong_tracking(request.tracking) or Effect(
            answers.Done(), (msgspec.structs.replace(eni, tracking=request.tracking),)
        )
    if not request.security_groups:
        return refusals.missing("attachment or securityGroups")
    wrong = wrong_groups(vpc, request.security_groups, eni.subnet)
    if wrong is not None:
        return wrong
    return Effect(answers.Done(), (msgspec.structs.replace(eni, security_groups=request.security_groups),))


def detach(vpc: Vpc, request: DetachNetworkInterface) -> Effect | Failed:
    """EC2-22: by attachment id, which is all that EC2 is sent; a repeated call does not find it."""
    name = vpc.attachments.get(request.attachment)
    if name is None:
        return refusals.no_such_attachment(request.attachment)
    eni = vpc.enis[name]
    if eni.eni == vpc.instances[eni.instance].primary_eni:
        return refusals.primary_stays()
    if eni.interface_type in ("efa", "efa-only"):
        return refusals.running(eni.instance)
    return Effect(answers.Done(), (off_instance(eni),))


def off_instance(eni: EniRow) -> EniRow:
    """The ENI, unattached."""
    return msgspec.structs.replace(
        eni, attachment="", instance="", device=-1, card=0, delete_on_termination=False, attached_at=0
    )


def delete(vpc: Vpc, request: DeleteNetworkInterface) -> Effect | Failed:
    """EC2-24: an unattached ENI goes, and its addresses with it; a trunk's branches are then on no trunk."""
    eni = vpc.enis.get(request.eni)
    if eni is None:
        return refusals.no_such_eni(request.eni)
    if eni.attachment:
        return refusals.attached_cannot_go(eni.eni)
    return Effect(answers.Done(), (*freed_branches(vpc, eni.eni), EniGone(eni.eni)))


def freed_branches(vpc: Vpc, trunk: str) -> tuple[EniRow, ...]:
    """The branches of a trunk, on no trunk."""
    branches = [vpc.enis[branch] for branch in vpc.branches.get(trunk, ())]
    return tuple(msgspec.structs.replace(b, association="", trunk="", vlan=0) for b in branches)


def new_mac(vpc: Vpc, n: int = 0) -> str:
    """A MAC that no ENI has. 40 random bits meet one of theirs about never; then the next draw is taken."""
    salt = vpc.serial + 1 + (n << 48)
    mac = mac_address(vpc.settings.seed, salt)
    while mac in vpc.macs:
        salt += 1 << 32
        mac = mac_address(vpc.settings.seed, salt)
    return mac


def wrong_groups(vpc: Vpc, groups: tuple[str, ...], subnet: str) -> Failed | None:
    """What is wrong with a list of group ids; whether they must exist is a setting."""
    if len(groups) > GROUPS_MAX:
        return refusals.invalid("securityGroupId", len(groups), f"want {GROUPS_MAX} groups at most")
    bad = next((g for g in groups if not g.startswith("sg-")), None)
    if bad is not None:
        return refusals.malformed_group(bad)
    if not vpc.settings.groups_exist:
        return None
    home = vpc.vpc_of(subnet)
    for group in groups:
        row = vpc.groups.get(group)
        if row is None and group != home.default_group:
            return refusals.no_such("security-group", group)
        if row is not None and row.vpc != home.vpc:
            return refusals.other_vpc(group)
    return None


def wrong_tracking(tracking: ConnectionTracking | None) -> Failed | None:
    """A timeout out of its bounds."""
    for name, (least, most) in TRACKING.items():
        seconds = getattr(tracking, name, None)
        if seconds is not None and not least <= seconds <= most:
            return refusals.invalid("connectionTrackingSpecification", seconds, f"want {least} to {most} seconds")
    return None
