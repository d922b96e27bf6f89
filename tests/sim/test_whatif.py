"""What if: exact where it can be, near where it cannot, and it says what it assumes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from ipamd.core import invariants, snapshot
from ipamd.core.commands import AddNetwork, Assigned, DelNetwork, Refused, Start
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND, Pod, Sandbox
from ipamd.ec2.latency import Profile
from ipamd.journal.journal import Journal
from ipamd.journal.reading import read
from ipamd.sim.kubelet import RETRY, Arrivals
from ipamd.sim.past import fold_to
from ipamd.sim.relive import Branch, Change, recall
from ipamd.sim.scenario import Scenario, live, node
from ipamd.sim.settle import settle
from ipamd.sim.whatif import WrongChange, what_if

from .lives import live_at_random

PREFIXES = Settings(prefix_delegation=True, warm_prefix_target=1)


def recorded(where: Path, scenario: Scenario) -> Path:
    journal = Journal.open(where, sync=False)
    live(scenario, node(scenario, journal.stage))
    journal.close()
    return where


@pytest.mark.parametrize("seed", range(25))
def test_under_recorded_settings_and_outcomes_the_pool_is_the_recorded_one(seed: int, tmp_path: Path) -> None:
    """Random lives with bursts, failures and restarts: every cause decided anew ends in the same State, to the byte."""
    told = live_at_random(tmp_path / "j", seed)

    found = what_if(told.journal, Change())

    assert found.document.lived_from == 0
    assert snapshot.encode(found.end) == told.state == snapshot.encode(fold_to(told.journal))
    assert found.document.variant == found.document.baseline
    assert found.document.assumed[0].startswith("nothing")


@pytest.mark.parametrize("latency", ["none", "realistic"])
@pytest.mark.parametrize("mode", [Settings(), Settings(warm_ip_target=3), PREFIXES])
def test_the_model_cloud_in_calm_weather_gives_the_recorded_pool(
    mode: Settings, latency: Profile, tmp_path: Path
) -> None:
    """Lived on its own from the first record, nothing changed: the same pods, the same ENIs, the same EC2 calls."""
    scenario = Scenario("m5.large", mode, pods=20, delete=8, latency=latency, seed=3)
    path = recorded(tmp_path / "j", scenario)

    found = what_if(path, Change(retry=RETRY)).document

    assert found.lived_from == 1
    assert found.variant.enis == found.baseline.enis
    assert found.variant.assigned == found.baseline.assigned
    assert found.variant.ec2_calls == found.baseline.ec2_calls
    assert found.variant.address_hours == pytest.approx(found.baseline.address_hours, rel=0.01)


@pytest.mark.parametrize("seed", range(8))
def test_a_variant_keeps_every_invariant(seed: int, tmp_path: Path) -> None:
    """Other targets, in foul weather, with restarts: the core's own invariants hold at the end."""
    told = live_at_random(tmp_path / "j", seed)

    found = what_if(told.journal, Change(settings={"warm_ip_target": 6, "warm_eni_target": 0, "ip_cooldown_period": 1}))

    invariants.check(found.end)
    assert found.document.variant.arrivals <= found.document.baseline.arrivals + found.document.baseline.unserved


def test_fewer_warm_addresses_waste_fewer_address_hours(tmp_path: Path) -> None:
    """The figures of the table move the way the targets say."""
    path = recorded(tmp_path / "j", Scenario("m5.xlarge", Settings(), pods=6, latency="realistic"))

    found = what_if(path, Change(settings={"warm_ip_target": 1, "minimum_ip_target": 2})).document

    assert found.variant.wasted_address_hours < found.baseline.wasted_address_hours / 2
    assert found.variant.ec2_calls["AssignPrivateIpAddresses"] > found.baseline.ec2_calls.get(
        "AssignPrivateIpAddresses", 0
    )
    assert found.variant.assigned == found.baseline.assigned == 6
    assert any("typical" in line or "nearest" in line for line in found.assumed)


def test_another_type_and_an_empty_subnet(tmp_path: Path) -> None:
    """The node begins with its primary ENI in the subnet; the type's limits hold."""
    path = recorded(tmp_path / "j", Scenario("t3.small", Settings(), pods=12))
    change = Change(node={"instance_type": "m5.xlarge", "enis_max": 4, "ips_per_eni": 15}, subnet="10.9.0.0/24")

    found = what_if(path, change)

    assert found.document.baseline.unserved == 3
    assert found.document.variant.unserved == 0
    assert all(eni.primary_ip.startswith("10.9.0.") for eni in found.end.enis.values())
    assert "the subnet 10.9.0.0/24 is empty but for this node" in found.document.assumed


def test_a_dropped_pod_never_came(tmp_path: Path) -> None:
    """`--drop` of an ADD: up to that record all is as recorded, after it the pod is not there."""
    path = recorded(tmp_path / "j", Scenario("m5.large", Settings(), pods=5))
    third = [r.seq for r in read(path) if isinstance(r.cause, AddNetwork)][2]

    found = what_if(path, Change(dropped=frozenset({third})))

    assert found.document.lived_from == third
    assert (found.document.baseline.assigned, found.document.variant.assigned) == (5, 4)
    assert found.document.variant.arrivals == 4


def test_a_dropped_restart_did_not_interrupt(tmp_path: Path) -> None:
    """The daemon lived on: no second node init."""
    told = live_at_random(tmp_path / "j", 3)
    starts = [r.seq for r in read(told.journal) if isinstance(r.cause, Start)]
    assert len(starts) > 1

    found = what_if(told.journal, Change(dropped=frozenset(starts[1:])))

    assert found.document.lived_from == starts[1]
    assert found.end.started_at == next(read(told.journal)).at


@pytest.mark.parametrize(
    "change, said",
    [
        (Change(dropped=frozenset({1})), "without its first Start"),
        (Change(dropped=frozenset({2})), "want one of AddNetwork, DelNetwork, Start, Terminate"),
        (Change(dropped=frozenset({10**6})), "want a record from 1 to"),
    ],
)
def test_what_cannot_be_left_out_is_refused(change: Change, said: str, tmp_path: Path) -> None:
    """Only what others did can be taken away, not what the machine did."""
    path = recorded(tmp_path / "j", Scenario("m5.large", Settings(), pods=1))

    with pytest.raises(WrongChange, match=said):
        what_if(path, change)


def test_tries_of_one_pod_up_to_its_grant_are_one_arrival(tmp_path: Path) -> None:
    """A new sandbox a try, DELs of the failed ones between; after the granted one's DEL the same name is another."""
    journal = Journal.open(tmp_path / "j", sync=False)
    engine = node(Scenario("t3.small", Settings(max_eni=1)), journal.stage)
    engine.start(1)
    settle(engine)
    for number in range(3):
        assert isinstance(engine.submit(AddNetwork(box(f"other-{number}"), Pod("d", f"other-{number}", 1))), Assigned)
    for attempt in range(3):
        assert isinstance(engine.submit(AddNetwork(box(f"web-{attempt}"), Pod("d", "web", 1))), Refused)
        engine.submit(DelNetwork(box(f"web-{attempt}"), "sandbox failed"))
        engine.advance(engine.now + RETRY)
    engine.submit(DelNetwork(box("other-0"), "PodDeleted"))
    engine.advance(engine.now + 40 * SECOND)
    assert isinstance(engine.submit(AddNetwork(box("web-3"), Pod("d", "web", 1))), Assigned)
    engine.submit(DelNetwork(box("web-3"), "PodDeleted"))
    engine.advance(engine.now + 40 * SECOND)
    assert isinstance(engine.submit(AddNetwork(box("web-4"), Pod("d", "web", 1))), Assigned)
    journal.close()
    arrivals = Arrivals()

    for record in read(tmp_path / "j"):
        arrivals.hear(record)

    web = [arrival for arrival in arrivals.all if arrival.pod.name == "web"]
    assert [(len(a.tries), a.reasons) for a in web] == [(4, ["eni_limit"] * 3), (1, [])]
    assert [a.wait for a in web] == [3 * RETRY + 40 * SECOND, 0]
    assert what_if(tmp_path / "j", Change()).document.baseline.wait_max_seconds == 70


def box(container: str) -> Sandbox:
    return Sandbox("aws-cni", container, "eth0")


def test_recorded_weather_holds_for_whoever_asks_then(tmp_path: Path) -> None:
    """EC2 throttled for a while: a variant that asks in that span is throttled too, unless the change says calm."""
    journal = Journal.open(tmp_path / "j", sync=False)
    engine = node(Scenario("m5.large", Settings(warm_ip_target=1), latency="realistic"), journal.stage)
    engine.start(1)
    settle(engine)
    engine.vpc.faults.fail_next("AssignPrivateIpAddresses", "RequestLimitExceeded", times=8)
    for number in range(3):
        engine.submit(AddNetwork(box(f"p{number}"), Pod("d", f"p{number}", 1)))
        engine.advance(engine.now + 2 * SECOND)
    settle(engine)
    engine.submit(AddNetwork(box("late"), Pod("d", "late", 1)))
    settle(engine)
    journal.close()
    past = recall(tmp_path / "j")
    storm = past.facts.storms[0]
    assert (len(past.facts.storms), storm.action, storm.code) == (1, "AssignPrivateIpAddresses", "RequestLimitExceeded")

    foul = what_if(tmp_path / "j", Change(settings={"warm_ip_target": 2})).document.variant
    fair = Branch(past, snapshot.fork(past.begin_state), Change(calm=frozenset({"RequestLimitExceeded"})))
    fair.run(past.end_at)

    assert foul.refusals.get("throttled", 0) > 0
    assert [reason for _, _, reason in fair.refused if reason == "throttled"] == []


def test_the_json_has_the_pool_as_simulate_prints_it(tmp_path: Path) -> None:
    """Every member of `simulate --json` is in both halves."""
    path = recorded(tmp_path / "j", Scenario("m5.large", Settings(), pods=4))

    told = msgspec.to_builtins(what_if(path, Change(settings={"warm_ip_target": 4})).document)

    members = {"enis", "total_ips", "assigned", "unused", "unused_prefixes", "virtual_seconds", "ec2_calls", "settled",
               "refused", "refusals"}  # fmt: skip
    assert set(told) >= {"baseline", "variant", "assumed"}
    assert members <= set(told["baseline"]) and members <= set(told["variant"])
