"""A controller of Windows nodes in virtual time: the core, many nodes, the pure cloud, a heap of moments.

    engine = WindowsEngine(vpc, subnet)
    engine.configure({"enable-windows-ipam": "true"})
    engine.join("win-1", "c5.large")
    engine.add_pods(12)
    engine.settle()

The driver's rules are those of the controller process: record first, then call; settle once; two workers for each
kind of pool, ten for nodes, twenty for pods (WIN-125); every request to EC2 takes a token of one bucket (WIN-113).
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Final

from ipamd.core import events as ev
from ipamd.core import windows_events as we
from ipamd.core.calls import AssignPrivateIpAddresses, Call, Failed, Outcome
from ipamd.core.cluster_calls import AdvertiseCapacity, AnnotatePod, ReadInstance
from ipamd.core.commands import Answer, Command, Settle
from ipamd.core.decide import decide
from ipamd.core.events import FORMAT, Record
from ipamd.core.evolve import fold
from ipamd.core.settings import WindowsQuirks
from ipamd.core.state import State
from ipamd.core.types import MS, SECOND, Instant
from ipamd.core.windows_commands import (
    ConfigSeen,
    LegacySeen,
    NodeGone,
    NodeSeen,
    OpenController,
    PodGone,
    PodSeen,
    WindowsDue,
)
from ipamd.core.windows_decide import unseen
from ipamd.core.windows_state import next_due
from ipamd.ec2.latency import Latency
from ipamd.ec2.state import Vpc
from ipamd.ec2.vpc import launch

from .engine import EPOCH, Sink
from .neighbours import terminate
from .windows_cluster import ConfigData, Objects, SimNode, SimPod, perform

WORKERS: Final = {"secondary": 2, "prefix": 2, "node": 10, "pod": 20}
"""WIN-125; pod events have 20 workers (WIN-55)."""
QUIET: Final = 65 * SECOND
"""Past the cooldown of 30 s and the tick of 30 s after it (WIN-67)."""
LIMIT: Final = 1200 * SECOND
NAME: Final = "windows-controller"
"""What `node` is in records that concern no single node."""
_CLOCKS = (we.PodWaits, we.Announced, we.ResyncWanted, we.PoolResynced, ev.CallStarted, ev.CallEnded)


class Bucket:
    """Upstream's client-side limit (WIN-113): `rate` requests a second, `burst` at once; 0: no limit."""

    def __init__(self, rate: int = 12, burst: int = 18) -> None:
        self._interval = SECOND // rate if rate else 0
        self._burst = burst
        self._next: Instant = 0

    def wait(self, now: Instant) -> int:
        """How long this request waits for its token, in ns."""
        if not self._interval:
            return 0
        self._next = max(self._next, now - (self._burst - 1) * self._interval)
        granted = self._next
        self._next += self._interval
        return max(granted - now, 0)


class WindowsEngine:
    """The controller and what is around it. `now` is the present instant; State is always up to date."""

    def __init__(
        self,
        vpc: Vpc,
        subnet: str,
        *,
        quirks: WindowsQuirks | None = None,
        latency: Latency | None = None,
        bucket: Bucket | None = None,
        sink: Sink | None = None,
    ) -> None:
        """`subnet` is where nodes are launched unless `join` names another."""
        self.vpc = vpc
        self.subnet = subnet
        self.quirks = quirks or WindowsQuirks()
        self.now: Instant = EPOCH
        self.state = State()
        self.objects = Objects()
        self.data: ConfigData = None
        self.legacy = False
        self.changed_at: Instant = EPOCH
        self.requests: Counter[str] = Counter()
        """EC2 requests by action."""
        self.announced: list[tuple[Instant, we.Announced]] = []
        self.refuse: Callable[[Call], Failed | None] = lambda _: None
        """Faults of the API server and of EC2 beside the model's own."""
        self.flag = True
        self._latency = latency or Latency("none", 0)
        self._bucket = bucket or Bucket(0)
        self._sink = sink
        self._heap: list[tuple[Instant, int, Callable[[], None]]] = []
        self._order = 0
        self._tenure = 0
        self._asked = 0
        self._queues: dict[str, deque[ev.CallStarted]] = {lane: deque() for lane in WORKERS}
        self._running: Counter[str] = Counter()

    # ---- the controller's process ---------------------------------------------------------------------------

    def start(self, seed: int = 0) -> None:
        """The process begins, or begins anew: what was queued is gone, what was asked answers nobody."""
        self._tenure += 1
        self._running.clear()
        for queue in self._queues.values():
            queue.clear()
        self._apply(OpenController(seed or self._tenure, self.flag, self.quirks))
        self._apply(LegacySeen(self.legacy))
        self._apply(ConfigSeen(self.data))
        for pod in self.objects.pods.values():
            if pod.wants and pod.node:
                self._apply(PodSeen(pod.node, pod.facts))
        for node in self.objects.nodes.values():
            self._apply(node.seen)
        for name in unseen(self.state.windows):
            self._apply(NodeGone(name))
        self._pursue()

    def configure(self, data: ConfigData) -> None:
        """The ConfigMap is now this; None: it is gone."""
        self.data = data
        self._tell(ConfigSeen(data))

    def set_legacy(self, present: bool) -> None:
        """The legacy Deployment comes or goes."""
        self.legacy = present
        self._tell(LegacySeen(present))

    def resync(self) -> None:
        """Every Node object is listed again, as every 30 minutes."""
        for node in self.objects.nodes.values():
            self._apply(node.seen)
        self._pursue()

    # ---- objects --------------------------------------------------------------------------------------------

    def join(self, name: str, instance_type: str, os: str = "windows", subnet: str = "") -> SimNode:
        """A new instance and its Node. Raises ValueError if the subnet has no address left."""
        row = launch(self.vpc, instance_type, subnet or self.subnet, now=self.now)
        return self.adopt(SimNode(name, row.instance, instance_type, os))

    def adopt(self, node: SimNode) -> SimNode:
        """A Node object appears."""
        self.objects.nodes[node.name] = node
        self._tell(node.seen)
        return node

    def leave(self, name: str, instance_too: bool = True) -> None:
        """The Node object goes and its instance with it; its pods go too."""
        node = self.objects.nodes.pop(name)
        for uid in node.pods:
            del self.objects.pods[uid]
        if instance_too:
            terminate(self.vpc, node.instance, self.now)
        uids = list(node.pods)
        self._tell(*(PodGone(name, uid) for uid in uids), NodeGone(name))

    def add_pods(self, count: int, node: str = "") -> list[SimPod]:
        """New pods, all at this instant; the webhook asks whether IPAM is on (WIN-51)."""
        made = []
        for _ in range(count):
            self.objects.made += 1
            pod = SimPod(self.objects.made, self.state.windows.conditions.ipam, self.now)
            self.objects.pods[pod.uid] = pod
            made.append(pod)
            self._bind(pod, node)
        self._pursue()
        return made

    def _bind(self, pod: SimPod, node: str = "") -> None:
        placed = self.objects.place(pod, node)
        if placed is not None and pod.wants:
            self._apply(PodSeen(placed.name, pod.facts))

    def delete_pods(self, pods: Iterable[SimPod]) -> None:
        """Pods end at this instant; who was pending takes the room."""
        for pod in pods:
            self.objects.pods.pop(pod.uid, None)
            self.objects.pending.pop(pod.uid, None)
            node = self.objects.nodes.get(pod.node)
            if node is not None and node.pods.pop(pod.uid, None) is not None and pod.wants:
                self._apply(PodGone(pod.node, pod.uid))
        self._schedule()
        self._pursue()

    def complete(self, pod: SimPod) -> None:
        """The pod's phase is Succeeded."""
        pod.done = True
        self._tell(PodSeen(pod.node, pod.facts))

    def _schedule(self) -> None:
        for pod in list(self.objects.pending.values()):
            self._bind(pod)
            if pod.uid in self.objects.pending:
                return

    # ---- time -----------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a call is queued or in flight."""
        return bool(self.state.calls)

    def advance(self, until: Instant) -> None:
        """Let time pass; everything due on the way happens at its instant."""
        while (moment := self.next_moment()) is not None and moment <= until:
            self.step()
        self.now = max(self.now, until)

    def next_moment(self) -> Instant | None:
        """When something happens next."""
        due = next_due(self.state.windows)
        moments = [self._heap[0][0]] if self._heap else []
        moments += [max(due, self.now)] if due is not None else []
        return min(moments, default=None)

    def step(self) -> None:
        """Go to the next moment and do one thing that is due there; answers come before what is due by itself."""
        moment = self.next_moment()
        assert moment is not None, "nothing is due"
        self.now = moment
        if self._heap and self._heap[0][0] <= moment:
            heapq.heappop(self._heap)[2]()
        else:
            self._apply(WindowsDue())

    def idle(self, limit: int = LIMIT) -> None:
        """Let what is in flight come back."""
        deadline = self.now + limit
        while self.busy and (moment := self.next_moment()) is not None and moment <= deadline:
            self.step()

    def settle(self, quiet: int = QUIET, limit: int = LIMIT) -> bool:
        """Until nothing changed for `quiet` ns; False if something still does after `limit`."""
        began = self.now
        while self.now < began + limit:
            calm = max(self.changed_at, began) + quiet
            moment = self.next_moment()
            if not self.busy and (moment is None or moment > calm):
                self.advance(calm)
                return True
            assert moment is not None, "calls are in flight and nothing brings them back"
            if moment > began + limit:
                break
            self.step()
        return False

    # ---- the driver -----------------------------------------------------------------------------------------

    def _tell(self, *commands: Command) -> None:
        for command in commands:
            self._apply(command)
        self._pursue()

    def submit(self, command: Command) -> Answer:
        """One command at the present instant, and all that follows at once."""
        answer = self._apply(command)
        self._pursue()
        return answer

    def _pursue(self) -> None:
        """Everything that is due at the present instant."""
        for _ in range(1_000_000):
            moment = self.next_moment()
            if moment is None or moment > self.now:
                return
            self.step()
        raise AssertionError(f"time does not pass at {self.now}")

    def _apply(self, command: Command) -> Answer:
        decision = decide(self.state, command, self.now)
        if decision.events:
            about = getattr(command, "node", "")
            if isinstance(command, Settle) and command.call_id in self.state.calls:
                about = self.state.calls[command.call_id].node
            record = Record(FORMAT, self.state.seq + 1, self.now, about or NAME, command, decision.events)
            fold(self.state, record)
            if self._sink is not None:
                self._sink(record)
            self._perform(decision.events)
        return decision.answer

    def _perform(self, events: tuple[ev.Event, ...]) -> None:
        for event in events:
            if not isinstance(event, _CLOCKS) and not (isinstance(event, we.Ticked) and not event.cooled):
                self.changed_at = self.now
            if isinstance(event, ev.CallStarted):
                self._queues[event.lane].append(event)
                self._work(event.lane)
            elif isinstance(event, we.Announced):
                self.announced.append((self.now, event))
            elif isinstance(event, we.CapacityAdvertised):
                self._later(0, self._schedule)

    def _work(self, lane: str) -> None:
        queue = self._queues[lane]
        while queue and self._running[lane] < WORKERS[lane]:
            self._running[lane] += 1
            self._ask(queue.popleft())

    def _ask(self, started: ev.CallStarted) -> None:
        call, tenure = started.call, self._tenure
        wait, latency = self._cost(started)

        def answer(outcome: Outcome) -> None:
            self._running[started.lane] -= 1
            self._apply(Settle(started.call_id, outcome))
            self._work(started.lane)

        def happen() -> None:
            outcome = self.refuse(call) or self._outcome(started)
            self._later(latency - latency // 2, lambda: answer(outcome), tenure)

        self._later(wait + latency // 2, happen)

    def _outcome(self, started: ev.CallStarted) -> Outcome:
        call = started.call
        if isinstance(call, AnnotatePod | AdvertiseCapacity):
            return self.objects.write(call, self.now)
        node = self.objects.nodes.get(started.node)
        return perform(self.vpc, call, self.now, node.instance if node is not None else "")

    def _cost(self, started: ev.CallStarted) -> tuple[int, int]:
        """How long a call waits for tokens and how long it takes, in ns."""
        call = started.call
        if isinstance(call, AnnotatePod | AdvertiseCapacity):
            return 0, 0 if self._latency.profile == "none" else 20 * MS
        wait = latency = 0
        for action in actions(started):
            self._asked += 1
            self.requests[action] += 1
            wait = max(wait, self._bucket.wait(self.now))
            latency += self._latency.of(action, self._asked)
        return wait, latency

    def _later(self, delay: int, action: Callable[[], object], tenure: int | None = None) -> None:
        """`tenure`: only if the same process still lives then."""
        self._order += 1

        def run() -> None:
            if tenure is None or tenure == self._tenure:
                action()

        heapq.heappush(self._heap, (self.now + delay, self._order, run))


def actions(started: ev.CallStarted) -> list[str]:
    """The requests to EC2 that a call comes to; none for one to the API server."""
    match started.call:
        case AnnotatePod() | AdvertiseCapacity():
            return []
        case ReadInstance():
            return ["DescribeInstances", "DescribeSubnets"] if started.lane == "node" else ["DescribeInstances"]
        case AssignPrivateIpAddresses():
            return ["AssignPrivateIpAddresses", "DescribeNetworkInterfaces"]  # until all is visible (WIN-107)
        case call:
            return [type(call).__name__]


def node_seen_again(engine: WindowsEngine, name: str) -> None:
    """One Node event, such as a kubelet's status update."""
    node = engine.objects.nodes[name]
    engine.submit(NodeSeen(node.name, node.instance, node.os, node.capacity))
