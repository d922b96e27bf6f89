"""`ipamd max-pods`: the AMI's recommendation for every type, its caps, and what it does not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipamd.ec2.limits import instance_types, limits_of
from ipamd.ec2.max_pods import Asked, max_pods, minor_version
from ipamd.ec2.vcpu_source import moto_source, table, write
from ipamd.ec2.vcpus import vcpu_table, vcpus
from tests.cli.conftest import Run

PREFIXES = Asked(prefix_delegation=True)


@pytest.mark.spec("LIM-12", "LIM-13", "LIM-14")
@pytest.mark.parametrize(
    ("instance_type", "single", "single_uncapped", "prefixes", "prefixes_uncapped"),
    [
        ("t3.small", 11, 11, 110, 146),
        ("m5.large", 29, 29, 110, 434),
        ("p3dn.24xlarge", 250, 737, 250, 11762),
        ("m4.4xlarge", 110, 234, 110, 234),
        ("a1.2xlarge", 58, 58, 110, 898),
        ("c1.medium", 12, 12, 12, 12),
        ("p5.48xlarge", 100, 100, 250, 1570),
    ],
)
def test_worked_figures(
    instance_type: str, single: int, single_uncapped: int, prefixes: int, prefixes_uncapped: int
) -> None:
    """W-36, L-35, L-37: both modes, capped by the type's own vCPUs and uncapped."""
    plain, dense = max_pods(instance_type, Asked()), max_pods(instance_type, PREFIXES)

    assert (plain.max_pods, plain.uncapped) == (single, single_uncapped)
    assert (dense.max_pods, dense.uncapped) == (prefixes, prefixes_uncapped)


def test_the_call_that_the_guide_shows_gives_110(ipamd: Run) -> None:
    """L-38: m5.large, CNI 1.9.0, prefix delegation; the number alone, so that a script can use it."""
    said = ipamd("max_pods", "--instance-type", "m5.large", "--cni-version", "1.9.0", "--prefix-delegation")

    assert said == (0, "110\n", "")


@pytest.mark.spec("LIM-12")
def test_a_cni_without_prefixes_counts_none_and_says_so(ipamd: Run) -> None:
    """L-37, LIM-12: before 1.9 the option changes nothing."""
    said = ipamd("max_pods", "--instance-type", "m5.large", "--cni-version", "v1.8.9-eksbuild.1", "--prefix-delegation")

    assert (said.code, said.out) == (0, "29\n")
    assert said.err == ("ipamd max-pods: VPC CNI 1.8 delegates no prefixes: want 1.9 or newer; counted without them\n")


def test_prefixes_count_on_nitro_alone() -> None:
    """L-37: xen and bare metal keep the figure of secondary addresses, with a note."""
    for name in ("m4.4xlarge", "a1.metal"):
        dense = max_pods(name, PREFIXES)
        assert (dense.uncapped, dense.prefixes) == (max_pods(name, Asked()).uncapped, False)
        assert "Nitro" in dense.notes[0]


def test_custom_networking_with_prefixes_beats_plain_secondary_mode() -> None:
    """L-39, L-40: two ENIs of m5.large carry 288 addresses as prefixes, three carry 27 as single ones."""
    custom = max_pods("m5.large", Asked(prefix_delegation=True, custom_networking=True))

    assert (custom.uncapped - 2, custom.enis) == (288, 2)
    assert max_pods("m5.large", Asked()).uncapped - 2 == 27


@pytest.mark.spec("LIM-12")
def test_options_lower_the_enis(ipamd: Run) -> None:
    """MAX_ENI first, then one ENI less with custom networking; a limit above the type's changes nothing."""
    words = ("max_pods", "--instance-type", "m5.large", "--show-max-allowed")

    assert ipamd(*words, "--max-eni", 2).out == "20\n"
    assert ipamd(*words, "--max-eni", 2, "--custom-networking").out == "11\n"
    assert ipamd(*words, "--max-eni", 99).out == "29\n"
    assert ipamd(*words, "--prefix-delegation").out == "434\n"


def test_a_type_without_known_vcpus_is_uncapped_and_says_so(ipamd: Run) -> None:
    """The table of vCPUs lacks a few types: the figure without the cap, and which cap would fit."""
    said = ipamd("max_pods", "--instance-type", "p3.8xlarge")

    assert (said.code, said.out) == (0, "234\n")
    assert "does not say how many vCPUs" in said.err and "cap it at 110 up to 30 vCPUs, at 250 above" in said.err


@pytest.mark.spec("LIM-12")
@pytest.mark.parametrize("asked", [Asked(), PREFIXES, Asked(True, True)])
def test_every_type_has_a_figure_within_its_cap(asked: Asked) -> None:
    """For all types 110 up to 30 vCPUs, 250 above, and never more than the addresses give."""
    for name in instance_types():
        one = max_pods(name, asked)
        assert 2 <= one.max_pods <= one.uncapped
        cap = one.uncapped if one.vcpus is None else 250 if one.vcpus > 30 else 110
        assert one.max_pods == min(one.uncapped, cap)


def test_all_types_are_listed(ipamd: Run) -> None:
    """--all: a line a type, as JSON or as a table."""
    lines = ipamd("max_pods", "--all", "--prefix-delegation", "--json").out.splitlines()
    shown = ipamd("max_pods", "--all")

    assert len(lines) == len(instance_types()) == 1391
    assert '"instance_type":"m5.large","max_pods":110,"uncapped":434,"cap":110,"vcpus":2' in "\n".join(lines)
    assert "m5.large" in shown.out and shown.err == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--instance-type", "m5.larg"), "did you mean m5.large"),
        (("--instance-type", "m5.large", "--max-eni", "0"), "want a whole number >= 1"),
        (("--instance-type", "m5.large", "--cni-version", "new\x1b[31m"), "want a version such as 1.9.0"),
        ((), "one of the arguments --instance-type --all is required"),
    ],
)
def test_wrong_usage_is_refused(ipamd: Run, words: tuple[str, ...], said: str) -> None:
    """Exit code 2 and what to write instead."""
    done = ipamd("max_pods", *words)

    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_versions_are_compared_by_their_numbers() -> None:
    """1.10 is newer than 1.9; builds and a leading v do not matter."""
    assert minor_version("1.10.1") > minor_version("v1.9.3-eksbuild.1") == minor_version("1.9") == (1, 9)


def test_the_table_names_its_source_and_knows_almost_every_type() -> None:
    """The vCPUs' source and date stand in the file; what it lacks is None, not a guess."""
    known = vcpu_table()

    assert known.source.startswith("moto 5.2.") and len(known.date) == len("2026-01-01")
    assert (vcpus("m5.large"), vcpus("p3dn.24xlarge"), vcpus("p3.8xlarge")) == (2, 96, None)
    assert list(known.vcpus) == [name for name in instance_types() if name in known.vcpus]
    assert len(known.vcpus) == 1368


def test_the_table_is_what_make_limits_writes(tmp_path: Path) -> None:
    """`make limits` from the same source gives the same file, on another day too."""
    described, source = moto_source()
    if source != vcpu_table().source:
        pytest.skip(f"the table was made from {vcpu_table().source}, installed is {source}")
    path = tmp_path / "vcpus.json"
    write(path, described, source, vcpu_table().date)
    before = path.read_bytes()

    write(path, described, source, "2099-01-01")

    assert path.read_bytes() == before
    assert table(described, source, "").vcpus == vcpu_table().vcpus


def test_a_source_that_counts_wrongly_is_refused() -> None:
    """The table is not written from nonsense."""
    with pytest.raises(ValueError, match=r"m5\.large has 0 vCPUs"):
        table({"m5.large": {"VCpuInfo": {"DefaultVCpus": 0}}}, "test", "")


@pytest.mark.spec("LIM-2", "LIM-12")
def test_recommendations_follow_the_limits_of_the_default_card() -> None:
    """p5.48xlarge has 32 cards of two ENIs; the recommendation counts one card."""
    assert max_pods("p5.48xlarge", Asked()).enis == limits_of("p5.48xlarge").card_limits[0] == 2
