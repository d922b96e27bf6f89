"""What a tick and an ADD cost does not depend on how many addresses a node has."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ipamd.core import invariants, pool_linux
from ipamd.core.commands import AddNetwork, DelNetwork, Tick
from ipamd.core.decide import decide
from ipamd.core.plan import agenda, update
from ipamd.core.state import State
from ipamd.server.metrics import cooling_addresses

from .sized import NOW, lines_run, node
from .world import pod, sandbox

FEW, MANY = 10, 10_000

COSTS: dict[str, Callable[[State], object]] = {
    "update of a quiet pool": lambda state: update(state, NOW),
    "tick": lambda state: decide(state, Tick(), NOW),
    "agenda": lambda state: agenda(state, NOW),
    "statistics": lambda state: pool_linux.stats(state, 0, NOW),
    "ADD": lambda state: decide(state, AddNetwork(sandbox("new"), pod("new")), NOW),
    "repeated ADD": lambda state: decide(state, AddNetwork(sandbox("pod-3"), pod("pod-3")), NOW),
    "DEL": lambda state: decide(state, DelNetwork(sandbox("pod-3")), NOW),
    "cooling addresses of a scrape": lambda state: cooling_addresses(state, NOW),
}


@pytest.fixture(scope="module")
def nodes() -> tuple[State, State]:
    """One with few addresses, one with many."""
    return node(FEW), node(MANY)


@pytest.mark.parametrize("what", COSTS)
def test_the_cost_is_flat_in_the_number_of_addresses(nodes: tuple[State, State], what: str) -> None:
    """Lines of Python that run, so that nothing depends on the machine."""
    few, many = (lines_run(lambda state=state: COSTS[what](state)) for state in nodes)  # type: ignore[misc]

    assert 0 < many <= 1.2 * few


def test_the_nodes_are_what_they_should_be(nodes: tuple[State, State]) -> None:
    """Quiet, with a thousand times the addresses, and every index true."""
    few, many = nodes

    assert pool_linux.stats(few, 0, NOW).total == 32 and pool_linux.stats(many, 0, NOW).total == 10_016
    for state in nodes:
        invariants.check(state)
        assert update(state, NOW) == []


def test_a_count_of_lines_sees_a_loop() -> None:
    """The measure can tell: ten times the turns are about ten times the lines."""

    def turns(count: int) -> int:
        done = 0
        for _ in range(count):
            done += 1
        return done

    assert lines_run(lambda: turns(1000)) > 5 * lines_run(lambda: turns(100))
