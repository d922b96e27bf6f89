"""EC2's request throttling: one token bucket per action. Off for actions that have no bucket.

AWS names the scheme but few of the sizes, so they are settings.
"""

from __future__ import annotations

import msgspec

from ipamd.core.types import SECOND, Instant


class Bucket(msgspec.Struct, frozen=True):
    """Holds up to `capacity` tokens and gains `per_second` of them; a request takes one."""

    capacity: int
    per_second: float


class Throttle:
    """The level of each bucket. It is not remembered across a restart: buckets begin full."""

    def __init__(self, buckets: dict[str, Bucket]) -> None:
        for action, bucket in buckets.items():
            if bucket.capacity < 1 or bucket.per_second < 0:
                raise ValueError(f"bucket of {action}: {bucket}: want a capacity >= 1 and a rate >= 0")
        self._buckets = buckets
        self._levels: dict[str, tuple[float, Instant]] = {}

    def admit(self, action: str, now: Instant) -> bool:
        """Take one token of the action's bucket, if it has one."""
        bucket = self._buckets.get(action)
        if bucket is None:
            return True
        level, since = self._levels.get(action, (float(bucket.capacity), now))
        level = min(bucket.capacity, level + max(0, now - since) * bucket.per_second / SECOND)
        admitted = level >= 1
        self._levels[action] = (level - 1 if admitted else level, max(now, since))
        return admitted
