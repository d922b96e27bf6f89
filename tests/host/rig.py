"""Network namespaces of a test's own: a node, and a router that plays the VPC. The machine's own is never touched."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.spawned import PATIENCE, Spawned

TOOLS = ("ip", "iptables", "nft", "busybox")


def why_not() -> str:
    """Why this machine cannot show it; "" if it can. CI as root must: it installs the tools itself."""
    if os.geteuid() != 0:
        return "network namespaces want root"
    if os.environ.get("CI"):
        return ""
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"not installed: {', '.join(lacking)}" if lacking else ""


needs_netns = pytest.mark.skipif(why_not() != "", reason=why_not() or "fine")


def run(*words: str, stdin: str = "") -> str:
    """Standard output of a tool that must succeed."""
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


class Netns:
    """One namespace by name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def ip(self, *words: str) -> str:
        """One `ip` in it."""
        return run("ip", "-n", self.name, *words)

    def seen(self, *words: str) -> list[dict[str, Any]]:
        """What one `ip -N -j` lists."""
        found: list[dict[str, Any]] = json.loads(self.ip("-N", "-j", *words) or "[]")
        return found

    def within(self, *words: str, stdin: str = "") -> str:
        """A tool that must succeed in it."""
        return run("ip", "netns", "exec", self.name, *words, stdin=stdin)

    def answers(self, *words: str) -> bool:
        """Whether a tool succeeds in it."""
        done = subprocess.run(("ip", "netns", "exec", self.name, *words), capture_output=True, timeout=PATIENCE)
        return done.returncode == 0

    def pings(self, address: str) -> bool:
        """Whether it gets one answer from there."""
        return self.answers("busybox", "ping", "-c", "1", "-W", "3", address)

    def network(self) -> dict[str, Any]:
        """Its whole state but for counters, ages and indexes, as data.

        What the kernel makes of IPv6 by itself comes and goes with its own timers, and is left out.
        """
        links = [
            {key: link.get(key) for key in ("ifname", "address", "mtu", "flags")}
            | {"addresses": sorted(f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if not _own(a["local"]))}
            for link in self.seen("addr", "show")
        ]
        routes = [
            {key: value for key, value in route.items() if key not in ("flags", "ifindex")}
            for family in ("-4", "-6")
            for route in self.seen(family, "route", "show", "table", "all")
            if not _own(route["dst"])
        ]
        rules = [rule for family in ("-4", "-6") for rule in self.seen(family, "rule", "show")]
        neighbours = [n for n in self.seen("neigh", "show", "nud", "permanent")]
        return {
            "links": links,
            "routes": sorted(routes, key=str),
            "rules": sorted(rules, key=str),
            "neighbours": sorted(neighbours, key=str),
            "iptables": self.rules_text(),
            "nftables": self.within("nft", "-s", "list", "ruleset"),
        }

    def rules_text(self) -> list[str]:
        """What iptables-save prints, without comments and counters of chains."""
        saved = self.within("iptables-save") + self.within("ip6tables-save")
        return [line.split(" [")[0] for line in saved.splitlines() if not line.startswith("#")]


class NodeDaemon(Spawned):
    """`ipamd run --host netlink` in a node's namespace."""

    def __init__(self, node: Netns, vpc: Netns, state_dir: Path, *options: str, inside: tuple[str, ...] = ()) -> None:
        """`inside`: words that start it elsewhere than in the node's namespace."""
        words = ("--host", "netlink", "--vpc-netns", vpc.name, *options)
        super().__init__(state_dir, *words, prefix=inside or ("ip", "netns", "exec", node.name))


def _own(address: str) -> bool:
    """Link-local and multicast: the kernel's own."""
    return address.startswith(("fe80:", "ff00:"))


@contextmanager
def namespaces(*kinds: str) -> Iterator[tuple[Netns, ...]]:
    """Fresh namespaces with loopback up; gone at the end, with everything in them."""
    mark = secrets.token_hex(3)
    made = [Netns(f"{kind}-{mark}") for kind in kinds]
    try:
        for netns in made:
            run("ip", "netns", "add", netns.name)
            netns.ip("link", "set", "lo", "up")
        yield tuple(made)
    finally:
        for netns in made:
            subprocess.run(("ip", "netns", "del", netns.name), capture_output=True, timeout=PATIENCE)


@contextmanager
def daemon(node: Netns, vpc: Netns, state_dir: Path, *options: str) -> Iterator[NodeDaemon]:
    """A daemon that is ready; killed at the end if the test left it alive."""
    process = NodeDaemon(node, vpc, state_dir, *options)
    try:
        process.wait_ready()
        yield process
    finally:
        process.kill()
