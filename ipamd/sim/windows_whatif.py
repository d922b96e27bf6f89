"""What if, of a controller's journal: its nodes' pods lived again under another ConfigMap, beside what happened.

The variant follows the recording up to the first record that the change makes another, and lives on its own from there.
"""

from __future__ import annotations

import msgspec

from ipamd.core import snapshot
from ipamd.core.events import Record
from ipamd.core.evolve import fold
from ipamd.core.state import State
from ipamd.core.types import SECOND
from ipamd.core.windows_commands import ConfigSeen, OpenController
from ipamd.journal.reading import StrPath, bounds, read

from .past import Progress, Warn, silent
from .windows_meter import WindowsLife, WindowsMeter
from .windows_past import DEMAND, WindowsPast, recall
from .windows_relive import Branch, Change


class WindowsDocument(msgspec.Struct, frozen=True):
    """What `ipamd whatif --json` prints of a controller's journal."""

    baseline: WindowsLife
    variant: WindowsLife
    assumed: tuple[str, ...]
    lived_from: int
    """The record from which the variant goes its own way; 0: it never does."""


class WindowsWhatIf(msgspec.Struct, frozen=True):
    """Both lives: the figures, the lines of the plots, the State at the end of the variant."""

    document: WindowsDocument
    baseline: WindowsMeter
    variant: WindowsMeter
    end: State


class WrongChange(ValueError):
    """A change that cannot be made to this journal."""


def what_if(path: StrPath, change: Change, progress: Progress = silent, warn: Warn = silent) -> WindowsWhatIf:
    """Live the journal again. Raises `WrongChange`, and what reading a journal raises."""
    kept = bounds(path)
    baseline = WindowsMeter(kept.first_at, kept.last_at)
    past = recall(path, baseline.hear, progress, warn)
    _check(past, change)
    variant = WindowsMeter(kept.first_at, kept.last_at)
    try:
        end, busy, lived_from, guessed = _live(past, change, variant)
    except ValueError as error:
        raise WrongChange(str(error)) from None
    document = WindowsDocument(
        baseline.life(past.end_state, bool(past.end_state.calls)),
        variant.life(end, busy),
        _assumptions(past, change, lived_from, guessed),
        lived_from,
    )
    return WindowsWhatIf(document, baseline, variant, end)


def _check(past: WindowsPast, change: Change) -> None:
    if (change.subnet or change.instance_type) and past.begin_state.seq:
        fact = f"its records before {past.first_seq} are gone"
        raise WrongChange(f"another instance type or subnet needs the journal from its first record; {fact}")
    causes = {told.seq: told.cause for told in past.demand}
    opened = [seq for seq, cause in causes.items() if isinstance(cause, OpenController)]
    for seq in sorted(change.dropped):
        if not past.first_seq <= seq <= past.last_seq:
            raise WrongChange(f"--drop {seq}: want a record from {past.first_seq} to {past.last_seq}")
        if seq not in causes:
            wanted = ", ".join(kind.__name__ for kind in DEMAND)
            raise WrongChange(f"--drop {seq}: nobody asked for it; want a record whose cause is one of {wanted}")
        if opened and seq == opened[0] and not past.begin_state.seq:
            raise WrongChange(f"--drop {seq}: without its first start there is no controller")


def _live(past: WindowsPast, change: Change, meter: WindowsMeter) -> tuple[State, bool, int, set[str]]:
    """The variant's life: State at the end, whether busy, the record it differs from on, guessed actions."""
    state = snapshot.fork(past.begin_state)
    cluster = state.windows
    altered = bool(state.seq) and (
        change.config_of(cluster.data) != cluster.data or (change.quirks or cluster.quirks) != cluster.quirks
    )
    at_once = bool(change.subnet or change.instance_type or change.latency or altered)
    lived_from = past.first_seq if at_once else _follow(past, change, state, meter)
    if not lived_from:
        return state, bool(state.calls), 0, set()
    if altered and change.quirks is not None:
        cluster.quirks = change.quirks

    def sink(record: Record) -> None:
        meter.hear(record, branch.engine.state)

    branch: Branch = Branch(past, state, change, sink)
    if altered:
        branch.reconfigure()
    end = branch.run()
    return end, branch.engine.busy, lived_from, branch.guessed


def _follow(past: WindowsPast, change: Change, state: State, meter: WindowsMeter) -> int:
    """Fold what was recorded up to the first record that the change makes another; that record, or 0."""
    for record in read(past.path, state.seq + 1):
        if record.seq > past.last_seq:
            break
        match record.cause:
            case _ if record.seq in change.dropped:
                return record.seq
            case ConfigSeen(data=data) if change.config_of(data) != data:
                return record.seq
            case OpenController(quirks=quirks) if (change.quirks or quirks) != quirks:
                return record.seq
            case _:
                fold(state, record)
                meter.hear(record, state)
    return 0


def _assumptions(past: WindowsPast, change: Change, lived_from: int, guessed: set[str]) -> tuple[str, ...]:
    """What the variant takes for granted, in words."""
    if not lived_from:
        return ("nothing: the change touches no record, so both are the recorded life",)
    told = [
        "pods come and go at the recorded instants, on the recorded nodes, whatever capacity is advertised",
        "a pod without address is tried again by the controller's own delays",
        "nobody but these nodes takes addresses of the subnet; their primary addresses are its lowest free ones",
    ]
    for action, length in change.latency.items():
        told.append(f"{action or 'every other action'} is answered in {length / SECOND:g} s, as given")
    if any(any(series.values) for series in past.facts.took.values()):
        told.append("an action is answered as fast as it was the nearest time, waits for a token of the limit included")
    else:
        told.append("EC2 answers at once, as in the journal")
    if guessed:
        told.append(f"answer times that the journal does not tell are typical ones: {', '.join(sorted(guessed))}")
    for storm in past.facts.storms:
        fails = f"{storm.action} fails with {storm.code or 'no answer'}"
        told.append(f"{fails} from record {storm.seqs[0]} until it was next served")
    if change.subnet:
        told.append(f"the subnet {change.subnet} is empty but for these nodes")
    if change.instance_type:
        told.append(f"every node is a {change.instance_type} with one interface, and empty at the beginning")
    if past.branches:
        told.append("branch interfaces are left out: their pods ask nothing of the pools")
    return tuple(told)
