"""What shall be recorded, and the answer. Reads State, changes nothing.

decision = decide(state, command, now)
if decision.events: record them (seq, at = max(now, last record)), fold, and answer once durable
"""

from __future__ import annotations

from typing import assert_never

import msgspec

from . import assign, branch_decide, fill, grow, init, leaks, plan, resync, shed, trunk, watch, windows_decide
from . import events as ev
from .branch_events import BranchDue, BranchPodGone, BranchPodSeen, CooldownSeen, TrunkGone, TrunkSeen
from .calls import Call, Failed, Lost, Outcome, Succeeded
from .cluster import unpermitted
from .commands import (
    AddNetwork,
    Answer,
    Command,
    DelNetwork,
    Imported,
    KubeNodeSeen,
    Lane,
    Observed,
    RefuseAdd,
    Settle,
    Start,
    Terminate,
    Tick,
)
from .purge import purge_due, purges_after_release
from .state import Running, State
from .steps import after, go_on, logged
from .types import CallId, Instant
from .work import ApplyGroups, Fill, Free, Grow, Init, Resync, Shed, Sweep, SyncHost, Trim, Turn, Work


class Decision(msgspec.Struct, frozen=True):
    """Events to be recorded, in order, and what to tell whoever asked. No events: no record."""

    events: tuple[ev.Event, ...] = ()
    answer: Answer = None


def decide(state: State, command: Command, now: Instant) -> Decision:
    """One command against one State. `now` must not be before the last record."""
    match command:
        case AddNetwork():
            events, answer = assign.add(state, command, now)
            return Decision(tuple(events), answer)
        case DelNetwork():
            return _delete(state, command, now)
        case Tick():
            return Decision(tuple(_vetted(state, _tick(state, command.lane, now), now)))
        case Observed():
            seen = _vetted(state, _observed(state, command, now), now)
            return Decision((*seen, *unpermitted(state, command.look, command.seen, now)))
        case Settle():
            return Decision(tuple(_vetted(state, _settle(state, command, now), now)))
        case KubeNodeSeen():
            return Decision(tuple(_node_seen(state, command)))
        case Start():
            return Decision(tuple(_start(state, command)))
        case RefuseAdd():
            return Decision((ev.AssignRefused(command.reason, command.fact, None, command.pod),))
        case Terminate():
            return Decision(() if state.terminating else (ev.Terminating(),))
        case Imported():
            return Decision()
        case CooldownSeen() | TrunkSeen() | TrunkGone() | BranchPodSeen() | BranchPodGone() | BranchDue():
            return Decision(tuple(branch_decide.decide(state, command, now)))
        case _:
            draft, told = windows_decide.decide(state, command, now)
            return Decision(tuple(draft.events), told)


def _start(state: State, command: Start) -> list[ev.Event]:
    """Every call in flight ends as lost: its effect is unknown, and init observes the cloud before anything else."""
    lost: list[ev.Event] = [ev.CallEnded(call_id, "lost", message="the process ended") for call_id in state.calls]
    return [*lost, ev.Started(command.settings, command.node, command.seed, command.restored, command.kube_node)]


def _vetted(state: State, events: list[ev.Event], now: Instant) -> list[ev.Event]:
    """What ends node init is looked at once more."""
    return plan.vetted(state, events, now) if state.phase == "init" else events


def _node_seen(state: State, command: KubeNodeSeen) -> list[ev.Event]:
    """What is new of it; the capacity only where a start without API server could not know it (INIT-7)."""
    if state.phase == "new":
        return []
    events: list[ev.Event] = [ev.KubeNodeChanged(command.node)] if command.node != state.kube_node else []
    if command.max_pods is not None and command.max_pods != state.node.max_pods:
        events.append(ev.MaxPodsChanged(command.max_pods))
    return events


def _delete(state: State, command: DelNetwork, now: Instant) -> Decision:
    events, answer = assign.remove(state, command, now)
    for event in list(events):
        if isinstance(event, ev.AddressReleased):
            events += purges_after_release(state, event, now)
    return Decision(tuple(events), answer)


def _tick(state: State, lane: Lane, now: Instant) -> list[ev.Event]:
    if state.phase in ("new", "failed"):
        return []
    match lane:
        case "pool":
            return _pool_tick(state, now)
        case "watch":
            step = watch.want(state)
            if step is None or state.watch.call is not None:
                return []
            return _call(state, step.call, "watch") if step.call is not None else watch.evaluate()
        case "leaks":
            sweep = leaks.want(state, now)
            if sweep is None or sweep.call is None or sweep.due > now or state.leaks.call is not None:
                return []
            return _call(state, sweep.call, "leaks")
        case "trunk":
            return []  # every round of it begins with a look
        case "purge":
            return purge_due(state, now) if state.phase == "ready" else []
        case _:
            assert_never(lane)


def _pool_tick(state: State, now: Instant) -> list[ev.Event]:
    work = state.pool.work
    if state.pool.call is not None:
        return []
    if work is None and state.settings.ipv6 and not resync.seeks_trunk(state):
        return []  # POOL-14
    if work is None:
        number, kind = plan.beat(state, now)
        if number == 0:
            return []
        if kind == "update":
            return plan.update(state, now)
        return [ev.WorkMoved(Resync())] if resync.due(state, now) else []
    step = plan.want(state, work, now)
    if step.due > now or step.look is not None:
        return []
    if step.call is not None:
        return _call(state, step.call, "pool")
    return _next_card(state, _evaluate(state, work, now))


def _next_card(state: State, events: list[ev.Event]) -> list[ev.Event]:
    """What ends the work of one card leads to the next one, where there is one (POOL-15)."""
    rest = state.pool.turn
    last = events[-1] if events else None
    ends = isinstance(last, ev.WorkMoved) and last.lane == "pool" and last.work is None
    return go_on(events, rest) if rest is not None and ends else events


def _call(state: State, call: Call, lane: Lane) -> list[ev.Event]:
    return [ev.CallStarted(CallId(state.next_call), call, lane)]


def _evaluate(state: State, work: Work, now: Instant) -> list[ev.Event]:
    """A step that asks nothing of the world."""
    match work:
        case Free():
            return shed.start(state, work.card, now)
        case Turn():
            return plan.turn(state, work, now) or after(work.then)
        case Init(step="prescale"):
            return plan.prescale(state, now)
        case Init():
            return init.evaluate(state, work, now)
        case Grow():
            return grow.evaluate(state, work)
        case Resync():
            return resync.evaluate(state, work)
        case Fill():
            return fill.skip_gone(state, work)
        case Trim() | Shed() | ApplyGroups() | SyncHost() | Sweep():
            raise AssertionError(f"{type(work).__name__} always asks something")
        case _:
            assert_never(work)


def _observed(state: State, command: Observed, now: Instant) -> list[ev.Event]:
    """A look is heard only if the lane still wants it; otherwise it is news from the past."""
    if state.phase in ("new", "failed"):
        return []
    work = state.pool.work
    if work is not None and state.pool.call is None:
        step = plan.want(state, work, now)
        if step.look == command.look and step.due <= now:
            return _next_card(state, _seen(state, work, command, now))
    if state.phase == "ready" and command.look == leaks.look(state):
        return leaks.observe(state, command.seen, now)
    if state.phase == "ready" and command.look == trunk.look(state):
        return trunk.observe(state, command.seen)
    if state.phase == "ready" and command.look == watch.look():
        return watch.observe(state, command.seen)
    return []


def _seen(state: State, work: Work, command: Observed, now: Instant) -> list[ev.Event]:
    match work:
        case Init():
            return init.observe(state, work, command.seen, now)
        case Fill():
            return fill.observe(state, work, command.seen)
        case Grow():
            return grow.observe(state, work, command.seen, now)
        case Shed():
            return shed.observe(work, command.seen)
        case Resync():
            return resync.observe(state, work, command.seen, now)
        case Trim() | Free() | Turn() | ApplyGroups() | SyncHost() | Sweep():
            raise AssertionError(f"{type(work).__name__} looks at nothing")
        case _:
            assert_never(work)


def _settle(state: State, command: Settle, now: Instant) -> list[ev.Event]:
    """Exactly once: a call that is not in flight any more is not heard."""
    running = state.calls.get(command.call_id)
    if running is None:
        return []
    outcome = command.outcome
    ended = _ended(command.call_id, outcome)
    if running.lane == "pod-eni":
        return branch_decide.settle(state, running, ended, outcome, now)
    if running.node:
        return windows_decide.settle(state, running, ended, outcome, now).events
    led = _led(state, running, ended, outcome, now)
    return [*led, *unpermitted(state, running.call, outcome, now)]


def _led(state: State, running: Running, ended: ev.CallEnded, outcome: Outcome, now: Instant) -> list[ev.Event]:
    """Where the outcome leads, by lane."""
    if running.lane == "side" or running.lane == "purge":
        fine = isinstance(outcome, Succeeded)
        return [ended] if fine else [ended, logged(type(running.call).__name__, outcome)]
    if running.lane == "leaks":
        return [ended, *leaks.settle(state, outcome, now)]
    if running.lane == "trunk":
        return [ended, *trunk.settle(outcome)]
    if running.lane == "watch":
        return [ended, *watch.settle(state, outcome)]
    work = state.pool.work
    assert work is not None, f"call {ended.call_id} of the pool lane ended while the lane was idle"
    return [ended, *_next_card(state, _advance(state, work, outcome, now))]


def _ended(call_id: CallId, outcome: Outcome) -> ev.CallEnded:
    match outcome:
        case Succeeded():
            return ev.CallEnded(call_id, "succeeded")
        case Failed():
            return ev.CallEnded(call_id, "failed", outcome.code, outcome.message)
        case Lost():
            return ev.CallEnded(call_id, "lost", message=outcome.why)
        case _:
            assert_never(outcome)


def _advance(state: State, work: Work, outcome: Outcome, now: Instant) -> list[ev.Event]:
    match work:
        case Init():
            return init.settle(state, work, outcome, now)
        case Fill():
            return fill.settle(state, work, outcome)
        case Grow():
            return grow.settle(state, work, outcome, now)
        case Trim():
            return fill.settle_trim(work, outcome)
        case Shed():
            return shed.settle(state, work, outcome, now)
        case Resync():
            return resync.settle(state, work, outcome, now)
        case Free() | Turn() | ApplyGroups() | SyncHost() | Sweep():
            raise AssertionError(f"{type(work).__name__} makes no call in the pool lane")
        case _:
            assert_never(work)
