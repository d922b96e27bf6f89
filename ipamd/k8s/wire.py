"""JSON of the API server to views. Absent, null and unknown fields are all fine; a wrong type is ClusterError."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec

from ipamd.core.types import SECOND, Instant

from .port import ClusterError
from .views import CniNodeView, EniConfigView, EventNote, Feature, NodeView, PodView, Taint

S = TypeVar("S")

NOTE_MAX: Final = 1024
"""Characters of an event's note; the API server takes no more."""


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """metadata of an object or of a list."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    deletion_timestamp: str | None = None


class _Resources(msgspec.Struct, frozen=True):
    limits: dict[str, str | int | float] | None = None


class _Container(msgspec.Struct, frozen=True):
    resources: _Resources | None = None


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    """The fields of every spec that is read; each kind has its own."""

    node_name: str = ""
    host_network: bool = False
    containers: list[_Container] | None = None
    taints: list[Taint] | None = None
    unschedulable: bool = False
    subnet: str = ""
    security_groups: list[str] | None = None
    features: list[Feature] | None = None


class _Ip(msgspec.Struct, frozen=True):
    ip: str = ""


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    phase: str = ""
    pod_i_ps: list[_Ip] | None = msgspec.field(name="podIPs", default=None)
    capacity: dict[str, str | int] | None = None


class Thing(msgspec.Struct, frozen=True):
    """Any object."""

    metadata: Metadata = Metadata()
    spec: _Spec | None = None
    status: _Status | None = None


class Refused(msgspec.Struct, frozen=True):
    """A Status."""

    message: str = ""
    reason: str = ""
    code: int = 0


class Line(msgspec.Struct, frozen=True):
    """A line of a watch; the object waits until its type is known."""

    type: str
    object: msgspec.Raw


def decoded(operation: str, raw: bytes | msgspec.Raw, shape: type[S]) -> S:
    """The answer as the shape. Raises ClusterError if it is not of it."""
    try:
        return msgspec.json.decode(raw, type=shape)
    except msgspec.MsgspecError as error:
        raise ClusterError(operation, 0, "Undecodable", f"the answer is not what it should be: {error}") from None


def pod(thing: Thing) -> PodView:
    """A Pod."""
    spec, status = thing.spec or _Spec(), thing.status or _Status()
    metadata = thing.metadata
    return PodView(
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        version=metadata.resource_version,
        node=spec.node_name,
        host_network=spec.host_network,
        phase=status.phase,
        labels=metadata.labels or {},
        annotations=metadata.annotations or {},
        ips=tuple(one.ip for one in status.pod_i_ps or ()),
        deleting=metadata.deletion_timestamp is not None,
        first_limits=_limits(spec),
    )


def _limits(spec: _Spec) -> tuple[str, ...]:
    first = spec.containers[0].resources if spec.containers else None
    return tuple((first.limits or {}) if first is not None else ())


def node(thing: Thing) -> NodeView:
    """A Node."""
    spec, status = thing.spec or _Spec(), thing.status or _Status()
    return NodeView(
        name=thing.metadata.name,
        version=thing.metadata.resource_version,
        labels=thing.metadata.labels or {},
        annotations=thing.metadata.annotations or {},
        taints=tuple(spec.taints or ()),
        unschedulable=spec.unschedulable,
        capacity={name: str(amount) for name, amount in (status.capacity or {}).items()},
    )


def eni_config(thing: Thing) -> EniConfigView:
    """An ENIConfig (POOL-41)."""
    spec = thing.spec or _Spec()
    return EniConfigView(
        name=thing.metadata.name,
        version=thing.metadata.resource_version,
        subnet=spec.subnet,
        security_groups=tuple(spec.security_groups or ()),
    )


def cni_node(thing: Thing) -> CniNodeView:
    """A CNINode (SGP-2)."""
    features = (thing.spec or _Spec()).features or ()
    return CniNodeView(thing.metadata.name, thing.metadata.resource_version, tuple(features))


def feature_body(feature: Feature) -> dict[str, str]:
    """A feature as JSON: an empty value is left out (SGP-2)."""
    return {"name": feature.name, **({"value": feature.value} if feature.value else {})}


def event_body(event: EventNote) -> dict[str, Any]:
    """An Event of events.k8s.io/v1, in the namespace of what it is about (EV-1)."""
    about = event.regarding
    reference = {
        "kind": "Pod", "apiVersion": "v1", "namespace": about.namespace, "name": about.name, "uid": about.uid,
        "resourceVersion": about.version,
    }  # fmt: skip
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{about.name or 'aws-node'}.{event.at:x}", "namespace": about.namespace or "default"},
        "eventTime": micro_time(event.at),
        "reportingController": event.controller,
        "reportingInstance": event.instance[:128],
        "action": event.action,
        "reason": event.reason,
        "regarding": {key: value for key, value in reference.items() if value} if about.name else {},
        "note": event.note[:NOTE_MAX],
        "type": event.type,
    }


def micro_time(at: Instant) -> str:
    """An instant as Kubernetes writes a MicroTime."""
    whole, part = divmod(at, SECOND)
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{part // 1000:06d}Z"
