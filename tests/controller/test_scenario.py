"""`ipamd controller --scenario`: what happened in virtual time, and whether it is as the file expects."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ipamd.cli.controller import main

FILE = """\
title: two pods
nodes:
  - {name: win, type: c5.large, os: windows}
steps:
  - settle
  - add_pods: {count: 2, node: win}
  - settle
expect:
  nodes: {win: {pods_on_ips: %d}}
"""


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("NO_COLOR", "1")
        code = main(["--scenario", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_it_tells_what_happened_and_that_all_is_as_expected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line a moment, in virtual seconds; the same lines each time."""
    file = tmp_path / "two.yaml"
    file.write_text(FILE % 2)

    code, out, _ = run(capsys, str(file))
    again = run(capsys, str(file))

    assert code == 0 and (code, out) == again[:2]
    assert "win: ready, instance type c5.large" in out
    assert out.count("ResourceAllocated on pod") == 2 and "met:" in out


def test_what_is_not_as_expected_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1; as JSON both the story and the difference."""
    file = tmp_path / "two.yaml"
    file.write_text(FILE % 3)

    code, out, _ = run(capsys, str(file), "--json")

    told = json.loads(out)
    assert code == 1 and told["report"]["met"] is False
    assert [row["seq"] for row in told["happened"]] == sorted(row["seq"] for row in told["happened"])
    assert told["report"]["unmet"][0]["actual"] == 2


def test_a_file_without_windows_nodes_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With the command that runs it."""
    code, _, err = run(capsys, "fragmented-subnet")

    assert code == 2 and "ipamd scenario run fragmented-subnet" in err
