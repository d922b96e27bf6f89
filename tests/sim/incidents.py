"""Incidents with a planted cause: a node lives in a cloud, something befalls it, a pod is refused; all is recorded.

What was planted is kept here, outside the journal. Each incident also carries decoys: traces of other causes that
were over, or mattered to nobody, when the pod was refused.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec

from ipamd.core.commands import AddNetwork, Assigned, DelNetwork, Terminate
from ipamd.core.settings import Settings
from ipamd.core.subnets import ROLE_TAG
from ipamd.core.types import MS, SECOND, Pod
from ipamd.ec2.latency import Latency, evenly
from ipamd.ec2.state import VpcSettings
from ipamd.ec2.vpc import add_subnet, make_vpc, node_of
from ipamd.journal.journal import Journal
from ipamd.sim import neighbours
from ipamd.sim.engine import EPOCH, Engine
from ipamd.sim.scenario import sandbox
from ipamd.sim.settle import settle

ASSIGN, CREATE, ATTACH = "AssignPrivateIpAddresses", "CreateNetworkInterface", "AttachNetworkInterface"
LAG = 1500 * MS


class Planted(msgspec.Struct, frozen=True):
    """An incident: what was planted, which decoys it carries, and where its journal is."""

    causes: tuple[str, ...]
    decoys: tuple[str, ...]
    journal: Path


class Rig:
    """A node in its cloud and its pods."""

    def __init__(
        self, where: Path, settings: Settings, *, kind: str = "m5.large", subnet: str = "10.0.0.0/20",
        max_pods: int = 110, seed: int = 1,
    ) -> None:  # fmt: skip
        self.random = Random(seed)
        self.journal = Journal.open(where, sync=False)
        self.vpc = make_vpc(VpcSettings(seed=seed, metadata_lag=LAG), instance_type=kind, subnet=subnet, now=EPOCH)
        self.subnet = node_of(self.vpc).subnet
        facts = msgspec.structs.replace(node_of(self.vpc), max_pods=max_pods)
        chosen = msgspec.structs.replace(settings, leaked_cleanup_disabled=True)
        self.latency = Latency("realistic", seed)
        self.engine = Engine(self.vpc, chosen, facts, latency=self.latency, sink=self.journal.stage)
        self.held: list[int] = []
        self.came = 0
        self.engine.start(seed)
        settle(self.engine)

    def add(self) -> bool:
        """The next pod comes; whether it has an address."""
        number = self.came
        self.came += 1
        answer = self.engine.submit(AddNetwork(sandbox(number), Pod("shop", f"pod-{number}", 1)))
        if isinstance(answer, Assigned):
            self.held.append(number)
        return isinstance(answer, Assigned)

    def until_refused(self, most: int = 60) -> None:
        """Pods come at once until one is refused."""
        for _ in range(most):
            if not self.add():
                return
        raise AssertionError("the incident refuses nobody")

    def go(self, count: int) -> None:
        """So many pods end."""
        for number in self.held[:count]:
            self.engine.submit(DelNetwork(sandbox(number), "PodDeleted"))
        del self.held[:count]

    def wait(self, seconds: float) -> None:
        self.engine.advance(self.engine.now + int(seconds * SECOND))

    def settle(self) -> None:
        settle(self.engine, 45 * SECOND)

    def until_growing(self, step: str = "") -> None:
        """Until an ENI is being added, and is at that step."""
        for _ in range(400):
            work = self.engine.state.pool.work
            if type(work).__name__ == "Grow" and step in ("", getattr(work, "step", "")):
                return
            self.engine.step()
        raise AssertionError("no ENI is being added")

    def slow(self, action: str, ms: int) -> None:
        """From now on EC2 takes so long to answer."""
        self.engine._latency = Latency("realistic", 1, {action: evenly(ms, ms)})

    def lag(self, ns: int) -> None:
        self.vpc.settings = msgspec.structs.replace(self.vpc.settings, metadata_lag=ns)

    def tag_primary(self) -> None:
        row = self.vpc.subnets[self.subnet]
        self.vpc.install((msgspec.structs.replace(row, tags={ROLE_TAG: "0"}),), EPOCH, settled=True)

    def fill_first_eni(self) -> None:
        """Pods until the next address needs another ENI."""
        while len(self.engine.state.enis) == 1 and len(self.held) < 7:
            self.add()
            self.wait(12)

    def end(self) -> None:
        self.journal.close()


SMALL_WARM = Settings(warm_ip_target=2, minimum_ip_target=2)


# ---- decoys: over, or of no matter, when the incident begins ------------------------------------------------------


def _failing(action: str, code: str) -> Callable[[Rig], None]:
    def decoy(rig: Rig) -> None:
        rig.vpc.faults.fail_next(action, code, times=2)
        rig.add()
        rig.add()
        rig.wait(200)
        rig.vpc.faults.clear()
        rig.settle()

    return decoy


def _cooled(rig: Rig) -> None:
    rig.add()
    rig.go(1)
    rig.wait(90)
    rig.settle()


def _restarted(rig: Rig) -> None:
    rig.engine.start(rig.random.randrange(1, 1 << 30))
    rig.wait(120)
    rig.settle()


def _terminated(rig: Rig) -> None:
    rig.engine.submit(Terminate())
    rig.wait(5)
    _restarted(rig)


def _burst(rig: Rig) -> None:
    before = len(rig.held)
    for _ in range(4):
        rig.add()
    rig.wait(60)
    rig.go(len(rig.held) - before)
    rig.wait(120)
    rig.settle()


def _other_subnet(rig: Rig) -> None:
    base = int(rig.vpc.spaces[rig.subnet].base) >> 16
    cidr = f"{base >> 8}.{base & 255}.240.0/24"
    if not any(row.cidr == cidr for row in rig.vpc.subnets.values()):
        add_subnet(rig.vpc, cidr, tags={ROLE_TAG: "0"}, now=rig.engine.now)


def _grown(rig: Rig) -> None:
    """An ENI more, slow and late, and gone again."""
    rig.lag(9 * SECOND)
    before = len(rig.held)
    for _ in range(11):
        rig.add()
        rig.wait(15)
    rig.go(len(rig.held) - before)
    rig.lag(LAG)
    rig.wait(300)
    rig.settle()


def _full(rig: Rig) -> None:
    """As many pods as there can be addresses, and some refused; all of them gone again."""
    before = len(rig.held)
    for _ in range(40):
        if not rig.add():
            rig.wait(30)
            if not rig.add():
                break
        rig.wait(12)
    rig.go(len(rig.held) - before)
    rig.wait(500)
    rig.settle()


DECOYS: dict[str, Callable[[Rig], None]] = {
    "throttled": _failing(ASSIGN, "RequestLimitExceeded"),
    "api_error": _failing(ASSIGN, "InternalError"),
    "permission": _failing(ASSIGN, "UnauthorizedOperation"),
    "subnet_full": _failing(ASSIGN, "InsufficientFreeAddressesInSubnet"),
    "fragmented": _failing(ASSIGN, "InsufficientCidrBlocks"),
    "eni_limit": _full,
    "max_pods": _full,
    "cooldown": _cooled,
    "restart": _restarted,
    "terminating": _terminated,
    "target": _burst,
    "excluded_subnet": _other_subnet,
    "metadata_lag": _grown,
    "attach_pending": _grown,
}


# ---- incidents ----------------------------------------------------------------------------------------------------


def target(rig: Rig) -> None:
    rig.until_refused()


def cooldown(rig: Rig) -> None:
    for _ in range(4):
        rig.add()
        rig.wait(15)
    rig.settle()
    rig.go(3)
    rig.wait(1)
    rig.until_refused()


def eni_limit(rig: Rig) -> None:
    for _ in range(9 - len(rig.held)):
        rig.add()
        rig.wait(40)
    rig.settle()
    rig.until_refused()


def max_pods(rig: Rig) -> None:
    for _ in range(7):
        rig.add()
        rig.wait(20)
        if rig.engine.state.node.max_pods <= len(rig.held):
            break
    rig.settle()
    rig.until_refused()


def _shortage(rig: Rig) -> None:
    """Pods come slower than the pool would grow, if it could; then one more than there are addresses."""
    while rig.add():
        rig.wait(12)


def subnet_full(rig: Rig) -> None:
    space = rig.vpc.spaces[rig.subnet]
    while space.free:
        neighbours.take(rig.vpc, rig.subnet, "", rig.engine.now)
    _shortage(rig)


def fragmented(rig: Rig) -> None:
    neighbours.take_in_each_block(rig.vpc, rig.subnet, 1, rig.engine.now)
    while rig.add():
        rig.wait(3)


def failing(code: str, action: str = ASSIGN) -> Callable[[Rig], None]:
    def incident(rig: Rig) -> None:
        rig.vpc.faults.fail_next(action, code, times=-1)
        _shortage(rig)

    return incident


def metadata_lag(rig: Rig) -> None:
    rig.fill_first_eni()
    rig.lag(45 * SECOND)
    for _ in range(2):
        rig.add()
        rig.wait(6)
    rig.until_growing("wait")
    rig.wait(12)
    rig.until_refused()


def attach_pending(rig: Rig) -> None:
    rig.fill_first_eni()
    rig.slow(ATTACH, 30_000)
    for _ in range(2):
        rig.add()
        rig.wait(6)
    rig.until_growing("attach")
    rig.wait(12)
    rig.until_refused()


def excluded_subnet(rig: Rig) -> None:
    rig.fill_first_eni()
    rig.settle()
    rig.tag_primary()
    _shortage(rig)


def restart(rig: Rig) -> None:
    rig.engine.start(rig.random.randrange(1, 1 << 30))
    rig.wait(0.05)
    rig.until_refused(1)


def terminating(rig: Rig) -> None:
    rig.engine.submit(Terminate())
    _shortage(rig)


def throttled_and_cooling(rig: Rig) -> None:
    rig.add()
    rig.settle()
    rig.vpc.faults.fail_next(ASSIGN, "RequestLimitExceeded", times=-1)
    for _ in range(2):
        rig.add()
        rig.wait(12)
    rig.go(1)
    rig.wait(2)
    rig.until_refused(1)


def cooling_and_terminating(rig: Rig) -> None:
    rig.engine.submit(Terminate())
    for _ in range(2):
        rig.add()
        rig.wait(20)
    rig.go(1)
    rig.wait(2)
    rig.until_refused(1)


def throttled_then_full(rig: Rig) -> None:
    rig.vpc.faults.fail_next(ASSIGN, "RequestLimitExceeded", times=4)
    rig.vpc.faults.fail_next(ASSIGN, "InternalError", times=-1)
    _shortage(rig)


class Recipe(msgspec.Struct, frozen=True):
    """A planted cause: how the node is made, what befalls it, which decoys would not be decoys here."""

    causes: tuple[str, ...]
    befall: Callable[[Rig], None]
    settings: Settings = SMALL_WARM
    kind: str = "m5.large"
    subnet: str = "10.0.0.0/20"
    max_pods: int = 110
    unfit: tuple[str, ...] = ()


PREFIXES = Settings(prefix_delegation=True, warm_ip_target=2)
_TIGHT = ("metadata_lag", "attach_pending", "target", "eni_limit", "max_pods", "subnet_full", "fragmented")
_ONE_ENI = ("metadata_lag", "attach_pending", "eni_limit", "max_pods", "subnet_full", "fragmented")
BOUND = 14
"""The most pods of a node that carries the decoy `max_pods`: more than any incident needs."""
RECIPES = (
    Recipe(("target",), target),
    Recipe(("cooldown",), cooldown, Settings(warm_ip_target=1, minimum_ip_target=1)),
    Recipe(("eni_limit",), eni_limit, kind="t3.small", unfit=_TIGHT),
    Recipe(("max_pods",), max_pods, max_pods=6, unfit=_TIGHT),
    Recipe(("subnet_full",), subnet_full, subnet="10.0.0.0/26", unfit=("max_pods", "eni_limit", "fragmented")),
    Recipe(("fragmented",), fragmented, PREFIXES, subnet="10.0.0.0/24", unfit=_ONE_ENI),
    Recipe(("throttled",), failing("RequestLimitExceeded"), unfit=("throttled",)),
    Recipe(("api_error",), failing("InternalError"), unfit=("api_error",)),
    Recipe(("permission",), failing("UnauthorizedOperation"), unfit=("permission",)),
    Recipe(("metadata_lag",), metadata_lag, unfit=_ONE_ENI),
    Recipe(("attach_pending",), attach_pending, unfit=_ONE_ENI),
    Recipe(("excluded_subnet",), excluded_subnet, unfit=("excluded_subnet", "max_pods")),
    Recipe(("restart",), restart, unfit=("restart", "terminating")),
    Recipe(("terminating",), terminating, unfit=("terminating",)),
)
SEVERAL = (
    Recipe(("throttled", "cooldown"), throttled_and_cooling, unfit=tuple(DECOYS)),
    Recipe(("cooldown", "terminating"), cooling_and_terminating, unfit=tuple(DECOYS)),
    Recipe(("throttled", "api_error"), throttled_then_full, unfit=tuple(DECOYS)),
)


def make(where: Path, recipe: Recipe, seed: int) -> Planted:
    """Live the incident; `seed` of 0 has no decoys, others have more and more of them."""
    fit = [name for name in DECOYS if name not in recipe.unfit and name not in recipe.causes]
    chosen = Random(f"{seed}/{recipe.causes}").sample(fit, min(seed, len(fit)))
    max_pods = BOUND if "max_pods" in chosen else recipe.max_pods
    rig = Rig(where, recipe.settings, kind=recipe.kind, subnet=recipe.subnet, max_pods=max_pods, seed=seed + 1)
    try:
        for name in chosen:
            DECOYS[name](rig)
        recipe.befall(rig)
    finally:
        rig.end()
    return Planted(recipe.causes, tuple(chosen), where)
