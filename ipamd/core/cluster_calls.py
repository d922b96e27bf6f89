"""Calls whose object is one of many nodes or pods: what a controller asks of EC2 and of the API server.

They are `Call`s like all others (`calls.Call` lists them): journaled before they are performed and after. Names of
Kubernetes things are the cluster's own; `uid` guards against an object that was made anew under the same name.
"""

from __future__ import annotations

from typing import Final

import msgspec

from .types import CidrText, EniId, Ipv4Text

PRIVATE_IPV4: Final = "vpc.amazonaws.com/PrivateIPv4Address"
"""Extended resource, pod annotation and the name in pod events alike (WIN-40, WIN-60, WIN-62)."""


class _Tagged(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type"):
    """Frozen, compared by value, encoded with its class name in the member `type`."""


class AnnotatePod(_Tagged, frozen=True, tag=True):
    """Set one annotation by merge patch; an empty value removes it. Refused when the pod's UID is another."""

    namespace: str
    name: str
    uid: str
    key: str
    value: str


class AdvertiseCapacity(_Tagged, frozen=True, tag=True):
    """WIN-40: `status.capacity[resource]` of a Node."""

    node: str
    resource: str
    value: int


class ReadInstance(_Tagged, frozen=True, tag=True):
    """WIN-33, WIN-98: one instance with its interfaces, subnet and type. Its result is `InstanceFacts`."""

    instance: str


class InterfaceFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """One attached interface: secondary addresses (the primary one is left out) and prefixes."""

    eni: EniId
    addresses: tuple[Ipv4Text, ...] = ()
    prefixes: tuple[CidrText, ...] = ()


class InstanceFacts(_Tagged, frozen=True, tag=True):
    """Result of ReadInstance. The primary interface comes first; limits are the driver's, from its type table."""

    instance_type: str
    subnet_cidr: CidrText
    interfaces: tuple[InterfaceFacts, ...]
    ips_per_eni: int = 0
    """L of WIN-37; 0 for a type that is not in the table."""
    nitro: bool = False
    """WIN-36; bare metal counts."""


ClusterCall = AnnotatePod | AdvertiseCapacity | ReadInstance
