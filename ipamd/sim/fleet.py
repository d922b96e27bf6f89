"""Several nodes in one VPC and one virtual time: each is an `Engine`, and pods come to them as Kubernetes brings them.

    fleet = Fleet(vpc, subnet, latency="realistic", seed=1)
    fleet.join("a", "m5.large", settings, max_pods=29)
    fleet.settle()
    fleet.add_pods(20)
    fleet.drain("a", max_unavailable=2)

The scheduler: a pod goes to the ready, uncordoned node with the fewest pods (the one that joined first, among
equals) that has room under its max-pods, where the host-network pods count too; else it waits for room. The kubelet:
it asks for an address at once and, refused, again every `retry` ns with a new sandbox, as long as it takes. A process
whose node init fails is started again after 10 s, 20 s, ... up to 5 min. Nothing is random but what the cloud's seed
and the latencies' seeds give; of things due at one instant, nodes come first, in the order they joined.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from hashlib import sha256
from typing import Final

import msgspec

from ipamd.core import events as ev
from ipamd.core import views
from ipamd.core.calls import View
from ipamd.core.commands import AddNetwork, Answer, Assigned, Command, DelNetwork
from ipamd.core.events import Record
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND, Instant, Pod, Sandbox
from ipamd.ec2.latency import Latency, Profile
from ipamd.ec2.state import Vpc
from ipamd.ec2.vpc import launch, node_of

from .cluster import SimCluster
from .engine import EPOCH, Crashed, Engine
from .kubelet import RETRY
from .neighbours import terminate
from .settle import LIMIT, QUIET, changes

HOST_PODS: Final = 2
"""aws-node and kube-proxy: on the host's network and so without an address, but counted by max-pods."""
CRASH_DELAY: Final = 10 * SECOND
CRASH_DELAY_MAX: Final = 300 * SECOND
"""How long the kubelet waits before it starts a crashed container again: doubled from the one up to the other."""
DRAIN_LIMIT: Final = 3600 * SECOND
"""A drain that is not done by then is given up; the node stays cordoned."""


class FleetPod:
    """One pod that wants an address. `node` is "" while it is pending, `address` "" while it has none."""

    def __init__(self, number: int, pinned: str, now: Instant) -> None:
        self.number = number
        self.pinned = pinned
        """The only node it may run on; "" for any."""
        self.created_at = now
        self.node = ""
        self.address = ""
        self.attempt = 0

    @property
    def sandbox(self) -> Sandbox:
        """The key of its latest sandbox: each attempt makes a new one."""
        return Sandbox("aws-cni", sha256(f"pod-{self.number}/{self.attempt}".encode()).hexdigest(), "eth0")


class FleetNode:
    """One node: its engine, its pods, what its daemon recorded."""

    def __init__(self, name: str, max_pods: int) -> None:
        self.name = name
        self.max_pods = max_pods
        self.pods: dict[int, FleetPod] = {}
        self.records: list[Record] = []
        self.cordoned = False
        self.terminated = False
        self.down = False
        """Its daemon crashed and waits for its next start."""
        self.crashes = 0
        self.waits: list[int] = []
        """Ns that each pod which ever ran here had waited for its address."""
        self.most_unused = 0
        """Most unused addresses at any moment at which the fleet had settled."""
        self.engine: Engine
        self.joined_as = 0

    @property
    def ready(self) -> bool:
        """Whether its daemon answers: node init is over."""
        return not self.terminated and not self.down and self.engine.state.phase == "ready"

    @property
    def room(self) -> int:
        """Pods that it would still take, addresses left aside."""
        return self.max_pods - HOST_PODS - len(self.pods)


class Fleet:
    """Nodes, pods and their time. `now` is the present instant; every method leaves all that is due by then done."""

    def __init__(
        self, vpc: Vpc, subnet: str, *, latency: Profile = "none", seed: int = 1, retry: int = RETRY
    ) -> None:
        self.vpc = vpc
        self.subnet = subnet
        self.now: Instant = EPOCH
        self.changed_at: Instant = EPOCH
        self.nodes: dict[str, FleetNode] = {}
        self.pods: dict[int, FleetPod] = {}
        self.pending: dict[int, FleetPod] = {}
        self.most_down = 0
        """Most pods without an address at any moment of a drain."""
        self._latency: Profile = latency
        self._seed = seed
        self._retry = retry
        self._next_pod = 0
        self._moments: dict[str, Instant] = {}
        self._timers: list[tuple[Instant, int, Callable[[], None]]] = []
        self._order = 0
        self._scheduling = False

    # ---- nodes ---------------------------------------------------------------------------------------------

    def join(
        self,
        name: str,
        instance_type: str,
        settings: Settings,
        max_pods: int,
        sight: Callable[[View], View] | None = None,
        kube: SimCluster | None = None,
    ) -> FleetNode:
        """A new instance in the subnet, its daemon starting. Raises ValueError if the subnet has no address left."""
        assert name not in self.nodes, f"node {name} has joined already"
        row = launch(self.vpc, instance_type, self.subnet, now=self.now)
        facts = msgspec.structs.replace(node_of(self.vpc, row.instance), max_pods=max_pods)
        node = FleetNode(name, max_pods)
        node.joined_as = len(self.nodes)
        latency = Latency(self._latency, self._seed * 1000 + node.joined_as)

        def sink(record: Record) -> None:
            self._recorded(node, record)

        node.engine = Engine(
            self.vpc, settings, facts, latency=latency, sink=sink, now=self.now, sight=sight, kube=kube
        )
        self.nodes[name] = node
        self._start(node)
        return node

    def restart(self, name: str, settings: Settings, sight: Callable[[View], View] | None = None) -> None:
        """The node's daemon ends and begins anew with these settings; its pods run on."""
        node = self.nodes[name]
        node.engine.settings = settings
        node.engine.sight = sight or (lambda view: view)
        self._start(node)

    def cordon(self, name: str, cordoned: bool = True) -> None:
        """Whether the scheduler leaves the node out."""
        self.nodes[name].cordoned = cordoned
        self._schedule()

    def drain(self, name: str, max_unavailable: int | None = None, limit: int = DRAIN_LIMIT) -> bool:
        """Cordon the node and evict its pods; others of the same kind take their places elsewhere.

        With `max_unavailable` (a PodDisruptionBudget over all pods) a pod is evicted only while fewer pods than that
        have no address, however long that takes; False if it is not done after `limit` ns.
        """
        node = self.nodes[name]
        self.cordon(name)
        deadline = self.now + limit
        going = list(node.pods.values())
        if max_unavailable is None:
            self.replace(going)
            return True
        while going:
            if going[0].number not in node.pods:
                going.pop(0)
            elif not going[0].address or self._without_address() < max_unavailable:
                self.replace([going.pop(0)])
            elif not self._step(deadline):
                self.advance(deadline)
                return False
        return True

    def terminate(self, name: str) -> None:
        """The instance is gone at once, its ENIs with it; its pods begin elsewhere."""
        node = self.nodes[name]
        node.terminated = True
        self._moments.pop(name, None)
        terminate(self.vpc, node.engine.node.instance, self.now)
        self.changed_at = self.now
        self.replace(list(node.pods.values()))

    # ---- pods ----------------------------------------------------------------------------------------------

    def add_pods(self, count: int, node: str = "") -> list[FleetPod]:
        """New pods, for any node or for one; those that can run do so at once."""
        made = []
        for _ in range(count):
            pod = FleetPod(self._next_pod, node, self.now)
            self._next_pod += 1
            self.pods[pod.number] = self.pending[pod.number] = pod
            made.append(pod)
        self._schedule()
        return made

    def delete_pods(self, pods: list[FleetPod]) -> None:
        """These pods end; whoever waited for their room gets it."""
        for pod in pods:
            self._remove(pod)
        self._schedule()

    def replace(self, pods: list[FleetPod]) -> None:
        """These pods end, and as many begin, as their controller would have it. Pinned ones do not come back."""
        for pod in pods:
            self._remove(pod)
        wanted = sum(not pod.pinned for pod in pods)
        self.most_down = max(self.most_down, self._without_address() + wanted)
        self.add_pods(wanted)

    # ---- time ----------------------------------------------------------------------------------------------

    def advance(self, until: Instant) -> None:
        """Let time pass; everything due on the way happens at its instant."""
        while self._step(until):
            pass
        self.now = max(self.now, until)

    def settle(self, quiet: int = QUIET, limit: int = LIMIT) -> bool:
        """Until nothing is in flight and, for `quiet` ns, no pool and no pod changed; False if `limit` passes first.

        A refusal is no change: pods that nobody can serve do not keep a fleet from settling.
        """
        began = self.now
        deadline = began + limit
        while True:
            calm = max(self.changed_at, began) + quiet
            busy = any(node.engine.busy for node in self._living())
            if self.now >= calm and not busy:
                self._note_unused()
                return True
            if self._step(deadline if busy else min(calm, deadline)):
                continue
            if busy or calm > deadline:
                self.advance(deadline)
                return False
            self.advance(calm)

    def _step(self, until: Instant) -> bool:
        """Do what is due next, unless that is after `until`."""
        names = [name for name in self.nodes if name in self._moments]
        first = min(names, key=self._moments.__getitem__, default="")
        timer = self._timers[0][0] if self._timers else None
        if first and (timer is None or self._moments[first] <= timer):
            if self._moments[first] > until:
                return False
            self.now = max(self.now, self._moments[first])
            node = self.nodes[first]
            self._run(node, node.engine.step)
        elif timer is not None and timer <= until:
            self.now = max(self.now, timer)
            heapq.heappop(self._timers)[2]()
        else:
            return False
        return True

    def _later(self, delay: int, action: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._timers, (self.now + delay, self._order, action))

    # ---- a node's daemon -----------------------------------------------------------------------------------

    def _living(self) -> list[FleetNode]:
        return [node for node in self.nodes.values() if not node.terminated]

    def _start(self, node: FleetNode) -> None:
        node.down = False
        node.engine.now = self.now
        self._run(node, lambda: node.engine.start(self._seed * 1000 + node.joined_as + 1))

    def _run(self, node: FleetNode, action: Callable[[], object]) -> None:
        """Let the node's engine do something, and note when it is due next."""
        was_ready = node.ready
        try:
            action()
        except Crashed:
            node.down = True
            delay = min(CRASH_DELAY << min(node.crashes, 10), CRASH_DELAY_MAX)
            node.crashes += 1
            self._later(delay, lambda: self._again(node))
        moment = None if node.down else node.engine.next_moment()
        if moment is None:
            self._moments.pop(node.name, None)
        else:
            self._moments[node.name] = moment
        if node.ready and not was_ready:
            self._schedule()

    def _again(self, node: FleetNode) -> None:
        if node.down and not node.terminated:
            self._start(node)

    def _submit(self, node: FleetNode, command: Command) -> Answer:
        answers: list[Answer] = []
        node.engine.now = self.now
        self._run(node, lambda: answers.append(node.engine.submit(command)))
        return answers[0] if answers else None

    def _recorded(self, node: FleetNode, record: Record) -> None:
        node.records.append(record)
        if changes(record.events) and not all(isinstance(event, ev.AssignRefused) for event in record.events):
            self.changed_at = record.at

    # ---- scheduler and kubelet -----------------------------------------------------------------------------

    def _schedule(self) -> None:
        if self._scheduling:
            return
        self._scheduling = True
        for pod in list(self.pending.values()):
            node = self._choose(pod)
            if node is not None:
                del self.pending[pod.number]
                pod.node = node.name
                node.pods[pod.number] = pod
                self._ask(pod, node)
        self._scheduling = False

    def _choose(self, pod: FleetPod) -> FleetNode | None:
        fit = [node for node in self.nodes.values() if node.ready and not node.cordoned and node.room > 0]
        if pod.pinned:
            fit = [node for node in fit if node.name == pod.pinned]
        return min(fit, key=lambda node: len(node.pods), default=None)

    def _ask(self, pod: FleetPod, node: FleetNode) -> None:
        """The kubelet's attempt: AddNetwork for a new sandbox."""
        if pod.number not in node.pods or node.terminated:
            return
        if node.ready:
            pod.attempt += 1
            identity = Pod("default", f"pod-{pod.number}", 1)
            answer = self._submit(node, AddNetwork(pod.sandbox, identity))
            if isinstance(answer, Assigned):
                pod.address = answer.address
                node.waits.append(self.now - pod.created_at)
                self.changed_at = self.now
                return
        self._later(self._retry, lambda: self._ask(pod, node))

    def _remove(self, pod: FleetPod) -> None:
        self.pods.pop(pod.number, None)
        self.pending.pop(pod.number, None)
        node = self.nodes.get(pod.node)
        if node is None or node.pods.pop(pod.number, None) is None:
            return
        if pod.address and not node.terminated:
            self._submit(node, DelNetwork(pod.sandbox, "PodDeleted"))
        self.changed_at = self.now

    def _without_address(self) -> int:
        return sum(not pod.address for pod in self.pods.values())

    def _note_unused(self) -> None:
        for node in self._living():
            if node.engine.state.phase == "ready":
                node.most_unused = max(node.most_unused, views.pool(node.engine.state, self.now).unused)
