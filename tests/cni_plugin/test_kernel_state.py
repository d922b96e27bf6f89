"""The exact state of a real kernel after ADD, and that DEL and the end of the pod leave none of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ipamd.rpc import rpc_pb2
from tests.cni_plugin import shown
from tests.cni_plugin.cases import CASES, LINK, PRIMARY, SECONDARY, SIX, STANDARD, STRICT, TWO_CARDS, Case
from tests.cni_plugin.harness import Node, deleted
from tests.cni_plugin.place import Place, call
from tests.netns import rig
from tests.netns.echo import unanswered

Conf = Callable[..., bytes]


@pytest.fixture
def place() -> Iterator[Place]:
    """Both, empty."""
    rig.require()
    with rig.namespaces("node", "pod") as (host, pod):
        yield Place(host, pod)


def check(place: Place, case: Case) -> None:
    """Compare the kernel with the case's rows."""
    macs = {f"mac{number or ''}": shown.mac(place.host, name) for number, name in enumerate(case.host_links)}
    assert shown.links(place.pod) == dict.fromkeys(case.pod_links, LINK)
    assert shown.addresses(place.pod) == case.pod_addresses
    assert shown.routes(place.pod, case.family) == case.pod_routes
    assert shown.rules(place.pod, case.family) == case.pod_rules
    assert shown.neighbours(place.pod) == {row.format(**macs) for row in case.pod_neighbours}
    links = shown.links(place.host)
    assert {name: links[name] for name in case.host_links if name[:5] != "vlan."} == {
        name: LINK for name in case.host_links if name[:5] != "vlan."
    }
    assert shown.routes(place.host, case.family) == case.host_routes
    assert shown.rules(place.host, case.family) == case.host_rules
    assert shown.addresses(place.host) == set()
    assert shown.neighbours(place.host) == set()


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(PRIMARY, id="primary ENI", marks=pytest.mark.spec("NETW-5", "NETW-9")),
        pytest.param(SECONDARY, id="secondary ENI", marks=pytest.mark.spec("NETW-5", "NETW-9")),
        pytest.param(SIX, id="IPv6", marks=pytest.mark.spec("NETW-5", "NETW-9")),
        pytest.param(TWO_CARDS, id="two network cards", marks=pytest.mark.spec("NETW-5", "NETW-9", "RPC-60")),
    ],
)
def test_add_makes_exactly_these_rows_and_del_takes_them_away(node: Node, conf: Conf, place: Place, case: Case) -> None:
    """Links, addresses, routes, rules and neighbours on both sides; afterwards the host is as it was."""
    before = rig.whole(place.host)
    node.add = case.reply
    node.delete = deleted(*case.reply.IPAllocationMetadata)

    add = call(place, "ADD", conf(mtu="1500", **case.config))
    assert add.code == 0, add.stdout + add.stderr
    check(place, case)
    delete = call(place, "DEL", conf(mtu="1500", **case.config))

    assert (delete.code, delete.stdout) == (0, "")
    assert shown.rules(place.host, case.family) == set()
    assert shown.routes(place.host, case.family) == set()
    assert set(shown.links(place.host)) == set(case.host_links)  # they go with the pod's namespace
    rig.ip("netns", "delete", place.pod)
    rig.gone(place.host, case.host_links)
    assert rig.whole(place.host) == before


@pytest.mark.spec("NETW-5", "NETW-9", "RPC-26", "RPC-48")
@pytest.mark.parametrize("case", [pytest.param(STRICT, id="strict"), pytest.param(STANDARD, id="standard")])
def test_branch_pods_where_the_kernel_has_vlans(node: Node, conf: Conf, place: Place, case: Case) -> None:
    """As above with a VLAN on the trunk; test_plan compares the operations where the kernel has no 802.1q."""
    rig.ip("link", "add", "name", "trunk", "mtu", "1500", "type", "veth", "peer", "name", "far", netns=place.host)
    rig.ip("link", "set", "trunk", "up", netns=place.host)
    if not shown.knows(place.host, "vlan"):
        pytest.skip("this kernel has no 802.1q (vlan) links; the operations are compared in test_plan")
    rig.ip("link", "delete", "probe.1", netns=place.host)
    before = rig.whole(place.host)
    node.add = rpc_pb2.AddNetworkReply()
    node.add.CopyFrom(case.reply)
    node.add.ParentIfIndex = rig.rows(place.host, "link", "show", "dev", "trunk")[0]["ifindex"]

    add = call(place, "ADD", conf(mtu="1500", **case.config))
    assert add.code == 0, add.stdout + add.stderr
    check(place, case)
    assert shown.mac(place.host, "vlan.eth.5") == "02:c3:46:52:cb:57"
    delete = call(place, "DEL", conf(mtu="1500", prevResult=add.document, **case.config))

    assert (delete.code, delete.stdout) == (0, "")
    rig.ip("netns", "delete", place.pod)
    rig.gone(place.host, case.host_links)
    assert rig.whole(place.host) == before


def test_sysctls_of_the_hosts_end(node: Node, conf: Conf, place: Place) -> None:
    """It learns no IPv6 address from the pod; the pod's own end and loopback speak IPv6."""
    node.add = SIX.reply
    folder = "net/ipv6/conf"
    for name in ("all", "default", "lo"):
        rig.sysctl(place.pod, f"{folder}/{name}/disable_ipv6", "1")

    add = call(place, "ADD", conf())

    assert add.code == 0, add.stdout
    [host_end] = SIX.host_links
    keys = ("accept_ra", "accept_redirects", "forwarding")
    assert [rig.sysctl(place.host, f"{folder}/{host_end}/{key}") for key in keys] == ["0", "1", "0"]
    assert [rig.sysctl(place.pod, f"{folder}/{name}/disable_ipv6") for name in ("eth0", "lo")] == ["0", "0"]


def test_pod_and_host_reach_each_other(node: Node, conf: Conf, place: Place) -> None:
    """The pod finds the host through its permanent neighbour, the host the pod by asking over the link."""
    node.add = PRIMARY.reply
    rig.ip("address", "add", "10.0.0.4/32", "dev", "lo", netns=place.host)

    assert call(place, "ADD", conf()).code == 0

    assert unanswered(place.pod, ["10.0.0.4"]) == set()
    assert unanswered(place.host, ["10.0.1.9"]) == set()


def test_a_case_is_a_different_state() -> None:
    """The table tells its cases apart."""
    states = {(frozenset(case.host_rules), frozenset(case.pod_routes), case.host_links) for case in CASES.values()}

    assert len(states) == len(CASES)
