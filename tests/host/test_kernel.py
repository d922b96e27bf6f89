"""The host as the kernel has it, in namespaces of the test's own: ENIs as links, tables, rules, SNAT, marks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ipamd.core.calls import (
    Attached,
    AttachNetworkInterface,
    CreatedEni,
    CreateNetworkInterface,
    DeleteNetworkInterface,
    DetachNetworkInterface,
    PrunePodRules,
    RefreshPodRules,
    SetUpEni,
    SetUpHost,
    TearDownEni,
    UnassignPrivateIpAddresses,
)
from ipamd.core.types import CallId
from ipamd.ec2.embedded import CloudOptions, EmbeddedCloud
from ipamd.runtime.enilinks import EniLinks, LinkedCloud
from ipamd.runtime.hostkernel import KernelHost
from ipamd.runtime.hostnet import HostError
from ipamd.runtime.hostplan import HostOptions
from ipamd.runtime.hosttools import Tools

from .rig import Netns, namespaces, needs_netns

pytestmark = needs_netns
OUTSIDE = "198.51.100.1"


async def at_once(_: float) -> None:
    """Waits for nobody."""


class Node:
    """An instance of an embedded cloud whose ENIs are links, and its host."""

    def __init__(self, netns: Netns, vpc: Netns, directory: Path, subnet: str, options: HostOptions) -> None:
        self.netns = netns
        self.inner = EmbeddedCloud.open(directory, CloudOptions(subnet=subnet))
        self.links = EniLinks(self.inner.vpc, Tools(vpc.name), Tools(netns.name))
        self.cloud = LinkedCloud(self.inner, self.links)
        self.host = KernelHost(options, Tools(netns.name), at_once)
        primary = self.inner.vpc.enis[self.inner.vpc.instances[self.inner.vpc.first_instance].primary_eni]
        self.primary = primary.addresses[0]
        self.mac = primary.mac
        self.cidr = subnet

    async def begin(self) -> Node:
        """Links and the host's own rules."""
        await self.links.open()
        await self.host.call(SetUpHost(self.primary, ("10.0.0.0/16",), self.mac))
        return self

    async def grow(self, device: int, ips: int = 3) -> tuple[CreatedEni, str]:
        """One more ENI, attached and set up; with the id of its attachment."""
        node = await self.cloud.node()
        create = CreateNetworkInterface(node.subnet, (), "t", f"token-{device}", secondary_ips=ips)
        eni = await self.cloud.call(create, CallId(device))
        assert isinstance(eni, CreatedEni)
        attached = await self.cloud.call(AttachNetworkInterface(eni.eni, device))
        assert isinstance(attached, Attached)
        await self.host.call(SetUpEni(eni.eni, eni.mac, device, device + 1, eni.primary_ip, self.cidr))
        return eni, attached.attachment

    def pod(self, pod: Netns, address: str, table: int) -> None:
        """Wire a pod as the plugin does, for the ENI of this table."""
        veth = f"eni{address.replace('.', '')}"[:15]
        self.netns.ip("link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", pod.name)
        self.netns.ip("link", "set", veth, "up")
        pod.ip("link", "set", "eth0", "up")
        pod.ip("addr", "add", f"{address}/32", "dev", "eth0")
        pod.ip("route", "add", "169.254.1.1", "dev", "eth0", "scope", "link")
        pod.ip("route", "add", "default", "via", "169.254.1.1", "dev", "eth0")
        mac = self.netns.seen("link", "show", "dev", veth)[0]["address"]
        pod.ip("neigh", "add", "169.254.1.1", "lladdr", mac, "dev", "eth0", "nud", "permanent")
        self.netns.ip("route", "add", address, "dev", veth, "scope", "link")
        self.netns.ip("rule", "add", "to", address, "lookup", "main", "priority", "512")
        if table != 254:
            self.netns.ip("rule", "add", "from", address, "lookup", str(table), "priority", "1536")


def on_a_node(
    tmp_path: Path, test: Callable[[Node, Netns, Netns], Awaitable[None]], options: HostOptions | None = None
) -> None:
    """Run a test with one node, its VPC, and a namespace to use as it likes."""

    async def scene() -> None:
        with namespaces("node", "vpc", "other") as (netns, vpc, other):
            node = await Node(netns, vpc, tmp_path, "10.0.0.0/24", options or HostOptions()).begin()
            await test(node, vpc, other)
            await node.cloud.close()

    asyncio.run(scene())


def rules(netns: Netns) -> list[dict[str, Any]]:
    """IPv4 rules but for the three that are always there."""
    return [rule for rule in netns.seen("-4", "rule", "show") if rule["priority"] not in (0, 32766, 32767)]


def routes(netns: Netns, table: str) -> list[tuple[str, str, str]]:
    """(destination, gateway, link) of an IPv4 table, "" if it has none."""
    shown = netns.seen("-4", "route", "show", "table", "all")
    return [(r["dst"], r.get("gateway", ""), r["dev"]) for r in shown if r.get("table", "254") == table]


def test_a_grown_eni_is_set_up_as_upstream_does_it(tmp_path: Path) -> None:
    """Link, address, table 2 with the subnet's gateway, rule 32765; main has no route over it."""

    async def grows(node: Node, vpc: Netns, _: Netns) -> None:
        eni = (await node.grow(1))[0]

        link = next(link for link in node.netns.seen("addr", "show") if link["address"] == eni.mac)
        held = [a for a in link["addr_info"] if a["family"] == "inet"]
        assert link["ifname"] == "ens6" and link["mtu"] == 9001 and "UP" in link["flags"]
        assert [(a["local"], a["prefixlen"]) for a in held] == [(eni.primary_ip, 24)]
        assert sorted(routes(node.netns, "2")) == [("10.0.0.1", "", "ens6"), ("default", "10.0.0.1", "ens6")]
        assert routes(node.netns, "254") == [("default", "10.0.0.1", "ens5"), ("10.0.0.0/24", "", "ens5")]
        assert rules(node.netns) == [
            {"priority": 1024, "src": "all", "fwmark": "0x80", "fwmask": "0x80", "table": "254"},
            {"priority": 32765, "src": eni.primary_ip, "table": "2"},
        ]
        assert node.netns.pings("10.0.0.1") and vpc.pings(eni.primary_ip)

    on_a_node(tmp_path, grows)


def test_what_is_set_up_twice_is_as_if_once(tmp_path: Path) -> None:
    """A restarted daemon asks for it all again: nothing of the node or of the VPC changes, chains included."""

    async def again(node: Node, vpc: Netns, _: Netns) -> None:
        eni = (await node.grow(1))[0]
        before = node.netns.network(), vpc.network()

        await node.begin()
        await node.host.call(SetUpEni(eni.eni, eni.mac, 1, 2, eni.primary_ip, node.cidr))

        assert (node.netns.network(), vpc.network()) == before
        assert "-A AWS-SNAT-CHAIN-0 -d 10.0.0.0/16" in " ".join(before[0]["iptables"])
        assert "chain snat-mark" in before[0]["nftables"]

    on_a_node(tmp_path, again)


def test_what_is_right_already_is_not_written_again(tmp_path: Path) -> None:
    """Counters of the chains go on: nobody rewrote them."""

    async def counts(node: Node, vpc: Netns, other: Netns) -> None:
        assert node.netns.pings("10.0.0.1")
        counted = node.netns.within("iptables-save", "-c", "-t", "nat"), node.netns.within("nft", "list", "ruleset")

        await node.begin()

        comments = [line for line in counted[0].splitlines() if not line.startswith("#")]
        again = node.netns.within("iptables-save", "-c", "-t", "nat").splitlines()
        assert [line for line in again if not line.startswith("#")] == comments
        assert node.netns.within("nft", "list", "ruleset") == counted[1]

    on_a_node(tmp_path, counts)


def test_a_freed_eni_leaves_nothing(tmp_path: Path) -> None:
    """EC2 takes the link, with it the table's routes; TearDownEni the rule: the node is as before the ENI came."""

    async def frees(node: Node, vpc: Netns, _: Netns) -> None:
        before = node.netns.network(), vpc.network()
        eni, attachment = await node.grow(1)
        assert (node.netns.network(), vpc.network()) != before

        await node.cloud.call(DetachNetworkInterface(eni.eni, attachment))
        await node.cloud.call(DeleteNetworkInterface(eni.eni))
        await node.host.call(TearDownEni(eni.eni, eni.primary_ip))
        await node.host.call(TearDownEni(eni.eni, eni.primary_ip))

        assert (node.netns.network(), vpc.network()) == before

    on_a_node(tmp_path, frees)


def test_pods_of_two_enis_and_of_two_nodes_reach_each_other(tmp_path: Path) -> None:
    """Over the VPC's namespace, each by the ENI that its address belongs to."""

    async def scene() -> None:
        with namespaces("a", "b", "vpc", "poda", "podb") as (a, b, vpc, poda, podb):
            first = await Node(a, vpc, tmp_path / "a", "10.0.0.0/24", HostOptions()).begin()
            second = await Node(b, vpc, tmp_path / "b", "10.0.1.0/24", HostOptions()).begin()
            (one, _), (two, _) = await first.grow(1), await second.grow(1)

            first.pod(poda, one.addresses[0], 2)
            second.pod(podb, two.addresses[0], 2)

            assert poda.pings(two.addresses[0]) and podb.pings(one.addresses[0])
            assert poda.pings(second.primary) and poda.pings(first.primary) and a.pings(one.addresses[0])
            await second.cloud.call(UnassignPrivateIpAddresses(two.eni, two.addresses[:1]))
            assert not poda.pings(two.addresses[0])
            await first.cloud.close()
            await second.cloud.close()

    asyncio.run(scene())


@pytest.mark.parametrize(("external", "reached"), [(False, True), (True, False)])
def test_traffic_out_of_the_vpc_has_the_nodes_address(tmp_path: Path, external: bool, reached: bool) -> None:
    """A place outside knows the way to the node's primary address alone: a pod of another ENI gets its answer there
    only by SNAT and the mark, which send it out by the primary ENI."""

    async def leaves(node: Node, vpc: Netns, outside: Netns) -> None:
        vpc.ip("link", "add", "out", "type", "veth", "peer", "name", "eth0", "netns", outside.name)
        vpc.ip("addr", "add", "198.51.100.254/24", "dev", "out")
        vpc.ip("link", "set", "out", "up")
        outside.ip("addr", "add", f"{OUTSIDE}/24", "dev", "eth0")
        outside.ip("link", "set", "eth0", "up")
        outside.ip("route", "add", node.primary, "via", "198.51.100.254")
        eni = (await node.grow(1))[0]
        with namespaces("pod") as (pod,):
            node.pod(pod, eni.addresses[0], 2)

            assert pod.pings(OUTSIDE) is reached
            assert node.netns.pings(OUTSIDE)

    on_a_node(tmp_path, leaves, HostOptions(external_snat=external))


def test_a_changed_vpc_changes_just_its_rules(tmp_path: Path) -> None:
    """A CIDR that comes stands first, in both backends' tables; one that goes is gone."""

    async def changes(node: Node, vpc: Netns, _: Netns) -> None:
        await node.host.call(SetUpHost(node.primary, ("10.0.0.0/16", "10.9.0.0/16"), node.mac))
        chain = [line for line in node.netns.rules_text() if line.startswith("-A AWS-SNAT-CHAIN-0")]
        assert [line.split()[3] for line in chain[:2]] == ["10.9.0.0/16", "10.0.0.0/16"] and len(chain) == 3
        assert "ip daddr 10.9.0.0/16 counter return" in node.netns.within("nft", "-s", "list", "ruleset")

        await node.host.call(SetUpHost(node.primary, ("10.0.0.0/16",), node.mac))
        assert not any("10.9.0.0/16" in line for line in node.netns.rules_text())

    on_a_node(tmp_path, changes)


@pytest.mark.spec("DM-63", "NETW-6")
def test_rules_of_pods_are_pruned_and_refreshed(tmp_path: Path) -> None:
    """A dropped pod's two rules go; a recovered pod's several become one."""

    async def pods(node: Node, vpc: Netns, _: Netns) -> None:
        for words in ("to 10.0.0.7 lookup main", "to 10.0.0.8 lookup main"):
            node.netns.ip("rule", "add", *words.split(), "priority", "512")
        for cidr in ("10.0.0.0/16", "10.1.0.0/16"):
            node.netns.ip("rule", "add", "from", "10.0.0.8", "to", cidr, "lookup", "2", "priority", "1536")
        node.netns.ip("rule", "add", "from", "10.0.0.7", "lookup", "2", "priority", "1536")

        await node.host.call(PrunePodRules("10.0.0.7"))
        await node.host.call(RefreshPodRules((("10.0.0.8", 2),)))

        left = [(rule["priority"], rule["src"], rule.get("dst", "")) for rule in rules(node.netns)]
        assert left == [(512, "all", "10.0.0.8"), (1024, "all", ""), (1536, "10.0.0.8", "")]

    on_a_node(tmp_path, pods)


@pytest.mark.spec("NETW-8")
def test_ipv6_egress_blocks_node_local_addresses(tmp_path: Path) -> None:
    """One rule at the head of ip6tables' FORWARD, and not one more at the second start."""

    async def blocks(node: Node, vpc: Netns, _: Netns) -> None:
        await node.begin()
        saved = node.netns.within("ip6tables-save", "-t", "filter")
        assert saved.count("fd00::ac:0/118") == 1

    on_a_node(tmp_path, blocks, HostOptions(v6_egress=True))


@pytest.mark.spec("NETW-1", "INIT-34")
def test_a_link_that_never_comes_is_named_in_the_error(tmp_path: Path) -> None:
    """Five tries, then the text by which a retry is known to be pointless."""

    async def lacks(node: Node, vpc: Netns, _: Netns) -> None:
        with pytest.raises(HostError) as told:
            await node.host.call(SetUpEni("eni-9", "02:00:00:00:00:99", 2, 3, "10.0.0.99", node.cidr))
        assert told.value.message == (
            "setupENINetwork: failed to find the link which uses MAC address 02:00:00:00:00:99: "
            "no interface found which uses mac address 02:00:00:00:00:99 (attempt 5/5)"
        )

    on_a_node(tmp_path, lacks)


def test_a_tools_complaint_names_the_line(tmp_path: Path) -> None:
    """`ip -batch` says a number; who reads the error wants the words."""

    async def complains(node: Node, vpc: Netns, _: Netns) -> None:
        with pytest.raises(HostError, match=r"Cannot find device .*\(link set dev nowhere up\)"):
            await Tools(node.netns.name).batch(["link set dev lo up", "link set dev nowhere up"])

    on_a_node(tmp_path, complains)


def test_a_missing_namespace_or_a_taken_name_is_told_with_the_remedy(tmp_path: Path) -> None:
    """Before anything is made."""

    async def scene() -> None:
        with namespaces("node", "vpc") as (netns, vpc):
            node = Node(netns, vpc, tmp_path, "10.0.0.0/24", HostOptions())
            nowhere = EniLinks(node.inner.vpc, Tools("not-there"), Tools(netns.name))
            with pytest.raises(HostError, match="make it first: ip netns add not-there"):
                await nowhere.open()
            netns.ip("link", "add", "ens5", "type", "veth", "peer", "name", "x")
            with pytest.raises(HostError, match="another one has this name"):
                await node.links.open()
            await node.cloud.close()

    asyncio.run(scene())


@pytest.mark.spec("RPC-27")
def test_a_links_index_is_found_by_its_mac(tmp_path: Path) -> None:
    """As the kernel counts links; 0 for a MAC that no link has."""

    async def test(node: Node, vpc: Netns, other: Netns) -> None:
        eni, _ = await node.grow(1)
        (shown,) = [link for link in node.netns.seen("link", "show") if link.get("address") == eni.mac]

        assert await node.host.link_index(eni.mac) == shown["ifindex"] > 1
        assert await node.host.link_index("02:ff:ff:ff:ff:ff") == 0

    on_a_node(tmp_path, test)
