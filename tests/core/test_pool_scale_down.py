"""Giving blocks back in virtual time: which, when, and what a failure costs."""

from __future__ import annotations

import pytest

from ipamd.core import events as ev
from ipamd.core.calls import (
    AssignPrivateIpAddresses,
    CreateNetworkInterface,
    DetachNetworkInterface,
    UnassignPrivateIpAddresses,
)
from ipamd.core.commands import Tick
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND
from ipamd.core.work import Grow, Trim

from .world import Bench, Lab

ADDRESSES = Settings(warm_ip_target=1, ip_cooldown_period=0)
PREFIXES = Settings(prefix_delegation=True, warm_prefix_target=1)


# ---- giving blocks back -------------------------------------------------------------------------------------


@pytest.mark.spec("POOL-31", "POOL-32")
def test_blocks_leave_the_store_before_ec2_is_asked() -> None:
    """And each is held from being learnt again for 60 s."""
    bench = Bench(ADDRESSES)
    bench.eni("eni-0", 0, "10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32", primary=True)
    bench.wait(2.5)
    bench.tell(Tick())

    work = bench.state.pool.work
    assert isinstance(work, Trim)
    assert work.calls == (UnassignPrivateIpAddresses("eni-0", addresses=("10.0.0.1", "10.0.0.2")),)
    assert bench.cidrs("eni-0") == ["10.0.0.3/32"]
    assert bench.state.held == {f"10.0.0.{i}/32": bench.now + 60 * SECOND for i in (1, 2)}
    assert not bench.state.calls


@pytest.mark.spec("POOL-34", "POOL-31")
def test_one_scale_down_walks_several_enis_and_stops_at_what_is_over() -> None:
    """A round for each ENI that yields something and for no other; the last device first."""
    bench = Bench(Settings(warm_ip_target=1, ip_cooldown_period=0))
    bench.eni("eni-0", 0, "10.0.0.1/32", primary=True)
    bench.eni("eni-1", 1, "10.0.1.1/32", "10.0.1.2/32", trunk=True)
    bench.eni("eni-2", 2, "10.0.2.1/32")
    bench.eni("eni-3", 3, "10.0.3.1/32", "10.0.3.2/32")
    bench.granted("one")
    bench.wait(2.5)

    over = bench.balance.over
    bench.tell(Tick())

    work = bench.state.pool.work
    assert isinstance(work, Trim) and over == 4
    assert [(call.eni, call.addresses) for call in work.calls if isinstance(call, UnassignPrivateIpAddresses)] == [
        ("eni-3", ("10.0.3.1", "10.0.3.2")), ("eni-2", ("10.0.2.1",)), ("eni-1", ("10.0.1.1",)),
    ]  # fmt: skip


@pytest.mark.spec("POOL-31")
def test_a_block_that_cools_is_not_given_back_yet() -> None:
    """Ours waits until its addresses have cooled, since EC2 would hand them to another node."""
    lab = Lab(Settings(warm_ip_target=1)).start()
    lab.run(10)
    lab.pod("one", 10)
    lab.delete("one", 29)
    early = lab.calls(UnassignPrivateIpAddresses)
    lab.run(10)

    assert early == []
    assert len(lab.calls(UnassignPrivateIpAddresses)) == 1
    assert lab.shape() == [(1, 0)]


@pytest.mark.spec("POOL-32", "EC2-21")
def test_prefixes_and_addresses_go_in_two_calls() -> None:
    """Prefixes first, then the leftover addresses of the same ENI."""
    bench = Bench(PREFIXES)
    bench.eni("eni-0", 0, "10.0.1.1/32", "10.0.0.0/28", "10.0.0.16/28", "10.0.0.32/28", primary=True)
    bench.wait(2.5)
    bench.tell(Tick())

    work = bench.state.pool.work
    assert isinstance(work, Trim)
    assert work.calls == (
        UnassignPrivateIpAddresses("eni-0", prefixes=("10.0.0.0/28",)),
        UnassignPrivateIpAddresses("eni-0", addresses=("10.0.1.1",)),
    )


@pytest.mark.spec("POOL-32")
@pytest.mark.parametrize("lost", [False, True])
def test_a_failed_unassign_is_logged_and_found_again_by_the_reconcile(lost: bool) -> None:
    """The store is ahead; EC2 still has the block, so after its hold it is learnt and given back again."""
    lab = Lab(ADDRESSES).start()
    lab.run(10)
    lab.pod("one", 10)
    if lost:
        lab.vpc.faults.lose_next("UnassignPrivateIpAddresses", effect=False)
    else:
        lab.vpc.faults.fail_next("UnassignPrivateIpAddresses", "InternalError")
    lab.delete("one", 10)
    ahead = lab.leaks()
    lab.run(300)

    assert len(ahead) == 1 and "in EC2 alone" in ahead[0]
    assert lab.leaks() == [] and lab.quiet()
    assert lab.counted() == []


@pytest.mark.spec("POOL-11", "POOL-36")
def test_whole_enis_go_where_addresses_are_not_trimmed() -> None:
    """With WARM_ENI_TARGET alone no address is unassigned; the spare ENI goes once it is old."""
    lab = Lab(Settings(warm_eni_target=1, ip_cooldown_period=0)).start()
    lab.run(10)
    lab.pods(4, 10)
    three = len(lab.state.enis)
    for i in range(4):
        lab.delete(f"pod-{i}")
    lab.run(300)

    assert three == 3
    assert not lab.calls(UnassignPrivateIpAddresses) and len(lab.calls(DetachNetworkInterface)) == 2
    assert lab.shape() == [(3, 0)] and lab.leaks() == []


@pytest.mark.spec("POOL-21")
def test_growth_asks_existing_enis_first() -> None:
    """A new ENI only where no ENI has a slot left."""
    lab = Lab(ADDRESSES).start()
    lab.run(10)
    before = lab.calls(CreateNetworkInterface)
    lab.pods(3, 10)

    assert before == [] and len(lab.calls(AssignPrivateIpAddresses)) == 3
    assert len(lab.calls(CreateNetworkInterface)) == 1 and lab.shape() == [(3, 3), (1, 0)]
    assert [type(event.work) for event in lab.events(ev.WorkMoved) if isinstance(event.work, Grow)]
