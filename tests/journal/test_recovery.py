"""What a crash leaves is mended, what decay does is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipamd.core.events import Record
from ipamd.journal.errors import JournalDamaged, JournalError, UnknownVersion
from ipamd.journal.journal import Journal
from ipamd.journal.reading import lines, read
from ipamd.journal.record import encode, seal
from ipamd.journal.scan import SECTOR
from ipamd.journal.segments import list_segments
from ipamd.journal.verify import verify

from .samples import extend, varied, write

FIRST = "00000000000000000001.jsonl"


def recovered(directory: Path) -> list[Record]:
    """The records that a start finds, and whether the journal can be written on afterwards."""
    journal = Journal.open(directory, sync=False)
    found = list(journal.records())
    assert journal.recovery.last_seq == len(found)
    journal.stage(varied(len(found) + 1))
    journal.close()
    assert [r.seq for r in read(directory)] == list(range(1, len(found) + 2))
    return found


def plant(directory: Path, content: bytes) -> Path:
    """A journal of one segment with this content."""
    path = directory / FIRST
    path.write_bytes(content)
    return path


def test_a_cut_anywhere_in_the_last_record_loses_that_record_or_nothing(tmp_path: Path) -> None:
    """At every byte: all records before the cut one are there, and the cut one only if all its bytes are."""
    content = b"".join(encode(varied(seq)) for seq in (1, 2, 3))
    whole = [varied(1), varied(2), varied(3)]
    begin = len(content) - len(encode(varied(3)))

    for cut in range(begin, len(content) + 1):
        plant(tmp_path, content[:cut])

        found = recovered(tmp_path)

        complete = cut >= len(content) - 1  # only the newline may be missing
        assert found == (whole if complete else whole[:2]), f"cut at byte {cut}"


@pytest.mark.parametrize("garbage", [b"x", b"\0" * 700, b'{"v":1,"seq":4,"at":17', b"\xff\xfe" * 50])
def test_garbage_after_the_last_newline_goes(tmp_path: Path, garbage: bytes) -> None:
    """Whatever follows the last whole line without ending in a newline is an unfinished write."""
    content = b"".join(encode(varied(seq)) for seq in (1, 2, 3))
    path = plant(tmp_path, content + garbage)

    journal = Journal.open(tmp_path, sync=False)

    assert journal.recovery.torn == len(garbage) and journal.recovery.last_seq == 3
    assert path.read_bytes() == content
    journal.close()


def test_one_flipped_bit_anywhere_in_a_middle_record_is_found(tmp_path: Path) -> None:
    """Every bit of every byte of record 2 of 3, its newline included: no start, no reading over it."""
    parts = [encode(varied(seq)) for seq in (1, 2, 3)]
    clean = b"".join(parts)

    for place in range(len(parts[0]), len(parts[0]) + len(parts[1])):
        for bit in range(8):
            spoilt = bytearray(clean)
            spoilt[place] ^= 1 << bit
            path = plant(tmp_path, bytes(spoilt))

            with pytest.raises(JournalDamaged, match=r"\.jsonl line 2: .*; restore the file from a copy"):
                Journal.open(tmp_path, sync=False)

            assert path.read_bytes() == spoilt, "a refused journal is left as it is"


def test_one_flipped_bit_in_a_middle_record_is_found_by_readers_too(tmp_path: Path) -> None:
    """Reading gives what is before and then the error; verifying names the line and counts the rest."""
    parts = [encode(varied(seq)) for seq in (1, 2, 3)]

    for place in range(len(parts[1])):
        spoilt = bytearray(parts[1])
        spoilt[place] ^= 1 << place % 8
        plant(tmp_path, parts[0] + bytes(spoilt) + parts[2])
        reader = read(tmp_path)

        assert next(reader) == varied(1)
        with pytest.raises(JournalDamaged):
            next(reader)
        report = verify(tmp_path)
        assert not report.ok and report.damage[0].line == 2 and report.torn == 0


def test_a_flipped_bit_in_the_last_record_never_loses_it_in_silence(tmp_path: Path) -> None:
    """It was answered: either it is read as it was written, or the start is refused."""
    parts = [encode(varied(seq)) for seq in (1, 2, 3)]
    refused = 0

    for place in range(len(parts[2])):
        for bit in range(8):
            spoilt = bytearray(parts[2])
            spoilt[place] ^= 1 << bit
            plant(tmp_path, parts[0] + parts[1] + bytes(spoilt))

            try:
                found = recovered(tmp_path)
            except JournalDamaged:
                refused += 1
            else:
                assert found == [varied(1), varied(2), varied(3)], f"byte {place} bit {bit}"

    assert refused == 8 * (len(parts[2]) - 1), "only a flipped newline can be put right"


def test_a_newline_lost_before_the_last_record_is_damage(tmp_path: Path) -> None:
    """Two lines that became one are no torn write, though nothing follows them."""
    first, second = encode(varied(1)), encode(varied(2))
    plant(tmp_path, first[:-1] + b"\x0b" + second)

    with pytest.raises(JournalDamaged, match=r"00000000000000000001.jsonl line 1: CRC is"):
        Journal.open(tmp_path, sync=False)


def test_blocks_that_never_reached_the_disk_are_torn(tmp_path: Path) -> None:
    """A batch whose first block stayed empty: the hole begins where the last synced record ended, so all goes."""
    synced = b"".join(encode(varied(seq)) for seq in (1, 2))
    batch = b"".join(encode(varied(seq)) for seq in range(3, 9))
    assert len(synced) % SECTOR
    hole = SECTOR - len(synced) % SECTOR
    plant(tmp_path, synced + b"\0" * hole + batch[hole:])

    assert recovered(tmp_path) == [varied(1), varied(2)]


def test_a_sector_missing_at_the_end_of_the_last_line_is_torn(tmp_path: Path) -> None:
    """A hole within the last line is an unfinished write, with its newline or without."""
    lines_ = [encode(varied(seq)) for seq in range(1, 40)]
    sizes = [sum(map(len, lines_[:n])) for n in range(40)]
    n = next(n for n in range(1, 39) if -(-sizes[n] // SECTOR) * SECTOR + SECTOR < sizes[n + 1])
    content = bytearray(b"".join(lines_[: n + 1]))
    hole = -(-sizes[n] // SECTOR) * SECTOR
    content[hole : hole + SECTOR] = b"\0" * SECTOR
    plant(tmp_path, bytes(content))

    assert recovered(tmp_path) == [varied(seq) for seq in range(1, n + 1)]


def test_a_sector_missing_before_good_records_is_damage(tmp_path: Path) -> None:
    """A hole that whole sectors make, with good lines after it, may be decay of what was durable: refused."""
    content = bytearray(b"".join(encode(varied(seq)) for seq in range(1, 12)))
    content[2 * SECTOR : 3 * SECTOR] = b"\0" * SECTOR
    plant(tmp_path, bytes(content))

    with pytest.raises(JournalDamaged, match=r"truncate -s \d+ "):
        Journal.open(tmp_path, sync=False)


def test_the_command_in_the_message_gives_up_the_damaged_record_and_what_follows(tmp_path: Path) -> None:
    """The remedy works as it is written."""
    write(tmp_path, 9)
    path = tmp_path / FIRST
    content = bytearray(path.read_bytes())
    content[sum(len(encode(varied(seq))) for seq in range(1, 6)) + 30] ^= 1
    path.write_bytes(content)
    with pytest.raises(JournalDamaged) as refused:
        Journal.open(tmp_path, sync=False)

    with path.open("r+b") as file:
        file.truncate(refused.value.offset)

    assert f"truncate -s {refused.value.offset} {path}" in str(refused.value)
    assert refused.value.line == 6
    assert recovered(tmp_path) == [varied(seq) for seq in range(1, 6)]


def test_an_empty_newest_segment_is_what_a_crash_after_rotation_leaves(tmp_path: Path) -> None:
    """Its name was made, its first record not yet: the next record goes there."""
    write(tmp_path, 4)
    (tmp_path / "00000000000000000005.jsonl").touch()

    extend(tmp_path, 6)

    assert [s.first_seq for s in list_segments(tmp_path)] == [1, 5]
    assert [r.seq for r in read(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_a_torn_first_line_of_the_newest_segment_goes(tmp_path: Path) -> None:
    """Also where nothing is left in it."""
    write(tmp_path, 4)
    (tmp_path / "00000000000000000005.jsonl").write_bytes(encode(varied(5))[:40])

    assert recovered(tmp_path) == [varied(seq) for seq in range(1, 5)]


def test_a_torn_line_in_an_older_segment_is_damage(tmp_path: Path) -> None:
    """Only the newest segment can have been written to when the power failed."""
    write(tmp_path, 12, segment_bytes=1500)
    older = list_segments(tmp_path)[0].path
    older.write_bytes(older.read_bytes()[:-7])

    with pytest.raises(JournalDamaged, match=r"does not end with its CRC.*remove the later segments"):
        Journal.open(tmp_path, sync=False)


@pytest.mark.parametrize("which", [0, 1])
def test_a_missing_segment_is_damage(tmp_path: Path, which: int) -> None:
    """`seq` has no gaps: neither at the beginning nor in the middle may a file be missing."""
    write(tmp_path, 20, segment_bytes=1500)
    list_segments(tmp_path)[which].path.unlink()

    with pytest.raises(JournalDamaged, match=r"restore (one of them|the missing segment) from a copy"):
        Journal.open(tmp_path, sync=False)


def test_a_record_out_of_its_place_is_damage(tmp_path: Path) -> None:
    """A line whose CRC is right but whose seq is not the next one."""
    plant(tmp_path, encode(varied(1)) + encode(varied(3)))

    with pytest.raises(JournalDamaged, match="line 2: seq 3 where record 2 belongs"):
        Journal.open(tmp_path, sync=False)


def test_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    """File, line, both versions and what to do; nothing is dropped, also where it is the last line."""
    newer = seal(encode(varied(2))[:-19].replace(b'{"v":1', b'{"v":2'))
    path = plant(tmp_path, encode(varied(1)) + newer)
    before = path.read_bytes()

    with pytest.raises(UnknownVersion, match=r"line 2: written in format 2, this ipamd reads up to format 1; use"):
        Journal.open(tmp_path, sync=False)

    assert path.read_bytes() == before


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(at=st.integers(0, 10**6), tail=st.sampled_from(["", "zeros", "prefix"]))
def test_a_crash_at_any_byte_leaves_a_journal_of_the_records_before_it(tmp_path: Path, at: int, tail: str) -> None:
    """A cut anywhere in the file, with or without what a file system may leave after it, keeps the whole lines."""
    whole = [encode(varied(seq)) for seq in range(1, 16)]
    content = b"".join(whole)
    cut = at % (len(content) + 1)
    left = content[:cut]
    if tail == "zeros":
        left += b"\0" * (-cut % 4096)
    elif tail == "prefix":
        left += b'{"v":1,"se'
    plant(tmp_path, left)

    found = recovered(tmp_path)

    kept = left[: left.rfind(b"\n") + 1].count(b"\n")
    assert len(found) in (kept, kept + 1)
    assert found == [varied(seq) for seq in range(1, len(found) + 1)]
    assert len(found) == kept or content[:cut].endswith(whole[kept][:-1])


def test_a_start_after_a_start_changes_nothing(tmp_path: Path) -> None:
    """What recovery mended once is clean the second time."""
    write(tmp_path, 5)
    path = tmp_path / FIRST
    path.write_bytes(path.read_bytes() + b'{"v":1')

    torn = []
    for _ in range(2):
        journal = Journal.open(tmp_path)
        torn.append(journal.recovery.torn)
        journal.close()

    assert torn == [6, 0]
    assert [line for line in lines(tmp_path)] == [encode(varied(seq)) for seq in range(1, 6)]


def test_an_empty_journal_begins_with_record_one(tmp_path: Path) -> None:
    """The directory is made with its parents, and holds no segment before the first record."""
    place = tmp_path / "state" / "journal"

    journal = Journal.open(place)

    assert (journal.next_seq, journal.durable_seq, journal.recovery.last_at) == (1, 0, 0)
    assert list_segments(place) == [] and verify(place).ok
    journal.close()


def test_time_and_seq_that_run_back_are_bugs_of_the_caller(tmp_path: Path) -> None:
    """An assertion, before anything is taken."""
    journal = Journal.open(tmp_path, sync=False)
    journal.stage(varied(1))

    with pytest.raises(AssertionError, match="record 3 after record 1"):
        journal.stage(varied(3))
    earlier = Record(1, 2, 5, "n", varied(2).cause, ())
    with pytest.raises(AssertionError, match="time runs back"):
        journal.stage(earlier)

    assert journal.staged_seq == 1
    journal.close()
    with pytest.raises(JournalError, match="the journal is closed"):
        journal.stage(varied(2))
