"""`ipamd` itself: it finds the command, costs nothing, and its exit codes mean what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ipamd.cli import COMMANDS, main
from tests.runtime.spawned import PATIENCE

HEAVY = ("argparse", "asyncio", "grpc", "aiohttp", "msgspec", "rich", "logging", "ipamd.core")


def ipamd(*words: str) -> subprocess.CompletedProcess[str]:
    """Run it as a process."""
    return subprocess.run([sys.executable, "-m", "ipamd", *words], capture_output=True, text=True, timeout=PATIENCE)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, on standard output, in lines that fit a terminal."""
    code = main(["--help"])

    text = capsys.readouterr().out
    assert code == 0
    assert all(f"  {name} " in text for name in COMMANDS)
    assert max(map(len, text.splitlines())) < 80


@pytest.mark.parametrize("word", ["--help", "--version", "nonsense"])
def test_what_needs_no_command_imports_almost_nothing(word: str) -> None:
    """Help, version and a wrong word are answered before anything is loaded."""
    script = (
        f"import json, sys; from ipamd.cli import main; main([{word!r}]); print(); print(json.dumps([*sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)

    loaded = json.loads(done.stdout.splitlines()[-1])
    assert [name for name in HEAVY if name in loaded and word != "--version"] == []
    assert [name for name in HEAVY if name in loaded and name not in ("argparse", "logging")] == []


def test_no_command_and_an_unknown_one_are_wrong_usage() -> None:
    """Exit code 2, the commands named, on standard error; what was typed is shown safely."""
    nothing, unknown = ipamd(), ipamd("fly\x1b[31m")

    assert (nothing.returncode, unknown.returncode) == (2, 2)
    assert "usage: ipamd COMMAND" in nothing.stderr
    assert "'fly\\x1b[31m': no such command; want one of run" in unknown.stderr
    assert nothing.stdout == unknown.stdout == ""


def test_every_command_has_help_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """`ipamd COMMAND --help` is exit code 0 and begins with the command's usage."""
    for name in COMMANDS:
        assert main([name, "--help"]) == 0
        assert capsys.readouterr().out.startswith(f"usage: ipamd {name}")


def test_a_wrong_option_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the command is."""
    for name in COMMANDS:
        assert main([name, "--frobnicate"]) == 2
        assert f"ipamd {name}" in capsys.readouterr().err


def test_the_version_is_the_distributions() -> None:
    """The name on PyPI, which is not the package's."""
    assert ipamd("--version").stdout.startswith("ipamd-emulator 0.")


def test_a_reader_that_goes_away_is_no_error() -> None:
    """`ipamd --help | head -1` says nothing on standard error."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ipamd", "--help"], stdout=writer, stderr=subprocess.PIPE, timeout=PATIENCE
        )
    finally:
        os.close(writer)

    assert done.stderr == b""
    assert done.returncode == 0


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a shell has it."""

    def interrupted(words: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("ipamd.cli._dispatch", interrupted)

    assert main(["run"]) == 130
