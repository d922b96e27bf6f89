"""A controller of Windows nodes: what an annotation costs, whether that grows with the cluster, and a burst of pods.

.venv/bin/python -m tests.bench.windows      the burst alone: 1,000 pods at once on 100 nodes
"""

from __future__ import annotations

import time
from random import Random

import msgspec

from ipamd.core.settings import Quirks, WindowsQuirks, windows_quirks
from ipamd.core.types import SECOND
from ipamd.ec2.latency import Latency
from ipamd.ec2.state import Vpc, VpcSettings
from ipamd.sim.neighbours import make_subnet
from ipamd.sim.windows_cluster import SimPod
from ipamd.sim.windows_engine import Bucket, WindowsEngine

from .figures import Line, interleaved, ratios, spread
from .place import Place
from .sizes import Sizes

INSTANCE_TYPE = "c5.xlarge"
FEW, MANY = 10, 1_000
IPAM = {"enable-windows-ipam": "true"}
PREFIXES = IPAM | {"enable-windows-prefix-delegation": "true"}


class Burst(msgspec.Struct, frozen=True):
    """What a burst came to: virtual seconds until the last pod had its annotation."""

    annotated: int
    seconds: float
    requests: dict[str, int]
    requests_per_pod: float


def cluster(nodes: int, prefixes: bool, realistic: bool = False, quirks: WindowsQuirks | None = None) -> WindowsEngine:
    """So many nodes, initialised."""
    vpc = Vpc(VpcSettings(seed=1))
    subnet = make_subnet(vpc, "10.0.0.0/16", "")
    latency = Latency("realistic" if realistic else "none", 1)
    engine = WindowsEngine(vpc, subnet, quirks=quirks, latency=latency, bucket=Bucket() if realistic else None)
    engine.start()
    engine.configure(PREFIXES if prefixes else IPAM)
    for number in range(nodes):
        engine.join(f"win-{number:04d}", INSTANCE_TYPE)
    engine.settle()
    return engine


def burst(nodes: int = 100, pods: int = 1_000, prefixes: bool = True, quirks: WindowsQuirks | None = None) -> Burst:
    """Pods made at one instant and spread by the scheduler, with upstream's workers and its limit of requests."""
    engine = cluster(nodes, prefixes, realistic=True, quirks=quirks)
    before, since = engine.requests.copy(), engine.now
    made = engine.add_pods(pods)
    assert engine.settle(limit=3600 * SECOND), "the pools do not settle"
    asked = engine.requests - before
    last = max(pod.annotated_at for pod in made)
    return Burst(
        sum(bool(pod.annotation) for pod in made),
        (last - since) / SECOND,
        dict(sorted(asked.items())),
        asked.total() / pods,
    )


class _Churn:
    """Pods that come to random nodes and go again; only their coming is timed."""

    def __init__(self, nodes: int) -> None:
        self.engine = cluster(nodes, prefixes=True)
        self._names = list(self.engine.objects.nodes)
        self._random = Random(1)
        self._alive: list[SimPod] = []

    def seconds(self, pods: int) -> float:
        """How long deciding so many annotations took, from the pod's event to its recorded annotation."""
        took = 0.0
        for _ in range(pods):
            node = self._random.choice(self._names)
            began = time.perf_counter()
            (pod,) = self.engine.add_pods(1, node)
            took += time.perf_counter() - began
            assert pod.annotation, "a pod waits"
            self._alive.append(pod)
            if len(self._alive) > FEW * 3:
                self.engine.delete_pods([self._alive.pop(0)])
            self.engine.advance(self.engine.now + SECOND)
        return took


def run(sizes: Sizes, place: Place) -> list[Line]:
    """The lines of `make bench --only windows`."""
    pods = max(sizes.rounds * 400, 40) if sizes.rounds > 1 else 40
    few, many = _Churn(FEW), _Churn(MANY if sizes.rounds > 1 else FEW * 2)
    below, above = interleaved(max(sizes.rounds, 1), lambda: few.seconds(pods), lambda: many.seconds(pods))
    per_second = {
        f"{len(churn.engine.objects.nodes)} nodes": f"{pods / spread(times).median:,.0f} annotations decided a second"
        for churn, times in ((few, below), (many, above))
    }
    flat = Line(
        "windows flat",
        "time per annotation decided, 1,000 nodes over 10",
        ratios(above, below),
        bound=1.2,
        facts=per_second,
    )
    nodes, count = (100, 1_000) if sizes.rounds > 1 else (5, 50)
    return [flat, *(_burst_line(nodes, count, prefixes) for prefixes in (True, False))]


def _burst_line(nodes: int, pods: int, prefixes: bool) -> Line:
    ours, theirs = (burst(nodes, pods, prefixes, quirks) for quirks in (None, strict()))
    mode = "prefix" if prefixes else "secondary"
    facts = {
        name: f"{found.annotated} pods in {found.seconds:.1f} virtual s, {found.requests_per_pod:.2f} requests each"
        for name, found in (("ours", ours), ("upstream's policy", theirs))
    }
    ratio = ours.seconds / theirs.seconds if theirs.seconds else 1.0
    what = f"{pods} pods at once on {nodes} nodes, virtual time over that of upstream's policy"
    return Line(f"windows burst {mode}", what, spread([ratio]), facts=facts)


def strict() -> WindowsQuirks:
    """`UPSTREAM_PARITY=strict`."""
    return windows_quirks(Quirks(**dict.fromkeys(Quirks.__struct_fields__, True)))


if __name__ == "__main__":
    for in_prefix_mode in (True, False):
        for whose, chosen in (("ours", None), ("upstream's policy", strict())):
            found = burst(prefixes=in_prefix_mode, quirks=chosen)
            print(f"{'prefix' if in_prefix_mode else 'secondary'} mode, {whose}: {msgspec.json.encode(found).decode()}")
