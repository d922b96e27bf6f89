"""How much a run does: as much as makes the figures steady in a few minutes, or as little as shows that it works."""

from __future__ import annotations

from typing import Final

import msgspec


class Sizes(msgspec.Struct, frozen=True):
    """The amounts of one run."""

    rounds: int
    """Of benchmarks that take a second or so a round."""
    records: int
    idle_hours: float
    churn_steps: int


FULL: Final = Sizes(rounds=7, records=200_000, idle_hours=48, churn_steps=20_000)
SMALL: Final = Sizes(rounds=1, records=2_000, idle_hours=0.2, churn_steps=200)
