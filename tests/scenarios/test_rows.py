"""Which statements about the VPC CNI are shown by a scenario, which by a command, and which wait for a later release.

L rows are of a guide to prefix mode on Linux, W rows of its sister for Windows. Rows that only point to other
documents state nothing and are not numbered here.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from ipamd.cli import COMMANDS, main
from ipamd.sim.scenario_read import read, shipped


def rows(kind: str, *spans: int | tuple[int, int]) -> tuple[str, ...]:
    numbers = [n for span in spans for n in (range(span[0], span[1] + 1) if isinstance(span, tuple) else (span,))]
    return tuple(f"{kind}-{number:02}" for number in numbers)


LINUX: Final = rows("L", (1, 6), (8, 10), 12, 13, (15, 18), (20, 25), (27, 72))
SHARED: Final = rows("W", 4, 6, 7, (12, 19), 33, 39, 40, 41, 48, (51, 55))
"""W rows about limits, reservations and fragmentation, which are the same on a Linux node."""
WINDOWS: Final = (*rows("W", 1, 2, 3, 5, (8, 10), (21, 30), 32, (35, 37), (42, 46), 49, 50, (56, 81)),)

POD_ENI = "a fleet has no cluster; tests/test_run_cluster.py lives it: a pod with a branch ENI from ADD to DEL"

ELSEWHERE: Final = {
    "L-44": POD_ENI,
}

MAX_PODS = "ipamd max-pods --json --instance-type m5.large"
COMMAND: Final = {
    "L-34": "ipamd subnet",
    "L-37": f"{MAX_PODS} --prefix-delegation",
    "L-38": f"{MAX_PODS} --prefix-delegation --cni-version 1.9.0",
    "L-40": f"{MAX_PODS} --prefix-delegation --custom-networking",
    "L-41": "ipamd subnet",
    "W-33": "ipamd subnet",
    "W-39": "ipamd subnet",
}
"""Rows that a command answers, and how it is asked."""


@cache
def covered() -> dict[str, list[str]]:
    """Row -> the scenarios that show it."""
    found: dict[str, list[str]] = {}
    for name in shipped():
        for row in read(name).rows:
            found.setdefault(row, []).append(name)
    return found


@pytest.mark.parametrize("row", [*LINUX, *SHARED, *WINDOWS])
def test_row_is_shown(row: str) -> None:
    """By a scenario, or by a command, or it is named with what it waits for: one of the three."""
    ways = [row in covered(), row in COMMAND, row in ELSEWHERE]

    assert sum(ways) == 1, f"{row}: scenario, command, later = {ways}"


def test_no_row_is_claimed_that_is_not_known() -> None:
    """A slip of the pen in `rows:` would claim a row that nobody reads."""
    known = {*LINUX, *SHARED, *WINDOWS}

    assert set(covered()) | set(COMMAND) | set(ELSEWHERE) <= known


@pytest.mark.parametrize(
    "without, with_it, row",
    [
        ("density-singles", "density-prefixes", "L-33"),
        ("fragmented-subnet", "reserved-subnet", "L-47"),
        ("fragmented-subnet", "reserved-subnet", "L-49"),
        ("mixed-group", "similar-group", "L-52"),
        ("downgrade-in-place", "downgrade-new-nodes", "L-66"),
        ("mode-in-place", "mode-new-nodes", "L-68"),
    ],
)
def test_recommendation_is_shown_by_a_pair(without: str, with_it: str, row: str) -> None:
    """What happens without following it, and what with."""
    assert {without, with_it} <= set(covered()[row])


@pytest.mark.parametrize("row", COMMAND)
def test_command_of_the_row_exists(row: str) -> None:
    """It is in the table of commands."""
    assert COMMAND[row].split()[1] in COMMANDS


@pytest.mark.parametrize(
    "row, max_pods, uncapped",
    [("L-37", 110, 434), ("L-38", 110, 434), ("L-40", 110, 290)],
)
def test_max_pods_gives_the_figure_of_the_row(
    row: str, max_pods: int, uncapped: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """m5.large: 3 x 9 x 16 + 2, capped at 110; with custom networking 2 x 144 + 2 where single addresses give 29."""
    assert main(COMMAND[row].split()[1:]) == 0

    told = json.loads(capsys.readouterr().out)
    told = told[0] if isinstance(told, list) else told
    assert (told["max_pods"], told["uncapped"]) == (max_pods, uncapped)


@pytest.mark.parametrize("row", [row for row, command in COMMAND.items() if command == "ipamd subnet"])
def test_subnet_warns_before_prefixes_are_turned_on(row: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The fragmented /24 of the examples: 237 free addresses, no block to be had, so exit code 1."""
    example = Path(__file__).resolve().parents[2] / "examples" / "fragmented-subnet.json"

    code = main([*COMMAND[row].split()[1:], str(example), "--json"])

    told = capsys.readouterr().out
    assert code == 1
    assert '"free":237' in told and '"prefixes_available":0' in told
