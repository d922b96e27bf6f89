"""A daemon process on the embedded cloud and an API server process: the whole way from kubectl's objects to pods."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import grpc
import pytest

from ipamd.cli.cluster import trunk_link
from ipamd.ec2.answers import NetworkInterface
from ipamd.ec2.embedded import CloudOptions, EmbeddedCloud
from ipamd.ec2.requests import (
    AssociateTrunkInterface,
    AssociateVpcCidrBlock,
    AttachNetworkInterface,
    CreateNetworkInterface,
)
from ipamd.runtime.hostnet import HostError, HostRecorder
from tests.k8s.apiserver import CNI_NODES, ENI_CONFIGS, MERGE, NODES, Api, pod, serving
from tests.runtime.spawned import PATIENCE, Ended, Spawned, failed_start, spawned
from tests.runtime.wire import Caller

NODE = "worker-1"
KEY = "k8s.amazonaws.com/eniConfig"
TAINT = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
PODS = "/api/v1/namespaces/default/pods"


@contextmanager
def api_server(port: int = 0, *words: str) -> Iterator[Api]:
    """The lab with a node and the namespace of the tests' pods."""
    with serving("--port", str(port), "--bookmark-seconds", "1", *words) as (line, process):
        api = Api(line["kubeconfig"], process)
        api.define()
        node(api)
        yield api


def node(api: Api, taints: tuple[dict[str, str], ...] = (), pods: str = "20") -> None:
    """The Node object, as new or changed."""
    body = {"metadata": {"name": NODE, "labels": {KEY: "az1"}}, "spec": {"taints": list(taints)}}
    code, answer = api.call("POST", NODES, body)
    if code == 409:
        api.patch(f"{NODES}/{NODE}", {"spec": {"taints": list(taints)}}, MERGE)
    else:
        assert code == 201, answer
        api.patch(f"{NODES}/{NODE}/status", {"status": {"capacity": {"pods": pods}}})


def options(api: Api, *settings: str) -> tuple[str, ...]:
    words = ["--kubeconfig", api.kubeconfig, "--node-name", NODE]
    for setting in settings:
        words += ["--set", setting]
    return tuple(words)


def until(told: Callable[[], Any], what: str) -> Any:
    """What is told, once it is something."""
    deadline = time.monotonic() + PATIENCE
    while not (found := told()):
        assert time.monotonic() < deadline, what
    return found


def annotation(api: Api, name: str) -> str | None:
    found = api.get(f"{PODS}/{name}")["metadata"].get("annotations", {}).get("vpc.amazonaws.com/pod-ips")
    return None if found is None else str(found)


def growth(daemon: Spawned) -> str:
    """Why the pool does not grow, and all else that /v1/plan says."""
    return json.dumps(daemon.get("/v1/plan"))


def second_subnet(state_dir: Path, cidr: str) -> str:
    """The cloud's VPC gets a further CIDR and a subnet in it before the daemon opens it; the subnet's id."""

    async def add() -> str:
        cloud = EmbeddedCloud.open(state_dir, CloudOptions(instance_type="m5.large"))
        try:
            await cloud.serve(AssociateVpcCidrBlock(vpc=cloud.vpc.row.vpc, cidr="100.64.0.0/16"))
            return (await cloud.add_subnet(cidr)).subnet
        finally:
            await cloud.close()

    return asyncio.run(add())


def eni_config(api: Api, subnet: str) -> None:
    api.create(ENI_CONFIGS, {
        "apiVersion": "crd.k8s.amazonaws.com/v1alpha1", "kind": "ENIConfig", "metadata": {"name": "az1"},
        "spec": {"subnet": subnet},
    })  # fmt: skip


@pytest.mark.slow
@pytest.mark.spec("INIT-2", "INIT-15", "INIT-32", "POOL-39", "HTTP-7", "EV-2", "EV-3", "EV-4", "RPC-39", "RPC-54")
def test_custom_networking_and_annotations_on_a_cluster(tmp_path: Path) -> None:
    """ENIs come in the ENIConfig's subnet, pods are annotated on ADD and cleared on DEL, the Node limits the pool."""
    subnet = second_subnet(tmp_path / "n", "100.64.9.0/24")
    with api_server() as api:
        eni_config(api, subnet)
        api.call("POST", PODS, pod("web", NODE))
        settings = ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG=true", "ANNOTATE_POD_IP=true", "WARM_IP_TARGET=2")
        with spawned(tmp_path / "n", *options(api, *settings)) as daemon, Caller(daemon.grpc) as caller:
            address = caller.address("web")
            again = caller.address("web")
            annotated = annotation(api, "web")
            caller.delete("web")
            cleared = annotation(api, "web")
            gone = caller.add("nobody")
            named = daemon.get("/v1/eni-configs")

    assert ip_address(address) in ip_network("100.64.9.0/24") and again == address
    assert (annotated, cleared) == (address, "")
    assert not gone.Success and gone.IPAllocationMetadata  # RPC-39: all else stays in the reply
    assert named == "az1"


@pytest.mark.slow
@pytest.mark.spec("POOL-18", "POOL-19")
def test_a_cordoned_node_stops_growing_also_after_the_api_server_was_away(tmp_path: Path) -> None:
    """Taints are seen while the daemon runs. An API server that comes back and has forgotten the version that was seen
    last (410) is listed again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with api_server(port) as api:
        words = options(api, "WARM_IP_TARGET=1")
        daemon = Spawned(tmp_path / "n", *words)
        daemon.wait_ready()
        node(api, (TAINT,))
        until(lambda: "cordoned" in growth(daemon), "the taint was not seen")
    try:
        with api_server(port, "--window", "4") as api:
            for number in range(100):  # past what the first server counted up to
                api.patch(f"{NODES}/{NODE}", {"metadata": {"labels": {"n": str(number)}}}, MERGE)
            until(lambda: "cordoned" not in growth(daemon), "the node without the taint was not seen")
            with Caller(daemon.grpc) as caller:
                assert caller.address("web")
    finally:
        daemon.kill()


@pytest.mark.slow
@pytest.mark.spec("RPC-22", "RPC-24", "RPC-26", "RPC-28", "RPC-48", "RPC-49", "SGP-2", "SGP-6")
def test_pods_with_a_branch_eni_on_a_cluster(tmp_path: Path) -> None:
    """The CNINode is told; an ADD before there is a trunk is refused, as is one for a pod that does not exist."""
    limits = {"limits": {"vpc.amazonaws.com/pod-eni": "1"}}
    with api_server() as api:
        api.create(CNI_NODES, {
            "apiVersion": "vpcresources.k8s.aws/v1alpha1", "kind": "CNINode", "metadata": {"name": NODE}, "spec": {},
        })  # fmt: skip
        branch = pod("branch", NODE)
        branch["spec"]["containers"][0]["resources"] = limits
        api.call("POST", PODS, branch)
        api.call("POST", PODS, pod("plain", NODE))
        with (
            spawned(tmp_path / "n", *options(api, "ENABLE_POD_ENI=true")) as daemon,
            Caller(daemon.grpc) as caller,
        ):
            features = api.get(f"{CNI_NODES}/{NODE}")["spec"]["features"]
            refused, trailers = caller.add_with_trailers("branch")
            absent = caller.add("absent")
            plain = caller.address("plain")
            with pytest.raises(grpc.RpcError) as gone:
                caller.delete("absent")

    assert features == [{"name": "SecurityGroupsForPods"}]
    assert not refused.Success and "trunk" in trailers["ipamd-reason"]
    assert not absent.Success and plain
    assert gone.value.code() == grpc.StatusCode.UNKNOWN and "retrieve pod info" in str(gone.value.details())


def trunk_and_branch(state_dir: Path) -> tuple[NetworkInterface, NetworkInterface]:
    """What the resource controller makes: a trunk on the node, and a branch of it in VLAN 7."""

    async def make() -> tuple[NetworkInterface, NetworkInterface]:
        cloud = EmbeddedCloud.open(state_dir, CloudOptions(instance_type="m5.large"))
        try:
            node = await cloud.node()
            trunk = await cloud.serve(CreateNetworkInterface(subnet=node.subnet, interface_type="trunk"))
            branch = await cloud.serve(CreateNetworkInterface(subnet=node.subnet, interface_type="branch"))
            assert isinstance(trunk, NetworkInterface) and isinstance(branch, NetworkInterface)
            await cloud.serve(AttachNetworkInterface(trunk.eni, node.instance, 1))
            await cloud.serve(AssociateTrunkInterface(branch.eni, trunk.eni, 7))
            return trunk, branch
        finally:
            await cloud.close()

    return asyncio.run(make())


def kinds(state_dir: Path) -> dict[str, str]:
    """Each ENI of the cloud and its type."""
    cloud = EmbeddedCloud.open(state_dir, CloudOptions())
    try:
        return {row.eni: row.interface_type for row in cloud.vpc.enis.values()}
    finally:
        asyncio.run(cloud.close())


@pytest.mark.slow
@pytest.mark.spec("RPC-25..27", "RPC-48", "SGP-1", "SGP-11", "INIT-41", "RPC-50")
def test_a_pod_with_a_branch_eni_from_add_to_del(tmp_path: Path) -> None:
    """The trunk is there, the pod is annotated: the branch's address, VLAN and MAC, and the trunk's link.

    No address of the pool is taken, the node gets no label, and the daemon makes neither trunk nor branch.
    """
    trunk, branch = trunk_and_branch(tmp_path / "n")
    said = [{
        "eniId": branch.eni, "ifAddress": branch.mac, "privateIp": branch.addresses[0], "vlanId": 7,
        "subnetCidr": "192.168.4.0/24", "associationID": "trunk-assoc-1",
    }]  # fmt: skip
    with api_server() as api:
        api.create(CNI_NODES, {
            "apiVersion": "vpcresources.k8s.aws/v1alpha1", "kind": "CNINode", "metadata": {"name": NODE}, "spec": {},
        })  # fmt: skip
        made = pod("db", NODE, annotations={"vpc.amazonaws.com/pod-eni": json.dumps(said)})
        made["spec"]["containers"][0]["resources"] = {"limits": {"vpc.amazonaws.com/pod-eni": "1"}}
        _, created = api.call("POST", PODS, made)
        with (
            spawned(tmp_path / "n", *options(api, "ENABLE_POD_ENI=true", "WARM_IP_TARGET=1")) as daemon,
            Caller(daemon.grpc) as caller,
        ):
            added, again = caller.add("db"), caller.add("db")
            held = daemon.get("/v1/enis")["0"]["AssignedIPs"]
            gone = caller.delete("db", K8S_POD_UID=created["metadata"]["uid"])
            with pytest.raises(grpc.RpcError) as other:
                caller.delete("db", K8S_POD_UID="another")
        labels = api.get(f"{NODES}/{NODE}")["metadata"]["labels"]

    (where,) = added.IPAllocationMetadata
    assert added.Success and added == again
    assert (where.IPv4Addr, where.DeviceNumber, where.RouteTableId) == (branch.addresses[0], -1, 0)
    assert (added.PodVlanId, added.PodENIMAC, added.PodENISubnetGW) == (7, branch.mac, "192.168.4.1")
    assert added.ParentIfIndex == 3  # of device 1, on a host that is only written down
    assert held == 0
    assert (gone.PodVlanId, gone.IPAllocationMetadata[0].IPv4Addr) == (7, branch.addresses[0])
    assert "UID" in str(other.value.details())
    assert labels == {KEY: "az1"}
    assert {eni for eni, kind in kinds(tmp_path / "n").items() if kind != "interface"} == {trunk.eni, branch.eni}


@pytest.mark.slow
@pytest.mark.spec("INIT-5")
def test_an_own_pod_that_cannot_be_read_is_not_fatal(tmp_path: Path) -> None:
    """MY_POD_NAME names a pod that kube-system lacks: a warning, and the daemon serves."""
    with (
        api_server() as api,
        spawned(tmp_path / "n", *options(api, "MY_POD_NAME=aws-node-lost")) as daemon,
        Caller(daemon.grpc) as caller,
    ):
        served = caller.address("web")

    assert served and "pod kube-system/aws-node-lost cannot be read" in daemon.stderr


class LateHost(HostRecorder):
    """A host on which the trunk's link shows after some failures and misses."""

    def __init__(self, misses: int) -> None:
        super().__init__()
        self.misses = misses

    async def link_index(self, mac: str) -> int:
        self.misses -= 1
        if self.misses == 0:
            raise HostError("ip link", "interrupted")
        return 11 if self.misses < 0 else 0


@pytest.mark.spec("RPC-27")
@pytest.mark.parametrize(("misses", "index"), [(0, 11), (4, 11), (5, 0)])
def test_the_trunks_link_is_looked_for_five_times(misses: int, index: int) -> None:
    """A link that is late, or cannot be asked for, is found by a later try; in vain it is 0."""
    assert asyncio.run(trunk_link(LateHost(misses), "02:00:00:00:00:01")) == index


@pytest.mark.spec("INIT-2", "INIT-3")
def test_what_a_cluster_needs_is_asked_for_by_name(tmp_path: Path) -> None:
    """No API server, no node name, a server that refuses the connection: one line, and the remedy."""
    none = {"KUBECONFIG": "", "KUBERNETES_SERVICE_HOST": ""}
    config = tmp_path / "config"
    config.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\n"
        "clusters: [{name: a, cluster: {server: 'http://127.0.0.1:9'}}]\n"
        "contexts: [{name: a, context: {cluster: a, user: a}}]\nusers: [{name: a, user: {}}]\n"
    )
    need = ("--set", "ENABLE_POD_ENI=true")

    nowhere = failed_start(tmp_path / "a", *need, env=none)
    nameless = failed_start(tmp_path / "b", "--kubeconfig", str(config), env=none)
    closed = failed_start(tmp_path / "c", *need, "--kubeconfig", str(config), "--node-name", "n", env=none)
    missing = failed_start(tmp_path / "d", "--kubeconfig", str(tmp_path / "no"), "--node-name", "n", env=none)

    assert nowhere[0] == 1 and "--kubeconfig or KUBECONFIG" in nowhere[1]
    assert nameless[0] == 2 and "--node-name" in nameless[1]
    assert closed[0] == 1 and "cannot be reached" in closed[1]
    assert missing[0] == 1 and "kubeconfig" in missing[1]


@pytest.mark.spec("INIT-32", "EV-5")
def test_a_node_that_cannot_be_read_ends_the_start(tmp_path: Path) -> None:
    """The API server answers, but has no such Node; one whose capacity is no number is no better."""
    with api_server() as api:
        unknown = failed_start(tmp_path / "a", "--kubeconfig", api.kubeconfig, "--node-name", "nobody")

    assert unknown[0] == 1 and "node nobody" in unknown[1] and "--node-name" in unknown[1]


@pytest.mark.spec("INIT-3")
def test_sigterm_ends_the_wait_for_an_api_server(tmp_path: Path) -> None:
    """A server that takes the connection and says nothing is waited for; the daemon ends with exit code 0."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        config = tmp_path / "config"
        config.write_text(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\n"
            f"clusters: [{{name: a, cluster: {{server: 'http://127.0.0.1:{deaf.getsockname()[1]}'}}}}]\n"
            "contexts: [{name: a, context: {cluster: a, user: a}}]\nusers: [{name: a, user: {}}]\n"
        )
        daemon = Spawned(tmp_path / "n", "--kubeconfig", str(config), "--node-name", "n")
        connection, _ = deaf.accept()
        with connection:
            daemon.terminate(signal.SIGTERM)
            with pytest.raises(Ended, match="exit code 0"):
                daemon.wait_ready()
        daemon.end()
