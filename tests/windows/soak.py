"""A cluster of Windows nodes for a day of virtual time.

Pods come and go, EC2 and the API server refuse now and then, nodes are lost, the controller starts anew, the mode is
switched.

    .venv/bin/python -m tests.windows.soak                   200 nodes, 20,000 pods, 24 h; about ten minutes
    .venv/bin/python -m tests.windows.soak --full-check      every invariant of every node after each record

After each record the invariants of its node are checked, and every hundredth time all of them; a second State is
folded from the encoded records alone and must be the same at the end.
"""

from __future__ import annotations

import argparse
import time
from random import Random

import msgspec

from ipamd.core import invariants, snapshot, windows_invariants
from ipamd.core.calls import Call, Failed
from ipamd.core.cluster_calls import AdvertiseCapacity, AnnotatePod, ReadInstance
from ipamd.core.events import Record
from ipamd.core.evolve import fold
from ipamd.core.state import State
from ipamd.core.types import SECOND
from ipamd.ec2.latency import Latency
from ipamd.ec2.state import Vpc, VpcSettings
from ipamd.journal import record as lines
from ipamd.sim.neighbours import make_subnet
from ipamd.sim.windows_engine import Bucket, WindowsEngine

TYPES = ("c5.large", "t3.large", "m5.xlarge", "m4.large")
MODES: tuple[dict[str, str], ...] = (
    {},
    {"enable-windows-prefix-delegation": "true"},
    {"warm-ip-target": "5", "minimum-ip-target": "8"},
)


class Soak(msgspec.Struct, frozen=True):
    """How much of it. `checks`: a full check after so many records."""

    nodes: int = 200
    pods: int = 20_000
    hours: float = 24
    seed: int = 1
    checks: int = 100
    fault_percent: float = 2


class Outcome(msgspec.Struct):
    """What it came to."""

    records: int = 0
    annotated: int = 0
    lost_nodes: int = 0
    restarts: int = 0
    faults: int = 0
    waiting: int = 0


class _Running:
    def __init__(self, soak: Soak) -> None:
        self.soak = soak
        self.random = Random(soak.seed)
        self.faults = Random(soak.seed + 1)
        self.outcome = Outcome()
        self.replayed = State()
        vpc = Vpc(VpcSettings(seed=soak.seed))
        subnet = make_subnet(vpc, "10.0.0.0/16", "")
        self.engine = WindowsEngine(
            vpc, subnet, latency=Latency("realistic", soak.seed), bucket=Bucket(), sink=self.sink
        )
        self.engine.refuse = self.refuse
        self.joined = 0

    def sink(self, record: Record) -> None:
        """Each record: its invariants, and its share of the second State."""
        self.outcome.records += 1
        if self.outcome.records % self.soak.checks:
            windows_invariants.check_node(self.engine.state, record.node)
        else:
            invariants.check(self.engine.state)
        fold(self.replayed, lines.decode(lines.encode(record)))

    def refuse(self, call: Call) -> Failed | None:
        """Now and then EC2 or the API server refuses."""
        if self.faults.random() * 100 >= self.soak.fault_percent:
            return None
        self.outcome.faults += 1
        if isinstance(call, AnnotatePod | AdvertiseCapacity):
            return Failed("Conflict", "the object has been modified")
        if isinstance(call, ReadInstance):
            return Failed("RequestLimitExceeded", "Request limit exceeded.")
        return Failed(
            self.faults.choice(("InternalError", "InsufficientCidrBlocks", "RequestLimitExceeded")), "injected"
        )

    def join(self) -> None:
        """One more node."""
        self.joined += 1
        self.engine.join(f"win-{self.joined:04d}", self.random.choice(TYPES))

    def turn(self, pods: int, rounds: int, number: int) -> None:
        """One span of time: pods come and go, and sometimes something worse happens."""
        engine, random = self.engine, self.random
        engine.add_pods(pods)
        alive = list(engine.objects.pods.values())
        going = max(len(alive) - int(self.soak.nodes * 6), 0) + random.randrange(pods + 1)
        engine.delete_pods(random.sample(alive, min(going, len(alive))))
        if number % 7 == 3:
            self.outcome.lost_nodes += 1
            engine.leave(random.choice(list(engine.objects.nodes)))
            self.join()
        if number % 11 == 5:
            self.outcome.restarts += 1
            engine.start()
        if number % max(rounds // 4, 1) == 1:
            engine.configure({"enable-windows-ipam": "true"} | random.choice(MODES))
        if number % 5 == 0:
            engine.resync()

    def run(self) -> Outcome:
        """The whole of it."""
        soak, engine = self.soak, self.engine
        engine.start()
        engine.configure({"enable-windows-ipam": "true"})
        for _ in range(soak.nodes):
            self.join()
        rounds = max(int(soak.hours * 12), 1)
        span = int(soak.hours * 3600 * SECOND / rounds)
        for number in range(rounds):
            self.turn(-(-soak.pods // rounds), rounds, number)
            engine.advance(engine.now + span)
        self.soak = msgspec.structs.replace(soak, fault_percent=0)
        engine.resync()
        assert engine.settle(limit=7200 * SECOND), "the cluster does not settle after the last fault"
        invariants.check(engine.state)
        assert snapshot.encode(engine.state) == snapshot.encode(self.replayed), "live and replay differ"
        placed = [pod for pod in engine.objects.pods.values() if pod.node and pod.wants]
        self.outcome.annotated = sum(bool(pod.annotation) for pod in placed)
        self.outcome.waiting = len(placed) - self.outcome.annotated
        return self.outcome


def run(soak: Soak) -> Outcome:
    """Run it; raises AssertionError where something does not hold."""
    return _Running(soak).run()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.windows.soak")
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--pods", type=int, default=20_000)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--full-check", action="store_true", help="all invariants after each record: slow")
    args = parser.parse_args()
    began = time.monotonic()
    found = run(Soak(args.nodes, args.pods, args.hours, args.seed, 1 if args.full_check else 100))
    print(msgspec.json.encode(found).decode())
    print(f"{time.monotonic() - began:.0f} s of real time")


if __name__ == "__main__":
    main()
