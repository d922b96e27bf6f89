"""What is told of trunks and branch interfaces, and what can be true of them. The cleaner's events name no node."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from .branch_calls import Branch, TrunkFacts
from .types import EniId, Instant


class _Named(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag=True):
    """Frozen, compared by value, encoded with its class name in the member `type`."""


class BranchPod(msgspec.Struct, frozen=True, omit_defaults=True):
    """A pod that asks for branch interfaces. `groups` are those of its policies now; none: the instance's."""

    uid: str
    namespace: str
    name: str
    wanted: int = 1
    annotation: str = ""
    done: bool = False
    groups: tuple[str, ...] = ()


# ---- commands --------------------------------------------------------------------------------------------------


class CooldownSeen(_Named, frozen=True):
    """Key branch-eni-cooldown of the ConfigMap, verbatim; None where there is none (WIN-144, WIN-145)."""

    text: str | None = None


class TrunkSeen(_Named, frozen=True):
    """A Linux node that may carry a trunk was seen. `capacity`: what it advertises now."""

    node: str
    instance: str
    capacity: int = 0


class TrunkGone(_Named, frozen=True):
    """The node is gone, or carries no trunk any more."""

    node: str


class BranchPodSeen(_Named, frozen=True):
    """A pod that requests branch interfaces stands on a node."""

    node: str
    pod: BranchPod


class BranchPodGone(_Named, frozen=True):
    """The pod object is gone."""

    node: str
    uid: str


class BranchDue(_Named, frozen=True):
    """The earliest moment of `branch_state.next_due` has come."""


BranchCommand: TypeAlias = CooldownSeen | TrunkSeen | TrunkGone | BranchPodSeen | BranchPodGone | BranchDue


# ---- events ----------------------------------------------------------------------------------------------------


class CooldownChanged(_Named, frozen=True):
    """The period that branch interfaces rest before they are deleted."""

    seconds: int


class TrunkKnown(_Named, frozen=True):
    """The node's trunk is being opened."""

    node: str
    instance: str


class TrunkOpened(_Named, frozen=True):
    """WIN-138. `adopted`: pod -> the branches that its annotation names; the others are to be deleted at once."""

    node: str
    facts: TrunkFacts
    adopted: dict[str, tuple[Branch, ...]] = {}


class TrunkRefused(_Named, frozen=True):
    """No trunk here: the type, or what EC2 said. It is tried again if `again`, at the node's next event."""

    node: str
    why: str
    again: bool = True


class TrunkLeaving(_Named, frozen=True):
    """The node is gone; its branches are deleted from `due` on (WIN-146)."""

    node: str
    due: Instant


class TrunkForgotten(_Named, frozen=True):
    """Nothing is left of it."""

    node: str


class BranchPodKnown(_Named, frozen=True):
    """A pod, or news of one."""

    node: str
    pod: BranchPod


class BranchPodForgotten(_Named, frozen=True):
    """The pod is gone and holds nothing."""

    node: str
    uid: str


class BranchWaits(_Named, frozen=True):
    """No branch yet; tried again at `due`, or when the trunk is open (0)."""

    node: str
    uid: str
    why: str
    due: Instant = 0
    failures: int = 0


class BranchMade(_Named, frozen=True):
    """A branch for a pod; without one the VLAN is free again, and the pod's attempt has failed."""

    node: str
    uid: str
    vlan: int
    branch: Branch | None = None
    error: str = ""


class BranchesAnnotated(_Named, frozen=True):
    """The pod's annotation names its branches."""

    node: str
    uid: str


class BranchesQueued(_Named, frozen=True):
    """The pod's branches are to be deleted: at the back of the queue from `since`, or (0) at its front at once."""

    node: str
    uid: str
    since: Instant = 0


class BranchTicked(_Named, frozen=True):
    """WIN-143: the queue was looked through."""

    node: str


class BranchGone(_Named, frozen=True):
    """A branch is deleted, its VLAN free."""

    node: str
    eni: EniId


class BranchKept(_Named, frozen=True):
    """It could not be deleted; tried again, or (`leaked`) forgotten with its VLAN."""

    node: str
    eni: EniId
    error: str
    leaked: bool = False


class CleanerBegan(_Named, frozen=True):
    """WIN-146: a round over the cluster's interfaces began; the next is in 30 minutes."""


class CleanerRan(_Named, frozen=True):
    """What hangs on nothing and no trunk knows, and what of it is deleted now: the round before saw it too."""

    seen: tuple[EniId, ...]
    leaked: tuple[EniId, ...] = ()
    controller: int = 0
    cni: int = 0
    """How many were found, by who made them."""


class LeakCheckBegan(_Named, frozen=True):
    """WIN-146: EC2 is asked what carries the trunk's tag."""

    node: str


class LeakChecked(_Named, frozen=True):
    """Branches that were nobody's are to be deleted at once; the next check is `every` ns from now at the earliest."""

    node: str
    leaked: tuple[Branch, ...]
    every: int


BranchEvent: TypeAlias = (
    CooldownChanged | TrunkKnown | TrunkOpened | TrunkRefused | TrunkLeaving | TrunkForgotten | BranchPodKnown
    | BranchPodForgotten | BranchWaits | BranchMade | BranchesAnnotated | BranchesQueued | BranchTicked | BranchGone
    | BranchKept | CleanerBegan | CleanerRan | LeakCheckBegan | LeakChecked
)
