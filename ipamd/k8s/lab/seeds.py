"""What a new cluster holds: its namespaces, their default service accounts, and the CRDs that ipamd knows.

The CRDs have no more schema than ipamd reads; their groups, names, scopes and fields are the field's own (POOL-41,
SGP-2).
"""

from __future__ import annotations

from typing import Any, Final

from .catalog import Catalog, Object
from .writes import Asked, Writes

SPACES: Final = ("default", "kube-system", "kube-public", "kube-node-lease")


def _definition(
    group: str, version: str, plural: str, kind: str, scope: str, spec: dict[str, Any], short: list[str],
    columns: list[Object],
) -> Object:  # fmt: skip
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": spec}},
        "x-kubernetes-preserve-unknown-fields": True,
    }
    served: Object = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    if columns:
        served["additionalPrinterColumns"] = columns
    names = {"plural": plural, "singular": kind.lower(), "kind": kind, **({"shortNames": short} if short else {})}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "names": names, "scope": scope, "versions": [served]},
    }


_TEXT: Final = {"type": "string"}
_TEXTS: Final = {"type": "array", "items": _TEXT}
_ANY: Final = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_FEATURE: Final = {"type": "object", "properties": {"name": _TEXT, "value": _TEXT}}

DEFINITIONS: Final[tuple[Object, ...]] = (
    _definition(
        "crd.k8s.amazonaws.com", "v1alpha1", "eniconfigs", "ENIConfig", "Cluster",
        {"subnet": _TEXT, "securityGroups": _TEXTS}, [], [],
    ),
    _definition(
        "vpcresources.k8s.aws", "v1alpha1", "cninodes", "CNINode", "Cluster",
        {"features": {"type": "array", "items": _FEATURE}, "tags": _ANY}, ["cnd"],
        [{"name": "Features", "type": "string", "jsonPath": ".spec.features"}],
    ),
    _definition(
        "vpcresources.k8s.aws", "v1beta1", "securitygrouppolicies", "SecurityGroupPolicy", "Namespaced",
        {"podSelector": _ANY, "serviceAccountSelector": _ANY, "securityGroups": _ANY}, ["sgp"],
        [{"name": "Security-Group-Ids", "type": "string", "jsonPath": ".spec.securityGroups.groupIds"}],
    ),
)  # fmt: skip
"""CustomResourceDefinitions, ready to be created on any API server."""


def sow(writes: Writes, catalog: Catalog) -> None:
    """Create it all."""
    core = catalog.kinds["", "v1"]
    for name in SPACES:
        writes.create(core["namespaces"], "", {"metadata": {"name": name}}, Asked())
        writes.create(core["serviceaccounts"], name, {"metadata": {"name": "default"}}, Asked())
    ports = [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]
    service = {"metadata": {"name": "kubernetes"}, "spec": {"clusterIP": "10.100.0.1", "ports": ports}}
    writes.create(core["services"], "default", service, Asked())
    crd = catalog.kinds["apiextensions.k8s.io", "v1"]["customresourcedefinitions"]
    for definition in DEFINITIONS:
        writes.create(crd, "", definition, Asked())
