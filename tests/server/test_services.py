"""Which services answer on the socket (RPC-3..RPC-5), asked with generic clients."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpclib.client import Channel
from grpclib.const import Cardinality
from grpclib.encoding.proto import ProtoCodec

from ipamd.rpc.rpc_pb2 import AddNetworkReply, EnforceNpRequest
from ipamd.rpc.rpc_pb2_grpc import NPBackendStub
from ipamd.server.listen import open_tcp, open_unix
from ipamd.server.services import make_server

from .memory import Memory, add_request, failure, serving, stub_of

pytestmark = pytest.mark.asyncio
SERVING = health_pb2.HealthCheckResponse.SERVING


def health_of(channel: grpc.aio.Channel) -> Any:
    """The probe's side; the library's stub has no types for asyncio."""
    return health_pb2_grpc.HealthStub(channel)


@pytest.mark.spec("RPC-5")
@pytest.mark.parametrize("name", ["", "grpc.health.v1.aws-node"])
async def test_both_health_names_serve(tmp_path: Path, name: str) -> None:
    """The probe asks for the empty name."""
    async with serving(Memory().backend(), tmp_path / "s") as channel:
        reply = await health_of(channel).Check(health_pb2.HealthCheckRequest(service=name))

    assert reply.status == SERVING


async def test_another_health_name_is_not_found(tmp_path: Path) -> None:
    """The probe maps it to its exit code 3."""
    async with serving(Memory().backend(), tmp_path / "s") as channel:
        request = health_pb2.HealthCheckRequest(service="rpc.CNIBackend")
        code, _, _ = await failure(health_of(channel).Check(request))

    assert code is grpc.StatusCode.NOT_FOUND


@pytest.mark.spec("RPC-4", "RPC-3")
async def test_reflection_lists_the_four_services_and_describes_the_messages(tmp_path: Path) -> None:
    """No more and no fewer, under their full names."""

    async def questions() -> AsyncIterator[Any]:
        yield ask(list_services="")
        yield ask(file_containing_symbol="rpc.CNIBackend")

    ask: Any = reflection_pb2.ServerReflectionRequest
    async with serving(Memory().backend(), tmp_path / "s") as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[arg-type]
        listed, described = [answer async for answer in stub.ServerReflectionInfo(questions())]

    assert sorted(service.name for service in listed.list_services_response.service) == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "rpc.CNIBackend",
        "rpc.ConfigServerBackend",
    ]
    assert b"K8S_POD_INFRA_CONTAINER_ID" in described.file_descriptor_response.file_descriptor_proto[0]


@pytest.mark.spec("RPC-4", "RPC-17")
async def test_the_policy_agents_service_is_not_here(tmp_path: Path) -> None:
    """NPBackend lives on another socket."""
    async with serving(Memory().backend(), tmp_path / "s") as channel:
        code, _, _ = await failure(NPBackendStub(channel).EnforceNpToPod(EnforceNpRequest()))

    assert code is grpc.StatusCode.UNIMPLEMENTED


async def test_one_server_answers_on_a_unix_socket_and_on_tcp(tmp_path: Path) -> None:
    """Upstream's current socket and the TCP port of older plugins, at once."""
    server = await make_server(Memory().ready().backend())
    addresses = [open_unix(server, tmp_path / "s"), open_tcp(server, "127.0.0.1:0")]
    await server.start()

    replies = []
    for address in addresses:
        async with grpc.aio.insecure_channel(address) as channel:
            replies.append(await stub_of(channel).AddNetwork(add_request()))
    await server.stop(None)

    assert replies[0] == replies[1] and replies[0].Success


async def test_an_independent_grpc_implementation_understands_refusals(tmp_path: Path) -> None:
    """grpclib, pure Python on h2: reply, OK status and the trailing metadata arrive as the wire format wants them."""
    server = await make_server(Memory(addresses=()).ready().backend())
    open_unix(server, tmp_path / "s")
    await server.start()
    channel = Channel(path=str(tmp_path / "s"), codec=ProtoCodec())

    method = ("/rpc.CNIBackend/AddNetwork", Cardinality.UNARY_UNARY, type(add_request()), AddNetworkReply)
    async with channel.request(*method) as stream:
        await stream.send_message(add_request(), end=True)
        reply = await stream.recv_message()
        await stream.recv_trailing_metadata()
        trailing: Any = stream.trailing_metadata
    channel.close()
    await server.stop(None)

    assert reply == AddNetworkReply() and trailing["ipamd-reason"].startswith("target: ")
