"""A whole daemon without doors, in this process: real journal, embedded cloud, and a clock that is stepped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec.structs import replace

from ipamd.core import events as ev
from ipamd.core.commands import AddNetwork, Assigned, Start
from ipamd.core.settings import Settings
from ipamd.core.state import State
from ipamd.core.types import SECOND, Instant, Pod, Sandbox
from ipamd.ec2.embedded import CloudOptions, Crash, EmbeddedCloud
from ipamd.journal.disk import Disk
from ipamd.journal.journal import Journal
from ipamd.runtime.clock import ManualClock
from ipamd.runtime.daemon import Daemon, Limits
from ipamd.runtime.datastore import recovered
from ipamd.runtime.hostnet import Host, HostRecorder

EPOCH: Instant = 1_767_225_600 * SECOND
"""2026-01-01T00:00:00Z."""
PREFIXES = Settings(prefix_delegation=True, warm_prefix_target=1)
_PATIENCE = 20.0
"""Real seconds until a test gives up waiting."""


class Gate(Disk):
    """A disk whose syncs wait while the gate is shut, or fail once it is broken."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()
        self.broken: OSError | None = None

    def shut(self) -> None:
        """From now on nothing becomes durable."""
        self._open.clear()

    def open(self) -> None:
        """Let through what waits."""
        self._open.set()

    def sync(self, fd: int) -> None:
        """As slow as the test wants it."""
        assert self._open.wait(_PATIENCE), "the test left the gate shut"
        if self.broken is not None:
            raise self.broken
        super().sync(fd)


class Rig:
    """One tenure of one node."""

    def __init__(self, daemon: Daemon, cloud: EmbeddedCloud, clock: ManualClock, run: asyncio.Task[None]) -> None:
        self.daemon = daemon
        self.cloud = cloud
        self.clock = clock
        self.run = run
        self.records: list[ev.Record] = []
        """Durable ones of this tenure."""

    @property
    def state(self) -> State:
        return self.daemon.state

    @property
    def events(self) -> list[ev.Event]:
        return [event for record in self.records for event in record.events]

    async def quiet(self) -> None:
        """Until everything has come to rest that needs no time: disks, calls without latency, what follows."""
        async with asyncio.timeout(_PATIENCE):
            while self._moving():
                await asyncio.sleep(0)

    def _moving(self) -> bool:
        if self.run.done():
            return False
        return not self.daemon.datastore.quiet or self.daemon.tasks.names != ["publish"]

    async def advance(self, seconds: float) -> None:
        """Let time pass; what is due on the way happens, and comes to rest, at its instant."""
        until = self.clock.now() + round(seconds * SECOND)
        await self.quiet()
        while self.clock.advance(until):
            await self.quiet()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait, in real time, for something that needs no virtual time."""
        async with asyncio.timeout(_PATIENCE):
            while not condition():
                await asyncio.sleep(0)

    async def add(self, name: str) -> str:
        """The address a pod gets."""
        answer = await self.daemon.datastore.submit(AddNetwork(sandbox(name), Pod("default", name, 1)))
        assert isinstance(answer, Assigned), answer
        return answer.address


def sandbox(name: str) -> Sandbox:
    """The sandbox of a pod of this name."""
    return Sandbox("aws-cni", f"container-{name}", "eth0")


def held(state: State) -> dict[str, str]:
    """Container -> block of every sandbox that holds an address."""
    return {key.container: block.cidr for store in state.stores.values() for key, (block, _) in store.owners.items()}


@asynccontextmanager
async def living(
    directory: Path,
    settings: Settings = PREFIXES,
    *,
    cloud: CloudOptions | None = None,
    host: Host | None = None,
    limits: Limits | None = None,
    disk: Disk | None = None,
    clock: ManualClock | None = None,
    crash_at: Crash | None = None,
    max_pods: int | None = None,
    ready: bool = True,
) -> AsyncIterator[Rig]:
    """A node that is ready (unless `ready` is False); it ends as by SIGTERM, unless the test ended it before."""
    clock = clock or ManualClock(EPOCH)
    journal = Journal.open(directory / "journal", disk=disk)
    state = recovered(journal, lambda _: None)
    clock.not_before(state.at)
    options = cloud or CloudOptions(instance_type="m5.large")
    door = EmbeddedCloud.open(directory, options, clock=clock.now, sleep=clock.sleep, crash_at=crash_at)
    node = await door.node()
    if max_pods is not None:
        node = replace(node, max_pods=max_pods)
    start = Start(settings, node, 7)
    daemon = Daemon(journal, state, door, host or HostRecorder(), clock, start, limits=limits)
    is_ready = asyncio.Event()
    run = asyncio.create_task(daemon.run((), (), is_ready.set))
    rig = Rig(daemon, door, clock, run)
    daemon.datastore.subscribe(rig.records.append)
    try:
        if ready:
            await rig.until(lambda: is_ready.is_set() or run.done())
            await rig.quiet()
        yield rig
    finally:
        if not run.done():
            daemon.terminate()
        await asyncio.gather(run, return_exceptions=True)
