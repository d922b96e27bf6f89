"""ENIs, blocks and figures of a store; which ENI and which block may go (DM-1..DM-15, DM-31..DM-47)."""

from __future__ import annotations

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core import pool_linux, snapshot, views
from ipamd.core.adopt import route_table
from ipamd.core.settings import Settings

from .world import NODE, Bench, facts, sandbox

PREFIXES = Settings(prefix_delegation=True)
NO_TARGETS = Settings(warm_eni_target=0)


# ---- ENIs and blocks ----------------------------------------------------------------------------------------


@pytest.mark.spec("DM-1", "DM-2")
def test_one_card_has_one_store() -> None:
    """Card 0's store is there from the beginning; there is none of another card."""
    bench = Bench()

    assert list(bench.state.stores) == [0]
    assert bench.state.stores.get(1) is None


@pytest.mark.spec("DM-3", "DM-10")
def test_a_new_eni_is_empty_serves_and_counts_its_age_from_its_coming() -> None:
    """No blocks, not excluded, born now."""
    bench = Bench()
    bench.wait(100)
    bench.eni("eni-1", 1)

    eni = bench.state.enis["eni-1"]
    assert (eni.blocks, eni.excluded, eni.ready_at) == ({}, False, bench.now)


@pytest.mark.spec("DM-4")
@pytest.mark.parametrize(
    ("cidr", "prefix", "size"), [("10.0.0.7/32", False, 1), ("10.0.0.16/28", True, 16), ("10.0.0.0/24", True, 256)]
)
def test_a_block_is_an_address_or_a_prefix(cidr: str, prefix: bool, size: int) -> None:
    """A /32 is no prefix; the size is 2^(32 - length)."""
    bench = Bench()
    bench.eni("eni-1", 1, cidr)

    block = bench.state.enis["eni-1"].blocks[cidr]
    assert (block.prefix, block.size) == (prefix, size)


@pytest.mark.spec("DM-9")
@pytest.mark.parametrize(
    ("card", "device", "table"), [(0, 0, 254), (0, 1, 2), (0, 7, 8), (1, 0, 10100), (1, 1, 10101), (3, 2, 10302)]
)
def test_each_eni_has_its_route_table(card: int, device: int, table: int) -> None:
    """Main for the primary ENI, device + 1 for the others of card 0, a range of its own for each further card."""
    assert route_table(card, device) == table


@pytest.mark.spec("DM-12")
def test_the_same_block_may_lie_on_two_enis_in_the_books() -> None:
    """Uniqueness is per ENI; what leaves one of them stays on the other."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32")
    bench.eni("eni-2", 2, "10.0.0.1/32")
    both = bench.stats.total
    bench.record(ev.CidrRemoved("eni-1", "10.0.0.1/32", "resync"))

    assert (both, bench.stats.total) == (2, 1)
    assert bench.cidrs("eni-2") == ["10.0.0.1/32"]


@pytest.mark.spec("DM-11", "DM-13")
@pytest.mark.parametrize(("eni", "cidr"), [("eni-9", "10.0.0.1/32"), ("eni-1", "10.0.0.9/32")])
def test_removing_what_is_not_there_changes_nothing(eni: str, cidr: str) -> None:
    """A fact about an unknown ENI or block is kept in the journal and has no meaning."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32")
    before = bench.stats

    bench.record(ev.CidrRemoved(eni, cidr, "resync"))
    bench.record(ev.AddressReleased(cidr.removesuffix("/32"), eni, cidr))

    assert bench.stats == before


@pytest.mark.spec("DM-13")
def test_cooling_addresses_do_not_keep_a_block_from_being_dropped() -> None:
    """A removed block takes its cooling addresses along; what comes back is fresh."""
    bench = Bench(PREFIXES)
    bench.eni("eni-1", 1, "10.0.0.0/28")
    bench.granted("one")
    bench.released("one")
    bench.record(ev.CidrRemoved("eni-1", "10.0.0.0/28", "resync"))

    assert (bench.stats.total, bench.stats.cooling, bench.stats.prefixes) == (0, 0, 0)


# ---- exclusion ----------------------------------------------------------------------------------------------


@pytest.mark.spec("DM-31")
def test_an_excluded_eni_keeps_its_pods_until_they_leave() -> None:
    """It gets no new ones, is not in the figures, and its pods stay answerable."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32", "10.0.0.2/32")
    first = bench.granted("one")
    bench.record(ev.EniExcluded("eni-1", True))

    again = bench.granted("one").address
    bench.refused("two")

    assert again == first.address
    assert (bench.stats.total, bench.stats.assigned, bench.stats.enis) == (0, 0, 1)
    assert bench.released("one").address == first.address


@pytest.mark.spec("DM-31")
def test_an_eni_included_again_serves_again() -> None:
    """The flag goes both ways."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32", excluded=True)
    bench.refused("one")
    bench.record(ev.EniExcluded("eni-1", False))

    assert bench.granted("one").address == "10.0.0.1"


# ---- figures ------------------------------------------------------------------------------------------------


@pytest.mark.spec("DM-34")
def test_figures_count_what_serves_in_the_mode() -> None:
    """Totals leave out the other kind and excluded ENIs; the number of prefixes leaves out nothing."""
    bench = Bench(PREFIXES)
    bench.eni("eni-1", 1, "10.0.0.0/28", "10.0.1.1/32")
    bench.eni("eni-2", 2, "10.0.0.16/28", excluded=True)
    bench.granted("one")

    assert (bench.stats.total, bench.stats.assigned, bench.stats.prefixes) == (16, 1, 2)


@pytest.mark.spec("DM-34")
def test_a_cooling_address_is_not_available() -> None:
    """Ours leaves cooling addresses out of what is available; upstream counts them."""
    bench = Bench(PREFIXES)
    bench.eni("eni-1", 1, "10.0.0.0/28")
    for name in ("one", "two", "three"):
        bench.granted(name)
    bench.released("one")

    cooling = bench.stats.available
    bench.wait(31)
    after = bench.stats.available

    assert (cooling, after) == (13, 14)


@pytest.mark.spec("DM-35")
def test_prefixes_without_pods_are_free_wherever_they_lie() -> None:
    """On excluded, trunk and EFA ENIs too; one whose addresses still cool is not free with us."""
    bench = Bench(PREFIXES)
    bench.eni("eni-1", 1, "10.0.0.0/28")
    bench.eni("eni-2", 2, "10.0.0.16/28", excluded=True)
    bench.eni("eni-3", 3, "10.0.0.32/28", trunk=True)
    bench.eni("eni-4", 4, "10.0.0.48/28", efa=True)
    bench.granted("one")
    with_pod = bench.stats.free_prefixes
    bench.released("one")
    cooling = bench.stats.free_prefixes
    bench.wait(31)

    assert (with_pod, cooling, bench.stats.free_prefixes) == (3, 3, 4)


# ---- may it go? ---------------------------------------------------------------------------------------------


@pytest.mark.spec("DM-36")
def test_reasons_to_keep_an_eni_come_in_order() -> None:
    """Young, cooling, pods, required, trunk, EFA; the first that holds is the word. Primary beats all."""
    bench = Bench(Settings(warm_ip_target=1, minimum_ip_target=0))
    bench.eni("eni-0", 0, primary=True)
    bench.eni("eni-1", 1, "10.0.0.1/32", "10.0.0.2/32", trunk=True, efa=True)
    bench.granted("one")
    bench.granted("two")

    words = [bench.hold("eni-1")]
    bench.wait(60)
    words.append(bench.hold("eni-1"))
    bench.released("one")
    words.append(bench.hold("eni-1"))
    bench.wait(31)
    words.append(bench.hold("eni-1"))
    bench.released("two")
    bench.wait(31)
    words.append(bench.hold("eni-1"))
    bench.put("eni-0", "10.0.0.9/32")
    words.append(bench.hold("eni-1"))

    assert bench.hold("eni-0") == "primary"
    assert words == ["young", "pods", "cooling", "pods", "warm_ip_target", "trunk"]


@pytest.mark.spec("DM-36")
def test_an_efa_eni_stays() -> None:
    """The last reason of all."""
    bench = Bench(NO_TARGETS)
    bench.eni("eni-1", 1, efa=True)
    bench.wait(60)

    assert bench.hold("eni-1") == "efa"


@pytest.mark.spec("DM-36")
@pytest.mark.parametrize(("age", "word"), [(59.999, "young"), (60, "")])
def test_an_eni_is_old_enough_at_sixty_seconds(age: float, word: str) -> None:
    """At 60 s it may go, not before."""
    bench = Bench(NO_TARGETS)
    bench.eni("eni-1", 1)
    bench.wait(age)

    assert bench.hold("eni-1") == word


@pytest.mark.spec("DM-37")
@pytest.mark.parametrize(
    ("prefix_delegation", "warm", "spare", "word"),
    [
        (False, 3, 2, "warm_ip_target"), (False, 3, 3, ""), (True, 3, 15, "warm_ip_target"), (True, 3, 16, ""),
        (True, 17, 31, "warm_ip_target"), (True, 17, 32, ""),
    ],
)  # fmt: skip
def test_an_eni_is_needed_for_the_warm_target(prefix_delegation: bool, warm: int, spare: int, word: str) -> None:
    """What the others have spare, against the target; in prefix mode rounded up to whole prefixes."""
    bench = Bench(Settings(prefix_delegation=prefix_delegation, warm_ip_target=warm))
    cidrs = ("10.0.0.0/28", "10.0.0.16/28") if prefix_delegation else ("10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32")
    bench.eni("eni-0", 0, *cidrs, primary=True)
    bench.eni("eni-1", 1)
    for i in range(bench.stats.total - spare):
        bench.granted(f"pod-{i}")
    bench.wait(60)

    assert bench.hold("eni-1") == word


@pytest.mark.spec("DM-38")
@pytest.mark.parametrize(
    ("prefix_delegation", "minimum", "blocks", "word"),
    [(False, 3, 2, "minimum_ip_target"), (False, 3, 3, ""), (True, 17, 1, "minimum_ip_target"), (True, 17, 2, "")],
)
def test_an_eni_is_needed_for_the_minimum(prefix_delegation: bool, minimum: int, blocks: int, word: str) -> None:
    """What the others hold, in use or not, against the minimum; the same rounding. 32 do for 17."""
    bench = Bench(Settings(prefix_delegation=prefix_delegation, minimum_ip_target=minimum))
    cidrs = [f"10.0.{i}.0/{28 if prefix_delegation else 32}" for i in range(blocks)]
    bench.eni("eni-0", 0, *cidrs, primary=True)
    bench.eni("eni-1", 1)
    bench.granted("one")
    bench.wait(60)

    assert bench.hold("eni-1") == word


@pytest.mark.spec("DM-39")
def test_an_eni_is_needed_for_the_warm_prefixes() -> None:
    """Blocks of any kind without pods on the others count, those of excluded ENIs do not."""
    bench = Bench(Settings(prefix_delegation=True, warm_prefix_target=2))
    bench.eni("eni-0", 0, "10.0.0.0/28", primary=True)
    bench.eni("eni-1", 1)
    bench.eni("eni-2", 2, "10.0.0.16/28", excluded=True)
    bench.wait(60)
    before = bench.hold("eni-1")
    bench.put("eni-0", "10.0.1.1/32")

    assert (before, bench.hold("eni-1")) == ("warm_prefix_target", "")


@pytest.mark.spec("DM-31", "DM-36")
def test_excluded_enis_do_not_help_to_meet_a_target_and_may_go() -> None:
    """Their addresses do not count, and they are freed like others."""
    bench = Bench(Settings(warm_ip_target=1))
    bench.eni("eni-0", 0, primary=True)
    bench.eni("eni-1", 1, "10.0.0.1/32")
    bench.eni("eni-2", 2, "10.0.0.2/32", excluded=True)
    bench.wait(60)

    assert bench.hold("eni-1") == "warm_ip_target"
    assert bench.hold("eni-2") == ""


@pytest.mark.spec("DM-40")
def test_freeing_an_eni_takes_its_blocks_out_of_the_figures() -> None:
    """Sizes and prefixes go with it; "" when none may go."""
    bench = Bench(Settings(prefix_delegation=True))
    bench.eni("eni-0", 0, "10.0.0.0/28", primary=True)
    bench.eni("eni-1", 1, "10.0.0.16/28", "10.0.0.32/28")
    none = bench.deletable()
    bench.wait(60)
    chosen = bench.deletable()
    bench.record(ev.EniLeft(chosen, "freed"))

    assert (none, chosen) == ("", "eni-1")
    assert (bench.stats.total, bench.stats.prefixes, bench.stats.enis) == (16, 1, 1)


@pytest.mark.spec("DM-40", "DM-36")
def test_the_highest_device_goes_first() -> None:
    """Any deletable ENI conforms; ours is the last one in device order."""
    bench = Bench(NO_TARGETS)
    for device in (1, 2, 3):
        bench.eni(f"eni-{device}", device)
    bench.put("eni-3", "10.0.0.1/32")
    bench.granted("one")
    bench.wait(60)

    assert bench.deletable() == "eni-2"


@pytest.mark.spec("DM-42", "DM-43")
def test_an_eni_gone_with_pods_is_subtracted_once() -> None:
    """The pods lose their entry, totals go down by what was there, and no further."""
    bench = Bench(PREFIXES)
    bench.eni("eni-0", 0, "10.0.0.0/28", primary=True)
    bench.eni("eni-1", 1, "10.0.0.16/28")
    for i in range(17):
        bench.granted(f"pod-{i}")
    bench.record(ev.EniLeft("eni-1", "gone", pods=1))

    assert (bench.stats.total, bench.stats.assigned, bench.stats.prefixes) == (16, 16, 1)
    assert len(bench.state.stores[0].owners) == 16


@pytest.mark.spec("DM-44", "DM-45")
def test_blocks_without_pods_may_go_whatever_their_kind() -> None:
    """Both kinds, in order; one with pods stays, and with us one that still cools."""
    bench = Bench(PREFIXES)
    bench.eni("eni-1", 1, "10.0.0.0/28", "10.0.0.16/28", "10.0.0.32/28", "10.0.1.1/32")
    bench.granted("one")
    bench.record(ev.AddressAssigned("10.0.0.16", "eni-1", "10.0.0.16/28", sandbox("two")))
    bench.record(ev.AddressReleased("10.0.0.16", "eni-1", "10.0.0.16/28"))
    eni = bench.state.enis["eni-1"]

    while_cooling = [block.cidr for block in pool_linux.freeable_blocks(bench.state, eni, bench.now)]
    bench.wait(31)
    after = [block.cidr for block in pool_linux.freeable_blocks(bench.state, eni, bench.now)]

    assert while_cooling == ["10.0.0.32/28", "10.0.1.1/32"]
    assert after == ["10.0.0.16/28", "10.0.0.32/28", "10.0.1.1/32"]


@pytest.mark.spec("DM-46")
def test_an_eni_with_all_slots_taken_gets_no_more() -> None:
    """Blocks of both kinds take a slot; trunk and excluded ENIs get nothing, EFA ENIs do."""
    node = msgspec.structs.replace(NODE, ips_per_eni=4, enis_max=8)
    bench = Bench(PREFIXES, node)
    bench.eni("eni-0", 0, "10.0.0.0/28", "10.0.1.1/32", primary=True)
    bench.eni("eni-1", 1, "10.0.0.16/28", "10.0.0.32/28", "10.0.1.2/32")
    bench.eni("eni-2", 2, trunk=True)
    bench.eni("eni-3", 3, efa=True)
    bench.eni("eni-4", 3, excluded=True)

    assert [eni.eni for eni in pool_linux.allocatable(bench.state, 0)] == ["eni-0", "eni-3"]


@pytest.mark.spec("DM-47")
def test_a_copy_of_the_store_is_a_copy() -> None:
    """What is shown is independent of what happens next."""
    bench = Bench(PREFIXES)
    bench.eni("eni-1", 1, "10.0.0.0/28")
    bench.granted("one")
    shown, copy = views.pool(bench.state, bench.now), snapshot.fork(bench.state)
    before = facts(copy)

    bench.granted("two")
    bench.released("one")

    assert (shown.total_ips, shown.assigned) == (16, 1)
    assert facts(copy) == before
