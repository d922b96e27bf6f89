"""Which address a sandbox gets, what its release means, and why there may be none.

Upstream's order among addresses is random; ours fills the fullest block first, so prefixes fall free sooner
(DM-17, DM-18 hold for any order). Nothing here scans addresses: see `state.Store`.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from . import events as ev
from . import pod_eni
from .blocks import Block
from .calls import Call
from .commands import (
    AddNetwork,
    After,
    Assigned,
    BranchAssigned,
    BranchFault,
    BranchReleased,
    DelNetwork,
    Hollow,
    NotReady,
    Refused,
    Released,
    UnknownPod,
)
from .kube import ClearPodIp, SetPodIp
from .reasons import refusal
from .state import State, Store
from .types import CallId, Instant, Pod, Sandbox

Added: TypeAlias = Assigned | BranchAssigned | Refused | Hollow | NotReady | After
Removed: TypeAlias = Released | BranchReleased | BranchFault | UnknownPod | Hollow | NotReady | After

MIGRATED_NETWORK = "_migrated-from-cri"
MIGRATED_INTERFACE = "unknown"
FIELD_MAX = 4096
"""Bytes in one field of a request; longer ones are refused (ours; upstream has no bound)."""


def add(state: State, command: AddNetwork, now: Instant) -> tuple[list[ev.Event], Added]:
    """An address for a sandbox (RPC-21..33). With ANNOTATE_POD_IP the answer waits for the annotation (RPC-39)."""
    if state.phase == "init":
        told = refusal(state, now)
        return [ev.AssignRefused(told.reason, told.fact, command.sandbox, command.pod)], NotReady(state.phase)
    if state.phase != "ready":
        return [], NotReady(state.phase)
    branch = pod_eni.add(state, command)
    if isinstance(branch, Refused):
        return _refuse(command, branch)
    events, answer = _assign(state, command, now) if branch is None else ([], branch)
    if not state.settings.annotate_pod_ip or not isinstance(answer, Assigned | BranchAssigned):
        return events, answer
    call = SetPodIp(command.pod.namespace, command.pod.name, answer.address)
    return [*events, _started(state, call)], After(CallId(state.next_call), answer)


def _started(state: State, call: Call) -> ev.Event:
    return ev.CallStarted(CallId(state.next_call), call, "side")


def _assign(
    state: State, command: AddNetwork, now: Instant
) -> tuple[list[ev.Event], Assigned | Refused | Hollow | NotReady]:
    """An address of the first card that has one, or one of each card (RPC-29..33).

    A repeated ADD gets the same one and makes no event (DM-30), whichever card it is of.
    """
    sandbox = command.sandbox
    if not (sandbox.container and sandbox.interface and sandbox.network):
        fact = "ContainerID, IfName and NetworkName must not be empty"
        return _refuse(command, Refused("invalid", fact, "send all three; the CNI runtime sets them"))
    if command.multi_nic or (state.settings.quirks.repeated_add_per_store and len(state.cards) > 1):
        return _walk(state, command, now)
    for store in state.stores.values():
        held = store.owners.get(sandbox)
        if held is not None:
            return [], _granted(state, *held, repeated=True)
    for card in state.cards:
        found = pick(state, state.stores[card], now)
        if found is not None:
            block, offset = found
            event = ev.AddressAssigned(block.address(offset), block.eni, block.cidr, sandbox, command.pod)
            return [event], _granted(state, block, offset)
    return _exhausted(state, command, now, [])


def _walk(
    state: State, command: AddNetwork, now: Instant
) -> tuple[list[ev.Event], Assigned | Refused | Hollow | NotReady]:
    """Store by store until enough addresses are held (RPC-31, RPC-32). What was taken stays taken (RPC-33)."""
    if command.multi_nic and not state.settings.multi_nic:
        fact = "RequiresMultiNICAttachment is set, but ENABLE_MULTI_NIC is off"
        return _refuse(command, Refused("invalid", fact, "set ENABLE_MULTI_NIC=true, or ask for one interface"))
    required = len(state.cards) if command.multi_nic else 1
    pod = msgspec.structs.replace(command.pod, interfaces=required)
    events: list[ev.Event] = []
    held: list[Assigned] = []
    for card in state.cards:
        store = state.stores[card]
        owned = store.owners.get(command.sandbox)
        found = owned or pick(state, store, now)
        if found is None:
            if required == 1:
                continue
            return _exhausted(state, command, now, events)
        block, offset = found
        if owned is None:
            events.append(ev.AddressAssigned(block.address(offset), block.eni, block.cidr, command.sandbox, pod))
        held.append(_granted(state, block, offset, repeated=owned is not None))
        if len(held) == required:
            return events, msgspec.structs.replace(held[0], others=tuple(held[1:]))
    return _exhausted(state, command, now, events)


def _exhausted(
    state: State, command: AddNetwork, now: Instant, taken: list[ev.Event]
) -> tuple[list[ev.Event], Refused | Hollow]:
    """No card has an address. RPC-40: upstream tells the last store by its index, which gaps among the cards defeat."""
    gaps = state.cards[-1] != len(state.cards) - 1
    if gaps and not command.multi_nic and state.settings.quirks.last_store_by_index:
        return taken, Hollow()
    events, refused = _refuse(command, refusal(state, now))
    return [*taken, *events], refused


def _refuse(command: AddNetwork, refused: Refused) -> tuple[list[ev.Event], Refused]:
    return [ev.AssignRefused(refused.reason, refused.fact, command.sandbox, command.pod)], refused


def _granted(state: State, block: Block, offset: int, repeated: bool = False) -> Assigned:
    eni = state.enis[block.eni]
    return Assigned(block.address(offset), eni.eni, eni.device, eni.table, repeated)


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


def remove(state: State, command: DelNetwork, now: Instant) -> tuple[list[ev.Event], Removed]:
    """Give a sandbox's addresses back; with ANNOTATE_POD_IP the answer waits for the pod's annotation (RPC-54)."""
    if state.phase != "ready":
        return [], NotReady(state.phase)
    events, answer = _remove(state, command)
    if isinstance(answer, UnknownPod) and not events:
        return [], pod_eni.remove(state, command) or answer
    if not state.settings.annotate_pod_ip or not isinstance(answer, Released):
        return events, answer
    pod = command.pod if command.pod.name else _pod_of(state, command.sandbox)
    call = ClearPodIp(pod.namespace, pod.name, answer.address)
    return [*events, _started(state, call)], After(CallId(state.next_call), answer)


def _pod_of(state: State, sandbox: Sandbox) -> Pod:
    """Whom the address was given to."""
    for store in state.stores.values():
        held = held_by(store, sandbox)
        if held is not None:
            return held[0].records[held[1]].pod
    return Pod()


def _remove(state: State, command: DelNetwork) -> tuple[list[ev.Event], Released | UnknownPod | Hollow]:
    """As many addresses as the sandbox asked for (RPC-44, RPC-46, DM-26).

    Their last pod may take a leftover block with it (RPC-52, DM-32). If the last card does not know the sandbox, the
    pod is unknown, though what other cards held of it is free now (RPC-56).
    """
    wanted = 1
    events: list[ev.Event] = []
    freed: list[Released] = []
    missed = False
    for store in state.stores.values():
        held = held_by(store, command.sandbox)
        missed = held is None
        if held is None:
            continue
        block, offset = held
        eni = state.enis[block.eni]
        pod: Pod = block.records[offset].pod
        address = block.address(offset)
        interfaces = pod.interfaces or 1
        wanted = interfaces if not freed else wanted
        events.append(ev.AddressReleased(address, eni.eni, block.cidr))
        freed.append(Released(address, eni.eni, eni.device, eni.table, interfaces))
        if len(freed) == wanted:
            break
    if freed and not missed:
        return events, msgspec.structs.replace(freed[0], others=tuple(freed[1:]))
    last = [*state.stores][-1]
    if last != len(state.stores) - 1 and state.settings.quirks.last_store_by_index:
        return events, msgspec.structs.replace(freed[0], others=tuple(freed[1:])) if freed else Hollow()
    return events, UnknownPod(command.sandbox)
