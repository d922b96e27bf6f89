"""What all requests share: listings page by page, filters, dry runs, throttling, stale reads, the log."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipamd.core.calls import (
    AssignPrivateIpAddresses,
    DescribeNetworkInterfaces,
    DescribeSubnets,
    EnisView,
    Failed,
    Lost,
    ReadMetadata,
    SubnetsView,
)
from ipamd.core.types import SECOND
from ipamd.ec2 import answers, requests
from ipamd.ec2.embedded import CloudOptions, EmbeddedCloud
from ipamd.ec2.fault_script import faults_of
from ipamd.ec2.port import Ec2Error
from ipamd.ec2.requests import Request
from ipamd.ec2.state import Vpc, VpcSettings
from ipamd.ec2.throttle import PROFILES, Bucket, Throttle
from ipamd.ec2.vpc import add_subnet, apply, look, make_vpc, serve
from tests.ec2.asking import asked, code, eni, items, seen
from tests.ec2.clouds import SMALL, Clock, abandon, log_of, reopened
from tests.ec2.truth import check_truth
from tests.ec2.worlds import creation, primary, subnet_of

Listing = requests.DescribeNetworkInterfaces
Assign = requests.AssignPrivateIpAddresses
OLD_LOG = Path(__file__).with_name("first_format.jsonl")
"""A cloud with one creation and its token, written before requests other than ipamd's own were answered."""


# ---- listings ------------------------------------------------------------------------------------------------


@pytest.mark.spec("EC2-42")
def test_a_listing_comes_page_by_page() -> None:
    """Every ENI once, in pages of MaxResults, though one goes and one comes between two of them."""
    vpc = make_vpc()
    there = sorted([eni(vpc) for _ in range(22)] + [primary(vpc)])
    met: list[str] = []
    page = asked(vpc, Listing(max_results=5), answers.Page)
    pages = 1
    met += [e.eni for e in page.items if isinstance(e, answers.NetworkInterface)]
    asked(vpc, requests.DeleteNetworkInterface(next(e for e in met if e != primary(vpc))), answers.Done)
    asked(vpc, requests.DeleteNetworkInterface(gone := there[-1]), answers.Done)
    while page.next_token:
        page = asked(vpc, Listing(max_results=5, next_token=page.next_token), answers.Page)
        met += [e.eni for e in page.items if isinstance(e, answers.NetworkInterface)]
        pages += 1

    assert met == [e for e in there if e != gone] and pages == 5


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (Listing(max_results=4), "InvalidParameterValue"),
        (Listing(max_results=1001), "InvalidParameterValue"),
        (Listing(max_results=-1), "InvalidParameterValue"),
        (Listing(next_token="bm8="), "InvalidPaginationToken"),
        (Listing(next_token="\N{SNOWMAN}"), "InvalidPaginationToken"),
        (Listing(filters={"colour": ("red",)}), "InvalidParameterValue"),
        (Listing(filters={"status": ("x",) * 201}), "InvalidParameterValue"),
        (Listing(ids=("eni-0123",)), "InvalidNetworkInterfaceID.NotFound"),
        (requests.DescribeInstanceTypes(names=("m5.lage",)), "InvalidInstanceType"),
        (requests.DescribeInstanceTypes(max_results=101), "InvalidParameterValue"),
        (requests.GetSubnetCidrReservations("subnet-0123"), "InvalidSubnetID.NotFound"),
    ],
)
def test_a_listing_that_cannot_be_is_refused(request_: Request, expected: str) -> None:
    """Bounds of MaxResults, tokens, filters and ids."""
    assert code(make_vpc(), request_) == expected


def test_a_token_fits_its_own_question_alone() -> None:
    """With other filters it is refused; ids and pages do not go together."""
    vpc = make_vpc()
    made = [eni(vpc) for _ in range(8)]
    token = asked(vpc, Listing(max_results=5), answers.Page).next_token
    other = Listing(filters={"status": ("available",)}, max_results=5, next_token=token)
    assert code(vpc, other) == "InvalidPaginationToken"
    assert code(vpc, Listing(ids=(made[0],), max_results=5)) == "InvalidParameterCombination"


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({}, 4),
        ({"status": ("available",)}, 3),
        ({"status": ("available", "in-use")}, 4),
        ({"status": ("available",), "interface-type": ("trunk",)}, 1),
        ({"tag:team": ("net",)}, 1),
        ({"tag:team": ("n?t", "x*")}, 1),
        ({"tag-key": ("te*",)}, 1),
        ({"tag-key": (r"te\*",)}, 0),
        ({"attachment.device-index": ("0",)}, 1),
        ({"addresses.private-ip-address": ("10.0.0.7",)}, 1),
        ({"private-ip-address": ("10.0.0.7",)}, 0),
        ({"group-id": ("sg-*",)}, 4),
        ({"description": ("",)}, 4),
    ],
)
def test_filters_leave_what_passes_all_of_them(filters: dict[str, tuple[str, ...]], count: int) -> None:
    """One value of each name is enough; `*` and `?` are wild unless escaped."""
    vpc = make_vpc(subnet="10.0.0.0/24")
    tagged = eni(vpc)
    asked(vpc, requests.CreateTags((tagged,), {"team": "net"}), answers.Done)
    eni(vpc, address_count=2)
    eni(vpc, kind="trunk")
    assert len(items(vpc, Listing(filters=filters), answers.NetworkInterface)) == count


@pytest.mark.spec("LIM-1", "LIM-2", "LIM-9")
def test_instance_types_tell_what_they_carry() -> None:
    """ENIs, addresses, cards, hypervisor, by name, by filter and page by page."""
    vpc = make_vpc()
    m5, p4d = items(vpc, requests.DescribeInstanceTypes(names=("m5.large", "p4d.24xlarge")), answers.InstanceType)
    assert (m5.enis, m5.ipv4_per_eni, m5.ipv6_per_eni, m5.cards) == (3, 10, 10, (3,))
    assert len(p4d.cards) == 4 and m5.hypervisor == "nitro" and m5.trunking_compatible
    metal = items(vpc, requests.DescribeInstanceTypes(filters={"bare-metal": ("true",)}), answers.InstanceType)
    assert metal and all(t.bare_metal for t in metal)
    count, token = 0, ""
    while True:
        page = asked(vpc, requests.DescribeInstanceTypes(max_results=100, next_token=token), answers.Page)
        count, token = count + len(page.items), page.next_token
        if not token:
            break
    assert count == 1391


# ---- dry runs and permissions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (requests.CreateVpc("10.9.0.0/16", dry_run=True), "DryRunOperation"),
        (Listing(dry_run=True), "DryRunOperation"),
        (requests.DeleteNetworkInterface("eni-0123", dry_run=True), "DryRunOperation"),
        (requests.DeleteNetworkInterface("", dry_run=True), "MissingParameter"),
        (requests.AttachNetworkInterface("eni-0123", "i-0123", 1, dry_run=True), "UnauthorizedOperation"),
        (requests.AttachNetworkInterface("eni-0123", "i-0123", 1), "UnauthorizedOperation"),
    ],
)
def test_a_dry_run_tells_whether_it_would_be_permitted(request_: Request, expected: str) -> None:
    """Always a refusal, never an effect; a request that cannot be right is refused as it would be otherwise."""
    assert code(make_vpc(VpcSettings(denied=("ec2:Attach*",))), request_) == expected


def test_ipamds_own_calls_and_looks_need_permission_too() -> None:
    """A denied action is UnauthorizedOperation at every door; instance metadata needs none."""
    vpc = make_vpc(VpcSettings(denied=("Assign*", "Describe*")))
    outcome = apply(vpc, AssignPrivateIpAddresses(primary(vpc), 1), 0)
    assert outcome == Failed("UnauthorizedOperation", "You are not authorized to perform this operation.")
    seen_ = look(vpc, DescribeNetworkInterfaces(()), 0)
    assert isinstance(seen_, Failed) and seen_.code == "UnauthorizedOperation"
    assert not isinstance(look(vpc, ReadMetadata(), 0), Failed)


# ---- throttling ----------------------------------------------------------------------------------------------


def test_an_account_shares_its_buckets_and_another_has_its_own() -> None:
    """By account, region and action: one caller can starve another of the same account and region alone."""
    bucket = {"DescribeVpcs": Bucket(2, 1)}
    shared = Throttle(bucket)
    one, two = (Vpc(VpcSettings(account="1"), shared, "us-west-2") for _ in range(2))
    other, far = Vpc(VpcSettings(account="2"), shared, "us-west-2"), Vpc(VpcSettings(account="1"), shared, "eu-west-1")
    for vpc in (one, two):
        asked(vpc, requests.DescribeVpcs(), answers.Page)
    assert code(one, requests.DescribeVpcs()) == code(two, requests.DescribeVpcs()) == "RequestLimitExceeded"
    asked(one, requests.DescribeSubnets(), answers.Page)
    for vpc in (other, far):
        asked(vpc, requests.DescribeVpcs(), answers.Page)
    asked(one, requests.DescribeVpcs(), answers.Page, SECOND)


def test_the_realistic_profile_has_a_bucket_for_each_action() -> None:
    """Reads have the widest; a burst of 300 creations meets the limit and a second later some go through."""
    vpc = make_vpc(VpcSettings(buckets=dict(PROFILES["realistic"])))
    heard = [serve(vpc, requests.DeleteNetworkInterface("eni-0123"), 0).answer for _ in range(300)]
    limited = [a for a in heard if isinstance(a, Failed) and a.code == "RequestLimitExceeded"]
    assert 0 < len(limited) < 300
    assert code(vpc, requests.DeleteNetworkInterface("eni-0123"), SECOND) == "InvalidNetworkInterfaceID.NotFound"
    assert PROFILES["none"] == {}


# ---- stale reads ---------------------------------------------------------------------------------------------


def test_descriptions_may_be_old_while_metadata_is_not() -> None:
    """Eventual consistency: reads differ in age up to the setting; calls meet the truth; it ends by itself."""
    vpc = make_vpc(VpcSettings(stale=10 * SECOND), subnet="10.0.0.0/24")
    asked(vpc, Assign(primary(vpc), address_count=3), answers.Granted, 100 * SECOND)
    ages = [len(seen(vpc, primary(vpc), 105 * SECOND).addresses) for _ in range(40)]
    assert set(ages) == {1, 4}
    counts = {items(vpc, requests.DescribeSubnets(), answers.Subnet, 105 * SECOND)[0].free for _ in range(40)}
    assert counts == {247, 250}
    view = look(vpc, ReadMetadata(), 105 * SECOND)
    assert not isinstance(view, Failed | Lost) and len(getattr(view, "enis")[0].addresses) == 4  # noqa: B009
    assert {len(seen(vpc, primary(vpc), 110 * SECOND).addresses) for _ in range(40)} == {4}


def test_what_was_just_made_may_not_be_found_and_what_is_gone_may_still_be() -> None:
    """InvalidNetworkInterfaceID.NotFound right after the creation, for calls' sake never twice the same ENI."""
    vpc = make_vpc(VpcSettings(stale=10 * SECOND))
    made = asked(vpc, requests.CreateNetworkInterface(subnet_of(vpc)), answers.NetworkInterface, 50 * SECOND).eni
    told = [serve(vpc, Listing(ids=(made,)), 55 * SECOND).answer for _ in range(40)]
    assert {isinstance(a, Failed) for a in told} == {True, False}
    asked(vpc, requests.DeleteNetworkInterface(made), answers.Done, 70 * SECOND)
    told = [serve(vpc, Listing(ids=(made,)), 75 * SECOND).answer for _ in range(40)]
    assert {isinstance(a, Failed) for a in told} == {True, False}
    views = [look(vpc, DescribeNetworkInterfaces(()), 75 * SECOND) for _ in range(40)]
    assert {len(v.enis) for v in views if isinstance(v, EnisView)} == {1, 2}
    check_truth(vpc)


def test_stale_reads_are_the_same_in_every_run() -> None:
    """The age of the n-th read is a function of the seed."""

    def ages(seed: int) -> list[int]:
        vpc = make_vpc(VpcSettings(seed, stale=10 * SECOND))
        asked(vpc, Assign(primary(vpc), address_count=1), answers.Granted, 100 * SECOND)
        return [len(seen(vpc, primary(vpc), 104 * SECOND).addresses) for _ in range(30)]

    assert ages(1) == ages(1) != ages(2)


# ---- the embedded cloud --------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_embedded_cloud_answers_any_request_and_keeps_it(tmp_path: Path) -> None:
    """Reservations, launches and what was done twice are on disk when they are answered."""
    cloud = EmbeddedCloud.open(tmp_path, SMALL, clock=Clock())
    subnet = subnet_of(cloud.vpc)
    await cloud.serve(requests.CreateSubnetCidrReservation(subnet, "10.0.0.64/27", "prefix"))
    cloud.vpc.faults.add(faults_of([{"action": "RunInstances", "do": "do it twice"}]))
    launched = await cloud.serve(requests.RunInstances("t3.small", subnet))
    assert isinstance(launched, answers.Launched) and len(cloud.vpc.instances) == 3
    with pytest.raises(Ec2Error, match="InvalidVpcID"):
        await cloud.serve(requests.DeleteVpc("vpc-0123"))
    abandon(cloud)
    again = reopened(tmp_path)
    assert again.vpc.rows() == cloud.vpc.rows() and again.vpc.serial == cloud.vpc.serial
    assert again.vpc.spaces[subnet].kept.count == 2
    check_truth(again.vpc)
    await again.close()


@pytest.mark.asyncio
async def test_a_log_of_before_there_were_other_requests_still_opens(tmp_path: Path) -> None:
    """Rows without VPC, tokens in their old form: the cloud goes on, and a repeated token answers as it did."""
    path = log_of(tmp_path)
    path.parent.mkdir()
    path.write_bytes(OLD_LOG.read_bytes())
    cloud = EmbeddedCloud.open(tmp_path, CloudOptions(), clock=Clock())
    subnet = subnet_of(cloud.vpc)
    made = await cloud.call(creation(cloud.vpc, token="t-1", secondary_ips=1))
    assert cloud.vpc.subnets[subnet].vpc == cloud.vpc.row.vpc and len(cloud.vpc.enis) == 2
    assert getattr(made, "addresses", ()) == ("10.0.0.6",)
    check_truth(cloud.vpc)
    await cloud.close()


@pytest.mark.spec("POOL-43")
def test_each_vpc_in_the_same_zone_has_its_own_subnets_to_show() -> None:
    """DescribeSubnets of ipamd is about the instance's VPC."""
    vpc = make_vpc(subnet="10.0.0.0/24")
    add_subnet(vpc, "10.0.1.0/24", now=0)
    other = asked(vpc, requests.CreateVpc("10.0.0.0/16"), answers.Vpc).vpc
    asked(vpc, requests.CreateSubnet(other, "10.0.1.0/24"), answers.Subnet)
    view = look(vpc, DescribeSubnets(), 0)
    assert isinstance(view, SubnetsView) and len(view.subnets) == 2
