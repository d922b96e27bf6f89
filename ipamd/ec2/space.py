"""The addresses of one subnet: which are free, and where the free aligned /28 blocks lie.

A group is an aligned run of 16 addresses, one bit each, set while the address is free. Two summaries say
which groups have any free address and which are wholly free, so finding a single address or a block costs the
same in a /28 as in a /16:

    groups     [0b1111111111111111, 0b0000000000000000, 0b1011111111111111, ...]
    any free       1                    0                   1
    wholly free    1                    0                   0

Addresses are ints (unsigned 32 bits). Finding (`singles`, `blocks`) changes nothing; `take` and `give` do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from typing import Final

RESERVED_AT_START: Final = 4
"""EC2 keeps the first four addresses of a subnet and the last one."""
RESERVED: Final = RESERVED_AT_START + 1
FULL: Final = 0xFFFF
WIDEST, NARROWEST = 16, 28
"""Prefix lengths that EC2 accepts for a subnet."""

Place = Callable[[int], int]
"""Where to begin looking among n positions: a number in 0..n-1."""


def lowest(positions: int) -> int:
    """First fit: begin at the lowest position, whatever their number."""
    return 0


class GroupSet:
    """A set of group numbers below 4096 that finds the next member from any position in constant time.

    64 words of 64 bits, and one root word that says which words have a bit.
    """

    __slots__ = ("count", "root", "words")

    def __init__(self, groups: int) -> None:
        self.words = [0] * ((groups + 63) >> 6)
        self.root = 0
        self.count = 0

    def add(self, group: int) -> None:
        word, bit = group >> 6, 1 << (group & 63)
        if not self.words[word] & bit:
            self.words[word] |= bit
            self.root |= 1 << word
            self.count += 1

    def discard(self, group: int) -> None:
        word, bit = group >> 6, 1 << (group & 63)
        if self.words[word] & bit:
            self.words[word] ^= bit
            self.count -= 1
            if not self.words[word]:
                self.root ^= 1 << word

    def at_or_after(self, group: int) -> int:
        """The smallest member that is not below `group`, or -1."""
        word = group >> 6
        if word >= len(self.words):
            return -1
        rest = self.words[word] >> (group & 63)
        if rest:
            return group + _lowest_bit(rest)
        above = self.root >> (word + 1)
        if not above:
            return -1
        word += 1 + _lowest_bit(above)
        return word << 6 | _lowest_bit(self.words[word])

    def cycle(self, start: int) -> Iterator[int]:
        """Every member once, from `start` upwards, then from the bottom; it must not change then."""
        group = self.at_or_after(start)
        while group >= 0:
            yield group
            group = self.at_or_after(group + 1)
        group = self.at_or_after(0)
        while 0 <= group < start:
            yield group
            group = self.at_or_after(group + 1)


class Space:
    """The address space of one subnet, /16 to /28, without EC2's five reserved addresses."""

    __slots__ = ("any_free", "base", "free", "groups", "size", "whole")

    def __init__(self, cidr: str) -> None:
        """`cidr` is a network address with its length; raises ValueError naming what is wrong."""
        network = subnet_network(cidr)
        self.base = int(network.network_address)
        self.size = network.num_addresses
        self.groups = [FULL] * (self.size >> 4)
        self.any_free = GroupSet(len(self.groups))
        self.whole = GroupSet(len(self.groups))
        for group in range(len(self.groups)):
            self.any_free.add(group)
            self.whole.add(group)
        self.free = self.size
        for offset in (*range(RESERVED_AT_START), self.size - 1):
            self.take(self.base + offset)

    def holds(self, address: int) -> bool:
        """Whether the address lies in the subnet, reserved ones included."""
        return self.base <= address < self.base + self.size

    def is_free(self, address: int) -> bool:
        offset = address - self.base
        return 0 <= offset < self.size and bool(self.groups[offset >> 4] >> (offset & 15) & 1)

    def is_free_block(self, address: int) -> bool:
        offset = address - self.base
        return 0 <= offset < self.size and not offset & 15 and self.groups[offset >> 4] == FULL

    @property
    def free_blocks(self) -> int:
        """Wholly free aligned /28 blocks."""
        return self.whole.count

    def singles(
        self, wanted: int, place: Place = lowest, without: frozenset[int] = frozenset()
    ) -> list[int]:
        """`wanted` distinct free addresses outside the blocks `without`, in the order chosen.

        Fewer if there are no more. Each search begins where `place` says: at the bottom, or anywhere.
        """
        if place is lowest:
            return self._first_singles(wanted, without)
        chosen: dict[int, None] = {}
        while len(chosen) < wanted:
            near = self._free_from(place(self.size))
            found = next((a for a in near if a not in chosen and a & ~15 not in without), -1)
            if found < 0:
                break
            chosen[found] = None
        return list(chosen)

    def _first_singles(self, wanted: int, without: frozenset[int]) -> list[int]:
        chosen: list[int] = []
        if wanted <= 0:
            return chosen
        for address in self._free_from(0):
            if address & ~15 not in without:
                chosen.append(address)
                if len(chosen) == wanted:
                    break
        return chosen

    def blocks(self, wanted: int, place: Place = lowest) -> list[int]:
        """First addresses of `wanted` distinct free aligned /28 blocks; fewer if there are no more."""
        chosen: dict[int, None] = {}
        while len(chosen) < wanted:
            found = next((g for g in self.whole.cycle(place(len(self.groups))) if g not in chosen), -1)
            if found < 0:
                break
            chosen[found] = None
        return [self.base + (group << 4) for group in chosen]

    def take(self, address: int) -> None:
        """A free address is free no more."""
        assert self.is_free(address), f"address {address:#x} is not free"
        offset = address - self.base
        group = offset >> 4
        self.groups[group] ^= 1 << (offset & 15)
        self.whole.discard(group)
        if not self.groups[group]:
            self.any_free.discard(group)
        self.free -= 1

    def give(self, address: int) -> None:
        """A taken address is free again."""
        assert self.holds(address) and not self.is_free(address), f"address {address:#x} is not taken"
        offset = address - self.base
        group = offset >> 4
        self.groups[group] |= 1 << (offset & 15)
        self.any_free.add(group)
        if self.groups[group] == FULL:
            self.whole.add(group)
        self.free += 1

    def take_block(self, first: int) -> None:
        """A wholly free aligned block is taken."""
        assert self.is_free_block(first), f"block {first:#x} is not wholly free"
        group = (first - self.base) >> 4
        self.groups[group] = 0
        self.whole.discard(group)
        self.any_free.discard(group)
        self.free -= 16

    def give_block(self, first: int) -> None:
        """A block that `take_block` took is wholly free again."""
        group = (first - self.base) >> 4
        assert self.groups[group] == 0, f"block {first:#x} is not taken"
        self.groups[group] = FULL
        self.whole.add(group)
        self.any_free.add(group)
        self.free += 16

    def _free_from(self, offset: int) -> Iterator[int]:
        """Every free address once, from `offset` upwards and then from the bottom."""
        first, bit = offset >> 4, offset & 15
        for group in self.any_free.cycle(first):
            mask = self.groups[group] >> bit << bit if group == first else self.groups[group]
            yield from self._addresses(group, mask)
        if bit:
            yield from self._addresses(first, self.groups[first] & ((1 << bit) - 1))

    def _addresses(self, group: int, mask: int) -> Iterator[int]:
        first = self.base + (group << 4)
        while mask:
            bit = _lowest_bit(mask)
            mask &= mask - 1
            yield first + bit


def subnet_network(cidr: str) -> IPv4Network:
    """The subnet's network; raises ValueError saying what EC2 would refuse and what to write instead."""
    return _network("subnet", cidr)


def vpc_network(cidr: str) -> IPv4Network:
    """One of a VPC's networks; raises ValueError as `subnet_network` does."""
    return _network("VPC CIDR", cidr)


def _network(what: str, cidr: str) -> IPv4Network:
    try:
        network = IPv4Network(cidr, strict=False)
    except ValueError:
        raise ValueError(f"{what} {cidr[:100]!r}: want an IPv4 CIDR such as 10.0.0.0/16") from None
    if "/" not in cidr or not WIDEST <= network.prefixlen <= NARROWEST:
        raise ValueError(f"{what} {cidr[:100]!r}: want a length of /{WIDEST} to /{NARROWEST}, as EC2 does")
    if str(network) != cidr:
        raise ValueError(f"{what} {cidr!r}: bits are set beyond its length; use {network}")
    return network


def _lowest_bit(word: int) -> int:
    return (word & -word).bit_length() - 1
