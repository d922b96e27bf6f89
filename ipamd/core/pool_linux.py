"""ipamd's warm pool: how many blocks a card is short of, or over, and which ENI may go.

    T      targets in addresses (POOL-5); converted to prefixes in prefix mode (POOL-7, POOL-8)
    low    may the pool grow?  (POOL-6)
    high   must it shrink?     (POOL-10)

Everything here reads State and returns numbers; `plan` and `fill` turn them into calls.
"""

from __future__ import annotations

from typing import Final

import msgspec

from .blocks import Block
from .state import Eni, State
from .types import PREFIX_SIZE, SECOND, EniId, Instant, ceil_div

ENI_MIN_LIFETIME: Final = 60 * SECOND
"""Younger ENIs are never freed (DM-36)."""
CARD_WARM_TARGET: Final = 1
"""Warm and minimum target of cards > 0 (POOL-4)."""


class Stats(msgspec.Struct, frozen=True):
    """DM-34, DM-35. `available` leaves cooling addresses out unless `cooling_counts_as_available`."""

    total: int
    assigned: int
    cooling: int
    prefixes: int
    free_prefixes: int
    available: int
    enis: int


class Balance(msgspec.Struct, frozen=True):
    """What the pool lacks or has too much of, in blocks of the mode: addresses, or prefixes.

    `short` and `over` are >= 0 and at most one of them is > 0. `targets` says whether the addresses targets
    (POOL-5) rule; otherwise WARM_PREFIX_TARGET or WARM_ENI_TARGET does (POOL-3) and `short` is what a fill asks for.
    """

    low: bool
    high: bool
    short: int
    over: int
    targets: bool
    stats: Stats

    @property
    def why(self) -> dict[str, int]:
        """The figures of a decision, for `PoolActed.why`."""
        s = self.stats
        return {
            "total": s.total, "assigned": s.assigned, "cooling": s.cooling, "available": s.available,
            "prefixes": s.prefixes, "free_prefixes": s.free_prefixes, "enis": s.enis,
            "short": self.short, "over": self.over,
        }  # fmt: skip


def limit_per_eni(state: State) -> int:
    """L of POOL-1: IPv4 addresses per ENI less the primary one; -1 for an unknown type."""
    return state.node.ips_per_eni - 1


def ips_per_eni(state: State) -> int:
    """maxIPsPerENI (POOL-1)."""
    limit = limit_per_eni(state)
    return PREFIX_SIZE * limit if state.settings.prefix_delegation else limit


def enis_max(state: State, card: int = 0) -> int:
    """maxENI (INIT-16, ENV-5, DM-55): the instance's limit for each card, lowered by MAX_ENI when that is >= 1.

    A card that is known to carry fewer takes no more than that (LIM-4 gives the instance's total).
    """
    wanted, cards = state.settings.max_eni, state.node.cards
    limit = min(cards[card], state.node.enis_max) if card < len(cards) else state.node.enis_max
    return min(wanted, limit) if wanted >= 1 else limit


def targets(state: State, card: int) -> tuple[int, int] | None:
    """Effective warm and minimum target in addresses; None where none is defined (POOL-2, POOL-4)."""
    if card > 0:
        return CARD_WARM_TARGET, CARD_WARM_TARGET
    warm, minimum = state.settings.warm_ip_target, state.settings.minimum_ip_target
    return (warm, minimum) if warm or minimum else None


def cooled(state: State, card: int, now: Instant) -> dict[Block, int]:
    """Addresses that have cooled at `now` but still count as resting in the tallies, which are as of a record."""
    found: dict[Block, int] = {}
    cooldown = state.cooldown
    for released_at, block in state.stores[card].cooling:
        if now - released_at <= cooldown:
            break
        if block.live:
            found[block] = found.get(block, 0) + 1
    return found


def stats(state: State, card: int, now: Instant) -> Stats:
    """A card's figures. Totals leave out excluded ENIs and blocks of the other mode (DM-31, DM-34)."""
    quirks = state.settings.quirks
    store = state.stores[card]
    tally = state.tally(card)
    cooling, idle = tally.serving_resting, tally.idle_prefixes
    for block, count in cooled(state, card, now).items():
        if not block.wide and state.usable(block):
            cooling -= count
        idle += block.prefix and not block.assigned and block.resting == count
    free = tally.empty_prefixes if quirks.cooling_released_by_scale_down else idle
    available = tally.serving_size - tally.serving_assigned - (0 if quirks.cooling_counts_as_available else cooling)
    return Stats(
        tally.serving_size, tally.serving_assigned, cooling, tally.prefixes + store.drift_prefixes, free, available,
        sum(eni.card == card for eni in state.enis.values()),
    )  # fmt: skip


def balance(state: State, card: int, now: Instant) -> Balance:
    """Is the pool too low or too high, and by how much? POOL-5..POOL-12 (where we differ: tests/quirks.py)."""
    counted = stats(state, card, now)
    if state.settings.ipv6:  # V6-5: no warm pool
        return Balance(False, False, 0, 0, False, counted)
    goal = targets(state, card)
    if goal is None:
        short, over, low = _by_free_blocks(state, counted)
    else:
        short, over = _by_addresses(state, card, counted, *goal)
        low = short > 0
    if counted.total >= state.node.max_pods:
        low = False
    return Balance(low, over > 0, short, over, goal is not None, counted)


def _by_addresses(state: State, card: int, counted: Stats, warm: int, minimum: int) -> tuple[int, int]:
    """T of POOL-5; in prefix mode in prefixes (POOL-7..9), on every card unless `card_surplus_in_addresses`."""
    spare = counted.available
    short = max(warm - spare, 0, minimum - counted.total)
    if not state.settings.prefix_delegation or (card and state.settings.quirks.card_surplus_in_addresses):
        return short, max(min(max(spare - warm, 0), counted.total - minimum), 0)
    rests = 0 if state.settings.quirks.cooling_counts_as_available else counted.cooling
    needed_warm = ceil_div(counted.assigned + rests + warm, PREFIX_SIZE)
    needed_minimum = ceil_div(minimum, PREFIX_SIZE)
    spare_prefixes = max(min(counted.free_prefixes, counted.prefixes - needed_warm), 0)
    over = max(min(spare_prefixes, counted.prefixes - needed_minimum), 0)
    short_prefixes = ceil_div(short, PREFIX_SIZE)
    return short_prefixes, 0 if short_prefixes else over


def _by_free_blocks(state: State, counted: Stats) -> tuple[int, int, bool]:
    """WARM_PREFIX_TARGET or WARM_ENI_TARGET (POOL-6, POOL-10, POOL-11, POOL-22, POOL-24): short, over, low."""
    if state.settings.prefix_delegation:
        unit, target = PREFIX_SIZE, state.settings.warm_prefix_target
        wanted = max(1, target - counted.free_prefixes)
        over = max(counted.free_prefixes - target, 0)
    else:
        unit, target = ips_per_eni(state), state.settings.warm_eni_target
        wanted, over = max(unit, 0), 0
    low = counted.available < unit * target or (target == 0 and counted.available == 0)
    return (wanted, 0, True) if low else (0, over, False)


def extra_enis_possible(state: State, card: int, counted: Stats) -> bool:
    """Might an ENI be spare? (POOL-35). `counted` is from before this cycle's action (POOL-16)."""
    if targets(state, card) is not None:
        return True
    settings = state.settings
    warm = settings.warm_prefix_target if settings.prefix_delegation else settings.warm_eni_target
    if counted.available < (warm + 1) * ips_per_eni(state):
        return False
    state.tally(card)
    return not settings.prefix_delegation or any(
        not (eni.primary or eni.trunk or eni.efa or eni.tally.assigned)
        for eni in state.enis.values()
        if eni.card == card
    )


def has_room_for_eni(state: State, card: int) -> bool:
    """POOL-38."""
    outside = sum(counted == card for counted in state.counted.values())
    held = sum(eni.card == card for eni in state.enis.values())
    return held < enis_max(state, card) - outside - trunk_reserve(state, card)


def trunk_reserve(state: State, card: int) -> int:
    """POOL-38: a slot of card 0 is kept for the trunk ENI until it is there, on a type that can have one (LIM-9)."""
    if card or not state.settings.pod_eni or not state.node.trunking_compatible:
        return 0
    return 0 if any(eni.trunk and eni.card == 0 for eni in state.enis.values()) else 1


def allocatable(state: State, card: int) -> list[Eni]:
    """ENIs that can take another address or prefix, by device number (DM-46). Both kinds of block take a slot.

    With custom networking the primary ENI, whose subnet is not the pods', takes none (POOL-42).
    """
    limit = limit_per_eni(state)
    spared = state.settings.custom_networking
    return [
        eni
        for eni in state.enis.values()
        if eni.card == card
        and not eni.trunk
        and not eni.excluded
        and not (spared and eni.primary)
        and len(eni.blocks) < limit
    ]


def freeable_blocks(state: State, eni: Eni, now: Instant) -> list[Block]:
    """Blocks of either kind without pods (DM-45); those with a cooling address only under the quirk (POOL-31)."""
    late = state.settings.quirks.cooling_released_by_scale_down
    return [
        block
        for block in eni.blocks.values()
        if not block.assigned and (late or not block.cooling_at(now, state.cooldown))
    ]


def hold_on_eni(state: State, eni: Eni, now: Instant) -> str:
    """Why an ENI must stay, as one word; "" when it may go. The order of DM-36 decides which word."""
    if eni.primary:
        return "primary"
    if now - eni.ready_at < ENI_MIN_LIFETIME:
        return "young"
    if _resting(state, eni, now):
        return "cooling"
    if eni.tally.assigned:
        return "pods"
    for word in _required_for(state, eni, now):
        return word
    if eni.trunk:
        return "trunk"
    return "efa" if eni.efa else ""


def _resting(state: State, eni: Eni, now: Instant) -> int:
    """Addresses of an ENI that cool at `now`."""
    state.tally(eni.card)
    gone = sum(count for block, count in cooled(state, eni.card, now).items() if block.eni == eni.eni)
    return eni.tally.resting - gone


def _serving_rests(state: State, eni: Eni, now: Instant) -> int:
    """Those of them that lie in blocks which serve; see `stats`."""
    heads = cooled(state, eni.card, now)
    state.tally(eni.card)
    gone = sum(n for block, n in heads.items() if block.eni == eni.eni and not block.wide and state.usable(block))
    return eni.tally.serving_resting - gone


def _required_for(state: State, eni: Eni, now: Instant) -> list[str]:
    """Which targets need this ENI (DM-37, DM-38, DM-39)."""
    settings = state.settings
    mode = settings.prefix_delegation
    warm, minimum = targets(state, eni.card) or (0, 0)
    everyone, own = state.tally(eni.card), eni.tally
    required = []
    if warm:
        spare = everyone.serving_size - own.serving_size - everyone.serving_assigned + own.serving_assigned
        if not settings.quirks.cooling_counts_as_available:
            spare -= stats(state, eni.card, now).cooling - (0 if eni.excluded else _serving_rests(state, eni, now))
        if spare < _rounded(warm, mode):
            required.append("warm_ip_target")
    if minimum and everyone.serving_size - own.serving_size < _rounded(minimum, mode):
        required.append("minimum_ip_target")
    if mode and settings.warm_prefix_target and everyone.open_empty - own.open_empty < settings.warm_prefix_target:
        required.append("warm_prefix_target")
    return required


def _rounded(target: int, prefix_mode: bool) -> int:
    return PREFIX_SIZE * ceil_div(target, PREFIX_SIZE) if prefix_mode else target


def deletable_eni(state: State, card: int, now: Instant) -> EniId:
    """The ENI that POOL-36 frees: the youngest device number that DM-36 lets go last, "" if none may."""
    for eni in reversed(state.enis.values()):
        if eni.card == card and not hold_on_eni(state, eni, now):
            return eni.eni
    return ""
