"""State to bytes and back, and a fork of State. A snapshot holds facts only; indexes are built again."""

from __future__ import annotations

from collections import deque
from typing import Literal

import msgspec

from . import branch_state, windows_snapshot
from .blocks import Address, restock
from .branch_state import Trunks
from .commands import Restored
from .kube import KubeNode
from .settings import Node, Settings
from .state import Eni, Lane, Pending, Running, State, Store, Trouble, add_block, reindex
from .types import CallId, CidrText, ConnectionTracking, EniId, Instant, IpText
from .work import Turn, Work


class FrozenAddress(msgspec.Struct, omit_defaults=True):
    address: IpText
    record: Address


class FrozenBlock(msgspec.Struct, omit_defaults=True):
    cidr: CidrText
    addresses: list[FrozenAddress] = []
    released: list[IpText] = []
    """Unassigned ones, in the order of their release."""


class FrozenEni(msgspec.Struct, omit_defaults=True):
    eni: EniId
    mac: str
    device: int
    card: int
    table: int
    subnet: str
    subnet_cidr: CidrText
    primary_ip: IpText
    primary: bool
    trunk: bool
    efa: bool
    ready_at: Instant
    excluded: bool
    blocks: list[FrozenBlock]


class FrozenStore(msgspec.Struct, omit_defaults=True):
    card: int
    drift_total: int = 0
    drift_prefixes: int = 0


class FrozenLane(msgspec.Struct, omit_defaults=True):
    work: Work | None
    call: CallId | None
    since: Instant
    next: Literal["update", "resync"]
    turn: Turn | None = None


class Frozen(msgspec.Struct, omit_defaults=True):
    """All facts of a State, ready for `msgspec.json`."""

    settings: Settings
    node: Node
    seed: int
    phase: Literal["new", "init", "ready", "failed"]
    seq: int
    at: Instant
    started_at: Instant
    terminating: bool
    enis: list[FrozenEni]
    stores: list[FrozenStore]
    pool: FrozenLane
    watch: FrozenLane
    calls: dict[CallId, Running]
    next_call: int
    pending: dict[EniId, Pending]
    lost_tokens: tuple[str, ...]
    unmanaged: tuple[EniId, ...]
    held: dict[str, Instant]
    purges: list[tuple[EniId, CidrText, Instant]]
    vpc_cidrs: tuple[CidrText, ...]
    security_groups: tuple[str, ...] | None
    groups_stale: bool
    last_pool_action: Instant
    last_decrease: Instant
    exhausted_at: Instant
    trouble: Trouble | None
    leaks: FrozenLane | None = None
    """Absent in snapshots of before there was a cleaner."""
    windows: windows_snapshot.FrozenCluster | None = None
    """Absent where no controller of Windows nodes ever ran."""
    trunks: Trunks | None = None
    """Absent where no node carries a trunk."""
    restored: tuple[Restored, ...] = ()
    cards: tuple[int, ...] = (0,)
    counted: dict[EniId, int] | None = None
    """None: every unmanaged ENI, on card 0."""
    trunk: FrozenLane | None = None
    cluster: bool = False
    kube_node: KubeNode | None = None
    warned: dict[str, Instant] = {}
    tracking: ConnectionTracking | None = None


_PLAIN = (
    "settings", "node", "seed", "phase", "seq", "at", "started_at", "terminating", "next_call", "lost_tokens",
    "unmanaged", "vpc_cidrs", "security_groups", "groups_stale", "last_pool_action", "last_decrease",
    "exhausted_at", "trouble", "restored", "cards", "cluster", "kube_node", "tracking",
)  # fmt: skip
"""Immutable members that State and Frozen share by name."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Frozen)


def encode(state: State) -> bytes:
    """State as one JSON document."""
    return _encoder.encode(freeze(state))


def decode(document: bytes | msgspec.Raw) -> State:
    """The State of a document that `encode` wrote. Raises msgspec.DecodeError on anything else."""
    return thaw(_decoder.decode(document))


def fork(state: State) -> State:
    """An independent copy: what happens to it does not touch the original."""
    return thaw(freeze(state, copy=True))


def freeze(state: State, copy: bool = False) -> Frozen:
    """The facts. Without `copy` the result shares mutable parts with State and must be encoded at once."""
    return Frozen(
        **{name: getattr(state, name) for name in _PLAIN},
        calls=dict(state.calls),
        pending=dict(state.pending),
        held=dict(state.held),
        purges=[(eni, cidr, due) for (eni, cidr), due in state.purges.items()],
        enis=[_freeze_eni(eni, copy) for eni in state.enis.values()],
        stores=[FrozenStore(store.card, store.drift_total, store.drift_prefixes) for store in state.stores.values()],
        pool=_freeze_lane(state.pool),
        watch=_freeze_lane(state.watch),
        leaks=_freeze_lane(state.leaks),
        windows=windows_snapshot.freeze(state.windows),
        trunks=None if state.trunks == Trunks() else branch_state.copied(state.trunks),
        counted=dict(state.counted),
        trunk=_freeze_lane(state.trunk),
        warned=dict(state.warned),
    )


def _freeze_lane(lane: Lane) -> FrozenLane:
    return FrozenLane(lane.work, lane.call, lane.since, lane.next, lane.turn)


def _freeze_eni(eni: Eni, copy: bool) -> FrozenEni:
    blocks = []
    for block in eni.blocks.values():
        addresses = [
            FrozenAddress(block.address(offset), _copy(record) if copy else record)
            for offset, record in block.records.items()
        ]
        blocks.append(
            FrozenBlock(block.cidr, addresses, [block.address(offset) for _, offset in block.cooling])
        )
    return FrozenEni(
        eni.eni, eni.mac, eni.device, eni.card, eni.table, eni.subnet, eni.subnet_cidr, eni.primary_ip, eni.primary,
        eni.trunk, eni.efa, eni.ready_at, eni.excluded, blocks,
    )  # fmt: skip


def _copy(record: Address) -> Address:
    return Address(record.sandbox, record.pod, record.assigned_at, record.released_at)


def thaw(frozen: Frozen) -> State:
    """Build a State, indexes included, from its facts."""
    state = State()
    for name in _PLAIN:
        setattr(state, name, getattr(frozen, name))
    state.calls = dict(frozen.calls)
    state.pending = dict(frozen.pending)
    state.held = dict(frozen.held)
    state.counted = dict.fromkeys(state.unmanaged, 0) if frozen.counted is None else dict(frozen.counted)
    state.purges = {(eni, cidr): due for eni, cidr, due in frozen.purges}
    lanes = (
        (state.pool, frozen.pool),
        (state.watch, frozen.watch),
        (state.leaks, frozen.leaks),
        (state.trunk, frozen.trunk),
    )
    state.warned = dict(frozen.warned)
    for lane, was in lanes:
        if was is None:
            continue
        lane.work, lane.call, lane.since, lane.next, lane.turn = was.work, was.call, was.since, was.next, was.turn
    state.stores = {kept.card: Store(kept.card) for kept in frozen.stores}
    for kept in frozen.stores:
        state.stores[kept.card].drift_total = kept.drift_total
        state.stores[kept.card].drift_prefixes = kept.drift_prefixes
    for eni in frozen.enis:
        _thaw_eni(state, eni)
    state.windows = windows_snapshot.thaw(frozen.windows)
    state.trunks = Trunks() if frozen.trunks is None else branch_state.copied(frozen.trunks)
    reindex(state)
    return state


def _thaw_eni(state: State, kept: FrozenEni) -> None:
    eni = Eni(
        kept.eni, mac=kept.mac, device=kept.device, card=kept.card, table=kept.table, subnet=kept.subnet,
        subnet_cidr=kept.subnet_cidr, primary_ip=kept.primary_ip, primary=kept.primary, trunk=kept.trunk, efa=kept.efa,
        ready_at=kept.ready_at, excluded=kept.excluded,
    )  # fmt: skip
    state.enis[kept.eni] = eni
    store = state.stores[kept.card]
    for kept_block in kept.blocks:
        block = add_block(state, eni, kept_block.cidr)
        for held in kept_block.addresses:
            offset = block.offset(held.address)
            block.records[offset] = held.record
            if held.record.sandbox is not None:
                block.count(1)
                store.owners[held.record.sandbox] = (block, offset)
        restock(block)
        released = [block.offset(text) for text in kept_block.released]
        block.cooling = deque((block.records[offset].released_at, offset) for offset in released)
