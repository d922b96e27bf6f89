"""Each scenario that comes along is met, and would not be if any one expected value were another."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
import pytest
import yaml

from ipamd.sim.fleet_view import Facts, Finding, differences
from ipamd.sim.scenario_read import read, shipped
from ipamd.sim.scenario_run import Ran, run

NAMES = shipped()


@cache
def ran(name: str) -> Ran:
    return run(read(name))


def findings(name: str) -> list[Finding]:
    return [finding for point in ran(name).points for finding in differences(point.expected, point.facts)]


def leaves(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """(path, value) of every number, flag and text in a document."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    else:
        yield path, value


def other(value: object) -> object:
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case _:
            return f"not {value}"


def changed(document: object, path: tuple[str | int, ...]) -> Any:
    made: Any = copy.deepcopy(document)
    inner = made
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = other(inner[path[-1]])
    return made


def document(expected: Facts) -> Any:
    """The expectation as the file has it: plain mappings and lists."""
    return msgspec.json.decode(msgspec.json.encode(expected))


@pytest.mark.parametrize("name", NAMES)
def test_what_the_scenario_expects_is_so(name: str) -> None:
    """All that it says at its points and at its end."""
    assert findings(name) == []


@pytest.mark.parametrize("name", NAMES)
def test_another_expected_value_would_be_found(name: str) -> None:
    """Every value is changed in turn: each change is found, under its own key, with both values."""
    count = 0
    for point in ran(name).points:
        said = document(point.expected)
        for path, value in leaves(said):
            wrong = msgspec.convert(changed(said, path), Facts)
            found = differences(wrong, point.facts)
            key = ".".join(step for step in path if isinstance(step, str))
            assert [finding.key for finding in found] == [key], f"{point.at}.{key} = {value}"
            count += 1

    assert count >= 2


@pytest.mark.parametrize("name", NAMES)
def test_the_document_and_the_file_hold_the_same_numbers(name: str) -> None:
    """No number of the file's expectations is lost on the way, so all of them are changed above."""
    text = files("ipamd.sim").joinpath("scenarios", f"{name}.yaml").read_text()
    raw = yaml.safe_load(text)
    written = [raw["expect"], *(step["expect"] for step in raw["steps"] if "expect" in step and step != "settle")]

    in_file = sorted(str(value) for part in written for _, value in leaves(part))
    read_in = sorted(str(value) for point in ran(name).points for _, value in leaves(document(point.expected)))

    assert in_file == read_in


def test_the_same_scenario_gives_the_same_facts() -> None:
    """One file, one history: latencies, waits, counts and all."""
    for name in ("mode-new-nodes", "prefixes-only-subnet"):
        assert run(read(name)) == ran(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_scenario_says_what_it_shows(name: str) -> None:
    """A title for the list, and the rows that it covers, each once."""
    scenario = read(name)

    assert scenario.title
    assert scenario.rows
    assert len(set(scenario.rows)) == len(scenario.rows)


def test_pairs_name_each_other() -> None:
    """Of two scenarios that show a difference the second one tells which is the first."""
    named = [word for name in NAMES for word in read(name).title.split("compare ")[1:]]

    assert named
    assert set(named) <= set(NAMES)
