"""Random lives of a node, the log that its daemon would have written, and what an import makes of it."""

from __future__ import annotations

from pathlib import Path
from random import Random

import msgspec

from ipamd import imports
from ipamd.core import invariants, views
from ipamd.core.commands import AddNetwork, Assigned, DelNetwork
from ipamd.core.events import Record
from ipamd.core.evolve import fold
from ipamd.core.settings import Settings
from ipamd.core.state import State
from ipamd.core.types import MS, SECOND, Instant, Pod, Sandbox
from ipamd.ec2.latency import Latency
from ipamd.ec2.state import VpcSettings
from ipamd.ec2.vpc import make_vpc, node_of
from ipamd.imports import Gathered
from ipamd.narrate import Narrator
from ipamd.narrate.jsonlog import line
from ipamd.sim.engine import EPOCH, Engine

SETTINGS = (
    Settings(),
    Settings(warm_ip_target=2, minimum_ip_target=4),
    Settings(prefix_delegation=True, warm_prefix_target=1),
    Settings(prefix_delegation=True, warm_ip_target=5, ip_cooldown_period=5),
    Settings(ipv6=True, prefix_delegation=True),
    Settings(multi_nic=True, warm_ip_target=1),
)
NAMES = ("eni", "ip", "prefix", "prefix-ip", "ipv6", "cards")
TWO_CARDS = "hpc7a.12xlarge"


def life(seed: int, settings: Settings, steps: int = 40) -> tuple[Engine, list[Record]]:
    """Pods come, go and are refused at random; the process starts anew now and then. Times are whole milliseconds."""
    random = Random(seed)
    records: list[Record] = []
    kind = TWO_CARDS if settings.multi_nic else "t3.small"
    shape = VpcSettings(seed=seed)
    vpc = make_vpc(shape, instance_type=kind, subnet="10.0.0.0/24", now=EPOCH, ipv6=settings.ipv6)
    engine = Engine(vpc, settings, node_of(vpc), latency=Latency("realistic", seed), sink=records.append)
    engine.start(seed)
    engine.advance(EPOCH + 30 * SECOND)
    alive: list[Sandbox] = []
    for number in range(steps):
        roll = random.random()
        if roll < 0.6:
            key = Sandbox("aws-cni", f"{seed:032x}{number:032x}", "eth0")
            wide = settings.multi_nic and random.random() < 0.5
            asked = AddNetwork(key, Pod("shop", f"web-{number}", 1 + wide), wide)
            if isinstance(engine.submit(asked), Assigned):
                alive.append(key)
        elif alive and roll < 0.95:
            engine.submit(DelNetwork(alive.pop(random.randrange(len(alive))), "PodDeleted"))
        elif roll >= 0.95:
            engine.start(seed + number)
        engine.advance(engine.now + random.randrange(1, 20_000) * MS)
    engine.advance(engine.now + random.randrange(1, 90) * SECOND)
    return engine, records


def log_of(records: list[Record]) -> list[bytes]:
    """The daemon's log, as `--log-file` has it."""
    narrator = Narrator(State())
    return [
        line(said.level, record.at, f"journal/record:{record.seq}", said.msg)
        for record in records
        for said in narrator.lines(record)
    ]


def imported(*paths: Path, limits: bool = True) -> tuple[State, list[Record], Gathered]:
    """The State that the imported records fold to; every invariant holds after every record.

    `limits` False: except those of the instance type, for a pool is not known whole where lines are missing.
    """
    found = imports.listen(paths)
    state = State()
    made = []
    for record in imports.records(found):
        fold(state, record)
        node = state.node
        if not limits:
            state.node = msgspec.structs.replace(node, enis_max=-1, ips_per_eni=0)
        invariants.check(state)
        state.node = node
        made.append(record)
    return state, made, found


def pool(state: State, now: Instant) -> object:
    """All that a pool is, with times in milliseconds, which is what a log tells."""
    enis = [
        (
            eni.eni,
            eni.mac,
            eni.card,
            eni.device,
            eni.table,
            eni.subnet,
            eni.primary_ip,
            eni.primary,
            eni.excluded,
            sorted(eni.blocks),
        )
        for eni in state.enis.values()
    ]
    pods = [
        (view.namespace, view.name, view.network, view.container, view.interface, view.address, view.eni, view.block,
         view.assigned_at // MS)
        for view in views.pods(state)
    ]  # fmt: skip
    cooling = [(view.address, view.eni, view.released_at // MS) for view in views.cooling(state, now)]
    return state.cards, enis, pods, sorted(cooling)
