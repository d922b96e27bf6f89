"""What the controller sees of a cluster and writes there, beyond what a node's daemon does.

A pod is kept as upstream's cache keeps it (WIN-54): enough to give it an address, small enough for all of a cluster.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ipamd.core.security_groups import Expression, SecurityGroupPolicy, Selector
from ipamd.core.types import Instant

from .wire import micro_time

PREFIX: Final = "vpc.amazonaws.com/"
ADDRESS: Final = "vpc.amazonaws.com/PrivateIPv4Address"
COMPONENT: Final = "vpc-resource-controller"
CLEANUP: Final = "networking.k8s.aws/resource-cleanup"
"""Finalizer of a CNINode (WIN-28)."""
NOTE_MAX: Final = 1024


class ControlledPod(msgspec.Struct, frozen=True):
    """A pod as the controller keeps it. `annotations` and `requests` are those that begin with vpc.amazonaws.com/."""

    namespace: str
    name: str
    uid: str = ""
    version: str = ""
    node: str = ""
    phase: str = ""
    deleting: bool = False
    annotations: dict[str, str] = {}
    requests: dict[str, int] = {}
    """Resource -> sum over the regular containers (WIN-56)."""
    labels: dict[str, str] = {}
    """Only of pods that ask for branch ENIs: policies select by them."""
    service_account: str = ""

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    @property
    def ended(self) -> bool:
        """Whether its phase says that it needs no address any more (WIN-55)."""
        return self.phase in ("Succeeded", "Failed")


class ControlledNode(msgspec.Struct, frozen=True):
    """A node as the controller sees it. `capacity` is None while the Node has no such map (WIN-40)."""

    name: str
    uid: str = ""
    version: str = ""
    labels: dict[str, str] = {}
    provider_id: str = ""
    capacity: dict[str, str] | None = None

    @property
    def key(self) -> str:
        """The name."""
        return self.name


class ConfigMapView(msgspec.Struct, frozen=True):
    """A ConfigMap; None is one without data (WIN-9)."""

    namespace: str
    name: str
    version: str = ""
    data: dict[str, str] | None = None

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


class Named(msgspec.Struct, frozen=True):
    """An object of which only its being there, and its labels, matter: a Deployment, a service account."""

    namespace: str
    name: str
    version: str = ""
    labels: dict[str, str] = {}

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


class CniNodeRow(msgspec.Struct, frozen=True):
    """A CNINode as the controller sees it."""

    name: str
    version: str = ""
    features: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()
    deleting: bool = False

    @property
    def key(self) -> str:
        """The name."""
        return self.name


class Lease(msgspec.Struct, frozen=True):
    """A Lease; times are RFC 3339 with microseconds, as they are written."""

    namespace: str
    name: str
    version: str = ""
    holder: str = ""
    seconds: int = 0
    acquired: str = ""
    renewed: str = ""
    transitions: int = 0


class Note(msgspec.Struct, frozen=True):
    """An event about a node or a pod, as core/v1 records it."""

    kind: str
    name: str
    reason: str
    text: str
    at: Instant
    type: str = "Normal"
    namespace: str = ""
    uid: str = ""
    version: str = ""


# ---- JSON to views ---------------------------------------------------------------------------------------------


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    finalizers: list[str] | None = None
    deletion_timestamp: str | None = None


class _Resources(msgspec.Struct, frozen=True):
    requests: dict[str, str | int] | None = None


class _Container(msgspec.Struct, frozen=True):
    resources: _Resources | None = None


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    node_name: str = ""
    service_account_name: str = ""
    containers: list[_Container] | None = None
    provider_id: str = msgspec.field(name="providerID", default="")
    features: list[dict[str, str]] | None = None
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None
    pod_selector: dict[str, Any] | None = None
    service_account_selector: dict[str, Any] | None = None
    security_groups: dict[str, Any] | None = None


class _Status(msgspec.Struct, frozen=True):
    phase: str = ""
    capacity: dict[str, str | int] | None = None


class Thing(msgspec.Struct, frozen=True):
    """Any object, with the fields that the controller reads."""

    metadata: _Metadata = _Metadata()
    spec: _Spec | None = None
    status: _Status | None = None
    data: dict[str, str] | None = None


def pod(thing: Thing) -> ControlledPod:
    """A Pod."""
    metadata, spec, status = thing.metadata, thing.spec or _Spec(), thing.status or _Status()
    requests: dict[str, int] = {}
    for container in spec.containers or ():
        for name, amount in ((container.resources or _Resources()).requests or {}).items():
            if name.startswith(PREFIX):
                requests[name] = requests.get(name, 0) + _whole(amount)
    return ControlledPod(
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        version=metadata.resource_version,
        node=spec.node_name,
        phase=status.phase,
        deleting=metadata.deletion_timestamp is not None,
        annotations={k: v for k, v in (metadata.annotations or {}).items() if k.startswith(PREFIX)},
        requests=requests,
        labels=(metadata.labels or {}) if f"{PREFIX}pod-eni" in requests else {},
        service_account=spec.service_account_name,
    )


def node(thing: Thing) -> ControlledNode:
    """A Node."""
    metadata, status = thing.metadata, thing.status or _Status()
    capacity = None if status.capacity is None else {name: str(n) for name, n in status.capacity.items()}
    provider = (thing.spec or _Spec()).provider_id
    return ControlledNode(
        metadata.name, metadata.uid, metadata.resource_version, metadata.labels or {}, provider, capacity
    )


def config_map(thing: Thing) -> ConfigMapView:
    """A ConfigMap."""
    metadata = thing.metadata
    return ConfigMapView(metadata.namespace, metadata.name, metadata.resource_version, thing.data)


def named(thing: Thing) -> Named:
    """Any namespaced object."""
    metadata = thing.metadata
    return Named(metadata.namespace, metadata.name, metadata.resource_version, metadata.labels or {})


def cni_node(thing: Thing) -> CniNodeRow:
    """A CNINode."""
    metadata = thing.metadata
    features = {one.get("name", ""): one.get("value", "") for one in (thing.spec or _Spec()).features or ()}
    return CniNodeRow(
        metadata.name,
        metadata.resource_version,
        features,
        tuple(metadata.finalizers or ()),
        metadata.deletion_timestamp is not None,
    )


def lease(thing: Thing) -> Lease:
    """A Lease."""
    metadata, spec = thing.metadata, thing.spec or _Spec()
    return Lease(
        namespace=metadata.namespace,
        name=metadata.name,
        version=metadata.resource_version,
        holder=spec.holder_identity or "",
        seconds=spec.lease_duration_seconds or 0,
        acquired=spec.acquire_time or "",
        renewed=spec.renew_time or "",
        transitions=spec.lease_transitions or 0,
    )


def policy(thing: Thing) -> SecurityGroupPolicy:
    """A SecurityGroupPolicy; group ids that are no text are left out."""
    metadata, spec = thing.metadata, thing.spec or _Spec()
    groups = (spec.security_groups or {}).get("groupIds")
    return SecurityGroupPolicy(
        namespace=metadata.namespace,
        name=metadata.name,
        version=metadata.resource_version,
        pods=_selector(spec.pod_selector),
        accounts=_selector(spec.service_account_selector),
        groups=tuple(one for one in groups if isinstance(one, str)) if isinstance(groups, list) else (),
    )


def _selector(raw: dict[str, Any] | None) -> Selector | None:
    if raw is None:
        return None
    labels, expressions = raw.get("matchLabels"), raw.get("matchExpressions")
    listed = [one for one in expressions if isinstance(one, dict)] if isinstance(expressions, list) else []
    return Selector(
        {str(k): str(v) for k, v in labels.items()} if isinstance(labels, dict) else {},
        tuple(
            Expression(
                str(one.get("key", "")), str(one.get("operator", "")), tuple(str(v) for v in one.get("values") or ())
            )
            for one in listed
        ),
    )


def _whole(amount: str | int) -> int:
    """Extended resources are whole numbers; what is none asks for nothing."""
    text = str(amount)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


# ---- views to JSON ---------------------------------------------------------------------------------------------


def lease_body(held: Lease) -> dict[str, Any]:
    """A Lease to be created, or (with a version) to take an older one's place."""
    version = {"resourceVersion": held.version} if held.version else {}
    spec = {
        "holderIdentity": held.holder,
        "leaseDurationSeconds": held.seconds,
        "acquireTime": held.acquired or None,
        "renewTime": held.renewed or None,
        "leaseTransitions": held.transitions,
    }
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": held.name, "namespace": held.namespace, **version},
        "spec": spec,
    }


def cni_node_body(name: str, system: str, cluster: str, instance: str) -> dict[str, Any]:
    """A CNINode as the controller makes it (WIN-28)."""
    return {
        "apiVersion": "vpcresources.k8s.aws/v1alpha1",
        "kind": "CNINode",
        "metadata": {"name": name, "labels": {"kubernetes.io/os": system}, "finalizers": [CLEANUP]},
        "spec": {
            "tags": {"cluster.k8s.amazonaws.com/name": cluster, "node.k8s.amazonaws.com/instance_id": instance}
        },
    }


def note_body(note: Note) -> dict[str, Any]:
    """A core/v1 Event, in the namespace of what it is about; a node's is `default`."""
    about = {"kind": note.kind, "apiVersion": "v1", "name": note.name, "uid": note.uid, "namespace": note.namespace}
    at = micro_time(note.at)[:19] + "Z"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{note.name[:200]}.{note.at:x}", "namespace": note.namespace or "default"},
        "involvedObject": {key: value for key, value in about.items() if value},
        "reason": note.reason,
        "message": note.text[:NOTE_MAX],
        "type": note.type,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": "",
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }
