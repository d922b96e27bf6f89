"""iproute2, iptables and nft as processes, without a shell: what plans are carried out with.

Why not a netlink library: the plugin wires pods with `ip` already, one `ip -batch` for a whole plan takes about as long
as importing pyroute2's smallest module takes once, and iptables has no netlink interface that kube-proxy would share
a lock with. Every tool runs in the namespace of this process, or in a named one (`ip -n`).
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from .hostnet import HostError
from .hostview import HostView, Link, Route, Rule

TOOL_SECONDS: Final = 20.0
"""How long one tool may take; iptables waits for its lock meanwhile."""
_XTABLES_WAIT: Final = "10"
_PROC_SYS: Final = Path("/proc/sys")
_WRITE: Final = "import sys; [open(p, 'w').write(v) for p, v in (a.split('=', 1) for a in sys.argv[1:])]"
"""Run in another namespace: each argument is PATH=VALUE."""
_T = TypeVar("_T")


class Tools:
    """The tools, in the namespace `netns`, or in this process's own where it is empty."""

    def __init__(self, netns: str = "") -> None:
        self.netns = netns

    async def run(self, *words: str, stdin: str = "") -> str:
        """Its standard output. Raises `HostError` with what it said, or that it is missing or hangs."""
        if self.netns and words[0] != "ip":
            words = ("ip", "netns", "exec", self.netns, *words)
        try:
            process = await asyncio.create_subprocess_exec(
                *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
        except OSError as error:
            raise HostError(words[0], f"cannot be run: {error.strerror}; install {_package(words[0])}") from None
        try:
            async with asyncio.timeout(TOOL_SECONDS):
                out, err = await process.communicate(stdin.encode())
        except TimeoutError:
            process.kill()
            await process.wait()
            raise HostError(" ".join(words), f"nothing within {TOOL_SECONDS:g} s") from None
        except asyncio.CancelledError:
            process.kill()
            raise
        if process.returncode:
            raise HostError(" ".join(words), _said(err.decode(errors="replace"), stdin) or f"exit {process.returncode}")
        return out.decode()

    def ip(self, *words: str) -> tuple[str, ...]:
        """The command line of one `ip`."""
        return ("ip", *(("-n", self.netns) if self.netns else ()), *words)

    async def listed(self, kind: type[_T], *words: str) -> tuple[_T, ...]:
        """What one `ip -N -j ...` lists."""
        text = (await self.run(*self.ip("-N", "-j", *words))).strip()
        try:
            return msgspec.json.decode(text or "[]", type=tuple[kind, ...])  # type: ignore[valid-type]
        except msgspec.DecodeError as error:
            raise HostError(
                f"ip {' '.join(words)}", f"its JSON cannot be read: {error}; want iproute2 5.0 or newer"
            ) from None

    async def batch(self, lines: list[str], family: int = 4) -> None:
        """Carry out a plan in one process, in order; it stops at the first line that fails.

        Family 0: each line's addresses say which; a rule without any is then an IPv4 one.
        """
        if lines:
            flags = [f"-{family}"] if family else []
            await self.run(*self.ip(*flags, "-batch", "-"), stdin="\n".join([*lines, ""]))

    async def view(self, family: int = 4) -> HostView:
        """Links with addresses, and the family's rules and routes."""
        links = await self.listed(Link, "addr", "show")
        rules = await self.listed(Rule, f"-{family}", "rule", "show")
        routes = await self.listed(Route, f"-{family}", "route", "show", "table", "all")
        return HostView(links, rules, routes)

    async def sysctl(self, values: dict[str, str]) -> None:
        """Write keys such as net/ipv4/ip_forward, where they differ. A key that the kernel lacks is left out."""
        if self.netns:
            words = [f"{_PROC_SYS / key}={value}" for key, value in values.items()]
            await self.run(sys.executable, "-I", "-S", "-c", _WRITE, *words)
            return
        for key, value in values.items():
            path = _PROC_SYS / key
            try:
                if path.read_text().strip() != value:
                    path.write_text(value)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise HostError(f"sysctl {key}={value}", f"{error.strerror}; run as root, privileged") from None

    async def iptables_save(self, tables: tuple[str, ...], family: int = 4) -> str:
        """Rules of these tables."""
        saved = [await self.run(f"{_xtables(family)}-save", "-t", table) for table in tables]
        return "".join(saved)

    async def iptables_restore(self, text: str, family: int = 4) -> None:
        """Change what the text says and leave the rest; one transaction a table."""
        if text:
            await self.run(f"{_xtables(family)}-restore", "--noflush", "-w", _XTABLES_WAIT, stdin=text)


def missing(*names: str) -> list[str]:
    """Of these tools, the packages of those that are not there."""
    return sorted({_package(name) for name in names if shutil.which(name) is None})


def _xtables(family: int) -> str:
    return "ip6tables" if family == 6 else "iptables"


def _package(tool: str) -> str:
    if "tables" in tool:
        return "iptables"
    return {"ip": "iproute2", "nft": "nftables"}.get(tool, tool)


def _said(stderr: str, stdin: str) -> str:
    """What a tool complained of, with the line of the batch that it means."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    text = "; ".join(lines)[:500]
    for line in lines:
        number = line.removeprefix("Command failed -:")
        if number != line and number.isdigit():
            asked = stdin.splitlines()
            return f"{text} ({asked[int(number) - 1]})" if int(number) <= len(asked) else text
    return text
