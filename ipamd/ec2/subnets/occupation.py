"""The occupation of one subnet: which addresses are taken by whom, and what is left in aligned /28 blocks and runs.

Pure: facts in, figures out. One code an address and one ENI index an address; a block is 16 of them. A /16 takes
about a tenth of a second.

    addresses  EEEEP..........S | ................ | PPPPPPPPPPPPPPPP     E EC2's, P prefix, S single
    blocks     broken             free               prefix
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from ipaddress import IPv4Network
from typing import Final

import msgspec

from ipamd.core.types import CidrText, Ipv4Text, ip4, ip4_text
from ipamd.ec2.space import RESERVED_AT_START

from .facts import EniFacts, Reservation, SubnetFacts, Use, use_of

BLOCK: Final = 16
"""Addresses of a /28."""
FREE, EC2, PRIMARY, SECONDARY, PREFIX = range(5)
_ROLES: Final = ("free", "reserved", "primary", "secondary", "prefix")
_FREE_RUN: Final = re.compile(rb"\x00+")
OPEN, FOR_PREFIXES, EXPLICIT, MIXED = range(4)
"""Whose a block's addresses are: anybody's, a `prefix` or an `explicit` reservation's, or partly one's."""


class BlockState(StrEnum):
    """What an aligned /28 is to whoever wants a prefix."""

    FREE = "free"
    """Wholly free; the next request may get it, or a single address may break it."""
    RESERVED = "reserved"
    """Wholly free, in a `prefix` reservation: nothing but a prefix is put into it."""
    EXPLICIT = "explicit"
    """Wholly free, in an `explicit` reservation: only for a request that names it."""
    PREFIX = "prefix"
    """Delegated to an ENI."""
    BROKEN = "broken"
    """At least one single address lies in it; or a reservation begins or ends inside."""
    FULL = "full"
    """All sixteen are single addresses."""


class Breaker(msgspec.Struct, frozen=True):
    """One single address that keeps a block from being a prefix."""

    address: Ipv4Text
    role: str
    """`primary`, `secondary`, or `reserved`: one of the five that EC2 keeps."""
    use: Use
    eni: str = ""
    instance: str = ""
    description: str = ""


class Block(msgspec.Struct, frozen=True):
    """One aligned /28 that single addresses lie in."""

    cidr: CidrText
    state: BlockState
    free: int
    breakers: tuple[Breaker, ...]

    @property
    def edge(self) -> bool:
        """Whether EC2's own addresses break it: nothing can mend that."""
        return any(breaker.use is Use.EC2 for breaker in self.breakers)


class Run(msgspec.Struct, frozen=True):
    """A longest row of free addresses, and how many aligned /28 blocks lie in it."""

    first: Ipv4Text
    last: Ipv4Text
    addresses: int
    blocks: int


class Occupation:
    """One subnet's addresses, blocks and conflicts. Reading changes nothing."""

    def __init__(self, facts: SubnetFacts) -> None:
        """`facts` have been `checked`."""
        network = IPv4Network(facts.cidr)
        self.facts = facts
        self.base = int(network.network_address)
        self.size = network.num_addresses
        self.taken = bytearray(self.size)
        """By offset: `FREE`, `EC2`, `PRIMARY`, `SECONDARY` or `PREFIX`."""
        self.owner = [-1] * self.size
        """By offset: index into `facts.enis`, or -1."""
        self.conflicts: list[str] = []
        """Addresses that are said to be held twice, or by an ENI though EC2 keeps them."""
        self.uses = tuple(use_of(eni) for eni in facts.enis)
        for offset in (*range(RESERVED_AT_START), self.size - 1):
            self.taken[offset] = EC2
        for index, eni in enumerate(facts.enis):
            self._place(index, eni)
        self.reserved = self._reserved_blocks(facts.reservations)
        self.states = tuple(self._state(block) for block in range(self.size // BLOCK))
        """By block number, from the bottom."""

    # ---- figures ---------------------------------------------------------------------------------------------

    @property
    def free(self) -> int:
        """Addresses that nobody holds, whatever reservation they are in."""
        return self.taken.count(FREE)

    @property
    def free_singles(self) -> int:
        """Free addresses that a request for a single address can get: those outside every reservation."""
        fenced = sum(
            self.taken.count(FREE, first, first + length) for first, length in map(self._span, self.facts.reservations)
        )
        return self.free - fenced

    @property
    def free_blocks(self) -> int:
        """Wholly free aligned /28 blocks, whatever reservation they are in."""
        return sum(self.occupied(block) == 0 for block in range(self.size // BLOCK))

    def count(self, *states: BlockState) -> int:
        """Blocks in one of the states."""
        return sum(state in states for state in self.states)

    @property
    def prefixes_available(self) -> int:
        """Prefixes that requests with a count can get."""
        return self.count(BlockState.FREE, BlockState.RESERVED)

    def held(self, code: int) -> int:
        """Addresses with one of the codes of `taken`."""
        return self.taken.count(code)

    def runs(self, most: int) -> list[Run]:
        """The longest rows of free addresses, longest first, at most so many."""
        found = sorted((match.start() - match.end(), match.start()) for match in _FREE_RUN.finditer(self.taken))
        return [self._run(start, -minus) for minus, start in found[:most]]

    def largest_free_cidr(self) -> CidrText:
        """The largest aligned CIDR of open, wholly free blocks, lowest first; empty if there is no such block."""
        row = bytes(state is BlockState.FREE for state in self.states)
        length = 1
        while length * 2 <= len(row):
            length *= 2
        while length:
            wanted = b"\x01" * length
            first = next((b for b in range(0, len(row), length) if row[b : b + length] == wanted), None)
            if first is not None:
                return f"{ip4_text(self.base + first * BLOCK)}/{28 - (length.bit_length() - 1)}"
            length //= 2
        return ""

    # ---- blocks ----------------------------------------------------------------------------------------------

    def block_cidr(self, block: int) -> CidrText:
        """The CIDR of a block by its number."""
        return f"{ip4_text(self.base + block * BLOCK)}/28"

    def broken(self) -> Iterator[Block]:
        """Every block that single addresses lie in, from the bottom."""
        for number, state in enumerate(self.states):
            if state in (BlockState.BROKEN, BlockState.FULL) and self._singles(number):
                free = self._codes(number).count(FREE)
                yield Block(self.block_cidr(number), state, free, tuple(self.breakers(number)))

    def breakers(self, block: int) -> Iterator[Breaker]:
        """The single addresses of one block, in order."""
        for offset in range(block * BLOCK, (block + 1) * BLOCK):
            code = self.taken[offset]
            if code in (FREE, PREFIX):
                continue
            address, index = ip4_text(self.base + offset), self.owner[offset]
            if index < 0:
                yield Breaker(address, _ROLES[code], Use.EC2)
            else:
                eni = self.facts.enis[index]
                yield Breaker(address, _ROLES[code], self.uses[index], eni.eni, eni.instance, eni.description)

    def breaking_enis(self, block: int) -> frozenset[int]:
        """Indexes of the ENIs whose single addresses lie in the block; -1 for EC2 itself."""
        first = block * BLOCK
        codes = self._codes(block)
        return frozenset(self.owner[first + i] for i in range(BLOCK) if codes[i] not in (FREE, PREFIX))

    def occupied(self, block: int) -> int:
        """Addresses of the block that somebody holds, 0 to 16."""
        return BLOCK - self._codes(block).count(FREE)

    def inside(self, reservation: Reservation) -> range:
        """Offsets of a reservation."""
        first, length = self._span(reservation)
        return range(first, first + length)

    # ---- building --------------------------------------------------------------------------------------------

    def _place(self, index: int, eni: EniFacts) -> None:
        role = PRIMARY
        for address in eni.addresses:
            self._take(ip4(address) - self.base, role, index, address)
            role = SECONDARY
        for prefix in eni.prefixes:
            first = ip4(prefix.partition("/")[0]) - self.base
            if any(self.taken[first : first + BLOCK]):
                for offset in range(first, first + BLOCK):
                    self._take(offset, PREFIX, index, ip4_text(self.base + offset))
            else:
                self.taken[first : first + BLOCK] = bytes((PREFIX,)) * BLOCK
                self.owner[first : first + BLOCK] = [index] * BLOCK

    def _take(self, offset: int, role: int, index: int, address: str) -> None:
        if self.taken[offset] == FREE:
            self.taken[offset] = role
            self.owner[offset] = index
            return
        other = self.owner[offset]
        held = "EC2 keeps it" if other < 0 else f"{self.facts.enis[other].eni} holds it"
        self.conflicts.append(f"{address} of {self.facts.enis[index].eni}: {held} too")

    def _reserved_blocks(self, reservations: tuple[Reservation, ...]) -> bytearray:
        """Whose each block is."""
        found = bytearray(self.size // BLOCK)
        for reservation in reservations:
            first, length = self._span(reservation)
            kind = FOR_PREFIXES if reservation.kind == "prefix" else EXPLICIT
            if length < BLOCK:
                found[first // BLOCK] = MIXED
            else:
                found[first // BLOCK : (first + length) // BLOCK] = bytes((kind,)) * (length // BLOCK)
        return found

    def _state(self, block: int) -> BlockState:
        codes = self._codes(block)
        if not any(codes):
            return _FREE_STATES[self.reserved[block]]
        if codes.count(PREFIX) == BLOCK:
            return BlockState.PREFIX
        return BlockState.BROKEN if FREE in codes else BlockState.FULL

    def _codes(self, block: int) -> bytearray:
        return self.taken[block * BLOCK : (block + 1) * BLOCK]

    def _singles(self, block: int) -> bool:
        codes = self._codes(block)
        return codes.count(FREE) + codes.count(PREFIX) < BLOCK

    def _span(self, reservation: Reservation) -> tuple[int, int]:
        """First offset and length of a reservation."""
        network = IPv4Network(reservation.cidr)
        return int(network.network_address) - self.base, network.num_addresses

    def _run(self, start: int, length: int) -> Run:
        blocks = max((start + length) // BLOCK - -(-start // BLOCK), 0)
        first = self.base + start
        return Run(ip4_text(first), ip4_text(first + length - 1), length, blocks)


_FREE_STATES: Final = {
    OPEN: BlockState.FREE,
    FOR_PREFIXES: BlockState.RESERVED,
    EXPLICIT: BlockState.EXPLICIT,
    MIXED: BlockState.BROKEN,
}
