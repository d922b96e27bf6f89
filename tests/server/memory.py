"""A node without a cloud and without a disk: the real core, records in a list, time that the test steps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from ipamd.core import events as ev
from ipamd.core.commands import Answer, Command, Start
from ipamd.core.decide import decide
from ipamd.core.events import FORMAT, Event, Record
from ipamd.core.evolve import fold
from ipamd.core.settings import Node, Settings
from ipamd.core.state import State
from ipamd.core.types import SECOND, Instant
from ipamd.rpc.rpc_pb2 import AddNetworkRequest, DelNetworkRequest
from ipamd.rpc.rpc_pb2_grpc import CNIBackendStub, ConfigServerBackendStub
from ipamd.server.backend import Backend
from ipamd.server.listen import open_unix
from ipamd.server.services import make_server

if TYPE_CHECKING:
    from ipamd.rpc.rpc_pb2_grpc import CNIBackendAsyncStub, ConfigServerBackendAsyncStub

EPOCH: Instant = 1_767_225_600 * SECOND
NODE = Node(
    instance="i-0123456789abcdef0",
    instance_type="t3.small",
    region="us-west-2",
    primary_eni="eni-0",
    primary_ip="192.168.1.10",
    primary_ip6="2600:1f13::1",
    enis_max=3,
    ips_per_eni=4,
)


class Memory:
    """The machine and what surrounds it in a test; `vpc_cidrs` and `snat` are what the doors would be given."""

    def __init__(self, settings: Settings | None = None, *, addresses: tuple[str, ...] = ("192.168.1.100",)) -> None:
        self.state = State()
        self.records: list[Record] = []
        self.subscribers: list[Callable[[Record], None]] = []
        self.now = EPOCH
        self.vpc_blocks: tuple[str, ...] | Exception = ("10.10.0.0/16",)
        self.snat_now: tuple[bool, tuple[str, ...]] = (False, ())
        self.failure: Exception | None = None
        self._start = Start(settings or Settings(), NODE, 1)
        self._addresses = addresses

    def ready(self) -> Memory:
        """Init is over: a primary ENI with the given addresses is in the store."""
        self.tell(ev.Started(self._start.settings, NODE, 1), cause=self._start)
        self.tell(
            ev.EniReady(
                "eni-0", "02:00:00:00:00:01", 0, 254, "subnet-a", "192.168.1.0/24", NODE.primary_ip, primary=True
            ),
            *(ev.CidrAdded("eni-0", f"{address}/32" if "/" not in address else address) for address in self._addresses),
            ev.NodeReady(),
        )
        return self

    def tell(self, *events: Event, cause: Command | None = None) -> Record:
        """Record events as if a command had made them."""
        record = Record(FORMAT, self.state.seq + 1, self.now, NODE.instance, cause or self._start, events)
        fold(self.state, record)
        self.records.append(record)
        for subscriber in self.subscribers:
            subscriber(record)
        return record

    async def submit(self, command: Command) -> Answer:
        """Decide, fold and answer at the present instant."""
        if self.failure is not None:
            raise self.failure
        decision = decide(self.state, command, self.now)
        if decision.events:
            self.tell(*decision.events, cause=command)
        return decision.answer

    async def vpc_cidrs(self) -> tuple[str, ...]:
        """Instance metadata's answer, or its failure."""
        if isinstance(self.vpc_blocks, Exception):
            raise self.vpc_blocks
        return self.vpc_blocks

    def backend(self, version: str = "") -> Backend:
        """A backend that asks this node."""
        return Backend(
            submit=self.submit,
            vpc_cidrs=self.vpc_cidrs,
            snat=lambda: self.snat_now,
            state=lambda: self.state,
            version=version,
        )


@asynccontextmanager
async def serving(backend: Backend, place: Path) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the real server on a Unix socket."""
    server = await make_server(backend)
    address = open_unix(server, place)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            yield channel
    finally:
        await server.stop(None)


def add_request(container: str = "cid", **fields: str | bool) -> AddNetworkRequest:
    """TV-60's key (net0, container, eni), with other fields as wanted."""
    known = {"NetworkName": "net0", "ContainerID": container, "IfName": "eni", "K8S_POD_NAME": "web-0"}
    return AddNetworkRequest(**{**known, "K8S_POD_NAMESPACE": "shop", **fields})  # type: ignore[arg-type]


def del_request(container: str = "cid", **fields: str) -> DelNetworkRequest:
    """The same sandbox's release."""
    known = {"NetworkName": "net0", "ContainerID": container, "IfName": "eni", "Reason": "PodDeleted"}
    return DelNetworkRequest(**{**known, **fields})


async def failure(call: grpc.aio.UnaryUnaryCall[Any, Any]) -> tuple[grpc.StatusCode, str, str]:
    """Status, text and `ipamd-reason` of a call that must fail."""
    try:
        reply = await call
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or "", reason_of(error.trailing_metadata())
    raise AssertionError(f"the call succeeded: {reply}")


def reason_of(trailing: grpc.aio.Metadata | None) -> str:
    """The value of `ipamd-reason`, "" if there is none."""
    value = trailing.get("ipamd-reason", "") if trailing is not None else ""
    return value.decode() if isinstance(value, bytes) else value


def stub_of(channel: grpc.aio.Channel) -> CNIBackendAsyncStub:
    """The plugin's side."""
    return CNIBackendStub(channel)


def config_stub_of(channel: grpc.aio.Channel) -> ConfigServerBackendAsyncStub:
    """The policy agent's side."""
    return ConfigServerBackendStub(channel)
