"""What is decided of a pod or a node that someone creates or changes: pure functions of an AdmissionRequest.

The mutating half asks for an address (Windows) or a branch ENI (Linux, by policy) on the pod's first container; the
validating half keeps what the controller wrote from being forged. Source: WIN-50..53, WIN-137.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

Object: TypeAlias = dict[str, Any]

ADDRESS: Final = "vpc.amazonaws.com/PrivateIPv4Address"
POD_ENI: Final = "vpc.amazonaws.com/pod-eni"
FARGATE_PROFILE: Final = "eks.amazonaws.com/fargate-profile"
FARGATE_GROUPS: Final = "fargate.amazonaws.com/pod-sg"
OS_LABELS: Final = ("kubernetes.io/os", "beta.kubernetes.io/os")
WINDOWS: Final = "windows"
WRITERS: Final = frozenset(
    {
        "system:serviceaccount:kube-system:vpc-resource-controller",
        "system:serviceaccount:kube-system:eks-vpc-resource-controller",
        "eks:vpc-resource-controller",
    }
)
"""WIN-52: who may change the annotations."""
AWS_NODE: Final = "system:serviceaccount:kube-system:aws-node"
NODE_LABELS: Final = frozenset({"vpc.amazonaws.com/has-trunk-attached", "vpc.amazonaws.com/eniConfig"})
"""WIN-53: what aws-node may change of a node."""


class Request(msgspec.Struct, frozen=True, rename="camel"):
    """The members of an AdmissionRequest that are read."""

    uid: str = ""
    operation: str = ""
    namespace: str = ""
    name: str = ""
    user_info: dict[str, Any] = {}
    object: Object | None = None
    old_object: Object | None = None

    @property
    def user(self) -> str:
        """Who asks."""
        name = self.user_info.get("username", "")
        return name if isinstance(name, str) else ""


class Verdict(msgspec.Struct, frozen=True):
    """Allowed or not, and the JSON patch that makes the object what it should be."""

    allowed: bool
    message: str = ""
    patch: tuple[Object, ...] = ()


class PodFacts(msgspec.Struct, frozen=True):
    """What of a pod decides which security groups it gets."""

    namespace: str
    labels: dict[str, str]
    service_account: str


GroupsOf: TypeAlias = Callable[[PodFacts], tuple[str, ...]]
"""The security groups that the namespace's policies give a pod."""


def mutate_pod(request: Request, ipam_enabled: bool, groups_of: GroupsOf) -> Verdict:
    """WIN-50: the first of host network, Fargate, Windows and Linux that fits. `ipam_enabled` is WIN-15."""
    pod = request.object or {}
    if request.operation != "CREATE":
        return Verdict(True, f"{request.operation}: only CREATE is looked at")
    spec = _member(pod, "spec")
    if spec.get("hostNetwork") is True:
        return Verdict(True, "the pod uses the host's network")
    facts = _facts(request, pod, spec)
    if FARGATE_PROFILE in facts.labels:
        groups = groups_of(facts)
        if not groups:
            return Verdict(True, "no SecurityGroupPolicy matches the pod")
        return Verdict(True, "", (_annotated(pod, FARGATE_GROUPS, ",".join(groups)),))
    chosen = _member(spec, "nodeSelector")
    if any(chosen.get(label) == WINDOWS for label in OS_LABELS):
        if not ipam_enabled:
            return Verdict(True, "Windows IPAM is not enabled: set enable-windows-ipam in ConfigMap amazon-vpc-cni")
        return _asking(spec, ADDRESS)
    if not groups_of(facts):
        return Verdict(True, "no SecurityGroupPolicy matches the pod")
    return _asking(spec, POD_ENI)


def validate_pod(request: Request, ipam_enabled: bool) -> Verdict:
    """WIN-52: nobody but the controller writes its annotations, and nobody changes Fargate's."""
    protected = (POD_ENI, ADDRESS) if ipam_enabled else (POD_ENI,)
    new = _annotations(request.object)
    if request.operation == "CREATE":
        forged = next((key for key in protected if key in new), None)
        if forged is not None:
            return Verdict(False, f"annotation {forged}: only the VPC resource controller writes it; create without it")
        return Verdict(True)
    if request.operation != "UPDATE":
        return Verdict(True)
    old = _annotations(request.old_object)
    if new.get(FARGATE_GROUPS) != old.get(FARGATE_GROUPS):
        return Verdict(False, f"annotation {FARGATE_GROUPS}: it cannot be changed after the pod was created")
    if request.user in WRITERS:
        return Verdict(True)
    changed = next((key for key in protected if new.get(key) != old.get(key)), None)
    if changed is None:
        return Verdict(True)
    who = f"{request.user:.200}"
    return Verdict(False, f"annotation {changed}: only the VPC resource controller changes it, not {who!a}")


def validate_node(request: Request) -> Verdict:
    """WIN-53: aws-node may change two labels of a node and nothing else; everybody else is none of our business."""
    if request.operation != "UPDATE" or request.user != AWS_NODE:
        return Verdict(True)
    if _bare(request.object) == _bare(request.old_object):
        return Verdict(True)
    allowed = " and ".join(sorted(NODE_LABELS))
    return Verdict(False, f"aws-node may change the labels {allowed} of a node and nothing else")


def _facts(request: Request, pod: Object, spec: Object) -> PodFacts:
    metadata = _member(pod, "metadata")
    labels = {key: str(value) for key, value in _member(metadata, "labels").items()}
    account = spec.get("serviceAccountName")
    named = account if isinstance(account, str) and account else "default"
    return PodFacts(request.namespace or str(metadata.get("namespace") or ""), labels, named)


def _asking(spec: Object, resource: str) -> Verdict:
    """WIN-51: limit and request of "1" on the first container, whatever stood there."""
    containers = spec.get("containers")
    if not isinstance(containers, list) or not containers or not isinstance(containers[0], dict):
        return Verdict(True, "spec.containers: the pod has none; the API server will say so")
    first = containers[0]
    resources = first.get("resources")
    if not isinstance(resources, dict):
        whole = {"limits": {resource: "1"}, "requests": {resource: "1"}}
        return Verdict(True, "", ({"op": "add", "path": "/spec/containers/0/resources", "value": whole},))
    patch: list[Object] = []
    for kind in ("limits", "requests"):
        path = f"/spec/containers/0/resources/{kind}"
        if isinstance(resources.get(kind), dict):
            patch.append({"op": "add", "path": f"{path}/{_pointer(resource)}", "value": "1"})
        else:
            patch.append({"op": "add", "path": path, "value": {resource: "1"}})
    return Verdict(True, "", tuple(patch))


def _annotated(pod: Object, key: str, value: str) -> Object:
    if isinstance(_member(pod, "metadata").get("annotations"), dict):
        return {"op": "add", "path": f"/metadata/annotations/{_pointer(key)}", "value": value}
    return {"op": "add", "path": "/metadata/annotations", "value": {key: value}}


def _bare(node: Object | None) -> Object:
    """A node without what may differ; empty maps are no difference."""
    node = dict(node or {})
    metadata = dict(_member(node, "metadata"))
    labels = {key: value for key, value in _member(metadata, "labels").items() if key not in NODE_LABELS}
    for gone in ("managedFields", "selfLink", "resourceVersion", "generation"):
        metadata.pop(gone, None)
    metadata["labels"] = labels
    node["metadata"] = metadata
    return node


def _annotations(pod: Object | None) -> Mapping[str, Any]:
    return _member(_member(pod or {}, "metadata"), "annotations")


def _member(thing: Object, name: str) -> Object:
    value = thing.get(name)
    return value if isinstance(value, dict) else {}


def _pointer(key: str) -> str:
    """A key as a part of a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")
