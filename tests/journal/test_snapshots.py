"""Snapshots are short cuts: a good one saves folding, a bad one costs nothing but time."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
from pathlib import Path

import msgspec
import pytest

from ipamd.journal.disk import Disk
from ipamd.journal.errors import JournalDamaged, JournalFailed, LineError
from ipamd.journal.journal import Journal
from ipamd.journal.reading import starting_snapshot
from ipamd.journal.record import seal
from ipamd.journal.segments import list_snapshots, snapshot_path
from ipamd.journal.snapshots import Snapshot, read_snapshot
from ipamd.journal.verify import verify

from .samples import START, varied

MS = 1_000_000


def journal_with_snapshots(directory: Path, seqs: tuple[int, ...], last: int = 30) -> None:
    """Records 1 to `last`, and a snapshot after each of `seqs` whose state says which it is."""
    journal = Journal.open(directory, sync=False)
    for seq in range(1, last + 1):
        journal.stage(varied(seq))
        if seq in seqs:
            journal.snapshot_now(seq, START + seq * MS, b'{"after":%d}' % seq)
    journal.close()


def test_a_snapshot_is_one_line_of_json_with_a_crc(tmp_path: Path) -> None:
    """jq reads it; the state is given back byte for byte."""
    state = b'{"text":",\\"crc\\":\\"00000000\\"}","n":[1,2,3]}'
    journal = Journal.open(tmp_path)
    journal.stage(varied(1))

    journal.snapshot_now(1, START, state)

    path = tmp_path / "snapshot-00000000000000000001.json"
    assert list(json.loads(path.read_bytes())) == ["v", "seq", "at", "state", "crc"]
    assert read_snapshot(list_snapshots(tmp_path)[0]) == Snapshot(1, START, msgspec.Raw(state))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00000000000000000001.jsonl", "lock", path.name]
    assert journal.snapshot_seq == 1
    journal.close()


@pytest.mark.asyncio
async def test_a_snapshot_is_written_after_its_record_is_durable(tmp_path: Path) -> None:
    """It may never be ahead of the journal; other callers go on meanwhile."""
    journal = Journal.open(tmp_path)
    journal.start()
    journal.stage(varied(1))

    await asyncio.gather(journal.snapshot(1, START, b"{}"), journal.durable(journal.stage(varied(2))))

    assert journal.durable_seq == 2 and [f.seq for f in list_snapshots(tmp_path)] == [1]
    journal.close()


def test_a_fold_begins_with_the_newest_snapshot(tmp_path: Path) -> None:
    """Or with the newest one up to the record that is asked for, or with none."""
    journal_with_snapshots(tmp_path, (10, 20))

    found = [starting_snapshot(tmp_path, upto=upto) for upto in (None, 30, 20, 19, 10, 9)]

    assert [s.seq if s else None for s in found] == [20, 20, 20, 10, 10, None]
    assert found[0] is not None and bytes(found[0].state) == b'{"after":20}'
    assert starting_snapshot(tmp_path, oldest=True) is None


def test_every_flipped_bit_in_a_snapshot_makes_it_passed_over(tmp_path: Path) -> None:
    """At every byte: the older one serves, and a warning names the file."""
    journal_with_snapshots(tmp_path, (10, 20))
    path = snapshot_path(tmp_path, 20)
    good = path.read_bytes()

    for place in range(len(good) - 1):
        spoilt = bytearray(good)
        spoilt[place] ^= 1 << place % 8
        path.write_bytes(spoilt)
        warnings: list[str] = []

        found = starting_snapshot(tmp_path, warn=warnings.append)

        assert found is not None and found.seq == 10, f"byte {place}"
        assert len(warnings) == 1 and str(path) in warnings[0]


def test_a_snapshot_cut_short_is_passed_over(tmp_path: Path) -> None:
    """A power failure may empty a file; without any good snapshot the fold begins with record 1."""
    journal_with_snapshots(tmp_path, (10, 20))
    for seq in (10, 20):
        snapshot_path(tmp_path, seq).write_bytes(b"")
    warnings: list[str] = []

    found = starting_snapshot(tmp_path, warn=warnings.append)
    report = verify(tmp_path)

    assert found is None and len(warnings) == 2
    assert (report.ok, report.snapshots, len(report.warnings)) == (True, (), 2)


def test_a_snapshot_under_a_wrong_name_or_of_a_newer_format_is_passed_over(tmp_path: Path) -> None:
    """What it says of itself must agree with where it lies, and must be readable."""
    journal_with_snapshots(tmp_path, (10, 20))
    snapshot_path(tmp_path, 20).rename(snapshot_path(tmp_path, 21))
    snapshot_path(tmp_path, 22).write_bytes(seal(b'{"v":2,"seq":22,"at":1,"state":{}'))
    snapshot_path(tmp_path, 23).write_bytes(seal(b'{"v":1,"what":1'))
    warnings: list[str] = []

    found = starting_snapshot(tmp_path, warn=warnings.append)

    assert found is not None and found.seq == 10
    assert ["not a snapshot" in warnings[0], "format 2" in warnings[1], "its name says 21" in warnings[2]] == [True] * 3


def test_a_caller_may_refuse_a_state_that_it_cannot_read(tmp_path: Path) -> None:
    """A State of an older shape is no loss while the records are there."""
    journal_with_snapshots(tmp_path, (10, 20))

    found = starting_snapshot(tmp_path, accept=lambda s: bytes(s.state) == b'{"after":10}')

    assert found is not None and found.seq == 10
    assert starting_snapshot(tmp_path, accept=lambda _: False) is None


def test_an_unfinished_snapshot_is_removed_on_opening(tmp_path: Path) -> None:
    """What a crash left under a temporary name is no snapshot."""
    journal_with_snapshots(tmp_path, (10,))
    left = tmp_path / "snapshot-00000000000000000020.json.tmp"
    left.write_bytes(b'{"v":1')

    Journal.open(tmp_path).close()

    assert not left.exists() and [f.seq for f in list_snapshots(tmp_path)] == [10]


def test_a_journal_that_ends_before_its_snapshot_has_lost_records(tmp_path: Path) -> None:
    """A snapshot is written after its records are durable: the start is refused, not continued with a gap."""
    journal_with_snapshots(tmp_path, (20,))
    path = tmp_path / "00000000000000000001.jsonl"
    whole = path.read_bytes().splitlines(keepends=True)

    path.write_bytes(b"".join(whole[:15]))
    with pytest.raises(JournalDamaged, match="snapshot of record 20, but the journal ends with record 15"):
        Journal.open(tmp_path)
    assert ["ends with record 15" in found.fact for found in verify(tmp_path).damage] == [True]
    path.unlink()
    with pytest.raises(JournalDamaged, match="snapshot of record 20, but the journal ends with record 0"):
        Journal.open(tmp_path)
    assert not verify(tmp_path).ok


def test_a_last_record_cut_at_any_byte_is_dropped_with_its_snapshot(tmp_path: Path) -> None:
    """An orderly end leaves a snapshot of the last record; cut, that record is lost as any torn one, and no other."""
    journal_with_snapshots(tmp_path / "whole", (10, 20), last=20)
    whole = (tmp_path / "whole" / "00000000000000000001.jsonl").read_bytes()
    begins = whole.rindex(b"\n", 0, -1) + 1

    for cut in range(begins, len(whole) - 1):
        place = tmp_path / str(cut)
        shutil.copytree(tmp_path / "whole", place)
        os.truncate(place / "00000000000000000001.jsonl", cut)
        assert verify(place).ok and len(verify(place).warnings) == 1
        warnings: list[str] = []
        journal = Journal.open(place, warn=warnings.append)

        found = journal.starting_snapshot()

        assert (journal.recovery.last_seq, journal.snapshot_seq, found and found.seq) == (19, 10, 10)
        assert ["set aside" in text for text in warnings if "snapshot" in text] == [True]
        journal.close()


def test_a_file_that_is_no_snapshot_has_an_error_that_says_so(tmp_path: Path) -> None:
    """Reading one directly raises what is wrong with it."""
    snapshot_path(tmp_path, 5).write_bytes(b"hello\n")

    with pytest.raises(LineError, match="does not end with its CRC"):
        read_snapshot(list_snapshots(tmp_path)[0])


class FullDisk(Disk):
    """No room for snapshots."""

    def write(self, fd: int, payload: bytes) -> None:
        if b'"state":' in payload:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(fd, payload)


def test_a_snapshot_that_does_not_fit_leaves_nothing_behind(tmp_path: Path) -> None:
    """The error names file and remedy, the room is given back, and the journal itself goes on."""
    journal = Journal.open(tmp_path, disk=FullDisk())
    journal.stage(varied(1))

    with pytest.raises(JournalFailed, match=r"snapshot-0{19}1.json: writing the snapshot failed: No space left"):
        journal.snapshot_now(1, START, b"{}")
    journal.stage(varied(2))
    journal.flush()

    assert sorted(p.name for p in tmp_path.iterdir()) == ["00000000000000000001.jsonl", "lock"]
    assert journal.durable_seq == 2 and journal.snapshot_seq == 0
    journal.close()
