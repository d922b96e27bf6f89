"""Which address a sandbox gets, what its release means, and why there may be none.

Upstream's order among addresses is random; ours fills the fullest block first, so prefixes fall free sooner
(DM-17, DM-18 hold for any order). Nothing here scans addresses: see `state.Store`.
"""

from __future__ import annotations

from . import events as ev
from .commands import AddNetwork, Assigned, DelNetwork, NotReady, Refused, Released, UnknownPod
from .reasons import refusal
from .state import Block, State, Store
from .types import Instant, Pod, Sandbox, ip4_text

MIGRATED_NETWORK = "_migrated-from-cri"
MIGRATED_INTERFACE = "unknown"
FIELD_MAX = 4096
"""Bytes in one field of a request; longer ones are refused (ours; upstream has no bound)."""


def add(state: State, command: AddNetwork, now: Instant) -> tuple[list[ev.Event], Assigned | Refused | NotReady]:
    """An address for a sandbox (RPC-29..33). A repeated ADD gets the same one and makes no event (DM-30)."""
    if state.phase != "ready":
        return [], NotReady(state.phase)
    sandbox = command.sandbox
    if not (sandbox.container and sandbox.interface and sandbox.network):
        fact = "ContainerID, IfName and NetworkName must not be empty"
        return _refuse(command, Refused("invalid", fact, "send all three; the CNI runtime sets them"))
    for store in state.stores.values():
        held = store.owners.get(sandbox)
        if held is not None:
            return [], _granted(state, *held, repeated=True)
    for store in state.stores.values():
        found = pick(state, store, now)
        if found is not None:
            block, offset = found
            event = ev.AddressAssigned(ip4_text(block.base + offset), block.eni, block.cidr, sandbox, command.pod)
            return [event], _granted(state, block, offset)
    return _refuse(command, refusal(state, now))


def _refuse(command: AddNetwork, refused: Refused) -> tuple[list[ev.Event], Refused]:
    return [ev.AssignRefused(refused.reason, refused.fact, command.sandbox, command.pod)], refused


def _granted(state: State, block: Block, offset: int, repeated: bool = False) -> Assigned:
    eni = state.enis[block.eni]
    return Assigned(ip4_text(block.base + offset), eni.eni, eni.device, eni.table, repeated)


def pick(state: State, store: Store, now: Instant) -> tuple[Block, int] | None:
    """The block and offset an assignment takes at `now`.

    The index is as of the last record; releases that have cooled since stand at the head of `store.cooling`.
    """
    cooldown = state.cooldown
    best = store.first_ready()
    for released_at, block in store.cooling:
        if now - released_at <= cooldown:
            break
        if state_allows(state, block) and (best is None or block.key < best.key):
            best = block
    if best is None:
        return None
    offset = best.pick(now, cooldown)
    assert offset is not None, f"block {best.cidr} stands in the order of service but has nothing to give"
    return best, offset


def state_allows(state: State, block: Block) -> bool:
    """Whether the block may serve at all; the index knows this already for the blocks it holds."""
    return block.live and state.usable(block)


def held_by(store: Store, sandbox: Sandbox) -> tuple[Block, int] | None:
    """Where a sandbox's address is, under its own key or the one of entries migrated from CRI days (DM-25)."""
    held = store.owners.get(sandbox)
    if held is None:
        held = store.owners.get(Sandbox(MIGRATED_NETWORK, sandbox.container, MIGRATED_INTERFACE))
    return held


def remove(state: State, command: DelNetwork, now: Instant) -> tuple[list[ev.Event], Released | UnknownPod | NotReady]:
    """Give an address back (RPC-44, DM-26). Its last pod may take a leftover block with it (RPC-52, DM-32)."""
    if state.phase != "ready":
        return [], NotReady(state.phase)
    for store in state.stores.values():
        held = held_by(store, command.sandbox)
        if held is None:
            continue
        block, offset = held
        eni = state.enis[block.eni]
        pod: Pod = block.records[offset].pod
        address = ip4_text(block.base + offset)
        answer = Released(address, eni.eni, eni.device, eni.table, pod.interfaces or 1)
        return [ev.AddressReleased(address, eni.eni, block.cidr)], answer
    return [], UnknownPod(command.sandbox)
