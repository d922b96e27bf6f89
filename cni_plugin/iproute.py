"""`ip -batch` of iproute2: many changes of the kernel's tables in one process of two milliseconds.

No shell has a part in it. A line's words are ours or checked (`plan.check_name` and the like), and what `ip`
prints never reaches stdout, which belongs to the result.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, NamedTuple

from cni_plugin.host import HostError

if TYPE_CHECKING:
    from collections.abc import Sequence

PLACES = ("/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip", "/usr/local/sbin/ip")
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
FAILED_AT = "Command failed -:"
SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-@+:/ ")


class Outcome(NamedTuple):
    """How a batch went. `failures`: number of a line (from 0) and what `ip` said; `stdout` only when asked for."""

    failures: dict[int, str]
    whole: bool  # False: it stopped at the first failure
    stdout: str


def batch(
    lines: Sequence[str], *, six: bool = False, force: bool = False, json: bool = False, other: int = -1
) -> Outcome:
    """Run `lines` in the namespace of this thread; with `force` a failing line does not stop those after it.

    `other` is a namespace's descriptor, which the lines may name as /proc/self/fd/3. HostError when `ip` is
    missing, dies, or fails without naming a line.
    """
    for line in lines:
        if not SAFE.issuperset(line):
            raise HostError(f"{line!r}: holds a character that no name, address or number has; it was not run")
    flags = [*(["-6"] if six else []), *(["-force"] if force else []), *(["-N", "-j"] if json else []), "-batch", "-"]
    code, stdout, stderr = _run(flags, "".join(f"{line}\n" for line in lines).encode("ascii"), other)
    failures = _failures(stderr)
    if code and not failures:
        ended = f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
        raise HostError(f"ip -batch {ended}: {_one_line(stderr) or 'it said nothing'}")
    return Outcome(failures, force or not failures, stdout)


def _failures(stderr: str) -> dict[int, str]:
    """`Command failed -:3` comes after what the third line's command had to say."""
    found: dict[int, str] = {}
    said: list[str] = []
    for row in stderr.splitlines():
        if row.startswith(FAILED_AT) and row[len(FAILED_AT) :].isdigit():
            found[int(row[len(FAILED_AT) :]) - 1] = _one_line("\n".join(said))
            said = []
        else:
            said.append(row)
    return found


def _run(flags: list[str], text: bytes, other: int) -> tuple[int, str, str]:
    """Exit code (negative: signal), standard output and standard error of one `ip`."""
    program = next((path for path in PLACES if os.access(path, os.X_OK)), None)
    if program is None:
        raise HostError(f"ip: not found in {', '.join(PLACES)}; install iproute2")
    streams = [high(os.memfd_create(name)) for name in ("batch", "stdout", "stderr")]
    try:
        os.write(streams[0], text)
        os.lseek(streams[0], 0, os.SEEK_SET)
        given = streams if other < 0 else [*streams, other]
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(given)]
        try:
            child = os.posix_spawn(program, ["ip", *flags], ENVIRONMENT, file_actions=actions)
        except OSError as error:
            raise HostError(f"{program}: cannot start: {os.strerror(error.errno or 0).lower()}") from error
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        stdout, stderr = (_contents(fd) for fd in streams[1:])
    finally:
        for fd in streams:
            os.close(fd)
    return code, stdout, stderr


def high(fd: int) -> int:
    """The same file at a descriptor that none of a child's first four can hit: the runtime may have closed ours."""
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
    finally:
        os.close(fd)


def _contents(fd: int) -> str:
    size, pieces, at = os.fstat(fd).st_size, [], 0
    while at < size:
        pieces.append(os.pread(fd, size - at, at))
        at += len(pieces[-1])
    return b"".join(pieces).decode("utf-8", "replace")


def _one_line(text: str) -> str:
    return "; ".join(row.strip() for row in text.splitlines() if row.strip())
