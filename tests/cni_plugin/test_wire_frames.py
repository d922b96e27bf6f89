"""HTTP/2 as servers may speak it: cut frames, small windows, large replies, GOAWAY, resets, odd endings."""

import socket
from collections.abc import Callable

import pytest

from cni_plugin.status import RpcError, name_of, percent_decoded
from cni_plugin.wire import REPLY_MAX
from tests.cni_plugin.peers import Peer, listening, until_closed
from tests.cni_plugin.test_wire import call

Ending = Callable[[Peer, int], None]


def answered_with(path: str, ending: Ending) -> RpcError:
    """The error that a call ends with when the server answers so."""

    def answer(connection: socket.socket) -> None:
        peer = Peer(connection)
        ending(peer, peer.request())
        peer.flush()
        until_closed(connection)

    with listening(path, answer) as failures, pytest.raises(RpcError) as caught:
        call(path)
    assert failures == []
    return caught.value


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_reply_in_pieces_is_put_together(socket_path: str, piece: int) -> None:
    """A read may end anywhere in a frame."""
    message = bytes(range(256)) * 4

    def answer(connection: socket.socket) -> None:
        peer = Peer(connection)
        peer.reply(peer.request(), message, piece)

    with listening(socket_path, answer) as failures:
        reply = call(socket_path)

    assert reply.message == message
    assert failures == []


def test_large_reply_needs_new_windows(socket_path: str) -> None:
    """3 MiB through windows of 64 KiB."""
    message = bytes(3 << 20)

    def answer(connection: socket.socket) -> None:
        peer = Peer(connection)
        peer.reply(peer.request(), message)

    with listening(socket_path, answer) as failures:
        reply = call(socket_path)

    assert reply.message == message
    assert failures == []


def test_large_request_waits_for_windows(socket_path: str) -> None:
    """300 kB to a server that takes in 64 KiB until it has read them."""
    message = bytes(300_000)
    received = bytearray()

    def answer(connection: socket.socket) -> None:
        peer = Peer(connection)
        stream = peer.request()
        received.extend(peer.body)
        peer.reply(stream, b"done")

    with listening(socket_path, answer) as failures:
        reply = call(socket_path, message)

    assert bytes(received) == b"\0" + len(message).to_bytes(4, "big") + message
    assert (reply.message, failures) == (b"done", [])


def test_early_refusal_ends_a_long_request(socket_path: str) -> None:
    """A server may answer before it has read everything, and give no more windows."""

    def refuse(connection: socket.socket) -> None:
        peer = Peer(connection)
        peer.begin()
        peer.trailers(1, (":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "8"))
        peer.flush()
        until_closed(connection)

    with listening(socket_path, refuse) as failures, pytest.raises(RpcError) as caught:
        call(socket_path, bytes(1 << 20))

    assert caught.value.code == "ResourceExhausted"
    assert failures == []


def test_reply_beyond_the_limit_is_refused(socket_path: str) -> None:
    """4 MiB, as in the reference client."""

    def answer(connection: socket.socket) -> None:
        peer = Peer(connection)
        stream = peer.request()
        peer.headers_of_reply(stream)
        try:
            peer.data(stream, bytes(REPLY_MAX + 1))
            peer.flush()
        except (EOFError, OSError):
            return

    with listening(socket_path, answer), pytest.raises(RpcError) as caught:
        call(socket_path)

    assert caught.value.code == "ResourceExhausted"


def test_reply_without_a_body_is_trailers_only(socket_path: str) -> None:
    """A refusal in one frame, its message percent-encoded, its metadata kept."""

    def refuse(peer: Peer, stream: int) -> None:
        peer.trailers(
            stream,
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", "9"),
            ("grpc-message", "100%25 full%3A %E2%82%AC%0a"),
            ("ipamd-reason", "x: y; z"),
        )

    error = answered_with(socket_path, refuse)

    assert str(error) == "rpc error: code = FailedPrecondition desc = 100% full: \u20ac\n"
    assert error.metadata["ipamd-reason"] == "x: y; z"


def test_farewell_does_not_end_a_call_that_was_taken_up(socket_path: str) -> None:
    """A server shutting down gracefully: GOAWAY, then the reply."""

    def answer(connection: socket.socket) -> None:
        peer = Peer(connection)
        stream = peer.request()
        peer.go_away(2**31 - 1)
        peer.go_away(stream)
        peer.reply(stream, b"still")

    with listening(socket_path, answer) as failures:
        reply = call(socket_path)

    assert (reply.message, failures) == (b"still", [])


def test_farewell_ends_a_call_that_was_not_taken_up(socket_path: str) -> None:
    """The runtime may try again."""
    error = answered_with(socket_path, lambda peer, stream: peer.go_away(0, 11, b"too_many_pings"))

    assert str(error) == (
        "rpc error: code = Unavailable desc = closing transport due to: received goaway, "
        'code: ENHANCE_YOUR_CALM, debug data: "too_many_pings"'
    )


def test_end_after_a_farewell_mentions_it(socket_path: str) -> None:
    """Why the server went."""

    def leave(connection: socket.socket) -> None:
        peer = Peer(connection)
        peer.go_away(peer.request(), 2)

    with listening(socket_path, leave), pytest.raises(RpcError) as caught:
        call(socket_path)

    assert caught.value.code == "Unavailable"
    assert "received prior goaway: code: INTERNAL_ERROR" in str(caught.value)


@pytest.mark.parametrize(
    "code, name, words",
    [
        (7, "Unavailable", "REFUSED_STREAM"),
        (8, "Canceled", "CANCEL"),
        (11, "ResourceExhausted", "ENHANCE_YOUR_CALM"),
        (12, "PermissionDenied", "INADEQUATE_SECURITY"),
        (2, "Internal", "INTERNAL_ERROR"),
        (0, "Internal", "NO_ERROR"),
        (77, "Internal", "77"),
    ],
)
def test_reset_stream_has_the_status_of_its_error_code(socket_path: str, code: int, name: str, words: str) -> None:
    """The table of gRPC over HTTP/2."""
    error = answered_with(socket_path, lambda peer, stream: peer.http.reset_stream(stream, code))

    assert str(error) == (f"rpc error: code = {name} desc = stream terminated by RST_STREAM with error code: {words}")


def test_reset_after_the_reply_changes_nothing(socket_path: str) -> None:
    """Some servers reset a stream that they have answered early."""

    def answer(connection: socket.socket) -> None:
        peer = Peer(connection)
        stream = peer.request()
        peer.headers_of_reply(stream)
        peer.data(stream, b"done")
        peer.trailers(stream, ("grpc-status", "0"))
        ending = peer.http.data_to_send()
        reset = b"\0\0\4\3\0" + stream.to_bytes(4, "big") + bytes(4)
        connection.sendall(ending + reset)

    with listening(socket_path, answer):
        reply = call(socket_path)

    assert reply.message == b"done"


@pytest.mark.parametrize(
    "status, name",
    [("404", "Unimplemented"), ("503", "Unavailable"), ("401", "Unauthenticated"), ("418", "Unknown")],
)
def test_answer_of_a_web_server_is_mapped(socket_path: str, status: str, name: str) -> None:
    """An HTTP status without a gRPC status."""

    def refuse(peer: Peer, stream: int) -> None:
        peer.trailers(stream, (":status", status))

    error = answered_with(socket_path, refuse)

    assert error.code == name
    assert f"unexpected HTTP status code received from server: {status}" in str(error)


def _body(body: bytes, *trailers: tuple[str, str]) -> Ending:
    """A reply with this body, and trailers if there are some."""

    def answer(peer: Peer, stream: int) -> None:
        peer.headers_of_reply(stream)
        if body or not trailers:
            peer.http.send_data(stream, body, end_stream=not trailers)
        if trailers:
            peer.trailers(stream, *trailers)

    return answer


OK = ("grpc-status", "0")


@pytest.mark.parametrize(
    "ending, name, words",
    [
        (_body(b"\0\0\0\0\0"), "Internal", "server closed the stream without sending trailers"),
        (_body(b"", OK), "Internal", "answered OK without a message"),
        (_body(b"\1\0\0\0\0", OK), "Internal", "the reply is compressed"),
        (_body(b"\0\0\0\0\5abc", OK), "Internal", "not exactly one whole message"),
        (_body(b"\0\0\0\0\1a\0\0\0\0\1b", OK), "Internal", "not exactly one whole message"),
        (_body(b"", ("grpc-status", "99")), "Unknown", "desc = "),
        (_body(b"", ("grpc-status", "x")), "Unknown", "desc = "),
    ],
)
def test_odd_endings_are_errors(socket_path: str, ending: Ending, name: str, words: str) -> None:
    """A reply is one message and a status, or it is none."""
    error = answered_with(socket_path, ending)

    assert error.code == name
    assert words in str(error)


def test_frame_beyond_the_limit_breaks_the_protocol(socket_path: str) -> None:
    """We never allow more than 16 KiB."""

    def huge(peer: Peer, stream: int) -> None:
        peer.flush()
        peer.connection.sendall(b"\0\x40\1\0\0\0\0\0\1")

    error = answered_with(socket_path, huge)

    assert error.code == "Internal"
    assert "broke the HTTP/2 protocol (a frame of 16385 bytes" in str(error)


@pytest.mark.parametrize(
    "encoded, text",
    [(b"", ""), (b"a%20b", "a b"), (b"%", "%"), (b"%4", "%4"), (b"%zz%41", "%zzA"), (b"%ff", "\ufffd")],
)
def test_messages_are_percent_decoded_with_lenience(encoded: bytes, text: str) -> None:
    """A `%` that begins no pair of digits stands for itself."""
    assert percent_decoded(encoded) == text


@pytest.mark.parametrize("number, name", [("0", "OK"), ("16", "Unauthenticated"), ("17", "Unknown"), ("", "Unknown")])
def test_codes_beyond_the_known_are_unknown(number: str, name: str) -> None:
    """Whatever a newer server sends."""
    assert name_of(number) == name
