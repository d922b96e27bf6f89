"""EC2's pace and worker lanes, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from ipamd.core.calls import AssignPrivateIpAddresses, Failed, Granted
from ipamd.core.types import MS, SECOND, CallId
from ipamd.ec2 import requests
from ipamd.ec2.embedded import CloudOptions, EmbeddedCloud
from ipamd.ec2.fleet import EmbeddedFleet
from ipamd.runtime.clock import ManualClock
from ipamd.runtime.fleet_asks import Asked, FleetAsks
from ipamd.runtime.pace import WORKERS, Bucket, Lanes

from .rig import EPOCH


@pytest.mark.spec("WIN-113")
def test_the_bucket_lets_a_burst_through_and_then_its_rate() -> None:
    """18 at once, then one each twelfth of a second; an idle second and a half fills it again."""
    clock = ManualClock(EPOCH)
    bucket = Bucket(clock, 12, 18)

    waits = [max(bucket.due() - clock.now(), 0) for _ in range(30)]
    clock.not_before(EPOCH + 10 * SECOND)
    later = [max(bucket.due() - clock.now(), 0) for _ in range(19)]

    assert waits[:18] == [0] * 18
    assert [round(wait / MS) for wait in waits[18:]] == [round(1000 * n / 12) for n in range(1, 13)]
    assert later[:18] == [0] * 18 and round(later[18] / MS) == 83


@pytest.mark.asyncio
@pytest.mark.spec("WIN-125")
async def test_a_lane_has_so_many_workers_for_all_nodes() -> None:
    """Two of a mode's jobs run, the others wait in order; another lane is not held up."""
    running: list[str] = []
    gates = {name: asyncio.Event() for name in ("a", "b", "c", "d")}
    tasks: set[asyncio.Task[None]] = set()

    def spawn(work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        tasks.add(task)

    lanes = Lanes(spawn, WORKERS)

    def job(name: str) -> Any:
        async def work() -> None:
            running.append(name)
            await gates[name].wait()

        return work

    for name in ("a", "b", "c"):
        lanes.submit("prefix", name, job(name))
    lanes.submit("secondary", "d", job("d"))
    await asyncio.sleep(0)

    assert (sorted(running), lanes.waiting("prefix")) == (["a", "b", "d"], 1)
    gates["b"].set()
    while lanes.waiting("prefix"):
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert running[-1] == "c"
    for gate in gates.values():
        gate.set()
    await asyncio.gather(*tasks)


async def asking(tmp_path: Any, clock: ManualClock, **options: Any) -> tuple[FleetAsks, EmbeddedCloud, str]:
    """EC2 with one Windows instance; its primary interface."""
    cloud = EmbeddedCloud.open(tmp_path, CloudOptions(**options), clock=clock.now, sleep=clock.sleep)
    fleet = EmbeddedFleet(cloud, sleep=clock.sleep)
    await cloud.serve(requests.RunInstances("c5.large", next(iter(cloud.vpc.subnets)), named=("i-1",)))
    clock.not_before(clock.now() + 5 * SECOND)
    asks = FleetAsks(fleet, clock, Bucket(clock, 1000, 1000))
    facts = await asks.instance("i-1")
    assert not isinstance(facts, Failed), facts
    return asks, cloud, facts.interfaces[0].eni  # type: ignore[union-attr]


async def stepped(clock: ManualClock, work: Coroutine[Any, Any, Any]) -> Any:
    """The result of work whose sleeps are stepped over."""
    task = asyncio.create_task(work)
    while not task.done():
        await asyncio.sleep(0)
        if clock.next_alarm is not None:
            clock.advance(clock.next_alarm)
    return task.result()


@pytest.mark.asyncio
@pytest.mark.spec("WIN-33", "WIN-36", "WIN-97")
async def test_reading_an_instance_costs_two_requests_and_then_one(tmp_path: Any) -> None:
    """The subnet of an instance does not change, so a re-sync is one DescribeInstances."""
    clock = ManualClock(EPOCH)
    asks, cloud, eni = await asking(tmp_path, clock)
    asked: list[Asked] = []
    asks.on_ask = asked.append

    again = await asks.instance("i-1")

    assert [one.action for one in asked] == ["DescribeInstances"]
    assert (again.instance_type, again.ips_per_eni, again.nitro) == ("c5.large", 10, True)  # type: ignore[union-attr]
    assert again.subnet_cidr == "10.0.0.0/16" and again.interfaces[0].eni == eni  # type: ignore[union-attr]
    await cloud.close()


@pytest.mark.asyncio
@pytest.mark.spec("WIN-107", "V-89")
async def test_what_was_granted_is_waited_for_until_it_shows(tmp_path: Any) -> None:
    """EC2's descriptions may be old for a second: the interface is described again until the address is there."""
    clock = ManualClock(EPOCH)
    asks, cloud, eni = await asking(tmp_path, clock, stale=SECOND, seed=3)
    await asks.ask(requests.AssignPrivateIpAddresses(eni, address_count=1))
    clock.not_before(clock.now() + 5 * SECOND)
    asked: list[Asked] = []
    asks.on_ask = asked.append

    granted = await stepped(clock, asks.assign(AssignPrivateIpAddresses(eni, secondary_ips=2), CallId(1)))

    assert isinstance(granted, Granted) and len(granted.addresses) == 2
    assert asked[0].action == "AssignPrivateIpAddresses"
    assert {one.action for one in asked[1:]} == {"DescribeNetworkInterfaces"} and len(asked) > 2
    await cloud.close()


@pytest.mark.asyncio
@pytest.mark.spec("WIN-113")
async def test_a_throttled_request_is_sent_three_times(tmp_path: Any) -> None:
    """Then EC2's refusal is the answer; another refusal is the answer at once."""
    clock = ManualClock(EPOCH)
    asks, cloud, eni = await asking(tmp_path, clock)
    asked: list[Asked] = []
    asks.on_ask = asked.append
    cloud.vpc.faults.fail_next("AssignPrivateIpAddresses", "RequestLimitExceeded", times=3)

    throttled = await stepped(clock, asks.assign(AssignPrivateIpAddresses(eni, prefixes=1), CallId(1)))
    granted = await stepped(clock, asks.assign(AssignPrivateIpAddresses(eni, prefixes=1), CallId(2)))
    missing = await stepped(clock, asks.instance("i-0123456789abcdef0"))

    assert isinstance(throttled, Failed) and throttled.code == "RequestLimitExceeded"
    assert [one.code for one in asked[:3]] == ["RequestLimitExceeded"] * 3
    assert isinstance(granted, Granted) and len(granted.prefixes) == 1
    assert isinstance(missing, Failed) and missing.code == "InvalidInstanceID.NotFound"
    await cloud.close()
