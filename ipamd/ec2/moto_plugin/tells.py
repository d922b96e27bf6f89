"""Answers of the VPC model -> members of EC2's output, under the names of botocore's model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

from ipamd.core.types import SECOND, Instant
from ipamd.ec2 import answers
from ipamd.ec2.boto_views import tracked

Members: TypeAlias = dict[str, Any]
GroupName: TypeAlias = Callable[[str], str]
"""A security group's name by its id; groups are moto's."""


def network_interface(eni: answers.NetworkInterface, region: str, group_name: GroupName) -> Members:
    """One ENI as DescribeNetworkInterfaces has it; the ENIs of DescribeInstances have the same members."""
    told: Members = {
        "NetworkInterfaceId": eni.eni,
        "SubnetId": eni.subnet,
        "VpcId": eni.vpc,
        "AvailabilityZone": eni.zone,
        "Description": eni.description,
        "OwnerId": eni.owner,
        "RequesterManaged": False,
        "Status": eni.status,
        "MacAddress": eni.mac,
        "SourceDestCheck": eni.source_dest_check,
        "InterfaceType": eni.interface_type,
        "Groups": [{"GroupId": group, "GroupName": group_name(group)} for group in eni.security_groups],
        "PrivateIpAddresses": [
            {"PrivateIpAddress": a, "PrivateDnsName": private_name(a, region), "Primary": not i}
            for i, a in enumerate(eni.addresses)
        ],
        "Ipv6Addresses": [{"Ipv6Address": a} for a in eni.ipv6_addresses],
        "TagSet": tag_set(eni.tags),
    }
    if eni.addresses:
        told["PrivateIpAddress"] = eni.addresses[0]
        told["PrivateDnsName"] = private_name(eni.addresses[0], region)
    if eni.ipv6_addresses:
        told["Ipv6Address"] = eni.ipv6_addresses[0]
    if eni.prefixes:
        told["Ipv4Prefixes"] = _each("Ipv4Prefix", eni.prefixes)
    if eni.ipv6_prefixes:
        told["Ipv6Prefixes"] = _each("Ipv6Prefix", eni.ipv6_prefixes)
    if eni.tracking is not None:
        told["ConnectionTrackingConfiguration"] = tracked(eni.tracking)
    if eni.attachment:
        told["Attachment"] = attachment(eni)
    return told


def attachment(eni: answers.NetworkInterface) -> Members:
    """The attachment of an attached ENI. There is nothing in between: EC2 shows `attaching` for a moment."""
    return {
        "AttachmentId": eni.attachment,
        "InstanceId": eni.instance,
        "InstanceOwnerId": eni.owner,
        "DeviceIndex": eni.device,
        "NetworkCardIndex": eni.card,
        "DeleteOnTermination": eni.delete_on_termination,
        "Status": "attached",
        "AttachTime": at(eni.attached_at),
    }


def assigned(eni: str, given: answers.Granted) -> Members:
    """Result of AssignPrivateIpAddresses: only what is new."""
    return {
        "NetworkInterfaceId": eni,
        "AssignedPrivateIpAddresses": _each("PrivateIpAddress", given.addresses),
        "AssignedIpv4Prefixes": _each("Ipv4Prefix", given.prefixes),
    }


def assigned_ipv6(eni: str, given: answers.Granted) -> Members:
    """Result of AssignIpv6Addresses: texts, unlike the members of an ENI."""
    return {
        "NetworkInterfaceId": eni,
        "AssignedIpv6Addresses": list(given.addresses),
        "AssignedIpv6Prefixes": list(given.prefixes),
    }


def unassigned_ipv6(eni: str, taken: answers.Granted) -> Members:
    """Result of UnassignIpv6Addresses."""
    return {
        "NetworkInterfaceId": eni,
        "UnassignedIpv6Addresses": list(taken.addresses),
        "UnassignedIpv6Prefixes": list(taken.prefixes),
    }


def trunk_association(made: answers.TrunkAssociation) -> Members:
    """A branch ENI on its trunk; EC2 knows VLAN and GRE, ipamd's are VLANs."""
    return {
        "AssociationId": made.association,
        "BranchInterfaceId": made.branch,
        "TrunkInterfaceId": made.trunk,
        "InterfaceProtocol": "VLAN",
        "VlanId": made.vlan,
        "Tags": [],
    }


def cidr_reservation(made: answers.CidrReservation) -> Members:
    """One reserved range of a subnet."""
    return {
        "SubnetCidrReservationId": made.reservation,
        "SubnetId": made.subnet,
        "Cidr": made.cidr,
        "ReservationType": made.reservation_type,
        "OwnerId": made.owner,
        "Description": made.description,
        "Tags": tag_set(made.tags),
    }


def tag_set(tags: Mapping[str, str]) -> list[Members]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def private_name(address: str, region: str) -> str:
    """The DNS name that AWS gives a private address."""
    domain = "ec2.internal" if region == "us-east-1" else f"{region}.compute.internal"
    return f"ip-{address.replace('.', '-')}.{domain}"


def at(instant: Instant) -> datetime:
    """UTC without a zone, to the second, as moto's serializer takes times."""
    return datetime.fromtimestamp(instant // SECOND, UTC).replace(tzinfo=None)


def _each(member: str, texts: Iterable[str]) -> list[Members]:
    return [{member: text} for text in texts]
