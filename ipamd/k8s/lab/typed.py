"""The types of the fields that the server itself looks at. A body that is of other types is refused with 400.

Fields that are only kept are not listed: what they hold is between the clients.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from .catalog import DEFINITIONS, NAMESPACES, NODES, PODS, Kind, Object
from .refusal import bad_request

Texts = dict[str, str] | None
Any_ = dict[str, Any] | None


class _Camel(msgspec.Struct, rename="camel"):
    pass


class _Metadata(_Camel):
    name: str | None = None
    namespace: str | None = None
    generate_name: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    labels: Texts = None
    annotations: Texts = None
    finalizers: list[str] | None = None
    owner_references: list[dict[str, Any]] | None = None
    managed_fields: list[dict[str, Any]] | None = None


class _Thing(_Camel):
    metadata: _Metadata | None = None


class _Loose(_Thing):
    spec: Any_ = None
    status: Any_ = None


class _Container(_Camel):
    name: str | None = None
    image: str | None = None
    ports: list[dict[str, Any]] | None = None
    env: list[dict[str, Any]] | None = None
    volume_mounts: list[dict[str, Any]] | None = None
    resources: Any_ = None


class _Condition(_Camel):
    type: str = ""
    status: str = ""


class _PodSpec(_Camel):
    node_name: str | None = None
    containers: list[_Container] | None = None
    init_containers: list[_Container] | None = None
    termination_grace_period_seconds: int | None = None


class _Status(_Camel):
    phase: str | None = None
    conditions: list[_Condition] | None = None


class _Pod(_Thing):
    spec: _PodSpec | None = None
    status: _Status | None = None


class _NodeStatus(_Camel):
    capacity: dict[str, str | int] | None = None
    allocatable: dict[str, str | int] | None = None
    node_info: Any_ = None
    conditions: list[_Condition] | None = None


class _NodeSpec(_Camel):
    unschedulable: bool | None = None
    taints: list[dict[str, Any]] | None = None


class _Node(_Thing):
    spec: _NodeSpec | None = None
    status: _NodeStatus | None = None


class _NamespaceSpec(_Camel):
    finalizers: list[str] | None = None


class _Namespace(_Thing):
    spec: _NamespaceSpec | None = None
    status: _Status | None = None


class _Secret(_Thing):
    data: Texts = None
    string_data: Texts = None
    type: str | None = None
    immutable: bool | None = None


class _ConfigMap(_Thing):
    data: Texts = None
    binary_data: Texts = None
    immutable: bool | None = None


class _ServiceSpec(_Camel):
    ports: list[dict[str, Any]] | None = None
    type: str | None = None
    cluster_ip: str | None = msgspec.field(name="clusterIP", default=None)


class _Service(_Thing):
    spec: _ServiceSpec | None = None
    status: Any_ = None


class _Labelled(_Camel):
    match_labels: Texts = None


class _Worn(_Camel):
    labels: Texts = None


class _Template(_Camel):
    metadata: _Worn | None = None


class _DeploymentSpec(_Camel):
    selector: _Labelled | None = None
    template: _Template | None = None
    replicas: int | None = None


class _Deployment(_Thing):
    spec: _DeploymentSpec | None = None
    status: Any_ = None


class _Involved(_Camel):
    namespace: str | None = None
    name: str | None = None
    kind: str | None = None


class _Event(_Thing):
    involved_object: _Involved | None = None
    regarding: _Involved | None = None
    source: Any_ = None
    deprecated_source: Any_ = None
    event_time: str | None = None
    last_timestamp: str | None = None
    type: str | None = None


class _Names(_Camel):
    plural: str
    kind: str
    short_names: list[str] | None = None
    categories: list[str] | None = None


class _Column(_Camel):
    name: str
    json_path: str
    type: str = "string"
    priority: int = 0


class _Selectable(_Camel):
    json_path: str


class _Version(_Camel):
    name: str
    served: bool = True
    storage: bool = False
    subresources: Any_ = None
    selectable_fields: list[_Selectable] | None = None
    additional_printer_columns: list[_Column] | None = None


class _DefinitionSpec(_Camel):
    group: str
    names: _Names
    versions: list[_Version]
    scope: str


class _Definition(_Thing, kw_only=True):
    spec: _DefinitionSpec
    status: Any_ = None


_TYPES: Final[dict[str, type[_Thing]]] = {
    PODS: _Pod,
    NODES: _Node,
    NAMESPACES: _Namespace,
    DEFINITIONS: _Definition,
    "/configmaps": _ConfigMap,
    "/secrets": _Secret,
    "/services": _Service,
    "/events": _Event,
    "apps/deployments": _Deployment,
}


def check(kind: Kind, obj: Object) -> None:
    """Refuses (400) what could not be decoded as an object of the kind, or says to be of another."""
    try:
        msgspec.convert(obj, _Thing if kind.custom else _TYPES.get(kind.key, _Loose))
    except msgspec.ValidationError as error:
        raise bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: json: {error!s:.300}'
        ) from None
    asked = (obj.get("apiVersion", kind.api_version), obj.get("kind", kind.kind))
    if asked != (kind.api_version, kind.kind):
        raise bad_request(
            f"the API version in the data ({asked[0]!s:.60}, {asked[1]!s:.60}) does not match the expected API version "
            f"({kind.api_version}, {kind.kind})"
        )
