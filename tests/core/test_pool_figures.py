"""How many blocks the pool is short of, or over (POOL-1..POOL-12, POOL-22..POOL-24, POOL-35, POOL-38)."""

from __future__ import annotations

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core import pool_linux
from ipamd.core.settings import Settings

from .world import NODE, Bench


def bench(settings: Settings, blocks: int, pods: int = 0, *, slots: int = 14, max_pods: int = 500) -> Bench:
    """A node whose primary ENI has `slots` slots, so many of them blocks, and so many pods."""
    made = Bench(settings, msgspec.structs.replace(NODE, ips_per_eni=slots + 1, max_pods=max_pods))
    length = 28 if settings.prefix_delegation else 32
    made.eni("eni-0", 0, *(f"10.0.{i}.0/{length}" for i in range(blocks)), primary=True)
    for i in range(pods):
        made.granted(f"pod-{i}")
    return made


# ---- limits and inputs --------------------------------------------------------------------------------------


@pytest.mark.spec("POOL-1")
@pytest.mark.parametrize(("prefix_delegation", "addresses"), [(False, 9), (True, 144)])
def test_an_eni_holds_its_slots_less_the_primary_address(prefix_delegation: bool, addresses: int) -> None:
    """L = 9 of ten; in prefix mode each slot is a prefix of sixteen."""
    node = msgspec.structs.replace(NODE, ips_per_eni=10)
    made = Bench(Settings(prefix_delegation=prefix_delegation), node)

    assert pool_linux.limit_per_eni(made.state) == 9
    assert pool_linux.ips_per_eni(made.state) == addresses


@pytest.mark.spec("POOL-1", "LIM-6")
def test_an_unknown_type_grows_nowhere() -> None:
    """L is -1 and there is room for no ENI: the pool is low and wants nothing."""
    made = Bench(Settings(), msgspec.structs.replace(NODE, ips_per_eni=0, enis_max=-1))
    made.eni("eni-0", 0, primary=True)

    assert pool_linux.limit_per_eni(made.state) == -1
    assert pool_linux.allocatable(made.state, 0) == []
    assert not pool_linux.has_room_for_eni(made.state, 0)


@pytest.mark.spec("INIT-16", "POOL-38")
@pytest.mark.parametrize(("asked", "enis"), [(0, 4), (-3, 4), (1, 1), (3, 3), (9, 4)])
def test_max_eni_lowers_the_instances_limit(asked: int, enis: int) -> None:
    """The smaller of the two; below 1 it is not heeded."""
    made = Bench(Settings(max_eni=asked))

    assert pool_linux.enis_max(made.state) == enis


@pytest.mark.spec("POOL-38")
def test_there_is_room_until_the_limit() -> None:
    """Excluded ENIs are attached too, so they count."""
    made = Bench(Settings(max_eni=2))
    made.eni("eni-0", 0, primary=True)
    before = pool_linux.has_room_for_eni(made.state, 0)
    made.eni("eni-1", 1, excluded=True)

    assert (before, pool_linux.has_room_for_eni(made.state, 0)) == (True, False)


@pytest.mark.spec("POOL-2", "POOL-3")
@pytest.mark.parametrize(("warm", "minimum", "goal"), [(0, 0, None), (5, 0, (5, 0)), (0, 5, (0, 5)), (2, 5, (2, 5))])
def test_either_target_in_addresses_defines_both(warm: int, minimum: int, goal: tuple[int, int] | None) -> None:
    """With one of them set WARM_PREFIX_TARGET and WARM_ENI_TARGET have no say."""
    made = Bench(Settings(warm_ip_target=warm, minimum_ip_target=minimum))

    assert pool_linux.targets(made.state, 0) == goal


@pytest.mark.spec("POOL-4")
def test_other_cards_have_targets_of_their_own() -> None:
    """1 and 1, whatever the environment says."""
    made = Bench(Settings(warm_ip_target=7, minimum_ip_target=9))

    assert pool_linux.targets(made.state, 1) == (1, 1)


@pytest.mark.spec("POOL-3")
def test_targets_in_addresses_beat_the_others() -> None:
    """A full spare prefix is wanted by WARM_PREFIX_TARGET, not by WARM_IP_TARGET 1."""
    by_prefix = bench(Settings(prefix_delegation=True, warm_prefix_target=1), 1, 1)
    by_address = bench(Settings(prefix_delegation=True, warm_prefix_target=1, warm_ip_target=1), 1, 1)

    assert (by_prefix.balance.low, by_address.balance.low) == (True, False)


# ---- single addresses ---------------------------------------------------------------------------------------


@pytest.mark.spec("POOL-5")
@pytest.mark.parametrize(
    ("warm", "minimum", "total", "pods", "short", "over"),
    [
        (5, 0, 0, 0, 5, 0), (5, 0, 8, 0, 0, 3), (5, 0, 8, 4, 1, 0), (5, 0, 5, 0, 0, 0),
        (0, 10, 4, 0, 6, 0), (0, 10, 12, 0, 0, 2), (0, 10, 12, 12, 0, 0),
        (2, 10, 10, 9, 1, 0), (2, 10, 12, 0, 0, 2), (2, 10, 14, 3, 0, 4), (2, 10, 14, 13, 1, 0),
    ],
)  # fmt: skip
def test_short_and_over_follow_both_targets(
    warm: int, minimum: int, total: int, pods: int, short: int, over: int
) -> None:
    """What is missing to the warm target or to the minimum; what is over both."""
    made = bench(Settings(warm_ip_target=warm, minimum_ip_target=minimum), total, pods)

    goal = made.balance
    assert (goal.short, goal.over, goal.targets) == (short, over, True)
    assert (goal.low, goal.high) == (short > 0, over > 0)


@pytest.mark.spec("POOL-6", "POOL-10", "POOL-11")
@pytest.mark.parametrize(
    ("target", "total", "pods", "low"),
    [(1, 14, 0, False), (1, 14, 1, True), (2, 14, 0, True), (0, 1, 0, False), (0, 1, 1, True), (0, 0, 0, True)],
)
def test_warm_enis_are_counted_in_their_addresses(target: int, total: int, pods: int, low: bool) -> None:
    """Low below so many ENIs' worth, or with nothing left; never too high."""
    made = bench(Settings(warm_eni_target=target), total, pods)

    goal = made.balance
    assert (goal.low, goal.high, goal.targets) == (low, False, False)
    assert goal.short == (14 if low else 0)


@pytest.mark.spec("POOL-6", "INIT-35")
@pytest.mark.parametrize(("max_pods", "low"), [(10, False), (11, True), (0, False)])
def test_a_pool_of_max_pods_addresses_is_never_low(max_pods: int, low: bool) -> None:
    """Checked before everything else; with max pods 0 the pool never grows."""
    made = bench(Settings(warm_ip_target=5), 10, 10, max_pods=max_pods)

    assert made.balance.low is low


@pytest.mark.spec("POOL-10")
def test_max_pods_has_no_say_in_what_is_too_high() -> None:
    """Over its targets a pool shrinks, however small max pods is."""
    made = bench(Settings(warm_ip_target=1), 10, 0, max_pods=4)

    assert made.balance.high


# ---- prefixes -----------------------------------------------------------------------------------------------


@pytest.mark.spec("POOL-7", "POOL-8", "DOC-45")
@pytest.mark.parametrize(
    ("warm", "minimum", "prefixes", "pods", "short", "over"),
    [
        (1, 0, 0, 0, 1, 0), (16, 0, 1, 0, 0, 0), (16, 0, 1, 1, 1, 0), (17, 0, 0, 0, 2, 0),
        (1, 0, 2, 0, 0, 1), (1, 0, 3, 16, 0, 1), (1, 0, 2, 15, 0, 1), (1, 0, 2, 16, 0, 0),
        (0, 20, 1, 0, 1, 0), (0, 20, 2, 0, 0, 0), (0, 20, 3, 0, 0, 1), (5, 40, 3, 0, 0, 0),
    ],
)  # fmt: skip
def test_prefixes_are_wanted_in_sixteens(
    warm: int, minimum: int, prefixes: int, pods: int, short: int, over: int
) -> None:
    """Short is rounded up; over counts wholly free prefixes that no target needs."""
    settings = Settings(prefix_delegation=True, warm_ip_target=warm, minimum_ip_target=minimum)
    made = bench(settings, prefixes, pods)

    goal = made.balance
    assert (goal.short, goal.over) == (short, over)


@pytest.mark.spec("DOC-45", "POOL-9")
def test_minimums_between_two_multiples_of_sixteen_are_alike() -> None:
    """17 to 32 all want two prefixes."""
    wanted = {
        minimum: bench(Settings(prefix_delegation=True, minimum_ip_target=minimum), 0).balance.short
        for minimum in range(16, 34)
    }

    assert wanted == {16: 1, **{minimum: 2 for minimum in range(17, 33)}, 33: 3}


@pytest.mark.spec("POOL-6", "POOL-10", "POOL-24")
@pytest.mark.parametrize(
    ("target", "prefixes", "pods", "short", "over"),
    [
        (1, 0, 0, 1, 0), (1, 1, 0, 0, 0), (1, 1, 1, 1, 0), (3, 1, 0, 2, 0), (3, 2, 1, 2, 0), (1, 3, 0, 0, 2),
        (0, 0, 0, 1, 0), (0, 1, 1, 0, 0), (0, 1, 16, 1, 0), (0, 2, 0, 0, 2), (1, 2, 17, 1, 0),
    ],
)  # fmt: skip
def test_warm_prefixes(target: int, prefixes: int, pods: int, short: int, over: int) -> None:
    """One at least where it is low, the missing free ones else; spare free ones are over."""
    made = bench(Settings(prefix_delegation=True, warm_prefix_target=target), prefixes, pods)

    goal = made.balance
    assert (goal.short, goal.over, goal.low, goal.high) == (short, over, short > 0, over > 0)


@pytest.mark.spec("POOL-10", "DM-35")
def test_free_prefixes_on_an_excluded_eni_count_as_free() -> None:
    """The figure is of the whole store, as upstream's is."""
    made = bench(Settings(prefix_delegation=True, warm_prefix_target=1), 1)
    made.eni("eni-1", 1, "10.9.0.0/28", excluded=True)

    assert made.balance.over == 1


# ---- may an ENI be spare? -----------------------------------------------------------------------------------


@pytest.mark.spec("POOL-35")
@pytest.mark.parametrize(
    ("settings", "blocks", "pods", "possible"),
    [
        (Settings(warm_ip_target=1), 0, 0, True),
        (Settings(warm_eni_target=1), 8, 0, True),
        (Settings(warm_eni_target=1), 8, 1, False),
        (Settings(warm_eni_target=0), 8, 4, True),
        (Settings(warm_eni_target=0), 8, 5, False),
        (Settings(prefix_delegation=True, warm_prefix_target=0), 4, 0, True),
        (Settings(prefix_delegation=True, warm_prefix_target=0), 3, 0, False),
        (Settings(prefix_delegation=True, warm_prefix_target=1), 7, 0, False),
    ],
)
def test_an_eni_might_be_spare(settings: Settings, blocks: int, pods: int, possible: bool) -> None:
    """Always with targets in addresses; else from (target + 1) ENIs' worth of available addresses on.

    ENIs of four slots, a secondary one among them.
    """
    made = bench(settings, min(blocks, 4), 0, slots=4)
    made.eni("eni-1", 1, *[f"10.1.{i}.0/{28 if settings.prefix_delegation else 32}" for i in range(max(blocks - 4, 0))])
    for i in range(pods):
        made.granted(f"pod-{i}")

    assert pool_linux.extra_enis_possible(made.state, 0, made.stats) is possible


@pytest.mark.spec("POOL-35", "DM-41")
@pytest.mark.parametrize("holds", ["primary", "pods", "trunk", "efa"])
def test_in_prefix_mode_there_must_be_an_eni_that_could_go(holds: str) -> None:
    """Age and cooling are not looked at, kind and pods are."""
    made = Bench(Settings(prefix_delegation=True, warm_prefix_target=0), msgspec.structs.replace(NODE, ips_per_eni=2))
    made.eni("eni-1", 1, "10.1.0.0/28", primary=holds == "primary", trunk=holds == "trunk", efa=holds == "efa")
    if holds == "pods":
        made.granted("one")
    enough = msgspec.structs.replace(made.stats, available=1000)

    before = pool_linux.extra_enis_possible(made.state, 0, enough)
    made.eni("eni-2", 2)

    assert (before, pool_linux.extra_enis_possible(made.state, 0, enough)) == (False, True)


@pytest.mark.spec("POOL-15")
def test_the_figures_of_a_decision_are_kept_with_it() -> None:
    """`why` names what was counted, so that a journal explains the pool."""
    made = bench(Settings(warm_ip_target=3), 4, 3)
    made.released("pod-0")

    assert made.balance.why == {
        "total": 4, "assigned": 2, "cooling": 1, "available": 1, "prefixes": 0, "free_prefixes": 0, "enis": 1,
        "short": 2, "over": 0,
    }  # fmt: skip


@pytest.mark.spec("DM-34", "POOL-5")
def test_total_counts_no_address_twice_when_an_eni_is_excluded() -> None:
    """Excluding an ENI makes the pool short by what it held."""
    made = bench(Settings(warm_ip_target=4), 4)
    enough = made.balance.short
    made.record(ev.EniExcluded("eni-0", True))

    assert (enough, made.balance.short) == (0, 4)
