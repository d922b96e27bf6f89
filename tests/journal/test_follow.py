"""Following a journal: every record once, in order, whatever happens to the files."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ipamd.journal.archive import archive
from ipamd.journal.errors import JournalDamaged, JournalMissing, UnknownVersion
from ipamd.journal.follow import Follower, follow
from ipamd.journal.journal import Journal
from ipamd.journal.record import decode, encode, seal
from ipamd.journal.retention import Keep
from ipamd.journal.segments import list_segments

from .samples import START, extend, varied, write

FIRST = "00000000000000000001.jsonl"


def seqs(follower: Follower) -> list[int]:
    """The seqs of all that is new."""
    found: list[int] = []
    while lines := follower.poll():
        found += [decode(line).seq for line in lines]
    return found


def test_new_records_come_as_they_are_written_across_segments(tmp_path: Path) -> None:
    """First what is there, then what is added, over many rotations; nothing twice."""
    write(tmp_path, 10, segment_bytes=3_000)
    follower = Follower(tmp_path)

    first, nothing = seqs(follower), seqs(follower)
    extend(tmp_path, 60, segment_bytes=3_000)
    added = seqs(follower)
    follower.close()

    assert (first, nothing, added) == (list(range(1, 11)), [], list(range(11, 61)))
    assert len(list_segments(tmp_path)) > 8


def test_following_begins_where_it_is_asked_to(tmp_path: Path) -> None:
    """At a record, at one that is yet to come, or with new ones only."""
    write(tmp_path, 30, segment_bytes=6_000)
    followers = [Follower(tmp_path, start) for start in (25, 33, -1)]

    before = [seqs(f) for f in followers]
    extend(tmp_path, 34, segment_bytes=6_000)
    after = [seqs(f) for f in followers]

    assert before == [list(range(25, 31)), [], []]
    assert after == [[31, 32, 33, 34], [33, 34], [31, 32, 33, 34]]
    for follower in followers:
        follower.close()


def test_a_partial_line_is_given_when_it_is_whole(tmp_path: Path) -> None:
    """Or not at all: a restart may cut it off and write another record in its place."""
    write(tmp_path, 3)
    path = tmp_path / FIRST
    follower = Follower(tmp_path, -1)
    with path.open("ab") as file:
        file.write(encode(varied(5))[:30])

    partial = seqs(follower)
    extend(tmp_path, 4)
    whole = follower.poll()

    assert (partial, whole) == ([], [encode(varied(4))])
    follower.close()


def test_an_empty_journal_is_followed_from_its_first_record(tmp_path: Path) -> None:
    """Also where only new records are wanted: all will be."""
    Journal.open(tmp_path).close()
    follower = Follower(tmp_path, -1)

    before = seqs(follower)
    write(tmp_path, 3)

    assert (before, seqs(follower)) == ([], [1, 2, 3])
    follower.close()


def test_following_goes_on_with_the_journal_that_takes_the_place(tmp_path: Path) -> None:
    """Another instance archives the journal and begins afresh: its record 1 comes next."""
    write(tmp_path / "journal", 5)
    follower = Follower(tmp_path / "journal")
    first = seqs(follower)

    archive(tmp_path / "journal")
    gone = seqs(follower)
    write(tmp_path / "journal", 3)

    assert (first, gone, seqs(follower)) == ([1, 2, 3, 4, 5], [], [1, 2, 3])
    follower.close()


def test_records_dropped_before_they_were_followed_are_named(tmp_path: Path) -> None:
    """A follower who is slower than retention is told, not shown a gap."""
    write(tmp_path, 40, segment_bytes=3_000)
    journal = Journal.open(tmp_path, sync=False)
    journal.snapshot_now(40, START, b"{}")
    follower = Follower(tmp_path, 2)
    follower.poll()

    journal.retain_now(Keep(size=0), START)

    with pytest.raises(JournalMissing, match=r"records \d+ to \d+ were dropped before they were read"):
        seqs(follower)
    follower.close()
    journal.close()


def test_damage_and_newer_formats_are_named_with_file_and_line(tmp_path: Path) -> None:
    """A whole line that is wrong is not waited for."""
    write(tmp_path, 2)
    path = tmp_path / FIRST
    good = path.read_bytes()
    follower = Follower(tmp_path, -1)

    path.write_bytes(good + encode(varied(3)).replace(b"10.0.", b"10.1.").replace(b"Refused", b"refused"))
    with pytest.raises(JournalDamaged, match="line 3: CRC is"):
        follower.poll()
    path.write_bytes(good + seal(encode(varied(3))[:-19].replace(b'{"v":1', b'{"v":9')))
    with pytest.raises(UnknownVersion, match="line 3: written in format 9"):
        follower.poll()
    follower.close()


def test_a_line_of_several_mebibytes_comes_whole(tmp_path: Path) -> None:
    """Length is no matter."""
    line = seal(encode(varied(1))[:-19].replace(b'"node":"', b'"node":"' + b"n" * (3 << 20)))
    (tmp_path / FIRST).write_bytes(line)
    follower = Follower(tmp_path)

    assert follower.poll() == [line]
    follower.close()


@pytest.mark.asyncio
async def test_the_asynchronous_form_gives_the_same_lines(tmp_path: Path) -> None:
    """Lines that are there, then one that a running journal adds."""
    write(tmp_path, 3)
    journal = Journal.open(tmp_path)
    journal.start()
    found: list[int] = []

    async def listen() -> None:
        async for line in follow(tmp_path, 2, interval_s=0.001):
            found.append(decode(line).seq)
            if found == [2, 3]:
                await journal.durable(journal.stage(varied(4)))
            if len(found) == 3:
                return

    await asyncio.wait_for(listen(), 20)

    assert found == [2, 3, 4]
    journal.close()
