"""Objects one at a time, as a real API server of version 1.36 was seen to treat them."""

from __future__ import annotations

import pytest

from .apiserver import CNI_NODES, ENI_CONFIGS, NODES, Api, pod


def test_created_object_has_identity_and_version(api: Api) -> None:
    """Create answers 201 with kind, uid, creation time and resourceVersion."""
    name = api.name()

    made = api.create(NODES, {"metadata": {"name": name, "labels": {"a": "b"}}})

    assert (made["kind"], made["apiVersion"]) == ("Node", "v1")
    metadata = made["metadata"]
    assert metadata["name"] == name and metadata["uid"] and metadata["creationTimestamp"]
    assert int(metadata["resourceVersion"]) > 0 and metadata["labels"]["a"] == "b"


def test_second_object_of_a_name_already_exists(api: Api) -> None:
    """409 AlreadyExists names the resource and the object."""
    name = api.name()
    api.create(NODES, {"metadata": {"name": name}})

    code, status = api.call("POST", NODES, {"metadata": {"name": name}})

    assert (code, status["reason"], status["kind"]) == (409, "AlreadyExists", "Status")
    assert status["message"] == f'nodes "{name}" already exists'
    assert status["details"] == {"name": name, "kind": "nodes"}


def test_stale_update_is_a_conflict(api: Api) -> None:
    """A PUT with an older resourceVersion changes nothing; 409 Conflict has the text that client-go looks at."""
    name = api.name()
    old = api.create(NODES, {"metadata": {"name": name}})
    api.patch(f"{NODES}/{name}", {"metadata": {"labels": {"x": "1"}}})

    code, status = api.call("PUT", f"{NODES}/{name}", old)

    assert (code, status["reason"]) == (409, "Conflict")
    assert status["message"] == (
        f'Operation cannot be fulfilled on nodes "{name}": the object has been modified; please apply your changes to '
        "the latest version and try again"
    )
    assert api.get(f"{NODES}/{name}")["metadata"]["labels"]["x"] == "1"


def test_update_without_version_is_unconditional_for_core_resources_only(api: Api) -> None:
    """A PUT of a Node may leave out resourceVersion; one of a custom resource may not (422)."""
    name = api.name()
    api.create(NODES, {"metadata": {"name": name}})
    api.create(ENI_CONFIGS, _eni_config(name))

    core, _ = api.call("PUT", f"{NODES}/{name}", {"metadata": {"name": name, "labels": {"y": "2"}}})
    custom, status = api.call("PUT", f"{ENI_CONFIGS}/{name}", _eni_config(name))

    assert (core, custom) == (200, 422)
    assert "metadata.resourceVersion: Invalid value: 0: must be specified for an update" in status["message"].replace(
        "0x0", "0"
    )


def test_update_that_changes_nothing_makes_no_version(api: Api) -> None:
    """The resourceVersion counts changes, not requests."""
    made = api.create(ENI_CONFIGS, _eni_config(api.name()))

    code, again = api.call("PUT", f"{ENI_CONFIGS}/{made['metadata']['name']}", made)

    assert code == 200
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_status_is_written_through_its_own_path_only(api: Api) -> None:
    """Status sent to the main path is ignored with 200; spec sent to the status path too."""
    name = api.name()
    api.create(NODES, {"metadata": {"name": name}})

    api.patch(f"{NODES}/{name}", {"status": {"capacity": {"pods": "1"}}})
    api.patch(f"{NODES}/{name}/status", {"spec": {"unschedulable": True}, "status": {"capacity": {"pods": "7"}}})

    found = api.get(f"{NODES}/{name}")
    assert found["status"]["capacity"]["pods"] == "7"
    assert "unschedulable" not in found["spec"]


def test_capacity_of_an_extended_resource_fills_empty_allocatable(api: Api) -> None:
    """Who advertises a resource patches capacity only; allocatable follows as long as nobody set it."""
    name = api.name()
    api.create(NODES, {"metadata": {"name": name}})

    patched = api.patch(f"{NODES}/{name}/status", {"status": {"capacity": {"vpc.amazonaws.com/pod-eni": "9"}}})

    assert patched["status"]["capacity"]["vpc.amazonaws.com/pod-eni"] == "9"
    assert patched["status"]["allocatable"]["vpc.amazonaws.com/pod-eni"] == "9"


def test_missing_object_is_not_found(api: Api) -> None:
    """404 names the resource, with its group."""
    name = api.name()

    core = api.call("GET", f"{NODES}/{name}")
    custom = api.call("GET", f"{ENI_CONFIGS}/{name}")

    assert core[0] == 404 and core[1]["message"] == f'nodes "{name}" not found'
    assert custom[1]["message"] == f'eniconfigs.crd.k8s.amazonaws.com "{name}" not found'
    assert custom[1]["details"] == {"name": name, "group": "crd.k8s.amazonaws.com", "kind": "eniconfigs"}


def test_missing_namespace_is_not_found(api: Api) -> None:
    """Creating something in a namespace that is not there says so."""
    code, status = api.call("POST", "/api/v1/namespaces/nope/configmaps", {"metadata": {"name": "a"}})

    assert (code, status["message"]) == (404, 'namespaces "nope" not found')


def test_generated_name_begins_with_its_base(api: Api, space: str) -> None:
    """generateName gets five characters more, another five each time."""
    names = {api.create(f"{space}/configmaps", {"metadata": {"generateName": "a-"}})["metadata"]["name"] for _ in "12"}

    assert len(names) == 2
    assert all(name.startswith("a-") and len(name) == 7 for name in names)


def test_invalid_objects_are_refused_with_the_field(api: Api, space: str) -> None:
    """422 Invalid says what is wrong where; 400 what cannot be decoded at all."""
    unnamed = api.call("POST", f"{space}/configmaps", {"metadata": {}})
    wrong_name = api.call("POST", f"{space}/configmaps", {"metadata": {"name": "Upper"}})
    empty_pod = api.call("POST", f"{space}/pods", {"metadata": {"name": "a"}, "spec": {}})
    number = api.call("POST", f"{space}/configmaps", {"metadata": {"name": "a", "annotations": {"a": 1}}})

    assert [code for code, _ in (unnamed, wrong_name, empty_pod, number)] == [422, 422, 422, 400]
    assert unnamed[1]["message"] == (
        'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required'
    )
    assert 'metadata.name: Invalid value: "Upper": a lowercase RFC 1123 subdomain' in wrong_name[1]["message"]
    assert empty_pod[1]["details"]["causes"][0]["field"] == "spec.containers"


def test_name_in_the_body_must_be_the_one_in_the_path(api: Api) -> None:
    """A PUT to another object's path is refused."""
    first, second = api.name(), api.name()
    api.create(NODES, {"metadata": {"name": first}})
    api.create(NODES, {"metadata": {"name": second}})

    code, status = api.call("PUT", f"{NODES}/{first}", {"metadata": {"name": second}})

    assert (code, status["reason"]) == (400, "BadRequest")
    assert "does not match the name on the URL" in status["message"]


def test_pod_on_a_node_ends_gracefully(api: Api, space: str) -> None:
    """Deleting it sets deletionTimestamp and a grace of 30 s; only gracePeriodSeconds=0 removes it."""
    api.create(f"{space}/pods", pod("web", node="w1"))

    code, ending = api.call("DELETE", f"{space}/pods/web")
    still = api.get(f"{space}/pods/web")
    api.call("DELETE", f"{space}/pods/web", gracePeriodSeconds=0)

    assert code == 200
    assert ending["metadata"]["deletionTimestamp"] and ending["metadata"]["deletionGracePeriodSeconds"] == 30
    assert still["metadata"]["deletionTimestamp"] == ending["metadata"]["deletionTimestamp"]
    assert api.call("GET", f"{space}/pods/web")[0] == 404


def test_pod_without_a_node_is_gone_at_once(api: Api, space: str) -> None:
    """There is no kubelet to wait for."""
    api.create(f"{space}/pods", pod("web"))

    api.call("DELETE", f"{space}/pods/web")

    assert api.call("GET", f"{space}/pods/web")[0] == 404


def test_finalizer_keeps_an_object_until_it_is_taken_off(api: Api, space: str) -> None:
    """Until then it has a deletionTimestamp, and no finalizer can be added."""
    path = f"{space}/configmaps"
    api.create(path, {"metadata": {"name": "a", "finalizers": ["example.com/wait"]}})

    api.call("DELETE", f"{path}/a")
    held = api.get(f"{path}/a")
    code, _ = api.call("PATCH", f"{path}/a", {"metadata": {"finalizers": ["example.com/wait", "example.com/more"]}},
                       "application/merge-patch+json")  # fmt: skip
    api.patch(f"{path}/a", {"metadata": {"finalizers": None}})

    assert held["metadata"]["deletionTimestamp"]
    assert code == 422
    assert api.call("GET", f"{path}/a")[0] == 404


def test_deletion_can_be_bound_to_one_object_and_version(api: Api, space: str) -> None:
    """Preconditions protect an object that was made anew under the name."""
    path = f"{space}/configmaps"
    made = api.create(path, {"metadata": {"name": "a"}})

    refused, status = api.call("DELETE", f"{path}/a", {"preconditions": {"uid": "another"}})
    done, _ = api.call("DELETE", f"{path}/a", {"preconditions": {"uid": made["metadata"]["uid"]}})

    assert (refused, status["reason"], done) == (409, "Conflict", 200)
    assert "the UID in the precondition" in status["message"]


def test_binding_gives_a_pod_its_node_once(api: Api, space: str) -> None:
    """What a scheduler does; a second binding is a conflict."""
    api.create(f"{space}/pods", pod("web"))
    target = {"kind": "Node", "name": "w1"}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "web"}, "target": target}

    first, _ = api.call("POST", f"{space}/pods/web/binding", binding)
    second, status = api.call("POST", f"{space}/pods/web/binding", binding)

    assert (first, second) == (201, 409)
    assert 'is already assigned to node "w1"' in status["message"]
    assert api.get(f"{space}/pods/web")["spec"]["nodeName"] == "w1"


def test_pod_does_not_change_its_node_by_an_update(api: Api, space: str) -> None:
    """Most of a pod's spec is fixed."""
    api.create(f"{space}/pods", pod("web", node="w1"))

    code, status = api.call("PATCH", f"{space}/pods/web", {"spec": {"nodeName": "w2"}}, "application/merge-patch+json")

    assert (code, status["reason"]) == (422, "Invalid")


def test_dry_run_answers_as_if_and_stores_nothing(api: Api, space: str) -> None:
    """dryRun=All."""
    code, answer = api.call("POST", f"{space}/configmaps", {"metadata": {"name": "a"}}, dryRun="All")

    assert (code, answer["metadata"]["name"]) == (201, "a")
    assert api.call("GET", f"{space}/configmaps/a")[0] == 404


@pytest.mark.spec("EV-1")
def test_event_is_one_object_in_two_groups(api: Api, space: str) -> None:
    """An Event of events.k8s.io/v1 can be read in the core group, under the older names of its fields."""
    name = space.rsplit("/", 1)[-1]
    event = {
        "metadata": {"name": "e1"}, "eventTime": "2026-01-02T03:04:05.000006Z", "type": "Warning",
        "reason": "MissingIAMPermissions", "action": "ec2:CreateTags", "note": "no permission",
        "reportingController": "aws-node", "reportingInstance": "aws-node-1",
        "regarding": {"kind": "Pod", "namespace": name, "name": "aws-node-1"},
    }  # fmt: skip
    api.create(f"/apis/events.k8s.io/v1/namespaces/{name}/events", event)

    core = api.get(f"{space}/events", fieldSelector="involvedObject.name=aws-node-1,reason=MissingIAMPermissions")

    (found,) = core["items"]
    assert found["message"] == "no permission" and found["reportingComponent"] == "aws-node"
    assert found["involvedObject"]["name"] == "aws-node-1"


def test_event_of_the_newer_group_needs_a_time(api: Api, space: str) -> None:
    """422 without eventTime."""
    name = space.rsplit("/", 1)[-1]

    code, status = api.call("POST", f"/apis/events.k8s.io/v1/namespaces/{name}/events",
                            {"metadata": {"name": "e2"}, "regarding": {"namespace": name}})  # fmt: skip

    assert (code, status["reason"]) == (422, "Invalid")
    assert any(cause["field"] == "eventTime" for cause in status["details"]["causes"])


@pytest.mark.spec("POOL-41", "SGP-2")
def test_custom_resources_keep_what_was_sent(api: Api) -> None:
    """ENIConfig and CNINode are cluster-scoped and served under the names ipamd uses."""
    name = api.name()
    api.create(ENI_CONFIGS, _eni_config(name))
    api.create(CNI_NODES, {"apiVersion": "vpcresources.k8s.aws/v1alpha1", "kind": "CNINode", "metadata": {"name": name},
                           "spec": {"features": [{"name": "SecurityGroupsForPods"}]}})  # fmt: skip

    config, node = api.get(f"{ENI_CONFIGS}/{name}"), api.get(f"{CNI_NODES}/{name}")

    assert config["spec"] == {"subnet": "subnet-1", "securityGroups": ["sg-1", "sg-2"]}
    assert node["spec"]["features"] == [{"name": "SecurityGroupsForPods"}]
    assert config["metadata"]["generation"] == 1


def _eni_config(name: str) -> dict[str, object]:
    return {
        "apiVersion": "crd.k8s.amazonaws.com/v1alpha1", "kind": "ENIConfig", "metadata": {"name": name},
        "spec": {"subnet": "subnet-1", "securityGroups": ["sg-1", "sg-2"]},
    }  # fmt: skip
