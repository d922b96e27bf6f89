"""One node in virtual time: the core, the pure cloud, a heap of moments. No asyncio, no sleeping.

The driver's rules are those of the asyncio runtime: start first; decide and fold without a break; perform a call
only after its record; settle exactly once; wake when the agenda says so. Records go to a sink, a journal or a list.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeAlias

from ipamd.core import events as ev
from ipamd.core.calls import (
    AssignIpv6Addresses,
    AssignPrivateIpAddresses,
    AttachNetworkInterface,
    CreateNetworkInterface,
    CreateTags,
    DeleteNetworkInterface,
    DetachNetworkInterface,
    Ec2Call,
    Failed,
    LinksView,
    Look,
    Lost,
    MetadataView,
    ModifyNetworkInterfaceAttribute,
    Outcome,
    ReadLinks,
    Succeeded,
    UnassignIpv6Addresses,
    UnassignPrivateIpAddresses,
    View,
)
from ipamd.core.commands import After, Answer, Command, Observed, Settle, Start, Tick
from ipamd.core.decide import decide
from ipamd.core.events import FORMAT, Record
from ipamd.core.evolve import fold
from ipamd.core.kube import KubeCall, KubeLook
from ipamd.core.observe import condense
from ipamd.core.plan import Due, agenda
from ipamd.core.settings import Node, Settings
from ipamd.core.state import State
from ipamd.core.types import Instant
from ipamd.ec2.latency import Latency
from ipamd.ec2.port import Ec2Look, operation
from ipamd.ec2.state import Vpc
from ipamd.ec2.vpc import apply, look

from .cluster import SimCluster
from .settle import changes

EPOCH: Instant = 1_767_225_600_000_000_000
"""2026-01-01T00:00:00Z: when virtual time begins."""

Sink: TypeAlias = Callable[[Record], object]

_EC2_CALLS = (
    AssignIpv6Addresses, AssignPrivateIpAddresses, AttachNetworkInterface, CreateNetworkInterface, CreateTags,
    DeleteNetworkInterface, DetachNetworkInterface, ModifyNetworkInterfaceAttribute, UnassignIpv6Addresses,
    UnassignPrivateIpAddresses,
)  # fmt: skip


class Crashed(Exception):
    """The simulated process ended in node init: `InitFailed` says at which step."""


class Engine:
    """A node and its cloud. `submit` now, `advance` time, `restart` the process; State is always up to date."""

    def __init__(
        self,
        vpc: Vpc,
        settings: Settings,
        node: Node,
        *,
        latency: Latency | None = None,
        sink: Sink | None = None,
        now: Instant = EPOCH,
        host: Callable[[object], Outcome] | None = None,
        links: Callable[[], LinksView] | None = None,
        sight: Callable[[View], View] | None = None,
        kube: SimCluster | None = None,
    ) -> None:
        """The instance is `node.instance` of the VPC. `sight`: what this process makes of what a look at EC2 saw."""
        self.vpc = vpc
        self.settings = settings
        self.node = node
        self.now = now
        self.state = State()
        self.changed_at: Instant = now
        """When the last record was made that changed more than clocks (see `settle`)."""
        self.requests: Counter[str] = Counter()
        """EC2 requests by action, looks at EC2 included; reads of instance metadata are not EC2 requests."""
        self._latency = latency or Latency("none", 0)
        self._sink = sink
        self._host = host or (lambda _: Succeeded())
        self.kube = kube or SimCluster()
        self._links = links or (lambda: LinksView(known=False))
        self.sight = sight or (lambda view: view)
        self._heap: list[tuple[Instant, int, Callable[[], None]]] = []
        self._order = 0
        self._tenure = 0
        self._asked = 0
        self._looking: dict[str, Look] = {}

    @property
    def busy(self) -> bool:
        """Whether something is in flight: a call, a look, or work that waits for its next step."""
        state = self.state
        return bool(state.calls or self._looking) or state.pool.work is not None or state.watch.work is not None

    # ---- what a caller does --------------------------------------------------------------------------------

    def start(self, seed: int = 1) -> None:
        """The process begins; whatever the last one had in flight answers nobody."""
        self._tenure += 1
        self._looking.clear()
        self.submit(Start(self.settings, self.node, seed, kube_node=self.kube.node))

    def submit(self, command: Command) -> Answer:
        """One command at the present instant; its answer, also where that waits for a call.

        Follow-ups that are due at once have run when it returns.
        """
        answer = self._apply(command)
        self._pursue()
        return answer.answer if isinstance(answer, After) else answer

    def after(self, delay: int, action: Callable[[], object]) -> None:
        """Somebody outside the process does something so many ns from now."""
        self._later(delay, action)

    def advance(self, until: Instant) -> None:
        """Let time pass; everything due on the way happens at its instant."""
        while True:
            moment = self.next_moment()
            if moment is None or moment > until:
                break
            self.step()
        self.now = max(self.now, until)

    def next_moment(self) -> Instant | None:
        """When something happens next: an answer comes, or a lane is due."""
        dues = self._dues()
        moments = [self._heap[0][0]] if self._heap else []
        moments += [max(due.at, self.now) for due in dues]
        return min(moments, default=None)

    def step(self) -> None:
        """Go to the next moment and do what is due there. Answers come before ticks of the same instant."""
        moment = self.next_moment()
        assert moment is not None, "nothing is due: the node never started or its init failed"
        dues = self._dues()  # of before: at a beat's own instant the agenda names the next one
        self.now = moment
        if self._heap and self._heap[0][0] <= moment:
            heapq.heappop(self._heap)[2]()
            self._pursue()
            return
        for due in dues:
            if due.at <= moment:
                self._do(due)
        self._pursue()

    # ---- the driver ----------------------------------------------------------------------------------------

    def _dues(self) -> list[Due]:
        return [due for due in agenda(self.state, self.now) if due.lane not in self._looking]

    def _pursue(self) -> None:
        """Do everything that is due by now: chains of steps that take no time."""
        for _ in range(10_000):
            due = next((due for due in self._dues() if due.at <= self.now), None)
            if due is None:
                return
            if not self._do(due):
                return
        raise AssertionError(f"the agenda never empties at {self.now}: {self._dues()}")

    def _do(self, due: Due) -> bool:
        if due.look is not None:
            self._look(due.lane, due.look)
            return True
        before = self.state.seq
        self._apply(Tick(due.lane))
        return self.state.seq != before

    def _apply(self, command: Command) -> Answer:
        decision = decide(self.state, command, self.now)
        if decision.events:
            seq = self.state.seq + 1
            record = Record(FORMAT, seq, self.now, self.node.instance, command, decision.events)
            fold(self.state, record)
            if changes(decision.events):
                self.changed_at = self.now
            if self._sink is not None:
                self._sink(record)
            self._perform(decision.events)
        return decision.answer

    def _perform(self, events: Iterable[ev.Event]) -> None:
        for event in events:
            if isinstance(event, ev.CallStarted):
                self._call(event)
            elif isinstance(event, ev.InitFailed):
                raise Crashed(f"node init failed at {event.step}: {event.code} {event.message}")

    def _call(self, started: ev.CallStarted) -> None:
        call = started.call
        if not isinstance(call, _EC2_CALLS):
            outcome = self.kube.call(call) if isinstance(call, KubeCall) else self._host(call)
            self._later(0, lambda: self._apply(Settle(started.call_id, outcome)))
            return
        self._ask(
            call,
            lambda: apply(self.vpc, call, self.now, self.node.instance),
            lambda got: self._apply(Settle(started.call_id, got)),
        )

    def _ask(self, call: Ec2Call, effect: Callable[[], Outcome], answer: Callable[[Outcome], object]) -> None:
        """Half of the latency before the effect, half after."""
        self._asked += 1
        self.requests[operation(call)] += 1
        latency = self._latency.ns(call, self._asked)
        tenure = self._tenure

        def happen() -> None:
            outcome = effect()
            self._later(latency - latency // 2, lambda: answer(outcome), tenure)

        self._later(latency // 2, happen)

    def _look(self, lane: str, wanted: Look) -> None:
        self._looking[lane] = wanted
        if isinstance(wanted, ReadLinks):
            self._later(0, lambda: self._seen(lane, wanted, self._links()), self._tenure)
            return
        if isinstance(wanted, KubeLook):
            read = self.kube.look(wanted)
            self._later(0, lambda: self._seen(lane, wanted, read), self._tenure)
            return
        asked = wanted
        self._asked += 1
        if operation(asked) != "ReadMetadata":
            self.requests[operation(asked)] += 1
        latency = self._latency.ns(asked, self._asked)
        self._later(latency, lambda: self._seen(lane, wanted, self._look_at(asked)), self._tenure)

    def _look_at(self, wanted: Ec2Look) -> View | Failed | Lost:
        seen = look(self.vpc, wanted, self.now, self.node.instance)
        return seen if isinstance(seen, Failed | Lost) else self.sight(seen)

    def _seen(self, lane: str, wanted: Look, seen: View | Failed | Lost) -> None:
        self._looking.pop(lane, None)
        if isinstance(seen, Lost):
            seen = Failed("", f"no answer: {seen.why}")
        if isinstance(seen, MetadataView):
            seen = condense(self.state, seen, self.now)
        self._apply(Observed(wanted, seen))

    def _later(self, delay: int, action: Callable[[], object], tenure: int | None = None) -> None:
        """`tenure`: only if the same process still lives then."""
        self._order += 1

        def run() -> None:
            if tenure is None or tenure == self._tenure:
                action()

        heapq.heappush(self._heap, (self.now + delay, self._order, run))
