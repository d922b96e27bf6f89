"""Group commit: answered means on disk, and one fsync serves all who wait."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from threading import Semaphore

import pytest

from ipamd.journal.disk import Disk
from ipamd.journal.journal import Journal
from ipamd.journal.reading import bounds, read
from ipamd.journal.segments import list_segments

from .samples import assigned

ROOT = Path(__file__).resolve().parents[2]


class SlowDisk(Disk):
    """A disk whose every sync waits for a permit of the test; it counts what it did."""

    def __init__(self, permits: int = 0) -> None:
        self.syncs = 0
        self.writes: list[int] = []
        self.entered = Semaphore(0)
        self.permits = Semaphore(permits)

    def write(self, fd: int, payload: bytes) -> None:
        self.writes.append(payload.count(b"\n"))
        super().write(fd, payload)

    def sync(self, fd: int) -> None:
        self.syncs += 1
        self.entered.release()
        assert self.permits.acquire(timeout=20)
        super().sync(fd)


async def a_sync_runs(disk: SlowDisk) -> None:
    """Returns once the disk has begun a sync that was not waited for yet."""
    assert await asyncio.to_thread(disk.entered.acquire, timeout=20)


@pytest.mark.asyncio
async def test_one_fsync_serves_every_record_staged_while_another_ran(tmp_path: Path) -> None:
    """While the first fsync runs fifty more callers come: two fsyncs in all, and nobody is answered early."""
    disk = SlowDisk()
    journal = Journal.open(tmp_path, disk=disk)
    journal.start()
    first = asyncio.ensure_future(journal.durable(journal.stage(assigned(1))))
    await a_sync_runs(disk)

    others = [asyncio.ensure_future(journal.durable(journal.stage(assigned(seq)))) for seq in range(2, 52)]
    await asyncio.sleep(0)
    during_first = [future.done() for future in (first, *others)]
    disk.permits.release()
    await first
    await a_sync_runs(disk)
    during_second = [future.done() for future in others]
    disk.permits.release()
    await asyncio.gather(*others)

    assert not any(during_first) and not any(during_second)
    assert (disk.syncs, disk.writes) == (2, [1, 50])
    assert journal.durable_seq == bounds(tmp_path).last_seq == 51
    journal.close()


@pytest.mark.asyncio
async def test_callers_of_one_turn_of_the_loop_share_an_fsync(tmp_path: Path) -> None:
    """Sixty-four at once make one write and one fsync."""
    disk = SlowDisk(permits=99)
    journal = Journal.open(tmp_path, disk=disk)

    async def caller() -> int:
        seq = journal.stage(assigned(journal.next_seq))
        await journal.durable(seq)
        assert journal.durable_seq >= seq
        return seq

    journal.start()
    answered = await asyncio.gather(*(caller() for _ in range(64)))

    assert answered == list(range(1, 65))
    assert (disk.syncs, disk.writes) == (1, [64])
    journal.close()


@pytest.mark.asyncio
async def test_waiting_for_what_is_on_disk_already_returns_at_once(tmp_path: Path) -> None:
    """A repeated answer made no record: it waits for the newest staged one, which may be durable."""
    journal = Journal.open(tmp_path)
    journal.start()
    await journal.durable(0)
    await journal.durable(journal.stage(assigned(1)))

    with pytest.raises(StopIteration):
        journal.durable(journal.staged_seq).send(None)

    assert journal.durable_seq == 1
    journal.close()


@pytest.mark.asyncio
async def test_a_caller_who_gives_up_does_not_disturb_the_others(tmp_path: Path) -> None:
    """His record is kept all the same: it was decided."""
    disk = SlowDisk()
    journal = Journal.open(tmp_path, disk=disk)
    journal.start()
    waiting = [asyncio.ensure_future(journal.durable(journal.stage(assigned(seq)))) for seq in (1, 2, 3)]
    await a_sync_runs(disk)

    waiting[1].cancel()
    disk.permits.release(9)
    ended = await asyncio.gather(*waiting, return_exceptions=True)

    assert ended[0] is None and ended[2] is None and isinstance(ended[1], asyncio.CancelledError)
    assert len(list(read(tmp_path))) == 3
    journal.close()


@pytest.mark.asyncio
async def test_a_record_that_nobody_waits_for_is_written_too(tmp_path: Path) -> None:
    """Closing writes what is staged, also while a batch is on its way."""
    disk = SlowDisk()
    journal = Journal.open(tmp_path, disk=disk)
    journal.start()
    journal.stage(assigned(1))
    await a_sync_runs(disk)
    journal.stage(assigned(2))
    late = asyncio.ensure_future(journal.durable(2))
    await asyncio.sleep(0)

    disk.permits.release(9)
    journal.close()

    assert [record.seq for record in read(tmp_path)] == [1, 2]
    await late
    assert journal.durable_seq == 2


@pytest.mark.asyncio
async def test_segments_rotate_under_load(tmp_path: Path) -> None:
    """A batch that does not fit into a segment goes on in the next; each is synced before it is left."""
    journal = Journal.open(tmp_path, segment_bytes=5_000)
    journal.start()

    async def caller() -> None:
        for _ in range(20):
            await journal.durable(journal.stage(assigned(journal.next_seq)))

    await asyncio.gather(*(caller() for _ in range(10)))
    journal.close()

    assert len(list_segments(tmp_path)) > 20
    assert [record.seq for record in read(tmp_path)] == list(range(1, 201))


def test_without_a_loop_flush_writes_what_is_staged(tmp_path: Path) -> None:
    """The simulator's way: nothing on disk before, everything after."""
    journal = Journal.open(tmp_path, sync=False)
    journal.stage(assigned(1))
    journal.stage(assigned(2))
    before = journal.durable_seq

    journal.flush()

    assert (before, journal.durable_seq, bounds(tmp_path).last_seq) == (0, 2, 2)
    journal.close()


WRITER = """
import asyncio, sys
from ipamd.journal.journal import Journal
from tests.journal.samples import assigned

async def main():
    journal = Journal.open(sys.argv[1], segment_bytes=20_000)
    journal.start()
    async def caller():
        while True:
            seq = journal.stage(assigned(journal.next_seq))
            await journal.durable(seq)
            sys.stdout.write(f"{seq}\\n")
            sys.stdout.flush()
    await asyncio.gather(*(caller() for _ in range(8)))

asyncio.run(main())
"""


def test_a_killed_writer_loses_nothing_that_it_answered(tmp_path: Path) -> None:
    """SIGKILL amid eight callers, several times over one journal: every answered record is there again."""
    answered = 0
    for rounds in (50, 200, 333):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        for _ in range(rounds):
            answered = max(answered, int(writer.stdout.readline()))
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().splitlines(keepends=True)
        answered = max([answered, *(int(line) for line in rest if line.endswith("\n"))])
        writer.wait(20)
        writer.stdout.close()

        journal = Journal.open(tmp_path)
        assert journal.recovery.last_seq >= answered
        assert [record.seq for record in journal.records()] == list(range(1, journal.recovery.last_seq + 1))
        journal.close()
