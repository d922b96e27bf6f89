"""Console blocks of the documents, run as a reader would type them, and compared with what stands there.

    ```console
    $ ipamd run ... 2> ipamd.log &
    {"ready":true,"pid":...}
    $ ipamd replay try
    29 records decided again: no divergence
    ```

All blocks of a page are one bash session in one directory. A line `...` stands for any lines, `...` within a line for
any text. A command must end with exit code 0; one whose tool is not installed here is passed over.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PATIENCE_SECONDS: Final = 60.0
OPTIONAL_TOOLS: Final = ("curl", "jq")
"""What a fresh Debian lacks, and a reader may lack too."""
_MARK: Final = "--end-of-command--"
_RULER = re.compile("─+")
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass
class Step:
    """One command of a page and the lines that are to follow it."""

    line: int
    command: str
    expected: list[str] = field(default_factory=list)

    @property
    def background(self) -> bool:
        """Whether the shell goes on at once; what the command prints first is still awaited."""
        return self.command.rstrip().endswith("&")

    @property
    def missing(self) -> list[str]:
        """Tools that the command needs and this machine lacks."""
        return [tool for tool in OPTIONAL_TOOLS if tool in shlex.split(self.command) and shutil.which(tool) is None]


def steps(text: str) -> list[Step]:
    """The commands of a page in order; a line that ends with a backslash goes on."""
    found: list[Step] = []
    for block in _BLOCK.finditer(text):
        number = text.count("\n", 0, block.start(1)) + 1
        for offset, line in enumerate(block[1].splitlines()):
            if line.startswith("$ "):
                found.append(Step(number + offset, line[2:]))
            elif found and found[-1].command.endswith("\\") and not found[-1].expected:
                found[-1].command = f"{found[-1].command[:-1].rstrip()} {line.lstrip('> ')}"
            else:
                found[-1].expected.append(line.rstrip())
    return found


def matches(expected: list[str], printed: list[str]) -> bool:
    """Whether the printed lines are the expected ones, `...` standing for anything; rulers may have any length."""
    pattern = ""
    for line in map(_plain, expected):
        pattern += "(?:.*\n)*" if line == "..." else ".*".join(map(re.escape, line.split("..."))) + "\n"
    return re.fullmatch(pattern, "".join(f"{_plain(line)}\n" for line in printed)) is not None


def _plain(line: str) -> str:
    return _RULER.sub("-", line.rstrip())


class Session:
    """One bash in one directory; `run` gives what a command printed and its exit code."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self._shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile"], cwd=directory, env=environment, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._unread = b""

    def run(self, step: Step) -> tuple[list[str], int]:
        """Raises TimeoutError when it does not end, or a background command does not say what it should."""
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{step.command}\nprintf '\\n%s %d\\n' {_MARK} $?\n".encode())
        self._shell.stdin.flush()
        deadline = time.monotonic() + PATIENCE_SECONDS
        printed: list[str] = []
        while not (line := self._line(deadline)).startswith(_MARK):
            printed.append(line)
        if printed and not printed[-1]:
            printed.pop()  # the line feed before the mark
        while step.background and len(printed) < len(step.expected):
            printed.append(self._line(deadline))
        return [line for line in printed if line or not step.background], int(line.split()[1])

    def close(self) -> None:
        """End the shell and everything that it started."""
        try:
            os.killpg(self._shell.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._shell.communicate()

    def _line(self, deadline: float) -> str:
        assert self._shell.stdout is not None
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._shell.stdout], [], [], left)[0]:
                raise TimeoutError(f"nothing more within {PATIENCE_SECONDS:g} s after {self._unread!r}")
            read = os.read(self._shell.stdout.fileno(), 65536)
            if not read:
                raise TimeoutError("the shell has ended")
            self._unread += read
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode("utf-8", "replace")
