"""VPCs, subnets, their CIDRs, CIDR reservations, groups and tags."""

from __future__ import annotations

import pytest

from ipamd.ec2 import answers, requests
from ipamd.ec2.requests import Request
from ipamd.ec2.state import Vpc, VpcSettings
from ipamd.ec2.vpc import make_vpc
from tests.ec2.asking import asked, code, eni, items, message, seen
from tests.ec2.truth import check_truth
from tests.ec2.worlds import primary, subnet_of


def reserve(vpc: Vpc, cidr: str, kind: str = "prefix", subnet: str = "") -> answers.CidrReservation:
    request = requests.CreateSubnetCidrReservation(subnet or subnet_of(vpc), cidr, kind)
    return asked(vpc, request, answers.CidrReservation)


def prefixes(vpc: Vpc, count: int) -> tuple[str, ...]:
    request = requests.AssignPrivateIpAddresses(primary(vpc), prefix_count=count)
    return asked(vpc, request, answers.Granted).prefixes


def addresses(vpc: Vpc, count: int) -> tuple[str, ...]:
    request = requests.AssignPrivateIpAddresses(primary(vpc), address_count=count)
    return asked(vpc, request, answers.Granted).addresses


def broken(vpc: Vpc) -> None:
    """One address in each whole block of a /24: 237 free addresses, no free block."""
    for block in range(1, 15):
        asked(
            vpc,
            requests.AssignPrivateIpAddresses(primary(vpc), addresses=(f"10.0.0.{block * 16 + 8}",)),
            answers.Granted,
        )


# ---- VPCs and subnets ----------------------------------------------------------------------------------------


def test_a_cloud_may_hold_several_vpcs_with_several_cidrs() -> None:
    """Each VPC has its own CIDRs, default group and subnets; the same range may be in two VPCs."""
    vpc = make_vpc(subnet="10.0.0.0/24")
    other = asked(vpc, requests.CreateVpc("10.0.0.0/16", tags={"Name": "b"}), answers.Vpc)
    more = asked(vpc, requests.AssociateVpcCidrBlock(other.vpc, "100.64.0.0/16"), answers.CidrAssociated)
    subnet = asked(vpc, requests.CreateSubnet(other.vpc, "10.0.0.0/24", "us-west-2b"), answers.Subnet)
    far = asked(vpc, requests.CreateSubnet(other.vpc, "100.64.1.0/28"), answers.Subnet)

    assert (subnet.zone, subnet.free, far.zone, far.free) == ("us-west-2b", 251, "us-west-2a", 11)
    assert seen(vpc, eni(vpc, subnet.subnet)).security_groups == (other.default_group,)
    described = items(vpc, requests.DescribeVpcs(ids=(other.vpc,)), answers.Vpc)[0]
    assert [c.cidr for c in described.cidrs] == ["10.0.0.0/16", "100.64.0.0/16"]
    assert code(vpc, requests.DisassociateVpcCidrBlock(more.association)) == "OperationNotPermitted"
    asked(vpc, requests.DeleteSubnet(far.subnet), answers.Done)
    asked(vpc, requests.DisassociateVpcCidrBlock(more.association), answers.CidrAssociated)
    assert vpc.vpcs[other.vpc].cidrs == ("10.0.0.0/16",)


def test_what_holds_something_is_not_deleted() -> None:
    """DependencyViolation, until the last dependent is gone."""
    vpc = make_vpc(subnet="10.0.0.0/24")
    home = asked(vpc, requests.CreateVpc("10.9.0.0/16"), answers.Vpc)
    subnet = asked(vpc, requests.CreateSubnet(home.vpc, "10.9.1.0/24"), answers.Subnet).subnet
    name = eni(vpc, subnet)
    assert code(vpc, requests.DeleteVpc(home.vpc)) == "DependencyViolation"
    assert code(vpc, requests.DeleteSubnet(subnet)) == "DependencyViolation"
    for request in (
        requests.DeleteNetworkInterface(name), requests.DeleteSubnet(subnet), requests.DeleteVpc(home.vpc)
    ):  # fmt: skip
        asked(vpc, request, answers.Done)
    assert code(vpc, requests.DeleteVpc(home.vpc)) == "InvalidVpcID.NotFound"


@pytest.mark.parametrize(
    ("cidr", "expected"),
    [
        ("10.0.1.0/24", "InvalidSubnet.Conflict"),
        ("10.1.0.0/24", "InvalidSubnet.Range"),
        ("10.0.2.0/29", "InvalidSubnet.Range"),
        ("10.0.0.0/8", "InvalidSubnet.Range"),
        ("web", "InvalidParameterValue"),
        ("", "InvalidParameterValue"),
    ],
)
def test_a_subnet_that_does_not_fit_is_refused(cidr: str, expected: str) -> None:
    """Outside its VPC, over another subnet, too small, too large, or no CIDR at all."""
    vpc = make_vpc(subnet="10.0.1.0/24")
    assert code(vpc, requests.CreateSubnet(vpc.row.vpc, cidr)) == expected


def test_a_cidr_is_put_into_its_canonical_form() -> None:
    """EC2 takes 10.0.5.7/24 and makes 10.0.5.0/24 of it."""
    vpc = make_vpc(subnet="10.0.0.0/24")
    assert asked(vpc, requests.CreateSubnet(vpc.row.vpc, "10.0.5.7/24"), answers.Subnet).cidr == "10.0.5.0/24"


def test_names_can_come_from_elsewhere() -> None:
    """A door whose ids come from another place gives them; a second thing of the same id is refused."""
    vpc = make_vpc()
    home = asked(vpc, requests.CreateVpc("10.9.0.0/16", named="vpc-0abc"), answers.Vpc)
    subnet = asked(vpc, requests.CreateSubnet("vpc-0abc", "10.9.0.0/24", named="subnet-0abc"), answers.Subnet)
    made = asked(vpc, requests.CreateNetworkInterface("subnet-0abc", named="eni-0abc"), answers.NetworkInterface)
    assert (home.vpc, subnet.subnet, made.eni, made.vpc) == ("vpc-0abc", "subnet-0abc", "eni-0abc", "vpc-0abc")
    assert code(vpc, requests.CreateNetworkInterface("subnet-0abc", named="eni-0abc")) == "InvalidParameterValue"


# ---- reservations --------------------------------------------------------------------------------------------


def test_prefixes_come_from_their_reservation_first() -> None:
    """W-52, W-53, L-47, L-48: the reservation is used up first, and nothing names it in the call."""
    vpc = make_vpc(subnet="10.0.0.0/24", instance_type="m5.24xlarge")
    reserve(vpc, "10.0.0.192/27")
    assert prefixes(vpc, 3) == ("10.0.0.192/28", "10.0.0.208/28", "10.0.0.16/28")
    check_truth(vpc)


def test_nothing_else_is_put_into_a_prefix_reservation() -> None:
    """W-52: addresses stop at the reservation's edge although the subnet has free ones, named or not."""
    vpc = make_vpc(subnet="10.0.0.0/27", instance_type="m5.24xlarge")
    reserve(vpc, "10.0.0.16/28")
    assert len(addresses(vpc, 11)) == 11
    assert vpc.spaces[subnet_of(vpc)].free == 15
    assert code(vpc, requests.AssignPrivateIpAddresses(primary(vpc), address_count=1)) == (
        "InsufficientFreeAddressesInSubnet"
    )
    named = requests.AssignPrivateIpAddresses(primary(vpc), addresses=("10.0.0.20",))
    assert code(vpc, named) == "InvalidParameterValue"


def test_an_explicit_reservation_is_for_those_who_name_its_addresses() -> None:
    """Automatic assignment avoids it, addresses and blocks alike; a named address of it is given."""
    vpc = make_vpc(subnet="10.0.0.0/26", instance_type="m5.24xlarge")
    reserve(vpc, "10.0.0.16/28", "explicit")
    reserve(vpc, "10.0.0.40/30", "explicit")
    assert code(vpc, requests.AssignPrivateIpAddresses(primary(vpc), prefix_count=1)) == "InsufficientCidrBlocks"
    given = addresses(vpc, 11 + 12 + 15)
    assert not {f"10.0.0.{n}" for n in (*range(16, 32), *range(40, 44))} & set(given)
    named = requests.AssignPrivateIpAddresses(primary(vpc), addresses=("10.0.0.17", "10.0.0.41"))
    assert asked(vpc, named, answers.Granted).addresses == ("10.0.0.17", "10.0.0.41")
    check_truth(vpc)


def test_a_fragmented_subnet_gives_prefixes_from_its_reservation_alone() -> None:
    """W-40, W-41, W-53: 237 free addresses and no block; a reservation made in time has some."""
    vpc = make_vpc(subnet="10.0.0.0/24", instance_type="m5.24xlarge")
    scr = reserve(vpc, "10.0.0.240/28")
    broken(vpc)
    asks = requests.AssignPrivateIpAddresses(primary(vpc), prefix_count=1)
    assert code(vpc, asks) == "InsufficientCidrBlocks"  # its only block has the subnet's last address
    asked(vpc, requests.DeleteSubnetCidrReservation(scr.reservation), answers.CidrReservation)
    asked(vpc, requests.UnassignPrivateIpAddresses(primary(vpc), ("10.0.0.40",)), answers.Done)
    reserve(vpc, "10.0.0.32/28")
    assert prefixes(vpc, 1) == ("10.0.0.32/28",)
    assert message(vpc, asks) == (
        "There are not enough free cidr blocks in the specified subnet to satisfy the request."
    )


def test_a_reservation_leaves_what_is_in_use_and_its_end_frees_the_rest() -> None:
    """Made over addresses in use, it takes none away; deleted, only what is not in use is open again."""
    vpc = make_vpc(subnet="10.0.0.0/27", instance_type="m5.24xlarge")
    held = addresses(vpc, 2)
    scr = reserve(vpc, "10.0.0.0/28", "explicit")
    space = vpc.spaces[subnet_of(vpc)]
    assert (space.free, space.open) == (24, 15)
    assert addresses(vpc, 1) == ("10.0.0.16",)
    asked(vpc, requests.DeleteSubnetCidrReservation(scr.reservation), answers.CidrReservation)
    assert addresses(vpc, 1) == ("10.0.0.7",) and held == ("10.0.0.5", "10.0.0.6")
    check_truth(vpc)


@pytest.mark.parametrize(
    ("cidr", "kind", "expected"),
    [
        ("10.0.0.16/28", "prefix", "InvalidParameterValue"),
        ("10.0.0.20/32", "explicit", "InvalidParameterValue"),
        ("10.0.0.64/29", "prefix", "InvalidParameterValue"),
        ("10.0.1.0/28", "prefix", "InvalidParameterValue"),
        ("10.0.0.65/28", "prefix", "InvalidParameterValue"),
        ("2600:1f13::/80", "prefix", "InvalidParameterValue"),
        ("10.0.0.64/28", "both", "InvalidParameterValue"),
    ],
)
def test_a_reservation_that_cannot_be_is_refused(cidr: str, kind: str, expected: str) -> None:
    """Over another, smaller than a block, outside the subnet, not aligned, of no type."""
    vpc = make_vpc(subnet="10.0.0.0/24")
    reserve(vpc, "10.0.0.16/28")
    assert code(vpc, requests.CreateSubnetCidrReservation(subnet_of(vpc), cidr, kind)) == expected


def test_reservations_are_listed_with_their_subnet() -> None:
    """GetSubnetCidrReservations shows both families and can be asked for one type."""
    vpc = make_vpc(subnet="10.0.0.0/24")
    reserve(vpc, "10.0.0.16/28")
    reserve(vpc, "10.0.0.64/30", "explicit")
    both = items(vpc, requests.GetSubnetCidrReservations(subnet_of(vpc)), answers.CidrReservation)
    assert [r.cidr for r in both] == ["10.0.0.16/28", "10.0.0.64/30"]
    explicit = requests.GetSubnetCidrReservations(subnet_of(vpc), filters={"reservationType": ("explicit",)})
    assert [r.cidr for r in items(vpc, explicit, answers.CidrReservation)] == ["10.0.0.64/30"]


# ---- groups and tags -----------------------------------------------------------------------------------------


def test_security_groups_are_things_of_their_vpc() -> None:
    """Made, described, put on an ENI, kept while an ENI has them; the default group always stays."""
    vpc = make_vpc(VpcSettings(groups_exist=True))
    made = requests.CreateSecurityGroup("web", "for web", vpc.row.vpc)
    web = asked(vpc, made, answers.SecurityGroup)
    assert code(vpc, made) == "InvalidGroup.Duplicate"
    create = requests.CreateNetworkInterface(subnet_of(vpc), (web.group,))
    name = asked(vpc, create, answers.NetworkInterface).eni
    assert code(vpc, requests.DeleteSecurityGroup(web.group)) == "DependencyViolation"
    assert code(vpc, requests.DeleteSecurityGroup(vpc.row.default_group)) == "CannotDelete"
    assert code(vpc, requests.CreateNetworkInterface(subnet_of(vpc), ("sg-0123",))) == "InvalidGroup.NotFound"
    groups = items(vpc, requests.DescribeSecurityGroups(), answers.SecurityGroup)
    assert [g.name for g in groups] == ["default", "web"]
    asked(vpc, requests.DeleteNetworkInterface(name), answers.Done)
    asked(vpc, requests.DeleteSecurityGroup(web.group), answers.Done)


def test_a_group_of_another_vpc_is_refused() -> None:
    """An ENI takes groups of its own VPC alone, where groups are looked up at all."""
    vpc = make_vpc(VpcSettings(groups_exist=True))
    other = asked(vpc, requests.CreateVpc("10.9.0.0/16"), answers.Vpc)
    assert code(vpc, requests.CreateNetworkInterface(subnet_of(vpc), (other.default_group,))) == (
        "InvalidGroup.NotFound"
    )


def test_everything_with_an_id_carries_tags() -> None:
    """CreateTags and DeleteTags on each kind of thing; DescribeTags finds them by their kind."""
    vpc = make_vpc(subnet="10.0.0.0/24")
    scr = reserve(vpc, "10.0.0.16/28").reservation
    group = asked(vpc, requests.CreateSecurityGroup("a", "b", vpc.row.vpc), answers.SecurityGroup).group
    things = (vpc.row.vpc, subnet_of(vpc), scr, group, vpc.row.default_group, vpc.first_instance, primary(vpc))
    asked(vpc, requests.CreateTags(things, {"team": "net", "env": "lab"}), answers.Done)
    found = items(vpc, requests.DescribeTags(filters={"key": ("team",)}), answers.Tag)
    assert sorted(t.resource for t in found) == sorted(things)
    assert {t.kind for t in found} == {
        "vpc", "subnet", "subnet-cidr-reservation", "security-group", "instance", "network-interface"
    }  # fmt: skip
    asked(vpc, requests.DeleteTags(things, {"team": None, "env": "other"}), answers.Done)
    assert vpc.subnets[subnet_of(vpc)].tags == {"env": "lab"}
    asked(vpc, requests.DeleteTags((primary(vpc),)), answers.Done)
    assert seen(vpc, primary(vpc)).tags == {}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (requests.CreateTags(("eni-0123",), {"a": ""}), "InvalidNetworkInterfaceID.NotFound"),
        (requests.CreateTags(("subnet-0123",), {"a": ""}), "InvalidSubnetID.NotFound"),
        (requests.CreateTags(("web",), {"a": ""}), "InvalidID"),
        (requests.CreateTags((), {"a": ""}), "MissingParameter"),
        (requests.DeleteVpc("vpc-XYZ"), "InvalidVpcId.Malformed"),
        (requests.DeleteVpc(""), "MissingParameter"),
        (requests.TerminateInstances(("i-0123",)), "InvalidInstanceID.NotFound"),
        (requests.TerminateInstances(("i-zz",)), "InvalidInstanceID.Malformed"),
        (requests.DeleteSecurityGroup("sg-0123"), "InvalidGroup.NotFound"),
        (requests.DeleteSecurityGroup("web"), "InvalidGroupId.Malformed"),
        (requests.DeleteSubnetCidrReservation("scr-0123"), "InvalidSubnetCidrReservationID.NotFound"),
        (requests.DisassociateTrunkInterface("trunk-assoc-0123"), "InvalidAssociationID.NotFound"),
        (
            requests.DisassociateVpcCidrBlock("vpc-cidr-assoc-0123"),
            "InvalidVpcCidrBlockAssociationIdError.NotFound",
        ),
    ],
)
def test_what_does_not_exist_has_its_own_code(request_: Request, expected: str) -> None:
    """An id that is not there, one of no id's form, and none at all are three different errors."""
    assert code(make_vpc(), request_) == expected
