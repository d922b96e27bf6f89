"""Metric families and the text format 0.0.4, written by hand because a name must come out as it went in.

prometheus_client appends `_total` to every counter; upstream's counters have no such ending, and whoever reads them
would miss ours (its metrics collector looks families up by name).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client.core import Metric

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SERIES_MAX: Final = 1000
"""Label sets of one counter; more are not told apart, so that no text from outside fills the memory."""
OVERFLOW: Final = "other"


class Counters:
    """A counter family: one series a label set."""

    __slots__ = ("_values", "documentation", "labels", "name")

    def __init__(self, name: str, documentation: str, labels: tuple[str, ...] = ()) -> None:
        self.name = name
        self.documentation = documentation
        self.labels = labels
        self._values: dict[tuple[str, ...], int] = {} if labels else {(): 0}

    def add(self, *labels: str, times: int = 1) -> None:
        """Count `times` more."""
        key = _bounded(labels, self._values)
        self._values[key] = self._values.get(key, 0) + times

    def metric(self) -> Metric:
        """The family as it stands."""
        metric = Metric(self.name, self.documentation, "counter")
        for key, value in self._values.items():
            metric.add_sample(self.name, dict(zip(self.labels, key, strict=True)), value)
        return metric


class Summary:
    """A summary without quantiles: `_sum` and `_count` (HTTP-21)."""

    __slots__ = ("_values", "documentation", "labels", "name")

    def __init__(self, name: str, documentation: str, labels: tuple[str, ...]) -> None:
        self.name = name
        self.documentation = documentation
        self.labels = labels
        self._values: dict[tuple[str, ...], tuple[float, int]] = {}

    def observe(self, value: float, *labels: str) -> None:
        """One more value."""
        key = _bounded(labels, self._values)
        total, count = self._values.get(key, (0.0, 0))
        self._values[key] = (total + value, count + 1)

    def metric(self) -> Metric:
        """The family as it stands."""
        metric = Metric(self.name, self.documentation, "summary")
        for key, (total, count) in self._values.items():
            labels = dict(zip(self.labels, key, strict=True))
            metric.add_sample(f"{self.name}_sum", labels, total)
            metric.add_sample(f"{self.name}_count", labels, count)
        return metric


class Histogram:
    """A histogram with fixed upper bounds, in ascending order."""

    __slots__ = ("_values", "bounds", "documentation", "labels", "name")

    def __init__(self, name: str, documentation: str, labels: tuple[str, ...], bounds: tuple[float, ...]) -> None:
        self.name = name
        self.documentation = documentation
        self.labels = labels
        self.bounds = bounds
        self._values: dict[tuple[str, ...], tuple[list[int], float]] = {}
        if not labels:
            self._values[()] = ([0] * (len(bounds) + 1), 0.0)

    def observe(self, value: float, *labels: str) -> None:
        """One more value; a bound belongs to its bucket."""
        counts, total = self._values.setdefault(labels, ([0] * (len(self.bounds) + 1), 0.0))
        counts[bisect_left(self.bounds, value)] += 1
        self._values[labels] = (counts, total + value)

    def metric(self) -> Metric:
        """The family as it stands, buckets cumulative."""
        metric = Metric(self.name, self.documentation, "histogram")
        for key, (counts, total) in self._values.items():
            labels = dict(zip(self.labels, key, strict=True))
            below = 0
            for bound, count in zip((*map(number, self.bounds), "+Inf"), counts, strict=True):
                below += count
                metric.add_sample(f"{self.name}_bucket", labels | {"le": bound}, below)
            metric.add_sample(f"{self.name}_sum", labels, total)
            metric.add_sample(f"{self.name}_count", labels, below)
        return metric


def gauge(name: str, documentation: str, value: float) -> Metric:
    """A gauge without labels."""
    metric = Metric(name, documentation, "gauge")
    metric.add_sample(name, {}, value)
    return metric


def gauges(name: str, documentation: str, label: str, values: Mapping[str, float]) -> Metric:
    """A gauge family with one label: its value -> the series' value."""
    metric = Metric(name, documentation, "gauge")
    for key, value in values.items():
        metric.add_sample(name, {label: key}, value)
    return metric


def render(families: Iterable[Metric]) -> bytes:
    """The text format 0.0.4 of the families, in their order. OpenMetrics' `_created` samples are left out."""
    lines: list[str] = []
    for metric in families:
        samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
        name = metric.name
        if metric.type == "counter" and samples and all(sample.name == f"{name}_total" for sample in samples):
            name = f"{name}_total"
        kind = "untyped" if metric.type == "unknown" else metric.type
        lines.append(f"# HELP {name} {_escaped(metric.documentation)}")
        lines.append(f"# TYPE {name} {kind}")
        for sample in samples:
            lines.append(f"{sample.name}{_labels(sample.labels)} {number(sample.value)}")
    return ("\n".join(lines) + "\n").encode()


def number(value: float) -> str:
    """Shortest decimal text, whole numbers without a point, as Go writes them."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    whole = int(value)
    return str(whole) if whole == value else repr(float(value))


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    pairs = ",".join(f'{name}="{_quoted(value)}"' for name, value in sorted(labels.items()))
    return f"{{{pairs}}}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")


def _bounded(labels: tuple[str, ...], known: Mapping[tuple[str, ...], object]) -> tuple[str, ...]:
    if labels in known or len(known) < SERIES_MAX:
        return labels
    return (OVERFLOW,) * len(labels)
