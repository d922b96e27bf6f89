"""The occupation of a subnet: figures, blocks and breakers, against counting by hand and against the VPC model."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipamd.core.types import ip4, ip4_text
from ipamd.ec2.space import Space
from ipamd.ec2.subnets import heatmap
from ipamd.ec2.subnets.facts import EniFacts, SubnetFacts, Use, WrongFacts, checked, use_of
from ipamd.ec2.subnets.occupation import BlockState, Occupation
from ipamd.ec2.subnets.report import Asked, picture, report
from tests.subnet.lots import eni, fragmented, lot, reserved


def test_one_address_in_each_block_leaves_237_free_and_no_block() -> None:
    """W-40, L-42: 256 less EC2's five less 14, and nothing that a prefix fits into."""
    occupation = Occupation(fragmented())

    assert (occupation.free, occupation.free_blocks, occupation.prefixes_available) == (237, 0, 0)
    assert occupation.largest_free_cidr() == ""
    assert occupation.count(BlockState.BROKEN) == 16


def test_an_empty_subnet_has_all_but_its_first_and_last_block() -> None:
    """W-40: EC2's own addresses break two blocks; a /27 has no third, a /28 not even a second."""
    for cidr, free, blocks in (("10.0.0.0/24", 251, 14), ("10.0.0.0/27", 27, 0), ("10.0.0.0/28", 11, 0)):
        occupation = Occupation(lot(cidr))
        assert (occupation.free, occupation.free_blocks) == (free, blocks)
    edges = [block.cidr for block in Occupation(lot("10.0.0.0/24")).broken() if block.edge]
    assert edges == ["10.0.0.0/28", "10.0.0.240/28"]


def test_a_block_is_aligned_however_long_a_run_is() -> None:
    """W-48, L-46: thirty free addresses in a row without a /28, sixteen with one."""
    thirty = lot("10.0.0.0/26", eni(1, "10.0.0.16", "10.0.0.47"))
    sixteen = lot("10.0.0.0/26", eni(1, "10.0.0.15", "10.0.0.32"))

    assert [(run.addresses, run.blocks) for run in Occupation(thirty).runs(1)] == [(30, 0)]
    assert [(run.addresses, run.blocks) for run in Occupation(sixteen).runs(2)] == [(30, 0), (16, 1)]


def test_a_prefix_fills_its_block_and_breaks_none() -> None:
    """Prefixes count sixteen addresses, and the block is neither free nor broken."""
    occupation = Occupation(lot("10.0.0.0/24", eni(1, "10.0.0.5", prefixes=("10.0.0.32/28", "10.0.0.64/28"))))

    assert occupation.free == 251 - 1 - 32
    assert occupation.count(BlockState.PREFIX) == 2
    assert [block.cidr for block in occupation.broken()] == ["10.0.0.0/28", "10.0.0.240/28"]


def test_breakers_are_named_with_what_they_are() -> None:
    """Who breaks a block: address, role, ENI, instance, use, description."""
    node = eni(1, "10.0.0.20", "10.0.0.21", instance="i-1")
    balancer = eni(2, "10.0.0.22", description="ELB app/shop/1", requester_managed=True)

    block = next(block for block in Occupation(lot("10.0.0.0/24", node, balancer)).broken() if not block.edge)

    assert (block.cidr, block.free, block.state) == ("10.0.0.16/28", 13, BlockState.BROKEN)
    assert [(b.address, b.role, b.use, b.eni, b.instance, b.description) for b in block.breakers] == [
        ("10.0.0.20", "primary", Use.NODE, "eni-1", "i-1", ""),
        ("10.0.0.21", "secondary", Use.NODE, "eni-1", "i-1", ""),
        ("10.0.0.22", "primary", Use.LOAD_BALANCER, "eni-2", "", "ELB app/shop/1"),
    ]


def test_reservations_say_who_may_have_a_free_block() -> None:
    """W-51, W-52, L-47: a prefix reservation keeps single addresses out, an explicit one everything with a count."""
    kept = (reserved("10.0.0.64/27"), reserved("10.0.0.128/28", "explicit"))
    occupation = Occupation(lot("10.0.0.0/24", reservations=kept))

    assert (occupation.free, occupation.free_singles) == (251, 251 - 32 - 16)
    assert (occupation.free_blocks, occupation.prefixes_available) == (14, 13)
    assert heatmap.rows(occupation)[0].text == "4...rr..x......1"


def test_a_narrow_reservation_leaves_no_prefix_in_its_block() -> None:
    """A block that is reserved in part is for nobody's prefix."""
    occupation = Occupation(lot("10.0.0.0/24", reservations=(reserved("10.0.0.72/29"),)))

    assert (occupation.free_blocks, occupation.prefixes_available) == (14, 13)
    assert heatmap.rows(occupation)[0].text[4] == "/"


def test_an_address_held_twice_is_a_conflict_and_counts_once() -> None:
    """Sources may be wrong, as stock moto is: the figures hold, and the fact is told."""
    twice = lot(
        "10.0.0.0/24", eni(1, "10.0.0.5"), eni(2, "10.0.0.5"), eni(3, "10.0.0.0"), eni(4, prefixes=("10.0.0.0/28",))
    )
    occupation = Occupation(twice)

    assert occupation.free == 251 - 12
    assert occupation.conflicts[:2] == [
        "10.0.0.5 of eni-2: eni-1 holds it too",
        "10.0.0.0 of eni-3: EC2 keeps it too",
    ]


@pytest.mark.parametrize(
    ("facts", "use"),
    [
        (eni(1, "10.0.0.5", instance="i-1"), Use.NODE),
        (eni(1, "10.0.0.5", instance="i-1", device=1), Use.INSTANCE),
        (eni(1, "10.0.0.5", instance="i-1", device=1, description="aws-K8S-i-1"), Use.PODS),
        (eni(1, "10.0.0.5", description="aws-K8S-i-1"), Use.LEAKED),
        (eni(1, "10.0.0.5", tags={"node.k8s.amazonaws.com/instance_id": "i-1"}), Use.LEAKED),
        (eni(1, "10.0.0.5", instance="i-1", device=2, interface_type="trunk"), Use.TRUNK),
        (eni(1, "10.0.0.5", interface_type="branch"), Use.BRANCH),
        (eni(1, "10.0.0.5", instance="i-1", device=3, interface_type="efa"), Use.EFA),
        (eni(1, "10.0.0.5", description="Amazon EKS shop"), Use.CONTROL_PLANE),
        (eni(1, "10.0.0.5", interface_type="network_load_balancer"), Use.LOAD_BALANCER),
        (eni(1, "10.0.0.5", interface_type="nat_gateway"), Use.NAT_GATEWAY),
        (eni(1, "10.0.0.5", interface_type="vpc_endpoint"), Use.ENDPOINT),
        (eni(1, "10.0.0.5", description="EFS mount target for fs-1"), Use.FILE_SYSTEM),
        (eni(1, "10.0.0.5", interface_type="lambda"), Use.LAMBDA),
        (eni(1, "10.0.0.5", requester_managed=True), Use.SERVICE),
        (eni(1, "10.0.0.5"), Use.UNATTACHED),
    ],
)
def test_what_an_eni_is_there_for(facts: EniFacts, use: Use) -> None:
    """By type, attachment and description."""
    assert use_of(facts) is use


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (SubnetFacts("subnet-1", "10.0.0.0/12"), "want a length of /16 to /28"),
        (SubnetFacts("subnet-1", "10.0.0.9/24"), "use 10.0.0.0/24"),
        (SubnetFacts("subnet-1", "10.0.0.0/24", enis=(eni(1, "10.0.1.5"),)), "address 10.0.1.5: lies outside"),
        (SubnetFacts("subnet-1", "10.0.0.0/24", enis=(eni(1, "10.0.0.256"),)), "want an IPv4 address"),
        (SubnetFacts("subnet-1", "10.0.0.0/24", enis=(eni(1, prefixes=("10.0.0.8/28",)),)), "want an aligned /28"),
        (SubnetFacts("subnet-1", "10.0.0.0/24", enis=(eni(1, prefixes=("10.0.1.0/28",)),)), "lies outside subnet-1"),
        (SubnetFacts("subnet-1", "10.0.0.0/24", reservations=(reserved("10.0.1.0/28"),)), "lies outside the subnet's"),
        (
            SubnetFacts("subnet-1", "10.0.0.0/24", reservations=(reserved("10.0.0.0/25"), reserved("10.0.0.64/28"))),
            "10.0.0.0/25 and 10.0.0.64/28 overlap",
        ),
    ],
)
def test_facts_that_cannot_be_are_refused(facts: SubnetFacts, said: str) -> None:
    """The thing, the fact, the remedy; past this check addresses are trusted."""
    with pytest.raises(WrongFacts) as refused:
        checked(facts)

    assert said in str(refused.value)


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(22, 28),
    steps=st.lists(st.tuples(st.sampled_from(("single", "block", "give")), st.integers(0, 2**16)), max_size=80),
)
def test_figures_are_those_of_the_vpc_model(length: int, steps: list[tuple[str, int]]) -> None:
    """W-48: whatever the model's own space hands out, both count the same free addresses and blocks."""
    space = Space(f"10.20.0.0/{length}")
    singles: list[int] = []
    blocks: list[int] = []
    for kind, where in steps:
        place = where.__mod__
        if kind == "single" and (found := space.singles(1, place)):
            space.take(found[0])
            singles += found
        elif kind == "block" and (found := space.blocks(1, place)):
            space.take_block(found[0])
            blocks += found
        elif kind == "give" and singles:
            space.give(singles.pop(where % len(singles)))

    enis = [eni(n, ip4_text(address)) for n, address in enumerate(singles)]
    holder = eni(-1, prefixes=tuple(f"{ip4_text(block)}/28" for block in blocks))
    occupation = Occupation(lot(f"10.20.0.0/{length}", *enis, holder))

    assert (occupation.free, occupation.free_blocks) == (space.free, space.free_blocks)
    assert sum(run.addresses for run in occupation.runs(space.size)) == space.free
    whole = [number for number, state in enumerate(occupation.states) if state is BlockState.FREE]
    assert all(space.is_free_block(ip4("10.20.0.0") + number * 16) for number in whole)
    assert Counter(occupation.states)[BlockState.PREFIX] == len(blocks)


def test_a_full_16_is_told_in_well_under_a_second() -> None:
    """65,531 single addresses on 1311 ENIs: building, figures, breakers of every block, map."""
    addresses = [ip4_text(ip4("10.0.0.0") + offset) for offset in range(4, 65_535)]
    enis = [eni(n, *addresses[n * 50 : n * 50 + 50]) for n in range(1311)]
    facts = lot("10.0.0.0/16", *enis)
    took = []
    for _ in range(3):
        began = time.process_time()
        seen = picture(facts, Asked())
        made = report(seen, Asked(), tuple(row.text for row in heatmap.rows(seen.occupation)))
        took.append(time.process_time() - began)

    assert (made.figures.free, made.figures.blocks_full, len(made.broken)) == (0, 4096, 4096)
    assert min(took) < 1.0, f"took {min(took):.2f} s of CPU"
