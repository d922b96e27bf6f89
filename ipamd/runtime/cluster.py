"""What the machine asks of the cluster, performed through `k8s.port.Cluster`: calls, looks, and what doors read.

ClusterError, NotOurs -> Failed("")   the API server refused, or the write is not ours to make: no effect
ClusterLost           -> Lost         no answer: the effect is unknown
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, assert_never

from ipamd.core.calls import Failed, Lost, Outcome, Succeeded
from ipamd.core.cluster import EXTERNAL_LABEL
from ipamd.core.kube import (
    AddFeature,
    ClearPodIp,
    CniNodeView,
    EniConfigView,
    KubeCall,
    KubeLook,
    KubeNode,
    KubePod,
    KubeView,
    ReadCniNode,
    ReadEniConfig,
    RecordEvent,
    SetPodIp,
)
from ipamd.core.types import Instant
from ipamd.k8s.choices import wants_branch_eni
from ipamd.k8s.port import Cluster, ClusterError, ClusterLost
from ipamd.k8s.views import POD_ENI, EventNote, NodeView, PodView, Regarding
from ipamd.k8s.writes import NotOurs, add_feature, clear_pod_ip, set_pod_ip

SECONDS: Final = 30.0
"""What a write may take with its repetitions; one request takes ten at most."""
UNSCHEDULABLE: Final = ("node.kubernetes.io/unschedulable", "NoSchedule")
"""POOL-19: key and effect."""
KUBE_SYSTEM: Final = "kube-system"


class Kube(Protocol):
    """Whoever performs the calls and looks that are about the cluster."""

    async def call(self, call: KubeCall) -> Outcome:
        """Perform one call; its end."""
        ...

    async def look(self, look: KubeLook) -> KubeView | Failed:
        """Read once."""
        ...


class NoKube:
    """A node without API server."""

    async def call(self, call: KubeCall) -> Outcome:
        """Refused."""
        return Failed("", f"{type(call).__name__}: there is no API server")

    async def look(self, look: KubeLook) -> KubeView | Failed:
        """Refused."""
        return Failed("", f"{type(look).__name__}: there is no API server")


class ClusterDoor:
    """`Kube` over one API server. `regarding` is the daemon's own pod, which events are about (INIT-5)."""

    def __init__(self, cluster: Cluster, now: Callable[[], Instant], regarding: Regarding | None = None) -> None:
        self._cluster = cluster
        self._now = now
        self._regarding = regarding or Regarding()

    async def call(self, call: KubeCall) -> Outcome:
        """Perform one call; its end."""
        try:
            async with asyncio.timeout(SECONDS):
                await self._write(call)
        except ClusterLost as lost:
            return Lost(str(lost))
        except TimeoutError:
            return Lost(f"{type(call).__name__}: nothing within {SECONDS:g} s")
        except (ClusterError, NotOurs) as error:
            return Failed("", str(error))
        return Succeeded()

    async def look(self, look: KubeLook) -> KubeView | Failed:
        """Read once. No answer is a failure here: a look has no effect that could be unknown."""
        try:
            match look:
                case ReadEniConfig():
                    config = await self._cluster.eni_config(look.name)
                    return EniConfigView(config.subnet, config.security_groups)
                case ReadCniNode():
                    node = await self._cluster.cni_node(look.node)
                    return CniNodeView(tuple((feature.name, feature.value) for feature in node.features))
        except (ClusterError, ClusterLost) as error:
            return Failed("", str(error))

    def _write(self, call: KubeCall) -> Awaitable[Any]:
        match call:
            case SetPodIp():
                return set_pod_ip(self._cluster, call.namespace, call.name, call.address)
            case ClearPodIp():
                return clear_pod_ip(self._cluster, call.namespace, call.name, call.released)
            case AddFeature():
                return add_feature(self._cluster, call.node, call.name, call.value)
            case RecordEvent():
                note = EventNote(call.reason, call.action, call.note, self._now(), self._regarding)
                return self._cluster.create_event(note)
            case _:
                assert_never(call)


async def own_pod(cluster: Cluster, name: str) -> Regarding | None:
    """The daemon's own pod, looked up once (INIT-5); None where it cannot be read, which is not fatal."""
    if not name:
        return None
    try:
        pod = await cluster.pod(KUBE_SYSTEM, name)
    except (ClusterError, ClusterLost):
        return None
    return Regarding(pod.namespace, pod.name, pod.uid, pod.version)


def node_facts(view: NodeView, annotation_key: str, label_key: str) -> KubeNode:
    """What of a Node decides anything: see `KubeNode`."""
    return KubeNode(
        {key: view.labels[key] for key in sorted({EXTERNAL_LABEL, label_key}) if key in view.labels},
        {annotation_key: view.annotations[annotation_key]} if annotation_key in view.annotations else {},
        any((taint.key, taint.effect) == UNSCHEDULABLE for taint in view.taints),
    )


def pod_facts(view: PodView, trunk_link: int = 0) -> KubePod:
    """What of a Pod an answer depends on (RPC-23..27, RPC-48)."""
    return KubePod(view.uid, wants_branch_eni(view), view.annotations.get(POD_ENI), trunk_link)
