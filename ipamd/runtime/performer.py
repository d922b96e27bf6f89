"""What the machine decided meets the world here: calls, whose end is settled exactly once, and looks.

A call is performed only after its `CallStarted` is on disk: the performer subscribes to durable records. What it
had in flight when the process ends is left alone; the next `Start` ends it as lost.

    Ec2Error  -> Failed      the API refused: no effect
    Ec2Lost   -> Lost        no answer, or none within the timeout: the effect is unknown
    HostError -> Failed("")
    the cluster: see `cluster`
    anything else ends the process: a bug, or a cloud whose own disk failed
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, TypeVar

from ipamd.core import events as ev
from ipamd.core.branch_calls import BranchCall
from ipamd.core.calls import (
    Call,
    Done,
    Ec2Call,
    Failed,
    Look,
    Lost,
    MetadataView,
    Outcome,
    ReadLinks,
    ReadMetadata,
    Succeeded,
    View,
)
from ipamd.core.cluster_calls import ClusterCall
from ipamd.core.kube import KubeCall, KubeLook
from ipamd.core.types import CallId, CidrText
from ipamd.ec2.port import Ec2, Ec2Error, Ec2Look, Ec2Lost, operation

from .cluster import Kube, NoKube
from .hostnet import Host, HostError
from .tasks import Tasks

CALL_TIMEOUT: Final = 10.0
"""Seconds; upstream's HTTP timeout (ENV-27)."""

Settled: TypeAlias = Callable[[CallId, Outcome], None]
OnCall: TypeAlias = Callable[[str, float, str, str], None]
"""EC2's action, seconds, EC2's error code, what went wrong. Both texts are "" after a success; without an answer,
or with an error that is not EC2's, the code alone is "" (HTTP-21: `awscni_aws_api_latency_ms`)."""

_T = TypeVar("_T")


class Performer:
    """Performs calls and looks, each as a task of its own; `on_call` hears of every EC2 request."""

    def __init__(self, cloud: Ec2, host: Host, tasks: Tasks, settled: Settled, timeout: float = CALL_TIMEOUT) -> None:
        self.on_call: OnCall | None = None
        self.ipv6 = False
        """Whether `vpc_cidrs` are the IPv6 ones."""
        self.kube: Kube = NoKube()
        """The cluster, where there is one."""
        self._cloud = cloud
        self._host = host
        self._tasks = tasks
        self._settled = settled
        self._timeout = timeout

    def on_record(self, record: ev.Record) -> None:
        """Begin every call that a durable record intends."""
        for event in record.events:
            if type(event) is ev.CallStarted:
                self._tasks.spawn(self._perform(event), f"{type(event.call).__name__} {event.call_id}")

    async def look(self, look: Look) -> View | Failed:
        """Read once. No answer is a failure here: a look has no effect that could be unknown."""
        if isinstance(look, ReadLinks):
            try:
                return await self._host.links()
            except HostError as error:
                return Failed("", error.message)
        if isinstance(look, KubeLook):
            return await self.kube.look(look)
        seen = await self._ask(look, self._cloud.look(look))
        return Failed("", f"no answer: {seen.why}") if isinstance(seen, Lost) else seen

    async def vpc_cidrs(self) -> tuple[CidrText, ...]:
        """The VPC's blocks of the active family as instance metadata shows them now (RPC-35, RPC-36).

        Raises Ec2Error or Ec2Lost.
        """
        try:
            async with asyncio.timeout(self._timeout):
                seen = await self._cloud.look(ReadMetadata())
        except TimeoutError:
            raise Ec2Lost("ReadMetadata", f"nothing within {self._timeout:g} s") from None
        assert isinstance(seen, MetadataView), f"ReadMetadata was answered {type(seen).__name__}"
        return seen.vpc_cidrs6 if self.ipv6 else seen.vpc_cidrs

    async def _perform(self, started: ev.CallStarted) -> None:
        self._settled(started.call_id, await self._outcome(started.call, started.call_id))

    async def _outcome(self, call: Call, call_id: CallId) -> Outcome:
        if isinstance(call, Ec2Call):
            result = await self._ask(call, self._cloud.call(call, call_id))
            return result if isinstance(result, Failed | Lost) else Succeeded(result)
        if isinstance(call, ClusterCall | BranchCall):
            return Failed("", f"{type(call).__name__} is a controller's call; this process has no cluster")
        if isinstance(call, KubeCall):
            return await self.kube.call(call)
        try:
            await self._host.call(call)
        except HostError as error:
            return Failed("", error.message)
        return Succeeded(Done())

    async def _ask(self, request: Ec2Call | Ec2Look, answer: Awaitable[_T]) -> _T | Failed | Lost:
        """The answer of the cloud, or how it failed, told to `on_call` with the time it took."""
        began = time.monotonic()
        code = message = ""
        try:
            async with asyncio.timeout(self._timeout):
                return await answer
        except Ec2Error as error:
            code, message = error.code, error.message or error.code
            return Failed(error.code, error.message)
        except Ec2Lost as error:
            message = error.why
            return Lost(error.why)
        except TimeoutError:
            message = f"nothing within {self._timeout:g} s"
            return Lost(message)
        finally:
            if self.on_call is not None:
                self.on_call(operation(request), time.monotonic() - began, code, message)
