"""EC2's refusals as this cloud words them: code and message in one place.

Codes are EC2's. Messages say what EC2's say as far as that is publicly seen; the one whose form matters is
`no_such_eni`, from which callers read the id between quotes (EC2-30).
"""

from __future__ import annotations

from collections.abc import Iterable

from ipamd.core.calls import (
    ADDRESS_LIMIT_EXCEEDED,
    ATTACHMENT_LIMIT_EXCEEDED,
    ATTACHMENT_NOT_FOUND,
    ENI_NOT_FOUND,
    INSUFFICIENT_CIDR_BLOCKS,
    INSUFFICIENT_FREE_ADDRESSES,
    REQUEST_LIMIT_EXCEEDED,
    Failed,
)

INVALID_VALUE = "InvalidParameterValue"
INVALID_COMBINATION = "InvalidParameterCombination"
MISSING_PARAMETER = "MissingParameter"
SUBNET_NOT_FOUND = "InvalidSubnetID.NotFound"
INSTANCE_NOT_FOUND = "InvalidInstanceID.NotFound"
ENI_IN_USE = "InvalidNetworkInterface.InUse"
NOT_PERMITTED = "OperationNotPermitted"
TOKEN_MISMATCH = "IdempotentParameterMismatch"
UNSUPPORTED = "UnsupportedOperation"
TAG_LIMIT_EXCEEDED = "TagLimitExceeded"


def no_such_eni(eni: str) -> Failed:
    if not eni:
        return missing("networkInterfaceId")
    if not _is_id("eni", eni):
        return malformed("NetworkInterface", eni, "eni")
    return Failed(ENI_NOT_FOUND, f"The networkInterface ID '{eni}' does not exist")


def no_such_subnet(subnet: str) -> Failed:
    if not subnet:
        return missing("subnetId")
    return Failed(SUBNET_NOT_FOUND, f"The subnet ID '{_short(subnet)}' does not exist")


def no_such_instance(instance: str) -> Failed:
    return Failed(INSTANCE_NOT_FOUND, f"The instance ID '{_short(instance)}' does not exist")


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


def no_free_block() -> Failed:
    return Failed(
        INSUFFICIENT_CIDR_BLOCKS,
        "The specified subnet does not have enough free cidr blocks to satisfy the request.",
    )


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


def _is_id(kind: str, text: str) -> bool:
    head, _, tail = text.partition("-")
    return head == kind and 0 < len(tail) <= 40 and all(c in "0123456789abcdef-" for c in tail)


def _short(text: str) -> str:
    """Untrusted text, bounded, in ASCII."""
    return ascii(text[:80])[1:-1]
