"""The calls that ipamd makes as requests of the model, and the model's answers as ipamd's results."""

from __future__ import annotations

from typing import assert_never

from ipamd.core import calls

from . import answers, requests
from .rows import TokenRow, UsedToken


def request_of(call: calls.Ec2Call, instance: str) -> requests.Change:
    """The request that a call of one instance is."""
    match call:
        case calls.CreateNetworkInterface():
            return creation(call)
        case calls.AttachNetworkInterface():
            return requests.AttachNetworkInterface(call.eni, instance, call.device, call.card)
        case calls.ModifyNetworkInterfaceAttribute():
            return requests.ModifyNetworkInterfaceAttribute(
                call.eni, call.attachment, call.delete_on_termination, call.security_groups
            )
        case calls.AssignPrivateIpAddresses():
            return requests.AssignPrivateIpAddresses(
                call.eni, address_count=call.secondary_ips, prefix_count=call.prefixes
            )
        case calls.UnassignPrivateIpAddresses():
            return requests.UnassignPrivateIpAddresses(call.eni, call.addresses, call.prefixes)
        case calls.AssignIpv6Addresses():
            return requests.AssignIpv6Addresses(call.eni, prefix_count=call.prefixes)
        case calls.UnassignIpv6Addresses():
            return requests.UnassignIpv6Addresses(call.eni, prefixes=call.prefixes)
        case calls.DetachNetworkInterface():
            return requests.DetachNetworkInterface(call.attachment)
        case calls.DeleteNetworkInterface():
            return requests.DeleteNetworkInterface(call.eni)
        case calls.CreateTags():
            return requests.CreateTags((call.eni,), call.tags)
        case _:
            assert_never(call)


def creation(call: calls.CreateNetworkInterface) -> requests.CreateNetworkInterface:
    """A count of -1 was not sent."""
    return requests.CreateNetworkInterface(
        subnet=call.subnet,
        security_groups=call.security_groups,
        description=call.description,
        token=call.token,
        address_count=0 if call.secondary_ips == -1 else call.secondary_ips,
        prefix_count=0 if call.prefixes == -1 else call.prefixes,
        tags=call.tags,
        ipv6_address_count=max(call.ipv6_addresses, 0),
        tracking=call.tracking,
    )


def result_of(answer: answers.Answer) -> calls.Result:
    """What the machine is told."""
    match answer:
        case answers.NetworkInterface():
            primary, *secondary = answer.addresses
            return calls.CreatedEni(
                answer.eni, answer.mac, primary, answer.subnet, tuple(secondary), answer.prefixes,
                answer.ipv6_addresses,
            )  # fmt: skip
        case answers.Attached():
            return calls.Attached(answer.attachment)
        case answers.Granted():
            return calls.Granted(answer.addresses, answer.prefixes)
        case _:
            return calls.Done()


def used_token(row: TokenRow) -> UsedToken:
    """A token of an older log."""
    made = row.result
    answer = answers.NetworkInterface(
        made.eni, made.mac, made.subnet, addresses=(made.primary_ip, *made.addresses), prefixes=made.prefixes
    )
    return UsedToken(row.token, creation(row.call), answer, row.at)
