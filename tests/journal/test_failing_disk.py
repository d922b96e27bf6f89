"""A disk that refuses: nothing that was answered is lost, nothing more is answered, and the message helps."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ipamd.journal.disk import Disk
from ipamd.journal.errors import JournalFailed
from ipamd.journal.journal import Journal
from ipamd.journal.reading import read

from .samples import assigned

ROOT = Path(__file__).resolve().parents[2]


class DyingDisk(Disk):
    """Syncs as often as it is told and reports EIO from then on."""

    def __init__(self, syncs: int) -> None:
        self.left = syncs

    def sync(self, fd: int) -> None:
        if self.left == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.left -= 1
        super().sync(fd)


@pytest.mark.asyncio
async def test_a_failed_fsync_fails_everyone_who_waits_and_everyone_who_comes(tmp_path: Path) -> None:
    """EIO: both waiting callers, the next `stage` and the owner hear of it; what was answered before is there."""
    journal = Journal.open(tmp_path, disk=DyingDisk(1))
    heard: list[Exception] = []
    journal.on_failure = heard.append
    journal.start()
    await journal.durable(journal.stage(assigned(1)))

    waiting = [asyncio.ensure_future(journal.durable(journal.stage(assigned(seq)))) for seq in (2, 3)]
    ended = await asyncio.gather(*waiting, return_exceptions=True)

    assert all(isinstance(error, JournalFailed) and error.code == errno.EIO for error in ended)
    assert ended[0] is not ended[1] and len(heard) == 1 and journal.failure is heard[0]
    with pytest.raises(JournalFailed, match=r"\.jsonl: writing failed: Input/output error \(EIO\); check the disk"):
        journal.stage(assigned(4))
    with pytest.raises(JournalFailed):
        await journal.durable(3)
    await journal.durable(1)
    journal.close()
    assert [record.seq for record in read(tmp_path)][:1] == [1]


def test_without_a_loop_a_failure_is_raised_where_it_happens(tmp_path: Path) -> None:
    """`flush` raises, so does every call after it; closing is still possible."""
    journal = Journal.open(tmp_path, disk=DyingDisk(0))
    journal.stage(assigned(1))

    with pytest.raises(JournalFailed):
        journal.flush()
    with pytest.raises(JournalFailed):
        journal.stage(assigned(2))
    journal.close()

    Journal.open(tmp_path).close()


WRITER = """
import asyncio, json, resource, sys
from ipamd.journal.errors import JournalFailed
from ipamd.journal.journal import Journal
from tests.journal.samples import assigned

async def main(directory, limit):
    journal = Journal.open(directory)
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    journal.start()
    answered = 0
    async def caller():
        nonlocal answered
        while True:
            seq = journal.stage(assigned(journal.next_seq))
            await journal.durable(seq)
            answered = max(answered, seq)
    ended = await asyncio.gather(*(caller() for _ in range(8)), return_exceptions=True)
    assert all(isinstance(error, JournalFailed) for error in ended), ended
    journal.close()
    print(json.dumps({"answered": answered, "error": str(ended[0]), "code": ended[0].code}))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def run_writer(command: list[str]) -> dict[str, object]:
    """The writer's own account: the newest record it answered and why it stopped."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_write_cut_short_by_a_limit_leaves_a_line_that_the_next_start_drops(tmp_path: Path) -> None:
    """EFBIG amid a batch: the partial line goes, every answered record stays, and the journal goes on."""
    found = run_writer([sys.executable, "-c", WRITER, str(tmp_path), "100000"])
    assert (tmp_path / "00000000000000000001.jsonl").stat().st_size == 100_000

    journal = Journal.open(tmp_path)
    kept = [record.seq for record in journal.records()]
    journal.stage(assigned(journal.next_seq))
    journal.close()

    assert found["code"] == errno.EFBIG and "raise the file size limit" in str(found["error"])
    assert journal.recovery.torn > 0
    assert kept == list(range(1, len(kept) + 1)) and len(kept) >= int(str(found["answered"])) > 50


FULL_DISK = """
set -e
mount -t tmpfs -o size=256k tmpfs "$1"
"$2" -c "$3" "$1/journal" 0
cp -r "$1/journal" "$4"
"""


def needs_mounts() -> None:
    """Skips where no file system can be mounted in a namespace of our own."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    trial = subprocess.run(
        ["unshare", "-rm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"], capture_output=True, text=True, timeout=20
    )
    if trial.returncode != 0:
        pytest.skip(f"no mounts in a user namespace here: {trial.stderr.strip()}")


def test_a_full_disk_ends_the_journal_and_loses_nothing_answered(tmp_path: Path) -> None:
    """ENOSPC on a file system of 256 KiB: the message says what to do, and a start with more room goes on."""
    needs_mounts()
    (tmp_path / "small").mkdir()
    place = tmp_path / "copy"

    found = run_writer(
        ["unshare", "-rm", "sh", "-c", FULL_DISK, "sh", str(tmp_path / "small"), sys.executable, WRITER, str(place)]
    )
    journal = Journal.open(place)
    kept = [record.seq for record in journal.records()]
    journal.stage(assigned(journal.next_seq))
    journal.close()

    assert found["code"] == errno.ENOSPC and "free some space or lower --journal-keep" in str(found["error"])
    assert kept == list(range(1, len(kept) + 1)) and len(kept) >= int(str(found["answered"])) > 50


READ_ONLY = """
set -e
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
"$2" -c "$3" "$1"
"""

READER = """
import json, sys
from ipamd.journal.errors import JournalFailed
from ipamd.journal.journal import Journal
from ipamd.journal.reading import bounds, read
from ipamd.journal.verify import verify

try:
    Journal.open(sys.argv[1])
except JournalFailed as error:
    print(json.dumps({
        "error": str(error), "records": len(list(read(sys.argv[1]))),
        "ok": verify(sys.argv[1]).ok, "last": bounds(sys.argv[1]).last_seq,
    }))
"""


def test_a_read_only_file_system_can_be_read_and_not_written(tmp_path: Path) -> None:
    """Opening names the path, the reason and the remedy; reading, verifying and bounds work."""
    needs_mounts()
    journal = Journal.open(tmp_path)
    journal.stage(assigned(1))
    journal.close()

    found = run_writer(["unshare", "-rm", "sh", "-c", READ_ONLY, "sh", str(tmp_path), sys.executable, READER])

    assert (found["records"], found["ok"], found["last"]) == (1, True, 1)
    assert f"{tmp_path}/lock: opening the lock file failed: Read-only file system (EROFS); mount it writable" in str(
        found["error"]
    )


def test_a_state_directory_that_is_a_file_is_refused_by_name(tmp_path: Path) -> None:
    """The path, the reason and the remedy."""
    (tmp_path / "file").write_text("")

    with pytest.raises(JournalFailed, match=r"file/journal: making the journal directory failed: Not a directory"):
        Journal.open(tmp_path / "file" / "journal")
