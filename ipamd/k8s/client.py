"""The cluster over HTTP: requests of our own, with lightkube's configuration, TLS and credentials below.

lightkube's own watch knows no bookmarks and starts from scratch after 410, so lists and watches are read here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

import httpx2
import msgspec

from . import wire
from .connection import configuration, session
from .port import ClusterError, ClusterLost, Item, Listed, Seen
from .views import CniNodeView, EniConfigView, EventNote, Feature, NodeView, PodView, ServerVersion

V = TypeVar("V", bound=Item)

PAGE: Final = 500
WATCH_SECONDS: Final = 300
SILENCE_SECONDS: Final = 90
"""Bookmarks come about once a minute: a watch that is silent for longer than the server lets it live is dead."""
LINE_MAX: Final = 16 * 1024 * 1024

_CORE: Final = "/api/v1"
_ENI_CONFIGS: Final = "/apis/crd.k8s.amazonaws.com/v1alpha1/eniconfigs"
_CNI_NODES: Final = "/apis/vpcresources.k8s.aws/v1alpha1/cninodes"
_MERGE: Final = {"Content-Type": "application/merge-patch+json"}


class LightkubeCluster:
    """`port.Cluster` over one HTTP session."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http

    async def server_version(self, seconds: float = 5.0) -> ServerVersion:
        """See the port."""
        raw = await self.request("GET", "/version", seconds=seconds)
        found = wire.decoded("GET /version", raw, dict[str, str])
        return ServerVersion(found.get("gitVersion", ""), found.get("platform", ""))

    async def node(self, name: str, seconds: float = 3.0) -> NodeView:
        """See the port."""
        return wire.node(await self._thing(f"{_CORE}/nodes/{_part(name)}", seconds))

    async def pod(self, namespace: str, name: str) -> PodView:
        """See the port."""
        return wire.pod(await self._thing(_pod_path(namespace, name)))

    async def eni_config(self, name: str) -> EniConfigView:
        """See the port."""
        return wire.eni_config(await self._thing(f"{_ENI_CONFIGS}/{_part(name)}"))

    async def cni_node(self, name: str) -> CniNodeView:
        """See the port."""
        return wire.cni_node(await self._thing(f"{_CNI_NODES}/{_part(name)}"))

    def nodes(self, name: str = "") -> Collection[NodeView]:
        """See the port."""
        return Collection(self, f"{_CORE}/nodes", _named(name), wire.node)

    def pods(self, node: str = "") -> Collection[PodView]:
        """See the port."""
        return Collection(self, f"{_CORE}/pods", {"fieldSelector": f"spec.nodeName={node}"} if node else {}, wire.pod)

    def eni_configs(self) -> Collection[EniConfigView]:
        """See the port."""
        return Collection(self, _ENI_CONFIGS, {}, wire.eni_config)

    def cni_nodes(self, name: str = "") -> Collection[CniNodeView]:
        """See the port."""
        return Collection(self, _CNI_NODES, _named(name), wire.cni_node)

    async def patch_pod_annotations(self, pod: PodView, annotations: dict[str, str | None]) -> PodView:
        """See the port."""
        body = {"metadata": {"annotations": annotations}} if annotations else {}
        raw = await self.request("PATCH", _pod_path(pod.namespace, pod.name), body=body, headers=_MERGE)
        return wire.pod(wire.decoded("PATCH pod", raw, wire.Thing))

    async def patch_features(self, seen: CniNodeView, features: tuple[Feature, ...]) -> CniNodeView:
        """See the port."""
        listed = [wire.feature_body(feature) for feature in features]
        body = {"metadata": {"resourceVersion": seen.version}, "spec": {"features": listed}}
        raw = await self.request("PATCH", f"{_CNI_NODES}/{_part(seen.name)}", body=body, headers=_MERGE)
        return wire.cni_node(wire.decoded("PATCH cninode", raw, wire.Thing))

    async def create_event(self, event: EventNote) -> None:
        """See the port."""
        body = wire.event_body(event)
        path = f"/apis/events.k8s.io/v1/namespaces/{_part(body['metadata']['namespace'])}/events"
        await self.request("POST", path, body=body)

    async def close(self) -> None:
        """See the port."""
        await self._http.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = 10.0,
    ) -> bytes:
        """One request; the answer's body. Raises ClusterError, ClusterLost."""
        operation = f"{method} {path}"
        content = None if body is None else msgspec.json.encode(body)
        sent = {"Content-Type": "application/json", **(headers or {})} if content is not None else None
        try:
            answer = await self._http.request(
                method, path, params=params, content=content, headers=sent, timeout=httpx2.Timeout(seconds)
            )
        except httpx2.TimeoutException as error:
            raise ClusterLost(operation, f"{type(error).__name__} after {seconds:g} s", timeout=True) from None
        except httpx2.HTTPError as error:
            raise ClusterLost(operation, f"{type(error).__name__}: {error}") from None
        if answer.status_code >= 300:
            raise refused(operation, answer.status_code, answer.content)
        return answer.content

    async def lines(self, path: str, params: Mapping[str, str | int]) -> AsyncGenerator[bytes, None]:
        """The lines of a watch. They end at line feeds only, which JSON cannot hold."""
        operation = f"WATCH {path}"
        timeout = httpx2.Timeout(10.0, read=SILENCE_SECONDS)
        try:
            async with self._http.stream("GET", path, params=params, timeout=timeout) as answer:
                if answer.status_code >= 300:
                    raise refused(operation, answer.status_code, await answer.aread())
                held = b""
                async for chunk in answer.aiter_bytes():
                    *whole, held = (held + chunk).split(b"\n")
                    for line in filter(None, whole):
                        yield line
                    if len(held) > LINE_MAX:
                        raise ClusterLost(operation, f"an event of more than {LINE_MAX} bytes")
        except httpx2.TimeoutException as error:
            raise ClusterLost(operation, f"{type(error).__name__}: silent for too long", timeout=True) from None
        except httpx2.HTTPError as error:
            raise ClusterLost(operation, f"{type(error).__name__}: {error}") from None

    async def _thing(self, path: str, seconds: float = 10.0) -> wire.Thing:
        return wire.decoded(f"GET {path}", await self.request("GET", path, seconds=seconds), wire.Thing)


class Collection(Generic[V]):
    """`port.Source` of one path and one selection."""

    def __init__(
        self, cluster: LightkubeCluster, path: str, selection: Mapping[str, str], reading: Callable[[wire.Thing], V]
    ) -> None:
        self._cluster = cluster
        self._path = path
        self._selection = selection
        self._reading = reading

    async def list(self) -> Listed[V]:
        """Everything in it, all pages of one version."""
        items: list[V] = []
        continued = ""
        while True:
            onward = {"continue": continued} if continued else {}
            params: dict[str, str | int] = {**self._selection, "limit": PAGE, **onward}
            raw = await self._cluster.request("GET", self._path, params=params)
            page = wire.decoded(f"GET {self._path}", raw, wire.Things)
            items += map(self._reading, page.items or ())
            continued = page.metadata.continued
            if not continued:
                return Listed(items, page.metadata.resource_version)

    async def watch(self, version: str) -> AsyncGenerator[Seen[V], None]:
        """What happens after a version. An ERROR line is raised as ClusterError."""
        operation = f"WATCH {self._path}"
        params: dict[str, str | int] = {
            **self._selection,
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": WATCH_SECONDS,
        }
        lines = self._cluster.lines(self._path, params)
        try:
            async for raw in lines:
                line = wire.decoded(operation, raw, wire.Line)
                if line.type == "ERROR":
                    status = wire.decoded(operation, line.object, wire.Refused)
                    raise ClusterError(operation, status.code, status.reason, status.message)
                thing = wire.decoded(operation, line.object, wire.Thing)
                found = None if line.type == "BOOKMARK" else self._reading(thing)
                yield Seen(line.type, thing.metadata.resource_version, found)
        finally:
            await lines.aclose()


def connect(environ: Mapping[str, str], *, kubeconfig: Path | None = None, agent: str = "ipamd") -> LightkubeCluster:
    """The cluster that the environment names (INIT-4); nothing is sent yet. Raises port.NoCluster."""
    return LightkubeCluster(session(configuration(environ, kubeconfig), agent))


def refused(operation: str, code: int, body: bytes) -> ClusterError:
    """The Status of an answer, or what there is of one."""
    try:
        status = msgspec.json.decode(body, type=wire.Refused)
    except msgspec.MsgspecError:
        reason = {404: "NotFound", 401: "Unauthorized", 403: "Forbidden", 410: "Expired"}.get(code, "")
        status = wire.Refused(body[:200].decode("utf-8", "replace").strip(), reason, code)
    return ClusterError(operation, status.code or code, status.reason, status.message)


def _part(text: str) -> str:
    """One part of a path, whatever is in it. Raises ClusterError for what would be another path."""
    if text in ("", ".", ".."):
        raise ClusterError("GET", 404, "NotFound", f'"{text}" is no name of an object')
    return quote(text, safe="")


def _pod_path(namespace: str, name: str) -> str:
    return f"{_CORE}/namespaces/{_part(namespace)}/pods/{_part(name)}"


def _named(name: str) -> dict[str, str]:
    return {"fieldSelector": f"metadata.name={name}"} if name else {}
