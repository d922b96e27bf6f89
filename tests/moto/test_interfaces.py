"""ENIs over the wire: their life, filters, pages, tags, dry runs, client tokens, trunks."""

from __future__ import annotations

from typing import Any

import pytest

from .served import Served, refused
from .test_addresses import Instances, Subnets, described, eni, free

TAG = [{"Key": "node.k8s.amazonaws.com/instance_id", "Value": "i-1"}, {"Key": "empty", "Value": ""}]


def names(found: dict[str, Any]) -> list[str]:
    """Ids of described ENIs."""
    return [e["NetworkInterfaceId"] for e in found["NetworkInterfaces"]]


@pytest.mark.spec("EC2-1", "EC2-7", "EC2-9", "EC2-22", "EC2-24")
def test_the_life_of_an_eni(ec2: Any, new_instance: Instances) -> None:
    """Create, attach, delete on termination, detach, delete."""
    instance, primary = new_instance("m5.large")
    subnet = described(ec2, primary)["SubnetId"]
    made = eni(ec2, subnet, Description="aws-K8S-i-1")
    name = made["NetworkInterfaceId"]

    attached = ec2.attach_network_interface(NetworkInterfaceId=name, InstanceId=instance, DeviceIndex=1)
    attachment = attached["AttachmentId"]
    ec2.modify_network_interface_attribute(
        NetworkInterfaceId=name, Attachment={"AttachmentId": attachment, "DeleteOnTermination": True}
    )
    held = described(ec2, name)

    assert made["Status"] == "available" and made["Description"] == "aws-K8S-i-1"
    assert held["Status"] == "in-use"
    assert held["Attachment"] | {"AttachTime": None} == {
        "AttachTime": None,
        "AttachmentId": attachment,
        "DeleteOnTermination": True,
        "DeviceIndex": 1,
        "InstanceId": instance,
        "InstanceOwnerId": held["OwnerId"],
        "NetworkCardIndex": 0,
        "Status": "attached",
    }
    assert refused(ec2.delete_network_interface, NetworkInterfaceId=name)[0] == "InvalidParameterValue"
    ec2.detach_network_interface(AttachmentId=attachment)
    assert refused(ec2.detach_network_interface, AttachmentId=attachment)[0] == "InvalidAttachmentID.NotFound"
    before = free(ec2, subnet)
    ec2.delete_network_interface(NetworkInterfaceId=name)
    code, message = refused(ec2.describe_network_interfaces, NetworkInterfaceIds=[name])
    assert code == "InvalidNetworkInterfaceID.NotFound"
    assert f"'{name}'" in message
    assert free(ec2, subnet) == before + 1


def test_an_instance_carries_as_many_enis_as_its_type_and_each_device_once(ec2: Any, new_instance: Instances) -> None:
    """AttachmentLimitExceeded, and no second device 1; the primary ENI stays."""
    instance, primary = new_instance("m5.large")
    subnet = described(ec2, primary)["SubnetId"]
    first, second, third = (eni(ec2, subnet)["NetworkInterfaceId"] for _ in range(3))
    ec2.attach_network_interface(NetworkInterfaceId=first, InstanceId=instance, DeviceIndex=1)

    same = refused(ec2.attach_network_interface, NetworkInterfaceId=second, InstanceId=instance, DeviceIndex=1)
    ec2.attach_network_interface(NetworkInterfaceId=second, InstanceId=instance, DeviceIndex=2)
    more = refused(ec2.attach_network_interface, NetworkInterfaceId=third, InstanceId=instance, DeviceIndex=3)
    stays = refused(ec2.detach_network_interface, AttachmentId=described(ec2, primary)["Attachment"]["AttachmentId"])

    assert (same[0], more[0], stays[0]) == (
        "InvalidParameterValue",
        "AttachmentLimitExceeded",
        "OperationNotPermitted",
    )


@pytest.mark.spec("EC2-42")
def test_filters_that_ipamd_and_its_users_send(ec2: Any, new_instance: Instances) -> None:
    """EC2-42 and more; values of one filter are alternatives, filters add up, `*` is wild."""
    instance, primary = new_instance("m5.large")
    subnet = described(ec2, primary)["SubnetId"]
    specification = [{"ResourceType": "network-interface", "Tags": TAG}]
    made = eni(ec2, subnet, Description="aws-K8S-x", TagSpecifications=specification, SecondaryPrivateIpAddressCount=1)
    name, here = made["NetworkInterfaceId"], {"Name": "subnet-id", "Values": [subnet]}
    secondary = made["PrivateIpAddresses"][1]["PrivateIpAddress"]

    def found(filter_name: str, *values: str) -> list[str]:
        asked = {"Name": filter_name, "Values": [*values]}
        return names(ec2.describe_network_interfaces(Filters=[here, asked]))

    assert found("attachment.instance-id", instance) == [primary]
    assert found("status", "available") == [name]
    assert found("status", "available", "in-use") == sorted([primary, name], key=[primary, name].index)
    assert found("tag:node.k8s.amazonaws.com/instance_id", "i-1") == [name]
    assert found("tag-key", "node.k8s.*") == [name]
    assert found("tag:empty", "") == [name]
    assert found("vpc-id", made["VpcId"]) == [primary, name]
    assert found("network-interface-id", name) == [name]
    assert found("addresses.private-ip-address", secondary) == [name]
    assert found("private-ip-address", made["PrivateIpAddress"]) == [name]
    assert found("description", "aws-K8S-*") == [name]
    assert found("mac-address", made["MacAddress"]) == [name]
    assert found("attachment.attachment-id", described(ec2, primary)["Attachment"]["AttachmentId"]) == [primary]
    assert found("group-id", made["Groups"][0]["GroupId"]) == [primary, name]
    assert found("status", "nonsense") == []
    code, _ = refused(ec2.describe_network_interfaces, Filters=[{"Name": "no-such-filter", "Values": ["x"]}])
    assert code == "InvalidParameterValue"


def test_pages_hold_every_eni_once(ec2: Any, new_subnet: Subnets) -> None:
    """MaxResults and NextToken, which stock moto ignores; ids and MaxResults do not go together."""
    subnet = new_subnet(24)
    made = [eni(ec2, subnet)["NetworkInterfaceId"] for _ in range(12)]
    here = [{"Name": "subnet-id", "Values": [subnet]}]

    pages = list(
        ec2.get_paginator("describe_network_interfaces").paginate(Filters=here, PaginationConfig={"PageSize": 5})
    )

    assert [len(page["NetworkInterfaces"]) for page in pages] == [5, 5, 2]
    assert sorted(name for page in pages for name in names(page)) == sorted(made)
    assert refused(ec2.describe_network_interfaces, NextToken="nonsense")[0].startswith("Invalid")
    assert refused(ec2.describe_network_interfaces, NetworkInterfaceIds=made[:1], MaxResults=5)[0].startswith(
        "InvalidParameterCombination"
    )


def test_subnets_come_in_pages_too(ec2: Any, new_subnet: Subnets) -> None:
    """DescribeSubnets with MaxResults; a wrong size or token is refused."""
    made = [new_subnet(28) for _ in range(6)]
    mine = [{"Name": "subnet-id", "Values": made}]

    pages = list(ec2.get_paginator("describe_subnets").paginate(Filters=mine, PaginationConfig={"PageSize": 5}))

    assert [s["SubnetId"] for page in pages for s in page["Subnets"]] == made
    assert len(pages) == 2
    assert refused(ec2.describe_subnets, NextToken="x")[0] == "InvalidPaginationToken"


@pytest.mark.spec("EC2-15")
def test_tags_of_an_eni(ec2: Any, new_subnet: Subnets) -> None:
    """Created with it, added, replaced, described, removed; DescribeTags sees those of moto's things too."""
    subnet = new_subnet(28)
    name = eni(ec2, subnet, TagSpecifications=[{"ResourceType": "network-interface", "Tags": TAG}])[
        "NetworkInterfaceId"
    ]

    ec2.create_tags(Resources=[name, subnet], Tags=[{"Key": "team", "Value": "net"}, TAG[1] | {"Value": "full"}])
    tags = {t["Key"]: t["Value"] for t in described(ec2, name)["TagSet"]}
    both = ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [name, subnet]}])["Tags"]
    wild = ec2.describe_tags(Filters=[{"Name": "key", "Values": ["tea*"]}])["Tags"]
    ec2.delete_tags(Resources=[name], Tags=[{"Key": "team"}, {"Key": "empty", "Value": "other"}])

    assert tags == {TAG[0]["Key"]: "i-1", "empty": "full", "team": "net"}
    assert {(t["ResourceId"], t["ResourceType"], t["Key"]) for t in both} == {
        (name, "network-interface", key) for key in tags
    } | {(subnet, "subnet", key) for key in ("team", "empty")}
    assert {(t["ResourceId"], t["Value"]) for t in wild} >= {(name, "net"), (subnet, "net")}
    assert {t["Key"] for t in described(ec2, name)["TagSet"]} == {TAG[0]["Key"], "empty"}
    assert refused(ec2.create_tags, Resources=["eni-0123456789abcdef0"], Tags=TAG)[0].endswith("NotFound")


def test_a_client_token_makes_one_eni(ec2: Any, new_subnet: Subnets) -> None:
    """The same request again is the same ENI; with other parameters it is refused."""
    subnet = new_subnet(24)
    first = eni(ec2, subnet, ClientToken="once", Ipv4PrefixCount=1)["NetworkInterfaceId"]

    again = eni(ec2, subnet, ClientToken="once", Ipv4PrefixCount=1)["NetworkInterfaceId"]

    assert again == first
    assert free(ec2, subnet) == 251 - 17
    code, _ = refused(ec2.create_network_interface, SubnetId=subnet, ClientToken="once", Ipv4PrefixCount=2)
    assert code == "IdempotentParameterMismatch"


@pytest.mark.parametrize(
    "action, parameters",
    [
        ("create_network_interface", {"SubnetId": "subnet"}),
        ("delete_network_interface", {"NetworkInterfaceId": "free"}),
        ("attach_network_interface", {"NetworkInterfaceId": "free", "InstanceId": "instance", "DeviceIndex": 1}),
        ("describe_network_interfaces", {}),
        ("create_tags", {"Resources": ["eni"], "Tags": TAG}),
        ("describe_instances", {}),
        ("describe_subnets", {}),
        ("create_subnet_cidr_reservation", {"SubnetId": "subnet", "Cidr": "10.0.0.0/28", "ReservationType": "prefix"}),
    ],
)
def test_a_dry_run_says_yes_and_does_nothing(ec2: Any, door: Served, action: str, parameters: dict[str, Any]) -> None:
    """DryRunOperation, whose effect is none: what a preflight asks."""
    ids = {"subnet": door.line["subnet_id"], "eni": door.line["eni_id"], "instance": door.line["instance_id"]}
    ids["free"] = eni(ec2, ids["subnet"])["NetworkInterfaceId"]
    known = {k: ids.get(v, v) if isinstance(v, str) else v for k, v in parameters.items()}
    if "Resources" in known:
        known["Resources"] = [ids["eni"]]
    before = described(ec2, ids["eni"]), free(ec2, ids["subnet"])

    code, _ = refused(getattr(ec2, action), DryRun=True, **known)

    assert code == "DryRunOperation"
    assert (described(ec2, ids["eni"]), free(ec2, ids["subnet"])) == before


@pytest.mark.spec("EC2-29")
def test_groups_are_motos_and_enis_name_them(ec2: Any, door: Served, new_subnet: Subnets) -> None:
    """A new group on an ENI; while it is there it cannot be deleted; an unknown one is refused."""
    subnet = new_subnet(28)
    group = ec2.create_security_group(GroupName="pods", Description="of pods", VpcId=door.line["vpc_id"])["GroupId"]
    name = eni(ec2, subnet)["NetworkInterfaceId"]

    ec2.modify_network_interface_attribute(NetworkInterfaceId=name, Groups=[group])

    assert described(ec2, name)["Groups"] == [{"GroupId": group, "GroupName": "pods"}]
    assert refused(ec2.delete_security_group, GroupId=group)[0] == "DependencyViolation"
    assert refused(ec2.modify_network_interface_attribute, NetworkInterfaceId=name, Groups=["sg-0123456789abcdef0"])[
        0
    ].startswith("InvalidGroup")
    ec2.delete_network_interface(NetworkInterfaceId=name)
    ec2.delete_security_group(GroupId=group)
    assert refused(ec2.describe_security_groups, GroupIds=[group])[0] == "InvalidGroup.NotFound"


def test_attributes_that_are_set_are_described(ec2: Any, new_subnet: Subnets) -> None:
    """Description and source/destination check, by Modify and by DescribeNetworkInterfaceAttribute."""
    name = eni(ec2, new_subnet(28))["NetworkInterfaceId"]

    ec2.modify_network_interface_attribute(NetworkInterfaceId=name, Description={"Value": "new"})
    ec2.modify_network_interface_attribute(NetworkInterfaceId=name, SourceDestCheck={"Value": False})

    told = ec2.describe_network_interface_attribute(NetworkInterfaceId=name, Attribute="description")
    assert told["Description"] == {"Value": "new"}
    told = ec2.describe_network_interface_attribute(NetworkInterfaceId=name, Attribute="sourceDestCheck")
    assert told["SourceDestCheck"] == {"Value": False}
    assert described(ec2, name)["SourceDestCheck"] is False


def test_a_branch_eni_on_a_trunk(ec2: Any, new_instance: Instances) -> None:
    """Pods with ENIs of their own: trunk attached, branch associated by VLAN; stock moto has none of it."""
    instance, primary = new_instance("m5.large")
    subnet = described(ec2, primary)["SubnetId"]
    trunk = eni(ec2, subnet, InterfaceType="trunk")["NetworkInterfaceId"]
    branch = eni(ec2, subnet)["NetworkInterfaceId"]
    ec2.attach_network_interface(NetworkInterfaceId=trunk, InstanceId=instance, DeviceIndex=1)

    made = ec2.associate_trunk_interface(BranchInterfaceId=branch, TrunkInterfaceId=trunk, VlanId=7)

    association = made["InterfaceAssociation"]
    assert association["VlanId"] == 7 and association["InterfaceProtocol"] == "VLAN"
    assert described(ec2, trunk)["InterfaceType"] == "trunk"
    assert described(ec2, branch)["InterfaceType"] == "branch"
    listed = ec2.describe_trunk_interface_associations(AssociationIds=[association["AssociationId"]])
    assert [a["BranchInterfaceId"] for a in listed["InterfaceAssociations"]] == [branch]
    ec2.disassociate_trunk_interface(AssociationId=association["AssociationId"])
    ec2.delete_network_interface(NetworkInterfaceId=branch)
