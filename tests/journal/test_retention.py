"""Old history goes in whole segments, and never what a start would need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ipamd.journal.errors import JournalDamaged, JournalError
from ipamd.journal.journal import Journal
from ipamd.journal.reading import read, starting_snapshot
from ipamd.journal.retention import DAY_NS, KEEP, Dropped, Keep, parse_keep
from ipamd.journal.segments import list_segments, list_snapshots, segment_path, snapshot_path
from ipamd.journal.verify import verify

from .samples import START, varied

MS = 1_000_000
EVERYTHING = Keep(size=0)
"""Drop as much as may be dropped."""


def history(directory: Path, snapshots: tuple[int, ...] = (), last: int = 50) -> Journal:
    """Records 1 to `last`, ten a segment, and snapshots after the named ones."""
    for first in range(1, last + 1, 10):
        part = Journal.open(directory, sync=False)
        for seq in range(first, min(first + 10, last + 1)):
            part.stage(varied(seq))
            if seq in snapshots:
                part.snapshot_now(seq, START + seq * MS, b'{"after":%d}' % seq)
        part.close()
        if first + 10 <= last:
            segment_path(directory, first + 10).touch()
    journal = Journal.open(directory, sync=False)
    assert [s.first_seq for s in list_segments(directory)] == list(range(1, last + 1, 10))
    return journal


def run(journal: Journal, keep: Keep, now: int = START) -> Dropped:
    dropped = journal.retain_now(keep, now)
    journal.close()
    return dropped


def kept(directory: Path) -> tuple[list[int], list[int]]:
    """First seqs of the segments and seqs of the snapshots that are left."""
    return [s.first_seq for s in list_segments(directory)], [f.seq for f in list_snapshots(directory)]


@pytest.mark.parametrize(
    "text, keep",
    [
        ("1GiB", Keep(size=1 << 30)),
        ("500MB", Keep(size=500_000_000)),
        ("30d", Keep(age_ns=30 * DAY_NS)),
        ("12h", Keep(age_ns=DAY_NS // 2)),
        ("1GiB,30d", KEEP),
        (" 90m , 64 KiB ", Keep(64 << 10, 5_400_000_000_000)),
        ("all", Keep()),
    ],
)
def test_limits_are_written_as_sizes_and_ages(text: str, keep: Keep) -> None:
    """One of each kind at most; a kind that is not named has no limit."""
    assert parse_keep(text) == keep


@pytest.mark.parametrize("text", ["", "1", "GiB", "1XB", "-1GiB", "1GiB,2MB", "30d,", "1.5GiB", "9" * 40 + "d"])
def test_what_is_no_limit_is_refused_with_examples(text: str) -> None:
    """The text and what is wanted instead are named."""
    with pytest.raises(ValueError, match="want a size") as refused:
        parse_keep(text)

    assert repr(text) in str(refused.value)


def test_without_a_snapshot_nothing_goes(tmp_path: Path) -> None:
    """A start would have to fold from record 1."""
    dropped = run(history(tmp_path), EVERYTHING)

    assert dropped == Dropped((), (), 1)
    assert kept(tmp_path) == ([1, 11, 21, 31, 41], [])


def test_what_the_newest_good_snapshot_stands_for_may_go(tmp_path: Path) -> None:
    """Segments that end at or before it; the snapshots before the oldest kept record go with them."""
    dropped = run(history(tmp_path, (5, 15, 33)), EVERYTHING)

    assert kept(tmp_path) == ([31, 41], [33])
    assert dropped.first_seq == 31 and len(dropped.segments) == 3
    assert dropped.snapshots == (snapshot_path(tmp_path, 5), snapshot_path(tmp_path, 15))


def test_a_snapshot_at_the_end_of_a_segment_lets_that_segment_go(tmp_path: Path) -> None:
    """It stands exactly before the oldest kept record, and is kept for that."""
    run(history(tmp_path, (30,)), EVERYTHING)

    assert kept(tmp_path) == ([31, 41], [30])


def test_the_newest_segment_stays(tmp_path: Path) -> None:
    """Also when a snapshot stands for all of it: the journal goes on there."""
    run(history(tmp_path, (50,)), EVERYTHING)

    assert kept(tmp_path) == ([41], [50])
    journal = Journal.open(tmp_path)
    assert journal.next_seq == 51
    journal.close()


def test_a_damaged_snapshot_stands_for_nothing(tmp_path: Path) -> None:
    """Only what the older, good one covers may go."""
    journal = history(tmp_path, (12, 44))
    snapshot_path(tmp_path, 44).write_bytes(b"{}")

    run(journal, EVERYTHING)

    assert kept(tmp_path) == ([11, 21, 31, 41], [12, 44])


def test_no_more_goes_than_the_size_asks_for(tmp_path: Path) -> None:
    """The oldest go first, until segments and snapshots together fit."""
    journal = history(tmp_path, (15, 50))
    files = [s.path for s in list_segments(tmp_path)] + [f.path for f in list_snapshots(tmp_path)]
    total = sum(path.stat().st_size for path in files)
    first = list_segments(tmp_path)[0].path.stat().st_size

    run(journal, Keep(size=total - first - 1))

    assert kept(tmp_path) == ([21, 31, 41], [50])
    assert sum(p.stat().st_size for p in tmp_path.iterdir() if p.suffix in {".json", ".jsonl"}) <= total - first


def test_segments_go_by_the_age_of_their_newest_record(tmp_path: Path) -> None:
    """A segment is kept as long as the first record after it is young enough."""
    now = START + 31 * MS + DAY_NS

    run(history(tmp_path, (50,)), Keep(age_ns=DAY_NS), now)

    assert kept(tmp_path)[0] == [21, 31, 41]


def test_within_its_limits_nothing_goes(tmp_path: Path) -> None:
    """The default keeps a small, young journal whole, and no limit keeps everything."""
    journal = history(tmp_path, (50,))

    assert journal.retain_now(KEEP, START).segments == ()
    assert run(journal, Keep(), START + 10**18).segments == ()


def test_what_is_kept_can_be_lived_again_from_its_beginning(tmp_path: Path) -> None:
    """After any retention: a start, and a replay from the oldest snapshot, find all they need."""
    journal = history(tmp_path, (8, 20, 28, 47))
    files = [p for p in tmp_path.iterdir() if p.suffix in {".json", ".jsonl"}]
    oldest_two = sum(s.path.stat().st_size for s in list_segments(tmp_path)[:2])
    run(journal, Keep(size=sum(p.stat().st_size for p in files) - oldest_two))
    assert kept(tmp_path)[0] == [21, 31, 41]

    newest = starting_snapshot(tmp_path)
    oldest = starting_snapshot(tmp_path, oldest=True)

    assert newest is not None and newest.seq == 47
    assert oldest is not None and oldest.seq == 20
    assert [r.seq for r in read(tmp_path, oldest.seq + 1)] == list(range(21, 51))
    assert next(read(tmp_path)).seq == 21
    again = Journal.open(tmp_path)
    assert (again.recovery.first_seq, again.recovery.last_seq) == (21, 50)
    again.close()


def test_a_shortened_journal_whose_snapshots_are_all_bad_is_refused(tmp_path: Path) -> None:
    """Its State cannot be known; the remedy is named, for a start as for a fold."""
    run(history(tmp_path, (30,)), EVERYTHING)
    snapshot_path(tmp_path, 30).write_bytes(b"{}")

    with pytest.raises(JournalDamaged, match="records 1 to 30 are gone and no good snapshot of record 30 or later"):
        Journal.open(tmp_path)
    assert ["records 1 to 30 are gone" in found.fact for found in verify(tmp_path).damage] == [True]
    with pytest.raises(JournalDamaged, match="begins with record 31 and no good snapshot"):
        starting_snapshot(tmp_path)
    with pytest.raises(JournalError, match="name the journal directory instead of one file"):
        starting_snapshot(list_segments(tmp_path)[0].path)


def test_the_only_snapshot_of_a_shortened_journal_is_never_set_aside(tmp_path: Path) -> None:
    """With its last record cut such a journal is refused: State would not be known without the snapshot."""
    run(history(tmp_path, (50,)), EVERYTHING)
    newest = list_segments(tmp_path)[-1].path
    os.truncate(newest, newest.stat().st_size - 5)

    with pytest.raises(JournalDamaged, match="snapshot of record 50, but the journal ends with record 49"):
        Journal.open(tmp_path)
    assert kept(tmp_path)[1] == [50]


@pytest.mark.asyncio
async def test_retention_runs_beside_a_running_journal(tmp_path: Path) -> None:
    """Records staged meanwhile are kept, and a reader who comes too late is told."""
    journal = history(tmp_path, (50,))
    journal.start()
    reader = read(tmp_path)
    assert next(reader).seq == 1

    dropped = await journal.retain(EVERYTHING, START)
    await journal.durable(journal.stage(varied(51)))

    assert dropped.first_seq == 41
    with pytest.raises(JournalError, match="dropped while it was being read; read again"):
        list(reader)
    assert [r.seq for r in read(tmp_path)] == list(range(41, 52))
    journal.close()
