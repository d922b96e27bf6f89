"""What the node needs next, and why. Reads State; `decide` turns what is due into records.

beats      the pool lane: an update, then a reconcile check, each 2.5 s after the previous work ended (POOL-13)
agenda     for the driver, without scanning: which looks are due, which lane to tick, when to wake
plan       for people and for the liveness check: the calls that the pool wants now, and the figures behind it
"""

from __future__ import annotations

from typing import Literal

import msgspec

from . import events as ev
from . import fill, grow, init, leaks, resync, shed, trunk, watch
from .calls import Call, Look
from .cluster import manageable
from .commands import Lane
from .pool_linux import Balance, allocatable, balance, extra_enis_possible, has_room_for_eni
from .reasons import paused
from .state import State
from .steps import HALF, Want, after, go_on, moved
from .types import SECOND, Instant
from .work import ApplyGroups, Fill, Free, Grow, Init, Resync, Shed, Sweep, SyncHost, Then, Trim, Turn, Work

DECREASE_INTERVAL = 30 * SECOND
"""POOL-15 (c): between two scale-downs."""


class Due(msgspec.Struct, frozen=True):
    """A lane's next moment: at `at`, look if there is one, else tick."""

    lane: Lane
    at: Instant
    look: Look | None = None


class Plan(msgspec.Struct, frozen=True):
    """`calls` are wanted now or in flight; `wake_at` is when State is to be asked again; `why` per card."""

    calls: tuple[Call, ...]
    looks: tuple[Look, ...]
    wake_at: Instant | None
    why: dict[int, Balance]


def beat(state: State, now: Instant) -> tuple[int, Literal["update", "resync"]]:
    """The number of the idle pool lane's latest beat at `now` (0: none yet) and what it is."""
    number = max(now - state.pool.since, 0) // HALF
    if state.settings.provisioning_disabled:
        return number, "resync"
    other: Literal["update", "resync"] = "resync" if state.pool.next == "update" else "update"
    return number, state.pool.next if number % 2 else other


def want(state: State, work: Work, now: Instant) -> Want:
    """The next step of a pool-lane work."""
    match work:
        case Fill():
            return fill.want(state, work)
        case Grow():
            return grow.want(state, work, now)
        case Trim():
            return Want(call=work.calls[0])
        case Free() | Turn():
            return Want()
        case Shed():
            return shed.want(work)
        case Resync():
            return resync.want(state, work)
        case Init(step="prescale"):
            return Want()
        case Init():
            return init.want(state, work)
        case ApplyGroups() | SyncHost() | Sweep():
            raise AssertionError(f"{type(work).__name__} stands in the pool lane")


def agenda(state: State, now: Instant) -> list[Due]:
    """Every lane's next moment. A lane with a call in flight has none: its `Settle` is awaited."""
    if state.phase in ("new", "failed"):
        return []
    dues = []
    looping = not state.settings.ipv6 or resync.seeks_trunk(state)  # POOL-14, V6-8
    if state.pool.call is None and (looping or state.pool.work is not None):
        dues.append(_pool_due(state, now))
    if state.phase == "ready" and state.watch.call is None:
        step = watch.want(state)
        dues.append(Due("watch", step.due) if step else Due("watch", watch.next_round(state, now), watch.look()))
    if state.phase == "ready" and state.leaks.call is None and leaks.enabled(state):
        sweep = leaks.want(state, now)
        due = (
            Due("leaks", leaks.next_round(state, now), leaks.look(state)) if sweep is None else Due("leaks", sweep.due)
        )
        dues.append(due)
    if trunk.wanted(state) and state.trunk.call is None:
        dues.append(Due("trunk", trunk.next_round(state, now), trunk.look(state)))
    if state.purges and state.phase == "ready":
        dues.append(Due("purge", min(state.purges.values())))
    return dues


def _pool_due(state: State, now: Instant) -> Due:
    work = state.pool.work
    if work is None:
        number, _ = beat(state, now)
        return Due("pool", state.pool.since + (number + 1) * HALF)
    step = want(state, work, now)
    return Due("pool", step.due, step.look)


def increase_allowed(state: State, now: Instant) -> bool:
    """POOL-18."""
    if state.terminating or state.settings.provisioning_disabled or paused(state, now):
        return False
    return manageable(state)


def increase(state: State, card: int, goal: Balance, then: Then) -> list[ev.Event]:
    """POOL-21: the ENIs that have room first, a new one where there is none; [] where there is no room for one."""
    queue = tuple(eni.eni for eni in allocatable(state, card))
    acted = ev.PoolActed("increase", card, goal.why)
    if queue:
        return [acted, moved(Fill(queue, goal.short, then, card=card))]
    if has_room_for_eni(state, card):
        return [acted, *grow.start_growing(state, card, goal.short, then)]
    return []


def update(state: State, now: Instant) -> list[ev.Event]:
    """One pool update of every card (POOL-15); no events when there is nothing to do."""
    if state.settings.ipv6:
        return []
    shrink = not state.last_decrease or now - state.last_decrease > DECREASE_INTERVAL
    return turn(state, Turn(state.cards, shrink), now)


def prescale(state: State, now: Instant) -> list[ev.Event]:
    """INIT-33, POOL-20: one increase of every card that is low, then the node is ready."""
    return turn(state, Turn(state.cards, then="ready"), now) or after("ready")


def turn(state: State, work: Turn, now: Instant) -> list[ev.Event]:
    """What the first of these cards that wants something wants; the others follow when that has ended."""
    for number, card in enumerate(work.cards):
        if work.then == "ready":
            events = _prescaled(state, card, now)
        else:
            events = _updated(state, card, work.shrink, now)
        if events:
            rest = msgspec.structs.replace(work, cards=work.cards[number + 1 :])
            return _followed(events, rest) if rest.cards else events
    return []


def _followed(events: list[ev.Event], rest: Turn) -> list[ev.Event]:
    last = events[-1]
    assert isinstance(last, ev.WorkMoved)
    if last.work is None:
        return go_on(events, rest)
    return [*events[:-1], msgspec.structs.replace(last, turn=rest)]


def _updated(state: State, card: int, shrink: bool, now: Instant) -> list[ev.Event]:
    goal = balance(state, card, now)
    may_free = extra_enis_possible(state, card, goal.stats)
    then: Then = "free" if may_free else "idle"
    if goal.low and increase_allowed(state, now):
        events = increase(state, card, goal, then)
        if events:
            return events
    elif not goal.low and goal.high and shrink:
        removed, trim = fill.trim(state, card, goal, now)
        if trim is not None:
            return [ev.PoolActed("decrease", card, goal.why), *removed, moved(msgspec.structs.replace(trim, then=then))]
    if may_free:
        freed = shed.start(state, card, now)
        return freed if len(freed) > 1 else []
    return []


def _prescaled(state: State, card: int, now: Instant) -> list[ev.Event]:
    """In IPv6 mode an empty card > 0 gets an ENI (V6-6)."""
    if not increase_allowed(state, now):
        return []
    if state.settings.ipv6:
        empty = card > 0 and not any(eni.card == card for eni in state.enis.values())
        if not empty or not has_room_for_eni(state, card):
            return []
        return [ev.PoolActed("increase", card), *grow.start_growing(state, card, 1, "ready")]
    goal = balance(state, card, now)
    return increase(state, card, goal, "ready") if goal.low else []


def vetted(state: State, events: list[ev.Event], now: Instant) -> list[ev.Event]:
    """POOL-20: with custom networking a pool still empty after its first increase is fatal: something is set wrong."""
    settings = state.settings
    if not settings.custom_networking or settings.provisioning_disabled:
        return events
    ready = next((number for number, event in enumerate(events) if isinstance(event, ev.NodeReady)), None)
    if ready is None or any(isinstance(event, ev.CidrAdded) for event in events):
        return events
    goal = balance(state, 0, now)
    if goal.stats.total or not goal.low:
        return events
    message = "the pool is empty after its first increase; see the ENIConfig, its subnet, and the node's taints"
    return [*events[:ready], ev.InitFailed("prescale", "", message)]


def plan(state: State, now: Instant) -> Plan:
    """The whole picture at `now`: what is in flight or would be started by the next update."""
    dues = agenda(state, now)
    calls = [running.call for running in state.calls.values()]
    work = state.pool.work
    if work is None and state.phase == "ready":
        work = next((event.work for event in update(state, now) if isinstance(event, ev.WorkMoved)), None)
    looks = [due.look for due in dues if due.look is not None and due.at <= now]
    if work is not None and state.pool.call is None:
        step = want(state, work, now)
        calls += [step.call] if step.call is not None else []
        looks += [step.look] if step.look is not None and step.look not in looks else []
    wake_at = min((due.at for due in dues), default=None)
    return Plan(tuple(calls), tuple(looks), wake_at, {card: balance(state, card, now) for card in state.cards})
