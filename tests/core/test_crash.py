"""The process dies with a call in flight, of every kind, with its effect and without: nothing leaks, no pod moves."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core.calls import (
    AssignPrivateIpAddresses,
    AttachNetworkInterface,
    CreateNetworkInterface,
    CreateTags,
    DeleteNetworkInterface,
    DetachNetworkInterface,
    Ec2Call,
    ModifyNetworkInterfaceAttribute,
    UnassignPrivateIpAddresses,
)
from ipamd.core.commands import AddNetwork, Assigned
from ipamd.core.settings import Settings
from ipamd.core.snapshot import fork
from ipamd.ec2.vpc import apply

from .test_grow import SINGLE, full
from .test_shed import spare
from .world import Killed, Lab, facts, sandbox

Scene = Callable[[], tuple[Lab, Callable[[], object]]]
"""A node on the brink, and what pushes it over."""


def filling() -> tuple[Lab, Callable[[], object]]:
    lab = Lab(SINGLE).start().run(10)
    lab.pod("one")
    return lab, lambda: lab.run(10)


def growing() -> tuple[Lab, Callable[[], object]]:
    lab = full()
    lab.pod("new")
    return lab, lambda: lab.run(10)


def growing_in_vain() -> tuple[Lab, Callable[[], object]]:
    lab = full()
    lab.vpc.faults.fail_next("ModifyNetworkInterfaceAttribute", "InternalError")
    lab.pod("new")
    return lab, lambda: lab.run(30)


def trimming() -> tuple[Lab, Callable[[], object]]:
    lab = Lab(SINGLE).start().run(10)
    lab.pod("kept", 10)
    lab.pod("one", 10)
    lab.delete("one")
    return lab, lambda: lab.run(60)


def shedding() -> tuple[Lab, Callable[[], object]]:
    lab = spare()
    return lab, lambda: lab.run(100)


def starting() -> tuple[Lab, Callable[[], object]]:
    lab = Lab(SINGLE)
    return lab, lambda: lab.start().run(10)


def reconciling() -> tuple[Lab, Callable[[], object]]:
    lab = Lab(Settings(warm_eni_target=1), instance_type="c5.xlarge").start().run(100)
    lab.pod("one")
    lab.foreign(addresses=2)
    return lab, lambda: lab.run(100)


def regrouping() -> tuple[Lab, Callable[[], object]]:
    lab = Lab(SINGLE).start().run(10)
    row = lab.vpc.enis[lab.primary]
    lab.vpc.install((msgspec.structs.replace(row, security_groups=("sg-9",)),), lab.now)
    return lab, lambda: lab.run(60)


def switching() -> tuple[Lab, Callable[[], object]]:
    """Restarted in the other mode with a leftover prefix: unassigned at init."""
    lab = Lab(Settings(prefix_delegation=True, warm_prefix_target=2)).start().run(10)
    lab.pod("one", 5)
    return lab, lambda: lab.restart(settings=SINGLE).run(10)


def purging() -> tuple[Lab, Callable[[], object]]:
    """The last pod of a leftover prefix has left."""
    lab, restart = switching()
    restart()
    lab.delete("one")
    return lab, lambda: lab.run(100)


def dropping_orphans() -> tuple[Lab, Callable[[], object]]:
    """The second tenure deletes what the first one had just made."""
    lab, grow = growing()
    with_call_in_flight(lab, AttachNetworkInterface, grow)
    return lab, lambda: lab.restart().run(10)


SCENES: list[tuple[Scene, type[Ec2Call]]] = [
    (filling, AssignPrivateIpAddresses),
    (growing, CreateNetworkInterface),
    (growing, AttachNetworkInterface),
    (growing, ModifyNetworkInterfaceAttribute),
    (growing_in_vain, DetachNetworkInterface),
    (growing_in_vain, DeleteNetworkInterface),
    (trimming, UnassignPrivateIpAddresses),
    (shedding, DetachNetworkInterface),
    (shedding, DeleteNetworkInterface),
    (starting, CreateTags),
    (starting, ModifyNetworkInterfaceAttribute),
    (starting, AssignPrivateIpAddresses),
    (reconciling, CreateTags),
    (regrouping, ModifyNetworkInterfaceAttribute),
    (switching, UnassignPrivateIpAddresses),
    (purging, UnassignPrivateIpAddresses),
    (dropping_orphans, DeleteNetworkInterface),
]


def with_call_in_flight(lab: Lab, kind: type[Ec2Call], go: Callable[[], object]) -> Ec2Call:
    """Run until the intention to make such a call is on disk, and die there."""
    started: list[Ec2Call] = []

    def kill_at(record: ev.Record) -> bool:
        started.extend(e.call for e in record.events if isinstance(e, ev.CallStarted) and isinstance(e.call, kind))
        return bool(started)

    lab.kill_at = kill_at
    with pytest.raises(Killed):
        go()
    lab.kill_at = None
    return started[0]


def held(lab: Lab) -> dict[str, str]:
    """Address of each sandbox."""
    return {
        key.container: f"{block.cidr}+{offset}"
        for store in lab.state.stores.values()
        for key, (block, offset) in store.owners.items()
    }


@pytest.mark.spec("DM-64", "REC-5", "EC2-8")
@pytest.mark.parametrize("effect", [True, False])
@pytest.mark.parametrize(("scene", "kind"), SCENES, ids=[f"{s.__name__}-{k.__name__}" for s, k in SCENES])
def test_a_call_in_flight_when_the_process_died_leaves_nothing_behind(
    scene: Scene, kind: type[Ec2Call], effect: bool
) -> None:
    """Pods keep their addresses; ENIs and blocks of EC2 and of the store agree in the end."""
    lab, go = scene()
    call = with_call_in_flight(lab, kind, go)
    before = held(lab)
    if effect:
        apply(lab.vpc, call, lab.now)

    lab.vpc.faults.clear()
    lab.restart(seconds=1).run(400)

    assert held(lab) == before
    assert lab.leaks() == [] and lab.quiet()
    assert not lab.state.calls and not lab.state.purges


@pytest.mark.spec("DM-64")
@pytest.mark.parametrize(("scene", "kind"), SCENES, ids=[f"{s.__name__}-{k.__name__}" for s, k in SCENES])
def test_a_process_that_dies_at_every_start_recovers_in_the_end(scene: Scene, kind: type[Ec2Call]) -> None:
    """Three more deaths, each at the first call of its start."""
    lab, go = scene()
    with_call_in_flight(lab, kind, go)
    before = held(lab)
    lab.vpc.faults.clear()
    for seed in (2, 3, 4):
        lab.die()
        lab.kill_at = lambda record: any(isinstance(event, ev.CallStarted) for event in record.events)
        with pytest.raises(Killed):
            lab.start(seed)
    lab.kill_at = None
    lab.restart(seed=5).run(400)

    assert held(lab) == before
    assert lab.leaks() == [] and lab.quiet()


@pytest.mark.spec("EC2-7", "EC2-20", "EC2-21")
@pytest.mark.parametrize("effect", [True, False])
@pytest.mark.parametrize(("scene", "kind"), SCENES[:14], ids=[f"{s.__name__}-{k.__name__}" for s, k in SCENES[:14]])
def test_a_call_without_answer_leaves_nothing_behind(scene: Scene, kind: type[Ec2Call], effect: bool) -> None:
    """The same with a process that lives on and hears nothing."""
    lab, go = scene()
    before = held(lab)
    lab.vpc.faults.lose_next(kind.__name__, effect=effect)
    go()
    lab.run(400)

    assert lab.vpc.faults.rules == []
    assert held(lab) == before
    assert lab.leaks() == [] and lab.quiet()


@pytest.mark.spec("DM-64", "DM-59")
@pytest.mark.parametrize("pods", [0, 2])
def test_the_records_alone_make_the_same_state(pods: int) -> None:
    """Folding the journal into an empty State gives what the process had in memory."""
    lab, go = growing()
    go()
    for i in range(pods):
        lab.delete(f"pod-{i}", 7)
    before = facts(lab.state)

    lab.die()

    assert facts(lab.state) == before
    assert facts(fork(lab.state)) == before


@pytest.mark.spec("DM-64")
def test_a_start_ends_the_calls_of_the_last_tenure() -> None:
    """Each in flight is recorded as lost; a create's token is remembered."""
    lab, go = growing()
    call = with_call_in_flight(lab, CreateNetworkInterface, go)
    mark = lab.mark()
    lab.restart()

    (ended,) = [e for e in lab.records[mark].events if isinstance(e, ev.CallEnded)]
    assert (ended.ended, ended.message) == ("lost", "the process ended")
    assert isinstance(call, CreateNetworkInterface) and lab.state.lost_tokens == (call.token,)


@pytest.mark.spec("DM-21")
def test_an_answered_add_is_there_and_an_unrecorded_one_is_not() -> None:
    """The record is the answer; what was decided and not recorded never happened."""
    lab = Lab(SINGLE).start().run(10)
    answered = lab.pod("one", 10)
    lab.kill_at = lambda record: isinstance(record.cause, AddNetwork)
    with pytest.raises(Killed):
        lab.pod("two")
    lab.kill_at = None
    unanswered = lab.records.pop()
    lab.restart()

    assert isinstance(unanswered.cause, AddNetwork)
    assert lab.pod("one") == Assigned(answered.address, answered.eni, answered.device, answered.table, repeated=True)
    assert sandbox("two") not in lab.state.stores[0].owners
    assert not lab.pod("two").repeated


@pytest.mark.spec("DM-61")
def test_another_instance_begins_afresh() -> None:
    """Records of another machine name ENIs that are not here."""
    lab = Lab(SINGLE).start().run(10)
    lab.pod("one")
    lab.engine.node = msgspec.structs.replace(lab.node, instance="i-other")
    mark = lab.mark()
    lab.engine.start(2)

    assert not lab.state.enis and not lab.state.stores[0].owners
    assert [e.node.instance for e in lab.events(ev.Started, mark)] == ["i-other"]
