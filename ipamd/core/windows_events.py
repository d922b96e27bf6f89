"""What can be true of Windows nodes, their pools and pods. Every event names its node."""

from __future__ import annotations

import msgspec

from .cluster_calls import InstanceFacts
from .settings import WindowsQuirks
from .types import CidrText, EniId, Instant
from .windows_commands import WindowsPod
from .windows_config import PoolKind, Targets


class _Event(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag=True):
    """Frozen, compared by value, encoded with its class name in the member `type`."""


class Held(msgspec.Struct, frozen=True):
    """One group (an address with its subnet's mask, or a /28) on an interface."""

    eni: EniId
    group: CidrText


class Resting(msgspec.Struct, frozen=True):
    """One freed address: it rests from `since`."""

    address: CidrText
    group: CidrText
    since: Instant


class Taken(msgspec.Struct, frozen=True):
    """One pod's address."""

    uid: str
    address: CidrText
    group: CidrText


class ControllerOpened(_Event, frozen=True):
    """A tenure began. What is known of nodes and pods is to be seen anew (WIN-68..72)."""

    seed: int
    prefix_delegation: bool = True
    quirks: WindowsQuirks = WindowsQuirks()
    cleaner: bool = False


class ConfigMapChanged(_Event, frozen=True):
    """The raw data, from which every condition and target follows (WIN-18)."""

    data: dict[str, str] | None = None


class LegacyChanged(_Event, frozen=True):
    """The legacy Deployment appeared or went (WIN-22)."""

    present: bool


class NodeKnown(_Event, frozen=True):
    """WIN-28, WIN-29. A managed node is to be initialised unless it is ready; one that is not loses its pools."""

    node: str
    instance: str
    os: str
    managed: bool
    capacity: int = 0
    trunk: bool = False


class NodeForgotten(_Event, frozen=True):
    """WIN-30, or a failed Init (WIN-31), of which `why` tells."""

    node: str
    why: str = ""


class NodeInitialised(_Event, frozen=True):
    """WIN-34: the node is ready; its pools are in the events beside this one."""

    node: str
    facts: InstanceFacts
    prefix_mode: bool = False
    """WIN-114: whether prefix delegation was on."""


class PoolBuilt(_Event, frozen=True):
    """WIN-68, WIN-69: the pool as EC2 and the pods' annotations have it."""

    node: str
    pool: PoolKind
    capacity: int
    targets: Targets
    held: tuple[Held, ...] = ()
    taken: tuple[Taken, ...] = ()
    resting: tuple[Resting, ...] = ()


class PoolConfigured(_Event, frozen=True):
    """WIN-101 (drain), WIN-102 (activate): the config is replaced."""

    node: str
    pool: PoolKind
    targets: Targets


class ModeRemembered(_Event, frozen=True):
    """WIN-115: the node went to the other mode."""

    node: str
    prefix_mode: bool


class PodKnown(_Event, frozen=True):
    """A pod on a node, or news of one."""

    node: str
    pod: WindowsPod


class PodForgotten(_Event, frozen=True):
    """The pod is gone."""

    node: str
    uid: str


class PodWaits(_Event, frozen=True):
    """No address yet, why, and when it is tried again; `due` 0: when its node is ready (WIN-55, WIN-60)."""

    node: str
    uid: str
    why: str
    due: Instant = 0
    failures: int = 0


class WindowsAssigned(_Event, frozen=True):
    """WIN-76 step 7."""

    node: str
    pool: PoolKind
    uid: str
    address: CidrText
    group: CidrText


class WindowsReleased(_Event, frozen=True):
    """WIN-80: the address rests from now."""

    node: str
    pool: PoolKind
    uid: str


class ReleaseRefused(_Event, frozen=True):
    """WIN-65, WIN-80: the pool does not know the pod, or knows another address of it; nothing moved."""

    node: str
    uid: str
    why: str


class Ticked(_Event, frozen=True):
    """WIN-81, WIN-100: the oldest `cooled` resting addresses are assignable again."""

    node: str
    pool: PoolKind
    cooled: int = 0


class ResyncWanted(_Event, frozen=True):
    """WIN-96: a job failed; the pool is to be compared with EC2."""

    node: str
    pool: PoolKind
    why: str = ""


class PoolResynced(_Event, frozen=True):
    """WIN-98: what EC2 has."""

    node: str
    pool: PoolKind
    held: tuple[Held, ...] = ()


class GroupsGained(_Event, frozen=True):
    """A create job's fruit (WIN-96)."""

    node: str
    pool: PoolKind
    held: tuple[Held, ...]


class GroupsKept(_Event, frozen=True):
    """A delete job failed: its groups are warm again (WIN-96)."""

    node: str
    pool: PoolKind
    groups: tuple[CidrText, ...]


class GroupsLost(_Event, frozen=True):
    """A delete job succeeded."""

    node: str
    pool: PoolKind
    groups: tuple[CidrText, ...]


class PrefixesAvailable(_Event, frozen=True):
    """WIN-45, WIN-48: whether the subnet had a /28 when last asked."""

    node: str
    available: bool


class CapacityAdvertised(_Event, frozen=True):
    """WIN-40."""

    node: str
    value: int


class PodAnnotated(_Event, frozen=True):
    """WIN-62."""

    node: str
    uid: str
    value: str


class Announced(_Event, frozen=True):
    """A Kubernetes event to be posted on the node, or on the pod that `uid` names (WIN-44, WIN-73).

    Best effort: posted once its record is durable; there is no second try and nothing waits for it.
    """

    node: str
    reason: str
    message: str
    warning: bool = False
    namespace: str = ""
    pod: str = ""
    uid: str = ""


PoolEvent = (
    PoolConfigured
    | WindowsAssigned
    | WindowsReleased
    | Ticked
    | ResyncWanted
    | PoolResynced
    | GroupsGained
    | GroupsKept
    | GroupsLost
)
"""Events that change one pool and nothing else."""

WindowsEvent = (
    PoolEvent
    | ControllerOpened
    | ConfigMapChanged
    | LegacyChanged
    | NodeKnown
    | NodeForgotten
    | NodeInitialised
    | PoolBuilt
    | ModeRemembered
    | PodKnown
    | PodForgotten
    | PodWaits
    | ReleaseRefused
    | PrefixesAvailable
    | CapacityAdvertised
    | PodAnnotated
    | Announced
)
