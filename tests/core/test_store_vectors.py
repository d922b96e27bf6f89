"""Upstream's vectors for the store (TV-1..TV-29, Linux IPv4), on decide and fold.

An event is a fact and is never refused: what upstream answers with an error is here a fact that changes nothing.
"Without force" is what the pool offers to free, "with force" what a reconcile drops because EC2 has it no more.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core import pool_linux, views
from ipamd.core.commands import AddNetwork, Assigned, UnknownPod
from ipamd.core.decide import decide
from ipamd.core.settings import Settings
from ipamd.core.types import PREFIX_LENGTH, PREFIX_SIZE, ceil_div

from .world import Bench, facts, pod, sandbox

PREFIXES = Settings(prefix_delegation=True)
BARE = Settings(warm_eni_target=0)


def freeable(bench: Bench, eni: str) -> list[str]:
    known = bench.state.enis.get(eni)
    return [b.cidr for b in pool_linux.freeable_blocks(bench.state, known, bench.now)] if known else []


def document(bench: Bench) -> dict[str, Any]:
    """The checkpoint as JSON would have it."""
    plain: dict[str, Any] = msgspec.to_builtins(views.checkpoint(bench.state))
    return plain


def allocations(bench: Bench) -> list[tuple[str, str]]:
    """(container, address) of the checkpoint document."""
    return [(row["containerID"], row["ipv4"]) for row in document(bench)["allocations"]]


@pytest.mark.spec("TV-1", "DM-10")
def test_an_eni_that_comes_twice_is_there_once() -> None:
    """The second coming changes nothing; subnets stay as they were given."""
    bench = Bench()
    bench.eni("eni-1", 1, subnet="subnet-b")
    bench.eni("eni-0", 0, subnet="subnet-a")
    bench.eni("eni-1", 1, subnet="subnet-z")
    bench.eni("eni-2", 2, subnet="subnet-c")

    assert [(e.eni, e.subnet) for e in bench.state.enis.values()] == [
        ("eni-0", "subnet-a"), ("eni-1", "subnet-b"), ("eni-2", "subnet-c"),
    ]  # fmt: skip


@pytest.mark.spec("TV-2")
def test_an_eni_may_come_without_a_subnet() -> None:
    """An empty subnet id is kept as it is."""
    bench = Bench()
    bench.eni("eni-1", 1, subnet="")

    assert bench.state.enis["eni-1"].subnet == ""


@pytest.mark.spec("TV-3", "DM-42")
def test_an_eni_without_pods_leaves_and_one_with_pods_leaves_only_by_force() -> None:
    """Removal of an unknown ENI changes nothing; a pod holds its ENI until EC2 took it away."""
    bench = Bench(BARE)
    bench.eni("eni-1", 0, primary=True)
    bench.eni("eni-2", 2)
    bench.eni("eni-3", 3)
    bench.wait(61)

    bench.record(ev.EniLeft("eni-2", "freed"))
    bench.record(ev.EniLeft("unknown-eni", "freed"))
    left = list(bench.state.enis)
    bench.put("eni-1", "1.1.1.1/32")
    granted = bench.granted("sandbox1")
    kept = bench.hold("eni-1")
    bench.record(ev.EniLeft("eni-1", "gone", pods=1))

    assert left == ["eni-1", "eni-3"]
    assert (granted.address, granted.device, granted.table) == ("1.1.1.1", 0, 254)
    assert kept == "primary"
    assert list(bench.state.enis) == ["eni-3"]
    assert bench.delete("sandbox1") == UnknownPod(sandbox("sandbox1"))


@pytest.mark.spec("TV-4")
def test_a_prefix_serves_from_its_base_and_its_pod_holds_the_eni() -> None:
    """The network address itself is the first to go out, table = device + 1."""
    bench = Bench(PREFIXES)
    bench.eni("eni-4", 4, "10.0.0.0/28")
    bench.wait(61)

    granted = bench.granted("sandbox1")
    kept = bench.hold("eni-4")
    bench.record(ev.EniLeft("eni-4", "gone", pods=1))

    assert (granted.address, granted.device, granted.table) == ("10.0.0.0", 4, 5)
    assert kept == "pods"
    assert not bench.state.enis


@pytest.mark.spec("TV-5", "DM-12")
def test_a_secondary_address_counts_once_and_only_on_a_known_eni() -> None:
    """Totals 1, 1 (again), 2, 3, 3 (unknown ENI)."""
    bench = Bench()
    bench.eni("eni-1", 1)
    bench.eni("eni-2", 2)

    totals = []
    for eni, cidr in [
        ("eni-1", "1.1.1.1/32"), ("eni-1", "1.1.1.1/32"), ("eni-1", "1.1.1.2/32"), ("eni-2", "1.1.2.2/32"),
        ("dummy-eni", "1.1.2.2/32"),
    ]:  # fmt: skip
        bench.put(eni, cidr)
        totals.append(bench.stats.total)

    assert totals == [1, 1, 2, 3, 3]


@pytest.mark.spec("TV-6")
def test_a_prefix_counts_sixteen_once_and_only_on_a_known_eni() -> None:
    """Totals 16, 16 (again), 32, 48, 48 (unknown ENI)."""
    bench = Bench(PREFIXES)
    bench.eni("eni-1", 1)
    bench.eni("eni-2", 2)

    totals = []
    for eni, cidr in [
        ("eni-1", "10.0.0.0/28"), ("eni-1", "10.0.0.0/28"), ("eni-1", "20.0.0.0/28"), ("eni-2", "30.0.0.0/28"),
        ("dummy-eni", "40.0.0.0/28"),
    ]:  # fmt: skip
        bench.put(eni, cidr)
        totals.append(bench.stats.total)

    assert totals == [16, 16, 32, 48, 48]


@pytest.mark.spec("TV-7")
@pytest.mark.parametrize(
    ("cidrs", "listed"),
    [(("1.1.1.1/32", "1.1.1.2/32"), (2, 0)), (("10.0.0.0/28", "20.0.0.0/28"), (0, 2))],
)
def test_an_enis_blocks_are_listed_by_kind(cidrs: tuple[str, ...], listed: tuple[int, int]) -> None:
    """Addresses and prefixes of an ENI."""
    bench = Bench()
    bench.eni("eni-1", 1, *cidrs)

    (seen,) = views.pool(bench.state, bench.now).enis

    assert (seen.ips, seen.prefixes) == listed
    assert "dummy-eni" not in bench.state.enis


@pytest.mark.spec("TV-8", "DM-13")
def test_a_block_with_a_pod_goes_only_by_force() -> None:
    """An unknown block changes nothing, one in use is not offered, a forced one takes its pod along."""
    bench = Bench()
    bench.eni("eni-1", 0, "1.1.1.1/32", "1.1.1.2/32", "1.1.1.3/32")
    bench.granted("one")

    offered = freeable(bench, "eni-1")
    bench.record(ev.CidrRemoved("eni-1", "1.1.1.2/32", "scale_down"))
    bench.record(ev.CidrRemoved("eni-1", "10.10.10.10/32", "scale_down"))
    after_free = bench.stats.total
    bench.record(ev.CidrRemoved("eni-1", "1.1.1.1/32", "resync", pods=1))

    assert offered == ["1.1.1.2/32", "1.1.1.3/32"]
    assert after_free == 2
    assert (bench.stats.total, bench.stats.assigned, bench.cidrs("eni-1")) == (1, 0, ["1.1.1.3/32"])


@pytest.mark.spec("TV-11", "DM-21")
def test_the_checkpoint_holds_what_is_assigned_and_nothing_moves_before_its_record() -> None:
    """A decision whose record fails to be written changes neither State nor the document."""
    bench = Bench()
    bench.eni("eni-1", 0, "1.1.1.1/32")
    bench.granted("sandbox-1")
    (allocation,) = document(bench)["allocations"]
    bench.eni("eni-2", 1, "1.1.2.2/32")
    bench.granted("sandbox-1")
    once = bench.stats.assigned

    before = facts(bench.state)
    lost = decide(bench.state, AddNetwork(sandbox("sandbox-2"), pod("sandbox-2")), bench.now)
    untouched = facts(bench.state) == before and allocations(bench) == [("sandbox-1", "1.1.1.1")]
    granted = bench.granted("sandbox-2")

    assert allocation == {
        "networkName": "net0", "containerID": "sandbox-1", "ifName": "eth0", "ipv4": "1.1.1.1",
        "allocationTimestamp": bench.now,
        "metadata": {"k8sPodNamespace": "default", "k8sPodName": "sandbox-1", "interfacesCount": 1},
    }  # fmt: skip
    assert once == 1
    assert isinstance(lost.answer, Assigned) and untouched
    assert (granted.address, bench.stats.assigned) == ("1.1.2.2", 2)


@pytest.mark.spec("TV-12")
def test_addresses_run_out_come_back_and_let_their_eni_go() -> None:
    """No address left, an unknown pod, a released one; the ENI goes once it is old and nothing cools on it."""
    bench = Bench(BARE)
    bench.eni("eni-1", 0, "1.1.1.1/32", primary=True)
    bench.eni("eni-2", 1, "1.1.2.2/32")
    first = [bench.granted("key1").address, bench.granted("key2").address]
    bench.put("eni-1", "1.1.1.2/32")
    third = bench.granted("key3").address
    full = (bench.stats.total, bench.stats.assigned)
    bench.refused("key4")
    unknown = bench.delete("key4")
    released = bench.released("key2")
    after = (bench.stats.total, bench.stats.assigned, [key for key, _ in allocations(bench)])
    young = bench.deletable()
    bench.wait(61)
    old = bench.deletable()
    bench.record(ev.EniLeft(old, "freed"))

    assert [*first, third] == ["1.1.1.1", "1.1.2.2", "1.1.1.2"]
    assert full == (3, 3)
    assert unknown == UnknownPod(sandbox("key4"))
    assert released.interfaces == 1
    assert after == (3, 2, ["key1", "key3"])
    assert (young, old) == ("", "eni-2")
    assert (bench.stats.total, bench.stats.assigned) == (2, 2)


@pytest.mark.spec("TV-13")
def test_a_prefix_gives_its_addresses_in_order() -> None:
    """Base, base + 1, base + 2; a decision without record leaves the second one to whoever comes next."""
    bench = Bench(PREFIXES)
    bench.eni("eni-1", 0, "10.0.0.0/28")
    first = [bench.granted("key1").address, bench.granted("key1").address]
    before = facts(bench.state)
    decide(bench.state, AddNetwork(sandbox("key2"), pod("key2")), bench.now)
    untouched = facts(bench.state) == before

    rest = [bench.granted("key2").address, bench.granted("key3").address]
    released = bench.released("key2")

    assert first == ["10.0.0.0", "10.0.0.0"]
    assert untouched
    assert rest == ["10.0.0.1", "10.0.0.2"]
    assert (released.interfaces, bench.stats.total, bench.stats.assigned) == (1, 16, 2)


@pytest.mark.spec("TV-14", "TV-15")
@pytest.mark.parametrize(
    ("prefix_delegation", "cidrs", "total"),
    [
        pytest.param(False, ("1.1.1.1/32", "1.1.1.2/32"), 2, id="TV-14"),
        pytest.param(True, ("10.0.0.0/28",), 16, id="TV-15"),
    ],
)
def test_a_released_address_is_counted_as_cooling_for_its_period(
    prefix_delegation: bool, cidrs: tuple[str, ...], total: int
) -> None:
    """A period of one second; the figures are total, assigned, cooling."""
    bench = Bench(Settings(prefix_delegation=prefix_delegation, ip_cooldown_period=1))
    bench.eni("eni-1", 0, *cidrs)
    bench.granted("one")
    bench.granted("two")

    seen = [bench.stats]
    bench.released("one")
    seen.append(bench.stats)
    bench.wait(1.1)
    seen.append(bench.stats)

    assert [(s.total, s.assigned, s.cooling) for s in seen] == [(total, 2, 0), (total, 1, 1), (total, 1, 0)]
    assert {s.prefixes for s in seen} == {int(prefix_delegation)}


@pytest.mark.spec("TV-16")
def test_an_excluded_eni_serves_nobody() -> None:
    """The pod waits for an address of another ENI."""
    bench = Bench()
    bench.eni("eni-1", 0, "10.0.0.1/32", primary=True, excluded=True)

    before = bench.add("one")
    bench.eni("eni-2", 1, "10.0.0.2/32")
    after = bench.granted("one")

    assert not isinstance(before, Assigned)
    assert (after.address, after.device) == ("10.0.0.2", 1)


@pytest.mark.spec("TV-17")
def test_an_excluded_eni_gets_no_addresses() -> None:
    """Only the other one is allocatable."""
    bench = Bench()
    bench.eni("eni-1", 0, excluded=True)
    bench.eni("eni-2", 1)

    assert [eni.eni for eni in pool_linux.allocatable(bench.state, 0)] == ["eni-2"]


@pytest.mark.spec("TV-18")
def test_an_excluded_eni_is_not_counted() -> None:
    """Three addresses on the excluded ENI, two on the other: total and available are 2."""
    bench = Bench()
    bench.eni("eni-1", 0, "10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32", excluded=True)
    bench.eni("eni-2", 1, "10.0.1.1/32", "10.0.1.2/32")

    assert (bench.stats.total, bench.stats.assigned, bench.stats.available) == (2, 0, 2)


@pytest.mark.spec("TV-19")
def test_excluding_an_unknown_eni_changes_nothing() -> None:
    """There is nothing to ask or to set."""
    bench = Bench()
    bench.eni("eni-1", 0)
    bench.record(ev.EniExcluded("eni-9", True))

    assert [eni.excluded for eni in bench.state.enis.values()] == [False]


@pytest.mark.spec("TV-20")
def test_trunk_and_efa_enis_are_known_by_their_flags() -> None:
    """No trunk, no trunk, then the trunk; the EFA ENIs are those that came as such."""
    bench = Bench()

    trunks = [[eni.eni for eni in bench.state.enis.values() if eni.trunk]]
    bench.eni("eni-1", 1, efa=True)
    trunks.append([eni.eni for eni in bench.state.enis.values() if eni.trunk])
    bench.eni("eni-2", 2, trunk=True)
    bench.eni("eni-3", 3, efa=True)
    trunks.append([eni.eni for eni in bench.state.enis.values() if eni.trunk])

    assert trunks == [[], [], ["eni-2"]]
    assert [eni.eni for eni in bench.state.enis.values() if eni.efa] == ["eni-1", "eni-3"]


@pytest.mark.spec("TV-21", "DM-41")
def test_a_spare_eni_is_secondary_plain_and_without_pods() -> None:
    """None, primary only, with a secondary one, with a trunk or an EFA ENI beside it."""
    bench = Bench(Settings(prefix_delegation=True, warm_prefix_target=1))
    plenty = msgspec.structs.replace(bench.stats, available=10_000)

    seen = [pool_linux.extra_enis_possible(bench.state, 0, plenty)]
    for device, kind in enumerate(("primary", "trunk", "efa", "")):
        bench.eni(f"eni-{device}", device, primary=kind == "primary", trunk=kind == "trunk", efa=kind == "efa")
        seen.append(pool_linux.extra_enis_possible(bench.state, 0, plenty))

    assert seen == [False, False, False, False, True]


@pytest.mark.spec("TV-22", "POOL-9")
@pytest.mark.parametrize(("x", "y", "quotient"), [(1, 1, 1), (3, 2, 2), (5, 2, 3), (10, 2, 5), (1, 10, 1)])
def test_division_rounds_up(x: int, y: int, quotient: int) -> None:
    """Division rounds up."""
    assert ceil_div(x, y) == quotient


@pytest.mark.spec("TV-22", "DM-4")
def test_a_prefix_is_a_28_of_sixteen() -> None:
    """The defaults (1, 16, 28); the 1 is used nowhere."""
    assert (PREFIX_SIZE, PREFIX_LENGTH) == (16, 28)


@pytest.mark.spec("TV-23", "DM-44")
@pytest.mark.parametrize(
    ("settings", "cidrs", "free_prefixes"),
    [(Settings(), ("10.0.0.1/32", "10.0.0.2/32"), 0), (PREFIXES, ("10.0.0.0/28",), 1)],
)
def test_blocks_without_pods_are_free(settings: Settings, cidrs: tuple[str, ...], free_prefixes: int) -> None:
    """Two unassigned addresses, or one unassigned prefix."""
    bench = Bench(settings)
    bench.eni("eni-1", 0, *cidrs)

    assert freeable(bench, "eni-1") == list(cidrs)
    assert bench.stats.free_prefixes == free_prefixes
