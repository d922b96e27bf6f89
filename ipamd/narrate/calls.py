"""Lines about calls on EC2 and on the host: what is tried, and how it ended (families F and G)."""

from __future__ import annotations

from typing import assert_never

from ipamd.core import events as ev
from ipamd.core.branch_calls import DropBranch, FindAvailable, FindBranches, MakeBranch, OpenTrunk
from ipamd.core.calls import (
    ENI_NOT_FOUND,
    AssignIpv6Addresses,
    AssignPrivateIpAddresses,
    AttachNetworkInterface,
    Call,
    CreateNetworkInterface,
    CreateTags,
    DeleteNetworkInterface,
    DetachNetworkInterface,
    ModifyNetworkInterfaceAttribute,
    PrunePodRules,
    RefreshPodRules,
    SetUpEni,
    SetUpHost,
    TearDownEni,
    UnassignIpv6Addresses,
    UnassignPrivateIpAddresses,
)
from ipamd.core.kube import AddFeature, ClearPodIp, RecordEvent, SetPodIp

from . import branches, windows
from .line import Line, listed


def begun(call: Call) -> list[Line]:
    """What is about to be tried."""
    match call:
        case AssignPrivateIpAddresses():
            count = call.prefixes or call.secondary_ips
            return [Line("info", f"Trying to allocate {count} IP addresses on ENI {call.eni}")]  # G1b
        case CreateNetworkInterface():
            groups = listed(call.security_groups)
            count = max(call.secondary_ips, call.prefixes, call.ipv6_addresses)
            return [
                Line("info", f"Trying to allocate {count} IP addresses on new ENI"),  # G1
                Line("info", f"Creating ENI with security groups: {groups} in subnet: {call.subnet}"),  # G2
            ]
        case AssignIpv6Addresses():
            return [Line("info", f"Trying to allocate {call.prefixes} IPv6 prefixes on ENI {call.eni}")]
        case UnassignPrivateIpAddresses() | UnassignIpv6Addresses():
            kind, blocks = _blocks(call)
            return [Line("debug", f"Trying to unassign the following {kind} {blocks} from ENI {call.eni}")]  # G6
        case DetachNetworkInterface():
            return [Line("info", f"Trying to free ENI: {call.eni}")]  # G7
        case SetUpEni():
            where = f"IP address {call.primary_ip}, MAC address {call.mac}, CIDR {call.subnet_cidr}"
            return [Line("debug", f"Setting up network for an ENI with {where}, route table {call.table}")]  # F5
        case PrunePodRules():
            of = f"v4: , v6: {call.address}" if ":" in call.address else f"v4: {call.address}, v6: "
            return [
                Line("debug", f"Delete toContainer rule for {of}"),  # B10
                Line("debug", f"Delete fromContainer rule for {of}"),
            ]
        case AttachNetworkInterface():
            return [Line("debug", f"Attaching ENI {call.eni} at device {call.device} of network card {call.card}")]
        case DeleteNetworkInterface() | CreateTags() | ModifyNetworkInterfaceAttribute() | TearDownEni():
            return [Line("debug", f"{type(call).__name__} of ENI {call.eni} begins")]
        case SetUpHost():
            return [
                Line("debug", f"Host rules for {call.primary_ip} and VPC CIDRs {listed(call.vpc_cidrs)} are set up")
            ]
        case SetPodIp() | ClearPodIp():
            return [Line("debug", f"Annotation of pod {call.namespace}/{call.name} is {_annotated(call)}")]
        case AddFeature():
            return [Line("info", f"Adding feature {call.name} to CNINode {call.node}")]
        case RecordEvent():
            return [Line("warn", f"Kubernetes event {call.reason} of {call.action} is recorded")]
        case RefreshPodRules():
            return [Line("debug", f"Rules of {len(call.pods)} recovered pods are set up again")]
        case OpenTrunk() | MakeBranch() | DropBranch() | FindAvailable() | FindBranches():
            return [branches.asked(call)]
        case _:
            return [windows.asked(call)]


def ended(call: Call | None, event: ev.CallEnded) -> list[Line]:
    """How it came back. `call` is None where its beginning is not known any more."""
    match event.ended:
        case "succeeded":
            return _succeeded(call)
        case "failed":
            return [_failed(call, event)]
        case "lost":
            name, subject = _named(call, event)
            return [Line("warn", f"No answer to {name}{subject}: its effect is unknown ({event.message or 'timeout'})")]
        case _:
            assert_never(event.ended)


def _succeeded(call: Call | None) -> list[Line]:
    match call:
        case AssignPrivateIpAddresses():
            kind = "IP prefixes" if call.prefixes else "IP addresses"
            return [Line("info", f"Allocated {call.prefixes or call.secondary_ips} private {kind}")]  # G4
        case AssignIpv6Addresses():
            return [Line("info", f"Allocated {call.prefixes} private IPv6 prefix(es)")]  # G4
        case UnassignPrivateIpAddresses() | UnassignIpv6Addresses():
            kind, blocks = _blocks(call)
            return [Line("info", f"Successfully freed {kind} {blocks} from ENI {call.eni}")]  # G6b
        case DetachNetworkInterface():
            return [Line("info", f"Successfully detached ENI: {call.eni}")]  # G7b
        case DeleteNetworkInterface():
            return [Line("info", f"Successfully deleted ENI: {call.eni}")]  # G7b
        case _:
            return []  # the events beside it say what it brought


def _failed(call: Call | None, event: ev.CallEnded) -> Line:
    why = f"{event.code}: {event.message}" if event.code else event.message
    match call:
        case AssignPrivateIpAddresses():
            return Line("error", f"Failed to allocate a private IP/Prefix addresses on ENI {call.eni}: {why}")  # G5
        case CreateNetworkInterface():
            return Line("error", f"Failed to CreateNetworkInterface {why} for subnet {call.subnet}")  # G2c
        case DeleteNetworkInterface() | DetachNetworkInterface() if event.code == ENI_NOT_FOUND:
            return Line("info", f"ENI {call.eni} not found. It seems to be already freed")  # G7c
        case _:
            name, subject = _named(call, event)
            return Line("error", f"{name}{subject} failed: {why}")


def _annotated(call: SetPodIp | ClearPodIp) -> str:
    return f"set to {call.address}" if isinstance(call, SetPodIp) else f"cleared of {call.released}"


def _named(call: Call | None, event: ev.CallEnded) -> tuple[str, str]:
    if call is None:
        return f"call {event.call_id}", ""
    eni = getattr(call, "eni", "")
    return type(call).__name__, f" of ENI {eni}" if eni else ""


def _blocks(call: UnassignPrivateIpAddresses | UnassignIpv6Addresses) -> tuple[str, str]:
    if isinstance(call, UnassignIpv6Addresses):
        return "IPv6 prefixes", listed(call.prefixes)
    return ("Prefixes", listed(call.prefixes)) if call.prefixes else ("IPs", listed(call.addresses))
