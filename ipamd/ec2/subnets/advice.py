"""What to do about a subnet before prefix mode is turned on in it: checks, each with a code, the fact and the remedy.

"Badly fragmented" is no term of EC2's: here it is a subnet where less than half of the free addresses that a prefix
could take lie in whole blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

import msgspec

from .facts import Use
from .occupation import BLOCK, PRIMARY, SECONDARY, BlockState, Occupation

Level: TypeAlias = Literal["finding", "warning", "advice"]
_LISTED = 3


class Advice(msgspec.Struct, frozen=True):
    """One thing to know. A `finding` makes the pre-flight fail."""

    code: str
    level: Level
    text: str


def advise(
    occupation: Occupation, now: Occupation, want: int, stay: tuple[str, ...], best: tuple[str, int] | None
) -> Iterator[Advice]:
    """Everything to be said of the subnet as `occupation` has it, gravest first.

    `now` is the subnet before any what-if, which the source's own figures are compared with; `stay` are ENIs that
    outlive their drained nodes; `best` is whoever alone breaks the most blocks (an instance or an ENI), and how many.
    """
    short = occupation.prefixes_available < want
    if short:
        yield Advice("no-free-block", "finding", _no_free_block(occupation, want, best))
    yield from _doubts(now)
    if not short:
        yield from _fragmented(occupation)
    yield from _in_reservations(occupation)
    yield from _leaked(occupation, stay)
    if stay:
        yield Advice(
            "stays-after-drain",
            "warning",
            f"{_some(stay)} outlive their node, as they are not deleted on termination: their addresses stay taken; "
            "delete them too, or set delete-on-termination",
        )
    yield from _room_for_prefixes(occupation)


def _no_free_block(occupation: Occupation, want: int, best: tuple[str, int] | None) -> str:
    have = occupation.prefixes_available
    wanted = f"want {want} prefix{'es' if want > 1 else ''}"
    said = f"{wanted}, {have} can be had though {occupation.free} addresses are free"
    then = "AssignPrivateIpAddresses with a prefix count then ends with InsufficientCidrBlocks"
    if occupation.size <= 2 * BLOCK:
        return f"{said}: EC2's own addresses break every block of a /27 or /28; use a subnet of /26 or wider"
    explicit = occupation.count(BlockState.EXPLICIT)
    if explicit:
        return (
            f"{said}: {then}; {explicit} free blocks lie in explicit reservations, where only a request that names "
            "them gets them: delete such a reservation, or make it one of type prefix"
        )
    mend = f", or free blocks here: without {best[0]} there were {best[1]} more" if best else ""
    return f"{said}: {then}; use a fresh subnet with a prefix reservation{mend}"


def _doubts(occupation: Occupation) -> Iterator[Advice]:
    """What makes the figures less than certain."""
    if occupation.conflicts:
        more = len(occupation.conflicts) - 1
        rest = f", and {more} more like it" if more else ""
        yield Advice(
            "held-twice",
            "warning",
            f"{occupation.conflicts[0]}{rest}: no state of EC2; take all ENIs from one moment and one account",
        )
    if not occupation.facts.reservations_known:
        yield Advice(
            "reservations-unknown",
            "advice",
            "nothing is said about reservations, so none are counted; add what "
            f"`aws ec2 get-subnet-cidr-reservations --subnet-id {occupation.facts.subnet}` prints",
        )
    available = occupation.facts.available
    if available is None:
        return
    unlisted = occupation.free_singles - available
    if unlisted > 0:
        yield Advice(
            "unlisted-holders",
            "warning",
            f"EC2 counts {available} available addresses, {unlisted} less than the listed ENIs leave: somebody who is "
            "not listed holds them (another account in a shared subnet, a filter, another moment), "
            "so fewer blocks may be free",
        )
    elif available > occupation.free:
        yield Advice(
            "another-moment",
            "warning",
            f"EC2 counts {available} available addresses, {available - occupation.free} more than the listed ENIs "
            "leave: the two lists are of different moments; take both again",
        )


def _fragmented(occupation: Occupation) -> Iterator[Advice]:
    usable = sum(
        BLOCK - occupation.occupied(block)
        for block, state in enumerate(occupation.states)
        if state is not BlockState.EXPLICIT
    )
    whole = occupation.prefixes_available * BLOCK
    if usable >= 2 * BLOCK and 2 * whole < usable:
        yield Advice(
            "fragmented",
            "warning",
            f"badly fragmented: of {usable} free addresses only {whole} lie in whole blocks; avoid prefix mode here, "
            "or use a fresh subnet with a prefix reservation",
        )


def _in_reservations(occupation: Occupation) -> Iterator[Advice]:
    for reservation in occupation.facts.reservations:
        if reservation.kind != "prefix":
            continue
        inside = occupation.inside(reservation)
        if len(inside) < BLOCK:
            yield Advice(
                "reservation-too-small",
                "warning",
                f"reservation {reservation.cidr}: no prefix fits into it; replace it by one of /28 or wider",
            )
            continue
        codes = occupation.taken[inside.start : inside.stop]
        singles = codes.count(PRIMARY) + codes.count(SECONDARY)
        blocks = range(inside.start // BLOCK, inside.stop // BLOCK)
        if singles:
            broken = sum(bool(occupation.breaking_enis(block) - {-1}) for block in blocks)
            yield Advice(
                "reservation-broken",
                "warning",
                f"reservation {reservation.cidr}: {singles} single addresses from before it break {broken} of its "
                f"{len(blocks)} blocks; reserving does not move them, so free them first",
            )


def _leaked(occupation: Occupation, stay: tuple[str, ...]) -> Iterator[Advice]:
    seen = zip(occupation.facts.enis, occupation.uses, strict=True)
    leaked = [eni.eni for eni, use in seen if use is Use.LEAKED and eni.eni not in stay]
    if leaked:
        yield Advice(
            "leaked-enis",
            "advice",
            f"{_some(leaked)}: made by the CNI and attached to nothing; once they have been so for some minutes, "
            "delete them: `aws ec2 delete-network-interface --network-interface-id ...`",
        )


def _room_for_prefixes(occupation: Occupation) -> Iterator[Advice]:
    """Whether a reservation is advisable."""
    cidr = occupation.largest_free_cidr()
    if not cidr or any(r.kind == "prefix" for r in occupation.facts.reservations):
        return
    foreign = sorted({use for use, breaks in _single_holders(occupation) if breaks})
    if foreign:
        yield Advice(
            "reserve",
            "advice",
            f"single addresses ({', '.join(foreign)}) share the subnet and may break any of its "
            f"{occupation.count(BlockState.FREE)} free blocks; set some aside for prefixes: `aws ec2 "
            f"create-subnet-cidr-reservation --subnet-id {occupation.facts.subnet} --cidr {cidr} "
            "--reservation-type prefix`. The CNI's requests stay as they are: EC2 serves them from it",
        )
    elif occupation.count(BlockState.PREFIX):
        yield Advice(
            "prefixes-only",
            "advice",
            "only nodes in prefix mode use the subnet, so it needs no reservation: its only single addresses are the "
            f"primary ones of ENIs ({occupation.held(PRIMARY)})",
        )


def _single_holders(occupation: Occupation) -> Iterator[tuple[Use, bool]]:
    """Each ENI's use, and whether it holds single addresses that a node in prefix mode would not."""
    ours = (Use.NODE, Use.PODS, Use.TRUNK, Use.EFA)
    for eni, use in zip(occupation.facts.enis, occupation.uses, strict=True):
        yield use, len(eni.addresses) > 1 if use in ours else bool(eni.addresses)


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _LISTED
    return f"{', '.join(listed[:_LISTED])}{f' and {more} more' if more > 0 else ''}"
