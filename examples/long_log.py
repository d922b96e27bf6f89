"""Writes an ipamd.log of 40,000 lines, as a busy node's daemon would: .venv/bin/python examples/long_log.py FILE

Batch pods come and go all day on an m5.large with WARM_IP_TARGET=2, in virtual time. At some moment the node holds as
many as it can, and `shop/checkout` asks. docs/import.md finds out what became of it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

from ipamd.core.commands import AddNetwork, Assigned, DelNetwork
from ipamd.core.events import Record
from ipamd.core.settings import Settings
from ipamd.core.state import State
from ipamd.core.types import SECOND, Pod, Sandbox
from ipamd.narrate import Narrator
from ipamd.narrate.jsonlog import line
from ipamd.sim.engine import Engine
from ipamd.sim.scenario import Scenario, node
from ipamd.sim.settle import settle

LINES = 40_000
FULL = 27
SEED = 40


def ask(engine: Engine, name: str, container: int) -> Sandbox | None:
    """The sandbox, if it got an address."""
    sandbox = Sandbox("aws-cni", f"{container:064x}", "eth0")
    granted = isinstance(engine.submit(AddNetwork(sandbox, Pod("shop", name, 1))), Assigned)
    return sandbox if granted else None


def write(path: Path) -> None:
    """The log; what lies there is replaced."""
    random = Random(SEED)
    told: list[bytes] = []
    narrator = Narrator(State())

    def sink(record: Record) -> None:
        told.extend(line(s.level, record.at, f"journal/record:{record.seq}", s.msg) for s in narrator.lines(record))

    engine = node(Scenario("m5.large", Settings(warm_ip_target=2), max_pods=110, latency="realistic"), sink)
    engine.start(SEED)
    settle(engine)
    alive: list[Sandbox] = []
    number = 0
    asked = False
    while len(told) < LINES:
        number += 1
        engine.advance(engine.now + random.randrange(2, 12) * SECOND)
        busy = not asked and len(told) > LINES // 2
        if alive and not busy and (len(alive) >= FULL or random.random() < 0.5):
            engine.submit(DelNetwork(alive.pop(random.randrange(len(alive))), "PodDeleted"))
            continue
        granted = ask(engine, f"batch-{number:05}", number)
        if granted is not None:
            alive.append(granted)
        elif busy and len(alive) >= FULL:
            engine.advance(engine.now + SECOND)
            asked = True
            ask(engine, "checkout", 1_000_000)
    path.write_bytes(b"".join(told[:LINES]))
    print(f"{path}: {LINES} lines")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
