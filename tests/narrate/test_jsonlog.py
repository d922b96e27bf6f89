"""Log lines as JSON, to streams and to a file that rotates (ENV-35, ENV-36)."""

import gzip
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipamd.core.types import MS, SECOND
from ipamd.narrate import Line, open_log
from ipamd.narrate.files import LogFile
from ipamd.narrate.jsonlog import JsonLog, line, timestamp

AT = 1_710_091_508 * SECOND + 487 * MS + 999_999
CHATTER = logging.getLogger("somebody.else")
OURS = logging.getLogger("ipamd.server.backend")


class Kept:
    """Whole lines, in memory."""

    def __init__(self) -> None:
        self.text = b""
        self.writes = 0

    def write(self, text: bytes) -> None:
        self.text += text
        self.writes += 1

    def close(self) -> None:
        pass

    @property
    def entries(self) -> list[dict[str, str]]:
        """The lines, decoded."""
        return [json.loads(text) for text in self.text.splitlines()]


@pytest.fixture
def quiet_root() -> Iterator[logging.Logger]:
    """The root logger as it was before."""
    root, ours = logging.getLogger(), logging.getLogger("ipamd")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield root
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def test_a_line_has_four_keys_in_order_and_milliseconds() -> None:
    """Upstream's line format: ISO 8601, `Z`, three digits cut rather than rounded."""
    assert line("info", AT, "core/x.py:1", "hello\n") == (
        b'{"level":"info","ts":"2024-03-10T17:25:08.487Z","caller":"core/x.py:1","msg":"hello\\n"}\n'
    )
    assert timestamp(0) == "1970-01-01T00:00:00.000Z"


def test_text_from_outside_stays_within_its_line() -> None:
    """Newlines, quotes, control characters and bytes that are no Unicode: one line, valid JSON."""
    text = line("warn", AT, "x", 'a\n"}\x1b[31m\udcff\u2028')

    assert text.count(b"\n") == 1
    assert json.loads(text)["msg"].startswith('a\n"}\x1b[31m\\udcff')


@pytest.mark.spec("ENV-35")
def test_the_lines_of_one_record_are_one_write_and_small_ones_are_left_out() -> None:
    """The level is the least that is written."""
    out = Kept()
    log = JsonLog(out, "info")

    log.write(AT, "journal/record:7", [Line("info", "one"), Line("debug", "two"), Line("error", "three")])
    log.write(AT, "journal/record:8", [Line("debug", "nothing")])

    assert [entry["msg"] for entry in out.entries] == ["one", "three"]
    assert out.writes == 1


@pytest.mark.parametrize("level, expected", [("debug", 5), ("info", 4), ("warn", 3), ("error", 2), ("fatal", 1)])
def test_the_standard_loggers_write_the_same_lines(quiet_root: logging.Logger, level: str, expected: int) -> None:
    """Levels by upstream's names; `caller` is directory/file:line; libraries come along."""
    out = Kept()
    log = JsonLog(out, level)  # type: ignore[arg-type]
    quiet_root.addHandler(log.handler)
    quiet_root.setLevel(logging.DEBUG)

    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        CHATTER.log(number, "at %s", number)

    assert [entry["level"] for entry in out.entries] == ["debug", "info", "warn", "error", "fatal"][-expected:]
    assert re.fullmatch(r"narrate/test_jsonlog\.py:\d+", out.entries[0]["caller"])


def test_a_traceback_stays_in_the_message(quiet_root: logging.Logger) -> None:
    """One line even then."""
    out = Kept()
    quiet_root.addHandler(JsonLog(out, "debug").handler)

    try:
        raise ValueError("reason")
    except ValueError:
        CHATTER.exception("it failed")

    (entry,) = out.entries
    assert entry["msg"].startswith("it failed\nTraceback") and "ValueError: reason" in entry["msg"]


@pytest.mark.spec("ENV-36")
@pytest.mark.parametrize("name, stream", [("stderr", "err"), ("STDERR", "err"), ("stdout", "out")])
def test_streams_are_named_in_any_case(
    quiet_root: logging.Logger, capfdbinary: pytest.CaptureFixture[bytes], name: str, stream: str
) -> None:
    """Streams are named in any case."""
    log = open_log(name, "info")
    log.say("info", "here")
    log.close()

    assert b'"msg":"here"' in getattr(capfdbinary.readouterr(), stream)
    assert log.handler not in quiet_root.handlers


def test_libraries_are_heard_from_warnings_on(
    quiet_root: logging.Logger, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Whatever our level is: a library's debug lines would cost time on every request."""
    log = open_log("stderr", "debug")
    CHATTER.info("chatter")
    CHATTER.warning("trouble")
    OURS.debug("detail")
    log.close()

    said = [json.loads(text)["msg"] for text in capfdbinary.readouterr().err.splitlines()]
    assert said == ["trouble", "detail"]


def test_a_file_is_made_with_its_directory(quiet_root: logging.Logger, tmp_path: Path) -> None:
    """As upstream's rotating writer does."""
    place = tmp_path / "aws-routed-eni" / "ipamd.log"
    log = open_log(str(place), "info")
    OURS.info("hello")
    log.close()

    assert json.loads(place.read_bytes())["msg"] == "hello"
    assert place.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_written_falls_back_to_stderr(
    quiet_root: logging.Logger, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The daemon serves on; the line names variable, path, fact and remedy."""
    (tmp_path / "file").write_text("")
    log = open_log(str(tmp_path / "file" / "ipamd.log"), "info")
    OURS.info("still heard")
    log.close()

    said = capfdbinary.readouterr().err
    assert b"AWS_VPC_K8S_CNI_LOG_FILE=" in said and b"logging to stderr, name another path" in said
    assert b"still heard" in said


class Clock:
    """Seconds that the test sets."""

    def __init__(self) -> None:
        self.now = 1_710_091_508.487

    def __call__(self) -> float:
        return self.now


@pytest.mark.spec("ENV-36")
def test_a_full_file_is_rotated_and_compressed(tmp_path: Path) -> None:
    """No line is cut or lost; the rotated file is named after the moment."""
    place = tmp_path / "ipamd.log"
    log = LogFile(place, bytes_max=100, clock=Clock())
    log.write(b"a" * 59 + b"\n")
    log.write(b"b" * 59 + b"\n")
    log.close(wait=10)

    assert place.read_bytes() == b"b" * 59 + b"\n"
    rotated = tmp_path / "ipamd-2024-03-10T17-25-08.487.log.gz"
    assert sorted(tmp_path.iterdir()) == [rotated, place]
    assert gzip.decompress(rotated.read_bytes()) == b"a" * 59 + b"\n"


def test_an_existing_file_goes_on(tmp_path: Path) -> None:
    """A restart appends, and what is there counts for the bound."""
    place = tmp_path / "ipamd.log"
    place.write_bytes(b"old\n")

    log = LogFile(place, bytes_max=10)
    log.write(b"new\n")
    log.write(b"third\n")
    log.close(wait=10)

    assert place.read_bytes() == b"third\n"


@pytest.mark.spec("ENV-36")
def test_five_backups_are_kept_and_none_older_than_thirty_days(tmp_path: Path) -> None:
    """What is not a backup of this file is left alone."""
    bystander = tmp_path / "ipamd-notes.log"
    bystander.write_text("mine")
    clock = Clock()
    place = tmp_path / "ipamd.log"
    for number in range(8):
        log = LogFile(place, bytes_max=10, backups=5, clock=clock)
        log.write(b"%d23456789\n" % number)
        log.write(b"x23456789\n")
        log.close(wait=10)
        clock.now += 1

    backups = [name for name in tmp_path.iterdir() if name.name.endswith(".gz")]
    assert len(backups) == 5 and bystander.read_text() == "mine"

    clock.now += 31 * 86_400 + 10**9
    log = LogFile(place, bytes_max=10, clock=clock)
    log.write(b"last line\n")
    log.close(wait=10)
    assert [name for name in tmp_path.iterdir() if name.name.endswith(".gz")] == []


def test_a_disk_that_refuses_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """/dev/full: the line is lost, stderr is told once, the next write is tried."""
    log = LogFile(Path("/dev/full"))
    log.write(b"one\n")
    log.write(b"two\n")
    log.close()
    log.write(b"after the end\n")

    assert capsys.readouterr().err == (
        "log file /dev/full: No space left on device; it loses lines until it can be written\n"
    )
