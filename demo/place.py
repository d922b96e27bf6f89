"""Where the demo lives: one directory of its own, begun afresh by each run, and its commands."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SOCKET_PATH_MAX: Final = 107
"""Bytes the kernel takes as the path of a Unix socket."""
LEFT_BY_A_RUN: Final = ("journal", "journal-archive", "cloud", "daemon.json", "ipamd.log", "plugin.log", "ipamd.sock")
"""What a run leaves in its directory, and so what the next one may remove."""
REMEDY: Final = "remove it, or name another directory: make demo T='--state-dir DIR'"
PASSED_ON: Final = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL")
"""Variables of our own environment that the processes get. Settings of ipamd in it do not change the walk."""


class DemoError(Exception):
    """The walk cannot go on: the thing, the fact, the remedy."""


class Place:
    """The demo's directory and what is in it."""

    def __init__(self, directory: Path, socket: Path) -> None:
        self.directory = directory
        self.socket = socket
        self.daemon_note = directory / "daemon.json"
        self.daemon_log = directory / "ipamd.log"
        self.plugin_log = directory / "plugin.log"

    @property
    def environment(self) -> dict[str, str]:
        """What every process of the walk gets."""
        return {name: os.environ[name] for name in PASSED_ON if name in os.environ}

    def clear(self) -> None:
        """Remove what an earlier run left, and nothing else."""
        for name in LEFT_BY_A_RUN:
            path = self.directory / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


@contextmanager
def claimed(directory: Path) -> Iterator[Place]:
    """The directory, made if need be, for this process alone. Raises DemoError."""
    directory = Path(os.path.abspath(directory))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise DemoError(f"{directory}: cannot be used: {error.strerror}; {REMEDY}") from None
    short = ""
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(f"{directory}: another demo runs there; wait for it") from None
        socket = directory / "ipamd.sock"
        if len(os.fsencode(socket)) > SOCKET_PATH_MAX:
            short = _short_directory()
            socket = Path(short) / "ipamd.sock"
        yield Place(directory, socket)
    finally:
        if short:
            shutil.rmtree(short, ignore_errors=True)
        os.close(lock)


def _short_directory() -> str:
    """A fresh directory whose path leaves room for a socket's name."""
    made = tempfile.mkdtemp(prefix="ipamd-demo-")
    if len(os.fsencode(made)) + len("/ipamd.sock") > SOCKET_PATH_MAX:
        os.rmdir(made)
        made = tempfile.mkdtemp(prefix="ipamd-demo-", dir="/tmp")
    return made


def command(name: str) -> str:
    """A console script of the environment that runs us. Raises DemoError."""
    script = Path(sys.executable).with_name(name)
    if not os.access(script, os.X_OK):
        raise DemoError(f"{script}: not installed; run `make venv`, or pip install this project into {sys.prefix}")
    return str(script)
