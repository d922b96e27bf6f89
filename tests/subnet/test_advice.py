"""What the pre-flight says of a subnet before prefix mode is turned on, and what would be otherwise."""

from __future__ import annotations

import pytest

from ipamd.ec2.subnets.report import Asked
from ipamd.ec2.subnets.whatif import with_reservations, without_nodes
from tests.subnet.lots import codes, eni, fragmented, lot, reserved, told

NODE = eni(1, "10.0.0.20", prefixes=("10.0.0.32/28",), instance="i-1")


def test_no_free_block_is_the_finding_of_the_pre_flight() -> None:
    """W-33, W-39, L-34, L-41: checked before migrating; the error that would come, and the remedy."""
    report = told(fragmented())

    assert not report.ok
    assert [advice.level for advice in report.advice] == ["finding"]
    for text in ("237 addresses are free", "InsufficientCidrBlocks", "a fresh subnet with a prefix reservation"):
        assert text in report.advice[0].text


def test_whoever_breaks_most_alone_is_named() -> None:
    """The cheapest way to free blocks: the instance without which the most blocks are whole."""
    enis = [eni(n, f"10.0.0.{n * 16 + 5}", f"10.0.0.{n * 16 + 6}", instance=f"i-{n // 5}") for n in range(1, 15)]
    report = told(lot("10.0.0.0/24", *enis))

    assert (report.holders[0].holder, report.holders[0].alone) == ("i-1", 5)
    assert "without i-1 there were 5 more" in report.advice[0].text


def test_more_prefixes_may_be_wanted_than_there_are() -> None:
    """--want: a migration needs as many prefixes as its nodes."""
    facts = lot("10.0.0.0/24")

    assert told(facts, Asked(want=14)).ok
    assert not told(facts, Asked(want=15)).ok
    assert "want 15 prefixes, 14 can be had" in told(facts, Asked(want=15)).advice[0].text


def test_a_subnet_that_is_too_small_says_so() -> None:
    """EC2's own addresses break both blocks of a /27, so no clearing up helps."""
    assert "use a subnet of /26 or wider" in told(lot("10.0.0.0/27")).advice[0].text


def test_free_blocks_in_explicit_reservations_do_not_count() -> None:
    """W-52: a request with a count gets nothing from an explicit reservation."""
    facts = lot("10.0.0.0/24", reservations=(reserved("10.0.0.0/24", "explicit"),))

    assert (told(facts).figures.free_blocks, told(facts).figures.prefixes_available) == (14, 0)
    assert "14 free blocks lie in explicit reservations" in told(facts).advice[0].text


def test_badly_fragmented_is_a_warning_while_some_blocks_are_left() -> None:
    """W-39, L-41: most free addresses lie in broken blocks."""
    broken = [eni(n, f"10.0.0.{n * 16 + 5}", description="RDSNetworkInterface") for n in range(1, 12)]

    assert codes(lot("10.0.0.0/24", *broken))[0] == "fragmented"
    assert "fragmented" not in codes(lot("10.0.0.0/24", *broken[:3]))


def test_a_shared_subnet_is_told_to_reserve_and_how() -> None:
    """W-41, W-51, W-54, L-47, L-49: the largest free range, as a command; L-48: the CNI's calls stay the same."""
    shared = lot("10.0.0.0/24", eni(1, "10.0.0.20", description="RDSNetworkInterface"))
    advice = next(a for a in told(shared).advice if a.code == "reserve")

    assert "create-subnet-cidr-reservation --subnet-id subnet-1 --cidr 10.0.0.64/26" in advice.text
    assert "The CNI's requests stay as they are" in advice.text
    reserving = lot("10.0.0.0/24", eni(1, "10.0.0.20"), reservations=(reserved("10.0.0.128/26"),))
    assert "reserve" not in codes(reserving)


def test_a_subnet_of_prefix_nodes_alone_needs_no_reservation() -> None:
    """W-55, L-50: only the primary addresses of ENIs are single ones there."""
    assert codes(lot("10.0.0.0/24", NODE)) == ["prefixes-only"]
    secondary = eni(2, "10.0.0.70", "10.0.0.71", instance="i-2")
    assert codes(lot("10.0.0.0/24", NODE, secondary)) == ["reserve"]


def test_single_addresses_in_a_reservation_are_pointed_out() -> None:
    """W-52: what was there before the reservation stays, and breaks its blocks; EC2's own last address is no news."""
    before = lot("10.0.0.0/24", eni(1, "10.0.0.130"), reservations=(reserved("10.0.0.128/25"),))
    advice = next(a for a in told(before).advice if a.code == "reservation-broken")

    assert "1 single addresses from before it break 1 of its 8 blocks" in advice.text
    assert told(before).reservations[0].free_blocks == 6
    assert codes(lot("10.0.0.0/24", reservations=(reserved("10.0.0.128/25"),))) == []
    assert codes(lot("10.0.0.0/24", reservations=(reserved("10.0.0.128/29"),))) == ["reservation-too-small"]


def test_leaked_enis_are_named() -> None:
    """The CNI's ENIs that are attached to nothing hold addresses for nobody."""
    leaked = told(lot("10.0.0.0/24", eni(1, "10.0.0.20", description="aws-K8S-i-9")))

    assert "eni-1: made by the CNI and attached to nothing" in leaked.advice[0].text


@pytest.mark.parametrize(
    ("available", "code"), [(251, []), (240, ["unlisted-holders"]), (252, ["another-moment"]), (None, [])]
)
def test_ec2s_own_count_is_compared(available: int | None, code: list[str]) -> None:
    """In a shared subnet another account's ENIs are not listed: fewer blocks may be free than it looks."""
    assert codes(lot("10.0.0.0/24", available=available)) == code


def test_ec2s_count_may_or_may_not_include_what_is_reserved() -> None:
    """Both ways of counting a reservation are taken for the truth."""
    for available in (251, 251 - 64):
        assert codes(lot("10.0.0.0/24", reservations=(reserved("10.0.0.64/26"),), available=available)) == []


# ---- what if ---------------------------------------------------------------------------------------------------


def test_what_if_reserved_tells_how_many_prefixes_are_safe() -> None:
    """W-41, L-42, L-49: made on a fresh subnet, the reservation holds its blocks whatever comes."""
    report = told(lot("10.0.0.0/24"), Asked(reserve=("10.0.0.128/25",)))

    assert (report.figures.prefixes_available, report.figures.prefixes_reserved) == (14, 7)
    assert report.figures.free_singles == 251 - 127
    assert report.before is not None and report.before.prefixes_reserved == 0


def test_what_if_reserved_in_a_fragmented_subnet_gains_nothing() -> None:
    """W-41: the reservation has to come first; it moves nobody."""
    report = told(fragmented(), Asked(reserve=("10.0.0.128/25",)))

    assert (report.ok, report.figures.prefixes_available) == (False, 0)
    assert "reservation-broken" in [advice.code for advice in report.advice]


@pytest.mark.parametrize(
    ("cidr", "said"),
    [
        ("10.0.1.0/28", "lies outside the subnet's 10.0.0.0/24"),
        ("10.0.0.130/26", "use 10.0.0.128/26"),
        ("10.0.0.64/27", r"overlaps scr-10.0.0.64 (10.0.0.64/26), and EC2 refuses that"),
        ("10.0.0.128/29", "no /28 fits into it"),
        ("ten", "want an IPv4 CIDR such as 10.0.0.0/28"),
        ("0.0.0.0/0", "lies outside"),
    ],
)
def test_a_reservation_that_ec2_would_refuse_is_refused(cidr: str, said: str) -> None:
    """The thing, the fact, the remedy."""
    with pytest.raises(ValueError) as refused:
        with_reservations(lot("10.0.0.0/24", reservations=(reserved("10.0.0.64/26"),)), [cidr])

    assert said in str(refused.value)


@pytest.mark.parametrize("name", ["i-1", "10.0.0.20", "ip-10-0-0-20", "ip-10-0-0-20.ec2.internal", "i-1.ec2.internal"])
def test_what_if_drained_frees_what_the_node_holds(name: str) -> None:
    """All ENIs of the node go, its prefixes too; a node has several names."""
    second = eni(2, "10.0.0.70", "10.0.0.90", instance="i-1", device=1)
    other = eni(3, "10.0.0.71", instance="i-2")
    report = told(lot("10.0.0.0/24", NODE, second, other), Asked(drain=(name,)))

    assert report.drained == ("i-1",)
    assert report.before is not None
    assert (report.before.prefixes_available, report.figures.prefixes_available) == (10, 13)
    assert report.figures.free == 250


def test_an_eni_that_outlives_its_node_keeps_its_addresses() -> None:
    """Without delete-on-termination the ENI stays, unattached, and so does the block it breaks."""
    stays = eni(2, "10.0.0.70", instance="i-1", device=1, goes_with_instance=False)
    report = told(lot("10.0.0.0/24", NODE, stays), Asked(drain=("i-1",)))

    assert report.stay == ("eni-2",)
    assert (report.figures.free, report.figures.prefixes_available) == (250, 13)
    assert "stays-after-drain" in [advice.code for advice in report.advice]


def test_branches_go_with_their_trunk() -> None:
    """A branch ENI is on no instance; its trunk names the node."""
    trunk = eni(2, "10.0.0.70", instance="i-1", device=1, interface_type="trunk")
    branch = eni(3, "10.0.0.90", interface_type="branch", trunk="eni-2")

    left = without_nodes(lot("10.0.0.0/24", trunk, branch), ["i-1"]).facts.enis

    assert left == ()


def test_an_unknown_node_is_refused_with_those_that_are_known() -> None:
    """The remedy names nodes that are there."""
    with pytest.raises(ValueError, match=r'node "i-2": has no ENI in subnet-1; known are i-1'):
        without_nodes(lot("10.0.0.0/24", NODE), ["i-2"])
