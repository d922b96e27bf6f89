"""Random lives of a node in a journal: bursts, pods that ask again, deletions, restarts, and a cloud that fails."""

from __future__ import annotations

from pathlib import Path
from random import Random

import msgspec

from ipamd.core import snapshot
from ipamd.core.commands import AddNetwork, Assigned, DelNetwork
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND, Pod
from ipamd.ec2.latency import Profile
from ipamd.journal.journal import Journal
from ipamd.sim.engine import Crashed, Engine
from ipamd.sim.scenario import Scenario, node, sandbox
from ipamd.sim.settle import settle

SETTINGS = (
    Settings(),
    Settings(warm_ip_target=2, minimum_ip_target=5),
    Settings(minimum_ip_target=4, ip_cooldown_period=5),
    Settings(prefix_delegation=True, warm_prefix_target=1),
    Settings(prefix_delegation=True, warm_ip_target=3),
)
FAILURES = (
    ("AssignPrivateIpAddresses", "RequestLimitExceeded"),
    ("CreateNetworkInterface", "InsufficientFreeAddressesInSubnet"),
    ("AttachNetworkInterface", "InternalError"),
    ("AssignPrivateIpAddresses", "UnauthorizedOperation"),
)


class Told(msgspec.Struct, frozen=True):
    """The journal, the pool that the engine had at the end, and how many records there are."""

    journal: Path
    state: bytes
    records: int


def live_at_random(where: Path, seed: int, steps: int = 60) -> Told:
    """A life drawn from the seed, recorded in `where`."""
    random = Random(seed)
    journal = Journal.open(where, sync=False)
    settings = msgspec.structs.replace(random.choice(SETTINGS), leaked_cleanup_disabled=True)
    latency: Profile = "realistic" if random.random() < 0.5 else "none"
    kind = random.choice(("t3.small", "m5.large"))
    engine = node(Scenario(kind, settings, latency=latency, seed=seed), journal.stage)
    try:
        engine.start(seed)
        settle(engine)
        _befall(engine, random, steps)
    finally:
        journal.close()
    return Told(where, snapshot.encode(engine.state), engine.state.seq)


def _befall(engine: Engine, random: Random, steps: int) -> None:
    held: list[int] = []
    waiting: list[int] = []
    came = 0
    for _ in range(steps):
        chance = random.random()
        if chance < 0.45:
            for _ in range(random.choice((1, 1, 2, 7))):
                waiting.append(came)
                came += 1
        elif chance < 0.75 and held:
            engine.submit(DelNetwork(sandbox(held.pop(random.randrange(len(held)))), "PodDeleted"))
        elif chance < 0.8:
            action, code = random.choice(FAILURES)
            engine.vpc.faults.fail_next(action, code, times=random.choice((1, 3)))
        elif chance < 0.84:
            engine.start(random.randrange(1, 1 << 30))
        if engine.state.phase == "ready":
            for number in list(waiting):
                answer = engine.submit(AddNetwork(sandbox(number), Pod("default", f"pod-{number}", 1)))
                if isinstance(answer, Assigned):
                    waiting.remove(number)
                    held.append(number)
        try:
            engine.advance(engine.now + random.choice((1, 3, 10, 40)) * SECOND)
        except Crashed:
            engine.start(random.randrange(1, 1 << 30))
