"""A State written down and read again, or forked, behaves as the one it came from, from any moment on."""

from __future__ import annotations

import random
from typing import Literal, TypeAlias

import msgspec
import pytest

from ipamd.core import invariants
from ipamd.core.calls import LinksView, ReadLinks
from ipamd.core.commands import AddNetwork, Command, DelNetwork, Observed, Terminate, Tick
from ipamd.core.decide import decide
from ipamd.core.events import Record, Started, WorkMoved
from ipamd.core.evolve import fold
from ipamd.core.plan import agenda, plan
from ipamd.core.settings import Settings
from ipamd.core.snapshot import decode, encode, fork
from ipamd.core.state import State
from ipamd.core.types import SECOND
from ipamd.core.work import Init

from .world import NODE, STRICT, Bench, Lab, facts, sandbox

Step: TypeAlias = Literal["links", "rules", "prune", "groups"]
SETTINGS = [
    Settings(warm_ip_target=2, ip_cooldown_period=10),
    Settings(prefix_delegation=True, warm_prefix_target=1),
    Settings(prefix_delegation=True, warm_ip_target=3, minimum_ip_target=20, ip_cooldown_period=5),
    Settings(warm_eni_target=1, ip_cooldown_period=0),
    Settings(warm_ip_target=1, quirks=STRICT),
]


def life(settings: Settings, seed: int) -> list[Record]:
    """The records of a busy hour: pods come and go, faults strike, the mode changes twice, an ENI is adopted."""
    chance = random.Random(seed)
    lab = Lab(settings, instance_type="t3.small", latency="realistic", lag_ms=1500).start().run(30)
    there: list[str] = []
    for i in range(60):
        if there and chance.random() < 0.45:
            lab.engine.submit(DelNetwork(sandbox(there.pop(chance.randrange(len(there))))))
        else:
            lab.engine.submit(AddNetwork(sandbox(f"pod-{i}")))
            there.append(f"pod-{i}")
        if chance.random() < 0.2:
            lab.vpc.faults.fail_next(
                chance.choice(["AssignPrivateIpAddresses", "AttachNetworkInterface"]), "InternalError"
            )
        if i == 20:
            other = msgspec.structs.replace(settings, prefix_delegation=not settings.prefix_delegation)
            lab.vpc.faults.clear()
            lab.restart(settings=other)
        if i == 40:
            lab.vpc.faults.clear()
            lab.restart(settings=settings)
        lab.run(chance.choice([0, 1, 5, 40]))
    return lab.records


def folded(records: list[Record]) -> State:
    state = State()
    for record in records:
        fold(state, record)
    return state


def answers(state: State, at: int) -> list[object]:
    """What a State says to whoever asks now."""
    commands: list[Command] = [Tick("pool"), Tick("watch"), Tick("purge"), Terminate(), AddNetwork(sandbox("new"))]
    for store in state.stores.values():
        commands += [DelNetwork(key) for key in sorted(store.owners, key=lambda key: key.text)]
    decisions = [decide(state, command, at) for command in commands]
    return [*decisions, agenda(state, at), plan(state, at)]


@pytest.mark.spec("DM-47", "POOL-13")
@pytest.mark.parametrize("settings", SETTINGS)
def test_a_snapshot_at_any_moment_goes_on_as_the_original(settings: Settings) -> None:
    """The same facts, the same answers, the same plans, after each further record."""
    records = life(settings, 7)
    state = State()
    copies: list[State] = []
    for i, record in enumerate(records):
        fold(state, record)
        for copy in copies:
            fold(copy, record)
            assert facts(copy) == facts(state)
        if i % 40 == 0:
            copies = [decode(encode(state)), fork(state)]
            later = state.at + (i % 7) * 5 * SECOND
            for copy in copies:
                invariants.check(copy)
                assert answers(copy, later) == answers(state, later)

    assert len(records) > 150
    assert all(answers(copy, state.at + SECOND) == answers(state, state.at + SECOND) for copy in copies)


@pytest.mark.spec("INIT-29", "DM-62")
@pytest.mark.parametrize("step", ["links", "rules", "prune", "groups"])
def test_a_start_from_a_snapshot_does_what_a_start_from_all_records_does(step: Step) -> None:
    """Pods are walked in an order of their own, not of their coming, or a replay would differ."""
    bench = Bench(SETTINGS[1])
    bench.eni("eni-2", 2, "10.0.2.0/28")
    bench.eni("eni-1", 1, "10.0.1.16/28", "10.0.1.0/28")
    for i in range(40):
        bench.granted(f"pod-{i}")
    for i in range(0, 30, 3):
        bench.released(f"pod-{i}")
    bench.wait(31)
    for i in range(100, 105):
        bench.granted(f"pod-{i}")
    bench.record(Started(SETTINGS[0], NODE, 2), WorkMoved(Init(step)))
    commands = (Tick("pool"), Observed(ReadLinks(), LinksView(())))
    copy = decode(encode(bench.state))

    ours = [decide(bench.state, command, bench.now) for command in commands]

    assert any(decision.events for decision in ours)
    assert [decide(copy, command, bench.now) for command in commands] == ours


@pytest.mark.spec("DM-47")
def test_a_fork_and_its_original_do_not_touch_each_other() -> None:
    """What happens to one leaves the other as it was."""
    records = life(SETTINGS[1], 3)
    half = folded(records[: len(records) // 2])
    before = facts(half)
    twin = fork(half)

    for record in records[len(records) // 2 :]:
        fold(twin, record)

    assert facts(half) == before
    assert facts(twin) == facts(folded(records))


@pytest.mark.spec("DM-61")
def test_a_snapshot_of_nothing_is_nothing() -> None:
    """A journal may begin with one."""
    empty = State()

    assert facts(decode(encode(empty))) == facts(empty)
    assert not plan(empty, 0).calls and agenda(empty, 0) == []


@pytest.mark.spec("DM-61")
@pytest.mark.parametrize("document", [b"", b"{}", b"[]", b'{"settings":1}'])
def test_what_is_no_snapshot_is_refused(document: bytes) -> None:
    """Damage is told, not guessed around."""
    with pytest.raises(msgspec.DecodeError):
        decode(document)


@pytest.mark.spec("DM-17", "POOL-13")
def test_the_same_life_twice_leaves_the_same_records() -> None:
    """Nothing depends on hash order, on a clock or on chance."""
    first, second = (life(SETTINGS[0], 5) for _ in range(2))

    assert first == second
