"""Upstream's sizing tables (DOC-1..DOC-45) in virtual time, every column; where the tables contradict the code the
expected figures are those of its arithmetic (DOC-29, DOC-34, DOC-35, DOC-39; see DOC-40)."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from .pools import settled

T3 = "t3.small"
P3DN = "p3dn.24xlarge"
M4 = "m4.4xlarge"


class Addresses(NamedTuple):
    """One row of section 13.1; a target of None is left unset."""

    id: str
    instance_type: str
    warm_eni: int | None
    warm_ip: int | None
    minimum: int | None
    pods: int
    enis: int
    ips: int
    unused: int
    per_eni: tuple[int, ...]


class Prefixes(NamedTuple):
    """One row of section 13.2; pods per prefix are not given for the larger type."""

    id: str
    instance_type: str
    warm_prefix: int | None
    warm_ip: int | None
    minimum: int | None
    pods: int
    enis: int
    pods_per_eni: tuple[int, ...]
    prefixes: int
    pods_per_prefix: tuple[int, ...] | None
    unused_prefixes: int
    per_eni: tuple[int, ...]
    unused: int


SECONDARY_IPS = [
    Addresses("DOC-1", T3, 1, None, None, 0, 1, 3, 3, (3,)),
    Addresses("DOC-2", T3, 1, None, None, 5, 3, 9, 4, (3, 3, 3)),
    Addresses("DOC-3", T3, 1, None, None, 9, 3, 9, 0, (3, 3, 3)),
    Addresses("DOC-4", T3, None, 1, 1, 0, 1, 1, 1, (1,)),
    Addresses("DOC-5", T3, None, 1, 1, 5, 2, 6, 1, (3, 3)),
    Addresses("DOC-6", T3, None, 1, 1, 9, 3, 9, 0, (3, 3, 3)),
    Addresses("DOC-7", T3, None, 2, 5, 0, 2, 5, 5, (3, 2)),
    Addresses("DOC-8", T3, None, 2, 5, 5, 3, 7, 2, (3, 3, 1)),
    Addresses("DOC-9", T3, None, 2, 5, 9, 3, 9, 0, (3, 3, 3)),
    Addresses("DOC-10", P3DN, 1, None, None, 0, 1, 49, 49, (49,)),
    Addresses("DOC-11", P3DN, 1, None, None, 3, 2, 98, 95, (49, 49)),
    Addresses("DOC-12", P3DN, 1, None, None, 95, 3, 147, 52, (49, 49, 49)),
    Addresses("DOC-13", P3DN, None, 5, 10, 0, 1, 10, 10, (10,)),
    Addresses("DOC-14", P3DN, None, 5, 10, 7, 1, 12, 5, (12,)),
    Addresses("DOC-15", P3DN, None, 5, 10, 15, 1, 20, 5, (20,)),
    Addresses("DOC-16", P3DN, None, 5, 10, 45, 2, 50, 5, (49, 1)),
]

DELEGATED = [
    Prefixes("DOC-20", T3, 1, None, None, 0, 1, (0,), 1, (0,), 1, (1,), 16),
    Prefixes("DOC-21", T3, 1, None, None, 5, 1, (5,), 2, (5, 0), 1, (2,), 27),
    Prefixes("DOC-22", T3, 1, None, None, 16, 1, (16,), 2, (16, 0), 1, (2,), 16),
    Prefixes("DOC-23", T3, 1, None, None, 17, 1, (17,), 3, (16, 1, 0), 1, (3,), 31),
    Prefixes("DOC-24", T3, 1, None, None, 58, 2, (48, 10), 5, (16, 16, 16, 10, 0), 1, (3, 2), 22),
    Prefixes("DOC-25", T3, None, 1, 1, 0, 1, (0,), 1, (0,), 1, (1,), 16),
    Prefixes("DOC-26", T3, None, 1, 1, 5, 1, (5,), 1, (5,), 0, (1,), 11),
    Prefixes("DOC-27", T3, None, 1, 1, 17, 1, (17,), 2, (16, 1), 0, (2,), 15),
    Prefixes("DOC-28", T3, None, 1, 1, 58, 2, (48, 10), 4, (16, 16, 16, 10), 0, (3, 1), 6),
    Prefixes("DOC-29", T3, None, 7, 20, 0, 1, (0,), 2, (0, 0), 2, (2,), 32),
    Prefixes("DOC-30", T3, None, 7, 20, 5, 1, (5,), 2, (5, 0), 1, (2,), 27),
    Prefixes("DOC-31", T3, None, 7, 20, 17, 1, (17,), 2, (16, 1), 0, (2,), 15),
    Prefixes("DOC-32", T3, None, 7, 20, 58, 2, (48, 10), 5, (16, 16, 16, 10, 0), 1, (3, 2), 22),
    Prefixes("DOC-33", P3DN, 1, None, None, 0, 1, (0,), 1, None, 1, (1,), 16),
    Prefixes("DOC-34", P3DN, 1, None, None, 3, 1, (3,), 2, None, 1, (2,), 29),
    Prefixes("DOC-35", P3DN, 1, None, None, 95, 1, (95,), 7, None, 1, (7,), 17),
    Prefixes("DOC-36", P3DN, None, 5, 10, 0, 1, (0,), 1, None, 1, (1,), 16),
    Prefixes("DOC-37", P3DN, None, 5, 10, 7, 1, (7,), 1, None, 0, (1,), 9),
    Prefixes("DOC-38", P3DN, None, 5, 10, 15, 1, (15,), 2, None, 1, (2,), 17),
    Prefixes("DOC-39", P3DN, None, 5, 10, 45, 1, (45,), 4, None, 1, (4,), 19),
]


def given(**targets: int | None) -> dict[str, int]:
    """The variables whose cell is not empty."""
    return {name: value for name, value in targets.items() if value is not None}


@pytest.mark.spec(
    "DOC-1..16", "DOC-1", "DOC-2", "DOC-3", "DOC-4", "DOC-5", "DOC-6", "DOC-7", "DOC-8", "DOC-9", "DOC-10", "DOC-11",
    "DOC-12", "DOC-13", "DOC-14", "DOC-15", "DOC-16",
)  # fmt: skip
@pytest.mark.parametrize("row", SECONDARY_IPS, ids=lambda row: row.id)
def test_secondary_addresses_are_sized_as_upstream_documents(row: Addresses) -> None:
    """ENIs, secondary addresses, unused ones and their spread over the ENIs."""
    targets = given(WARM_ENI_TARGET=row.warm_eni, WARM_IP_TARGET=row.warm_ip, MINIMUM_IP_TARGET=row.minimum)

    pool, end = settled(row.instance_type, row.pods, **targets)

    assert (end.settled, end.refused, end.assigned) == (True, 0, row.pods)
    assert len(pool.enis) == row.enis
    assert tuple(eni.ips for eni in pool.enis) == row.per_eni
    assert sum(eni.prefixes for eni in pool.enis) == 0
    assert (pool.total_ips, pool.unused) == (row.ips, row.unused)


@pytest.mark.spec(
    "DOC-20..39", "DOC-20", "DOC-21", "DOC-22", "DOC-23", "DOC-24", "DOC-25", "DOC-26", "DOC-27", "DOC-28", "DOC-29",
    "DOC-30", "DOC-31", "DOC-32", "DOC-33", "DOC-34", "DOC-35", "DOC-36", "DOC-37", "DOC-38", "DOC-39",
)  # fmt: skip
@pytest.mark.parametrize("row", DELEGATED, ids=lambda row: row.id)
def test_prefixes_are_sized_as_upstream_documents(row: Prefixes) -> None:
    """ENIs, prefixes, unused ones, pods per ENI and per prefix, unused addresses."""
    targets = given(WARM_PREFIX_TARGET=row.warm_prefix, WARM_IP_TARGET=row.warm_ip, MINIMUM_IP_TARGET=row.minimum)

    pool, end = settled(row.instance_type, row.pods, ENABLE_PREFIX_DELEGATION=True, **targets)

    assert (end.settled, end.refused, end.assigned) == (True, 0, row.pods)
    assert len(pool.enis) == row.enis
    assert tuple(eni.pods for eni in pool.enis) == row.pods_per_eni
    assert tuple(eni.prefixes for eni in pool.enis) == row.per_eni
    assert sum(eni.prefixes for eni in pool.enis) == row.prefixes
    assert sum(eni.ips for eni in pool.enis) == 0
    assert pool.unused_prefixes == row.unused_prefixes
    assert (pool.total_ips, pool.unused) == (16 * row.prefixes, row.unused)
    if row.pods_per_prefix is not None:
        assert tuple(block.pods for eni in pool.enis for block in eni.blocks) == row.pods_per_prefix


class Case(NamedTuple):
    """One sentence of upstream's prose: variables, pods, and how many addresses for pods on how many ENIs."""

    instance_type: str
    variables: dict[str, int]
    pods: int
    total: int
    enis: int


PROSE = {
    "DOC-41": [
        Case(M4, {"WARM_ENI_TARGET": 1}, 0, 29, 1),
        Case(M4, {"WARM_ENI_TARGET": 1}, 5, 58, 2),
        Case(M4, {"WARM_ENI_TARGET": 1}, 29, 58, 2),
        Case(M4, {"WARM_ENI_TARGET": 1}, 30, 87, 3),
        Case(M4, {"WARM_ENI_TARGET": 1}, 58, 87, 3),
    ],
    "DOC-42": [
        Case(T3, {"ENABLE_PREFIX_DELEGATION": True, "WARM_IP_TARGET": 16}, 0, 16, 1),
        Case(T3, {"ENABLE_PREFIX_DELEGATION": True, "WARM_IP_TARGET": 16}, 1, 32, 1),
    ],
    "DOC-43": [
        Case(M4, {"MINIMUM_IP_TARGET": 30, "WARM_IP_TARGET": 2}, 0, 30, 2),
        Case(M4, {"MINIMUM_IP_TARGET": 30, "WARM_IP_TARGET": 2}, 30, 32, 2),
        Case(M4, {"WARM_IP_TARGET": 30}, 30, 60, 3),
    ],
    "DOC-44": [
        Case(M4, {"WARM_IP_TARGET": 1}, 9, 10, 1),
        Case(M4, {"WARM_IP_TARGET": 1, "MINIMUM_IP_TARGET": 12}, 9, 12, 1),
    ],
}


@pytest.mark.spec("DOC-41..44", "DOC-41", "DOC-42", "DOC-43", "DOC-44")
@pytest.mark.parametrize("id", PROSE)
def test_pools_are_sized_as_upstreams_prose_says(id: str) -> None:
    """The examples in the README and in comments."""
    for case in PROSE[id]:
        pool, end = settled(case.instance_type, case.pods, **case.variables)

        assert (end.settled, end.refused, end.assigned) == (True, 0, case.pods), case
        assert (pool.total_ips, len(pool.enis)) == (case.total, case.enis), case


@pytest.mark.spec("DOC-45")
@pytest.mark.parametrize("id", ["DOC-45"])
def test_minimum_target_is_rounded_up_to_whole_prefixes(id: str) -> None:
    """With prefixes, every minimum between N*16+1 and (N+1)*16 gives the same pool, with and without pods."""
    for blocks in (1, 2, 3):
        for pods in (0, 5, 20):
            pools = {
                settled(T3, pods, ENABLE_PREFIX_DELEGATION=True, WARM_IP_TARGET=1, MINIMUM_IP_TARGET=minimum)[0]
                for minimum in range((blocks - 1) * 16 + 1, blocks * 16 + 1)
            }

            assert len(pools) == 1, (id, blocks, pods)
            assert pools.pop().total_ips >= 16 * blocks
