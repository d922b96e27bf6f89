"""Assigning and unassigning: which addresses an ENI gets, and what EC2 refuses.

All or nothing: a request that cannot be met in full changes nothing. Too few free addresses is told apart
from enough free addresses without an aligned free block, which is how a fragmented subnet shows (POOL-28).

Both families go the same way: named addresses and prefixes are checked, counted ones are looked for.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Final

import msgspec

from ipamd.core.calls import Failed
from ipamd.core.types import PREFIX_LENGTH, PREFIX_SIZE, ip4_text

from . import answers, refusals
from .requests import (
    AssignIpv6Addresses,
    AssignPrivateIpAddresses,
    UnassignIpv6Addresses,
    UnassignPrivateIpAddresses,
    Wanted,
)
from .rows import Effect, EniRow
from .space import RESERVED_AT_START, Space
from .space6 import BLOCK_LENGTH, BLOCK_SIZE, Space6, ip6, ip6_text
from .state import Vpc

SLOTS_MAX: Final = 64
"""Slots per family of an ENI that is attached to nothing: as many as the largest instance type has."""


class Family(msgspec.Struct, frozen=True):
    """What differs between IPv4 and IPv6: how addresses are written, and the names of parameters."""

    parse: Callable[[str], int]
    text: Callable[[int], str]
    block_length: int
    block_size: int
    address_count: str
    prefix_count: str
    address: str
    prefix: str


def _ip4(text: str) -> int:
    """As `ip4`, of text that nobody has checked; raises ValueError."""
    return int(IPv4Address(text))


IPV4: Final = Family(
    _ip4, ip4_text, PREFIX_LENGTH, PREFIX_SIZE,
    "secondaryPrivateIpAddressCount", "ipv4PrefixCount", "privateIpAddress", "ipv4Prefix",
)  # fmt: skip
IPV6: Final = Family(
    ip6, ip6_text, BLOCK_LENGTH, BLOCK_SIZE, "ipv6AddressCount", "ipv6PrefixCount", "ipv6Address", "ipv6Prefix"
)


class Ask(msgspec.Struct, frozen=True):
    """Addresses and prefixes of one family, named and counted."""

    addresses: tuple[str, ...] = ()
    address_count: int = 0
    prefixes: tuple[str, ...] = ()
    prefix_count: int = 0

    @property
    def total(self) -> int:
        """Slots that it fills."""
        return len(self.addresses) + self.address_count + len(self.prefixes) + self.prefix_count


class Chosen(msgspec.Struct, frozen=True):
    """Free addresses and blocks that a request will get, named ones first, the others in the order chosen."""

    addresses: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()


NOTHING: Final = Chosen()


def assign(vpc: Vpc, request: AssignPrivateIpAddresses) -> Effect | Failed:
    """EC2-20: new secondary addresses or prefixes for one ENI; the answer lists just the new ones."""
    eni = vpc.enis.get(request.eni)
    if eni is None:
        return refusals.no_such_eni(request.eni)
    ask = Ask(request.addresses, request.address_count, request.prefixes, request.prefix_count)
    wrong = wrong_ask(IPV4, ask)
    if wrong is not None:
        return wrong
    if not ask.total:
        return refusals.missing(IPV4.address_count)
    if not eni.addresses:
        return refusals.no_addresses_on(eni.eni, eni.interface_type)
    if (ask.prefixes or ask.prefix_count) and not carries_prefixes(vpc, eni):
        return refusals.no_prefixes(vpc.instances[eni.instance].instance_type)
    moved = _moved(vpc, eni, ask) if request.allow_reassignment else {}
    if eni.slots + ask.total > slots_of(vpc, eni):
        return refusals.too_many_addresses()
    rest = msgspec.structs.replace(ask, addresses=tuple(a for a in ask.addresses if a not in moved)) if moved else ask
    chosen = choose(vpc, eni.subnet, rest)
    if isinstance(chosen, Failed):
        return chosen
    addresses = chosen.addresses if not moved else (*ask.addresses, *chosen.addresses[len(rest.addresses) :])
    grown = msgspec.structs.replace(
        eni, addresses=eni.addresses + addresses, prefixes=eni.prefixes + chosen.prefixes
    )
    givers = [vpc.enis[e] for e in dict.fromkeys(moved.values())]
    shrunk = [msgspec.structs.replace(g, addresses=_but(g.addresses, ask.addresses)) for g in givers]
    return Effect(answers.Granted(addresses, chosen.prefixes), (*shrunk, grown))


def assign6(vpc: Vpc, request: AssignIpv6Addresses) -> Effect | Failed:
    """EC2-26: IPv6 addresses or /80 prefixes for one ENI."""
    eni = vpc.enis.get(request.eni)
    if eni is None:
        return refusals.no_such_eni(request.eni)
    ask = Ask(request.addresses, request.address_count, request.prefixes, request.prefix_count)
    wrong = wrong_ask(IPV6, ask)
    if wrong is not None:
        return wrong
    if not ask.total:
        return refusals.missing(IPV6.address_count)
    if not eni.addresses:
        return refusals.no_addresses_on(eni.eni, eni.interface_type)
    if (ask.prefixes or ask.prefix_count) and not carries_prefixes(vpc, eni):
        return refusals.no_prefixes(vpc.instances[eni.instance].instance_type)
    if eni.ipv6_slots + ask.total > slots_of(vpc, eni):
        return refusals.too_many_addresses()
    chosen = choose6(vpc, eni.subnet, ask)
    if isinstance(chosen, Failed):
        return chosen
    grown = msgspec.structs.replace(
        eni,
        ipv6_addresses=eni.ipv6_addresses + chosen.addresses,
        ipv6_prefixes=eni.ipv6_prefixes + chosen.prefixes,
    )
    return Effect(answers.Granted(chosen.addresses, chosen.prefixes), (grown,))


def unassign(vpc: Vpc, request: UnassignPrivateIpAddresses) -> Effect | Failed:
    """EC2-21: secondary addresses or prefixes of one ENI go back to the subnet."""
    eni = vpc.enis.get(request.eni)
    if eni is None:
        return refusals.no_such_eni(request.eni)
    if not request.addresses and not request.prefixes:
        return refusals.missing("privateIpAddress")
    if eni.addresses and eni.addresses[0] in request.addresses:
        return refusals.primary_address_stays(eni.addresses[0], eni.eni)
    unknown = _but(request.addresses, eni.addresses) + _but(request.prefixes, eni.prefixes)
    if unknown:
        return refusals.not_assigned(unknown, eni.eni)
    shrunk = msgspec.structs.replace(
        eni, addresses=_but(eni.addresses, request.addresses), prefixes=_but(eni.prefixes, request.prefixes)
    )
    return Effect(answers.Done(), (shrunk,))


def unassign6(vpc: Vpc, request: UnassignIpv6Addresses) -> Effect | Failed:
    """IPv6 addresses or prefixes of one ENI go back to the subnet; the answer repeats them."""
    eni = vpc.enis.get(request.eni)
    if eni is None:
        return refusals.no_such_eni(request.eni)
    if not request.addresses and not request.prefixes:
        return refusals.missing("ipv6Addresses")
    addresses, prefixes = _plain6(request.addresses), _plain6(request.prefixes)
    unknown = _but(addresses, eni.ipv6_addresses) + _but(prefixes, eni.ipv6_prefixes)
    if unknown:
        return refusals.not_assigned(unknown, eni.eni)
    shrunk = msgspec.structs.replace(
        eni,
        ipv6_addresses=_but(eni.ipv6_addresses, addresses),
        ipv6_prefixes=_but(eni.ipv6_prefixes, prefixes),
    )
    return Effect(answers.Granted(addresses, prefixes), (shrunk,))


# ---- choosing ------------------------------------------------------------------------------------------------


def choose(vpc: Vpc, subnet: str, ask: Ask) -> Chosen | Failed:
    """Free IPv4 addresses and aligned free blocks of one subnet, none of the addresses inside the blocks."""
    return _choose(vpc, vpc.spaces[subnet], IPV4, ask)


def choose6(vpc: Vpc, subnet: str, ask: Ask) -> Chosen | Failed:
    """Free IPv6 addresses and /80 blocks of one subnet."""
    space = vpc.spaces6.get(subnet)
    return refusals.no_ipv6(subnet) if space is None else _choose(vpc, space, IPV6, ask)


def _choose(vpc: Vpc, space: Space | Space6, family: Family, ask: Ask) -> Chosen | Failed:
    named: list[int] = []
    named_blocks: list[int] = []
    if ask.addresses or ask.prefixes:
        blocks = _named_blocks(space, family, ask.prefixes)
        if isinstance(blocks, Failed):
            return blocks
        named_blocks = blocks
        singles = _named(space, family, ask.addresses, frozenset(blocks))
        if isinstance(singles, Failed):
            return singles
        named = singles
    barred = frozenset([*named_blocks, *(a & -family.block_size for a in named)])
    found = space.blocks(ask.prefix_count, vpc.place("block"), barred) if ask.prefix_count else []
    if len(found) < ask.prefix_count:
        needed = ask.address_count + family.block_size * ask.prefix_count
        return refusals.no_free_block() if space.free_for_blocks >= needed else shortage(vpc)
    addresses = named
    if ask.address_count:
        without = frozenset([*named_blocks, *found])
        addresses = named + space.singles(ask.address_count, vpc.place("single"), without, frozenset(named))
        if len(addresses) < len(named) + ask.address_count:
            return shortage(vpc)
    return Chosen(
        tuple([family.text(a) for a in addresses]),
        tuple([f"{family.text(b)}/{family.block_length}" for b in (*named_blocks, *found)]),
    )


def shortage(vpc: Vpc) -> Failed:
    """More addresses are asked for than are free."""
    if vpc.settings.shortage == refusals.INVALID_VALUE:
        return refusals.too_few_at_all()
    return refusals.too_few_addresses()


def _named(
    space: Space | Space6, family: Family, addresses: tuple[str, ...], blocks: frozenset[int]
) -> list[int] | Failed:
    """The numbers of addresses that were asked for by name, or what is wrong with one of them."""
    numbers: dict[int, None] = {}
    for text in addresses:
        try:
            address = family.parse(text)
        except ValueError:
            return refusals.invalid(family.address, text, "want an address of the subnet")
        if not space.holds(address):
            return refusals.outside_subnet(text)
        if _is_ec2s(space, address):
            return refusals.reserved_by_ec2(text)
        if not space.is_free(address) or address in numbers or address & -family.block_size in blocks:
            return refusals.address_in_use(text)
        if space.is_promised(address):
            return refusals.kept_for_prefixes(text)
        numbers[address] = None
    return list(numbers)


def _named_blocks(space: Space | Space6, family: Family, prefixes: tuple[str, ...]) -> list[int] | Failed:
    """The first addresses of prefixes that were asked for by name, or what is wrong with one of them."""
    numbers: dict[int, None] = {}
    for text in prefixes:
        first, _, length = text.partition("/")
        try:
            address = family.parse(first)
        except ValueError:
            address = -1
        if address < 0 or length != str(family.block_length) or address % family.block_size:
            return refusals.invalid(family.prefix, text, f"want an aligned /{family.block_length}")
        if not space.holds(address):
            return refusals.outside_subnet(text)
        if not space.is_free_block(address) or address in numbers:
            return refusals.address_in_use(text)
        numbers[address] = None
    return list(numbers)


def _is_ec2s(space: Space | Space6, address: int) -> bool:
    size = space.size if isinstance(space, Space) else 1 << 64
    offset = address - space.base
    return offset < RESERVED_AT_START or offset == size - 1


def _moved(vpc: Vpc, eni: EniRow, ask: Ask) -> dict[str, str]:
    """Of the addresses asked for: those that are another ENI's secondary ones, with that ENI."""
    wanted = frozenset(ask.addresses)
    others = (e for e in vpc.enis.values() if e.subnet == eni.subnet and e.eni != eni.eni)
    return {address: other.eni for other in others for address in other.addresses[1:] if address in wanted}


# ---- what is asked -------------------------------------------------------------------------------------------


def secondary_of(wanted: Wanted) -> Ask:
    """The secondary IPv4 addresses and prefixes that a new ENI begins with."""
    return Ask(wanted.addresses, wanted.address_count, wanted.prefixes, wanted.prefix_count)


def ipv6_of(wanted: Wanted) -> Ask:
    """The IPv6 addresses and prefixes that a new ENI begins with."""
    return Ask(wanted.ipv6_addresses, wanted.ipv6_address_count, wanted.ipv6_prefixes, wanted.ipv6_prefix_count)


def wrong_ask(family: Family, ask: Ask) -> Failed | None:
    """What is wrong with a request of which one kind at most may be asked for."""
    if ask.address_count < 0:
        return refusals.invalid(family.address_count, ask.address_count, "want 0 or more")
    if ask.prefix_count < 0:
        return refusals.invalid(family.prefix_count, ask.prefix_count, "want 0 or more")
    twice = next((a for n, a in enumerate(ask.addresses) if a in ask.addresses[:n]), None)
    if twice is not None:
        return refusals.invalid(family.address, twice, "it is there twice")
    sent = [
        name
        for name, value in (
            (family.address, ask.addresses),
            (family.address_count, ask.address_count),
            (family.prefix, ask.prefixes),
            (family.prefix_count, ask.prefix_count),
        )
        if value
    ]
    return refusals.either(sent[0], sent[1]) if len(sent) > 1 else None


def slots_of(vpc: Vpc, eni: EniRow) -> int:
    """Slots of each family that the ENI may fill: its instance type's (LIM-1)."""
    if not eni.attachment:
        return SLOTS_MAX
    return vpc.instances[eni.instance].limits.ips_per_eni


def carries_prefixes(vpc: Vpc, eni: EniRow) -> bool:
    """Whether prefixes may be put on the ENI: unattached, or on a type that carries them (INIT-14)."""
    return not eni.attachment or vpc.instances[eni.instance].limits.prefixes


def _but(those: tuple[str, ...], these: tuple[str, ...]) -> tuple[str, ...]:
    if not these or not those:
        return those
    return tuple([a for a in those if a not in these])


def _plain6(texts: tuple[str, ...]) -> tuple[str, ...]:
    """IPv6 addresses or prefixes in the form that rows have; what cannot be read stays as it is."""
    plain = []
    for text in texts:
        first, slash, length = text.partition("/")
        try:
            plain.append(f"{ip6_text(ip6(first))}{slash}{length}")
        except ValueError:
            plain.append(text)
    return tuple(plain)
