"""Processes that a benchmark measures: started, awaited by their ready line, ended; their cost is read from /proc."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from .place import Place
from .sizes import POOL_TYPE

READY_SECONDS: Final = 30
END_SECONDS: Final = 10
BIN: Final = Path(sys.executable).parent
"""Where the console scripts of this environment are."""
ROOT: Final = Path(__file__).resolve().parent.parent.parent


class Server:
    """A process that said it is ready."""

    def __init__(self, process: subprocess.Popen[bytes], ready: dict[str, Any]) -> None:
        self.pid = process.pid
        self.ready = ready

    @property
    def cpu_seconds(self) -> float:
        """User and system time that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def resident(self) -> int:
        """Bytes of memory that are in RAM (VmRSS)."""
        for row in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if row.startswith("VmRSS:"):
                return int(row.split()[1]) * 1024
        raise AssertionError(f"process {self.pid} has no VmRSS")


@contextmanager
def serving(command: Sequence[str | Path], errors: Path) -> Iterator[Server]:
    """A process whose first line on standard output is JSON; ended afterwards. Its standard error goes to `errors`."""
    with errors.open("ab") as stderr:
        process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=stderr, cwd=ROOT)
    try:
        yield Server(process, _ready(process, errors))
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _ready(process: subprocess.Popen[bytes], errors: Path) -> dict[str, Any]:
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], READY_SECONDS)
    line = process.stdout.readline() if readable else b""
    if not line.endswith(b"\n"):
        said = errors.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{process.args!r}: not ready within {READY_SECONDS} s; it said: {said}")
    ready: dict[str, Any] = json.loads(line)
    return ready


def daemon(place: Place, name: str, *options: str) -> list[str | Path]:
    """The command line of a daemon with a state directory and a socket of this name, its HTTP doors on free ports."""
    socket = place.sockets / f"{name}.sock"
    return [
        BIN / "ipamd", "run", "--state-dir", place.disk / name, "--socket", socket, "--metrics", "127.0.0.1:0",
        "--introspection", "127.0.0.1:0", *options,
    ]  # fmt: skip


def pooled_daemon(place: Place, name: str, pool: int) -> list[str | Path]:
    """A daemon that holds `pool` addresses from the start and reuses each as soon as it is released."""
    settings = {
        "ENABLE_PREFIX_DELEGATION": "true",
        "WARM_IP_TARGET": "1",
        "MINIMUM_IP_TARGET": str(pool),
        "IP_COOLDOWN_PERIOD": "0",
    }
    chosen = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    return daemon(place, name, "--instance-type", POOL_TYPE, "--max-pods", str(2 * pool), *chosen)


def echo(place: Place, reply: bytes) -> list[str | Path]:
    """A bare grpc.aio server that answers every call with `reply`, undecoded."""
    return [sys.executable, "-m", "tests.bench.echo", place.sockets / "echo.sock", reply.hex()]


def empty(place: Place) -> list[str | Path]:
    """A process with a grpc.aio server and an aiohttp server that serve nothing."""
    return [sys.executable, "-m", "tests.bench.empty", place.sockets / "empty.sock"]
