"""Whatever goes wrong with one request, once: the pool ends right. Generated, not listed by hand."""

from __future__ import annotations

import pytest

from .faulty import LIVES, Case, Life, cases, requests


@pytest.mark.spec("EC2-50", "POOL-26..28", "REC-1..16", "EC2-30")
@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.name)
def test_the_pool_ends_right_after_any_fault(life: Life) -> None:
    """Every request of the life x every way it fails x its first occurrences: no leak, at rest, and pods are served."""
    wrong = [fault for case in cases(life) for fault in case.ended()]

    assert wrong == []


def test_the_lives_ask_for_everything_that_can_fail() -> None:
    """A table of faults that never strike would show nothing: together the lives make, fill, empty and free ENIs."""
    asked = {action for life in LIVES for action in requests(life)}
    changes = {f"{deed}PrivateIpAddresses" for deed in ("Assign", "Unassign")} | {"CreateTags"}
    changes.add("ModifyNetworkInterfaceAttribute")
    enis = {f"{deed}NetworkInterface" for deed in ("Create", "Attach", "Detach", "Delete")}
    reads = {"DescribeNetworkInterfaces", "DescribeInstances", "DescribeSubnets", "ReadMetadata"}

    assert asked == changes | enis | reads
    assert sum(len(list(cases(life))) for life in LIVES) > 2000


def test_a_pool_that_does_not_end_right_is_seen() -> None:
    """The check itself can fail: a cloud that goes on refusing leaves the next pod without an address."""
    life = Life("starved", LIVES[0].settings, 12, 0)

    assert Case(life, "more pods than the instance has addresses").ended() != []
