"""What the commands share: untrusted text, times, tables and the bar."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import pytest

from ipamd.cli.output import (
    Moment,
    Usage,
    moment,
    safe_json,
    span_text,
    time_text,
    visible,
    without_blank_columns,
)
from ipamd.core.types import SECOND

NOON = 1_787_313_600 * SECOND
"""2026-08-21T12:00:00Z."""


@pytest.mark.parametrize(
    "text, shown",
    [
        ("web-0", "web-0"),
        ("größe 中文", "größe 中文"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31m", r"\x9b31m"),
        ("abc\u202edef", r"abc\u202edef"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("\u2028", r"\u2028"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_a_terminal_would_act_upon_is_escaped(text: str, shown: str) -> None:
    """Controls, directions and invisible characters; letters of any script stay."""
    assert visible(text) == shown


@pytest.mark.parametrize("text", ["plain", "\x7f", "\x80\x9f", "ü\u0085ü", "\x1b", "中\x9b"])
def test_escaped_json_means_the_same(text: str) -> None:
    """No byte is left that a terminal might take for a control, and the decoded text is equal."""
    line = safe_json(msgspec.json.encode({"name": text}))

    assert msgspec.json.decode(line) == {"name": text}
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in line.decode())


@pytest.mark.parametrize(
    "text, read",
    [
        ("0", Moment(seq=0)),
        ("4711", Moment(seq=4711)),
        ("2026-08-21T12:00:00Z", Moment(at=NOON)),
        ("2026-08-21T14:00:00+02:00", Moment(at=NOON)),
        ("2026-08-21 12:00", Moment(at=NOON)),
        ("2026-08-21T12:00:00.250Z", Moment(at=NOON + SECOND // 4)),
        ("2026-08-21T12:00:00.250000999Z", Moment(at=NOON + SECOND // 4)),
        ("1969-12-31T23:59:59Z", Moment(at=-SECOND)),
        ("90s", Moment(back=90 * SECOND)),
        ("10m", Moment(back=600 * SECOND)),
        ("2h", Moment(back=7200 * SECOND)),
        ("1d", Moment(back=86_400 * SECOND)),
    ],
)
def test_a_moment_is_a_number_or_a_time(text: str, read: Moment) -> None:
    """SEQ|TIME|AGE: whole numbers are records; times are UTC where they name no zone, to the microsecond."""
    assert moment(text) == read


@pytest.mark.parametrize("text", ["", "-1", "1.5", "soon", "2026-13-01", "12:00", "٣", "m", "10 m", "-10m", "٣m", "1w"])
def test_other_texts_are_no_moment(text: str) -> None:
    """The error names the text and gives an example."""
    with pytest.raises(Usage, match="want a record number, a time such as 2026-08-21T10:15:00Z, or an age such as 10m"):
        moment(text)


def test_times_are_written_in_utc_with_milliseconds() -> None:
    """And what is written can be read."""
    assert time_text(NOON + 250_999_999) == "2026-08-21T12:00:00.250Z"
    assert moment(time_text(NOON)).at == NOON


@pytest.mark.parametrize("seconds, text", [(0, "0s"), (0.5, "0.5s"), (59, "59s"), (65, "1m 05s"), (3723, "1h 02m 03s")])
def test_spans_are_short(seconds: float, text: str) -> None:
    """Seconds below a minute, then minutes, then hours."""
    assert span_text(round(seconds * SECOND)) == text


BAR = """
from ipamd.cli.output import Bar
now = [0.0]
bar = Bar("records", lambda: now[0])
for seconds in SECONDS:
    now[0] = seconds
    bar.report(5, 10)
bar.close()
"""


@pytest.mark.parametrize("seconds, drawn", [([0.1, 0.9, 1.0], False), ([0.9, 1.1, 1.2], True)])
def test_a_bar_appears_after_a_second_only(seconds: list[float], drawn: bool) -> None:
    """Quick work draws nothing; slow work draws on the terminal's standard error and nothing on standard output."""
    inside, outside = os.openpty()
    env = {"PATH": os.environ["PATH"], "TERM": "xterm"}
    code = BAR.replace("SECONDS", repr(seconds))
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=outside, env=env, timeout=60, check=True
        )
        os.set_blocking(inside, False)
        shown = os.read(inside, 1 << 16) if drawn else _nothing(inside)
    finally:
        os.close(inside)
        os.close(outside)

    assert done.stdout == b""
    assert (b"records" in shown) is drawn


def _nothing(terminal: int) -> bytes:
    with pytest.raises(BlockingIOError):
        os.read(terminal, 1)
    return b""


def test_colour_is_for_terminals(tmp_path: os.PathLike[str]) -> None:
    """The same command on a terminal and on a pipe: escapes on the one, none on the other."""
    code = "from ipamd.cli import main; raise SystemExit(main())"
    command = [sys.executable, "-c", code, "simulate", "--pods", "1"]
    env = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    inside, outside = os.openpty()
    try:
        done = subprocess.run(command, stdout=outside, stderr=subprocess.DEVNULL, env=env, timeout=60, check=True)
        os.set_blocking(inside, False)
        shown = os.read(inside, 1 << 16)
    finally:
        os.close(inside)
        os.close(outside)
    piped = subprocess.run(command, capture_output=True, env=env, timeout=60, check=True).stdout

    assert done.returncode == 0
    assert b"\x1b[" in shown
    assert b"\x1b" not in piped
    assert b"m5.large in 10.0.0.0/16" in piped
    assert not [line for line in piped.splitlines() if line.endswith(b" ")]


def test_identifiers_are_whole_on_a_narrow_terminal() -> None:
    """80 columns: an ENI's id and an address stand on one line, so that they can be copied."""
    code = """
from ipamd.cli import output
from rich.console import Console
heads = ("dev", "ENI", "primary", "prefixes", "IPs", "pods", "excluded", "why it stays")
row = (1, "eni-024a4f2e3de3cd3ee", "192.168.100.200", 3, 14, 62, "yes", "warm_prefix_target")
Console(width=80).print(output.table("ENIs", heads, [row], whole=("ENI",)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert "eni-024a4f2e3de3cd3ee" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_columns_of_zeros_are_left_out_where_they_may_be() -> None:
    """A column goes only if it is named and blank in every row."""
    heads, rows = ("dev", "prefixes", "IPs", "pods"), [(0, 0, 3, 0), (1, 0, 0, 0)]

    kept = without_blank_columns(heads, rows, ("prefixes", "IPs"))

    assert kept == (["dev", "IPs", "pods"], [[0, 3, 0], [1, 0, 0]])


COMMANDS = ("run", "simulate", "state", "replay", "log", "log show", "log follow", "log verify")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_terminal_of_80_columns(command: str) -> None:
    """No line is folded by the terminal, and none by argparse in a place that it chose."""
    words = [sys.executable, "-m", "ipamd", *command.split(), "--help"]
    env = {"PATH": os.environ["PATH"], "COLUMNS": "80"}

    done = subprocess.run(words, capture_output=True, text=True, env=env, timeout=60, check=True)

    assert [line for line in done.stdout.splitlines() if len(line) > 79] == []


def test_an_ascii_terminal_is_no_error() -> None:
    """A name beyond the output's encoding is escaped instead of ending the command."""
    code = "from ipamd.cli.output import guarded; guarded('x', lambda: print('gr\\u00f6\\u00dfe') or 0)"
    env = {"PATH": os.environ["PATH"], "PYTHONIOENCODING": "ascii"}

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, timeout=60, check=True)

    assert done.stdout == b"gr\\xf6\\xdfe\n"


def test_a_reader_that_goes_away_ends_the_command_quietly() -> None:
    """`ipamd simulate | head -1`: exit code 0 and no traceback."""
    code = "from ipamd.cli import main; raise SystemExit(main())"
    inside, outside = os.pipe()
    os.close(inside)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, "simulate", "--json"], stdout=outside, stderr=subprocess.PIPE, timeout=60,
            check=False,
        )  # fmt: skip
    finally:
        os.close(outside)

    assert (done.returncode, done.stderr) == (0, b"")
