"""A journal of pods that come and go, as one node leaves it: made by the simulator, so every record is a real one."""

from __future__ import annotations

from random import Random
from typing import Final

from ipamd.core.commands import AddNetwork, Assigned, DelNetwork
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND, Pod, Sandbox
from ipamd.sim.engine import Engine, Sink
from ipamd.sim.scenario import Scenario, node, sandbox
from ipamd.sim.settle import settle

INSTANCE_TYPE: Final = "m5.24xlarge"
PODS: Final = 300
"""Pods that the node runs most of the time."""


def busy_node(sink: Sink | None = None) -> Engine:
    """A big node in prefix mode, settled, without pods."""
    settings = Settings(prefix_delegation=True, warm_prefix_target=1)
    engine = node(Scenario(instance_type=INSTANCE_TYPE, settings=settings), sink)
    engine.start(1)
    settle(engine)
    return engine


class Churn:
    """Pods that come and go at random, one every quarter of a second of virtual time."""

    def __init__(self, engine: Engine, seed: int = 1) -> None:
        self._engine = engine
        self._random = Random(seed)
        self._placed: list[Sandbox] = []
        self._came = 0

    def step(self) -> None:
        """One pod comes or goes; then time passes."""
        engine, placed = self._engine, self._placed
        if len(placed) < PODS or self._random.random() < 0.5:
            key = sandbox(self._came)
            self._came += 1
            if isinstance(engine.submit(AddNetwork(key, Pod("default", f"pod-{self._came}", 1))), Assigned):
                placed.append(key)
        else:
            chosen = self._random.randrange(len(placed))
            placed[chosen], placed[-1] = placed[-1], placed[chosen]
            engine.submit(DelNetwork(placed.pop(), "PodDeleted"))
        engine.advance(engine.now + SECOND // 4)


def write_history(records: int, sink: Sink) -> None:
    """At least so many records, in order, into `sink`."""
    engine = busy_node(sink)
    churn = Churn(engine)
    while engine.state.seq < records:
        churn.step()
