"""The two shipped incidents: the command in examples/ writes them, and they show what docs/incidents.md tells."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from ipamd.core import events as ev
from ipamd.core import pool_linux, views
from ipamd.core.commands import AddNetwork
from ipamd.core.events import Record
from ipamd.core.evolve import fold
from ipamd.core.state import State
from ipamd.journal.reading import read
from ipamd.sim.past import fold_to, replay

ROOT = Path(__file__).resolve().parents[2]
INCIDENTS = ROOT / "examples" / "incidents"
NAMES = ["cooling-shortage.jsonl", "minimum-starvation.jsonl"]
AGAIN = "the rules have changed since they were written: .venv/bin/python examples/incidents.py"


def outcomes(records: list[Record]) -> list[tuple[int, str, str]]:
    """What each ADD came to: when, for which pod, and its address or the reason that there was none."""
    found = []
    for record in records:
        for event in record.events:
            if isinstance(record.cause, AddNetwork) and isinstance(event, ev.AddressAssigned | ev.AssignRefused):
                outcome = event.address if isinstance(event, ev.AddressAssigned) else event.reason
                found.append((record.at, record.cause.pod.name, outcome))
    return found


def at_first_refusal(name: str) -> tuple[State, int]:
    """The State that the first refused ADD met, and its instant."""
    state = State()
    for record in read(INCIDENTS / name):
        if any(isinstance(event, ev.AssignRefused) for event in record.events):
            return state, record.at
        fold(state, record)
    raise AssertionError("nothing is refused")


@pytest.mark.parametrize("name", NAMES)
def test_the_command_writes_what_is_shipped(name: str, tmp_path: Path) -> None:
    """Same pods, same addresses, same refusals, same pool at the end."""
    spec = importlib.util.spec_from_file_location("incidents", ROOT / "examples" / "incidents.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    module.write(tmp_path)

    shipped, made = INCIDENTS / name, tmp_path / name
    assert outcomes(list(read(made))) == outcomes(list(read(shipped))), AGAIN
    now = fold_to(shipped).at
    assert views.pool(fold_to(made), now) == views.pool(fold_to(shipped), now), AGAIN


@pytest.mark.parametrize("name", NAMES)
def test_every_decision_of_an_incident_is_made_again(name: str) -> None:
    """The journals replay without a divergence."""
    assert replay(INCIDENTS / name).divergence is None, AGAIN


@pytest.mark.spec("DM-34", "POOL-5")
def test_the_cooling_shortage_in_its_figures() -> None:
    """19 assigned and 4 cooling of 23: upstream sees 4 available of 2 wanted, so it rests while a pod is refused."""
    state, now = at_first_refusal("cooling-shortage.jsonl")

    goal = pool_linux.balance(state, 0, now)

    assert (goal.stats.total, goal.stats.assigned, goal.stats.cooling) == (23, 19, 4)
    assert (goal.stats.available, goal.short, goal.low) == (4, 0, False)


@pytest.mark.spec("POOL-5", "POOL-7")
def test_the_starvation_in_its_figures() -> None:
    """Two prefixes of 32 addresses, all assigned, with 7 of 9 slots empty; 8 of 40 pods never get one."""
    state, now = at_first_refusal("minimum-starvation.jsonl")
    told = outcomes(list(read(INCIDENTS / "minimum-starvation.jsonl")))

    goal = pool_linux.balance(state, 0, now)

    assert (goal.stats.prefixes, goal.stats.assigned, goal.short, goal.low) == (2, 32, 0, False)
    served = {pod for _, pod, outcome in told if outcome.startswith("10.")}
    assert (len(served), len({pod for _, pod, _ in told} - served)) == (32, 8)
