"""A recorded life lived on by the real core: the State of a moment, the demand that followed, a change, a model cloud.

    past = recall(path)                              # one pass: arrivals, tenures, facts of the cloud
    branch = Branch(past, state, Change(...))        # from that State on, the change made
    branch.run(until)

Whoever asked for an address then asks again at the same instants, and after those every `retry` ns until it is given
one or goes. Who goes, goes when it did.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Callable
from typing import Final

import msgspec

from ipamd.core import snapshot
from ipamd.core.calls import AttachNetworkInterface, Ec2Call, Outcome
from ipamd.core.commands import (
    AddNetwork,
    Assigned,
    DelNetwork,
    KubeNodeSeen,
    Refused,
    Settle,
    Start,
    Terminate,
    asked,
)
from ipamd.core.events import Record
from ipamd.core.evolve import fold
from ipamd.core.settings import Node, Settings
from ipamd.core.state import State
from ipamd.core.types import SECOND, CallId, Instant
from ipamd.journal.reading import StrPath, bounds, read

from .cloud_facts import CloudFacts
from .cloud_model import Fitted, cloud_of, lagging, storms
from .engine import Crashed, Engine, Sink
from .kubelet import RETRY, Arrival, Arrivals
from .past import Progress, Warn, begin, silent
from .recorded_cluster import Fact, Told, tell

CRASH_DELAY: Final = 10 * SECOND
"""How long the kubelet waits before it starts a daemon again whose node init failed."""
_LATER: Final = 1 << 62
GONE_AFTER: Final = 2
"""A pod that was never served and has not asked for so many retry delays has gone."""


class Past(msgspec.Struct):
    """What one pass over a journal keeps. `begin_state` is the one before its oldest kept record."""

    path: StrPath
    first_seq: int
    last_seq: int
    begin_at: Instant
    end_at: Instant
    arrivals: list[Arrival]
    tenures: list[Record]
    """Records of Start and Terminate."""
    answers: dict[CallId, tuple[Instant, Outcome]]
    facts: CloudFacts
    begin_state: State
    end_state: State
    kube: Told
    imported: int = 0
    """Records that were read in somebody's logs."""


Watch = Callable[[Record, State], object]
"""Told each record with the State after it."""


def recall(
    path: StrPath,
    watch: Watch = silent,
    progress: Progress = silent,
    warn: Warn = silent,
    dropped: frozenset[int] = frozenset(),
    until: int | None = None,
) -> Past:
    """Read the whole kept journal once (up to record `until`). Demand of `dropped` records is forgotten."""
    kept = bounds(path)
    last = kept.last_seq if until is None else min(until, kept.last_seq)
    state = begin(path, None, oldest=True, warn=warn)
    first = snapshot.fork(state)
    arrivals, facts, kube = Arrivals(), CloudFacts(), Told()
    span = (state.seq + 1, last, kept.first_at, kept.last_at)
    past = Past(path, *span, arrivals.all, [], {}, facts, first, state, kube)
    for record in read(path, state.seq + 1):
        if record.seq > last:
            break
        if record.seq not in dropped:
            arrivals.hear(record)
            if isinstance(asked(record.cause), Start | Terminate):
                past.tenures.append(record)
        if isinstance(record.cause, Settle):
            past.answers[record.cause.call_id] = (record.at, record.cause.outcome)
        facts.hear(state, record)
        if record.seq not in dropped:
            kube.hear(record)
        past.imported += type(record.cause).__name__ == "Imported"
        fold(state, record)
        past.end_at = record.at
        watch(record, state)
        if record.seq % 1024 == 0:
            progress(record.seq, last)
    facts.finish(state)
    facts.subnets |= kube.subnets(facts.subnets)
    return past


class Change(msgspec.Struct, frozen=True):
    """What is to be different. Members of `settings` and `node` take the place of those recorded."""

    settings: dict[str, object] = {}
    node: dict[str, object] = {}
    subnet: str = ""
    """The node lives in an empty subnet of this CIDR."""
    roomy: bool = False
    """The subnets are wide and nobody else is in them."""
    calm: frozenset[str] = frozenset()
    """Codes of EC2 that do not occur ("" for lost answers)."""
    no_lag: bool = False
    """Instance metadata shows changes at once."""
    unterminated: bool = False
    """The daemon was not told to end."""
    unexcluded: bool = False
    """No subnet's tag excludes it."""
    latency: dict[str, int] = {}
    """Answer times in ns by action ("" for every other) in place of those recorded."""
    dropped: frozenset[int] = frozenset()
    """Records that did not happen: Start, Terminate (demand is left out by `recall`)."""
    retry: int | None = None
    """The kubelet's delay in ns; None: the recorded instants, then `RETRY`."""

    def settings_of(self, recorded: Settings) -> Settings:
        return msgspec.structs.replace(recorded, **self.settings)

    def node_of(self, recorded: Node) -> Node:
        return msgspec.structs.replace(recorded, **self.node)


class _Branching(Engine):
    """An engine whose State is given, with the recorded lag of metadata, and recorded answers to calls in flight."""

    lag: Callable[[], int] = staticmethod(lambda: 0)

    def adopt(self, state: State) -> None:
        self.state = state

    def _ask(self, call: Ec2Call, effect: Callable[[], Outcome], answer: Callable[[Outcome], object]) -> None:
        def timely() -> Outcome:
            lag = self.lag()
            half = self._latency.ns(call, self._asked) // 2 if isinstance(call, AttachNetworkInterface) else 0
            lagging(self.vpc, lag + half if lag else 0)
            return effect()

        super()._ask(call, timely, answer)

    def settle_recorded(self, call_id: CallId, at: Instant, outcome: Outcome, then: Callable[[], None]) -> None:
        """A call in flight comes back as it did, unless the process ends before."""

        def come() -> None:
            self._apply(Settle(call_id, outcome))
            then()

        self._later(max(at - self.now, 0), come, self._tenure)


class Branch:
    """A life from a State on. `state` is carried along; it is the caller's to give away."""

    def __init__(self, past: Past, state: State, change: Change, sink: Sink | None = None) -> None:
        """Raises ValueError for a subnet that EC2 would refuse."""
        self.past = past
        self.change = change
        self.refused: list[tuple[Instant, Arrival, str]] = []
        self.granted: dict[int, Instant] = {}
        """By id() of the arrival: when it got its address."""
        self._tenures = [r for r in past.tenures if r.seq > state.seq and r.seq not in change.dropped]
        node = change.node_of(state.node if state.seq else self._first_start().node)
        settings = change.settings_of(state.settings if state.seq else self._first_start().settings)
        if state.seq and (change.settings or change.node or change.unexcluded or change.unterminated):
            state = _altered(state, change)
        at = state.at if state.seq else past.begin_at
        self._fitted = Fitted(past.facts, lambda: self.engine.now, change.latency)
        vpc = cloud_of(state, node, past.facts, at, change.subnet, change.roomy)
        if change.unexcluded:
            _untag(vpc)
        storms(vpc, past.facts, lambda code: code not in change.calm)
        kube = past.kube.cluster(state)
        self.engine = _Branching(vpc, settings, node, latency=self._fitted, sink=sink, now=at, kube=kube)
        self.engine.adopt(state)
        self.engine.lag = lambda: 0 if change.no_lag else past.facts.lag.near(self.engine.now) or 0
        self._heap: list[tuple[Instant, int, int, Callable[[], None]]] = []
        self._order = 0
        self._down = False
        self._in_flight()
        self._plan()

    @property
    def guessed(self) -> set[str]:
        """Actions whose answer time no record tells."""
        return self._fitted.guessed

    def run(self, until: Instant) -> State:
        """Live on to `until`, included; the State then."""
        while self._heap and self._heap[0][0] <= until:
            at, _, _, action = heapq.heappop(self._heap)
            self._guarded(lambda at=at: self.engine.advance(at))  # type: ignore[misc]
            self.engine.now = max(self.engine.now, at)
            action()
        self._guarded(lambda: self.engine.advance(until))
        return self.engine.state

    # ---- what happens when ---------------------------------------------------------------------------------

    def _first_start(self) -> Start:
        causes = [asked(record.cause) for record in self.past.tenures]
        first = next((cause for cause in causes if isinstance(cause, Start)), None)
        if first is None:
            raise ValueError("the journal has no Start and no snapshot, so nothing says which node it is")
        return first

    def _at(self, at: Instant, action: Callable[[], None], seq: int = 0) -> None:
        """Of one instant, what is recorded comes in the order of its records, before all else."""
        self._order += 1
        heapq.heappush(self._heap, (max(at, self.engine.now), seq or _LATER + self._order, self._order, action))

    def _guarded(self, action: Callable[[], object]) -> None:
        try:
            action()
        except Crashed:
            self._down = True
            self._at(self.engine.now + CRASH_DELAY, self._again)

    def _again(self) -> None:
        if self._down:
            self._down = False
            self._guarded(lambda: self.engine.start(self.engine.state.seed))

    def _in_flight(self) -> None:
        for call_id in self.engine.state.calls:
            at, outcome = self.past.answers.get(call_id, (0, None))
            code = getattr(outcome, "code", None)
            if outcome is not None and code not in self.change.calm:
                self.engine.settle_recorded(call_id, at, outcome, self._rebuild)
            elif outcome is not None:
                self._repeat(call_id, at)

    def _repeat(self, call_id: CallId, at: Instant) -> None:
        """The call that failed does not: the model answers it at the same instant."""
        from ipamd.ec2.vpc import apply

        call = self.engine.state.calls[call_id].call
        done = apply(self.engine.vpc, call, at, self.engine.node.instance)  # type: ignore[arg-type]
        self.engine.settle_recorded(call_id, at, done, lambda: None)

    def _rebuild(self) -> None:
        """What the recorded answer brought is in State now, and has to be in the model."""
        engine = self.engine
        change = self.change
        engine.vpc = cloud_of(engine.state, engine.node, self.past.facts, engine.now, change.subnet, change.roomy)
        if change.unexcluded:
            _untag(engine.vpc)
        storms(engine.vpc, self.past.facts, lambda code: code not in self.change.calm)

    def _plan(self) -> None:
        for number, at, fact in self.past.kube.after(self.engine.state.seq):
            self._at(at, lambda fact=fact: self._heard(fact), number)  # type: ignore[misc]
        for record in self._tenures:
            self._at(record.at, lambda record=record: self._tenure(record), record.seq)  # type: ignore[misc]
        seq, now = self.engine.state.seq, self.engine.now
        holding = {key for store in self.engine.state.stores.values() for key in store.owners}
        for arrival in self.past.arrivals:
            if arrival.sandbox in holding and arrival.tries[-1] <= now and arrival.granted_at:
                if arrival.ended_at:
                    self._at(arrival.ended_at, lambda a=arrival: self._leave(a))  # type: ignore[misc]
                continue
            if arrival.seqs[-1] <= seq and (arrival.granted_at or self._left(arrival) <= now):
                continue
            tries = zip(arrival.tries, arrival.seqs, strict=True)
            first, number = next(((at, number) for at, number in tries if number > seq), (now, 0))
            self._at(first, lambda a=arrival: self._ask(a), number)  # type: ignore[misc]
            left = arrival.ended_at if arrival.granted_at else self._left(arrival)
            if left and left <= self.past.end_at:
                self._at(left, lambda a=arrival: self._leave(a))  # type: ignore[misc]

    def _left(self, arrival: Arrival) -> Instant:
        """When a pod that never was served stopped waiting."""
        return arrival.tries[-1] + GONE_AFTER * max(self.change.retry or 0, RETRY)

    def _tenure(self, record: Record) -> None:
        cause = asked(record.cause)
        if isinstance(cause, Terminate):
            self._guarded(lambda: self.engine.submit(Terminate()))
            return
        assert isinstance(cause, Start)
        self.engine.settings = self.change.settings_of(cause.settings)
        self.engine.node = self.change.node_of(cause.node)
        self._down = False
        seed = cause.seed
        self._guarded(lambda: self.engine.start(seed))

    def _heard(self, fact: Fact) -> None:
        """What the API server says has changed, and the daemon is told of its Node."""
        tell(self.engine.kube, fact)
        if isinstance(fact, KubeNodeSeen) and not self._down and self.engine.state.seq:
            self._guarded(lambda: self.engine.submit(fact))

    def _ask(self, arrival: Arrival) -> None:
        now = self.engine.now
        gone = arrival.ended_at if arrival.granted_at else self._left(arrival)
        if id(arrival) in self.granted or (gone and gone <= now and gone <= self.past.end_at):
            return
        answers: list[object] = []
        if not self._down:
            self._guarded(lambda: answers.append(self.engine.submit(AddNetwork(arrival.sandbox, arrival.pod))))
        if answers and isinstance(answers[0], Assigned):
            self.granted[id(arrival)] = now
            return
        reason = answers[0].reason if answers and isinstance(answers[0], Refused) else "restart"
        self.refused.append((now, arrival, reason))
        after = bisect_right(arrival.tries, now)
        if self.change.retry is None and after < len(arrival.tries):
            self._at(arrival.tries[after], lambda: self._ask(arrival), arrival.seqs[after])
        else:
            self._at(now + (self.change.retry or RETRY), lambda: self._ask(arrival))

    def _leave(self, arrival: Arrival) -> None:
        self._guarded(lambda: self.engine.submit(DelNetwork(arrival.sandbox, "recorded")))


def _altered(state: State, change: Change) -> State:
    """The State as it would be if settings and node had been so from here on."""
    frozen = snapshot.freeze(state, copy=True)
    frozen.settings = change.settings_of(frozen.settings)
    frozen.node = change.node_of(frozen.node)
    frozen.terminating = frozen.terminating and not change.unterminated
    if change.unexcluded:
        for eni in frozen.enis:
            eni.excluded = False
    return snapshot.thaw(frozen)


def _untag(vpc: object) -> None:
    from ipamd.core.subnets import ROLE_TAG
    from ipamd.ec2.state import Vpc

    assert isinstance(vpc, Vpc)
    for row in list(vpc.subnets.values()):
        if row.tags.get(ROLE_TAG) == "0":
            tags = {**row.tags, ROLE_TAG: "1"}
            vpc.install((msgspec.structs.replace(row, tags=tags),), vpc.at, settled=True)
