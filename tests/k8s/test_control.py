"""What the controller reads of a cluster and writes there, on the lab or on a real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from ipamd.k8s.client import connect
from ipamd.k8s.control import ControlCluster
from ipamd.k8s.control_views import ADDRESS, CLEANUP, Note
from ipamd.k8s.port import ClusterError

from .apiserver import NODES, Api, pod

pytestmark = pytest.mark.asyncio
POLICIES = "/apis/vpcresources.k8s.aws/v1beta1"


@pytest_asyncio.fixture
async def control(api: Api) -> AsyncIterator[ControlCluster]:
    made = ControlCluster(connect({"KUBECONFIG": api.kubeconfig}, agent="vpc-resource-controller"))
    yield made
    await made.close()


@pytest.mark.spec("WIN-54", "WIN-56")
async def test_a_pod_is_kept_with_what_matters(api: Api, space: str, control: ControlCluster) -> None:
    """Requests are summed over regular containers; foreign annotations are left out."""
    made = pod("web", node="win-0", annotations={ADDRESS: "10.0.0.9/32", "other": "x"})
    one = {"requests": {ADDRESS: "1", "cpu": "100m"}, "limits": {ADDRESS: "1"}}
    made["spec"]["containers"] = [
        {"name": "a", "image": "i", "resources": one},
        {"name": "b", "image": "i", "resources": one},
        {"name": "c", "image": "i"},
    ]
    api.create(f"{space}/pods", made)

    found = await control.pod(space.rsplit("/", 1)[-1], "web")
    listed = await control.pods().list()

    assert (found.node, found.phase, found.requests) == ("win-0", "Pending", {ADDRESS: 2})
    assert found.annotations == {ADDRESS: "10.0.0.9/32"} and found.uid and not found.ended
    assert found in listed.items


@pytest.mark.spec("WIN-62", "V-100")
async def test_an_annotation_never_goes_to_a_pod_made_anew(api: Api, space: str, control: ControlCluster) -> None:
    """The patch names the UID: another pod of the same name is a conflict."""
    namespace = space.rsplit("/", 1)[-1]
    api.create(f"{space}/pods", pod("web"))
    old = await control.pod(namespace, "web")
    api.call("DELETE", f"{space}/pods/web", gracePeriodSeconds=0)
    api.create(f"{space}/pods", pod("web"))

    with pytest.raises(ClusterError) as raised:
        await control.annotate_pod(old, ADDRESS, "10.0.0.9/32")
    assert raised.value.conflict
    new = await control.annotate_pod(await control.pod(namespace, "web"), ADDRESS, "10.0.0.9/32")
    assert new.annotations == {ADDRESS: "10.0.0.9/32"}


@pytest.mark.spec("WIN-24", "WIN-40")
async def test_capacity_is_written_to_the_status_of_a_node(api: Api, control: ControlCluster) -> None:
    """On top of what it has; a stale version is a conflict."""
    name = api.name("test-win")
    api.create(NODES, {"metadata": {"name": name}, "spec": {"providerID": "aws:///us-west-2a/i-0123"}})
    bare = await control.node(name)
    api.patch(f"{NODES}/{name}/status", {"status": {"capacity": {"cpu": "4"}}})

    with pytest.raises(ClusterError) as raised:
        await control.advertise(bare, ADDRESS, 9)
    await control.advertise(await control.node(name), ADDRESS, 9)

    assert raised.value.conflict
    found = await control.node(name)
    assert bare.provider_id == "aws:///us-west-2a/i-0123"
    assert found.capacity is not None and (found.capacity["cpu"], found.capacity[ADDRESS]) == ("4", "9")


@pytest.mark.spec("WIN-1")
async def test_one_config_map_is_a_collection_of_one(api: Api, space: str, control: ControlCluster) -> None:
    """Others of the namespace are not in it; without data it has None."""
    namespace = space.rsplit("/", 1)[-1]
    api.create(f"{space}/configmaps", {"metadata": {"name": "other"}, "data": {"a": "b"}})
    assert (await control.config_map(namespace, "amazon-vpc-cni").list()).items == []
    api.create(f"{space}/configmaps", {"metadata": {"name": "amazon-vpc-cni"}})

    (bare,) = (await control.config_map(namespace, "amazon-vpc-cni").list()).items
    api.patch(f"{space}/configmaps/amazon-vpc-cni", {"data": {"enable-windows-ipam": "true"}})
    (full,) = (await control.config_map(namespace, "amazon-vpc-cni").list()).items

    assert bare.data is None and full.data == {"enable-windows-ipam": "true"}
    assert (await control.deployment(namespace, "vpc-resource-controller").list()).items == []


@pytest.mark.spec("WIN-28", "WIN-49")
async def test_a_cni_node_is_made_once_and_its_finalizer_released(api: Api, control: ControlCluster) -> None:
    """Making it again is fine; deleted, it goes when the finalizer has gone."""
    name = api.name("test-cni")
    for _ in range(2):
        await control.create_cni_node(name, "windows", "prod", "i-0123")
    api.made.append(f"/apis/vpcresources.k8s.aws/v1alpha1/cninodes/{name}")
    body = api.get(f"/apis/vpcresources.k8s.aws/v1alpha1/cninodes/{name}")
    assert body["metadata"]["labels"] == {"kubernetes.io/os": "windows"}
    assert body["spec"]["tags"]["node.k8s.amazonaws.com/instance_id"] == "i-0123"

    api.call("DELETE", f"/apis/vpcresources.k8s.aws/v1alpha1/cninodes/{name}")
    (row,) = [one for one in (await control.cni_nodes().list()).items if one.name == name]
    await control.release_cni_node(row)
    await control.release_cni_node(row)

    assert row.deleting and row.finalizers == (CLEANUP,)
    assert api.call("GET", f"/apis/vpcresources.k8s.aws/v1alpha1/cninodes/{name}")[0] == 404


@pytest.mark.spec("WIN-44", "WIN-73")
async def test_events_name_the_controller(api: Api, space: str, control: ControlCluster) -> None:
    """A node's is in namespace default, a pod's in its own."""
    namespace, name = space.rsplit("/", 1)[-1], api.name("test-win")
    at = 1_767_323_045_000_006_000
    await control.note(Note("Node", name, "ControllerVersionNotice", "version 1", at, uid=name))
    await control.note(Note("Pod", "web", "ResourceAllocated", "x", at, "Normal", namespace, "u-1"))

    (of_node,) = api.get("/api/v1/namespaces/default/events", fieldSelector=f"involvedObject.name={name}")["items"]
    (of_pod,) = api.get(f"{space}/events")["items"]
    assert of_node["source"] == {"component": "vpc-resource-controller"} and of_node["involvedObject"]["uid"] == name
    assert (of_pod["reason"], of_pod["type"], of_pod["lastTimestamp"]) == (
        "ResourceAllocated", "Normal", "2026-01-02T03:04:05Z",
    )  # fmt: skip


@pytest.mark.spec("WIN-137")
async def test_security_group_policies_are_read(api: Api, space: str, control: ControlCluster) -> None:
    """Selectors with labels and expressions; an absent one is None."""
    spec = {
        "podSelector": {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "a", "operator": "Exists"}]},
        "securityGroups": {"groupIds": ["sg-1"]},
    }
    namespace = space.rsplit("/", 1)[-1]
    api.create(f"{POLICIES}/namespaces/{namespace}/securitygrouppolicies", {
        "apiVersion": "vpcresources.k8s.aws/v1beta1", "kind": "SecurityGroupPolicy", "metadata": {"name": "p"},
        "spec": spec,
    })  # fmt: skip

    (found,) = [one for one in (await control.policies().list()).items if one.namespace == namespace]

    assert found.pods is not None and found.pods.labels == {"app": "web"} and found.accounts is None
    assert found.pods.expressions[0].operator == "Exists" and found.groups == ("sg-1",)
