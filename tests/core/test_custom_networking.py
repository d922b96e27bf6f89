"""Custom networking, cordoned nodes and what else the Node object decides."""

from __future__ import annotations

import pytest

from ipamd.core import events as ev
from ipamd.core.calls import CreateNetworkInterface, ModifyNetworkInterfaceAttribute
from ipamd.core.commands import KubeNodeSeen
from ipamd.core.kube import EniConfigView, KubeNode
from ipamd.core.plan import plan
from ipamd.core.settings import Settings
from ipamd.sim.cluster import SimCluster
from ipamd.sim.engine import Crashed

from .world import Lab

KEY = "k8s.amazonaws.com/eniConfig"
EXTERNAL = "vpc.amazonaws.com/externalEniConfig"
AZ1 = KubeNode({KEY: "az1"})
CORDONED = KubeNode({KEY: "az1"}, unschedulable=True)
CUSTOM = Settings(custom_networking=True, warm_ip_target=3)


def lab(settings: Settings = CUSTOM, node: KubeNode = AZ1, groups: tuple[str, ...] = ("sg-2", "sg-1")) -> Lab:
    """A node whose ENIConfig az1 names a subnet of its own, 10.0.9.0/24."""
    kube = SimCluster(node)
    made = Lab(settings, kube=kube)
    kube.eni_configs["az1"] = EniConfigView(made.subnet("10.0.9.0/24"), groups)
    return made


@pytest.mark.spec("POOL-39", "POOL-40", "POOL-42", "TV-35")
def test_new_enis_are_made_as_the_eniconfig_says() -> None:
    """Subnet and security groups are its own; the primary ENI is left as it is."""
    node = lab().start()

    (made,) = node.calls(CreateNetworkInterface)

    assert made.subnet == node.kube.eni_configs["az1"].subnet
    assert made.security_groups == ("sg-1", "sg-2")
    assert node.shape() == [(0, 0), (3, 0)]
    assert node.pod("web").address.startswith("10.0.9.")


@pytest.mark.spec("POOL-39")
def test_an_eniconfig_without_groups_takes_the_primary_enis() -> None:
    """An empty list names none."""
    node = lab(groups=()).start()

    (made,) = node.calls(CreateNetworkInterface)

    assert made.security_groups == node.state.security_groups != ()


@pytest.mark.spec("POOL-40")
@pytest.mark.parametrize(
    "node",
    [
        KubeNode({EXTERNAL: "az1", KEY: "no"}, {KEY: "no"}),
        KubeNode({KEY: "no"}, {KEY: "az1"}),
        KubeNode({KEY: "az1"}),
    ],
)
def test_the_eniconfig_is_named_by_label_annotation_label(node: KubeNode) -> None:
    """The external label first, then the annotation, then the label."""
    assert lab(node=node).start().calls(CreateNetworkInterface)


@pytest.mark.spec("POOL-20", "POOL-41")
@pytest.mark.parametrize("node", [KubeNode(), KubeNode({KEY: ""}), CORDONED])
def test_a_pool_that_stays_empty_at_start_is_fatal(node: KubeNode) -> None:
    """No ENIConfig of that name, or a cordoned node: with custom networking there is nothing to serve from."""
    with pytest.raises(Crashed, match="prescale"):
        lab(node=node).start()


@pytest.mark.spec("POOL-18", "TV-36")
def test_a_cordoned_node_that_may_be_managed_grows_all_the_same() -> None:
    """AWS_MANAGE_ENIS_NON_SCHEDULABLE."""
    settings = Settings(custom_networking=True, warm_ip_target=3, manage_enis_non_schedulable=True)

    assert lab(settings, CORDONED).start().calls(CreateNetworkInterface)


@pytest.mark.spec("POOL-41")
def test_an_eniconfig_is_read_afresh_for_each_eni() -> None:
    """While it is missing the pool stays as it is, and refusals say so; a new one counts from the next ENI on."""
    node = lab().start()
    second = node.subnet("10.0.8.0/24")
    node.kube.eni_configs.clear()
    node.pods(3)
    node.run(10)

    refused = node.refused("late")
    node.kube.eni_configs["az1"] = EniConfigView(second)
    node.until(lambda: len(node.calls(CreateNetworkInterface)) == 2)

    assert refused.reason == "api_error" and "ENIConfig" in refused.fact
    assert node.calls(CreateNetworkInterface)[1].subnet == second


@pytest.mark.spec("POOL-51")
def test_security_groups_are_not_set_with_custom_networking() -> None:
    """The ENIConfig names them; the cache follows the primary ENI's all the same."""
    node = lab().start().run(120)

    changes = [call for call in node.calls(ModifyNetworkInterfaceAttribute) if call.security_groups is not None]

    assert changes == [] and node.events(ev.SecurityGroupsChanged)


@pytest.mark.spec("POOL-42", "EC2-37")
def test_prefixes_of_the_primary_eni_are_not_taken_but_its_addresses_are() -> None:
    """Whoever put them there."""
    prefixes = Settings(prefix_delegation=True, warm_prefix_target=1)
    node = Lab(prefixes, kube=SimCluster(AZ1))
    node.kube.eni_configs["az1"] = EniConfigView(node.subnet("10.0.9.0/24"))
    node.start()
    held = len(node.state.enis[node.primary].blocks)

    node.restart(settings=Settings(prefix_delegation=True, warm_prefix_target=1, custom_networking=True)).run(200)

    assert held and not node.state.enis[node.primary].blocks
    assert node.pod("web").address.startswith("10.0.9.")


@pytest.mark.spec("POOL-18", "POOL-19", "POOL-36")
def test_a_cordoned_node_neither_grows_nor_shrinks_its_enis() -> None:
    """Pods that the pool can hold still get addresses; the refusal after that says why there is none."""
    node = Lab(Settings(warm_ip_target=2), kube=SimCluster(KubeNode())).start()
    node.engine.submit(KubeNodeSeen(KubeNode(unschedulable=True)))
    node.pods(2)
    before = node.mark()

    node.run(120)

    assert node.all_calls(before) == []
    assert node.refused("late").reason == "unschedulable"
    node.engine.submit(KubeNodeSeen(KubeNode()))
    assert node.run(10).all_calls(before)


@pytest.mark.spec("POOL-19")
def test_a_node_that_cannot_be_read_counts_as_schedulable() -> None:
    """Without API server nothing is known of it."""
    node = Lab(Settings(warm_ip_target=2)).start()

    node.pods(2)

    assert node.state.kube_node is None
    assert plan(node.state, node.now).calls != ()


@pytest.mark.spec("INIT-7", "INIT-35")
def test_max_pods_comes_when_the_api_server_does() -> None:
    """A start without API server takes it over at the first sight of the Node; a capacity of 0 stops the pool."""
    node = Lab(Settings(warm_ip_target=2)).start()
    node.engine.submit(KubeNodeSeen(KubeNode(), max_pods=0))
    node.pods(2)
    before = node.mark()

    node.run(60)

    assert node.state.node.max_pods == 0 and node.state.cluster
    assert node.all_calls(before) == []


def test_the_same_node_twice_leaves_one_record() -> None:
    """A watch that lists again tells nothing new."""
    node = Lab(kube=SimCluster(KubeNode())).start()
    node.engine.submit(KubeNodeSeen(CORDONED))
    before = node.mark()

    node.engine.submit(KubeNodeSeen(CORDONED))

    assert node.mark() == before
