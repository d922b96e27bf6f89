"""The real host: plans of `hostplan` and `hostnat` carried out in the network namespace that the daemon runs in.

    look (ip -j, iptables-save, nft list) -> plan, as data -> one ip -batch, one iptables-restore, one nft -f

One call at a time: a look and what follows from it belong together. Whatever fails is a `HostError` with the tool's own
words, and the call can be repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, assert_never

from ipamd.core.calls import (
    HostCall,
    LinksView,
    PrunePodRules,
    RefreshPodRules,
    SetUpEni,
    SetUpHost,
    TearDownEni,
)

from . import hostnat, hostplan
from .hostnet import HostError
from .hostplan import HostOptions, Unplannable, family_of
from .hosttools import Tools, missing
from .hostview import HostView, Link

LINK_TRIES: Final = 5
LINK_PAUSE: Final = 3.0
"""Seconds; a link may come after the attachment (NETW-1)."""
_CAP_NET_ADMIN: Final = 12
Sleep = Callable[[float], Awaitable[object]]


class KernelHost:
    """Satisfies `Host` for the namespace of this process."""

    def __init__(self, options: HostOptions, tools: Tools | None = None, sleep: Sleep = asyncio.sleep) -> None:
        self._options = options
        self._tools = tools or Tools()
        self._sleep = sleep
        self._one = asyncio.Lock()
        self.connmark_backend = ""
        """`iptables` or `nftables`, once the host is set up."""
        self.connmark_counts = {"success": 0, "error": 0}
        """How often the rules of connection marks were brought in order, or could not be."""

    async def call(self, call: HostCall) -> None:
        """Perform one call. Raises `HostError`."""
        async with self._one:
            try:
                await self._perform(call)
            except Unplannable as error:
                raise HostError(type(call).__name__, str(error)) from None

    async def links(self) -> LinksView:
        """Names of the links of this namespace (DM-62)."""
        return LinksView(tuple(link.ifname for link in await self._tools.listed(Link, "link", "show")))

    async def link_index(self, mac: str) -> int:
        """Index of the link with this MAC, 0 if there is none (RPC-27)."""
        seen = HostView(tuple(await self._tools.listed(Link, "link", "show")))
        found = seen.by_mac(mac)
        return found.ifindex if found is not None else 0

    async def _perform(self, call: HostCall) -> None:
        match call:
            case SetUpHost():
                await self._set_up_host(call)
            case SetUpEni():
                family = family_of(call.primary_ip)
                seen, link = await self._link(call.mac, family, "setupENINetwork: ")
                await self._tools.batch(hostplan.eni_lines(seen, link, call, self._options.mtu), family)
            case TearDownEni():
                family = family_of(call.primary_ip)
                await self._tools.batch(hostplan.tear_down_lines(await self._tools.view(family), call), family)
            case PrunePodRules():
                family = family_of(call.address)
                await self._tools.batch(hostplan.prune_lines(await self._tools.view(family), call), family)
            case RefreshPodRules():
                await self._tools.batch(hostplan.refresh_lines(await self._tools.view(4), call), 4)
            case _:
                assert_never(call)

    async def _link(self, mac: str, family: int, prefix: str = "") -> tuple[HostView, Link]:
        """What the host shows, and the link with this MAC, which may be a moment late."""
        for attempt in range(1, LINK_TRIES + 1):
            seen = await self._tools.view(family)
            link = seen.by_mac(mac)
            if link is not None:
                return seen, link
            if attempt < LINK_TRIES:
                await self._sleep(LINK_PAUSE)
        why = f"no interface found which uses mac address {mac} (attempt {LINK_TRIES}/{LINK_TRIES})"
        found = f"failed to find the link which uses MAC address {mac}"
        raise HostError("SetUpEni" if prefix else "SetUpHost", f"{prefix}{found}: {why}")

    async def _set_up_host(self, call: SetUpHost) -> None:
        options = self._options
        family = 6 if options.ipv6 else 4
        seen, link = await self._link(call.mac, family)
        await self._tools.sysctl(sysctls(link.ifname, options))
        await self._tools.batch(hostplan.host_lines(seen, link, options), family)
        if options.ipv6 or options.v6_egress:
            other = 4 if options.ipv6 else 6
            saved = await self._tools.iptables_save(("filter",), other)
            await self._tools.iptables_restore(hostnat.restore_text(saved, hostnat.blocked(options.ipv6)), other)
        if options.ipv6:
            return
        try:
            await self._translate(call, link.ifname)
        except HostError:
            self.connmark_counts["error"] += 1
            raise
        self.connmark_counts["success"] += 1

    async def _translate(self, call: SetUpHost, primary: str) -> None:
        """SNAT and connection marks, which IPv4 alone has."""
        options = self._options
        version = await self._tools.run("iptables", "--version")
        self.connmark_backend = hostnat.backend_of(version)
        facts = hostnat.NatFacts(
            call.primary_ip,
            primary,
            call.vpc_cidrs,
            self.connmark_backend,
            hostnat.knows_random_fully(version),
        )
        saved = await self._tools.iptables_save(("nat", "mangle"))
        await self._tools.iptables_restore(hostnat.restore_text(saved, hostnat.wanted(options, facts)))
        await self._mark_connections(facts)

    async def _mark_connections(self, facts: hostnat.NatFacts) -> None:
        """The nftables side; with the iptables backend only what an earlier one left there goes."""
        nftables = facts.backend == "nftables"
        if not nftables and missing("nft"):
            return
        tables = await self._tools.run("nft", "list", "tables", "ip")
        listed = ""
        if f"table ip {hostnat.NFT_TABLE}" in tables.splitlines():
            listed = await self._tools.run("nft", "-s", "list", "table", "ip", hostnat.NFT_TABLE)
        text = hostnat.nft_text(listed, hostnat.nft_table(self._options, facts) if nftables else "")
        if text:
            await self._tools.run("nft", "-f", "-", stdin=text)


def sysctls(primary: str, options: HostOptions) -> dict[str, str]:
    """What upstream's init container writes (9.5), with which replies may come in by another ENI."""
    values = {
        f"net/ipv4/conf/{primary}/rp_filter": "2",
        "net/ipv4/tcp_early_demux": "1" if options.early_demux else "0",
        "net/ipv4/ip_forward": "1",
    }
    if options.ipv6:
        values["net/ipv6/conf/all/disable_ipv6"] = "0"
    if options.ipv6 or options.v6_egress:
        values["net/ipv6/conf/all/forwarding"] = "1"
        values[f"net/ipv6/conf/{primary}/accept_ra"] = "2"
    return values


def unable(ipv6: bool = False) -> str:
    """Why this process cannot program its host; "" if it can."""
    wanted = ("ip",) if ipv6 else ("ip", "iptables", "iptables-restore", "nft")
    lacking = missing(*wanted)
    if lacking:
        return f"{', '.join(lacking)}: not installed (Debian: apt-get install {' '.join(lacking)})"
    status = Path("/proc/self/status").read_text()
    caps = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    if not int(caps, 16) >> _CAP_NET_ADMIN & 1:
        return "this process lacks the capability NET_ADMIN; run as root, or leave --host at recorder"
    return ""
