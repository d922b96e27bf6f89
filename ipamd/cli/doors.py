"""The daemon's doors as its clockwork opens and closes them; what they serve is `ipamd.server`'s."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from ipamd.server.backend import Backend
from ipamd.server.listen import HttpDoor, absolute, open_tcp, open_unix, prepare_unix
from ipamd.server.services import make_server


class Server(Protocol):
    """What a gRPC server is to this module."""

    async def start(self) -> None:
        """Answer from now on."""
        ...

    async def stop(self, grace: float | None) -> None:
        """Answer nothing new, and end within so many seconds."""
        ...


class GrpcDoor:
    """gRPC on a Unix socket and, if wanted, on TCP (RPC-1). Opens last (RPC-6)."""

    def __init__(self, backend: Backend, socket: str, tcp: str | None) -> None:
        self._backend = backend
        self._socket = socket
        self._tcp = tcp
        self._server: Server | None = None
        self.addresses: list[str] = []

    async def open(self) -> None:
        """Raises ListenError. A place that cannot be had is found before there is a server, which dies less quietly."""
        prepare_unix(absolute(self._socket))
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
    """Introspection or metrics over HTTP; `opening` is how it comes to listen."""

    def __init__(self, opening: Callable[[], Awaitable[HttpDoor]]) -> None:
        self._opening = opening
        self._door: HttpDoor | None = None

    @property
    def url(self) -> str | None:
        """Where it answers; None while it is closed."""
        return self._door.url if self._door is not None else None

    async def open(self) -> None:
        """Raises ListenError."""
        self._door = await self._opening()

    async def close(self, grace: float) -> None:
        """What is being answered may be finished; a caller that takes longer is cut off."""
        if self._door is not None:
            door, self._door = self._door, None
            try:
                await asyncio.wait_for(door.close(), grace)
            except TimeoutError:
                pass
