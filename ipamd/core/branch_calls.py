"""Branch interfaces: what is asked of EC2 for them, and what comes back (section 8: WIN-136..146).

Each call is a small sequence at EC2 that a crash may cut short anywhere: what is then left carries the trunk's tags,
and opening the trunk anew finds it. A `Branch` is what a pod's annotation says of one of its interfaces (WIN-142).
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from .types import CidrText, EniId, Ipv4Text

POD_ENI: Final = "vpc.amazonaws.com/pod-eni"


class _Tagged(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type"):
    """Frozen, compared by value, encoded with its class name in the member `type`."""


class Branch(msgspec.Struct, frozen=True, omit_defaults=True):
    """One branch interface. An empty association: it was made and is on no trunk."""

    eni: EniId
    mac: str = ""
    private_ip: Ipv4Text = ""
    vlan: int = 0
    subnet_cidr: CidrText = ""
    association: str = ""


class OpenTrunk(_Tagged, frozen=True, tag=True):
    """WIN-138: find or make the trunk of an instance, and list what hangs on it. Result: `TrunkFacts`."""

    instance: str


class MakeBranch(_Tagged, frozen=True, tag=True):
    """WIN-141: create an interface with the VLAN's tags and associate it. Result: `BranchFacts`."""

    trunk: EniId
    uid: str
    """Of the pod."""
    vlan: int
    subnet: str
    security_groups: tuple[str, ...]
    instance: str


class DropBranch(_Tagged, frozen=True, tag=True):
    """WIN-143: disassociate, errors tolerated, and delete; an interface that is gone already is fine."""

    branch: Branch


class FindAvailable(_Tagged, frozen=True, tag=True):
    """WIN-146: the cluster's interfaces that hang on nothing. Result: `Available`."""


class FindBranches(_Tagged, frozen=True, tag=True):
    """WIN-146: everything that carries the trunk's tag. Result: `BranchesFound`."""

    trunk: EniId
    subnet: str


class Available(_Tagged, frozen=True, tag=True):
    """Interfaces in state `available`, by who made them: this controller, or the CNI on its nodes."""

    controller: tuple[EniId, ...] = ()
    cni: tuple[EniId, ...] = ()


class BranchesFound(_Tagged, frozen=True, tag=True):
    """What FindBranches found, lowest VLAN first."""

    branches: tuple[Branch, ...] = ()


class TrunkFacts(_Tagged, frozen=True, tag=True):
    """What OpenTrunk found. A limit of 0: the type cannot carry a trunk, or its limit is not known (WIN-136)."""

    instance_type: str
    limit: int = 0
    """Branch interfaces that the type carries."""
    trunk: EniId = ""
    subnet: str = ""
    security_groups: tuple[str, ...] = ()
    branches: tuple[Branch, ...] = ()
    made: bool = False
    """The trunk was made just now."""
    unreconciled: tuple[str, ...] = ()
    """Attributes in which a trunk that was there differs from the node: security_groups, subnet (WIN-130)."""


class BranchFacts(_Tagged, frozen=True, tag=True):
    """What MakeBranch came to: `error` says what failed after the interface was made, which is then to be dropped."""

    branch: Branch
    error: str = ""


BranchCall: TypeAlias = OpenTrunk | MakeBranch | DropBranch | FindAvailable | FindBranches
BranchResult: TypeAlias = TrunkFacts | BranchFacts | Available | BranchesFound
