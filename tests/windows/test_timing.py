"""When a pool acts and when it does not, who asks again and how late, and what it tells at Init."""

from __future__ import annotations

import pytest

from ipamd.core import windows_events as we
from ipamd.core.calls import AssignPrivateIpAddresses, Failed, Succeeded, UnassignPrivateIpAddresses
from ipamd.core.cluster_calls import AdvertiseCapacity, AnnotatePod
from ipamd.core.commands import Settle
from ipamd.core.events import CallStarted
from ipamd.core.types import MS, SECOND
from ipamd.core.windows_commands import ConfigSeen, NodeSeen
from ipamd.core.windows_views import shortfall
from ipamd.ec2.vpc import apply
from ipamd.server.controller_pools import resources_summary
from ipamd.sim.windows_node import NODE, settled, windows_cluster

from .pools import keys
from .seeing import events, told
from .test_jobs import asked, cluster, the_pool


@pytest.mark.spec("WIN-84", "WIN-85")
def test_a_job_that_succeeded_asks_for_no_other() -> None:
    """Ten pods at once at 3/3: each round of three is asked for by a pod that found the pool empty."""
    engine, records = cluster(keys())
    engine.add_pods(10, NODE)
    engine.settle()
    after = [
        record for record in records
        if isinstance(record.cause, Settle) and any(isinstance(e, we.GroupsGained) for e in record.events)
    ]  # fmt: skip

    assert len(after) >= 4
    assert not [e for record in after for e in record.events if isinstance(e, CallStarted)]
    assert settled(engine).warm == 3


@pytest.mark.spec("WIN-99", "WIN-127")
def test_ec2_is_asked_how_things_stand_only_after_a_failure() -> None:
    """An address taken away behind its back is not noticed for an hour; one failed job, and it is."""
    engine, _ = cluster(keys())
    (eni,) = engine.vpc.attached[engine.objects.nodes[NODE].instance]
    lost = engine.vpc.enis[eni].addresses[-1]
    instance = engine.objects.nodes[NODE].instance
    assert isinstance(apply(engine.vpc, UnassignPrivateIpAddresses(eni, (lost,)), engine.now, instance), Succeeded)
    before = engine.requests["DescribeInstances"]
    engine.advance(engine.now + 3600 * SECOND)
    assert engine.requests["DescribeInstances"] == before
    assert any(group.startswith(f"{lost}/") for group in the_pool(engine).warm)

    engine.vpc.faults.fail_next("AssignPrivateIpAddresses", "InternalError")
    engine.configure(keys(warm_ip=5))
    engine.settle()
    assert engine.requests["DescribeInstances"] == before + 1
    assert settled(engine).ips == 5


@pytest.mark.spec("WIN-79")
def test_addresses_of_a_prefix_are_given_out_in_order_and_come_back_last() -> None:
    """Ascending after the create; what has cooled is at the tail."""
    engine, _ = cluster(keys(True))
    pods = []
    for _ in range(3):
        pods += engine.add_pods(1, NODE)
        engine.idle()
    (prefix,) = the_pool(engine, "prefix").home
    base = prefix.partition("/")[0].rpartition(".")
    assert [pod.annotation for pod in pods] == [f"{base[0]}.{int(base[2]) + n}/32" for n in range(3)]

    first = pods[0].annotation
    engine.delete_pods(pods[:1])
    engine.settle()
    assert the_pool(engine, "prefix").warm[prefix][-1] == first


@pytest.mark.spec("WIN-58")
def test_a_pod_for_which_there_is_no_room_tries_for_ever_and_ever_later() -> None:
    """5 ms, doubled each time, never more than 1,000 s; another pod's end is noticed at the next try."""
    engine, records = cluster(keys(), "c5.large")
    engine.add_pods(9, NODE)
    engine.settle()
    count = len(records)
    (late,) = engine.add_pods(1, NODE)
    engine.advance(engine.now + 6000 * SECOND)
    waits = [
        e.due - record.at for record in records[count:] for e in record.events
        if isinstance(e, we.PodWaits) and e.uid == late.uid and e.why == "max capacity"
    ]  # fmt: skip

    assert waits[:5] == [5 * MS, 10 * MS, 20 * MS, 40 * MS, 80 * MS]
    assert len(waits) > 18 and set(waits[18:]) == {1000 * SECOND}
    engine.delete_pods(list(engine.objects.pods.values())[:1])
    engine.advance(engine.now + 1100 * SECOND)
    assert late.annotation


@pytest.mark.spec("WIN-64")
def test_no_job_where_there_is_nothing_to_do() -> None:
    """A pod that comes and goes within the targets leaves one call: its annotation."""
    engine, records = cluster(keys(True))
    count = len(records)
    (pod,) = engine.add_pods(1, NODE)
    engine.idle()
    engine.delete_pods([pod])
    engine.settle()

    assert [type(e.call) for e in events(records[count:], CallStarted)] == [AnnotatePod]


@pytest.mark.spec("WIN-42", "WIN-31")
def test_a_node_that_is_not_ready_advertises_nothing() -> None:
    """However often it is seen meanwhile."""
    engine = windows_cluster("10.0.0.0/16")
    engine.configure(keys())
    assert len(told(engine, NodeSeen("n", "i-1", "windows"), CallStarted)) == 1

    for capacity in (0, 7):
        calls = told(engine, NodeSeen("n", "i-1", "windows", capacity), CallStarted)
        assert not [call for call in calls if isinstance(call.call, AdvertiseCapacity)]
    assert told(engine, ConfigSeen(keys(warm_ip=9)), CallStarted) == []


@pytest.mark.spec("WIN-19", "V-103", "WIN-18")
def test_an_edit_and_what_follows_on_every_node_are_one_record() -> None:
    """No update can be lost between them, and one node's failed job does not keep the other from its targets."""
    engine, records = cluster(keys())
    engine.join("second", "c5.xlarge")
    engine.idle()
    count = len(records)
    engine.refuse = lambda call: (
        Failed("InternalError") if isinstance(call, AssignPrivateIpAddresses) and engine.now == edited else None
    )
    edited = engine.now
    engine.configure(keys(warm_ip=6))
    (edit,) = [record for record in records[count:] if isinstance(record.cause, ConfigSeen)]

    assert {e.node for e in edit.events if isinstance(e, we.PoolConfigured)} == {NODE, "second"}
    assert len(asked([edit], AssignPrivateIpAddresses)) == 2
    engine.settle()
    assert [len(engine.state.windows.nodes[name].pools["secondary"].home) for name in (NODE, "second")] == [6, 6]


@pytest.mark.spec("V-116", "WIN-133")
def test_the_summary_counts_emptied_keys_as_warm() -> None:
    """3/3 and one pod: one used, three spare, and the key that its address left behind."""
    engine, _ = cluster(keys())
    engine.add_pods(1, NODE)
    engine.settle()
    shown = resources_summary(engine.state)["vpc.amazonaws.com/PrivateIPv4Address"][NODE]

    assert settled(engine).warm == 3
    assert shown == {"UsedResourcesCount": 1, "WarmResourcesCount": 4, "CoolingResourcesCount": 0}


@pytest.mark.spec("WIN-120", "WIN-121")
@pytest.mark.parametrize(("before", "after", "room"), [(False, True, 4 * 16), (True, False, 13)])
def test_init_tells_what_leftovers_of_the_other_mode_cost(before: bool, after: bool, room: int) -> None:
    """t3.xlarge with ten pods of the other kind: advertised beside what is left, with the remedy."""
    engine, records = cluster(keys(before), "t3.xlarge")
    engine.add_pods(10, NODE)
    engine.settle()
    assert [shortfall(record.events) for record in records if shortfall(record.events)] == []
    engine.configure(keys(after))
    engine.settle()
    count = len(records)
    engine.start()
    engine.settle()
    (said,) = [text for record in records[count:] for text in shortfall(record.events)]

    assert f"advertises {224 if after else 14}" in said and f"room for {room}" in said and "new node" in said
