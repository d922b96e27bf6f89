"""Nodes: which are managed, what they advertise, what a change of the ConfigMap does to them."""

from __future__ import annotations

import pytest

from ipamd.core import windows_events as we
from ipamd.core.calls import Succeeded
from ipamd.core.cluster_calls import InstanceFacts, InterfaceFacts
from ipamd.core.commands import Settle
from ipamd.core.events import CallStarted
from ipamd.core.windows_commands import NodeSeen
from ipamd.sim.windows_engine import node_seen_again
from ipamd.sim.windows_node import NODE, settled, windows_cluster

from .pools import ROOMY, keys
from .seeing import events, reasons, told
from .test_jobs import cluster, the_pool


@pytest.mark.spec("WIN-24", "WIN-25", "WIN-26")
@pytest.mark.parametrize(
    ("seen", "phase"),
    [
        (NodeSeen("n", "i-1", "windows"), "init"),
        (NodeSeen("n", "i-1", "linux"), "unmanaged"),
        (NodeSeen("n", "i-1", "linux", trunk=True), "init"),
        (NodeSeen("n", "", "windows"), "unmanaged"),
        (NodeSeen("n", "i-1", ""), "unmanaged"),
        (NodeSeen("n", "i-1", "windows", auto=True), None),
    ],
)
def test_which_nodes_are_managed(seen: NodeSeen, phase: str | None) -> None:
    """Windows with IPAM on, or a trunk; an instance id and an OS are needed; auto mode nodes are left alone."""
    engine = windows_cluster("10.0.0.0/16")
    engine.configure(keys())
    told(engine, seen, CallStarted)
    known = engine.state.windows.nodes.get("n")

    assert (known.phase if known is not None else None) == phase


@pytest.mark.spec("WIN-28", "WIN-31", "WIN-40", "WIN-44", "V-93")
def test_a_node_is_initialised_once_and_its_capacity_kept_right() -> None:
    """One notice, one read of the instance; a capacity that was zeroed is written again."""
    engine, _ = cluster(keys(True))
    node_seen_again(engine, NODE)
    assert (engine.requests["DescribeInstances"], len(reasons(engine, "ControllerVersionNotice"))) == (1, 1)
    assert engine.objects.nodes[NODE].capacity == 224

    engine.objects.nodes[NODE].capacity = 0
    node_seen_again(engine, NODE)
    engine.idle()

    assert engine.objects.nodes[NODE].capacity == 224


@pytest.mark.spec("V-88", "V-92", "WIN-33", "WIN-44")
def test_a_type_without_limits_is_unsupported() -> None:
    """Init fails, the node is forgotten, and the event names the type."""
    engine = windows_cluster("10.0.0.0/16")
    engine.configure(keys())
    (started,) = told(engine, NodeSeen("n", "i-1", "windows"), CallStarted)
    facts = InstanceFacts("zz.large", "10.0.0.0/16", (InterfaceFacts("eni-1"),))
    (event,) = told(engine, Settle(started.call_id, Succeeded(facts)), we.Announced)

    assert (event.reason, event.warning, "zz.large" in event.message) == ("Unsupported", True, True)
    assert not engine.state.windows.nodes


@pytest.mark.spec("WIN-31", "WIN-34", "V-105")
def test_an_instance_that_cannot_be_read_is_tried_at_the_node_s_next_event() -> None:
    """It is forgotten meanwhile, and neither pool is left."""
    engine = windows_cluster("10.0.0.0/16")
    engine.configure(keys())
    engine.vpc.faults.fail_next("DescribeInstances", "InternalError")
    engine.join(NODE, ROOMY)
    engine.idle()
    assert NODE not in engine.state.windows.nodes
    assert (engine.state.windows.pool(NODE, "secondary"), engine.state.windows.pool(NODE, "prefix")) == (None, None)

    node_seen_again(engine, NODE)
    engine.idle()
    assert engine.state.windows.nodes[NODE].phase == "ready"


@pytest.mark.spec("V-92", "WIN-35", "WIN-44", "V-99", "V-94")
def test_a_type_on_xen_stays_in_secondary_mode() -> None:
    """With prefix delegation on it is announced as unsupported, and its pods get secondary addresses."""
    engine, _ = cluster(keys(True), "m4.large")
    (pod,) = engine.add_pods(1, NODE)
    engine.settle()

    assert pod.annotation.endswith("/16")
    assert settled(engine).capacity == 9
    assert "m4.large is not supported for Windows prefix delegation" in reasons(engine, "Unsupported")[0].message


@pytest.mark.spec("V-104", "WIN-31")
def test_a_throttled_init_forgets_the_node() -> None:
    """The next event of the node tries again; what was waiting is served then."""
    engine = windows_cluster("10.0.0.0/16")
    engine.configure(keys())
    engine.vpc.faults.fail_next("DescribeInstances", "RequestLimitExceeded")
    engine.join(NODE, ROOMY)
    (pod,) = engine.add_pods(1, NODE)
    engine.idle()
    assert (NODE in engine.state.windows.nodes, pod.annotation) == (False, "")

    node_seen_again(engine, NODE)
    engine.settle()
    assert pod.annotation


@pytest.mark.spec("WIN-30")
def test_a_node_that_goes_is_forgotten_without_a_request() -> None:
    """Its pools go from memory, nothing is unassigned."""
    engine, _ = cluster(keys())
    engine.leave(NODE, instance_too=False)

    assert NODE not in engine.state.windows.nodes
    assert engine.requests["UnassignPrivateIpAddresses"] == 0


@pytest.mark.spec("V-101", "WIN-102", "V-102", "WIN-18", "WIN-20", "WIN-21")
def test_a_changed_target_reaches_every_node_at_once() -> None:
    """No restart; data that says the same changes nothing."""
    engine, records = cluster(keys())
    engine.configure(keys(warm_ip=5, minimum_ip=0))
    engine.idle()
    count = len(records)
    engine.configure(keys(warm_ip=5, minimum_ip=0))

    assert (len(the_pool(engine).home), len(records)) == (5, count)
    engine.configure(keys(warm_ip=5, minimum_ip=0) | {"branch-eni-cooldown": "90"})
    assert not events(records[count:], we.PoolConfigured)


@pytest.mark.spec("V-119", "WIN-29", "WIN-20", "WIN-43")
def test_ipam_off_and_on_while_pods_run() -> None:
    """Off: EC2 and the capacity stay as they are, deletes change nothing. On: the addresses are spare at once."""
    engine, _ = cluster(keys())
    pods = engine.add_pods(5, NODE)
    engine.settle()
    engine.configure(keys() | {"enable-windows-ipam": "false"})
    engine.delete_pods(pods)
    engine.settle()
    instance = engine.objects.nodes[NODE].instance
    (eni,) = engine.vpc.attached[instance]

    assert len(engine.vpc.enis[eni].addresses) - 1 == 8
    assert engine.objects.nodes[NODE].capacity == 14
    engine.configure(keys())
    engine.idle()
    found = settled(engine)
    assert (found.ips, found.warm, found.cooling) == (3, 3, 0)
