"""Reconciling with instance metadata and, where that differs, with EC2 (REC-1..15).

metadata --ENIs unknown to the store--> describe --> metadata_again
   |                                                     |
   +--------------------> verify, one read an ENI <------+  then adopt the unknown, then stamp
"""

from __future__ import annotations

from typing import Literal

import msgspec

from . import adopt, cards, tracking
from . import events as ev
from .calls import (
    ENI_NOT_FOUND,
    DescribeNetworkInterfaces,
    Ec2Eni,
    EnisView,
    Failed,
    MetadataEni,
    MetadataView,
    Outcome,
    ReadMetadata,
    View,
)
from .observe import Kind, believed, expired_holds, found_again, offered, reconcile, similar, source
from .pod_eni import trunk
from .state import State
from .steps import DESCRIBE_STEP, DESCRIBE_TRIES, Want, counted, logged, moved
from .types import SECOND, EniId, Instant
from .work import Adoption, Candidate, Resync

INTERVAL = 60 * SECOND
"""REC-1: no reconcile within this time after the last pool action or reconcile."""
KINDS: tuple[Kind, Kind] = ("addresses", "prefixes")


def due(state: State, now: Instant) -> bool:
    """REC-1. The last pool action starts at zero, so the first check after a start may run at once.

    A trunk ENI that is asked for is looked for in every cycle.
    """
    if seeks_trunk(state):
        return True
    return now - state.last_pool_action > INTERVAL


def seeks_trunk(state: State) -> bool:
    """Whether a trunk ENI is asked for and not there yet: in IPv6 mode the only reason to look (V6-8)."""
    return state.settings.pod_eni and trunk(state) is None


def want(state: State, work: Resync) -> Want:
    """The next step."""
    match work.step:
        case "metadata" | "metadata_again":
            return Want(look=ReadMetadata())
        case "describe":
            return Want(look=DescribeNetworkInterfaces(_ids(work)), due=work.due) if _ids(work) else Want()
        case "verify":
            return Want(look=DescribeNetworkInterfaces((work.verify[0][0],)))
        case "adopt":
            assert work.adoption is not None
            return adopt.want(state, work.adoption) if work.adoption.queue else Want()


def _ids(work: Resync) -> tuple[EniId, ...]:
    return tuple(eni for eni in work.asked if eni not in work.missing)


def observe(state: State, work: Resync, seen: View | Failed, now: Instant) -> list[ev.Event]:
    """Where a look leads."""
    match work.step:
        case "metadata" | "metadata_again":
            return _metadata(state, work, seen, now)
        case "describe":
            return _described(state, work, seen, now)
        case "verify":
            return _verified(state, work, seen, now)
        case "adopt":
            assert work.adoption is not None
            result = adopt.observed(state, work.adoption, seen)
            return [*adopt.unpermitted(state, seen), *_adopting(state, work, result)]


def settle(state: State, work: Resync, outcome: Outcome, now: Instant) -> list[ev.Event]:
    """A tag or host call of the head candidate came back."""
    assert work.adoption is not None
    return _adopting(state, work, adopt.settled(state, work.adoption, outcome, now, retry_host=False))


def evaluate(state: State, work: Resync) -> list[ev.Event]:
    """Nothing to ask: admit the head candidate, or finish."""
    if work.step == "describe":
        return [_to(work, step="metadata_again")]
    assert work.adoption is not None
    if not work.adoption.queue:
        return _finished()
    rest = adopt.next_candidate(state, work.adoption)
    added = ev.ReconcileCounted("eniReconcileAdd")
    return [*adopt.admit(state, work.adoption), added, *_go_on(state, msgspec.structs.replace(work, adoption=rest))]


def _to(work: Resync, **changes: object) -> ev.WorkMoved:
    return moved(msgspec.structs.replace(work, **{"attempt": 0, "due": 0, **changes}))


def _finished() -> list[ev.Event]:
    return [ev.Resynced(), ev.WorkMoved(None, next="update")]


def _metadata(state: State, work: Resync, seen: View | Failed, now: Instant) -> list[ev.Event]:
    """REC-2: a failed read ends the reconcile without a change and without a stamp on REC-1's clock."""
    if not isinstance(seen, MetadataView) or not (seen.enis or seen.as_stored):
        failure = seen if isinstance(seen, Failed) else Failed("", "instance metadata listed no ENI at all")
        return [counted("reconcileFailedGetENIs", failure), ev.WorkMoved(None, next="update")]
    if seen.as_stored:
        return [*found_again(sum(len(eni.blocks) for eni in state.enis.values())), *_finished()]
    seen = offered(state, seen)
    strange = not state.ec2_silent and any(
        shown.eni not in state.enis and shown.eni not in state.unmanaged for shown in seen.enis
    )
    if strange and work.step == "metadata":
        return [_to(work, step="describe", asked=tuple(shown.eni for shown in seen.enis))]
    attached = {shown.eni for shown in seen.enis if shown.eni not in work.missing}
    described = tuple(_candidate(work, shown) for shown in seen.enis if shown.eni in work.tags)
    found = cards.sort_out(state, described, state.cards) if described else cards.still(state, attached)
    ours = tuple(shown for shown in seen.enis if shown.eni in attached and shown.eni not in found.outside)
    if state.settings.ipv6:
        return [*cards.changes(state, found), *_trunks(state, work, ours)]
    return [*cards.changes(state, found), *_compare(state, work, ours, now)]


def _trunks(state: State, work: Resync, ours: tuple[MetadataEni, ...]) -> list[ev.Event]:
    """V6-8: a trunk that came is adopted; nothing else is reconciled (V6-5)."""
    queue = tuple(
        Candidate(
            shown.eni, shown.mac, shown.device, shown.card, shown.subnet, shown.subnet_cidr6, shown.ipv6_addresses[0],
            tags=work.tags[shown.eni], kind="trunk",
        )
        for shown in ours
        if shown.eni not in state.enis and work.kinds.get(shown.eni) == "trunk" and shown.ipv6_addresses
    )  # fmt: skip
    adoption = adopt.start(state, queue) if queue else None
    return _go_on(state, msgspec.structs.replace(work, adoption=adoption))


def _compare(state: State, work: Resync, ours: tuple[MetadataEni, ...], now: Instant) -> list[ev.Event]:
    """Believe what agrees; queue what must be asked of EC2; drop ENIs that are gone or not ours any more (REC-5..7)."""
    events: list[ev.Event] = []
    verify: list[tuple[EniId, Literal["addresses", "prefixes", "held"]]] = []
    shown_by_id = {shown.eni: shown for shown in ours}
    for eni in state.enis.values():
        shown = shown_by_id.get(eni.eni)
        if shown is None and eni.card not in state.cards and eni.eni in state.unmanaged:
            continue  # it stays for its pods until they have gone
        if shown is None:
            events += [ev.EniLeft(eni.eni, "gone", eni.assigned), ev.ReconcileCounted("eniReconcileDel")]
            continue
        for kind in KINDS:
            if state.ec2_silent:
                found = believed(shown, eni, kind)
                events += reconcile(state, eni, kind, found, now, verified=False, in_ec2=found)
            elif not similar(shown, eni, kind):
                verify.append((eni.eni, kind))
            elif expired_holds(state, source(shown, eni, kind), now):
                verify.append((eni.eni, "held"))
            else:
                events += reconcile(state, eni, kind, source(shown, eni, kind), now, verified=False, in_ec2=None)
    queue = tuple(
        _candidate(work, shown)
        for shown in ours
        if shown.eni not in state.enis and (state.ec2_silent or shown.eni in work.tags) and shown.addresses
    )
    kept = tuple(shown for shown in ours if any(entry == (shown.eni, "held") for entry in verify))
    adoption = adopt.start(state, queue) if queue else None
    return [*events, *_go_on(state, msgspec.structs.replace(work, verify=tuple(verify), seen=kept, adoption=adoption))]


def _candidate(work: Resync, shown: MetadataEni) -> Candidate:
    own = shown.addresses[0] if shown.addresses else ""
    return Candidate(
        shown.eni, shown.mac, shown.device, shown.card, shown.subnet, shown.subnet_cidr, own, shown.addresses[1:],
        shown.prefixes, work.tags.get(shown.eni, {}), work.kinds.get(shown.eni, "interface"),
    )  # fmt: skip


def _go_on(state: State, work: Resync) -> list[ev.Event]:
    """The next queue that is not empty, or the end."""
    if work.verify:
        return [_to(work, step="verify")]
    if work.adoption is not None and work.adoption.queue:
        return [_to(work, step="adopt")]
    return _finished()


def _described(state: State, work: Resync, seen: View | Failed, now: Instant) -> list[ev.Event]:
    """EC2-30: an id EC2 does not know is left out, as is an ENI that hangs on nothing; other errors are retried."""
    if isinstance(seen, EnisView):
        tags = {found.eni: found.tags for found in seen.enis if found.attachment}
        kinds = {found.eni: found.interface_type for found in seen.enis if found.interface_type != "interface"}
        known = tracking.seen(state, seen.enis)
        return [*known, _to(work, step="metadata_again", tags=tags, kinds=kinds)]
    assert isinstance(seen, Failed)
    missing = quoted_id(seen.message) if seen.code == ENI_NOT_FOUND else ""
    if missing in _ids(work):
        return [_to(work, missing=(*work.missing, missing))]
    if work.attempt + 1 < DESCRIBE_TRIES:
        return [_to(work, attempt=work.attempt + 1, due=now + work.attempt * DESCRIBE_STEP)]
    return [logged("DescribeNetworkInterfaces", seen), ev.WorkMoved(None, next="update")]


def quoted_id(message: str) -> str:
    """The first `'...'` of EC2's message that is made of letters, digits and dashes (EC2-30, TV-75)."""
    for part in message.split("'")[1::2]:
        if part and all(char.isalnum() or char == "-" for char in part):
            return part
    return ""


def _verified(state: State, work: Resync, seen: View | Failed, now: Instant) -> list[ev.Event]:
    """EC2's answer for the head of the queue; a failure abandons that ENI's part (REC-8..10)."""
    eni_id, kind = work.verify[0]
    rest = msgspec.structs.replace(work, verify=work.verify[1:])
    eni = state.enis.get(eni_id)
    truth = _described_eni(seen, eni_id)
    if eni is None or (truth is None and kind != "held"):
        return _go_on(state, rest)
    if kind != "held":
        assert truth is not None
        events = reconcile(state, eni, kind, source(truth, eni, kind), now, verified=True, in_ec2=None)
        return [*events, *_go_on(state, rest)]
    shown = next(entry for entry in work.seen if entry.eni == eni_id)
    events = []
    for part in KINDS:
        if similar(shown, eni, part):
            in_ec2 = source(truth, eni, part) if truth is not None else None
            events += reconcile(state, eni, part, source(shown, eni, part), now, verified=False, in_ec2=in_ec2)
    return [*events, *_go_on(state, rest)]


def _described_eni(seen: View | Failed, eni: EniId) -> Ec2Eni | None:
    if not isinstance(seen, EnisView):
        return None
    return next((found for found in seen.enis if found.eni == eni), None)


def _adopting(state: State, work: Resync, result: adopt.Stuck | Adoption) -> list[ev.Event]:
    """REC-6: a candidate that cannot be set up is counted and skipped."""
    if isinstance(result, Adoption):
        return [_to(work, adoption=result)]
    assert work.adoption is not None
    events: list[ev.Event] = [counted("eniReconcileAdd", result.failure)]
    if result.step == "check" and state.settings.quirks.exclusion_failure_skips_host:
        events += adopt.admit(state, work.adoption, with_blocks=False)
    rest = msgspec.structs.replace(work, adoption=adopt.next_candidate(state, work.adoption))
    return [*events, *_go_on(state, rest)]
