"""One unary gRPC call over HTTP/2: the h2 library on a blocking socket.

grpcio would do the same after 40 ms more of imports. What h2 leaves to its user is here: sockets, deadlines,
flow control, gRPC's five-byte message header, its status in trailers, and GOAWAY: h2 ends a connection
when a server says that it will take no further calls, but gRPC lets the calls up to `last_stream_id` finish,
so GOAWAY frames are read here and not shown to h2.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

from h2 import events as h2_events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import H2Error

from cni_plugin.status import OF_HTTP, OF_RESET, DialError, RpcError, name_of, percent_decoded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_plugin.address import Address

REPLY_MAX = 4 << 20  # bytes, the reference client's limit too
READ_SIZE = 64 << 10
FRAME_HEADER = 9  # bytes: length (3), type, flags, stream id (4)
FRAME_MAX = 16 << 10  # bytes of payload: HTTP/2's default, which we never raise
GOAWAY = 7
SERVER_SLACK_MS = 250  # the server gives up after us, so that the words about it are ours
BACKLOG_PAUSE = 0.005  # seconds between tries while a Unix socket's backlog is full


class Deadline:
    """A point of the monotonic clock, or none."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds

    def left(self, where: str) -> float | None:
        """Seconds that remain, None without a deadline; RpcError DeadlineExceeded when there are none."""
        if self._end is None:
            return None
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.exceeded(where)
        return left

    def exceeded(self, where: str) -> RpcError:
        """The error to raise when waiting for `where` took too long."""
        return RpcError(
            "DeadlineExceeded",
            f"context deadline exceeded: no reply from {where} within {self.seconds:g} s of connect, send "
            'and receive; see whether that server is stuck, or set "rpcDeadlineSeconds"',
        )


class Reply(NamedTuple):
    """A serialised message and the server's metadata (initial and trailing together)."""

    message: bytes
    metadata: dict[str, str]


class Channel:
    """One connection, used for at most one call. Close it."""

    def __init__(self, address: Address, deadline: Deadline) -> None:
        """Connect and send the client's preface; DialError when nobody is there."""
        self._where = address.words
        self._socket = _connected(address, deadline)
        self._http = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._http.initiate_connection()
        self._unsent = self._http.data_to_send()
        self._writable = True
        self._frames = bytearray()
        self._exchange = _Exchange()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def wait_ready(self, deadline: Deadline) -> None:
        """Return once the server has greeted as an HTTP/2 server (a blocking dial)."""
        self._send(deadline)
        while not self._exchange.greeted:
            self._receive(deadline)

    def call(self, method: str, message: bytes, deadline: Deadline) -> Reply:
        """The reply to `message`; RpcError for everything else that can happen."""
        left = deadline.left(self._where)
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", method),
            (":authority", "localhost"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "aws-cni-h2"),
        ]
        if left is not None:
            headers.append(("grpc-timeout", f"{int(left * 1000) + SERVER_SLACK_MS}m"))
        stream = self._http.get_next_available_stream_id()
        self._exchange.stream = stream
        self._http.send_headers(stream, headers)
        body = memoryview(b"\0" + len(message).to_bytes(4, "big") + message)
        while body and not self._exchange.ended:
            room = min(self._http.local_flow_control_window(stream), self._http.max_outbound_frame_size)
            if room > 0:
                self._http.send_data(stream, bytes(body[:room]), end_stream=room >= len(body))
                body = body[room:]
            else:
                self._send(deadline)
                self._receive(deadline)
        self._send(deadline)
        while not self._exchange.ended:
            self._receive(deadline)
        return self._exchange.reply()

    def _send(self, deadline: Deadline) -> None:
        """Write what h2 has to say. A server that takes no more may have answered: reading tells how it ended."""
        data = self._unsent + self._http.data_to_send()
        self._unsent = b""
        if not self._writable:
            return
        try:
            self._socket.settimeout(deadline.left(self._where))
            self._socket.sendall(data)
        except TimeoutError as error:
            raise deadline.exceeded(self._where) from error
        except OSError:
            self._writable = False

    def _receive(self, deadline: Deadline) -> None:
        """Take in what the server says next, and answer it as HTTP/2 demands."""
        self._read(deadline)
        if not self._exchange.ended:
            self._send(deadline)

    def _read(self, deadline: Deadline) -> None:
        try:
            self._socket.settimeout(deadline.left(self._where))
            data = self._socket.recv(READ_SIZE)
        except TimeoutError as error:
            raise deadline.exceeded(self._where) from error
        except OSError as error:
            raise self._lost(_words(error)) from error
        if not data:
            raise self._lost("EOF")
        self._frames += data
        while self._next_frame():
            pass

    def _lost(self, cause: str) -> RpcError:
        """The error for a connection that the server closed or broke."""
        if self._exchange.goaway:
            prior = f"received prior goaway: {self._exchange.goaway}"
            return RpcError("Unavailable", f"closing transport due to: {cause}, {prior}")
        if not self._exchange.greeted:
            return DialError(f"error reading server preface: {cause} from {self._where}")
        return RpcError("Unavailable", f"error reading from server {self._where}: {cause}")

    def _next_frame(self) -> bool:
        """Handle the first whole frame of the buffer; False when there is none."""
        frames = self._frames
        if len(frames) < FRAME_HEADER:
            return False
        end = FRAME_HEADER + int.from_bytes(frames[:3], "big")
        if end > FRAME_HEADER + FRAME_MAX:
            raise self._foreign(f"a frame of {end - FRAME_HEADER} bytes, of which {FRAME_MAX} are allowed")
        if len(frames) < end:
            return False
        frame = bytes(frames[:end])
        del frames[:end]
        if frame[3] == GOAWAY:
            self._exchange.go_away(frame[FRAME_HEADER:])
            return True
        try:
            events = self._http.receive_data(frame)
        except H2Error as error:
            raise self._foreign(f"{type(error).__name__}: {error}") from error
        for event in events:
            if isinstance(event, h2_events.DataReceived) and event.flow_controlled_length:
                self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self._exchange.take(event)
        return True

    def _foreign(self, cause: str) -> RpcError:
        """The error for bytes that are not HTTP/2's."""
        if not self._exchange.greeted:
            return DialError(f"error reading server preface: {self._where} does not speak HTTP/2 ({cause})")
        return RpcError("Internal", f"{self._where} broke the HTTP/2 protocol ({cause})")


class _Exchange:
    """What has come back so far: on the connection (`greeted`, `goaway`) and on our stream."""

    def __init__(self) -> None:
        self.stream = 0
        self.greeted = False
        self.goaway = ""
        self.ended = False
        self._failure: RpcError | None = None
        self._fields: dict[str, bytes] = {}
        self._body = bytearray()

    def take(self, event: h2_events.Event) -> None:
        """Note one event of h2."""
        if isinstance(event, h2_events.RemoteSettingsChanged):
            self.greeted = True
        elif isinstance(event, h2_events.DataReceived):
            self._body += event.data
            if len(self._body) > REPLY_MAX + 5:
                self._fail("ResourceExhausted", f"grpc: received message larger than max ({REPLY_MAX})")
        elif isinstance(event, h2_events.ResponseReceived | h2_events.TrailersReceived):
            for name, value in event.headers:
                self._fields[bytes(name).decode("latin-1")] = bytes(value)
        elif isinstance(event, h2_events.StreamEnded):
            self.ended = True
        elif isinstance(event, h2_events.StreamReset):
            self._reset(int(event.error_code or 0))

    def go_away(self, payload: bytes) -> None:
        """Note a GOAWAY frame; it ends our call only when the server says that it did not take it up."""
        last, code = int.from_bytes(payload[:4], "big") & 0x7FFFFFFF, int.from_bytes(payload[4:8], "big")
        debug = payload[8:].decode("utf-8", "replace")
        self.goaway = f'code: {_code_name(code)}, debug data: "{debug}"'
        if self.stream > last:
            self._fail("Unavailable", f"closing transport due to: received goaway, {self.goaway}")

    def reply(self) -> Reply:
        """The message, once the stream has ended; RpcError when there is none."""
        if self._failure:
            raise self._failure
        metadata = {name: value.decode("utf-8", "replace") for name, value in self._fields.items() if name[:1] != ":"}
        if "grpc-status" not in self._fields:
            raise self._not_grpc(metadata)
        if (code := name_of(metadata["grpc-status"])) != "OK":
            raise RpcError(code, percent_decoded(self._fields.get("grpc-message", b"")), metadata)
        return Reply(self._message(metadata), metadata)

    def _message(self, metadata: Mapping[str, str]) -> bytes:
        """The one message in the body."""
        body = bytes(self._body)
        if len(body) < 5:
            raise RpcError("Internal", "the server answered OK without a message", metadata)
        if body[0]:
            raise RpcError("Internal", "grpc: the reply is compressed, which was not offered", metadata)
        if len(body) != 5 + int.from_bytes(body[1:5], "big"):
            raise RpcError("Internal", "the reply is not exactly one whole message", metadata)
        return body[5:]

    def _not_grpc(self, metadata: Mapping[str, str]) -> RpcError:
        """The error for an HTTP reply without a gRPC status."""
        status = self._fields.get(":status", b"").decode("latin-1")
        if status != "200":
            number = int(status) if status.isdigit() else 0
            return RpcError(
                OF_HTTP.get(number, "Unknown"),
                f"unexpected HTTP status code received from server: {status or 'none'}",
                metadata,
            )
        return RpcError("Internal", "server closed the stream without sending trailers", metadata)

    def _reset(self, code: int) -> None:
        """Note a RST_STREAM, unless a full answer came before it."""
        if not self.ended:
            self._fail(
                OF_RESET.get(code, "Internal"),
                f"stream terminated by RST_STREAM with error code: {_code_name(code)}",
            )

    def _fail(self, code: str, desc: str) -> None:
        self.ended = True
        self._failure = self._failure or RpcError(code, desc)


def _code_name(code: int) -> str:
    """`ENHANCE_YOUR_CALM` for 11, the number for what HTTP/2 does not define."""
    try:
        return ErrorCodes(code).name
    except ValueError:
        return str(code)


def _connected(address: Address, deadline: Deadline) -> socket.socket:
    """A connected socket; DialError or DeadlineExceeded when there is none to be had.

    With a time limit on the socket, the kernel refuses a Unix connection at once while the server's backlog is
    full; a burst of pods must not fail by that, so it is tried again until the deadline. Without one it waits.
    """
    try:
        sock = socket.socket(address.family, socket.SOCK_STREAM)
    except OSError as error:
        raise DialError(f"transport: Error while dialing: {address.words}: {_words(error)}") from error
    try:
        while True:
            sock.settimeout(deadline.left(address.words))
            try:
                sock.connect(address.target)
            except BlockingIOError:
                time.sleep(BACKLOG_PAUSE)
            else:
                return sock
    except TimeoutError as error:
        sock.close()
        raise deadline.exceeded(address.words) from error
    except OSError as error:
        sock.close()
        raise DialError(f"transport: Error while dialing: dial {address.words}: connect: {_words(error)}") from error
    except BaseException:
        sock.close()
        raise


def _words(error: OSError) -> str:
    """The system's words for an error, in lower case as the reference client prints them."""
    return os.strerror(error.errno).lower() if error.errno else str(error)
