"""Whatever a client sends, it gets an answer: an object or a Status, never a failure of the server itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ipamd.k8s.lab.catalog import BUILT_IN, Kind
from ipamd.k8s.lab.patches import merge
from ipamd.k8s.lab.refusal import Refusal
from ipamd.k8s.lab.requests import Target
from ipamd.k8s.lab.server import Lab

from .apiserver import APPLY, JSON_PATCH, MERGE, STRATEGIC

WORDS = [
    "name", "namespace", "labels", "annotations", "finalizers", "generateName", "ownerReferences", "resourceVersion",
    "uid", "managedFields", "deletionTimestamp", "containers", "initContainers", "image", "ports", "nodeName",
    "conditions", "type", "status", "capacity", "allocatable", "taints", "data", "stringData", "immutable",
    "clusterIP", "selector", "template", "matchLabels", "metadata", "spec", "target", "names", "plural", "group",
    "scope", "versions", "regarding", "involvedObject", "eventTime", "source", "note", "env", "phase",
    "terminationGracePeriodSeconds", "$patch", "$retainKeys", "$setElementOrder/containers",
    "$deleteFromPrimitiveList/finalizers", "additionalPrinterColumns", "jsonPath",
]  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers(-3, 2**40) | st.sampled_from(["", "a", "B!", "8", "\u2028", "é" * 9])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=10,
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.fixed_dictionaries({"name": st.just("a")}, optional={w: VALUES for w in WORDS[1:11]}) | VALUES,
        "spec": VALUES, "status": VALUES, "data": VALUES, "stringData": VALUES, "regarding": VALUES,
        "involvedObject": VALUES, "eventTime": VALUES, "target": VALUES, "$patch": st.just("replace"),
    },
)  # fmt: skip
OPERATIONS = st.lists(
    st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"])},
        optional={
            "path": st.lists(st.sampled_from([*WORDS, "0", "-"]), max_size=4).map(lambda p: "/".join(["", *p])),
            "from": st.sampled_from(["/metadata", "/spec", "", "/spec/containers/0"]), "value": VALUES,
        },
    ),
    max_size=3,
)  # fmt: skip
QUERIES = st.dictionaries(
    st.sampled_from(["labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "resourceVersionMatch",
                     "dryRun", "fieldManager", "force", "gracePeriodSeconds", "includeObject"]),
    st.sampled_from(["", "a", "1", "0", "All", "a in (b", "metadata.name=a", "Exact", "true", "-5", "eyJ2Ijo"]),
    max_size=3,
)  # fmt: skip
ACCEPTS = st.sampled_from(["", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "text/html",
                           "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"])  # fmt: skip
KINDS = st.sampled_from(BUILT_IN)


VALID: dict[str, dict[str, Any]] = {
    "pods": {"spec": {"nodeName": "w1", "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 1}]}]}},
    "events": {"involvedObject": {"namespace": "default"}, "regarding": {"namespace": "default"}, "eventTime": "t",
               "type": "Normal", "reason": "r", "action": "a", "reportingController": "c", "reportingInstance": "i"},
    "services": {"spec": {"ports": [{"port": 80}]}},
    "deployments": {"spec": {"selector": {"matchLabels": {}}, "template": {"metadata": {"labels": {"a": "b"}}}}},
    "nodes": {"status": {"capacity": {"pods": "1"}, "conditions": [{"type": "Ready", "status": "True"}]}},
}  # fmt: skip
"""What makes an object of a kind whole: noise is merged into half of the bodies, so that both halves get far."""


@settings(max_examples=250, deadline=None)
@given(KINDS, st.lists(st.tuples(BODIES, OPERATIONS, QUERIES, ACCEPTS), min_size=1, max_size=4))
def test_any_request_is_answered_with_an_object_or_a_refusal(
    kind: Kind, rounds: list[tuple[dict[str, Any], list[Any], dict[str, str], str]]
) -> None:
    """Create, update, every patch, list, get, bind and delete, with bodies and queries of any shape."""
    lab = Lab(clock=lambda: 1_767_323_045_000_000_000)
    codes = []
    for number, (noise, operations, query, accept) in enumerate(rounds):
        body = merge({"metadata": {"name": "a"}, **VALID.get(kind.plural, {})}, noise) if number % 2 == 0 else noise
        for method, name, content_type, sent in (
            ("POST", "", "application/json", body), ("PUT", "a", "application/json", body), ("PATCH", "a", MERGE, body),
            ("PATCH", "a", STRATEGIC, body), ("PATCH", "a", JSON_PATCH, operations), ("PATCH", "a", APPLY, body),
            ("GET", "a", "application/json", None), ("GET", "", "application/json", None),
            ("DELETE", "a", "application/json", body),
        ):  # fmt: skip
            codes.append(answered(lab, kind, method, name, content_type, sent, query, accept))

    assert all(200 <= code < 505 for code in codes)


def answered(
    lab: Lab, kind: Kind, method: str, name: str, content_type: str, sent: object, query: Mapping[str, str], accept: str
) -> int:
    """The status of a request; the answer can be sent, whatever it is."""
    target = Target(kind, "default" if kind.namespaced else "", name)
    content = b"" if sent is None else msgspec.json.encode(sent)
    try:
        code, answer = lab.requests.answer(target, method, query, accept, content_type, content)
    except Refusal as refusal:
        code, answer = refusal.code, refusal.status
    assert msgspec.json.encode(answer)
    return code
