"""Pools as vectors give them, and nodes in virtual time that settle."""

from __future__ import annotations

from ipamd.core.pool_windows import Figures
from ipamd.core.settings import Quirks, WindowsQuirks, windows_quirks
from ipamd.core.types import Instant
from ipamd.core.windows_config import IPAM, PREFIX_DELEGATION, PoolKind, Targets
from ipamd.core.windows_state import Pool, expand
from ipamd.sim.windows_node import WindowsScenario, WindowsSettled, live, one_node, settled

OURS = WindowsQuirks()
STRICT = windows_quirks(Quirks(**dict.fromkeys(Quirks.__struct_fields__, True)))
"""`UPSTREAM_PARITY=strict`."""
NOW: Instant = 1_800_000_000_000_000_000
TWO_WARM = Targets(2, 0)
ROOMY = "c5.xlarge"
"""14 slots, as the model of the prefix vectors."""
WIDE = "m5.4xlarge"
"""29 slots, as the model of the secondary vectors."""


def pool(
    kind: PoolKind = "secondary", capacity: int = 7, *, used: int = 0, warm: int = 0, cooling: int = 0,
    pc: int = 0, pd: int = 0, targets: Targets = TWO_WARM,
) -> Pool:  # fmt: skip
    """A pool with so many addresses in each state. In a prefix pool `warm` counts whole free prefixes."""
    made = Pool(kind, capacity, targets, NOW)
    made.suffix = "/24"
    for number in range(used):
        address = f"10.0.8.{number + 1}/24" if kind == "secondary" else f"10.0.8.{number + 1}/32"
        made.used[f"used-{number}"] = (address, address)
    for number in range(warm):
        group = f"10.0.0.{number + 1}/24" if kind == "secondary" else f"10.0.0.{number * 16}/28"
        made.warm[group] = expand(group)
        made.home[group] = "eni-1"
    for number in range(cooling):
        address = f"10.0.9.{number + 1}/24"
        made.cooling.append((address, address, NOW))
        made.home[address] = "eni-1"
    made.pending_create, made.pending_delete = pc, pd
    return made


def groups(*free: int) -> Pool:
    """A prefix pool whose prefixes have so many free addresses each."""
    made = pool("prefix", 224)
    for number, count in enumerate(free):
        group = f"10.0.{number}.0/28"
        made.home[group] = "eni-1"
        made.warm[group] = expand(group)[16 - count :]
    return made


def numbers(*, used: int = 0, warm: int = 0, cooling: int = 0, pc: int = 0, pd: int = 0, full: int = 0) -> Figures:
    """Figures of a large pool."""
    return Figures(used, warm, cooling, pc, pd, 1000, full)


def keys(prefixes: bool = False, **targets: int | str) -> dict[str, str]:
    """A ConfigMap's data: Windows IPAM on, these targets (warm_ip, minimum_ip, warm_prefix)."""
    data = {IPAM: "true"} | ({PREFIX_DELEGATION: "true"} if prefixes else {})
    return data | {f"{name.replace('_', '-')}-target": str(value) for name, value in targets.items()}


def simulated(instance_type: str, config: dict[str, str], pods: int, delete: int = 0) -> WindowsSettled:
    """What one node settles at."""
    scenario = WindowsScenario(instance_type=instance_type, config=config, pods=pods, delete=delete)
    engine = one_node(scenario)
    assert live(scenario, engine), "the pool does not settle"
    return settled(engine)
