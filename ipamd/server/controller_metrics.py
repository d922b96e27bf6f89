"""The controller's `/metrics`: upstream's names, types and labels in one table (WIN-130), and ours after them.

Upstream has no metric of how full a pool is; ours are named `ipamd_`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import Metric

from ipamd.core import branch_events as be
from ipamd.core import events as ev
from ipamd.core.calls import AssignPrivateIpAddresses, UnassignPrivateIpAddresses
from ipamd.core.pool_windows import figures
from ipamd.core.state import State

from .controller_pools import FROM_PREFIX, RESOURCES
from .exposition import Counters, Summary, gauge, render

ADDRESS: Final = "vpc.amazonaws.com/PrivateIPv4Address"
JOB_RESOURCES: Final[Mapping[str, str]] = {
    "secondary": ADDRESS,
    "prefix": FROM_PREFIX,
    "pod-eni": "vpc.amazonaws.com/pod-eni",
    "node": "node async workers",
}
"""Lane -> label `resource`."""
JOBS: Final = ("submitted", "completed", "failed", "resource_not_found")


class Action(NamedTuple):
    """How upstream names what it counts of one of EC2's actions: counter stem, its ending, label of the latency."""

    stem: str
    ending: str
    api: str


ACTIONS: Final[Mapping[str, Action]] = {
    "DescribeInstances": Action("ec2_describe_instances_api", "req", "describe_instances"),
    "CreateNetworkInterface": Action("ec2_create_network_interface_api", "req", "create_network_interface"),
    "CreateTags": Action("ec2_tag_network_interface_api", "req", "create_tags"),
    "AttachNetworkInterface": Action("ec2_attach_network_interface_api", "req", "attach_network_interface"),
    "DetachNetworkInterface": Action("ec2_detach_network_interface_api", "req", "detach_network_interface"),
    "DeleteNetworkInterface": Action("ec2_delete_network_interface_api", "req", "delete_network_interface"),
    "DescribeNetworkInterfaces": Action("ec2_describe_network_interface_api", "req", "describe_network_interface"),
    "AssignPrivateIpAddresses": Action("ec2_assign_private_ip_api", "req", "assign_private_ip"),
    "UnassignPrivateIpAddresses": Action("ec2_unassign_private_ip_api", "req", "unassign_private_ip"),
    "DescribeSubnets": Action("ec2_describe_subnets_api", "req", "describe_subnets"),
    "AssociateTrunkInterface": Action("ec2_associate_trunk_interface_api", "req", "associate_trunk_to_branch"),
    "DisassociateTrunkInterface": Action(
        "ec2_disassociate_trunk_interface_api", "req", "disassociate_branch_from_trunk"
    ),
    "DescribeTrunkInterfaceAssociations": Action(
        "ec2_describe_trunk_network_interface_association_api", "call", "describe_trunk_association"
    ),
    "ModifyNetworkInterfaceAttribute": Action(
        "ec2_modify_network_interface_attribute_api", "call", "modify_network_interface_attribute"
    ),
    "DescribeNetworkInterfacesPages": Action(
        "ec2_describe_network_interfaces_pages_api", "call", "describe_network_interfaces_pages"
    ),
}
PLAIN: Final[Mapping[str, str]] = {
    "get_pod_from_api_server_call_count": "Pods read from the API server itself",
    "get_pod_from_api_server_err_count": "Such reads that failed",
    "ec2_api_req_count": "Requests to EC2",
    "ec2_api_err_count": "Requests to EC2 that failed",
    "num_assigned_private_ip_address": "Addresses that were asked for",
    "num_assigned_ipv4_prefixes": "Prefixes that were asked for",
    "num_unassigned_private_ip_address": "Addresses that were to be given back",
    "num_unassigned_ipv4_prefixes": "Prefixes that were to be given back",
    "node_termination_eni_cleanup_failures_total": "Interfaces that were left when their node went",
}
LABELLED: Final[Mapping[str, tuple[str, str]]] = {
    "jobs_submitted_count": ("resource", "Jobs queued"),
    "jobs_completed_count": ("resource", "Jobs that succeeded"),
    "jobs_failed_count": ("resource", "Jobs that failed"),
    "jobs_resource_not_found_count": ("resource", "Jobs whose object had gone"),
    "advertise_resource_request_call_count": ("resource_name", "Capacity writes"),
    "advertise_resource_request_err_count": ("resource_name", "Capacity writes that failed"),
    "annotate_pod_request_call_count": ("annotate_key", "Annotation writes"),
    "annotate_pod_request_err_count": ("annotate_key", "Annotation writes that failed"),
    "branch_provider_operations_err_count": ("branch_provider_operation", "Failures of branch interfaces"),
    "trunk_eni_operations_err_count": ("operation", "Failures of trunk interfaces"),
    "unreconciled_trunk_network_interfaces": ("attribute", "Trunk interfaces that are not as they should be"),
    "branch_eni_opeartions_success_count": ("operation", "Operations on branch interfaces that succeeded"),
    "branch_eni_opeartions_failure_count": ("operation", "Operations on branch interfaces that failed"),
}
"""Counters with one label. Two names are misspelt upstream, and so here."""


class Figures(NamedTuple):
    """What is asked at a scrape."""

    leading: bool = False
    lag_seconds: float = 0.0
    recreated: int = 0
    """CNINodes made anew, and how often that failed."""
    recreate_failed: int = 0
    policies: int = 0
    """SecurityGroupPolicies."""


class ControllerMetrics:
    """Fed by records, requests, writes and jobs; `state` and `now` are asked at a scrape."""

    def __init__(self, state: Callable[[], State], now: Callable[[], Figures]) -> None:
        self._state = state
        self._now = now
        named = dict(PLAIN)
        for action, known in ACTIONS.items():
            named[f"{known.stem}_{known.ending}_count"] = f"{action} requests"
            named[f"{known.stem}_err_count"] = f"{action} requests that failed"
        self._counters = {name: Counters(name, text) for name, text in named.items()}
        for name, (label, text) in LABELLED.items():
            self._counters[name] = Counters(name, text, (label,))
        self._latency = Summary("aws_nw_call_latency", "Milliseconds that requests to EC2 took", ("api",))
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        GCCollector(registry=self._process)

    def on_ask(self, action: str, seconds: float, code: str) -> None:
        """One request to EC2; `code` is "" after a success."""
        self._count("ec2_api_req_count")
        if code:
            self._count("ec2_api_err_count")
        known = ACTIONS.get(action)
        if known is not None:
            self._count(f"{known.stem}_{known.ending}_count")
            if code:
                self._count(f"{known.stem}_err_count")
            self._latency.observe(seconds * 1000, known.api)

    def on_write(self, what: str, key: str, fine: bool) -> None:
        """One write to the API server: annotate or advertise; others are not counted."""
        stem = {"annotate": "annotate_pod_request", "advertise": "advertise_resource_request"}.get(what)
        if stem is not None:
            self._counters[f"{stem}_call_count"].add(key)
            if not fine:
                self._counters[f"{stem}_err_count"].add(key)

    def on_job(self, lane: str, what: str) -> None:
        """One job of a lane: submitted, completed, failed or missing."""
        resource = JOB_RESOURCES.get(lane)
        if resource is not None:
            name = "resource_not_found" if what == "missing" else what
            self._counters[f"jobs_{name}_count"].add(resource)

    def on_record(self, record: ev.Record) -> None:
        """WIN-130: these grow by what was asked for, also when the request fails."""
        for event in record.events:
            self._branch(event)
            if type(event) is not ev.CallStarted:
                continue
            call = event.call
            if isinstance(call, AssignPrivateIpAddresses):
                self._count("num_assigned_private_ip_address", call.secondary_ips)
                self._count("num_assigned_ipv4_prefixes", call.prefixes)
            elif isinstance(call, UnassignPrivateIpAddresses):
                self._count("num_unassigned_private_ip_address", len(call.addresses))
                self._count("num_unassigned_ipv4_prefixes", len(call.prefixes))

    def _branch(self, event: ev.Event) -> None:
        """Operations on trunks and branches, by how they ended."""
        failed = ""
        match event:
            case be.TrunkOpened():
                for attribute in event.facts.unreconciled:
                    self._counters["unreconciled_trunk_network_interfaces"].add(attribute)
            case be.TrunkRefused(again=True):
                failed = "init_trunk"
                self._counters["trunk_eni_operations_err_count"].add(failed)
            case be.BranchMade():
                failed = "create_branch_eni" if event.error else ""
                self._counters[f"branch_eni_opeartions_{'failure' if event.error else 'success'}_count"].add("create")
            case be.BranchGone():
                self._counters["branch_eni_opeartions_success_count"].add("delete")
            case be.BranchKept():
                self._counters["branch_eni_opeartions_failure_count"].add("delete")
                trunk = self._state().trunks.nodes.get(event.node)
                if event.leaked and (trunk is None or trunk.phase == "leaving"):
                    self._count("node_termination_eni_cleanup_failures_total")
            case _:
                return
        if failed:
            self._counters["branch_provider_operations_err_count"].add(failed)

    def _count(self, name: str, times: int = 1) -> None:
        self._counters[name].add(times=times)

    def render(self) -> bytes:
        """The text format."""
        return render(self._families())

    def _families(self) -> Iterator[Metric]:
        state = self._state()
        judged = state.windows.conditions
        yield gauge("windows_ipam_enabled", "Whether Windows IPAM is on", judged.ipam)
        yield gauge("windows_prefix_delegation_enabled", "Whether prefixes are delegated", judged.prefix_delegation)
        now = self._now()
        yield gauge("sgp_enabled", "Whether some SecurityGroupPolicy exists", now.policies > 0)
        controller, cni, leaked = state.trunks.found
        yield gauge("vpc_rc_created_available_eni_count", "Own interfaces that hang on nothing", controller)
        yield gauge("vpc_cni_created_available_eni_count", "Interfaces of the CNI that hang on nothing", cni)
        yield gauge("leaked_eni_count", "Of those, the ones deleted in the last round", leaked)
        for counter in self._counters.values():
            yield counter.metric()
        yield _single("recreate_cniNode_call_count", "CNINodes made anew because they had gone", now.recreated)
        yield _single("recreate_cniNode_err_count", "Such attempts that failed", now.recreate_failed)
        yield self._latency.metric()
        yield from self._ours(state, now)
        yield from self._process.collect()

    def _ours(self, state: State, now: Figures) -> Iterator[Metric]:
        cluster = state.windows
        yield gauge("ipamd_controller_leading", "Whether this replica acts", now.leading)
        yield gauge("ipamd_controller_nodes", "Nodes that are known", len(cluster.nodes))
        yield gauge("ipamd_controller_pods_waiting", "Pods that wait for an address", len(cluster.waiting))
        yield gauge("ipamd_controller_calls_in_flight", "Calls that have not come back", len(state.calls))
        yield gauge("ipamd_journal_lag_seconds", "Age of the oldest record not yet on disk", now.lag_seconds)
        pools = Metric("ipamd_controller_pool_addresses", "Addresses of all nodes, by resource and state", "gauge")
        for resource, kind in RESOURCES.items():
            totals = dict.fromkeys(("used", "warm", "cooling", "capacity"), 0)
            for node in cluster.nodes.values():
                if kind in node.pools:
                    seen = figures(node.pools[kind])
                    for name in totals:
                        totals[name] += getattr(seen, name)
            for name, value in totals.items():
                pools.add_sample(pools.name, {"resource": resource, "state": name}, value)
        yield pools


def _single(name: str, documentation: str, value: float) -> Metric:
    metric = Metric(name, documentation, "counter")
    metric.add_sample(name, {}, value)
    return metric
