"""The leaked-ENI cleaner (EC2-40..44): unattached ENIs of any node of this VPC that nobody will use again.

    every hour, up to 299 s late: FindNetworkInterfaces
       createdAt missing  -> CreateTags with now, and leave it
       older than 5 min   -> DeleteNetworkInterface

A round that finds nothing leaves no record. Rounds count from the end of node init.
"""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

from . import events as ev
from .adopt import CREATED_AT, DESCRIPTION
from .calls import (
    ENI_NOT_FOUND,
    CreateTags,
    DeleteNetworkInterface,
    Ec2Eni,
    EnisView,
    Failed,
    FindNetworkInterfaces,
    Outcome,
    Succeeded,
    View,
)
from .cards import INSTANCE_TAG
from .moments import instant_of, rfc3339
from .state import State
from .steps import DELETE_BACKOFF, TAG_BACKOFF, Want, counted, logged
from .types import SECOND, EniId, Instant
from .work import Sweep

PERIOD: Final = 3600 * SECOND
"""EC2-41."""
LATEST: Final = 300
"""EC2-41: a round begins a whole number of seconds late, below this."""
MIN_AGE: Final = 300 * SECOND
"""EC2-43."""


def enabled(state: State) -> bool:
    """EC2-40."""
    settings = state.settings
    return not (settings.provisioning_disabled or settings.leaked_cleanup_disabled or settings.ipv6)


def next_round(state: State, now: Instant) -> Instant:
    """When the VPC is searched next: an hour after the last round that did something, or a later hour."""
    since = state.leaks.since
    first = 0 if state.leaks.next == "update" else 1
    number = max((now - since) // PERIOD, first)
    due = _begin(state, since, number)
    return due if due > now else _begin(state, since, number + 1)


def _begin(state: State, since: Instant, number: int) -> Instant:
    late = zlib.crc32(f"{state.seed}/leaks/{since}/{number}".encode()) % LATEST
    return since + number * PERIOD + late * SECOND


def look(state: State) -> FindNetworkInterfaces:
    """EC2-42; the tag key, which may have any value, is told apart in `observe`."""
    name = state.settings.cluster_name
    return FindNetworkInterfaces({"cluster.k8s.amazonaws.com/name": name} if name else {})


def observe(state: State, seen: View | Failed, now: Instant) -> list[ev.Event]:
    """What a round found; ENIs that this node is just making or freeing are left to it."""
    if isinstance(seen, Failed):
        return [logged("leaked ENIs", seen)]
    assert isinstance(seen, EnisView)
    if state.leaks.work is not None:
        return []
    ours = [eni for eni in seen.enis if _is_ours(eni) and eni.eni not in state.pending and eni.eni not in state.enis]
    untagged: list[EniId] = []
    leaked: list[EniId] = []
    for eni in sorted(ours, key=lambda eni: eni.eni):
        created = instant_of(eni.tags.get(CREATED_AT, ""))
        if created is None:
            untagged.append(eni.eni)
            if CREATED_AT in eni.tags and state.settings.quirks.unparsable_created_at_leaks:
                leaked.append(eni.eni)
        elif now - created >= MIN_AGE:
            leaked.append(eni.eni)
    if not untagged and not leaked:
        return []
    return [ev.WorkMoved(Sweep(tuple(untagged), tuple(leaked)), "leaks")]


def _is_ours(eni: Ec2Eni) -> bool:
    """EC2-42: any instance's ENI qualifies."""
    return eni.status == "available" and INSTANCE_TAG in eni.tags and eni.description.startswith(DESCRIPTION)


def want(state: State, now: Instant) -> Want | None:
    """The lane's next call; None while it waits for its next round."""
    work = state.leaks.work
    if not isinstance(work, Sweep):
        return None
    if work.untagged:
        return Want(call=CreateTags(work.untagged[0], {CREATED_AT: rfc3339(now)}), due=work.due)
    return Want(call=DeleteNetworkInterface(work.leaked[0]), due=work.due)


def settle(state: State, outcome: Outcome, now: Instant) -> list[ev.Event]:
    """Retries as EC2-24 and EC2-43 say; then the next ENI, or the end of the round."""
    work = state.leaks.work
    assert isinstance(work, Sweep)
    tagging = bool(work.untagged)
    fine = isinstance(outcome, Succeeded) or (isinstance(outcome, Failed) and outcome.code == ENI_NOT_FOUND)
    backoff = TAG_BACKOFF if tagging else DELETE_BACKOFF
    tries = work.attempt + 1
    if not fine and tries < backoff.tries:
        again = msgspec.structs.replace(work, attempt=tries, due=now + backoff.delay(state, tries))
        return [ev.WorkMoved(again, "leaks")]
    failed: list[ev.Event] = []
    if not fine:
        assert not isinstance(outcome, Succeeded)
        failed = [logged("leaked ENIs", outcome) if tagging else _uncleaned(outcome)]
    if tagging:
        rest = Sweep(work.untagged[1:], work.leaked)
    else:
        rest = Sweep((), work.leaked[1:])
    return [*failed, ev.WorkMoved(rest if rest.untagged or rest.leaked else None, "leaks")]


def _uncleaned(outcome: Outcome) -> ev.ErrorCounted:
    return counted("cleanUpLeakedENIDeleteErr", outcome, aws_utils=True)
