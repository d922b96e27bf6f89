"""Where the doors stand: Unix sockets and TCP ports, prepared, opened and, when taken, refused in plain words."""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import quote

import grpc
from aiohttp import web
from aiohttp.typedefs import Handler

Application: TypeAlias = web.Application
"""What `open_http` serves; for whoever passes it on and need not know the library."""
SOCKET_MODE: Final = 0o660
"""RPC-2."""
_PATH_MAX: Final = 107
"""Bytes of a Unix socket's path that Linux takes."""
_KEEPALIVE: Final = 5.0
"""HTTP-1: seconds an idle connection is kept, one whose first request is not complete included."""
CONNECTIONS_MAX: Final = 64
"""Of one HTTP door; those above it are told so and closed."""
_ANY: Final = ("", "0.0.0.0", "::")
_FACTS: Final[Mapping[int, str]] = {
    errno.EADDRINUSE: "it is in use by another process",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOSPC: "no space is left on the device",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.ENOTDIR: "a part of the path is a file",
}


_log = logging.getLogger(__name__)


class ListenError(Exception):
    """A door cannot be opened; the message names the door, the fact and the remedy."""

    def __init__(self, thing: str, fact: str, remedy: str) -> None:
        super().__init__(f"{thing}: {fact}; {remedy}")
        self.thing, self.fact, self.remedy = thing, fact, remedy

    @classmethod
    def of(cls, thing: str, error: OSError, remedy: str) -> ListenError:
        """The same failure as the operating system reported it."""
        fact = _FACTS.get(error.errno or 0, error.strerror or str(error))
        return cls(thing, fact, remedy)


def open_unix(server: grpc.aio.Server, path: str | Path) -> str:
    """Listen on a Unix socket, mode 0660 (RPC-1, RPC-2), and return its `unix:///...` address.

    Parent directories are made; a stale socket or a file is replaced. Raises `ListenError` for a directory, a socket
    that somebody answers on, and whatever the file system refuses.
    """
    place = absolute(path)
    prepare_unix(place)
    thing = f"socket {place}"
    try:
        server.add_insecure_port(f"unix:{quote(str(place))}")
        os.chmod(place, SOCKET_MODE)
    except OSError as error:
        place.unlink(missing_ok=True)
        raise ListenError.of(thing, error, "name another one with --socket") from None
    except RuntimeError as error:
        raise ListenError(thing, f"gRPC cannot listen there ({error})", "name another one with --socket") from None
    address = f"unix://{quote(str(place))}"
    _log.info("Serving RPC Handler on %s", address)
    return address


def absolute(path: str | Path) -> Path:
    """The path from the root, `..` resolved by name; links stay links."""
    return Path(os.path.abspath(path))


def prepare_unix(place: Path) -> None:
    """Make the way free for a socket at an absolute path. Raises `ListenError`."""
    thing, remedy = f"socket {place}", "name another one with --socket"
    if len(os.fsencode(place)) > _PATH_MAX:
        raise ListenError(
            thing, f"the path has {len(os.fsencode(place))} bytes, at most {_PATH_MAX} are possible", remedy
        )
    try:
        _make_parents(place.parent)
        mode = os.lstat(place).st_mode
    except FileNotFoundError:
        _try_directory(place, thing, remedy)
        return
    except OSError as error:
        raise ListenError.of(thing, error, remedy) from None
    if stat.S_ISDIR(mode):
        raise ListenError(thing, "it is a directory", "name a file in it with --socket")
    if not stat.S_ISREG(mode) and _answers(place, thing, remedy):
        raise ListenError(
            thing, "a living process answers on it", "stop that daemon, or name another one with --socket"
        )
    try:
        place.unlink()
    except OSError as error:
        raise ListenError.of(thing, error, remedy) from None


def _make_parents(directory: Path) -> None:
    """Recursively, each 0755 whatever the umask is (RPC-2)."""
    missing = []
    while not directory.exists():
        missing.append(directory)
        directory = directory.parent
    for made in reversed(missing):
        made.mkdir(exist_ok=True)
        made.chmod(0o755)


def _try_directory(place: Path, thing: str, remedy: str) -> None:
    """Bind once ourselves: gRPC does not say why it could not."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(os.fsencode(place))
            place.unlink()
        except OSError as error:
            raise ListenError.of(thing, error, remedy) from None


def _answers(place: Path, thing: str, remedy: str) -> bool:
    """Whether somebody listens; a full backlog counts, a socket of a dead process does not."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fsencode(place))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except (BlockingIOError, TimeoutError):
            return True
        except OSError as error:
            if error.errno == errno.EPROTOTYPE:
                return True
            raise ListenError.of(thing, error, remedy) from None
    return True


def parse_address(text: str, option: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `[V6]:PORT`, `:PORT` (all interfaces) or "" (a random port of them all).

    Raises `ListenError`.
    """
    host, colon, port = text.rpartition(":")
    if text and (not colon or not port.isascii() or not port.isdecimal() or int(port) > 65535):
        raise ListenError(f"address {text[:100]!r}", "it has no port 0..65535", f"want HOST:PORT for {option}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ListenError(f"address {text[:100]!r}", "an IPv6 address needs brackets", f"want [HOST]:PORT for {option}")
    return host, int(port or 0)


def open_tcp(server: grpc.aio.Server, address: str) -> str:
    """Listen on `HOST:PORT` and return it with the port that was got. Raises `ListenError`.

    Whoever reaches the port may ask for addresses, so it belongs on 127.0.0.1.
    """
    host, port = parse_address(address, "--tcp")
    thing, remedy = f"port {address}", "stop the other process, or choose another port with --tcp"
    probe_tcp(host, port, thing, remedy)
    shown = f"[{host}]" if ":" in host else host
    try:
        got = server.add_insecure_port(f"{shown or '0.0.0.0'}:{port}")
    except RuntimeError as error:
        raise ListenError(thing, f"gRPC cannot listen there ({error})", remedy) from None
    bound = f"{shown or '0.0.0.0'}:{got}"
    _log.info("Serving RPC Handler on %s", bound)
    return bound


def probe_tcp(host: str, port: int, thing: str, remedy: str) -> None:
    """Bind once ourselves, so that the reason of a refusal is known. Raises `ListenError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except socket.gaierror as error:
            raise ListenError(
                thing, f"the host name is unknown ({error.strerror})", "want an address of this machine"
            ) from None
        except OSError as error:
            raise ListenError.of(thing, error, remedy) from None


class HttpDoor:
    """An HTTP server that listens. `url` is what a client asks; `close` ends it."""

    def __init__(self, runner: web.AppRunner, url: str, place: Path | None = None) -> None:
        self._runner = runner
        self._place = place
        self.url = url

    async def close(self) -> None:
        """Stop listening and end what is being answered; a socket of ours goes with it."""
        await self._runner.cleanup()
        if self._place is not None:
            self._place.unlink(missing_ok=True)


class _Crowd:
    """Refuses what comes over more connections than a door should have."""

    def __init__(self, connections_max: int) -> None:
        self.server: web.Server | None = None
        self._max = connections_max

    @web.middleware
    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer as the application does, unless too many are here."""
        if self.server is None or len(self.server.connections) <= self._max:
            return await handler(request)
        response = web.Response(status=503, text=f"more than {self._max} connections are open; ask again\n")
        response.force_close()
        return response


async def open_http(
    app: Application,
    address: str,
    option: str,
    *,
    tls: ssl.SSLContext | None = None,
    connections_max: int = CONNECTIONS_MAX,
) -> HttpDoor:
    """Serve an application on `HOST:PORT` or `unix:PATH` (HTTP-1, HTTP-20). `option` is named in the remedy.

    Raises `ListenError`; upstream would retry for ever.
    """
    crowd = _Crowd(connections_max)
    app.middlewares.append(crowd.answer)
    runner = web.AppRunner(
        app, access_log=None, keepalive_timeout=_KEEPALIVE, handle_signals=False, shutdown_timeout=0.5
    )
    await runner.setup()
    crowd.server = runner.server
    try:
        if address.startswith("unix:"):
            place = absolute(address.removeprefix("unix:").removeprefix("//"))
            prepare_unix(place)
            await web.UnixSite(runner, place).start()
            os.chmod(place, SOCKET_MODE)
            return HttpDoor(runner, f"unix://{place}", place)
        host, port = parse_address(address, option)
        remedy = f"stop the other process, or choose another address with {option}"
        try:
            await web.TCPSite(runner, host or None, port, ssl_context=tls).start()
        except OSError as error:
            raise ListenError.of(f"port {address or ':0'}", error, remedy) from None
        got = next(iter(runner.addresses))[1]
        near = "127.0.0.1" if host in _ANY else f"[{host}]" if ":" in host else host
        return HttpDoor(runner, f"{'http' if tls is None else 'https'}://{near}:{got}")
    except BaseException:
        await runner.cleanup()
        raise
