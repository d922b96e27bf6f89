"""Security groups for pods: the trunk that is asked for, and the answers for pods with a branch ENI."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core.commands import AddNetwork, Answer, BranchAssigned, BranchFault, BranchReleased, DelNetwork, Refused
from ipamd.core.kube import AddFeature, KubeNode, KubePod
from ipamd.core.pod_eni import Unusable, first, gateway
from ipamd.core.pool_linux import has_room_for_eni
from ipamd.core.settings import Node, Settings
from ipamd.sim.cluster import SimCluster
from ipamd.sim.engine import Crashed

from .world import Bench, Lab, pod, sandbox

SGP = Settings(pod_eni=True)
FEATURE = ("SecurityGroupsForPods", "")
BRANCH = {
    "eniId": "eni-b", "ifAddress": "02:00:00:00:00:0b", "privateIp": "10.0.7.9", "ipv6Addr": "fd00::9", "vlanId": 7,
    "subnetCidr": "10.0.7.0/24", "subnetV6Cidr": "fd00::/64",
}  # fmt: skip


def annotated(**changes: Any) -> str:
    return json.dumps([BRANCH | changes])


def bench(settings: Settings = SGP, trunk: bool = True) -> Bench:
    """A node with two addresses and, if wanted, a trunk ENI."""
    made = Bench(settings)
    made.eni("eni-0", 0, "10.0.0.1/32", "10.0.0.2/32", primary=True)
    if trunk:
        made.eni("eni-t", 1, trunk=True)
    return made


def ask(node: Bench, kube_pod: KubePod | None) -> Answer:
    return node.tell(AddNetwork(sandbox("web"), pod("web"), kube_pod=kube_pod))


@pytest.mark.spec("RPC-25", "RPC-26")
def test_the_answer_for_a_branch_pod_is_what_its_annotation_says() -> None:
    """Nothing is assigned and nothing recorded."""
    node = bench()
    before = len(node.records)

    answer = ask(node, KubePod("u", True, annotated(), 3))

    assert answer == BranchAssigned("10.0.7.9", 7, "02:00:00:00:00:0b", "10.0.7.1", 3)
    assert len(node.records) == before


@pytest.mark.spec("RPC-26")
def test_in_ipv6_mode_address_and_gateway_are_of_that_family() -> None:
    """The gateway is a constant."""
    node = bench(Settings(pod_eni=True, ipv6=True, prefix_delegation=True), trunk=False)
    node.eni("eni-t", 1, trunk=True)

    answer = ask(node, KubePod("u", True, annotated(), 3))

    assert answer == BranchAssigned("fd00::9", 7, "02:00:00:00:00:0b", "fe80:ec2::1", 3)


@pytest.mark.spec("RPC-22", "RPC-24")
@pytest.mark.parametrize(
    "trunk, kube_pod, reason",
    [
        (True, None, "api_error"),
        (False, KubePod("u", True, annotated(), 3), "attach_pending"),
        (True, KubePod("u", True, annotated(), 0), "attach_pending"),
        (True, KubePod("u", True, None, 3), "attach_pending"),
        (True, KubePod("u", True, "{", 3), "invalid"),
        (True, KubePod("u", True, "[]", 3), "invalid"),
        (True, KubePod("u", True, annotated(privateIp=""), 3), "invalid"),
        (True, KubePod("u", True, annotated(ifAddress=""), 3), "invalid"),
        (True, KubePod("u", True, annotated(vlanId=0), 3), "invalid"),
        (True, KubePod("u", True, annotated(vlanId="7"), 3), "invalid"),
        (True, KubePod("u", True, annotated(subnetCidr="10.0.7.0"), 3), "invalid"),
        (True, KubePod("u", True, annotated(subnetCidr="10.0.700.0/24"), 3), "invalid"),
    ],
)
def test_what_keeps_a_branch_pod_from_an_address(trunk: bool, kube_pod: KubePod | None, reason: str) -> None:
    """Each is a refusal that is recorded with its reason."""
    node = bench(trunk=trunk)

    answer = ask(node, kube_pod)

    assert isinstance(answer, Refused) and answer.reason == reason
    assert [event.reason for event in node.events(ev.AssignRefused)] == [reason]


@pytest.mark.spec("RPC-23")
def test_other_pods_get_an_address_of_the_pool() -> None:
    """And without ENABLE_POD_ENI nobody looks at the Pod."""
    assert ask(bench(), KubePod("u")) == ask(bench(Settings()), None)


@pytest.mark.spec("RPC-48", "RPC-49", "RPC-50", "RPC-51")
@pytest.mark.parametrize(
    "kube_pod, answer",
    [
        (KubePod("uid", True, annotated()), BranchReleased("10.0.7.9", 7)),
        (KubePod("other", True, annotated()), BranchFault("pod UID mismatch: got uid, expected other")),
        (KubePod("uid", True, "[]"), BranchFault("parsed PodENIData is empty")),
    ],
)
def test_del_of_a_branch_pod_is_answered_from_its_annotation(kube_pod: KubePod, answer: Answer) -> None:
    """Only where no store knows the sandbox."""
    assert bench().tell(DelNetwork(sandbox("web"), uid="uid", kube_pod=kube_pod)) == answer


@pytest.mark.spec("RPC-48")
def test_del_with_an_annotation_that_is_no_json_is_a_fault() -> None:
    """And a pod without the annotation is unknown as ever."""
    node = bench()

    fault = node.tell(DelNetwork(sandbox("web"), uid="uid", kube_pod=KubePod("uid", True, "{")))
    unknown = node.tell(DelNetwork(sandbox("web"), uid="uid", kube_pod=KubePod("uid")))

    assert isinstance(fault, BranchFault) and "JSON" in fault.text
    assert type(unknown).__name__ == "UnknownPod"


@pytest.mark.spec("RPC-25")
@pytest.mark.parametrize("key", ["vlanID", "vlanId", "VLANID"])
def test_keys_are_read_in_any_case(key: str) -> None:
    """The controller writes one, upstream's struct names another."""
    branch = first(json.dumps([{key: 7}, {}]))

    assert branch is not None and branch.vlan == 7


@pytest.mark.parametrize(
    "text", ["", "7", '"x"', "[7]", '[{"vlanID": 1.5}]', '[{"privateIp": 7}]', '[{"vlanID": true}]']
)
def test_an_annotation_of_another_shape_is_named_unusable(text: str) -> None:
    """Whatever a pod's owner wrote."""
    with pytest.raises(Unusable):
        first(text)


@pytest.mark.parametrize("cidr, found", [("10.0.7.200/25", "10.0.7.129"), ("0.0.0.0/0", "0.0.0.1")])
def test_the_gateway_is_the_first_address_of_the_subnet(cidr: str, found: str) -> None:
    """Whatever bits are set beyond the mask."""
    assert gateway(cidr) == found


# ---- the trunk -----------------------------------------------------------------------------------------------


@pytest.mark.spec("SGP-5", "SGP-6", "TV-58")
@pytest.mark.parametrize("max_eni, features", [(1, ()), (3, (FEATURE,))])
def test_the_cninode_is_told_where_there_is_a_slot(max_eni: int, features: tuple[tuple[str, str], ...]) -> None:
    """With no room for another ENI it is left alone."""
    node = Lab(Settings(pod_eni=True, max_eni=max_eni), kube=SimCluster(KubeNode())).start()

    assert node.kube.features == features


@pytest.mark.spec("SGP-3", "SGP-7")
def test_a_feature_that_somebody_takes_away_comes_back_and_quiet_rounds_leave_no_record() -> None:
    """Every 5 s until the trunk is there."""
    node = Lab(Settings(pod_eni=True, warm_ip_target=1), kube=SimCluster(KubeNode())).start()
    quiet = node.mark()
    node.run(30)
    calls = node.calls(AddFeature, quiet)
    other = ("Other", "x")
    node.kube.features = (other,)

    node.run(6)

    assert calls == [] and list(node.kube.features) == [other, FEATURE]


@pytest.mark.spec("SGP-6")
def test_a_cninode_that_cannot_be_written_is_counted_and_tried_again() -> None:
    """The node comes up all the same."""
    kube = SimCluster(KubeNode())
    kube.down = True
    node = Lab(SGP, kube=kube).start()
    failed = node.counted()

    kube.down = False
    node.run(6)

    assert node.state.phase == "ready" and "tryEnableSecurityGroupsForPods" in failed
    assert kube.features == (FEATURE,)


@pytest.mark.spec("SGP-4")
def test_custom_networking_is_told_too_and_its_failure_is_fatal() -> None:
    """The feature carries the ENIConfig's name; `default` is not told."""
    settings = Settings(pod_eni=True, custom_networking=True, provisioning_disabled=True)
    named = Lab(settings, kube=SimCluster(KubeNode({"k8s.amazonaws.com/eniConfig": "az1"}))).start()
    default = Lab(settings, kube=SimCluster(KubeNode())).start()
    down = SimCluster(KubeNode({"k8s.amazonaws.com/eniConfig": "az1"}))
    down.down = True

    assert named.kube.features == (("CustomNetworking", "az1"), FEATURE)
    assert default.kube.features == (FEATURE,)
    with pytest.raises(Crashed, match="features"):
        Lab(settings, kube=down).start()


@pytest.mark.spec("POOL-38", "LIM-9")
def test_a_slot_is_kept_for_the_trunk_where_the_type_can_have_one() -> None:
    """Until the trunk is in the store."""
    node = Node("i-1", "test", primary_eni="eni-0", enis_max=2, ips_per_eni=15)
    reserved, there = Bench(SGP, node), Bench(SGP, Node("i-1", "test", enis_max=3, ips_per_eni=15))
    xen = Bench(SGP, Node("i-1", "test", enis_max=2, ips_per_eni=15, trunking_compatible=False))
    for each in (reserved, there, xen):
        each.eni("eni-0", 0, primary=True)
    there.eni("eni-t", 1, trunk=True)

    assert [has_room_for_eni(each.state, 0) for each in (reserved, there, xen)] == [False, True, True]


@pytest.mark.spec("REC-1", "SGP-7", "SGP-8")
def test_a_trunk_that_is_attached_is_found_within_one_cycle_and_serves_no_pods() -> None:
    """Reconciling does not wait a minute while a trunk is missing; nothing is asked for once it is there."""
    node = Lab(Settings(pod_eni=True, warm_ip_target=1), instance_type="m5.large", kube=SimCluster(KubeNode())).start()
    node.run(7)
    eni = node.foreign(device=2)
    node.vpc.install((msgspec.structs.replace(node.vpc.enis[eni], interface_type="trunk"),), node.now)

    node.run(10)

    assert node.state.enis[eni].trunk and not node.state.enis[eni].blocks
    assert node.vpc.enis[eni].tags == {}
    before = node.mark()
    node.kube.features = ()
    node.run(50)
    assert node.calls(AddFeature, before) == []
