"""The addresses of a subnet: finding, taking and giving back, with counts that are always the truth."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipamd.core.types import ip4
from ipamd.ec2.space import GroupSet, Space, lowest

BASE = ip4("10.0.0.0")


def at(position: int) -> Callable[[int], int]:
    """A placement that begins every search at one position."""
    return lambda positions: position % positions


@pytest.mark.parametrize(("cidr", "free", "blocks"), [("/28", 11, 0), ("/27", 27, 0), ("/26", 59, 2), ("/24", 251, 14)])
def test_five_addresses_are_reserved(cidr: str, free: int, blocks: int) -> None:
    """The first four addresses and the last are EC2's, so neither the first nor the last block is whole."""
    space = Space("10.0.0.0" + cidr)
    assert (space.free, space.free_blocks) == (free, blocks)
    taken = [*range(BASE, BASE + 4), BASE + space.size - 1]
    assert not any(space.is_free(a) for a in taken)
    assert space.singles(space.size) == [a for a in range(BASE, BASE + space.size) if a not in taken]


def test_widest_subnet_has_4094_whole_blocks() -> None:
    """A /16 has 4096 groups, of which the first and the last carry reserved addresses."""
    space = Space("10.0.0.0/16")
    assert (space.free, space.free_blocks, len(space.groups)) == (65531, 4094, 4096)


def test_one_address_breaks_a_block() -> None:
    """Fragmentation: a single address in a block keeps the block from being given, until it is given back."""
    space = Space("10.0.0.0/26")
    space.take(BASE + 17)
    assert space.free_blocks == 1 and space.blocks(2) == [BASE + 32]
    space.give(BASE + 17)
    assert space.blocks(2) == [BASE + 16, BASE + 32]


def test_search_begins_where_it_is_told_and_wraps() -> None:
    """A placement chooses where a search begins; it goes round the subnet once."""
    space = Space("10.0.0.0/27")
    assert [a - BASE for a in space.singles(1, at(20))] == [20]
    found = [a - BASE for a in space.singles(100, at(20))]
    assert found == [*range(20, 31), *range(4, 20)]


def test_addresses_are_not_chosen_inside_chosen_blocks() -> None:
    """One request's primary address and blocks never overlap."""
    space = Space("10.0.0.0/26")
    blocks = space.blocks(2)
    assert blocks == [BASE + 16, BASE + 32]
    assert [a - BASE for a in space.singles(64, lowest, frozenset(blocks))] == [*range(4, 16), *range(48, 63)]


@pytest.mark.parametrize(
    ("cidr", "says"),
    [
        ("10.0.0.0", "length of /16 to /28"),
        ("10.0.0.0/29", "length of /16 to /28"),
        ("10.0.0.0/8", "length of /16 to /28"),
        ("10.0.0.1/24", "use 10.0.0.0/24"),
        ("ten", "want an IPv4 CIDR"),
        ("fd00::/64", "want an IPv4 CIDR"),
    ],
)
def test_bad_subnet_is_refused_with_a_remedy(cidr: str, says: str) -> None:
    """EC2 takes /16 to /28 only; the message says what to write."""
    with pytest.raises(ValueError, match=says):
        Space(cidr)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 299), st.booleans()), max_size=80), st.integers(0, 299))
def test_group_set_is_a_set(changes: list[tuple[int, bool]], start: int) -> None:
    """Against a plain set: membership, count and the order in which `cycle` visits."""
    groups, plain = GroupSet(300), set[int]()
    for group, add in changes:
        (groups.add if add else groups.discard)(group)
        (plain.add if add else plain.discard)(group)
    assert groups.count == len(plain)
    above = sorted(g for g in plain if g >= start)
    assert list(groups.cycle(start)) == above + sorted(g for g in plain if g < start)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), st.booleans()), max_size=120), st.integers(0, 255))
def test_counts_equal_the_truth(steps: list[tuple[int, bool]], start: int) -> None:
    """Random single addresses and blocks, taken when free and given back when taken."""
    space, singles, blocks = Space("10.0.0.0/24"), set[int](), set[int]()
    for offset, block in steps:
        address = BASE + (offset & ~15 if block else offset)
        if address in blocks and block:
            space.give_block(address)
            blocks.remove(address)
        elif address in singles and not block:
            space.give(address)
            singles.remove(address)
        elif block and space.is_free_block(address):
            space.take_block(address)
            blocks.add(address)
        elif not block and space.is_free(address):
            space.take(address)
            singles.add(address)
    held = singles | {b + i for b in blocks for i in range(16)} | {BASE + i for i in (0, 1, 2, 3, 255)}
    free = [a for a in range(BASE, BASE + 256) if a not in held]
    assert space.free == len(free)
    assert sorted(space.singles(256, at(start))) == space.singles(256) == free
    whole = [b for b in range(BASE, BASE + 256, 16) if not held & set(range(b, b + 16))]
    assert sorted(space.blocks(16, at(start))) == space.blocks(16) == whole
    assert space.free_blocks == len(whole)


def test_taking_what_is_taken_is_a_bug() -> None:
    """Nothing is ever held twice: the space asserts it."""
    space = Space("10.0.0.0/26")
    space.take(BASE + 4)
    with pytest.raises(AssertionError, match="not free"):
        space.take(BASE + 4)
    with pytest.raises(AssertionError, match="not wholly free"):
        space.take_block(BASE)
    with pytest.raises(AssertionError, match="not taken"):
        space.give(BASE + 5)
