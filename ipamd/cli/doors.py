"""The daemon's doors as its clockwork opens and closes them; what they serve is `ipamd.server`'s."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import web

from ipamd.server.backend import Backend
from ipamd.server.listen import HttpDoor, absolute, open_http, open_tcp, open_unix
from ipamd.server.services import make_server

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Protocol

    class Server(Protocol):
        """What a gRPC server is to this module."""

        async def start(self) -> None: ...

        def stop(self, grace: float | None) -> Awaitable[None]: ...


class GrpcDoor:
    """gRPC on a Unix socket and, if wanted, on TCP (RPC-1). Opens last (RPC-6)."""

    def __init__(self, backend: Backend, socket: str, tcp: str | None) -> None:
        self._backend = backend
        self._socket = socket
        self._tcp = tcp
        self._server: Server | None = None
        self.addresses: list[str] = []

    async def open(self) -> None:
        """Raises ListenError."""
        self._server = server = await make_server(self._backend)
        self.addresses.append(open_unix(server, self._socket))
        if self._tcp is not None:
            self.addresses.append(open_tcp(server, self._tcp))
        await server.start()

    async def close(self, grace: float) -> None:
        """Answer what has begun, refuse what comes, and take the socket away, if it is ours."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop(grace)
            if self.addresses:
                absolute(self._socket).unlink(missing_ok=True)


class WebDoor:
    """Introspection or metrics over HTTP. `option` names what a person would change."""

    def __init__(self, application: Callable[[], web.Application], address: str, option: str) -> None:
        self._application = application
        self._address = address
        self._option = option
        self._door: HttpDoor | None = None

    @property
    def url(self) -> str | None:
        """Where it answers; None while it is closed."""
        return self._door.url if self._door is not None else None

    async def open(self) -> None:
        """Raises ListenError."""
        self._door = await open_http(self._application(), self._address, self._option)

    async def close(self, grace: float) -> None:
        """What is being answered may be finished; a caller that takes longer is cut off."""
        if self._door is not None:
            door, self._door = self._door, None
            try:
                await asyncio.wait_for(door.close(), grace)
            except TimeoutError:
                pass
