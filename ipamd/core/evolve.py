"""What each event means. Total: a recorded fact is never refused; one that names nothing known changes nothing."""

from __future__ import annotations

import msgspec

from . import branch_state, windows_fold
from . import events as ev
from . import windows_events as we
from .blocks import Address, restock
from .branch_events import BranchEvent
from .calls import CreateNetworkInterface
from .kube import RecordEvent
from .state import (
    Eni,
    Lane,
    Pending,
    Running,
    State,
    Store,
    Trouble,
    add_block,
    drop_block,
    free_address,
    put_address,
    reindex,
    thaw_cooled,
)
from .types import Instant
from .work import Init, Turn


def fold(state: State, record: ev.Record) -> None:
    """Apply one record."""
    at = record.at
    state.seq = record.seq
    state.at = at
    for event in record.events:
        evolve(state, event, at)


def evolve(state: State, event: ev.Event, at: Instant) -> None:
    """Change State by one event. The hot ones come first."""
    match event:
        case ev.AddressAssigned():
            _assigned(state, event, at)
        case ev.AddressReleased():
            _released(state, event, at)
        case ev.AssignRefused():
            pass
        case ev.CidrAdded():
            eni = state.enis.get(event.eni)
            if eni is not None and event.cidr not in eni.blocks:
                add_block(state, eni, event.cidr)
        case ev.CidrRemoved():
            _cidr_removed(state, event)
        case ev.CallStarted():
            _call_started(state, event, at)
        case ev.CallEnded():
            _call_ended(state, event, at)
        case ev.WorkMoved():
            lane = _lane(state, event.lane)
            lane.work = event.work
            if event.turn is not None or event.work is None or isinstance(event.work, Turn):
                lane.turn = event.turn
            if event.work is None:
                lane.since = at
                lane.next = event.next
        case ev.PoolActed():
            if event.action in ("increased", "decreased"):
                state.last_pool_action = at
                state.trouble = None if event.action == "increased" else state.trouble
            if event.action == "decreased":
                state.last_decrease = at
        case ev.Resynced():
            state.last_pool_action = at
        case ev.RowDropped():
            pass
        case ev.EniCreated():
            state.pending[event.eni] = Pending(event.primary_ip, event.subnet, event.token)
        case ev.EniAttached():
            known = state.pending.get(event.eni)
            if known is not None:
                state.pending[event.eni] = Pending(known.primary_ip, known.subnet, known.token, event.attachment)
        case ev.EniDiscarded():
            state.pending.pop(event.eni, None)
        case ev.EniReady():
            _eni_ready(state, event, at)
        case ev.EniExcluded():
            _eni_excluded(state, event)
        case ev.UnmanagedEnisChanged():
            state.unmanaged = event.enis
            state.counted = dict.fromkeys(event.enis, 0) if event.counted is None else event.counted
        case ev.CardsManaged():
            _cards_managed(state, event)
        case ev.EniLeft():
            _eni_left(state, event)
        case ev.HoldEnded():
            state.held.pop(event.cidr, None)
        case ev.SubnetExhausted():
            state.exhausted_at = at
            state.trouble = Trouble("assign", event.code, at)
        case ev.PurgeDue():
            state.purges[event.eni, event.cidr] = event.due
        case ev.PurgeEnded():
            state.purges.pop((event.eni, event.cidr), None)
        case ev.ErrorCounted():
            if event.fn.startswith("increase") or event.fn == "ENIConfig":
                state.trouble = Trouble(event.fn, event.code, at, event.message)
        case ev.ReconcileCounted():
            pass
        case ev.KubeNodeChanged():
            state.kube_node = event.node
            state.cluster = True
        case ev.MaxPodsChanged():
            state.node = msgspec.structs.replace(state.node, max_pods=event.max_pods)
        case ev.VpcCidrsChanged():
            state.vpc_cidrs = event.cidrs
        case ev.SecurityGroupsChanged():
            state.security_groups = event.groups
            state.groups_stale = True
        case ev.ConnectionTrackingSeen():
            state.tracking = event.tracking
        case ev.Started():
            _started(state, event, at)
        case ev.NodeReady():
            state.phase = "ready"
            state.watch.since = state.leaks.since = state.trunk.since = at
            state.leaks.next = "update"
            state.groups_stale = False
            state.restored = ()
        case ev.InitFailed():
            state.phase = "failed"
        case ev.Terminating():
            state.terminating = True
        case _ if isinstance(event, BranchEvent):
            branch_state.change(state.trunks, event, at)
        case _:
            windows_fold.change(state.windows, event, at)
            if isinstance(event, we.ControllerOpened):
                state.trunks = branch_state.Trunks(clean_at=at if event.cleaner else 0)  # found anew, as the pools are
            if isinstance(event, we.NodeKnown | we.NodeForgotten | we.NodeInitialised):
                _forget_jobs(state, event.node)


def _forget_jobs(state: State, node: str) -> None:
    """Jobs of a pool that is no more answer nobody; what they brought is found when the node is read again."""
    for call_id, running in list(state.calls.items()):
        gone = running.node == node and running.lane in ("secondary", "prefix")
        if gone and state.windows.pool(node, "prefix" if running.lane == "prefix" else "secondary") is None:
            del state.calls[call_id]


def _assigned(state: State, event: ev.AddressAssigned, at: Instant) -> None:
    eni = state.enis.get(event.eni)
    block = eni.blocks.get(event.block) if eni is not None else None
    if eni is None or block is None:
        return
    store = state.stores[eni.card]
    thaw_cooled(state, store, at)
    put_address(state, store, block, block.offset(event.address), Address(event.sandbox, event.pod, event.since or at))


def _released(state: State, event: ev.AddressReleased, at: Instant) -> None:
    eni = state.enis.get(event.eni)
    block = eni.blocks.get(event.block) if eni is not None else None
    if eni is None or block is None:
        return
    offset = block.offset(event.address)
    if offset in block.records:
        free_address(state, state.stores[eni.card], block, offset, at, event.stale)


def _cidr_removed(state: State, event: ev.CidrRemoved) -> None:
    if event.held_until:
        state.held[event.cidr] = event.held_until
    eni = state.enis.get(event.eni)
    block = eni.blocks.get(event.cidr) if eni is not None else None
    if eni is None or block is None:
        return
    store = state.stores[eni.card]
    drop_block(state, eni, block)
    if event.why == "excluded" and state.settings.quirks.excluded_purge_forgets:
        store.drift_total += block.size
        store.drift_prefixes += block.prefix


def _lane(state: State, name: str) -> Lane:
    return {"watch": state.watch, "leaks": state.leaks, "trunk": state.trunk}.get(name, state.pool)


def _call_started(state: State, event: ev.CallStarted, at: Instant) -> None:
    state.calls[event.call_id] = Running(event.call, event.lane, at, event.node)
    state.next_call = event.call_id + 1
    if event.lane == "pod-eni":
        branch_state.call_started(state.trunks, event.node, event.call)
        return
    if event.node:
        windows_fold.call_started(state.windows, event.node, event.lane, event.call, at)
        return
    if event.lane in ("pool", "watch", "leaks", "trunk"):
        _lane(state, event.lane).call = event.call_id
    if isinstance(event.call, RecordEvent):
        state.warned[event.call.action] = at


def _call_ended(state: State, event: ev.CallEnded, at: Instant) -> None:
    running = state.calls.pop(event.call_id, None)
    if running is not None and running.node and running.lane != "pod-eni":
        windows_fold.call_ended(state.windows, running.node, running.lane, running.call, at)
        return
    for lane in (state.pool, state.watch, state.leaks, state.trunk):
        if lane.call == event.call_id:
            lane.call = None
    if running is not None and event.ended == "lost" and isinstance(running.call, CreateNetworkInterface):
        state.lost_tokens = (*state.lost_tokens, running.call.token)


def _eni_ready(state: State, event: ev.EniReady, at: Instant) -> None:
    state.pending.pop(event.eni, None)
    known = state.enis.get(event.eni)
    if known is not None:
        known.trunk, known.efa = event.trunk, event.efa
        return
    eni = Eni(
        event.eni, mac=event.mac, device=event.device, card=event.card, table=event.table, subnet=event.subnet,
        subnet_cidr=event.subnet_cidr, primary_ip=event.primary_ip, primary=event.primary, trunk=event.trunk,
        efa=event.efa, ready_at=at,
    )  # fmt: skip
    state.enis[event.eni] = eni
    state.enis = dict(sorted(state.enis.items(), key=lambda item: (item[1].card, item[1].device, item[0])))


def _cards_managed(state: State, event: ev.CardsManaged) -> None:
    """A store for each; one of a card that is not managed any more goes with its last ENI."""
    state.cards = event.cards
    held = {eni.card for eni in state.enis.values()}
    kept = {card: store for card, store in state.stores.items() if card in event.cards or card in held}
    for card in event.cards:
        kept.setdefault(card, Store(card))
    state.stores = dict(sorted(kept.items()))


def _eni_excluded(state: State, event: ev.EniExcluded) -> None:
    eni = state.enis.get(event.eni)
    if eni is None:
        return
    store = state.stores[eni.card]
    for block in eni.blocks.values():
        state.withdraw(store, block)
    eni.excluded = event.excluded
    for block in eni.blocks.values():
        state.offer(store, block)


def _eni_left(state: State, event: ev.EniLeft) -> None:
    eni = state.enis.get(event.eni)
    if eni is None:
        return
    store = state.stores[eni.card]
    total = sum(block.size for block in eni.blocks.values())
    prefixes = sum(block.prefix for block in eni.blocks.values())
    lost = sum(drop_block(state, eni, block) for block in list(eni.blocks.values()))
    del state.enis[event.eni]
    if event.why == "freed":
        state.pending[event.eni] = Pending(eni.primary_ip, eni.subnet, token="")
    for key in [key for key in state.purges if key[0] == event.eni]:
        del state.purges[key]
    if lost and event.why == "gone" and state.settings.quirks.forced_removal_subtracts_twice:
        store.drift_total -= total
        store.drift_prefixes -= prefixes


def _started(state: State, event: ev.Started, at: Instant) -> None:
    if state.node.instance and state.node.instance != event.node.instance:
        state.enis.clear()
        state.cards = (0,)
        state.stores = {0: Store(0)}
    state.settings = event.settings
    state.node = event.node
    state.restored = event.restored or state.restored
    state.seed = event.seed
    state.phase = "init"
    state.started_at = at
    state.terminating = False
    state.pool.work = Init()
    state.pool.call = None
    state.pool.turn = None
    state.watch.work = state.leaks.work = state.trunk.work = None
    state.watch.call = state.leaks.call = state.trunk.call = None
    state.cluster = event.node.cluster
    state.kube_node = event.kube_node
    state.warned.clear()
    state.trouble = None
    if event.settings.quirks.restart_forgets:
        _forget_volatile(state, at)
    reindex(state)


def _forget_volatile(state: State, at: Instant) -> None:
    """Appendix D: what upstream loses with its process."""
    state.last_pool_action = state.last_decrease = state.exhausted_at = 0
    state.held.clear()
    state.purges.clear()
    state.security_groups = None
    state.tracking = None
    for eni in state.enis.values():
        eni.ready_at = at
    for store in state.stores.values():
        store.drift_total = store.drift_prefixes = 0
        for block in store.by_rank.values():
            for _, offset in block.cooling:
                del block.records[offset]
            block.cooling.clear()
            restock(block)
