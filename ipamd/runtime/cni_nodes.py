"""A CNINode for every node: made when it is missing, let go when it is deleted (WIN-28, WIN-49).

Other components write its features; the controller makes the object and takes its finalizer off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from ipamd.k8s.control_views import CLEANUP, CniNodeRow, ControlledNode
from ipamd.k8s.port import ClusterError, ClusterLost
from ipamd.k8s.reflector import Changed

from .informers import AUTO_LABEL, OS_LABELS, Informers, instance_of, label_of
from .pace import Lanes

CUSTOM_FEATURE: Final = "CustomNetworking"


class CniNodeWrites(Protocol):
    """What is done to CNINodes; raises ClusterError and ClusterLost."""

    async def create_cni_node(self, name: str, system: str, cluster: str, instance: str) -> None: ...

    async def release_cni_node(self, row: CniNodeRow) -> None: ...


class CniNodes:
    """Keeps them. A failure is a warning, and tried again at the node's next event."""

    def __init__(
        self,
        writes: CniNodeWrites,
        informers: Informers,
        cluster_name: str,
        warn: Callable[[str], None],
    ) -> None:
        self.post: Callable[[str, str, str], None] = lambda node, reason, text: None
        """Post a warning about a node (WIN-44)."""
        self.recreated = 0
        """How often one was made anew, and how often that failed (`recreate_cniNode_*`)."""
        self.recreate_failed = 0
        self._writes = writes
        self._informers = informers
        self._cluster_name = cluster_name
        self._warn = warn
        self._complained: set[str] = set()
        self._making: set[str] = set()
        self._lanes: Lanes | None = None

    def seen(self, node: ControlledNode, lanes: Lanes, *, again: bool = False) -> None:
        """A node was seen: make its CNINode if there is none."""
        self._lanes = lanes
        system, instance = label_of(node, OS_LABELS), instance_of(node)
        if not system or not instance or node.labels.get(AUTO_LABEL) == "auto" or node.name in self._making:
            return
        if not again and node.name in self._informers.cni_nodes.items:
            return
        self._making.add(node.name)

        async def make() -> None:
            try:
                await self._writes.create_cni_node(node.name, system, self._cluster_name, instance)
            except (ClusterError, ClusterLost) as error:
                self.recreate_failed += again
                if again:
                    self.post(node.name, "CNINodeCreationFailed", f"the CNINode was not made anew: {error}")
                if node.name not in self._complained:
                    self._complained.add(node.name)
                    self._warn(f"node {node.name}: its CNINode was not made: {error}; tried again at its next event")
            finally:
                self._making.discard(node.name)

        self.recreated += again
        lanes.submit("node", f"CNINode {node.name}", make)

    def changed(self, change: Changed[CniNodeRow]) -> None:
        """One is being deleted: its finalizer goes. One has gone though its node is there: it is made again."""
        row, lanes = change.after, self._lanes
        if lanes is None:
            return
        if row is None:
            node = self._informers.nodes.items.get(change.key)
            if node is not None:
                self.seen(node, lanes, again=True)
            return
        if row.features.get(CUSTOM_FEATURE) == "" and (
            change.before is None or change.before.features.get(CUSTOM_FEATURE) != ""
        ):
            text = f"the CNINode of {row.name} asks for custom networking and names no ENIConfig"
            self.post(row.name, "EniConfigNameNotFound", text)
        if row.deleting and CLEANUP in row.finalizers:

            async def release() -> None:
                try:
                    await self._writes.release_cni_node(row)
                except (ClusterError, ClusterLost) as error:
                    self.post(row.name, "CNINodeDeletionFailed", f"finalizer {CLEANUP} of the CNINode stays: {error}")
                    self._warn(f"CNINode {row.name}: its finalizer {CLEANUP} stays: {error}; tried at its next change")

            lanes.submit("node", f"CNINode {row.name}", release)
