"""Running a scenario: its steps in order on a fleet, and what was so at each point where something is expected.

    ran = run(scenario)
    for point in ran.points: differences(point.expected, point.facts)

The same file gives the same facts, always. Raises `Refusal` where EC2 refuses what happens beside the nodes.
"""

from __future__ import annotations

from random import Random
from typing import Final

import msgspec

from ipamd.core.calls import AssignPrivateIpAddresses, EnisView, Failed, MetadataView, Succeeded, View
from ipamd.core.kube import EniConfigView, KubeNode
from ipamd.core.types import SECOND, Instant
from ipamd.ec2.latency import METADATA_LAG
from ipamd.ec2.state import Vpc, VpcSettings
from ipamd.ec2.vpc import apply

from . import neighbours
from .cluster import SimCluster
from .engine import Sink
from .fleet import DRAIN_LIMIT, Fleet, FleetPod
from .fleet_view import Facts, facts
from .scenario_check import knows_prefixes, max_pods_of, node_names, settings_of, speaks_ipv6
from .scenario_file import (
    AddPods,
    Assign,
    DeletePods,
    Drain,
    Give,
    Reserve,
    Restart,
    ScenarioFile,
    Step,
    Steps,
    Take,
)
from .settle import QUIET

SETTLE: Final = Step(settle=QUIET / SECOND)
"""What the bare word stands for."""


class Point(msgspec.Struct, frozen=True):
    """One `expect`: where it stands in the file, what it says, and what was so."""

    at: str
    expected: Facts
    facts: Facts


class Ran(msgspec.Struct, frozen=True):
    """A scenario that was run, its points in the order of time."""

    points: tuple[Point, ...]


def run(scenario: ScenarioFile, sink: Sink | None = None) -> Ran:
    """Run it to its end. `sink` hears of every record, where the nodes are Windows ones: they share one journal."""
    if scenario.windows:
        from .windows_scenario import WindowsRunning  # it builds on what is here

        return Ran(WindowsRunning(scenario, sink).points())
    running = _Running(scenario)
    return Ran(running.points())


def blind(view: View) -> View:
    """What a daemon sees that knows nothing of prefixes."""
    match view:
        case MetadataView():
            return msgspec.structs.replace(
                view, enis=tuple(msgspec.structs.replace(eni, prefixes=()) for eni in view.enis)
            )
        case EnisView():
            return msgspec.structs.replace(
                view, enis=tuple(msgspec.structs.replace(eni, prefixes=()) for eni in view.enis)
            )
        case _:
            return view


class _Running:
    def __init__(self, scenario: ScenarioFile) -> None:
        self._scenario = scenario
        config = scenario.config
        cloud = VpcSettings(seed=config.seed, placement=config.placement, metadata_lag=METADATA_LAG[config.latency])
        vpc = Vpc(cloud)
        subnet = neighbours.make_subnet(vpc, scenario.subnet, config.vpc, ipv6=speaks_ipv6(scenario))
        self._eni_configs = {
            name: EniConfigView(neighbours.beside(vpc, subnet, spec.subnet))
            for name, spec in scenario.eni_configs.items()
        }
        retry = int(config.retry_seconds * SECOND)
        self._fleet = Fleet(vpc, subnet, latency=config.latency, seed=config.seed, retry=retry)
        self._began = self._fleet.now
        self._workload = Random(f"{config.seed}/workload")
        self._settled = True
        self._drained = True
        self._answers: dict[str, str] = {}
        self._names = node_names(scenario)
        self._texts = _texts(scenario)
        self._points: list[Point] = []

    def points(self) -> tuple[Point, ...]:
        late = joining(self._scenario.steps)
        for name in self._names:
            if name not in late:
                self._join(name)
        for index, step in enumerate(self._scenario.steps):
            self._perform(step, f"steps[{index}]")
        self._expect("expect", self._scenario.expect)
        return tuple(self._points)

    def _expect(self, at: str, expected: Facts) -> None:
        seen = facts(
            self._fleet, began=self._began, settled=self._settled, drained=self._drained, answers=self._answers,
            texts=self._texts,
        )  # fmt: skip
        self._points.append(Point(at, expected, seen))

    def _perform(self, entry: Step | str, at: str) -> None:
        step = entry if isinstance(entry, Step) else SETTLE
        fleet = self._fleet
        match step.action:
            case "add_pods" if step.add_pods is not None:
                self._add(step.add_pods)
            case "delete_pods" if step.delete_pods is not None:
                self._delete(step.delete_pods)
            case "settle" if step.settle is not None:
                self._settled = fleet.settle(int(step.settle * SECOND))
            case "wait" if step.wait is not None:
                fleet.advance(fleet.now + int(step.wait * SECOND))
            case "join" if step.join is not None:
                self._join(step.join)
            case "cordon" if step.cordon is not None:
                fleet.cordon(step.cordon)
            case "uncordon" if step.uncordon is not None:
                fleet.cordon(step.uncordon, False)
            case "drain" if step.drain is not None:
                drain = step.drain if isinstance(step.drain, Drain) else Drain(node=step.drain)
                self._drained = fleet.drain(drain.node, drain.max_unavailable or None, DRAIN_LIMIT)
            case "terminate" if step.terminate is not None:
                fleet.terminate(step.terminate)
            case "restart" if step.restart is not None:
                self._restart(step.restart)
            case "repeat" if step.repeat is not None:
                for _ in range(step.repeat.times):
                    for index, again in enumerate(step.repeat.steps):
                        self._perform(again, f"{at}.repeat.steps[{index}]")
            case "expect" if step.expect is not None:
                self._expect(f"{at}.expect", step.expect)
            case _:
                self._beside(step)

    def _beside(self, step: Step) -> None:
        if step.assign is not None:
            self._assign(step.assign)
            return
        beside(self._fleet.vpc, self._fleet.subnet, self._fleet.now, step)

    def _join(self, name: str) -> None:
        index = self._names.index(name)
        spec = self._scenario.nodes[index]
        settings = settings_of(spec.type, spec.env, spec.cni_version, f"nodes[{index}]")
        sight = None if knows_prefixes(spec.cni_version) else blind
        try:
            kube = SimCluster(KubeNode(spec.labels), self._eni_configs)
            self._fleet.join(name, spec.type, settings, max_pods_of(self._scenario, index), sight, kube)
        except ValueError as error:
            raise neighbours.Refusal(f"node {name} cannot join: {error}") from None

    def _restart(self, wanted: str | Restart) -> None:
        restart = wanted if isinstance(wanted, Restart) else Restart(node=wanted)
        spec = self._scenario.nodes[self._names.index(restart.node)]
        version = restart.cni_version or spec.cni_version
        settings = settings_of(spec.type, spec.env | restart.env, version, "restart")
        self._fleet.restart(restart.node, settings, None if knows_prefixes(version) else blind)

    def _add(self, wanted: int | AddPods) -> None:
        add = wanted if isinstance(wanted, AddPods) else AddPods(count=wanted)
        if not add.one_by_one:
            self._fleet.add_pods(add.count, add.node)
            return
        for _ in range(add.count):
            self._fleet.add_pods(1, add.node)
            self._settled = self._fleet.settle()

    def _delete(self, wanted: int | DeletePods) -> None:
        delete = wanted if isinstance(wanted, DeletePods) else DeletePods(count=wanted)
        there = [pod for pod in self._fleet.pods.values() if delete.node in ("", pod.node)]
        count = min(delete.count, len(there))
        going: list[FleetPod] = there[:count]
        if delete.order == "newest":
            going = there[::-1][:count]
        elif delete.order == "random":
            going = self._workload.sample(there, count)
        if not delete.one_by_one:
            self._fleet.delete_pods(going)
            return
        for pod in going:
            self._fleet.delete_pods([pod])
            self._settled = self._fleet.settle()

    def _assign(self, wanted: Assign) -> None:
        vpc = self._fleet.vpc
        instance = self._fleet.nodes[wanted.node].engine.node.instance
        eni = next((e for e in vpc.attached.get(instance, {}) if vpc.enis[e].device == wanted.device), "")
        call = AssignPrivateIpAddresses(eni, secondary_ips=wanted.addresses, prefixes=wanted.prefixes)
        outcome = apply(vpc, call, self._fleet.now, instance)
        assert isinstance(outcome, Succeeded | Failed), "replies are not lost here"
        if wanted.named:
            self._answers[wanted.named] = "ok" if isinstance(outcome, Succeeded) else outcome.code


def beside(vpc: Vpc, subnet: str, now: Instant, step: Step) -> None:
    """What happens in the cloud beside the nodes."""
    match step:
        case Step(take=Take() as take):
            neighbours.take_in_each_block(vpc, subnet, take.in_each_block, now)
            for address in (*[""] * take.count, *take.addresses):
                neighbours.take(vpc, subnet, address, now)
        case Step(give=Give(count=count)):
            neighbours.give_back(vpc, subnet, count, now)
        case Step(give="all"):
            neighbours.give_back(vpc, subnet, None, now)
        case Step(reserve=Reserve() as wanted):
            neighbours.reserve(vpc, subnet, wanted.cidr, wanted.type, now)
        case Step(reserve=str() as cidr):
            neighbours.reserve(vpc, subnet, cidr, "prefix", now)
        case _:
            assert step.fault is not None, f"nothing is done for {step}"
            fault = step.fault
            vpc.faults.fail_next(fault.action, fault.code, fault.message, fault.times)


def joining(steps: Steps) -> set[str]:
    """The nodes that join at a step."""
    found: set[str] = set()
    for step in steps:
        if isinstance(step, Step):
            found |= {step.join} if step.join else set()
            found |= joining(step.repeat.steps) if step.repeat else set()
    return found


def _texts(scenario: ScenarioFile) -> tuple[str, ...]:
    """The beginnings of log lines that are counted, each once."""
    expected = [scenario.expect, *(s.expect for s in scenario.steps if isinstance(s, Step) and s.expect is not None)]
    texts: dict[str, None] = {}
    for said in expected:
        for node in (said.nodes or {}).values() if isinstance(said.nodes, dict) else ():
            if isinstance(node.log, dict):
                texts.update(dict.fromkeys(node.log))
    return tuple(texts)
