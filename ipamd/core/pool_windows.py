"""The Windows warm pool: who gets which address, and how many groups a pool is short of, or over (WIN-74..95).

    assign      which address a pod gets, or why none (WIN-76..78)
    deviation   D in addresses: what the targets want less what is held or coming (WIN-86..91)
    reconcile   the one job that follows: create, delete, re-sync, or none (WIN-82)

Names of the specification: U used, W warm, C cooling, pc/pd being created/deleted, K capacity, F full groups.
Where upstream's choice is that of a hash map, groups are taken in numeric order and deleted from the highest down.
"""

from __future__ import annotations

from typing import Final

import msgspec

from .settings import WindowsQuirks
from .types import PREFIX_SIZE, CidrText, EniId, ceil_div
from .windows_config import PoolKind, Targets
from .windows_state import Pool

ALREADY: Final = "already assigned"
MAX_CAPACITY: Final = "max capacity"
COOLING: Final = "cooling down"
CREATING: Final = "being created"
EMPTY: Final = "empty"
NO_CIDR: Final = "insufficient cidr"


class Figures(msgspec.Struct, frozen=True):
    """A pool in numbers, in addresses; `full` in groups."""

    used: int
    warm: int
    cooling: int
    pending_create: int
    pending_delete: int
    capacity: int
    full: int


class Pick(msgspec.Struct, frozen=True):
    """What a pod gets."""

    group: CidrText
    address: CidrText


class Create(msgspec.Struct, frozen=True):
    """So many groups more."""

    groups: int


class Delete(msgspec.Struct, frozen=True):
    """These full groups go, highest first."""

    groups: tuple[CidrText, ...]


class Resync(msgspec.Struct, frozen=True):
    """Compare with EC2."""


Job = Create | Delete | Resync


def figures(pool: Pool) -> Figures:
    """The pool in numbers."""
    size = pool.size
    warm = full = 0
    for free in pool.warm.values():
        count = len(free)
        warm += count
        full += count == size
    return Figures(
        len(pool.used), warm, len(pool.cooling), pool.pending_create, pool.pending_delete, pool.capacity, full
    )


def capacity(kind: PoolKind, ips_per_eni: int) -> int:
    """K (WIN-37): the first slot holds the primary address; 0 for an unknown type."""
    slots = max(ips_per_eni - 1, 0)
    return slots * PREFIX_SIZE if kind == "prefix" else slots


def assign(pool: Pool, uid: str, available: bool, quirks: WindowsQuirks) -> Pick | str:
    """WIN-76, tests in this order. A refusal is one of the words above; only EMPTY wants a reconcile."""
    if uid in pool.used:
        return ALREADY
    used, resting, limit = len(pool.used), len(pool.cooling), pool.capacity
    coming = pool.pending_create + pool.pending_delete
    exactly = quirks.windows_capacity_by_equality
    if used == limit or (used > limit and not exactly):
        return MAX_CAPACITY
    if used + resting == limit or (used + resting > limit and not exactly):
        return COOLING
    if used + resting + coming == limit or (used + resting + coming > limit and not exactly):
        return CREATING
    keys = pool.warm if quirks.windows_exhausted_groups_hide_shortage else any(pool.warm.values())
    if not keys:
        return NO_CIDR if pool.kind == "prefix" and not available else EMPTY
    return pick(pool) or EMPTY


def pick(pool: Pool) -> Pick | None:
    """WIN-77: out of the prefix with the fewest free addresses; WIN-78: any address. Ties: the lowest."""
    best: CidrText | None = None
    fewest = PREFIX_SIZE + 1
    for group, free in pool.warm.items():
        if free and len(free) < fewest:
            best, fewest = group, len(free)
            if fewest == 1:
                break
    return Pick(best, pool.warm[best][0]) if best is not None else None


def repaired(targets: Targets, kind: PoolKind) -> Targets:
    """WIN-87, WIN-89: what unset, zero and negative targets stand for."""
    if targets.draining:
        return Targets(draining=True)
    warm, minimum, prefix = targets.warm, targets.minimum, targets.prefix
    if kind == "secondary":
        return Targets(warm if warm >= 0 else 3, minimum if minimum >= 0 else 3, prefix)
    has_warm, has_minimum, has_prefix = warm > 0, minimum > 0, prefix > 0
    if not has_warm and (has_minimum or not has_prefix):
        warm = 1
    if not has_minimum and (has_warm or not has_prefix):
        minimum = 3
    return Targets(warm, minimum, prefix)


def deviation(kind: PoolKind, targets: Targets, now: Figures, quirks: WindowsQuirks) -> int:
    """D: addresses short (> 0) or over (< 0)."""
    wanted = repaired(targets, kind)
    if kind == "secondary":
        return _deviation_secondary(wanted, now)
    if wanted.draining:
        return -PREFIX_SIZE * now.full
    if wanted.prefix > 0 and wanted.warm <= 0 and wanted.minimum <= 0:
        return PREFIX_SIZE * (wanted.prefix - now.full - ceil_div(now.pending_create, PREFIX_SIZE))
    groups = _prefixes_wanted(wanted, now, quirks.windows_cooling_counts_as_supply)
    return PREFIX_SIZE * (0 if groups < 0 and now.full == 0 else groups)


def _deviation_secondary(wanted: Targets, now: Figures) -> int:
    """WIN-86."""
    spare = now.warm + now.pending_create
    total = now.used + spare + now.cooling
    short = max(0, wanted.warm - spare, wanted.minimum - total)
    over = max(0, min(max(spare - wanted.warm, 0), total - wanted.minimum))
    return short - over


def _prefixes_wanted(wanted: Targets, now: Figures, cooling_counts: bool) -> int:
    """WIN-91. Ours, where cooling addresses are no supply (WIN-92): they count for the minimum, not for warm ones."""
    total = now.used + now.pending_create + now.warm + now.cooling
    have = ceil_div(total, PREFIX_SIZE)
    for_minimum = ceil_div(wanted.minimum, PREFIX_SIZE)
    if cooling_counts or not now.cooling:
        return max(ceil_div(now.used + wanted.warm, PREFIX_SIZE), for_minimum) - have
    for_warm = ceil_div(wanted.warm - now.warm - now.pending_create, PREFIX_SIZE)
    return max(for_warm, for_minimum - have)


def reconcile(pool: Pool, quirks: WindowsQuirks) -> Job | None:
    """WIN-82: at most one job."""
    now = figures(pool)
    if pool.resync:
        return None if now.pending_create or now.pending_delete else Resync()
    promised = now.used + now.pending_create + now.pending_delete + now.cooling
    if promised == now.capacity:
        return None
    wanted = deviation(pool.kind, pool.targets, now, quirks)
    if wanted > 0:
        room = max(now.capacity - now.warm - promised, 0)
        groups = min(wanted, room) // pool.size
        return Create(groups) if groups else None
    return _shrink(pool, -wanted) if wanted < 0 else None


def _shrink(pool: Pool, addresses: int) -> Delete | None:
    """WIN-82 step 5, WIN-83: full groups only."""
    gone = []
    for group in reversed(pool.warm):
        if addresses <= 0:
            break
        if len(pool.warm[group]) == pool.size:
            gone.append(group)
            addresses -= pool.size
    return Delete(tuple(gone)) if gone else None


def slots(pool: Pool, other: Pool | None, eni: EniId, ips_per_eni: int, quirks: WindowsQuirks) -> int:
    """WIN-105: places left on an interface. Upstream's pools each see only their own changes (WIN-110)."""
    own = _held(pool, eni)
    if quirks.windows_separate_ledgers:
        theirs = pool.foreign.get(eni, 0)
    else:
        theirs = _held(other, eni) if other else 0
    return max(ips_per_eni - 1 - own - theirs, 0)


def _held(pool: Pool, eni: EniId) -> int:
    """Slots of an interface that a pool has, is asking for, or has not yet got rid of."""
    homes = (*pool.home.values(), *pool.leaving.values())
    return sum(home == eni for home in homes) + pool.asked.get(eni, 0)
