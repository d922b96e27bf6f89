"""One log line before it is written, and the texts that many lines share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, TypeAlias

import msgspec

from ipamd.core.types import SECOND, Instant

Level: TypeAlias = Literal["debug", "info", "warn", "error", "fatal"]


class Line(msgspec.Struct, frozen=True):
    """A level and a message."""

    level: Level
    msg: str


def listed(words: tuple[str, ...]) -> str:
    """`[a b]`, as Go prints a slice."""
    return f"[{' '.join(words)}]"


def duration(seconds: int) -> str:
    """`30s`, `1m30s`, `1h0m0s`: Go's text of a duration of whole seconds."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def second_text(instant: Instant) -> str:
    """`2026-01-10T01:30:33Z`: RFC 3339 in UTC, whole seconds."""
    return f"{datetime.fromtimestamp(instant // SECOND, UTC):%Y-%m-%dT%H:%M:%SZ}"
