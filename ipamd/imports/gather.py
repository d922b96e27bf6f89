"""The first reading: every input once, in any order. Lines are classified and sorted, facts and dumps collected."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from ipamd.core.types import Instant

from . import documents
from .archive import Bounds, Meter, Part, Refused, parts
from .facts import CARDS_MAX, Facts
from .lines import Said, said
from .patterns import Match, match
from .report import FileReport, Report
from .sorting import Heard, Sorter

Progress = Callable[[int, int], None]
"""Called with the bytes read so far, and 0 while all of them are not known."""
_DOCUMENT_MAX: Final = 64 << 20
_PROBED: Final = 50
_LOG_NAMES: Final = re.compile(r"(?:ipamd|plugin|aws-node|aws-vpc-cni|aws-eks-nodeagent)", re.IGNORECASE)
_BUNDLE: Final = re.compile(r"eks_(i-[0-9a-f]{8,17})_")
_NUMBERS: Final = re.compile(r"\b[0-9a-f]*\d[0-9a-f]*\b", re.ASCII)
"""What differs between lines that say the same."""
_EVERY: Final = 4096
_SAMPLES: Final = 500
_EVIDENCE: Final = {
    "A": "A5 A5b A6 A6b A7 A8 A8b A9",
    "B": "B5 B6 B6b B7 B10",
    "C": "C2 C9 C12 C13 C14 C14b C15",
    "D": "D1b D3 D9 D9b D10 D11 D12",
    "E": "E2c E3 E5 E6 E6b E7 E8 E8b E10 E11",
    "F": "F2b F3 F3b F3c F3d F4 F4b F4c F5 F6 F7b F7c F7d F8 F9c F10 F10b F11 F11b",
    "G": "G1 G3b G8 G8b G9 G9b G10 G11 G12 G13",
    "H": "H3 H3b H3c H5 H5b H7 H7b H7c H8",
}
"""Understood, and nothing of the pool changes by them: they end with the first reading."""
_ENDS: Final = frozenset(name for family in _EVIDENCE.values() for name in family.split())


class Gathered:
    """What the first reading brought."""

    def __init__(self) -> None:
        self.report = Report()
        self.facts = Facts()
        self.lines = Sorter()
        self.names: list[str] = []
        """Files by the number that lines carry."""
        self.snapshots: list[tuple[str, documents.Snapshot]] = []
        self.first_at: Instant = 0
        self.last_at: Instant = 0
        self.ipamd_from: Instant = 0
        self.ipamd_until: Instant = 0
        """The span that ipamd's own log covers; a plugin's line outside of it is the only witness."""


def listen(
    inputs: Iterable[Path],
    bounds: Bounds | None = None,
    progress: Progress = lambda done, total: None,
    *,
    skip_refused: bool = False,
) -> Gathered:
    """Read everything. Raises `Refused` for hostile input, unless that is to be passed over, and OSError."""
    found = Gathered()
    meter = Meter(bounds or Bounds())
    refused: list[Refused] | None = [] if skip_refused else None
    for path in inputs:
        if bundle := _BUNDLE.search(path.name):
            found.facts.node.setdefault("instance-id", bundle[1])
        try:
            for part in parts(path, meter, refused):
                _part(found, part, refused, lambda: progress(meter.total, 0))
        except Refused as error:
            if refused is None:
                raise
            refused.append(error)
    found.report.refused = [str(each) for each in refused or ()]
    _learn_from_snapshots(found)
    found.facts.settle()
    return found


def _part(found: Gathered, part: Part, refused: list[Refused] | None, progress: Callable[[], None]) -> None:
    report = FileReport(part.name, "", damage=part.damage)
    found.report.files.append(report)
    kind = documents.recognise(part.name, part.head)
    try:
        if kind is not None:
            report.kind = kind
            text = part.stream.read(_DOCUMENT_MAX + 1)
            if len(text) > _DOCUMENT_MAX:
                raise Refused(part.name, len(text), f"a document of more than {_DOCUMENT_MAX} bytes")
            found.snapshots.append((part.name, documents.read(kind, text, part.at)))
        elif part.head and (part.asked or _is_log(part)):
            report.kind = "log"
            _Log(found, report, progress).read(part)
    except Refused as error:
        if refused is None:
            raise
        refused.append(error)
        report.damage = str(error)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        report.damage = f"cut or damaged: {error}"
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        report.damage = f"not what it seemed to be: {str(error)[:200]}"


def _is_log(part: Part) -> bool:
    """Whether a bundle's file is one of ipamd's or the plugin's: by its name, or because it speaks like them."""
    if _LOG_NAMES.search(part.name.rpartition("/")[2]) and not part.name.endswith((".json", ".conflist", ".txt")):
        return True
    probed = islice(said(io.BytesIO(part.head.rpartition(b"\n")[0]), part.name), _PROBED)
    return any(isinstance(one, Said) and match(one.msg) is not None for one in probed)


class _Log:
    """One log file's reading."""

    def __init__(self, found: Gathered, report: FileReport, progress: Callable[[], None]) -> None:
        self._found, self._file, self._progress = found, report, progress
        self._index = len(found.names)
        self._rank = 1 if "plugin" in report.name.rpartition("/")[2] else 0
        self._first: Instant = 0
        self._at: Instant = 0
        found.names.append(report.name)

    def read(self, part: Part) -> None:
        report = self._found.report
        for one in said(part.stream, part.name):
            if not isinstance(one, Said):
                if not one.blank:
                    report.lines += 1
                    report.unreadable += 1
                continue
            report.lines += 1
            self._file.lines += 1
            if report.lines % _EVERY == 0:
                self._progress()
            self._message(one)

    def _message(self, one: Said) -> None:
        report = self._found.report
        what = match(one.msg)
        if what is None:
            report.unknown += 1
            sample = _NUMBERS.sub("#", " ".join(one.msg.split(None, 5)[:5])[:80])
            if sample in report.unknown_samples or len(report.unknown_samples) < _SAMPLES:
                report.unknown_samples[sample] += 1
            return
        at = one.at
        if at is None:
            report.undated += 1
            at = self._at
        if at == 0:
            report.lose("a line before the first one that tells a time")
            report.unreadable += 1
            return
        try:
            self._found.facts.hear(what, at)
        except (ValueError, OverflowError):
            report.unreadable += 1
            return
        report.understood += 1
        report.patterns[what.id] += 1
        self._at = at
        self._first = self._first or at
        if what.id not in _ENDS:
            self._keep(what, at, one.number)

    def _keep(self, what: Match, at: Instant, number: int) -> None:
        found = self._found
        found.lines.add(Heard(at, self._rank, self._first, self._index, number, what.id, what.values))
        found.first_at = min(found.first_at or at, at)
        found.last_at = max(found.last_at, at)
        if not what.id.startswith("H"):
            found.ipamd_from = min(found.ipamd_from or at, at)
            found.ipamd_until = max(found.ipamd_until, at)


def _learn_from_snapshots(found: Gathered) -> None:
    facts = found.facts
    for name, snapshot in found.snapshots:
        if snapshot.instance:
            facts.node.setdefault("instance-id", snapshot.instance)
        if snapshot.env is not None:
            facts.env.update(snapshot.env)
        if snapshot.figures is not None:
            facts.figures.update(snapshot.figures)
        for held in snapshot.held or ():
            if held.pod.name:
                facts.pods.setdefault(held.sandbox.container, held.pod)
        for shown in snapshot.enis or ():
            _learn_eni(found, name, shown)


def _learn_eni(found: Gathered, name: str, shown: documents.ShownEni) -> None:
    known = found.facts.eni(shown.eni)
    known.primary = known.primary or shown.primary
    known.trunk = known.trunk or shown.trunk
    known.card = min(shown.card or known.card, CARDS_MAX)
    known.subnet = known.subnet or shown.subnet
    known.table = shown.table if known.table < 0 else known.table
    if known.device not in (-1, shown.device) and shown.device >= 0:
        found.report.contradict(f"{name}: {shown.eni} has device number {shown.device}, the log says {known.device}")
    elif shown.device >= 0:
        known.device = shown.device
    for cidr in shown.cidrs:
        found.facts.homes.setdefault(cidr, shown.eni)
        found.facts.prefixes = found.facts.prefixes or cidr.endswith(("/28", "/80"))
        found.facts.ipv6 = found.facts.ipv6 or ":" in cidr
