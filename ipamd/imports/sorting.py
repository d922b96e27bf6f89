"""Lines of many files in the order of time, with flat memory: sorted runs on disk, merged."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import IO, Final, NamedTuple

import msgspec

from ipamd.core.types import Instant

RUN: Final = 100_000
"""Lines held in memory at once."""


class Heard(NamedTuple):
    """One understood line. The first five order it: time, then ipamd's log before the plugin's, older file first."""

    at: Instant
    rank: int
    file_at: Instant
    file: int
    line: int
    id: str
    values: dict[str, str | None]


_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder(Heard).decode


class Sorter:
    """Takes lines in any order, gives them back sorted, once."""

    def __init__(self, run: int = RUN) -> None:
        self._run = run
        self._held: list[Heard] = []
        self._runs: list[IO[bytes]] = []
        self.count = 0

    def add(self, heard: Heard) -> None:
        """One more line."""
        self._held.append(heard)
        self.count += 1
        if len(self._held) >= self._run:
            self._spill()

    def __iter__(self) -> Iterator[Heard]:
        """In order; the runs on disk are gone afterwards."""
        self._held.sort(key=_order)
        yield from heapq.merge(*(_read(run) for run in self._runs), iter(self._held), key=_order)
        for run in self._runs:
            run.close()
        self._runs, self._held = [], []

    def _spill(self) -> None:
        self._held.sort(key=_order)
        run = TemporaryFile()  # noqa: SIM115 - it lives as long as the sorter
        for heard in self._held:
            packed = _pack(heard)
            run.write(len(packed).to_bytes(4, "little") + packed)
        self._held = []
        self._runs.append(run)


def _order(heard: Heard) -> tuple[Instant, int, Instant, int, int]:
    return heard[:5]


def _read(run: IO[bytes]) -> Iterator[Heard]:
    run.seek(0)
    while size := run.read(4):
        yield _unpack(run.read(int.from_bytes(size, "little")))
