"""The daemon as a process: started, killed, started again, asked over HTTP."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from demo.place import DemoError, Place, command

OPTIONS: Final = (
    "--instance-type", "t3.small", "--max-pods", "110",
    "--set", "ENABLE_PREFIX_DELEGATION=true", "--set", "WARM_PREFIX_TARGET=1",
)  # fmt: skip
"""What the walk shows: prefixes of 16 addresses, one of them always spare."""
READY_SECONDS: Final = 20.0
STOP_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 5.0
_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None)
_http = build_opener(ProxyHandler({}))  # 127.0.0.1 is reached without any proxy of the environment


class Daemon:
    """`ipamd run` on the embedded cloud, with its sockets and state in the demo's directory."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None
        self.ready: dict[str, Any] = {}
        """The ready line of the daemon that runs."""

    @property
    def arguments(self) -> list[str]:
        """The command line, as a person may type it again."""
        place = self._place
        where = ["--state-dir", str(place.directory), "--socket", str(place.socket)]
        doors = ["--introspection", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]
        return ["run", *where, *doors, *OPTIONS]

    def start(self) -> float:
        """Start it and wait for its ready line; the seconds that took. Raises DemoError."""
        began = time.monotonic()
        with self._place.daemon_log.open("ab") as log:
            self._process = subprocess.Popen(
                [command("ipamd"), *self.arguments],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                env=self._place.environment, preexec_fn=_end_with_parent,
            )  # fmt: skip
        note(self._place.daemon_note, self._process.pid)
        self.ready = self._ready_line()
        return time.monotonic() - began

    def kill(self) -> int:
        """SIGKILL, and wait for the end; the pid it had."""
        assert self._process is not None
        self._process.kill()
        self._reap()
        return self._process.pid

    def stop(self) -> int:
        """SIGTERM, and SIGKILL if that is not heard; the exit code."""
        if self._process is None:
            return 0
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        return self._reap()

    def enis(self) -> dict[str, Any]:
        """/v1/enis of network card 0. Raises DemoError."""
        url = f"{self.ready['introspection']}/v1/enis"
        try:
            with _http.open(url, timeout=_ANSWER_SECONDS) as answer:
                document: dict[str, Any] = json.load(answer)["0"]
                return document
        except (URLError, OSError, ValueError, KeyError) as error:
            raise DemoError(f"{url}: no usable answer ({error}); see {self._place.daemon_log}") from None

    def _ready_line(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        deadline, line = time.monotonic() + READY_SECONDS, b""
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise DemoError(f"ipamd run: not ready within {READY_SECONDS:g} s; see {self._place.daemon_log}")
            read = os.read(self._process.stdout.fileno(), 65536)
            if not read:
                raise DemoError(f"ipamd run ended with code {self._reap()}: {_last_line(self._place.daemon_log)}")
            line += read
        ready: dict[str, Any] = json.loads(line)
        return ready

    def _reap(self) -> int:
        assert self._process is not None
        code = self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._place.daemon_note.unlink(missing_ok=True)
        return code


def _end_with_parent() -> None:
    """In the child: the kernel kills it when the demo's process is gone, however that came."""
    _libc.prctl(_SET_PDEATHSIG, signal.SIGKILL)


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines()
    return lines[-1] if lines else f"{log} is empty"


# ---- what an earlier run may have left -------------------------------------------------------------------------


def note(path: Path, pid: int) -> None:
    """Write down a process so that it can be told from a later one with the same pid."""
    path.write_text(json.dumps({"pid": pid, "born": born(pid)}))


def born(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; None: there is no such process, or it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def end_earlier(path: Path) -> int | None:
    """End the process that an earlier run wrote down, if it still lives; its pid."""
    try:
        noted = json.loads(path.read_text())
        pid, since = int(noted["pid"]), int(noted["born"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if born(pid) != since:
        return None
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return None
    except PermissionError:
        raise DemoError(f"process {pid} of an earlier demo belongs to another user; end it, then try again") from None
    deadline = time.monotonic() + STOP_SECONDS
    while born(pid) == since and time.monotonic() < deadline:
        time.sleep(0.01)
    return pid
