"""The rules of the admission webhook, as functions."""

from __future__ import annotations

from typing import Any

import pytest

from ipamd.core.security_groups import Expression, SecurityGroupPolicy, Selector, matching_groups
from ipamd.server.admission import ADDRESS, POD_ENI, PodFacts, Request, Verdict, mutate_pod, validate_node, validate_pod

LIMITS = f"/spec/containers/0/resources/limits/{ADDRESS.replace('/', '~1')}"
REQUESTS = f"/spec/containers/0/resources/requests/{ADDRESS.replace('/', '~1')}"


def no_groups(_: PodFacts) -> tuple[str, ...]:
    return ()


def two_groups(_: PodFacts) -> tuple[str, ...]:
    return ("sg-1", "sg-2")


def pod(resources: Any = None, selector: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    """A pod of two containers; the first has the resources."""
    first: dict[str, Any] = {"name": "a"} | ({} if resources is None else {"resources": resources})
    spec: dict[str, Any] = {"containers": [first, {"name": "b"}]}
    if selector is not None:
        spec["nodeSelector"] = selector
    return {"metadata": metadata, "spec": spec}


def create(made: dict[str, Any], *, ipam: bool = True, groups: Any = no_groups) -> Verdict:
    return mutate_pod(Request("u", "CREATE", "default", "p", {}, made), ipam, groups)


@pytest.mark.spec("WIN-50", "WIN-51")
@pytest.mark.parametrize("label", ["kubernetes.io/os", "beta.kubernetes.io/os"])
def test_a_windows_pod_asks_for_one_address_on_its_first_container(label: str) -> None:
    """Maps that are there get a key each, also over what stood there."""
    verdict = create(pod({"limits": {ADDRESS: "7"}, "requests": {"cpu": "1"}}, {label: "windows"}))

    assert verdict.allowed
    assert list(verdict.patch) == [
        {"op": "add", "path": LIMITS, "value": "1"},
        {"op": "add", "path": REQUESTS, "value": "1"},
    ]


@pytest.mark.spec("WIN-51")
def test_absent_maps_are_added_whole() -> None:
    """A map that is absent, or null, comes with its one key."""
    verdict = create(pod({"limits": {"cpu": "1"}, "requests": None}, {"kubernetes.io/os": "windows"}))

    assert verdict.patch[1] == {"op": "add", "path": "/spec/containers/0/resources/requests", "value": {ADDRESS: "1"}}
    bare = create(pod(None, {"kubernetes.io/os": "windows"}))
    both = {"limits": {ADDRESS: "1"}, "requests": {ADDRESS: "1"}}
    assert list(bare.patch) == [{"op": "add", "path": "/spec/containers/0/resources", "value": both}]


@pytest.mark.spec("WIN-51", "S-24", "S-25")
def test_without_windows_ipam_a_pod_stays_as_it_is() -> None:
    """It is allowed without a patch, and the message names the key."""
    verdict = create(pod(selector={"kubernetes.io/os": "windows"}), ipam=False)

    assert verdict.allowed and verdict.patch == () and "enable-windows-ipam" in verdict.message


@pytest.mark.spec("WIN-50")
def test_only_the_node_selector_tells_a_windows_pod() -> None:
    """Neither spec.os nor the node's name does, and a pod on the host's network is left alone."""
    by_os = pod()
    by_os["spec"] |= {"os": {"name": "windows"}, "nodeName": "win-0"}
    host = pod(selector={"kubernetes.io/os": "windows"})
    host["spec"]["hostNetwork"] = True

    assert create(by_os).patch == ()
    assert create(host).patch == ()


@pytest.mark.spec("WIN-50", "WIN-137")
def test_a_linux_pod_with_a_matching_policy_asks_for_a_branch_interface() -> None:
    """The same request, for the other resource; the Fargate branch comes first and writes an annotation."""
    verdict = create(pod(), groups=two_groups)
    fargate = create(pod(labels={"eks.amazonaws.com/fargate-profile": "fp"}), groups=two_groups)

    assert verdict.patch[0]["value"]["limits"] == {POD_ENI: "1"}
    assert fargate.patch[0]["value"] == {"fargate.amazonaws.com/pod-sg": "sg-1,sg-2"}
    assert create(pod(labels={"eks.amazonaws.com/fargate-profile": "fp"})).patch == ()


@pytest.mark.spec("WIN-52")
@pytest.mark.parametrize(
    "operation,old,new,user,ipam,allowed",
    [
        ("CREATE", None, {ADDRESS: "10.0.0.1/32"}, "me", True, False),
        ("CREATE", None, {ADDRESS: "10.0.0.1/32"}, "me", False, True),
        ("CREATE", None, {POD_ENI: "[]"}, "eks:vpc-resource-controller", False, False),
        ("CREATE", None, {"other": "x"}, "me", True, True),
        ("UPDATE", {}, {ADDRESS: "10.0.0.1/32"}, "me", True, False),
        ("UPDATE", {}, {ADDRESS: "10.0.0.1/32"}, "eks:vpc-resource-controller", True, True),
        ("UPDATE", {ADDRESS: "a"}, {}, "me", True, False),
        ("UPDATE", {ADDRESS: "a"}, {ADDRESS: "b"}, "me", False, True),
        ("UPDATE", {POD_ENI: "a"}, {POD_ENI: "b"}, "me", False, False),
        ("UPDATE", {ADDRESS: "a"}, {ADDRESS: "a", "other": "x"}, "me", True, True),
        ("UPDATE", {}, {"fargate.amazonaws.com/pod-sg": "x"}, "eks:vpc-resource-controller", True, False),
        ("DELETE", {ADDRESS: "a"}, None, "me", True, True),
    ],
)
def test_annotations_of_the_controller_are_the_controllers(
    operation: str, old: Any, new: Any, user: str, ipam: bool, allowed: bool
) -> None:
    """Who may write them, when, and what no one may."""

    def made(annotations: Any) -> Any:
        return None if annotations is None else pod(annotations=annotations)

    request = Request("u", operation, "default", "p", {"username": user}, made(new), made(old))

    verdict = validate_pod(request, ipam)

    assert verdict.allowed is allowed
    assert allowed or "annotation" in verdict.message


@pytest.mark.spec("WIN-53")
def test_aws_node_changes_two_labels_of_a_node_and_nothing_else() -> None:
    """Everybody else is not looked at."""
    old = {"metadata": {"name": "n", "labels": {"a": "1"}, "managedFields": [1]}, "spec": {}}
    labels = {"a": "1", "vpc.amazonaws.com/has-trunk-attached": "true"}
    trunk = {"metadata": {"name": "n", "labels": labels}, "spec": {}}
    taint = {"metadata": {"name": "n", "labels": {"a": "1"}}, "spec": {"taints": []}}
    aws_node = {"username": "system:serviceaccount:kube-system:aws-node"}

    assert validate_node(Request("u", "UPDATE", "", "n", aws_node, trunk, old)).allowed
    assert not validate_node(Request("u", "UPDATE", "", "n", aws_node, taint, old)).allowed
    assert validate_node(Request("u", "UPDATE", "", "n", {"username": "me"}, taint, old)).allowed


@pytest.mark.spec("WIN-137")
def test_groups_of_all_matching_policies_are_united() -> None:
    """Two selectors are both wanted; a policy without selectors or without groups is ignored."""
    web = Selector({"app": "web"})
    late = Selector({}, (Expression("tier", "In", ("a", "b")), Expression("old", "DoesNotExist")))
    policies = [
        SecurityGroupPolicy("default", "2", pods=late, groups=("sg-1", "sg-3")),
        SecurityGroupPolicy("default", "1", pods=web, groups=("sg-1", "sg-2")),
        SecurityGroupPolicy("default", "3", pods=web, accounts=Selector({"team": "x"}), groups=("sg-4",)),
        SecurityGroupPolicy("default", "4", groups=("sg-5",)),
        SecurityGroupPolicy("default", "5", pods=web),
        SecurityGroupPolicy("other", "6", pods=web, groups=("sg-6",)),
        SecurityGroupPolicy("default", "7", pods=Selector({}, (Expression("tier", "Near", ("a",)),)), groups=("sg-7",)),
    ]
    labels = {"app": "web", "tier": "b"}

    assert matching_groups(policies, "default", labels, {}) == ("sg-1", "sg-2", "sg-3")
    assert matching_groups(policies, "default", labels, {"team": "x"})[-1] == "sg-4"
    assert matching_groups(policies, "default", {"old": "1", "tier": "a"}, None) == ()
    assert matching_groups(policies, "other", labels, None) == ("sg-6",)
