"""The life of an ENI as EC2 sees it: create, attach, modify, tag, detach, delete."""

from __future__ import annotations

from typing import Final

import msgspec

from ipamd.core.calls import (
    Attached,
    AttachNetworkInterface,
    CreatedEni,
    CreateNetworkInterface,
    CreateTags,
    DeleteNetworkInterface,
    DetachNetworkInterface,
    Done,
    Failed,
    ModifyNetworkInterfaceAttribute,
)
from ipamd.core.types import Instant

from . import refusals
from .addresses import SLOTS_MAX, Change, choose, wrong_counts
from .rows import EniGone, EniRow, TokenRow, identifier, mac_address
from .state import TOKEN_LIFE, Vpc

DEVICES: Final = range(100)
"""Device indexes that can be attached to (EC2-5)."""
TAGS_MAX: Final = 50
GROUPS_MAX: Final = 16


def create(vpc: Vpc, call: CreateNetworkInterface, now: Instant) -> Change | Failed:
    """EC2-1: an ENI with a primary address, and with the addresses or prefixes that the counts ask for.

    A client token that was used within a day answers as it did then and makes nothing, even after the ENI is
    gone; with other parameters it is refused.
    """
    used = vpc.tokens.get(call.token) if call.token else None
    if used is not None and used.at + TOKEN_LIFE > now:
        return Change(used.result) if used.call == call else refusals.token_mismatch(call.token)
    if call.subnet not in vpc.subnets:
        return refusals.no_such_subnet(call.subnet)
    addresses, prefixes = max(call.secondary_ips, 0), max(call.prefixes, 0)
    wrong = (
        wrong_counts(call.secondary_ips + (call.secondary_ips == -1), call.prefixes + (call.prefixes == -1))
        or wrong_groups(call.security_groups)
        or wrong_tags({}, call.tags)
    )
    if wrong is not None:
        return wrong
    if 1 + addresses + prefixes > SLOTS_MAX:
        return refusals.too_many_addresses()
    chosen = choose(vpc, call.subnet, 1 + addresses, prefixes)
    if isinstance(chosen, Failed):
        return chosen
    seed, serial = vpc.settings.seed, vpc.serial + 1
    eni = EniRow(
        eni=identifier("eni", seed, serial),
        mac=new_mac(vpc),
        subnet=call.subnet,
        created_at=now,
        addresses=chosen.addresses,
        prefixes=chosen.prefixes,
        security_groups=call.security_groups or (vpc.row.default_group,),
        description=call.description,
        tags=call.tags,
    )
    primary, *secondary = chosen.addresses
    result = CreatedEni(eni.eni, eni.mac, primary, eni.subnet, tuple(secondary), eni.prefixes)
    if not call.token:
        return Change(result, (eni,))
    return Change(result, (eni, TokenRow(call.token, call, result, now)))


def attach(vpc: Vpc, call: AttachNetworkInterface, instance: str) -> Change | Failed:
    """EC2-7: an unattached ENI becomes a device of this instance, as its type's limits allow."""
    eni = vpc.enis.get(call.eni)
    if eni is None:
        return refusals.no_such_eni(call.eni)
    host = vpc.instances.get(instance)
    if host is None:
        return refusals.no_such_instance(instance)
    if eni.attachment:
        return refusals.already_attached(eni.eni)
    cards = host.limits.card_limits
    if not 0 <= call.card < len(cards):
        return refusals.invalid("networkCardIndex", call.card, f"{host.instance_type} has {len(cards)}")
    if call.device not in DEVICES:
        return refusals.invalid("deviceIndex", call.device, f"want {DEVICES.start} to {DEVICES.stop - 1}")
    if vpc.subnets[eni.subnet].zone != host.zone:
        return refusals.other_zone()
    devices = [vpc.enis[e].device for e in vpc.attached.get(instance, {}) if vpc.enis[e].card == call.card]
    if call.device in devices:
        return refusals.device_in_use(instance, call.device)
    if len(devices) >= cards[call.card]:
        return refusals.too_many_interfaces(len(devices) + 1, host.instance_type)
    if eni.slots > host.limits.ips_per_eni:
        return refusals.too_many_addresses()
    if eni.prefixes and not host.limits.prefixes:
        return refusals.no_prefixes(host.instance_type)
    attachment = identifier("eni-attach", vpc.settings.seed, vpc.serial + 1)
    attached = msgspec.structs.replace(
        eni,
        attachment=attachment,
        instance=instance,
        device=call.device,
        card=call.card,
        delete_on_termination=False,
    )
    return Change(Attached(attachment), (attached,))


def modify(vpc: Vpc, call: ModifyNetworkInterfaceAttribute) -> Change | Failed:
    """EC2-9 or EC2-29: delete-on-termination of one attachment, or the security groups; one a call."""
    eni = vpc.enis.get(call.eni)
    if eni is None:
        return refusals.no_such_eni(call.eni)
    if call.attachment and call.security_groups is not None:
        return refusals.either("attachment", "securityGroups")
    if call.attachment:
        if call.attachment != eni.attachment:
            return refusals.no_such_attachment(call.attachment)
        return Change(
            Done(), (msgspec.structs.replace(eni, delete_on_termination=call.delete_on_termination),)
        )
    if not call.security_groups:
        return refusals.missing("attachment or securityGroups")
    wrong = wrong_groups(call.security_groups)
    if wrong is not None:
        return wrong
    return Change(Done(), (msgspec.structs.replace(eni, security_groups=call.security_groups),))


def tag(vpc: Vpc, call: CreateTags) -> Change | Failed:
    """EC2-15: the tags given replace those of the same key; the others stay."""
    eni = vpc.enis.get(call.eni)
    if eni is None:
        return refusals.no_such_eni(call.eni)
    if not call.tags:
        return refusals.missing("tag")
    wrong = wrong_tags(eni.tags, call.tags)
    if wrong is not None:
        return wrong
    return Change(Done(), (msgspec.structs.replace(eni, tags=eni.tags | call.tags),))


def detach(vpc: Vpc, call: DetachNetworkInterface) -> Change | Failed:
    """EC2-22: by attachment id, which is all that EC2 is sent; a repeated call does not find it."""
    name = vpc.attachments.get(call.attachment)
    if name is None:
        return refusals.no_such_attachment(call.attachment)
    eni = vpc.enis[name]
    if eni.eni == vpc.instances[eni.instance].primary_eni:
        return refusals.primary_stays()
    free = msgspec.structs.replace(
        eni, attachment="", instance="", device=-1, card=0, delete_on_termination=False
    )
    return Change(Done(), (free,))


def delete(vpc: Vpc, call: DeleteNetworkInterface) -> Change | Failed:
    """EC2-24: an unattached ENI goes, and its addresses with it."""
    eni = vpc.enis.get(call.eni)
    if eni is None:
        return refusals.no_such_eni(call.eni)
    if eni.attachment:
        return refusals.attached_cannot_go(eni.eni)
    return Change(Done(), (EniGone(eni.eni),))


def new_mac(vpc: Vpc) -> str:
    """A MAC that no ENI has. 40 random bits meet one of theirs about never; then the next draw is taken."""
    salt = vpc.serial + 1
    mac = mac_address(vpc.settings.seed, salt)
    while mac in vpc.macs:
        salt += 1 << 32
        mac = mac_address(vpc.settings.seed, salt)
    return mac


def wrong_groups(groups: tuple[str, ...]) -> Failed | None:
    """What is wrong with a list of group ids. Groups are names here: none is looked up."""
    if len(groups) > GROUPS_MAX:
        return refusals.invalid("securityGroupId", len(groups), f"want {GROUPS_MAX} groups at most")
    bad = next((g for g in groups if not g.startswith("sg-")), None)
    return None if bad is None else refusals.malformed_group(bad)


def wrong_tags(had: dict[str, str], more: dict[str, str]) -> Failed | None:
    """What is wrong with tags that are to be added to `had`."""
    bad = next((key for key in more if not key or len(key) > 128 or key.startswith("aws:")), None)
    if bad is not None:
        return refusals.invalid("tag key", bad, "want 1 to 128 characters that do not begin with aws:")
    bad = next((key for key, value in more.items() if len(value) > 256), None)
    if bad is not None:
        return refusals.invalid("tag value", more[bad], "want 256 characters at most")
    return refusals.too_many_tags() if len(had | more) > TAGS_MAX else None
