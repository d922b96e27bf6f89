"""Upstream's ipam.json: read at a journal's first start, and kept up to date for whatever else reads it (DM-56..65).

The journal is the store. The file is read only while the journal is empty, so that a node which ran another ipamd
keeps its pods; afterwards it is written, never read. A write follows the records it tells of within milliseconds; it is
not on the way of an answer, which rests on the journal.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Coroutine
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any, Final

import msgspec

from ipamd.core import events as ev
from ipamd.core import views
from ipamd.core.commands import Restored
from ipamd.core.state import State
from ipamd.core.types import Pod, Sandbox

CARDS_MAX: Final = 64
"""Files of cards 1, 2, ... are looked for up to here; no instance type has as many cards."""
SIZE_MAX: Final = 64 << 20
"""Bytes of a checkpoint that is read at all; a row takes about 300."""
_MOVES: Final = (ev.AddressAssigned, ev.AddressReleased, ev.CidrRemoved, ev.EniLeft, ev.RowDropped, ev.NodeReady)
"""DM-60: what rewrites the file."""


class CheckpointError(Exception):
    """A checkpoint that cannot be read, or does not hold what it should (DM-61). The text names it and the remedy."""


class _Metadata(msgspec.Struct):
    k8sPodNamespace: str = ""
    k8sPodName: str = ""
    interfacesCount: int = 0


class _Row(msgspec.Struct):
    networkName: str
    containerID: str
    ifName: str
    ipv4: str = ""
    ipv6: str = ""
    allocationTimestamp: int = 0
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


class _Document(msgspec.Struct):
    version: str
    allocations: list[_Row] | None = None


def path_of(path: Path, card: int) -> Path:
    """Where a card's checkpoint lies: `ipam.json`, `ipam-nic-1.json` and so on (DM-56)."""
    return path if card == 0 else path.with_name(f"{path.name.removesuffix('.json')}-nic-{card}.json")


def read(path: Path) -> tuple[Restored, ...]:
    """Every row of the checkpoints at `path`, card by card; none if there is no file. Raises CheckpointError."""
    rows: list[Restored] = []
    for card in range(CARDS_MAX):
        rows += _read_one(path_of(path, card), card)
    return tuple(rows)


def _read_one(path: Path, card: int) -> list[Restored]:
    try:
        with path.open("rb") as file:
            document = file.read(SIZE_MAX + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}; {_REMEDY}") from None
    if len(document) > SIZE_MAX:
        raise CheckpointError(f"{path}: is larger than {SIZE_MAX >> 20} MiB; {_REMEDY}")
    try:
        found = msgspec.json.decode(document, type=_Document)
    except msgspec.MsgspecError as error:
        raise CheckpointError(f"{path}: is no checkpoint: {error}; {_REMEDY}") from None
    if found.version != views.CHECKPOINT_VERSION:
        wanted = views.CHECKPOINT_VERSION
        raise CheckpointError(f"{path}: has version {found.version[:40]!a}: want {wanted!a}; {_REMEDY}")
    return [_restored(path, number, row, card) for number, row in enumerate(found.allocations or (), 1)]


_REMEDY: Final = "mend it, or move it away to start without the pods it names"


def _restored(path: Path, number: int, row: _Row, card: int) -> Restored:
    text = row.ipv4 or row.ipv6
    try:
        address = ip_address(text)
    except ValueError:
        raise CheckpointError(f"{path}: row {number} has address {text[:60]!a}: want an IP; {_REMEDY}") from None
    if isinstance(address, IPv4Address) != bool(row.ipv4):
        raise CheckpointError(f"{path}: row {number} has {text} in the other family's member; {_REMEDY}")
    pod = Pod(row.metadata.k8sPodNamespace, row.metadata.k8sPodName, row.metadata.interfacesCount)
    sandbox = Sandbox(row.networkName, row.containerID, row.ifName)
    return Restored(sandbox, str(address), max(row.allocationTimestamp, 0), pod, card)


def write(path: Path, document: views.Checkpoint) -> None:
    """Put a document in the place of the file, whole or not at all (DM-57). Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(prefix=f"{path.name}.tmp", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(msgspec.json.encode(document) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.rename(name, path)
    except BaseException:
        os.unlink(name)
        raise


class CheckpointFile:
    """Keeps the files of one State up to date. Subscribe `on_record`; `close` writes what is not written yet.

    A write that fails is a warning, said once until one succeeds: the journal has it all.
    """

    def __init__(
        self,
        path: Path,
        state: Callable[[], State],
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
        warn: Callable[[str], None],
    ) -> None:
        self._path = path
        self._state = state
        self._spawn = spawn
        self._warn = warn
        self._stale = False
        self._writing = False
        self._failing = False

    def on_record(self, record: ev.Record) -> None:
        """A durable record. Several that come together cost one write."""
        if not any(isinstance(event, _MOVES) for event in record.events):
            return
        self._stale = True
        if not self._writing:
            self._writing = True
            self._spawn(self._write_on(), "checkpoint")

    async def _write_on(self) -> None:
        try:
            while self._stale:
                documents = self._documents()
                await asyncio.to_thread(self._put, documents)
        finally:
            self._writing = False

    def close(self) -> None:
        """Write what the last records changed."""
        if self._stale or self._writing:
            self._put(self._documents())

    def _documents(self) -> list[tuple[Path, views.Checkpoint]]:
        self._stale = False
        state = self._state()
        return [(path_of(self._path, card), views.checkpoint(state, card)) for card in state.stores]

    def _put(self, documents: list[tuple[Path, views.Checkpoint]]) -> None:
        try:
            for path, document in documents:
                write(path, document)
        except OSError as error:
            if not self._failing:
                self._warn(f"{self._path}: the checkpoint cannot be written: {error.strerror}; the journal goes on")
            self._failing = True
        else:
            self._failing = False
