"""The door to the node's own network: what the machine asks of the host, and who answers.

`HostRecorder` touches nothing: it says yes, keeps what it was asked, and answers that it knows no links, so that
no pod's row is judged by a veth that nobody made (DM-62).
"""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

from ipamd.core.calls import HostCall, LinksView, SetUpEni

KEPT: Final = 1000
"""How many of the last requests the recorder keeps; the journal has them all."""


class HostError(Exception):
    """The host refused: what was tried, what it said."""

    def __init__(self, operation: str, message: str) -> None:
        super().__init__(f"{operation}: {message}")
        self.operation = operation
        self.message = message


class Host(Protocol):
    """One node's links, addresses, routes and rules."""

    async def call(self, call: HostCall) -> None:
        """Perform one call; performing it twice is the same as once. Raises `HostError`."""
        ...

    async def links(self) -> LinksView:
        """The names of the host's links. Raises `HostError`."""
        ...

    async def link_index(self, mac: str) -> int:
        """Interface index of the link with this MAC address (RPC-27), 0 if there is none. Raises `HostError`."""
        ...


class HostRecorder:
    """A host that is only written down."""

    def __init__(self) -> None:
        self.asked: deque[HostCall] = deque(maxlen=KEPT)
        self._devices: dict[str, int] = {}

    async def call(self, call: HostCall) -> None:
        """Keep the request; it always succeeds."""
        self.asked.append(call)
        if isinstance(call, SetUpEni):
            self._devices[call.mac] = call.device

    async def links(self) -> LinksView:
        """Not known."""
        return LinksView(known=False)

    async def link_index(self, mac: str) -> int:
        """What the link of such a device would have on an instance: 1 is the loopback, 2 the primary ENI."""
        return self._devices[mac] + 2 if mac in self._devices else 0
