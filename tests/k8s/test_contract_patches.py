"""Patches: JSON, merge, strategic merge and server-side apply, as a real API server treats them."""

from __future__ import annotations

from typing import Any

import pytest

from .apiserver import APPLY, CNI_NODES, ENI_CONFIGS, JSON_PATCH, MERGE, NODES, STRATEGIC, Api, pod


def test_merge_patch_replaces_lists_and_null_removes(api: Api) -> None:
    """RFC 7386."""
    path = eni_config(api, securityGroups=["sg-1"], subnet="subnet-1")

    patched = api.patch(path, {"spec": {"securityGroups": ["sg-2"], "subnet": None}})

    assert patched["spec"] == {"securityGroups": ["sg-2"]}


@pytest.mark.spec("SGP-3")
def test_patch_with_a_version_is_bound_to_it(api: Api) -> None:
    """The optimistic lock of a merge patch: an older resourceVersion is a conflict."""
    path = eni_config(api, subnet="subnet-1")
    old = api.get(path)["metadata"]["resourceVersion"]
    new = api.patch(path, {"spec": {"subnet": "subnet-2"}})["metadata"]["resourceVersion"]

    stale, status = api.call("PATCH", path, {"metadata": {"resourceVersion": old}, "spec": {"subnet": "x"}}, MERGE)
    fresh, _ = api.call("PATCH", path, {"metadata": {"resourceVersion": new}, "spec": {"subnet": "subnet-3"}}, MERGE)

    assert (stale, status["reason"], fresh) == (409, "Conflict", 200)
    assert api.get(path)["spec"]["subnet"] == "subnet-3"


def test_json_patch_is_all_or_nothing(api: Api) -> None:
    """RFC 6902; a failed test is 422 and changes nothing."""
    path = eni_config(api, subnet="subnet-1")
    replace = {"op": "replace", "path": "/spec/subnet", "value": "subnet-2"}

    refused, status = api.call(
        "PATCH", path, [replace, {"op": "test", "path": "/spec/subnet", "value": "x"}], JSON_PATCH
    )
    api.patch(path, [{"op": "test", "path": "/spec/subnet", "value": "subnet-1"}, replace], JSON_PATCH)

    assert (refused, status["reason"]) == (422, "Invalid")
    assert api.get(path)["spec"]["subnet"] == "subnet-2"


def test_strategic_patch_merges_lists_by_their_key(api: Api) -> None:
    """Conditions of a node are told apart by type; a directive deletes one."""
    name = api.name()
    api.create(NODES, {"metadata": {"name": name}})
    path = f"{NODES}/{name}/status"

    for kind, status in (("Ready", "False"), ("DiskPressure", "False"), ("Ready", "True")):
        api.patch(path, {"status": {"conditions": [{"type": kind, "status": status}]}}, STRATEGIC)
    both = api.get(f"{NODES}/{name}")["status"]["conditions"]
    api.patch(path, {"status": {"conditions": [{"type": "DiskPressure", "$patch": "delete"}]}}, STRATEGIC)

    assert sorted((c["type"], c["status"]) for c in both) == [("DiskPressure", "False"), ("Ready", "True")]
    assert [c["type"] for c in api.get(f"{NODES}/{name}")["status"]["conditions"]] == ["Ready"]


def test_custom_resources_know_no_strategic_patch(api: Api) -> None:
    """415 names what is accepted instead."""
    path = eni_config(api, subnet="subnet-1")

    code, status = api.call("PATCH", path, {"spec": {"subnet": "x"}}, STRATEGIC)

    assert (code, status["reason"]) == (415, "UnsupportedMediaType")
    assert "application/merge-patch+json" in status["message"]


@pytest.mark.spec("EV-3", "EV-4")
def test_annotation_is_set_emptied_and_removed(api: Api, space: str) -> None:
    """What ipamd does to a pod; an empty patch changes nothing."""
    made = api.create(f"{space}/pods", pod("web"))
    path = f"{space}/pods/web"

    nothing = api.patch(path, {})
    seen = [api.patch(path, {"metadata": {"annotations": {"vpc.amazonaws.com/pod-ips": value}}})["metadata"]
            .get("annotations", {}).get("vpc.amazonaws.com/pod-ips") for value in ("10.0.0.5", "", None)]  # fmt: skip

    assert nothing["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert seen == ["10.0.0.5", "", None]


def test_patch_of_what_is_not_there_is_not_found(api: Api) -> None:
    """Only server-side apply creates."""
    assert api.call("PATCH", f"{NODES}/{api.name()}", {"metadata": {}}, MERGE)[0] == 404


def test_apply_creates_and_removes_what_its_owner_no_longer_sends(api: Api) -> None:
    """Server-side apply: 201 the first time; fields that the manager leaves out go, those of others stay."""
    name = api.name()
    path = f"{CNI_NODES}/{name}"

    created, _ = applied(api, path, name, "one", {"tags": {"a": "1", "b": "2"}})
    api.made.append(path)
    applied(api, path, name, "two", {"tags": {"c": "3"}})
    changed, found = applied(api, path, name, "one", {"tags": {"a": "1"}})

    assert (created, changed) == (201, 200)
    assert found["spec"]["tags"] == {"a": "1", "c": "3"}
    assert sorted(e["manager"] for e in found["metadata"]["managedFields"]) == ["one", "two"]


def test_apply_of_a_field_that_another_owns_is_a_conflict_unless_forced(api: Api) -> None:
    """409 names the owner; force takes the field over."""
    name = api.name()
    path = f"{CNI_NODES}/{name}"
    applied(api, path, name, "one", {"tags": {"a": "1"}})
    api.made.append(path)

    refused, status = applied(api, path, name, "two", {"tags": {"a": "2"}})
    forced, found = applied(api, path, name, "two", {"tags": {"a": "2"}}, force="true")

    assert (refused, status["reason"], forced) == (409, "Conflict", 200)
    assert 'conflict with "one"' in status["message"]
    assert found["spec"]["tags"] == {"a": "2"}


def applied(api: Api, path: str, name: str, manager: str, spec: dict[str, Any], **params: str) -> tuple[int, Any]:
    body = {"apiVersion": "vpcresources.k8s.aws/v1alpha1", "kind": "CNINode", "metadata": {"name": name}, "spec": spec}
    return api.call("PATCH", path, body, APPLY, fieldManager=manager, **params)


def eni_config(api: Api, **spec: Any) -> str:
    """The path of a new ENIConfig."""
    name = api.name()
    api.create(ENI_CONFIGS, {"apiVersion": "crd.k8s.amazonaws.com/v1alpha1", "kind": "ENIConfig",
                             "metadata": {"name": name}, "spec": spec})  # fmt: skip
    return f"{ENI_CONFIGS}/{name}"
