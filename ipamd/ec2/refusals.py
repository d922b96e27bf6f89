"""EC2's refusals as this cloud words them: code and message in one place.

Codes are EC2's. Messages say what EC2's say as far as that is publicly seen; the one whose form matters is
`no_such_eni`, from which callers read the id between quotes (EC2-30).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ipamd.core.calls import (
    ADDRESS_LIMIT_EXCEEDED,
    ATTACHMENT_LIMIT_EXCEEDED,
    ATTACHMENT_NOT_FOUND,
    ENI_NOT_FOUND,
    INSUFFICIENT_CIDR_BLOCKS,
    INSUFFICIENT_FREE_ADDRESSES,
    REQUEST_LIMIT_EXCEEDED,
    UNAUTHORIZED,
    Failed,
)

INVALID_VALUE = "InvalidParameterValue"
INVALID_COMBINATION = "InvalidParameterCombination"
MISSING_PARAMETER = "MissingParameter"
ENI_IN_USE = "InvalidNetworkInterface.InUse"
NOT_PERMITTED = "OperationNotPermitted"
TOKEN_MISMATCH = "IdempotentParameterMismatch"
UNSUPPORTED = "UnsupportedOperation"
TAG_LIMIT_EXCEEDED = "TagLimitExceeded"
DRY_RUN = "DryRunOperation"
DEPENDENCY = "DependencyViolation"
ADDRESS_IN_USE = "InvalidIPAddress.InUse"
WRONG_STATE = "IncorrectInstanceState"


KINDS: Final = {
    "vpc": ("InvalidVpcID.NotFound", "vpc", "vpcId", "vpc ID"),
    "subnet": ("InvalidSubnetID.NotFound", "subnet", "subnetId", "subnet ID"),
    "network-interface": (ENI_NOT_FOUND, "eni", "networkInterfaceId", "networkInterface ID"),
    "instance": ("InvalidInstanceID.NotFound", "i", "instanceId", "instance ID"),
    "security-group": ("InvalidGroup.NotFound", "sg", "groupId", "security group"),
    "subnet-cidr-reservation": (
        "InvalidSubnetCidrReservationID.NotFound", "scr", "subnetCidrReservationId", "subnet CIDR reservation ID"
    ),
    "trunk-association": ("InvalidAssociationID.NotFound", "trunk-assoc", "associationId", "association ID"),
    "vpc-cidr": (
        "InvalidVpcCidrBlockAssociationIdError.NotFound", "vpc-cidr-assoc", "associationId",
        "vpc CIDR block association ID",
    ),
    "subnet-cidr": (
        "InvalidSubnetCidrBlockAssociationID.NotFound", "subnet-cidr-assoc", "associationId",
        "subnet CIDR block association ID",
    ),
}  # fmt: skip
"""By EC2's word for a thing: the code, how its ids begin, the parameter, and how a message names the id."""


def no_such_eni(eni: str) -> Failed:
    return no_such("network-interface", eni)


def no_such(kind: str, name: str) -> Failed:
    """Of the other things: `kind` is a key of `KINDS`."""
    code, prefix, parameter, text = KINDS[kind]
    if not name:
        return missing(parameter)
    if not _is_id(prefix, name):
        return Failed(_malformed_code(code), f'Invalid id: "{_short(name)}" (expecting "{prefix}-...")')
    return Failed(code, f"The {text} '{name}' does not exist")


def no_such_attachment(attachment: str) -> Failed:
    if not attachment:
        return missing("attachmentId")
    return Failed(ATTACHMENT_NOT_FOUND, f"The attachment ID '{_short(attachment)}' does not exist")


def malformed_group(group: str) -> Failed:
    return malformed("Group", group, "sg")


def malformed(thing: str, text: str, kind: str) -> Failed:
    return Failed(f"Invalid{thing}Id.Malformed", f'Invalid id: "{_short(text)}" (expecting "{kind}-...")')


def missing(parameter: str) -> Failed:
    return Failed(MISSING_PARAMETER, f"The request must contain the parameter {parameter}")


def invalid(parameter: str, value: object, why: str) -> Failed:
    return Failed(INVALID_VALUE, f"Value ({_short(str(value))}) for parameter {parameter} is invalid: {why}")


def either(first: str, second: str) -> Failed:
    return Failed(INVALID_COMBINATION, f"The parameters {first} and {second} cannot be used together")


def too_many_addresses() -> Failed:
    return Failed(ADDRESS_LIMIT_EXCEEDED, "Number of private addresses will exceed limit.")


def too_few_addresses() -> Failed:
    return Failed(
        INSUFFICIENT_FREE_ADDRESSES,
        "The specified subnet does not have enough free addresses to satisfy the request.",
    )


def too_few_at_all() -> Failed:
    return Failed(INVALID_VALUE, "There aren't sufficient free Ipv4 addresses or prefixes")


def no_free_block() -> Failed:
    return Failed(
        INSUFFICIENT_CIDR_BLOCKS,
        "There are not enough free cidr blocks in the specified subnet to satisfy the request.",
    )


def address_in_use(address: str) -> Failed:
    return Failed(ADDRESS_IN_USE, f"Address {address} is in use.")


def outside_subnet(address: str) -> Failed:
    return Failed(INVALID_VALUE, f"Address {_short(address)} does not fall within the subnet's address range")


def reserved_by_ec2(address: str) -> Failed:
    return Failed(INVALID_VALUE, f"Address {address} is in subnet's reserved address range")


def kept_for_prefixes(address: str) -> Failed:
    return Failed(INVALID_VALUE, f"Address {address} is in a CIDR reservation of the type prefix")


def no_addresses_on(eni: str, kind: str) -> Failed:
    return Failed(UNSUPPORTED, f"Network interface '{eni}' is of type {kind}, which has no IP addresses")


def no_ipv6(subnet: str) -> Failed:
    return Failed(INVALID_VALUE, f"The subnet '{subnet}' does not have an IPv6 CIDR block associated with it")


def conflict(thing: str, cidr: str) -> Failed:
    """`thing` is Subnet or Vpc."""
    if thing == "Subnet":
        return Failed("InvalidSubnet.Conflict", f"The CIDR '{_short(cidr)}' conflicts with another subnet")
    return Failed("CidrConflict", f"The CIDR '{_short(cidr)}' conflicts with another CIDR of the VPC")


def bad_range(thing: str, cidr: str) -> Failed:
    return Failed(f"Invalid{thing}.Range", f"The CIDR '{_short(cidr)}' is invalid.")


def too_many_cidrs(most: int) -> Failed:
    return Failed("VpcCidrBlockLimitExceeded", f"This network has {most} CIDRs, which is the limit")


def cidr_in_use(cidr: str, resource: str) -> Failed:
    return Failed("OperationNotPermitted", f"The CIDR '{cidr}' of {resource} is its primary one or is in use")


def no_such_id(text: str) -> Failed:
    return Failed("InvalidID", f"The ID '{_short(text)}' is not valid")


def has_dependents(kind: str, name: str) -> Failed:
    if kind == "security-group":
        return Failed(DEPENDENCY, f"resource {name} has a dependent object")
    return Failed(DEPENDENCY, f"The {kind} '{name}' has dependencies and cannot be deleted.")


def group_exists(name: str, vpc: str) -> Failed:
    return Failed("InvalidGroup.Duplicate", f"The security group '{_short(name)}' already exists for VPC '{vpc}'")


def default_group_stays(group: str) -> Failed:
    return Failed("CannotDelete", f'the specified group: "{group}" name: "default" cannot be deleted by a user')


def other_vpc(group: str) -> Failed:
    return Failed(
        "InvalidGroup.NotFound", f"The security group '{group}' does not exist in the VPC of the network interface"
    )


def not_a_trunk(eni: str) -> Failed:
    return Failed(INVALID_VALUE, f"Network interface '{eni}' is not a trunk network interface")


def not_a_branch(eni: str, why: str) -> Failed:
    return Failed(INVALID_VALUE, f"Network interface '{eni}' cannot be a branch network interface: {why}")


def vlan_in_use(vlan: int, trunk: str) -> Failed:
    return Failed(INVALID_VALUE, f"VLAN ID {vlan} is already in use on trunk interface '{trunk}'")


def wrong_kind(kind: str, instance_type: str) -> Failed:
    return Failed(UNSUPPORTED, f"The instance type '{instance_type}' does not support interfaces of type {kind}")


def not_attachable(eni: str, kind: str) -> Failed:
    return Failed(UNSUPPORTED, f"Network interface '{eni}' is of type {kind}, which cannot be attached to an instance")


def one_only(kind: str, place: str) -> Failed:
    return Failed(ATTACHMENT_LIMIT_EXCEEDED, f"Only one network interface of type {kind} is allowed per {place}")


def running(instance: str) -> Failed:
    return Failed(WRONG_STATE, f"The instance '{instance}' is not in a valid state for this operation: it is running")


def bad_type(name: str) -> Failed:
    return Failed(INVALID_VALUE, f"Invalid value '{_short(name)}' for InstanceType.")


def no_such_type(names: Iterable[str]) -> Failed:
    listed = ", ".join(_short(name) for name in names)
    return Failed("InvalidInstanceType", f"The following supplied instance types do not exist: [{listed}]")


def bad_filter(name: str) -> Failed:
    return Failed(INVALID_VALUE, f"The filter '{_short(name)}' is invalid")


def no_such_token() -> Failed:
    return Failed("InvalidPaginationToken", "The specified pagination token is invalid or expired")


def dry_run() -> Failed:
    return Failed(DRY_RUN, "Request would have succeeded, but DryRun flag is set.")


def unauthorized() -> Failed:
    return Failed(UNAUTHORIZED, "You are not authorized to perform this operation.")


def too_many_interfaces(count: int, instance_type: str) -> Failed:
    return Failed(ATTACHMENT_LIMIT_EXCEEDED, f"Interface count {count} exceeds the limit for {instance_type}")


def device_in_use(instance: str, device: int) -> Failed:
    return Failed(
        INVALID_VALUE, f"Instance '{instance}' already has an interface attached at device index '{device}'."
    )


def already_attached(eni: str) -> Failed:
    return Failed(ENI_IN_USE, f"Interface: [{eni}] in use.")


def attached_cannot_go(eni: str) -> Failed:
    return Failed(INVALID_VALUE, f"Network interface '{eni}' is currently in use.")


def other_zone() -> Failed:
    return Failed(
        INVALID_COMBINATION, "The network interface and the instance are not in the same availability zone"
    )


def primary_stays() -> Failed:
    return Failed(
        NOT_PERMITTED,
        "The network interface at device index 0 and networkCard index 0 cannot be detached.",
    )


def primary_address_stays(address: str, eni: str) -> Failed:
    return Failed(INVALID_VALUE, f"{address} is the primary address of {eni} and cannot be unassigned")


def not_assigned(addresses: Iterable[str], eni: str) -> Failed:
    listed = ", ".join(_short(a) for a in addresses)
    return Failed(INVALID_VALUE, f"Some of [{listed}] are not assigned to interface {eni}")


def no_prefixes(instance_type: str) -> Failed:
    return Failed(UNSUPPORTED, f"The instance type '{instance_type}' does not support delegated prefixes")


def token_mismatch(token: str) -> Failed:
    return Failed(TOKEN_MISMATCH, f"The client token '{_short(token)}' was used with other parameters")


def too_many_tags() -> Failed:
    return Failed(TAG_LIMIT_EXCEEDED, "A resource carries at most 50 tags")


def throttled() -> Failed:
    return Failed(REQUEST_LIMIT_EXCEEDED, "Request limit exceeded.")


def _malformed_code(code: str) -> str:
    """`InvalidVpcID.NotFound` -> `InvalidVpcId.Malformed`; an instance's keeps its capital D."""
    thing = code.removesuffix(".NotFound")
    thing = thing.removesuffix("ID") + "Id" if thing.endswith("ID") and "Instance" not in thing else thing
    return f"{thing}{'Id' if thing == 'InvalidGroup' else ''}.Malformed"


def _is_id(kind: str, text: str) -> bool:
    tail = text.removeprefix(f"{kind}-")
    return tail != text and 0 < len(tail) <= 40 and all(c in "0123456789abcdef-" for c in tail)


def _short(text: str) -> str:
    """Untrusted text, bounded, in ASCII."""
    return ascii(text[:80])[1:-1]
