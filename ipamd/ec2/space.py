"""The addresses of one subnet: which are free, and where the free aligned /28 blocks lie.

A group is an aligned run of 16 addresses, one bit each, set while the address is free. Summaries say which groups
have an address that may be given unasked and which are wholly free, so finding a single address or a block costs
the same in a /28 as in a /16:

    groups     [0b1111111111111111, 0b0000000000000000, 0b1011111111111111, ...]
    any free       1                    0                   1
    wholly free    1                    0                   0

A CIDR reservation shuts its addresses: none of them is given unasked. The wholly free groups of a `prefix`
reservation are a summary of their own, which a request for blocks uses up first.

Addresses are ints (unsigned 32 bits). Finding (`singles`, `blocks`) changes nothing; the other verbs do.
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
    """A set of group numbers that finds the next member from any position in constant time.

    Words of 64 bits, and one root word that says which words have a bit.
    """

    __slots__ = ("count", "root", "words")

    def __init__(self, groups: int, *, full: bool = False) -> None:
        """None of the numbers below `groups`, or (`full`) all of them."""
        words = (groups + 63) >> 6
        self.words = [0] * words
        self.root = 0
        self.count = 0
        if full:
            self.words = [(1 << min(64, groups - (word << 6))) - 1 for word in range(words)]
            self.root = (1 << words) - 1
            self.count = groups

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

    __slots__ = ("any_free", "base", "free", "groups", "kept", "open", "promised", "shut", "size", "whole")

    def __init__(self, cidr: str) -> None:
        """`cidr` is a network address with its length; raises ValueError naming what is wrong."""
        network = subnet_network(cidr)
        self.base = int(network.network_address)
        self.size = network.num_addresses
        count = self.size >> 4
        self.groups = [FULL] * count
        self.any_free = GroupSet(count, full=True)
        """Groups with an address that may be given unasked."""
        self.whole = GroupSet(count, full=True)
        """Wholly free groups outside every reservation."""
        self.promised: dict[int, None] = {}
        """Groups of `prefix` reservations."""
        self.kept = GroupSet(count)
        """Those of them that are wholly free."""
        self.shut: dict[int, int] = {}
        """By group: the addresses that a reservation covers, as bits."""
        self.free = self.size
        """Addresses that no ENI has, reservations included: AvailableIpAddressCount."""
        self.open = self.size
        """Those of them that may be given unasked."""
        for offset in (*range(RESERVED_AT_START), self.size - 1):
            self.take(self.base + offset)

    def holds(self, address: int) -> bool:
        """Whether the address lies in the subnet, EC2's reserved ones included."""
        return self.base <= address < self.base + self.size

    def is_free(self, address: int) -> bool:
        offset = address - self.base
        return 0 <= offset < self.size and bool(self.groups[offset >> 4] >> (offset & 15) & 1)

    def is_free_block(self, address: int) -> bool:
        offset = address - self.base
        return 0 <= offset < self.size and not offset & 15 and self.groups[offset >> 4] == FULL

    def is_promised(self, address: int) -> bool:
        """Whether a `prefix` reservation covers the address."""
        return (address - self.base) >> 4 in self.promised

    @property
    def free_blocks(self) -> int:
        """Wholly free aligned /28 blocks that a request may be given: of `prefix` reservations, or of none."""
        return self.whole.count + self.kept.count

    @property
    def free_for_blocks(self) -> int:
        """Free addresses of the parts of the subnet that blocks may come from, whether blocks fit there or not."""
        return self.open + sum(self.groups[group].bit_count() for group in self.promised)

    def singles(
        self,
        wanted: int,
        place: Place = lowest,
        without: frozenset[int] = frozenset(),
        taken: frozenset[int] = frozenset(),
    ) -> list[int]:
        """`wanted` distinct free addresses outside reservations, the blocks `without` and `taken`, in order.

        Fewer if there are no more. Each search begins where `place` says: at the bottom, or anywhere.
        """
        chosen: dict[int, None] = {}
        if place is lowest:
            for address in self._free_from(0):
                if len(chosen) >= wanted:
                    break
                if address & ~15 not in without and address not in taken:
                    chosen[address] = None
            return list(chosen)
        while len(chosen) < wanted:
            for address in self._free_from(place(self.size)):
                if address not in chosen and address & ~15 not in without and address not in taken:
                    chosen[address] = None
                    break
            else:
                break
        return list(chosen)

    def blocks(self, wanted: int, place: Place = lowest, without: frozenset[int] = frozenset()) -> list[int]:
        """First addresses of `wanted` distinct free aligned /28 blocks but those `without`; fewer if no more.

        Those of `prefix` reservations come first.
        """
        chosen: list[int] = []
        barred = {(first - self.base) >> 4 for first in without}
        for blocks in (self.kept, self.whole):
            while len(chosen) < wanted:
                start = place(len(self.groups)) if blocks.count else 0
                found = next((g for g in blocks.cycle(start) if g not in barred), -1)
                if found < 0:
                    break
                barred.add(found)
                chosen.append(self.base + (found << 4))
        return chosen

    def take(self, address: int) -> None:
        """A free address is free no more."""
        assert self.is_free(address), f"address {address:#x} is not free"
        offset = address - self.base
        group, bit = offset >> 4, 1 << (offset & 15)
        self.groups[group] ^= bit
        self.free -= 1
        self.whole.discard(group)
        if self.shut and group in self.shut:
            self.open -= not self.shut[group] & bit
            self._summarize(group)
            return
        self.open -= 1
        if not self.groups[group]:
            self.any_free.discard(group)

    def give(self, address: int) -> None:
        """A taken address is free again."""
        assert self.holds(address) and not self.is_free(address), f"address {address:#x} is not taken"
        offset = address - self.base
        group, bit = offset >> 4, 1 << (offset & 15)
        self.groups[group] |= bit
        self.free += 1
        if self.shut and group in self.shut:
            self.open += not self.shut[group] & bit
            self._summarize(group)
            return
        self.open += 1
        self.any_free.add(group)
        if self.groups[group] == FULL:
            self.whole.add(group)

    def take_block(self, first: int) -> None:
        """A wholly free aligned block is taken."""
        assert self.is_free_block(first), f"block {first:#x} is not wholly free"
        group = (first - self.base) >> 4
        self.groups[group] = 0
        self.free -= 16
        self.open -= 16 - self.shut.get(group, 0).bit_count()
        self._summarize(group)

    def give_block(self, first: int) -> None:
        """A block that `take_block` took is wholly free again."""
        group = (first - self.base) >> 4
        assert self.groups[group] == 0, f"block {first:#x} is not taken"
        self.groups[group] = FULL
        self.free += 16
        self.open += 16 - self.shut.get(group, 0).bit_count()
        self._summarize(group)

    def reserve(self, first: int, size: int, *, prefix: bool) -> None:
        """A reservation covers `size` addresses from `first` on; one of `prefix` type covers whole groups."""
        for group, mask in self._covered(first, size):
            assert not self.shut.get(group, 0) & mask, "reservations overlap"
            self.shut[group] = self.shut.get(group, 0) | mask
            self.open -= (self.groups[group] & mask).bit_count()
            if prefix:
                self.promised[group] = None
            self._summarize(group)

    def unreserve(self, first: int, size: int) -> None:
        """A reservation that `reserve` made is no more; addresses in use stay in use."""
        for group, mask in self._covered(first, size):
            rest = self.shut.pop(group) & ~mask
            if rest:
                self.shut[group] = rest
            self.open += (self.groups[group] & mask).bit_count()
            self.promised.pop(group, None)
            self._summarize(group)

    def _summarize(self, group: int) -> None:
        """The summaries say of one group what its bits say."""
        free, shut = self.groups[group], self.shut.get(group, 0)
        for summary, member in (
            (self.any_free, free & ~shut != 0),
            (self.whole, free == FULL and not shut),
            (self.kept, free == FULL and group in self.promised),
        ):
            if member:
                summary.add(group)
            else:
                summary.discard(group)

    def _covered(self, first: int, size: int) -> Iterator[tuple[int, int]]:
        """The groups that a range touches, each with its part of the range as bits."""
        offset, end = first - self.base, first - self.base + size
        while offset < end:
            group, bit = offset >> 4, offset & 15
            count = min(16 - bit, end - offset)
            yield group, ((1 << count) - 1) << bit
            offset += count

    def _free_from(self, offset: int) -> Iterator[int]:
        """Every free address outside reservations once, from `offset` upwards and then from the bottom."""
        first, bit = offset >> 4, offset & 15
        for group in self.any_free.cycle(first):
            mask = self.groups[group] & ~self.shut.get(group, 0)
            if group == first:
                mask = mask >> bit << bit
            yield from self._addresses(group, mask)
        if bit:
            mask = self.groups[first] & ~self.shut.get(first, 0)
            yield from self._addresses(first, mask & ((1 << bit) - 1))

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
