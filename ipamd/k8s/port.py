"""The door to the cluster, as ipamd sees it: reads, watches and the three writes it does (EV-1..5, SGP-3).

`Cluster` is one API server. A `Source` is one collection that can be listed and watched; `reflector` keeps a copy.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Generic, Protocol, TypeVar

import msgspec

from .views import CniNodeView, EniConfigView, EventNote, Feature, NodeView, PodView, ServerVersion


class Item(Protocol):
    """What a list is made of: any view."""

    @property
    def key(self) -> str:
        """Tells it from others of its kind."""
        ...

    @property
    def version(self) -> str:
        """Its resourceVersion."""
        ...


T = TypeVar("T", bound=Item)


class ClusterError(Exception):
    """The API server refused: there is no effect."""

    def __init__(self, operation: str, code: int, reason: str, message: str) -> None:
        super().__init__(f"{operation}: {code} {reason}: {message}")
        self.operation = operation
        self.code = code
        """HTTP status."""
        self.reason = reason
        """Kubernetes' own word: NotFound, Conflict, Expired, ..."""
        self.message = message

    @property
    def missing(self) -> bool:
        """Whether there is no such object."""
        return self.reason == "NotFound"

    @property
    def conflict(self) -> bool:
        """Whether another one wrote in between."""
        return self.reason == "Conflict"

    @property
    def expired(self) -> bool:
        """Whether the version asked for is no longer remembered: list again."""
        return self.code == 410


class ClusterLost(Exception):
    """No answer came: a timeout or a broken connection. The effect of a write is unknown."""

    def __init__(self, operation: str, why: str, *, timeout: bool = False) -> None:
        super().__init__(f"{operation}: no answer: {why}")
        self.operation = operation
        self.why = why
        self.timeout = timeout
        """Whether the time for an answer was up, rather than the connection broken."""


class NoCluster(Exception):
    """Nothing says where an API server is, or what says so cannot be read."""


class Listed(msgspec.Struct, Generic[T], frozen=True):
    """A whole list, and the version it was read at."""

    items: list[T]
    version: str


class Seen(msgspec.Struct, Generic[T], frozen=True):
    """One event of a watch. A bookmark has no object."""

    type: str
    """ADDED, MODIFIED, DELETED or BOOKMARK."""
    version: str
    object: T | None = None


class Source(Protocol[T]):
    """One collection. Both methods raise ClusterError and ClusterLost."""

    async def list(self) -> Listed[T]:
        """Everything in it, all pages of one version."""
        ...

    def watch(self, version: str) -> AsyncGenerator[Seen[T], None]:
        """What happens after a version, until the server ends the stream."""
        ...


class Cluster(Protocol):
    """One API server. Every method raises ClusterError and ClusterLost."""

    async def server_version(self, seconds: float = 5.0) -> ServerVersion:
        """What tells whether it can be reached (INIT-2)."""
        ...

    async def node(self, name: str, seconds: float = 3.0) -> NodeView:
        """A node; the time limit is upstream's (EV-5)."""
        ...

    async def pod(self, namespace: str, name: str) -> PodView:
        """A pod."""
        ...

    async def eni_config(self, name: str) -> EniConfigView:
        """An ENIConfig (POOL-41)."""
        ...

    async def cni_node(self, name: str) -> CniNodeView:
        """A CNINode (SGP-2)."""
        ...

    def nodes(self, name: str = "") -> Source[NodeView]:
        """All nodes, or the one of the name."""
        ...

    def pods(self, node: str = "") -> Source[PodView]:
        """All pods, or those of a node (INIT-4)."""
        ...

    def eni_configs(self) -> Source[EniConfigView]:
        """All ENIConfigs."""
        ...

    def cni_nodes(self, name: str = "") -> Source[CniNodeView]:
        """All CNINodes, or the one of the name (INIT-4)."""
        ...

    async def patch_pod_annotations(self, pod: PodView, annotations: dict[str, str | None]) -> PodView:
        """A JSON merge patch of annotations; None removes one, no annotations send an empty patch (EV-3, EV-4)."""
        ...

    async def patch_features(self, seen: CniNodeView, features: tuple[Feature, ...]) -> CniNodeView:
        """A JSON merge patch of spec.features; a conflict unless the CNINode still is as it was seen (SGP-3)."""
        ...

    async def create_event(self, event: EventNote) -> None:
        """Record an event (EV-1)."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
