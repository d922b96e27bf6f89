"""The driver in virtual time: order, latency, restarts, repeatability, and that its records can be lived again."""

from __future__ import annotations

import msgspec
import pytest

from ipamd.core import invariants, snapshot
from ipamd.core.calls import AssignPrivateIpAddresses, Succeeded
from ipamd.core.commands import AddNetwork, Assigned
from ipamd.core.events import CallEnded, CallStarted, Record
from ipamd.core.settings import Quirks, Settings
from ipamd.core.state import State
from ipamd.core.types import SECOND, Pod, Sandbox
from ipamd.ec2.latency import Profile
from ipamd.sim.engine import EPOCH, Crashed, Engine
from ipamd.sim.past import relive
from ipamd.sim.scenario import Scenario, add, live, node, sandbox
from ipamd.sim.settle import settle

PREFIXES = Settings(prefix_delegation=True, warm_prefix_target=1)
STRICT = Quirks(**{name: True for name in Quirks.__struct_fields__})


def recorded(scenario: Scenario) -> tuple[Engine, list[Record]]:
    records: list[Record] = []
    return node(scenario, records.append), records


def test_nothing_happens_before_the_start() -> None:
    """Time passes, the agenda of a new State is empty."""
    engine, records = recorded(Scenario("t3.small", PREFIXES))

    engine.advance(EPOCH + 60 * SECOND)

    assert (records, engine.now, engine.next_moment()) == ([], EPOCH + 60 * SECOND, None)


def test_a_call_takes_effect_half_way_between_request_and_answer() -> None:
    """A crash between effect and answer is possible: EC2 has the prefix while its call is still in flight."""
    engine, records = recorded(Scenario("t3.small", PREFIXES, latency="realistic"))
    engine.start()
    primary = engine.vpc.enis[engine.node.primary_eni].eni
    while not any(isinstance(r.call, AssignPrivateIpAddresses) for r in engine.state.calls.values()):
        engine.step()
    assert engine.vpc.enis[primary].prefixes == ()

    engine.step()

    assert len(engine.vpc.enis[primary].prefixes) == 1
    assert len(engine.state.calls) == 1
    engine.step()
    assert engine.state.calls == {}
    assert len(engine.state.enis[primary].blocks) == 1
    assert records[-1].at > records[-2].at


def test_every_call_ends_once_and_after_its_start() -> None:
    """Settle exactly once: starts and ends pair up in order of time."""
    engine, records = recorded(Scenario("t3.small", Settings(), pods=9, delete=9, latency="realistic"))

    live(Scenario("t3.small", Settings(), pods=9, delete=9, latency="realistic"), engine)

    events = [event for record in records for event in record.events]
    started = [event.call_id for event in events if isinstance(event, CallStarted)]
    ended = [event.call_id for event in events if isinstance(event, CallEnded)]
    assert started == sorted(set(started))
    assert sorted(ended) == started


def test_what_was_in_flight_at_a_restart_answers_nobody() -> None:
    """Start ends the call as lost and its late answer is not heard; the effect comes after node init has looked, so
    the next reconcile finds it."""
    engine, records = recorded(Scenario("t3.small", PREFIXES, latency="realistic"))
    engine.start()
    settle(engine)
    add(engine, 0)
    while not engine.state.calls:
        engine.step()
    lost = next(iter(engine.state.calls))

    engine.start()
    assert settle(engine, 70 * SECOND)

    ends = [e for record in records for e in record.events if isinstance(e, CallEnded) and e.call_id == lost]
    assert [end.ended for end in ends] == ["lost"]
    held = {eni.eni: set(eni.blocks) for eni in engine.state.enis.values()}
    assert held == {row.eni: set(row.prefixes) for row in engine.vpc.enis.values()}
    assert len(engine.state.stores[0].owners) == 1


def test_a_fatal_step_of_node_init_ends_the_process() -> None:
    """InitFailed is recorded first; then the engine says at which step it crashed."""
    engine, records = recorded(Scenario("t3.small", PREFIXES))
    engine.vpc.faults.fail_next("DescribeNetworkInterfaces", "UnauthorizedOperation", "denied", times=-1)

    engine.start()
    with pytest.raises(Crashed, match="at describe: UnauthorizedOperation"):
        settle(engine)

    assert type(records[-1].events[-1]).__name__ == "InitFailed"


def test_host_calls_have_outcomes_of_their_own() -> None:
    """The host port is a function of the call; by default all of it succeeds at once."""
    seen: list[str] = []
    scenario = Scenario("t3.small", Settings())
    plain = node(scenario)

    def host(call: object) -> Succeeded:
        seen.append(type(call).__name__)
        return Succeeded()

    engine = Engine(plain.vpc, scenario.settings, plain.node, host=host)
    engine.start()
    settle(engine)
    add(engine, 0)
    settle(engine)

    assert seen == ["SetUpHost", "SetUpEni"]


def test_one_seed_is_one_history() -> None:
    """The same scenario gives the same records, byte for byte; another seed gives other instants and names."""
    histories = []
    for seed in (5, 5, 6):
        scenario = Scenario("t3.small", PREFIXES, pods=40, delete=20, latency="realistic", seed=seed)
        engine, records = recorded(scenario)
        live(scenario, engine)
        histories.append(records)

    assert histories[0] == histories[1]
    assert histories[0] != histories[2]


def test_another_setting_does_not_change_who_goes() -> None:
    """The workload has a random stream of its own: only EC2 knows that the targets differ."""
    left = []
    for settings in (PREFIXES, Settings(prefix_delegation=True, warm_ip_target=3)):
        scenario = Scenario("t3.small", settings, pods=30, delete=12)
        engine = node(scenario)
        live(scenario, engine)
        left.append(engine.state.stores[0].owners.keys())

    assert left[0] == left[1]
    assert len(left[0]) == 18


@pytest.mark.parametrize("quirks", [Quirks(), STRICT], ids=["ours", "strict"])
@pytest.mark.parametrize("latency", ["none", "realistic"])
@pytest.mark.parametrize(
    "settings",
    [Settings(), Settings(warm_ip_target=2, minimum_ip_target=5), PREFIXES, Settings(prefix_delegation=True)],
    ids=["eni", "ip", "prefix", "flapping"],
)
def test_a_life_can_be_lived_again(settings: Settings, latency: Profile, quirks: Quirks) -> None:
    """Every cause decided again gives the recorded events, and the fold of the records is the live State."""
    chosen = msgspec.structs.replace(settings, quirks=quirks)
    scenario = Scenario("t3.small", chosen, pods=12, delete=8, latency=latency)
    engine, records = recorded(scenario)
    live(scenario, engine)
    engine.start(2)
    settle(engine)
    again = State()

    found = relive(records, again, len(records))

    assert (found.records, found.divergence) == (len(records), None)
    assert snapshot.encode(again) == snapshot.encode(engine.state)
    invariants.check(again)


@pytest.mark.spec("DM-30")
def test_a_repeated_add_makes_no_record() -> None:
    """DM-30 in the driver: the answer says so, the journal does not grow."""
    engine, records = recorded(Scenario("t3.small", PREFIXES))
    engine.start()
    settle(engine)
    first = engine.submit(AddNetwork(sandbox(0), Pod("default", "pod-0", 1)))
    count = len(records)

    second = engine.submit(AddNetwork(sandbox(0), Pod("default", "pod-0", 1)))

    assert isinstance(first, Assigned) and isinstance(second, Assigned)
    assert (second.address, second.repeated, len(records)) == (first.address, True, count)
    other = engine.submit(AddNetwork(Sandbox("aws-cni", "x", "eth0")))
    assert isinstance(other, Assigned) and other.address != first.address
