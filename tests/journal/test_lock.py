"""One daemon a journal."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ipamd.journal.errors import JournalDamaged, JournalLocked
from ipamd.journal.journal import Journal
from ipamd.journal.reading import read

from .samples import assigned, write

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys
from ipamd.journal.journal import Journal
from tests.journal.samples import assigned
journal = Journal.open(sys.argv[1])
journal.stage(assigned(1))
journal.flush()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_and_told_who_holds_the_journal(tmp_path: Path) -> None:
    """The directory and the pid are named; reading works meanwhile; SIGKILL of the holder frees it."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin is not None and holder.stdout is not None
    assert holder.stdout.readline() == "held\n"

    with pytest.raises(JournalLocked, match=rf"{tmp_path}: process {holder.pid} writes this journal; stop it first"):
        Journal.open(tmp_path)
    meanwhile = list(read(tmp_path))
    holder.send_signal(signal.SIGKILL)
    holder.wait(20)
    holder.stdin.close()
    holder.stdout.close()

    assert meanwhile == [assigned(1)]
    journal = Journal.open(tmp_path)
    assert journal.recovery.last_seq == 1
    journal.close()


def test_closing_lets_the_next_one_in(tmp_path: Path) -> None:
    """Also within one process, and a second close does nothing."""
    first = Journal.open(tmp_path)
    with pytest.raises(JournalLocked):
        Journal.open(tmp_path)

    first.close()
    first.close()

    Journal.open(tmp_path).close()


def test_a_refused_start_holds_no_lock(tmp_path: Path) -> None:
    """After the damage is put right, the same process can open the journal."""
    write(tmp_path, 3)
    path = tmp_path / "00000000000000000001.jsonl"
    good = path.read_bytes()
    path.write_bytes(b"?" + good[1:])
    with pytest.raises(JournalDamaged):
        Journal.open(tmp_path)
    path.write_bytes(good)

    journal = Journal.open(tmp_path)

    assert journal.recovery.last_seq == 3
    journal.close()
