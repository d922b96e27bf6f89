"""The report on one subnet: figures, who breaks what, what to do. It is what `ipamd subnet --json` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from ipamd.core.types import CidrText

from .advice import Advice, advise
from .facts import ReservationKind, SubnetFacts, Use
from .occupation import EC2, PREFIX, PRIMARY, SECONDARY, Block, BlockState, Occupation, Run
from .whatif import with_reservations, without_nodes

RUNS = 5
"""How many of the longest free runs are told."""


class Asked(msgspec.Struct, frozen=True):
    """What is asked of a subnet."""

    reserve: tuple[CidrText, ...] = ()
    """Prefix reservations that are to be added."""
    drain: tuple[str, ...] = ()
    """Nodes that are to be drained and terminated."""
    want: int = 1
    """Prefixes that have to be there for a pre-flight to pass."""


class Figures(msgspec.Struct, frozen=True):
    """Addresses and blocks, counted. A block is an aligned /28."""

    free: int
    """Addresses that nobody holds."""
    free_singles: int
    """Of them, outside every reservation: what requests for single addresses can get."""
    free_blocks: int
    """Wholly free blocks, reserved ones included."""
    prefixes_available: int
    """Prefixes that requests with a count can get: free blocks outside `explicit` reservations."""
    prefixes_reserved: int
    """Of them, those in `prefix` reservations: no single address can break them."""
    prefixes_delegated: int
    blocks_broken: int
    """Blocks with a free address and a taken one."""
    blocks_full: int
    """Blocks of sixteen single addresses."""
    singles_held: int
    """Primary and secondary addresses of ENIs."""


class UseRow(msgspec.Struct, frozen=True):
    """What one kind of use holds, and what it breaks."""

    use: Use
    enis: int
    singles: int
    prefixes: int
    breaks: int
    """Blocks in which it holds a single address."""
    alone: int
    """Of them, those that nothing else breaks."""


class HolderRow(msgspec.Struct, frozen=True):
    """The same for one instance, or for one ENI that is on none."""

    holder: str
    uses: tuple[Use, ...]
    description: str
    enis: int
    singles: int
    prefixes: int
    breaks: int
    alone: int


class ReservationRow(msgspec.Struct, frozen=True):
    """One reservation and what lies in it."""

    cidr: CidrText
    kind: ReservationKind
    reservation: str
    description: str
    free_blocks: int
    prefixes: int
    singles: int
    """Single addresses of ENIs: in a prefix reservation, those that were there before it."""


class Report(msgspec.Struct, frozen=True):
    """One subnet. With what-ifs everything is as after them, and `before` has the figures of now."""

    subnet: str
    cidr: CidrText
    zone: str
    vpc: str
    name: str
    ok: bool
    """Whether as many prefixes can be had as were asked for."""
    want: int
    figures: Figures
    before: Figures | None
    reserved: tuple[CidrText, ...]
    drained: tuple[str, ...]
    stay: tuple[str, ...]
    """ENIs of drained nodes that stay, as they are not deleted on termination."""
    runs: tuple[Run, ...]
    largest_free_cidr: CidrText
    reservations: tuple[ReservationRow, ...]
    uses: tuple[UseRow, ...]
    holders: tuple[HolderRow, ...]
    broken: tuple[Block, ...]
    advice: tuple[Advice, ...]
    available: int | None
    """EC2's own count, if the source has it; of now."""
    map: tuple[str, ...]
    """One character a block, rows from the bottom of the subnet."""


class Picture(msgspec.Struct, frozen=True):
    """The subnet as it is asked about, before anything is counted."""

    occupation: Occupation
    before: Occupation | None
    drained: tuple[str, ...]
    stay: tuple[str, ...]


def picture(facts: SubnetFacts, asked: Asked) -> Picture:
    """The subnet after what is asked. Raises ValueError for a reservation or a node that cannot be."""
    now = Occupation(facts)
    if not asked.reserve and not asked.drain:
        return Picture(now, None, (), ())
    drained = without_nodes(facts, asked.drain)
    after = with_reservations(drained.facts, asked.reserve)
    return Picture(Occupation(after), now, drained.instances, drained.stay)


def report(seen: Picture, asked: Asked, rows: tuple[str, ...]) -> Report:
    """What is to be told of a picture; `rows` is its map."""
    occupation = seen.occupation
    facts = occupation.facts
    told = figures(occupation)
    uses, holders = breakage(occupation)
    best = next(((row.holder, row.alone) for row in holders if row.alone), None)
    return Report(
        subnet=facts.subnet,
        cidr=facts.cidr,
        zone=facts.zone,
        vpc=facts.vpc,
        name=facts.name,
        ok=told.prefixes_available >= asked.want,
        want=asked.want,
        figures=told,
        before=figures(seen.before) if seen.before is not None else None,
        reserved=asked.reserve,
        drained=seen.drained,
        stay=seen.stay,
        runs=tuple(occupation.runs(RUNS)),
        largest_free_cidr=occupation.largest_free_cidr(),
        reservations=tuple(reservations(occupation)),
        uses=uses,
        holders=holders,
        broken=tuple(occupation.broken()),
        advice=tuple(advise(occupation, seen.before or occupation, asked.want, seen.stay, best)),
        available=facts.available,
        map=rows,
    )


def figures(occupation: Occupation) -> Figures:
    """Everything that is one number."""
    return Figures(
        free=occupation.free,
        free_singles=occupation.free_singles,
        free_blocks=occupation.free_blocks,
        prefixes_available=occupation.prefixes_available,
        prefixes_reserved=occupation.count(BlockState.RESERVED),
        prefixes_delegated=occupation.count(BlockState.PREFIX),
        blocks_broken=occupation.count(BlockState.BROKEN),
        blocks_full=occupation.count(BlockState.FULL),
        singles_held=occupation.held(PRIMARY) + occupation.held(SECONDARY),
    )


def reservations(occupation: Occupation) -> Iterable[ReservationRow]:
    """The reservations with what lies in them, from the bottom of the subnet."""
    for reservation in occupation.facts.reservations:
        inside = occupation.inside(reservation)
        codes = occupation.taken[inside.start : inside.stop]
        blocks = range(-(-inside.start // 16), inside.stop // 16)
        yield ReservationRow(
            cidr=reservation.cidr,
            kind=reservation.kind,
            reservation=reservation.reservation,
            description=reservation.description,
            free_blocks=sum(occupation.occupied(block) == 0 for block in blocks),
            prefixes=codes.count(PREFIX) // 16,
            singles=len(codes) - codes.count(0) - codes.count(PREFIX) - codes.count(EC2),
        )


def breakage(occupation: Occupation) -> tuple[tuple[UseRow, ...], tuple[HolderRow, ...]]:
    """Who breaks blocks: by kind of use, and by instance or ENI. First those alone in the most blocks."""
    enis, uses = occupation.facts.enis, occupation.uses

    def by_use(index: int) -> str:
        return uses[index] if index >= 0 else Use.EC2

    def by_holder(index: int) -> str:
        return (enis[index].instance or enis[index].eni) if index >= 0 else ""

    use_breaks, use_alone = _broken_by(occupation, by_use)
    holder_breaks, holder_alone = _broken_by(occupation, by_holder)
    members: dict[str, list[int]] = {}
    of_use: dict[str, list[int]] = {}
    for index in range(len(enis)):
        members.setdefault(by_holder(index), []).append(index)
        of_use.setdefault(by_use(index), []).append(index)
    use_rows = [
        UseRow(Use(use), len(listed), *_held(occupation, listed), use_breaks[use], use_alone[use])
        for use, listed in of_use.items()
    ]
    use_rows.append(UseRow(Use.EC2, 0, occupation.held(EC2), 0, use_breaks[Use.EC2], use_alone[Use.EC2]))
    holder_rows = [
        HolderRow(
            holder,
            tuple(dict.fromkeys(uses[index] for index in listed)),
            next((enis[index].description for index in listed if enis[index].description), ""),
            len(listed),
            *_held(occupation, listed),
            holder_breaks[holder],
            holder_alone[holder],
        )
        for holder, listed in members.items()
    ]
    return (
        tuple(sorted(use_rows, key=lambda row: (-row.alone, -row.breaks, row.use))),
        tuple(sorted(holder_rows, key=lambda row: (-row.alone, -row.breaks, row.holder))),
    )


def _held(occupation: Occupation, indexes: Iterable[int]) -> tuple[int, int]:
    """Single addresses and prefixes of some ENIs."""
    enis = [occupation.facts.enis[index] for index in indexes]
    return sum(len(eni.addresses) for eni in enis), sum(len(eni.prefixes) for eni in enis)


def _broken_by(occupation: Occupation, name: Callable[[int], str]) -> tuple[Counter[str], Counter[str]]:
    """By name of their holders: blocks with one of its single addresses, and those with nobody else's."""
    breaks: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    for block, state in enumerate(occupation.states):
        if state not in (BlockState.BROKEN, BlockState.FULL):
            continue
        names = list(dict.fromkeys(name(index) for index in sorted(occupation.breaking_enis(block))))
        breaks.update(names)
        if len(names) == 1:
            alone.update(names)
    return breaks, alone
