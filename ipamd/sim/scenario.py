"""One node's life as a scenario: what it is, what befalls it, and the pool that is left when it has settled.

    scenario = Scenario(instance_type="t3.small", settings=Settings(...), pods=58)
    engine = node(scenario, sink=records.append)
    settled = live(scenario, engine)            # Settled: what `ipamd simulate --json` prints

Random streams are separate per concern and derive from the seed: identifiers and latencies are the cloud's, the
choice of the pods that go is the workload's, so another setting does not change them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from typing import Final

import msgspec

from ipamd.core import views
from ipamd.core.commands import AddNetwork, Answer, Assigned, DelNetwork, Refused
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND, Pod, Sandbox
from ipamd.ec2.latency import METADATA_LAG, Latency, Profile
from ipamd.ec2.state import VpcSettings
from ipamd.ec2.vpc import DEFAULT_SUBNET, make_vpc, node_of

from .engine import EPOCH, Engine, Sink
from .kubelet import container_of
from .settle import QUIET, settle

NO_LIMIT: Final = 2**31 - 1
"""As `max_pods`: the node takes any number of pods."""

Progress = Callable[[int, int], None]
"""Called with the pods added or deleted so far, and all of them."""


def _silent(done: int, total: int) -> None:
    """Nobody watches."""


class Scenario(msgspec.Struct, frozen=True):
    """A node and its workload. Pods come one at a time, and the pool settles after each; then some go likewise."""

    instance_type: str
    settings: Settings
    pods: int = 0
    delete: int = 0
    """How many of the pods go again; which ones is drawn from the seed."""
    all_at_once: bool = False
    """All come in one moment, and all that go, go in one moment."""
    quiet: int = QUIET
    """Ns without a change after which the pool is settled."""
    subnet: str = DEFAULT_SUBNET
    max_pods: int = NO_LIMIT
    latency: Profile = "none"
    seed: int = 1
    retry: int | None = None
    """Ns after which the kubelet makes a refused pod another sandbox and asks again; None: it never does."""


class EniCount(msgspec.Struct, frozen=True, omit_defaults=True):
    """One ENI: its prefixes, its single secondary addresses (primary excluded), its pods, its network card."""

    device: int
    prefixes: int
    ips: int
    pods: int
    card: int = 0


class Settled(msgspec.Struct, frozen=True):
    """The pool at the end. `total_ips` are addresses for pods; `ec2_calls` counts requests, reads of EC2 included."""

    enis: tuple[EniCount, ...]
    total_ips: int
    assigned: int
    unused: int
    unused_prefixes: int
    virtual_seconds: float
    ec2_calls: dict[str, int]
    settled: bool
    """False: the pool still changed 600 s after the last pod came or went."""
    refused: int
    """Tries that got no address: pods, unless these try again."""
    refusals: dict[str, int] = {}
    """How many of them for which reason (`reasons.REASONS`), the most frequent first."""
    unserved: int | msgspec.UnsetType = msgspec.UNSET
    """Pods that have no address at the end; only where refused ones try again."""


def node(scenario: Scenario, sink: Sink | None = None) -> Engine:
    """A fresh instance in a fresh VPC, not started. Raises `UnknownInstanceType`, ValueError for a bad subnet."""
    lag = METADATA_LAG[scenario.latency]
    cloud = VpcSettings(seed=scenario.seed, metadata_lag=lag)
    ipv6 = scenario.settings.ipv6
    vpc = make_vpc(cloud, instance_type=scenario.instance_type, subnet=scenario.subnet, now=EPOCH, ipv6=ipv6)
    facts = msgspec.structs.replace(node_of(vpc), max_pods=scenario.max_pods)
    latency = Latency(scenario.latency, scenario.seed)
    # one node of its own VPC leaks nothing: its hourly search would only blur the counts of EC2 requests
    settings = msgspec.structs.replace(scenario.settings, leaked_cleanup_disabled=True)
    return Engine(vpc, settings, facts, latency=latency, sink=sink)


def live(scenario: Scenario, engine: Engine, progress: Progress = _silent) -> Settled:
    """Start the node and let the workload befall it. Raises `Crashed` if node init fails."""
    began = engine.now
    engine.start(scenario.seed)
    settled = settle(engine, scenario.quiet)
    steps = scenario.pods + scenario.delete
    kubelet = _Kubelet(engine, scenario.retry)
    for number in range(scenario.pods):
        kubelet.ask(number)
        if not scenario.all_at_once:
            settled = settle(engine, scenario.quiet)
        progress(number + 1, steps)
    if scenario.all_at_once and scenario.pods:
        settled = settle(engine, scenario.quiet)
    going = Random(f"{scenario.seed}/workload").sample(kubelet.placed, min(scenario.delete, len(kubelet.placed)))
    for number, key in enumerate(going):
        engine.submit(DelNetwork(key, "simulate"))
        if not scenario.all_at_once:
            settled = settle(engine, scenario.quiet)
        progress(scenario.pods + number + 1, steps)
    if scenario.all_at_once and going:
        settled = settle(engine, scenario.quiet)
    found = summary(engine, began, settled, kubelet.refusals)
    return found if scenario.retry is None else msgspec.structs.replace(found, unserved=len(kubelet.waiting))


class _Kubelet:
    """Makes sandboxes for pods: one each, or, with a delay, another one so long after each refusal."""

    def __init__(self, engine: Engine, retry: int | None) -> None:
        self._engine = engine
        self._retry = retry
        self.placed: list[Sandbox] = []
        self.waiting: set[int] = set()
        self.refusals: Counter[str] = Counter()

    def ask(self, number: int, attempt: int = 0) -> None:
        """The pod's try; a failed sandbox is torn down before the next one is made."""
        engine = self._engine
        answer = ask(engine, number, attempt)
        if isinstance(answer, Assigned):
            self.placed.append(sandbox(number, attempt))
            self.waiting.discard(number)
            return
        self.refusals[answer.reason if isinstance(answer, Refused) else type(answer).__name__] += 1
        self.waiting.add(number)
        if self._retry is not None:
            engine.submit(DelNetwork(sandbox(number, attempt), "sandbox failed"))
            engine.after(self._retry, lambda: self.ask(number, attempt + 1))


def sandbox(number: int, attempt: int = 0) -> Sandbox:
    """The key of a try of the workload's pod number `number` (both from 0)."""
    return Sandbox("aws-cni", container_of(f"pod-{number}", attempt), "eth0")


def ask(engine: Engine, number: int, attempt: int = 0) -> Answer:
    """The workload's pod comes; what it is answered."""
    return engine.submit(AddNetwork(sandbox(number, attempt), Pod("default", f"pod-{number}", 1)))


def add(engine: Engine, number: int) -> bool:
    """The workload's pod comes; whether it got an address."""
    return isinstance(ask(engine, number), Assigned)


def summary(engine: Engine, began: int, settled: bool, refusals: Mapping[str, int]) -> Settled:
    """The pool of the present moment; `began` in ns is when the node started, `refusals` count pods by reason."""
    pool = views.pool(engine.state, engine.now)
    seconds = round((engine.now - began) / SECOND, 3)
    return Settled(
        enis=tuple(EniCount(eni.device, eni.prefixes, eni.ips, eni.pods, eni.card) for eni in pool.enis),
        total_ips=pool.total_ips,
        assigned=pool.assigned,
        unused=pool.unused,
        unused_prefixes=pool.unused_prefixes,
        virtual_seconds=int(seconds) if seconds == int(seconds) else seconds,
        ec2_calls=dict(sorted(engine.requests.items())),
        settled=settled,
        refused=sum(refusals.values()),
        refusals=dict(sorted(refusals.items(), key=lambda item: (-item[1], item[0]))),
    )
