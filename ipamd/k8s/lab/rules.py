"""What the API server fills in and checks when an object is written. Everything builds a new object.

Only rules that a client of ipamd's kind can notice are here: names and labels, what makes a Pod, a Node, a Service,
a Namespace, an Event complete. Quantities are kept as they were written.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Final

from .catalog import Kind, Object
from .refusal import barred, invalid, required, wrong

Finding = tuple[str, str, str]

_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_SUBDOMAIN_TEXT: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_KEY: Final = re.compile(
    r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z"
)
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?\Z")
_LABEL_TEXT: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_ANNOTATIONS_MAX: Final = 256 * 1024


# ---- what every object has -----------------------------------------------------------------------------------


def findings(kind: Kind, obj: Object) -> list[Finding]:
    """What is wrong with the metadata, and with the rest as the kind's own rule says."""
    metadata = obj["metadata"]
    name = metadata.get("name", "")
    found: list[Finding] = []
    if not name:
        found.append(required("metadata.name", "Required value: name or generateName is required"))
    elif len(name) > 253 or not _SUBDOMAIN.match(name):
        found.append(wrong("metadata.name", name[:253], _SUBDOMAIN_TEXT))
    for key, value in (metadata.get("labels") or {}).items():
        if not _LABEL_KEY.match(key):
            found.append(wrong("metadata.labels", key[:253], "name part must consist of alphanumeric characters, '-', "
                               "'_' or '.', and must start and end with an alphanumeric character"))  # fmt: skip
        elif not _LABEL_VALUE.match(value):
            found.append(wrong("metadata.labels", value[:253], _LABEL_TEXT))
    annotations = metadata.get("annotations") or {}
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > _ANNOTATIONS_MAX:
        found.append(("FieldValueTooLong", "metadata.annotations",
                      f"Too long: may not be more than {_ANNOTATIONS_MAX} bytes"))  # fmt: skip
    rule = _CHECKS.get(kind.key)
    return found + rule(obj) if rule else found


def completed(kind: Kind, obj: Object, *, new: bool) -> Object:
    """The object with the kind's defaults; of a new one the status is what the server starts with."""
    if new and kind.custom and kind.has_status:
        obj = {key: value for key, value in obj.items() if key != "status"}
    rule = _DEFAULTS.get(kind.key)
    return rule(obj, new) if rule else obj


def changed_findings(kind: Kind, before: Object, after: Object) -> list[Finding]:
    """What of a change the kind forbids."""
    if kind.key == "/pods":
        return _pod_change(before, after)
    sealed = kind.key in ("/configmaps", "/secrets") and before.get("immutable")
    if sealed and any(before.get(part) != after.get(part) for part in ("data", "binaryData", "immutable")):
        return [barred("data", "field is immutable when `immutable` is set")]
    return []


# ---- kinds ---------------------------------------------------------------------------------------------------


def _filled(obj: Object, part: str, defaults: Object) -> Object:
    return {**obj, part: {**defaults, **(obj.get(part) or {})}}


def _node(obj: Object, new: bool) -> Object:
    obj = _filled(obj, "spec", {})
    status = obj.get("status") or {}
    if not status.get("allocatable") and status.get("capacity"):
        status = {**status, "allocatable": dict(status["capacity"])}
    if new:
        info = ("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion",
                "kubeletVersion", "kubeProxyVersion", "operatingSystem", "architecture")  # fmt: skip
        status = {
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
            **status,
            "nodeInfo": {**dict.fromkeys(info, ""), **(status.get("nodeInfo") or {})},
        }
    return {**obj, "status": status}


def _pod(obj: Object, new: bool) -> Object:
    obj = _filled(
        obj,
        "spec",
        {
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default",
            "serviceAccount": "default",
            "securityContext": {},
            "schedulerName": "default-scheduler",
            "enableServiceLinks": True,
            "priority": 0,
            "preemptionPolicy": "PreemptLowerPriority",
        },
    )
    spec = obj["spec"]
    for part in ("containers", "initContainers"):
        if isinstance(spec.get(part), list):
            spec = {**spec, part: [_container(c) if isinstance(c, dict) else c for c in spec[part]]}
    if not new:
        return {**obj, "spec": spec}
    return {**obj, "spec": spec, "status": {"phase": "Pending", "qosClass": "BestEffort"}}


def _container(container: Object) -> Object:
    image = str(container.get("image", ""))
    tagged = ":" in image.rsplit("/", 1)[-1] and not image.endswith(":latest")
    ports = [
        {"protocol": "TCP", **p} if isinstance(p, dict) else p
        for p in container.get("ports") or ()
    ]  # fmt: skip
    return {
        **container,
        **({"ports": ports} if ports else {}),
        "resources": container.get("resources") or {},
        "terminationMessagePath": container.get("terminationMessagePath", "/dev/termination-log"),
        "terminationMessagePolicy": container.get("terminationMessagePolicy", "File"),
        "imagePullPolicy": container.get("imagePullPolicy", "IfNotPresent" if tagged else "Always"),
    }


def _pod_findings(obj: Object) -> list[Finding]:
    found = []
    containers = obj["spec"].get("containers")
    if not containers or not isinstance(containers, list):
        return [required("spec.containers")]
    for number, container in enumerate(containers):
        for part in ("name", "image"):
            if not isinstance(container, dict) or not container.get(part):
                found.append(required(f"spec.containers[{number}].{part}"))
    return found


def _pod_change(before: Object, after: Object) -> list[Finding]:
    def fixed(obj: Object) -> Object:
        spec = {k: v for k, v in obj["spec"].items() if k not in ("activeDeadlineSeconds", "tolerations")}
        for part in ("containers", "initContainers"):
            spec[part] = [{k: v for k, v in c.items() if k != "image"} for c in spec.get(part) or ()]
        return spec

    if fixed(before) == fixed(after):
        return []
    return [
        barred(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
            "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
            "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        )
    ]


def _namespace(obj: Object, new: bool) -> Object:
    metadata = obj["metadata"]
    worn = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": metadata.get("name", "")}
    obj = {**obj, "metadata": {**metadata, "labels": worn}}
    if new:
        return {**obj, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
    return obj


def _secret(obj: Object, _: bool) -> Object:
    plain = obj.get("stringData") or {}
    encoded = {key: base64.b64encode(str(value).encode()).decode() for key, value in plain.items()}
    kept = {"type": "Opaque", **{key: value for key, value in obj.items() if key != "stringData"}}
    return {**kept, "data": {**(obj.get("data") or {}), **encoded}} if encoded else kept


def _service(obj: Object, new: bool) -> Object:
    obj = _filled(obj, "spec", {"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster"})
    ports = [
        {"protocol": "TCP", "targetPort": p.get("port"), **p} if isinstance(p, dict) else p
        for p in obj["spec"].get("ports") or ()
    ]
    obj = {**obj, "spec": {**obj["spec"], "ports": ports}} if ports else obj
    return {**obj, "status": {"loadBalancer": {}}} if new else obj


def _deployment(obj: Object, new: bool) -> Object:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
    obj = _filled(obj, "spec", {"replicas": 1, "strategy": rolling, "revisionHistoryLimit": 10,
                                "progressDeadlineSeconds": 600})  # fmt: skip
    return {**obj, "status": {}} if new else obj


def _deployment_findings(obj: Object) -> list[Finding]:
    spec = obj["spec"]
    chosen = (spec.get("selector") or {}).get("matchLabels") or {}
    worn = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if not spec.get("selector"):
        return [required("spec.selector")]
    if not chosen.items() <= worn.items():
        return [wrong("spec.template.metadata.labels", worn, "`selector` does not match template `labels`")]
    return []


def _event(obj: Object, _: bool) -> Object:
    return {
        **obj,
        "involvedObject": obj.get("involvedObject") or {},
        "source": obj.get("source") or {},
        "firstTimestamp": obj.get("firstTimestamp"),
        "lastTimestamp": obj.get("lastTimestamp"),
        "eventTime": obj.get("eventTime"),
        "reportingComponent": obj.get("reportingComponent", ""),
        "reportingInstance": obj.get("reportingInstance", ""),
    }


def _event_findings(obj: Object) -> list[Finding]:
    found = []
    space, about = obj["metadata"].get("namespace", ""), obj["involvedObject"].get("namespace") or "default"
    if space != about and not (space == "kube-system" and not obj["involvedObject"].get("namespace")):
        found.append(wrong("involvedObject.namespace", obj["involvedObject"].get("namespace", ""),
                           "does not match event.namespace"))  # fmt: skip
    if not obj.get("eventTime"):
        return found
    found += [
        required(part) for part in ("reportingComponent", "reportingInstance", "action", "reason") if not obj.get(part)
    ]
    if obj.get("type") not in ("Normal", "Warning"):
        found.append(wrong("type", obj.get("type", ""), 'supported values: "Normal", "Warning"'))
    if len(str(obj.get("message", ""))) > 1024:
        found.append(wrong("message", "", "can have at most 1024 characters"))
    return found


def event_findings(kind: Kind, obj: Object) -> list[Finding]:
    """What only the newer Event demands: a time, and its own names for fields."""
    return [required("eventTime")] if kind.storage and not obj.get("eventTime") else []


def _definition(obj: Object, _: bool) -> Object:
    names = (obj.get("spec") or {}).get("names") or {}
    kind = str(names.get("kind", ""))
    full = {"singular": kind.lower(), "listKind": f"{kind}List", **names}
    versions = [v.get("name") for v in (obj.get("spec") or {}).get("versions") or () if isinstance(v, dict)]
    accepted = [
        {"type": name, "status": "True", "reason": reason, "message": text}
        for name, reason, text in (
            ("NamesAccepted", "NoConflicts", "no conflicts found"),
            ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        )
    ]
    status = {"conditions": accepted, "acceptedNames": full, "storedVersions": versions}
    spec = {"conversion": {"strategy": "None"}, **(obj.get("spec") or {}), "names": full}
    return {**obj, "spec": spec, "status": status}


def _definition_findings(obj: Object) -> list[Finding]:
    spec = obj["spec"]
    names = spec["names"]
    found = [required(f"spec.names.{part}") for part in ("plural", "kind") if not names.get(part)]
    if not isinstance(spec.get("group"), str) or not _SUBDOMAIN.match(spec["group"]):
        found.append(required("spec.group"))
    if spec.get("scope") not in ("Cluster", "Namespaced"):
        found.append(required("spec.scope"))
    if not spec.get("versions") or not all(isinstance(v, dict) and v.get("name") for v in spec["versions"]):
        found.append(required("spec.versions"))
    wanted = f"{names.get('plural')}.{spec.get('group')}"
    if not found and obj["metadata"].get("name") != wanted:
        found.append(wrong("metadata.name", obj["metadata"]["name"], 'must be spec.names.plural+"."+spec.group'))
    return found


_DEFAULTS: Final[dict[str, Callable[[Object, bool], Object]]] = {
    "/nodes": _node,
    "/pods": _pod,
    "/namespaces": _namespace,
    "/secrets": _secret,
    "/services": _service,
    "/events": _event,
    "apps/deployments": _deployment,
    "apiextensions.k8s.io/customresourcedefinitions": _definition,
}
_CHECKS: Final[dict[str, Callable[[Object], list[Finding]]]] = {
    "/pods": _pod_findings,
    "/events": _event_findings,
    "apps/deployments": _deployment_findings,
    "apiextensions.k8s.io/customresourcedefinitions": _definition_findings,
}


def check(kind: Kind, obj: Object, *more: Finding) -> None:
    """Refuses (422) an object that is not valid; `more` is what is wrong beside."""
    found = [*findings(kind, obj), *more]
    if found:
        raise invalid(kind, obj["metadata"].get("name", ""), *found)
