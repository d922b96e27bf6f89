"""What if: the demand of a journal lived again under other settings, beside what happened.

    found = what_if(path, Change(settings={"warm_ip_target": 5}))
    found.document                    # baseline, variant, assumed: what `ipamd whatif --json` prints

The variant follows the recording, every cause decided anew, for as long as the decisions are the recorded ones; from
the first that differs it lives on its own, on the model cloud. Without a change it is therefore exact.
"""

from __future__ import annotations

import msgspec

from ipamd.core import snapshot
from ipamd.core.commands import AddNetwork, DelNetwork, Imported, Settle, Start, Terminate, asked
from ipamd.core.decide import decide
from ipamd.core.events import Record
from ipamd.core.evolve import fold
from ipamd.core.state import State
from ipamd.core.types import SECOND
from ipamd.journal.errors import JournalMissing
from ipamd.journal.reading import StrPath, bounds, read

from .kubelet import RETRY, demand_of
from .meter import Life, Meter
from .past import Progress, Warn, silent
from .relive import Branch, Change, Past, recall


class WrongChange(ValueError):
    """A change that cannot be made to this journal."""


class Document(msgspec.Struct, frozen=True):
    """What `ipamd whatif --json` prints."""

    baseline: Life
    variant: Life
    assumed: tuple[str, ...]
    lived_from: int
    """The record from which the variant goes its own way; 0: it never does."""


class WhatIf(msgspec.Struct, frozen=True):
    """Both lives: the figures, the lines of the plots, the States at the end."""

    document: Document
    baseline: Meter
    variant: Meter
    end: State


def what_if(path: StrPath, change: Change, progress: Progress = silent, warn: Warn = silent) -> WhatIf:
    """Live the journal again. Raises `WrongChange`, and what reading a journal raises."""
    kept = bounds(path)
    if kept.last_seq < kept.first_seq:
        raise JournalMissing(f"{path}: holds no record")
    baseline = Meter(kept.first_at, kept.last_at)
    past = recall(path, baseline.hear, progress, warn, dropped=change.dropped)
    _check(path, change, past)
    variant = Meter(kept.first_at, kept.last_at)
    end, busy, lived_from, guessed = _live(past, change, variant)
    busy_then = bool(past.end_state.calls) or past.end_state.pool.work is not None
    document = Document(
        baseline.life(past.end_state, busy_then),
        variant.life(end, busy),
        assumptions(past, change, lived_from, guessed),
        lived_from,
    )
    return WhatIf(document, baseline, variant, end)


def _check(path: StrPath, change: Change, past: Past) -> None:
    if (change.subnet or "instance_type" in change.node) and past.begin_state.seq:
        fact = f"its records before {past.first_seq} are gone"
        raise WrongChange(f"another instance type or subnet needs the journal from its first record; {fact}")
    for seq in change.dropped:
        if not past.first_seq <= seq <= past.last_seq:
            raise WrongChange(f"--drop {seq}: want a record from {past.first_seq} to {past.last_seq}")
        cause = asked(next(read(path, seq)).cause)
        if demand_of(cause) is None and not isinstance(cause, Start | Terminate):
            kind = type(cause).__name__
            raise WrongChange(
                f"--drop {seq}: its cause is {kind}; want one of AddNetwork, DelNetwork, Start, Terminate"
            )
        if isinstance(cause, Start) and seq == 1:
            raise WrongChange("--drop 1: without its first Start there is no node")


def _live(past: Past, change: Change, meter: Meter) -> tuple[State, bool, int, set[str]]:
    """The variant's life: State at the end, whether busy, the record it differs from on, guessed actions."""
    state = snapshot.fork(past.begin_state)
    lived_from = 0
    if change.subnet or change.node or (state.seq and change.settings) or change.retry is not None or change.latency:
        lived_from = past.first_seq
    else:
        lived_from = _follow(past, change, state, meter)
    if not lived_from:
        return state, bool(state.calls) or state.pool.work is not None, 0, set()
    at_first = state.seq == past.begin_state.seq

    def sink(record: Record) -> None:
        meter.hear(record, branch.engine.state)

    branch: Branch = Branch(past, state, change, sink)
    if at_first and state.seq:
        branch.engine.start(state.seed)
    end = branch.run(past.end_at)
    return end, branch.engine.busy, lived_from, branch.guessed


def _follow(past: Past, change: Change, state: State, meter: Meter) -> int:
    """Decide the recorded causes anew as long as that gives what was recorded; the first that differs, or 0."""
    for record in read(past.path, state.seq + 1):
        if record.seq > past.last_seq:
            break
        if record.seq in change.dropped:
            return record.seq
        cause = asked(record.cause)
        if isinstance(cause, Start) and change.settings_of(cause.settings) != cause.settings:
            return record.seq
        if not isinstance(record.cause, Imported):
            decided = decide(state, cause, record.at).events
            if decided != record.events and isinstance(cause, AddNetwork | DelNetwork | Settle | Start):
                return record.seq
        fold(state, record)
        meter.hear(record, state)
    return 0


def assumptions(past: Past, change: Change, lived_from: int, guessed: set[str]) -> tuple[str, ...]:
    """What the variant takes for granted, in words."""
    if not lived_from:
        return ("nothing: the change makes no difference to any decision, so both are the recorded life",)
    facts = past.facts
    told = [
        "pods come, ask again and go at the recorded instants, whatever they were answered",
        f"a refused pod asks again at its recorded instants, then every {RETRY // SECOND} s (--retry changes that)"
        if change.retry is None
        else f"a refused pod asks again every {change.retry / SECOND:g} s",
        "a pod that was never served stops waiting two back-offs of the kubelet after its last try",
    ]
    for action, length in change.latency.items():
        told.append(f"EC2 answers {action or 'every other action'} in {length / SECOND:g} s, as given")
    if any(any(series.values) for series in facts.took.values()):
        told.append("EC2 answers an action as fast as it did the nearest time it was asked")
    else:
        told.append("EC2 answers at once, as in the journal")
    if guessed:
        told.append(f"answer times that the journal does not tell are typical ones: {', '.join(sorted(guessed))}")
    if facts.lag.values:
        told.append("instance metadata lags as it did for the nearest ENI")
    for storm in facts.storms:
        if storm.code not in change.calm:
            told.append(
                f"{storm.action} fails with {storm.code or 'no answer'} from record {storm.seqs[0]} until it was next "
                "served, for whoever asks then"
            )
    if change.subnet:
        told.append(f"the subnet {change.subnet} is empty but for this node")
    elif facts.others:
        told.append("other holders of the subnet's addresses keep as many as they had, at its top")
    else:
        told.append("nobody else takes addresses of the subnet")
    if past.imported:
        told.append(f"{past.imported} records were read in logs: what these do not tell is as the import assumed")
    return tuple(told)
