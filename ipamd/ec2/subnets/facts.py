"""What is known of one subnet, whoever told it: its CIDR, its reservations, and the ENIs that hold its addresses.

Every source (the embedded cloud, a running backend, the AWS CLI's JSON) is turned into these rows, and everything
else here works on them alone. `checked` refuses what cannot be: past it addresses are trusted.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from typing import Final, Literal, TypeAlias

import msgspec

from ipamd.core.types import CidrText, Ipv4Text
from ipamd.ec2.space import subnet_network

ReservationKind: TypeAlias = Literal["prefix", "explicit"]
CNI_INSTANCE_TAG: Final = "node.k8s.amazonaws.com/instance_id"
"""The tag by which the VPC CNI knows its own ENIs, attached or not."""
TRUNK_TAG: Final = "vpcresources.k8s.aws/trunk-eni-id"
"""The tag by which a branch ENI names the trunk it belongs to."""


class WrongFacts(ValueError):
    """What a source tells of a subnet cannot be: the thing, the fact, the remedy."""


class Reservation(msgspec.Struct, frozen=True, omit_defaults=True):
    """A subnet CIDR reservation."""

    cidr: CidrText
    kind: ReservationKind = "prefix"
    """`prefix`: for delegated prefixes alone. `explicit`: for requests that name the address."""
    reservation: str = ""
    description: str = ""


class EniFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """One ENI of the subnet. `addresses[0]` is the primary one."""

    eni: str
    addresses: tuple[Ipv4Text, ...]
    prefixes: tuple[CidrText, ...] = ()
    interface_type: str = "interface"
    description: str = ""
    instance: str = ""
    """The instance it is attached to; empty for an ENI of a service, or one that is attached to nothing."""
    device: int = -1
    attached: bool = False
    goes_with_instance: bool = False
    """Delete on termination: its addresses are free once the instance is gone."""
    requester_managed: bool = False
    trunk: str = ""
    """The trunk ENI of a branch."""
    dns_name: str = ""
    tags: dict[str, str] = {}


class SubnetFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """One subnet and all that lies in it, as far as the source sees."""

    subnet: str
    cidr: CidrText
    zone: str = ""
    vpc: str = ""
    name: str = ""
    available: int | None = None
    """EC2's own count of available addresses, if the source has it."""
    reservations: tuple[Reservation, ...] = ()
    reservations_known: bool = True
    enis: tuple[EniFacts, ...] = ()


class Use(StrEnum):
    """What an ENI is there for."""

    NODE = "node"
    """The primary ENI of an instance; on a node of a cluster it carries pods too."""
    PODS = "pods"
    """A further ENI that the VPC CNI attached."""
    TRUNK = "trunk"
    BRANCH = "branch"
    EFA = "efa"
    CONTROL_PLANE = "eks control plane"
    LOAD_BALANCER = "load balancer"
    NAT_GATEWAY = "nat gateway"
    ENDPOINT = "vpc endpoint"
    DATABASE = "database"
    FILE_SYSTEM = "file system"
    LAMBDA = "lambda"
    SERVICE = "aws service"
    INSTANCE = "instance"
    """Attached to an instance, and none of the above."""
    LEAKED = "leaked by the CNI"
    """The VPC CNI's tag or description, and attached to nothing."""
    UNATTACHED = "unattached"
    EC2 = "ec2"
    """The five addresses that EC2 keeps of every subnet; no ENI."""


_BY_TYPE: Final = {
    "trunk": Use.TRUNK,
    "branch": Use.BRANCH,
    "efa": Use.EFA,
    "efa-only": Use.EFA,
    "nat_gateway": Use.NAT_GATEWAY,
    "natGateway": Use.NAT_GATEWAY,
    "load_balancer": Use.LOAD_BALANCER,
    "network_load_balancer": Use.LOAD_BALANCER,
    "gateway_load_balancer": Use.LOAD_BALANCER,
    "gateway_load_balancer_endpoint": Use.ENDPOINT,
    "vpc_endpoint": Use.ENDPOINT,
    "lambda": Use.LAMBDA,
    "efs": Use.FILE_SYSTEM,
}
_BY_DESCRIPTION: Final = (
    ("aws-k8s-trunk-eni", Use.TRUNK),
    ("aws-k8s-branch-eni", Use.BRANCH),
    ("Amazon EKS ", Use.CONTROL_PLANE),
    ("ELB ", Use.LOAD_BALANCER),
    ("Interface for NAT Gateway", Use.NAT_GATEWAY),
    ("VPC Endpoint Interface", Use.ENDPOINT),
    ("RDSNetworkInterface", Use.DATABASE),
    ("ElastiCache", Use.DATABASE),
    ("EFS mount target", Use.FILE_SYSTEM),
    ("AWS Lambda VPC ENI", Use.LAMBDA),
)
"""Descriptions that the services give their ENIs, by how they begin."""
CNI_DESCRIPTION: Final = "aws-K8S-"


def use_of(eni: EniFacts) -> Use:
    """What the ENI is there for, by its type, its attachment and its description, in this order."""
    if eni.interface_type in _BY_TYPE:
        return _BY_TYPE[eni.interface_type]
    if eni.instance and eni.device == 0:
        return Use.NODE
    found = next((use for start, use in _BY_DESCRIPTION if eni.description.startswith(start)), None)
    if found is not None:
        return found
    if eni.description.startswith(CNI_DESCRIPTION) or CNI_INSTANCE_TAG in eni.tags:
        return Use.PODS if eni.instance else Use.LEAKED
    if eni.instance:
        return Use.INSTANCE
    return Use.SERVICE if eni.requester_managed or eni.attached else Use.UNATTACHED


# ---- what cannot be ------------------------------------------------------------------------------------------


def checked(facts: SubnetFacts) -> SubnetFacts:
    """The same facts. Raises `WrongFacts` for an address outside the subnet, or what is none at all."""
    try:
        network = subnet_network(facts.cidr)
    except ValueError as error:
        raise WrongFacts(f"{facts.subnet}: {error}") from None
    low, high = int(network.network_address), int(network.broadcast_address)
    _check_reservations(facts, network)
    for eni in facts.enis:
        for address in eni.addresses:
            if not low <= _address(eni, address) <= high:
                raise WrongFacts(_outside(f"{eni.eni}: address {address}", facts))
        for prefix in eni.prefixes:
            if not low <= _prefix(eni, prefix) <= high:
                raise WrongFacts(_outside(f"{eni.eni}: prefix {prefix}", facts))
    return facts


def reservation_network(subnet: IPv4Network, cidr: str) -> IPv4Network:
    """The network of a reservation in the subnet. Raises ValueError saying what to write instead."""
    try:
        network = IPv4Network(cidr)
    except (AddressValueError, NetmaskValueError):
        raise ValueError(f"reservation {_cut(cidr)}: want an IPv4 CIDR such as {_a_block(subnet)}") from None
    except ValueError:
        whole = IPv4Network(cidr, strict=False)
        raise ValueError(f"reservation {cidr}: bits are set beyond its length; use {whole}") from None
    if not network.subnet_of(subnet):
        raise ValueError(f"reservation {cidr}: lies outside the subnet's {subnet}; choose a part of it")
    return network


def _a_block(subnet: IPv4Network) -> str:
    return f"{subnet.network_address}/28"


def _check_reservations(facts: SubnetFacts, network: IPv4Network) -> None:
    end, last = -1, ""
    try:
        held = [(reservation_network(network, r.cidr), r.cidr) for r in facts.reservations]
    except ValueError as error:
        raise WrongFacts(f"{facts.subnet}: {error}") from None
    for there, cidr in sorted(held):
        if int(there.network_address) <= end:
            raise WrongFacts(f"{facts.subnet}: reservations {last} and {cidr} overlap; give one state of one account")
        end, last = int(there.broadcast_address), cidr


def _outside(what: str, facts: SubnetFacts) -> str:
    return f"{what}: lies outside {facts.subnet} ({facts.cidr}); give one state of one account"


def _address(eni: EniFacts, text: str) -> int:
    try:
        return int(IPv4Address(text))
    except AddressValueError:
        raise WrongFacts(f'{_cut(eni.eni)}: address "{_cut(text)}": want an IPv4 address such as 10.0.0.5') from None


def _prefix(eni: EniFacts, text: str) -> int:
    first, _, length = text.partition("/")
    try:
        block = int(IPv4Address(first))
    except AddressValueError:
        block = 1
    if length != "28" or block & 15:
        raise WrongFacts(f'{_cut(eni.eni)}: prefix "{_cut(text)}": want an aligned /28 such as 10.0.0.16/28')
    return block


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}..."
