"""The embedded cloud: it outlives its users, loses nothing that was answered, and refuses what is not its own."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ipamd.core.calls import (
    AssignPrivateIpAddresses,
    CreatedEni,
    DescribeNetworkInterfaces,
    DescribeSubnets,
    DetachNetworkInterface,
    Ec2Call,
    EnisView,
    Granted,
    MetadataView,
    ReadMetadata,
    SubnetsView,
)
from ipamd.core.types import SECOND
from ipamd.ec2.cloudlog import CloudError, CloudLocked
from ipamd.ec2.embedded import CloudMismatch, CloudOptions, CrashPoint, EmbeddedCloud
from ipamd.ec2.limits import UnknownInstanceType
from ipamd.ec2.port import Ec2, Ec2Error, Ec2Lost, Feature
from tests.ec2.clouds import SMALL, Clock, abandon, log_of, populated, reopened
from tests.ec2.worlds import creation, primary


class Crash(Exception):
    """Stands for the death of the process."""


# ---- the door -------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_embedded_cloud_is_an_ec2(tmp_path: Path) -> None:
    """It satisfies the port: calls, looks, facts of the node and its features."""
    door: Ec2 = reopened(tmp_path, CloudOptions(instance_type="t3.small"))
    node = await door.node()
    assert (node.instance_type, node.enis_max, node.ips_per_eni, node.max_pods) == ("t3.small", 3, 4, 11)
    assert door.features == frozenset(Feature)
    result = await door.call(AssignPrivateIpAddresses(node.primary_eni, prefixes=1))
    assert result == Granted(prefixes=("10.0.0.16/28",))
    view = await door.look(ReadMetadata())
    assert isinstance(view, MetadataView) and view.enis[0].prefixes == ("10.0.0.16/28",)
    subnets = await door.look(DescribeSubnets())
    assert isinstance(subnets, SubnetsView) and subnets.subnets[0].cidr == "10.0.0.0/16"
    await door.close()


@pytest.mark.asyncio
async def test_refusals_and_lost_replies_are_raised(tmp_path: Path) -> None:
    """`Ec2Error` carries EC2's code, `Ec2Lost` says that the effect is unknown."""
    cloud = reopened(tmp_path, SMALL)
    with pytest.raises(Ec2Error) as refusal:
        await cloud.call(AssignPrivateIpAddresses("eni-0123", 1))
    assert refusal.value.operation == "AssignPrivateIpAddresses"
    assert refusal.value.code == "InvalidNetworkInterfaceID.NotFound"
    with pytest.raises(Ec2Error, match="eni-0123"):
        await cloud.look(DescribeNetworkInterfaces(("eni-0123",)))
    cloud.vpc.faults.lose_next("AssignPrivateIpAddresses", effect=True)
    with pytest.raises(Ec2Lost, match="no answer"):
        await cloud.call(AssignPrivateIpAddresses(primary(cloud.vpc), 1))
    await cloud.close()
    assert len(reopened(tmp_path).vpc.enis[primary(cloud.vpc)].addresses) == 2


@pytest.mark.asyncio
async def test_calls_take_their_latency(tmp_path: Path) -> None:
    """Half passes before the effect and half after; metadata lags by the profile."""
    clock = Clock()
    options = CloudOptions(latency="realistic", seed=3)
    cloud = EmbeddedCloud.open(tmp_path, options, clock=clock, sleep=clock.sleep)
    await cloud.call(AssignPrivateIpAddresses(primary(cloud.vpc), 1))
    assert len(clock.slept) == 2 and 0.2 <= sum(clock.slept) <= 0.9
    view = await cloud.look(ReadMetadata())
    assert isinstance(view, MetadataView) and len(view.enis[0].addresses) == 1
    clock.now += 2 * SECOND
    view = await cloud.look(ReadMetadata())
    assert isinstance(view, MetadataView) and len(view.enis[0].addresses) == 2
    await cloud.close()


# ---- it outlives its users ------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_reopening_shows_the_same_cloud(tmp_path: Path) -> None:
    """ENIs, addresses, attachments, tags, tokens and identifiers are what they were."""
    cloud = await populated(tmp_path)
    before, serial, node = cloud.vpc.rows(), cloud.vpc.serial, await cloud.node()
    await cloud.close()
    again = reopened(tmp_path)
    assert (again.vpc.rows(), again.vpc.serial, await again.node()) == (before, serial, node)
    repeated = await again.call(creation(again.vpc, token="t-1", secondary_ips=2))
    assert isinstance(repeated, CreatedEni) and repeated.eni in again.vpc.enis
    assert len(again.vpc.enis) == 2
    fresh = await again.call(creation(again.vpc, token="t-2"))
    assert isinstance(fresh, CreatedEni) and fresh.eni != repeated.eni
    await again.close()


@pytest.mark.asyncio
@pytest.mark.parametrize(("point", "addresses"), [("before", 1), ("between", 2), ("after", 2)])
async def test_a_crash_at_each_point_of_a_call(tmp_path: Path, point: CrashPoint, addresses: int) -> None:
    """Before: no effect. Between effect and reply, and after it: the effect is there for whoever comes next."""

    def crash(at: CrashPoint, call: Ec2Call) -> None:
        if at == point:
            raise Crash

    cloud = EmbeddedCloud.open(tmp_path, SMALL, clock=Clock(), crash_at=crash)
    with pytest.raises(Crash):
        await cloud.call(AssignPrivateIpAddresses(primary(cloud.vpc), 1))
    abandon(cloud)
    again = reopened(tmp_path)
    assert len(again.vpc.enis[primary(again.vpc)].addresses) == addresses
    await again.close()


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from ipamd.core.calls import AssignPrivateIpAddresses
from ipamd.ec2.embedded import CloudOptions, EmbeddedCloud

def crash(point, call):
    if point == sys.argv[2] and call.secondary_ips == 3:
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    cloud = EmbeddedCloud.open(Path(sys.argv[1]), CloudOptions(subnet="10.0.0.0/24"), crash_at=crash)
    eni = (await cloud.node()).primary_eni
    for count in (1, 2, 3):
        await cloud.call(AssignPrivateIpAddresses(eni, count))
        print("answered", count, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize(("point", "addresses"), [("before", 4), ("between", 7), ("after", 7)])
def test_kill_at_each_point_of_a_call(tmp_path: Path, point: str, addresses: int) -> None:
    """A real process, a real SIGKILL: answered calls are there, and the lock is free."""
    command = [sys.executable, "-c", KILLED, str(tmp_path), point]
    died = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert died.stdout == "answered 1\nanswered 2\n"
    cloud = reopened(tmp_path)
    assert len(cloud.vpc.enis[primary(cloud.vpc)].addresses) == addresses
    abandon(cloud)


# ---- at once --------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_calls_at_once_share_a_sync_and_lose_nothing(tmp_path: Path) -> None:
    """Fifty callers: every answered address is on disk, each once."""
    cloud = reopened(tmp_path, CloudOptions(instance_type="m5.24xlarge"))
    eni = primary(cloud.vpc)
    results = await asyncio.gather(*(cloud.call(AssignPrivateIpAddresses(eni, 1)) for _ in range(49)))
    told = [a for r in results if isinstance(r, Granted) for a in r.addresses]
    abandon(cloud)
    kept = reopened(tmp_path).vpc.enis[eni].addresses
    assert len(set(told)) == 49 and kept == ("10.0.0.4", *told)


@pytest.mark.asyncio
async def test_a_cancelled_call_leaves_the_log_whole(tmp_path: Path) -> None:
    """Cancellation while the disk is written neither tears the log nor blocks the next call."""
    cloud = reopened(tmp_path)
    eni = primary(cloud.vpc)
    task = asyncio.create_task(cloud.call(AssignPrivateIpAddresses(eni, 1)))
    while cloud._flushing is None:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await cloud.call(AssignPrivateIpAddresses(eni, 1))
    await cloud.close()
    assert len(reopened(tmp_path).vpc.enis[eni].addresses) == 3


@pytest.mark.asyncio
async def test_a_full_disk_stops_the_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is answered that is not on disk, and nothing after it: memory has run ahead."""
    cloud = reopened(tmp_path, SMALL)
    eni = primary(cloud.vpc)
    await cloud.call(AssignPrivateIpAddresses(eni, 1))

    def full(fd: int, held: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        with pytest.raises(CloudError, match="No space left on device; free the disk"):
            await cloud.call(AssignPrivateIpAddresses(eni, 1))
    for attempt in (cloud.call(AssignPrivateIpAddresses(eni, 1)), cloud.look(ReadMetadata())):
        with pytest.raises(CloudError, match="No space left"):
            await attempt
    await cloud.close()
    assert len(reopened(tmp_path).vpc.enis[eni].addresses) == 2


# ---- what it refuses ------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_two_cannot_share_a_cloud(tmp_path: Path) -> None:
    """The second to open is told who holds it; once closed it is free."""
    cloud = reopened(tmp_path)
    with pytest.raises(CloudLocked, match=rf"in use by another process \(pid {os.getpid()}\)"):
        reopened(tmp_path)
    await cloud.close()
    abandon(reopened(tmp_path))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (CloudOptions(instance_type="t3.small"), "instance type m5.large, asked for t3.small"),
        (CloudOptions(subnet="10.1.0.0/16"), "subnet 10.0.0.0/24, asked for 10.1.0.0/16"),
        (CloudOptions(seed=5), "seed 0, asked for 5"),
        (CloudOptions(zone="us-west-2c"), "zone us-west-2a, asked for us-west-2c"),
    ],
)
def test_another_cloud_than_asked_for_is_refused(tmp_path: Path, options: CloudOptions, says: str) -> None:
    """What is named must be what the directory holds; what is not named may be anything."""
    abandon(reopened(tmp_path, SMALL))
    with pytest.raises(CloudMismatch, match=says):
        reopened(tmp_path, options)
    abandon(reopened(tmp_path, SMALL))
    abandon(reopened(tmp_path))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (CloudOptions(instance_type="m5.huge"), UnknownInstanceType),
        (CloudOptions(subnet="10.0.0.0/30"), ValueError),
        (CloudOptions(subnet="10.0.0.1/24"), ValueError),
    ],
)
def test_impossible_clouds_leave_nothing_behind(tmp_path: Path, options: CloudOptions, error: type[Exception]) -> None:
    """A refused beginning does not block a good one."""
    with pytest.raises(error):
        reopened(tmp_path, options)
    assert not log_of(tmp_path).exists()
    abandon(reopened(tmp_path))


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A file where the directory should be: the path, the fact, the remedy."""
    (tmp_path / "cloud").write_text("")
    with pytest.raises(CloudError, match=r"cloud: cannot keep the embedded cloud here: .*; choose a directory"):
        reopened(tmp_path)


@pytest.mark.spec("POOL-43")
@pytest.mark.asyncio
async def test_more_subnets_are_remembered(tmp_path: Path) -> None:
    """A subnet added later is there after reopening, in the instance's zone, with its tags."""
    cloud = reopened(tmp_path, CloudOptions(subnet="10.0.0.0/24"))
    row = await cloud.add_subnet("10.0.1.0/24", tags={"kubernetes.io/role/cni": "1"})
    await cloud.close()
    again = reopened(tmp_path)
    view = await again.look(DescribeSubnets())
    assert isinstance(view, SubnetsView)
    assert [s.subnet for s in view.subnets][1:] == [row.subnet] and view.subnets[1].tags == row.tags
    await again.close()


@pytest.mark.asyncio
async def test_detached_and_described_after_reopening(tmp_path: Path) -> None:
    """The life of an ENI goes on where it was."""
    cloud = await populated(tmp_path)
    await cloud.close()
    again = reopened(tmp_path)
    eni = list(again.vpc.enis)[1]
    view = await again.look(DescribeNetworkInterfaces((eni,)))
    assert isinstance(view, EnisView) and view.enis[0].tags["who"] == "web-0"
    await again.call(DetachNetworkInterface(eni, view.enis[0].attachment))
    view = await again.look(DescribeNetworkInterfaces((eni,)))
    assert isinstance(view, EnisView) and view.enis[0].status == "available"
    await again.close()
