"""A controller's recorded life lived on by the real core: the State of a moment, what it was told, a change, a model.

    branch = Branch(recall(path), state, Change(config={"warm-ip-target": "5"}))
    branch.run()

Pods stand on the nodes where they stood, and come and go when they did, whatever capacity is advertised.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from ipamd.core import events as ev
from ipamd.core.calls import AssignPrivateIpAddresses, Granted, Outcome, Succeeded, UnassignPrivateIpAddresses
from ipamd.core.cluster_calls import InstanceFacts, InterfaceFacts
from ipamd.core.commands import Settle
from ipamd.core.settings import WindowsQuirks
from ipamd.core.state import State
from ipamd.core.types import CallId, Instant, ip4, ip4_text
from ipamd.core.windows_commands import (
    ConfigSeen,
    LegacySeen,
    NodeGone,
    NodeSeen,
    OpenController,
    PodGone,
    PodSeen,
    WindowsPod,
)
from ipamd.core.windows_config import ConfigData
from ipamd.core.windows_state import WindowsNode
from ipamd.ec2.limits import Limits, UnknownInstanceType, limits_of
from ipamd.ec2.rows import EniRow, InstanceRow, SubnetRow, VpcRow, mac_address
from ipamd.ec2.space import subnet_network
from ipamd.ec2.state import Vpc, VpcSettings

from .cloud_model import SEED, Fitted, storms
from .engine import Sink
from .windows_cluster import SimNode, SimPod
from .windows_engine import WindowsEngine, actions
from .windows_past import Told, WindowsPast, action_of

ZONE: Final = "us-west-2a"
_FIRST_FREE: Final = 4
"""EC2 keeps a subnet's first four addresses."""


class Change(msgspec.Struct, frozen=True):
    """What is to be different."""

    config: dict[str, str] = {}
    """Keys of the ConfigMap that take the place of those recorded."""
    quirks: WindowsQuirks | None = None
    instance_type: str = ""
    subnet: str = ""
    """All nodes live in an empty subnet of this CIDR."""
    latency: dict[str, int] = {}
    """Answer times in ns by action ("" for every other) in place of those recorded."""
    dropped: frozenset[int] = frozenset()
    """Records that did not happen: a pod's first means that it never came."""

    def config_of(self, recorded: ConfigData) -> ConfigData:
        return {**(recorded or {}), **self.config} if self.config else recorded


class _Node(SimNode):
    """A Node as the journal has it."""

    told: NodeSeen

    @property
    def seen(self) -> NodeSeen:
        return msgspec.structs.replace(self.told, capacity=self.capacity)


class _Branching(WindowsEngine):
    """An engine whose State is given; answer times hold the waits for a token already."""

    def adopt_state(self, state: State, at: Instant) -> None:
        cluster = state.windows
        self.state, self.now, self.changed_at = state, at, at
        self.data, self.legacy, self.flag = cluster.data, cluster.legacy, cluster.prefix_flag

    def _cost(self, started: ev.CallStarted) -> tuple[int, int]:
        self._asked += 1
        self.requests.update(actions(started))
        return 0, self._latency.of(action_of(started.call), self._asked)

    def answer_recorded(self, call_id: CallId, at: Instant, outcome: Outcome) -> None:
        """A call in flight comes back as it did, unless the process ends before."""

        def come() -> None:
            self._apply(Settle(call_id, outcome))
            self._pursue()

        self._later(max(at - self.now, 0), come, self._tenure)


class Branch:
    """A life from a State on. `state` is carried along; it is the caller's to give away."""

    def __init__(self, past: WindowsPast, state: State, change: Change, sink: Sink | None = None) -> None:
        """Raises ValueError for a subnet that EC2 would refuse, or that has no room for the nodes."""
        self._past = past
        self._change = change
        self._fitted = Fitted(past.facts, lambda: self.engine.now, change.latency)
        at = state.at if state.seq else past.begin_at
        vpc, subnet = _cloud(past, state, change)
        storms(vpc, past.facts, lambda _: True)
        quirks = change.quirks or state.windows.quirks
        self.engine = _Branching(vpc, subnet, quirks=quirks, latency=self._fitted, sink=sink)
        self.engine.adopt_state(state, at)
        self._from = state.seq
        self._absent = _pods_of(past, change.dropped)
        self._last_seen = {t.cause.instance: t.seq for t in past.demand if isinstance(t.cause, NodeSeen)}
        self._people(state)
        for call_id in state.calls:
            if call_id in past.answers:
                self.engine.answer_recorded(call_id, *past.answers[call_id])

    @property
    def guessed(self) -> set[str]:
        """Actions whose answer time no record tells."""
        return self._fitted.guessed

    def reconfigure(self) -> None:
        """The change takes hold now, in the middle of a tenure."""
        self.engine.configure(self._change.config_of(self.engine.data))

    def run(self) -> State:
        """Live to the journal's end; the State then."""
        for told in self._past.demand:
            if told.seq > self._from and told.seq not in self._change.dropped:
                self.engine.advance(told.at)
                self._tell(told)
        self.engine.advance(self._past.end_at)
        return self.engine.state

    def _people(self, state: State) -> None:
        """The Nodes and Pods that there are at the beginning."""
        cluster = state.windows
        for name, known in cluster.nodes.items():
            self._node(NodeSeen(name, known.instance, known.os, known.capacity, known.trunk))
        for name, pods in cluster.pods.items():
            for pod in pods.values():
                self._pod(name, pod)

    def _node(self, told: NodeSeen) -> _Node:
        objects = self.engine.objects
        before = objects.nodes.get(told.node)
        node = _Node(told.node, told.instance, self._change.instance_type, told.os)
        same = before is not None and before.instance == told.instance
        node.capacity = before.capacity if before is not None and same else told.capacity
        node.told = told
        node.pods = {pod.uid: pod for pod in objects.pods.values() if pod.node == told.node}
        objects.nodes[told.node] = node
        return node

    def _pod(self, node: str, pod: WindowsPod) -> SimPod:
        objects = self.engine.objects
        made = SimPod(0, True, self.engine.now)
        made.uid, made.name, made.namespace, made.node = pod.uid, pod.name, pod.namespace, node
        made.annotation = "" if self._change.subnet else pod.annotation
        made.done = pod.done
        objects.pods[pod.uid] = made
        if node in objects.nodes:
            objects.nodes[node].pods[pod.uid] = made
        return made

    def _tell(self, told: Told) -> None:
        engine = self.engine
        match told.cause:
            case OpenController(seed=seed, prefix_delegation=flag, quirks=quirks):
                engine.flag, engine.quirks = flag, self._change.quirks or quirks
                engine.start(seed)
            case LegacySeen(present=present):
                engine.set_legacy(present)
            case ConfigSeen(data=data):
                engine.configure(self._change.config_of(data))
            case NodeSeen() as seen:
                engine.adopt(self._node(seen))
            case NodeGone(node=name):
                if name in engine.objects.nodes:
                    instance = engine.objects.nodes[name].instance
                    gone = self._last_seen.get(instance, 0) < told.seq and instance in engine.vpc.instances
                    engine.leave(name, instance_too=gone)
            case PodSeen() as seen:
                self._pod_seen(seen)
            case PodGone(uid=uid):
                if uid in engine.objects.pods:
                    engine.delete_pods([engine.objects.pods[uid]])

    def _pod_seen(self, seen: PodSeen) -> None:
        if seen.pod.uid in self._absent:
            return
        known = self.engine.objects.pods.get(seen.pod.uid)
        if known is None:
            known = self._pod(seen.node, seen.pod)
            self.engine.submit(PodSeen(seen.node, known.facts))
        elif seen.pod.done and not known.done:
            self.engine.complete(known)


def _pods_of(past: WindowsPast, dropped: frozenset[int]) -> set[str]:
    return {t.cause.pod.uid for t in past.demand if t.seq in dropped and isinstance(t.cause, PodSeen)}


# ---- the model cloud ------------------------------------------------------------------------------------------


def _cloud(past: WindowsPast, state: State, change: Change) -> tuple[Vpc, str]:
    """The model with every node that there is or will be, and its first subnet."""
    facts = dict(_instances(past, state, change))
    cidrs = [change.subnet] if change.subnet else list(dict.fromkeys(each.subnet_cidr for each in facts.values()))
    cidrs = cidrs or ["10.0.0.0/20"]
    vpc = Vpc(VpcSettings(seed=SEED))
    around = tuple(dict.fromkeys(f"{ip4_text(ip4(cidr.partition('/')[0]) & 0xFFFF0000)}/16" for cidr in cidrs))
    vpc.install((VpcRow("vpc-0", ZONE[:-1], around, "sg-0"),), past.begin_at, settled=True)
    names = {cidr: f"subnet-{number}" for number, cidr in enumerate(cidrs)}
    for cidr, name in names.items():
        vpc.install((SubnetRow(name, cidr, ZONE, {}, "vpc-0"),), past.begin_at, settled=True)
    free = {cidr: _free(cidr, facts.values()) for cidr in cidrs}
    macs = 0
    for instance, each in facts.items():
        cidr = change.subnet or each.subnet_cidr
        rows = []
        for device, interface in enumerate(each.interfaces):
            address = next(free[cidr], None)
            if address is None:
                raise ValueError(f"{cidr}: no room for the primary address of {instance}")
            macs += 1
            rows.append(
                EniRow(
                    interface.eni, mac_address(SEED, macs), names[cidr], 0, (address, *interface.addresses),
                    interface.prefixes, ("sg-0",), attachment=f"eni-attach-{interface.eni}", instance=instance,
                    device=device, delete_on_termination=True,
                )
            )  # fmt: skip
        kind = each.instance_type
        host = InstanceRow(instance, kind, ZONE, _limits(kind, each), rows[0].eni)
        vpc.install((host, *rows), past.begin_at, settled=True)
    return vpc, names[cidrs[0]]


def _limits(kind: str, facts: InstanceFacts) -> Limits:
    try:
        return limits_of(kind)
    except UnknownInstanceType:
        return Limits(len(facts.interfaces), max(facts.ips_per_eni, 1))


def _free(cidr: str, known: Iterable[InstanceFacts]) -> Iterator[str]:
    """Addresses of the subnet that no node holds, from the low end."""
    held: set[int] = set()
    for facts in known:
        for interface in facts.interfaces:
            held |= {ip4(address) for address in interface.addresses}
            for prefix in interface.prefixes:
                base = ip4(prefix.partition("/")[0])
                held |= set(range(base, base + 16))
    network = subnet_network(cidr)
    base = int(network.network_address)
    return (ip4_text(a) for a in range(base + _FIRST_FREE, base + network.num_addresses - 1) if a not in held)


def _instances(past: WindowsPast, state: State, change: Change) -> Iterator[tuple[str, InstanceFacts]]:
    """Instance -> its interfaces as they are at the State's moment, or when EC2 is first asked after it."""
    here = {node.instance: node for node in state.windows.nodes.values()}
    known = set(past.facts.reads) | {node.instance for node in here.values() if node.facts is not None}
    for instance in sorted(known, key=lambda name: (past.facts.reads.get(name, [(0,)])[0][0], name)):
        later = [facts for seq, facts in past.facts.reads.get(instance, []) if seq > state.seq]
        node = here.get(instance)
        if node is not None and node.facts is not None and node.pools:
            found = _held(past, state, node, node.facts)
        elif later:
            found = later[0]
        else:
            continue
        if change.subnet or change.instance_type:
            interfaces = tuple(InterfaceFacts(interface.eni) for interface in found.interfaces[:1])
            kind = change.instance_type or found.instance_type
            found = msgspec.structs.replace(found, interfaces=interfaces, instance_type=kind)
        yield instance, found


def _held(past: WindowsPast, state: State, node: WindowsNode, facts: InstanceFacts) -> InstanceFacts:
    """What EC2 has of a node whose pools are known, calls in flight that will turn out to have succeeded included."""
    groups = [(eni, group) for pool in node.pools.values() for group, eni in (pool.home | pool.leaving).items()]
    taken: set[str] = set()
    for call_id, running in state.calls.items():
        _, outcome = past.answers.get(call_id, (0, None))
        if running.node != node.name or not isinstance(outcome, Succeeded):
            continue
        if isinstance(running.call, AssignPrivateIpAddresses) and isinstance(outcome.result, Granted):
            granted = [f"{a}/32" for a in outcome.result.addresses] + list(outcome.result.prefixes)
            groups += [(running.call.eni, group) for group in granted]
        elif isinstance(running.call, UnassignPrivateIpAddresses):
            taken |= {text.partition("/")[0] for text in running.call.addresses + running.call.prefixes}
    kept = [(eni, group) for eni, group in dict.fromkeys(groups) if group.partition("/")[0] not in taken]
    interfaces = tuple(
        InterfaceFacts(
            each.eni,
            tuple(group.partition("/")[0] for eni, group in kept if eni == each.eni and not group.endswith("/28")),
            tuple(group for eni, group in kept if eni == each.eni and group.endswith("/28")),
        )
        for each in facts.interfaces
    )
    return msgspec.structs.replace(facts, interfaces=interfaces)
