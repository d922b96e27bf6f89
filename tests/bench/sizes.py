"""How much a run does: as much as makes the figures steady in a few minutes, or as little as shows that it works."""

from __future__ import annotations

from typing import Final

import msgspec


class Sizes(msgspec.Struct, frozen=True):
    """The amounts of one run."""

    rounds: int
    records: int
    idle_hours: float
    churn_steps: int
    network_rounds: int
    pool: int
    """Addresses that the daemon has before the clock runs."""
    burst: int
    """ADDs from an empty node on, at most `pool`."""
    step: int
    """ADDs at about 10 and at about 700 pods."""
    flat_rounds: int
    idle_seconds: float
    """Before memory is read."""
    starts: int
    cloud_rounds: int
    """Of five EC2 calls each, on moto; the model does fifty times as many."""


POOL_TYPE: Final = "c8i.16xlarge"
"""Takes 63 prefixes, 1008 addresses, on its first ENI, so the pool is whole when the daemon is ready."""
FULL: Final = Sizes(
    rounds=7, records=200_000, idle_hours=48, churn_steps=20_000, network_rounds=9, pool=1008, burst=1000, step=25,
    flat_rounds=30, idle_seconds=2, starts=15, cloud_rounds=8,
)  # fmt: skip
SMALL: Final = Sizes(
    rounds=1, records=2_000, idle_hours=0.2, churn_steps=200, network_rounds=1, pool=64, burst=20, step=5,
    flat_rounds=1, idle_seconds=0, starts=1, cloud_rounds=1,
)  # fmt: skip
