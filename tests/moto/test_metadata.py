"""Instance metadata over HTTP, versions 1 and 2: all paths that ipamd reads (EC2-35..37), of every instance."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .served import MACS, Served
from .test_addresses import Instances, Subnets, described, eni

TTL = "X_aws_ec2_metadata_token_ttl_seconds"


def shown(door: Served, path: str, instance: str = "") -> str:
    """The text at a path below meta-data, which must be there."""
    status, text = door.metadata(f"{instance}/latest/meta-data/{path}" if instance else f"latest/meta-data/{path}")
    assert status == 200, path
    return text


@pytest.mark.spec("EC2-36")
def test_every_path_that_ipamd_reads(door: Served, ec2: Any) -> None:
    """Of the first instance, without naming it; lists are lines; an absent list is 404."""
    eni = described(ec2, door.line["eni_id"])
    mac = eni["MacAddress"]

    assert shown(door, "instance-id") == door.line["instance_id"]
    assert shown(door, "instance-type") == "m5.large"
    assert shown(door, "placement/availability-zone") == "us-west-2a"
    assert shown(door, "placement/region") == "us-west-2"
    assert shown(door, "local-ipv4") == eni["PrivateIpAddress"]
    assert shown(door, "mac") == mac
    assert shown(door, "network/interfaces/macs/").splitlines() == [f"{mac}/"]
    here = f"network/interfaces/macs/{mac}/"
    assert {name: shown(door, here + name) for name in shown(door, here).splitlines()} == {
        "device-number": "0",
        "interface-id": door.line["eni_id"],
        "local-hostname": eni["PrivateDnsName"],
        "local-ipv4s": eni["PrivateIpAddress"],
        "mac": mac,
        "network-card": "0",
        "owner-id": eni["OwnerId"],
        "security-group-ids": eni["Groups"][0]["GroupId"],
        "subnet-id": door.line["subnet_id"],
        "subnet-ipv4-cidr-block": "10.0.0.0/24",
        "vpc-id": door.line["vpc_id"],
        "vpc-ipv4-cidr-block": "10.0.0.0/16",
        "vpc-ipv4-cidr-blocks": "10.0.0.0/16",
    }
    for absent in ("ipv4-prefix", "ipv6-prefix", "ipv6s", "subnet-ipv6-cidr-blocks", "vpc-ipv6-cidr-blocks"):
        assert door.metadata(MACS + f"{mac}/{absent}")[0] == 404
    assert door.metadata("latest/meta-data/ipv6")[0] == 404


def test_the_identity_document_and_the_roles_keys(door: Served) -> None:
    """What SDKs ask for their region and their credentials."""
    document = json.loads(door.metadata("latest/dynamic/instance-identity/document")[1])
    role = shown(door, "iam/security-credentials/")
    keys = json.loads(shown(door, f"iam/security-credentials/{role}"))

    assert document["instanceId"] == door.line["instance_id"]
    assert (document["region"], document["instanceType"]) == ("us-west-2", "m5.large")
    assert keys["Code"] == "Success" and keys["AccessKeyId"] and keys["Expiration"].endswith("Z")


def test_version_2_gives_a_token_that_opens(door: Served) -> None:
    """PUT with a life of 1 to 21600 seconds; a wrong token is 401 although none would do."""
    status, token = door.metadata("latest/api/token", "PUT", **{TTL: "60"})

    assert status == 200
    assert door.metadata("latest/meta-data/mac", X_aws_ec2_metadata_token=token)[0] == 200
    for wrong in ("x", token[:-4], token.swapcase(), "é".encode().decode("latin-1")):
        assert door.metadata("latest/meta-data/mac", X_aws_ec2_metadata_token=wrong)[0] == 401
    for ttl in ({}, {TTL: "0"}, {TTL: "21601"}, {TTL: "-1"}, {TTL: "x"}):
        assert door.metadata("latest/api/token", "PUT", **ttl)[0] == 400
    assert door.metadata("latest/api/token", "PUT", **{TTL: "60", "X_Forwarded_For": "192.0.2.1"})[0] == 403
    assert door.metadata("latest/api/token")[0] == 405
    assert door.metadata("latest/meta-data/mac", "POST")[0] == 405


@pytest.mark.parametrize(
    "path",
    ["latest/meta-data/no-such", "latest/user-data", "nonsense", "latest/meta-data/mac/below",
     "i-0123/latest/meta-data/", "latest/meta-data/../meta-data/mac", "latest/meta-data/%00"],
)  # fmt: skip
def test_what_is_not_there_is_404(door: Served, path: str) -> None:
    """Unknown names, paths below a text, an instance that is not there."""
    assert door.metadata(path)[0] == 404


def test_another_instance_has_metadata_of_its_own(door: Served, new_instance: Instances, ec2: Any) -> None:
    """By path or by header; a token of one instance does not open another's; it ends with the instance."""
    instance, primary = new_instance("c5.xlarge")

    assert shown(door, "instance-type", instance) == "c5.xlarge"
    by_header = door.metadata("latest/meta-data/local-ipv4", X_Ipamd_Instance=instance)
    assert by_header == (200, described(ec2, primary)["PrivateIpAddress"])
    _, token = door.metadata("latest/api/token", "PUT", **{TTL: "60"})
    assert door.metadata(f"{instance}/latest/meta-data/mac", X_aws_ec2_metadata_token=token)[0] == 401
    _, own = door.metadata(f"{instance}/latest/api/token", "PUT", **{TTL: "60"})
    assert door.metadata(f"{instance}/latest/meta-data/mac", X_aws_ec2_metadata_token=own)[0] == 200


def test_metadata_options_are_kept(door: Served, new_instance: Instances, ec2: Any) -> None:
    """Tokens required: version 1 is 401. Switched off: 403."""
    instance, _ = new_instance()
    path = f"{instance}/latest/meta-data/mac"

    ec2.modify_instance_metadata_options(InstanceId=instance, HttpTokens="required", HttpEndpoint="enabled")
    without = door.metadata(path)[0]
    _, token = door.metadata(f"{instance}/latest/api/token", "PUT", **{TTL: "60"})
    opened = door.metadata(path, X_aws_ec2_metadata_token=token)[0]
    ec2.modify_instance_metadata_options(InstanceId=instance, HttpTokens="required", HttpEndpoint="disabled")

    assert (without, opened, door.metadata(path)[0]) == (401, 200, 403)


def test_prefixes_and_secondary_addresses_appear(door: Served, new_instance: Instances, ec2: Any) -> None:
    """At once, since no lag is asked for; the second ENI has its device number."""
    instance, primary = new_instance("m5.large")
    subnet = described(ec2, primary)["SubnetId"]
    second = eni(ec2, subnet, Ipv4PrefixCount=2, SecondaryPrivateIpAddressCount=0)
    ec2.attach_network_interface(NetworkInterfaceId=second["NetworkInterfaceId"], InstanceId=instance, DeviceIndex=1)
    given = ec2.assign_private_ip_addresses(NetworkInterfaceId=primary, SecondaryPrivateIpAddressCount=1)
    mac = second["MacAddress"]

    assert f"{mac}/" in shown(door, "network/interfaces/macs/", instance).splitlines()
    here = f"network/interfaces/macs/{mac}/"
    assert shown(door, here + "device-number", instance) == "1"
    assert shown(door, here + "ipv4-prefix", instance).split() == [p["Ipv4Prefix"] for p in second["Ipv4Prefixes"]]
    own = described(ec2, primary)["MacAddress"]
    assert shown(door, f"network/interfaces/macs/{own}/local-ipv4s", instance).split() == [
        described(ec2, primary)["PrivateIpAddress"],
        given["AssignedPrivateIpAddresses"][0]["PrivateIpAddress"],
    ]


def test_a_terminated_instance_has_no_metadata(door: Served, new_subnet: Subnets, ec2: Any) -> None:
    """There is nobody left to ask."""
    made = ec2.run_instances(
        ImageId="ami-12c6146b", InstanceType="t3.small", SubnetId=new_subnet(28), MinCount=1, MaxCount=1
    )["Instances"][0]["InstanceId"]
    there = door.metadata(f"{made}/latest/meta-data/instance-id")[0]

    ec2.terminate_instances(InstanceIds=[made])

    assert (there, door.metadata(f"{made}/latest/meta-data/instance-id")[0]) == (200, 404)
