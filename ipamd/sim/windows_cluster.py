"""What a controller of Windows nodes has around it, in virtual time: an API server's objects and EC2.

Objects are plain: a node has its instance, a pod has its node and its annotation. The scheduler places a pod on the
node with the fewest of those whose advertised capacity is not used up; among equals the one that joined first.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from ipamd.core.calls import (
    AssignPrivateIpAddresses,
    Call,
    DescribeInstances,
    Failed,
    Lost,
    Outcome,
    Succeeded,
    UnassignPrivateIpAddresses,
)
from ipamd.core.cluster_calls import AdvertiseCapacity, AnnotatePod, InstanceFacts, InterfaceFacts, ReadInstance
from ipamd.core.types import Instant
from ipamd.core.windows_commands import NodeSeen, WindowsPod
from ipamd.ec2.limits import limits
from ipamd.ec2.state import Vpc
from ipamd.ec2.vpc import apply, look

ConfigData: TypeAlias = dict[str, str] | None
MAX_PODS: Final = 110
"""Of a kubelet that nobody told."""


class SimPod:
    """One pod. `wants` is what the webhook decided at its creation (WIN-51)."""

    def __init__(self, number: int, wants: bool, created_at: Instant) -> None:
        self.uid = f"uid-{number:06d}"
        self.name = f"pod-{number:06d}"
        self.namespace = "default"
        self.wants = wants
        self.created_at = created_at
        self.node = ""
        self.annotation = ""
        self.annotated_at: Instant = 0
        self.done = False

    @property
    def facts(self) -> WindowsPod:
        """As the controller's cache has it."""
        return WindowsPod(self.uid, self.namespace, self.name, self.annotation, self.done)


class SimNode:
    """One Node object and its instance."""

    def __init__(self, name: str, instance: str, instance_type: str, os: str) -> None:
        self.name = name
        self.instance = instance
        self.instance_type = instance_type
        self.os = os
        self.capacity = 0
        self.cordoned = False
        self.max_pods = MAX_PODS
        self.pods: dict[str, SimPod] = {}

    @property
    def seen(self) -> NodeSeen:
        """The command that its event is."""
        return NodeSeen(self.name, self.instance, self.os, self.capacity)


class Objects:
    """Nodes and pods as the API server has them."""

    def __init__(self) -> None:
        self.nodes: dict[str, SimNode] = {}
        self.pods: dict[str, SimPod] = {}
        self.pending: dict[str, SimPod] = {}
        self.made = 0

    def place(self, pod: SimPod, node: str = "") -> SimNode | None:
        """Bind a pod to the node named, or to one that has room; None while there is none."""
        if node:
            chosen = self.nodes.get(node)
        else:
            open_ones = [n for n in self.nodes.values() if not n.cordoned and len(n.pods) < min(n.capacity, n.max_pods)]
            chosen = min(open_ones, key=lambda n: len(n.pods), default=None)
        if chosen is None:
            self.pending[pod.uid] = pod
            return None
        self.pending.pop(pod.uid, None)
        pod.node = chosen.name
        chosen.pods[pod.uid] = pod
        return chosen

    def write(self, call: AnnotatePod | AdvertiseCapacity, now: Instant) -> Outcome:
        """What the API server answers."""
        if isinstance(call, AdvertiseCapacity):
            node = self.nodes.get(call.node)
            if node is None:
                return Failed("NotFound", f"nodes {call.node!r} not found")
            node.capacity = call.value
            return Succeeded()
        pod = self.pods.get(call.uid)
        if pod is None:
            return Failed("NotFound", f"pods {call.name!r} not found")
        pod.annotation, pod.annotated_at = call.value, now
        return Succeeded()


def perform(vpc: Vpc, call: Call, now: Instant, instance: str) -> Outcome:
    """What EC2 answers to a call of the controller."""
    match call:
        case ReadInstance():
            return read_instance(vpc, call.instance, now)
        case AssignPrivateIpAddresses() | UnassignPrivateIpAddresses():
            return apply(vpc, call, now, instance)
        case _:
            raise AssertionError(f"{type(call).__name__} is not asked of EC2 by a controller")


def read_instance(vpc: Vpc, instance: str, now: Instant) -> Outcome:
    """DescribeInstances with its subnet, and the type's limits (WIN-33)."""
    seen = look(vpc, DescribeInstances(), now, instance)
    if isinstance(seen, Failed | Lost):
        return seen
    row = vpc.instances.get(instance)
    if row is None:
        return Failed("InvalidInstanceID.NotFound", f"The instance ID '{instance}' does not exist")
    found = limits(row.instance_type)
    enis = sorted((vpc.enis[eni] for eni in vpc.attached.get(instance, {})), key=lambda eni: (eni.card, eni.device))
    interfaces = tuple(InterfaceFacts(eni.eni, tuple(eni.addresses[1:]), tuple(eni.prefixes)) for eni in enis)
    facts = InstanceFacts(
        row.instance_type,
        vpc.subnets[enis[0].subnet].cidr,
        interfaces,
        ips_per_eni=found.ips_per_eni if found is not None else 0,
        nitro=found is not None and found.prefixes,
    )
    return Succeeded(facts)
