"""What no plugin would send: the door answers each with an error and goes on serving."""

import asyncio
import random
from pathlib import Path

import grpc
import pytest

from ipamd.rpc.rpc_pb2 import AddNetworkReply
from ipamd.server.services import MESSAGE_MAX

from .memory import Memory, add_request, failure, serving, stub_of

pytestmark = pytest.mark.asyncio


async def outcome(call: grpc.aio.UnaryUnaryCall[bytes, bytes]) -> grpc.StatusCode:
    """The status; with OK the reply must be a refusal."""
    try:
        reply = await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    assert AddNetworkReply.FromString(reply) == AddNetworkReply()
    return grpc.StatusCode.OK


async def test_random_bytes_are_answered_one_by_one(tmp_path: Path) -> None:
    """Either they are no message (INTERNAL) or they are one that is refused; an address is never given for them."""
    chance = random.Random(20260101)
    node = Memory().ready()
    codes = set()

    async with serving(node.backend(), tmp_path / "s") as channel:
        raw: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/rpc.CNIBackend/AddNetwork")
        for _ in range(300):
            codes.add(await outcome(raw(chance.randbytes(chance.randrange(60)))))
        after = await stub_of(channel).AddNetwork(add_request())

    assert codes == {grpc.StatusCode.INTERNAL, grpc.StatusCode.OK}
    assert after.Success and len(node.state.stores[0].owners) == 1


async def test_a_truncated_request_is_no_message(tmp_path: Path) -> None:
    """Every cut of a real request is either malformed or lacks a part of the key."""
    whole = add_request().SerializeToString()
    node = Memory().ready()

    async with serving(node.backend(), tmp_path / "s") as channel:
        raw: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/rpc.CNIBackend/AddNetwork")
        codes = {await outcome(raw(whole[:length])) for length in range(len(whole) - 4)}

    assert codes == {grpc.StatusCode.INTERNAL, grpc.StatusCode.OK}
    assert not node.state.stores[0].owners


async def test_an_unknown_method_is_unimplemented(tmp_path: Path) -> None:
    """The service is there, the method is not."""
    async with serving(Memory().backend(), tmp_path / "s") as channel:
        raw: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/rpc.CNIBackend/StealNetwork")
        code, _, _ = await failure(raw(b""))

    assert code is grpc.StatusCode.UNIMPLEMENTED


async def test_a_message_beyond_the_transports_bound_is_refused_by_the_transport(tmp_path: Path) -> None:
    """16 MiB; nothing of it reaches the handler."""
    node = Memory().ready()
    backend = node.backend()

    async with serving(backend, tmp_path / "s") as channel:
        raw: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/rpc.CNIBackend/AddNetwork")
        code, text, _ = await failure(raw(b"x" * (MESSAGE_MAX + 1)))
        after = await stub_of(channel).AddNetwork(add_request())

    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED and str(MESSAGE_MAX) in text
    assert after.Success and backend.counts.adds == 1


@pytest.mark.parametrize(
    "greeting", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00" * 4096, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff"]
)
async def test_what_is_not_http2_is_hung_up_on(tmp_path: Path, greeting: bytes) -> None:
    """Others are served meanwhile and after."""
    async with serving(Memory().ready().backend(), tmp_path / "s") as channel:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(greeting)
        writer.write_eof()
        async with asyncio.timeout(10):
            await reader.read()
        writer.close()

        assert (await stub_of(channel).AddNetwork(add_request())).Success


async def test_a_caller_that_gives_up_leaves_no_trace(tmp_path: Path) -> None:
    """A call cancelled while it waits for the disk: the door goes on, and its retry is answered."""
    node = Memory().ready()
    backend = node.backend()
    waiting, released = asyncio.Event(), asyncio.Event()
    submit = node.submit

    async def slow(command):  # type: ignore[no-untyped-def]
        answer = await submit(command)
        waiting.set()
        await released.wait()
        return answer

    backend._submit = slow
    async with serving(backend, tmp_path / "s") as channel:
        first = stub_of(channel).AddNetwork(add_request())
        await waiting.wait()
        first.cancel()
        released.set()
        retry = await stub_of(channel).AddNetwork(add_request())

    assert retry.IPAllocationMetadata[0].IPv4Addr == "192.168.1.100"
