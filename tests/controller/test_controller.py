"""The controller process against the lab's API server and the embedded cloud: everything by the API alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.k8s.apiserver import MERGE, NODES

from .spawned import (
    ADDRESS,
    DELEGATION,
    IPAM,
    PODS,
    address_of,
    addressed,
    capacity_of,
    cluster,
    configure,
    controlling,
    reasons,
    until,
    windows_node,
    windows_pod,
)


@pytest.mark.spec("WIN-40", "WIN-44", "WIN-62", "WIN-73", "WIN-131..134", "WIN-147", "S-28")
def test_nodes_pods_and_config_map_drive_it(tmp_path: Path) -> None:
    """Two nodes in prefix mode and ten pods: capacity, annotations, events, introspection, metrics."""
    with cluster() as api, controlling(tmp_path / "state", api) as controller:
        controller.leads()
        for node in ("win-0", "win-1"):
            windows_node(api, node)
        configure(api, DELEGATION)
        until("it is managed", lambda: capacity_of(api, "win-1"))
        pods = [f"web-{number}" for number in range(10)]
        for number, name in enumerate(pods):
            windows_pod(api, name, f"win-{number % 2}")

        addresses = addressed(api, pods)
        until("capacity", lambda: capacity_of(api, "win-0") == capacity_of(api, "win-1") == "144" or None)
        until("an event", lambda: "ResourceAllocated" in reasons(api, "web-9") or None)
        summary = controller.get("/resources/summary")
        one = controller.get("/node/win-0")["vpc.amazonaws.com/PrivateIPv4AddressFromPrefix"]
        plan = controller.get("/v1/plan/win-0")
        metrics = controller.text("/metrics", "metrics")
        labels = {"vpc.amazonaws.com/has-trunk-attached": "true"}
        api.patch(f"{NODES}/win-0", {"metadata": {"labels": labels}}, MERGE)
        custom = {"spec": {"features": [{"name": "CustomNetworking", "value": ""}]}}
        api.patch("/apis/vpcresources.k8s.aws/v1alpha1/cninodes/win-0", custom, MERGE)
        until("the feature is seen", lambda: "EniConfigNameNotFound" in reasons(api, "win-0") or None)

        assert controller.get("/node/win-0")["vpc.amazonaws.com/pod-eni"] == {}, "no trunk on Windows"
        assert "[+]health-interface-cleaner ok" in controller.text("/healthz?verbose", "health")
        assert len(set(addresses.values())) == 10 and all(a.endswith("/32") for a in addresses.values())
        assert summary["vpc.amazonaws.com/PrivateIPv4AddressFromPrefix"]["win-1"]["UsedResourcesCount"] == 5
        assert {row["ResourceID"] for row in one["UsedResources"].values()} == {addresses[p] for p in pods[::2]}
        assert plan["pools"]["prefix"]["next"] == "rest" and plan["pools"]["prefix"]["figures"]["used"] == 5
        assert f'annotate_pod_request_call_count{{annotate_key="{ADDRESS}"}} 10' in metrics
        assert "windows_prefix_delegation_enabled 1" in metrics
        assert controller.text("/healthz", "health") == "ok"
        assert "ControllerVersionNotice" in reasons(api, "win-0")
        assert controller.end() == 0


@pytest.mark.spec("WIN-20", "WIN-115..117")
def test_toggling_prefix_delegation_while_pods_run(tmp_path: Path) -> None:
    """Nothing in use is released: old pods keep their addresses, new ones get the other kind."""
    with cluster() as api, controlling(tmp_path / "state", api) as controller:
        configure(api, IPAM)
        windows_node(api, "win-0")
        windows_pod(api, "old", "win-0")
        old = addressed(api, ["old"])["old"]
        assert old.endswith("/16") and until("capacity", lambda: capacity_of(api, "win-0")) == "9"

        configure(api, DELEGATION)
        until("the new capacity", lambda: capacity_of(api, "win-0") == "144" or None)
        windows_pod(api, "new", "win-0")
        new = addressed(api, ["new"])["new"]

        assert new.endswith("/32") and address_of(api, "old") == old
        pools = until("drained", lambda: _held(controller.get("/v1/plan/win-0")["pools"]))
        assert pools == (1, 1)


def _held(pools: dict[str, dict[str, dict[str, int]]]) -> tuple[int, int] | None:
    """Addresses in use of both pools, once the secondary one holds no spare ones."""
    secondary, prefix = pools["secondary"]["figures"], pools["prefix"]["figures"]
    if secondary["warm"] or secondary["pending_delete"]:
        return None
    return secondary["used"], prefix["used"]


@pytest.mark.spec("WIN-68..72")
def test_a_restart_keeps_every_pod_and_frees_those_that_vanished(tmp_path: Path) -> None:
    """SIGKILL with running pods; one is deleted and one made while nobody is there."""
    with cluster() as api:
        configure(api, DELEGATION)
        windows_node(api, "win-0")
        names = ["a", "b", "c"]
        for name in names:
            windows_pod(api, name, "win-0")
        with controlling(tmp_path / "state", api, "--no-leader-elect") as first:
            before = addressed(api, names)
            first.end(signal.SIGKILL)
        api.call("DELETE", f"{PODS}/a", gracePeriodSeconds=0)
        windows_pod(api, "d", "win-0")

        with controlling(tmp_path / "state", api, "--no-leader-elect") as second:
            after = addressed(api, ["b", "c", "d"])
            used = second.get("/node/win-0")["vpc.amazonaws.com/PrivateIPv4AddressFromPrefix"]["UsedResources"]

        assert {name: after[name] for name in ("b", "c")} == {name: before[name] for name in ("b", "c")}
        assert after["d"] not in (before["b"], before["c"])
        assert {row["ResourceID"] for row in used.values()} == set(after.values())


@pytest.mark.spec("WIN-135")
def test_another_replica_takes_over(tmp_path: Path) -> None:
    """One leads, one waits; when the leader ends in order, the other serves the pods at once."""
    with cluster() as api, controlling(tmp_path / "state", api, "--identity", "first") as first:
        first.leads()
        with controlling(tmp_path / "state", api, "--identity", "second") as second:
            configure(api, DELEGATION)
            windows_node(api, "win-0")
            windows_pod(api, "a", "win-0")
            held = addressed(api, ["a"])["a"]
            standing_by = second.get("/v1/role")

            assert first.end() == 0
            second.leads()
            windows_pod(api, "b", "win-0")

            assert addressed(api, ["b"])["b"] != held and address_of(api, "a") == held
            assert standing_by["leading"] is False
            assert second.get("/v1/role")["leader"] == "second"


@pytest.mark.spec("WIN-54")
def test_dropped_watches_and_a_forgotten_history_lose_nothing(tmp_path: Path) -> None:
    """The server forgets its history (410), then goes away and comes back empty-handed: lists make up for it."""
    with cluster("--window", "1") as api, controlling(tmp_path / "state", api) as controller:
        configure(api, DELEGATION)
        windows_node(api, "win-0")
        names = [f"p-{number}" for number in range(20)]
        for name in names:
            windows_pod(api, name, "win-0")
            api.call("POST", "/lab/compact")

        assert len(set(addressed(api, names).values())) == 20
        assert controller.popen.poll() is None


@pytest.mark.spec("WIN-24", "WIN-33", "WIN-44")
def test_what_cannot_be_managed_is_said_with_the_remedy(tmp_path: Path) -> None:
    """A node without provider id, an unknown instance type, keys that cannot be read, negative targets."""
    with cluster() as api, controlling(tmp_path / "state", api) as controller:
        controller.leads()
        configure(api, {**IPAM, "warm-ip-target": "abc", "minimum-ip-target": "-5", "enable-network": "x"})
        windows_node(api, "bare", provider_id="")
        windows_node(api, "strange", "zz9.plural")
        windows_node(api, "good")
        windows_pod(api, "web", "good")

        assert addressed(api, ["web"])
        assert "spec.providerID '' names no instance" in controller.says("node bare")
        assert "want an integer >= 0; counts as 0" in controller.says("warm-ip-target").replace('\\"', '"')
        assert "want an integer >= 0; a default takes its place" in controller.says("minimum-ip-target")
        until("Unsupported", lambda: "Unsupported" in reasons(api, "strange") or None)
        until("the pool of three", lambda: controller.get("/v1/plan/good")["pools"]["secondary"]["targets"] or None)
        assert capacity_of(api, "strange") is None and capacity_of(api, "bare") is None


@pytest.mark.spec("WIN-65", "WIN-67")
def test_a_pod_deleted_before_it_is_served_leaves_nothing(tmp_path: Path) -> None:
    """Pods come and go while the node is full; what is left gets its address, and none is leaked."""
    with cluster() as api, controlling(tmp_path / "state", api) as controller:
        configure(api, IPAM)
        windows_node(api, "win-0", "t3.nano")  # one address
        windows_pod(api, "first", "win-0")
        addressed(api, ["first"])
        windows_pod(api, "never", "win-0")
        until("it waits", lambda: controller.get("/v1/plan/win-0")["waiting"] or None)
        api.call("DELETE", f"{PODS}/never", gracePeriodSeconds=0)

        until("nobody waits", lambda: controller.get("/v1/plan/win-0")["waiting"] == {} or None)
        assert controller.get("/v1/plan/win-0")["pools"]["secondary"]["figures"]["used"] == 1


@pytest.mark.spec("WIN-30")
def test_a_deleted_node_is_forgotten_and_may_come_back(tmp_path: Path) -> None:
    """Its pods keep what they have; EC2 is left as it is."""
    with cluster() as api, controlling(tmp_path / "state", api) as controller:
        configure(api, IPAM)
        windows_node(api, "win-0")
        windows_pod(api, "a", "win-0")
        held = addressed(api, ["a"])["a"]
        api.call("DELETE", f"{NODES}/win-0")
        until("it is forgotten", lambda: "error" in controller.get("/v1/plan/win-0") or None)
        windows_node(api, "win-0")

        until("it is ready", lambda: controller.get("/v1/plan/win-0").get("phase") == "ready" or None)
        used = controller.get("/node/win-0")[ADDRESS]["UsedResources"]
        assert [row["ResourceID"] for row in used.values()] == [held]


@pytest.mark.parametrize(
    "words,code,said",
    [
        (["--user-client-qps", "0"], 2, "want a number above 0"),
        (["--ec2", "moto"], 2, "want the --endpoint"),
        (["--region", "us-west-2"], 2, "the embedded cloud has none"),
        (["--metrics-bind-address", "nowhere"], 2, "want HOST:PORT for --metrics-bind-address"),
        (["--kubeconfig", "/no/such/file"], 1, "want a kubeconfig"),
        (["--journal-keep", "x"], 2, "--journal-keep"),
    ],
)
def test_what_is_wrong_with_a_command_line_is_said(words: list[str], code: int, said: str) -> None:
    """Exit code 2 for the command line alone, 1 for what it names."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("KUBE")}
    ran = subprocess.run(
        [sys.executable, "-m", "ipamd", "controller", *words], capture_output=True, text=True, env=environ, check=False
    )
    assert (ran.returncode, said in ran.stderr) == (code, True), ran.stderr
