"""What is written into the cluster: pods' annotations, which answers wait for, and events about permissions."""

from __future__ import annotations

import pytest

from ipamd.core import events as ev
from ipamd.core.calls import DetachNetworkInterface, Failed, Succeeded
from ipamd.core.cluster import unpermitted
from ipamd.core.commands import AddNetwork, After, Assigned, DelNetwork, Released, Settle
from ipamd.core.kube import ClearPodIp, KubeNode, RecordEvent, SetPodIp
from ipamd.core.settings import Node, Quirks, Settings
from ipamd.core.types import CallId, Pod
from ipamd.ec2.state import VpcSettings
from ipamd.sim.cluster import SimCluster

from .world import Bench, Lab, pod, sandbox

ANNOTATED = Settings(annotate_pod_ip=True)
DENIED = Failed("UnauthorizedOperation", "You are not authorized to perform this operation.")
CLUSTER = Node("i-1", "test", primary_eni="eni-0", enis_max=4, ips_per_eni=15, cluster=True)


def bench(settings: Settings = ANNOTATED) -> Bench:
    made = Bench(settings)
    made.eni("eni-0", 0, "10.0.0.1/32", "10.0.0.2/32", primary=True)
    return made


@pytest.mark.spec("RPC-39", "EV-2", "EV-3")
def test_the_answer_to_add_waits_for_the_annotation() -> None:
    """The assignment is recorded with the intention to annotate; a repeated ADD annotates again."""
    node = bench()

    first = node.tell(AddNetwork(sandbox("web"), pod("web")))
    again = node.tell(AddNetwork(sandbox("web"), pod("web")))

    assert isinstance(first, After) and isinstance(first.answer, Assigned) and not first.answer.repeated
    assert isinstance(again, After) and isinstance(again.answer, Assigned) and again.answer.repeated
    assert again.call_id == first.call_id + 1
    assert [event.call for event in node.events(ev.CallStarted)] == [SetPodIp("default", "web", "10.0.0.1")] * 2


@pytest.mark.spec("RPC-39")
def test_an_annotation_that_fails_leaves_the_address_with_the_pod() -> None:
    """The end of the call is recorded, whatever it was."""
    node = bench()
    answer = node.tell(AddNetwork(sandbox("web"), pod("web")))
    assert isinstance(answer, After)

    node.tell(Settle(answer.call_id, Failed("", "pods is forbidden")))

    assert node.state.calls == {} and node.events(ev.CallEnded)[0].message == "pods is forbidden"
    assert sandbox("web") in node.state.stores[0].owners


@pytest.mark.spec("RPC-54", "EV-4")
@pytest.mark.parametrize("named", [Pod(), Pod("shop", "cart")])
def test_the_answer_to_del_waits_until_the_annotation_is_empty(named: Pod) -> None:
    """Of the pod that the caller names, or of the one that got the address."""
    node = bench()
    node.tell(AddNetwork(sandbox("web"), pod("web")))

    answer = node.tell(DelNetwork(sandbox("web"), "PodDeleted", named))

    assert isinstance(answer, After) and isinstance(answer.answer, Released)
    whose = named if named.name else pod("web")
    assert node.events(ev.CallStarted)[-1].call == ClearPodIp(whose.namespace, whose.name, "10.0.0.1")
    assert node.events(ev.AddressReleased)


@pytest.mark.spec("RPC-54")
def test_nobody_is_annotated_for_a_refusal_or_an_unknown_pod() -> None:
    """There is no address to tell of."""
    node = Bench(ANNOTATED)

    node.refused("web")
    node.delete("web")

    assert node.events(ev.CallStarted) == []


@pytest.mark.spec("EV-1", "EC2-50")
def test_a_missing_permission_is_told_once_in_six_minutes() -> None:
    """With the API's name and where to read on."""
    denied = VpcSettings(denied=("CreateNetworkInterface",))
    node = Lab(Settings(warm_eni_target=2), cloud=denied, kube=SimCluster(KubeNode())).start().run(300)
    early = list(node.kube.events)

    node.run(120)

    assert [event.action for event in early] == ["ec2:CreateNetworkInterface"]
    assert early[0].reason == "MissingIAMPermissions" and "missing permissions" in early[0].note
    assert len(node.kube.events) == 2


@pytest.mark.spec("EV-1")
def test_a_look_without_permission_is_told_too() -> None:
    """DescribeSubnets, say; without an API server there is nobody to tell."""
    denied = VpcSettings(denied=("DescribeSubnets",))
    told = Lab(cloud=denied, kube=SimCluster(KubeNode())).start().run(10)
    alone = Lab(cloud=denied).start().run(10)

    assert "ec2:DescribeSubnets" in [event.action for event in told.kube.events]
    assert alone.calls(RecordEvent) == []


@pytest.mark.spec("EC2-23")
@pytest.mark.parametrize("upstream, told", [(False, 1), (True, 0)])
def test_a_detach_without_permission_is_told_unless_upstream_is_followed(upstream: bool, told: int) -> None:
    """Upstream inspects the wrong error there."""
    node = Bench(Settings(quirks=Quirks(detach_raises_no_event=upstream)), CLUSTER)

    events = unpermitted(node.state, DetachNetworkInterface("eni-1", "attach-1"), DENIED, node.now)

    assert len(events) == told
    assert unpermitted(node.state, DetachNetworkInterface("eni-1", "attach-1"), Succeeded(), node.now) == []


def test_calls_of_the_side_lane_end_with_the_process() -> None:
    """A restart finds the annotation in flight and ends it as lost; the sandbox keeps its address."""
    node = Lab(Settings(annotate_pod_ip=True, warm_ip_target=2), kube=SimCluster(KubeNode())).start()
    node.kube.down = True
    node.pod("web")

    node.restart(seed=3).run(1)

    assert CallId(0) not in node.state.calls and sandbox("web") in node.state.stores[0].owners
