"""Calls of the machine as boto3 takes them, and boto3's answers as the machine's results. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, assert_never

from ipamd.core.calls import (
    AssignIpv6Addresses,
    AssignPrivateIpAddresses,
    Attached,
    AttachNetworkInterface,
    CreatedEni,
    CreateNetworkInterface,
    CreateTags,
    DeleteNetworkInterface,
    DetachNetworkInterface,
    Done,
    Ec2Call,
    Granted,
    ModifyNetworkInterfaceAttribute,
    Result,
    UnassignIpv6Addresses,
    UnassignPrivateIpAddresses,
)

from .boto_views import addresses_of, ipv6_addresses_of, prefixes_of, tracked

Json = Mapping[str, Any]

METHODS: Final = {
    CreateNetworkInterface: "create_network_interface",
    AttachNetworkInterface: "attach_network_interface",
    ModifyNetworkInterfaceAttribute: "modify_network_interface_attribute",
    AssignPrivateIpAddresses: "assign_private_ip_addresses",
    UnassignPrivateIpAddresses: "unassign_private_ip_addresses",
    AssignIpv6Addresses: "assign_ipv6_addresses",
    UnassignIpv6Addresses: "unassign_ipv6_addresses",
    DetachNetworkInterface: "detach_network_interface",
    DeleteNetworkInterface: "delete_network_interface",
    CreateTags: "create_tags",
}
"""boto3's method of each call."""


def repeatable(call: Ec2Call) -> bool:
    """Whether sending it twice is the same as once: with a client token, or because it states an end, not a step."""
    match call:
        case CreateNetworkInterface():
            return bool(call.token)
        case ModifyNetworkInterfaceAttribute() | CreateTags() | DeleteNetworkInterface():
            return True
        case (
            AttachNetworkInterface()
            | AssignPrivateIpAddresses()
            | UnassignPrivateIpAddresses()
            | AssignIpv6Addresses()
            | UnassignIpv6Addresses()
            | DetachNetworkInterface()
        ):
            return False
        case _:
            assert_never(call)


def parameters(call: Ec2Call, instance: str) -> dict[str, Any]:
    """What EC2 is sent; `instance` is whom ENIs are attached to. What was not asked for is left out."""
    match call:
        case CreateNetworkInterface():
            return _creation(call)
        case AttachNetworkInterface():
            return {
                "NetworkInterfaceId": call.eni,
                "InstanceId": instance,
                "DeviceIndex": call.device,
                "NetworkCardIndex": call.card,
            }
        case ModifyNetworkInterfaceAttribute():
            changed: dict[str, Any] = {"NetworkInterfaceId": call.eni}
            if call.attachment:
                ends = {"AttachmentId": call.attachment, "DeleteOnTermination": call.delete_on_termination}
                changed["Attachment"] = ends
            if call.security_groups is not None:
                changed["Groups"] = list(call.security_groups)
            return changed
        case AssignPrivateIpAddresses():
            counts = {"SecondaryPrivateIpAddressCount": call.secondary_ips, "Ipv4PrefixCount": call.prefixes}
            return {"NetworkInterfaceId": call.eni, **{name: n for name, n in counts.items() if n}}
        case UnassignPrivateIpAddresses():
            lists = {"PrivateIpAddresses": list(call.addresses), "Ipv4Prefixes": list(call.prefixes)}
            return {"NetworkInterfaceId": call.eni, **{name: given for name, given in lists.items() if given}}
        case AssignIpv6Addresses():
            return {"NetworkInterfaceId": call.eni, "Ipv6PrefixCount": call.prefixes}
        case UnassignIpv6Addresses():
            return {"NetworkInterfaceId": call.eni, "Ipv6Prefixes": list(call.prefixes)}
        case DetachNetworkInterface():
            return {"AttachmentId": call.attachment}
        case DeleteNetworkInterface():
            return {"NetworkInterfaceId": call.eni}
        case CreateTags():
            return {"Resources": [call.eni], "Tags": _tags(call.tags)}
        case _:
            assert_never(call)


def _creation(call: CreateNetworkInterface) -> dict[str, Any]:
    """EC2-1: exactly one count, and the client token."""
    asked: dict[str, Any] = {"SubnetId": call.subnet, "Description": call.description}
    if call.security_groups:
        asked["Groups"] = list(call.security_groups)
    if call.token:
        asked["ClientToken"] = call.token
    if call.secondary_ips not in (-1, 0):
        asked["SecondaryPrivateIpAddressCount"] = call.secondary_ips
    if call.prefixes not in (-1, 0):
        asked["Ipv4PrefixCount"] = call.prefixes
    if call.ipv6_addresses not in (-1, 0):
        asked["Ipv6AddressCount"] = call.ipv6_addresses
    if call.tracking is not None:
        asked["ConnectionTrackingSpecification"] = tracked(call.tracking)
    if call.tags:
        asked["TagSpecifications"] = [{"ResourceType": "network-interface", "Tags": _tags(call.tags)}]
    return asked


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def result(call: Ec2Call, answer: Json) -> Result:
    """What EC2's answer says. Raises KeyError, IndexError or TypeError for one that lacks what EC2 always sends."""
    match call:
        case CreateNetworkInterface():
            made = answer["NetworkInterface"]
            primary, *secondary = addresses_of(made)
            return CreatedEni(
                made["NetworkInterfaceId"],
                made["MacAddress"],
                primary,
                made["SubnetId"],
                tuple(secondary),
                prefixes_of(made),
                ipv6_addresses_of(made),
            )
        case AttachNetworkInterface():
            return Attached(answer["AttachmentId"])
        case AssignPrivateIpAddresses():
            # An answer without content is granted nothing (POOL-29).
            singles = tuple(row["PrivateIpAddress"] for row in answer.get("AssignedPrivateIpAddresses") or ())
            blocks = tuple(row["Ipv4Prefix"] for row in answer.get("AssignedIpv4Prefixes") or ())
            return Granted(singles, blocks)
        case AssignIpv6Addresses():
            return Granted(prefixes=tuple(answer.get("AssignedIpv6Prefixes") or ()))
        case (
            ModifyNetworkInterfaceAttribute()
            | UnassignPrivateIpAddresses()
            | UnassignIpv6Addresses()
            | DetachNetworkInterface()
            | DeleteNetworkInterface()
            | CreateTags()
        ):
            return Done()
        case _:
            assert_never(call)
