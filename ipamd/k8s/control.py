"""The controller's door to a cluster: all pods, nodes and CNINodes, one ConfigMap, one Deployment, a Lease.

It speaks over a `LightkubeCluster`'s session; its lists and watches are Sources for a `Reflector`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import TYPE_CHECKING, Final, Generic, TypeVar
from urllib.parse import quote

from ipamd.core.security_groups import SecurityGroupPolicy

from . import control_views as views
from . import wire
from .control_views import (
    CniNodeRow,
    ConfigMapView,
    ControlledNode,
    ControlledPod,
    Lease,
    Named,
    Note,
)
from .port import ClusterError, Item, Listed, Seen

if TYPE_CHECKING:  # what it imports is an extra, and costs half a second
    from .client import LightkubeCluster

V = TypeVar("V", bound=Item)

POD_PAGE: Final = 1000
"""WIN-54."""
WATCH_SECONDS: Final = 300
_MERGE: Final = {"Content-Type": "application/merge-patch+json"}
_CNI_NODES: Final = "/apis/vpcresources.k8s.aws/v1alpha1/cninodes"
_POLICIES: Final = "/apis/vpcresources.k8s.aws/v1beta1/securitygrouppolicies"
_LEASES: Final = "/apis/coordination.k8s.io/v1"


class ControlCluster:
    """What `ipamd controller` does at an API server. Every method raises ClusterError and ClusterLost."""

    def __init__(self, http: LightkubeCluster) -> None:
        self._http = http

    # ---- collections ----

    def pods(self) -> View[ControlledPod]:
        """All pods."""
        return View(self._http, "/api/v1/pods", {}, views.pod, POD_PAGE)

    def nodes(self) -> View[ControlledNode]:
        """All nodes."""
        return View(self._http, "/api/v1/nodes", {}, views.node)

    def config_map(self, namespace: str, name: str) -> View[ConfigMapView]:
        """One ConfigMap as a collection of one at most (WIN-1)."""
        path = f"/api/v1/namespaces/{_part(namespace)}/configmaps"
        return View(self._http, path, {"fieldSelector": f"metadata.name={name}"}, views.config_map)

    def deployment(self, namespace: str, name: str) -> View[Named]:
        """One Deployment as a collection of one at most (WIN-22)."""
        path = f"/apis/apps/v1/namespaces/{_part(namespace)}/deployments"
        return View(self._http, path, {"fieldSelector": f"metadata.name={name}"}, views.named)

    def cni_nodes(self) -> View[CniNodeRow]:
        """All CNINodes."""
        return View(self._http, _CNI_NODES, {}, views.cni_node)

    def policies(self) -> View[SecurityGroupPolicy]:
        """All SecurityGroupPolicies."""
        return View(self._http, _POLICIES, {}, views.policy)

    def service_accounts(self) -> View[Named]:
        """All service accounts."""
        return View(self._http, "/api/v1/serviceaccounts", {}, views.named)

    # ---- single objects ----

    async def pod(self, namespace: str, name: str) -> ControlledPod:
        """A pod, from the API server itself."""
        return views.pod(await self._get(_pod_path(namespace, name)))

    async def node(self, name: str) -> ControlledNode:
        """A node, from the API server itself."""
        return views.node(await self._get(f"/api/v1/nodes/{_part(name)}"))

    async def annotate_pod(self, pod: ControlledPod, key: str, value: str) -> ControlledPod:
        """WIN-62: a merge patch; a conflict if the pod of that name is another one (the UID is sent along)."""
        body = {"metadata": {"uid": pod.uid, "annotations": {key: value}}}
        raw = await self._http.request("PATCH", _pod_path(pod.namespace, pod.name), body=body, headers=_MERGE)
        return views.pod(wire.decoded("PATCH pod", raw, views.Thing))

    async def advertise(self, node: ControlledNode, resource: str, amount: int) -> None:
        """WIN-40: status.capacity of a Node; a conflict if it changed since it was read."""
        body = {
            "metadata": {"resourceVersion": node.version},
            "status": {"capacity": {resource: str(amount)}},
        }
        await self._http.request("PATCH", f"/api/v1/nodes/{_part(node.name)}/status", body=body, headers=_MERGE)

    async def create_cni_node(self, name: str, system: str, cluster: str, instance: str) -> None:
        """WIN-28: a CNINode; one that is there already is fine."""
        body = views.cni_node_body(name, system, cluster, instance)
        try:
            await self._http.request("POST", _CNI_NODES, body=body)
        except ClusterError as error:
            if error.reason != "AlreadyExists":
                raise

    async def release_cni_node(self, row: CniNodeRow) -> None:
        """WIN-49: the finalizer goes; a CNINode that is gone already is fine."""
        finalizers = [one for one in row.finalizers if one != views.CLEANUP]
        body = {"metadata": {"resourceVersion": row.version, "finalizers": finalizers}}
        try:
            await self._http.request("PATCH", f"{_CNI_NODES}/{_part(row.name)}", body=body, headers=_MERGE)
        except ClusterError as error:
            if not error.missing:
                raise

    async def note(self, note: Note) -> None:
        """Record an event."""
        body = views.note_body(note)
        await self._http.request("POST", f"/api/v1/namespaces/{_part(body['metadata']['namespace'])}/events", body=body)

    # ---- the Lease ----

    async def lease(self, namespace: str, name: str) -> Lease:
        """A Lease."""
        path = f"{_LEASES}/namespaces/{_part(namespace)}/leases/{_part(name)}"
        return views.lease(await self._get(path, 5.0))

    async def create_lease(self, held: Lease) -> Lease:
        """A new Lease; a conflict (AlreadyExists) if there is one."""
        path = f"{_LEASES}/namespaces/{_part(held.namespace)}/leases"
        raw = await self._http.request("POST", path, body=views.lease_body(held), seconds=5.0)
        return views.lease(wire.decoded("POST lease", raw, views.Thing))

    async def update_lease(self, held: Lease) -> Lease:
        """The Lease, unless someone else wrote it since it was read."""
        path = f"{_LEASES}/namespaces/{_part(held.namespace)}/leases/{_part(held.name)}"
        raw = await self._http.request("PUT", path, body=views.lease_body(held), seconds=5.0)
        return views.lease(wire.decoded("PUT lease", raw, views.Thing))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _get(self, path: str, seconds: float = 10.0) -> views.Thing:
        return wire.decoded(f"GET {path}", await self._http.request("GET", path, seconds=seconds), views.Thing)


class View(Generic[V]):
    """`port.Source` of one path and one selection, read into a view."""

    def __init__(
        self,
        http: LightkubeCluster,
        path: str,
        selection: Mapping[str, str],
        reading: Callable[[views.Thing], V],
        page: int = 500,
    ) -> None:
        self._http = http
        self._path = path
        self._selection = selection
        self._reading = reading
        self._page = page

    async def list(self) -> Listed[V]:
        """Everything in it, all pages of one version."""
        items: list[V] = []
        continued = ""
        while True:
            onward = {"continue": continued} if continued else {}
            params: dict[str, str | int] = {**self._selection, "limit": self._page, **onward}
            raw = await self._http.request("GET", self._path, params=params, seconds=30.0)
            page = wire.decoded(f"GET {self._path}", raw, views.Things)
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
        lines = self._http.lines(self._path, params)
        try:
            async for raw in lines:
                line = wire.decoded(operation, raw, wire.Line)
                if line.type == "ERROR":
                    status = wire.decoded(operation, line.object, wire.Refused)
                    raise ClusterError(operation, status.code, status.reason, status.message)
                thing = wire.decoded(operation, line.object, views.Thing)
                found = None if line.type == "BOOKMARK" else self._reading(thing)
                yield Seen(line.type, thing.metadata.resource_version, found)
        finally:
            await lines.aclose()


def _part(text: str) -> str:
    """One part of a path, whatever is in it. Raises ClusterError for what would be another path."""
    if text in ("", ".", ".."):
        raise ClusterError("GET", 404, "NotFound", f'"{text}" is no name of an object')
    return quote(text, safe="")


def _pod_path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{_part(namespace)}/pods/{_part(name)}"
