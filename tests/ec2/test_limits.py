"""The table of instance limits: whole, quick to read, and equal to the values upstream tests."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from ipamd.ec2 import limits as table
from ipamd.ec2.limits import Limits, UnknownInstanceType


def every() -> list[Limits]:
    return [table.limits_of(name) for name in table.instance_types()]


@pytest.mark.spec("LIM-1", "LIM-3")
def test_table_has_the_distribution_of_upstream() -> None:
    """Appendix A: 1391 types by hypervisor, metal and cards."""
    rows = every()
    assert len(rows) == 1391
    assert Counter(row.hypervisor for row in rows) == {"nitro": 1150, "unknown": 161, "xen": 80}
    assert sum(row.bare_metal for row in rows) == 160
    assert sum(row.bare_metal for row in rows if row.hypervisor == "unknown") == 159
    assert sum(len(row.card_limits) > 1 for row in rows) == 67
    assert table.instance_types() == tuple(sorted(table.instance_types()))


@pytest.mark.spec("LIM-2")
def test_the_default_card_carries_the_eni_limit() -> None:
    """The ENI limit of a type with several cards is its default card's."""
    assert all(row.card_limits[0] == row.enis for row in every())


@pytest.mark.spec("LIM-15")
@pytest.mark.parametrize(
    ("name", "enis", "ips", "hypervisor", "bare_metal"),
    [
        ("a1.2xlarge", 4, 15, "nitro", False),
        ("a1.4xlarge", 8, 30, "nitro", False),
        ("a1.metal", 8, 30, "unknown", True),
        ("c3.large", 3, 10, "xen", False),
        ("c7g.metal", 15, 50, "nitro", True),
        ("cr1.8xlarge", 8, 30, "unknown", False),
        ("x8i.metal-96xl", 24, 64, "unknown", True),
        ("hpc6id.32xlarge", 1, 50, "nitro", False),
    ],
)
def test_values_that_upstream_tests(name: str, enis: int, ips: int, hypervisor: str, bare_metal: bool) -> None:
    """LIM-15 and the corners of Appendix A."""
    row = table.limits_of(name)
    assert (row.enis, row.ips_per_eni, row.hypervisor, row.bare_metal) == (enis, ips, hypervisor, bare_metal)


@pytest.mark.parametrize(
    ("name", "cards"),
    [
        ("p5.48xlarge", (2,) * 32),
        ("p6-b300.48xlarge", (4,) * 17),
        ("dl1.24xlarge", (15,) * 4),
        ("m5.large", (3,)),
    ],
)
def test_cards_of_a_type(name: str, cards: tuple[int, ...]) -> None:
    """Appendix A.4: the ENIs of each network card."""
    assert table.limits_of(name).card_limits == cards


@pytest.mark.spec("LIM-10")
def test_max_pods_file_follows_its_formula() -> None:
    """Every row is ENIs * (addresses - 1) + 2, never below the smallest type's 4."""
    for name in table.instance_types():
        row = table.limits_of(name)
        assert table.pods_by_limits(name) == row.enis * (row.ips_per_eni - 1) + 2 >= 4


@pytest.mark.spec("LIM-12", "LIM-14")
@pytest.mark.parametrize(
    ("name", "single", "prefixes", "vcpus", "capped"),
    [
        ("t3.small", 11, 146, 2, 110),
        ("m5.large", 29, 434, 2, 110),
        ("p3dn.24xlarge", 737, 11762, 96, 250),
        ("m4.4xlarge", 234, 234, 16, 110),
    ],
)
def test_worked_max_pods(name: str, single: int, prefixes: int, vcpus: int, capped: int) -> None:
    """Both modes, uncapped and capped; xen never counts prefixes."""
    row = table.limits_of(name)
    assert table.pods_by_limits(name) == single
    assert table.recommended_max_pods(row, prefixes=False, vcpus=None) == single
    assert table.recommended_max_pods(row, prefixes=True, vcpus=None) == prefixes
    assert table.recommended_max_pods(row, prefixes=True, vcpus=vcpus) == capped


@pytest.mark.spec("LIM-14")
def test_max_pods_of_more_worked_types() -> None:
    """a1.2xlarge, c1.medium and the 32-card p5.48xlarge."""
    assert [table.pods_by_limits(t) for t in ("a1.2xlarge", "c1.medium", "p5.48xlarge")] == [58, 12, 100]


@pytest.mark.spec("LIM-12")
def test_custom_networking_and_max_eni_lower_the_recommendation() -> None:
    """Custom networking takes the primary ENI away, MAX_ENI lowers the limit first."""
    row = table.limits_of("m5.large")
    assert table.recommended_max_pods(row, prefixes=False, vcpus=None, custom_networking=True) == 2 * 9 + 2
    assert table.recommended_max_pods(row, prefixes=False, vcpus=None, max_eni=2) == 2 * 9 + 2


@pytest.mark.spec("LIM-6", "LIM-8", "LIM-11")
def test_unknown_type_has_no_limits_and_says_so() -> None:
    """Lookups answer none and 110 pods; asking by name is refused clearly."""
    assert table.limits("large") is None
    assert table.pods_by_limits("large") is None
    assert table.max_pods("large") == 110
    assert not table.prefix_delegation_supported("large")
    with pytest.raises(UnknownInstanceType, match=r"'m5\.lage'.*1391.*m5\.large"):
        table.limits_of("m5.lage")


@pytest.mark.spec("INIT-14")
@pytest.mark.parametrize(
    ("name", "supported"),
    [("m5.large", True), ("a1.metal", True), ("m4.large", False), ("cr1.8xlarge", False), ("large", False)],
)
def test_prefix_delegation_by_hypervisor(name: str, supported: bool) -> None:
    """Appendix A.3: nitro or bare metal."""
    assert table.prefix_delegation_supported(name) is supported


@pytest.mark.spec("LIM-9")
@pytest.mark.parametrize(
    ("name", "compatible"),
    [("m8g.12xlarge", True), ("i3.2xlarge", False), ("no.such", True), ("t3.nano", False), ("t1.micro", False)],
)
def test_trunking_compatibility(name: str, compatible: bool) -> None:
    """Appendix B: what upstream tests, t types, and a type absent from the table."""
    assert table.trunking_compatible(name) is compatible


@pytest.mark.spec("LIM-9")
def test_appendix_b_has_104_incompatible_types() -> None:
    """The number of incompatible types that the table knows."""
    assert sum(not row.trunking_compatible for row in every()) == 104


def test_importing_the_module_reads_nothing() -> None:
    """The table is read on first use, so a process that never asks pays nothing."""
    code = "from ipamd.ec2 import limits; print(limits._table.cache_info().currsize)"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, check=True)
    assert seen.stdout == b"0\n"
