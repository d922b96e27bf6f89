"""Jobs of a pool: what a create, a delete or a re-sync leads to, and who is asked how often."""

from __future__ import annotations

import pytest

from ipamd.core import invariants
from ipamd.core import windows_events as we
from ipamd.core.calls import (
    AssignPrivateIpAddresses,
    Call,
    Ec2Eni,
    Failed,
    Granted,
    UnassignPrivateIpAddresses,
)
from ipamd.core.cluster_calls import InstanceFacts, InterfaceFacts, ReadInstance
from ipamd.core.events import CallStarted, Record
from ipamd.core.pool_windows import slots
from ipamd.core.settings import Quirks, windows_quirks
from ipamd.core.types import MS, SECOND
from ipamd.core.visibility import WAITS, visible
from ipamd.core.windows_config import DRAINING, Targets
from ipamd.core.windows_fold import build_pool, change_pool
from ipamd.core.windows_state import Pool
from ipamd.ec2.faults import Fault
from ipamd.ec2.latency import Latency
from ipamd.sim.windows_engine import WindowsEngine
from ipamd.sim.windows_node import NODE, windows_cluster

from .pools import NOW, OURS, ROOMY, keys, pool

SMALL = InstanceFacts(
    "t3.small",
    "10.0.0.0/16",
    (InterfaceFacts("eni-1", ("10.0.0.5",), ("10.0.1.0/28",)), InterfaceFacts("eni-2")),
    ips_per_eni=4,
    nitro=True,
)


def cluster(
    config: dict[str, str], instance_type: str = ROOMY, strict: str = "", latency: Latency | None = None
) -> tuple[WindowsEngine, list[Record]]:
    """One node, initialised, and the records so far and to come."""
    records: list[Record] = []
    quirks = windows_quirks(Quirks(**{strict: True} if strict else {}))
    engine = windows_cluster("10.0.0.0/16", quirks=quirks, latency=latency, sink=records.append)
    engine.configure(config)
    engine.join(NODE, instance_type)
    engine.idle()
    return engine, records


def the_pool(engine: WindowsEngine, kind: str = "secondary") -> Pool:
    """The node's pool, which is there."""
    found = engine.state.windows.pool(NODE, "prefix" if kind == "prefix" else "secondary")
    assert found is not None
    return found


def asked(records: list[Record], kind: type[Call]) -> list[Call]:
    """The calls of one kind, in order."""
    events = [event for record in records for event in record.events]
    return [event.call for event in events if isinstance(event, CallStarted) and type(event.call) is kind]


@pytest.mark.spec("V-24", "V-81", "WIN-96")
def test_what_a_create_brought_is_warm() -> None:
    """Targets of 2: one call for 2, both warm, masked, nothing pending and no reconcile."""
    engine, records = cluster(keys(warm_ip=2, minimum_ip=2))
    made = the_pool(engine)

    assert [len(made.warm), made.pending_create, made.resync] == [2, 0, False]
    assert all(group.endswith("/16") for group in made.warm)
    assert asked(records, AssignPrivateIpAddresses) == [AssignPrivateIpAddresses(made.home.popitem()[1], 2)]


@pytest.mark.spec("V-82", "WIN-106")
def test_prefixes_are_asked_for_in_one_call() -> None:
    """Two prefixes; they are kept as EC2 wrote them."""
    engine, records = cluster(keys(True, warm_prefix=2))

    (call,) = asked(records, AssignPrivateIpAddresses)
    assert isinstance(call, AssignPrivateIpAddresses) and (call.prefixes, call.secondary_ips) == (2, 0)
    assert all(group.endswith("/28") for group in the_pool(engine, "prefix").home)


@pytest.mark.spec("V-25", "V-30", "V-31", "WIN-97", "WIN-98")
def test_a_failed_create_leads_to_a_re_sync_at_once_and_another_try_at_the_tick() -> None:
    """The re-sync that fails too changes nothing and is tried again; then EC2's list is taken."""
    engine, records = cluster(keys())
    engine.vpc.faults.fail_next("AssignPrivateIpAddresses", "InternalError")
    engine.vpc.faults.fail_next("DescribeInstances", "InternalError")
    engine.add_pods(1, NODE)
    engine.idle()

    assert the_pool(engine).resync
    assert len(asked(records, ReadInstance)) == 2  # Init, then the re-sync that failed
    engine.advance(engine.now + 31 * SECOND)
    assert not the_pool(engine).resync
    assert len(asked(records, ReadInstance)) == 3
    engine.settle()
    assert len(the_pool(engine).warm) - 1 == 3, "three spare ones and the key of the one in use"


@pytest.mark.spec("V-83", "WIN-106")
def test_a_part_is_kept_and_the_rest_is_a_failure() -> None:
    """Three are wanted, EC2 grants one: it is warm, and the pool asks how things stand."""
    engine = windows_cluster("10.0.0.0/16")
    engine.configure(keys())
    engine.vpc.faults.add([Fault("AssignPrivateIpAddresses", at_most=1)])
    engine.join(NODE, ROOMY)
    engine.idle()

    assert len(the_pool(engine).warm) == 1
    assert engine.requests["DescribeInstances"] == 2
    engine.settle()
    assert len(the_pool(engine).warm) == 3


@pytest.mark.spec("V-84", "WIN-105", "WIN-118", "WIN-103")
def test_without_a_slot_ec2_is_not_asked() -> None:
    """t3.nano has one slot and a pod in it; after the switch no prefix fits, so nothing is asked and no ENI made."""
    engine, records = cluster(keys(), "t3.nano")
    engine.add_pods(1, NODE)
    engine.settle()
    before = len(asked(records, AssignPrivateIpAddresses))

    engine.configure(keys(True))
    engine.idle()

    assert len(asked(records, AssignPrivateIpAddresses)) == before
    assert [event.why for r in records for event in r.events if isinstance(event, we.ResyncWanted)] == [
        "no slots left for 1 of 1 prefixes"
    ]
    assert set(engine.requests) <= {
        "AssignPrivateIpAddresses", "UnassignPrivateIpAddresses", "DescribeInstances", "DescribeSubnets",
        "DescribeNetworkInterfaces",
    }  # fmt: skip


@pytest.mark.spec("V-26", "V-85", "V-87", "WIN-109")
def test_a_delete_names_all_its_groups_in_one_call() -> None:
    """Four spare addresses over a new target of one: one call with three, highest first; the ENI stays."""
    engine, records = cluster(keys(warm_ip=4, minimum_ip=0))
    engine.configure(keys(warm_ip=1, minimum_ip=0))
    engine.idle()

    (call,) = asked(records, UnassignPrivateIpAddresses)
    assert isinstance(call, UnassignPrivateIpAddresses)
    assert len(call.addresses) == 3 and not call.prefixes
    assert list(call.addresses) == sorted(call.addresses, reverse=True)
    assert (len(the_pool(engine).home), the_pool(engine).pending_delete) == (1, 0)


@pytest.mark.spec("V-27", "V-86", "WIN-96", "WIN-112")
@pytest.mark.parametrize("strict", ["", "windows_failed_delete_loses_mask"])
def test_what_could_not_be_deleted_is_warm_again(strict: str) -> None:
    """The pool re-syncs and tries again at the tick; upstream's addresses have lost their mask until then."""
    engine, _ = cluster(keys(warm_ip=4, minimum_ip=0), strict=strict)
    engine.vpc.faults.fail_next("UnassignPrivateIpAddresses", "InternalError")
    failed: list[list[str]] = []
    engine.refuse = lambda call: failed.append(list(the_pool(engine).warm)) if type(call) is ReadInstance else None
    engine.configure(keys(warm_ip=1, minimum_ip=0))
    engine.idle()

    bare = [group for group in failed[0] if "/" not in group]
    assert (len(failed[0]), len(bare)) == (4, 3 if strict else 0)
    engine.settle()
    assert len(the_pool(engine).warm) == 1
    assert all("/" in group for group in the_pool(engine).warm)


@pytest.mark.spec("V-29", "WIN-98")
def test_a_re_sync_adds_what_ec2_has_and_drops_what_it_has_not() -> None:
    """Used addresses are never touched; a group that is gone loses its key."""
    made = pool(warm=2, used=1)
    made.resync = True
    held = (we.Held("eni-1", "10.0.0.1/24"), we.Held("eni-1", "10.0.0.9/24"))

    change_pool(made, we.PoolResynced("n", "secondary", held), NOW)
    change_pool(made, we.PoolResynced("n", "secondary", held), NOW)

    assert list(made.warm) == ["10.0.0.1/24", "10.0.0.9/24"]
    assert (len(made.used), made.resync) == (1, False)


@pytest.mark.spec("V-80", "WIN-104", "WIN-105", "WIN-110")
def test_slots_left_on_each_interface() -> None:
    """t3.small, one address and one prefix on the first: 1 left there, 3 on the second. Upstream's other pool errs."""
    secondary = build_pool(
        we.PoolBuilt("n", "secondary", 3, Targets(3, 3), (we.Held("eni-1", "10.0.0.5/16"),)), SMALL, NOW
    )
    prefix = build_pool(we.PoolBuilt("n", "prefix", 48, DRAINING, (we.Held("eni-1", "10.0.1.0/28"),)), SMALL, NOW)
    strict = windows_quirks(Quirks(windows_separate_ledgers=True))

    assert [slots(secondary, prefix, eni, 4, OURS) for eni in ("eni-1", "eni-2")] == [1, 3]
    prefix.home.clear()
    assert [slots(secondary, prefix, "eni-1", 4, quirks) for quirks in (OURS, strict)] == [2, 1]


@pytest.mark.spec("V-89", "WIN-107")
def test_what_was_assigned_counts_once_it_is_visible() -> None:
    """First one of two, then both; no list at all ends the wait. Seven looks in 15.75 s."""
    granted = Granted(addresses=("10.0.0.5", "10.0.0.6"))
    one = Ec2Eni("eni-1", "", "subnet-1", "in-use", addresses=("10.0.0.4", "10.0.0.6"))
    both = Ec2Eni("eni-1", "", "subnet-1", "in-use", addresses=("10.0.0.4", "10.0.0.5", "10.0.0.6"))
    none = Ec2Eni("eni-1", "", "subnet-1", "in-use", addresses=("10.0.0.4",))

    assert visible(granted, one) == (Granted(addresses=("10.0.0.6",)), False)
    assert visible(granted, both) == (granted, True)
    assert visible(Granted(prefixes=("10.0.1.0/28",)), none) == (Granted(), True)
    assert (len(WAITS), sum(WAITS)) == (6, 15_750 * MS)


@pytest.mark.spec("WIN-45", "WIN-46", "V-117")
@pytest.mark.parametrize("strict", ["", "windows_insufficient_cidr_missed"])
def test_a_subnet_without_a_free_block(strict: str) -> None:
    """A node event about every 30 s, and a pod on exhausted prefixes asks every 600 ms; upstream tells nobody."""
    engine, _ = cluster(keys(True), strict=strict)
    engine.add_pods(15, NODE)
    engine.settle()
    engine.vpc.faults.fail_next("AssignPrivateIpAddresses", "InsufficientCidrBlocks", "none", 100_000)
    since = engine.now
    pods = engine.add_pods(2, NODE)
    engine.advance(engine.now + 100 * SECOND)

    events = [event for at, event in engine.announced if at >= since and event.reason == "InsufficientCidrBlocks"]
    refusals = [event for at, event in engine.announced if at >= since and event.uid == pods[1].uid]
    assert bool(events) != bool(strict)
    assert {event.message for event in events} <= {
        "InsufficientCidrBlocks: The specified subnet does not have enough free cidr blocks to satisfy the request"
    }
    assert len(refusals) > 100
    assert {"600ms" in event.message for event in refusals} == {True}
    invariants.check(engine.state)


@pytest.mark.spec("V-118", "WIN-47", "WIN-48")
@pytest.mark.parametrize(("strict", "first"), [("", "600ms"), ("windows_prefixes_unavailable_at_first", "2m0s")])
def test_a_node_without_any_prefix(strict: str, first: str) -> None:
    """Once EC2 said so a waiting pod is told two minutes. Upstream says it before anybody asked EC2."""
    engine = windows_cluster("10.0.0.0/16", quirks=windows_quirks(Quirks(**{strict: True} if strict else {})))
    engine.configure(keys(True))
    engine.vpc.faults.fail_next("AssignPrivateIpAddresses", "InsufficientCidrBlocks", "none", 100_000)
    held: list[Failed | None] = []

    def refuse(call: Call) -> Failed | None:
        if type(call) is AssignPrivateIpAddresses and not held:
            held.append(None)
            engine.add_pods(1, NODE)
        return None

    engine.refuse = refuse
    engine.join(NODE, ROOMY)
    engine.advance(engine.now + 10 * SECOND)
    told = [event.message for _, event in engine.announced if event.uid]

    assert first in told[0]
    assert "2m0s" in told[-1]
