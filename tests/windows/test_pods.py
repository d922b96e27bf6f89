"""Pods: who is served when, what a refused one is told, how addresses come back."""

from __future__ import annotations

import pytest

from ipamd.core import windows_events as we
from ipamd.core.calls import Call, Failed
from ipamd.core.cluster_calls import AnnotatePod
from ipamd.core.types import MS, SECOND
from ipamd.core.windows_commands import NodeSeen, PodAnswer, PodGone, PodSeen, WindowsPod
from ipamd.ec2.latency import Latency, evenly
from ipamd.sim.windows_cluster import SimPod
from ipamd.sim.windows_node import NODE, settled, windows_cluster

from .pools import ROOMY, keys
from .seeing import events, reasons
from .test_jobs import cluster, the_pool


@pytest.mark.spec("V-106", "WIN-60")
def test_pods_up_to_the_capacity_and_one_more() -> None:
    """c5.large: spare 3, then 2, 1, 0; the tenth is told nothing but waits; one freed: it is told to wait 20 s."""
    engine, _ = cluster(keys(), "c5.large")
    spare = []
    for _ in range(9):
        engine.add_pods(1, NODE)
        engine.idle()
        spare.append(settled(engine).warm)
    assert spare == [3, 3, 3, 3, 3, 3, 2, 1, 0]
    (tenth,) = engine.add_pods(1, NODE)
    assert not reasons(engine, "ResourceAllocationFailed")

    (waiting,) = engine.state.windows.waiting.values()
    assert (waiting.why, waiting.due - engine.now) == ("max capacity", 5 * MS)
    engine.delete_pods(list(engine.objects.pods.values())[:1])
    engine.advance(engine.now + 10 * MS)
    (waiting,) = engine.state.windows.waiting.values()
    assert waiting.why == "cooling down"
    assert "20s" in reasons(engine, "ResourceAllocationFailed")[0].message
    engine.settle()
    assert tenth.annotation


@pytest.mark.spec("V-112")
def test_a_node_full_of_prefixes() -> None:
    """c5.large: 144 pods from nine prefixes, the next one waits."""
    engine, _ = cluster(keys(True), "c5.large")
    engine.add_pods(145, NODE)
    engine.settle()

    assert (settled(engine).used, settled(engine).prefixes) == (144, 9)
    assert [waiting.why for waiting in engine.state.windows.waiting.values()] == ["max capacity"]


@pytest.mark.spec("V-107", "WIN-11")
def test_a_minimum_alone_starves_pods_beyond_it() -> None:
    """Five held, five served; the sixth asks every 600 ms and no job is ever made until an address has cooled."""
    engine, _ = cluster(keys(minimum_ip=5), "c5.large")
    engine.add_pods(5, NODE)
    engine.idle()
    before = engine.requests["AssignPrivateIpAddresses"]
    (sixth,) = engine.add_pods(1, NODE)
    engine.advance(engine.now + 60 * SECOND)

    assert (sixth.annotation, engine.requests["AssignPrivateIpAddresses"] - before) == ("", 0)
    assert len(reasons(engine, "ResourceAllocationFailed")) == 101
    engine.delete_pods(list(engine.objects.pods.values())[:1])
    engine.advance(engine.now + 61 * SECOND)
    assert sixth.annotation


@pytest.mark.spec("V-108")
def test_a_minimum_alone_holds_what_it_says() -> None:
    """Min 10 and 8 pods: 10 held, 2 spare; the documents' defaults would give 11."""
    engine, _ = cluster(keys(minimum_ip=10))
    engine.add_pods(8, NODE)
    engine.settle()

    assert (settled(engine).ips, settled(engine).warm) == (10, 2)


@pytest.mark.spec("V-109", "WIN-94")
def test_fragmented_prefixes_stay() -> None:
    """16 + 1 pods, 15 of the first end: 15 free in each, none full, nothing is released."""
    engine, _ = cluster(keys(True))
    pods = engine.add_pods(17, NODE)
    engine.settle()
    first = [pod for pod in pods if pod.annotation.rpartition(".")[0] == pods[0].annotation.rpartition(".")[0]]
    engine.delete_pods([pod for pod in pods if pod in first[:15]])
    engine.settle()

    assert (settled(engine).prefixes, settled(engine).used) == (2, 2)


@pytest.mark.spec("V-111", "WIN-100")
def test_a_whole_prefix_too_many_goes_after_the_cooldown() -> None:
    """Warm-prefix 1, one pod: two prefixes; 29 s after it ended still two, a minute later one."""
    engine, _ = cluster(keys(True, warm_prefix=1))
    pods = engine.add_pods(1, NODE)
    engine.settle()
    engine.delete_pods(pods)
    engine.advance(engine.now + 29 * SECOND)
    assert settled(engine).prefixes == 2

    engine.advance(engine.now + 31 * SECOND)
    assert settled(engine).prefixes == 1


@pytest.mark.spec("V-113", "WIN-85", "V-95")
@pytest.mark.parametrize(
    ("prefixes", "count", "steps", "left"), [(True, 40, [16, 16, 8], 8), (False, 10, [3, 3, 3, 1], 3)]
)
def test_a_burst_is_served_in_steps(prefixes: bool, count: int, steps: list[int], left: int) -> None:
    """There is no demand signal: each round serves what is warm, and the rest asks again after 600 ms."""
    latency = Latency("none", 0, {"AssignPrivateIpAddresses": evenly(100, 100)})
    engine, _ = cluster(keys(prefixes), latency=latency)
    pods = engine.add_pods(count, NODE)
    engine.settle()
    served: dict[int, int] = {}
    for pod in pods:
        served[pod.annotated_at] = served.get(pod.annotated_at, 0) + 1

    assert list(served.values()) == steps
    assert [later - earlier for earlier, later in zip(served, list(served)[1:], strict=False)] == [600 * MS] * (
        len(steps) - 1
    )
    assert settled(engine).warm == left


@pytest.mark.spec("V-96", "WIN-59")
def test_an_annotated_pod_asks_for_nothing() -> None:
    """Its annotation is taken as it is."""
    engine, _ = cluster(keys())
    answer = engine.submit(PodSeen(NODE, WindowsPod("uid-x", "default", "x", "10.0.9.9/16")))

    assert answer == PodAnswer("annotated")
    assert not the_pool(engine).used


@pytest.mark.spec("V-97", "V-21", "WIN-65", "WIN-80")
def test_a_pod_that_holds_nothing_gives_nothing_back() -> None:
    """Unknown pod, unknown node, an address that is another's: recorded at most, nothing moves."""
    engine, records = cluster(keys())
    engine.submit(PodGone(NODE, "nobody"))
    engine.submit(PodGone("nowhere", "nobody"))
    (pod,) = engine.add_pods(1, NODE)
    engine.submit(PodSeen(NODE, WindowsPod(pod.uid, "default", pod.name, "10.0.9.9/16")))
    engine.submit(PodSeen(NODE, WindowsPod("uid-x", "default", "x", "10.0.9.8/16")))
    engine.submit(PodGone(NODE, pod.uid))
    engine.submit(PodGone(NODE, "uid-x"))

    refused = [event.why for event in events(records, we.ReleaseRefused)]
    assert refused == ["wrong owner", "does not exist"]
    assert (len(the_pool(engine).used), len(the_pool(engine).cooling)) == (1, 0)


@pytest.mark.spec("V-98", "WIN-55", "WIN-72")
def test_a_pod_waits_for_its_node() -> None:
    """A node that is not known yet, then not ready, then ready: the pod is served at that moment."""
    engine = windows_cluster("10.0.0.0/16")
    engine.configure(keys())
    pod = engine.objects.pods["uid-000099"] = SimPod(99, True, engine.now)
    assert engine.submit(PodSeen(NODE, pod.facts)) == PodAnswer("waiting", "node not ready")
    engine.submit(NodeSeen("linux-1", "i-1", "linux"))
    assert engine.submit(PodSeen("linux-1", pod.facts)) == PodAnswer("ignored", "the node is not managed")

    engine.join(NODE, ROOMY)
    engine.idle()
    assert [waiting.why for (node, _), waiting in engine.state.windows.waiting.items() if node == NODE] == ["empty"]
    engine.settle()
    assert pod.annotation and list(the_pool(engine).used) == [pod.uid]


@pytest.mark.spec("WIN-66", "WIN-56")
def test_a_completed_pod_gives_its_address_back_once() -> None:
    """Phase Succeeded frees it; the delete that follows finds nothing to do."""
    engine, _ = cluster(keys())
    (pod,) = engine.add_pods(1, NODE)
    engine.idle()
    engine.complete(pod)
    engine.delete_pods([pod])

    assert (len(the_pool(engine).cooling), len(the_pool(engine).used)) == (1, 0)


@pytest.mark.spec("V-100", "WIN-62", "WIN-63")
@pytest.mark.parametrize("strict", ["", "windows_allocated_event_on_failure"])
def test_a_failed_annotation_frees_the_address_and_picks_another(strict: str) -> None:
    """The address rests, the pod gets another one; upstream announces the first as allocated all the same."""
    engine, _ = cluster(keys(), strict=strict)
    failures: list[str] = []

    def refuse(call: Call) -> Failed | None:
        if isinstance(call, AnnotatePod) and not failures:
            failures.append(call.value)
            return Failed("Conflict", "the pod's UID is another")
        return None

    engine.refuse = refuse
    (pod,) = engine.add_pods(1, NODE)
    engine.advance(engine.now + SECOND)

    assert pod.annotation not in ("", failures[0])
    assert [address for address, _, _ in the_pool(engine).cooling] == failures
    assert len(reasons(engine, "ResourceAllocated")) == (2 if strict else 1)


@pytest.mark.spec("WIN-62")
def test_a_pod_deleted_before_it_is_annotated() -> None:
    """The API server says not found, the address rests, nobody waits."""
    engine, _ = cluster(keys())
    deleted: list[str] = []

    def refuse(call: Call) -> Failed | None:
        if isinstance(call, AnnotatePod) and not deleted:
            deleted.append(call.uid)
            engine.delete_pods([engine.objects.pods[call.uid]])
        return None

    engine.refuse = refuse
    engine.add_pods(1, NODE)
    engine.settle()

    assert (len(the_pool(engine).used), dict(engine.state.windows.waiting)) == (0, {})
    assert settled(engine).warm == 3


@pytest.mark.spec("WIN-57", "WIN-122", "V-99")
def test_each_pod_s_address_goes_back_to_its_own_pool() -> None:
    """Two pods of either kind on one node, the prefix one deleted first."""
    engine, _ = cluster(keys())
    (old,) = engine.add_pods(1, NODE)
    engine.idle()
    engine.configure(keys(True))
    engine.idle()
    (new,) = engine.add_pods(1, NODE)
    engine.idle()
    engine.delete_pods([new])
    assert (len(the_pool(engine).cooling), len(the_pool(engine, "prefix").cooling)) == (0, 1)

    engine.delete_pods([old])
    assert (len(the_pool(engine).cooling), len(the_pool(engine, "prefix").cooling)) == (1, 1)
