"""State as tables: what is counted, in which order, and the checkpoint document."""

from __future__ import annotations

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core import views
from ipamd.core.calls import AssignPrivateIpAddresses
from ipamd.core.commands import AddNetwork
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND, CallId, Pod, Sandbox
from ipamd.core.work import Fill

from .world import Bench

PREFIXES = Settings(prefix_delegation=True, warm_prefix_target=1)


def mixed() -> Bench:
    """Two ENIs with three prefixes and one leftover address; six pods, of which one went; one ENI is excluded."""
    bench = Bench(PREFIXES)
    bench.eni("eni-0", 0, "10.0.0.16/28", "10.0.0.32/28", "10.0.0.9/32", primary=True)
    bench.eni("eni-1", 1, "10.0.0.48/28")
    for number in range(6):
        bench.granted(f"pod-{number}")
    bench.delete("pod-2")
    bench.record(ev.EniExcluded("eni-1", True))
    return bench


@pytest.mark.spec("DM-34")
def test_pool_counts_blocks_pods_and_what_cools() -> None:
    """Only blocks of the mode's kind on ENIs that are not excluded are addresses for pods."""
    bench = mixed()

    pool = views.pool(bench.state, bench.now)

    assert [(e.device, e.prefixes, e.ips, e.pods, e.excluded) for e in pool.enis] == [
        (0, 2, 1, 5, False), (1, 1, 0, 0, True),
    ]  # fmt: skip
    assert (pool.total_ips, pool.assigned, pool.unused, pool.cooling, pool.unused_prefixes) == (32, 5, 27, 1, 2)
    first = pool.enis[0].blocks[0]
    assert (first.cidr, first.prefix, first.size, first.pods, first.cooling) == ("10.0.0.16/28", True, 16, 5, 1)
    assert [eni.stays for eni in pool.enis] == ["primary", "young"]


@pytest.mark.spec("DM-8", "DM-28")
def test_cooling_ends_when_its_time_is_over() -> None:
    """30 s inclusive."""
    bench = mixed()

    (cooling,) = views.cooling(bench.state, bench.now)
    assert (cooling.address, cooling.until - cooling.released_at) == ("10.0.0.18", 30 * SECOND)
    assert len(views.cooling(bench.state, cooling.until)) == 1
    assert views.cooling(bench.state, cooling.until + 1) == []
    assert views.pool(bench.state, cooling.until + 1).cooling == 0


def test_pods_stand_by_device_block_and_address() -> None:
    """Not in the order in which they came."""
    bench = mixed()
    bench.wait(31)
    bench.granted("late")

    pods = views.pods(bench.state)

    assert [(pod.name, pod.address) for pod in pods] == [
        ("pod-0", "10.0.0.16"), ("pod-1", "10.0.0.17"), ("late", "10.0.0.18"), ("pod-3", "10.0.0.19"),
        ("pod-4", "10.0.0.20"), ("pod-5", "10.0.0.21"),
    ]  # fmt: skip
    assert (pods[2].eni, pods[2].block, pods[2].assigned_at) == ("eni-0", "10.0.0.16/28", bench.now)


def test_loop_tells_what_is_wanted_in_flight_and_why() -> None:
    """Idle: what the next update would call for; at work: the step and its call."""
    bench = Bench(PREFIXES)
    bench.eni("eni-0", 0, primary=True)

    idle = views.loop(bench.state, bench.now)
    assert (idle.work, idle.wanted, idle.calls) == ("", ("AssignPrivateIpAddresses",), ())
    assert idle.why[0]["short"] == 1

    call = AssignPrivateIpAddresses("eni-0", prefixes=1)
    bench.record(ev.WorkMoved(Fill(("eni-0",), 1, "idle")), ev.CallStarted(CallId(1), call))
    busy = views.loop(bench.state, bench.now)
    assert (busy.work, busy.step, busy.wanted) == ("Fill", "assign", ())
    assert [(c.call_id, c.call, c.lane, c.started_at) for c in busy.calls] == [
        (1, "AssignPrivateIpAddresses", "pool", bench.now)
    ]
    assert [due.lane for due in busy.next] == ["watch", "leaks"]


def test_trouble_is_named_with_its_code() -> None:
    """The last thing that kept the pool from growing."""
    bench = Bench(PREFIXES)
    assert views.loop(bench.state, bench.now).trouble == ""

    bench.record(ev.SubnetExhausted("InsufficientCidrBlocks"))

    assert views.loop(bench.state, bench.now).trouble == "assign InsufficientCidrBlocks"


@pytest.mark.spec("DM-58", "DM-59")
def test_checkpoint_has_upstreams_shape() -> None:
    """Exact keys in their order; empty metadata is an empty object; no free or cooling address."""
    bench = mixed()
    bench.tell(AddNetwork(Sandbox("aws-cni", "bare", "eth0"), Pod()))

    document = msgspec.json.decode(msgspec.json.encode(views.checkpoint(bench.state)))

    assert document["version"] == "vpc-cni-ipam/1"
    assert document["allocations"][0] == {
        "networkName": "net0",
        "containerID": "pod-0",
        "ifName": "eth0",
        "ipv4": "10.0.0.16",
        "allocationTimestamp": bench.now,
        "metadata": {"k8sPodNamespace": "default", "k8sPodName": "pod-0", "interfacesCount": 1},
    }
    assert [(a["ipv4"], a["metadata"]) for a in document["allocations"] if a["containerID"] == "bare"] == [
        ("10.0.0.22", {})
    ]
    assert "10.0.0.18" not in {allocation["ipv4"] for allocation in document["allocations"]}


@pytest.mark.spec("DM-58")
def test_checkpoint_of_an_empty_store_has_an_empty_list() -> None:
    """`allocations` is there also when nothing is held, and another card's store is another document."""
    empty = b'{"version":"vpc-cni-ipam/1","allocations":[]}'

    assert msgspec.json.encode(views.checkpoint(Bench().state)) == empty
    assert msgspec.json.encode(views.checkpoint(mixed().state, card=1)) == empty
