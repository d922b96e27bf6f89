"""One Windows node in virtual time, and the pool that it settles at."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec

from ipamd.core.settings import WindowsQuirks
from ipamd.core.state import State
from ipamd.core.types import Instant
from ipamd.ec2.latency import METADATA_LAG, Latency, Profile
from ipamd.ec2.state import Vpc, VpcSettings
from ipamd.ec2.vpc import DEFAULT_SUBNET

from .engine import EPOCH, Sink
from .neighbours import make_subnet
from .windows_engine import LIMIT, QUIET, WindowsEngine

NODE = "node-1"


class WindowsScenario(msgspec.Struct, frozen=True, kw_only=True):
    """What happens: so many pods come, some go, then nothing until the pool is settled."""

    instance_type: str
    config: dict[str, str]
    pods: int = 0
    delete: int = 0
    all_at_once: bool = False
    quiet: int = QUIET
    subnet: str = DEFAULT_SUBNET
    latency: Profile = "none"
    seed: int = 1
    quirks: WindowsQuirks = WindowsQuirks()


class WindowsSettled(msgspec.Struct, frozen=True):
    """The settled pool of one node, in addresses unless named otherwise."""

    prefixes: int
    """Attached /28s."""
    ips: int
    """Secondary addresses held: used, warm and cooling."""
    used: int
    warm: int
    """Assignable addresses."""
    cooling: int
    unused_prefixes: int
    """Prefixes all of whose addresses are assignable."""
    capacity: int
    """Advertised."""


def windows_cluster(
    subnet: str, *, quirks: WindowsQuirks | None = None, latency: Profile | Latency | None = "none", seed: int = 1,
    sink: Sink | None = None,
) -> WindowsEngine:  # fmt: skip
    """A controller that began, with one subnet and no nodes. Raises ValueError for a subnet EC2 would refuse."""
    times = latency if isinstance(latency, Latency) else Latency(latency or "none", seed)
    vpc = Vpc(VpcSettings(seed=seed, metadata_lag=METADATA_LAG[times.profile]))
    made = make_subnet(vpc, subnet, "")
    engine = WindowsEngine(vpc, made, quirks=quirks, latency=times, sink=sink)
    engine.start()
    return engine


def one_node(scenario: WindowsScenario, sink: Sink | None = None) -> WindowsEngine:
    """The cluster with the ConfigMap and the node, initialised. Raises ValueError for a bad subnet."""
    engine = windows_cluster(
        scenario.subnet, quirks=scenario.quirks, latency=scenario.latency, seed=scenario.seed, sink=sink
    )
    engine.configure(scenario.config)
    engine.join(NODE, scenario.instance_type)
    engine.idle()
    return engine


def live(scenario: WindowsScenario, engine: WindowsEngine, report: Callable[[int, int], None] | None = None) -> bool:
    """Let it happen; whether the pool settled."""
    tell = report or (lambda done, total: None)
    total = scenario.pods + scenario.delete
    if scenario.all_at_once:
        engine.add_pods(scenario.pods, NODE)
    else:
        for number in range(scenario.pods):
            engine.add_pods(1, NODE)
            engine.idle()
            tell(number + 1, total)
    settled = engine.settle(scenario.quiet, LIMIT)
    going = Random(f"{scenario.seed}/workload").sample(list(engine.objects.pods.values()), scenario.delete)
    if scenario.all_at_once:
        engine.delete_pods(going)
    else:
        for number, pod in enumerate(going):
            engine.delete_pods([pod])
            engine.idle()
            tell(scenario.pods + number + 1, total)
    return engine.settle(scenario.quiet, LIMIT) if going else settled


def settled(engine: WindowsEngine, name: str = NODE) -> WindowsSettled:
    """The figures of one node's pools."""
    return pools_of(engine.state, name, engine.objects.nodes[name].capacity)


def pools_of(state: State, name: str, capacity: int) -> WindowsSettled:
    """The same of a State; `capacity` is what the node advertises."""
    node = state.windows.nodes.get(name)
    pools = node.pools if node is not None else {}
    prefix, secondary = pools.get("prefix"), pools.get("secondary")
    return WindowsSettled(
        prefixes=len(prefix.home) if prefix else 0,
        ips=len(secondary.home) if secondary else 0,
        used=sum(len(pool.used) for pool in pools.values()),
        warm=sum(len(free) for pool in pools.values() for free in pool.warm.values()),
        cooling=sum(len(pool.cooling) for pool in pools.values()),
        unused_prefixes=sum(len(free) == prefix.size for free in prefix.warm.values()) if prefix else 0,
        capacity=capacity,
    )


def since_start(now: Instant) -> float:
    """Virtual seconds."""
    return (now - EPOCH) / 1e9
