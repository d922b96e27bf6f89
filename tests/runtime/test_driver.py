"""When the machine moves: beats are neither skipped nor doubled, lanes look once at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ipamd.core import events as ev
from ipamd.core.calls import Failed, FindNetworkInterfaces, Look, MetadataView, ReadMetadata, View
from ipamd.core.commands import DelNetwork, Observed, Tick
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND
from ipamd.ec2.embedded import CloudOptions
from ipamd.ec2.vpc import associate_cidr
from ipamd.runtime.clock import ManualClock
from tests.runtime.rig import EPOCH, Rig, living, sandbox

pytestmark = pytest.mark.asyncio
HALF = 2.5


def looks_of(rig: Rig) -> list[tuple[Look, View | Failed]]:
    """What was observed and led to something, in order."""
    return [(r.cause.look, r.cause.seen) for r in rig.records if isinstance(r.cause, Observed)]


@pytest.mark.spec("POOL-13")
async def test_an_update_comes_every_five_seconds(tmp_path: Path) -> None:
    """A pod that finds the pool low is followed by an increase within one cycle, at a beat."""
    async with living(tmp_path) as rig:
        since = rig.state.pool.since
        for i in range(16):
            await rig.add(f"p{i}")
        await rig.advance(2 * HALF)

        acted = [r for r in rig.records for e in r.events if isinstance(e, ev.PoolActed) and e.action == "increase"]
        assert (acted[-1].at - since) % round(HALF * SECOND) == 0
        assert isinstance(acted[-1].cause, Tick)


async def test_a_beat_is_not_lost_to_what_came_a_moment_before_its_timer(tmp_path: Path) -> None:
    """The agenda already names the next beat then, but the one that is due was remembered when the timer was set."""
    async with living(tmp_path) as rig:
        for i in range(16):
            await rig.add(f"p{i}")
        rig.clock.not_before(rig.state.pool.since + round(2 * HALF * SECOND) + 1)
        rig.daemon.driver.tell(Tick("watch"))
        await rig.quiet()

        assert [e.action for e in rig.events if isinstance(e, ev.PoolActed)][-2:] == ["increase", "increased"]


async def test_a_quiet_node_writes_little(tmp_path: Path) -> None:
    """An hour without pods: beats and looks that find nothing leave no record; a reconcile leaves a short one."""
    async with living(tmp_path, Settings(warm_ip_target=2)) as rig:
        await rig.advance(120)
        before = rig.state.seq
        await rig.advance(3600)
        views = [seen for _, seen in looks_of(rig)[3:] if isinstance(seen, MetadataView)]

        assert rig.state.seq - before <= 130
        assert all(view.as_stored and not view.enis for view in views)


@pytest.mark.spec("INIT-30")
async def test_a_changed_vpc_cidr_is_seen_within_thirty_seconds(tmp_path: Path) -> None:
    """The watch lane has a rhythm of its own."""
    async with living(tmp_path) as rig:
        associate_cidr(rig.cloud.vpc, "10.1.0.0/16", now=rig.clock.now())
        await rig.advance(31)

        assert rig.state.vpc_cidrs == ("10.0.0.0/16", "10.1.0.0/16")


@pytest.mark.spec("RPC-52")
async def test_a_release_wakes_the_driver_for_what_it_makes_due(tmp_path: Path) -> None:
    """A leftover address of the other mode goes back to EC2 the moment its cooldown is over."""
    clock = ManualClock(EPOCH)
    async with living(tmp_path, Settings(warm_eni_target=1), clock=clock) as rig:
        address = await rig.add("web")
    async with living(tmp_path, clock=clock) as rig:
        await rig.advance(1)
        released_at = clock.now()
        await rig.daemon.datastore.submit(DelNetwork(sandbox("web")))
        await rig.advance(60)

        gone = [r.at for r in rig.records for e in r.events if isinstance(e, ev.CidrRemoved) and address in e.cidr]
        assert [at - released_at for at in gone] == [30 * SECOND + 1]
        assert all(address not in eni.addresses[1:] for eni in rig.cloud.vpc.enis.values())


async def test_a_lane_looks_once_at_a_time(tmp_path: Path) -> None:
    """A slow look is not asked again while it is on its way, however many beats pass."""
    asked: list[Look] = []
    answer: asyncio.Future[View | Failed] = asyncio.get_running_loop().create_future()
    async with living(tmp_path) as rig:

        class Slow:
            async def look(self, look: Look) -> View | Failed:
                asked.append(look)
                return await asyncio.shield(answer)

        rig.daemon.driver._looks = Slow()
        while rig.clock.advance(rig.clock.now() + 300 * SECOND):
            await asyncio.sleep(0)
        before = len(asked)
        answer.set_result(Failed("", "no answer"))
        await rig.quiet()
        await rig.advance(60)

        assert 1 <= before <= 3  # one a lane: pool, watch and the search for leaked ENIs
        assert all(isinstance(look, ReadMetadata | FindNetworkInterfaces) for look in asked)
        assert len(asked) > before


@pytest.mark.spec("POOL-18")
async def test_a_refused_ec2_call_is_tried_again_later(tmp_path: Path) -> None:
    """After InsufficientCidrBlocks nothing is asked for 120 s, then the pool fills."""
    async with living(tmp_path) as rig:
        for action in ("AssignPrivateIpAddresses", "CreateNetworkInterface"):
            rig.cloud.vpc.faults.fail_next(action, "InsufficientCidrBlocks", times=2)
        for i in range(16):
            await rig.add(f"p{i}")
        await rig.advance(100)
        paused = len([e for e in rig.events if isinstance(e, ev.CidrAdded)])
        await rig.advance(40)

        assert paused == 1
        assert len([e for e in rig.events if isinstance(e, ev.CidrAdded)]) >= 2


async def test_a_slow_cloud_delays_but_does_not_confuse(tmp_path: Path) -> None:
    """With EC2's latencies an ENI takes seconds; every call still has one beginning and one end."""
    cloud = CloudOptions(instance_type="m5.large", latency="realistic")
    async with living(tmp_path, Settings(warm_eni_target=2), cloud=cloud, ready=False) as rig:
        for _ in range(400):
            await rig.until(lambda: rig.daemon.datastore.quiet and rig.clock.next_alarm is not None)
            rig.clock.advance(rig.clock.next_alarm or 0)
            for _ in range(20):
                await asyncio.sleep(0)

        started = [e.call_id for e in rig.events if isinstance(e, ev.CallStarted)]
        ended = [e.call_id for e in rig.events if isinstance(e, ev.CallEnded)]
        assert rig.state.phase == "ready"
        assert len(rig.state.enis) == 2
        assert ended == started[: len(ended)]
        assert len(started) - len(ended) <= 1
