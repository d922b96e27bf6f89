"""The page on scenarios has every key that may stand in a file, and its example is the file that it names."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from ipamd.sim.fleet_view import Facts, NodeFacts, PodFacts, SubnetFacts
from ipamd.sim.scenario_file import Config, NodeSpec, ScenarioFile, Step
from ipamd.sim.scenario_read import shipped

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "scenarios.md").read_text()


@pytest.mark.parametrize(
    "part", [ScenarioFile, NodeSpec, Config, Step, Facts, NodeFacts, PodFacts, SubnetFacts], ids=lambda p: p.__name__
)
def test_every_key_is_on_the_page(part: type[msgspec.Struct]) -> None:
    """Each member of each part, as code."""
    told = {word for code in re.findall(r"`([^`\n]+)`", PAGE) for word in re.findall(r"\w+", code)}

    assert set(part.__struct_fields__) <= told


def test_the_example_is_the_file() -> None:
    """What the page shows is what it runs."""
    shown = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)

    assert shown is not None
    assert shown[1] == (ROOT / "examples" / "two-nodes.yaml").read_text()


def test_scenarios_that_are_named_come_along() -> None:
    """The pairs of the table, and those that commands run."""
    pairs = re.findall(r"^\| `([\w-]+)` \| `([\w-]+)` \|$", PAGE, re.MULTILINE)
    run = re.findall(r"scenario run ([\w-]+)(?: |$)", PAGE, re.MULTILINE)
    named = {name for pair in pairs for name in pair} | set(run)

    assert len(pairs) == 5
    assert named - {"NAME"} <= set(shipped())
