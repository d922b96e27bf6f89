"""The daemon as a whole: it comes up, serves, keeps its pool warm, ends in order and comes back as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipamd.core import events as ev
from ipamd.core.calls import AssignPrivateIpAddresses, LinksView, SetUpHost
from ipamd.core.commands import AddNetwork, DelNetwork, Refused, Released, Start, UnknownPod
from ipamd.core.settings import Quirks, Settings
from ipamd.ec2.embedded import CloudOptions, EmbeddedCloud
from ipamd.journal.journal import Journal
from ipamd.journal.reading import read
from ipamd.runtime.clock import ManualClock, SystemClock
from ipamd.runtime.daemon import Daemon, InitFailed, journal_of
from ipamd.runtime.datastore import recovered
from ipamd.runtime.hostnet import HostError, HostRecorder
from tests.runtime.rig import EPOCH, PREFIXES, held, living, sandbox

pytestmark = pytest.mark.asyncio


@pytest.mark.spec("POOL-20")
async def test_a_fresh_node_becomes_ready_with_a_warm_prefix(tmp_path: Path) -> None:
    """Start, the steps of init, one prefix, NodeReady; every call has its record before and after."""
    async with living(tmp_path) as rig:
        assert rig.state.phase == "ready"
        blocks = [block.cidr for eni in rig.state.enis.values() for block in eni.blocks.values()]
        assert blocks == ["10.0.0.16/28"]

        started = [event.call_id for event in rig.events if isinstance(event, ev.CallStarted)]
        ended = [event.call_id for event in rig.events if isinstance(event, ev.CallEnded)]
        assert started
        assert ended == started


@pytest.mark.spec("POOL-13", "POOL-15")
async def test_the_pool_grows_while_pods_come(tmp_path: Path) -> None:
    """The 17th pod would find nothing had the beat not brought another prefix."""
    async with living(tmp_path) as rig:
        first = [await rig.add(f"p{i}") for i in range(16)]
        refused = await rig.daemon.datastore.submit(AddNetwork(sandbox("late")))
        await rig.advance(5)
        late = await rig.add("late")

        assert isinstance(refused, Refused)
        assert len({*first, late}) == 17
        assert len([e for e in rig.events if isinstance(e, ev.CidrAdded)]) >= 2


@pytest.mark.spec("DM-30")
async def test_a_repeated_add_gets_the_same_address_and_no_record(tmp_path: Path) -> None:
    """A repeated add gets the same address and no record."""
    async with living(tmp_path) as rig:
        first = await rig.add("web")
        seq = rig.state.seq

        assert await rig.add("web") == first
        assert rig.state.seq == seq


@pytest.mark.spec("DM-25", "DM-26")
async def test_an_address_goes_back_and_cools(tmp_path: Path) -> None:
    """A release is answered once; the second one finds nothing."""
    async with living(tmp_path) as rig:
        address = await rig.add("web")
        first = await rig.daemon.datastore.submit(DelNetwork(sandbox("web"), "PodDeleted"))
        second = await rig.daemon.datastore.submit(DelNetwork(sandbox("web"), "PodDeleted"))
        other = await rig.add("web")

        assert isinstance(first, Released) and first.address == address
        assert second == UnknownPod(sandbox("web"))
        assert other != address


async def test_a_restart_keeps_every_pod(tmp_path: Path) -> None:
    """The next tenure folds the journal, or the snapshot that the end left, to the same addresses."""
    clock = ManualClock(EPOCH)
    async with living(tmp_path, clock=clock) as rig:
        before = {name: await rig.add(name) for name in ("a", "b", "c")}
    assert list((tmp_path / "journal").glob("snapshot-*.json"))

    async with living(tmp_path, clock=clock) as rig:
        after = {name: await rig.add(name) for name in ("a", "b", "c")}

        assert after == before
        assert len(held(rig.state)) == 3


async def test_the_end_is_recorded_and_synced(tmp_path: Path) -> None:
    """SIGTERM's command is the last record; `run` returns (exit code 0)."""
    async with living(tmp_path) as rig:
        await rig.add("web")
        rig.daemon.terminate()
        await rig.run

    records = list(read(tmp_path))
    assert records[-1].events == (ev.Terminating(),)
    assert rig.records[-1] == records[-1]


@pytest.mark.spec("RPC-8")
async def test_under_the_quirk_it_serves_on_after_sigterm(tmp_path: Path) -> None:
    """Only scaling stops."""
    settings = Settings(prefix_delegation=True, warm_prefix_target=1, quirks=Quirks(keeps_serving_after_sigterm=True))
    async with living(tmp_path, settings) as rig:
        rig.daemon.terminate()
        await rig.add("web")
        await rig.advance(30)
        calls = len([event for event in rig.events if isinstance(event, ev.CallStarted)])
        for i in range(15):
            await rig.add(f"p{i}")
        await rig.advance(30)

        assert rig.state.terminating
        assert not rig.run.done()
        assert len([event for event in rig.events if isinstance(event, ev.CallStarted)]) == calls
        rig.run.cancel()


async def test_calls_in_flight_are_left_to_the_next_start(tmp_path: Path) -> None:
    """The end does not wait for EC2; the next Start finds them in State and ends them as lost."""
    clock = ManualClock(EPOCH)
    slow = CloudOptions(instance_type="m5.large", latency="realistic")
    async with living(tmp_path, cloud=slow, clock=clock, ready=False) as rig:
        while not any(isinstance(r.call, AssignPrivateIpAddresses) for r in rig.state.calls.values()):
            await rig.until(lambda: rig.clock.next_alarm is not None)
            rig.clock.advance(rig.clock.next_alarm or 0)
            await rig.until(lambda: rig.daemon.datastore.quiet)
    in_flight = list(rig.state.calls)

    async with living(tmp_path, clock=clock) as rig:
        lost = [event.call_id for event in rig.records[0].events if isinstance(event, ev.CallEnded)]

        assert in_flight
        assert lost == in_flight
        assert rig.state.phase == "ready"


async def test_another_instance_begins_afresh(tmp_path: Path) -> None:
    """The old journal is set aside whole, and none of its pods are known."""

    async with living(tmp_path) as rig:
        await rig.add("web")
        instance = rig.state.node.instance
    directory = tmp_path / "journal"
    journal = Journal.open(directory)
    state = recovered(journal, lambda _: None)

    journal, same, aside = journal_of(instance, journal, state, print)
    assert same is state
    assert aside is None
    journal, other, aside = journal_of("i-0123456789abcdef0", journal, state, print)
    journal.close()

    assert other.seq == 0
    assert aside is not None
    assert [record.seq for record in read(aside)] == list(range(1, state.seq + 1))


class Refusing(HostRecorder):
    """A host whose network cannot be set up."""

    async def call(self, call: object) -> None:
        """Say no to INIT-18."""
        if isinstance(call, SetUpHost):
            raise HostError("SetUpHost", "Operation not permitted")


@pytest.mark.spec("INIT-18")
async def test_a_fatal_step_of_init_ends_the_process(tmp_path: Path) -> None:
    """Exit code 1, and a message that names the step and what was said."""
    async with living(tmp_path, host=Refusing(), ready=False) as rig:
        with pytest.raises(InitFailed, match="Operation not permitted"):
            await rig.run

    assert list(read(tmp_path))[-1].events[-1] == ev.InitFailed("host", "", "Operation not permitted")


@pytest.mark.spec("DM-62")
async def test_what_the_host_was_asked_is_kept(tmp_path: Path) -> None:
    """The recorder says yes to all of it, and that it knows no links, so that no row is judged by one."""
    host = HostRecorder()
    async with living(tmp_path, host=host):
        asked = [type(call).__name__ for call in host.asked]

    assert asked == ["SetUpHost"]
    assert await host.links() == LinksView(known=False)


class Door:
    """A door that says when it was opened and closed."""

    def __init__(self, name: str, log: list[str], daemon: list[Daemon]) -> None:
        self._name = name
        self._log = log
        self._daemon = daemon

    async def open(self) -> None:
        self._log.append(f"{self._name} opens in phase {self._daemon[0].state.phase}")

    async def close(self, grace: float) -> None:
        self._log.append(f"{self._name} closes")


@pytest.mark.spec("INIT-1", "RPC-6")
async def test_http_opens_before_init_and_grpc_after_it(tmp_path: Path) -> None:
    """No AddNetwork meets a half-made State. They close in the opposite order."""

    clock = SystemClock()
    cloud = EmbeddedCloud.open(tmp_path, clock=clock.now, sleep=clock.sleep)
    journal = Journal.open(tmp_path / "journal")
    start = Start(PREFIXES, await cloud.node(), 1)
    daemon = Daemon(journal, recovered(journal, print), cloud, HostRecorder(), clock, start)
    log: list[str] = []

    def ready() -> None:
        log.append("ready")
        daemon.terminate()

    await daemon.run((Door("http", log, [daemon]),), (Door("grpc", log, [daemon]),), ready)

    assert log == ["http opens in phase new", "grpc opens in phase ready", "ready", "grpc closes", "http closes"]
