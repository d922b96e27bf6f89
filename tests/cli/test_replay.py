"""`ipamd replay`, and journals whose beginning is gone."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import msgspec

from ipamd.core import snapshot
from ipamd.core.commands import AddNetwork
from ipamd.core.events import Record
from ipamd.journal.journal import Journal
from ipamd.journal.reading import bounds, read
from ipamd.sim.past import fold_to

from .conftest import Run


def test_every_decision_comes_out_the_same(ipamd: Run, journal: Path) -> None:
    """The whole journal decided again; the count is that of its records."""
    last = bounds(journal).last_seq

    assert ipamd("replay", journal, "--json").json == {"records": last, "divergence": None}
    assert ipamd("replay", journal).out == f"{last} records decided again: no divergence\n"


def rewritten(journal: Path, where: Path, number: int) -> Record:
    """The same journal elsewhere, but the n-th AddNetwork got another address; the record as it was."""
    writer = Journal.open(where, sync=False)
    found = None
    adds = 0
    for record in read(journal):
        adds += isinstance(record.cause, AddNetwork)
        if adds == number and found is None:
            found = record
            other = msgspec.structs.replace(record.events[0], address="10.0.0.31")
            record = msgspec.structs.replace(record, events=(other,))
        writer.stage(record)
    writer.close()
    assert found is not None
    return found


def test_the_first_divergence_is_shown(ipamd: Run, journal: Path, tmp_path: Path) -> None:
    """Exit code 1; the record's number, what is recorded and what is decided now."""
    original = rewritten(journal, tmp_path / "other", 3)

    said = ipamd("replay", tmp_path / "other", "--json")

    assert said.code == 1
    assert said.json["records"] == original.seq
    divergence = said.json["divergence"]
    assert divergence["seq"] == original.seq
    assert divergence["decided"] == msgspec.json.decode(msgspec.json.encode(original.events))
    assert divergence["recorded"][0]["address"] == "10.0.0.31"
    shown = ipamd("replay", tmp_path / "other")
    assert shown.code == 1
    assert f"record {original.seq} comes out differently" in shown.out


def test_where_records_are_gone_the_snapshot_is_the_beginning(ipamd: Run, journal: Path, tmp_path: Path) -> None:
    """Retention dropped the first records: replay and state begin at the snapshot that stands for them."""
    where = tmp_path / "kept"
    writer = Journal.open(where, sync=False, segment_bytes=4096)
    for record in read(journal):
        writer.stage(record)
        if record.seq == 40:
            writer.flush()
            state = fold_to(journal, 40)
            writer.snapshot_now(40, state.at, snapshot.encode(state))
    writer.close()
    segments = sorted(where.glob("*.jsonl"))
    for old, following in pairwise(segments):
        if int(following.stem) <= 41:
            old.unlink()
    last = bounds(where).last_seq
    assert 1 < bounds(where).first_seq <= 41

    assert ipamd("replay", where, "--json").json == {"records": last - 40, "divergence": None}
    assert ipamd("state", where, "--json").json == ipamd("state", journal, "--json").json
    for early in (3, 39):
        said = ipamd("state", where, "--at", early)
        assert said.code == 2
        assert f"the State after record {early} is not known any more" in said.err
        assert "the oldest snapshot is of record 40; ask for a later one" in said.err


def test_an_empty_journal_is_no_error(ipamd: Run, tmp_path: Path) -> None:
    """A daemon that never decided anything left nothing: no records, no divergence, a State that is new."""
    Journal.open(tmp_path / "empty").close()

    assert ipamd("log", "show", tmp_path / "empty") == (0, "", "")
    assert ipamd("replay", tmp_path / "empty", "--json").json == {"records": 0, "divergence": None}
    assert ipamd("state", tmp_path / "empty", "--json").json["phase"] == "new"
    assert ipamd("state", tmp_path / "empty").code == 0
    assert ipamd("log", "verify", tmp_path / "empty").out.startswith("every record is there and right: no records")
