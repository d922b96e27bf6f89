"""`ipamd import`: what it writes, what it says, what it refuses."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from ipamd.journal.reading import bounds
from tests.imports.lives import SETTINGS, life, log_of

from .conftest import Run


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A daemon's log."""
    path = tmp_path / "ipamd.log"
    path.write_bytes(b"".join(log_of(life(1, SETTINGS[0])[1])))
    return path


@pytest.mark.parametrize("name", ["journal", "journal.jsonl"])
def test_the_journal_can_be_asked_like_any_other(ipamd: Run, log: Path, tmp_path: Path, name: str) -> None:
    """A directory or one file: verify, state, log and replay read it; replay has nothing to decide."""
    target = tmp_path / name

    said = ipamd("import_", log, "-o", target)

    assert said.code == 0, said.out + said.err
    last = bounds(target).last_seq
    assert f"{target}: {last} records of i-" in said.out and "contradictions: none" in said.out
    assert "understood" in next(line for line in said.out.splitlines() if line.startswith("coverage: "))
    assert ipamd("log", "verify", target).code == 0
    assert ipamd("replay", target, "--json").json == {"records": 0, "divergence": None, "imported": last}
    assert ipamd("replay", target).out.startswith(f"{last} records are imported: nothing to re-decide")
    assert ipamd("state", target, "--json").json["seq"] == last
    assert "Imported(AddNetwork)" in ipamd("log", "show", target, "--pod", "web-0").out


def test_what_if_lives_an_imported_journal_again(ipamd: Run, log: Path, tmp_path: Path) -> None:
    """Its demand under other targets, by the core; without a change it is the import itself."""
    ipamd("import_", log, "-o", tmp_path / "j")

    same = ipamd("whatif", tmp_path / "j", "--json").json
    other = ipamd("whatif", tmp_path / "j", "--set", "WARM_IP_TARGET=8", "--json").json

    assert same["variant"] == same["baseline"]
    assert other["variant"] != other["baseline"] == same["baseline"]


def test_the_report_as_json(ipamd: Run, log: Path, tmp_path: Path) -> None:
    """Coverage, counts by pattern, files, assumptions and contradictions."""
    report = ipamd("import_", log, "-o", tmp_path / "j", "--json").json

    assert report["coverage"].startswith(f"{report['lines']} lines: {report['understood']} understood")
    assert report["lines"] == report["understood"] + report["unknown"] + report["unreadable"]
    assert report["patterns"]["F1"] >= 1
    assert [file["kind"] for file in report["files"]] == ["log"]
    assert (report["contradictions"], report["refused"], report["assumed"]) == ([], [], {})


def test_what_exists_is_not_overwritten(ipamd: Run, log: Path, tmp_path: Path) -> None:
    """A journal is never mixed with another one."""
    ipamd("import_", log, "-o", tmp_path / "j")

    again = ipamd("import_", log, "-o", tmp_path / "j")

    assert (again.code, again.err) == (2, f"ipamd import: -o {tmp_path}/j: exists already; name a new one\n")


@pytest.mark.parametrize(
    "words, complaint",
    [
        (("absent.log",), "absent.log: does not exist"),
        (("--instance-type", "m5.huge", "{log}"), "--instance-type m5.huge: no type with known limits"),
        (("--max-bytes", "some", "{log}"), '"some": want a number of bytes > 0'),
    ],
)
def test_a_wrong_command_line_is_told(
    ipamd: Run, log: Path, tmp_path: Path, words: tuple[str, ...], complaint: str
) -> None:
    """Exit code 2, and nothing is written."""
    said = ipamd("import_", *(word.format(log=log) for word in words), "-o", tmp_path / "j")

    assert said.code == 2 and complaint in said.err
    assert not (tmp_path / "j").exists()


def test_refused_input_writes_nothing_unless_it_may_be_passed_over(ipamd: Run, log: Path, tmp_path: Path) -> None:
    """The name and the size are told; --skip-refused imports the rest, and the exit code still says so."""
    bundle = tmp_path / "bundle.tar.gz"
    with tarfile.open(bundle, "w:gz") as tar:
        tar.add(log, "./var_log/aws-routed-eni/ipamd.log")
        evil = tarfile.TarInfo("../../etc/cron.d/evil")
        evil.size = 4
        tar.addfile(evil, io.BytesIO(b"evil"))

    strict = ipamd("import_", bundle, "-o", tmp_path / "j")
    lenient = ipamd("import_", bundle, "-o", tmp_path / "j", "--skip-refused")

    refusal = "bundle.tar.gz: ../../etc/cron.d/evil (4 bytes): its name leads out of the archive"
    assert (strict.code, strict.out) == (1, "") and refusal in strict.err
    assert lenient.code == 1 and refusal in lenient.out
    assert bounds(tmp_path / "j").last_seq > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle.tar.gz", "ipamd.log", "j"]


def test_nothing_of_a_pool_gives_no_journal(ipamd: Run, tmp_path: Path) -> None:
    """A file of other people's lines is no finding to be silent about."""
    (tmp_path / "other.log").write_text("hello\nworld\n")

    said = ipamd("import_", tmp_path / "other.log", "-o", tmp_path / "j")

    assert said.code == 1 and "no line and no file tells of a pool: nothing was written" in said.err
    assert not (tmp_path / "j").exists()
