"""What is attached to the instance at start, and what of it is ours (INIT-20..23)."""

from __future__ import annotations

from . import adopt, cards, tracking
from . import events as ev
from .calls import Ec2Eni, EnisView, Failed, Lost, MetadataEni, SubnetsView, View
from .grow import start_growing
from .state import State
from .steps import moved, text_of
from .subnets import excluded
from .work import Adoption, Candidate, Grow, Init


def fatal(step: str, why: Failed | Lost) -> list[ev.Event]:
    """The end of node init."""
    code = why.code if isinstance(why, Failed) else ""
    return [ev.InitFailed(step, code, text_of(why))]


def described(state: State, work: Init, seen: EnisView) -> list[ev.Event]:
    """Everything attached is known (INIT-21, INIT-22): what is ours, which cards have stores, what left meanwhile."""
    bare = [eni.eni for eni in seen.enis if not _addressed(eni)]
    if bare:
        return fatal("describe", Failed("", f"DescribeAllENIs: No IPv4 and IPv6 addresses found: {bare[0]}"))
    return [*tracking.seen(state, seen.enis), *_known(state, _candidates(state, work, seen))]


def from_metadata(state: State, work: Init) -> list[ev.Event]:
    """EC2-32: without EC2 there are no tags and no types; an ENI without any address is efa-only and left out."""
    ipv6 = state.settings.ipv6
    found = []
    for shown in work.seen:
        own = shown.ipv6_addresses if ipv6 else shown.addresses
        if own:
            cidr = shown.subnet_cidr6 if ipv6 else shown.subnet_cidr
            addresses, prefixes = ((), ()) if ipv6 else (shown.addresses[1:], shown.prefixes)
            found.append(
                Candidate(
                    shown.eni, shown.mac, shown.device, shown.card, shown.subnet, cidr, own[0], addresses, prefixes
                )
            )
    return _known(state, tuple(sorted(found, key=lambda candidate: (candidate.card, candidate.device))))


def _known(state: State, attached: tuple[Candidate, ...]) -> list[ev.Event]:
    found = cards.sort_out(state, attached)
    ours = [candidate for candidate in attached if candidate.eni not in found.outside]
    queue = tuple(candidate for candidate in ours if candidate.primary_ip)
    homeless = [candidate.eni for candidate in ours if not candidate.primary_ip]
    there = {candidate.eni: candidate.card for candidate in attached if candidate.eni not in homeless}
    left = _left(state, {eni: card for eni, card in there.items() if eni not in found.outside}, there)
    events = [*left, *cards.changes(state, found)]
    events += [ev.ErrorCounted("waitENIAttachedMaxRetryExceeded", f"{eni}: has no IPv6 address") for eni in homeless]
    if state.settings.ipv6 and state.settings.subnet_discovery:
        return [*events, moved(Init("subnets", adoption=Adoption(queue)))]
    return [*events, moved(Init("adopt", adoption=adopt.start(state, queue)))]


def _addressed(eni: Ec2Eni) -> bool:
    """EC2-31: only an efa-only ENI may lack an address of either family."""
    return bool(eni.addresses or eni.ipv6_addresses) or eni.interface_type == cards.EFA_ONLY


def _left(state: State, ours: dict[str, int], there: dict[str, int]) -> list[ev.Event]:
    """What the store loses. An ENI with pods whose card is not managed any more stays, and takes no more of them."""
    events: list[ev.Event] = []
    for eni in state.enis.values():
        if eni.eni in ours:
            continue
        parked = eni.eni in there and eni.assigned and there[eni.eni] not in _cards(state)
        if parked and not state.settings.quirks.restart_trusts_metadata:
            events += [] if eni.excluded else [ev.EniExcluded(eni.eni, True)]
        else:
            events.append(ev.EniLeft(eni.eni, "gone", eni.assigned))
    return events


def _cards(state: State) -> range:
    """Cards that ENABLE_MULTI_NIC lets us manage at all."""
    return range(len(state.node.cards)) if state.settings.multi_nic else range(1)


def judged(state: State, work: Init, seen: View | Failed) -> list[ev.Event]:
    """INIT-23: in IPv6 mode the ENIs of excluded subnets stay out of the store; if none is left one is made.

    One that holds pods stays and is excluded, so that nobody is given an address that a pod has (DM-64).
    """
    assert work.adoption is not None
    queue = work.adoption.queue
    if isinstance(seen, Failed):
        logs = adopt.unpermitted(state, seen)
        if not logs:
            return fatal("subnets", Failed(seen.code, f"checking to excluded configured subnet: {seen.message}"))
        return [*logs, moved(Init("adopt", adoption=adopt.start(state, queue, ())))]
    assert isinstance(seen, SubnetsView)
    out = excluded(state, seen.subnets)
    drops = state.settings.quirks.restart_trusts_metadata
    left: list[ev.Event] = []
    kept = []
    for candidate in queue:
        known = state.enis.get(candidate.eni)
        if candidate.subnet not in out or (known is not None and known.assigned and not drops):
            kept.append(candidate)
        elif known is not None:
            left.append(ev.EniLeft(known.eni, "gone", known.assigned))
    lacking = all(candidate.subnet in out for candidate in kept)
    adoption = adopt.start(state, tuple(kept), out)
    return [*left, moved(Init("adopt", adoption=adoption, lacking=lacking))]


def allocate(state: State) -> list[ev.Event]:
    """INIT-23: an ENI in a subnet that may be used; what keeps it from coming is fatal."""
    grown = start_growing(state, 0, 1, "links")
    if isinstance(grown[0], ev.WorkMoved) and isinstance(grown[0].work, Grow):
        return [ev.PoolActed("increase"), *grown]
    return fatal("allocate", Failed("", "every ENI is in an excluded subnet, and there is no room for another"))


def _candidates(state: State, work: Init, seen: EnisView) -> tuple[Candidate, ...]:
    """What is attached, by device number. EC2 is believed where metadata differs, unless the quirk says otherwise."""
    shown_by_id = {shown.eni: shown for shown in work.seen}
    trusts_metadata = state.settings.quirks.restart_trusts_metadata
    found = []
    for eni in seen.enis:
        shown = shown_by_id.get(eni.eni)
        attached = eni.instance == state.node.instance and bool(eni.attachment)
        if not attached and (shown is None or not trusts_metadata):
            continue
        if trusts_metadata and shown is not None:
            addresses, prefixes = shown.addresses[1:], shown.prefixes
        else:
            addresses, prefixes = eni.addresses[1:], eni.prefixes
        if state.settings.custom_networking and eni.eni == state.node.primary_eni:
            prefixes = ()  # POOL-42
        found.append(_candidate(state, eni, shown, addresses, prefixes))
    return tuple(sorted(found, key=lambda candidate: (candidate.card, candidate.device, candidate.eni)))


def _candidate(
    state: State, eni: Ec2Eni, shown: MetadataEni | None, addresses: tuple[str, ...], prefixes: tuple[str, ...]
) -> Candidate:
    known = state.enis.get(eni.eni)
    ipv6 = state.settings.ipv6
    subnet_cidr = (shown.subnet_cidr6 if ipv6 else shown.subnet_cidr) if shown else (known.subnet_cidr if known else "")
    own = eni.ipv6_addresses if ipv6 else eni.addresses
    return Candidate(
        eni=eni.eni,
        mac=eni.mac,
        device=shown.device if shown else eni.device,
        card=shown.card if shown else eni.card,
        subnet=eni.subnet,
        subnet_cidr=subnet_cidr,
        primary_ip=own[0] if own else "",
        addresses=() if ipv6 else addresses,
        prefixes=() if ipv6 else prefixes,
        tags=eni.tags,
        kind=eni.interface_type,
    )
