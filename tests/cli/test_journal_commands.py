"""`ipamd log`, and what every command says of journals: good, filtered, old, odd and damaged ones."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ipamd.cli import output
from ipamd.core.commands import AddNetwork, Assigned
from ipamd.core.events import AddressAssigned, CidrAdded, EniReady
from ipamd.core.reasons import REMEDIES
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND, Pod, Sandbox
from ipamd.journal.journal import Journal
from ipamd.journal.reading import bounds, lines, read
from ipamd.sim.scenario import Scenario, node
from ipamd.sim.settle import settle

from .conftest import Run


def records(text: str) -> list[dict[str, Any]]:
    """What `log show --json` printed."""
    return [msgspec.json.decode(line) for line in text.splitlines()]


def numbers(text: str) -> list[int]:
    """The record numbers at the start of human lines, each once."""
    return list(dict.fromkeys(int(line.split()[0]) for line in text.splitlines()))


def segment(journal: Path) -> Path:
    return journal / "00000000000000000001.jsonl"


def test_a_journal_that_may_not_be_read_is_named(ipamd: Run, tmp_path: Path) -> None:
    """Somebody else's directory: one line and exit code 2 from every command, no traceback."""
    place = tmp_path / "theirs"
    place.mkdir(mode=0)
    asked = (("log", "show"), ("log", "verify"), ("state",), ("replay",))
    for words in asked:  # imports what the commands need, which the other user may not read
        ipamd(*words, tmp_path / "none")
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        tried = [ipamd(*words, place) for words in asked]
    finally:
        if root:
            os.seteuid(0)

    assert [run.code for run in tried] == [2] * 4
    assert all(": permission denied; " in run.err and "Traceback" not in run.err for run in tried)


# ---- log show ------------------------------------------------------------------------------------------------


def test_every_record_is_shown_as_lines_and_as_json(ipamd: Run, journal: Path) -> None:
    """Each record has a line at least; with --json it is the journal's own object without the CRC."""
    lined, jsoned = ipamd("log", "show", journal), ipamd("log", "show", journal, "--json")

    last = bounds(journal).last_seq
    assert (lined.code, jsoned.code) == (0, 0)
    assert numbers(lined.out) == list(range(1, last + 1))
    stored = [msgspec.json.decode(line) for line in lines(journal)]
    for record in stored:
        del record["crc"]
    assert records(jsoned.out) == stored


@pytest.mark.parametrize("place", ["state directory", "journal directory", "file"])
def test_a_journal_is_named_in_three_ways(ipamd: Run, journal: Path, place: str) -> None:
    """JOURNAL is a state directory, a journal directory or a file."""
    named = {"state directory": journal.parent, "journal directory": journal, "file": segment(journal)}[place]

    assert len(records(ipamd("log", "show", named, "--json").out)) == bounds(journal).last_seq
    assert ipamd("replay", named, "--json").json["divergence"] is None
    assert ipamd("state", named, "--json").json["seq"] == bounds(journal).last_seq


def test_a_pods_whole_life_is_found_by_its_name(ipamd: Run, journal: Path) -> None:
    """--pod finds the release too, which names no pod; the namespace may stand before the name."""
    gone = next(record.cause for record in read(journal) if type(record.cause).__name__ == "DelNetwork")
    name = next(
        event.pod.name
        for record in read(journal)
        for event in record.events
        if isinstance(event, AddressAssigned) and event.sandbox == getattr(gone, "sandbox", None)
    )

    for asked in (name, f"default/{name}"):
        found = records(ipamd("log", "show", journal, "--pod", asked, "--json").out)
        assert [record["cause"]["type"] for record in found] == ["AddNetwork", "DelNetwork"]
    release = found[-1]["seq"]
    late = ipamd("log", "show", journal, "--pod", name, "--since", release, "--json")
    assert [record["seq"] for record in records(late.out)] == [release]
    assert ipamd("log", "show", journal, "--pod", f"other/{name}").out == ""


def test_an_address_is_found_with_its_block_but_without_its_neighbours(ipamd: Run, journal: Path) -> None:
    """--ip: the block that brought it and its own pods; not the other pods of the block."""
    found = records(ipamd("log", "show", journal, "--ip", "10.0.0.18", "--json").out)

    types = [event["type"] for record in found for event in record["events"]]
    assert types.count("CidrAdded") == 1
    assert {e["address"] for r in found for e in r["events"] if "address" in e} == {"10.0.0.18"}


def test_the_life_of_one_prefix(ipamd: Run, journal: Path) -> None:
    """--prefix: what brought it, and the pods that had addresses of it; not those of the other prefix."""
    prefixes = [event.cidr for r in read(journal) for event in r.events if isinstance(event, CidrAdded)]
    chosen = prefixes[0]

    found = records(ipamd("log", "show", journal, "--prefix", chosen, "--json").out)

    lives = {
        event["address"]
        for r in found
        for event in r["events"]
        if event["type"] in ("AddressAssigned", "AddressReleased")
    }
    expected = {
        event.address
        for r in read(journal)
        for event in r.events
        if isinstance(event, AddressAssigned) and event.block == chosen
    }
    assert len(prefixes) > 1 and lives == expected
    assert [e["cidr"] for r in found for e in r["events"] if e["type"] == "CidrAdded"] == [chosen]
    for short in (("--prefix", chosen, journal), (journal, "--prefix", chosen)):
        assert records(ipamd("log", *short, "--json").out) == found


def test_ipv6_prefixes_and_addresses_are_found_however_they_are_written(ipamd: Run, tmp_path: Path) -> None:
    """IPv6 mode: the /80 tells of all its pods, an address of its own ones."""
    where = tmp_path / "six"
    six = ("ENABLE_IPv6=true", "ENABLE_IPv4=false", "ENABLE_PREFIX_DELEGATION=true")
    made = ipamd("simulate", *(word for value in six for word in ("--set", value)), "--pods", 3, "--journal", where)
    assert made.code == 0, made.err
    given = [
        (event.block, event.address) for r in read(where) for event in r.events if isinstance(event, AddressAssigned)
    ]
    prefix, address = given[1]
    long = str(IPv6Network(prefix).exploded).upper()

    by_prefix = records(ipamd("log", "show", where, "--prefix", long, "--type", "AddressAssigned", "--json").out)
    by_address = records(ipamd("log", "show", where, "--ip", address, "--type", "AddressAssigned", "--json").out)

    assert [event["address"] for r in by_prefix for event in r["events"]] == [one for _, one in given]
    assert [event["address"] for r in by_address for event in r["events"]] == [address]


def test_conditions_narrow_each_other_and_values_widen(ipamd: Run, journal: Path) -> None:
    """--type twice is either; --type and --eni is both; a cause is a type too."""
    adds = numbers(ipamd("log", "show", journal, "--type", "addnetwork").out)
    dels = numbers(ipamd("log", "show", journal, "--type", "DelNetwork").out)
    primary = next(event.eni for r in read(journal) for event in r.events if isinstance(event, EniReady))

    assert (len(adds), len(dels)) == (20, 5)
    both = ipamd("log", "show", journal, "--type", "AddNetwork", "--type", "DelNetwork").out
    assert numbers(both) == sorted(adds + dels)
    assert len(numbers(ipamd("log", "show", journal, "--type", "EniReady", "--eni", primary).out)) == 1
    assert ipamd("log", "show", journal, "--type", "EniReady", "--eni", "eni-other").out == ""


def test_since_and_until_take_numbers_and_times(ipamd: Run, journal: Path) -> None:
    """Both ends are included; a time stands for the records made at it."""
    assert numbers(ipamd("log", "show", journal, "--since", 5, "--until", 7).out) == [5, 6, 7]

    at = next(record.at for record in read(journal) if record.seq == 30)
    same = [record.seq for record in read(journal) if record.at == at]
    moment = f"{output.time_text(at)[:-5]}.{at % SECOND:09d}Z"
    assert numbers(ipamd("log", "show", journal, "--since", moment[:-1] + "+00:00", "--until", 31).out)[-1] == 31
    before = numbers(ipamd("log", "show", journal, "--until", output.time_text(at - SECOND)).out)
    assert before == [record.seq for record in read(journal) if record.at <= (at - SECOND) // 10**6 * 10**6]
    assert same


@pytest.mark.parametrize(
    "words, said",
    [
        (("--type", "Nonsense"), "want one of AddressAssigned"),
        (("--ip", "10.0.0"), "want an IPv4 address"),
        (("--ip", "10.0.0.256"), "want an IPv4 address"),
        (("--ip", "2600::zz"), "or an IPv6 one"),
        (("--prefix", "10.0.0.0/8"), "want a prefix of an ENI"),
        (("--prefix", "10.0.0.20/28"), "it lies in 10.0.0.16/28"),
        (("--prefix", "10.0.0.16"), "want a prefix of an ENI"),
        (("--prefix", "web"), "want a prefix of an ENI"),
        (("--since", "yesterday"), "want a record number, a time such as 2026-08-21T10:15:00Z, or an age"),
    ],
)
def test_conditions_that_can_match_nothing_are_refused(
    ipamd: Run, journal: Path, words: tuple[str, ...], said: str
) -> None:
    """Exit code 2 and what is wanted."""
    answer = ipamd("log", "show", journal, *words)

    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err


def test_an_age_counts_back_from_the_newest_record(ipamd: Run, journal: Path) -> None:
    """--since 2m: the last two minutes of the journal, whenever they were."""
    newest = bounds(journal).last_at

    shown = numbers(ipamd("log", "show", journal, "--since", "2m").out)

    assert shown == [record.seq for record in read(journal) if record.at >= newest - 120 * SECOND]
    assert 1 < len(shown) < bounds(journal).last_seq


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_conditions_that_nothing_meets_are_told(ipamd: Run, journal: Path, more: tuple[str, ...]) -> None:
    """One line on standard error, for a name may be mistyped; it is no failure."""
    said = ipamd("log", "show", journal, "--pod", "nosuch", *more)

    assert (said.code, said.out) == (0, "")
    assert said.err == f"ipamd log show: none of {bounds(journal).last_seq} records meets every condition\n"


def test_a_refusal_is_shown_with_what_may_be_done(ipamd: Run, tmp_path: Path) -> None:
    """The remedy is not recorded; the reason tells it."""
    ipamd("simulate", "--instance-type", "t3.small", "--pods", 12, "--journal", tmp_path / "j")

    shown = ipamd("log", "show", tmp_path / "j", "--type", "AssignRefused").out.splitlines()

    assert len(shown) == 3
    assert all("reason=eni_limit" in line and f'remedy="{REMEDIES["eni_limit"]}"' in line for line in shown)


# ---- texts from outside --------------------------------------------------------------------------------------


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A journal with a pod whose name would move the cursor, ring, and turn the text around."""
    where = tmp_path / "hostile"
    journal = Journal.open(where, sync=False)
    engine = node(Scenario("t3.small", Settings()), journal.stage)
    engine.start()
    settle(engine)
    name = "web\x1b[2J\x07\n\u009b31m\u202egnp.exe\x7f"
    answer = engine.submit(AddNetwork(Sandbox("net", "c1", "eth0"), Pod("default", name, 1)))
    assert isinstance(answer, Assigned)
    journal.close()
    return where


def test_names_from_outside_cannot_reach_the_terminal(ipamd: Run, hostile: Path) -> None:
    """Control and direction characters are escaped in lines, tables and JSON; JSON still means the same."""
    lined = ipamd("log", "show", hostile, "--type", "AddressAssigned").out
    tables = ipamd("state", hostile).out
    jsoned = ipamd("log", "show", hostile, "--json").out

    assert r"web\x1b[2J\x07\n\x9b31m\u202egnp.exe\x7f" in lined.replace("\\\\", "\\")
    for text in (lined, tables, jsoned, ipamd("state", hostile, "--json").out):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
    assert "\u202e" not in lined + tables
    assert records(jsoned)[-1]["events"][0]["pod"]["name"] == "web\x1b[2J\x07\n\u009b31m\u202egnp.exe\x7f"


# ---- log verify, damage --------------------------------------------------------------------------------------


def test_a_good_journal_is_verified(ipamd: Run, journal: Path) -> None:
    """Exit code 0; every record counted."""
    last = bounds(journal).last_seq

    said = ipamd("log", "verify", journal)

    assert said.code == 0
    assert said.out.startswith(f"every record is there and right: {last} records (1 to {last})")
    assert ipamd("log", "verify", journal, "--json").json["ok"] is True


def test_a_flipped_bit_is_found_with_file_line_and_remedy(ipamd: Run, journal: Path) -> None:
    """Exit code 1 from every command; verify goes on and counts the good records."""
    path = segment(journal)
    content = path.read_bytes().splitlines(keepends=True)
    content[9] = content[9].replace(b'"at":1', b'"at":0', 1)
    path.write_bytes(b"".join(content))

    for words in (("log", "show", journal), ("state", journal), ("replay", journal), ("replay", journal, "--json")):
        said = ipamd(*words)
        assert said.code == 1
        assert f"{path} line 10: CRC is" in said.err
        assert "restore the file from a copy, or give up record 10 and all later ones: truncate -s" in said.err
    report = ipamd("log", "verify", journal, "--json")
    assert (report.code, report.json["ok"], report.json["records"]) == (1, False, len(content) - 1)
    assert [(d["file"], d["line"]) for d in report.json["damage"]] == [(str(path), 10)]
    assert f"{path} line 10" in ipamd("log", "verify", journal).out


def test_a_torn_end_is_no_damage(ipamd: Run, journal: Path) -> None:
    """The last record, cut in its middle, is left out: it never was answered."""
    path = segment(journal)
    last = bounds(journal).last_seq
    os.truncate(path, path.stat().st_size - 30)

    assert ipamd("state", journal, "--json").json["seq"] == last - 1
    assert ipamd("replay", journal, "--json").json == {"records": last - 1, "divergence": None}
    assert "unfinished" in ipamd("log", "verify", journal).out


def test_another_kind_of_file_is_no_damaged_journal(ipamd: Run, tmp_path: Path) -> None:
    """Exit code 2 from every command, and no word of cutting it."""
    other = tmp_path / "README.md"
    other.write_text("# A title\n\ntext\n")

    for words in (("log", "show"), ("log", "verify"), ("log", "follow"), ("state",), ("replay",)):
        said = ipamd(*words, other)
        assert said.code == 2
        assert f"{other}: not a journal; name a state directory" in said.err


def test_a_segment_whose_first_line_is_bad_is_not_to_be_emptied(ipamd: Run, journal: Path) -> None:
    """Cutting it before its first record would leave nothing: restore it, or begin afresh."""
    path = segment(journal)
    content = bytearray(path.read_bytes())
    content[30] ^= 1
    path.write_bytes(content)

    for words in (("state",), ("replay",), ("log", "verify")):
        said = ipamd(*words, journal)
        assert said.code == 1
        assert "restore the file from a copy, or move the journal directory away" in said.out + said.err
        assert "truncate" not in said.out + said.err


def test_a_missing_journal_is_wrong_usage(ipamd: Run, tmp_path: Path) -> None:
    """Exit code 2 and what may be named."""
    for words in (("log", "show"), ("log", "verify"), ("log", "follow"), ("state",), ("replay",)):
        said = ipamd(*words, tmp_path / "nothing")
        assert said.code == 2
        assert "does not exist; name a state directory, a journal directory or a journal file" in said.err


# ---- log follow ----------------------------------------------------------------------------------------------


def test_records_are_followed_as_they_are_written(journal: Path) -> None:
    """follow prints what comes after it began, in a process of its own, until it is interrupted."""
    code = "from ipamd.cli import main; raise SystemExit(main())"
    command = [sys.executable, "-c", code, "log", "follow", str(journal), "--json", "--since", "1"]
    last = bounds(journal).last_seq
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as reader:
        assert reader.stdout is not None
        old = [msgspec.json.decode(reader.stdout.readline())["seq"] for _ in range(last)]
        writer = Journal.open(journal, sync=False)
        final = next(read(journal, last))
        writer.stage(msgspec.structs.replace(final, seq=last + 1))
        writer.close()
        new = msgspec.json.decode(reader.stdout.readline())["seq"]
        reader.send_signal(signal.SIGINT)
        ended = reader.wait(timeout=20)

    assert ended == 130
    assert old == list(range(1, last + 1))
    assert new == last + 1


def test_following_ends_at_sigint_also_in_the_background(journal: Path) -> None:
    """A shell without job control makes its background jobs ignore SIGINT."""
    code = "from ipamd.cli import main; raise SystemExit(main())"
    command = [sys.executable, "-c", code, "log", "follow", str(journal), "--json", "--since", "1"]
    deaf = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]
    with subprocess.Popen(deaf, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        reader.send_signal(signal.SIGINT)
        reader.stdout.read()
        ended = reader.wait(timeout=20)

    assert ended == 130
