"""What can be true. Each event is one member of a record's `events`; `evolve` says what it means.

Addresses and blocks are dotted text, instants are the record's own `at` unless a field names another one.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from .branch_events import BranchEvent
from .calls import Call
from .commands import CallLane, Command, Lane, Restored
from .kube import KubeNode
from .settings import Node, Settings
from .types import CallId, CidrText, ConnectionTracking, EniId, Instant, IpText, Pod, Sandbox
from .windows_events import WindowsEvent
from .work import Turn, Work


class _Event(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag=True):
    """Frozen, compared by value, encoded with its class name in the member `type`."""


class Started(_Event, frozen=True):
    """A process began its tenure; volatile state starts anew under `restart_forgets`."""

    settings: Settings
    node: Node
    seed: int
    restored: tuple[Restored, ...] = ()
    """Rows of a checkpoint, to be matched with the ENIs once these are known (DM-64)."""
    kube_node: KubeNode | None = None


class NodeReady(_Event, frozen=True):
    """Init is over: the doors may open (RPC-6)."""


class InitFailed(_Event, frozen=True):
    """A fatal step of init failed; the process exits with code 1."""

    step: str
    code: str
    message: str = ""


class Terminating(_Event, frozen=True):
    """RPC-8: no ENI or address is attached or freed from now on."""


class KubeNodeChanged(_Event, frozen=True):
    """The Node object says something else about the ENIConfig or about scheduling (POOL-19, POOL-40)."""

    node: KubeNode


class MaxPodsChanged(_Event, frozen=True):
    """INIT-7: the Node's capacity, read after a start without API server."""

    max_pods: int


class VpcCidrsChanged(_Event, frozen=True):
    """INIT-17, INIT-30."""

    cidrs: tuple[CidrText, ...]


class SecurityGroupsChanged(_Event, frozen=True):
    """POOL-51: the cached set."""

    groups: tuple[str, ...]


class ConnectionTrackingSeen(_Event, frozen=True):
    """EC2-34: the primary ENI's timeouts, which new ENIs get too; None: none is set."""

    tracking: ConnectionTracking | None = None


class CallStarted(_Event, frozen=True):
    """The intention to call. Performed only after this record is on disk."""

    call_id: CallId
    call: Call
    lane: CallLane = "pool"
    node: str = ""
    """Whose call it is, in a controller of many nodes."""


class CallEnded(_Event, frozen=True):
    """How a call came back; what it brought is in the events beside it."""

    call_id: CallId
    ended: Literal["succeeded", "failed", "lost"]
    code: str = ""
    message: str = ""


class WorkMoved(_Event, frozen=True):
    """A lane's continuation. None: the lane is idle and its next beat counts from here."""

    work: Work | None
    lane: Lane = "pool"
    next: Literal["update", "resync"] = "resync"
    """Which half of the pool cycle comes first after this (POOL-13)."""
    turn: Turn | None = None
    """The cards that follow when `work` ends; None: those that followed before, and none after a `Turn` or an end."""


class EniCreated(_Event, frozen=True):
    """EC2 made an ENI for us; it is not attached yet and would be an orphan after a crash."""

    eni: EniId
    primary_ip: IpText
    subnet: str
    token: str


class EniAttached(_Event, frozen=True):
    """The ENI hangs on the instance; instance metadata will show it some time later."""

    eni: EniId
    attachment: str
    device: int


class EniDiscarded(_Event, frozen=True):
    """An ENI of no store is gone: never attached, or freed; or it is given up to the leaked-ENI cleaner."""

    eni: EniId


class EniReady(_Event, frozen=True):
    """The ENI is in its card's store (DM-3); its age counts from here. Said again, it only tells trunk and EFA anew."""

    eni: EniId
    mac: str
    device: int
    table: int
    subnet: str
    subnet_cidr: CidrText
    primary_ip: IpText
    card: int = 0
    primary: bool = False
    trunk: bool = False
    efa: bool = False


class EniExcluded(_Event, frozen=True):
    """POOL-47: its subnet's tag keeps it from serving new pods, or does so no longer."""

    eni: EniId
    excluded: bool


class UnmanagedEnisChanged(_Event, frozen=True):
    """DM-51: the attached ENIs that stay out of the stores, sorted; replaces what was known.

    `counted` are those that take room, with their card; None, in old journals: all of them, on card 0.
    """

    enis: tuple[EniId, ...]
    counted: dict[EniId, int] | None = None


class CardsManaged(_Event, frozen=True):
    """DM-1, DM-50: these network cards have a store each, ascending; without this event it is card 0 alone."""

    cards: tuple[int, ...]


class EniLeft(_Event, frozen=True):
    """The ENI left its store: freed by the pool (DM-40), or gone from the instance (DM-42, with its pods)."""

    eni: EniId
    why: Literal["freed", "gone"]
    pods: int = 0


class CidrAdded(_Event, frozen=True):
    """A secondary address (/32) or a prefix (/28; in IPv6 /80) came to an ENI (DM-12, DM-14)."""

    eni: EniId
    cidr: CidrText


class CidrRemoved(_Event, frozen=True):
    """A block left the store (DM-13). Until `held_until` it is not learnt again from metadata (REC-11)."""

    eni: EniId
    cidr: CidrText
    why: Literal["scale_down", "leftover", "excluded", "resync", "restart"]
    held_until: Instant = 0
    pods: int = 0


class HoldEnded(_Event, frozen=True):
    """A freed block is really back on its ENI: its cooldown entry goes (REC-10)."""

    cidr: CidrText


class AddressAssigned(_Event, frozen=True):
    """DM-21. `block` is the CIDR of `eni` that the address belongs to.

    `since` is the time of a row that a checkpoint had; 0: assigned by this very record.
    """

    address: IpText
    eni: EniId
    block: CidrText
    sandbox: Sandbox
    pod: Pod = Pod()
    since: Instant = 0


class RowDropped(_Event, frozen=True):
    """A row of a checkpoint that holds no more: its veth is gone (DM-62), or no ENI has its address (DM-64)."""

    address: IpText
    sandbox: Sandbox
    why: Literal["veth", "address"]
    pod: Pod = Pod()


class AddressReleased(_Event, frozen=True):
    """DM-26: the cooldown begins. `stale` rows (DM-62) were dropped at start and do not cool."""

    address: IpText
    eni: EniId
    block: CidrText
    stale: bool = False


class AssignRefused(_Event, frozen=True):
    """No address for this sandbox, and which of the known reasons it was."""

    reason: str
    fact: str = ""
    sandbox: Sandbox | None = None
    pod: Pod = Pod()


class SubnetExhausted(_Event, frozen=True):
    """POOL-28: the subnet cannot give more; the 120 s pause begins."""

    code: str
    message: str = ""


class PoolActed(_Event, frozen=True):
    """The pool's decision with the figures behind it, or the completion that stamps the clocks (POOL-15, POOL-17)."""

    action: Literal["increase", "increased", "decrease", "decreased", "free"]
    card: int = 0
    why: dict[str, int] = {}


class Resynced(_Event, frozen=True):
    """REC-15: a reconcile ran to its end."""


class PurgeDue(_Event, frozen=True):
    """DM-32: an excluded ENI's block lost its last pod and is to go at `due`, if it is still so."""

    eni: EniId
    cidr: CidrText
    due: Instant


class PurgeEnded(_Event, frozen=True):
    """The delayed purge was looked at, whatever came of it."""

    eni: EniId
    cidr: CidrText


class ErrorCounted(_Event, frozen=True):
    """A failure that upstream counts (HTTP-22, HTTP-23, SGP-4, SGP-6) or only logs (`counter` is then "")."""

    fn: str
    message: str
    code: str = ""
    counter: Literal["ipamd", "aws_utils", "pod_eni", ""] = "ipamd"


class ReconcileCounted(_Event, frozen=True):
    """`awscni_reconcile_count{fn}` moved by `times`."""

    fn: str
    times: int = 1


Event: TypeAlias = (
    AddressAssigned
    | AddressReleased
    | AssignRefused
    | RowDropped
    | CidrAdded
    | CidrRemoved
    | CallStarted
    | CallEnded
    | WorkMoved
    | PoolActed
    | Resynced
    | EniCreated
    | EniAttached
    | EniDiscarded
    | EniReady
    | EniExcluded
    | UnmanagedEnisChanged
    | CardsManaged
    | EniLeft
    | HoldEnded
    | SubnetExhausted
    | PurgeDue
    | PurgeEnded
    | ErrorCounted
    | ReconcileCounted
    | KubeNodeChanged
    | MaxPodsChanged
    | VpcCidrsChanged
    | SecurityGroupsChanged
    | ConnectionTrackingSeen
    | Started
    | NodeReady
    | InitFailed
    | Terminating
    | WindowsEvent
    | BranchEvent
)


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One journal line, atomic. `v` is the format's version; `at` never runs back; `seq` has no gaps."""

    v: int
    seq: int
    at: Instant
    node: str
    cause: Command
    events: tuple[Event, ...]


FORMAT = 1
"""The journal format that this code writes."""
