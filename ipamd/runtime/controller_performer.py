"""What the controller's machine decided meets the world here: EC2, Pods and Nodes of the API server, events.

A call is performed only after its `CallStarted` is on disk, in its lane (WIN-125), and settled exactly once.

    Ec2Error, ClusterError   -> Failed    refused: no effect. A cluster's code is Kubernetes' own reason
    Ec2Lost, ClusterLost     -> Lost      no answer: the effect is unknown
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, NamedTuple, Protocol

from ipamd.core import events as ev
from ipamd.core.branch_calls import DropBranch, FindAvailable, FindBranches, MakeBranch, OpenTrunk
from ipamd.core.calls import (
    AssignPrivateIpAddresses,
    Call,
    Done,
    Failed,
    Lost,
    Outcome,
    Succeeded,
    UnassignPrivateIpAddresses,
)
from ipamd.core.cluster_calls import AdvertiseCapacity, AnnotatePod, ReadInstance
from ipamd.core.types import CallId
from ipamd.k8s.control_views import ControlledNode, ControlledPod, Note
from ipamd.k8s.port import ClusterError, ClusterLost

from .branch_asks import BranchAsks
from .clock import Clock
from .fleet_asks import FleetAsks, spread
from .pace import Bucket, Lanes

CONFLICT_PAUSES: Final = (0.010, 0.050, 0.250)
"""WIN-40: between four tries, each up to a tenth longer."""
NOTES_MAX: Final = 5000
"""Events that may wait to be posted; those above it are dropped, and that is said."""

Settled = Callable[[CallId, Outcome], None]


class Writes(Protocol):
    """What is done at the API server; raises ClusterError and ClusterLost."""

    async def node(self, name: str) -> ControlledNode: ...

    async def annotate_pod(self, pod: ControlledPod, key: str, value: str) -> ControlledPod: ...

    async def advertise(self, node: ControlledNode, resource: str, amount: int) -> None: ...

    async def note(self, note: Note) -> None: ...


class Written(NamedTuple):
    """A write to the API server as the metrics hear of it: `what` is annotate, advertise or note."""

    what: str
    key: str
    fine: bool


class NoCapacityYet(Exception):
    """The Node has no capacity map: the kubelet has not reported yet (WIN-40)."""


class ControllerPerformer:
    """Performs calls in lanes; `on_write` hears of every write."""

    def __init__(
        self, asks: FleetAsks, branches: BranchAsks, writes: Writes, clock: Clock, lanes: Lanes, settled: Settled,
        api: Bucket, notes: Bucket,
    ) -> None:  # fmt: skip
        self.on_write: Callable[[Written], None] = lambda _: None
        self.on_job: Callable[[str, str], None] = lambda lane, what: None
        """Lane and one of submitted, completed, failed, missing (WIN-126)."""
        self.warn: Callable[[str], None] = lambda _: None
        self._asks = asks
        self._branches = branches
        self._writes = writes
        self._clock = clock
        self._lanes = lanes
        self._settled = settled
        self._api = api
        self._note_rate = notes
        self._notes: deque[Note] = deque()
        self._posting = False

    @property
    def asks(self) -> FleetAsks:
        """EC2."""
        return self._asks

    def on_record(self, record: ev.Record) -> None:
        """Queue every call that a durable record intends."""
        for event in record.events:
            if type(event) is ev.CallStarted:
                self.begin(event)

    def begin(self, started: ev.CallStarted) -> None:
        """One call, when its lane has a worker for it."""
        self.on_job(started.lane, "submitted")
        name = f"{type(started.call).__name__} {started.call_id}"

        async def perform() -> None:
            outcome = await self._outcome(started.call, started.call_id)
            missing = isinstance(outcome, Failed) and outcome.code == "NotFound"
            fine = isinstance(outcome, Succeeded)
            self.on_job(started.lane, "completed" if fine else "missing" if missing else "failed")
            self._settled(started.call_id, outcome)

        self._lanes.submit(started.lane, name, perform)

    async def _outcome(self, call: Call, call_id: CallId) -> Outcome:
        match call:
            case AssignPrivateIpAddresses():
                granted = await self._asks.assign(call, call_id)
                return granted if isinstance(granted, Failed | Lost) else Succeeded(granted)
            case UnassignPrivateIpAddresses():
                return await self._asks.unassign(call, call_id) or Succeeded(Done())
            case OpenTrunk():
                trunk = await self._branches.open_trunk(call, call_id)
                return trunk if isinstance(trunk, Failed | Lost) else Succeeded(trunk)
            case MakeBranch():
                made = await self._branches.make(call, call_id)
                return made if isinstance(made, Failed | Lost) else Succeeded(made)
            case DropBranch():
                dropped = await self._branches.drop(call, call_id)
                return dropped if isinstance(dropped, Failed | Lost) else Succeeded(dropped)
            case FindAvailable():
                available = await self._branches.find_available(call_id)
                return available if isinstance(available, Failed | Lost) else Succeeded(available)
            case FindBranches():
                branches = await self._branches.find_branches(call, call_id)
                return branches if isinstance(branches, Failed | Lost) else Succeeded(branches)
            case ReadInstance():
                facts = await self._asks.instance(call.instance, call_id)
                return facts if isinstance(facts, Failed | Lost) else Succeeded(facts)
            case AnnotatePod():
                return await self._write("annotate", call.key, lambda: self._annotate(call), call_id)
            case AdvertiseCapacity():
                return await self._write("advertise", call.resource, lambda: self._advertise(call), call_id)
            case _:
                raise AssertionError(f"the controller does not perform {type(call).__name__}")

    # ---- the API server ----------------------------------------------------------------------------------------

    async def _write(self, what: str, key: str, attempt: Callable[[], Awaitable[None]], call_id: CallId) -> Outcome:
        """One write, again after a conflict."""
        outcome: Outcome = Failed("Conflict")
        for number in range(len(CONFLICT_PAUSES) + 1):
            if number:
                pause = CONFLICT_PAUSES[number - 1]
                await self._clock.sleep(pause * (1 + spread(f"conflict/{call_id}/{number}") / 10))
            await self._api.take()
            try:
                await attempt()
                outcome = Succeeded(Done())
            except NoCapacityYet:
                outcome = Failed("Conflict", "the Node has no capacity yet; tried again at its next event")
                continue
            except ClusterError as error:
                outcome = Failed(error.reason or str(error.code), error.message)
                if error.conflict:
                    continue
            except ClusterLost as lost:
                outcome = Lost(lost.why)
            break
        self.on_write(Written(what, key, isinstance(outcome, Succeeded)))
        return outcome

    async def _annotate(self, call: AnnotatePod) -> None:
        await self._writes.annotate_pod(ControlledPod(call.namespace, call.name, call.uid), call.key, call.value)

    async def _advertise(self, call: AdvertiseCapacity) -> None:
        node = await self._writes.node(call.node)
        if node.capacity is None:
            raise NoCapacityYet
        if call.value == 0 or node.capacity.get(call.resource) != str(call.value):
            await self._writes.advertise(node, call.resource, call.value)

    def post(self, note: Note, spawn: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        """Post a Kubernetes event some time soon; never more than `NOTES_MAX` wait."""
        if len(self._notes) >= NOTES_MAX:
            dropped = self._notes.popleft()
            self.warn(f"event {dropped.reason} of {dropped.kind} {dropped.name}: dropped, {NOTES_MAX} others wait")
        self._notes.append(note)
        if not self._posting:
            self._posting = True
            spawn(self._post_all())

    async def _post_all(self) -> None:
        try:
            while self._notes:
                note = self._notes.popleft()
                await self._note_rate.take()
                fine = True
                try:
                    await self._writes.note(note)
                except (ClusterError, ClusterLost) as error:
                    fine = False
                    self.warn(f"event {note.reason} of {note.kind} {note.name}: not posted: {error}")
                self.on_write(Written("note", note.reason, fine))
        finally:
            self._posting = False
