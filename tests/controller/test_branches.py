"""Branch interfaces of Linux pods: the process against the lab, with SecurityGroupPolicies and --limits."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.k8s.apiserver import NODES, Api, pod

from .spawned import PODS, cluster, configure, controlling, reasons, until

POD_ENI = "vpc.amazonaws.com/pod-eni"
POLICIES = "/apis/vpcresources.k8s.aws/v1beta1/namespaces/default/securitygrouppolicies"


def linux_node(api: Api, name: str, instance_type: str, number: int) -> None:
    """A node that may carry a trunk."""
    labels = {
        "kubernetes.io/os": "linux", "node.kubernetes.io/instance-type": instance_type,
        "vpc.amazonaws.com/has-trunk-attached": "false",
    }  # fmt: skip
    api.create(NODES, {
        "metadata": {"name": name, "labels": labels}, "spec": {"providerID": f"aws:///us-west-2a/i-{number:017x}"},
    })  # fmt: skip
    api.patch(f"{NODES}/{name}/status", {"status": {"capacity": {"cpu": "2"}}})


def linux_pod(api: Api, name: str, node: str) -> None:
    """A pod as the webhook leaves it."""
    made = pod(name, node=node, labels={"app": "db"})
    made["spec"]["containers"][0]["resources"] = {"requests": {POD_ENI: "1"}, "limits": {POD_ENI: "1"}}
    api.create(PODS, made)


def branch_of(api: Api, name: str) -> Any:
    """The one row of a pod's annotation, None while there is none."""
    text = (api.get(f"{PODS}/{name}")["metadata"].get("annotations") or {}).get(POD_ENI)
    return None if text is None else json.loads(text)[0]


@pytest.mark.spec("WIN-132", "WIN-136..143", "WIN-145")
def test_pods_with_a_policy_get_branches_until_the_type_carries_no_more(tmp_path: Path) -> None:
    """Capacity, VLANs from the lowest, upstream's annotation, a full trunk, the delete queue, a restart."""
    with cluster() as api:
        api.create(POLICIES, {
            "apiVersion": "vpcresources.k8s.aws/v1beta1", "kind": "SecurityGroupPolicy", "metadata": {"name": "db"},
            "spec": {"podSelector": {"matchLabels": {"app": "db"}}, "securityGroups": {"groupIds": []}},
        })  # fmt: skip
        configure(api, {"branch-eni-cooldown": "90"})
        linux_node(api, "lin-0", "c5.large", 1)
        names = [f"db-{number}" for number in range(9)]
        with controlling(tmp_path / "state", api) as controller:
            until("capacity", lambda: api.get(f"{NODES}/lin-0")["status"]["capacity"].get(POD_ENI))
            for name in names:
                linux_pod(api, name, "lin-0")
            rows = {name: until(f"a branch for {name}", partial(branch_of, api, name)) for name in names}
            linux_pod(api, "late", "lin-0")
            until("it waits", lambda: controller.get("/node/lin-0")[POD_ENI].get("PodToBranchENI") or None)
            api.call("DELETE", f"{PODS}/db-0", gracePeriodSeconds=0)
            queue = until("the queue", lambda: controller.get("/node/lin-0")[POD_ENI]["DeleteQueue"] or None)
            summary = controller.get("/resources/summary")[POD_ENI]["lin-0"]
            metrics = controller.text("/metrics", "metrics")
            assert controller.end() == 0

        assert api.get(f"{NODES}/lin-0")["status"]["capacity"][POD_ENI] == "9"
        assert sorted(row["vlanId"] for row in rows.values()) == list(range(1, 10))
        assert set(rows["db-1"]) == {
            "eniId", "ifAddress", "privateIp", "ipv6Addr", "vlanId", "subnetCidr", "subnetV6Cidr", "associationID",
        }  # fmt: skip
        assert rows["db-1"]["associationID"] and rows["db-1"]["subnetCidr"] == "10.0.0.0/16"
        assert [row["eniId"] for row in queue] == [rows["db-0"]["eniId"]]
        assert (summary["BranchENICount"], summary["DeleteQueueLen"]) == (8, 1)
        assert "ec2_associate_trunk_interface_api_req_count 9" in metrics
        assert branch_of(api, "late") is None
        assert "NodeTrunkInitiated" in reasons(api, "lin-0")
        assert {"SecurityGroupRequested", "ResourceAllocated"} <= set(reasons(api, "db-1"))

        with controlling(tmp_path / "state", api) as again:
            again.leads()  # what is shown before is the last tenure's
            trunk = until("the trunk", lambda: again.get("/node/lin-0")[POD_ENI] or None)
            held = {row["eniId"] for branches in trunk["PodToBranchENI"].values() for row in branches}
            assert held == {rows[name]["eniId"] for name in names[1:]}
            assert [row["eniId"] for row in trunk["DeleteQueue"]] == [rows["db-0"]["eniId"]]


@pytest.mark.spec("WIN-136")
def test_a_type_without_known_limit_says_how_to_give_it(tmp_path: Path) -> None:
    """Event Unsupported names --limits; with the row in a file the node carries that many."""
    table = tmp_path / "limits.json"
    table.write_text('{"m6i.large": 9}')
    with cluster() as api:
        linux_node(api, "lin-0", "m6i.large", 1)
        with controlling(tmp_path / "state", api) as controller:
            said = until("Unsupported", lambda: _message(api, "lin-0", "Unsupported"))
            assert "--limits" in said and "m6i.large" in said
            assert controller.end() == 0
        with controlling(tmp_path / "state", api, "--limits", str(table)):
            until("capacity", lambda: api.get(f"{NODES}/lin-0")["status"]["capacity"].get(POD_ENI))


def _message(api: Api, name: str, reason: str) -> str | None:
    found = api.get("/api/v1/events", fieldSelector=f"involvedObject.name={name}")["items"]
    return next((one["message"] for one in found if one["reason"] == reason), None)
