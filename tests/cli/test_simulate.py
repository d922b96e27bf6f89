"""`ipamd simulate`: what it prints, what it refuses, and how a run is repeated."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from ipamd.cli.simulate import lived, main, parser, reproduction
from ipamd.config import load
from ipamd.core.settings import Settings
from ipamd.journal.reading import bounds
from ipamd.sim.scenario import Scenario, node

from .conftest import Run

PREFIXES = ("--instance-type", "t3.small", "--set", "ENABLE_PREFIX_DELEGATION=true", "--set", "WARM_PREFIX_TARGET=1")


@pytest.mark.spec("DOC-24")
def test_settled_pool_of_58_pods_is_printed_as_json(ipamd: Run) -> None:
    """DOC-24 on the command line: every member of the document, and nothing else."""
    said = ipamd("simulate", *PREFIXES, "--pods", 58, "--json")

    assert (said.code, said.err) == (0, "")
    assert said.json == {
        "enis": [
            {"device": 0, "prefixes": 3, "ips": 0, "pods": 48},
            {"device": 1, "prefixes": 2, "ips": 0, "pods": 10},
        ],
        "total_ips": 80,
        "assigned": 58,
        "unused": 22,
        "unused_prefixes": 1,
        "virtual_seconds": 2377.5,
        "ec2_calls": {
            "AssignPrivateIpAddresses": 4,
            "AttachNetworkInterface": 1,
            "CreateNetworkInterface": 1,
            "CreateTags": 1,
            "DescribeInstances": 1,
            "DescribeNetworkInterfaces": 1,
            "DescribeSubnets": 3,
            "ModifyNetworkInterfaceAttribute": 2,
        },
        "settled": True,
        "refused": 0,
        "refusals": {},
    }


def test_tables_are_for_people(ipamd: Run) -> None:
    """Without --json: ENIs, prefixes, requests and totals, without colour where there is no terminal."""
    said = ipamd("simulate", *PREFIXES, "--pods", 20)

    assert said.code == 0
    for text in ("t3.small in 10.0.0.0/16, 20 pods", "10.0.0.16/28", "AssignPrivateIpAddresses", "refused pods"):
        assert text in said.out
    assert "\x1b" not in said.out


def test_the_same_seed_gives_the_same_run(ipamd: Run) -> None:
    """Latencies, identifiers and the choice of pods come from --seed alone."""
    words = (*PREFIXES, "--pods", 30, "--delete", 10, "--latency", "realistic", "--json", "--seed")

    first, again, other = (ipamd("simulate", *words, seed).out for seed in (7, 7, 8))

    assert first == again
    assert first != other


def test_pods_at_once_are_refused_when_the_pool_is_empty(ipamd: Run) -> None:
    """--all-at-once: the warm pool serves the first ones, the others are counted and do not try again."""
    said = ipamd("simulate", *PREFIXES, "--pods", 40, "--all-at-once", "--json")

    assert said.code == 0
    assert (said.json["assigned"], said.json["refused"], said.json["settled"]) == (16, 24, True)
    assert said.json["refusals"] == {"target": 24}


@pytest.mark.spec("POOL-31")
def test_deleted_pods_leave_a_smaller_pool(ipamd: Run) -> None:
    """--delete: 58 pods came, all went, and of five prefixes the one warm prefix is left."""
    said = ipamd("simulate", *PREFIXES, "--pods", 58, "--delete", 58, "--json")

    assert (said.json["assigned"], said.json["unused_prefixes"], said.json["settled"]) == (0, 1, True)
    assert sum(eni["prefixes"] for eni in said.json["enis"]) == 1
    assert said.json["ec2_calls"]["UnassignPrivateIpAddresses"] == 4


@pytest.mark.spec("POOL-6")
@pytest.mark.parametrize("limit, enis", [(None, 3), (9, 3), (6, 2), (3, 1)])
def test_max_pods_keeps_the_pool_from_growing(ipamd: Run, limit: int | None, enis: int) -> None:
    """With as many addresses as the node takes pods the pool is never too low; without --max-pods no limit."""
    more = () if limit is None else ("--max-pods", limit)

    said = ipamd("simulate", "--instance-type", "t3.small", "--pods", 9, "--json", *more)

    assert len(said.json["enis"]) == enis
    assert said.json["assigned"] == 3 * enis


@pytest.mark.spec("INIT-35")
def test_a_node_that_may_have_no_pods_has_no_addresses(ipamd: Run) -> None:
    """With 0 pods the pool is never too low, so it never grows; here as in the daemon."""
    said = ipamd("simulate", "--instance-type", "t3.small", "--pods", 3, "--max-pods", 0, "--json")

    assert (said.code, said.json["total_ips"], said.json["refusals"]) == (0, 0, {"max_pods": 3})


def test_why_pods_were_refused_is_told_to_people(ipamd: Run) -> None:
    """The count by reason, and which limit keeps the pool from growing, with its remedy."""
    full = ipamd("simulate", "--instance-type", "t3.small", "--pods", 12).out
    limited = ipamd("simulate", *PREFIXES, "--pods", 20, "--max-pods", 11).out

    assert "refused pods        3 (eni_limit 3)" in full
    assert "refused pods        4 (max_pods 4)" in limited
    assert "grows no more       the pool holds 16 addresses, the node may have 11 pods; raise --max-pods" in limited
    assert "grows no more" not in ipamd("simulate", *PREFIXES, "--pods", 20).out


def test_a_small_subnet_refuses_pods(ipamd: Run) -> None:
    """--subnet: a /28 has eleven free addresses, of which the ENI itself takes one."""
    said = ipamd("simulate", "--subnet", "10.0.0.0/28", "--pods", 12, "--set", "WARM_IP_TARGET=1", "--json")

    assert said.code == 0
    assert said.json["assigned"] + said.json["refused"] == 12
    assert said.json["refused"] >= 2


def test_what_ec2_refuses_is_told_to_people(ipamd: Run) -> None:
    """A /27 has no whole /28 left beside the reserved addresses: EC2's code stands among the figures."""
    said = ipamd("simulate", "--subnet", "10.0.0.0/27", "--pods", 1, "--set", "ENABLE_PREFIX_DELEGATION=true")

    assert "InsufficientCidrBlocks" in said.out
    assert "trouble" not in ipamd("simulate", "--pods", 1).out


def test_flapping_settings_are_told(ipamd: Run) -> None:
    """WARM_PREFIX_TARGET=0 without a target in addresses takes and gives a prefix for ever."""
    said = ipamd("simulate", *PREFIXES[:4], "--set", "WARM_PREFIX_TARGET=0", "--json")

    assert said.code == 0
    assert (said.json["settled"], said.json["virtual_seconds"]) == (False, 600)
    assert "still changed after 600 virtual seconds" in said.err


def test_a_variable_of_the_environment_counts_and_set_beats_it(ipamd: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """--set over environment over default; an invalid value is told and its default used."""
    monkeypatch.setenv("WARM_IP_TARGET", "5")
    assert ipamd("simulate", "--json").json["total_ips"] == 5
    assert ipamd("simulate", "--json", "--set", "WARM_IP_TARGET=7").json["total_ips"] == 7

    said = ipamd("simulate", "--json", "--set", "WARM_IP_TARGET=ten")
    assert 'warning: WARM_IP_TARGET="ten": want an integer >= 0; using 0' in said.err
    assert said.json["total_ips"] == 9


@pytest.mark.spec("INIT-13", "INIT-14")
def test_prefix_delegation_on_xen_is_switched_off_with_a_warning(ipamd: Run) -> None:
    """The instance cannot carry prefixes."""
    said = ipamd("simulate", "--instance-type", "m4.4xlarge", "--set", "ENABLE_PREFIX_DELEGATION=true", "--json")

    assert "ENABLE_PREFIX_DELEGATION" in said.err
    assert said.json["enis"] == [{"device": 0, "prefixes": 0, "ips": 29, "pods": 0}]


@pytest.mark.parametrize(
    "words, said",
    [
        (("--instance-type", "t3.smal"), "did you mean t3.small"),
        (("--pods", "3", "--delete", "4"), "only 3 pods come"),
        (("--pods", "-1"), "want a whole number"),
        (("--pods", "many"), "want a whole number"),
        (("--pods", "99999999"), "want 1000000 at most"),
        (("--settle", "0"), "want more than 0"),
        (("--settle", "601"), "at most 600 seconds"),
        (("--settle", "nan"), "want more than 0"),
        (("--subnet", "10.0.0.0/33"), "want an IPv4 CIDR"),
        (("--subnet", "10.0.0.0/8"), "10.0.0.0/8"),
        (("--set", "WARM_IP=5"), "did you mean WARM_IP_TARGET"),
        (("--set", "WARM_IP_TARGET"), "want NAME=VALUE"),
        (("--latency", "slow"), "invalid choice"),
    ],
)
def test_wrong_usage_is_told_with_a_remedy(ipamd: Run, words: tuple[str, ...], said: str) -> None:
    """Exit code 2, nothing on standard output, the fact and the remedy on standard error."""
    answer = ipamd("simulate", *words)

    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err


def test_the_journal_is_written_and_never_mixed_with_another(ipamd: Run, journal: Path) -> None:
    """--journal writes segments straight into the directory, and refuses one that holds records."""
    assert bounds(journal).first_seq == 1
    assert sorted(path.name for path in journal.iterdir()) == ["00000000000000000001.jsonl", "lock"]

    said = ipamd("simulate", "--journal", journal)

    assert said.code == 2
    assert f"holds a journal of {bounds(journal).last_seq} records; name an empty directory" in said.err


@pytest.mark.spec("INIT-24")
def test_a_failing_node_init_prints_the_command_that_repeats_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Tagging fails for good; the message says where init failed, the second line how to see it again."""
    scenario = Scenario("t3.small", Settings(), pods=3)
    engine = node(scenario)
    engine.vpc.faults.fail_next("CreateTags", "UnauthorizedOperation", "denied", times=-1)

    assert lived(scenario, engine, "ipamd simulate --pods 3") is None

    said = capsys.readouterr().err
    assert "node init failed at tag: UnauthorizedOperation" in said
    assert "to see it again: ipamd simulate --pods 3\n" in said


def test_the_repeating_command_spells_out_the_environment(ipamd: Run) -> None:
    """The command gives the same pool in an empty environment; the journal's directory is left out."""
    env = {"WARM_IP_TARGET": "5", "MINIMUM_IP_TARGET": "no", "ADDITIONAL_ENI_TAGS": '{"a b":"c"}', "PATH": "/bin"}
    argv = ["--pods", "3", "--journal", "somewhere", "--set", "WARM_ENI_TARGET=2", "--json"]

    command = reproduction(argv, load(env, ["WARM_ENI_TARGET=2"]), env)

    words = shlex.split(command)
    assert words[:2] == ["ipamd", "simulate"]
    given = ["WARM_IP_TARGET=5", 'ADDITIONAL_ENI_TAGS={"a b":"c"}', "WARM_ENI_TARGET=2"]
    assert parser().parse_args(words[2:]).set == given
    assert "somewhere" not in words
    assert ipamd("simulate", *words[2:]).json["total_ips"] == 8


def test_help_says_what_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """--help tells what settled means and that reads count among the requests to EC2."""
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])

    said = capsys.readouterr().out
    assert "Settled means" in said
    assert "reads (Describe...) included" in said
    assert "does not try again" in said


def test_refused_pods_ask_again_as_the_kubelet_does(ipamd: Run, tmp_path: Path) -> None:
    """--retry: each try is another sandbox, all tries of a pod are one arrival, and nobody is left without."""
    words = ("--instance-type", "m5.large", "--pods", 25, "--all-at-once")
    once = ipamd("simulate", *words, "--json").json
    again = ipamd("simulate", *words, "--retry", 10, "--journal", tmp_path / "j", "--json").json
    lived = ipamd("whatif", tmp_path / "j", "--json").json["baseline"]

    assert once["refused"] > 0 and "unserved" not in once
    assert (again["unserved"], again["assigned"], again["settled"]) == (0, 25, True)
    assert (lived["arrivals"], lived["unserved"], lived["refused"]) == (25, 0, again["refused"])


def test_a_node_that_is_full_settles_though_pods_go_on_asking(ipamd: Run) -> None:
    """Tries without end are no change of the pool."""
    words = ("--instance-type", "t3.small", "--pods", 12, "--all-at-once", "--retry", 10, "--json")
    full = ipamd("simulate", *words).json

    assert (full["assigned"], full["unserved"], full["settled"]) == (9, 3, True)
    assert full["refused"] > 3
    assert ipamd("simulate", "--retry", 0).code == 2
