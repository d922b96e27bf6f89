"""`ipamd whatif`: tables, JSON, plots and refusals of what makes no sense."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from .conftest import Run


def test_a_table_and_what_is_assumed(ipamd: Run, journal: Path) -> None:
    """Both lives side by side."""
    said = ipamd("whatif", journal, "--set", "WARM_PREFIX_TARGET=2")

    assert said.code == 0, said.err
    assert "what if: WARM_PREFIX_TARGET=2" in said.out
    for line in ("address-hours wasted", "wait p99, s", "EC2 AssignPrivateIpAddresses", "assumed"):
        assert line in said.out


def test_json_of_both_lives(ipamd: Run, journal: Path) -> None:
    """More warm prefixes hold more addresses; an unchanged life is the recorded one."""
    more = ipamd("whatif", journal, "--set", "WARM_PREFIX_TARGET=3", "--json").json
    same = ipamd("whatif", journal, "--json").json

    assert more["variant"]["total_ips"] > more["baseline"]["total_ips"]
    assert same["variant"] == same["baseline"] == more["baseline"]
    assert same["baseline"]["assigned"] == 15


@pytest.mark.parametrize("name", ["lives.svg", "lives.png"])
def test_plots_are_written_as_the_name_says(name: str, ipamd: Run, journal: Path, tmp_path: Path) -> None:
    """SVG is XML with both lines in each panel; PNG begins as PNGs do."""
    said = ipamd("whatif", journal, "--set", "WARM_IP_TARGET=4", "--out", tmp_path / name, "--json")

    assert said.code == 0, said.err
    held = (tmp_path / name).read_bytes()
    if name.endswith("png"):
        assert held.startswith(b"\x89PNG\r\n")
    else:
        lines = [e for e in ElementTree.fromstring(held).iter() if e.tag.endswith("polyline")]
        assert len(lines) >= 2 * 4
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [name]


@pytest.mark.parametrize(
    "words, said",
    [
        (["--set", "WARM_IP=4"], "WARM_IP"),
        (["--instance-type", "m9.huge"], "m9.huge"),
        (["--subnet", "10.0.0.0/30"], "--subnet 10.0.0.0/30"),
        (["--drop", "2"], "want one of AddNetwork"),
        (["--retry", "0"], "want 0.1 to 3600 seconds"),
        (["--latency", "fast"], "want milliseconds"),
        (["--out", "plot.gif"], '".gif" is no format of ours'),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], said: str, ipamd: Run, journal: Path) -> None:
    """Exit code 2, the option named, nothing printed."""
    done = ipamd("whatif", journal, *words)

    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_slower_answers_serve_fewer_pods_by_the_end(ipamd: Run, tmp_path: Path) -> None:
    """--latency takes the place of the recorded answer times."""
    where = tmp_path / "j"
    made = ipamd("simulate", "--pods", 25, "--all-at-once", "--latency", "realistic", "--journal", where, "--json")
    assert made.code == 0

    quick = ipamd("whatif", where, "--latency", "0", "--retry", 1, "--json").json["variant"]
    slow = ipamd("whatif", where, "--latency", "AttachNetworkInterface=4000", "--retry", 1, "--json").json["variant"]

    assert quick["unserved"] < slow["unserved"]


@pytest.fixture
def controllers(ipamd: Run, tmp_path: Path) -> Path:
    """The journal of a simulated controller: one Windows node, five pods."""
    where = tmp_path / "controller" / "journal"
    words = ("--os", "windows", "--instance-type", "c5.large", "--pods", 5, "--latency", "realistic")
    said = ipamd("simulate", *words, "--journal", where, "--json")
    assert said.code == 0, said.err
    return where


def test_a_controllers_journal_under_another_config_map(ipamd: Run, controllers: Path, tmp_path: Path) -> None:
    """--config and --set alike; the members of simulate --os windows, and plots."""
    by_config = ipamd("whatif", controllers, "--config", "enable-windows-prefix-delegation=true", "--json").json
    picture = tmp_path / "lives.svg"
    by_set = ipamd("whatif", controllers, "--set", "enable-windows-prefix-delegation=true", "--json", "--out", picture)
    table = ipamd("whatif", controllers, "--config", "warm-ip-target=1")

    assert by_set.json == by_config and picture.read_bytes().startswith(b"<svg")
    assert list(by_config) == ["baseline", "variant", "assumed", "lived_from"]
    assert (by_config["baseline"]["ips"], by_config["baseline"]["prefixes"]) == (8, 0)
    assert (by_config["variant"]["ips"], by_config["variant"]["prefixes"], by_config["variant"]["used"]) == (0, 1, 5)
    assert table.code == 0 and "what if: warm-ip-target=1" in table.out and "wait p99, s" in table.out


@pytest.mark.parametrize(
    "words, said",
    [
        (["--set", "WARM_IP_TARGET=5"], "want KEY=VALUE with KEY one of enable-windows-ipam"),
        (["--config", "warm-ip-target"], "want KEY=VALUE"),
        (["--set", "UPSTREAM_PARITY=nonsense"], "UPSTREAM_PARITY"),
        (["--retry", "5"], "--retry 5: a controller's journal does not know it"),
        (["--instance-type", "m9.huge"], "m9.huge"),
        (["--drop", "1"], "without its first start"),
    ],
)
def test_what_makes_no_sense_for_a_controller_is_refused(
    words: list[str], said: str, ipamd: Run, controllers: Path
) -> None:
    """Exit code 2, the option named, nothing printed."""
    done = ipamd("whatif", controllers, *words)

    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_config_is_for_a_controllers_journal(ipamd: Run, journal: Path) -> None:
    """A node's journal has no ConfigMap."""
    done = ipamd("whatif", journal, "--config", "warm-ip-target=5")

    assert (done.code, done.out) == (2, "")
    assert "this journal is no controller's" in done.err
