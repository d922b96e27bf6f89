"""The controller's door to a cluster: all pods, nodes and CNINodes, one ConfigMap, one Deployment, a Lease.

It speaks over a `LightkubeCluster`'s session; its lists and watches are Sources for a `Reflector`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from ipamd.core.security_groups import SecurityGroupPolicy

from . import control_views as views
from . import wire
from .collection import Collection, part, pod_path
from .control_views import (
    CniNodeRow,
    ConfigMapView,
    ControlledNode,
    ControlledPod,
    Lease,
    Named,
    Note,
)
from .port import ClusterError, Item

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

    def pods(self) -> Collection[views.Thing, ControlledPod]:
        """All pods."""
        return Collection(self._http, "/api/v1/pods", {}, views.pod, views.Thing, POD_PAGE)

    def nodes(self) -> Collection[views.Thing, ControlledNode]:
        """All nodes."""
        return Collection(self._http, "/api/v1/nodes", {}, views.node, views.Thing)

    def config_map(self, namespace: str, name: str) -> Collection[views.Thing, ConfigMapView]:
        """One ConfigMap as a collection of one at most (WIN-1)."""
        path = f"/api/v1/namespaces/{part(namespace)}/configmaps"
        return Collection(self._http, path, {"fieldSelector": f"metadata.name={name}"}, views.config_map, views.Thing)

    def deployment(self, namespace: str, name: str) -> Collection[views.Thing, Named]:
        """One Deployment as a collection of one at most (WIN-22)."""
        path = f"/apis/apps/v1/namespaces/{part(namespace)}/deployments"
        return Collection(self._http, path, {"fieldSelector": f"metadata.name={name}"}, views.named, views.Thing)

    def cni_nodes(self) -> Collection[views.Thing, CniNodeRow]:
        """All CNINodes."""
        return Collection(self._http, _CNI_NODES, {}, views.cni_node, views.Thing)

    def policies(self) -> Collection[views.Thing, SecurityGroupPolicy]:
        """All SecurityGroupPolicies."""
        return Collection(self._http, _POLICIES, {}, views.policy, views.Thing)

    def service_accounts(self) -> Collection[views.Thing, Named]:
        """All service accounts."""
        return Collection(self._http, "/api/v1/serviceaccounts", {}, views.named, views.Thing)

    # ---- single objects ----

    async def pod(self, namespace: str, name: str) -> ControlledPod:
        """A pod, from the API server itself."""
        return views.pod(await self._get(pod_path(namespace, name)))

    async def node(self, name: str) -> ControlledNode:
        """A node, from the API server itself."""
        return views.node(await self._get(f"/api/v1/nodes/{part(name)}"))

    async def annotate_pod(self, pod: ControlledPod, key: str, value: str) -> ControlledPod:
        """WIN-62: a merge patch; a conflict if the pod of that name is another one (the UID is sent along)."""
        body = {"metadata": {"uid": pod.uid, "annotations": {key: value}}}
        raw = await self._http.request("PATCH", pod_path(pod.namespace, pod.name), body=body, headers=_MERGE)
        return views.pod(wire.decoded("PATCH pod", raw, views.Thing))

    async def advertise(self, node: ControlledNode, resource: str, amount: int) -> None:
        """WIN-40: status.capacity of a Node; a conflict if it changed since it was read."""
        body = {
            "metadata": {"resourceVersion": node.version},
            "status": {"capacity": {resource: str(amount)}},
        }
        await self._http.request("PATCH", f"/api/v1/nodes/{part(node.name)}/status", body=body, headers=_MERGE)

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
            await self._http.request("PATCH", f"{_CNI_NODES}/{part(row.name)}", body=body, headers=_MERGE)
        except ClusterError as error:
            if not error.missing:
                raise

    async def note(self, note: Note) -> None:
        """Record an event."""
        body = views.note_body(note)
        await self._http.request("POST", f"/api/v1/namespaces/{part(body['metadata']['namespace'])}/events", body=body)

    # ---- the Lease ----

    async def lease(self, namespace: str, name: str) -> Lease:
        """A Lease."""
        path = f"{_LEASES}/namespaces/{part(namespace)}/leases/{part(name)}"
        return views.lease(await self._get(path, 5.0))

    async def create_lease(self, held: Lease) -> Lease:
        """A new Lease; a conflict (AlreadyExists) if there is one."""
        path = f"{_LEASES}/namespaces/{part(held.namespace)}/leases"
        raw = await self._http.request("POST", path, body=views.lease_body(held), seconds=5.0)
        return views.lease(wire.decoded("POST lease", raw, views.Thing))

    async def update_lease(self, held: Lease) -> Lease:
        """The Lease, unless someone else wrote it since it was read."""
        path = f"{_LEASES}/namespaces/{part(held.namespace)}/leases/{part(held.name)}"
        raw = await self._http.request("PUT", path, body=views.lease_body(held), seconds=5.0)
        return views.lease(wire.decoded("PUT lease", raw, views.Thing))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _get(self, path: str, seconds: float = 10.0) -> views.Thing:
        return wire.decoded(f"GET {path}", await self._http.request("GET", path, seconds=seconds), views.Thing)
