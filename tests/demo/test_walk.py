"""`make demo` as a newcomer runs it, and what becomes of it when something is in its way."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo.node import Daemon, born, end_earlier, note
from demo.place import LEFT_BY_A_RUN, SOCKET_PATH_MAX, DemoError, Place, claimed

ROOT = Path(__file__).resolve().parents[2]
WALK = [sys.executable, "-m", "demo.walk", "--state-dir"]


@contextmanager
def walking(directory: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A walk whose daemon serves, and that daemon's pid."""
    pipe = subprocess.PIPE
    command = [*WALK, str(directory)]
    walk = subprocess.Popen(
        command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # who runs the tests may ignore it
    )  # fmt: skip
    assert walk.stdout is not None
    try:
        line = next(line for line in walk.stdout if "ready after" in line)
        yield walk, int(line.rpartition(" ")[2])
    finally:
        if walk.poll() is None:
            walk.kill()
        walk.communicate(timeout=30)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_whole_walk(tmp_path: Path) -> None:
    """58 pods, a crash, the same addresses, 20 pods anew, a clean replay; nothing runs on; the hints work.

    The directory lies too deep for a Unix socket, as a checkout may.
    """
    directory = tmp_path / ("deep" * 25) / ".demo"

    done = subprocess.run([*WALK, str(directory)], cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)

    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    *story, last = done.stdout.splitlines()
    assert last == f'{{"pods":58,"kept":58,"readded":20,"journal":"{directory}/journal"}}'
    assert sorted(directory.glob("journal/*.jsonl"))
    pids = [int(line.rpartition(" ")[2]) for line in story if "ready after" in line and "pid" in line]
    assert pids
    assert [pid for pid in pids if born(pid) is not None] == []
    assert not (directory / "daemon.json").exists()
    hints = [line.strip() for line in story[-5:]]
    for hint in hints:
        tried = subprocess.run(hint, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert (tried.returncode, tried.stderr) == (0, ""), hint
        assert tried.stdout, hint


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_no_process_is_left_however_the_walk_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    """Asked to end it says so; killed outright, the kernel ends its daemon."""
    with walking(tmp_path) as (walk, daemon):
        ended = os.pidfd_open(daemon)

        walk.send_signal(number)
        code = walk.wait(30)

        assert select.select([ended], [], [], 30)[0] == [ended]
        os.close(ended)
        assert code == (130 if number in (signal.SIGTERM, signal.SIGINT) else -number)
    assert end_earlier(tmp_path / "daemon.json") is None


def test_a_second_walk_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    """One line, exit code 1, and the first goes on."""
    with walking(tmp_path) as (walk, daemon):
        second = subprocess.run(
            [*WALK, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
        )

        assert second.returncode == 1
        assert second.stderr == f"demo: {tmp_path}: another demo runs there; wait for it\n"
        assert walk.poll() is None
        assert born(daemon) is not None


def test_a_state_directory_that_is_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    """The thing, the fact, the remedy."""
    place = tmp_path / "taken"
    place.write_text("mine")

    done = subprocess.run([*WALK, str(place)], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"demo: {place}: cannot be used: File exists; remove it")
    assert done.stderr.count("\n") == 1
    assert place.read_text() == "mine"


def test_a_daemon_that_cannot_start_is_reported_with_its_own_words(tmp_path: Path) -> None:
    """What `ipamd run` said last is what the walk says."""
    place = Place(tmp_path, tmp_path / "ipamd.sock")
    place.socket.mkdir()

    with pytest.raises(DemoError, match=r"ipamd run ended with code 1: .*ipamd.sock.*it is a directory"):
        Daemon(place).start()

    assert not place.daemon_note.exists()


def test_the_daemon_of_an_earlier_walk_is_ended(tmp_path: Path) -> None:
    """The process that was written down, by its pid and birth."""
    left = subprocess.Popen(["sleep", "600"])
    note(tmp_path / "daemon.json", left.pid)

    ended = end_earlier(tmp_path / "daemon.json")

    assert ended == left.pid
    assert left.wait(10) == -signal.SIGKILL


@pytest.mark.parametrize("noted", ["", "[]", "{}", '{"pid":1,"born":null}'])
def test_a_note_that_names_no_process_ends_none(tmp_path: Path, noted: str) -> None:
    """A walk cut off while writing leaves such a file."""
    (tmp_path / "daemon.json").write_text(noted)

    assert end_earlier(tmp_path / "daemon.json") is None


def test_a_stranger_with_the_pid_of_an_earlier_daemon_is_left_alone(tmp_path: Path) -> None:
    """Pids are used again; the same pid born at another time is another process."""
    stranger = subprocess.Popen(["sleep", "600"])
    since = born(stranger.pid)
    assert since is not None
    (tmp_path / "daemon.json").write_text(json.dumps({"pid": stranger.pid, "born": since - 1}))

    ended = end_earlier(tmp_path / "daemon.json")

    assert ended is None
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait(10)


def test_only_what_a_walk_leaves_is_removed(tmp_path: Path) -> None:
    """A directory given with --state-dir may hold other things; a link is removed, not followed."""
    (tmp_path / "mine").write_text("kept")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("kept")
    for name in LEFT_BY_A_RUN[1:]:
        (tmp_path / name).mkdir()
    (tmp_path / LEFT_BY_A_RUN[0]).symlink_to(elsewhere)

    Place(tmp_path, tmp_path / "ipamd.sock").clear()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "mine"]
    assert (elsewhere / "file").read_text() == "kept"


@pytest.mark.parametrize("depth", [1, 60])
def test_the_socket_fits_however_deep_the_directory_lies(tmp_path: Path, depth: int) -> None:
    """The kernel takes 107 bytes; the substitute goes when the walk does."""
    directory = tmp_path / "/".join(["d"] * depth)

    with claimed(directory) as place:
        length = len(os.fsencode(place.socket))
        aside = place.socket.parent

        assert length <= SOCKET_PATH_MAX
        assert aside.is_dir()
        assert (aside == directory) == (len(os.fsencode(directory / "ipamd.sock")) <= SOCKET_PATH_MAX)
    assert aside.exists() == (aside == directory)
