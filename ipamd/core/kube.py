"""Nouns of the cluster: what is known of this node and of a pod, what is written there, what is read.

Facts come in with commands (`Start`, `KubeNodeSeen`, `AddNetwork`, `DelNetwork`); writes are calls like those on EC2,
journaled before and after; ENIConfig and CNINode are looks. `calls` gathers the unions.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

POD_IPS: Final = "vpc.amazonaws.com/pod-ips"
"""Annotation of a pod: the address it was given (EV-2)."""
SECURITY_GROUPS_FOR_PODS: Final = "SecurityGroupsForPods"
CUSTOM_NETWORKING: Final = "CustomNetworking"
MISSING_PERMISSIONS: Final = "MissingIAMPermissions"
"""EV-1: reason of the event."""


class _Tagged(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type"):
    """Frozen, compared by value, encoded with its class name in the member `type`."""


class KubeNode(msgspec.Struct, frozen=True, omit_defaults=True):
    """This node's Node object, as far as it decides anything (EV-5).

    Labels and annotations are those alone that may name the ENIConfig (POOL-40).
    """

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    unschedulable: bool = False
    """POOL-19: it wears the taint node.kubernetes.io/unschedulable:NoSchedule."""


class KubePod(msgspec.Struct, frozen=True, omit_defaults=True):
    """A Pod as a door read it (RPC-22..25, RPC-48)."""

    uid: str = ""
    branch: bool = False
    """RPC-23: the first container's limits name vpc.amazonaws.com/pod-eni."""
    pod_eni: str | None = None
    """The annotation vpc.amazonaws.com/pod-eni, verbatim; None where there is none."""
    trunk_link: int = 0
    """RPC-27: the trunk's Linux interface index; 0 where it was not found or is not needed."""


# ---- writes --------------------------------------------------------------------------------------------------


class SetPodIp(_Tagged, frozen=True, tag=True):
    """EV-3: the pod's annotation says its address; nothing is sent where it does already."""

    namespace: str
    name: str
    address: str


class ClearPodIp(_Tagged, frozen=True, tag=True):
    """EV-4: the annotation becomes empty if it says this address. A pod that is gone is fine."""

    namespace: str
    name: str
    released: str


class AddFeature(_Tagged, frozen=True, tag=True):
    """SGP-3: the node's CNINode has this feature with this value, and no other value of it."""

    node: str
    name: str
    value: str = ""


class RecordEvent(_Tagged, frozen=True, tag=True):
    """EV-1: a warning about this node's daemon pod. `action` is what was tried, such as ec2:CreateTags."""

    reason: str
    action: str
    note: str


KubeCall: TypeAlias = SetPodIp | ClearPodIp | AddFeature | RecordEvent


# ---- looks and views -----------------------------------------------------------------------------------------


class ReadEniConfig(_Tagged, frozen=True, tag=True):
    """POOL-41: one ENIConfig, afresh for each ENI."""

    name: str


class ReadCniNode(_Tagged, frozen=True, tag=True):
    """SGP-3, SGP-7: the features of the node's CNINode."""

    node: str


class EniConfigView(_Tagged, frozen=True, tag=True):
    """What ReadEniConfig saw."""

    subnet: str = ""
    security_groups: tuple[str, ...] = ()


class CniNodeView(_Tagged, frozen=True, tag=True):
    """What ReadCniNode saw: (name, value) of each feature, in order."""

    features: tuple[tuple[str, str], ...] = ()


KubeLook: TypeAlias = ReadEniConfig | ReadCniNode
KubeView: TypeAlias = EniConfigView | CniNodeView
