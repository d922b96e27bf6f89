"""Late views: a value whose changes are seen late, and what the newest changes replaced.

Instance metadata lags (`Lagged`), each value on its own. EC2's descriptions are eventually consistent: a read may
show all as it was a moment ago (`Past`), and the next read may show it as it is.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeAlias, TypeVar

from ipamd.core.types import Instant

T = TypeVar("T")
Undone: TypeAlias = dict[str, dict[str, object]]
"""By table and key: what a read of a past moment finds there; None for nothing."""


class Lagged(Generic[T]):
    """A value whose changes are seen late: (visible from, value), oldest first."""

    __slots__ = ("_entries",)

    def __init__(self, value: T) -> None:
        self._entries: list[tuple[Instant, T]] = [(0, value)]

    @property
    def newest(self) -> T:
        return self._entries[-1][1]

    def put(self, value: T, now: Instant, lag: int) -> None:
        """`value` is seen from `now + lag` on. What nobody can see any more is forgotten."""
        keep = self._seen_index(now)
        del self._entries[:keep]
        self._entries.append((now + lag, value))

    def seen(self, now: Instant) -> T:
        """The newest value that is visible at `now`."""
        return self._entries[self._seen_index(now)][1]

    def settled(self, now: Instant) -> bool:
        """Whether the newest value is the one that is seen."""
        return self._entries[-1][0] <= now

    def _seen_index(self, now: Instant) -> int:
        index = len(self._entries) - 1
        while index and self._entries[index][0] > now:
            index -= 1
        return index


class Past:
    """What the changes of the last `keep` ns replaced, oldest first."""

    __slots__ = ("_entries", "keep")

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self._entries: deque[tuple[Instant, str, str, object]] = deque()

    def note(self, at: Instant, table: str, key: str, old: object) -> None:
        """At `at`, `old` (None: nothing) is replaced in a table."""
        while self._entries and self._entries[0][0] <= at - self.keep:
            self._entries.popleft()
        self._entries.append((at, table, key, old))

    def since(self, moment: Instant) -> Undone:
        """What held at `moment`, of all that has changed after it."""
        undone: Undone = {}
        for at, table, key, old in reversed(self._entries):
            if at <= moment:
                break
            undone.setdefault(table, {})[key] = old
        return undone
