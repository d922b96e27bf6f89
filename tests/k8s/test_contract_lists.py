"""Lists: their shape, selectors, pages and versions, as a real API server was seen to treat them."""

from __future__ import annotations

import pytest

from .apiserver import ENI_CONFIGS, Api, pod


def filled(api: Api, space: str, *names: str) -> str:
    """The path of config maps of these names, each with a label `n` of its own name."""
    path = f"{space}/configmaps"
    for name in names:
        api.create(path, {"metadata": {"name": name, "labels": {"n": name}}})
    return path


def names(listed: dict[str, list[dict[str, dict[str, str]]]]) -> list[str]:
    """The names in a list, what a controller puts into each namespace left out."""
    return [item["metadata"]["name"] for item in listed["items"] if item["metadata"]["name"] != "kube-root-ca.crt"]


def test_list_has_a_kind_and_a_version_and_its_items_have_no_kind(api: Api, space: str) -> None:
    """Only the items of custom resources say their kind and apiVersion."""
    path = filled(api, space, "a")
    name = api.name()
    api.create(ENI_CONFIGS, {"apiVersion": "crd.k8s.amazonaws.com/v1alpha1", "kind": "ENIConfig",
                             "metadata": {"name": name}, "spec": {}})  # fmt: skip

    core, custom = api.get(path), api.get(ENI_CONFIGS)

    assert (core["kind"], core["apiVersion"]) == ("ConfigMapList", "v1")
    assert int(core["metadata"]["resourceVersion"]) > 0
    assert not {"kind", "apiVersion"} & set(core["items"][0])
    assert custom["kind"] == "ENIConfigList"
    assert {item["kind"] for item in custom["items"]} == {"ENIConfig"}


@pytest.mark.parametrize(
    "selector, expected",
    [
        ("n=a", ["a"]),
        ("n==a", ["a"]),
        ("n!=a,n", ["b", "c"]),
        ("n in (a, c)", ["a", "c"]),
        ("n notin (a),n", ["b", "c"]),
        ("!n", []),
        ("missing", []),
    ],
)
def test_label_selector_chooses(api: Api, space: str, selector: str, expected: list[str]) -> None:
    """Equality, sets and existence."""
    path = filled(api, space, "a", "b", "c")

    assert names(api.get(path, labelSelector=selector)) == expected


@pytest.mark.spec("INIT-4")
def test_field_selector_finds_the_pods_of_a_node(api: Api, space: str) -> None:
    """What ipamd's cache of pods is made of."""
    node = api.name()
    api.create(f"{space}/pods", pod("here", node=node))
    api.create(f"{space}/pods", pod("elsewhere"))

    assert names(api.get("/api/v1/pods", fieldSelector=f"spec.nodeName={node}")) == ["here"]
    assert names(api.get(f"{space}/pods", fieldSelector=f"spec.nodeName!={node}")) == ["elsewhere"]
    assert names(api.get(f"{space}/pods", fieldSelector="metadata.name=here,status.phase=Pending")) == ["here"]


@pytest.mark.parametrize(
    "path, selector, message",
    [
        ("/api/v1/pods", "spec.foo=x", "field label not supported: spec.foo"),
        (ENI_CONFIGS, "spec.subnet=x", "field label not supported: spec.subnet"),
        ("/api/v1/configmaps", "data.a=x",
         '"data.a" is not a known field selector: only "metadata.name", "metadata.namespace"'),
    ],
)  # fmt: skip
def test_unknown_field_is_a_bad_request(api: Api, path: str, selector: str, message: str) -> None:
    """400, never an empty list."""
    code, status = api.call("GET", path, fieldSelector=selector)

    assert (code, status["reason"], status["message"]) == (400, "BadRequest", message)


def test_pages_continue_where_they_ended_at_the_version_of_the_first(api: Api, space: str) -> None:
    """What is made in between is on no later page; remainingItemCount counts down."""
    path = filled(api, space, "a", "b", "c")

    first = api.get(path, limit=1)
    filled(api, space, "bb")
    second = api.get(path, limit=1, continue_=first["metadata"]["continue"])
    rest = api.get(path, continue_=second["metadata"]["continue"])

    assert (names(first), names(second)) == (["a"], ["b"])
    assert names(rest) == ["c"]
    assert second["metadata"]["remainingItemCount"] == first["metadata"]["remainingItemCount"] - 1
    assert len({page["metadata"]["resourceVersion"] for page in (first, second, rest)}) == 1
    assert "continue" not in rest["metadata"]


def test_page_of_a_selection_is_full_and_does_not_say_what_remains(api: Api, space: str) -> None:
    """With a selector the server does not know how many more there are."""
    path = filled(api, space, "a", "b", "c")

    page = api.get(path, limit=1, labelSelector="n in (b,c)")

    assert names(page) == ["b"]
    assert page["metadata"]["continue"] and "remainingItemCount" not in page["metadata"]


def test_continue_token_of_nobody_is_a_bad_request(api: Api) -> None:
    """400."""
    code, status = api.call("GET", "/api/v1/configmaps", limit=1, continue_="nonsense")

    assert (code, status["reason"]) == (400, "BadRequest")


def test_list_of_a_version_to_come_times_out(api: Api) -> None:
    """504 with the cause by which client-go knows it."""
    code, status = api.call("GET", "/api/v1/configmaps", resourceVersion="900000000000", timeoutSeconds=1)

    assert (code, status["reason"]) == (504, "Timeout")
    assert status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


def test_exact_list_shows_the_past(api: Api, space: str) -> None:
    """resourceVersionMatch=Exact rebuilds what there was."""
    path = filled(api, space, "a")
    then = api.get(path)["metadata"]["resourceVersion"]
    api.call("DELETE", f"{path}/a")
    filled(api, space, "b")

    past = api.get(path, resourceVersion=then, resourceVersionMatch="Exact")

    assert (names(past), past["metadata"]["resourceVersion"]) == (["a"], then)
    assert names(api.get(path)) == ["b"]


def test_collection_can_be_deleted_by_selector(api: Api, space: str) -> None:
    """DELETE of a collection."""
    path = filled(api, space, "a", "b")

    code, _ = api.call("DELETE", path, labelSelector="n=a")

    assert code == 200
    assert names(api.get(path)) == ["b"]
