"""Calls and looks: performed after their record, settled once, whatever the world answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from ipamd.core import events as ev
from ipamd.core.calls import (
    AssignPrivateIpAddresses,
    Call,
    DescribeSubnets,
    Done,
    Ec2Call,
    Failed,
    Granted,
    LinksView,
    Lost,
    MetadataView,
    Outcome,
    ReadLinks,
    ReadMetadata,
    Result,
    SetUpHost,
    Succeeded,
    View,
)
from ipamd.core.commands import Tick
from ipamd.core.settings import Node
from ipamd.core.types import CallId
from ipamd.ec2.port import Ec2Error, Ec2Look, Ec2Lost, Feature
from ipamd.runtime.hostnet import HostError, HostRecorder
from ipamd.runtime.performer import Performer
from ipamd.runtime.tasks import Tasks
from tests.runtime.rig import EPOCH, Gate, living

pytestmark = pytest.mark.asyncio
ASSIGN = AssignPrivateIpAddresses("eni-0", prefixes=1)


class Cloud:
    """A cloud that answers every request in one way."""

    def __init__(self, answer: Callable[[], Result | View]) -> None:
        self._answer = answer
        self.silent = False
        self.performed = 0

    @property
    def features(self) -> frozenset[Feature]:
        return frozenset()

    async def call(self, call: Ec2Call, call_id: CallId | None = None) -> Result:
        self.performed += 1
        answer = await self._reply()
        assert isinstance(answer, Result)
        return answer

    async def look(self, look: Ec2Look) -> View:
        answer = await self._reply()
        assert isinstance(answer, View)
        return answer

    async def node(self) -> Node:
        return Node("i-0", "m5.large")

    async def close(self) -> None:
        pass

    async def _reply(self) -> Result | View:
        if self.silent:
            await asyncio.get_running_loop().create_future()
        return self._answer()


class Stage:
    """A performer, what it settled, and the requests it told of."""

    def __init__(self, cloud: Cloud, host: HostRecorder | None = None, timeout: float = 10) -> None:
        self.settled: list[tuple[CallId, Outcome]] = []
        self.requests: list[tuple[str, str, str]] = []
        self.failures: list[BaseException] = []
        self.tasks = Tasks(self.failures.append)
        self.performer = Performer(cloud, host or HostRecorder(), self.tasks, self._settle, timeout)
        self.performer.on_call = lambda name, seconds, code, problem: self.requests.append((name, code, problem))

    def _settle(self, call_id: CallId, outcome: Outcome) -> None:
        self.settled.append((call_id, outcome))

    async def perform(self, call: Call) -> Outcome:
        """What one call is settled with; asserts that it is settled once."""
        record = ev.Record(1, 1, EPOCH, "i-0", Tick(), (ev.CallStarted(CallId(5), call),))
        self.performer.on_record(record)
        while self.tasks.names:
            await asyncio.sleep(0)
        assert [call_id for call_id, _ in self.settled] == [5]
        return self.settled[0][1]


def raising(error: Exception) -> Callable[[], Result]:
    """An answer that is an error."""

    def answer() -> Result:
        raise error

    return answer


async def test_a_success_brings_its_result() -> None:
    """And is told of with an empty code."""
    stage = Stage(Cloud(lambda: Granted(prefixes=("10.0.0.16/28",))))

    assert await stage.perform(ASSIGN) == Succeeded(Granted(prefixes=("10.0.0.16/28",)))
    assert stage.requests == [("AssignPrivateIpAddresses", "", "")]


async def test_a_refusal_has_no_effect() -> None:
    """EC2's code and message are kept."""
    stage = Stage(Cloud(raising(Ec2Error("AssignPrivateIpAddresses", "InsufficientCidrBlocks", "no /28"))))

    assert await stage.perform(ASSIGN) == Failed("InsufficientCidrBlocks", "no /28")
    assert stage.requests == [("AssignPrivateIpAddresses", "InsufficientCidrBlocks", "no /28")]


async def test_a_broken_connection_leaves_the_effect_unknown() -> None:
    """Lost, not failed."""
    stage = Stage(Cloud(raising(Ec2Lost("AssignPrivateIpAddresses", "connection reset"))))

    assert await stage.perform(ASSIGN) == Lost("connection reset")
    assert stage.requests == [("AssignPrivateIpAddresses", "", "connection reset")]


@pytest.mark.spec("ENV-27")
async def test_no_answer_in_time_leaves_the_effect_unknown() -> None:
    """The timeout is HTTP_TIMEOUT; here a short one."""
    cloud = Cloud(Done)
    cloud.silent = True
    stage = Stage(cloud, timeout=0.01)

    assert await stage.perform(ASSIGN) == Lost("nothing within 0.01 s")


async def test_an_answer_that_nobody_foresaw_ends_the_process() -> None:
    """A bug, or a cloud whose own disk failed: nothing is settled, the daemon is told."""
    stage = Stage(Cloud(raising(RuntimeError("disk"))))
    record = ev.Record(1, 1, EPOCH, "i-0", Tick(), (ev.CallStarted(CallId(5), ASSIGN),))

    stage.performer.on_record(record)
    while stage.tasks.names:
        await asyncio.sleep(0)

    assert stage.settled == []
    assert [str(error) for error in stage.failures] == ["disk"]


class NoHost(HostRecorder):
    """A host that refuses."""

    async def call(self, call: object) -> None:
        raise HostError("SetUpHost", "RTNETLINK answers: Operation not permitted")

    async def links(self) -> LinksView:
        raise HostError("ReadLinks", "RTNETLINK answers: Operation not permitted")


async def test_host_calls_go_to_the_host() -> None:
    """They are no EC2 requests; a refusal has no EC2 code."""
    call = SetUpHost("10.0.0.4", ("10.0.0.0/16",))
    fine, refused = Stage(Cloud(Done)), Stage(Cloud(Done), NoHost())

    assert await fine.perform(call) == Succeeded()
    assert await refused.perform(call) == Failed("", "RTNETLINK answers: Operation not permitted")
    assert fine.requests == refused.requests == []
    assert await refused.performer.look(ReadLinks()) == Failed("", "RTNETLINK answers: Operation not permitted")


async def test_a_look_without_answer_is_a_failure() -> None:
    """A look has no effect that could be unknown."""
    lost = Stage(Cloud(raising(Ec2Lost("DescribeSubnets", "connection reset"))))
    refused = Stage(Cloud(raising(Ec2Error("DescribeSubnets", "UnauthorizedOperation", "no"))))

    assert await lost.performer.look(DescribeSubnets()) == Failed("", "no answer: connection reset")
    assert await refused.performer.look(DescribeSubnets()) == Failed("UnauthorizedOperation", "no")


@pytest.mark.spec("RPC-35", "RPC-37")
async def test_vpc_cidrs_are_read_live() -> None:
    """What metadata shows now, or an error."""
    seen = [MetadataView(vpc_cidrs=("10.0.0.0/16",)), MetadataView(vpc_cidrs=("10.0.0.0/16", "10.1.0.0/16"))]
    stage = Stage(Cloud(lambda: seen.pop(0)))
    silent = Cloud(MetadataView)
    silent.silent = True

    assert await stage.performer.vpc_cidrs() == ("10.0.0.0/16",)
    assert await stage.performer.vpc_cidrs() == ("10.0.0.0/16", "10.1.0.0/16")
    with pytest.raises(Ec2Lost, match=r"nothing within 0\.01 s"):
        await Stage(silent, timeout=0.01).performer.vpc_cidrs()
    assert isinstance(await Stage(Cloud(MetadataView)).performer.look(ReadMetadata()), MetadataView)


async def test_a_call_is_performed_only_once_its_record_is_on_disk(tmp_path: Path) -> None:
    """While the disk stands still, EC2 hears nothing."""
    gate = Gate()
    async with living(tmp_path, disk=gate) as rig:
        for i in range(16):
            await rig.add(f"p{i}")
        before = rig.cloud.vpc.serial
        gate.shut()
        while not rig.state.calls:
            rig.clock.advance(rig.clock.next_alarm or 0)
        for _ in range(100):
            await asyncio.sleep(0)
        meanwhile = rig.cloud.vpc.serial
        gate.open()
        await rig.quiet()

        assert meanwhile == before
        assert rig.cloud.vpc.serial > before
