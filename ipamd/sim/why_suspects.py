"""What may have kept a pod from an address, as the journal shows it, each with the change that takes it away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from ipamd.core import pool_linux
from ipamd.core.cluster import manageable
from ipamd.core.commands import KubeNodeSeen, Start, Terminate
from ipamd.core.events import Record
from ipamd.core.reasons import WAIT_FAILED, reason_of
from ipamd.core.state import State
from ipamd.core.subnets import ROLE_TAG
from ipamd.core.types import Instant
from ipamd.core.work import Grow

from .relive import Change, Past

UNLIMITED: Final = 2**31 - 1
_GROWING: Final = (
    "DescribeSubnets", "CreateNetworkInterface", "DescribeInstances", "AttachNetworkInterface",
    "ModifyNetworkInterfaceAttribute", "CreateTags",
)  # fmt: skip


class Suspect(msgspec.Struct, frozen=True):
    """A possible cause. `happened`: an event rather than a bound of the node, which are always there."""

    reason: str
    fact: str
    seqs: tuple[int, ...]
    change: Change
    happened: bool = True
    since: Instant = 0
    """When it began, where that is known: nothing before it need be lived again."""


def suspects(past: Past, base: State, before: State, refused: Record, content_at: Instant) -> list[Suspect]:
    """All of them, events first. `base` is where branches begin, `before` the State just before the refusal.

    What was over when the pool last was as its targets want it (`content_at`) is none: it has left no trace.
    """
    now = refused.at
    return [
        *_storms(past, max(base.at, content_at), now),
        *_tenures(past, base, before, content_at, now),
        *_exclusion(past, before, refused),
        *_lag(past, before, now),
        *_cooldown(past, before, now),
        *_limits(past, before, refused),
    ]


def _storms(past: Past, begin: Instant, now: Instant) -> Iterator[Suspect]:
    """EC2's failures, by the reason that each is."""
    by_reason: dict[str, list[int]] = {}
    codes: dict[str, set[str]] = {}
    facts: dict[str, str] = {}
    for storm in past.facts.storms:
        if storm.since > now or (storm.until and storm.until <= begin):
            continue
        reason, fact = reason_of(storm.action, storm.code, storm.message)
        by_reason.setdefault(reason, []).extend(storm.seqs)
        codes.setdefault(reason, set()).add(storm.code)
        word = storm.code or "no answer"
        facts.setdefault(reason, fact if reason != "api_error" else f"EC2 failed {storm.action}: {word}")
    for reason, seqs in by_reason.items():
        change = Change(calm=frozenset(codes[reason]), roomy=reason in ("subnet_full", "fragmented"))
        yield Suspect(reason, facts[reason], tuple(sorted(seqs)), change)


def _tenures(past: Past, base: State, before: State, content_at: Instant, now: Instant) -> Iterator[Suspect]:
    first = max(base.seq, past.first_seq)
    began = [r for r in past.tenures if isinstance(r.cause, Start) and r.seq > first]
    starts = tuple(r.seq for r in began if content_at < r.at <= now)
    if starts:
        fact = f"the daemon was restarted (record {starts[-1]})"
        yield Suspect("restart", fact, starts, Change(dropped=frozenset(starts)))
    if before.terminating:
        ends = tuple(r.seq for r in past.tenures if isinstance(r.cause, Terminate))[-1:]
        change = Change(dropped=frozenset(ends), unterminated=True)
        yield Suspect("terminating", "the daemon was told to end and grew no more", ends, change)


def _exclusion(past: Past, before: State, refused: Record) -> Iterator[Suspect]:
    tagged = [name for name, subnet in past.facts.subnets.items() if subnet.tags.get(ROLE_TAG) == "0"]
    excluded = [eni.eni for eni in before.enis.values() if eni.excluded]
    if tagged or excluded:
        what = f"subnet {tagged[0]}" if tagged else f"the subnet of {excluded[0]}"
        fact = f"{what} is tagged {ROLE_TAG}=0, so it serves no new pods"
        seqs = tuple(past.facts.exclusions) or (refused.seq,)
        yield Suspect("excluded_subnet", fact, seqs, Change(unexcluded=True))
    if not manageable(before):
        node = [seq for seq, _, fact in past.kube.heard if isinstance(fact, KubeNodeSeen) and seq < refused.seq]
        fact = "the node is cordoned, so its pool does not grow"
        change = Change(settings={"manage_enis_non_schedulable": True})
        yield Suspect("unschedulable", fact, tuple(node[-1:]) or (refused.seq,), change)


def _lag(past: Past, before: State, now: Instant) -> Iterator[Suspect]:
    attached = [seq for seq, at in past.facts.attachments if at <= now]
    work, trouble = before.pool.work, before.trouble
    waits = isinstance(work, Grow) and work.step in ("wait", "adopt")
    if attached and (waits or (trouble is not None and trouble.fn == WAIT_FAILED)):
        fact = f"the ENI attached by record {attached[-1]} was late in instance metadata"
        failures = [seq for seq in past.facts.wait_failures if seq < before.seq + 1]
        yield Suspect("metadata_lag", fact, (*failures, attached[-1]), Change(no_lag=True))


def _cooldown(past: Past, before: State, now: Instant) -> Iterator[Suspect]:
    cooldown = before.cooldown
    cooling = [
        (at, eni.eni, offset)
        for eni in before.enis.values()
        for block in eni.blocks.values()
        if before.usable(block)
        for at, offset in block.cooling
        if now - at <= cooldown
    ]
    if cooling:
        ended = [a.ended_seq for a in past.arrivals if a.ended_at and 0 <= now - a.ended_at <= cooldown]
        count = f"{len(cooling)} addresses" if len(cooling) > 1 else "1 address"
        fact = f"{count} cooled, released less than {before.settings.ip_cooldown_period} s before"
        waiting = sum(a.tries[0] < now and not (a.granted_at and a.granted_at <= now) for a in past.arrivals)
        # others who wait would have taken what thawed before, so then it has to be lived again from the release on
        first = now if len(cooling) > waiting else min(at for at, _, _ in cooling)
        yield Suspect("cooldown", fact, tuple(sorted(ended)), Change({"ip_cooldown_period": -1}), since=first)


def _limits(past: Past, before: State, refused: Record) -> Iterator[Suspect]:
    """What bounds the node, and an ENI on its way: true of many moments, so only to blame where no event is."""
    last = past.facts.last_growth or refused.seq
    work = before.pool.work
    if isinstance(work, Grow):
        fact = f"an ENI was being added (step {work.step})"
        change = Change(latency=dict.fromkeys(_GROWING, 0))
        yield Suspect("attach_pending", fact, (last,), change, happened=False)
    total = pool_linux.stats(before, 0, refused.at).total
    if total >= before.node.max_pods:
        fact = f"the pool held {total} addresses and the node may have {before.node.max_pods} pods"
        change = Change(node={"max_pods": UNLIMITED})
        yield Suspect("max_pods", fact, (last,), change, happened=False)
    if not pool_linux.allocatable(before, 0) and not pool_linux.has_room_for_eni(before, 0):
        most = pool_linux.enis_max(before)
        fact = f"all {most} ENIs of {before.node.instance_type} were full"
        change = Change(settings={"max_eni": 0}, node={"enis_max": most + 1})
        yield Suspect("eni_limit", fact, (last,), change, happened=False)
