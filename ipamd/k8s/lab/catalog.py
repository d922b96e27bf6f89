"""Which resources the API server serves, and what is particular to each: names, subresources, selectable fields.

The table is the discovery documents, the routes and the field selectors in one. Custom resources join it at run
time through CustomResourceDefinitions (`of_definition`).
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec

Object: TypeAlias = dict[str, Any]
"""A Kubernetes object as JSON. Once stored it is never changed in place: writers build a new one."""

VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


class Column(msgspec.Struct, frozen=True):
    """One column of kubectl's table: the path's value as text, absent ones as `<none>`; `type` is OpenAPI's."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False


class Kind(msgspec.Struct, frozen=True):
    """One resource of one group and version."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    fields: dict[str, str] = {}
    """Field label -> path of its value; metadata.name and metadata.namespace go without saying."""
    flags: frozenset[str] = frozenset()
    """Paths among `fields` whose absent value reads `false`."""
    custom: bool = False
    """A custom resource: no strategic merge patch, no unconditional update, items of lists say their kind."""
    conditional: bool = False
    """An update must name the resourceVersion it is based upon."""
    upsert: bool = False
    """An update of what is not there creates it."""
    generation: bool = False
    """metadata.generation counts changes of anything but metadata and status."""
    columns: tuple[Column, ...] = ()
    storage: str = ""
    """Key of the kind whose objects these are in another shape; "" for their own."""

    @property
    def api_version(self) -> str:
        """`v1`, or `group/version`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        """The lower-case kind."""
        return self.kind.lower()

    @property
    def resource(self) -> str:
        """`nodes`, or `eniconfigs.crd.k8s.amazonaws.com`: how error texts name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def key(self) -> str:
        """Under what its objects and its history are kept."""
        return self.storage or f"{self.group}/{self.plural}"

    @property
    def has_status(self) -> bool:
        """Whether status is written through a path of its own only."""
        return "status" in self.subresources

    def label_refusal(self, label: str) -> str:
        """What the server says of a field selector on a field that is not selectable."""
        if self.fields or self.custom:
            return f"field label not supported: {label}"
        return f'"{label}" is not a known field selector: only "metadata.name", "metadata.namespace"'


def field(obj: Object, path: str) -> Any:
    """The value at a dotted path, None where there is none."""
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


_POD_FIELDS: Final = {
    label: label
    for label in (
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
        "status.phase", "status.podIP", "status.nominatedNodeName",
    )
}  # fmt: skip
_INVOLVED: Final = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_EVENT_FIELDS: Final = {
    **{f"involvedObject.{part}": f"involvedObject.{part}" for part in _INVOLVED},
    "reason": "reason",
    "reportingComponent": "reportingComponent",
    "source": "source.component",
    "type": "type",
}
_NEW_EVENT_FIELDS: Final = {
    **{f"regarding.{part}": f"involvedObject.{part}" for part in _INVOLVED},
    "reason": "reason",
    "reportingController": "reportingComponent",
    "type": "type",
}
_EVENT_COLUMNS: Final = (
    Column("Last Seen", "lastTimestamp", "date"),
    Column("Type", "type"),
    Column("Reason", "reason"),
    Column("Object", "involvedObject.name"),
    Column("Message", "message"),
)

BUILT_IN: Final[tuple[Kind, ...]] = (
    Kind(
        "", "v1", "namespaces", "Namespace", False, ("ns",), subresources=("status", "finalize"),
        fields={"status.phase": "status.phase"},
        columns=(Column("Status", "status.phase"),),
    ),
    Kind(
        "", "v1", "nodes", "Node", False, ("no",), subresources=("status",),
        fields={"spec.unschedulable": "spec.unschedulable"}, flags=frozenset({"spec.unschedulable"}),
        columns=(Column("Status", "nodes:state"), Column("Version", "status.nodeInfo.kubeletVersion")),
    ),
    Kind(
        "", "v1", "pods", "Pod", True, ("po",), ("all",), ("status", "binding"), _POD_FIELDS,
        frozenset({"spec.hostNetwork"}), generation=True,
        columns=(Column("Status", "pods:state"), Column("IP", "status.podIP", wide=True),
                 Column("Node", "spec.nodeName", wide=True)),
    ),
    Kind("", "v1", "configmaps", "ConfigMap", True, ("cm",)),
    Kind("", "v1", "secrets", "Secret", fields={"type": "type"}, columns=(Column("Type", "type"),)),
    Kind("", "v1", "serviceaccounts", "ServiceAccount", True, ("sa",)),
    Kind(
        "", "v1", "services", "Service", True, ("svc",), ("all",), ("status",),
        {"spec.clusterIP": "spec.clusterIP", "spec.type": "spec.type"},
        columns=(Column("Type", "spec.type"), Column("Cluster-IP", "spec.clusterIP")),
    ),
    Kind("", "v1", "events", "Event", True, ("ev",), fields=_EVENT_FIELDS, upsert=True, columns=_EVENT_COLUMNS),
    Kind(
        "events.k8s.io", "v1", "events", "Event", True, ("ev",), fields=_NEW_EVENT_FIELDS, upsert=True,
        storage="/events", columns=_EVENT_COLUMNS,
    ),
    Kind(
        "coordination.k8s.io", "v1", "leases", "Lease", conditional=True, upsert=True,
        columns=(Column("Holder", "spec.holderIdentity"),),
    ),
    Kind(
        "apps", "v1", "deployments", "Deployment", True, ("deploy",), ("all",), ("status",), generation=True,
        columns=(Column("Desired", "spec.replicas", "integer"),
                 Column("Available", "status.availableReplicas", "integer")),
    ),
    Kind(
        "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False,
        ("crd", "crds"), ("api-extensions",), ("status",), generation=True,
    ),
)  # fmt: skip

DEFINITIONS: Final = "apiextensions.k8s.io/customresourcedefinitions"
NAMESPACES: Final = "/namespaces"
NODES: Final = "/nodes"
PODS: Final = "/pods"


def of_definition(definition: Object) -> list[Kind]:
    """The kinds that a CustomResourceDefinition makes served: one for each served version."""
    spec = definition["spec"]
    names = spec["names"]
    return [
        Kind(
            group=spec["group"],
            version=version["name"],
            plural=names["plural"],
            kind=names["kind"],
            namespaced=spec.get("scope") == "Namespaced",
            short=tuple(names.get("shortNames") or ()),
            categories=tuple(names.get("categories") or ()),
            subresources=("status",) if "status" in (version.get("subresources") or {}) else (),
            fields={
                f["jsonPath"].lstrip("."): f["jsonPath"].lstrip(".") for f in version.get("selectableFields") or ()
            },
            custom=True,
            conditional=True,
            generation=True,
            columns=tuple(
                Column(c["name"], c["jsonPath"].lstrip("."), c.get("type", "string"), c.get("priority", 0) > 0)
                for c in version.get("additionalPrinterColumns") or ()
                if c["jsonPath"] != ".metadata.creationTimestamp"
            ),
        )
        for version in spec.get("versions") or ()
        if version.get("served", True)
    ]


class Catalog:
    """The kinds served now, by group and version."""

    def __init__(self) -> None:
        self.kinds: dict[tuple[str, str], dict[str, Kind]] = {}
        """(group, version) -> plural -> kind."""
        for kind in BUILT_IN:
            self.add(kind)

    def add(self, kind: Kind) -> None:
        """Serve it, in place of an older one of the same name."""
        self.kinds.setdefault((kind.group, kind.version), {})[kind.plural] = kind

    def drop(self, kind: Kind) -> None:
        """Serve it no longer."""
        served = self.kinds.get((kind.group, kind.version), {})
        served.pop(kind.plural, None)
        if not served:
            self.kinds.pop((kind.group, kind.version), None)

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        """The kind, None if it is not served."""
        return self.kinds.get((group, version), {}).get(plural)

    def named(self, key: str) -> Kind:
        """The first kind that stores its objects under the key."""
        return next(k for served in self.kinds.values() for k in served.values() if k.key == key)

    def versions(self) -> dict[str, list[str]]:
        """Group -> its versions, the core group (named "") left out, in the order of their adding."""
        found: dict[str, list[str]] = {}
        for group, version in self.kinds:
            if group:
                found.setdefault(group, []).append(version)
        return found
