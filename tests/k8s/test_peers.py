"""Clients that others wrote, against the API server: kubectl, lightkube and kubernetes_asyncio."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from kubernetes_asyncio import client as kube
from kubernetes_asyncio import config as kube_config
from kubernetes_asyncio import watch as kube_watch
from lightkube import ApiError, AsyncClient, KubeConfig
from lightkube.generic_resource import create_global_resource
from lightkube.models.core_v1 import NodeStatus
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Node, Pod
from lightkube.types import PatchType

from .apiserver import PATIENCE, Api, pod

KUBECTL = shutil.which("kubectl")


class Kubectl:
    """kubectl with a home directory of its own, so that it caches nothing of another server."""

    def __init__(self, api: Api, home: Path) -> None:
        self._environ = {"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": api.kubeconfig}

    def __call__(self, *words: str, given: object = None, fails: bool = False) -> str:
        """Its standard output, or what it says on standard error if it is to fail."""
        ran = subprocess.run(
            ["kubectl", *words], env=self._environ, input=json.dumps(given) if given is not None else None,
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert (ran.returncode != 0) == fails, ran.stderr or ran.stdout
        return ran.stderr if fails else ran.stdout

    def watching(self, *words: str) -> subprocess.Popen[str]:
        """A kubectl that goes on."""
        return subprocess.Popen(["kubectl", *words], env=self._environ, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def kubectl(api: Api, tmp_path: Path) -> Kubectl:
    if KUBECTL is None:
        pytest.skip("kubectl is not installed (Debian: apt-get install kubernetes-client)")
    return Kubectl(api, tmp_path)


# ---- kubectl -------------------------------------------------------------------------------------------------


def test_kubectl_applies_changes_and_deletes_custom_resources(api: Api, kubectl: Kubectl) -> None:
    """Apply creates, leaves alone, configures; get by short name, patch, delete."""
    name = api.name()
    node: dict[str, Any] = {
        "apiVersion": "vpcresources.k8s.aws/v1alpha1", "kind": "CNINode", "metadata": {"name": name},
        "spec": {"features": [{"name": "SecurityGroupsForPods"}]},
    }  # fmt: skip

    said = [kubectl("apply", "-f", "-", given=node), kubectl("apply", "-f", "-", given=node)]
    node["spec"]["features"].append({"name": "CustomNetworking", "value": "a"})
    said.append(kubectl("apply", "-f", "-", given=node))
    kubectl("patch", "cninode", name, "--type=merge", "-p", '{"spec":{"tags":{"a":"b"}}}')
    found = json.loads(kubectl("get", "cnd", name, "-o", "json"))
    kubectl("delete", "cninode", name)

    assert [line.rsplit(" ", 1)[-1].strip() for line in said] == ["created", "unchanged", "configured"]
    assert [f["name"] for f in found["spec"]["features"]] == ["SecurityGroupsForPods", "CustomNetworking"]
    assert found["spec"]["tags"] == {"a": "b"}
    assert "NotFound" in kubectl("get", "cninode", name, fails=True)


def test_kubectl_works_with_pods_and_nodes(api: Api, space: str, kubectl: Kubectl) -> None:
    """Tables, describe, label, annotate, strategic patch, field selectors, delete with and without grace."""
    node, name = api.name(), space.rsplit("/", 1)[-1]
    kubectl("apply", "-f", "-", given={"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})
    api.made.append(f"/api/v1/nodes/{node}")
    kubectl("apply", "-n", name, "-f", "-", given={"apiVersion": "v1", "kind": "Pod", **pod("web", node=node)})

    kubectl("label", "node", node, "zone=a")
    kubectl("annotate", "-n", name, "pod", "web", "vpc.amazonaws.com/pod-ips=10.0.0.5")
    table = kubectl("get", "-n", name, "pods", "-o", "wide")
    described = kubectl("describe", "node", node)
    refused = kubectl("get", "pods", "-A", "--field-selector", "spec.foo=x", fails=True)
    shown = kubectl("get", "pods", "-A", "--field-selector", f"spec.nodeName={node}", "-o", "name")
    kubectl("delete", "-n", name, "pod", "web", "--wait=false")
    ending = kubectl("get", "-n", name, "pods", "web")
    kubectl("delete", "-n", name, "pod", "web", "--grace-period=0", "--force")

    assert table.split()[0] == "NAME" and node in table
    assert "zone=a" in described and "web" in described
    assert "field label not supported: spec.foo" in refused
    assert shown.strip() == "pod/web"
    assert "Terminating" in ending
    assert "NotFound" in kubectl("get", "-n", name, "pod", "web", fails=True)


def test_kubectl_watches(api: Api, space: str, kubectl: Kubectl) -> None:
    """get --watch shows a row for each change."""
    name = space.rsplit("/", 1)[-1]
    api.create(f"{space}/configmaps", {"metadata": {"name": "a", "labels": {"suite": "kubectl"}}})

    with kubectl.watching("get", "-n", name, "configmaps", "-l", "suite=kubectl", "-o", "name", "--watch") as watching:
        assert watching.stdout is not None
        first = watching.stdout.readline()
        api.create(f"{space}/configmaps", {"metadata": {"name": "b", "labels": {"suite": "kubectl"}}})
        second = watching.stdout.readline()
        watching.terminate()

    assert [first.strip(), second.strip()] == ["configmap/a", "configmap/b"]


def test_kubectl_applies_on_the_server(api: Api, kubectl: Kubectl) -> None:
    """--server-side."""
    name = api.name()
    config = {"apiVersion": "crd.k8s.amazonaws.com/v1alpha1", "kind": "ENIConfig", "metadata": {"name": name},
              "spec": {"subnet": "subnet-1"}}  # fmt: skip

    said = kubectl("apply", "--server-side", "-f", "-", given=config)
    found = kubectl("get", "eniconfig", name, "-o", "jsonpath={.spec.subnet}")
    kubectl("delete", "eniconfig", name)

    assert said.strip().endswith("serverside-applied") and found == "subnet-1"


# ---- lightkube -----------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_lightkube_creates_patches_lists_and_watches(api: Api, space: str) -> None:
    """Its typed models, its status patch, its generic resources, its pages, its 410."""
    config = KubeConfig.from_file(api.kubeconfig)
    client = AsyncClient(config, namespace=space.rsplit("/", 1)[-1])
    name = api.name()
    cni_node = create_global_resource("vpcresources.k8s.aws", "v1alpha1", "CNINode", "cninodes")
    api.made += [f"/api/v1/nodes/{name}", f"/apis/vpcresources.k8s.aws/v1alpha1/cninodes/{name}"]

    await client.create(Node(metadata=ObjectMeta(name=name)))
    capacity = Node.Status(metadata=ObjectMeta(name=name), status=NodeStatus(capacity={"vpc.amazonaws.com/eni": "3"}))
    await client.patch(Node.Status, name, capacity, patch_type=PatchType.MERGE)
    await client.create(cni_node(metadata=ObjectMeta(name=name), spec={"features": [{"name": "X"}]}))
    for key in ("a", "b", "c"):
        await client.create(ConfigMap(metadata=ObjectMeta(name=key, labels={"suite": "lightkube"})))
    node, custom = await client.get(Node, name), await client.get(cni_node, name)
    maps = [one.metadata.name async for one in client.list(ConfigMap, labels={"suite": "lightkube"}, chunk_size=2)
            if one.metadata]  # fmt: skip
    watched = []
    async for type_, one in client.watch(ConfigMap, labels={"suite": "lightkube"}):
        watched.append((type_, one.metadata.name if one.metadata else ""))
        if len(watched) == 3:
            break
    with pytest.raises(ApiError) as raised:
        async for _ in client.watch(Pod, resource_version="1"):
            pass
    await client.close()

    assert node.status and node.status.allocatable == {"vpc.amazonaws.com/eni": "3"}
    assert custom["spec"] == {"features": [{"name": "X"}]}
    assert maps == ["a", "b", "c"] and sorted(watched) == [("ADDED", key) for key in "abc"]
    assert raised.value.status.code == 410


# ---- kubernetes_asyncio --------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_kubernetes_asyncio_reads_its_models_and_watches(api: Api, space: str) -> None:
    """A generated client whose models refuse what lacks a required field; it says `watch=True`."""
    space = space.rsplit("/", 1)[-1]
    configuration = kube.Configuration()
    await kube_config.load_kube_config(config_file=api.kubeconfig, client_configuration=configuration)
    async with kube.ApiClient(configuration) as connection:
        core, custom = kube.CoreV1Api(connection), kube.CustomObjectsApi(connection)
        name = api.name()
        api.made.append(f"/apis/crd.k8s.amazonaws.com/v1alpha1/eniconfigs/{name}")
        body = {"apiVersion": "crd.k8s.amazonaws.com/v1alpha1", "kind": "ENIConfig", "metadata": {"name": name},
                "spec": {"subnet": "subnet-1"}}  # fmt: skip
        await custom.create_cluster_custom_object("crd.k8s.amazonaws.com", "v1alpha1", "eniconfigs", body)
        web: Any = pod("web", labels={"suite": "kubernetes-asyncio"})
        made = await core.create_namespaced_pod(space, web)
        await core.patch_namespaced_pod("web", space, {"metadata": {"annotations": {"x": "y"}}})
        listed = await core.list_namespaced_pod(space, limit=1)
        watch = kube_watch.Watch()
        async for event in watch.stream(core.list_namespaced_pod, space, timeout_seconds=5):
            watch.stop()
            first = event
        with pytest.raises(kube.ApiException) as raised:
            await core.create_namespaced_pod(space, web)
        versions = await kube.VersionApi(connection).get_code()

    assert made.status.phase == "Pending" and made.spec.containers[0].name == "main"
    assert listed.items[0].metadata.annotations == {"x": "y"}
    assert (first["type"], first["object"].metadata.name) == ("ADDED", "web")
    assert raised.value.status == 409 and json.loads(raised.value.body or "")["reason"] == "AlreadyExists"
    assert versions.git_version.startswith("v1.")
