"""Segments rotate, and any record is found in them."""

from __future__ import annotations

import json
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from ipamd.journal.archive import archive
from ipamd.journal.errors import JournalDamaged, JournalFailed, JournalLocked, JournalMissing, NotARecord
from ipamd.journal.journal import Journal
from ipamd.journal.reading import Bounds, bounds, lines, read, seq_at
from ipamd.journal.record import encode, seal
from ipamd.journal.segments import list_segments, locate
from ipamd.journal.verify import verify

from .samples import NODE, START, address, extend, varied, write

MS = 1_000_000


def test_a_full_segment_is_followed_by_one_named_after_its_first_record(tmp_path: Path) -> None:
    """20 digits; no segment grows beyond the limit; no record is split or lost."""
    written = write(tmp_path, 200, segment_bytes=10_000)

    segments = list_segments(tmp_path)

    assert len(segments) > 5
    assert segments[0].path.name == "00000000000000000001.jsonl"
    assert all(s.path.stat().st_size <= 10_000 for s in segments)
    assert all(s.path.read_bytes().count(b"\n") == t.first_seq - s.first_seq for s, t in pairwise(segments))
    assert list(read(tmp_path)) == written


def test_a_record_larger_than_a_segment_has_one_of_its_own(tmp_path: Path) -> None:
    """The limit is about files, not about records."""
    write(tmp_path, 10, segment_bytes=1)

    assert [s.first_seq for s in list_segments(tmp_path)] == list(range(1, 11))
    assert verify(tmp_path).ok


def test_reading_starts_at_any_record(tmp_path: Path) -> None:
    """From each seq on, across segments and within large files; before the first means from the first."""
    written = write(tmp_path, 1200, segment_bytes=250_000)
    assert len(list_segments(tmp_path)) >= 2

    for start in [0, 1, 2, 399, 400, 401, 777, 1199, 1200, 1201, 5000]:
        found = list(read(tmp_path, start))

        assert found == written[max(start - 1, 0) :], f"from {start}"


def test_reading_far_into_a_large_file_touches_little_of_it(tmp_path: Path) -> None:
    """The place is found by halving, so damage far before it is not even seen."""
    write(tmp_path, 3000)
    path = list_segments(tmp_path)[0].path
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)

    assert next(read(tmp_path, 2900)) == varied(2900)
    with pytest.raises(JournalDamaged):
        next(read(tmp_path, 10))


def test_first_and_last_record_are_known_without_reading_between(tmp_path: Path) -> None:
    """Bounds of a journal, of an empty one, and of one whose newest segment is empty yet."""
    write(tmp_path / "full", 500, segment_bytes=100_000)
    size = sum(s.path.stat().st_size for s in list_segments(tmp_path / "full"))
    Journal.open(tmp_path / "empty", sync=False).close()

    found = bounds(tmp_path / "full")
    (tmp_path / "full" / "00000000000000000501.jsonl").touch()

    count = len(list_segments(tmp_path / "full")) - 1
    assert found == Bounds(1, 500, START + MS, START + 500 * MS, NODE, count, size)
    assert bounds(tmp_path / "full").last_seq == 500
    assert bounds(tmp_path / "empty") == Bounds(1, 0, 0, 0, "", 0, 0)


def test_an_instant_names_the_newest_record_up_to_then(tmp_path: Path) -> None:
    """Exactly at, between, before and after all records."""
    write(tmp_path, 900, segment_bytes=200_000)

    at = [START, START + MS - 1, START + MS, START + 400 * MS, START + 400 * MS + 7, START + 10**12]

    assert [seq_at(tmp_path, instant) for instant in at] == [0, 0, 1, 400, 400, 900]


def test_a_journal_is_named_by_its_state_directory_its_own_or_a_file(tmp_path: Path) -> None:
    """All three show the same records; a copied segment tells its first seq itself."""
    written = write(tmp_path / "journal", 40, segment_bytes=8_000)
    segment = list_segments(tmp_path / "journal")[1]
    copy = shutil.copy(segment.path, tmp_path / "copy.txt")

    assert list(read(tmp_path)) == list(read(tmp_path / "journal")) == written
    assert next(read(segment.path)).seq == next(read(copy)).seq == segment.first_seq
    assert verify(copy).ok


def test_where_no_journal_is_the_message_says_what_to_name(tmp_path: Path) -> None:
    """A path that does not exist, and a directory of something else."""
    with pytest.raises(JournalMissing, match=r"nowhere: does not exist; name a state directory"):
        locate(tmp_path / "nowhere")
    with pytest.raises(JournalMissing, match=r"holds neither segments \(\*.jsonl\) nor a directory journal/"):
        locate(tmp_path)


def test_a_line_of_a_foreign_writer_is_named(tmp_path: Path) -> None:
    """A sealed line that is no record of ours: `read` names the record, `verify` the line."""
    foreign = seal(b'{"v":1,"seq":2,"at":1,"node":"","cause":{"type":"Dance"},"events":[]')
    (tmp_path / "00000000000000000001.jsonl").write_bytes(encode(varied(1)) + foreign)

    with pytest.raises(NotARecord, match=r"record 2: .*Dance"):
        list(read(tmp_path))

    assert [(d.line, "Dance" in d.fact) for d in verify(tmp_path).damage] == [(2, True)]


def test_verify_reports_every_finding_not_only_the_first(tmp_path: Path) -> None:
    """Two flipped bits and a missing segment: three findings, and all good records counted."""
    write(tmp_path, 60, segment_bytes=6_000)
    segments = list_segments(tmp_path)
    for line in (2, 5):
        content = bytearray(segments[1].path.read_bytes())
        ends = [i for i, c in enumerate(content) if c == 10]
        content[ends[line - 2] + 20] ^= 4
        segments[1].path.write_bytes(content)
    segments[3].path.unlink()

    steps: list[tuple[int, int]] = []
    report = verify(tmp_path, progress=lambda done, total: steps.append((done, total)))

    lost = segments[4].first_seq - segments[3].first_seq
    assert [(d.file, d.line) for d in report.damage] == [
        (str(segments[1].path), 2),
        (str(segments[1].path), 5),
        (str(segments[4].path), 0),
    ]
    assert (report.records, report.last_seq, report.ok) == (60 - 2 - lost, 60, False)
    assert len(steps) == len(segments) - 1 and steps[-1][1] == report.size


def test_verify_says_when_time_runs_back(tmp_path: Path) -> None:
    """`at` never falls; a journal in which it does was not written by us."""
    earlier = encode(varied(3)).replace(b'"at":%d' % (START + 3 * MS), b'"at":%d' % START)[:-19]
    (tmp_path / "00000000000000000001.jsonl").write_bytes(
        encode(varied(1)) + encode(varied(2)) + seal(earlier) + encode(varied(4))
    )

    report = verify(tmp_path)

    assert [d.line for d in report.damage] == [3] and "time runs back" in report.damage[0].fact
    assert report.records == 3


def test_the_segment_of_a_running_daemon_is_read_up_to_its_last_whole_line(tmp_path: Path) -> None:
    """Readers take no lock and a line that is being written does not disturb them."""
    write(tmp_path, 5)
    journal = Journal.open(tmp_path, sync=False)
    with list_segments(tmp_path)[0].path.open("ab") as file:
        file.write(encode(varied(6))[:50])

    assert len(list(lines(tmp_path))) == 5
    assert (verify(tmp_path).ok, verify(tmp_path).torn) == (True, 50)
    journal.close()


def test_an_archived_journal_can_be_read_and_leaves_its_place_free(tmp_path: Path) -> None:
    """Moved beside, named after its last record; a second one of the same name finds a place too."""
    written = write(tmp_path / "journal", 9)

    first = archive(tmp_path / "journal")
    write(tmp_path / "journal", 9)
    second = archive(tmp_path / "journal")

    assert first == tmp_path / "journal-archive" / "20241121T230000Z-9"
    assert second.name == "20241121T230000Z-9-2"
    assert list(read(first)) == written
    assert not (tmp_path / "journal").exists()


def test_a_damaged_journal_can_be_archived_and_a_used_one_cannot(tmp_path: Path) -> None:
    """Setting aside is the way out of damage, but not under a running daemon."""
    write(tmp_path / "journal", 2)
    journal = Journal.open(tmp_path / "journal", sync=False)
    with pytest.raises(JournalLocked):
        archive(tmp_path / "journal")
    journal.close()
    path = list_segments(tmp_path / "journal")[0].path
    path.write_bytes(b"?" + path.read_bytes()[1:])

    assert archive(tmp_path / "journal").name == "damaged"


def test_archiving_what_is_not_there_is_refused(tmp_path: Path) -> None:
    """The path and the reason are named."""
    with pytest.raises(JournalFailed, match="No such file or directory"):
        archive(tmp_path / "journal")


def test_jq_reads_a_journal_unaided(tmp_path: Path) -> None:
    """Every line is one JSON object: jq selects by seq and by event."""
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    write(tmp_path, 30)
    query = 'select(.events[0].type=="AddressAssigned") | [.seq, .events[0].address]'

    out = subprocess.run(
        ["jq", "-c", query, *map(str, (s.path for s in list_segments(tmp_path)))],
        capture_output=True,
        check=True,
        timeout=20,
    )

    want = [[seq, address(seq)] for seq in range(2, 31) if seq % 7 in (5, 6)]
    assert [json.loads(line) for line in out.stdout.splitlines()] == want


def test_grep_finds_an_address_by_its_text(tmp_path: Path) -> None:
    """One fixed string, one line."""
    if shutil.which("grep") is None:
        pytest.skip("grep is not installed")
    write(tmp_path, 30)

    out = subprocess.run(
        ["grep", "-hF", '"address":"10.0.0.26"', str(list_segments(tmp_path)[0].path)],
        capture_output=True,
        check=True,
        timeout=20,
    )

    assert out.stdout == encode(varied(26))


def test_a_journal_goes_on_where_it_ended(tmp_path: Path) -> None:
    """Three tenures, one history."""
    for upto in (10, 25, 40):
        extend(tmp_path, upto, segment_bytes=9_000)

    assert list(read(tmp_path)) == [varied(seq) for seq in range(1, 41)]
