"""Which combinations of warm targets starve a node or make its pool flap: every one of a small node, lived through.

    starves    a pod gets no address although the node could carry it, however often it asks
    flaps      the pool never comes to rest while no pod comes or goes

Each life: pods come one at a time until the node is full, then go one at a time. Before and after each pod that
could matter (every one with single addresses; around the edges of a prefix with prefixes) the pool must settle.
The node is a t3.small with MAX_ENI=2: two ENIs of three slots, so 6 single addresses or 6 prefixes (96 addresses).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from random import Random
from typing import Final

import msgspec

from ipamd.core.commands import DelNetwork
from ipamd.core.settings import Quirks, Settings
from ipamd.core.types import PREFIX_SIZE, SECOND

from .engine import Engine
from .scenario import NO_LIMIT, Scenario, add, node, sandbox
from .settle import settle

INSTANCE_TYPE: Final = "t3.small"
ENIS: Final = 2
SLOTS: Final = 3
QUIET: Final = 100 * SECOND
"""Longer than an ENI's least age and the pause between two scale-downs together (DM-36, POOL-15)."""
LIMIT: Final = 300 * SECOND
"""A pool that still changes after this does not settle: the slowest one that flaps turns round in 70 s."""
PATIENCE: Final = 300 * SECOND
"""How long a pod asks again before it counts as starved: longer than every pause of the pool (POOL-18)."""
RETRY: Final = 5 * SECOND

IPS: Final = (0, 1, 3, 4, 6)
"""Targets in addresses with single addresses: none, one, around an ENI's worth, around all that the node carries."""
IPS_OF_PREFIXES: Final = (0, 1, 16, 17, 96)
"""The same with prefixes."""
ENI_TARGETS: Final = (0, 1, 2)
PREFIX_TARGETS: Final = (0, 1, 7)


class Combination(msgspec.Struct, frozen=True):
    """The settings that are combined. `strict`: as upstream v1.23.1 behaves."""

    prefixes: bool
    warm_ip: int = 0
    minimum_ip: int = 0
    warm_eni: int = 1
    warm_prefix: int = 1
    strict: bool = False
    max_pods: int = NO_LIMIT
    """Of the node; kubelet lets no more come."""

    @property
    def settings(self) -> Settings:
        """What the core is told."""
        return Settings(
            warm_ip_target=self.warm_ip,
            minimum_ip_target=self.minimum_ip,
            warm_eni_target=self.warm_eni,
            warm_prefix_target=self.warm_prefix,
            max_eni=ENIS,
            prefix_delegation=self.prefixes,
            quirks=STRICT if self.strict else Quirks(),
        )

    @property
    def capacity(self) -> int:
        """Addresses for pods with every slot taken."""
        return ENIS * SLOTS * (PREFIX_SIZE if self.prefixes else 1)

    @property
    def pods(self) -> int:
        """How many pods come."""
        return min(self.capacity, self.max_pods)


STRICT: Final = Quirks(**dict.fromkeys((field.name for field in msgspec.structs.fields(Quirks)), True))


class Outcome(msgspec.Struct, frozen=True):
    """`starves_at`: pods that have an address when the next one gets none; None: all got one.

    `flaps_at`: numbers of pods at which the pool never came to rest.
    """

    starves_at: int | None
    flaps_at: tuple[int, ...]


def combinations(strict: bool) -> Iterator[Combination]:
    """Every combination of the values above, single addresses first. The other mode's target is 1: nobody reads it."""
    for warm, minimum, enis in product(IPS, IPS, ENI_TARGETS):
        yield Combination(False, warm, minimum, enis, 1, strict)
    for warm, minimum, prefix in product(IPS_OF_PREFIXES, IPS_OF_PREFIXES, PREFIX_TARGETS):
        yield Combination(True, warm, minimum, 1, prefix, strict)


def outcome(combination: Combination) -> Outcome:
    """One life."""
    engine = node(Scenario(INSTANCE_TYPE, combination.settings, max_pods=combination.max_pods))
    engine.start(1)
    flaps: dict[int, None] = {}
    stops = frozenset(_stops(combination, coming=True))
    pods, starves_at = 0, None
    while True:
        if pods in stops and not settle(engine, QUIET, LIMIT):
            flaps[pods] = None
        if pods == combination.pods:
            break
        if not _admitted(engine, pods):
            starves_at = pods
            break
        pods += 1
    stops = frozenset(_stops(combination, coming=False))
    order = list(range(pods))
    Random("pods go").shuffle(order)
    for number in order:
        engine.submit(DelNetwork(sandbox(number), "combinations"))
        pods -= 1
        if pods in stops and not settle(engine, QUIET, LIMIT):
            flaps[pods] = None
    return Outcome(starves_at, tuple(sorted(flaps)))


def _stops(combination: Combination, coming: bool) -> Iterable[int]:
    """Numbers of pods at which the pool is watched until it settles; when pods go they leave holes everywhere."""
    if not combination.prefixes:
        return range(combination.pods + 1)
    edges = range(0, combination.pods + 1, PREFIX_SIZE)
    if not coming:
        return edges
    return (pods for edge in edges for pods in (edge - 1, edge, edge + 1) if 0 <= pods <= combination.pods)


def _admitted(engine: Engine, number: int) -> bool:
    """The pod comes, and asks again every 5 s until it has an address or gives up."""
    until = engine.now + PATIENCE
    while not add(engine, number):
        if engine.now >= until:
            return False
        engine.advance(engine.now + RETRY)
    return True
