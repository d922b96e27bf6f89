"""`ipamd simulate --os windows` and the journal that it writes, asked by the commands that ask any journal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ipamd.cli import main

PREFIXES = ("--config", "enable-windows-prefix-delegation=true")
BASE = ("simulate", "--os", "windows", "--instance-type", "c5.large")


def told(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, object]:
    """What a command printed as JSON."""
    assert main([*argv, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


@pytest.mark.spec("P-15", "WIN-37")
def test_the_settled_pool_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Twelve pods with five spare addresses: two prefixes, one of them unused."""
    found = told(capsys, *BASE, *PREFIXES, "--config", "warm-ip-target=5", "--pods", "12")

    assert found == {
        "prefixes": 2, "ips": 0, "used": 12, "warm": 20, "cooling": 0, "unused_prefixes": 1, "capacity": 144,
    }  # fmt: skip


@pytest.mark.spec("V-108", "WIN-11")
def test_targets_that_are_not_given_are_absent(capsys: pytest.CaptureFixture[str]) -> None:
    """A minimum alone keeps none warm beyond it; m5.xlarge has room for more."""
    argv = ("simulate", "--os", "windows", "--instance-type", "m5.xlarge", "--config", "minimum-ip-target=10")

    found = told(capsys, *argv, "--pods", "8")

    assert (found["ips"], found["warm"], found["used"]) == (10, 2, 8)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ((*BASE, "--config", "warm-ip-target"), "want KEY=VALUE"),
        ((*BASE, "--max-pods", "5"), "--max-pods"),
        ((*BASE, "--set", "WARM_IP_TARGET=2"), "--config KEY=VALUE"),
        (("simulate", "--config", "warm-ip-target=1"), "only --os windows has a ConfigMap"),
        (("simulate", "--os", "windows", "--instance-type", "c5.larg"), "did you mean"),
    ],
)
def test_a_wrong_command_line_is_refused(argv: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and the remedy."""
    assert main(list(argv)) == 2
    assert said in capsys.readouterr().err


@pytest.mark.spec("WIN-4")
def test_a_value_that_cannot_be_read_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    """The simulation runs with what the controller would take it for."""
    assert main([*BASE, "--config", "warm-ip-target=ten", "--json"]) == 0

    printed = capsys.readouterr()
    assert 'warm-ip-target: "ten": want an integer >= 0' in printed.err
    assert json.loads(printed.out)["ips"] == 3


def test_its_journal_is_replayed_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every decision is made again, the state is the settled one, the log names the pods, earlier moments too."""
    journal = str(tmp_path / "journal")
    settled = told(capsys, *BASE, *PREFIXES, "--pods", "20", "--delete", "3", "--all-at-once", "--journal", journal)
    assert main(["replay", journal]) == 0
    assert "no divergence" in capsys.readouterr().out

    windows = told(capsys, "state", journal)["windows"]
    earlier = told(capsys, "state", journal, "--at", "6")["windows"]
    assert main(["state", journal]) == 0
    shown = capsys.readouterr().out
    assert main(["log", "show", journal]) == 0
    logged = capsys.readouterr().out

    assert isinstance(windows, dict) and isinstance(earlier, dict)
    (node,) = windows["nodes"]
    prefix = next(pool for pool in node["pools"] if pool["pool"] == "prefix")
    assert [prefix["groups"], prefix["used"], prefix["full"]] == [settled["prefixes"], 17, settled["unused_prefixes"]]
    assert len([pod for pod in windows["pods"] if pod["address"]]) == 17
    assert len(earlier["pods"]) < 17
    assert "prefix delegation" in shown and "default/pod-000020" in shown
    assert "WindowsAssigned" in logged and "default" in logged
