"""What a benchmark says: a figure with its spread over the rounds, what was wanted, and the facts behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Literal

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """One figure over all rounds."""

    low: float
    median: float
    high: float
    rounds: int


class Line(msgspec.Struct, frozen=True):
    """One result. Without `bound` it is information; `facts` are absolute figures of this run, medians of rounds."""

    name: str
    what: str
    figure: Spread
    unit: str = "x"
    bound: float | None = None
    better: Literal["lower", "higher"] = "lower"
    facts: dict[str, str] = {}

    @property
    def met(self) -> bool | None:
        """Whether the median keeps the bound; None: there is none."""
        if self.bound is None:
            return None
        return self.figure.median <= self.bound if self.better == "lower" else self.figure.median >= self.bound

    @property
    def want(self) -> str:
        """The bound in words."""
        if self.bound is None:
            return ""
        return f"{'<=' if self.better == 'lower' else '>='} {number(self.bound)}{self.unit}"


def spread(values: Iterable[float]) -> Spread:
    """The spread of at least one value."""
    known = sorted(values)
    return Spread(known[0], median(known), known[-1], len(known))


def ratios(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Round by round: what was measured next to each other is compared with each other."""
    return spread(a / b for a, b in zip(above, below, strict=True))


def interleaved(rounds: int, *measures: Callable[[], float]) -> list[list[float]]:
    """A B A B ...: each measure's values in the order of the rounds. One round before them all is not counted."""
    for measure in measures:
        measure()
    values: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for kept, measure in zip(values, measures, strict=True):
            kept.append(measure())
    return values


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0..1) of the values do not exceed."""
    known = sorted(values)
    return known[min(len(known) - 1, max(0, -int(-share * len(known) // 1) - 1))]


def number(value: float) -> str:
    """Three significant figures; thousands with commas."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}".rstrip("0").rstrip(".")


def text(line: Line) -> str:
    """A line for people: figure, spread, bound, and the facts below."""
    shown = f"{number(line.figure.median)}{line.unit}"
    around = f"({number(line.figure.low)} .. {number(line.figure.high)}, {line.figure.rounds} rounds)"
    bound = f"   want {line.want}: {'met' if line.met else 'NOT MET'}" if line.want else ""
    facts = "".join(f"\n    {name}: {value}" for name, value in line.facts.items())
    return f"{line.name}: {line.what}\n  {shown} {around}{bound}{facts}"
