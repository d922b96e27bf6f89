"""`ipamd run` as a process of its own, on a socket and ports of its own."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ipamd.config import VARIABLES

PATIENCE = 30.0
"""Seconds until a test gives up on a process."""


class Ended(Exception):
    """The process ended before it was ready."""


class Spawned:
    """One daemon process. Its standard error goes to a file, so that it never waits for a reader."""

    def __init__(
        self, state_dir: Path, *options: str, env: dict[str, str] | None = None, prefix: tuple[str, ...] = ()
    ) -> None:
        """`prefix`: words before the command, which run it elsewhere."""
        self.state_dir = state_dir
        self._log = state_dir.with_name(f"{state_dir.name}.{time.monotonic_ns()}.stderr")
        words = [*prefix, *command(state_dir, *options)]
        with self._log.open("wb") as log:
            self.popen = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, env=environment(env))
        self.ready: dict[str, Any] = {}

    @property
    def stderr(self) -> str:
        """What it wrote to standard error so far."""
        return self._log.read_text()

    def wait_ready(self) -> dict[str, Any]:
        """Its ready line. Raises `Ended` with what it said if it ends instead."""
        assert self.popen.stdout is not None
        readable, _, _ = select.select([self.popen.stdout], [], [], PATIENCE)
        assert readable, f"no ready line within {PATIENCE} s: {self.stderr}"
        line = self.popen.stdout.readline()
        if not line:
            code = self.popen.wait(PATIENCE)
            raise Ended(f"exit code {code}: {self.stderr}")
        self.ready = json.loads(line)
        return self.ready

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.popen.kill()
        self.end()

    def terminate(self, number: int = signal.SIGTERM) -> float:
        """SIGTERM; how many seconds it took to end."""
        began = time.monotonic()
        self.popen.send_signal(number)
        self.popen.wait(PATIENCE)
        return time.monotonic() - began

    def end(self) -> None:
        """Wait for it and let go of its pipe."""
        self.popen.wait(PATIENCE)
        if self.popen.stdout is not None:
            self.popen.stdout.close()

    def get(self, path: str, door: str = "introspection") -> Any:
        """The JSON document of an HTTP door."""
        return json.loads(self.text(path, door))

    def text(self, path: str, door: str = "introspection") -> str:
        """The body of an HTTP door's answer."""
        with urllib.request.urlopen(f"{self.ready[door]}{path}", timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    @property
    def grpc(self) -> str:
        """The address of its socket."""
        return str(self.ready["grpc"][0])


def command(state_dir: Path, *options: str) -> list[str]:
    """`ipamd run` with doors of its own."""
    words = [sys.executable, "-m", "ipamd", "run", "--state-dir", str(state_dir)]
    for option, value in (
        ("--socket", f"{state_dir}.sock"),
        ("--introspection", "127.0.0.1:0"),
        ("--metrics", "127.0.0.1:0"),
    ):
        if option not in options:
            words += [option, value]
    return [*words, *options]


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """The environment without whatever might configure ipamd, and with what the test wants."""
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES and name != "UPSTREAM_PARITY"}
    return kept | (extra or {})


@contextmanager
def spawned(state_dir: Path, *options: str, env: dict[str, str] | None = None) -> Iterator[Spawned]:
    """A daemon that is ready; killed at the end if the test left it alive."""
    process = Spawned(state_dir, *options, env=env)
    try:
        process.wait_ready()
        yield process
    finally:
        process.kill()


def failed_start(state_dir: Path, *options: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Exit code and standard error of a daemon that must not come up."""
    done = subprocess.run(
        command(state_dir, *options), env=environment(env), capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.stdout == "", done.stdout
    return done.returncode, done.stderr
