"""State as tables: the pool by ENI and block, the pods, what is in flight, and the checkpoint document.

Pure functions of (State, now) to values that encode to JSON as they stand; words for people are the caller's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from .blocks import Address, Block
from .commands import Refused
from .plan import agenda, plan
from .pool_linux import hold_on_eni
from .reasons import stopped
from .state import Eni, State
from .types import CidrText, EniId, Instant, IpText, Sandbox

CHECKPOINT_VERSION: Final = "vpc-cni-ipam/1"
"""DM-58: upstream refuses any other."""


class BlockView(msgspec.Struct, frozen=True):
    """One secondary address or prefix. Addresses: `size` = `pods` + `cooling` + free."""

    cidr: CidrText
    prefix: bool
    size: int
    pods: int
    cooling: int


class EniView(msgspec.Struct, frozen=True):
    """One ENI of a store: `prefixes` are /28s, `ips` single secondary addresses (primary excluded)."""

    eni: EniId
    device: int
    card: int
    primary: bool
    excluded: bool
    primary_ip: IpText
    subnet: str
    table: int
    prefixes: int
    ips: int
    pods: int
    stays: str
    """Why it may not be freed, as one word (DM-36); "" when it may."""
    blocks: tuple[BlockView, ...]


class PoolView(msgspec.Struct, frozen=True):
    """The whole pool. `total_ips` are addresses that serve pods: of the mode's kind, on ENIs not excluded (DM-34)."""

    enis: tuple[EniView, ...]
    total_ips: int
    assigned: int
    """Pods with an address, wherever it lies."""
    unused: int
    """`total_ips` less the pods among them; cooling addresses count as unused."""
    cooling: int
    unused_prefixes: int
    """Prefixes without pods (DM-35)."""


class PodView(msgspec.Struct, frozen=True):
    """One sandbox and its address. `assigned_at` in ns."""

    namespace: str
    name: str
    network: str
    container: str
    interface: str
    address: IpText
    eni: EniId
    device: int
    block: CidrText
    assigned_at: Instant


class CoolingView(msgspec.Struct, frozen=True):
    """One released address that serves nobody until `until` (ns, inclusive)."""

    address: IpText
    eni: EniId
    block: CidrText
    released_at: Instant
    until: Instant


class CallView(msgspec.Struct, frozen=True):
    """A call whose end is not recorded."""

    call_id: int
    call: str
    lane: str
    started_at: Instant


class NextView(msgspec.Struct, frozen=True):
    """A lane's next moment."""

    lane: str
    at: Instant


class LoopView(msgspec.Struct, frozen=True):
    """What the pool is doing and why: `work` with its step, calls in flight and wanted, figures per card."""

    work: str
    step: str
    calls: tuple[CallView, ...]
    wanted: tuple[str, ...]
    next: tuple[NextView, ...]
    why: dict[int, dict[str, int]]
    trouble: str
    stopped: Refused | None
    """The limit of the node that keeps a pool from growing although its targets ask for more."""


def pool(state: State, now: Instant) -> PoolView:
    """The pool as it stands, ENIs by card and device, blocks in the order they came."""
    enis = tuple(_eni(state, eni, now) for eni in state.enis.values())
    blocks = list(_serving(state))
    total = sum(block.size for block in blocks)
    return PoolView(
        enis=enis,
        total_ips=total,
        assigned=sum(view.pods for view in enis),
        unused=total - sum(block.assigned for block in blocks),
        cooling=sum(block.cooling for view in enis for block in view.blocks),
        unused_prefixes=sum(block.prefix and not block.pods for view in enis for block in view.blocks),
    )


def serving(state: State) -> int:
    """Addresses that serve pods (DM-34): `PoolView.total_ips` alone."""
    return sum(block.size for block in _serving(state))


def _serving(state: State) -> Iterator[Block]:
    mode = state.settings.prefix_delegation
    for eni in state.enis.values():
        if not eni.excluded:
            yield from (block for block in eni.blocks.values() if block.prefix == mode)


def _eni(state: State, eni: Eni, now: Instant) -> EniView:
    blocks = tuple(_block(state, block, now) for block in eni.blocks.values())
    prefixes = sum(block.prefix for block in blocks)
    return EniView(
        eni.eni, eni.device, eni.card, eni.primary, eni.excluded, eni.primary_ip, eni.subnet, eni.table,
        prefixes, len(blocks) - prefixes, eni.assigned, hold_on_eni(state, eni, now), blocks,
    )  # fmt: skip


def _block(state: State, block: Block, now: Instant) -> BlockView:
    return BlockView(block.cidr, block.prefix, block.size, block.assigned, block.cooling_at(now, state.cooldown))


def pods(state: State) -> list[PodView]:
    """Every assigned address, by card, device, block and address."""
    found = []
    for eni, block, address, record, key in _held(state):
        pod = record.pod
        view = PodView(
            pod.namespace, pod.name, key.network, key.container, key.interface, address, eni.eni, eni.device,
            block.cidr, record.assigned_at,
        )  # fmt: skip
        found.append(view)
    return found


def _held(state: State) -> Iterator[tuple[Eni, Block, IpText, Address, Sandbox]]:
    for eni in state.enis.values():
        for block in eni.blocks.values():
            for offset, record in sorted(block.records.items(), key=lambda item: item[0]):
                if record.sandbox is not None:
                    yield eni, block, block.address(offset), record, record.sandbox


def cooling(state: State, now: Instant) -> list[CoolingView]:
    """Every address that cools at `now`, the one that will serve again first first (DM-8)."""
    found = []
    for eni in state.enis.values():
        for block in eni.blocks.values():
            for released_at, offset in block.cooling:
                if now - released_at <= state.cooldown:
                    address = block.address(offset)
                    found.append(CoolingView(address, eni.eni, block.cidr, released_at, released_at + state.cooldown))
    return sorted(found, key=lambda view: view.released_at)


def loop(state: State, now: Instant) -> LoopView:
    """What the pool loop is in the middle of, what it wants next, and the figures it decides by."""
    wanted = plan(state, now)
    in_flight = [running.call for running in state.calls.values()]
    trouble = state.trouble
    return LoopView(
        work=type(state.pool.work).__name__ if state.pool.work is not None else "",
        step=getattr(state.pool.work, "step", ""),
        calls=tuple(
            CallView(call_id, type(running.call).__name__, running.lane, running.started_at)
            for call_id, running in state.calls.items()
        ),
        wanted=tuple(type(call).__name__ for call in wanted.calls[len(in_flight) :]),
        next=tuple(NextView(due.lane, due.at) for due in agenda(state, now)),
        why={card: balance.why for card, balance in wanted.why.items()},
        trouble=f"{trouble.fn} {trouble.code}".strip() if trouble is not None else "",
        stopped=stopped(state, now) if state.enis else None,
    )


# ---- the checkpoint ------------------------------------------------------------------------------------------


class CheckpointPod(msgspec.Struct, frozen=True, omit_defaults=True):
    """DM-58, named as there: each member is left out when it is empty or zero."""

    k8sPodNamespace: str = ""
    k8sPodName: str = ""
    interfacesCount: int = 0


class Allocation(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """DM-58, named as there: one assigned address, of one family; `allocationTimestamp` in ns since the epoch."""

    networkName: str
    containerID: str
    ifName: str
    ipv4: IpText = ""
    ipv6: IpText = ""
    allocationTimestamp: Instant
    metadata: CheckpointPod


class Checkpoint(msgspec.Struct, frozen=True):
    """DM-58: what upstream keeps in ipam.json of one card; `allocations` by ENI, block and address."""

    version: str
    allocations: tuple[Allocation, ...]


def checkpoint(state: State, card: int = 0) -> Checkpoint:
    """The document upstream would have on disk for a card: assigned addresses only (DM-59)."""
    allocations = []
    for eni, _, address, record, key in _held(state):
        if eni.card == card:
            pod = CheckpointPod(record.pod.namespace, record.pod.name, record.pod.interfaces)
            family = "ipv6" if ":" in address else "ipv4"
            held = Allocation(
                networkName=key.network, containerID=key.container, ifName=key.interface,
                allocationTimestamp=record.assigned_at, metadata=pod, **{family: address},
            )  # fmt: skip
            allocations.append(held)
    return Checkpoint(CHECKPOINT_VERSION, tuple(allocations))
