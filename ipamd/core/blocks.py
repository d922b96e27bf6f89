"""One block of addresses: who holds what in it, what cools, what nobody ever touched.

An address of a block is *untouched* (no record), *assigned* (record with a sandbox), *cooling* or *free again*
(record without one; DM-8). Records of free-again addresses stay until the next assignment in their block (DM-18).
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import TypeAlias

import msgspec

from .types import CidrText, EniId, Instant, IpText, Pod, Sandbox, ip4, ip4_text, ip6, ip6_text

Share: TypeAlias = tuple[int, int, int, int, int, int, int, int, int]
"""What a block adds to each figure of a `tally.Tally`, in their order."""
NOTHING: Share = (0, 0, 0, 0, 0, 0, 0, 0, 0)

_FULL = 0xFFFF
RANK_BITS = 96


class Address(msgspec.Struct):
    """One touched address (DM-5). Assigned iff `sandbox` is set; `released_at` is 0 while it never was released."""

    sandbox: Sandbox | None
    pod: Pod
    assigned_at: Instant
    released_at: Instant = 0


def service_key(assigned: int, rank: int) -> int:
    """Order of service: the fullest block first, then device number, then address."""
    return (_FULL - assigned) << RANK_BITS | rank


class Block:
    """A secondary address (/32) or a prefix (/28, or /80 in IPv6) on an ENI (DM-4)."""

    __slots__ = (
        "assigned", "base", "cidr", "cooling", "eni", "high", "holes", "key", "live", "prefix", "rank",
        "ready", "records", "share", "size", "thawed", "wide",
    )  # fmt: skip

    def __init__(self, eni: EniId, cidr: CidrText, rank: int) -> None:
        base, length = cidr.split("/")
        self.eni = eni
        self.cidr = cidr
        self.wide = ":" in base
        """An IPv6 block: far too many addresses to keep book of the untouched ones one by one."""
        self.base = ip6(base) if self.wide else ip4(base)
        self.size = 1 << ((128 if self.wide else 32) - int(length))
        self.prefix = length != "32"
        self.rank = rank
        self.records: dict[int, Address] = {}
        self.assigned = 0
        self.key = service_key(0, rank)
        self.cooling: deque[tuple[Instant, int]] = deque()
        """Released addresses, oldest first: (released_at, offset), cooling and free again alike."""
        self.thawed = 0
        """How many heads of `cooling` were past their cooldown when the store last looked."""
        self.holes: list[int] = []
        """Heap of untouched offsets below `high`."""
        self.high = 0
        """Offsets from here on are untouched; in a wide block those without a record, the first of which this is."""
        self.ready = False
        """Whether it stands in its store's `ready`."""
        self.share = NOTHING
        """What the tallies have of it."""
        self.live = True
        """False once it left its ENI."""

    @property
    def untouched(self) -> bool:
        """Whether some address has no record."""
        return bool(self.holes) or self.high < self.size

    @property
    def resting(self) -> int:
        """Released addresses that were not past their cooldown when the store last looked."""
        return len(self.cooling) - self.thawed

    def address(self, offset: int) -> IpText:
        """The text of the address at an offset."""
        return ip6_text(self.base + offset) if self.wide else ip4_text(self.base + offset)

    def offset(self, address: IpText) -> int:
        """Where in the block an address of it stands. No IPv4 block is larger than a /24: its last number tells."""
        if self.wide:
            return ip6(address) - self.base
        return int(address.rpartition(".")[2]) - (self.base & 0xFF) if self.size > 1 else 0

    def count(self, pods: int) -> None:
        """So many more of its addresses are assigned, or fewer. Only while it is withdrawn from its store's order."""
        self.assigned += pods
        self.key -= pods << RANK_BITS

    def pick(self, now: Instant, cooldown: int) -> int | None:
        """The offset an assignment takes (DM-18): what has cooled, longest first, else the lowest untouched."""
        if self.cooling and now - self.cooling[0][0] > cooldown:
            return self.cooling[0][1]
        if self.holes:
            return self.holes[0]
        return self.high if self.high < self.size else None

    def cooling_at(self, now: Instant, cooldown: int) -> int:
        """How many of its addresses cool at `now` (DM-8, inclusive)."""
        count = 0
        for released_at, _ in reversed(self.cooling):
            if now - released_at > cooldown:
                break
            count += 1
        return count


def touch(block: Block, offset: int) -> None:
    """Take an offset out of the untouched ones."""
    if block.holes and block.holes[0] == offset:
        heappop(block.holes)
    elif block.wide and offset >= block.high:
        while block.high == offset or block.high in block.records:
            block.high += 1
    elif offset >= block.high:
        for skipped in range(block.high, offset):
            heappush(block.holes, skipped)
        block.high = offset + 1
    elif offset in block.holes:
        block.holes.remove(offset)
        block.holes.sort()


def restock(block: Block) -> None:
    """Find the untouched addresses anew, from the records."""
    block.holes = []
    block.high = 0
    if block.wide:
        while block.high in block.records:
            block.high += 1
        return
    taken = sorted(block.records)
    block.high = taken[-1] + 1 if taken else 0
    block.holes = [offset for offset in range(block.high) if offset not in block.records]
