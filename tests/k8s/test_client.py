"""The client behind the port, on the lab or on a real API server: reads, the three writes, and the reflector."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from ipamd.core.calls import Succeeded
from ipamd.core.kube import RecordEvent
from ipamd.k8s.client import LightkubeCluster, connect
from ipamd.k8s.lab import kubeconfig
from ipamd.k8s.port import Cluster, ClusterError, ClusterLost
from ipamd.k8s.reflector import Changed, Reflector
from ipamd.k8s.views import POD_IPS, EventNote, Feature, PodView, Regarding, Taint
from ipamd.k8s.writes import NotOurs, add_feature, clear_pod_ip, set_pod_ip
from ipamd.runtime.cluster import ClusterDoor, own_pod

from .apiserver import CNI_NODES, ENI_CONFIGS, NODES, Api, pod

pytestmark = pytest.mark.asyncio
AT = 1_767_323_045_000_006_000
"""2026-01-02T03:04:05.000006Z"""


@pytest_asyncio.fixture
async def cluster(api: Api) -> AsyncIterator[LightkubeCluster]:
    made = connect({"KUBECONFIG": api.kubeconfig}, agent="aws-k8s-agent-v1.23.1")
    yield made
    await made.close()


@pytest.mark.spec("EV-5", "INIT-7")
async def test_node_is_read_with_what_ipamd_needs(api: Api, cluster: LightkubeCluster) -> None:
    """Labels, annotations, taints, pod capacity."""
    name = api.name()
    api.create(NODES, {
        "metadata": {"name": name, "labels": {"k8s.amazonaws.com/eniConfig": "a"}, "annotations": {"x": "y"}},
        "spec": {"taints": [{"key": "example.com/t", "effect": "NoSchedule"}], "unschedulable": True},
    })  # fmt: skip
    api.patch(f"{NODES}/{name}/status", {"status": {"capacity": {"pods": "29"}}})

    node = await cluster.node(name)

    assert (node.name, node.pods_max, node.unschedulable) == (name, 29, True)
    assert Taint("example.com/t", "NoSchedule") in node.taints
    assert node.labels["k8s.amazonaws.com/eniConfig"] == "a" and node.annotations == {"x": "y"}


@pytest.mark.spec("POOL-41", "SGP-2")
async def test_eni_config_and_cni_node_are_read(api: Api, cluster: LightkubeCluster) -> None:
    """The two custom resources; a missing one is an error that says so."""
    name = api.name()
    api.create(ENI_CONFIGS, custom("crd.k8s.amazonaws.com/v1alpha1", "ENIConfig", name,
                                   {"subnet": "subnet-1", "securityGroups": ["sg-1"]}))  # fmt: skip
    api.create(CNI_NODES, custom("vpcresources.k8s.aws/v1alpha1", "CNINode", name,
                                 {"features": [{"name": "CustomNetworking", "value": "a"}]}))  # fmt: skip

    config, node = await cluster.eni_config(name), await cluster.cni_node(name)

    assert (config.subnet, config.security_groups) == ("subnet-1", ("sg-1",))
    assert node.features == (Feature("CustomNetworking", "a"),)
    with pytest.raises(ClusterError, match="eniconfigs") as raised:
        await cluster.eni_config(api.name())
    assert raised.value.missing


@pytest.mark.spec("INIT-4")
async def test_pods_of_a_node_are_listed(api: Api, space: str, cluster: LightkubeCluster) -> None:
    """Only this node's."""
    node = api.name()
    api.create(f"{space}/pods", pod("mine", node=node))
    api.create(f"{space}/pods", pod("other"))

    listed = await cluster.pods(node).list()

    assert [(one.name, one.node, one.phase) for one in listed.items] == [("mine", node, "Pending")]


@pytest.mark.spec("EV-2", "EV-3")
async def test_pod_annotation_says_the_address_once(api: Api, space: str, cluster: LightkubeCluster) -> None:
    """Set on ADD; nothing is sent if it is there already."""
    api.create(f"{space}/pods", pod("web"))
    name = space.rsplit("/", 1)[-1]

    first = await set_pod_ip(cluster, name, "web", "10.0.0.5")
    again = await set_pod_ip(cluster, name, "web", "10.0.0.5")

    assert first.annotations[POD_IPS] == "10.0.0.5"
    assert again.version == first.version


@pytest.mark.spec("EV-4")
async def test_pod_annotation_is_emptied_for_the_address_it_holds(
    api: Api, space: str, cluster: LightkubeCluster
) -> None:
    """On DEL: equal becomes empty, absent sends an empty patch, another is refused, a missing pod is fine."""
    name = space.rsplit("/", 1)[-1]
    api.create(f"{space}/pods", pod("web", annotations={POD_IPS: "10.0.0.5"}))
    bare = api.create(f"{space}/pods", pod("bare"))

    with pytest.raises(NotOurs, match=r"released IP 10\.0\.0\.9 does not match existing annotation\. Not patching pod"):
        await clear_pod_ip(cluster, name, "web", "10.0.0.9")
    cleared = await clear_pod_ip(cluster, name, "web", "10.0.0.5")
    absent = await clear_pod_ip(cluster, name, "bare", "10.0.0.5")
    missing = await clear_pod_ip(cluster, name, "nobody", "10.0.0.5")

    assert cleared is not None and cleared.annotations[POD_IPS] == ""
    assert absent is not None and absent.version == bare["metadata"]["resourceVersion"]
    assert missing is None


@pytest.mark.spec("SGP-3")
async def test_feature_is_added_under_an_optimistic_lock(api: Api, cluster: LightkubeCluster) -> None:
    """There already: nothing is sent; changed by another in between: a conflict, which is not retried."""
    name = api.name()
    api.create(CNI_NODES, custom("vpcresources.k8s.aws/v1alpha1", "CNINode", name, {}))

    first = await add_feature(cluster, name, "CustomNetworking", "a")
    again = await add_feature(cluster, name, "CustomNetworking", "a")
    moved = await add_feature(cluster, name, "SecurityGroupsForPods")
    with pytest.raises(ClusterError) as raised:
        await cluster.patch_features(first, ())

    assert again.version == first.version
    assert moved.features == (Feature("CustomNetworking", "a"), Feature("SecurityGroupsForPods"))
    assert raised.value.conflict
    assert api.get(f"{CNI_NODES}/{name}")["spec"]["features"][1] == {"name": "SecurityGroupsForPods"}


@pytest.mark.spec("EV-1")
async def test_event_is_recorded_about_the_pod(api: Api, space: str, cluster: LightkubeCluster) -> None:
    """Warning MissingIAMPermissions, the API as action, by aws-node."""
    name = space.rsplit("/", 1)[-1]
    about = Regarding(namespace=name, name="aws-node-1", uid="u")
    action = "ec2:CreateNetworkInterface"

    await cluster.create_event(EventNote("MissingIAMPermissions", action, "not allowed", AT, about, instance="n1"))

    (event,) = api.get(f"/apis/events.k8s.io/v1/namespaces/{name}/events")["items"]
    assert event["regarding"]["name"] == "aws-node-1" and event["note"] == "not allowed"
    assert (event["type"], event["reason"], event["action"]) == ("Warning", "MissingIAMPermissions", action)
    assert (event["reportingController"], event["eventTime"]) == ("aws-node", "2026-01-02T03:04:05.000006Z")


async def test_name_that_is_another_path_is_refused_here(cluster: LightkubeCluster) -> None:
    """A name from outside can neither leave its path nor add a query."""
    for name in ("..", ".", ""):
        with pytest.raises(ClusterError) as raised:
            await cluster.node(name)
        assert raised.value.missing
    with pytest.raises(ClusterError) as raised:
        await cluster.node("../pods?limit=1")
    assert raised.value.code in (400, 404)


async def test_unreachable_server_is_lost_not_refused() -> None:
    """A broken connection leaves the effect unknown, which is another thing than an error."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    path = kubeconfig.write(None, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    cluster = connect({"KUBECONFIG": str(path)})

    with pytest.raises(ClusterLost) as raised:
        await cluster.server_version()

    assert not raised.value.timeout
    await cluster.close()
    kubeconfig.remove(path)
    server.close()


async def test_reflector_follows_the_pods_of_a_node(api: Api, space: str, cluster: LightkubeCluster) -> None:
    """Added, modified, deleted, in order, without listing again; other nodes' pods are not seen."""
    node, changes = api.name(), asyncio.Queue[Changed[PodView]]()
    api.create(f"{space}/pods", pod("first", node=node))
    reflector = Reflector(cluster.pods(node), changes.put_nowait)
    running = asyncio.create_task(reflector.run())

    await reflector.synced.wait()
    await asyncio.to_thread(change_pods, api, space, node)
    async with asyncio.timeout(20):
        seen = [await changes.get() for _ in range(4)]
    running.cancel()

    assert [(change.type, change.key.rsplit("/", 1)[-1]) for change in seen] == [
        ("added", "first"), ("added", "second"), ("modified", "second"), ("deleted", "first"),
    ]  # fmt: skip
    assert seen[2].after is not None and seen[2].after.annotations == {POD_IPS: "10.0.0.7"}
    assert [one.name for one in reflector.items.values()] == ["second"]
    assert reflector.lists == 1


async def test_cluster_is_the_port(cluster: LightkubeCluster) -> None:
    """The client has every method of the port, with its types."""
    port: Cluster = cluster

    version = await port.server_version()

    assert version.version.startswith("v1.")


def change_pods(api: Api, space: str, node: str) -> None:
    """A pod more, one annotated, one gone; and one that is not on the node."""
    api.create(f"{space}/pods", pod("second", node=node))
    api.create(f"{space}/pods", pod("elsewhere"))
    api.patch(f"{space}/pods/second", {"metadata": {"annotations": {POD_IPS: "10.0.0.7"}}})
    api.call("DELETE", f"{space}/pods/first", gracePeriodSeconds=0)


def custom(version: str, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


@pytest.mark.spec("INIT-5", "EV-1")
async def test_events_are_about_the_daemons_own_pod(api: Api, cluster: LightkubeCluster) -> None:
    """Its pod in kube-system is looked up once; the events name it. Without one they name nothing."""
    name = api.name()
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "kube-system"}})
    api.create("/api/v1/namespaces/kube-system/pods", pod(name))
    own = await own_pod(cluster, name)
    note = RecordEvent("MissingIAMPermissions", name, "Unauthorized operation: failed to call CreateTags")

    done = await ClusterDoor(cluster, lambda: AT, own).call(note)

    assert done == Succeeded() and own is not None and own.name == name
    told = api.get("/api/v1/namespaces/kube-system/events")["items"]
    (event,) = [one for one in told if one.get("action") == name]
    assert event["involvedObject"] | {"resourceVersion": "", "uid": ""} == {
        "kind": "Pod", "namespace": "kube-system", "name": name, "resourceVersion": "", "uid": "", "apiVersion": "v1",
    }  # fmt: skip
    assert await own_pod(cluster, "nobody") is None and await own_pod(cluster, "") is None
