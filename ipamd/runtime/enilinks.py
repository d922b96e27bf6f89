"""ENIs of the embedded cloud as links: a veth pair each, between the node's namespace and one that plays the VPC.

    node namespace                      router namespace (one for any number of nodes)
    ens5 02:..  primary ENI  ========== v3f2a..   10.0.0.1/32, routes to the ENI's addresses
    ens6 02:..  device 1     ========== v91c0..   10.0.0.1/32, ...

The router end stands for the VPC: it answers ARP for every address (proxy ARP, and the subnet's gateway address on
each link), and sends what is for an ENI's address or prefix down that ENI's link, to its primary address. So pods of
any ENI and any node reach each other just as over a VPC, and nothing else is bridged.

A secondary ENI's link comes as on EC2: down and without addresses, which is SetUpEni's work. The primary one comes
up with its address and a default route, as the machine's own DHCP client leaves it. When EC2 takes the ENI, the pair
goes, and with it what the kernel had routed over it. Links outlive the daemon; the next one finds them.

With an IPv6 address the primary link has that too, and a default route to fe80:ec2::1, which every router end answers
for. The router reaches an ENI's IPv6 addresses and /80s by the link-local address that the kernel makes of its MAC.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from ipaddress import IPv6Address, ip_network
from typing import Final

import msgspec

from ipamd.core.calls import (
    AssignIpv6Addresses,
    AssignPrivateIpAddresses,
    AttachNetworkInterface,
    DeleteNetworkInterface,
    DetachNetworkInterface,
    Ec2Call,
    Result,
    UnassignIpv6Addresses,
    UnassignPrivateIpAddresses,
    View,
)
from ipamd.core.settings import Node
from ipamd.core.types import CallId
from ipamd.ec2.port import Ec2, Ec2Look, Feature
from ipamd.ec2.state import Vpc

from .hostnet import HostError
from .hostplan import ENI_GATEWAY6
from .hosttools import Tools
from .hostview import PROTO_KERNEL, Link, Route

FIRST_SLOT: Final = 5
"""Nitro instances call their first link ens5."""
DEFAULT_METRIC: Final = 512
"""Of the primary link's default route, so that one which is there already keeps its precedence."""
ROUTER_SYSCTLS: Final = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/proxy_arp": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
    "net/ipv6/conf/all/forwarding": "1",
}
_CHANGES = (
    AttachNetworkInterface
    | DetachNetworkInterface
    | DeleteNetworkInterface
    | AssignPrivateIpAddresses
    | UnassignPrivateIpAddresses
    | AssignIpv6Addresses
    | UnassignIpv6Addresses
)
_log = logging.getLogger(__name__)


class EniLink(msgspec.Struct, frozen=True):
    """One attached ENI as a link. `name` is the node's end, `far` the router's."""

    name: str
    far: str
    alias: str
    """On the router's end: whose link it is, and which ENI's."""
    mac: str
    primary: bool
    addresses: tuple[str, ...]
    """The ENI's primary one first."""
    prefixes: tuple[str, ...]
    subnet_cidr: str
    addresses6: tuple[str, ...] = ()
    """The ENI's IPv6 ones, the first one first."""
    prefixes6: tuple[str, ...] = ()

    @property
    def gateway(self) -> str:
        """The subnet's base + 1."""
        return str(ip_network(self.subnet_cidr).network_address + 1)

    @property
    def routes(self) -> dict[str, str]:
        """Destination, as `ip route show` prints it -> the way to it on the router's side."""
        first, *others = self.addresses
        onward = f"via {first} dev {self.far} onlink"
        return {first: f"dev {self.far} scope link"} | {to: onward for to in (*others, *self.prefixes)}

    @property
    def routes6(self) -> dict[str, str]:
        """The same for IPv6."""
        onward = f"via {link_local(self.mac)} dev {self.far}"
        return dict.fromkeys((*self.addresses6, *self.prefixes6), onward)


def link_local(mac: str) -> str:
    """The address that the kernel gives a link by itself (modified EUI-64)."""
    raw = bytes.fromhex(mac.replace(":", ""))
    return str(IPv6Address(b"\xfe\x80" + bytes(6) + bytes((raw[0] ^ 2,)) + raw[1:3] + b"\xff\xfe" + raw[3:]))


def owner_of(vpc: Vpc) -> str:
    """What the aliases of this instance's links begin with."""
    host = vpc.instances[vpc.first_instance]
    return f"{host.instance}/{vpc.enis[host.primary_eni].addresses[0]}/"


def links_of(vpc: Vpc) -> tuple[EniLink, ...]:
    """The links that the instance shall have now, by network card and device. Branch ENIs have none of their own."""
    host = vpc.instances[vpc.first_instance]
    rows = [eni for eni in vpc.enis.values() if eni.instance == host.instance and eni.attachment and eni.addresses]
    found = []
    for eni in sorted(rows, key=lambda eni: (eni.card, eni.device)):
        alias = f"{owner_of(vpc)}{eni.eni}"
        far = "v" + hashlib.sha1(alias.encode(), usedforsecurity=False).hexdigest()[:12]
        name = f"ens{FIRST_SLOT + eni.device}" + (f"c{eni.card}" if eni.card else "")
        cidr = vpc.subnets[eni.subnet].cidr
        primary = eni.eni == host.primary_eni
        four = (eni.addresses, eni.prefixes, cidr)
        found.append(EniLink(name, far, alias, eni.mac, primary, *four, eni.ipv6_addresses, eni.ipv6_prefixes))
    return tuple(found)


# ---- plans ---------------------------------------------------------------------------------------------------


def stale_lines(wanted: tuple[EniLink, ...], here: tuple[Link, ...], there: tuple[Link, ...], owner: str) -> list[str]:
    """For the router: links of ENIs that are gone, and ends whose other end is not on this node."""
    fars = {link.far: link for link in wanted}
    lines = []
    for link in there:
        mine = link.ifname in fars or link.ifalias.startswith(owner)
        kept = link.ifname in fars and any(near.address == fars[link.ifname].mac for near in here)
        if mine and not kept:
            lines.append(f"link del dev {link.ifname}")
    return lines


def node_lines(
    wanted: tuple[EniLink, ...], here: tuple[Link, ...], netns: str, mtu: int, defaults: frozenset[int]
) -> list[str]:
    """For the node: links that are not there yet. `defaults`: the families that have a default route."""
    lines = []
    for link in wanted:
        if any(near.address == link.mac for near in here):
            continue
        far = f"peer name {link.far} mtu {mtu} netns {netns}"
        lines.append(f"link add {link.name} mtu {mtu} address {link.mac} type veth {far}")
        if link.primary:
            lines += _primary_lines(link, defaults)
    return lines


def _primary_lines(link: EniLink, defaults: frozenset[int]) -> list[str]:
    """What the machine's own DHCP client does on the primary link."""
    length, way = ip_network(link.subnet_cidr).prefixlen, f"dev {link.name} metric {DEFAULT_METRIC}"
    lines = [f"link set dev {link.name} up", f"addr add {link.addresses[0]}/{length} dev {link.name}"]
    if 4 not in defaults:
        lines.append(f"route add default via {link.gateway} {way}")
    if link.addresses6:
        lines.append(f"addr add {link.addresses6[0]}/128 dev {link.name} nodad")
        if 6 not in defaults:
            lines.append(f"route add default via {ENI_GATEWAY6} {way}")
    return lines


def router_lines(wanted: tuple[EniLink, ...], there: tuple[Link, ...], routes: tuple[Route, ...]) -> list[str]:
    """For the router, once every link is there: its end up, the gateways' addresses, the way to each address.

    `routes` are those of main, of both families.
    """
    by_name = {link.ifname: link for link in there}
    lines = []
    for link in wanted:
        end = by_name.get(link.far)
        if end is None or end.ifalias != link.alias:
            lines.append(f"link set dev {link.far} alias {link.alias}")
        if end is None or not end.up:
            lines.append(f"link set dev {link.far} up")
        held = {address.local for address in end.addr_info} if end is not None else set()
        if link.gateway not in held:
            lines.append(f"addr add {link.gateway}/32 dev {link.far}")
        if link.addresses6 and ENI_GATEWAY6 not in held:
            lines.append(f"addr add {ENI_GATEWAY6}/64 dev {link.far} nodad")
        ways = link.routes | link.routes6
        had = {route.dst for route in routes if route.dev == link.far and route.protocol != PROTO_KERNEL}
        lines += [f"route replace {to} {way}" for to, way in ways.items() if to not in had]
        lines += [f"route del {to} dev {link.far}" for to in sorted(had - ways.keys())]
    return lines


# ---- carrying them out ---------------------------------------------------------------------------------------


class EniLinks:
    """Keeps the links of one instance as its cloud has the ENIs."""

    def __init__(self, vpc: Vpc, router: Tools, node: Tools | None = None, mtu: int = 9001) -> None:
        """`router`: tools of the namespace that plays the VPC; `node`: of the node's, by default this process's."""
        self._vpc = vpc
        self._router = router
        self._node = node or Tools()
        self._mtu = mtu

    async def open(self) -> None:
        """Make the router ready, and every link that is missing. Raises `HostError`."""
        names = await self._node.run("ip", "netns", "list")
        netns = self._router.netns
        if netns not in (line.split()[0] for line in names.splitlines() if line.strip()):
            raise HostError(f"network namespace {netns!a}", f"is not there; make it first: ip netns add {netns}")
        await self._router.sysctl(ROUTER_SYSCTLS)
        await self._router.batch(["link set dev lo up"])
        await self.align()

    async def align(self) -> None:
        """Make and remove what differs; nothing where all is as the cloud has it. Raises `HostError`."""
        wanted = links_of(self._vpc)
        here = await self._node.listed(Link, "addr", "show")
        there = await self._ends()
        stale = stale_lines(wanted, here, there, owner_of(self._vpc))
        if stale:
            await self._router.batch(stale)
            here = await self._node.listed(Link, "addr", "show")
        self._refuse_taken(wanted, here)
        made = node_lines(wanted, here, self._router.netns, self._mtu, await self._defaults())
        if made or stale:
            await self._node.batch(made, 0)
            there = await self._ends()
        routes = await self._routes(self._router, "table", "main")
        aliases = {link.ifname: link.ifalias for link in there}
        fresh = [link.far for link in wanted if aliases.get(link.far) != link.alias]
        if fresh:
            # Before the alias, which says that an end is ready. Else proxied answers take up to 0.8 s.
            await self._router.sysctl({f"net/ipv4/neigh/{far}/proxy_delay": "0" for far in fresh})
        await self._router.batch(router_lines(wanted, there, routes), 0)

    async def _defaults(self) -> frozenset[int]:
        """The families for which the node has a default route."""
        found = await self._routes(self._node, "default")
        return frozenset(6 if ":" in route.gateway else 4 for route in found)

    @staticmethod
    async def _routes(tools: Tools, *which: str) -> tuple[Route, ...]:
        """Of both families."""
        four = await tools.listed(Route, "-4", "route", "show", *which)
        return four + await tools.listed(Route, "-6", "route", "show", *which)

    async def _ends(self) -> tuple[Link, ...]:
        """The router's links; only `ip link` tells the alias, only `ip addr` the addresses."""
        aliases = {link.ifname: link.ifalias for link in await self._router.listed(Link, "link", "show")}
        held = await self._router.listed(Link, "addr", "show")
        return tuple(msgspec.structs.replace(link, ifalias=aliases.get(link.ifname, "")) for link in held)

    def _refuse_taken(self, wanted: tuple[EniLink, ...], here: tuple[Link, ...]) -> None:
        macs = {link.ifname: link.address for link in here}
        for link in wanted:
            if macs.get(link.name, link.mac) != link.mac:
                raise HostError(
                    f"link {link.name}",
                    f"another one has this name (MAC {macs[link.name]}, want {link.mac}); rename it, "
                    "or run the daemon in a namespace of its own",
                )


class LinkedCloud:
    """A cloud whose attached ENIs are links; satisfies `Ec2`. EC2's answer does not depend on the links."""

    def __init__(self, cloud: Ec2, links: EniLinks, warn: Callable[[str], None] = _log.warning) -> None:
        self._cloud = cloud
        self._links = links
        self._warn = warn

    @property
    def features(self) -> frozenset[Feature]:
        """The cloud's."""
        return self._cloud.features

    async def call(self, call: Ec2Call, call_id: CallId | None = None) -> Result:
        """As the cloud's; its links are there, or gone, when this returns."""
        result = await self._cloud.call(call, call_id)
        if isinstance(call, _CHANGES):
            try:
                await self._links.align()
            except HostError as error:
                self._warn(f"links of the cloud's ENIs: {error}")
        return result

    async def look(self, look: Ec2Look) -> View:
        """As the cloud's."""
        return await self._cloud.look(look)

    async def node(self) -> Node:
        """As the cloud's."""
        return await self._cloud.node()

    async def close(self) -> None:
        """The links stay, as the machine does."""
        await self._cloud.close()
