"""Assigning and unassigning: which addresses an ENI gets, and what EC2 refuses.

All or nothing: a request that cannot be met in full changes nothing. Too few free addresses is told apart
from enough free addresses without an aligned free block, which is how a fragmented subnet shows (POOL-28).
"""

from __future__ import annotations

from typing import Final

import msgspec

from ipamd.core.calls import (
    AssignPrivateIpAddresses,
    Done,
    Failed,
    Granted,
    Result,
    UnassignPrivateIpAddresses,
)
from ipamd.core.types import PREFIX_LENGTH, PREFIX_SIZE, CidrText, Ipv4Text, ip4_text

from . import refusals
from .rows import EniRow, Row
from .space import Space
from .state import Vpc

SLOTS_MAX: Final = 64
"""IPv4 slots of an ENI that is attached to nothing: as many as the largest instance type has."""


class Change(msgspec.Struct, frozen=True):
    """What a call answers, and the rows that its effect is; without rows it changes nothing."""

    result: Result
    rows: tuple[Row, ...] = ()


class Chosen(msgspec.Struct, frozen=True):
    """Free addresses and blocks that a request will get, in the order chosen."""

    addresses: tuple[Ipv4Text, ...]
    prefixes: tuple[CidrText, ...]


def assign(vpc: Vpc, call: AssignPrivateIpAddresses) -> Change | Failed:
    """EC2-20: new secondary addresses or prefixes for one ENI; the answer lists just the new ones."""
    eni = vpc.enis.get(call.eni)
    if eni is None:
        return refusals.no_such_eni(call.eni)
    wrong = wrong_counts(call.secondary_ips, call.prefixes)
    if wrong is not None:
        return wrong
    wanted = call.secondary_ips + call.prefixes
    if wanted == 0:
        return refusals.missing("secondaryPrivateIpAddressCount")
    if call.prefixes and not carries_prefixes(vpc, eni):
        return refusals.no_prefixes(vpc.instances[eni.instance].instance_type)
    if eni.slots + wanted > slots_of(vpc, eni):
        return refusals.too_many_addresses()
    chosen = choose(vpc, eni.subnet, call.secondary_ips, call.prefixes)
    if isinstance(chosen, Failed):
        return chosen
    grown = msgspec.structs.replace(
        eni, addresses=eni.addresses + chosen.addresses, prefixes=eni.prefixes + chosen.prefixes
    )
    return Change(Granted(chosen.addresses, chosen.prefixes), (grown,))


def unassign(vpc: Vpc, call: UnassignPrivateIpAddresses) -> Change | Failed:
    """EC2-21: secondary addresses or prefixes of one ENI go back to the subnet."""
    eni = vpc.enis.get(call.eni)
    if eni is None:
        return refusals.no_such_eni(call.eni)
    if not call.addresses and not call.prefixes:
        return refusals.missing("privateIpAddress")
    if eni.addresses[0] in call.addresses:
        return refusals.primary_address_stays(eni.addresses[0], eni.eni)
    unknown = [a for a in call.addresses if a not in eni.addresses]
    unknown += [p for p in call.prefixes if p not in eni.prefixes]
    if unknown:
        return refusals.not_assigned(unknown, eni.eni)
    shrunk = msgspec.structs.replace(
        eni,
        addresses=tuple(a for a in eni.addresses if a not in call.addresses),
        prefixes=tuple(p for p in eni.prefixes if p not in call.prefixes),
    )
    return Change(Done(), (shrunk,))


def choose(vpc: Vpc, subnet: str, addresses: int, prefixes: int) -> Chosen | Failed:
    """Free addresses and aligned free blocks of one subnet, none of the addresses inside the blocks."""
    space: Space = vpc.spaces[subnet]
    if space.free < addresses + PREFIX_SIZE * prefixes:
        return refusals.too_few_addresses()
    if space.free_blocks < prefixes:
        return refusals.no_free_block()
    blocks = space.blocks(prefixes, vpc.place("block"))
    singles = space.singles(addresses, vpc.place("single"), frozenset(blocks))
    assert len(blocks) == prefixes and len(singles) == addresses, f"{subnet}: the free count is not the truth"
    return Chosen(
        tuple(ip4_text(a) for a in singles),
        tuple(f"{ip4_text(b)}/{PREFIX_LENGTH}" for b in blocks),
    )


def wrong_counts(addresses: int, prefixes: int) -> Failed | None:
    """What is wrong with two counts of which one at most may be above 0."""
    if addresses < 0:
        return refusals.invalid("secondaryPrivateIpAddressCount", addresses, "want 0 or more")
    if prefixes < 0:
        return refusals.invalid("ipv4PrefixCount", prefixes, "want 0 or more")
    if addresses and prefixes:
        return refusals.either("secondaryPrivateIpAddressCount", "ipv4PrefixCount")
    return None


def slots_of(vpc: Vpc, eni: EniRow) -> int:
    """IPv4 slots that the ENI may fill: its instance type's (LIM-1)."""
    if not eni.attachment:
        return SLOTS_MAX
    return vpc.instances[eni.instance].limits.ips_per_eni


def carries_prefixes(vpc: Vpc, eni: EniRow) -> bool:
    """Whether prefixes may be put on the ENI: unattached, or on a type that carries them (INIT-14)."""
    return not eni.attachment or vpc.instances[eni.instance].limits.prefixes
