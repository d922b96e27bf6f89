"""When a pool is settled: nothing in flight, and no change for some virtual seconds.

The once-a-minute reconcile that finds nothing to do leaves records (its clock is part of State), but changes
nothing; neither does the pool loop's look around for an ENI to free, nor a pod that is refused. Everything else that
is recorded is a change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ipamd.core import events as ev
from ipamd.core.types import SECOND

if TYPE_CHECKING:
    from .engine import Engine

QUIET: Final = 40 * SECOND
"""Past the 30 s pause between scale-downs and the default cooldown (POOL-15, DM-28), short of an ENI's age (DM-36)."""
LIMIT: Final = 600 * SECOND
"""A pool that still changes after this does not settle: its settings make it flap."""


_CLOCKS: Final = (ev.Resynced, ev.WorkMoved, ev.ReconcileCounted, ev.AssignRefused)


def changes(events: tuple[ev.Event, ...]) -> bool:
    """Whether a record with these events changed more than clocks and continuations."""
    return not all(isinstance(event, _CLOCKS) for event in events)


def settle(engine: Engine, quiet: int = QUIET, limit: int = LIMIT) -> bool:
    """Let virtual time pass until the pool is settled, counted from now; False if it still changes after `limit`.

    Both times in ns. At False exactly `limit` has passed.
    """
    began = engine.now
    deadline = began + limit
    while True:
        calm = max(engine.changed_at, began) + quiet
        if engine.now >= calm and not engine.busy:
            return True
        moment = engine.next_moment()
        assert moment is not None, "nothing is due: the node never started or its init failed"
        if moment > deadline and calm > deadline:
            engine.advance(deadline)
            return False
        if moment > calm and not engine.busy:
            engine.advance(calm)
        elif moment <= deadline:
            engine.step()
        else:
            engine.advance(deadline)
            return False
