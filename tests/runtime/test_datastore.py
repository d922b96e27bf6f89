"""The single writer: an answer leaves only when all it rests on is on disk, and subscribers see what is."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from ipamd.core.commands import AddNetwork, Assigned
from ipamd.core.events import Record
from ipamd.core.snapshot import encode
from ipamd.core.state import State
from ipamd.core.types import SECOND
from ipamd.journal.errors import JournalFailed
from ipamd.journal.journal import Journal
from ipamd.journal.reading import read
from ipamd.journal.retention import Keep
from ipamd.journal.segments import list_snapshots
from ipamd.runtime import datastore
from ipamd.runtime.daemon import Limits
from ipamd.runtime.datastore import recovered
from tests.runtime.rig import Gate, living, sandbox

pytestmark = pytest.mark.asyncio


async def turns(count: int = 50) -> None:
    """Let the loop do whatever it can."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_an_answer_waits_for_its_record(tmp_path: Path) -> None:
    """State has moved on, but nobody hears of it before the disk has it."""
    gate = Gate()
    async with living(tmp_path, disk=gate) as rig:
        gate.shut()
        asked = asyncio.create_task(rig.daemon.datastore.submit(AddNetwork(sandbox("web"))))
        await turns()
        waiting = asked.done()
        told = rig.records[-1].seq
        gate.open()
        answer = await asked
        await rig.quiet()

        assert not waiting
        assert told == rig.state.seq - 1
        assert isinstance(answer, Assigned)
        assert rig.records[-1].seq == rig.state.seq


async def test_a_repeated_add_waits_for_the_first_ones_record(tmp_path: Path) -> None:
    """It makes no record of its own, so it rests on one that may not be durable yet."""
    gate = Gate()
    async with living(tmp_path, disk=gate) as rig:
        gate.shut()
        first = asyncio.create_task(rig.daemon.datastore.submit(AddNetwork(sandbox("web"))))
        await turns()
        again = asyncio.create_task(rig.daemon.datastore.submit(AddNetwork(sandbox("web"))))
        await turns()
        early = again.done()
        gate.open()
        answers = await asyncio.gather(first, again)

        assert not early
        assert [a.repeated for a in answers if isinstance(a, Assigned)] == [False, True]


async def test_one_sync_serves_all_that_was_staged_meanwhile(tmp_path: Path) -> None:
    """Group commit: thirty callers, far fewer syncs."""
    syncs = 0

    class Counting(Gate):
        def sync(self, fd: int) -> None:
            nonlocal syncs
            syncs += 1
            super().sync(fd)

    async with living(tmp_path, disk=Counting(), limits=Limits()) as rig:
        before = syncs
        await asyncio.gather(*(rig.add(f"p{i}") for i in range(15)))

        assert syncs - before <= 3


async def test_a_full_disk_ends_the_process_and_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    """Who waits hears JournalFailed, further requests are refused, `run` raises it with the remedy."""
    gate = Gate()
    async with living(tmp_path, disk=gate) as rig:
        kept = await rig.add("kept")
        gate.broken = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with pytest.raises(JournalFailed, match="No space left on device"):
            await rig.add("unanswered")
        with pytest.raises(JournalFailed, match="No space left on device"):
            await rig.add("kept")
        with pytest.raises(JournalFailed, match="free some space"):
            await rig.run
        gate.broken = None

    async with living(tmp_path) as rig:
        assert await rig.add("kept") == kept


async def test_records_are_told_once_in_order_and_complete(tmp_path: Path) -> None:
    """What subscribers saw is what the journal says."""
    async with living(tmp_path) as rig:
        await asyncio.gather(*(rig.add(f"p{i}") for i in range(12)))
        await rig.advance(20)

    assert rig.records == list(read(tmp_path))


async def test_snapshots_are_taken_by_count_and_stand_for_what_is_forgotten(tmp_path: Path) -> None:
    """After so many records State is written beside the journal; it equals the fold of all records before it."""
    async with living(tmp_path, limits=Limits(snapshot_every=10, keep=Keep(age_ns=3600 * SECOND))) as rig:
        for i in range(12):
            await rig.add(f"p{i}")
        await rig.quiet()
        taken = [file.seq for file in list_snapshots(tmp_path / "journal")]

        assert len(taken) >= 2
        assert taken[-1] <= rig.state.seq
        live = encode(rig.state)
        rig.run.cancel()
        await asyncio.gather(rig.run, return_exceptions=True)

    journal = Journal.open(tmp_path / "journal")
    assert encode(recovered(journal, lambda _: None)) == live
    journal.close()


async def test_a_bug_in_folding_ends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """State is half changed then: nobody is answered from it, though gRPC would have kept the exception to itself."""

    def broken(state: State, record: Record) -> None:
        raise AssertionError("an index lies")

    async with living(tmp_path) as rig:
        monkeypatch.setattr(datastore, "fold", broken)
        with pytest.raises(AssertionError, match="an index lies"):
            await rig.add("web")
        with pytest.raises(AssertionError, match="an index lies"):
            await rig.daemon.datastore.submit(AddNetwork(sandbox("other")))
        with pytest.raises(AssertionError, match="an index lies"):
            await rig.run


async def test_an_unreadable_snapshot_is_passed_over(tmp_path: Path) -> None:
    """It is only a short cut: the records are folded instead, and a warning says so."""
    async with living(tmp_path) as rig:
        await rig.add("web")
        live_seq = rig.state.seq
    newest = list_snapshots(tmp_path / "journal")[-1]
    journal = Journal.open(tmp_path / "journal")
    live = encode(recovered(journal, lambda _: None))
    journal.snapshot_now(newest.seq, 0, b'{"not":"a state"}')
    journal.close()
    warnings: list[str] = []

    journal = Journal.open(tmp_path / "journal")
    state = recovered(journal, warnings.append)
    journal.close()

    assert encode(state) == live
    assert state.seq == live_seq + 1  # Terminating
    assert any("passed over" in text for text in warnings)
