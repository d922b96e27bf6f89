"""How much faster than life a simulated node lives: seconds of its time in one of ours."""

from __future__ import annotations

import time

from ipamd.core.settings import Settings
from ipamd.core.types import SECOND
from ipamd.sim.scenario import Scenario, node
from ipamd.sim.settle import settle

from .churn import PODS, Churn, busy_node
from .figures import Line, interleaved, number, spread
from .place import Place
from .sizes import Sizes


def run(sizes: Sizes, place: Place) -> list[Line]:
    """Two lines: a node that has nothing to do, and one whose pods come and go four times a second."""
    del place
    idle, churned = interleaved(sizes.rounds, lambda: _idle(sizes.idle_hours), lambda: _churned(sizes.churn_steps))
    requests = spread(value / 4 for value in churned).median  # a step is a quarter of a second
    return [
        Line("idle node", f"virtual seconds per second, an m5.large without pods for {number(sizes.idle_hours)} h",
             spread(idle), unit=" node-s/s"),
        Line("busy node", "virtual seconds per second, a pod comes or goes each 0.25 s", spread(churned),
             unit=" node-s/s", facts={"pods": f"about {PODS}", "requests": f"{number(requests * 16)} ADD or DEL/s"}),
    ]  # fmt: skip


def _idle(hours: float) -> float:
    engine = node(Scenario(instance_type="m5.large", settings=Settings()))
    engine.start(1)
    settle(engine)
    began, virtual = time.perf_counter(), engine.now
    engine.advance(virtual + round(hours * 3600) * SECOND)
    return (engine.now - virtual) / SECOND / (time.perf_counter() - began)


def _churned(steps: int) -> float:
    engine = busy_node()
    churn = Churn(engine)
    for _ in range(PODS):
        churn.step()
    began, virtual = time.perf_counter(), engine.now
    for _ in range(steps):
        churn.step()
    return (engine.now - virtual) / SECOND / (time.perf_counter() - began)
