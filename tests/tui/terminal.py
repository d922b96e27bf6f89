"""A real terminal: tmux, with a server of its own, seen as the text on it and touched by its keys.

    with Terminal("tui journal", where, 120, 40) as terminal:
        terminal.press("r")
        terminal.expect("refused", "record 81 of 86")

Waiting is for tmux's own notice of output, never for a time. IPAMD_SCREENS=write records the screens anew.
"""

from __future__ import annotations

import difflib
import os
import select
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

import pytest

from tests.runtime.spawned import environment

SCREENS = Path(__file__).parent / "screens"
PATIENCE = 30.0
"""Seconds until a test gives up."""


def require_tmux() -> None:
    """Skip without tmux; on CI, where it is installed, fail."""
    if shutil.which("tmux") is not None:
        return
    lacks = "tmux is not installed (Debian: apt-get install tmux)"
    if os.environ.get("CI") and os.geteuid() == 0:
        pytest.fail(lacks)
    pytest.skip(lacks)


class Terminal:
    """One command on a terminal of so many columns and rows. `colour`: without NO_COLOR."""

    def __init__(self, words: str, where: Path, columns: int = 120, rows: int = 40, colour: bool = False) -> None:
        require_tmux()
        self._place = Path(tempfile.mkdtemp(prefix="tui"))  # short: a socket's path may have 107 characters
        self._socket = str(self._place / "s")
        conf = self._place / "conf"
        conf.write_text("set -g status off\nset -g remain-on-exit on\nset -s escape-time 0\n")
        colours = {"COLORTERM": "truecolor"} if colour else {"NO_COLOR": "1"}
        self._env = environment({"LC_ALL": "C.UTF-8", "SHELL": "/bin/sh", **colours})
        for name in ("COLUMNS", "LINES"):
            self._env.pop(name, None)  # test processes side by side have them, and they beat the terminal's own
        self._code = self._place / "code"  # tmux itself forgets the exit code now and then
        code = shlex.quote(str(self._code))
        run = f"{shlex.quote(sys.executable)} -m ipamd {words}; echo $? > {code}.new; mv {code}.new {code}"
        big = ["-x", str(columns), "-y", str(rows)]
        self._tmux("-f", str(conf), "new-session", "-d", "-s", "t", *big, "-c", str(where), run)
        self.resize(columns, rows)  # which makes the size ours: else the control client's 80x24 may win
        self._control = subprocess.Popen(
            ["tmux", "-u", "-S", self._socket, "-C", "attach", "-f", "ignore-size,read-only", "-t", "t"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._env,
        )  # fmt: skip

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._tmux("kill-server")
        self._control.communicate(timeout=PATIENCE)
        shutil.rmtree(self._place)

    @property
    def text(self) -> str:
        """What stands on it, without blanks at the ends of lines."""
        rows = self._tmux("capture-pane", "-p", "-t", "t").split("\n")
        return "\n".join(row.rstrip() for row in rows).rstrip() + "\n"

    @property
    def painted(self) -> str:
        """The same with its colours as escape sequences."""
        return self._tmux("capture-pane", "-e", "-p", "-t", "t")

    def press(self, *keys: str) -> None:
        """Keys by tmux's names; a text of several characters is typed."""
        for key in keys:
            named = len(key) == 1 or key in ("Enter", "Left", "Right", "Home", "End", "PgUp", "PgDn", "Escape", "Tab")
            self._tmux("send-keys", "-t", "t", *(() if named else ("-l",)), key)

    def resize(self, columns: int, rows: int) -> None:
        """The window has another size from now on."""
        self._tmux("resize-window", "-t", "t", "-x", str(columns), "-y", str(rows))

    def until(self, *texts: str) -> str:
        """Wait until all texts stand on the screen; the screen."""
        return self._wait(lambda shown: all(text in shown for text in texts), f"{texts} on the screen")

    def expect(self, name: str, *texts: str) -> None:
        """Wait until the screen is the recorded one of that name. `texts` tell the recorder that it is drawn."""
        file = SCREENS / f"{name}.txt"
        if os.environ.get("IPAMD_SCREENS") == "write":
            self.until(*texts)
            while self._output(0.5):
                pass
            SCREENS.mkdir(exist_ok=True)
            file.write_text(self.text)
        recorded = file.read_text()
        assert all(text in recorded for text in texts), f"{file.name} lacks one of {texts}"
        self._wait(lambda shown: shown == recorded, f"the screen of {file.name}", recorded)

    def ended(self) -> int:
        """Wait until the command ends; its exit code."""
        until = time.monotonic() + PATIENCE
        while True:
            if self._code.exists():
                return int(self._code.read_text())
            assert time.monotonic() < until, f"still runs:\n{self.text}"
            self._output(0.2)

    def _wait(self, wanted: object, what: str, recorded: str = "") -> str:
        assert callable(wanted)
        until = time.monotonic() + PATIENCE
        while True:
            shown = self.text
            if wanted(shown):
                return shown
            left = until - time.monotonic()
            if left <= 0:
                lines = difflib.unified_diff(recorded.splitlines(), shown.splitlines(), "recorded", "shown", "", "", 1)
                raise AssertionError(f"no {what} within {PATIENCE} s:\n" + ("\n".join(lines) if recorded else shown))
            self._output(min(left, 1.0))

    def _output(self, seconds: float) -> bool:
        """Wait for tmux to tell of output, so long at most; whether it did."""
        assert self._control.stdout is not None
        readable, _, _ = select.select([self._control.stdout], [], [], seconds)
        return bool(readable) and bool(os.read(self._control.stdout.fileno(), 1 << 16))

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-u", "-S", self._socket, *words], capture_output=True, text=True, env=self._env, timeout=PATIENCE
        )
        assert done.returncode == 0, f"tmux {words}: {done.stderr}"
        return done.stdout
