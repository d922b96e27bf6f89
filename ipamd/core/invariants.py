"""What must hold of every State, proved from the facts alone. A violation is a bug: an assertion, never caught.

The checks scan everything; they run in tests, in the simulator when asked, and in `ipamd replay --check`.
"""

from __future__ import annotations

from . import windows_invariants
from .blocks import NOTHING, Block, service_key
from .pool_linux import limit_per_eni
from .state import Eni, State, Store
from .tally import Tally, share


def check(state: State) -> None:
    """Assert every invariant. Cost: linear in addresses."""
    _addresses_held_once(state)
    for store in state.stores.values():
        _order_of_service(state, store)
        _cooling_index(state, store)
        _tallies(state, store)
    for eni in state.enis.values():
        _limits(state, eni)
        for block in eni.blocks.values():
            _block(state, eni, block)
    _lanes(state)
    _cards(state)
    windows_invariants.check(state)


def _cards(state: State) -> None:
    """Every managed card has a store, every ENI its card's."""
    assert list(state.cards) == sorted(set(state.cards)) and set(state.cards) <= set(state.stores)
    assert list(state.stores) == sorted(state.stores), "stores out of order"
    for card in state.stores:
        held = [eni for eni in state.enis.values() if eni.card == card]
        assert card in state.cards or all(eni.excluded for eni in held), f"card {card} serves, but is not managed"
    for eni in state.enis.values():
        assert eni.card in state.stores, f"{eni.eni}: card {eni.card} has no store"


def _addresses_held_once(state: State) -> None:
    """No address in two sandboxes, no sandbox with two addresses of one card, owners and records agree."""
    holders: dict[str, str] = {}
    for store in state.stores.values():
        held = 0
        for sandbox, (block, offset) in store.owners.items():
            address = block.address(offset)
            assert block.live, f"{sandbox.text} holds {address} of block {block.cidr}, which left its ENI"
            assert block.records[offset].sandbox == sandbox, f"{address}: owner and record differ"
            assert address not in holders, f"{address} is held by {holders[address]} and by {sandbox.text}"
            holders[address] = sandbox.text
            held += 1
        blocks = [block for eni in state.enis.values() if eni.card == store.card for block in eni.blocks.values()]
        assigned = sum(block.assigned for block in blocks)
        assert assigned == held, f"card {store.card}: {assigned} addresses assigned, {held} sandboxes hold one"


def _tallies(state: State, store: Store) -> None:
    """What is kept up to date block by block equals what the blocks add up to."""
    kept = state.tally(store.card)
    of_card = Tally()
    for eni in (eni for eni in state.enis.values() if eni.card == store.card):
        of_eni = Tally()
        for block in eni.blocks.values():
            for tally in (of_card, of_eni):
                tally.change(NOTHING, share(block, state.usable(block), eni.excluded))
        assert of_eni.figures == eni.tally.figures, f"ENI {eni.eni}: its tally is not what its blocks add up to"
    assert of_card.figures == kept.figures, f"card {store.card}: its tally is not what its blocks add up to"


def _block(state: State, eni: Eni, block: Block) -> None:
    """Conservation: every address of a block is untouched, assigned, cooling or free again, and counted once."""
    assigned = sum(record.sandbox is not None for record in block.records.values())
    assert assigned == block.assigned, f"{block.cidr}: counts {block.assigned} assigned, {assigned} are"
    resting = {offset for _, offset in block.cooling}
    assert len(resting) == len(block.cooling), f"{block.cidr}: an address cools twice"
    released = {offset for offset, record in block.records.items() if record.sandbox is None}
    assert released == resting, f"{block.cidr}: released {sorted(released)}, cooling {sorted(resting)}"
    if block.wide:
        assert block.high not in block.records, f"{block.cidr}: the first untouched address has a record"
        below = [*block.holes, *(offset for offset in block.records if offset < block.high)]
        assert sorted(below) == list(range(block.high)), f"{block.cidr}: addresses lost or doubled"
    else:
        untouched = [*block.holes, *range(block.high, block.size)]
        everything = sorted([*untouched, *block.records])
        assert everything == list(range(block.size)), f"{block.cidr}: addresses lost or doubled"
    times = [released_at for released_at, _ in block.cooling]
    assert times == sorted(times), f"{block.cidr}: releases out of order"
    assert 0 <= block.thawed <= len(block.cooling)
    thawed = [at for at, _ in list(block.cooling)[: block.thawed]]
    assert all(state.at - at > state.cooldown for at in thawed), f"{block.cidr}: thawed before its cooldown ended"
    assert block.eni == eni.eni and block.live
    assert block.key == service_key(block.assigned, block.rank), f"{block.cidr}: its place in the order is stale"
    assert state.stores[eni.card].by_rank[block.rank] is block


def _order_of_service(state: State, store: Store) -> None:
    """`ready` is sorted and holds just the usable blocks that have something to give."""
    assert store.ready == sorted(store.ready), "the order of service is not in order"
    live = [block for eni in state.enis.values() if eni.card == store.card for block in eni.blocks.values()]
    assert len(live) == len(store.by_rank), "the index knows blocks that no ENI has"
    wanted = sorted(block.key for block in live if state.usable(block) and (block.thawed or block.untouched))
    assert store.ready == wanted, f"order of service: {len(store.ready)} blocks stand in it, {len(wanted)} should"
    assert all(block.ready == (block.key in store.ready) for block in live)


def _cooling_index(state: State, store: Store) -> None:
    """Every release that is not thawed yet stands in the store's queue, oldest first."""
    times = [at for at, _ in store.cooling]
    assert times == sorted(times), f"card {store.card}: cooling queue out of order"
    queued: dict[int, int] = {}
    for _, block in store.cooling:
        if block.live:
            queued[block.rank] = queued.get(block.rank, 0) + 1
    for block in store.by_rank.values():
        waiting = len(block.cooling) - block.thawed
        assert queued.get(block.rank, 0) == waiting, f"{block.cidr}: {waiting} cool, the queue knows another number"


def _limits(state: State, eni: Eni) -> None:
    """No more blocks than slots, no more ENIs than the instance takes (of a type whose limits are known)."""
    limit = limit_per_eni(state)
    if limit > 0:
        assert len(eni.blocks) <= limit, f"{eni.eni} holds {len(eni.blocks)} blocks, its type takes {limit}"
        enis = sum(other.card == eni.card for other in state.enis.values())
        most = state.node.cards[eni.card] if eni.card < len(state.node.cards) else state.node.enis_max
        assert enis <= most, f"{enis} ENIs on card {eni.card}, which takes {most}"


def _lanes(state: State) -> None:
    """A lane's call is in flight, and only the pool lane of a living node has work of the pool."""
    for name, lane in (("pool", state.pool), ("watch", state.watch), ("leaks", state.leaks), ("trunk", state.trunk)):
        if lane.call is not None:
            assert state.calls[lane.call].lane == name, f"lane {name} waits for a call of another lane"
            assert lane.work is not None or name == "trunk", f"lane {name} is idle with a call in flight"
    assert all(call_id < state.next_call for call_id in state.calls)
