"""Blocks that go back to EC2 when their last pod leaves: leftovers of the other mode (RPC-52, RPC-53) and blocks of
excluded ENIs (DM-32). A release makes them due; at that moment they are looked at once more.

Upstream frees a leftover inside the RPC, while its addresses still cool. Ours waits for the cooldown, so that EC2
cannot hand a cooling address to another node; `cooling_released_by_scale_down` brings upstream's way back.
"""

from __future__ import annotations

from typing import Literal

from . import events as ev
from .blocks import Block
from .fill import HOLD, unassign_calls
from .state import Eni, State
from .types import SECOND, CallId, Instant

EXCLUDED_DELAY = 5 * SECOND
"""DM-32."""


def purges_after_release(state: State, released: ev.AddressReleased, now: Instant) -> list[ev.Event]:
    """What a release makes due: nothing, unless a block that serves no more is empty now."""
    if state.ec2_silent:
        return []
    eni = state.enis[released.eni]
    block = eni.blocks[released.block]
    rest = 0 if state.settings.quirks.cooling_released_by_scale_down else max(state.cooldown, 0) + 1
    if block.prefix != state.settings.prefix_delegation:
        if not block.prefix and state.settings.quirks.leftover_ip_kept:
            return []
        return [ev.PurgeDue(eni.eni, cidr, now + rest) for cidr in _leftovers(eni, block)]
    if eni.excluded and block.assigned == 1:
        return [ev.PurgeDue(eni.eni, block.cidr, now + max(rest, EXCLUDED_DELAY))]
    return []


def _leftovers(eni: Eni, left: Block) -> list[str]:
    """RPC-52: every block of the leftover kind on this ENI that has no pod once this one is gone from `left`."""
    return [
        block.cidr
        for block in eni.blocks.values()
        if block.prefix == left.prefix and block.assigned == int(block is left)
    ]


def purge_due(state: State, now: Instant) -> list[ev.Event]:
    """Take what is due and still idle out of the store and back to EC2."""
    events: list[ev.Event] = []
    gone: dict[str, list[str]] = {}
    for (eni_id, cidr), due in state.purges.items():
        if due > now:
            continue
        events.append(ev.PurgeEnded(eni_id, cidr))
        eni = state.enis.get(eni_id)
        block = eni.blocks.get(cidr) if eni is not None else None
        if eni is not None and block is not None and _may_go(state, eni, block, now):
            leftover = block.prefix != state.settings.prefix_delegation
            why: Literal["leftover", "excluded"] = "leftover" if leftover else "excluded"
            forgets = state.settings.quirks.excluded_purge_forgets and not leftover
            events.append(ev.CidrRemoved(eni_id, cidr, why, 0 if forgets else now + HOLD))
            if not forgets:
                gone.setdefault(eni_id, []).append(cidr)
    call_id = state.next_call
    for eni_id, cidrs in gone.items():
        for call in unassign_calls(state.enis[eni_id], cidrs):
            events.append(ev.CallStarted(CallId(call_id), call, "side"))
            call_id += 1
    return events


def _may_go(state: State, eni: Eni, block: Block, now: Instant) -> bool:
    if block.assigned or (block.prefix == state.settings.prefix_delegation and not eni.excluded):
        return False
    late = state.settings.quirks.cooling_released_by_scale_down
    return late or not block.cooling_at(now, state.cooldown)
