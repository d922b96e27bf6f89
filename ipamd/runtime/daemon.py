"""One node's daemon: everything that runs, in the order in which it begins and ends.

    open the journal -> fold it -> open the cloud -> early doors (HTTP) -> Start -> node init -> NodeReady
        -> late doors (gRPC, RPC-6) -> ready ... SIGTERM -> Terminate -> late doors answer what has begun, and close
        -> early doors close -> the clockwork stops -> sync, snapshot, close

What ends it otherwise is raised from `run`: a journal or a cloud whose disk failed, node init, a door that cannot
open, a bug. The rooms above are known here only as `Door`s, records and callables.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from ipamd.core import events as ev
from ipamd.core.calls import Outcome
from ipamd.core.commands import Start, Terminate
from ipamd.core.state import State
from ipamd.core.types import CallId
from ipamd.ec2.port import Ec2
from ipamd.journal.archive import archive
from ipamd.journal.errors import JournalError
from ipamd.journal.journal import Journal
from ipamd.journal.retention import KEEP, Keep

from .clock import Clock
from .datastore import SNAPSHOT_EVERY, Datastore
from .driver import Driver
from .hostnet import Host
from .performer import CALL_TIMEOUT, Performer
from .tasks import Tasks

ANSWER_SECONDS: Final = 0.8
"""How long a door may take to answer what it has begun, once the process is to end."""
PARTING_SECONDS: Final = 0.2
"""The same for the other doors."""
SNAPSHOT_SECONDS: Final = 0.6
"""How long the last snapshot may take; without it the next start folds more records."""


class InitFailed(Exception):
    """A fatal step of node init failed (INIT-17..33)."""

    def __init__(self, event: ev.InitFailed) -> None:
        said = ": ".join(part for part in (event.code, event.message) if part) or "no reason given"
        super().__init__(f"node init failed at step {event.step!r}: {said}; put it right, then start again")
        self.step = event.step
        self.code = event.code


class Door(Protocol):
    """Something that serves others."""

    async def open(self) -> None:
        """Begin to serve; raises what the room above knows to explain."""
        ...

    async def close(self, grace: float) -> None:
        """Take nothing new, answer what has begun within `grace` seconds, and end. Closed already: nothing."""
        ...


class Limits(msgspec.Struct, frozen=True):
    """What a daemon may take."""

    call_timeout: float = CALL_TIMEOUT
    """Seconds for one EC2 request."""
    snapshot_every: int = SNAPSHOT_EVERY
    """Records between two snapshots."""
    keep: Keep = KEEP
    """History that is kept."""


def journal_of(
    instance: str, journal: Journal, state: State, warn: Callable[[str], None]
) -> tuple[Journal, State, Path | None]:
    """The journal and State of this instance. Another instance's history is set aside, and its new place is given.

    Raises JournalError.
    """
    if not state.node.instance or state.node.instance == instance:
        return journal, state, None
    journal.close()
    aside = archive(journal.directory)
    return Journal.open(journal.directory, warn=warn), State(), aside


class Daemon:
    """The clockwork of one node. `run` once; `terminate` at any time; `datastore.submit` while it runs."""

    def __init__(
        self,
        journal: Journal,
        state: State,
        cloud: Ec2,
        host: Host,
        clock: Clock,
        start: Start,
        *,
        limits: Limits | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        limits = limits or Limits()
        self.journal = journal
        self.datastore = Datastore(
            journal,
            state,
            clock,
            start.node.instance,
            snapshot_every=limits.snapshot_every,
            keep=limits.keep,
            warn=warn,
        )
        self._cloud = cloud
        self._start = start
        self._warn = warn
        self.datastore.on_bug = self._fail
        self.tasks = Tasks(self._fail)
        self.performer = Performer(cloud, host, self.tasks, self._settled, limits.call_timeout)
        self.performer.ipv6 = start.settings.ipv6
        self.driver = Driver(self.datastore, clock, self.performer, self.tasks.spawn, self._fail)
        for tell in (self.performer.on_record, self.driver.on_record, self._on_record):
            self.datastore.subscribe(tell)
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def state(self) -> State:
        """What is true now; to be read, never changed."""
        return self.datastore.state

    async def run(self, early: Sequence[Door], late: Sequence[Door], on_ready: Callable[[], None]) -> None:
        """Serve until `terminate`; then end in order. Raises what ended it otherwise."""
        opened: list[Door] = []
        try:
            self.journal.on_failure = self._fail
            self.journal.start()
            self.tasks.spawn(self.datastore.publish(), "publish")
            for door in early:
                opened.append(door)
                await door.open()
            self.driver.tell(self._start)
            await asyncio.wait((self._ready, self._over), return_when=asyncio.FIRST_COMPLETED)
            if not self._over.done():
                for door in late:
                    opened.append(door)
                    await door.open()
                on_ready()
            await self._over
            await self._end(opened)
        except BaseException:
            await self._break_off(opened)
            raise

    def terminate(self) -> None:
        """SIGTERM: nothing is attached or freed any more, and the process ends, unless upstream is followed (RPC-8)."""
        self.driver.tell(Terminate())
        if not self._start.settings.quirks.keeps_serving_after_sigterm and not self._over.done():
            self._over.set_result(None)

    def _fail(self, error: BaseException) -> None:
        """The first thing that went wrong ends the process."""
        if not self._over.done():
            self._over.set_exception(error)

    def _settled(self, call_id: CallId, outcome: Outcome) -> None:
        self.driver.settled(call_id, outcome)

    def _on_record(self, record: ev.Record) -> None:
        for event in record.events:
            if type(event) is ev.NodeReady and not self._ready.done():
                self._ready.set_result(None)
            elif type(event) is ev.InitFailed:
                self._fail(InitFailed(event))

    async def _end(self, opened: list[Door]) -> None:
        """In order, and each step within its time: everything that was answered is on disk already."""
        grace = ANSWER_SECONDS
        for door in reversed(opened):  # gRPC first: it alone answers what must not be lost
            await door.close(grace)
            grace = PARTING_SECONDS
        self.driver.close()
        await self.tasks.cancel()
        await self.datastore.flush()
        try:
            async with asyncio.timeout(SNAPSHOT_SECONDS):
                await self.datastore.snapshot()
        except TimeoutError:
            self._warn("no time was left for a snapshot; the next start folds the records since the last one")
        self.journal.close()
        await self._cloud.close()

    async def _break_off(self, opened: list[Door]) -> None:
        """Let go of everything; what is wrong is on its way to the caller already."""
        self.driver.close()
        for door in reversed(opened):
            await door.close(PARTING_SECONDS)
        await self.tasks.cancel()
        try:
            self.journal.close()
        except JournalError:
            pass  # it is what is being raised, or follows from it
        await self._cloud.close()
