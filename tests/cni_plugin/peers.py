"""Servers that misbehave: one connection, a script in a thread, bytes as the script wants them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, WindowUpdated
from hyperframe.frame import GoAwayFrame

Script = Callable[[socket.socket], None]
PATIENCE = 20.0  # seconds; only a failing test waits that long


@contextmanager
def listening(path: str | Path, script: Script) -> Iterator[list[BaseException]]:
    """Accept one connection at this Unix socket and run `script` on it; yields what the script raised."""
    failures: list[BaseException] = []
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen(8)
    server.settimeout(PATIENCE)

    def serve() -> None:
        try:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(PATIENCE)
                script(connection)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield failures
    finally:
        thread.join(PATIENCE)
        server.close()


def until_closed(connection: socket.socket) -> None:
    """Swallow what the client says until it leaves."""
    while connection.recv(1 << 16):
        pass


@dataclass
class Peer:
    """The server's half of HTTP/2 on a connection."""

    connection: socket.socket

    def __post_init__(self) -> None:
        self.http = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.headers: dict[str, str] = {}
        self.body = b""
        self.http.initiate_connection()
        self.flush()

    def flush(self, piece: int = 0) -> None:
        """Send what is waiting, in pieces of `piece` bytes if that is not 0."""
        waiting = self.http.data_to_send()
        for at in range(0, len(waiting), piece or len(waiting) or 1):
            self.connection.sendall(waiting[at : at + (piece or len(waiting))])

    def request(self) -> int:
        """Read a whole request, giving the client new windows only when it has used them up; its stream."""
        while True:
            for event in self._events():
                if isinstance(event, RequestReceived):
                    self.headers = {str(name): str(value) for name, value in event.headers}
                elif isinstance(event, DataReceived):
                    self.body += event.data
                    if event.flow_controlled_length:
                        self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, StreamEnded):
                    return event.stream_id
            self.flush()

    def begin(self) -> None:
        """Read until a request has begun, without giving windows."""
        while not any(isinstance(event, RequestReceived) for event in self._events()):
            self.flush()

    def wait_window(self) -> None:
        """Read until the client has given a new window."""
        while not any(isinstance(event, WindowUpdated) for event in self._events()):
            self.flush()

    def headers_of_reply(self, stream: int, **more: str) -> None:
        """The first headers of a gRPC reply."""
        fields = {":status": "200", "content-type": "application/grpc", **more}
        self.http.send_headers(stream, list(fields.items()))

    def trailers(self, stream: int, *fields: tuple[str, str]) -> None:
        """The end of a gRPC reply."""
        self.http.send_headers(stream, list(fields), end_stream=True)

    def data(self, stream: int, message: bytes) -> None:
        """One message, as far as frames and windows go, waiting for new windows."""
        rest = len(message).to_bytes(5, "big") + message
        while rest:
            room = min(self.http.local_flow_control_window(stream), self.http.max_outbound_frame_size)
            if room == 0:
                self.flush()
                self.wait_window()
                continue
            self.http.send_data(stream, rest[:room])
            rest = rest[room:]

    def reply(self, stream: int, message: bytes, piece: int = 0) -> None:
        """A complete, successful reply."""
        self.headers_of_reply(stream)
        self.data(stream, message)
        self.trailers(stream, ("grpc-status", "0"))
        self.flush(piece)

    def go_away(self, last: int, code: int = 0, debug: bytes = b"") -> None:
        """A GOAWAY frame beside h2, which would take itself for closed."""
        self.flush()
        frame = GoAwayFrame(0, last_stream_id=last, error_code=code, additional_data=debug)
        self.connection.sendall(frame.serialize())

    def _events(self) -> list[object]:
        received = self.connection.recv(1 << 16)
        if not received:
            raise EOFError("the client left")
        return list(self.http.receive_data(received))
