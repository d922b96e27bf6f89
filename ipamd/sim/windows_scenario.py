"""Scenarios whose nodes are Windows ones: the same file and the same words, on a controller instead of daemons.

`config_map` is ConfigMap amazon-vpc-cni at the beginning and `configure` replaces it. The scheduler goes by the
capacity that a node advertises and by kubelet's 110 pods; a pod that is added to a node by name passes by it.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Final

from ipamd.core.calls import AssignPrivateIpAddresses, Succeeded
from ipamd.core.pool_windows import capacity
from ipamd.core.types import SECOND
from ipamd.core.windows_config import IPAM
from ipamd.ec2.latency import METADATA_LAG, Latency
from ipamd.ec2.state import Vpc, VpcSettings
from ipamd.ec2.vpc import apply

from . import neighbours
from .engine import Sink
from .fleet_view import Facts, NodeFacts, PodFacts, subnet_facts
from .scenario_check import max_pods_of, node_names
from .scenario_file import AddPods, Assign, DeletePods, Drain, ScenarioFile, Step
from .scenario_run import SETTLE, Point, beside, joining
from .windows_cluster import SimPod
from .windows_engine import QUIET, WindowsEngine

BEGINNING: Final = {IPAM: "true"}


def texts(data: dict[str, str | int | bool]) -> dict[str, str]:
    """The ConfigMap's values as a cluster has them: texts."""
    return {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in data.items()}


class WindowsRunning:
    """One scenario on its way."""

    def __init__(self, scenario: ScenarioFile, sink: Sink | None = None) -> None:
        self._scenario = scenario
        config = scenario.config
        vpc = Vpc(VpcSettings(seed=config.seed, placement=config.placement, metadata_lag=METADATA_LAG[config.latency]))
        subnet = neighbours.make_subnet(vpc, scenario.subnet, config.vpc)
        self._engine = WindowsEngine(vpc, subnet, latency=Latency(config.latency, config.seed), sink=sink)
        self._began = self._engine.now
        self._workload = Random(f"{config.seed}/workload")
        self._names = node_names(scenario)
        self._gone: set[str] = set()
        self._settled = self._drained = True
        self._answers: dict[str, str] = {}
        self._points: list[Point] = []

    def points(self) -> tuple[Point, ...]:
        """Run it; what was so at each `expect`."""
        scenario, engine = self._scenario, self._engine
        engine.start()
        engine.configure(texts(scenario.config_map) if scenario.config_map is not None else BEGINNING)
        late = joining(scenario.steps)
        for name in self._names:
            if name not in late:
                self._join(name)
        for index, step in enumerate(scenario.steps):
            self._perform(step, f"steps[{index}]")
        self._points.append(Point("expect", scenario.expect, self._facts()))
        return tuple(self._points)

    def _perform(self, entry: Step | str, at: str) -> None:
        step = entry if isinstance(entry, Step) else SETTLE
        engine = self._engine
        match step:
            case Step(add_pods=int() as count):
                engine.add_pods(count)
            case Step(add_pods=AddPods() as add):
                for _ in range(add.count if add.one_by_one else 1):
                    engine.add_pods(1 if add.one_by_one else add.count, add.node)
                    self._settled = engine.settle() if add.one_by_one else self._settled
            case Step(delete_pods=int() as count):
                self._delete(DeletePods(count=count))
            case Step(delete_pods=DeletePods() as delete):
                self._delete(delete)
            case Step(settle=float() | int()) if step.settle is not None:
                quiet = QUIET if entry == "settle" else int(step.settle * SECOND)
                self._settled = engine.settle(quiet)
            case Step(wait=float() | int()) if step.wait is not None:
                engine.advance(engine.now + int(step.wait * SECOND))
            case Step(expect=Facts() as expected):
                self._points.append(Point(f"{at}.expect", expected, self._facts()))
            case Step(repeat=repeat) if repeat is not None:
                for _ in range(repeat.times):
                    for index, again in enumerate(repeat.steps):
                        self._perform(again, f"{at}.repeat.steps[{index}]")
            case _:
                self._to_nodes(step)

    def _to_nodes(self, step: Step) -> None:
        engine = self._engine
        match step:
            case Step(configure=dict() as data):
                engine.configure(texts(data))
            case Step(join=str() as name):
                self._join(name)
            case Step(cordon=str() as name):
                engine.objects.nodes[name].cordoned = True
            case Step(uncordon=str() as name):
                engine.objects.nodes[name].cordoned = False
            case Step(terminate=str() as name):
                self._gone.add(name)
                engine.leave(name)
            case Step(drain=str() as name):
                self._drain(Drain(node=name))
            case Step(drain=Drain() as drain):
                self._drain(drain)
            case Step(assign=Assign() as assign):
                self._assign(assign)
            case _:
                beside(engine.vpc, engine.subnet, engine.now, step)

    def _join(self, name: str) -> None:
        spec = self._scenario.nodes[self._names.index(name)]
        try:
            node = self._engine.join(name, spec.type)
            node.max_pods = max_pods_of(self._scenario, self._names.index(name))
        except ValueError as error:
            raise neighbours.Refusal(f"node {name} cannot join: {error}") from None

    def _delete(self, delete: DeletePods) -> None:
        there = [pod for pod in self._engine.objects.pods.values() if delete.node in ("", pod.node)]
        count = min(delete.count, len(there))
        going: list[SimPod] = there[::-1][:count] if delete.order == "newest" else there[:count]
        if delete.order == "random":
            going = self._workload.sample(there, count)
        for some in [[pod] for pod in going] if delete.one_by_one else [going]:
            self._engine.delete_pods(some)
            self._settled = self._engine.settle() if delete.one_by_one else self._settled

    def _drain(self, drain: Drain) -> None:
        """Cordon, and evict as the budget allows; each pod begins anew elsewhere."""
        engine = self._engine
        node = engine.objects.nodes[drain.node]
        node.cordoned = True
        for pod in list(node.pods.values()):
            while drain.max_unavailable and self._down() >= drain.max_unavailable:
                if engine.next_moment() is None:
                    self._drained = False
                    return
                engine.step()
            engine.delete_pods([pod])
            engine.add_pods(1)

    def _down(self) -> int:
        return sum(not pod.annotation for pod in self._engine.objects.pods.values())

    def _assign(self, wanted: Assign) -> None:
        engine = self._engine
        instance = engine.objects.nodes[wanted.node].instance
        eni = next(iter(engine.vpc.attached[instance]))
        call = AssignPrivateIpAddresses(eni, secondary_ips=wanted.addresses, prefixes=wanted.prefixes)
        outcome = apply(engine.vpc, call, engine.now, instance)
        if wanted.named:
            self._answers[wanted.named] = "ok" if isinstance(outcome, Succeeded) else getattr(outcome, "code", "lost")

    def _facts(self) -> Facts:
        engine = self._engine
        everyone = engine.objects.pods.values()
        running = sum(bool(pod.annotation) for pod in everyone)
        pending = len(engine.objects.pending)
        there = [name for name in self._names if name in engine.objects.nodes or name in self._gone]
        return Facts(
            settled=self._settled,
            drained=self._drained,
            seconds=round((engine.now - self._began) / SECOND, 3),
            nodes={name: self._node(name) for name in there},
            pods=PodFacts(
                total=len(everyone), running=running, waiting=len(everyone) - running - pending, pending=pending
            ),
            subnet=subnet_facts(engine.vpc, engine.subnet),
            answers=dict(self._answers),
        )

    def _node(self, name: str) -> NodeFacts:
        engine = self._engine
        if name in self._gone:
            return NodeFacts(state="terminated")
        node = engine.objects.nodes[name]
        known = engine.state.windows.nodes.get(name)
        pools = known.pools if known is not None else {}
        prefix, secondary = pools.get("prefix"), pools.get("secondary")
        running = [pod for pod in node.pods.values() if pod.annotation]
        enis = [engine.vpc.enis[eni] for eni in engine.vpc.attached[node.instance]]
        slots = known.facts.ips_per_eni if known is not None and known.facts is not None else 0
        taken = len(secondary.used) if secondary else 0
        mode = known is not None and known.prefix_mode
        phase = known.phase if known is not None else "unknown"
        return NodeFacts(
            state="cordoned" if node.cordoned else "ready" if phase == "ready" else "starting",
            max_pods=node.max_pods,
            pods=len(running),
            waiting=len(node.pods) - len(running),
            slots_per_eni=slots,
            enis=len(enis),
            slots=tuple(eni.slots for eni in enis),
            prefixes=len(prefix.home) if prefix else 0,
            ips=len(secondary.home) if secondary else 0,
            unused=sum(len(free) for pool in pools.values() for free in pool.warm.values()),
            unused_prefixes=sum(len(free) == prefix.size for free in prefix.warm.values()) if prefix else 0,
            cooling=sum(len(pool.cooling) for pool in pools.values()),
            pods_on_prefixes=sum(pod.annotation.endswith("/32") for pod in running),
            pods_on_ips=sum(not pod.annotation.endswith("/32") for pod in running),
            capacity=node.capacity,
            reachable=capacity("prefix", slots - taken) if mode and prefix else capacity("secondary", slots)
            - (len(prefix.home) if prefix else 0),
            prefix_mode=mode,
            calls=dict(sorted(engine.requests.items())),
            events=self._events(name),
            waited=sum(pod.annotated_at > pod.created_at for pod in running),
        )  # fmt: skip

    def _events(self, name: str) -> dict[str, int]:
        """Kubernetes events on the node and on its pods, by reason."""
        return dict(sorted(Counter(e.reason for _, e in self._engine.announced if e.node == name).items()))
