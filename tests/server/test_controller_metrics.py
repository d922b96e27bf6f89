"""The controller's metrics and health under upstream's names (WIN-130, WIN-134)."""

from __future__ import annotations

import pytest

from ipamd.core import branch_events as be
from ipamd.core.branch_calls import Branch, TrunkFacts
from ipamd.core.events import FORMAT, Record
from ipamd.core.state import State
from ipamd.server.controller_doors import CHECKS
from ipamd.server.controller_metrics import ControllerMetrics, Figures
from tests.windows.pools import keys
from tests.windows.test_jobs import cluster

EC2 = {
    "describe_instances_api_req", "create_network_interface_api_req", "tag_network_interface_api_req",
    "attach_network_interface_api_req", "detach_network_interface_api_req", "delete_network_interface_api_req",
    "describe_network_interface_api_req", "assign_private_ip_api_req", "unassign_private_ip_api_req",
    "describe_subnets_api_req", "associate_trunk_interface_api_req", "disassociate_trunk_interface_api_req",
    "describe_trunk_network_interface_association_api_call", "modify_network_interface_attribute_api_call",
    "describe_network_interfaces_pages_api_call",
}  # fmt: skip
COUNTERS = {
    "ec2_api_req_count", "ec2_api_err_count", "num_assigned_private_ip_address", "num_assigned_ipv4_prefixes",
    "num_unassigned_private_ip_address", "num_unassigned_ipv4_prefixes", "node_termination_eni_cleanup_failures_total",
    "recreate_cniNode_call_count", "recreate_cniNode_err_count", "jobs_submitted_count", "jobs_completed_count",
    "jobs_failed_count", "jobs_resource_not_found_count", "advertise_resource_request_call_count",
    "advertise_resource_request_err_count", "annotate_pod_request_call_count", "annotate_pod_request_err_count",
    "branch_provider_operations_err_count", "trunk_eni_operations_err_count", "unreconciled_trunk_network_interfaces",
    "branch_eni_opeartions_success_count", "branch_eni_opeartions_failure_count",
}  # fmt: skip
GAUGES = {
    "windows_ipam_enabled", "windows_prefix_delegation_enabled", "sgp_enabled", "vpc_cni_created_available_eni_count",
    "vpc_rc_created_available_eni_count", "leaked_eni_count",
}  # fmt: skip


def types(metrics: ControllerMetrics) -> dict[str, str]:
    """Name -> type of everything announced."""
    rows = [line.split() for line in metrics.render().decode().splitlines() if line.startswith("# TYPE")]
    return {row[2]: row[3] for row in rows}


@pytest.mark.spec("WIN-130")
def test_upstreams_metrics_are_announced_with_their_types() -> None:
    """Also before anything happened; pairs of requests and errors, and the latency of EC2."""
    found = types(ControllerMetrics(State, Figures))
    pairs = {f"ec2_{stem}_count" for stem in EC2}
    pairs |= {f"ec2_{stem.rpartition('_')[0]}_err_count" for stem in EC2}

    assert {name: found.get(name) for name in COUNTERS | pairs} == dict.fromkeys(COUNTERS | pairs, "counter")
    assert {name: found.get(name) for name in GAUGES} == dict.fromkeys(GAUGES, "gauge")
    assert found["aws_nw_call_latency"] == "summary"


@pytest.mark.spec("WIN-17")
@pytest.mark.parametrize(
    ("prefixes", "legacy", "shown"), [(False, False, "1 0"), (True, False, "1 1"), (True, True, "0 0")]
)
def test_the_gauges_of_the_mode_are_true(prefixes: bool, legacy: bool, shown: str) -> None:
    """Also while the legacy Deployment is there, where upstream's keep their last value."""
    engine, _ = cluster(keys(prefixes))
    engine.set_legacy(legacy)
    lines = ControllerMetrics(lambda: engine.state, Figures).render().decode().splitlines()
    values = dict(line.split() for line in lines if line.startswith("windows_"))

    assert f"{values['windows_ipam_enabled']} {values['windows_prefix_delegation_enabled']}" == shown


@pytest.mark.spec("WIN-130")
@pytest.mark.parametrize(
    ("event", "line"),
    [
        (be.TrunkRefused("n", "no"), 'branch_provider_operations_err_count{branch_provider_operation="init_trunk"} 1'),
        (be.TrunkRefused("n", "no"), 'trunk_eni_operations_err_count{operation="init_trunk"} 1'),
        (be.BranchMade("n", "u", 1, Branch("eni-1")), 'branch_eni_opeartions_success_count{operation="create"} 1'),
        (be.BranchMade("n", "u", 1, None, "no"), 'branch_eni_opeartions_failure_count{operation="create"} 1'),
        (be.BranchGone("n", "eni-1"), 'branch_eni_opeartions_success_count{operation="delete"} 1'),
        (be.BranchKept("n", "eni-1", "no"), 'branch_eni_opeartions_failure_count{operation="delete"} 1'),
        (be.BranchKept("n", "eni-1", "no", True), "node_termination_eni_cleanup_failures_total 1"),
        (
            be.TrunkOpened("n", TrunkFacts("c5.large", unreconciled=("subnet",))),
            'unreconciled_trunk_network_interfaces{attribute="subnet"} 1',
        ),
    ],
)  # fmt: skip
def test_operations_on_branches_are_counted(event: be.BranchEvent, line: str) -> None:
    """As records tell of them."""
    metrics = ControllerMetrics(State, Figures)
    metrics.on_record(Record(FORMAT, 1, 0, "controller", be.BranchDue(), (event,)))

    assert line in metrics.render().decode().splitlines()


@pytest.mark.spec("WIN-134")
def test_the_checks_have_upstreams_names() -> None:
    """In upstream's order, each once."""
    named = "root-manager-ping resource-manager branch-provider ipv4-provider ipv4-prefix-provider node-manager"
    named += " pod-controller custom-pod-controller node-controller cm-controller deploy-controller"
    named += " introspect-controller pod-mutating-webhook annotation-validating-webhook node-validating-webhook"

    assert list(CHECKS) == [f"health-{name}" for name in (*named.split(), "interface-cleaner")]
