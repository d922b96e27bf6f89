"""What is said of one intended difference from upstream (tests/quirks.py)."""

from __future__ import annotations

import msgspec


class Difference(msgspec.Struct, frozen=True):
    """One difference. `spec`: the clauses it departs from; `back`: the setting that follows upstream, "" for none."""

    name: str
    spec: tuple[str, ...]
    upstream: str
    ours: str
    reason: str
    back: str = ""


def switched(name: str, spec: tuple[str, ...], upstream: str, ours: str, reason: str) -> Difference:
    """A field of Quirks."""
    return Difference(name, spec, upstream, ours, reason, f"UPSTREAM_PARITY={name}")
