"""How fast a journal is lived again: read and folded, and decided anew, against decoding its lines and no more."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random
from typing import Final

import msgspec

from ipamd.core import snapshot
from ipamd.core.decide import decide
from ipamd.core.events import Record
from ipamd.core.evolve import fold
from ipamd.core.state import State
from ipamd.journal.journal import Journal
from ipamd.journal.reading import read
from ipamd.sim.past import fold_to

from .churn import write_history
from .figures import Line, interleaved, number, ratios, spread
from .place import Place
from .sizes import Sizes

SNAPSHOTS: Final = 200
"""As many as a daemon leaves in a million records."""
JUMPS: Final = 20


def run(sizes: Sizes, place: Place) -> list[Line]:
    """Three lines: fold from memory, fold from disk as a start does it, and deciding anew."""
    directory = place.disk / "history"
    _write(directory, sizes.records)
    segments = sorted(directory.glob("*.jsonl"))
    lines = [line for segment in segments for line in segment.open("rb")]
    bare, folded, started, decided, jumped = interleaved(
        sizes.rounds,
        lambda: _bare(lines),
        lambda: _fold(lines),
        lambda: _start(directory, len(lines)),
        lambda: _decide(lines),
        lambda: _jump(directory, len(lines)),
    )
    size = number(sum(map(len, lines)) / len(lines))
    each = {
        "history": f"{len(lines):,} records of {size} bytes, {len(segments)} segments",
        "bare decoding": _rate(bare, len(lines)),
    }
    return [
        Line("fold", "decode + evolve of a journal's lines in memory, against decoding them", ratios(folded, bare),
             bound=4, facts={**each, "fold": _rate(folded, len(lines))}),
        Line("start", "what a start does: read the files, check CRC and order, decode, evolve; same base",
             ratios(started, bare), facts={"start": _rate(started, len(lines))}),
        Line("re-decide", "what a replay does: decode, decide, compare, evolve; same base", ratios(decided, bare),
             bound=10, facts={"re-decide": _rate(decided, len(lines))}),
        Line("jump", "the State of a moment anywhere, from the nearest of 200 snapshots, against a whole start",
             ratios(jumped, started), bound=0.01),
    ]  # fmt: skip


def _write(directory: Path, records: int) -> None:
    journal = Journal.open(directory, sync=False)
    state = State()

    def keep(record: Record) -> None:
        journal.stage(record)
        fold(state, record)
        if record.seq % max(records // SNAPSHOTS, 1) == 0:
            journal.snapshot_now(record.seq, record.at, snapshot.encode(state))

    try:
        write_history(records, keep)
    finally:
        journal.close()


def _jump(directory: Path, count: int) -> float:
    """The mean of some jumps to moments all over the journal."""
    random = Random(1)
    began = time.perf_counter()
    for _ in range(JUMPS):
        seq = random.randrange(1, count + 1)
        assert fold_to(directory, seq).seq == seq
    return (time.perf_counter() - began) / JUMPS


def _bare(lines: list[bytes]) -> float:
    decode = msgspec.json.Decoder(Record).decode
    began = time.perf_counter()
    for line in lines:
        decode(line)
    return time.perf_counter() - began


def _fold(lines: list[bytes]) -> float:
    decode = msgspec.json.Decoder(Record).decode
    state = State()
    began = time.perf_counter()
    for line in lines:
        fold(state, decode(line))
    took = time.perf_counter() - began
    assert state.seq == len(lines)
    return took


def _start(directory: Path, count: int) -> float:
    state = State()
    began = time.perf_counter()
    for record in read(directory):
        fold(state, record)
    took = time.perf_counter() - began
    assert state.seq == count
    return took


def _decide(lines: list[bytes]) -> float:
    decode = msgspec.json.Decoder(Record).decode
    state = State()
    began = time.perf_counter()
    for line in lines:
        record = decode(line)
        assert decide(state, record.cause, record.at).events == record.events, f"record {record.seq} differs"
        fold(state, record)
    return time.perf_counter() - began


def _rate(seconds: list[float], count: int) -> str:
    each = spread(value / count * 1e6 for value in seconds).median
    return f"{number(each)} us a record, {number(1e6 / each)} records/s"
