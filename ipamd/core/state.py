"""State: everything the records add up to. Only `evolve` changes it; everything else reads.

    State
      stores   card -> Store      what may be handed out, in the order in which it is handed out
      enis     id -> Eni -> blocks: cidr -> Block -> records: offset -> Address

Facts are the ENIs, blocks and addresses; the rest of a Store is an index over them that makes assignment cost the
same at 10 and at 10,000 addresses. `invariants.check` proves the index against the facts.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from heapq import heappush
from typing import Literal

import msgspec

from .blocks import NOTHING, RANK_BITS, Address, Block, service_key, touch
from .branch_state import Trunks
from .calls import Call
from .commands import CallLane, Restored
from .kube import KubeNode
from .settings import Node, Settings
from .tally import Tally, share
from .types import SECOND, CallId, CidrText, ConnectionTracking, EniId, Instant, IpText, Pod, Sandbox
from .windows_state import Cluster
from .work import Turn, Work

_RANK_MASK = (1 << RANK_BITS) - 1
_NOBODY = Pod()


class Eni:
    """An ENI in a store (DM-3)."""

    __slots__ = (
        "blocks", "card", "device", "efa", "eni", "excluded", "mac", "primary", "primary_ip", "ready_at", "subnet",
        "subnet_cidr", "table", "tally", "trunk",
    )  # fmt: skip

    def __init__(
        self, eni: EniId, *, mac: str, device: int, card: int, table: int, subnet: str, subnet_cidr: CidrText,
        primary_ip: IpText, primary: bool, trunk: bool, efa: bool, ready_at: Instant, excluded: bool = False,
    ) -> None:  # fmt: skip
        self.eni = eni
        self.mac = mac
        self.device = device
        self.card = card
        self.table = table
        self.subnet = subnet
        self.subnet_cidr = subnet_cidr
        self.primary_ip = primary_ip
        self.primary = primary
        self.trunk = trunk
        self.efa = efa
        self.ready_at = ready_at
        self.excluded = excluded
        self.blocks: dict[CidrText, Block] = {}
        self.tally = Tally()

    @property
    def assigned(self) -> int:
        """Pods on this ENI."""
        return sum(block.assigned for block in self.blocks.values())


class Store:
    """One card's datastore (DM-1). `ready` and `cooling` are indexes; the drifts replicate upstream's miscounts."""

    __slots__ = (
        "added", "by_rank", "card", "changed", "cooling", "drift_prefixes", "drift_total", "owners", "ready", "tally",
    )  # fmt: skip

    def __init__(self, card: int) -> None:
        self.card = card
        self.ready: list[int] = []
        """Keys of blocks that surely have an address to give, best first."""
        self.by_rank: dict[int, Block] = {}
        self.cooling: deque[tuple[Instant, Block]] = deque()
        """Releases not yet known to be past their cooldown, oldest first."""
        self.owners: dict[Sandbox, tuple[Block, int]] = {}
        self.added = 0
        """Blocks ever added: part of a block's rank, so that ranks are unique."""
        self.drift_total = 0
        self.drift_prefixes = 0
        self.tally = Tally()
        """As of the last time somebody asked: see `State.tally`."""
        self.changed: dict[Block, None] = {}
        """Blocks that changed since then."""

    def first_ready(self) -> Block | None:
        """The block an assignment takes from, as far as the index knows."""
        return self.by_rank[self.ready[0] & _RANK_MASK] if self.ready else None


class Lane(msgspec.Struct):
    """One sequence of steps. Beats count from `since`; the pool lane's first beat after it is `next`.

    In the lane of leaked ENIs `update` says that no round has ended yet: the first one does not wait an hour.
    """

    work: Work | None = None
    call: CallId | None = None
    since: Instant = 0
    next: Literal["update", "resync"] = "update"
    turn: Turn | None = None
    """The network cards whose turn comes when the present work ends."""


class Running(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call whose end is not recorded yet."""

    call: Call
    lane: CallLane
    started_at: Instant
    node: str = ""


class Pending(msgspec.Struct, frozen=True):
    """An ENI of ours that no store has: it was just made, or is being freed and has no token."""

    primary_ip: IpText
    subnet: str
    token: str
    attachment: str = ""


class Trouble(msgspec.Struct, frozen=True):
    """The last thing that kept the pool from growing: where, EC2's code, when."""

    fn: str
    code: str
    at: Instant
    message: str = ""


class State:
    """The fold of all records. `phase` is new, init, ready or failed."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.node = Node(instance="", instance_type="")
        self.seed = 0
        self.phase: Literal["new", "init", "ready", "failed"] = "new"
        self.seq = 0
        self.at: Instant = 0
        self.started_at: Instant = 0
        self.terminating = False
        self.enis: dict[EniId, Eni] = {}
        self.cards: tuple[int, ...] = (0,)
        """Network cards that are managed (DM-50), ascending."""
        self.stores: dict[int, Store] = {0: Store(0)}
        """By card: one for each managed card, and for one that is not any more but still holds pods."""
        self.pool = Lane()
        self.watch = Lane()
        self.leaks = Lane()
        self.trunk = Lane()
        self.calls: dict[CallId, Running] = {}
        self.next_call = 1
        self.pending: dict[EniId, Pending] = {}
        self.unmanaged: tuple[EniId, ...] = ()
        """Attached ENIs that are none of ours (DM-51): by tag, efa-only, or on a card that is not managed."""
        self.counted: dict[EniId, int] = {}
        """Those of them that take room on their card (DM-51): id -> card."""
        self.lost_tokens: tuple[str, ...] = ()
        """Client tokens of creates whose effect is unknown since a crash."""
        self.held: dict[str, Instant] = {}
        """REC-11: cidr -> instant until which a freed block is not learnt again."""
        self.purges: dict[tuple[EniId, CidrText], Instant] = {}
        self.cluster = False
        """Whether there is an API server to write to."""
        self.kube_node: KubeNode | None = None
        """The Node object, None where it was never read."""
        self.warned: dict[str, Instant] = {}
        """EV-1: action -> when a Kubernetes event last told of its missing permission."""
        self.vpc_cidrs: tuple[CidrText, ...] = ()
        self.security_groups: tuple[str, ...] | None = None
        self.tracking: ConnectionTracking | None = None
        """EC2-34: timeouts of the primary ENI at the last describe-all."""
        self.groups_stale = True
        """The cached groups were not set on the ENIs yet (POOL-51)."""
        self.last_pool_action: Instant = 0
        self.last_decrease: Instant = 0
        self.exhausted_at: Instant = 0
        self.trouble: Trouble | None = None
        self.restored: tuple[Restored, ...] = ()
        """Rows of a checkpoint until the node is ready: by then each has become an assignment, or was dropped."""
        self.windows = Cluster()
        self.trunks = Trunks()

    @property
    def ec2_silent(self) -> bool:
        """IMDS-only mode: EC2 is not asked and not told anything (EC2-32); upstream asks here and there (EC2-33)."""
        return self.settings.imds_only and not self.settings.quirks.imds_only_asks_ec2

    @property
    def cooldown(self) -> int:
        """Nanoseconds an address rests after its release (DM-28)."""
        return self.settings.ip_cooldown_period * SECOND

    @property
    def node_ip(self) -> IpText:
        """The primary ENI's own address in the active family."""
        return self.node.primary_ip6 if self.settings.ipv6 else self.node.primary_ip

    def usable(self, block: Block) -> bool:
        """Whether a block serves new pods: attached, of the mode's kind, its ENI not excluded (DM-17)."""
        return block.live and block.prefix == self.settings.prefix_delegation and not self.enis[block.eni].excluded

    def withdraw(self, store: Store, block: Block) -> None:
        """Take a block out of its store's order of service, before what orders it changes."""
        if block.ready:
            del store.ready[bisect_left(store.ready, block.key)]
            block.ready = False

    def offer(self, store: Store, block: Block) -> None:
        """A block changed: it is counted anew, and stands in the order of service if it has something to give."""
        store.changed[block] = None
        if not block.ready and (block.thawed or block.holes or block.high < block.size) and self.usable(block):
            insort(store.ready, block.key)
            block.ready = True

    def tally(self, card: int) -> Tally:
        """A card's figures as of the last record; those of its ENIs are up to date too once this was asked."""
        store = self.stores[card]
        if store.changed:
            for block in store.changed:
                self._count(store, block)
            store.changed.clear()
        return store.tally

    def _count(self, store: Store, block: Block) -> None:
        eni = self.enis[block.eni]
        serving = block.prefix == self.settings.prefix_delegation and not eni.excluded
        new = share(block, serving, eni.excluded)
        for tally in (store.tally, eni.tally):
            tally.change(block.share, new)
        block.share = new


def assignments(state: State) -> Iterator[tuple[Eni, Block, int, Address]]:
    """Every assigned address by card, device, block and offset: an order that does not depend on how State was made."""
    for eni in state.enis.values():
        for block in eni.blocks.values():
            for offset, record in sorted(block.records.items(), key=lambda item: item[0]):
                if record.sandbox is not None:
                    yield eni, block, offset, record


# ---- primitive changes: `evolve` and `snapshot.thaw` build on these, nobody else ------------------------------


def add_block(state: State, eni: Eni, cidr: CidrText) -> Block:
    """Put an untouched block on an ENI."""
    store = state.stores[eni.card]
    store.added += 1
    block = Block(eni.eni, cidr, 0)
    place = block.base >> 48 & 0xFFFFFFFF if block.wide else block.base
    block.rank = eni.device << 64 | place << 32 | store.added & 0xFFFFFFFF
    block.key = service_key(0, block.rank)
    eni.blocks[cidr] = block
    store.by_rank[block.rank] = block
    state.offer(store, block)
    return block


def drop_block(state: State, eni: Eni, block: Block) -> int:
    """Take a block off its ENI with whatever is assigned in it; how many sandboxes lost their address."""
    store = state.stores[eni.card]
    state.withdraw(store, block)
    block.live = False
    store.changed.pop(block, None)
    for tally in (store.tally, eni.tally):
        tally.change(block.share, NOTHING)
    del eni.blocks[block.cidr]
    del store.by_rank[block.rank]
    lost = 0
    for record in block.records.values():
        if record.sandbox is not None:
            store.owners.pop(record.sandbox, None)
            lost += 1
    return lost


def thaw_cooled(state: State, store: Store, now: Instant) -> None:
    """Move releases that are past their cooldown at `now` into the order of service."""
    cooldown = state.cooldown
    while store.cooling and now - store.cooling[0][0] > cooldown:
        block = store.cooling.popleft()[1]
        if block.live:
            block.thawed += 1
            state.offer(store, block)


def put_address(state: State, store: Store, block: Block, offset: int, record: Address) -> None:
    """Assign an address: purge what is free again in its block (DM-18), then occupy the offset."""
    state.withdraw(store, block)
    for _ in range(block.thawed):
        freed = block.cooling.popleft()[1]
        del block.records[freed]
        if freed < block.high:
            heappush(block.holes, freed)
    block.thawed = 0
    rests = block.records.get(offset)
    if rests is not None and rests.sandbox is None:  # a log told so: whoever wrote it let addresses cool for less long
        block.cooling.remove((rests.released_at, offset))
        store.cooling.remove((rests.released_at, block))
    touch(block, offset)
    block.records[offset] = record
    block.count(1)
    assert record.sandbox is not None
    store.owners[record.sandbox] = (block, offset)
    state.offer(store, block)


def free_address(state: State, store: Store, block: Block, offset: int, at: Instant, stale: bool) -> None:
    """End an assignment; the address cools from `at`, or is untouched again at once when its row was stale."""
    record = block.records[offset]
    state.withdraw(store, block)
    if record.sandbox is not None:
        store.owners.pop(record.sandbox, None)
        block.count(-1)
    if stale:
        del block.records[offset]
        if offset < block.high:
            heappush(block.holes, offset)
    else:
        record.sandbox = None
        record.pod = _NOBODY
        record.released_at = at
        block.cooling.append((at, offset))
        store.cooling.append((at, block))
    state.offer(store, block)


def reindex(state: State) -> None:
    """Order and count every block anew: the mode, the cooldown or an exclusion changed."""
    for eni in state.enis.values():
        eni.tally = Tally()
    for store in state.stores.values():
        store.ready.clear()
        store.cooling.clear()
        store.tally = Tally()
        store.changed.clear()
        releases: list[tuple[Instant, int, Block]] = []
        for block in store.by_rank.values():
            block.ready = False
            block.share = NOTHING
            block.thawed = 0
            releases.extend((released_at, block.rank, block) for released_at, _ in block.cooling)
        store.cooling.extend((at, block) for at, _, block in sorted(releases, key=lambda item: item[:2]))
        thaw_cooled(state, store, state.at)
        for block in store.by_rank.values():
            state.offer(store, block)
