"""Addresses and prefixes: what stock moto 5.2.5 gets wrong, and EC2's refusals."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from .served import refused

Subnets = Callable[[int], str]
Instances = Callable[..., tuple[str, str]]


def eni(ec2: Any, subnet: str, **parameters: Any) -> dict[str, Any]:
    """A new ENI, as CreateNetworkInterface tells it."""
    made: dict[str, Any] = ec2.create_network_interface(SubnetId=subnet, **parameters)["NetworkInterface"]
    return made


def described(ec2: Any, name: str) -> dict[str, Any]:
    """The ENI as it is described."""
    (found,) = ec2.describe_network_interfaces(NetworkInterfaceIds=[name])["NetworkInterfaces"]
    assert isinstance(found, dict)
    return found


def subnet_of(ec2: Any, name: str) -> dict[str, Any]:
    """The subnet as it is described."""
    (found,) = ec2.describe_subnets(SubnetIds=[name])["Subnets"]
    assert isinstance(found, dict)
    return found


def free(ec2: Any, name: str) -> int:
    """AvailableIpAddressCount."""
    count: int = subnet_of(ec2, name)["AvailableIpAddressCount"]
    return count


def addresses(eni: dict[str, Any]) -> list[str]:
    """Primary first."""
    return [a["PrivateIpAddress"] for a in eni["PrivateIpAddresses"]]


def prefixes(eni: dict[str, Any]) -> list[str]:
    """IPv4 prefixes."""
    return [p["Ipv4Prefix"] for p in eni.get("Ipv4Prefixes", [])]


def test_a_prefix_count_gives_prefixes_and_nothing_else(ec2: Any, new_subnet: Subnets) -> None:
    """Ipv4PrefixCount of Create and Assign gives aligned /28 blocks: described, and counted as 16 addresses each."""
    subnet = new_subnet(24)
    made = eni(ec2, subnet, Ipv4PrefixCount=2)
    name = made["NetworkInterfaceId"]

    given = ec2.assign_private_ip_addresses(NetworkInterfaceId=name, Ipv4PrefixCount=1)

    (new,) = [p["Ipv4Prefix"] for p in given["AssignedIpv4Prefixes"]]
    held = prefixes(described(ec2, name))
    assert held == [*prefixes(made), new]
    assert len({IPv4Network(p) for p in held}) == 3
    assert all(IPv4Network(p).prefixlen == 28 for p in held)
    assert given.get("AssignedPrivateIpAddresses", []) == []
    assert addresses(described(ec2, name)) == [made["PrivateIpAddress"]]
    assert free(ec2, subnet) == 256 - 5 - 1 - 48


@pytest.mark.spec("EC2-20")
def test_assign_tells_only_what_is_new(ec2: Any, new_subnet: Subnets) -> None:
    """Two asked for, two told; stock moto tells every address of the ENI."""
    made = eni(ec2, new_subnet(24), SecondaryPrivateIpAddressCount=1)

    given = ec2.assign_private_ip_addresses(
        NetworkInterfaceId=made["NetworkInterfaceId"], SecondaryPrivateIpAddressCount=2
    )

    new = [a["PrivateIpAddress"] for a in given["AssignedPrivateIpAddresses"]]
    assert len(new) == 2
    assert addresses(described(ec2, made["NetworkInterfaceId"])) == [*addresses(made), *new]


def test_a_subnet_gives_each_of_its_addresses_once_and_then_refuses(ec2: Any, new_subnet: Subnets) -> None:
    """A /28 has 11: not the first four, not the last, none twice; the count ends at 0, the refusal comes at once."""
    subnet = new_subnet(28)
    network = IPv4Network(subnet_of(ec2, subnet)["CidrBlock"])
    given = []
    for left in range(11, 0, -1):
        assert free(ec2, subnet) == left
        given += addresses(eni(ec2, subnet))

    code, message = refused(ec2.create_network_interface, SubnetId=subnet)

    assert sorted(map(IPv4Address, given)) == list(network)[4:-1]
    assert free(ec2, subnet) == 0
    assert code == "InsufficientFreeAddressesInSubnet"
    assert message == "The specified subnet does not have enough free addresses to satisfy the request."


def test_more_than_a_small_subnet_has_is_refused_and_changes_nothing(ec2: Any, new_subnet: Subnets) -> None:
    """Stock moto looks for a free address for ever: 20 are asked of a /28."""
    subnet = new_subnet(28)
    name = eni(ec2, subnet)["NetworkInterfaceId"]
    before = free(ec2, subnet)

    code, _ = refused(ec2.assign_private_ip_addresses, NetworkInterfaceId=name, SecondaryPrivateIpAddressCount=20)

    assert code == "InsufficientFreeAddressesInSubnet"
    assert free(ec2, subnet) == before == 10


def test_a_fragmented_subnet_has_addresses_and_no_block(ec2: Any, new_subnet: Subnets) -> None:
    """One address in each block is enough; EC2's words are L-45's."""
    subnet = new_subnet(26)
    base = IPv4Network(subnet_of(ec2, subnet)["CidrBlock"])
    name = eni(ec2, subnet, PrivateIpAddress=str(base[20]))["NetworkInterfaceId"]
    ec2.assign_private_ip_addresses(NetworkInterfaceId=name, PrivateIpAddresses=[str(base[36])])

    code, message = refused(ec2.assign_private_ip_addresses, NetworkInterfaceId=name, Ipv4PrefixCount=1)

    assert free(ec2, subnet) == 57
    assert code == "InsufficientCidrBlocks"
    assert message.startswith("There are not enough free cidr blocks in the specified subnet")


def test_addresses_and_prefixes_may_be_named(ec2: Any, new_subnet: Subnets) -> None:
    """In Create and in Assign; what somebody has, what is not in the subnet, and what is reserved is refused."""
    subnet = new_subnet(24)
    base = IPv4Network(subnet_of(ec2, subnet)["CidrBlock"])
    listed = [{"PrivateIpAddress": str(base[n]), "Primary": n == 50} for n in (51, 50)]
    name = eni(ec2, subnet, PrivateIpAddresses=listed)["NetworkInterfaceId"]
    block = eni(ec2, subnet, Ipv4Prefixes=[{"Ipv4Prefix": f"{base[64]}/28"}])

    ec2.assign_private_ip_addresses(NetworkInterfaceId=name, PrivateIpAddresses=[str(base[52])])
    ec2.assign_private_ip_addresses(NetworkInterfaceId=name, Ipv4Prefixes=[f"{base[96]}/28"])

    held = described(ec2, name)
    assert addresses(held) == [str(base[n]) for n in (50, 51, 52)]
    assert prefixes(held) == [f"{base[96]}/28"]
    assert prefixes(block) == [f"{base[64]}/28"]
    other = eni(ec2, subnet)["NetworkInterfaceId"]
    for wrong in (str(base[50]), str(base[70]), str(base[2]), str(base[255]), "192.0.2.1"):
        code, _ = refused(ec2.assign_private_ip_addresses, NetworkInterfaceId=other, PrivateIpAddresses=[wrong])
        assert code.startswith("InvalidParameterValue") or code == "InvalidIPAddress.InUse", wrong
    for wrong in (f"{base[64]}/28", f"{base[200]}/28", f"{base[48]}/28", "192.0.2.0/28"):
        code, _ = refused(ec2.assign_private_ip_addresses, NetworkInterfaceId=other, Ipv4Prefixes=[wrong])
        assert code.startswith("Invalid"), wrong
    assert addresses(described(ec2, other)) == addresses(described(ec2, other))[:1]


@pytest.mark.spec("EC2-21")
def test_what_is_unassigned_is_free_again(ec2: Any, new_subnet: Subnets) -> None:
    """Addresses and prefixes; what the ENI does not have is refused, stock moto takes anything."""
    subnet = new_subnet(24)
    made = eni(ec2, subnet, Ipv4PrefixCount=1)
    name, held = made["NetworkInterfaceId"], prefixes(made)
    given = ec2.assign_private_ip_addresses(NetworkInterfaceId=name, SecondaryPrivateIpAddressCount=2)
    two = [a["PrivateIpAddress"] for a in given["AssignedPrivateIpAddresses"]]

    ec2.unassign_private_ip_addresses(NetworkInterfaceId=name, PrivateIpAddresses=two)
    ec2.unassign_private_ip_addresses(NetworkInterfaceId=name, Ipv4Prefixes=held)

    assert free(ec2, subnet) == 250
    code, _ = refused(ec2.unassign_private_ip_addresses, NetworkInterfaceId=name, PrivateIpAddresses=two)
    assert code == "InvalidParameterValue"
    code, _ = refused(
        ec2.unassign_private_ip_addresses, NetworkInterfaceId=name, PrivateIpAddresses=[made["PrivateIpAddress"]]
    )
    assert code == "InvalidParameterValue"


@pytest.mark.spec("LIM-1")
@pytest.mark.parametrize("parameter", ["SecondaryPrivateIpAddressCount", "Ipv4PrefixCount"])
def test_an_eni_carries_what_its_instance_type_allows(ec2: Any, new_instance: Instances, parameter: str) -> None:
    """An m5.large's ENI has 10 slots, the primary address takes one."""
    _, primary = new_instance("m5.large")
    ec2.assign_private_ip_addresses(NetworkInterfaceId=primary, **{parameter: 9})

    code, _ = refused(ec2.assign_private_ip_addresses, NetworkInterfaceId=primary, **{parameter: 1})

    assert code == "PrivateIpAddressLimitExceeded"


@pytest.mark.spec("INIT-14")
def test_a_type_without_prefixes_refuses_them(ec2: Any, new_instance: Instances) -> None:
    """Xen carries none."""
    _, primary = new_instance("m4.large")

    code, _ = refused(ec2.assign_private_ip_addresses, NetworkInterfaceId=primary, Ipv4PrefixCount=1)

    assert code in ("UnsupportedOperation", "InvalidParameterCombination")


def test_a_reservation_is_where_prefixes_come_from_and_nothing_else(ec2: Any, new_subnet: Subnets) -> None:
    """Blocks come from the range first, single addresses never; stock moto stores it without effect."""
    subnet = new_subnet(24)
    base = IPv4Network(subnet_of(ec2, subnet)["CidrBlock"])
    kept = f"{base[128]}/27"
    made = ec2.create_subnet_cidr_reservation(
        SubnetId=subnet, Cidr=kept, ReservationType="prefix", Description="for pods"
    )["SubnetCidrReservation"]

    blocks = prefixes(eni(ec2, subnet, Ipv4PrefixCount=2))
    rest = eni(ec2, subnet, Ipv4PrefixCount=1)
    singles = addresses(eni(ec2, subnet, SecondaryPrivateIpAddressCount=12))

    reserved = IPv4Network(kept)
    assert all(IPv4Network(b).subnet_of(reserved) for b in blocks)
    assert not IPv4Network(prefixes(rest)[0]).subnet_of(reserved)
    assert not any(IPv4Address(a) in reserved for a in singles)
    listed = ec2.get_subnet_cidr_reservations(SubnetId=subnet)
    assert [r["SubnetCidrReservationId"] for r in listed["SubnetIpv4CidrReservations"]] == [
        made["SubnetCidrReservationId"]
    ]
    assert made["Description"] == "for pods"
    assert listed["SubnetIpv6CidrReservations"] == []


def test_reservations_that_cannot_be_are_refused_and_a_deleted_one_is_gone(ec2: Any, new_subnet: Subnets) -> None:
    """Overlap, outside the subnet, another type, an unknown id."""
    subnet = new_subnet(24)
    base = IPv4Network(subnet_of(ec2, subnet)["CidrBlock"])
    good = {"SubnetId": subnet, "Cidr": f"{base[128]}/27", "ReservationType": "explicit"}
    name = ec2.create_subnet_cidr_reservation(**good)["SubnetCidrReservation"]["SubnetCidrReservationId"]

    codes = [
        refused(ec2.create_subnet_cidr_reservation, **(good | wrong))[0]
        for wrong in ({}, {"Cidr": "192.0.2.0/28"}, {"Cidr": "x"}, {"Cidr": f"{base[0]}/28", "ReservationType": "odd"})
    ]
    gone = ec2.delete_subnet_cidr_reservation(SubnetCidrReservationId=name)["DeletedSubnetCidrReservation"]

    assert all(code.startswith("Invalid") for code in codes), codes
    assert gone["Cidr"] == good["Cidr"]
    assert ec2.get_subnet_cidr_reservations(SubnetId=subnet)["SubnetIpv4CidrReservations"] == []
    assert refused(ec2.delete_subnet_cidr_reservation, SubnetCidrReservationId=name)[0].endswith("NotFound")


@pytest.mark.spec("EC2-26")
def test_ipv6_addresses_and_prefixes_come_from_the_subnets_block(ec2: Any) -> None:
    """A VPC with a /56, a subnet with a /64, /80 prefixes; what was unassigned is told."""
    vpc = ec2.create_vpc(CidrBlock="10.77.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]
    block = ec2.describe_vpcs(VpcIds=[vpc["VpcId"]])["Vpcs"][0]["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"]
    subnet = ec2.create_subnet(VpcId=vpc["VpcId"], CidrBlock="10.77.0.0/24", Ipv6CidrBlock=block.replace("/56", "/64"))[
        "Subnet"
    ]["SubnetId"]
    name = eni(ec2, subnet)["NetworkInterfaceId"]

    (prefix,) = ec2.assign_ipv6_addresses(NetworkInterfaceId=name, Ipv6PrefixCount=1)["AssignedIpv6Prefixes"]
    (address,) = ec2.assign_ipv6_addresses(NetworkInterfaceId=name, Ipv6AddressCount=1)["AssignedIpv6Addresses"]

    held = described(ec2, name)
    assert prefix.endswith("/80")
    assert held["Ipv6Prefixes"] == [{"Ipv6Prefix": prefix}]
    assert [a["Ipv6Address"] for a in held["Ipv6Addresses"]] == [address]
    taken = ec2.unassign_ipv6_addresses(NetworkInterfaceId=name, Ipv6Prefixes=[prefix])
    assert taken["UnassignedIpv6Prefixes"] == [prefix]
    association = subnet_of(ec2, subnet)["Ipv6CidrBlockAssociationSet"][0]["AssociationId"]
    assert refused(ec2.disassociate_subnet_cidr_block, AssociationId=association)[0] != ""
    ec2.unassign_ipv6_addresses(NetworkInterfaceId=name, Ipv6Addresses=[address])
    ec2.disassociate_subnet_cidr_block(AssociationId=association)
    assert refused(ec2.assign_ipv6_addresses, NetworkInterfaceId=name, Ipv6PrefixCount=1)[0].startswith("Invalid")
    code, _ = refused(ec2.assign_ipv6_addresses, NetworkInterfaceId=described_anywhere(ec2), Ipv6PrefixCount=1)
    assert code.startswith("Invalid")


def described_anywhere(ec2: Any) -> str:
    """An ENI of a subnet without IPv6: the first instance's."""
    found = ec2.describe_network_interfaces(Filters=[{"Name": "attachment.device-index", "Values": ["0"]}])
    name: str = found["NetworkInterfaces"][0]["NetworkInterfaceId"]
    return name
