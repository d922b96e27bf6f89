"""What the commands share: exit codes, times, untrusted text, tables and a progress bar for people at a terminal.

rich is imported only when a table or a bar is drawn; `--json` never needs it.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import TextIOWrapper
from typing import TYPE_CHECKING, Final, TextIO, cast

import msgspec

from ipamd.core.types import SECOND, Instant
from ipamd.journal.errors import JournalError, JournalLocked, JournalMissing

if TYPE_CHECKING:
    from rich.console import Console

OK: Final = 0
FINDING: Final = 1
USAGE: Final = 2

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BACK: Final = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)
_UNITS: Final = {"s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND, "d": 86_400 * SECOND}
_BLANKS: Final = re.compile(r"[ \t]+$", re.MULTILINE)
_NANOSECONDS: Final = re.compile(r"(.*[0-9]\.[0-9]{6})[0-9]+(.*)")


class Usage(Exception):
    """What was asked for makes no sense: said on standard error, exit code 2."""


def guarded(prog: str, run: Callable[[], int]) -> int:
    """The command's exit code, with every expected failure as one line on standard error. Bugs are not caught."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return run()
    except (Usage, JournalMissing, JournalLocked) as error:
        complain(prog, str(error))
        return USAGE
    except PermissionError as error:
        complain(prog, f"{error.filename}: permission denied; run it as the user who may read that")
        return USAGE
    except JournalError as error:
        complain(prog, str(error))
        return FINDING


def complain(prog: str, text: str) -> None:
    """One line on standard error."""
    print(f"{prog}: {visible(text)}", file=sys.stderr)


# ---- text ----------------------------------------------------------------------------------------------------


def visible(text: str) -> str:
    """The text with everything escaped that a terminal might act upon or hide; ordinary text is unchanged."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


_UNSAFE_JSON: Final = re.compile(rb"\x7f|\xc2[\x80-\x9f]")


def json_bytes(value: object) -> bytes:
    """One line of JSON; control characters that JSON lets through are escaped too."""
    return safe_json(msgspec.json.encode(value)) + b"\n"


def safe_json(line: bytes) -> bytes:
    """The same JSON, DEL and the C1 controls as \\u escapes."""
    if line.isascii() and b"\x7f" not in line:
        return line
    return _UNSAFE_JSON.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), line)


def write_json(value: object) -> None:
    """The value as one line on standard output. A command that prints JSON prints nothing else there."""
    sys.stdout.buffer.write(json_bytes(value))


# ---- times ---------------------------------------------------------------------------------------------------


def time_text(at: Instant) -> str:
    """`2026-08-21T10:15:00.250Z`: UTC, milliseconds rounded down."""
    moment = _EPOCH + timedelta(microseconds=at // 1000)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def span_text(ns: int) -> str:
    """`1h 02m 03s`, `4m 05s`, `7.5s`."""
    seconds = ns / SECOND
    if seconds < 60:
        return f"{seconds:.3g}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m {rest:02d}s" if hours else f"{minutes}m {rest:02d}s"


class Moment(msgspec.Struct, frozen=True):
    """SEQ, TIME or AGE of a command line; exactly one of them is set."""

    seq: int | None = None
    at: Instant | None = None
    back: int | None = None
    """Ns before the journal's newest record."""

    def since(self, newest: Instant) -> Moment:
        """The same with an age counted back from the newest record."""
        return self if self.back is None else Moment(at=newest - self.back)


def moment(text: str) -> Moment:
    """Read SEQ (a whole number), TIME (RFC 3339; UTC where no zone is given) or AGE (`10m`). Raises `Usage`."""
    if text.isascii() and text.isdigit():
        return Moment(seq=int(text))
    if age := _BACK.fullmatch(text):
        return Moment(back=int(age[1]) * _UNITS[age[2]])
    found = _NANOSECONDS.fullmatch(text)
    try:
        read = datetime.fromisoformat("".join(found.groups()) if found else text)
    except ValueError:
        want = "a record number, a time such as 2026-08-21T10:15:00Z, or an age such as 10m"
        raise Usage(f'"{text[:80]}": want {want}') from None
    since = (read if read.tzinfo else read.replace(tzinfo=UTC)) - _EPOCH
    return Moment(at=(since.days * 86_400 + since.seconds) * SECOND + since.microseconds * 1000)


# ---- for people ----------------------------------------------------------------------------------------------


class _Unpadded:
    """Standard output without the blanks at the ends of lines, which fill a table up for a terminal only."""

    encoding = property(lambda self: sys.stdout.encoding)

    def write(self, text: str) -> int:
        sys.stdout.write(_BLANKS.sub("", text))
        return len(text)

    def flush(self) -> None:
        sys.stdout.flush()

    def isatty(self) -> bool:
        return False


def console() -> Console:
    """Standard output for people: colour on a terminal only; where there is none, nothing folded and nothing padded."""
    from rich.console import Console

    if sys.stdout.isatty():
        return Console(highlight=False, markup=False, emoji=False)
    return Console(
        file=cast(TextIO, _Unpadded()), highlight=False, markup=False, emoji=False, width=1000, soft_wrap=True
    )


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], whole: Sequence[str] = ()) -> object:
    """A rich table of texts and numbers; numbers stand to the right, texts are made visible.

    Columns named in `whole` are never folded, also where the terminal is too narrow for the others.
    """
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    listed = [list(row) for row in rows]
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(columns):
        numeric = all(isinstance(row[index], int | float) for row in listed) and bool(listed)
        made.add_column(name, justify="right" if numeric else "left", overflow="fold", no_wrap=name in whole)
    for row in listed:
        made.add_row(*(Text(visible(str(cell))) for cell in row))
    return Group(Text(title, style="bold"), made)


def without_blank_columns(
    columns: Sequence[str], rows: Sequence[Sequence[object]], names: Sequence[str]
) -> tuple[list[str], list[list[object]]]:
    """The same table without those columns of `names` in which every row has 0 or nothing."""
    kept = [i for i, name in enumerate(columns) if name not in names or any(row[i] for row in rows)]
    return [columns[i] for i in kept], [[row[i] for i in kept] for row in rows]


def facts(rows: Iterable[tuple[str, object]]) -> object:
    """A list of names and values without a frame."""
    from rich.table import Table
    from rich.text import Text

    made = Table.grid(padding=(0, 2))
    for name, value in rows:
        made.add_row(Text(name, style="dim"), Text(visible(str(value))))
    return made


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, on a terminal, once the work has taken a second. Yields `report(done, total)`."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    bar = Bar(what)
    try:
        yield bar.report
    finally:
        bar.close()


class Bar:
    """Draws nothing in the first second. `clock` is in seconds."""

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._clock = clock
        self._began = clock()
        self._drawn: tuple[Callable[[int, int], None], Callable[[], None]] | None = None

    def report(self, done: int, total: int) -> None:
        if self._drawn is None and self._clock() - self._began > 1:
            self._drawn = self._draw()
        if self._drawn is not None:
            self._drawn[0](done, total)

    def close(self) -> None:
        if self._drawn is not None:
            self._drawn[1]()

    def _draw(self) -> tuple[Callable[[int, int], None], Callable[[], None]]:
        from rich.console import Console
        from rich.progress import Progress

        bar = Progress(console=Console(stderr=True), transient=True)
        task = bar.add_task(self._what, total=None)
        bar.start()
        return lambda done, total: bar.update(task, completed=done, total=total), bar.stop
