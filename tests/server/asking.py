"""A client of introspection's door, the node behind it, and its journal."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientResponse, ClientSession, ClientTimeout

from ipamd.cli.past import JournalHistory
from ipamd.cli.state import document
from ipamd.core import events as ev
from ipamd.core.commands import AddNetwork, DelNetwork
from ipamd.core.types import SECOND, Pod, Sandbox
from ipamd.journal.journal import Journal
from ipamd.server.history import Past
from ipamd.server.introspection import Introspection
from ipamd.server.listen import CONNECTIONS_MAX, HttpDoor, open_http

from .memory import Memory


def web(number: int) -> AddNetwork:
    """The request of pod web-`number`."""
    return AddNetwork(Sandbox("aws-cni", f"secret-{number}", "eth0"), Pod("shop", f"web-{number}", 1))


class Asked:
    """One answer."""

    def __init__(self, status: int, headers: dict[str, str], text: str) -> None:
        self.status = status
        self.headers = headers
        self.text = text

    @property
    def json(self) -> Any:
        """The body as a document."""
        return json.loads(self.text)


class Asking:
    """A client of one door, and the node behind it."""

    def __init__(self, node: Memory, door: HttpDoor, session: ClientSession) -> None:
        self.node, self.door, self.session = node, door, session

    async def get(self, path: str, method: str = "GET", **headers: str) -> Asked:
        """One request."""
        async with self.session.request(method, self.door.url + path, headers=headers) as reply:
            return Asked(reply.status, dict(reply.headers), await reply.text())

    def follow(self, query: str) -> AbstractAsyncContextManager[ClientResponse]:
        """A stream."""
        return self.session.get(f"{self.door.url}/v1/journal?follow=1&{query}")


@asynccontextmanager
async def asking(
    node: Memory, place: Path | None = None, address: str = "127.0.0.1:0", connections_max: int = CONNECTIONS_MAX
) -> AsyncIterator[Asking]:
    """The door of a node; with `place` its records lie there as a journal."""
    past, journal = None, None
    if place is not None:
        journal = Journal.open(place, sync=False)
        for record in node.records:
            journal.stage(record)
        journal.flush()

        def staged(record: ev.Record) -> None:
            assert journal is not None
            journal.stage(record)
            journal.flush()

        node.subscribers.append(staged)
        past = Past(JournalHistory(place), lambda: node.state, document, lambda: node.now)
    introspection = Introspection(
        state=lambda: node.state, network_env=dict, ipamd_env=dict, now=lambda: node.now, lag=lambda: 0.25, past=past
    )
    door = await open_http(introspection.application(), address, "--introspection", connections_max=connections_max)
    try:
        async with ClientSession(timeout=ClientTimeout(total=20)) as session:
            yield Asking(node, door, session)
    finally:
        await door.close()
        if journal is not None:
            journal.close()


async def lived(pods: int = 3) -> Memory:
    """Pods came a second apart; the first one left."""
    addresses = tuple(f"10.0.0.{number}" for number in range(10, 14))
    node = Memory(addresses=addresses).ready()
    for number in range(pods):
        node.now += SECOND
        await node.submit(web(number))
    node.now += SECOND
    await node.submit(DelNetwork(web(0).sandbox, "PodDeleted"))
    return node
