"""What the controller knows of its cluster, kept current by watches, and the commands that the machine hears of it.

    conditions   the ConfigMap, the legacy Deployment, SecurityGroupPolicies, service accounts: on every replica,
                 because the webhook asks them
    cluster      pods, then nodes and CNINodes: on the leader. Pods come first, for pools are rebuilt from
                 annotations (WIN-27)

`begin` tells everything that is there, in an order that does not depend on the API server's; from then on each
change is told as it comes, and all nodes again every 30 minutes (WIN-21).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol, TypeVar

from ipamd.core.branch_calls import POD_ENI
from ipamd.core.branch_events import BranchPod, BranchPodGone, BranchPodSeen, CooldownSeen, TrunkGone, TrunkSeen
from ipamd.core.cluster_calls import PRIVATE_IPV4
from ipamd.core.commands import Command
from ipamd.core.security_groups import SecurityGroupPolicy, matching_groups
from ipamd.core.windows_commands import (
    ConfigSeen,
    LegacySeen,
    NodeGone,
    NodeSeen,
    PodGone,
    PodSeen,
    WindowsPod,
)
from ipamd.core.windows_config import complaints
from ipamd.k8s.control_views import CniNodeRow, ConfigMapView, ControlledNode, ControlledPod, Named
from ipamd.k8s.port import Item, Source
from ipamd.k8s.reflector import Changed, Reflector

from .clock import Clock

NAMESPACE: Final = "kube-system"
CONFIG_MAP: Final = "amazon-vpc-cni"
LEGACY: Final = "vpc-resource-controller"
OS_LABELS: Final = ("kubernetes.io/os", "beta.kubernetes.io/os")
TYPE_LABELS: Final = ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type")
TRUNK_LABEL: Final = "vpc.amazonaws.com/has-trunk-attached"
AUTO_LABEL: Final = "eks.amazonaws.com/compute-type"
TRUNK_FEATURE: Final = "SecurityGroupsForPods"
COOLDOWN_KEY: Final = "branch-eni-cooldown"
RESYNC_SECONDS: Final = 1800
"""WIN-18, WIN-21, WIN-54."""

CNI_NODES_SECONDS: Final = 5.0
"""How long the first list of CNINodes is waited for; without the CRD there is none."""

T = TypeVar("T", bound=Item)
Spawn = Callable[[Coroutine[Any, Any, None], str], None]


class Collections(Protocol):
    """The cluster's collections."""

    def pods(self) -> Source[ControlledPod]: ...

    def nodes(self) -> Source[ControlledNode]: ...

    def config_map(self, namespace: str, name: str) -> Source[ConfigMapView]: ...

    def deployment(self, namespace: str, name: str) -> Source[Named]: ...

    def cni_nodes(self) -> Source[CniNodeRow]: ...

    def policies(self) -> Source[SecurityGroupPolicy]: ...

    def service_accounts(self) -> Source[Named]: ...


class Informers:
    """The copies. `told` is called with each command once `begin` was; `noticed` with what is no command's."""

    def __init__(
        self, collections: Collections, clock: Clock, spawn: Spawn, warn: Callable[[str], None], identity: str = ""
    ) -> None:
        self.told: Callable[[Command], None] = lambda _: None
        self.on_node: Callable[[ControlledNode], None] = lambda _: None
        """A node was added, changed or listed again; before its command."""
        self.on_cni_node: Callable[[Changed[CniNodeRow]], None] = lambda _: None
        self._clock = clock
        self._spawn = spawn
        self._warn = warn
        self._identity = identity
        self._live = False
        self._troubled: dict[str, str] = {}
        self._strange: set[str] = set()
        self.config = self._kept("ConfigMap", collections.config_map(NAMESPACE, CONFIG_MAP), self._config_changed)
        self.legacy = self._kept("Deployment", collections.deployment(NAMESPACE, LEGACY), self._legacy_changed)
        self.policies = self._kept("SecurityGroupPolicies", collections.policies())
        self.accounts = self._kept("service accounts", collections.service_accounts())
        self.pods = self._kept("pods", collections.pods(), self._pod_changed)
        self.nodes = self._kept("nodes", collections.nodes(), self._node_changed)
        self.cni_nodes = self._kept("CNINodes", collections.cni_nodes(), self._cni_node_changed)

    def _kept(
        self, what: str, source: Source[T], changed: Callable[[Changed[T]], None] = lambda _: None
    ) -> Reflector[T]:
        return Reflector(
            source,
            lambda change: self._heard(what, changed, change),
            failed=lambda why: self._failed(what, why),
            sleep=self._clock.sleep,
            seed=f"{self._identity}/{what}",
        )

    async def watch_conditions(self) -> None:
        """Begin to watch what the webhook asks, and return when the first lists are in."""
        for what, kept in (("ConfigMap", self.config), ("Deployment", self.legacy)):
            self._spawn(kept.run(), f"watch {what}")
        # Without the CRD there are no policies; the webhook for Windows pods must not wait for it.
        self._spawn(self.policies.run(), "watch SecurityGroupPolicies")
        self._spawn(self.accounts.run(), "watch service accounts")
        await self.config.synced.wait()
        await self.legacy.synced.wait()
        self._complain()

    async def watch_cluster(self) -> None:
        """Begin to watch pods and nodes, and return when the first lists are in."""
        self._spawn(self.pods.run(), "watch pods")
        await self.pods.synced.wait()
        self._spawn(self.nodes.run(), "watch nodes")
        self._spawn(self.cni_nodes.run(), "watch CNINodes")
        await self.nodes.synced.wait()
        try:
            await asyncio.wait_for(self.cni_nodes.synced.wait(), CNI_NODES_SECONDS)
        except TimeoutError:
            self._warn("CNINodes cannot be listed; apply their CustomResourceDefinition. Windows nodes work without")

    def begin(self) -> None:
        """Tell what is there; from now on what changes is told. Not within an event loop's pause: nothing is missed."""
        self._live = True
        self.resync()
        self._clock.call_at(self._clock.now() + RESYNC_SECONDS * 1_000_000_000, self._resync_due)

    def resync(self) -> None:
        """Tell everything again: the conditions, pods, nodes."""
        self.told(ConfigSeen(self.data))
        self.told(CooldownSeen((self.data or {}).get(COOLDOWN_KEY)))
        self.told(LegacySeen(self.legacy_present))
        for key in sorted(self.pods.items):
            self._pod_seen(self.pods.items[key])
        for key in sorted(self.nodes.items):
            self._node_seen(self.nodes.items[key])

    def _resync_due(self) -> None:
        if self._live:
            self.resync()
            self._clock.call_at(self._clock.now() + RESYNC_SECONDS * 1_000_000_000, self._resync_due)

    def end(self) -> None:
        """Tell nothing any more."""
        self._live = False

    # ---- what the webhook and others ask -----------------------------------------------------------------------

    @property
    def data(self) -> dict[str, str] | None:
        """The ConfigMap's data; None without ConfigMap or data (WIN-9)."""
        found = self.config.items.get(f"{NAMESPACE}/{CONFIG_MAP}")
        return None if found is None else found.data

    @property
    def legacy_present(self) -> bool:
        """Whether the data-plane controller's Deployment exists (WIN-15)."""
        return f"{NAMESPACE}/{LEGACY}" in self.legacy.items

    def groups_of(self, namespace: str, labels: dict[str, str], account: str) -> tuple[str, ...]:
        """WIN-137: the security groups that policies give a pod."""
        if not self.policies.items:
            return ()
        known = self.accounts.items.get(f"{namespace}/{account or 'default'}")
        return matching_groups(
            self.policies.items.values(), namespace, labels, known.labels if known is not None else None
        )

    @property
    def troubles(self) -> dict[str, str]:
        """Collection -> why its last list or watch failed; those that work are not in it."""
        return dict(self._troubled)

    # ---- changes -----------------------------------------------------------------------------------------------

    def _heard(self, what: str, changed: Callable[[Changed[T]], None], change: Changed[T]) -> None:
        if self._troubled.pop(what, None) is not None:
            self._warn(f"watch of {what}: works again")
        if self._live:
            changed(change)

    def _failed(self, what: str, why: str) -> None:
        if self._troubled.get(what) != why:
            self._warn(f"watch of {what}: {why}; listed or watched again by itself")
        self._troubled[what] = why

    def _complain(self) -> None:
        """What in the ConfigMap cannot be meant (WIN-3, WIN-4, WIN-10)."""
        for text in complaints(self.data):
            self._warn(f"ConfigMap {NAMESPACE}/{CONFIG_MAP}: {text}")

    def _config_changed(self, _: Changed[ConfigMapView]) -> None:
        self._complain()
        self.told(ConfigSeen(self.data))
        self.told(CooldownSeen((self.data or {}).get(COOLDOWN_KEY)))

    def _legacy_changed(self, _: Changed[Named]) -> None:
        self.told(LegacySeen(self.legacy_present))

    def _pod_changed(self, change: Changed[ControlledPod]) -> None:
        before, after = change.before, change.after
        if before is not None and (after is None or after.uid != before.uid) and before.node:
            if POD_ENI in before.requests:
                self.told(BranchPodGone(before.node, before.uid))
            else:
                self.told(PodGone(before.node, before.uid))
        if after is not None:
            self._pod_seen(after)

    def _pod_seen(self, pod: ControlledPod) -> None:
        """Only pods on a node that ask for an address, or have one, are the machine's."""
        if pod.node and (pod.requests.get(PRIVATE_IPV4) or PRIVATE_IPV4 in pod.annotations):
            self.told(PodSeen(pod.node, windows_pod(pod)))
        if pod.node and pod.requests.get(POD_ENI):
            self.told(BranchPodSeen(pod.node, self._branch_pod(pod)))

    def _branch_pod(self, pod: ControlledPod) -> BranchPod:
        """What the machine keeps of a pod that asks for branch interfaces, with its groups as they are now."""
        groups = self.groups_of(pod.namespace, pod.labels, pod.service_account)
        wanted, said = pod.requests[POD_ENI], pod.annotations.get(POD_ENI, "")
        return BranchPod(pod.uid, pod.namespace, pod.name, wanted, said, pod.ended, groups)

    def _node_changed(self, change: Changed[ControlledNode]) -> None:
        before, after = change.before, change.after
        if before is not None and (after is None or after.uid != before.uid):
            self.told(NodeGone(before.name))
            self.told(TrunkGone(before.name))
        if after is not None:
            self._node_seen(after)

    def _node_seen(self, node: ControlledNode) -> None:
        seen = self.node_seen(node)
        if not seen.auto and seen.os == "windows" and not seen.instance and node.name not in self._strange:
            self._strange.add(node.name)
            self._warn(
                f"node {node.name}: spec.providerID {node.provider_id[:100]!a} names no instance, so the node is not "
                "managed; want aws:///ZONE/INSTANCE, which the cloud provider or kubelet --provider-id sets"
            )
        self.on_node(node)
        self.told(seen)
        if seen.trunk and seen.os == "linux" and seen.instance and not seen.auto:
            self.told(TrunkSeen(node.name, seen.instance, _amount(node, POD_ENI)))

    def node_seen(self, node: ControlledNode) -> NodeSeen:
        """WIN-24, WIN-25."""
        row = self.cni_nodes.items.get(node.name)
        return NodeSeen(
            node=node.name,
            instance=instance_of(node),
            os=label_of(node, OS_LABELS),
            capacity=_amount(node, PRIVATE_IPV4),
            trunk=TRUNK_LABEL in node.labels or (row is not None and TRUNK_FEATURE in row.features),
            auto=node.labels.get(AUTO_LABEL) == "auto",
        )

    def _cni_node_changed(self, change: Changed[CniNodeRow]) -> None:
        self.on_cni_node(change)
        features = [row.features if row is not None else {} for row in (change.before, change.after)]
        node = self.nodes.items.get(change.key)
        if node is not None and (TRUNK_FEATURE in features[0]) != (TRUNK_FEATURE in features[1]):
            self._node_seen(node)


def _amount(node: ControlledNode, resource: str) -> int:
    """What the node advertises of a resource; 0 for nothing, or for what is no whole number."""
    text = (node.capacity or {}).get(resource, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def windows_pod(pod: ControlledPod) -> WindowsPod:
    """What the machine keeps of a pod."""
    return WindowsPod(pod.uid, pod.namespace, pod.name, pod.annotations.get(PRIVATE_IPV4, ""), pod.ended)


def instance_of(node: ControlledNode) -> str:
    """WIN-24: the last part of the provider id."""
    return node.provider_id.rpartition("/")[2]


def label_of(node: ControlledNode, labels: tuple[str, ...]) -> str:
    """The first of the labels that the node has, "" for none."""
    return next((node.labels[label] for label in labels if node.labels.get(label)), "")
