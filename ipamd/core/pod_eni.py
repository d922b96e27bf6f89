"""Pods with a branch ENI: security groups for pods, as far as ipamd answers for them (RPC-22..28, RPC-48).

The VPC resource controller makes the branch ENI and writes what it made into the pod's annotation; the trunk ENI
it hangs on is this node's. Nothing is taken from a store and nothing is remembered.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from .commands import AddNetwork, BranchAssigned, BranchFault, BranchReleased, DelNetwork, Refused
from .state import Eni, State
from .types import ip4_text

_KEYS: Final = ("ifaddress", "privateip", "ipv6addr", "vlanid", "subnetcidr", "subnetv6cidr")
GATEWAY6: Final = "fe80:ec2::1"
"""RPC-26."""
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_WAIT: Final = "retry; the VPC resource controller makes branch and trunk ENIs"


class Unusable(Exception):
    """What is wrong with an annotation."""


class Branch(msgspec.Struct, frozen=True):
    """Element 0 of the annotation (RPC-25)."""

    mac: str = ""
    address: str = ""
    address6: str = ""
    vlan: int = 0
    subnet: str = ""
    subnet6: str = ""


def trunk(state: State) -> Eni | None:
    """The trunk ENI of card 0 (RPC-24), None while there is none."""
    return next((eni for eni in state.enis.values() if eni.trunk and eni.card == 0), None)


def add(state: State, command: AddNetwork) -> BranchAssigned | Refused | None:
    """The answer to a pod with a branch ENI; None for any other pod."""
    if not state.settings.pod_eni:
        return None
    pod = command.kube_pod
    if pod is None:
        fact = f"the Pod {command.pod.namespace}/{command.pod.name} cannot be read"
        return Refused("api_error", fact, "see the log for what the API server said")
    if not pod.branch:
        return None
    if trunk(state) is None:
        return Refused("attach_pending", "this node has no trunk ENI yet", _WAIT)
    if pod.trunk_link == 0:
        return Refused("attach_pending", "the trunk ENI's link was not found", "see that the host has its link")
    if pod.pod_eni is None:
        return Refused("attach_pending", "the pod's annotation vpc.amazonaws.com/pod-eni is not there yet", _WAIT)
    try:
        branch = first(pod.pod_eni)
        if branch is None:
            raise Unusable("an empty list")
        return _assigned(branch, pod.trunk_link, state.settings.ipv6)
    except Unusable as wrong:
        fact = f"the pod's annotation vpc.amazonaws.com/pod-eni cannot be used: {wrong}"
        return Refused("invalid", fact, "see what the VPC resource controller wrote")


def remove(state: State, command: DelNetwork) -> BranchReleased | BranchFault | None:
    """RPC-48 for a sandbox that no store knows; None where the pod has no branch ENI (e)."""
    pod = command.kube_pod
    if not state.settings.pod_eni or pod is None:
        return None
    if pod.uid != command.uid:
        return BranchFault(f"pod UID mismatch: got {command.uid[:64]}, expected {pod.uid}")
    if pod.pod_eni is None:
        return None
    try:
        branch = first(pod.pod_eni)
    except Unusable as wrong:
        return BranchFault(f"failed to unmarshal PodENIData JSON: {wrong}")
    if branch is None:
        return BranchFault("parsed PodENIData is empty")
    return BranchReleased(branch.address, branch.vlan)


def _assigned(branch: Branch, link: int, ipv6: bool) -> BranchAssigned:
    """In IPv6 mode the gateway is a constant, yet the subnet must be one (RPC-24, RPC-26)."""
    named, address = ("ipv6Addr", branch.address6) if ipv6 else ("privateIp", branch.address)
    for what, value in ((named, address), ("ifAddress", branch.mac), ("vlanID", branch.vlan)):
        if not value:
            raise Unusable(f"no {what}")
    if not ipv6:
        return BranchAssigned(address, branch.vlan, branch.mac, gateway(branch.subnet), link)
    if not _cidr6(branch.subnet6):
        raise Unusable(f"subnetV6Cidr {branch.subnet6[:64]!a} is no IPv6 CIDR")
    return BranchAssigned(address, branch.vlan, branch.mac, GATEWAY6, link)


def gateway(cidr: str) -> str:
    """The address after the subnet's own (RPC-26). Raises Unusable for what is no IPv4 CIDR."""
    base, slash, length = cidr.partition("/")
    parts = base.split(".")
    numbers = [int(part) for part in parts if part.isascii() and part.isdigit() and len(part) <= 3]
    fine = len(parts) == len(numbers) == 4 and max(numbers) <= 255
    if not (slash and fine and length.isascii() and length.isdigit() and int(length[:3]) <= 32):
        raise Unusable(f"subnetCidr {cidr[:64]!a} is no IPv4 CIDR")
    value = numbers[0] << 24 | numbers[1] << 16 | numbers[2] << 8 | numbers[3]
    spare = 32 - int(length)
    return ip4_text(((value >> spare << spare) + 1) & 0xFFFFFFFF)


def _cidr6(cidr: str) -> bool:
    """Whether it is an IPv6 CIDR."""
    base, slash, length = cidr.partition("/")
    if not (slash and length.isascii() and length.isdigit() and int(length[:4]) <= 128) or base.count("::") > 1:
        return False
    groups = [group for half in base.split("::") for group in (half.split(":") if half else [])]
    return all(0 < len(group) <= 4 and _HEX.issuperset(group) for group in groups) and (
        len(groups) < 8 if "::" in base else len(groups) == 8
    )


def first(annotation: str) -> Branch | None:
    """Element 0; None for an empty list. Keys in any case, as Go reads them (RPC-25). Raises Unusable."""
    try:
        listed: Any = msgspec.json.decode(annotation)
    except msgspec.DecodeError as error:
        raise Unusable(str(error)[:200]) from None
    if listed is None or listed == []:
        return None
    if not isinstance(listed, list) or not all(isinstance(one, dict | None) for one in listed):
        raise Unusable("want a JSON list of objects")
    found = {key.lower(): value for key, value in (listed[0] or {}).items() if value is not None}
    texts = {key: found.get(key, "") for key in _KEYS if key != "vlanid"}
    vlan = found.get("vlanid", 0)
    wrong = next((key for key, value in texts.items() if not isinstance(value, str)), "")
    if wrong or not isinstance(vlan, int) or isinstance(vlan, bool):
        raise Unusable(f"{wrong or 'vlanid'} is of another type")
    return Branch(
        texts["ifaddress"], texts["privateip"], texts["ipv6addr"], vlan, texts["subnetcidr"], texts["subnetv6cidr"]
    )
