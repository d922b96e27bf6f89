"""Instances: launched and terminated by moto's API around the model's ENIs, and what stays moto's alone."""

from __future__ import annotations

from typing import Any

import pytest

from .served import Served, refused
from .test_addresses import Instances, Subnets, described, eni, free

IMAGE = "ami-12c6146b"


def instance_of(ec2: Any, name: str) -> dict[str, Any]:
    """The instance as it is described."""
    (reservation,) = ec2.describe_instances(InstanceIds=[name])["Reservations"]
    (found,) = reservation["Instances"]
    assert isinstance(found, dict)
    return found


@pytest.mark.spec("EC2-5")
def test_a_launched_instance_has_an_eni_of_the_model(ec2: Any, new_subnet: Subnets, new_instance: Instances) -> None:
    """Its own, with an address of the subnet, and DescribeInstances tells of it."""
    subnet = new_subnet(28)
    instance, primary = new_instance("m5.large", subnet)

    told = instance_of(ec2, instance)
    (nic,) = told["NetworkInterfaces"]

    assert told["State"]["Name"] == "running"
    assert told["InstanceType"] == "m5.large"
    assert told["PrivateIpAddress"] == nic["PrivateIpAddress"] == described(ec2, primary)["PrivateIpAddress"]
    assert (nic["NetworkInterfaceId"], nic["Attachment"]["DeviceIndex"]) == (primary, 0)
    assert nic["Attachment"]["DeleteOnTermination"] is True
    assert free(ec2, subnet) == 10


def test_enis_of_an_instance_are_told_with_their_prefixes(ec2: Any, new_instance: Instances) -> None:
    """Network card and device index of each; an attached ENI is there at once."""
    instance, primary = new_instance("m5.large")
    subnet = described(ec2, primary)["SubnetId"]
    second = eni(ec2, subnet, Ipv4PrefixCount=1)
    ec2.attach_network_interface(NetworkInterfaceId=second["NetworkInterfaceId"], InstanceId=instance, DeviceIndex=1)

    nics = instance_of(ec2, instance)["NetworkInterfaces"]

    assert [n["Attachment"]["DeviceIndex"] for n in nics] == [0, 1]
    assert [n["Attachment"]["NetworkCardIndex"] for n in nics] == [0, 0]
    assert nics[1]["Ipv4Prefixes"] == second["Ipv4Prefixes"]


def test_termination_ends_the_enis_that_go_with_the_instance(ec2: Any, new_subnet: Subnets) -> None:
    """The others become available; addresses are free again; the instance is shown as terminated."""
    subnet = new_subnet(24)
    made = ec2.run_instances(ImageId=IMAGE, InstanceType="m5.large", SubnetId=subnet, MinCount=1, MaxCount=1)
    instance = made["Instances"][0]["InstanceId"]
    stays = eni(ec2, subnet)["NetworkInterfaceId"]
    ec2.attach_network_interface(NetworkInterfaceId=stays, InstanceId=instance, DeviceIndex=1)

    told = ec2.terminate_instances(InstanceIds=[instance])["TerminatingInstances"][0]

    assert told["PreviousState"]["Name"] == "running"
    assert described(ec2, stays)["Status"] == "available"
    after = instance_of(ec2, instance)
    assert after["State"]["Name"] == "terminated"
    assert after.get("NetworkInterfaces", []) == []
    assert free(ec2, subnet) == 250


def test_as_many_instances_as_there_is_room_for(ec2: Any, new_subnet: Subnets) -> None:
    """MaxCount 20 in a /28 with 11 addresses gives 11; MinCount 20 gives none and says why."""
    subnet = new_subnet(28)
    asked = {"ImageId": IMAGE, "InstanceType": "t3.small", "SubnetId": subnet, "MaxCount": 20}

    code, _ = refused(ec2.run_instances, MinCount=20, **asked)
    made = ec2.run_instances(MinCount=2, **asked)["Instances"]

    assert code == "InsufficientFreeAddressesInSubnet"
    assert len({i["InstanceId"] for i in made}) == 11
    assert [i["AmiLaunchIndex"] for i in made] == list(range(11))
    assert free(ec2, subnet) == 0
    ec2.terminate_instances(InstanceIds=[i["InstanceId"] for i in made])
    assert free(ec2, subnet) == 11


def test_an_instance_begins_with_the_enis_that_are_asked_for(ec2: Any, new_subnet: Subnets) -> None:
    """An ENI that is there already, and a second one made with a prefix and tags."""
    subnet = new_subnet(24)
    ready = eni(ec2, subnet)["NetworkInterfaceId"]
    made = ec2.run_instances(
        ImageId=IMAGE,
        InstanceType="m5.large",
        MinCount=1,
        MaxCount=1,
        NetworkInterfaces=[
            {"DeviceIndex": 0, "NetworkInterfaceId": ready},
            {"DeviceIndex": 1, "SubnetId": subnet, "Ipv4PrefixCount": 1, "DeleteOnTermination": True},
        ],
        TagSpecifications=[
            {"ResourceType": "network-interface", "Tags": [{"Key": "of", "Value": "us"}]},
            {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "node"}]},
        ],
    )["Instances"][0]

    first, second = made["NetworkInterfaces"]

    assert first["NetworkInterfaceId"] == ready
    assert len(second["Ipv4Prefixes"]) == 1
    assert described(ec2, second["NetworkInterfaceId"])["TagSet"] == [{"Key": "of", "Value": "us"}]
    assert instance_of(ec2, made["InstanceId"])["Tags"] == [{"Key": "Name", "Value": "node"}]
    ec2.terminate_instances(InstanceIds=[made["InstanceId"]])


def test_a_client_token_launches_once(ec2: Any, new_subnet: Subnets) -> None:
    """SDKs send one with every RunInstances, and again when the reply was lost."""
    subnet = new_subnet(28)
    asked = {"ImageId": IMAGE, "InstanceType": "t3.small", "SubnetId": subnet, "MinCount": 1, "MaxCount": 1}

    first = ec2.run_instances(ClientToken="launch-once", **asked)
    again = ec2.run_instances(ClientToken="launch-once", **asked)

    assert again["ReservationId"] == first["ReservationId"]
    assert again["Instances"][0]["NetworkInterfaces"] == first["Instances"][0]["NetworkInterfaces"]
    assert free(ec2, subnet) == 10
    assert refused(ec2.describe_instances, NextToken="x")[0] == "InvalidPaginationToken"
    ec2.terminate_instances(InstanceIds=[first["Instances"][0]["InstanceId"]])


def test_an_unknown_type_is_refused_and_leaves_nothing(ec2: Any, new_subnet: Subnets) -> None:
    """No instance of moto's without ENIs, no ENI of the model without an instance."""
    subnet = new_subnet(28)

    code, _ = refused(ec2.run_instances, ImageId=IMAGE, InstanceType="m5.huge", SubnetId=subnet, MinCount=1, MaxCount=1)

    assert code.startswith("InvalidParameterValue") or code == "InvalidInstanceType"
    assert free(ec2, subnet) == 11


def test_without_a_subnet_the_default_vpc_is_used(ec2: Any) -> None:
    """moto's default VPC has the model behind it as well."""
    made = ec2.run_instances(ImageId=IMAGE, InstanceType="t3.small", MinCount=1, MaxCount=1)["Instances"][0]

    (default,) = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    assert made["VpcId"] == default["VpcId"]
    assert described(ec2, made["NetworkInterfaces"][0]["NetworkInterfaceId"])["VpcId"] == default["VpcId"]
    ec2.terminate_instances(InstanceIds=[made["InstanceId"]])


@pytest.mark.spec("EC2-27")
def test_types_and_their_limits_are_motos(ec2: Any) -> None:
    """With names and with filters."""
    (named,) = ec2.describe_instance_types(InstanceTypes=["m5.large"])["InstanceTypes"]
    found = ec2.describe_instance_types(Filters=[{"Name": "instance-type", "Values": ["m5.large", "t3.small"]}])

    assert named["NetworkInfo"]["MaximumNetworkInterfaces"] == 3
    assert named["NetworkInfo"]["Ipv4AddressesPerInterface"] == 10
    assert {t["InstanceType"] for t in found["InstanceTypes"]} == {"m5.large", "t3.small"}


def test_what_else_moto_knows_still_works(ec2: Any, door: Served, new_instance: Instances) -> None:
    """Volumes, stop and start, elastic IPs, NAT gateways, S3: moto's, on ENIs of the model."""
    instance, primary = new_instance("m5.large")
    subnet = described(ec2, primary)["SubnetId"]

    address = ec2.allocate_address(Domain="vpc")
    ec2.associate_address(AllocationId=address["AllocationId"], NetworkInterfaceId=primary)
    ec2.stop_instances(InstanceIds=[instance])
    ec2.start_instances(InstanceIds=[instance])
    gateway = ec2.create_nat_gateway(SubnetId=subnet, AllocationId=ec2.allocate_address()["AllocationId"])
    volumes = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [instance]}])["Volumes"]
    s3 = door.client("s3", region="us-east-1")
    s3.create_bucket(Bucket="bucket")

    assert described(ec2, primary)["Association"]["PublicIp"] == address["PublicIp"]
    assert len(volumes) == 1
    nat = gateway["NatGateway"]["NatGatewayAddresses"][0]
    assert described(ec2, nat["NetworkInterfaceId"])["PrivateIpAddress"] == nat["PrivateIp"]
    assert [b["Name"] for b in s3.list_buckets()["Buckets"]] == ["bucket"]
    assert ec2.describe_instance_status(InstanceIds=[instance])["InstanceStatuses"][0]["InstanceState"]["Code"] == 16


def test_subnets_and_vpcs_that_are_in_use_stay(ec2: Any, new_subnet: Subnets) -> None:
    """DependencyViolation while an ENI is in the subnet; then both can go."""
    vpc = ec2.create_vpc(CidrBlock="10.78.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.78.0.0/24")["Subnet"]["SubnetId"]
    name = eni(ec2, subnet)["NetworkInterfaceId"]

    held = refused(ec2.delete_subnet, SubnetId=subnet)[0], refused(ec2.delete_vpc, VpcId=vpc)[0]
    ec2.delete_network_interface(NetworkInterfaceId=name)
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(VpcId=vpc)

    assert held == ("DependencyViolation", "DependencyViolation")
    assert refused(ec2.describe_subnets, SubnetIds=[subnet])[0] == "InvalidSubnetID.NotFound"


def test_a_second_cidr_of_the_vpc(ec2: Any) -> None:
    """Subnets in it can be made, EC2 and metadata tell of it, and it goes when nothing is in it."""
    vpc = ec2.create_vpc(CidrBlock="10.79.0.0/16")["Vpc"]["VpcId"]
    made = ec2.associate_vpc_cidr_block(VpcId=vpc, CidrBlock="100.64.0.0/16")["CidrBlockAssociation"]

    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="100.64.0.0/24")["Subnet"]["SubnetId"]

    assert eni(ec2, subnet)["PrivateIpAddress"].startswith("100.64.0.")
    cidrs = ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["CidrBlockAssociationSet"]
    assert [c["CidrBlock"] for c in cidrs] == ["10.79.0.0/16", "100.64.0.0/16"]
    assert made["CidrBlockState"]["State"] in ("associating", "associated")
