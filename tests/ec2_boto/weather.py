"""An EC2 endpoint whose weather a test makes: it answers as it is told, or passes requests on to a real door.

It is an HTTP server in a thread, on 127.0.0.1. What is told of an action holds until it is told otherwise.
"""

from __future__ import annotations

import http.client
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"


class Reply(NamedTuple):
    """What goes back."""

    status: int
    body: str


Told = Callable[[dict[str, str]], Reply]
"""A request's parameters to its answer; raises `Hang` or `Drop`."""


class Hang(Exception):
    """No answer until the weather ends."""


class Drop(Exception):
    """The connection is closed; `effect`: after the request was passed on."""

    def __init__(self, effect: bool = False) -> None:
        super().__init__()
        self.effect = effect


def refusal(code: str, message: str = "said the test", status: int = 400) -> Told:
    """EC2's error document."""
    body = (
        f"<Response><Errors><Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error></Errors>"
        "<RequestID>00000000-0000-0000-0000-000000000000</RequestID></Response>"
    )
    return lambda _: Reply(status, body)


def xml(action: str, body: str) -> Reply:
    """EC2's answer to an action."""
    return Reply(200, f'<{action}Response xmlns="{NAMESPACE}"><requestId>r</requestId>{body}</{action}Response>')


def in_turn(*answers: Told) -> Told:
    """One answer after the other; the last one from then on."""
    rest = list(answers)

    def told(asked: dict[str, str]) -> Reply:
        return (rest.pop(0) if len(rest) > 1 else rest[0])(asked)

    return told


def hang(_: dict[str, str]) -> Reply:
    """No answer."""
    raise Hang


def drop(_: dict[str, str]) -> Reply:
    """A connection that breaks before anything happened."""
    raise Drop


def drop_after(_: dict[str, str]) -> Reply:
    """A connection that breaks when it has happened."""
    raise Drop(effect=True)


class _Server(ThreadingHTTPServer):
    """One that can hang up on everybody."""

    daemon_threads = True

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self._live: list[socket.socket] = []

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        self._live.append(connection)
        return connection, address

    def hang_up(self) -> None:
        """Connections that are kept for later requests end too."""
        for connection in self._live:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it had ended


class Weather:
    """The server."""

    def __init__(self, behind: str = "", port: int = 0) -> None:
        """`behind` is the endpoint that requests are passed on to where nothing else is told; port 0 is any."""
        self.behind = behind
        self.asked: list[dict[str, str]] = []
        self._told: dict[str, Told] = {}
        self._over = threading.Event()
        self._server = _Server(port, _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def tell(self, told: Told, *actions: str) -> None:
        """How these actions are answered from now on; all that nothing else is told of, for none."""
        for action in actions or ("*",):
            self._told[action] = told

    def clear(self) -> None:
        """Fair weather."""
        self._told.clear()

    def count(self, action: str) -> int:
        """How often an action was asked."""
        return Counter(asked["Action"] for asked in self.asked)[action]

    def answer(self, asked: dict[str, str], raw: bytes, headers: dict[str, str]) -> Reply:
        """As it was told. Raises `Drop`."""
        self.asked.append(asked)
        told = self._told.get(asked["Action"]) or self._told.get("*")
        if told is None:
            return self._pass_on(raw, headers)
        try:
            return told(asked)
        except Hang:
            self._over.wait(60)
            raise Drop from None
        except Drop as drop:
            if drop.effect:
                self._pass_on(raw, headers)
            raise

    def _pass_on(self, raw: bytes, headers: dict[str, str]) -> Reply:
        assert self.behind, "nothing stands behind this weather, and nothing was told"
        connection = http.client.HTTPConnection(urlsplit(self.behind).netloc, timeout=30)
        try:
            connection.request("POST", "/", raw, {k: v for k, v in headers.items() if k.lower() != "host"})
            answer = connection.getresponse()
            return Reply(answer.status, answer.read().decode())
        finally:
            connection.close()

    def end(self) -> None:
        """Let go of who hangs, and listen no more."""
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._server.hang_up()


def _handler(weather: Weather) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            asked = {name: values[0] for name, values in parse_qs(raw.decode(), keep_blank_values=True).items()}
            asked["authorization"] = self.headers.get("Authorization", "")
            try:
                reply = weather.answer(asked, raw, dict(self.headers))
            except Drop:
                self.close_connection = True
                return
            body = reply.body.encode()
            self.send_response(reply.status)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                pass  # whoever asked has given up

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: a test that fails shows what it knows."""

    return Handler


@contextmanager
def weather(behind: str = "") -> Iterator[Weather]:
    """A server that ends with the test."""
    made = Weather(behind)
    try:
        yield made
    finally:
        made.end()
