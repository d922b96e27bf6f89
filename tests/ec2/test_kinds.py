"""ENIs of every kind, on network cards; launches and terminations; addresses by name; IPv6."""

from __future__ import annotations

import pytest

from ipamd.core.calls import MetadataView, ReadMetadata
from ipamd.ec2 import answers, requests
from ipamd.ec2.requests import LaunchInterface
from ipamd.ec2.state import Vpc, VpcSettings
from ipamd.ec2.vpc import add_subnet, look, make_vpc
from tests.ec2.asking import asked, code, eni, items, message, seen
from tests.ec2.truth import check_truth
from tests.ec2.worlds import primary, subnet_of

Assign = requests.AssignPrivateIpAddresses


def with_ipv6(instance_type: str = "m5.large") -> Vpc:
    """A cloud whose first subnet has an IPv6 CIDR."""
    vpc = make_vpc(subnet="10.0.0.0/24", instance_type=instance_type)
    asked(vpc, requests.AssociateVpcCidrBlock(vpc.row.vpc, ipv6=True), answers.CidrAssociated)
    cidr = vpc.row.ipv6_cidr.replace("00::/56", "05::/64")
    asked(vpc, requests.AssociateSubnetCidrBlock(subnet_of(vpc), cidr), answers.CidrAssociated)
    return vpc


# ---- kinds and cards -----------------------------------------------------------------------------------------


@pytest.mark.spec("WIN-136", "LIM-9")
def test_a_trunk_wants_a_type_that_carries_one_and_is_alone() -> None:
    """One trunk an instance, on compatible types."""
    vpc = make_vpc(instance_type="m5.large")
    one, two = eni(vpc, kind="trunk"), eni(vpc, kind="trunk")
    asked(vpc, requests.AttachNetworkInterface(one, vpc.first_instance, 1), answers.Attached)
    assert code(vpc, requests.AttachNetworkInterface(two, vpc.first_instance, 2)) == "AttachmentLimitExceeded"
    small = make_vpc(instance_type="t3.small")
    trunk = eni(small, kind="trunk")
    assert code(small, requests.AttachNetworkInterface(trunk, small.first_instance, 1)) == "UnsupportedOperation"


@pytest.mark.spec("WIN-140")
def test_branches_are_told_apart_by_vlan() -> None:
    """Associated, described with their trunk and VLAN, and free again when they leave it."""
    vpc = make_vpc()
    trunk, one, two = eni(vpc, kind="trunk"), eni(vpc), eni(vpc, kind="branch")
    first = asked(vpc, requests.AssociateTrunkInterface(one, trunk, 1), answers.TrunkAssociation)
    assert code(vpc, requests.AssociateTrunkInterface(two, trunk, 1)) == "InvalidParameterValue"
    assert code(vpc, requests.AssociateTrunkInterface(two, trunk, 4095)) == "InvalidParameterValue"
    asked(vpc, requests.AssociateTrunkInterface(two, trunk, 2), answers.TrunkAssociation)
    assert (seen(vpc, one).status, seen(vpc, one).interface_type) == ("associated", "branch")
    mine = requests.DescribeTrunkInterfaceAssociations(filters={"trunk-interface-id": (trunk,)})
    assert [(a.branch, a.vlan) for a in items(vpc, mine, answers.TrunkAssociation)] == [(one, 1), (two, 2)]
    assert code(vpc, requests.AttachNetworkInterface(one, vpc.first_instance, 1)) == "InvalidNetworkInterface.InUse"
    asked(vpc, requests.DisassociateTrunkInterface(first.association), answers.Done)
    assert seen(vpc, one).status == "available"
    asked(vpc, requests.DeleteNetworkInterface(trunk), answers.Done)
    assert seen(vpc, two).status == "available" and not vpc.associations
    check_truth(vpc)


def test_what_is_no_trunk_has_no_branches() -> None:
    """Neither may be of another kind; an attached ENI is no branch, and a branch has one trunk."""
    vpc = make_vpc()
    trunk, plain, efa = eni(vpc, kind="trunk"), eni(vpc), eni(vpc, kind="efa")
    assert code(vpc, requests.AssociateTrunkInterface(plain, efa, 1)) == "InvalidParameterValue"
    assert code(vpc, requests.AssociateTrunkInterface(efa, trunk, 1)) == "InvalidParameterValue"
    assert code(vpc, requests.AssociateTrunkInterface(primary(vpc), trunk, 1)) == "InvalidParameterValue"
    asked(vpc, requests.AssociateTrunkInterface(plain, trunk, 1), answers.TrunkAssociation)
    assert code(vpc, requests.AssociateTrunkInterface(plain, trunk, 2)) == "InvalidParameterValue"
    assert code(vpc, requests.AssociateTrunkInterface("eni-0123", trunk, 2)) == "InvalidNetworkInterfaceID.NotFound"


def test_an_association_is_made_once_for_a_token() -> None:
    """The same token answers the same; with another VLAN it is refused."""
    vpc = make_vpc()
    trunk, branch = eni(vpc, kind="trunk"), eni(vpc)
    request = requests.AssociateTrunkInterface(branch, trunk, 1, "t-1")
    assert asked(vpc, request, answers.TrunkAssociation) == asked(vpc, request, answers.TrunkAssociation)
    assert code(vpc, requests.AssociateTrunkInterface(branch, trunk, 2, "t-1")) == "IdempotentParameterMismatch"


@pytest.mark.spec("LIM-2")
def test_each_network_card_has_its_own_limit_and_devices() -> None:
    """p4d.24xlarge carries 15 ENIs on each of four cards; the same device may be on two cards."""
    vpc = make_vpc(instance_type="p4d.24xlarge", subnet="10.0.0.0/22")
    limits = vpc.instances[vpc.first_instance].limits.card_limits
    assert len(limits) == 4
    for card, most in enumerate(limits):
        for device in range(1 if card == 0 else 0, most):
            asked(vpc, requests.AttachNetworkInterface(eni(vpc), vpc.first_instance, device, card), answers.Attached)
        extra = requests.AttachNetworkInterface(eni(vpc), vpc.first_instance, 50, card)
        assert code(vpc, extra) == "AttachmentLimitExceeded"
    assert message(vpc, requests.AttachNetworkInterface(eni(vpc), vpc.first_instance, 51)) == (
        f"Interface count {limits[0] + 1} exceeds the limit for p4d.24xlarge"
    )
    assert code(vpc, requests.AttachNetworkInterface(eni(vpc), vpc.first_instance, 1, 4)) == "InvalidParameterValue"
    check_truth(vpc)


def test_efas_come_with_the_launch_one_a_card() -> None:
    """EFA and EFA-only ENIs are not attached to a running instance; an EFA-only one has no address."""
    vpc = make_vpc(subnet="10.0.0.0/24")
    subnet = subnet_of(vpc)
    launch = requests.RunInstances(
        "p4d.24xlarge",
        interfaces=(
            LaunchInterface(subnet=subnet, interface_type="efa"),
            LaunchInterface(device=1, card=1, subnet=subnet, interface_type="efa-only"),
        ),
    )
    made = asked(vpc, launch, answers.Launched).instances[0]
    kinds = [(e.interface_type, e.card, len(e.addresses)) for e in made.interfaces]
    assert kinds == [("efa", 0, 1), ("efa-only", 1, 0)]
    view = look(vpc, ReadMetadata(), 0, made.instance)
    assert isinstance(view, MetadataView) and [len(e.addresses) for e in view.enis] == [1, 0]
    assert code(vpc, requests.AttachNetworkInterface(eni(vpc, kind="efa"), made.instance, 5, 2)) == (
        "IncorrectInstanceState"
    )
    assert code(vpc, Assign(made.interfaces[1].eni, address_count=1)) == "UnsupportedOperation"
    two = requests.RunInstances(
        "p4d.24xlarge",
        interfaces=(
            LaunchInterface(subnet=subnet, interface_type="efa"),
            LaunchInterface(device=1, subnet=subnet, interface_type="efa"),
        ),
    )
    assert code(vpc, two) == "AttachmentLimitExceeded"
    lonely = requests.RunInstances(
        "p4d.24xlarge", interfaces=(LaunchInterface(subnet=subnet, interface_type="efa-only"),)
    )
    assert code(vpc, lonely) == "InvalidParameterValue"
    check_truth(vpc)


# ---- launching and terminating -------------------------------------------------------------------------------


def test_termination_takes_what_was_to_go_with_it() -> None:
    """delete-on-termination decides for each ENI; the instance is shown as terminated for an hour."""
    vpc = make_vpc(subnet="10.0.0.0/24")
    made = asked(
        vpc,
        requests.RunInstances(
            "m5.large",
            interfaces=(
                LaunchInterface(subnet=subnet_of(vpc), prefix_count=2),
                LaunchInterface(device=1, subnet=subnet_of(vpc), delete_on_termination=False, address_count=3),
            ),
        ),
        answers.Launched,
    ).instances[0]
    gone, stays = (e.eni for e in made.interfaces)
    ended = asked(vpc, requests.TerminateInstances((made.instance,)), answers.Terminated, 1)
    assert ended.instances == ((made.instance, "running"),)
    assert gone not in vpc.enis and seen(vpc, stays).status == "available"
    found = items(vpc, requests.DescribeInstances(ids=(made.instance,)), answers.Instance, 1)
    assert [(i.state, i.interfaces) for i in found] == [("terminated", ())]
    again = asked(vpc, requests.TerminateInstances((made.instance,)), answers.Terminated, 2)
    assert again.instances == ((made.instance, "terminated"),)
    late = requests.DescribeInstances(ids=(made.instance,))
    assert code(vpc, late, 3601 * 10**9) == "InvalidInstanceID.NotFound"
    check_truth(vpc)


def test_a_trunk_that_goes_with_its_instance_leaves_its_branches_available() -> None:
    """The associations end with the trunk."""
    vpc = make_vpc()
    made = asked(
        vpc,
        requests.RunInstances(
            "m5.large",
            interfaces=(
                LaunchInterface(subnet=subnet_of(vpc)),
                LaunchInterface(device=1, subnet=subnet_of(vpc), interface_type="trunk"),
            ),
        ),
        answers.Launched,
    ).instances[0]
    branch = eni(vpc)
    asked(vpc, requests.AssociateTrunkInterface(branch, made.interfaces[1].eni, 7), answers.TrunkAssociation)
    asked(vpc, requests.TerminateInstances((made.instance,)), answers.Terminated)
    assert seen(vpc, branch).status == "available" and not vpc.associations


def test_as_many_instances_are_launched_as_there_is_room_for() -> None:
    """Between min and max count EC2 grants a part; below min it launches none."""
    vpc = make_vpc(subnet="10.0.0.0/28")
    made = asked(vpc, requests.RunInstances("m5.large", subnet_of(vpc), min_count=2, max_count=50), answers.Launched)
    assert len(made.instances) == 10 and len({i.primary for i in made.instances}) == 10
    assert vpc.spaces[subnet_of(vpc)].free == 0
    more = requests.RunInstances("m5.large", subnet_of(vpc), min_count=1, max_count=2)
    assert code(vpc, more) == "InsufficientFreeAddressesInSubnet"
    check_truth(vpc)


def test_a_launch_takes_an_eni_that_exists() -> None:
    """As device 0 or beside it; it may be used once."""
    vpc = make_vpc(subnet="10.0.0.0/24")
    name = eni(vpc, address_count=2)
    launch = requests.RunInstances("m5.large", interfaces=(LaunchInterface(eni=name, delete_on_termination=False),))
    made = asked(vpc, launch, answers.Launched).instances[0]
    assert made.interfaces[0].eni == name and made.primary == seen(vpc, name).addresses[0]
    assert code(vpc, launch) == "InvalidNetworkInterface.InUse"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"instance_type": "m5.lage"}, "InvalidParameterValue"),
        ({"subnet": ""}, "MissingParameter"),
        ({"subnet": "subnet-0123"}, "InvalidSubnetID.NotFound"),
        ({"min_count": 0}, "InvalidParameterValue"),
        ({"min_count": 3, "max_count": 2}, "InvalidParameterValue"),
        ({"primary": "10.9.9.9"}, "InvalidParameterValue"),
        ({"primary": "10.0.0.4"}, "InvalidIPAddress.InUse"),
        ({"interfaces": (LaunchInterface(device=1),), "subnet": ""}, "MissingParameter"),
        ({"interfaces": (LaunchInterface(),)}, "InvalidParameterCombination"),
    ],
)
def test_a_launch_that_cannot_be_is_refused(fields: dict[str, object], expected: str) -> None:
    """Each with EC2's code, and nothing is taken from the subnet."""
    vpc = make_vpc(subnet="10.0.0.0/24")
    request = requests.RunInstances(**({"instance_type": "m5.large", "subnet": subnet_of(vpc)} | fields))  # type: ignore[arg-type]
    free = vpc.spaces[subnet_of(vpc)].free
    assert code(vpc, request) == expected
    assert vpc.spaces[subnet_of(vpc)].free == free


def test_a_launch_is_made_once_for_a_token() -> None:
    """The same token answers with the same instances."""
    vpc = make_vpc()
    request = requests.RunInstances("m5.large", subnet_of(vpc), token="t-1")
    assert asked(vpc, request, answers.Launched) == asked(vpc, request, answers.Launched)
    assert len(vpc.instances) == 2


# ---- addresses by name ---------------------------------------------------------------------------------------


def test_named_addresses_and_prefixes_are_given_as_asked() -> None:
    """CreateNetworkInterface and AssignPrivateIpAddresses take names as well as counts."""
    vpc = make_vpc(subnet="10.0.0.0/24")
    made = asked(
        vpc,
        requests.CreateNetworkInterface(subnet_of(vpc), primary="10.0.0.77", prefixes=("10.0.0.32/28",)),
        answers.NetworkInterface,
    )
    assert (made.addresses, made.prefixes) == (("10.0.0.77",), ("10.0.0.32/28",))
    named = asked(vpc, Assign(made.eni, addresses=("10.0.0.99", "10.0.0.88")), answers.Granted)
    assert named.addresses == ("10.0.0.99", "10.0.0.88")
    assert asked(vpc, Assign(made.eni, prefixes=("10.0.0.48/28",)), answers.Granted).prefixes == ("10.0.0.48/28",)
    counted = asked(
        vpc, requests.CreateNetworkInterface(subnet_of(vpc), addresses=("10.0.0.5",)), answers.NetworkInterface
    )
    assert counted.addresses == ("10.0.0.6", "10.0.0.5")
    check_truth(vpc)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"addresses": ("10.0.0.4",)}, "InvalidIPAddress.InUse"),
        ({"addresses": ("10.0.0.9", "10.0.0.9")}, "InvalidParameterValue"),
        ({"addresses": ("10.0.1.9",)}, "InvalidParameterValue"),
        ({"addresses": ("10.0.0.2",)}, "InvalidParameterValue"),
        ({"addresses": ("10.0.0.255",)}, "InvalidParameterValue"),
        ({"addresses": ("web",)}, "InvalidParameterValue"),
        ({"addresses": ("10.0.0.9",), "address_count": 1}, "InvalidParameterCombination"),
        ({"addresses": ("10.0.0.9",), "prefix_count": 1}, "InvalidParameterCombination"),
        ({"prefixes": ("10.0.0.0/28",)}, "InvalidIPAddress.InUse"),
        ({"prefixes": ("10.0.0.24/28",)}, "InvalidParameterValue"),
        ({"prefixes": ("10.0.0.32/27",)}, "InvalidParameterValue"),
        ({"prefixes": ("10.0.1.0/28",)}, "InvalidParameterValue"),
        ({"prefix_count": -1}, "InvalidParameterValue"),
        ({}, "MissingParameter"),
    ],
)
def test_names_that_cannot_be_given_are_refused(fields: dict[str, object], expected: str) -> None:
    """In use, EC2's own, outside, twice, not aligned, or several kinds at once."""
    vpc = make_vpc(subnet="10.0.0.0/24")
    assert code(vpc, Assign(primary(vpc), **fields)) == expected  # type: ignore[arg-type]


def test_an_address_moves_where_reassignment_is_allowed() -> None:
    """A secondary address leaves the ENI that had it; a primary one never does."""
    vpc = make_vpc(subnet="10.0.0.0/24")
    one, two = eni(vpc, address_count=1), eni(vpc)
    primary_address, moving = seen(vpc, one).addresses
    assert code(vpc, Assign(two, addresses=(moving,))) == "InvalidIPAddress.InUse"
    asked(vpc, Assign(two, addresses=(moving, "10.0.0.200"), allow_reassignment=True), answers.Granted)
    assert seen(vpc, two).addresses[1:] == (moving, "10.0.0.200") and len(seen(vpc, one).addresses) == 1
    assert code(vpc, Assign(two, addresses=(primary_address,), allow_reassignment=True)) == "InvalidIPAddress.InUse"
    check_truth(vpc)


def test_the_other_word_for_a_shortage_is_a_setting() -> None:
    """EC2 is seen to say InvalidParameterValue too; the third refusal, of a fragmented subnet, stays apart."""
    vpc = make_vpc(VpcSettings(shortage="InvalidParameterValue"), subnet="10.0.0.0/28")
    asks = Assign(primary(vpc), address_count=12)
    vpc2 = make_vpc(VpcSettings(shortage="InvalidParameterValue"), subnet="10.0.0.0/28", instance_type="m5.24xlarge")
    assert code(vpc, asks) == "PrivateIpAddressLimitExceeded"
    assert message(vpc2, Assign(primary(vpc2), address_count=12)) == (
        "There aren't sufficient free Ipv4 addresses or prefixes"
    )
    wide = make_vpc(subnet="10.0.0.0/27", instance_type="m5.24xlarge")
    asked(wide, Assign(primary(wide), addresses=("10.0.0.20",)), answers.Granted)
    assert code(wide, Assign(primary(wide), prefix_count=1)) == "InsufficientCidrBlocks"


# ---- IPv6 ----------------------------------------------------------------------------------------------------


@pytest.mark.spec("EC2-26")
def test_ipv6_addresses_and_prefixes_have_a_space_of_their_own() -> None:
    """Addresses from ::4 on, /80 blocks that hold none of them; IPv4 counts stay as they are."""
    vpc = with_ipv6()
    base = vpc.subnets[subnet_of(vpc)].ipv6_cidr.removesuffix("::/64")
    free = vpc.spaces[subnet_of(vpc)].free
    single = asked(vpc, requests.AssignIpv6Addresses(primary(vpc), address_count=2), answers.Granted)
    assert single.addresses == (f"{base}::4", f"{base}::5")
    block = asked(vpc, requests.AssignIpv6Addresses(primary(vpc), prefix_count=1), answers.Granted)
    assert block.prefixes == (f"{base}:1::/80",)
    assert vpc.spaces[subnet_of(vpc)].free == free
    taken = requests.AssignIpv6Addresses(primary(vpc), addresses=(f"{base}:1::9",))
    assert code(vpc, taken) == "InvalidIPAddress.InUse"
    gone = requests.UnassignIpv6Addresses(primary(vpc), prefixes=block.prefixes)
    assert asked(vpc, gone, answers.Granted).prefixes == block.prefixes
    asked(vpc, taken, answers.Granted)
    check_truth(vpc)


def test_ipv6_reservations_are_kept_in_the_same_way() -> None:
    """Prefixes come from theirs first, addresses from none."""
    vpc = with_ipv6()
    base = vpc.subnets[subnet_of(vpc)].ipv6_cidr.removesuffix("::/64")
    for cidr, kind in ((f"{base}:9::/80", "prefix"), (f"{base}::/100", "explicit")):
        request = requests.CreateSubnetCidrReservation(subnet_of(vpc), cidr, kind)
        assert asked(vpc, request, answers.CidrReservation).ipv6
    given = requests.AssignIpv6Addresses(primary(vpc), prefix_count=2)
    assert asked(vpc, given, answers.Granted).prefixes == (f"{base}:9::/80", f"{base}:1::/80")
    single = requests.AssignIpv6Addresses(primary(vpc), address_count=1)
    assert asked(vpc, single, answers.Granted).addresses == (f"{base}::1000:0",)


def test_without_an_ipv6_cidr_there_are_no_ipv6_addresses() -> None:
    """A subnet without one refuses; one that is in use cannot be taken away."""
    bare = make_vpc()
    assert code(bare, requests.AssignIpv6Addresses(primary(bare), address_count=1)) == "InvalidParameterValue"
    vpc = with_ipv6()
    made = requests.CreateNetworkInterface(subnet_of(vpc), ipv6_prefix_count=1)
    name = asked(vpc, made, answers.NetworkInterface).eni
    subnet = items(vpc, requests.DescribeSubnets(), answers.Subnet)[0]
    away = requests.DisassociateSubnetCidrBlock(subnet.ipv6_cidrs[0].association)
    assert code(vpc, away) == "OperationNotPermitted"
    asked(vpc, requests.DeleteNetworkInterface(name), answers.Done)
    asked(vpc, away, answers.CidrAssociated)
    assert subnet_of(vpc) not in vpc.spaces6


def test_spread_placement_reaches_the_whole_ipv6_subnet() -> None:
    """Two seeds give two addresses, and the same seed the same."""

    def given(seed: int) -> tuple[str, ...]:
        vpc = make_vpc(VpcSettings(seed, "spread"), subnet="10.0.0.0/24")
        asked(vpc, requests.AssociateVpcCidrBlock(vpc.row.vpc, ipv6=True), answers.CidrAssociated)
        cidr = vpc.row.ipv6_cidr.replace("00::/56", "05::/64")
        asked(vpc, requests.AssociateSubnetCidrBlock(subnet_of(vpc), cidr), answers.CidrAssociated)
        both = requests.AssignIpv6Addresses(primary(vpc), address_count=3)
        return asked(vpc, both, answers.Granted).addresses

    assert given(1) == given(1) != given(2)
    assert len(set(given(3))) == 3


def test_an_eni_is_in_the_zone_of_its_instance() -> None:
    """A subnet of another zone has ENIs that cannot be attached here."""
    vpc = make_vpc(subnet="10.0.0.0/24")
    other = add_subnet(vpc, "10.0.1.0/24", "us-west-2b", now=0).subnet
    request = requests.AttachNetworkInterface(eni(vpc, other), vpc.first_instance, 1)
    assert code(vpc, request) == "InvalidParameterCombination"
