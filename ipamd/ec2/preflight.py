"""May we act on AWS: each permission asked for by a dry run, and the least policy that grants them all.

A dry run changes nothing: EC2 answers `DryRunOperation` where the call would be permitted and `UnauthorizedOperation`
where it would not. Two of the calls have no dry run; they are told as not checked rather than tried.

    allowed     the dry run said so
    denied      it said no
    unchecked   EC2 has no dry run for it
    unclear     another answer, which is shown
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Literal, TypeAlias

import msgspec

from .boto import BotoCloud, Identity
from .boto_client import Request
from .port import Ec2Error, Ec2Lost

Verdict: TypeAlias = Literal["allowed", "denied", "unchecked", "unclear"]

ACTIONS: Final = (
    "AssignPrivateIpAddresses",
    "AttachNetworkInterface",
    "CreateNetworkInterface",
    "CreateTags",
    "DeleteNetworkInterface",
    "DescribeInstanceTypes",
    "DescribeInstances",
    "DescribeNetworkInterfaces",
    "DescribeSubnets",
    "DetachNetworkInterface",
    "ModifyNetworkInterfaceAttribute",
    "UnassignPrivateIpAddresses",
)
"""What ipamd asks of EC2 in IPv4. Of EC2-50 these lack DescribeTags and DescribeSecurityGroups, which upstream's
policy names and upstream never calls (EC2-28)."""
NO_DRY_RUN: Final = frozenset({"AssignPrivateIpAddresses", "UnassignPrivateIpAddresses"})
PERMITTED: Final = "DryRunOperation"
DENIED: Final = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"})
_NOWHERE: Final = "eni-attach-00000000000000000"
"""A detach needs some attachment; the real one is not named, dry run or not."""


class Check(msgspec.Struct, frozen=True):
    """One permission."""

    action: str
    verdict: Verdict
    said: str = ""


class Preflight(msgspec.Struct, frozen=True):
    """What was found out."""

    account: str
    region: str
    instance: str
    endpoint: str
    checks: tuple[Check, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Actions that are denied."""
        return tuple(check.action for check in self.checks if check.verdict == "denied")


def partition(region: str) -> str:
    """The part of AWS that a region's ARNs begin with."""
    return "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"


def policy(region: str = "") -> dict[str, Any]:
    """The least IAM policy (EC2-50): tags may be set on ENIs alone."""
    others = [f"ec2:{action}" for action in ACTIONS if action != "CreateTags"]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": others, "Resource": "*"},
            {
                "Effect": "Allow",
                "Action": ["ec2:CreateTags"],
                "Resource": [f"arn:{partition(region)}:ec2:*:*:network-interface/*"],
            },
        ],
    }


async def preflight(cloud: BotoCloud) -> Preflight:
    """Ask for every permission. Raises `Ec2Error` or `Ec2Lost` if nobody can be asked."""
    checks = await asyncio.gather(*(_check(cloud, action) for action in ACTIONS))
    who = await _identity(cloud, checks)
    return Preflight(who.account, who.region, who.instance, who.endpoint, tuple(checks))


async def _identity(cloud: BotoCloud, checks: list[Check]) -> Identity:
    """As EC2 confirms it; by metadata alone where DescribeInstances is denied."""
    if any(check.action == "DescribeInstances" and check.verdict == "denied" for check in checks):
        facts = cloud.facts
        return Identity(
            facts.account, facts.region, facts.instance, facts.instance_type, facts.primary_eni, cloud.endpoint
        )
    return await cloud.identity()


async def _check(cloud: BotoCloud, action: str) -> Check:
    if action in NO_DRY_RUN:
        return Check(action, "unchecked", "EC2 has no dry run for it")
    method, asked = _call(cloud, action)
    request = Request(action, repeatable=True, read=True)
    try:
        await cloud.ask(request, lambda client: getattr(client, method)(DryRun=True, **asked))
    except Ec2Error as error:
        if error.code == PERMITTED:
            return Check(action, "allowed")
        if error.code in DENIED:
            return Check(action, "denied", error.message)
        if not error.code:
            raise
        return Check(action, "unclear", f"{error.code}: {error.message}")
    except Ec2Lost:
        raise
    return Check(action, "unclear", "a dry run was answered as if it were none")


def _call(cloud: BotoCloud, action: str) -> tuple[str, dict[str, Any]]:
    """boto3's method and parameters that name what is there: the instance, its primary ENI and its subnet."""
    facts = cloud.facts
    eni = {"NetworkInterfaceId": facts.primary_eni}
    match action:
        case "AttachNetworkInterface":
            return "attach_network_interface", {**eni, "InstanceId": facts.instance, "DeviceIndex": 1}
        case "CreateNetworkInterface":
            return "create_network_interface", {"SubnetId": facts.subnet}
        case "CreateTags":
            tags = [{"Key": "node.k8s.amazonaws.com/instance_id", "Value": facts.instance}]
            return "create_tags", {"Resources": [facts.primary_eni], "Tags": tags}
        case "DeleteNetworkInterface":
            return "delete_network_interface", eni
        case "DescribeInstanceTypes":
            return "describe_instance_types", {"InstanceTypes": [facts.instance_type]}
        case "DescribeInstances":
            return "describe_instances", {"InstanceIds": [facts.instance]}
        case "DescribeNetworkInterfaces":
            return "describe_network_interfaces", {"NetworkInterfaceIds": [facts.primary_eni]}
        case "DescribeSubnets":
            return "describe_subnets", {"SubnetIds": [facts.subnet]}
        case "DetachNetworkInterface":
            return "detach_network_interface", {"AttachmentId": _NOWHERE}
        case "ModifyNetworkInterfaceAttribute":
            return "modify_network_interface_attribute", {**eni, "Description": {"Value": ""}}
        case _:
            raise AssertionError(f"{action} has no dry run")
