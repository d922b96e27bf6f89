"""Words every other module of the machine uses: instants, identifiers, addresses as text and owners.

An `Instant` is an int, nanoseconds since the epoch, UTC. Addresses and blocks are text in events (so that grep
finds them) and ints where arithmetic is done; the functions at the end convert.
"""

from __future__ import annotations

from typing import Final, NewType, TypeAlias

import msgspec

Instant: TypeAlias = int
EniId: TypeAlias = str
CallId = NewType("CallId", int)
Ipv4Text: TypeAlias = str
IpText: TypeAlias = str
"""Of either family; IPv6 in RFC 5952's form."""
CidrText: TypeAlias = str

MS: Final = 1_000_000
SECOND: Final = 1_000_000_000
NEVER: Final[Instant] = 0

PREFIX_LENGTH: Final = 28
PREFIX_SIZE: Final = 16
PREFIX6_LENGTH: Final = 80
"""Addresses in one delegated IPv4 prefix (DM-4)."""


class Sandbox(msgspec.Struct, frozen=True, omit_defaults=True):
    """The key an address is held under (DM-6): network name, container id, interface name."""

    network: str
    container: str
    interface: str

    @property
    def text(self) -> str:
        """The three parts joined by `/`, as upstream logs them (DM-6)."""
        return f"{self.network}/{self.container}/{self.interface}"


class Pod(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the caller told us of the pod (DM-7): namespace, name, how many interfaces it asked for."""

    namespace: str = ""
    name: str = ""
    interfaces: int = 0


class ConnectionTracking(msgspec.Struct, frozen=True, omit_defaults=True):
    """Idle timeouts of an ENI's connections in seconds (EC2-34); None: EC2's own."""

    tcp_established: int | None = None
    udp_stream: int | None = None
    udp: int | None = None


def ip4(text: Ipv4Text) -> int:
    """The address `a.b.c.d` as an unsigned 32-bit int. The text is trusted: it comes from events and views."""
    a, b, c, d = text.split(".")
    return int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d)


def ip4_text(value: int) -> Ipv4Text:
    """The dotted text of an unsigned 32-bit int."""
    return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"


def ip6(text: IpText) -> int:
    """The IPv6 address as an unsigned 128-bit int. The text is trusted and has no dotted tail."""
    head, gap, tail = text.partition("::")
    left = head.split(":") if head else []
    right = tail.split(":") if tail else []
    groups = [*left, *["0"] * (8 - len(left) - len(right)), *right] if gap else left
    value = 0
    for group in groups:
        value = value << 16 | int(group, 16)
    return value


def ip6_text(value: int) -> IpText:
    """RFC 5952: lower case, no leading zeros, the first longest run of two zero groups or more as `::`."""
    groups = [value >> shift & 0xFFFF for shift in range(112, -1, -16)]
    start = length = run = 0
    for index, group in enumerate(groups):
        run = 0 if group else run + 1
        if run > length:
            start, length = index + 1 - run, run
    words = [f"{group:x}" for group in groups]
    if length < 2:
        return ":".join(words)
    return ":".join(words[:start]) + "::" + ":".join(words[start + length :])


def single(address: Ipv4Text) -> CidrText:
    """The key of a secondary address in a store: `a.b.c.d/32` (DM-4)."""
    return f"{address}/32"


def ceil_div(x: int, y: int) -> int:
    """Upstream's ceiling division (POOL-9): (x + y - 1) div y, for y > 0."""
    return (x + y - 1) // y
