"""Lives of a node under one fault each: every request of EC2 and metadata, each way it can go wrong, each occurrence.

cases(life)     all of them, generated from what the life asks when nothing goes wrong
Case.ended()    what is not right once faults have stopped; empty when all is
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from msgspec.structs import replace

from ipamd.core import pool_linux
from ipamd.core.commands import AddNetwork, Assigned, DelNetwork
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND
from ipamd.ec2.faults import Fault
from ipamd.ec2.state import VpcSettings
from ipamd.sim.engine import Crashed

from .world import Lab, pod, sandbox

ERRORS: Final = (
    "InternalError", "ServiceUnavailable", "UnauthorizedOperation", "RequestLimitExceeded", "IncorrectState",
    "InvalidParameterValue", "InvalidNetworkInterfaceID.NotFound", "PrivateIpAddressLimitExceeded",
    "InsufficientFreeAddressesInSubnet", "InsufficientCidrBlocks", "AttachmentLimitExceeded",
)  # fmt: skip
"""EC2-50's codes and the usual others; each is tried on every action, fitting or not."""
OCCURRENCES: Final = 4
"""Of requests of one action in a life, so many are struck, each in a case of its own."""
LONG: Final = 13
"""One more than the most tries of anything (12)."""
STARTS: Final = 2 * LONG
"""A node init that fails is a process that ends; so often it is started again at most."""
PAIRS: Final = 300
"""Cases of a life in which two things go wrong, drawn with a seed."""
SOON, LATE = 900, 3 * 3600
"""Seconds after which the pool must be right: for an ENI that only the hourly cleaner can find, later."""


class Life(NamedTuple):
    """Settings, and how many pods come and go."""

    name: str
    settings: Settings
    come: int
    go: int
    pause: float = 4
    """Seconds between two that come."""


LIVES: Final = (
    Life("addresses", Settings(warm_ip_target=2, minimum_ip_target=4, ip_cooldown_period=5), 6, 4),
    Life("prefixes", Settings(prefix_delegation=True, warm_prefix_target=1, ip_cooldown_period=5), 50, 50, 0.5),
    Life("enis", Settings(warm_eni_target=1, ip_cooldown_period=5), 4, 4),
)


class Case(NamedTuple):
    """One life and what goes wrong in it."""

    life: Life
    what: str
    rules: tuple[Fault, ...] = ()
    cloud: VpcSettings = VpcSettings()

    def lived(self) -> Lab:
        """From the first start to the last DEL, then calm."""
        lab = Lab(self.life.settings, cloud=self.cloud)
        lab.vpc.faults.add(self.rules)
        _surviving(lab, lab.start)
        _running(lab, 10)
        for number in range(self.life.come):
            lab.engine.submit(AddNetwork(sandbox(f"pod-{number}"), pod(f"pod-{number}")))
            _running(lab, self.life.pause)
        for number in range(self.life.go):
            lab.engine.submit(DelNetwork(sandbox(f"pod-{number}"), "PodDeleted"))
            _running(lab, 1)
        _running(lab, 180)
        lab.vpc.faults.clear()
        _running(lab, SOON)
        return lab

    def ended(self) -> list[str]:
        """What is wrong at the end; nothing when the pool is right."""
        lab = self.lived()
        if lab.leaks():
            _running(lab, LATE)
        wrong = lab.leaks()
        if lab.state.phase != "ready":
            wrong.append(f"node is {lab.state.phase}")
        if not lab.quiet():
            balance = pool_linux.balance(lab.state, 0, lab.now)
            wrong.append(f"pool is not at rest: short {balance.short}, over {balance.over}, {lab.state.pool.work}")
        held = {key.container for store in lab.state.stores.values() for key in store.owners}
        if len(held) > self.life.come - self.life.go:
            wrong.append(f"pods that are gone hold addresses: {sorted(held)}")
        if not isinstance(lab.engine.submit(AddNetwork(sandbox("last"), pod("last"))), Assigned):
            wrong.append("the next pod gets no address")
        return [f"{self.life.name}, {self.what}: {fault}" for fault in wrong]


def _surviving(lab: Lab, work: Callable[[], object]) -> None:
    """Do it; a process that ends in its node init is started again, as often as it takes."""
    for _ in range(STARTS):
        try:
            work()
        except Crashed:
            work = lambda: lab.restart(1)  # noqa: E731 - the next try
        else:
            return
    raise AssertionError(f"the node did not start in {STARTS} tries")


def _running(lab: Lab, seconds: float) -> None:
    """Let time pass, whatever becomes of the process."""
    until = lab.clock + seconds
    _surviving(lab, lambda: lab.run(seconds))
    if lab.clock < until:
        _surviving(lab, lambda: lab.run(until - lab.clock))


def requests(life: Life) -> dict[str, int]:
    """What the life asks when nothing goes wrong, and how often."""
    lab = Case(life, "nothing").lived()
    asked = dict(lab.engine.requests)
    return {**asked, "ReadMetadata": OCCURRENCES}


def strokes(action: str) -> Iterator[tuple[str, Fault]]:
    """Each way one request of an action goes wrong."""
    for code in ERRORS:
        yield code, Fault(action, code=code, message="injected")
        if code == "RequestLimitExceeded":
            yield f"{code} for long", Fault(action, times=LONG, code=code, message="injected")
    yield "timeout, effect done", Fault(action, lost=True, effect=True)
    yield "timeout, effect not done", Fault(action, lost=True)
    yield "timeouts for long", Fault(action, times=LONG, lost=True)


def single(life: Life) -> list[Case]:
    """One thing goes wrong: every action, way and occurrence."""
    found = []
    for action, count in sorted(requests(life).items()):
        for way, rule in strokes(action):
            for skip in range(min(count, OCCURRENCES)):
                struck = replace(rule, skip=skip)
                found.append(Case(life, f"{action} number {skip + 1}: {way}", (struck,)))
    return found


def cases(life: Life) -> Iterator[Case]:
    """Single faults, two at once, reads that are stale, metadata that lags."""
    alone = single(life)
    yield from alone
    draw = random.Random(life.name)
    for _ in range(PAIRS):
        one, other = draw.sample(alone, 2)
        yield Case(life, f"{one.what}; {other.what}", one.rules + other.rules)
    for seed in range(8):
        for stale in (1, 3, 10):
            yield Case(life, f"reads up to {stale} s old, seed {seed}", cloud=VpcSettings(seed, stale=stale * SECOND))
    for lag in (1, 3, 10, 20, 45, 59):
        yield Case(life, f"metadata lags {lag} s", cloud=VpcSettings(metadata_lag=lag * SECOND))
