"""The controller's process: many nodes, one State, one journal; the second driver of the datastore.

    doors open (every replica: webhook, introspection, metrics, health)
      -> conditions are watched -> the Lease is ours -> journal and cloud open
      -> OpenController -> pods and nodes are listed -> told -> changes, due moments, calls
      -> SIGTERM, or the Lease lost -> doors close -> sync, snapshot, close -> the Lease given up

Only the leader opens journal and cloud, so replicas on one machine may share a directory. A journal may hold
several tenures; each begins with `ControllerOpened`, and what the cluster and EC2 say then counts (WIN-68..72).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, NamedTuple

from ipamd.core import branch_state
from ipamd.core import events as ev
from ipamd.core.branch_events import BranchDue
from ipamd.core.calls import Outcome
from ipamd.core.commands import Command, Settle
from ipamd.core.state import State
from ipamd.core.types import SECOND, CallId, Instant
from ipamd.core.windows_commands import NodeGone, OpenController, WindowsDue
from ipamd.core.windows_config import conditions
from ipamd.core.windows_decide import unseen
from ipamd.core.windows_events import Announced, NodeInitialised
from ipamd.core.windows_state import next_due
from ipamd.core.windows_views import shortfall
from ipamd.ec2.branch_limits import BRANCHES
from ipamd.ec2.fleet import Fleet
from ipamd.journal.errors import JournalError
from ipamd.journal.journal import Journal
from ipamd.k8s.control import ControlCluster
from ipamd.k8s.control_views import ControlledNode, Note
from ipamd.k8s.lease import Election

from .branch_asks import BranchAsks
from .clock import Clock, Timer
from .cni_nodes import CniNodes
from .controller_performer import ControllerPerformer
from .daemon import ANSWER_SECONDS, PARTING_SECONDS, SNAPSHOT_SECONDS, Door, Limits
from .datastore import Datastore
from .fleet_asks import FleetAsks
from .informers import TYPE_LABELS, Informers, instance_of, label_of
from .pace import EC2_BURST, EC2_QPS, Bucket, Lanes
from .tasks import Tasks

CHAIN_MAX: Final = 1_000_000
"""Moments that may be due at one instant; more would be a loop."""
API_QPS: Final = 20.0
API_BURST: Final = 30
"""WIN-135."""
LAG_MAX: Final = 28.0
"""Seconds: WIN-134's time limit of a check."""
RECORDS_OF: Final = "controller"
"""The member `node` of every record: what it is about stands in its events."""
NAMED_NODE: Final = frozenset(
    {
        "ControllerVersionNotice", "Unsupported", "InsufficientCidrBlocks", "NodeTrunkInitiated",
        "NodeTrunkFailedInit", "CNINodeCreationFailed",
    }
)  # fmt: skip
"""WIN-44: events that carry the node's name as its UID."""


class Rates(NamedTuple):
    """Requests a second and bursts, of EC2 and of the API server."""

    ec2_qps: float = EC2_QPS
    ec2_burst: int = EC2_BURST
    api_qps: float = API_QPS
    api_burst: int = API_BURST


class Opened(NamedTuple):
    """What a leader works with."""

    journal: Journal
    state: State
    fleet: Fleet


class Controller:
    """One replica. `run` once; `terminate` at any time."""

    def __init__(
        self,
        cluster: ControlCluster,
        election: Election | None,
        clock: Clock,
        start: OpenController,
        cluster_name: str,
        *,
        version: str = "",
        branch_limits: Mapping[str, int] = BRANCHES,
        rates: Rates = Rates(),  # noqa: B008 - immutable
        limits: Limits | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Without an election it leads at once."""
        self.cluster = cluster
        self.election = election
        self.leading = False
        """Whether the machine runs here."""
        self.informers: Informers
        self.state = State()
        """What is true now; empty until this replica leads. To be read, never changed."""
        self.datastore: Datastore | None = None
        self.performer: ControllerPerformer | None = None
        self.lanes: Lanes | None = None
        self.on_performer: Callable[[ControllerPerformer], None] = lambda _: None
        """Called once the performer is there, before it performs anything; for metrics."""
        self.on_record: Callable[[ev.Record], None] = lambda _: None
        """Called with every durable record, for logs and metrics."""
        self._clock = clock
        self._start = start
        self._version = version
        self._cluster_name = cluster_name
        self._branch_limits = branch_limits
        self._rates = rates
        self._limits = limits or Limits()
        self._warn = warn
        self._fleet: Fleet | None = None
        self._journal: Journal | None = None
        self._timer: Timer | None = None
        self._closed = False
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.tasks = Tasks(self._fail)
        identity = election.identity if election is not None else ""
        self.informers = Informers(cluster, clock, self.tasks.spawn, warn, identity)
        self.cni_nodes = CniNodes(cluster, self.informers, cluster_name, warn)
        self.cni_nodes.post = self._warn_of_node
        self.informers.told = self.tell
        self.informers.on_node = self._node_seen
        self.informers.on_cni_node = self.cni_nodes.changed

    # ---- what doors ask ----------------------------------------------------------------------------------------

    @property
    def ipam_enabled(self) -> bool:
        """WIN-15, evaluated afresh from the copies of the ConfigMap and the Deployment."""
        start, informers = self._start, self.informers
        judged = conditions(informers.data, informers.legacy_present, start.prefix_delegation, start.quirks)
        return judged.ipam

    @property
    def lag_seconds(self) -> float:
        """Age of the oldest record that is not known to be durable."""
        return self.datastore.lag_seconds if self.datastore is not None else 0.0

    def checks(self) -> dict[str, str]:
        """WIN-134: what is wrong, by upstream's name of the check; "" for what is well."""
        informers = self.informers
        waiting = "the first list has not come"
        found = {"health-cm-controller": "" if informers.config.synced.is_set() else waiting}
        found["health-deploy-controller"] = "" if informers.legacy.synced.is_set() else waiting
        if self.leading:
            found["health-pod-controller"] = "" if informers.pods.synced.is_set() else waiting
            found["health-node-controller"] = "" if informers.nodes.synced.is_set() else waiting
            lag = self.lag_seconds
            late = (self._clock.now() - self.state.trunks.clean_at) / SECOND if self.state.trunks.clean_at else 0.0
            found["health-interface-cleaner"] = "" if late < LAG_MAX else f"a round is {late:.0f} s late"
            found["health-root-manager-ping"] = "" if lag < LAG_MAX else f"the disk is {lag:.0f} s behind"
        return found

    # ---- life --------------------------------------------------------------------------------------------------

    async def run(
        self, doors: Sequence[Door], open_: Callable[[], Awaitable[Opened]], on_ready: Callable[[], None]
    ) -> None:
        """Serve until `terminate`. `open_` opens what a leader needs; raises what ended it otherwise."""
        opened: list[Door] = []
        try:
            for door in doors:
                opened.append(door)
                await door.open()
            on_ready()
            self.tasks.spawn(self._lead(open_), "lead")
            await self._over
            await self._end(opened)
        except BaseException:
            await self._break_off(opened)
            raise

    def terminate(self) -> None:
        """SIGTERM: end in order."""
        if not self._over.done():
            self._over.set_result(None)

    def _fail(self, error: BaseException) -> None:
        if not self._over.done():
            self._over.set_exception(error)

    async def _lead(self, open_: Callable[[], Awaitable[Opened]]) -> None:
        await self.informers.watch_conditions()
        if self.election is not None:
            await self.election.acquire()
            self.tasks.spawn(self.election.keep(), "leader election")
        opened = await open_()
        self._fleet = opened.fleet
        self._open(opened)
        await self.informers.watch_cluster()
        self._begin()

    def _open(self, opened: Opened) -> None:
        clock, rates, limits = self._clock, self._rates, self._limits
        self._journal, self.state = opened.journal, opened.state
        opened.journal.on_failure = self._fail
        opened.journal.start()
        self.datastore = datastore = Datastore(
            opened.journal, opened.state, clock, RECORDS_OF,
            snapshot_every=limits.snapshot_every, keep=limits.keep, warn=self._warn,
        )  # fmt: skip
        datastore.on_bug = self._fail
        asks = FleetAsks(opened.fleet, clock, Bucket(clock, rates.ec2_qps, rates.ec2_burst))
        branches = BranchAsks(asks, clock, self._cluster_name, self._branch_limits)
        self.lanes = Lanes(self.tasks.spawn)
        self.performer = ControllerPerformer(
            asks, branches, self.cluster, clock, self.lanes, self._settled,
            Bucket(clock, rates.api_qps, rates.api_burst), Bucket(clock, rates.api_qps, rates.api_burst),
        )  # fmt: skip
        self.performer.warn = self._warn
        self.on_performer(self.performer)
        for tell in (self.on_record, self.performer.on_record, self._announce):
            datastore.subscribe(tell)
        self.tasks.spawn(datastore.publish(), "publish")

    def _begin(self) -> None:
        """The tenure's first command, then all that is there."""
        self.leading = True
        self.tell(self._start)
        self.informers.begin()
        for name in unseen(self.state.windows):
            self.tell(NodeGone(name))

    # ---- commands ----------------------------------------------------------------------------------------------

    def tell(self, command: Command) -> None:
        """What is overdue, then one command, then what is due by now; then wait for what is due next."""
        if self._closed or not self.leading or self.datastore is None:
            return
        try:
            self.datastore.apply(command)
            self._pursue()
            self._arm()
        except JournalError:
            self._quiet()  # the process hears of it from the journal

    def _pursue(self) -> None:
        datastore = self.datastore
        assert datastore is not None
        for _ in range(CHAIN_MAX):
            due, command = self._next()
            if due is None or due > max(self._clock.now(), self.state.at):
                return
            before = self.state.seq
            datastore.apply(command)
            assert self.state.seq != before, f"a moment at {due} never passes"
        raise AssertionError("the moments that are due never end")

    def _next(self) -> tuple[Instant | None, Command]:
        """The earliest moment of all pools and all trunks, and what to say then."""
        pools, trunks = next_due(self.state.windows), branch_state.next_due(self.state.trunks)
        if trunks is not None and (pools is None or trunks < pools):
            return trunks, BranchDue()
        return pools, WindowsDue()

    def _arm(self) -> None:
        """One timer for the earliest moment of all nodes."""
        due, _ = self._next()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_at(due, self._ring) if due is not None else None

    def _ring(self) -> None:
        """The timer. What goes wrong here has no task to be reported by."""
        self._timer = None
        if self._closed:
            return
        try:
            self._pursue()
            self._arm()
        except JournalError:
            self._quiet()
        except Exception as error:
            self._fail(error)

    def _settled(self, call_id: CallId, outcome: Outcome) -> None:
        self.tell(Settle(call_id, outcome))

    def _node_seen(self, node: ControlledNode) -> None:
        """Before its command: EC2 may have to launch the instance, and the node needs a CNINode."""
        instance = instance_of(node)
        if instance and self._fleet is not None:
            self._fleet.expect(instance, label_of(node, TYPE_LABELS))
        if self.lanes is not None:
            self.cni_nodes.seen(node, self.lanes)

    def _announce(self, record: ev.Record) -> None:
        """Post the events that a durable record announces."""
        for event in record.events:
            if type(event) is Announced and self.performer is not None:
                self.performer.post(self._note(event, record), self._spawn_note)
            elif type(event) is NodeInitialised:
                for text in shortfall(record.events):
                    self._warn(text)

    def _note(self, event: Announced, record: ev.Record) -> Note:
        kind = "Warning" if event.warning else "Normal"
        if event.pod:
            return Note("Pod", event.pod, event.reason, event.message, record.at, kind, event.namespace, event.uid)
        node = self.informers.nodes.items.get(event.node)
        uid = event.node if event.reason in NAMED_NODE or node is None else node.uid
        text = event.message
        if event.reason == "ControllerVersionNotice" and self._version:
            text = f"{text}, version {self._version}"
        return Note("Node", event.node, event.reason, text, record.at, kind, uid=uid)

    def _warn_of_node(self, name: str, reason: str, text: str) -> None:
        """WIN-44: a warning that no record announces."""
        node = self.informers.nodes.items.get(name)
        if self.performer is not None:
            uid = name if reason in NAMED_NODE or node is None else node.uid
            note = Note("Node", name, reason, text, self._clock.now(), "Warning", uid=uid)
            self.performer.post(note, self._spawn_note)

    def _spawn_note(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.spawn(work, "post events")

    # ---- the end -----------------------------------------------------------------------------------------------

    def _quiet(self) -> None:
        """Nothing happens any more."""
        self._closed = True
        self.informers.end()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _end(self, opened: list[Door]) -> None:
        grace = ANSWER_SECONDS
        for door in reversed(opened):
            await door.close(grace)
            grace = PARTING_SECONDS
        self._quiet()
        await self.tasks.cancel()
        if self.datastore is not None and self._journal is not None:
            await self.datastore.flush()
            try:
                async with asyncio.timeout(SNAPSHOT_SECONDS):
                    await self.datastore.snapshot()
            except TimeoutError:
                self._warn("no time was left for a snapshot; the next start folds the records since the last one")
            self._journal.close()
        if self._fleet is not None:
            await self._fleet.close()
        if self.election is not None:
            await self.election.release()
        await self.cluster.close()

    async def _break_off(self, opened: list[Door]) -> None:
        """Let go of everything; what is wrong is on its way to the caller already."""
        self._quiet()
        for door in reversed(opened):
            await door.close(PARTING_SECONDS)
        await self.tasks.cancel()
        if self._journal is not None:
            try:
                self._journal.close()
            except JournalError:
                pass  # it is what is being raised, or follows from it
        if self._fleet is not None:
            await self._fleet.close()
        await self.cluster.close()
