"""Adding blocks to ENIs that have room, one ENI a cycle (POOL-21..29), and giving blocks back (POOL-31..34).

assign --ok--> blocks into the store, increased
   |--limit exceeded or lost--> reread the ENI from EC2, increased
   |--any other error--> fallback: one block --error--> next ENI (discovery, exhausted subnet) or end
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from . import events as ev
from .calls import (
    ADDRESS_LIMIT_EXCEEDED,
    INSUFFICIENT_CODES,
    AssignPrivateIpAddresses,
    DescribeNetworkInterfaces,
    EnisView,
    Failed,
    Granted,
    Lost,
    Outcome,
    Succeeded,
    UnassignIpv6Addresses,
    UnassignPrivateIpAddresses,
    View,
)
from .grow import start_growing
from .pool_linux import Balance, freeable_blocks, has_room_for_eni, limit_per_eni
from .state import Eni, State
from .steps import Want, after, code_of, counted, logged, moved
from .types import SECOND, Instant, single
from .work import Fill, Trim

Unassign: TypeAlias = UnassignPrivateIpAddresses | UnassignIpv6Addresses
HOLD = 60 * SECOND
"""REC-11: so long a freed block is not learnt again from metadata."""


def request(state: State, work: Fill) -> AssignPrivateIpAddresses:
    """EC2-20: what the head of the queue is asked for: what is wanted, as far as it has slots (POOL-22, POOL-23)."""
    eni = state.enis[work.queue[0]]
    count = 1 if work.step == "fallback" else min(limit_per_eni(state) - len(eni.blocks), work.wanted)
    if state.settings.prefix_delegation:
        return AssignPrivateIpAddresses(eni.eni, prefixes=count)
    return AssignPrivateIpAddresses(eni.eni, secondary_ips=count)


def want(state: State, work: Fill) -> Want:
    """The next step."""
    if work.step == "reread":
        return Want(look=DescribeNetworkInterfaces((work.queue[0],)))
    if work.queue[0] not in state.enis:
        return Want()
    return Want(call=request(state, work))


def settle(state: State, work: Fill, outcome: Outcome) -> list[ev.Event]:
    """POOL-25..29."""
    eni = work.queue[0]
    match outcome:
        case Succeeded(result=result):
            assert isinstance(result, Granted)
            cidrs = [*map(single, result.addresses), *result.prefixes]
            added: list[ev.Event] = [ev.CidrAdded(eni, cidr) for cidr in cidrs]
            if not cidrs:
                mode = state.settings.prefix_delegation
                fn = "increaseIPPoolGetENIprefixedFailed" if mode else "increaseIPPoolGetENIaddressesFailed"
                added = [ev.ErrorCounted(fn, f"EC2 granted nothing to {eni} and reported no error")]
            return [*added, ev.PoolActed("increased", work.card), *after(work.then, work.card)]
        case Lost():
            return [moved(msgspec.structs.replace(work, step="reread"))]
        case Failed(code=code) if code == ADDRESS_LIMIT_EXCEEDED:
            return [moved(msgspec.structs.replace(work, step="reread"))]
        case Failed():
            if work.step == "assign":
                again = msgspec.structs.replace(work, step="fallback")
                return [logged("AssignPrivateIpAddresses", outcome), moved(again)]
            return _second_failure(state, work, outcome)


def _second_failure(state: State, work: Fill, failure: Failed) -> list[ev.Event]:
    """POOL-27, POOL-28; at node init anything but exhaustion is fatal (POOL-20)."""
    failed = counted("increaseIPPoolAllocIPAddressesFailed", failure)
    insufficient = code_of(failure) in INSUFFICIENT_CODES
    if insufficient and state.settings.subnet_discovery and len(work.queue) > 1:
        return [failed, moved(msgspec.structs.replace(work, queue=work.queue[1:], step="assign"))]
    asks_on = has_room_for_eni(state, work.card) or state.settings.quirks.exhausted_without_room_asks_on
    if insufficient and state.settings.subnet_discovery and asks_on:
        return [failed, *start_growing(state, work.card, work.wanted, work.then)]
    if insufficient:
        return [failed, ev.SubnetExhausted(failure.code, failure.message), *after(work.then, work.card)]
    if work.then == "ready":
        return [failed, ev.InitFailed("prescale", failure.code, failure.message)]
    return [failed, *after(work.then, work.card)]


def observe(state: State, work: Fill, seen: View | Failed) -> list[ev.Event]:
    """POOL-26: whatever EC2 says the ENI holds comes into the store; the cycle counts as increased."""
    eni = state.enis.get(work.queue[0])
    if isinstance(seen, Failed):
        failed: list[ev.Event] = [logged("DescribeNetworkInterfaces", seen)]
        if work.then == "ready":
            return [*failed, ev.InitFailed("prescale", seen.code, seen.message)]
        return [*failed, *after(work.then, work.card)]
    assert isinstance(seen, EnisView)
    added: list[ev.Event] = []
    for found in seen.enis:
        if eni is not None and found.eni == eni.eni:
            cidrs = [*map(single, found.addresses[1:]), *found.prefixes]
            added += [ev.CidrAdded(eni.eni, cidr) for cidr in cidrs if cidr not in eni.blocks]
    return [*added, ev.PoolActed("increased", work.card), *after(work.then, work.card)]


def skip_gone(state: State, work: Fill) -> list[ev.Event]:
    """The head left its store meanwhile: go on with the rest."""
    if len(work.queue) > 1:
        return [moved(msgspec.structs.replace(work, queue=work.queue[1:], step="assign"))]
    return after(work.then, work.card)


def trim(state: State, card: int, goal: Balance, now: Instant) -> tuple[list[ev.Event], Trim | None]:
    """POOL-31: at most `over` blocks leave the store, ENI by ENI, before EC2 is asked; None if none may go.

    Upstream walks the ENIs in random order. Ours begins with the last device, so that a secondary ENI empties and
    can be freed, rather than the primary one, which never goes.
    """
    over = goal.over
    events: list[ev.Event] = []
    calls: list[Unassign] = []
    for eni in reversed(state.enis.values()):
        if eni.card != card or over <= 0:
            continue
        blocks = freeable_blocks(state, eni, now)[:over]
        over -= len(blocks)
        events += [ev.CidrRemoved(eni.eni, block.cidr, "scale_down", now + HOLD) for block in blocks]
        calls += unassign_calls(eni, [block.cidr for block in blocks])
    return (events, Trim(tuple(calls), "idle", card)) if calls else ([], None)


def unassign_calls(eni: Eni, cidrs: list[str]) -> list[Unassign]:
    """EC2-21 for blocks that left the store: prefixes first, then addresses (POOL-32), IPv6 last."""
    prefixes = tuple(cidr for cidr in cidrs if not cidr.endswith("/32") and ":" not in cidr)
    addresses = tuple(cidr.removesuffix("/32") for cidr in cidrs if cidr.endswith("/32"))
    wide = tuple(cidr for cidr in cidrs if ":" in cidr)
    calls: list[Unassign] = []
    if prefixes:
        calls.append(UnassignPrivateIpAddresses(eni.eni, prefixes=prefixes))
    if addresses:
        calls.append(UnassignPrivateIpAddresses(eni.eni, addresses=addresses))
    if wide:
        calls.append(UnassignIpv6Addresses(eni.eni, wide))
    return calls


def settle_trim(work: Trim, outcome: Outcome) -> list[ev.Event]:
    """POOL-32: failures are only logged; the store is ahead already."""
    events: list[ev.Event] = [] if isinstance(outcome, Succeeded) else [logged(type(work.calls[0]).__name__, outcome)]
    rest = msgspec.structs.replace(work, calls=work.calls[1:])
    if rest.calls:
        return [*events, moved(rest)]
    return [*events, ev.PoolActed("decreased", work.card), *after(work.then, work.card)]
