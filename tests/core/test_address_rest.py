"""How long an address rests after its release, and that deciding changes nothing."""

from __future__ import annotations

import pytest

from ipamd.core import events as ev
from ipamd.core.commands import (
    AddNetwork,
    Assigned,
    DelNetwork,
    Start,
)
from ipamd.core.decide import decide
from ipamd.core.settings import Settings
from ipamd.core.types import ip4

from .world import NODE, Bench, facts, sandbox

PREFIXES = Settings(prefix_delegation=True)


@pytest.mark.spec("DM-8", "DM-28")
@pytest.mark.parametrize(
    ("period", "waited", "granted"),
    [(30, 29.999, False), (30, 30, False), (30, 30.000000001, True), (5, 5, False), (5, 5.1, True), (0, 0.001, True)],
)
def test_an_address_rests_for_its_period_the_last_instant_included(period: int, waited: float, granted: bool) -> None:
    """Cooling while now - released <= period, free again after."""
    bench = Bench(Settings(ip_cooldown_period=period))
    bench.eni("eni-1", 1, "10.0.0.1/32")
    bench.granted("one")
    bench.released("one")
    bench.wait(waited)

    assert isinstance(bench.add("two"), Assigned) is granted


@pytest.mark.spec("DM-28")
@pytest.mark.parametrize("period", [0, -1, -100])
def test_no_or_negative_period_means_no_cooldown(period: int) -> None:
    """The address goes out again at the very next instant; a negative one even at the same."""
    bench = Bench(Settings(ip_cooldown_period=period))
    bench.eni("eni-1", 1, "10.0.0.1/32")
    for i in range(3):
        bench.granted(f"pod-{i}")
        bench.released(f"pod-{i}")
        bench.wait(0 if period else 1e-9)

    assert bench.granted("last").address == "10.0.0.1"


@pytest.mark.spec("DM-28")
def test_the_refusal_says_that_addresses_cool() -> None:
    """The reason is the cooldown, with the count and the setting."""
    bench = Bench(Settings(ip_cooldown_period=7))
    bench.eni("eni-1", 1, "10.0.0.1/32")
    bench.granted("one")
    bench.released("one")

    refused = bench.refused("two")

    assert refused.reason == "cooldown"
    assert "1 address still cools" in refused.fact and "7 s" in refused.fact and "IP_COOLDOWN_PERIOD" in refused.remedy


@pytest.mark.spec("DM-15")
def test_a_forced_release_leaves_nothing_to_cool() -> None:
    """A block that comes back after a forced removal is fresh, its addresses serve at once."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32")
    bench.granted("one")
    bench.record(ev.CidrRemoved("eni-1", "10.0.0.1/32", "resync", pods=1))
    bench.put("eni-1", "10.0.0.1/32")

    assert bench.stats.cooling == 0
    assert bench.granted("two").address == "10.0.0.1"


@pytest.mark.spec("DM-21")
def test_a_decision_changes_nothing_until_it_is_folded() -> None:
    """Decide only reads, whatever the command; two decisions on one State agree."""
    bench = Bench(PREFIXES)
    bench.eni("eni-1", 1, "10.0.0.0/28")
    bench.granted("one")
    bench.released("one")
    bench.granted("two")
    bench.wait(31)
    before = facts(bench.state)

    for command in (AddNetwork(sandbox("x")), DelNetwork(sandbox("two")), Start(PREFIXES, NODE, 9)):
        first, second = decide(bench.state, command, bench.now), decide(bench.state, command, bench.now)
        assert first == second and first.events
        assert facts(bench.state) == before


@pytest.mark.spec("DM-18", "DM-28")
def test_a_steady_pool_serves_all_its_addresses_round_and_round() -> None:
    """Forty lives on four addresses, none of them given out within its cooldown."""
    bench = Bench()
    bench.eni("eni-1", 1, *(f"10.0.0.{i}/32" for i in range(1, 5)))
    released: dict[str, int] = {}
    served = []

    for i in range(40):
        address = bench.granted(f"pod-{i}").address
        assert address not in released or bench.now - released[address] > bench.state.cooldown
        served.append(address)
        bench.wait(11)
        bench.released(f"pod-{i}")
        released[address] = bench.now

    assert {served.count(f"10.0.0.{i}") for i in range(1, 5)} == {10}
    assert [ip4(address) for address in served[:4]] == sorted(ip4(address) for address in served[:4])
