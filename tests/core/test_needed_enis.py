"""Which ENIs the targets need, to the last address: what others have, without what cools or is excluded."""

from __future__ import annotations

import pytest

from ipamd.core import events as ev
from ipamd.core.pool_linux import balance, hold_on_eni
from ipamd.core.settings import Quirks, Settings

from .world import Bench

ONE = "10.0.1.1/32", "10.0.1.2/32"
TWO = "10.0.2.1/32", "10.0.2.2/32"


def bench(settings: Settings, one: tuple[str, ...] = ONE, two: tuple[str, ...] = TWO) -> Bench:
    """The primary ENI without addresses and two others, all old enough to go."""
    made = Bench(settings)
    made.eni("eni-0", 0, primary=True)
    made.eni("eni-1", 1, *one)
    made.eni("eni-2", 2, *two)
    made.wait(61)
    return made


def held(made: Bench, eni: str = "eni-2") -> str:
    return hold_on_eni(made.state, made.state.enis[eni], made.now)


@pytest.mark.spec("DM-37")
@pytest.mark.parametrize(("target", "word"), [(2, ""), (3, "warm_ip_target")])
def test_an_eni_stays_while_the_others_have_too_few_free_addresses(target: int, word: str) -> None:
    """Two are free elsewhere: enough for a target of two, too few for three."""
    assert held(bench(Settings(warm_ip_target=target))) == word


@pytest.mark.spec("DM-37", "DM-34")
@pytest.mark.parametrize(("counts", "word"), [(False, "warm_ip_target"), (True, "")])
def test_addresses_that_cool_elsewhere_are_not_free(counts: bool, word: str) -> None:
    """One of the two cools, so this ENI is needed; upstream counts it as free."""
    made = bench(Settings(warm_ip_target=2, quirks=Quirks(cooling_counts_as_available=counts)))
    made.granted("one")
    made.released("one")
    made.wait(1)

    assert held(made) == word
    made.wait(30)
    assert held(made) == ""


@pytest.mark.spec("DM-37", "DM-36")
def test_its_own_cooling_addresses_are_not_counted_against_the_others() -> None:
    """After its own rest it may go: what cooled on it never was the others' loss."""
    made = bench(Settings(warm_ip_target=2), one=ONE, two=TWO)
    for name in ("one", "two", "three"):
        made.granted(name)
    for name in ("one", "two", "three"):
        made.released(name)
    made.wait(30.5)

    assert held(made) == ""


@pytest.mark.spec("DM-37", "DM-31")
def test_an_excluded_eni_takes_nothing_from_what_the_others_have() -> None:
    """Its addresses are in no sum: the others have theirs, and without theirs there is nothing."""
    made = bench(Settings(warm_ip_target=2))
    made.record(ev.EniExcluded("eni-1", True))

    assert held(made, "eni-1") == ""
    assert held(made, "eni-2") == "warm_ip_target"


@pytest.mark.spec("DM-38", "POOL-9")
@pytest.mark.parametrize(("minimum", "word"), [(16, ""), (17, "minimum_ip_target")])
def test_in_prefix_mode_the_minimum_is_rounded_up_to_prefixes(minimum: int, word: str) -> None:
    """One prefix elsewhere serves a minimum of 16 and no more."""
    settings = Settings(prefix_delegation=True, minimum_ip_target=minimum)

    assert held(bench(settings, ("10.0.1.0/28",), ("10.0.2.0/28",))) == word


@pytest.mark.spec("DM-38")
@pytest.mark.parametrize(("minimum", "word"), [(2, ""), (3, "minimum_ip_target")])
def test_without_prefixes_the_minimum_is_taken_as_it_is(minimum: int, word: str) -> None:
    """Two addresses elsewhere serve a minimum of two."""
    assert held(bench(Settings(minimum_ip_target=minimum))) == word


@pytest.mark.spec("V6-5")
def test_an_ipv6_pool_is_never_short_and_never_over() -> None:
    """Nothing is wanted and nothing is too much, whatever the targets say."""
    made = Bench(Settings(ipv6=True, prefix_delegation=True, warm_prefix_target=3, warm_ip_target=9))
    made.eni("eni-0", 0, "2001:db8::/80", primary=True)

    goal = balance(made.state, 0, made.now)

    assert (goal.low, goal.high, goal.short, goal.over, goal.targets) == (False, False, 0, 0, False)
