"""What the machine can be told. A command that makes events is the `cause` of their record, whole.

Answers, what `decide` says back to whoever waits, are here too: a refusal is a value, not an exception.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from .branch_events import BranchCommand
from .calls import Failed, Look, Outcome, View
from .kube import KubeNode, KubePod
from .settings import Node, Settings
from .types import CallId, EniId, Instant, IpText, Pod, Sandbox
from .windows_commands import PodAnswer, WindowsCommand

Lane: TypeAlias = Literal["pool", "watch", "purge", "leaks", "trunk"]
"""Sequences of their own: the pool loop (POOL-13), the 30 s watcher (INIT-30, INIT-31), delayed purges (DM-32),
the hourly search for leaked ENIs (EC2-41), the feature that asks for a trunk ENI (SGP-7)."""


CallLane: TypeAlias = Lane | Literal["side", "node", "pod", "secondary", "prefix", "pod-eni"]
"""Where a call belongs: a lane that waits for it, nobody ("side"), or the workers of a controller's nodes."""


class _Command(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag=True):
    """Frozen, compared by value, encoded with its class name in the member `type`."""


class Restored(msgspec.Struct, frozen=True, omit_defaults=True):
    """One row of a checkpoint that another ipamd left behind (DM-58). `at`: when it was assigned, ns."""

    sandbox: Sandbox
    address: str
    at: Instant
    pod: Pod = Pod()
    card: int = 0


class Start(_Command, frozen=True):
    """The process began: ends every call in flight as lost and starts node init.

    `seed` is drawn by the driver; client tokens and backoff jitter derive from it. `restored` is what a checkpoint
    says is assigned; only the first start of a journal has one (DM-61).
    """

    settings: Settings
    node: Node
    seed: int
    restored: tuple[Restored, ...] = ()
    kube_node: KubeNode | None = None
    """The Node object, where an API server told it."""


class AddNetwork(_Command, frozen=True):
    """An address for a sandbox (RPC-21..42); with `multi_nic` one of each managed card (RPC-29)."""

    sandbox: Sandbox
    pod: Pod = Pod()
    multi_nic: bool = False
    kube_pod: KubePod | None = None
    """With ENABLE_POD_ENI: the Pod; None if it could not be read (RPC-22)."""


class DelNetwork(_Command, frozen=True):
    """A sandbox gives its address back (RPC-43..57). `reason` is the caller's, verbatim."""

    sandbox: Sandbox
    reason: str = ""
    pod: Pod = Pod()
    """Whose annotation says the address (RPC-54); the one that got it where nobody is named."""
    uid: str = ""
    """K8S_POD_UID; only with `kube_pod`."""
    kube_pod: KubePod | None = None
    """With ENABLE_POD_ENI and a sandbox that holds nothing here: the Pod (RPC-48)."""


class KubeNodeSeen(_Command, frozen=True):
    """The Node object as it is now. `max_pods`: its capacity, once the API server is there at last (INIT-7)."""

    node: KubeNode
    max_pods: int | None = None


class RefuseAdd(_Command, frozen=True):
    """A door turned an AddNetwork away before it could name a sandbox: too long a field, say. For the record."""

    pod: Pod
    reason: str
    fact: str


class Tick(_Command, frozen=True):
    """A lane's next step is due."""

    lane: Lane = "pool"


class Observed(_Command, frozen=True):
    """What a look saw, or why it saw nothing."""

    look: Look
    seen: View | Failed


class Settle(_Command, frozen=True):
    """A call came back."""

    call_id: CallId
    outcome: Outcome


class Terminate(_Command, frozen=True):
    """SIGTERM: from now on nothing is attached or freed (RPC-8)."""


class Imported(_Command, frozen=True):
    """Read in somebody's logs (`ipamd import`): the events beside it were not decided here, so nothing is decided anew.

    `source` is the file as the bundle names it, `line` counts from 1 (0: the file as a whole). `demand` is the
    command whose outcome the events are, so that it can be lived again under other settings. `assumed` says in words
    what the papers do not tell and the events state all the same.
    """

    source: str
    line: int = 0
    demand: AddNetwork | DelNetwork | Start | Terminate | None = None
    assumed: tuple[str, ...] = ()


Command: TypeAlias = (
    Start
    | AddNetwork
    | DelNetwork
    | RefuseAdd
    | Tick
    | Observed
    | Settle
    | Terminate
    | KubeNodeSeen
    | WindowsCommand | BranchCommand
    | Imported
)


def asked(cause: Command) -> Command:
    """The command that a record answers: its cause, or what an imported one says that it was."""
    return cause.demand if isinstance(cause, Imported) and cause.demand is not None else cause


# ---- answers -------------------------------------------------------------------------------------------------


class Assigned(msgspec.Struct, frozen=True):
    """Success of AddNetwork. `repeated`: the sandbox held it already (DM-30). `others` are those of further cards."""

    address: IpText
    eni: EniId
    device: int
    table: int
    repeated: bool = False
    others: tuple[Assigned, ...] = ()


class Refused(msgspec.Struct, frozen=True):
    """No address. `reason` is one word of `reasons.REASONS`; fact and remedy are for people."""

    reason: str
    fact: str
    remedy: str

    @property
    def text(self) -> str:
        """One line: reason, fact and remedy."""
        return f"{self.reason}: {self.fact}; {self.remedy}"


class Released(msgspec.Struct, frozen=True):
    """Success of DelNetwork (DM-27): a count of 0 interfaces is reported as 1. `others` are those of further cards."""

    address: IpText
    eni: EniId
    device: int
    table: int
    interfaces: int
    others: tuple[Released, ...] = ()


class Hollow(msgspec.Struct, frozen=True):
    """Success without an address: only under the quirk `last_store_by_index` (RPC-40, RPC-57)."""


class UnknownPod(msgspec.Struct, frozen=True):
    """DelNetwork of a sandbox that holds nothing (DM-25)."""

    sandbox: Sandbox


class NotReady(msgspec.Struct, frozen=True):
    """Node init has not ended, or failed: no door should be open yet."""

    phase: str


class BranchAssigned(msgspec.Struct, frozen=True):
    """Success of AddNetwork for a pod with a branch ENI (RPC-26): nothing here is assigned or remembered."""

    address: str
    vlan: int
    mac: str
    gateway: str
    parent: int
    """Interface index of the trunk ENI."""


class BranchReleased(msgspec.Struct, frozen=True):
    """DelNetwork of a pod with a branch ENI (RPC-48 d)."""

    address: str
    vlan: int


class BranchFault(msgspec.Struct, frozen=True):
    """DelNetwork of a pod that is not the one it says, or whose annotation cannot be used (RPC-48 b, c)."""

    text: str


class After(msgspec.Struct, frozen=True):
    """The answer that may leave once a call has ended; `failure` is then what the call's end was, "" if it is fine."""

    call_id: CallId
    answer: Assigned | Released | BranchAssigned
    failure: str = ""


Answer: TypeAlias = (
    Assigned
    | Refused
    | Released
    | UnknownPod
    | Hollow
    | NotReady
    | BranchAssigned
    | BranchReleased
    | BranchFault
    | After
    | PodAnswer
    | None
)
