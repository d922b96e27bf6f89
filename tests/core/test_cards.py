"""Several network cards: a store each, targets of their own, one update for all of them (DM-1, POOL-4, POOL-15)."""

from __future__ import annotations

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core import pool_linux
from ipamd.core.calls import (
    AssignPrivateIpAddresses,
    AttachNetworkInterface,
    CreateNetworkInterface,
    CreateTags,
    SetUpEni,
    UnassignPrivateIpAddresses,
)
from ipamd.core.cards import EFA_ONLY, NO_MANAGE_TAG, sort_out
from ipamd.core.settings import Quirks, Settings
from ipamd.core.work import Candidate

from .cards_world import FOUR_CARDS, MULTI, TWO_CARDS, by_card, launched
from .world import NODE, Bench, Lab, facts

WIDE_NODE = msgspec.structs.replace(NODE, cards=(4, 4, 4))


def candidate(eni: str, card: int, kind: str = "interface", tags: dict[str, str] | None = None) -> Candidate:
    return Candidate(eni, "", 1, card, "", "", "10.0.0.1", tags=tags or {}, kind=kind)


@pytest.mark.spec("DM-1", "DM-2", "TV-24")
@pytest.mark.parametrize("cards", [(0,), (0, 2)])
def test_every_managed_card_has_a_store(cards: tuple[int, ...]) -> None:
    """A skipped card has none, nor has one that the instance lacks."""
    bench = Bench(MULTI, WIDE_NODE)

    bench.record(ev.CardsManaged(cards))

    assert tuple(bench.state.stores) == cards
    assert 99 not in bench.state.stores


@pytest.mark.spec("DM-50", "DM-54")
@pytest.mark.parametrize(
    ("settings", "attached", "managed"),
    [
        (Settings(), [], (0,)),
        (MULTI, [], (0, 1, 2)),
        (MULTI, [candidate("eni-a", 1, EFA_ONLY)], (0, 2)),
        (MULTI, [candidate("eni-a", 1, EFA_ONLY), candidate("eni-b", 1)], (0, 1, 2)),
        (MULTI, [candidate("eni-a", 1, EFA_ONLY), candidate("eni-b", 1, tags={NO_MANAGE_TAG: "true"})], (0, 2)),
        (MULTI, [candidate("eni-a", 1, "efa")], (0, 1, 2)),
    ],
)
def test_a_card_with_nothing_but_an_efa_only_eni_is_skipped(
    settings: Settings, attached: list[Candidate], managed: tuple[int, ...]
) -> None:
    """An ENI of ours beside it makes the card ours; without multi-NIC it is the first card alone."""
    bench = Bench(settings, WIDE_NODE)

    assert sort_out(bench.state, attached).cards == managed


@pytest.mark.spec("DM-51", "TV-47")
def test_an_efa_only_eni_stays_out_and_takes_room() -> None:
    """ENIs on a card that is not managed stay out too, and are not counted."""
    bench = Bench(node=WIDE_NODE)
    attached = [candidate("eni-1", 0), candidate("eni-2", 0, EFA_ONLY), candidate("eni-3", 0), candidate("eni-4", 1)]

    found = sort_out(bench.state, attached)

    assert found.outside == ("eni-2", "eni-4")
    assert found.counted == {"eni-2": 0}


@pytest.mark.spec("POOL-4", "POOL-20", "DM-1")
def test_node_init_scales_every_card_once() -> None:
    """Card 0 by the settings, card 1 to one address, on an ENI of its own; only then is the node ready."""
    lab = launched(msgspec.structs.replace(MULTI, warm_ip_target=5)).start().run(30)

    assert by_card(lab) == {0: [(5, 0)], 1: [(1, 0)]}
    assert [call.card for call in lab.calls(AttachNetworkInterface)] == [1]
    assert lab.state.phase == "ready" and len(lab.events(ev.NodeReady)) == 1
    assert lab.leaks() == []


@pytest.mark.spec("DM-9")
def test_an_eni_of_a_further_card_has_a_table_of_that_cards_range() -> None:
    """10000 + 100 * card + device, whatever the device; its host set-up says so."""
    lab = launched(MULTI).start().run(30)
    eni = next(eni for eni in lab.state.enis.values() if eni.card == 1)

    assert (eni.device, eni.table) == (0, 10100)
    assert [(call.table, call.card) for call in lab.calls(SetUpEni)] == [(10100, 1)]


@pytest.mark.spec("POOL-15", "POOL-16", "POOL-21")
def test_one_update_sees_to_every_card() -> None:
    """Both cards are short: the second one's turn comes when the first one's work has ended."""
    lab = launched(MULTI).start().run(30)
    mark = lab.mark()

    lab.pods(2)
    lab.run(5)

    assert [call.eni for call in lab.calls(AssignPrivateIpAddresses, mark)] == list(lab.state.enis)
    assert by_card(lab) == {0: [(2, 1)], 1: [(2, 1)]}
    starts = lab.times(lambda e: isinstance(e, ev.PoolActed) and e.action == "increase", mark)
    assert starts[0] == starts[1]


@pytest.mark.spec("POOL-15", "POOL-31")
def test_one_scale_down_covers_every_card() -> None:
    """The 30 s between two of them are counted once for all cards (POOL-16)."""
    lab = launched(msgspec.structs.replace(MULTI, ip_cooldown_period=0)).start().run(30)
    lab.pods(2)
    lab.run(60)
    for name in ("pod-0", "pod-1"):
        lab.delete(name)
    mark = lab.mark()

    lab.run(60)

    calls = lab.calls(UnassignPrivateIpAddresses, mark)
    assert len(calls) == 2 and {call.eni for call in calls} == set(lab.state.enis)
    assert by_card(lab) == {0: [(1, 0)], 1: [(1, 0)]}
    assert lab.leaks() == []


@pytest.mark.spec("POOL-18", "POOL-28")
def test_an_exhausted_subnet_stops_the_cards_that_follow() -> None:
    """The pause begins with the first card's error and holds for the second one in the same update."""
    settings = msgspec.structs.replace(MULTI, subnet_discovery=False)
    lab = launched(settings).start().run(30)
    lab.pods(2)
    lab.vpc.faults.fail_next("AssignPrivateIpAddresses", "InsufficientFreeAddressesInSubnet", times=9)
    mark = lab.mark()

    lab.run(20)

    assert {call.eni for call in lab.calls(AssignPrivateIpAddresses, mark)} == {lab.primary}
    assert len(lab.events(ev.SubnetExhausted, mark)) == 1


@pytest.mark.spec("DM-55", "POOL-38")
def test_the_enis_of_a_card_are_counted_by_card() -> None:
    """MAX_ENI=1 leaves one ENI to each card."""
    lab = launched(msgspec.structs.replace(MULTI, max_eni=1, warm_ip_target=60), instance_type=TWO_CARDS).start()
    lab.run(60)

    assert {card: len(enis) for card, enis in by_card(lab).items()} == {0: 1, 1: 1}
    assert [pool_linux.has_room_for_eni(lab.state, card) for card in (0, 1)] == [False, False]


@pytest.mark.spec("POOL-12", "POOL-7")
@pytest.mark.parametrize("strict", [False, True])
def test_an_idle_prefix_of_a_further_card_stays(strict: bool) -> None:
    """Upstream counts its surplus in addresses, so that it comes and goes."""
    quirks = Quirks(card_surplus_in_addresses=strict)
    settings = Settings(multi_nic=True, prefix_delegation=True, warm_prefix_target=1, quirks=quirks)
    lab = launched(settings).start().run(90)
    mark = lab.mark()

    lab.run(200)

    assert by_card(lab)[0] == [(1, 0)]
    assert bool(lab.calls(UnassignPrivateIpAddresses, mark)) is strict


@pytest.mark.spec("DM-50", "DM-51", "DM-53", "EC2-31")
def test_a_card_of_an_efa_only_eni_is_left_alone() -> None:
    """It has no store, and its ENI, which has no address, is no obstacle."""
    lab = launched(MULTI, (1, 0, EFA_ONLY), (2, 1, "efa"), instance_type=FOUR_CARDS).start().run(60)

    assert lab.state.cards == (0, 2, 3)
    assert len(lab.state.unmanaged) == 1
    assert {eni.card: eni.efa for eni in lab.state.enis.values()} == {0: False, 2: True, 3: False}
    assert lab.calls(CreateNetworkInterface) != []


@pytest.mark.spec("DM-36", "DM-46", "DM-52", "DM-53", "REC-2", "REC-8")
def test_an_efa_eni_serves_and_is_never_freed() -> None:
    """It takes addresses like others (DM-46); a quiet reconcile leaves it and the efa-only one alone."""
    settings = msgspec.structs.replace(MULTI, warm_ip_target=60)
    lab = launched(settings, (0, 1, "efa"), (1, 1, EFA_ONLY), instance_type=FOUR_CARDS).start().run(60)
    efa = next(eni for eni in lab.state.enis.values() if eni.efa)

    before = lab.state.unmanaged
    lab.reconciled()

    assert efa.blocks
    assert pool_linux.hold_on_eni(lab.state, efa, lab.now) in ("efa", "warm_ip_target")
    assert lab.state.unmanaged == before and lab.events(ev.EniLeft) == []


@pytest.mark.spec("DM-36", "DM-46", "DM-53", "INIT-24", "SGP-8")
def test_a_trunk_is_adopted_untagged_and_given_no_addresses() -> None:
    """Its host set-up is told that it is one; a restart finds it as it was."""
    lab = launched(Settings(warm_ip_target=1), (0, 1, "trunk"), instance_type="m5.large").start().run(60)
    trunk = next(eni for eni in lab.state.enis.values() if eni.trunk)

    assert trunk.blocks == {} and [call.trunk for call in lab.calls(SetUpEni)] == [True]
    assert trunk.eni not in [call.eni for call in lab.calls(CreateTags)]
    lab.run(100)
    assert pool_linux.hold_on_eni(lab.state, trunk, lab.now) == "trunk"
    before = facts(lab.state)
    lab.die()
    assert facts(lab.state) == before and lab.state.enis[trunk.eni].trunk


@pytest.mark.spec("REC-4", "REC-6", "DM-53")
def test_a_trunk_that_comes_later_is_known_as_one() -> None:
    """The reconcile asks EC2 what kind of ENI it is."""
    lab = Lab(Settings(warm_ip_target=1), instance_type="m5.large").start().run(10)
    eni = lab.foreign(device=3)
    row = lab.vpc.enis[eni]
    lab.vpc.install((msgspec.structs.replace(row, interface_type="trunk"),), lab.now)

    lab.reconciled()

    assert lab.state.enis[eni].trunk
    assert eni not in [call.eni for call in lab.calls(CreateTags)]


@pytest.mark.spec("DM-61", "DM-64", "INIT-26")
def test_a_crash_keeps_the_pods_of_every_card() -> None:
    """The journal is one for all cards; what the second card gave is not given again."""
    lab = launched(MULTI).start().run(30)
    held = {answer.address for answer in lab.pods(2)}
    stores = by_card(lab)

    lab.restart(5).run(30)

    assert [card[0][1] for card in by_card(lab).values()] == [card[0][1] for card in stores.values()]
    assert not {answer.address for answer in lab.pods(2, name="later")} & held


@pytest.mark.spec("DM-1", "DM-64")
def test_pods_of_a_card_that_is_managed_no_more_keep_their_addresses() -> None:
    """Their ENI serves nobody new; when the card is ours again it goes on where it was."""
    lab = launched(MULTI).start().run(30)
    lab.pods(2)
    held = next(eni for eni in lab.state.enis.values() if eni.card == 1)

    lab.restart(1, msgspec.structs.replace(MULTI, multi_nic=False)).run(90)

    assert (lab.state.cards, tuple(lab.state.stores)) == ((0,), (0, 1))
    assert lab.state.enis[held.eni].excluded and lab.state.enis[held.eni].assigned == 1

    lab.restart(1, MULTI).run(30)

    assert len(lab.state.cards) == 2
    assert not lab.state.enis[held.eni].excluded
    assert lab.state.enis[held.eni].assigned == 1 and lab.leaks() == []


@pytest.mark.spec("POOL-48", "INIT-27", "TV-54")
@pytest.mark.parametrize("strict", [False, True])
def test_excluded_enis_of_every_card_give_back_what_is_unused(strict: bool) -> None:
    """Upstream looks at the first card's store whichever card the ENI is on."""
    settings = msgspec.structs.replace(MULTI, quirks=Quirks(excluded_cleanup_first_card=strict))
    lab = launched(settings).start().run(30)
    card1 = next(eni.eni for eni in lab.state.enis.values() if eni.card == 1)
    lab.tag_subnet(lab.node.subnet, {"kubernetes.io/role/cni": "0"})

    mark = lab.mark()
    lab.restart(1).run(0)

    assert (card1 in [call.eni for call in lab.calls(UnassignPrivateIpAddresses, mark)]) is not strict
