"""Connection tracking: an ENI that is made gets the timeouts of the primary one (EC2-34)."""

from __future__ import annotations

from collections.abc import Iterable

from . import events as ev
from .calls import Ec2Eni
from .state import State
from .types import ConnectionTracking


def seen(state: State, enis: Iterable[Ec2Eni]) -> list[ev.Event]:
    """What a describe-all says of the primary ENI (card 0, device 0), where it is new. None set is as none told."""
    primary = next((eni for eni in enis if eni.card == 0 and eni.device == 0), None)
    if primary is None:
        return []
    told = None if primary.tracking == ConnectionTracking() else primary.tracking
    return [] if told == state.tracking else [ev.ConnectionTrackingSeen(told)]
