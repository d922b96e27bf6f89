"""A node for the tests of the core: on a bench, where facts are put in by hand, or in a lab with a cloud.

Both check every invariant after every record, so that each test of a sequence is one of safety too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from ipamd.core import events as ev
from ipamd.core import invariants, pool_linux
from ipamd.core.calls import (
    AttachNetworkInterface,
    Call,
    CreatedEni,
    CreateNetworkInterface,
    DetachNetworkInterface,
    LinksView,
    MetadataView,
    Outcome,
    Succeeded,
)
from ipamd.core.commands import AddNetwork, Answer, Assigned, Command, DelNetwork, Refused, Released, Start, Tick
from ipamd.core.decide import decide
from ipamd.core.evolve import fold
from ipamd.core.plan import plan
from ipamd.core.settings import Node, Quirks, Settings
from ipamd.core.snapshot import freeze
from ipamd.core.state import State
from ipamd.core.types import MS, SECOND, Instant, Pod, Sandbox, ip4, ip4_text
from ipamd.ec2.latency import Latency, Profile
from ipamd.ec2.state import Placement, Vpc, VpcSettings
from ipamd.ec2.vpc import add_subnet, apply, launch, make_vpc, node_of
from ipamd.sim.cluster import SimCluster
from ipamd.sim.engine import EPOCH, Engine

E = TypeVar("E")
C = TypeVar("C")

NODE = Node("i-1", "test", subnet="subnet-1", primary_eni="eni-0", enis_max=4, ips_per_eni=15, max_pods=500)
STRICT = Quirks(**{name: True for name in Quirks.__struct_fields__})
"""Every quirk of upstream at once."""


def sandbox(name: str) -> Sandbox:
    return Sandbox("net0", name, "eth0")


def pod(name: str) -> Pod:
    return Pod("default", name, 1)


def facts(state: State) -> bytes:
    """Everything State knows, as bytes that can be compared."""
    return msgspec.json.encode(freeze(state, copy=True))


class Bench:
    """A ready node without a cloud. `record` puts in facts, `tell` decides and folds; `now` moves by `wait` only."""

    def __init__(self, settings: Settings = Settings(), node: Node = NODE) -> None:  # noqa: B008 - frozen
        self.state = State()
        self.now: Instant = EPOCH
        self.records: list[ev.Record] = []
        started = ev.Started(settings, node, 1)
        self.record(started, ev.NodeReady(), ev.WorkMoved(None, next="update"), cause=Start(settings, node, 1))

    def record(self, *events: ev.Event, cause: Command | None = None) -> None:
        """These events happened."""
        made = ev.Record(ev.FORMAT, self.state.seq + 1, self.now, "i-1", cause or Tick(), events)
        fold(self.state, made)
        self.records.append(made)
        invariants.check(self.state)

    def tell(self, command: Command) -> Answer:
        decision = decide(self.state, command, self.now)
        if decision.events:
            self.record(*decision.events, cause=command)
        return decision.answer

    def wait(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)

    def eni(
        self, name: str, device: int, *cidrs: str, primary: bool = False, trunk: bool = False, efa: bool = False,
        excluded: bool = False, subnet: str = "subnet-1",
    ) -> None:  # fmt: skip
        """An ENI with these blocks comes into the store. Its own address lies far from all blocks of the tests."""
        table = device + 1 if device else 254
        ready = ev.EniReady(
            name, f"02:00:00:00:00:{device:02x}", device, table, subnet, "10.0.0.0/8", f"10.255.0.{device}",
            primary=primary, trunk=trunk, efa=efa,
        )  # fmt: skip
        excludes = [ev.EniExcluded(name, True)] if excluded else []
        self.record(ready, *excludes, *[ev.CidrAdded(name, cidr) for cidr in cidrs])

    def put(self, eni: str, *cidrs: str) -> None:
        """Blocks come to an ENI."""
        self.record(*[ev.CidrAdded(eni, cidr) for cidr in cidrs])

    def add(self, name: str) -> Answer:
        return self.tell(AddNetwork(sandbox(name), pod(name)))

    def granted(self, name: str) -> Assigned:
        answer = self.add(name)
        assert isinstance(answer, Assigned), answer
        return answer

    def refused(self, name: str) -> Refused:
        answer = self.add(name)
        assert isinstance(answer, Refused), answer
        return answer

    def delete(self, name: str) -> Answer:
        return self.tell(DelNetwork(sandbox(name), "PodDeleted"))

    def released(self, name: str) -> Released:
        answer = self.delete(name)
        assert isinstance(answer, Released), answer
        return answer

    @property
    def stats(self) -> pool_linux.Stats:
        return pool_linux.stats(self.state, 0, self.now)

    @property
    def balance(self) -> pool_linux.Balance:
        return pool_linux.balance(self.state, 0, self.now)

    def cidrs(self, eni: str) -> list[str]:
        return list(self.state.enis[eni].blocks)

    def hold(self, eni: str) -> str:
        """Why the ENI must stay; "" when it may go."""
        return pool_linux.hold_on_eni(self.state, self.state.enis[eni], self.now)

    def deletable(self) -> str:
        return pool_linux.deletable_eni(self.state, 0, self.now)

    def events(self, kind: type[E]) -> list[E]:
        return [event for record in self.records for event in record.events if isinstance(event, kind)]


class Killed(Exception):
    """The process died right after a record was durable."""


class Lab:
    """A node with its cloud in virtual time. Nothing happens before `start`, and then only as `run` lets time pass."""

    def __init__(
        self,
        settings: Settings = Settings(),  # noqa: B008 - frozen
        *,
        instance_type: str = "t3.small",
        subnet: str = "10.0.0.0/24",
        max_pods: int = 1000,
        latency: Profile = "none",
        lag_ms: int = 0,
        placement: Placement = "packed",
        cloud: VpcSettings | None = None,
        kube: SimCluster | None = None,
    ) -> None:
        self.settings = settings
        shape = cloud or VpcSettings(metadata_lag=lag_ms * MS, placement=placement)
        self.vpc: Vpc = make_vpc(shape, instance_type=instance_type, subnet=subnet, vpc_cidr="10.0.0.0/16", now=EPOCH)
        self.node = msgspec.structs.replace(node_of(self.vpc), max_pods=max_pods)
        self.kube = kube or SimCluster()
        if self.kube.node is not None:
            self.node = msgspec.structs.replace(self.node, name="worker-1", cluster=True)
        self.records: list[ev.Record] = []
        self.host_answers: Callable[[object], Outcome] | None = None
        self.links = LinksView(known=False)
        self.kill_at: Callable[[ev.Record], bool] | None = None
        self._latency = latency
        self.engine = self._process(EPOCH)

    def _process(self, now: Instant) -> Engine:
        host = self.host_answers
        return Engine(
            self.vpc, self.settings, self.node, latency=Latency(self._latency, 1), sink=self._written, now=now,
            host=host, links=lambda: self.links, kube=self.kube,
        )  # fmt: skip

    def _written(self, record: ev.Record) -> None:
        self.records.append(record)
        invariants.check(self.state)
        if self.kill_at is not None and self.kill_at(record):
            raise Killed

    # ---- what happens ----------------------------------------------------------------------------------

    def start(self, seed: int = 1) -> Lab:
        """The daemon starts; what takes no time has happened when this returns."""
        self.engine.start(seed)
        self.run(0)
        return self

    def die(self) -> None:
        """The process is gone with everything that was not recorded; a new one will fold the records."""
        engine = self._process(self.now)
        for record in self.records:
            fold(engine.state, record)
        self.engine = engine

    def restart(self, seconds: float = 0, settings: Settings | None = None, seed: int = 2) -> Lab:
        """SIGKILL, this long a pause, a new process."""
        self.die()
        if settings is not None:
            self.settings = self.engine.settings = settings
        self.engine.now += round(seconds * SECOND)
        return self.start(seed)

    def run(self, seconds: float) -> Lab:
        self.engine.advance(self.now + round(seconds * SECOND))
        return self

    def until(self, happened: Callable[[], bool], seconds: float = 600) -> Lab:
        """Let time pass until something is so, event by event."""
        limit = self.now + round(seconds * SECOND)
        while not happened():
            moment = self.engine.next_moment()
            assert moment is not None and moment <= limit, f"not so within {seconds} s"
            self.engine.step()
        return self

    def pods(self, count: int, seconds: float = 0, name: str = "pod") -> list[Assigned]:
        """So many pods, one after the other, each granted; this long a pause after each."""
        return [self.pod(f"{name}-{i}", seconds) for i in range(count)]

    def pod(self, name: str, seconds: float = 0) -> Assigned:
        answer = self.engine.submit(AddNetwork(sandbox(name), pod(name)))
        assert isinstance(answer, Assigned), answer
        self.run(seconds)
        return answer

    def refused(self, name: str) -> Refused:
        answer = self.engine.submit(AddNetwork(sandbox(name), pod(name)))
        assert isinstance(answer, Refused), answer
        return answer

    def delete(self, name: str, seconds: float = 0) -> Released:
        answer = self.engine.submit(DelNetwork(sandbox(name), "PodDeleted"))
        assert isinstance(answer, Released), answer
        self.run(seconds)
        return answer

    def subnet(self, cidr: str, tags: dict[str, str] | None = None) -> str:
        """One more subnet of the zone."""
        return add_subnet(self.vpc, cidr, tags=tags, now=self.now).subnet

    def neighbour(self, subnet: str = "") -> str:
        """Another instance in a subnet takes one address; its id."""
        return launch(self.vpc, "t3.small", subnet or self.node.subnet, now=self.now).instance

    def tag_subnet(self, subnet: str, tags: dict[str, str]) -> None:
        self.vpc.install((msgspec.structs.replace(self.vpc.subnets[subnet], tags=tags),), self.now)

    def foreign(
        self, addresses: int = 0, prefixes: int = 0, device: int = 5, tags: dict[str, str] | None = None
    ) -> str:
        """Somebody else makes an ENI and attaches it to this instance; its id."""
        counts = (addresses or -1, prefixes or -1)
        made = apply(
            self.vpc, CreateNetworkInterface(self.node.subnet, (), "by hand", "", *counts, tags or {}), self.now
        )
        assert isinstance(made, Succeeded) and isinstance(made.result, CreatedEni), made
        attached = apply(self.vpc, AttachNetworkInterface(made.result.eni, device), self.now)
        assert isinstance(attached, Succeeded), attached
        return made.result.eni

    def detach(self, eni: str) -> None:
        """Somebody else takes an ENI off this instance."""
        done = apply(self.vpc, DetachNetworkInterface(eni, self.vpc.enis[eni].attachment), self.now)
        assert isinstance(done, Succeeded), done

    def reconciled(self) -> int:
        """Let the next reconcile run to its end; where the records of it begin."""
        mark = self.mark()
        self.until(lambda: bool(self.events(ev.Resynced, mark)))
        return mark

    # ---- what is so ------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self.engine.state

    @property
    def now(self) -> Instant:
        return self.engine.now

    @property
    def primary(self) -> str:
        return self.node.primary_eni

    @property
    def others(self) -> list[str]:
        """ENIs of the store but the primary one."""
        return [eni for eni in self.state.enis if eni != self.primary]

    def shape(self) -> list[tuple[int, int]]:
        """(blocks, pods) of each ENI by device number."""
        return [(len(eni.blocks), eni.assigned) for eni in self.state.enis.values()]

    def mark(self) -> int:
        """Now, as a place among the records."""
        return len(self.records)

    def events(self, kind: type[E], since: int = 0) -> list[E]:
        return [event for record in self.records[since:] for event in record.events if isinstance(event, kind)]

    def calls(self, kind: type[C], since: int = 0) -> list[C]:
        """Calls of one kind that were started, in order."""
        return [event.call for event in self.events(ev.CallStarted, since) if isinstance(event.call, kind)]

    def all_calls(self, since: int = 0) -> list[Call]:
        return [event.call for event in self.events(ev.CallStarted, since)]

    def counted(self, since: int = 0) -> list[str]:
        """Names under which failures were counted, in order; those only logged are left out."""
        return [event.fn for event in self.events(ev.ErrorCounted, since) if event.counter]

    def times(self, happened: Callable[[ev.Event], bool], since: int = 0) -> list[float]:
        """Seconds of virtual time at which such an event was recorded."""
        return [
            (record.at - EPOCH) / SECOND for record in self.records[since:] if any(happened(e) for e in record.events)
        ]

    @property
    def clock(self) -> float:
        """Seconds of virtual time."""
        return (self.now - EPOCH) / SECOND

    def leaks(self) -> list[str]:
        """Where the cloud and the store differ: ENIs of ours that no store has, and blocks on one side only."""
        ours = {
            eni.eni: eni
            for eni in self.vpc.enis.values()
            if eni.instance == self.node.instance or eni.description == f"aws-K8S-{self.node.instance}"
        }
        found = [f"{eni} is in EC2 alone" for eni in ours if eni not in self.state.enis]
        for eni in self.state.enis.values():
            row = ours.get(eni.eni)
            if row is None:
                found.append(f"{eni.eni} is in the store alone")
                continue
            there = {f"{address}/32" for address in row.addresses[1:]} | set(row.prefixes)
            found += [f"{eni.eni}: {cidr} is in EC2 alone" for cidr in sorted(there - set(eni.blocks))]
            found += [f"{eni.eni}: {cidr} is in the store alone" for cidr in sorted(set(eni.blocks) - there)]
        return found

    def quiet(self) -> bool:
        """Nothing in flight and nothing wanted."""
        wanted = plan(self.state, self.now)
        return not wanted.calls and self.state.pool.work is None and not self.state.calls


def without(view: MetadataView, *enis: str) -> MetadataView:
    """Instance metadata that does not show these ENIs."""
    return msgspec.structs.replace(view, enis=tuple(shown for shown in view.enis if shown.eni not in enis))


def bare(view: MetadataView) -> MetadataView:
    """Instance metadata that shows primary addresses only."""
    stripped = (msgspec.structs.replace(shown, addresses=shown.addresses[:1], prefixes=()) for shown in view.enis)
    return msgspec.structs.replace(view, enis=tuple(stripped))


def nth(address: str, offset: int) -> str:
    """The address so many places further."""
    return ip4_text(ip4(address) + offset)
