"""Small clouds and short words for the tests of the cloud."""

from __future__ import annotations

from ipamd.core.calls import (
    AssignPrivateIpAddresses,
    AttachNetworkInterface,
    CreatedEni,
    CreateNetworkInterface,
    DescribeNetworkInterfaces,
    Ec2Call,
    Ec2Eni,
    EnisView,
    Failed,
    Granted,
    MetadataView,
    Outcome,
    ReadMetadata,
    Result,
    Succeeded,
)
from ipamd.core.types import Instant
from ipamd.ec2.state import Vpc
from ipamd.ec2.vpc import apply, look


def subnet_of(vpc: Vpc) -> str:
    return next(iter(vpc.subnets))


def primary(vpc: Vpc) -> str:
    return vpc.instances[vpc.first_instance].primary_eni


def creation(vpc: Vpc, token: str = "", secondary_ips: int = -1, prefixes: int = -1) -> CreateNetworkInterface:
    """A well-formed request for an ENI in the first subnet."""
    return CreateNetworkInterface(
        subnet=subnet_of(vpc),
        security_groups=("sg-1",),
        description="aws-K8S-i-1",
        token=token,
        secondary_ips=secondary_ips,
        prefixes=prefixes,
        tags={"node.k8s.amazonaws.com/instance_id": "i-1"},
    )


def done(vpc: Vpc, call: Ec2Call, now: Instant = 0) -> Result:
    """Apply a call that must succeed."""
    outcome = apply(vpc, call, now)
    assert isinstance(outcome, Succeeded), outcome
    return outcome.result


def refused(outcome: Outcome) -> str:
    """The code of a refusal."""
    assert isinstance(outcome, Failed), outcome
    return outcome.code


def created(vpc: Vpc, secondary_ips: int = -1, prefixes: int = -1, now: Instant = 0) -> CreatedEni:
    result = done(vpc, creation(vpc, secondary_ips=secondary_ips, prefixes=prefixes), now)
    assert isinstance(result, CreatedEni)
    return result


def attached(vpc: Vpc, device: int, prefixes: int = -1, now: Instant = 0) -> CreatedEni:
    """A new ENI as a device of the first instance."""
    eni = created(vpc, prefixes=prefixes, now=now)
    done(vpc, AttachNetworkInterface(eni.eni, device), now)
    return eni


def granted(vpc: Vpc, eni: str, secondary_ips: int = 0, prefixes: int = 0, now: Instant = 0) -> Granted:
    result = done(vpc, AssignPrivateIpAddresses(eni, secondary_ips, prefixes), now)
    assert isinstance(result, Granted)
    return result


def described(vpc: Vpc, eni: str, now: Instant = 0) -> Ec2Eni:
    view = look(vpc, DescribeNetworkInterfaces((eni,)), now)
    assert isinstance(view, EnisView), view
    return view.enis[0]


def metadata(vpc: Vpc, now: Instant = 0) -> MetadataView:
    view = look(vpc, ReadMetadata(), now)
    assert isinstance(view, MetadataView), view
    return view
