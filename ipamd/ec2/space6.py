"""The IPv6 addresses of one subnet: a /64, of which ENIs have single addresses and aligned /80 blocks.

There are 65,536 blocks and 2^64 addresses, so blocks are a set of numbers and addresses are remembered one by
one. The verbs are those of `space.Space`; reservations work as there. Addresses are ints (unsigned 128 bits).
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network, ip_network
from typing import Final

from .space import RESERVED_AT_START, GroupSet, Place, lowest

BLOCK_LENGTH: Final = 80
BLOCK_BITS: Final = 128 - BLOCK_LENGTH
BLOCK_SIZE: Final = 1 << BLOCK_BITS
BLOCKS: Final = 1 << 16
SUBNET_LENGTH, VPC_LENGTH = 64, 56


class Space6:
    """The IPv6 address space of one subnet, without its first four addresses and its last one."""

    __slots__ = ("_floor", "_in_block", "base", "blocks_taken", "kept", "promised", "ranges", "taken", "whole")

    def __init__(self, cidr: str) -> None:
        """`cidr` is a /64 with its length; raises ValueError naming what is wrong."""
        self.base = int(subnet6_network(cidr).network_address)
        self.taken: dict[int, None] = {}
        self.blocks_taken: dict[int, None] = {}
        """By number, 0 to 65535."""
        self._in_block: dict[int, int] = {}
        """Single addresses taken in each block, EC2's own included."""
        self.whole = GroupSet(BLOCKS, full=True)
        """Wholly free blocks that no reservation touches."""
        self.kept = GroupSet(BLOCKS)
        """Wholly free blocks of `prefix` reservations."""
        self.ranges: dict[int, int] = {}
        """Reservations, last address by first one."""
        self.promised: dict[int, int] = {}
        """Those of `prefix` type, in the same way."""
        self._floor = self.base
        """No address below may be given unasked."""
        for offset in (*range(RESERVED_AT_START), (1 << 64) - 1):
            self.take(self.base + offset)

    def holds(self, address: int) -> bool:
        """Whether the address lies in the subnet, EC2's reserved ones included."""
        return address >> 64 == self.base >> 64

    def is_free(self, address: int) -> bool:
        return self.holds(address) and address not in self.taken and self._number(address) not in self.blocks_taken

    def is_free_block(self, address: int) -> bool:
        number = self._number(address)
        aligned = self.holds(address) and not address & (BLOCK_SIZE - 1)
        return aligned and number not in self.blocks_taken and not self._in_block.get(number)

    def is_promised(self, address: int) -> bool:
        """Whether a `prefix` reservation covers the address."""
        return any(first <= address <= last for first, last in self.promised.items())

    @property
    def free_blocks(self) -> int:
        """Wholly free /80 blocks that a request may be given: of `prefix` reservations, or of none."""
        return self.whole.count + self.kept.count

    @property
    def free_for_blocks(self) -> int:
        """Free addresses that a request for blocks may come from, counted by the block."""
        return self.free_blocks * BLOCK_SIZE

    def singles(
        self,
        wanted: int,
        place: Place = lowest,
        without: frozenset[int] = frozenset(),
        taken: frozenset[int] = frozenset(),
    ) -> list[int]:
        """`wanted` distinct free addresses outside reservations, the blocks `without` and `taken`, in order."""
        chosen: dict[int, None] = {}
        if place is lowest:
            for address in self._open_from(self._floor):
                if len(chosen) >= wanted:
                    break
                if address & -BLOCK_SIZE not in without and address not in taken:
                    chosen[address] = None
            return list(chosen)
        while len(chosen) < wanted:
            for address in self._open_from(self.base + place(1 << 64)):
                if address & -BLOCK_SIZE not in without and address not in taken and address not in chosen:
                    chosen[address] = None
                    break
            else:
                break
        return list(chosen)

    def blocks(self, wanted: int, place: Place = lowest, without: frozenset[int] = frozenset()) -> list[int]:
        """First addresses of `wanted` distinct free /80 blocks but those `without`; reserved ones come first."""
        chosen: list[int] = []
        barred = {self._number(first) for first in without}
        for blocks in (self.kept, self.whole):
            while len(chosen) < wanted:
                start = place(BLOCKS) if blocks.count else 0
                found = next((n for n in blocks.cycle(start) if n not in barred), -1)
                if found < 0:
                    break
                barred.add(found)
                chosen.append(self.base + (found << BLOCK_BITS))
        return chosen

    def take(self, address: int) -> None:
        """A free address is free no more."""
        assert self.is_free(address), f"address {address:#x} is not free"
        number = self._number(address)
        self.taken[address] = None
        self._in_block[number] = self._in_block.get(number, 0) + 1
        if address == self._floor:
            self._floor += 1
        self.whole.discard(number)
        self.kept.discard(number)

    def give(self, address: int) -> None:
        """A taken address is free again."""
        number = self._number(address)
        del self.taken[address]
        self._in_block[number] -= 1
        if not self._in_block[number]:
            del self._in_block[number]
            self._summarize(number)
        self._floor = min(self._floor, address)

    def take_block(self, first: int) -> None:
        """A wholly free aligned block is taken."""
        assert self.is_free_block(first), f"block {first:#x} is not wholly free"
        number = self._number(first)
        self.blocks_taken[number] = None
        self.whole.discard(number)
        self.kept.discard(number)

    def give_block(self, first: int) -> None:
        """A block that `take_block` took is wholly free again."""
        del self.blocks_taken[self._number(first)]
        self._summarize(self._number(first))
        self._floor = min(self._floor, first)

    def reserve(self, first: int, size: int, *, prefix: bool) -> None:
        """A reservation covers `size` addresses from `first` on; one of `prefix` type covers whole blocks."""
        self.ranges[first] = first + size - 1
        if prefix:
            self.promised[first] = first + size - 1
        self._summarize_range(first, size)

    def unreserve(self, first: int, size: int) -> None:
        """A reservation that `reserve` made is no more; addresses in use stay in use."""
        del self.ranges[first]
        self.promised.pop(first, None)
        self._summarize_range(first, size)
        self._floor = min(self._floor, first)

    def _summarize_range(self, first: int, size: int) -> None:
        for number in range(self._number(first), self._number(first + size - 1) + 1):
            self._summarize(number)

    def _summarize(self, number: int) -> None:
        """The summaries say of one block what is so."""
        first = self.base + (number << BLOCK_BITS)
        last = first + BLOCK_SIZE - 1
        free = number not in self.blocks_taken and number not in self._in_block
        touched = any(begin <= last and first <= end for begin, end in self.ranges.items())
        for summary, member in ((self.whole, free and not touched), (self.kept, free and self.is_promised(first))):
            if member:
                summary.add(number)
            else:
                summary.discard(number)

    def _number(self, address: int) -> int:
        return (address - self.base) >> BLOCK_BITS

    def _open_from(self, start: int) -> Iterator[int]:
        """Addresses that may be given unasked, from `start` upwards and then from the bottom."""
        end = self.base + (1 << 64)
        for address, stop in ((start, end), (self.base, start)):
            while address < stop:
                past = self._past(address)
                if past == address:
                    yield address
                    past += 1
                address = past

    def _past(self, address: int) -> int:
        """The address itself if it may be given unasked, else one beyond what is in its way."""
        for first, last in self.ranges.items():
            if first <= address <= last:
                return last + 1
        if self._number(address) in self.blocks_taken:
            return (address & -BLOCK_SIZE) + BLOCK_SIZE
        return address + (address in self.taken)


def subnet6_network(cidr: str) -> IPv6Network:
    """The subnet's IPv6 network, a /64; raises ValueError saying what is wrong."""
    return _network("subnet", cidr, SUBNET_LENGTH)


def vpc6_network(cidr: str) -> IPv6Network:
    """The VPC's IPv6 network, a /56; raises ValueError saying what is wrong."""
    return _network("VPC", cidr, VPC_LENGTH)


def _network(what: str, cidr: str, length: int) -> IPv6Network:
    try:
        network = IPv6Network(cidr)
    except ValueError:
        network = None
    if network is None or network.prefixlen != length:
        raise ValueError(f"{what} {cidr[:100]!r}: want an IPv6 CIDR of length /{length}")
    return network


def ip6(text: str) -> int:
    """The number of an IPv6 address; raises ValueError."""
    return int(IPv6Address(text))


def ip6_text(address: int) -> str:
    """An IPv6 address in its canonical form."""
    return str(IPv6Address(address))


def extent(cidr: str) -> tuple[int, int]:
    """First address and size of an IPv4 or IPv6 CIDR; raises ValueError if bits are set beyond its length."""
    network = ip_network(cidr)
    return int(network.network_address), network.num_addresses
