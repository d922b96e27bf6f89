"""Which attached ENIs and which network cards are ours to manage (DM-48..55).

    tags      no_manage, instance_id, MANAGE_UNTAGGED_ENI      -> an ENI that stays out, but takes room
    efa-only  has no addresses                                 -> stays out, takes room
    cards     ENABLE_MULTI_NIC off: the first alone; on: all but those that carry an efa-only ENI and nothing of ours
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from . import events as ev
from .state import State
from .types import EniId
from .work import Candidate

NO_MANAGE_TAG = "node.k8s.amazonaws.com/no_manage"
INSTANCE_TAG = "node.k8s.amazonaws.com/instance_id"
EFA_ONLY = "efa-only"


class Sorted(msgspec.Struct, frozen=True):
    """What describing every attached ENI showed: `outside` stay out of the stores, `counted` of them take room."""

    outside: tuple[EniId, ...]
    counted: dict[EniId, int]
    cards: tuple[int, ...]


def sort_out(state: State, attached: Sequence[Candidate], cards: tuple[int, ...] | None = None) -> Sorted:
    """DM-48..53 for these ENIs. `cards`: those that have stores, where stores are not made any more (REC-16).

    In IPv6 mode the primary ENI is ours whatever it is (DM-51, V6-2); in IPv4 mode nothing can make it another's.
    """
    counted = {
        eni.eni: eni.card
        for eni in attached
        if eni.eni != state.node.primary_eni and (eni.kind == EFA_ONLY or _shunned(state, eni.tags))
    }
    managed = _managed_cards(state, attached, counted) if cards is None else cards
    outside = [
        eni.eni
        for eni in attached
        if eni.eni in counted or (eni.card not in managed and eni.eni != state.node.primary_eni)
    ]
    return Sorted(tuple(sorted(outside)), dict(sorted(counted.items())), managed)


def _managed_cards(state: State, attached: Sequence[Candidate], counted: dict[EniId, int]) -> tuple[int, ...]:
    """DM-50, DM-54."""
    if not state.settings.multi_nic:
        return (0,)
    taken = {eni.card for eni in attached if eni.kind == EFA_ONLY}
    ours = {eni.card for eni in attached if eni.eni not in counted}
    return tuple(card for card in range(len(state.node.cards) or 1) if card not in taken or card in ours)


def _shunned(state: State, tags: dict[str, str]) -> bool:
    """DM-48. An ENI tagged for another instance is ours unless MANAGE_UNTAGGED_ENI is off (DM-49)."""
    marked = tags.get(NO_MANAGE_TAG)
    if marked is not None:
        return marked == "true"
    return not state.settings.manage_untagged_eni and tags.get(INSTANCE_TAG) != state.node.instance


def changes(state: State, found: Sorted) -> list[ev.Event]:
    """The events by which State learns of it."""
    events: list[ev.Event] = []
    if found.outside != state.unmanaged or found.counted != state.counted:
        events.append(ev.UnmanagedEnisChanged(found.outside, found.counted))
    if found.cards != state.cards:
        events.append(ev.CardsManaged(found.cards))
    return events


def still(state: State, attached: set[EniId]) -> Sorted:
    """What was known, as far as it is still attached: nothing was described (DM-48)."""
    outside = tuple(eni for eni in state.unmanaged if eni in attached)
    return Sorted(outside, {eni: card for eni, card in state.counted.items() if eni in attached}, state.cards)
