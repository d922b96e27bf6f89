"""Blocks that go back to EC2 when their last pod leaves: leftovers of the other mode, and of excluded ENIs.

Ours lets their addresses rest first (tests/quirks.py: `cooling_released_by_scale_down`).
"""

from __future__ import annotations

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core.calls import Failed, Lost, Succeeded, UnassignPrivateIpAddresses
from ipamd.core.commands import Settle, Tick
from ipamd.core.plan import agenda
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND, CallId

from .world import NODE, Bench, Lab, sandbox

ADDRESSES = Settings()
PREFIXES = Settings(prefix_delegation=True)


def purge(bench: Bench) -> list[object]:
    """What the purge lane does now: the calls it starts."""
    before = len(bench.records)
    bench.tell(Tick("purge"))
    made = [event for record in bench.records[before:] for event in record.events]
    return [event.call for event in made if isinstance(event, ev.CallStarted)]


def switched(settings: Settings, *cidrs: str, pods: int = 1) -> Bench:
    """A node whose mode is not that of its blocks any more, with pods in the first ones."""
    other = msgspec.structs.replace(settings, prefix_delegation=not settings.prefix_delegation)
    bench = Bench(other)
    bench.eni("eni-1", 1, *cidrs)
    for i in range(pods):
        bench.granted(f"pod-{i}")
    bench.record(ev.Started(settings, NODE, 2), ev.NodeReady(), ev.WorkMoved(None))
    return bench


@pytest.mark.spec("RPC-52")
def test_last_pod_of_a_leftover_prefix_takes_it_along() -> None:
    """Prefix delegation is off, the prefix is empty now: out of the store, and unassigned in EC2."""
    bench = switched(ADDRESSES, "10.0.0.0/28")

    bench.released("pod-0")
    early = purge(bench)
    bench.wait(30.000000001)
    late = purge(bench)

    assert early == []
    assert late == [UnassignPrivateIpAddresses("eni-1", prefixes=("10.0.0.0/28",))]
    assert bench.cidrs("eni-1") == [] and not bench.state.purges


@pytest.mark.spec("RPC-52")
def test_unused_leftover_prefixes_of_the_same_eni_go_with_it() -> None:
    """All of that ENI that are wholly unused, in one call; those with pods and other ENIs' stay."""
    bench = switched(ADDRESSES, "10.0.0.0/28", "10.0.0.16/28", "10.0.0.32/28", pods=17)
    bench.eni("eni-2", 2, "10.0.0.48/28")

    bench.released("pod-16")
    bench.wait(31)

    assert purge(bench) == [UnassignPrivateIpAddresses("eni-1", prefixes=("10.0.0.16/28", "10.0.0.32/28"))]
    assert bench.cidrs("eni-1") == ["10.0.0.0/28"] and bench.cidrs("eni-2") == ["10.0.0.48/28"]


@pytest.mark.spec("RPC-52")
def test_a_leftover_prefix_with_another_pod_stays() -> None:
    """It is not due before its last pod leaves."""
    bench = switched(ADDRESSES, "10.0.0.0/28", pods=2)

    bench.released("pod-0")

    assert not bench.state.purges and purge(bench) == []


@pytest.mark.spec("RPC-52")
def test_any_release_from_a_leftover_prefix_takes_the_unused_ones_along() -> None:
    """Its own prefix still has a pod and stays; one that came back unused does not."""
    bench = switched(ADDRESSES, "10.0.0.0/28", "10.0.0.16/28", pods=2)

    bench.released("pod-0")
    bench.wait(31)

    assert purge(bench) == [UnassignPrivateIpAddresses("eni-1", prefixes=("10.0.0.16/28",))]
    assert bench.cidrs("eni-1") == ["10.0.0.0/28"]


@pytest.mark.spec("RPC-52", "ENV-9")
def test_leftovers_go_with_provisioning_disabled_too() -> None:
    """Nothing is allocated then, but what is not wanted any more is given back."""
    bench = switched(msgspec.structs.replace(ADDRESSES, provisioning_disabled=True), "10.0.0.0/28")

    bench.released("pod-0")
    bench.wait(31)

    assert len(purge(bench)) == 1


@pytest.mark.spec("RPC-52")
def test_a_release_in_the_modes_own_block_makes_nothing_due() -> None:
    """The pool's scale-down decides about blocks that serve."""
    bench = Bench(PREFIXES)
    bench.eni("eni-1", 1, "10.0.0.0/28")
    bench.granted("one")
    bench.released("one")

    assert not bench.state.purges


@pytest.mark.spec("RPC-53")
def test_a_leftover_secondary_address_goes_too() -> None:
    """The mirror case, which upstream never releases; ours does."""
    bench = switched(PREFIXES, "10.0.0.9/32")

    bench.released("pod-0")
    bench.wait(31)

    assert purge(bench) == [UnassignPrivateIpAddresses("eni-1", addresses=("10.0.0.9",))]
    assert bench.cidrs("eni-1") == []


@pytest.mark.spec("DM-32", "DM-33", "TV-28")
@pytest.mark.parametrize(
    ("settings", "cidr", "call"),
    [
        (ADDRESSES, "10.0.0.1/32", UnassignPrivateIpAddresses("eni-1", addresses=("10.0.0.1",))),
        (PREFIXES, "10.0.0.0/28", UnassignPrivateIpAddresses("eni-1", prefixes=("10.0.0.0/28",))),
    ],
)
def test_last_pod_of_an_excluded_enis_block_takes_it_along(
    settings: Settings, cidr: str, call: UnassignPrivateIpAddresses
) -> None:
    """Ours fixes the totals and gives the block back to EC2."""
    bench = Bench(settings)
    bench.eni("eni-1", 1, cidr)
    bench.granted("one")
    bench.record(ev.EniExcluded("eni-1", True))
    bench.released("one")
    bench.wait(31)

    assert purge(bench) == [call]
    assert bench.cidrs("eni-1") == [] and bench.stats.prefixes == 0


@pytest.mark.spec("DM-32")
def test_without_a_cooldown_an_excluded_enis_block_waits_five_seconds() -> None:
    """The pause is 5 s at least."""
    bench = Bench(Settings(ip_cooldown_period=0))
    bench.eni("eni-1", 1, "10.0.0.1/32")
    bench.granted("one")
    bench.record(ev.EniExcluded("eni-1", True))
    bench.released("one")

    (due,) = [due.at for due in agenda(bench.state, bench.now) if due.lane == "purge"]

    assert due - bench.now == 5 * SECOND


@pytest.mark.spec("DM-32", "TV-28")
def test_an_eni_included_again_before_the_purge_keeps_its_block() -> None:
    """It is looked at once more; still excluded and still empty, or it stays."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32")
    bench.granted("one")
    bench.record(ev.EniExcluded("eni-1", True))
    bench.released("one")
    bench.record(ev.EniExcluded("eni-1", False))
    bench.wait(31)

    assert purge(bench) == []
    assert bench.cidrs("eni-1") == ["10.0.0.1/32"] and not bench.state.purges


@pytest.mark.spec("TV-28")
def test_a_block_in_use_again_is_kept() -> None:
    """An assigned address keeps its block."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32")
    bench.granted("one")
    bench.record(ev.EniExcluded("eni-1", True))
    bench.released("one")
    bench.wait(31)
    bench.record(ev.AddressAssigned("10.0.0.1", "eni-1", "10.0.0.1/32", sandbox("two")))

    assert purge(bench) == []
    assert bench.cidrs("eni-1") == ["10.0.0.1/32"] and not bench.state.purges


@pytest.mark.spec("TV-28")
@pytest.mark.parametrize("gone", [ev.EniLeft("eni-1", "gone"), ev.CidrRemoved("eni-1", "10.0.0.1/32", "resync")])
def test_a_purge_of_what_is_gone_does_nothing(gone: ev.Event) -> None:
    """An unknown ENI or block is no error."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32")
    bench.granted("one")
    bench.record(ev.EniExcluded("eni-1", True))
    bench.released("one")
    bench.record(gone)
    bench.wait(31)

    assert purge(bench) == []
    assert not bench.state.purges


@pytest.mark.spec("RPC-52", "POOL-32")
@pytest.mark.parametrize("outcome", [Succeeded(), Failed("RequestLimitExceeded", "slow down"), Lost("timeout")])
def test_however_the_call_ends_the_store_is_ahead_already(outcome: Succeeded | Failed | Lost) -> None:
    """A failure is only logged; the pool lane never waited for it."""
    bench = switched(PREFIXES, "10.0.0.9/32")
    bench.released("pod-0")
    bench.wait(31)
    purge(bench)
    assert bench.state.pool.call is None

    bench.tell(Settle(CallId(1), outcome))

    logged = [event for event in bench.events(ev.ErrorCounted) if not event.counter]
    assert not bench.state.calls
    assert len(logged) == (0 if isinstance(outcome, Succeeded) else 1)


@pytest.mark.spec("RPC-52", "INIT-28", "DM-24")
def test_a_node_that_changed_its_mode_ends_up_in_the_new_one() -> None:
    """Pods keep their addresses; with the last of them the last prefix leaves EC2."""
    lab = Lab(Settings(prefix_delegation=True, warm_prefix_target=1)).start()
    lab.run(10).pods(3)
    lab.restart(settings=Settings(warm_ip_target=2))
    lab.run(60)
    mixed = sorted(cidr.split("/")[1] for eni in lab.state.enis.values() for cidr in eni.blocks)

    for i in range(3):
        lab.delete(f"pod-{i}")
    lab.run(100)

    assert mixed.count("28") == 1 and mixed.count("32") == 2
    assert not lab.vpc.enis[lab.primary].prefixes
    assert lab.leaks() == []
