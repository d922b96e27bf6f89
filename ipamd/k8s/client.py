"""The cluster over HTTP: requests of our own, with lightkube's configuration, TLS and credentials below.

lightkube's own watch knows no bookmarks and starts from scratch after 410, so lists and watches are read here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx2
import msgspec

from . import wire
from .collection import Collection, part, pod_path
from .connection import configuration, session
from .port import ClusterError, ClusterLost
from .views import CniNodeView, EniConfigView, EventNote, Feature, NodeView, PodView, ServerVersion

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
        return wire.node(await self._thing(f"{_CORE}/nodes/{part(name)}", seconds))

    async def pod(self, namespace: str, name: str) -> PodView:
        """See the port."""
        return wire.pod(await self._thing(pod_path(namespace, name)))

    async def eni_config(self, name: str) -> EniConfigView:
        """See the port."""
        return wire.eni_config(await self._thing(f"{_ENI_CONFIGS}/{part(name)}"))

    async def cni_node(self, name: str) -> CniNodeView:
        """See the port."""
        return wire.cni_node(await self._thing(f"{_CNI_NODES}/{part(name)}"))

    def nodes(self, name: str = "") -> Collection[wire.Thing, NodeView]:
        """See the port."""
        return Collection(self, f"{_CORE}/nodes", _named(name), wire.node, wire.Thing)

    def pods(self, node: str = "") -> Collection[wire.Thing, PodView]:
        """See the port."""
        mine = {"fieldSelector": f"spec.nodeName={node}"} if node else {}
        return Collection(self, f"{_CORE}/pods", mine, wire.pod, wire.Thing)

    def eni_configs(self) -> Collection[wire.Thing, EniConfigView]:
        """See the port."""
        return Collection(self, _ENI_CONFIGS, {}, wire.eni_config, wire.Thing)

    def cni_nodes(self, name: str = "") -> Collection[wire.Thing, CniNodeView]:
        """See the port."""
        return Collection(self, _CNI_NODES, _named(name), wire.cni_node, wire.Thing)

    async def patch_pod_annotations(self, pod: PodView, annotations: dict[str, str | None]) -> PodView:
        """See the port."""
        body = {"metadata": {"annotations": annotations}} if annotations else {}
        raw = await self.request("PATCH", pod_path(pod.namespace, pod.name), body=body, headers=_MERGE)
        return wire.pod(wire.decoded("PATCH pod", raw, wire.Thing))

    async def patch_features(self, seen: CniNodeView, features: tuple[Feature, ...]) -> CniNodeView:
        """See the port."""
        listed = [wire.feature_body(feature) for feature in features]
        body = {"metadata": {"resourceVersion": seen.version}, "spec": {"features": listed}}
        raw = await self.request("PATCH", f"{_CNI_NODES}/{part(seen.name)}", body=body, headers=_MERGE)
        return wire.cni_node(wire.decoded("PATCH cninode", raw, wire.Thing))

    async def create_event(self, event: EventNote) -> None:
        """See the port."""
        body = wire.event_body(event)
        path = f"/apis/events.k8s.io/v1/namespaces/{part(body['metadata']['namespace'])}/events"
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


def _named(name: str) -> dict[str, str]:
    return {"fieldSelector": f"metadata.name={name}"} if name else {}
