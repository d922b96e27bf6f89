"""The benchmarks run to their end and say what they promise; nothing here judges a time."""

import json
import math
import os
from pathlib import Path

import pytest

from tests.bench.__main__ import BENCHMARKS, main
from tests.bench.figures import Line, interleaved, percentile, ratios, spread, text

NAMES = {
    "fold": {"fold", "start", "re-decide", "jump"},
    "flat": {"flat add", "flat tick", "flat scrape"},
    "node": {"idle node", "busy node"},
    "network": {f"add {at_once} {what}" for at_once in (1, 16, 64) for what in ("rate", "p99")}
    | {"add flat 1", "add flat 16"},
    "memory": {"memory"},
    "startup": {"help", "plugin", "bundle", "ready"},
    "pod": {"pod wall", "pod cpu"} if os.geteuid() == 0 else set(),
    "cloud": {"vpc model", "moto door"},
    "windows": {"windows flat", "windows burst prefix", "windows burst secondary"},
}
BOUNDS = {"fold": "<= 4x", "re-decide": "<= 10x", "jump": "<= 0.01x",
          "flat add": "<= 1.2x", "flat tick": "<= 1.2x", "flat scrape": "<= 1.2x",
          "add 64 rate": ">= 0.5x", "add 64 p99": "<= 1x", "add flat 1": "<= 1.2x",
          "add flat 16": "<= 1.2x", "memory": "<= 1.5x", "pod wall": "<= 1.3x", "pod cpu": "<= 1.3x",
          "vpc model": ">= 50x", "moto door": "<= 1.2x", "windows flat": "<= 1.2x"}  # fmt: skip


@pytest.mark.parametrize("benchmark", sorted(BENCHMARKS))
def test_a_benchmark_gives_its_lines_at_the_smallest_size(
    benchmark: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real daemons, real journals, little of each; the machine is named, every line has its figure and its bound."""
    code = main(["--small", "--json", "--only", benchmark, "--dir", str(tmp_path)])

    document = json.loads(capsys.readouterr().out)
    lines = {line["name"]: line for line in document["lines"]}
    figures = [line["figure"] for line in document["lines"]]
    assert code == 0
    assert set(document["machine"]) >= {"cpu", "cores", "kernel", "python", "file system"}
    assert set(lines) == NAMES[benchmark]
    assert {name: line["want"] for name, line in lines.items() if line["want"]} == {
        name: want for name, want in BOUNDS.items() if name in NAMES[benchmark]
    }
    assert all(0 < f["low"] <= f["median"] <= f["high"] < math.inf and f["rounds"] >= 1 for f in figures)
    assert list(tmp_path.iterdir()) == []


def test_lines_for_people_name_figure_bound_and_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missed bound is printed, never an exit code."""
    code = main(["--small", "--only", "fold", "--dir", str(tmp_path)])

    said = capsys.readouterr().out
    assert code == 0
    assert said.startswith("machine: cpu ")
    assert "want <= 4x: " in said
    assert "of 3 bounds met" in said


def test_a_bound_is_judged_on_the_median() -> None:
    """One bad round of a busy machine decides nothing."""
    line = Line("name", "what", spread([1.0, 1.1, 9.0]), bound=1.2)
    higher = Line("name", "what", spread([0.1, 0.6, 0.7]), bound=0.5, better="higher")

    assert (line.met, higher.met) == (True, True)
    assert text(line) == "name: what\n  1.1x (1 .. 9, 3 rounds)   want <= 1.2x: met"
    assert Line("name", "what", spread([1.0])).met is None


def test_rounds_alternate_and_compare_neighbours() -> None:
    """A B A B, the first pair not counted; ratios are taken round by round."""
    told: list[str] = []
    times = iter([9.0, 9.0, 2.0, 1.0, 6.0, 2.0])

    def measure(name: str) -> float:
        told.append(name)
        return next(times)

    above, below = interleaved(2, lambda: measure("a"), lambda: measure("b"))

    assert told == ["a", "b", "a", "b", "a", "b"]
    assert (above, below) == ([2.0, 6.0], [1.0, 2.0])
    assert ratios(above, below) == spread([2.0, 3.0])


@pytest.mark.parametrize("share, expected", [(0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100), (0.0, 1)])
def test_percentile_is_a_value_that_was_seen(share: float, expected: int) -> None:
    """The smallest value that the share of all values does not exceed."""
    assert percentile(list(range(100, 0, -1)), share) == expected
