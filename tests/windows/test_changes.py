"""Switches of the mode, restarts, and what upstream does otherwise."""

from __future__ import annotations

import pytest

from ipamd.core import invariants, snapshot
from ipamd.core.pool_windows import assign
from ipamd.core.settings import Quirks, windows_quirks
from ipamd.core.types import SECOND
from ipamd.core.windows_commands import PodSeen, WindowsPod
from ipamd.sim.windows_node import NODE, settled

from .pools import keys, pool
from .test_jobs import cluster, the_pool


@pytest.mark.spec("V-114", "WIN-38", "WIN-41", "WIN-114", "WIN-116", "WIN-118")
def test_the_guides_example_of_a_switch() -> None:
    """t3.xlarge with 10 pods: 224 advertised, 64 reachable; the 65th new pod asks every 600 ms."""
    engine, _ = cluster(keys(), "t3.xlarge")
    old = engine.add_pods(10, NODE)
    engine.settle()
    assert settled(engine).ips == 13
    engine.configure(keys(True))
    engine.settle()
    assert (settled(engine).ips, settled(engine).capacity) == (10, 224)

    new = engine.add_pods(65, NODE)
    engine.advance(engine.now + 120 * SECOND)

    assert sum(bool(pod.annotation) for pod in new) == 64
    assert all(pod.annotation.endswith("/16") for pod in old)
    told = {e.message.rpartition(" ")[2] for _, e in engine.announced if e.reason == "ResourceAllocationFailed"}
    assert told == {"600ms"}
    invariants.check(engine.state)
    engine.delete_pods(old[:1])
    engine.settle()
    assert new[-1].annotation, "the slot of a pod that ended holds a prefix now"


@pytest.mark.spec("V-115", "WIN-117", "WIN-119")
def test_back_from_prefixes_in_use() -> None:
    """20 pods in two prefixes: none goes; the first 16 end and cool: theirs goes, the other stays for its 4."""
    engine, _ = cluster(keys(True))
    pods = engine.add_pods(20, NODE)
    engine.settle()
    engine.configure(keys())
    engine.settle()
    assert settled(engine).prefixes == 2

    engine.delete_pods(sorted(pods, key=lambda pod: int(pod.name.rpartition("-")[2]))[:16])
    engine.settle()
    assert (settled(engine).prefixes, settled(engine).used, settled(engine).capacity) == (1, 4, 14)


@pytest.mark.spec("WIN-123")
def test_a_switch_that_is_taken_back_before_it_is_done() -> None:
    """The pool goes on with what is left of it."""
    engine, _ = cluster(keys())
    pods = engine.add_pods(4, NODE)
    engine.configure(keys(True))
    engine.configure(keys())
    engine.settle()

    assert (settled(engine).ips, settled(engine).prefixes, settled(engine).warm) == (7, 0, 3)
    assert all(pod.annotation for pod in pods)


# ---- restart ------------------------------------------------------------------------------------------------


@pytest.mark.spec("WIN-68", "WIN-69", "WIN-71", "WIN-27")
@pytest.mark.parametrize("forgets", [False, True], ids=["ours", "upstream"])
@pytest.mark.parametrize("prefixes", [False, True], ids=["secondary", "prefix"])
def test_a_restart_with_running_pods(prefixes: bool, forgets: bool) -> None:
    """Pools are rebuilt from annotations. What cooled, and what a vanished pod had, rests on; upstream forgets that."""
    engine, _ = cluster(keys(prefixes), strict="restart_forgets" if forgets else "")
    pods = engine.add_pods(6, NODE)
    engine.settle()
    engine.delete_pods(pods[:1])
    vanished = pods[1]
    engine.objects.pods.pop(vanished.uid)
    del engine.objects.nodes[NODE].pods[vanished.uid]
    kept = {pod.uid: pod.annotation for pod in pods[2:]}
    engine.start()
    engine.idle()
    kind = "prefix" if prefixes else "secondary"

    assert {uid: address for uid, (_, address) in the_pool(engine, kind).used.items()} == kept
    assert len(the_pool(engine, kind).cooling) == (0 if forgets else 2)
    assert {pod.uid: pod.annotation for pod in engine.objects.pods.values()} == kept
    engine.settle()
    assert settled(engine).cooling == 0


@pytest.mark.spec("WIN-72")
def test_pods_that_came_while_the_controller_was_away() -> None:
    """They have no annotation, and get one after the start; calls in flight are lost."""
    engine, records = cluster(keys(True))
    engine.start()
    pods = engine.add_pods(3, NODE)
    engine.start()
    engine.settle()

    assert all(pod.annotation for pod in pods)
    assert snapshot.encode(snapshot.decode(snapshot.encode(engine.state))) == snapshot.encode(engine.state)
    assert len(records) == engine.state.seq


@pytest.mark.spec("WIN-61")
@pytest.mark.parametrize("strict", ["", "windows_lost_annotation_stays_lost"])
def test_an_annotation_that_went_missing(strict: str) -> None:
    """The pod has an address and no annotation: ours is written again, upstream's stays lost."""
    engine, _ = cluster(keys(), strict=strict)
    (pod,) = engine.add_pods(1, NODE)
    engine.idle()
    held = engine.state.windows.pods[NODE]
    held[pod.uid] = WindowsPod(pod.uid, pod.namespace, pod.name)
    pod.annotation = ""
    engine.submit(PodSeen(NODE, pod.facts))
    engine.idle()

    assert bool(pod.annotation) != bool(strict)


@pytest.mark.spec("WIN-149")
@pytest.mark.parametrize("strict", [False, True], ids=["ours", "upstream"])
def test_more_pods_than_the_capacity(strict: bool) -> None:
    """A pod is told that the node is full; upstream's test for equality lets it through to `empty`."""
    quirks = windows_quirks(Quirks(windows_capacity_by_equality=strict))

    assert assign(pool(capacity=2, used=3), "new", True, quirks) == ("empty" if strict else "max capacity")


@pytest.mark.spec("WIN-70")
@pytest.mark.parametrize("strict", ["", "windows_non_nitro_drains_at_first"])
def test_a_type_on_xen_at_a_restart_under_prefix_delegation(strict: str) -> None:
    """Upstream releases its free addresses and asks for them again; ours keeps them."""
    engine, _ = cluster(keys(True), "m4.large", strict=strict)
    before = engine.requests["UnassignPrivateIpAddresses"]
    engine.start()
    engine.settle()

    assert engine.requests["UnassignPrivateIpAddresses"] - before == (1 if strict else 0)
    assert settled(engine).ips == 3
