"""EC2's request throttling: one token bucket per account, region and action. Off for actions without a bucket.

AWS publishes the scheme and, by kind of action, sizes; which kind each networking action is of is an assumption here,
and so are the sizes where an account's own quotas differ. They are settings.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, get_args

import msgspec

from ipamd.core.types import SECOND, Instant

from .requests import Change, Listing


class Bucket(msgspec.Struct, frozen=True):
    """Holds up to `capacity` tokens and gains `per_second` of them; a request takes one."""

    capacity: int
    per_second: float


READ: Final = Bucket(100, 20)
WRITE: Final = Bucket(200, 10)
COSTLY: Final = Bucket(50, 5)
"""Assumed for actions that make or end something."""


def _bucket(action: str) -> Bucket:
    if action.startswith(("Describe", "Get")):
        return READ
    return COSTLY if action.startswith(("Create", "Delete", "Run", "Terminate")) else WRITE


REALISTIC: Final = MappingProxyType(
    {kind.__name__: _bucket(kind.__name__) for kind in (*get_args(Change), *get_args(Listing))}
)
"""A bucket for each action. Assumptions within what is public: 100 and 20 a second for what only reads."""
PROFILES: Final = MappingProxyType({"none": MappingProxyType({}), "realistic": REALISTIC})


class Throttle:
    """The level of each bucket. It is not remembered across a restart: buckets begin full."""

    def __init__(self, buckets: dict[str, Bucket]) -> None:
        for action, bucket in buckets.items():
            if bucket.capacity < 1 or bucket.per_second < 0:
                raise ValueError(f"bucket of {action}: {bucket}: want a capacity >= 1 and a rate >= 0")
        self._buckets = buckets
        self._levels: dict[tuple[str, str, str], tuple[float, Instant]] = {}

    def admit(self, action: str, now: Instant, account: str = "", region: str = "") -> bool:
        """Take one token of the action's bucket, if it has one. Accounts and regions have buckets of their own."""
        bucket = self._buckets.get(action)
        if bucket is None:
            return True
        key = (account, region, action)
        level, since = self._levels.get(key, (float(bucket.capacity), now))
        level = min(bucket.capacity, level + max(0, now - since) * bucket.per_second / SECOND)
        admitted = level >= 1
        self._levels[key] = (level - 1 if admitted else level, max(now, since))
        return admitted
