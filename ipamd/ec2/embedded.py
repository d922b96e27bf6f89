"""The embedded cloud: the VPC model in this process, with a memory of its own in DIR/cloud.

It needs no account, no network and no other process. Every change is on disk before its call returns, and a
look never shows what is not yet on disk, so the cloud outlives whoever uses it: the next one to open the
directory meets the same ENIs, addresses, attachments and client tokens.

Which points of a call a test may crash at:

    before ... half the latency ... effect on disk | between ... half the latency ... after | the reply
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Literal, NoReturn, TypeAlias, assert_never

import msgspec

from ipamd.core.calls import Ec2Call, Failed, Lost, Outcome, Result, Succeeded, View
from ipamd.core.settings import Node
from ipamd.core.types import SECOND, CallId, Instant

from . import vpc as model
from .answers import Answer
from .cloudlog import Changed, CloudError, CloudLog, Image, Kept, Line, encode, image
from .latency import METADATA_LAG, Latency, Profile, Spread
from .port import Ec2Error, Ec2Look, Ec2Lost, Feature, operation
from .requests import Request
from .rows import Row, SubnetRow
from .state import Placement, Vpc, VpcSettings
from .throttle import Bucket

DEFAULT_INSTANCE_TYPE: Final = "m5.large"
COMPACT_BYTES: Final = 4 << 20
"""A log longer than this is compacted once metadata shows every change."""

CrashPoint: TypeAlias = Literal["before", "between", "after"]
Crash: TypeAlias = Callable[[CrashPoint, Ec2Call], None]
"""Called at each point of each call; a test kills the process in it, or raises."""
Sleep: TypeAlias = Callable[[float], Awaitable[object]]
"""Lets seconds pass, as asyncio.sleep does."""


class CloudOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """What cloud to open. What is None is as the directory has it, and in a new one the default."""

    instance_type: str | None = None
    subnet: str | None = None
    seed: int | None = None
    region: str | None = None
    zone: str | None = None
    latency: Profile = "none"
    metadata_lag: int | None = None
    """In ns; None: as the latency profile has it."""
    placement: Placement = "packed"
    buckets: dict[str, Bucket] = {}
    stale: int = 0
    """How old EC2's descriptions may be, in ns."""
    denied: tuple[str, ...] = ()
    """Actions that the caller lacks permission for."""
    spreads: dict[str, Spread] = {}
    """Answer times by action that take the latency profile's place."""
    compact_bytes: int = COMPACT_BYTES
    ipv6: bool = False
    """Whether the VPC must have IPv6. A new cloud gets it; one that lacks it is refused."""


class CloudMismatch(CloudError):
    """The directory holds a cloud other than the one that was asked for."""


class EmbeddedCloud:
    """One instance's door to the embedded cloud; satisfies `Ec2`."""

    def __init__(
        self, vpc: Vpc, log: CloudLog, options: CloudOptions, clock: Callable[[], Instant], sleep: Sleep
    ) -> None:
        """Not for callers: use `open`."""
        self.vpc = vpc
        """The model, for tests and for whoever shows it; changed by calls alone."""
        self._log = log
        self._clock = clock
        self._sleep = sleep
        self._crash: Crash | None = None
        self._latency = Latency(options.latency, vpc.settings.seed, options.spreads)
        self._compact_bytes = options.compact_bytes
        self._requests = 0
        self._staged: list[bytes] = []
        self._durable = vpc.serial
        self._flushing: asyncio.Task[None] | None = None
        self._failure: CloudError | None = None

    @classmethod
    def open(
        cls,
        directory: Path,
        options: CloudOptions = CloudOptions(),  # noqa: B008 - frozen
        *,
        clock: Callable[[], Instant] = time.time_ns,
        sleep: Sleep = asyncio.sleep,
        crash_at: Crash | None = None,
    ) -> EmbeddedCloud:
        """The cloud of `directory`/cloud; a new one has a VPC, a subnet and one instance with its primary ENI.

        Raises `UnknownInstanceType` or ValueError for options EC2 would refuse, `CloudMismatch` if the
        directory holds another cloud, `CloudLocked`, `CloudDamaged`, or `CloudError` with the disk's reason.
        """
        log = CloudLog(directory / "cloud")
        try:
            lines = log.read()
            vpc = _restored(lines, options, log.path) if lines else _begun(options, log, clock())
        except BaseException:
            log.close()
            raise
        cloud = cls(vpc, log, options, clock, sleep)
        cloud._crash = crash_at
        return cloud

    @property
    def features(self) -> frozenset[Feature]:
        """All that the port knows."""
        return frozenset(Feature)

    async def node(self) -> Node:
        """Facts of the instance (INIT-9, INIT-12, INIT-32)."""
        return model.node_of(self.vpc)

    async def call(self, call: Ec2Call, call_id: CallId | None = None) -> Result:
        """Perform one call; its effect is on disk when this returns. Raises `Ec2Error` or `Ec2Lost`.

        Raises `CloudError` once the disk has failed: memory has then run ahead of it.
        """
        there, back = self._halves(call)
        self._reached("before", call)
        await self._pause(there)
        self._check()
        performed = model.perform(self.vpc, call, self._clock())
        if performed.earlier:
            self._stage(self.vpc.serial - bool(performed.rows), performed.earlier, call, call_id)
        if performed.rows:
            self._stage(self.vpc.serial, performed.rows, call, call_id)
        await self._on_disk(self.vpc.serial)
        self._reached("between", call)
        await self._pause(back + performed.delay)
        result = _told(operation(call), performed.outcome)
        self._reached("after", call)
        return result

    async def look(self, look: Ec2Look) -> View:
        """Read once; shows nothing that is not yet on disk. Raises `Ec2Error`, `Ec2Lost` or `CloudError`."""
        there, back = self._halves(look)
        await self._pause(there)
        self._check()
        seen, delay = model.look_delayed(self.vpc, look, self._clock())
        await self._on_disk(self.vpc.serial)
        await self._pause(back + delay)
        if isinstance(seen, Failed | Lost):
            _raise(operation(look), seen)
        return seen

    async def add_subnet(
        self, cidr: str, zone: str = "", tags: dict[str, str] | None = None
    ) -> SubnetRow:
        """One more subnet of the VPC, in the instance's zone by default. Raises ValueError."""
        self._check()
        zone = zone or model.node_of(self.vpc).zone
        row = model.add_subnet(self.vpc, cidr, zone, tags=tags, now=self._clock())
        self._stage(self.vpc.serial, (row,))
        await self._on_disk(self.vpc.serial)
        return row

    async def serve(self, request: Request) -> Answer:
        """Answer any request of the model, at once but for what a fault adds; its effect is then on disk.

        Raises as `call`.
        """
        self._check()
        served = model.serve(self.vpc, request, self._clock())
        for serial, rows in ((self.vpc.serial - bool(served.rows), served.earlier), (self.vpc.serial, served.rows)):
            if rows:
                self._stage(serial, rows, request=request, settled=served.settled)
        await self._on_disk(self.vpc.serial)
        await self._pause(served.delay)
        if isinstance(served.answer, Failed | Lost):
            _raise(operation(request), served.answer)
        return served.answer

    async def close(self) -> None:
        """Wait for what is being written, then let the next process in."""
        if self._flushing is not None:
            await asyncio.wait([self._flushing])
        self._log.close()

    # ---- memory ----------------------------------------------------------------------------------------------

    def _stage(
        self,
        serial: int,
        rows: tuple[Row, ...],
        call: Ec2Call | None = None,
        call_id: CallId | None = None,
        *,
        request: Request | None = None,
        settled: bool = False,
    ) -> None:
        changed = Changed(
            serial=serial,
            at=self.vpc.at,
            rows=rows,
            instance=self.vpc.first_instance if call is not None else "",
            call_id=call_id or 0,
            call=call,
            request=request,
            settled=settled,
        )
        self._staged.append(encode(changed))

    async def _on_disk(self, serial: int) -> None:
        """Wait until every change up to `serial` is on disk. One sync serves all that were staged meanwhile."""
        while self._durable < serial:
            self._check()
            if self._flushing is None:
                self._flushing = asyncio.create_task(self._flush(), name="embedded cloud: sync")
            await asyncio.shield(self._flushing)
        self._check()

    async def _flush(self) -> None:
        lines, self._staged = b"".join(self._staged), []
        serial, now = self.vpc.serial, self._clock()
        try:
            if self._log.size > self._compact_bytes and self.vpc.settled(now):
                await asyncio.to_thread(self._log.replace, _image(self.vpc))
            else:
                await asyncio.to_thread(self._log.append, lines)
            self._durable = serial
        except OSError as error:
            self._failure = CloudError(
                f"{self._log.path}: cannot be written: {error.strerror}; "
                "free the disk and start again: nothing that was answered is lost"
            )
        finally:
            self._flushing = None

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    # ---- time ------------------------------------------------------------------------------------------------

    def _halves(self, request: Ec2Call | Ec2Look) -> tuple[int, int]:
        length = self._latency.ns(request, self._requests)
        self._requests += 1
        return length // 2, length - length // 2

    async def _pause(self, ns: int) -> None:
        if ns:
            await self._sleep(ns / SECOND)

    def _reached(self, point: CrashPoint, call: Ec2Call) -> None:
        if self._crash is not None:
            self._crash(point, call)


def _told(action: str, outcome: Outcome) -> Result:
    match outcome:
        case Succeeded():
            return outcome.result
        case Failed() | Lost():
            _raise(action, outcome)
        case _:
            assert_never(outcome)


def _raise(action: str, outcome: Failed | Lost) -> NoReturn:
    if isinstance(outcome, Failed):
        raise Ec2Error(action, outcome.code, outcome.message)
    raise Ec2Lost(action, outcome.why)


# ---- beginning and beginning again ---------------------------------------------------------------------------


def _image(vpc: Vpc) -> bytes:
    return image(vpc.rows(), vpc.settings.seed, vpc.serial, vpc.at)


def _begun(options: CloudOptions, log: CloudLog, now: Instant) -> Vpc:
    """A new cloud, on disk."""
    vpc = model.make_vpc(
        _settings(options, options.seed or 0),
        instance_type=options.instance_type or DEFAULT_INSTANCE_TYPE,
        subnet=options.subnet or model.DEFAULT_SUBNET,
        region=options.region or model.DEFAULT_REGION,
        zone=options.zone or model.DEFAULT_ZONE,
        now=now,
        ipv6=options.ipv6,
    )
    try:
        log.replace(_image(vpc))
    except OSError as error:
        raise CloudError(f"{log.path}: cannot be written: {error.strerror}; free the disk") from error
    return vpc


def _restored(lines: list[Line], options: CloudOptions, path: Path) -> Vpc:
    """The cloud that the log tells of, refused if it is not the one that `options` name."""
    head = lines[0]
    assert isinstance(head, Image), "CloudLog.read has checked the order"
    vpc = Vpc(_settings(options, head.seed))
    vpc.install((line.row for line in lines if isinstance(line, Kept)), head.at, settled=True)
    vpc.serial = head.serial
    for line in lines:
        if isinstance(line, Changed):
            vpc.install(line.rows, line.at, settled=line.settled)
    node = model.node_of(vpc)
    has = {
        "instance type": (options.instance_type, node.instance_type),
        "subnet": (options.subnet, vpc.subnets[node.subnet].cidr),
        "seed": (options.seed, head.seed),
        "region": (options.region, node.region),
        "zone": (options.zone, node.zone),
    }
    for what, (asked, held) in has.items():
        if asked is not None and asked != held:
            raise CloudMismatch(
                f"{path.parent}: holds a cloud with {what} {held}, asked for {asked}; "
                f"leave the {what} out, choose another directory, or move this one away to begin anew"
            )
    if options.ipv6 and not node.primary_ip6:
        raise CloudMismatch(
            f"{path.parent}: holds a cloud without IPv6; choose another directory, or move this one away to begin anew"
        )
    return vpc


def _settings(options: CloudOptions, seed: int) -> VpcSettings:
    lag = METADATA_LAG[options.latency] if options.metadata_lag is None else options.metadata_lag
    return VpcSettings(
        seed, options.placement, lag, options.buckets, stale=options.stale, denied=options.denied
    )
