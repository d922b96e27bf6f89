"""EC2's parameters, as botocore's model names them, -> requests for the VPC model.

Parameters arrive typed (moto parses them by botocore's model). What is not there is left at the request's default,
so that the model refuses it in EC2's words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from ipamd.ec2 import requests
from ipamd.ec2.boto_views import tracking_of

Params: TypeAlias = Mapping[str, Any]
NETWORK_INTERFACE = "network-interface"
INSTANCE = "instance"


def create_network_interface(p: Params) -> requests.CreateNetworkInterface:
    """The primary address may be named by itself or in the list of addresses."""
    return requests.CreateNetworkInterface(
        subnet=p.get("SubnetId", ""),
        security_groups=tuple(p.get("Groups", ())),
        description=p.get("Description", ""),
        token=p.get("ClientToken", ""),
        interface_type=p.get("InterfaceType", "interface"),
        tags=tags_for(p, NETWORK_INTERFACE),
        tracking=tracking_of(p.get("ConnectionTrackingSpecification")),
        **_wanted(p),
    )


def launch_interface(p: Params, group_ids: Sequence[str]) -> requests.LaunchInterface:
    """One member of RunInstances' NetworkInterfaces; groups of the instance are those of ENIs without any."""
    return requests.LaunchInterface(
        device=p.get("DeviceIndex", 0),
        card=p.get("NetworkCardIndex", 0),
        eni=p.get("NetworkInterfaceId", ""),
        subnet=p.get("SubnetId", ""),
        security_groups=tuple(p.get("Groups", ())) or tuple(group_ids),
        description=p.get("Description", ""),
        interface_type=p.get("InterfaceType", "interface"),
        delete_on_termination=p.get("DeleteOnTermination", True),
        **_wanted(p),
    )


def _wanted(p: Params) -> dict[str, Any]:
    listed = p.get("PrivateIpAddresses", ())
    primary = next((a.get("PrivateIpAddress", "") for a in listed if a.get("Primary")), "")
    return {
        "primary": p.get("PrivateIpAddress") or primary,
        "addresses": tuple(a.get("PrivateIpAddress", "") for a in listed if not a.get("Primary")),
        "address_count": p.get("SecondaryPrivateIpAddressCount", 0),
        "prefixes": _members(p, "Ipv4Prefixes", "Ipv4Prefix"),
        "prefix_count": p.get("Ipv4PrefixCount", 0),
        "ipv6_addresses": _members(p, "Ipv6Addresses", "Ipv6Address"),
        "ipv6_address_count": p.get("Ipv6AddressCount", 0),
        "ipv6_prefixes": _members(p, "Ipv6Prefixes", "Ipv6Prefix"),
        "ipv6_prefix_count": p.get("Ipv6PrefixCount", 0),
    }


def delete_network_interface(p: Params) -> requests.DeleteNetworkInterface:
    return requests.DeleteNetworkInterface(eni=p.get("NetworkInterfaceId", ""))


def attach_network_interface(p: Params) -> requests.AttachNetworkInterface:
    """A device index that was not sent is none that EC2 accepts."""
    return requests.AttachNetworkInterface(
        eni=p.get("NetworkInterfaceId", ""),
        instance=p.get("InstanceId", ""),
        device=p.get("DeviceIndex", -1),
        card=p.get("NetworkCardIndex", 0),
    )


def detach_network_interface(p: Params) -> requests.DetachNetworkInterface:
    return requests.DetachNetworkInterface(attachment=p.get("AttachmentId", ""), force=p.get("Force", False))


def modify_network_interface_attribute(p: Params) -> requests.ModifyNetworkInterfaceAttribute:
    """Groups that were not sent and groups that were sent empty are the same on the wire: not sent."""
    attachment = p.get("Attachment", {})
    return requests.ModifyNetworkInterfaceAttribute(
        eni=p.get("NetworkInterfaceId", ""),
        attachment=attachment.get("AttachmentId", ""),
        delete_on_termination=attachment.get("DeleteOnTermination", False),
        security_groups=tuple(p["Groups"]) if p.get("Groups") else None,
        description=p["Description"].get("Value", "") if "Description" in p else None,
        source_dest_check=p["SourceDestCheck"].get("Value") if "SourceDestCheck" in p else None,
        tracking=tracking_of(p.get("ConnectionTrackingSpecification")),
    )


def assign_private_ip_addresses(p: Params) -> requests.AssignPrivateIpAddresses:
    """Here addresses and prefixes are plain texts, unlike in CreateNetworkInterface."""
    return requests.AssignPrivateIpAddresses(
        eni=p.get("NetworkInterfaceId", ""),
        addresses=tuple(p.get("PrivateIpAddresses", ())),
        address_count=p.get("SecondaryPrivateIpAddressCount", 0),
        prefixes=tuple(p.get("Ipv4Prefixes", ())),
        prefix_count=p.get("Ipv4PrefixCount", 0),
        allow_reassignment=p.get("AllowReassignment", False),
    )


def unassign_private_ip_addresses(p: Params) -> requests.UnassignPrivateIpAddresses:
    return requests.UnassignPrivateIpAddresses(
        eni=p.get("NetworkInterfaceId", ""),
        addresses=tuple(p.get("PrivateIpAddresses", ())),
        prefixes=tuple(p.get("Ipv4Prefixes", ())),
    )


def assign_ipv6_addresses(p: Params) -> requests.AssignIpv6Addresses:
    return requests.AssignIpv6Addresses(
        eni=p.get("NetworkInterfaceId", ""),
        addresses=tuple(p.get("Ipv6Addresses", ())),
        address_count=p.get("Ipv6AddressCount", 0),
        prefixes=tuple(p.get("Ipv6Prefixes", ())),
        prefix_count=p.get("Ipv6PrefixCount", 0),
    )


def unassign_ipv6_addresses(p: Params) -> requests.UnassignIpv6Addresses:
    return requests.UnassignIpv6Addresses(
        eni=p.get("NetworkInterfaceId", ""),
        addresses=tuple(p.get("Ipv6Addresses", ())),
        prefixes=tuple(p.get("Ipv6Prefixes", ())),
    )


def describe_network_interfaces(p: Params) -> requests.DescribeNetworkInterfaces:
    return requests.DescribeNetworkInterfaces(ids=tuple(p.get("NetworkInterfaceIds", ())), **paging(p))


def associate_trunk_interface(p: Params) -> requests.AssociateTrunkInterface:
    return requests.AssociateTrunkInterface(
        branch=p.get("BranchInterfaceId", ""),
        trunk=p.get("TrunkInterfaceId", ""),
        vlan=p.get("VlanId", 0),
        token=p.get("ClientToken", ""),
    )


def disassociate_trunk_interface(p: Params) -> requests.DisassociateTrunkInterface:
    return requests.DisassociateTrunkInterface(
        association=p.get("AssociationId", ""), token=p.get("ClientToken", "")
    )


def describe_trunk_interface_associations(p: Params) -> requests.DescribeTrunkInterfaceAssociations:
    return requests.DescribeTrunkInterfaceAssociations(ids=tuple(p.get("AssociationIds", ())), **paging(p))


def create_subnet_cidr_reservation(p: Params) -> requests.CreateSubnetCidrReservation:
    return requests.CreateSubnetCidrReservation(
        subnet=p.get("SubnetId", ""),
        cidr=p.get("Cidr", ""),
        reservation_type=p.get("ReservationType", ""),
        description=p.get("Description", ""),
        tags=tags_for(p, "subnet-cidr-reservation"),
    )


def delete_subnet_cidr_reservation(p: Params) -> requests.DeleteSubnetCidrReservation:
    return requests.DeleteSubnetCidrReservation(reservation=p.get("SubnetCidrReservationId", ""))


def get_subnet_cidr_reservations(p: Params) -> requests.GetSubnetCidrReservations:
    return requests.GetSubnetCidrReservations(subnet=p.get("SubnetId", ""), **paging(p))


def paging(p: Params) -> dict[str, Any]:
    """Filters and the page that is wanted; `Filter` is how some actions call it."""
    filters = p.get("Filters") or p.get("Filter") or ()
    return {
        "filters": {f.get("Name", ""): tuple(f.get("Values", ())) for f in filters},
        "max_results": p.get("MaxResults", 0),
        "next_token": p.get("NextToken") or "",
    }


def tags_for(p: Params, kind: str) -> dict[str, str]:
    """Tags of the specifications for one kind of resource; the later of two with one key counts."""
    return {
        tag.get("Key", ""): tag.get("Value", "")
        for specification in p.get("TagSpecifications", ())
        if specification.get("ResourceType") == kind
        for tag in specification.get("Tags", ())
    }


def _members(p: Params, listing: str, member: str) -> tuple[str, ...]:
    return tuple(item.get(member, "") for item in p.get(listing, ()))
