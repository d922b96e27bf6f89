"""The journal of one daemon: open, stage, durable, snapshot, close.

    journal = Journal.open(directory)
    snapshot = journal.starting_snapshot()     # fold it, and the records after it
    journal.start()                            # in the event loop
    seq = journal.stage(record)                # no await between decide, stage and evolve
    await journal.durable(seq)                 # then, and only then, answer or perform

Stage before evolve: `stage` either takes the record or raises and leaves everything as it was. Without `start`
(the simulator, tests) `flush` writes what is staged.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from ipamd.core.events import Record
from ipamd.core.types import Instant

from .append import SEGMENT_BYTES, Appender
from .commit import GroupCommit
from .disk import Disk
from .errors import JournalClosed, JournalFailed
from .lock import Lock
from .reading import read, starting_snapshot
from .record import encode
from .recovery import Recovery, recover
from .retention import Dropped, Keep, retain
from .segments import list_snapshots
from .snapshots import Snapshot, Warn, write_snapshot

_FLUSH_BYTES = 1 << 20


def _silent(_: str) -> None:
    """No one asked to be warned."""


class Journal:
    """The only writer of a journal directory. Not for several threads: stage and durable belong to one loop.

    `failure` is set once the disk refused; from then on `stage` raises it. `on_failure`, if set, is called once,
    on the loop, so that a process whose records nobody awaits learns of it too.
    """

    def __init__(
        self, directory: Path, lock: Lock, recovery: Recovery, appender: Appender, warn: Warn = _silent
    ) -> None:
        self.directory = directory
        self.recovery = recovery
        self.failure: Exception | None = None
        self.on_failure: Callable[[Exception], None] | None = None
        self.last_at = recovery.last_at
        snapshots = list_snapshots(directory)
        self.snapshot_seq = snapshots[-1].seq if snapshots else 0
        """The record of the newest snapshot; 0: there is none. How far back a start must fold."""
        self._staged = recovery.last_seq
        self._durable = recovery.last_seq
        self._lock = lock
        self._appender = appender
        self._warn = warn
        self._lines: list[bytes] = []
        self._bytes = 0
        self._commit: GroupCommit | None = None
        self._closed = False

    @classmethod
    def open(
        cls,
        directory: str | os.PathLike[str],
        *,
        segment_bytes: int = SEGMENT_BYTES,
        sync: bool = True,
        disk: Disk | None = None,
        warn: Warn = _silent,
    ) -> Journal:
        """Locks, checks and recovers the journal in `directory`, which is made if it is not there.

        `sync` False writes records and snapshots without fsync: for simulations only. Raises JournalLocked,
        JournalDamaged, UnknownVersion, or JournalFailed where the directory cannot be used.
        """
        place = Path(directory)
        disk = disk or Disk()
        try:
            missing = [path for path in (place, *place.parents) if not path.exists()]
            place.mkdir(parents=True, exist_ok=True)
            for path in missing if sync else []:
                disk.sync_directory(path.parent)
        except OSError as error:
            raise JournalFailed.of(place, "making the journal directory", error) from error
        lock = Lock(place)
        try:
            recovery = recover(place, disk, warn)
            appender = Appender(place, disk, segment_bytes, sync)
            appender.resume(recovery.path, recovery.size, recovery.last_seq + 1)
        except BaseException:
            lock.release()
            raise
        return cls(place, lock, recovery, appender, warn)

    @property
    def staged_seq(self) -> int:
        """The newest record taken. The next one must have this seq + 1."""
        return self._staged

    @property
    def durable_seq(self) -> int:
        """The newest record on disk."""
        return self._commit.durable if self._commit is not None else self._durable

    @property
    def next_seq(self) -> int:
        """The seq the next record must have."""
        return self._staged + 1

    def stage(self, record: Record) -> int:
        """Takes the next record and gives back its seq; does not wait. Raises the JournalFailed that came before."""
        self._refuse_if_over()
        assert record.seq == self._staged + 1, f"record {record.seq} after record {self._staged}"
        assert record.at >= self.last_at, f"record {record.seq}: time runs back from {self.last_at} to {record.at}"
        line = encode(record)
        self._staged = record.seq
        self.last_at = record.at
        if self._commit is not None:
            self._commit.add(line)
            return record.seq
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes >= _FLUSH_BYTES:
            self.flush()
        return record.seq

    def start(self) -> None:
        """Turns group commit on, in the running event loop. What was staged before is flushed first."""
        if self._commit is None:
            self.flush()
            loop = asyncio.get_running_loop()
            self._commit = GroupCommit(loop, self._appender.append, self._durable, self._failed)

    async def durable(self, seq: int) -> None:
        """Returns once record `seq` (and so every earlier one) is on disk. Raises JournalFailed."""
        if seq <= self.durable_seq:
            return
        if self._commit is None:
            self.start()
            assert self._commit is not None
        if seq > self._commit.durable:
            await self._commit.wait(seq)

    def flush(self) -> None:
        """Writes everything staged and waits for the disk. Only without group commit. Raises JournalFailed."""
        assert self._commit is None, "group commit is on: await durable() instead"
        self._refuse_if_over()
        if self._lines:
            try:
                self._appender.append(self._lines)
            except JournalFailed as error:
                self._failed(error)
                raise
            self._lines, self._bytes = [], 0
            self._durable = self._staged

    def starting_snapshot(self, accept: Callable[[Snapshot], bool] | None = None) -> Snapshot | None:
        """The newest good snapshot that `accept` takes; None: fold from record 1. See `reading.starting_snapshot`."""
        return starting_snapshot(self.directory, accept=accept, warn=self._warn)

    def records(self, start_seq: int = 0) -> Iterator[Record]:
        """The records on disk from `start_seq` on."""
        return read(self.directory, start_seq)

    async def snapshot(self, seq: int, at: Instant, state: bytes | msgspec.Raw) -> None:
        """Writes the State after record `seq` as a snapshot once that record is durable; does not block the loop."""
        await self.durable(seq)
        await asyncio.to_thread(write_snapshot, self.directory, seq, at, state, self._appender.disk)
        self.snapshot_seq = max(self.snapshot_seq, seq)

    def snapshot_now(self, seq: int, at: Instant, state: bytes | msgspec.Raw) -> None:
        """The same without an event loop: flushes first."""
        self.flush()
        write_snapshot(self.directory, seq, at, state, self._appender.disk, self._appender.waits)
        self.snapshot_seq = max(self.snapshot_seq, seq)

    async def retain(self, keep: Keep, now: Instant) -> Dropped:
        """Forgets what `keep` allows and no start needs; does not block the loop. See `retention.retain`."""
        return await asyncio.to_thread(retain, self.directory, keep, now, self._appender.disk, self._warn)

    def retain_now(self, keep: Keep, now: Instant) -> Dropped:
        """The same without an event loop."""
        return retain(self.directory, keep, now, self._appender.disk, self._warn)

    def close(self) -> None:
        """Writes what is staged (unless the disk refused before), ends the thread, lets go of files and lock.

        Blocks for at most the batch on its way and the last one; a disk that refuses now is told in `failure` and
        to those who wait, or without group commit raised. A second call does nothing.
        """
        if self._closed:
            return
        try:
            if self._commit is not None:
                self._commit.close()
            elif self.failure is None:
                self.flush()
        finally:
            self._closed = True
            self._appender.close()
            self._lock.release()

    def _refuse_if_over(self) -> None:
        if self.failure is not None:
            raise _fresh(self.failure)
        if self._closed:
            raise JournalClosed(f"{self.directory}: the journal is closed")

    def _failed(self, failure: Exception) -> None:
        self.failure = failure
        if self.on_failure is not None:
            self.on_failure(failure)


def _fresh(failure: Exception) -> Exception:
    """An exception of its own for each caller: tracebacks are not shared."""
    return failure.again() if isinstance(failure, JournalFailed) else failure
