"""`ipamd scenario`: exit codes, what is printed, for people and as JSON."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest

from ipamd.cli import main
from ipamd.sim.scenario_read import shipped


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["scenario", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def text_of(name: str) -> str:
    return files("ipamd.sim").joinpath("scenarios", f"{name}.yaml").read_text()


def test_a_scenario_that_is_met_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    """Its title, and how much was compared."""
    code, out, err = asked(capsys, "run", "warm-prefix")

    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith("In prefix mode a node begins with one warm prefix")
    assert out.splitlines()[1].startswith("met: ")


def test_a_changed_expectation_ends_with_1_and_shows_both_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where in the file, the key, what was expected, what was so."""
    file = tmp_path / "mine.yaml"
    text = text_of("fragmented-subnet")
    assert "free_blocks: 0" in text
    file.write_text(text.replace("free_blocks: 0", "free_blocks: 7"))

    code, out, _ = asked(capsys, "run", str(file))

    assert code == 1
    row = next(line.split() for line in out.splitlines() if "free_blocks" in line)
    assert row == ["expect", "subnet.free_blocks", "7", "0"]


def test_a_changed_expectation_on_the_way_names_its_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The position of the step in the file, counted from 0; in JSON the same."""
    file = tmp_path / "mine.yaml"
    text = text_of("max-pods").replace("  - wait: 120\n", "  - wait: 120\n  - expect: {pods: {pending: 5}}\n")
    file.write_text(text)

    code, out, _ = asked(capsys, "run", str(file), "--json")

    told = json.loads(out)
    assert (code, told["met"]) == (1, False)
    assert told["unmet"] == [{"at": "steps[4].expect", "key": "pods.pending", "expected": 5, "actual": 83}]


def test_the_log_says_why_there_is_no_prefix(capsys: pytest.CaptureFixture[str]) -> None:
    """L-45: the line of the daemon's log begins with these very words."""
    words = (
        "failed to allocate a private IP/Prefix address: InsufficientCidrBlocks: There are not enough free cidr "
        "blocks in the specified subnet to satisfy the request."
    )

    code, out, _ = asked(capsys, "run", "fragmented-subnet", "--json")

    assert code == 0
    assert json.loads(out)["facts"]["nodes"]["a"]["log"] == {words: 1}


def test_json_has_everything_that_can_be_said(capsys: pytest.CaptureFixture[str]) -> None:
    """One line: the verdict, the rows, and the facts of the end."""
    code, out, err = asked(capsys, "run", "reserved-subnet", "--json")

    told = json.loads(out)
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert (told["scenario"], told["met"], told["unmet"]) == ("reserved-subnet", True, [])
    assert "W-51" in told["rows"]
    assert set(told["facts"]) == {"settled", "drained", "seconds", "nodes", "pods", "subnet", "answers"}


def test_the_list_has_every_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    """By name, with what it shows and its rows; as JSON too."""
    code, out, _ = asked(capsys, "list")
    as_json = asked(capsys, "list", "--json")[1]

    assert code == 0
    assert [entry["scenario"] for entry in json.loads(as_json)] == shipped()
    assert all(name in out for name in shipped())


@pytest.mark.parametrize(
    "words, told",
    [
        ([], "the following arguments are required"),
        (["walk"], "invalid choice: 'walk'"),
        (["run"], "the following arguments are required: NAME|FILE"),
        (["run", "nothing"], "no scenario of that name"),
        (["run", "nothing.yaml"], "nothing.yaml: no such file or directory"),
        (["run", "."], "name a YAML file"),
    ],
)
def test_wrong_usage_ends_with_2(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line on standard error, nothing on standard output."""
    code, out, err = asked(capsys, *words)

    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err


def test_a_file_that_is_no_scenario_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line names the file and the key."""
    file = tmp_path / "mine.yaml"
    file.write_text(text_of("max-pods").replace("kubelet_args", "kubelet_arg"))

    code, out, err = asked(capsys, "run", str(file))

    assert (code, out) == (2, "")
    assert err == f"ipamd scenario: {file}: nodes[1].kubelet_arg: no such key; did you mean kubelet_args?\n"


@pytest.mark.parametrize(
    "step, told",
    [
        ("{take: {count: 300}}", "InsufficientFreeAddressesInSubnet"),
        ("{reserve: 10.0.0.0/29}", "CreateSubnetCidrReservation: "),
        ("{take: {addresses: [10.0.0.2]}}", "CreateNetworkInterface: "),
    ],
)
def test_what_ec2_refuses_beside_the_nodes_ends_with_1(
    step: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The scenario asks for what cannot be: EC2's code and message, and no traceback."""
    file = tmp_path / "mine.yaml"
    file.write_text(f"subnet: 10.0.0.0/24\nnodes: [{{type: m5.large}}]\nsteps: [{step}]\nexpect: {{settled: true}}\n")

    code, out, err = asked(capsys, "run", str(file))

    assert (code, out) == (1, "")
    assert told in err


def test_a_node_that_finds_no_address_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A full subnet has no primary address for another instance."""
    file = tmp_path / "mine.yaml"
    file.write_text(
        "subnet: 10.0.0.0/28\nnodes: [{name: a, type: m5.large}]\n"
        "steps: [{take: {count: 11}}, {join: a}]\nexpect: {settled: true}\n"
    )

    code, _, err = asked(capsys, "run", str(file))

    assert code == 1
    assert "node a cannot join" in err
