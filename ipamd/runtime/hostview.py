"""The host's links, addresses, rules and routes as `ip -N -j` tells them: what plans are made from, and compared by.

Tables, scopes and protocols are numbers (`-N`), so that /etc/iproute2 of the node changes nothing.
"""

from __future__ import annotations

from typing import Final

import msgspec

MAIN: Final = "254"
LOCAL: Final = "255"
SCOPE_LINK: Final = "253"
PROTO_KERNEL: Final = "2"


class Address(msgspec.Struct, frozen=True):
    """One address of a link; `scope` is 0 for global."""

    family: str
    local: str
    prefixlen: int
    scope: str = "0"

    @property
    def text(self) -> str:
        """With the length of the prefix, as `ip addr` takes it."""
        return f"{self.local}/{self.prefixlen}"

    @property
    def is_global(self) -> bool:
        """Whether its scope is global, by number or by name (`-N` leaves some versions' names)."""
        return self.scope in ("0", "global")


class Link(msgspec.Struct, frozen=True):
    """One link with its addresses."""

    ifname: str
    address: str = ""
    """The MAC."""
    mtu: int = 0
    flags: tuple[str, ...] = ()
    addr_info: tuple[Address, ...] = ()
    ifalias: str = ""
    ifindex: int = 0

    @property
    def up(self) -> bool:
        """Administratively."""
        return "UP" in self.flags


class Rule(msgspec.Struct, frozen=True):
    """One policy rule of one family. Lengths are -1 where `ip` leaves them out: a single address."""

    priority: int
    table: str = ""
    src: str = "all"
    srclen: int = -1
    dst: str = ""
    dstlen: int = -1
    fwmark: str = ""
    fwmask: str = ""
    iif: str = ""

    @property
    def source(self) -> str:
        """`a.b.c.d`, `a.b.c.d/24` or `all`."""
        return self.src if self.srclen < 0 else f"{self.src}/{self.srclen}"

    @property
    def words(self) -> str:
        """What follows `rule add` or `rule del`."""
        said = [f"from {self.source}"] if self.src != "all" else []
        if self.dst:
            said.append(f"to {self.dst}" if self.dstlen < 0 else f"to {self.dst}/{self.dstlen}")
        if self.fwmark:
            said.append(f"fwmark {self.fwmark}/{self.fwmask or '0xffffffff'}")
        if self.iif:
            said.append(f"iif {self.iif}")
        return " ".join([*said, f"lookup {self.table}", f"priority {self.priority}"])


class Route(msgspec.Struct, frozen=True):
    """One route; without a table it is main's."""

    dst: str
    dev: str = ""
    gateway: str = ""
    table: str = MAIN
    scope: str = "0"
    protocol: str = ""
    prefsrc: str = ""


class HostView(msgspec.Struct, frozen=True):
    """What was seen, the rules of one family."""

    links: tuple[Link, ...] = ()
    rules: tuple[Rule, ...] = ()
    routes: tuple[Route, ...] = ()

    def by_mac(self, mac: str) -> Link | None:
        """The first link with this MAC, in the kernel's order (NETW-1)."""
        return next((link for link in self.links if link.address == mac.lower()), None)
