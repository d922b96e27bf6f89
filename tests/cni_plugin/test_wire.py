"""One unary call on the wire: addresses, deadlines, and servers that are slow, gone or no servers at all."""

import socket
import struct
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from cni_plugin import backend
from cni_plugin.address import Address
from cni_plugin.status import DialError, RpcError
from cni_plugin.wire import Channel, Deadline, Reply
from ipamd.rpc import rpc_pb2
from tests.cni_plugin.harness import Node, RecordingHost, Refusal, added, allocation, environment, invoke, serving
from tests.cni_plugin.peers import Peer, listening, until_closed

Conf = Callable[..., bytes]
RPC = "add cmd: Error received from AddNetwork gRPC call: rpc error: code = "
METHOD = "/rpc.CNIBackend/AddNetwork"


def call(path: str, message: bytes = b"", seconds: float | None = 10.0) -> Reply:
    """One call at this Unix socket."""
    deadline = Deadline(seconds)
    channel = Channel(Address(socket.AF_UNIX, path, f"unix {path}"), deadline)
    try:
        return channel.call(METHOD, message, deadline)
    finally:
        channel.close()


@pytest.mark.spec("RPC-1")
@pytest.mark.parametrize("form", ["127.0.0.1:{}", "localhost:{}"])
def test_tcp_of_older_releases_works(conf: Conf, form: str) -> None:
    """Up to 1.22 ipamd listened on 127.0.0.1:50051."""
    with serving(Node(add=added(allocation("10.0.1.9"))), "127.0.0.1:0") as [port]:
        outcome = invoke(environment("ADD"), conf(dryRun=True, ipamdAddress=form.format(port)))

    assert outcome.document["ips"][0]["address"] == "10.0.1.9/32"


def test_absent_socket_is_unavailable(conf: Conf, socket_path: str) -> None:
    """At once, and in the reference client's words."""
    outcome = invoke(environment("ADD"), conf(dryRun=True))

    assert outcome.document == {
        "code": 999,
        "msg": f'{RPC}Unavailable desc = connection error: desc = "transport: Error while dialing: '
        f'dial unix {socket_path}: connect: no such file or directory"',
    }


def test_socket_that_nobody_serves_is_unavailable(conf: Conf, socket_path: str) -> None:
    """What a killed ipamd leaves behind."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bound:
        bound.bind(socket_path)

    outcome = invoke(environment("ADD"), conf(dryRun=True))

    assert f"dial unix {socket_path}: connect: connection refused" in outcome.document["msg"]


def test_closed_port_is_unavailable(conf: Conf) -> None:
    """The same for TCP."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    outcome = invoke(environment("ADD"), conf(dryRun=True, ipamdAddress=f"127.0.0.1:{port}"))

    assert (
        f'Unavailable desc = connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:{port}'
        in (outcome.document["msg"])
    )


def test_hung_handler_ends_with_the_deadline(node: Node, conf: Conf, socket_path: str) -> None:
    """Ten seconds by default, here a fifth of one; the server is told a quarter of a second more."""
    node.hang = True

    outcome = invoke(environment("ADD"), conf(dryRun=True, rpcDeadlineSeconds=0.2))

    assert outcome.document["msg"].startswith(f"{RPC}DeadlineExceeded desc = context deadline exceeded: no reply")
    assert f"unix {socket_path} within 0.2 s" in outcome.document["msg"]
    assert node.timeouts[0] is not None and node.timeouts[0] <= 0.2 + 0.25


def test_default_deadline_is_ten_seconds_and_zero_is_none(node: Node, conf: Conf) -> None:
    """As the server sees it."""
    invoke(environment("ADD"), conf(dryRun=True))
    invoke(environment("ADD"), conf(dryRun=True, rpcDeadlineSeconds=0))

    bounded, unbounded = node.timeouts
    assert bounded is not None and 5 < bounded <= 10.25
    assert unbounded is None or unbounded > 3600


def test_server_that_never_speaks_ends_with_the_deadline(conf: Conf, socket_path: str) -> None:
    """The deadline covers the connection as well."""
    with listening(socket_path, until_closed):
        outcome = invoke(environment("ADD"), conf(dryRun=True, rpcDeadlineSeconds=0.1))

    assert "DeadlineExceeded" in outcome.document["msg"]


def test_server_that_drips_ends_with_the_deadline(socket_path: str) -> None:
    """Each byte in time does not make a reply in time."""

    def drip(connection: socket.socket) -> None:
        settings = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
        try:
            for at in range(10_000_000):
                connection.sendall(settings[at % 9 : at % 9 + 1])
        except OSError:
            return

    with listening(socket_path, drip), pytest.raises(RpcError) as caught:
        call(socket_path, seconds=0.2)

    assert caught.value.code == "DeadlineExceeded"


def test_backlog_that_stays_full_ends_with_the_deadline(conf: Conf, socket_path: str) -> None:
    """The kernel refuses at once; we try again until the time is up."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(socket_path)
        server.listen(0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as first:
            first.connect(socket_path)

            outcome = invoke(environment("ADD"), conf(dryRun=True, rpcDeadlineSeconds=0.1))

    assert "DeadlineExceeded" in outcome.document["msg"]


@pytest.mark.spec("RPC-17")
def test_agent_that_never_greets_is_no_connection(
    node: Node, conf: Conf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dial blocks until HTTP/2 is up, 2 s at most."""
    assert backend.POLICY_DIAL_SECONDS == 2.0
    monkeypatch.setattr(backend, "POLICY_DIAL_SECONDS", 0.1)
    node.delete = rpc_pb2.DelNetworkReply(Success=True, NetworkPolicyMode="strict")
    silent = tmp_path / "npa.sock"

    with listening(silent, until_closed):
        outcome = invoke(environment("DEL"), conf(networkPolicyAgentAddress=f"unix://{silent}"), RecordingHost())

    message = outcome.document["msg"]
    assert message.startswith("del cmd: failed to connect to network policy agent: rpc error: code = DeadlineEx")


@pytest.mark.parametrize(
    "garbage, words",
    [
        (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nwhat?", "does not speak HTTP/2"),
        (b"", "error reading server preface: EOF"),
        (bytes(9) + b"\0\0\1\4\0\0\0\0\0x", "does not speak HTTP/2"),
        (b"\0\0\5\4\0\0\0\0\0abcde", "does not speak HTTP/2"),
        (b"\0\0\0\4\1\0\0\0", "error reading server preface: EOF"),
    ],
)
def test_garbage_is_unavailable(conf: Conf, socket_path: str, garbage: bytes, words: str) -> None:
    """Whoever sits on that socket, it is not a gRPC server."""

    def answer(connection: socket.socket) -> None:
        connection.recv(16)
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)
        until_closed(connection)

    with listening(socket_path, answer):
        outcome = invoke(environment("ADD"), conf(dryRun=True))

    assert outcome.document["msg"].startswith(f'{RPC}Unavailable desc = connection error: desc = "error reading')
    assert words in outcome.document["msg"]


def test_reset_connection_is_unavailable(socket_path: str, tmp_path: Path) -> None:
    """A TCP reset in the middle of a call."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        deadline = Deadline(10)
        channel = Channel(Address(socket.AF_INET, ("127.0.0.1", port), "tcp"), deadline)
        connection, _ = server.accept()
        Peer(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

        with pytest.raises(RpcError) as caught:
            channel.call(METHOD, b"x", deadline)
        channel.close()

    assert caught.value.code == "Unavailable"


def test_server_that_leaves_in_the_middle_is_unavailable(socket_path: str) -> None:
    """After the request, before the reply."""

    def leave(connection: socket.socket) -> None:
        Peer(connection).request()

    with listening(socket_path, leave) as failures, pytest.raises(RpcError) as caught:
        call(socket_path)

    assert str(caught.value) == (
        f"rpc error: code = Unavailable desc = error reading from server unix {socket_path}: EOF"
    )
    assert failures == []


def test_request_has_the_headers_of_grpc(socket_path: str) -> None:
    """What a server may insist on, and the time that is left."""
    seen: dict[str, str] = {}

    def answer(connection: socket.socket) -> None:
        peer = Peer(connection)
        stream = peer.request()
        seen.update(peer.headers)
        peer.reply(stream, b"")

    with listening(socket_path, answer):
        reply = call(socket_path)

    timeout = seen.pop("grpc-timeout")
    assert reply.message == b""
    assert timeout.endswith("m") and 5_000 < int(timeout[:-1]) <= 10_250
    assert seen == {
        ":method": "POST",
        ":scheme": "http",
        ":path": METHOD,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
        "user-agent": "aws-cni-h2",
    }


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_status_is_named_as_the_reference_client_names_it(node: Node, conf: Conf, code: grpc.StatusCode) -> None:
    """All seventeen codes; OK is a reply."""
    if code is grpc.StatusCode.OK:
        assert invoke(environment("ADD"), conf(dryRun=True)).code == 0
        return
    node.add = Refusal(code, "no")

    message = invoke(environment("ADD"), conf(dryRun=True)).document["msg"]

    name = "Canceled" if code is grpc.StatusCode.CANCELLED else code.name.title().replace("_", "")
    assert message == f"{RPC}{name} desc = no"


def test_dial_error_is_an_rpc_error() -> None:
    """A connection that cannot be had is just one way for a call to fail."""
    error = DialError("x")

    assert isinstance(error, RpcError)
    assert str(error) == 'rpc error: code = Unavailable desc = connection error: desc = "x"'
