"""Writes two incidents that users of the VPC CNI reported, as journals: .venv/bin/python examples/incidents.py DIR

cooling-shortage.jsonl     addresses in their cooldown count as available: 2 warm, 23 minimum, 19 assigned, 4 cooling
cooling-shortage.log       the same as its daemon's log, to be imported
minimum-starvation.jsonl   MINIMUM_IP_TARGET without WARM_IP_TARGET, with prefixes: the pool never grows

Both are lived by the core as upstream's ipamd would live them (UPSTREAM_PARITY=strict), in virtual time, with pods
that come and go as the threads tell and a kubelet that makes a new sandbox 10 s after a refused one. docs/incidents.md
walks through them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

from ipamd.core.commands import AddNetwork, Assigned, DelNetwork
from ipamd.core.events import Record
from ipamd.core.settings import Settings
from ipamd.core.state import State
from ipamd.core.types import SECOND, Pod, Sandbox
from ipamd.journal.record import encode
from ipamd.narrate import Narrator
from ipamd.narrate.jsonlog import line
from ipamd.sim.combinations import STRICT
from ipamd.sim.engine import Engine
from ipamd.sim.kubelet import RETRY
from ipamd.sim.scenario import Scenario, node
from ipamd.sim.settle import settle

TRIES_MAX = 20


def ask(engine: Engine, name: str, attempt: int = 0) -> bool:
    """One sandbox of a pod asks for an address; a refused one is deleted again."""
    engine.advance(engine.now + SECOND)
    sandbox = Sandbox("aws-cni", sha256(f"{name}/{attempt}".encode()).hexdigest(), "eth0")
    granted = isinstance(engine.submit(AddNetwork(sandbox, Pod("shop", name, 1))), Assigned)
    if not granted:
        engine.submit(DelNetwork(sandbox, "PodDeleted"))
    return granted


def leave(engine: Engine, name: str) -> None:
    """A pod is deleted."""
    engine.submit(DelNetwork(Sandbox("aws-cni", sha256(f"{name}/0".encode()).hexdigest(), "eth0"), "PodDeleted"))


def cooling_shortage(sink: Callable[[Record], object]) -> None:
    """An m5.large with 21 pods of a deployment. A rollout ends four, two new ones come, then a third."""
    settings = Settings(warm_ip_target=2, minimum_ip_target=23, quirks=STRICT)
    engine = node(Scenario("m5.large", settings, max_pods=110, latency="realistic"), sink)
    engine.start(1)
    settle(engine)
    for number in range(21):
        assert ask(engine, f"web-v1-{number:02}")
    for number in range(4):
        leave(engine, f"web-v1-{number:02}")
    assert ask(engine, "web-v2-00") and ask(engine, "web-v2-01")
    attempt = 0
    while not ask(engine, "web-v2-02", attempt):
        attempt += 1
        assert attempt < TRIES_MAX, "the cooldown ends"
        engine.advance(engine.now + RETRY - SECOND)
    settle(engine)


def minimum_starvation(sink: Callable[[Record], object]) -> None:
    """An m5.large with prefixes, and 40 pods, a second apart; those that were refused try on for three minutes."""
    settings = Settings(prefix_delegation=True, minimum_ip_target=20, warm_prefix_target=1, quirks=STRICT)
    engine = node(Scenario("m5.large", settings, max_pods=110, latency="realistic"), sink)
    engine.start(1)
    settle(engine)
    waiting = [name for name in (f"job-{number:02}" for number in range(40)) if not ask(engine, name)]
    for attempt in range(1, TRIES_MAX):
        engine.advance(engine.now + RETRY - len(waiting) * SECOND)
        waiting = [name for name in waiting if not ask(engine, name, attempt)]


INCIDENTS = {"cooling-shortage.jsonl": cooling_shortage, "minimum-starvation.jsonl": minimum_starvation}
LOGS = ("cooling-shortage.jsonl",)


def write(directory: Path) -> None:
    """All of them; what lies there is replaced."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, live in INCIDENTS.items():
        records: list[Record] = []
        live(records.append)
        (directory / name).write_bytes(b"".join(map(encode, records)))
        print(f"{directory / name}: {len(records)} records")
        if name in LOGS:
            (directory / name).with_suffix(".log").write_bytes(b"".join(log_of(records)))


def log_of(records: list[Record]) -> Iterator[bytes]:
    """What `ipamd run --log-file` would have written."""
    narrator = Narrator(State())
    for record in records:
        for said in narrator.lines(record):
            yield line(said.level, record.at, f"journal/record:{record.seq}", said.msg)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "incidents")
