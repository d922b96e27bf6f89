"""A pod's way from request to address as a waterfall: what each span of its wait was spent on.

Spans follow one another without a gap from the first try to the grant, or to the end of what is recorded.
"""

from __future__ import annotations

import msgspec

from ipamd.core import assign
from ipamd.core.calls import AttachNetworkInterface, Ec2Call, SetUpEni
from ipamd.core.evolve import fold
from ipamd.core.state import State
from ipamd.core.types import NEVER, Instant
from ipamd.core.work import Fill, Grow, Init
from ipamd.journal.reading import StrPath, bounds, read

from .kubelet import Arrival, Arrivals
from .past import Progress, Warn, begin, fold_to, silent


class Span(msgspec.Struct, frozen=True):
    """What a part of the wait was spent on. `stage` is kubelet, pool, ec2, attach, metadata, host, start or assign."""

    stage: str
    what: str
    begin: Instant
    end: Instant
    seqs: tuple[int, ...]
    """The first and the last record of the span."""


class Try(msgspec.Struct, frozen=True):
    """One ADD: `reason` is "" for the one that was granted."""

    seq: int
    at: Instant
    reason: str


class PodStory(msgspec.Struct, frozen=True):
    """The answer. `granted_seq` 0 and `address` "" where it has none."""

    pod: str
    tries: tuple[Try, ...]
    spans: tuple[Span, ...]
    granted_seq: int
    granted_at: Instant
    address: str
    released_seq: int
    wait: int
    """Ns from the first try to the grant, or to the end of the journal."""
    arrivals: int
    """How often the pod came, this one included."""


class NoSuchPod(ValueError):
    """The pod never asked for an address in what is kept of the journal."""


def why_pod(
    path: StrPath, name: str, until: int | None = None, progress: Progress = silent, warn: Warn = silent
) -> PodStory:
    """The newest arrival of `[namespace/]name` up to record `until`. Raises `NoSuchPod` and what reading raises."""
    kept = bounds(path)
    last = kept.last_seq if until is None else min(until, kept.last_seq)
    arrivals = Arrivals()
    for record in read(path, begin(path, None, oldest=True, warn=warn).seq + 1):
        if record.seq > last:
            break
        arrivals.hear(record)
        if record.seq % 1024 == 0:
            progress(record.seq, last)
    found = [a for a in arrivals.all if name in (a.pod.name, f"{a.pod.namespace}/{a.pod.name}")]
    if not found:
        raise NoSuchPod(f"{name[:80]}: no pod of that name asked for an address up to record {last}")
    return _story(path, found[-1], last, len(found))


def _story(path: StrPath, arrival: Arrival, last: int, came: int) -> PodStory:
    first, end = arrival.seqs[0], arrival.seqs[-1] if arrival.granted_at else last
    state = fold_to(path, first - 1) if first > 1 else State()
    spans: list[Span] = []
    address, since, label, from_seq, at = "", NEVER, ("", ""), first, NEVER
    for record in read(path, first):
        if record.seq > end:
            break
        if since and record.at > since and label[0]:
            spans = _joined(spans, Span(*label, since, record.at, (from_seq, record.seq)))
        fold(state, record)
        since, from_seq, at = record.at, record.seq, record.at
        label = _label(state, record.at)
    if arrival.granted_at:
        held = [store.owners.get(arrival.sandbox) for store in state.stores.values()]
        block, offset = next(row for row in held if row is not None)
        address = block.address(offset)
        spans.append(Span("assign", f"{address} assigned", at, at, (end,)))
    reasons = [*arrival.reasons, ""]
    tries = zip(arrival.seqs, arrival.tries, reasons[: len(arrival.seqs)], strict=False)
    return PodStory(
        f"{arrival.pod.namespace}/{arrival.pod.name}",
        tuple(Try(*each) for each in tries),
        tuple(spans),
        end if arrival.granted_at else 0,
        arrival.granted_at,
        address,
        arrival.ended_seq,
        at - arrival.tries[0],
        came,
    )


def _joined(spans: list[Span], span: Span) -> list[Span]:
    if spans and (spans[-1].stage, spans[-1].what) == (span.stage, span.what):
        before = spans.pop()
        span = Span(span.stage, span.what, before.begin, span.end, (before.seqs[0], span.seqs[-1]))
    return [*spans, span]


def _label(state: State, now: Instant) -> tuple[str, str]:
    """(stage, what) the wait is spent on in this State."""
    if state.phase != "ready" or isinstance(state.pool.work, Init):
        return "start", "node init of the daemon"
    if any(assign.pick(state, store, now) is not None for store in state.stores.values()):
        return "kubelet", "there is an address; the kubelet's next try is awaited"
    for running in state.calls.values():
        if running.lane == "pool":
            return _of_call(running.call)
    work = state.pool.work
    match work:
        case Grow(step="wait"):
            return "metadata", "the new ENI is not in instance metadata yet"
        case Grow(step=step):
            return "ec2", f"adding an ENI, step {step}"
        case Fill(step=step):
            return "ec2", f"adding addresses, step {step}"
        case None:
            return "pool", "the pool's next look, or a pod that goes"
        case _:
            return "pool", f"the pool is busy with something else ({type(work).__name__})"


def _of_call(call: object) -> tuple[str, str]:
    name = type(call).__name__
    if isinstance(call, AttachNetworkInterface):
        return "attach", name
    if isinstance(call, SetUpEni):
        return "host", name
    return ("ec2" if isinstance(call, Ec2Call) else "host"), name
