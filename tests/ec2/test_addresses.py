"""Assigning and unassigning addresses and prefixes, and what EC2 refuses with which code."""

from __future__ import annotations

import pytest

from ipamd.core.calls import (
    AssignPrivateIpAddresses,
    Failed,
    UnassignPrivateIpAddresses,
)
from ipamd.ec2.vpc import apply, make_vpc
from tests.ec2.worlds import (
    creation,
    described,
    done,
    granted,
    primary,
    refused,
    subnet_of,
)


@pytest.mark.spec("EC2-20")
def test_assignment_answers_only_what_is_new() -> None:
    """New addresses in order, appended to the ENI's."""
    vpc = make_vpc()
    assert granted(vpc, primary(vpc), secondary_ips=2).addresses == ("10.0.0.5", "10.0.0.6")
    assert granted(vpc, primary(vpc), secondary_ips=1).addresses == ("10.0.0.7",)
    assert granted(vpc, primary(vpc), prefixes=1).prefixes == ("10.0.0.16/28",)
    assert described(vpc, primary(vpc)).addresses == ("10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7")


@pytest.mark.spec("LIM-1", "POOL-26")
def test_each_prefix_counts_one_slot() -> None:
    """t3.small carries four slots an ENI, shared by addresses and prefixes; POOL-26's code."""
    vpc = make_vpc(instance_type="t3.small")
    granted(vpc, primary(vpc), prefixes=2)
    granted(vpc, primary(vpc), secondary_ips=1)
    for call in (AssignPrivateIpAddresses(primary(vpc), 1), AssignPrivateIpAddresses(primary(vpc), 0, 1)):
        assert refused(apply(vpc, call, 0)) == "PrivateIpAddressLimitExceeded"


@pytest.mark.spec("EC2-20")
@pytest.mark.parametrize(
    ("ips", "prefixes", "code"),
    [
        (0, 0, "MissingParameter"),
        (-1, 0, "InvalidParameterValue"),
        (0, -1, "InvalidParameterValue"),
        (1, 1, "InvalidParameterCombination"),
    ],
)
def test_malformed_assignment_is_refused(ips: int, prefixes: int, code: str) -> None:
    """EC2-20 wants one count above 0."""
    vpc = make_vpc()
    assert refused(apply(vpc, AssignPrivateIpAddresses(primary(vpc), ips, prefixes), 0)) == code


@pytest.mark.spec("INIT-14")
def test_prefixes_need_a_type_that_carries_them() -> None:
    """Xen does not."""
    vpc = make_vpc(instance_type="m4.large")
    assert refused(apply(vpc, AssignPrivateIpAddresses(primary(vpc), 0, 1), 0)) == "UnsupportedOperation"


@pytest.mark.spec("POOL-28")
def test_too_few_free_addresses() -> None:
    """A /28 has eleven addresses; the request is refused whole."""
    vpc = make_vpc(subnet="10.0.0.0/28", instance_type="m5.4xlarge")
    outcome = apply(vpc, AssignPrivateIpAddresses(primary(vpc), 11), 0)
    assert refused(outcome) == "InsufficientFreeAddressesInSubnet"
    assert len(granted(vpc, primary(vpc), secondary_ips=10).addresses) == 10
    assert refused(apply(vpc, creation(vpc), 0)) == "InsufficientFreeAddressesInSubnet"


@pytest.mark.spec("POOL-28")
def test_enough_addresses_but_no_aligned_block() -> None:
    """Fragmentation has a code of its own."""
    vpc = make_vpc(subnet="10.0.0.0/26", instance_type="m5.24xlarge")
    granted(vpc, primary(vpc), secondary_ips=29)
    assert vpc.spaces[subnet_of(vpc)].free == 29
    outcome = apply(vpc, AssignPrivateIpAddresses(primary(vpc), 0, 1), 0)
    assert outcome == Failed(
        "InsufficientCidrBlocks",
        "There are not enough free cidr blocks in the specified subnet to satisfy the request.",
    )


@pytest.mark.spec("EC2-21")
def test_unassigned_addresses_are_free_again() -> None:
    """Addresses without mask and prefixes with it."""
    vpc = make_vpc()
    free = vpc.spaces[subnet_of(vpc)].free
    ips = granted(vpc, primary(vpc), secondary_ips=3).addresses
    prefixes = granted(vpc, primary(vpc), prefixes=2).prefixes
    done(vpc, UnassignPrivateIpAddresses(primary(vpc), addresses=ips))
    done(vpc, UnassignPrivateIpAddresses(primary(vpc), prefixes=prefixes))
    assert vpc.spaces[subnet_of(vpc)].free == free
    assert described(vpc, primary(vpc)).addresses == ("10.0.0.4",)


@pytest.mark.parametrize(
    "call",
    [
        {"addresses": ("10.0.0.4",)},
        {"addresses": ("10.0.0.5", "10.0.0.99")},
        {"addresses": ("10.0.0.05",)},
        {"prefixes": ("10.0.0.16/28", "10.0.0.32/28")},
        {"addresses": ("10.0.0.16/28",)},
    ],
)
def test_unassigning_what_is_not_there_changes_nothing(call: dict[str, tuple[str, ...]]) -> None:
    """The primary address, an unknown one, or one of several unknown: InvalidParameterValue, all kept."""
    vpc = make_vpc()
    granted(vpc, primary(vpc), secondary_ips=1)
    granted(vpc, primary(vpc), prefixes=1)
    before = vpc.rows()
    outcome = apply(vpc, UnassignPrivateIpAddresses(primary(vpc), **call), 0)
    assert refused(outcome) == "InvalidParameterValue"
    assert vpc.rows() == before
    assert refused(apply(vpc, UnassignPrivateIpAddresses(primary(vpc)), 0)) == "MissingParameter"
