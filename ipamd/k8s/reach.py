"""Whether the API server can be reached, asked the way ipamd does when it starts (INIT-2, INIT-3, INIT-7)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from .port import Cluster, ClusterError, ClusterLost
from .views import NodeView, ServerVersion

MANDATORY_PAUSE: Final = 2.0
OPTIONAL_PAUSE: Final = 5.0
OPTIONAL_SECONDS: Final = 30.0
BACKGROUND_PAUSE: Final = 5.0

Sleep = Callable[[float], Awaitable[None]]


class Unreachable(Exception):
    """The API server is needed and its answer was an error: ipamd ends with exit code 1 (INIT-2)."""


async def wait_until_reached(cluster: Cluster, sleep: Sleep = asyncio.sleep) -> ServerVersion:
    """Ask every 2 s for ever, the first time at once (INIT-2).

    Only after a timeout it is asked again; any other failure raises Unreachable.
    """
    while True:
        try:
            return await cluster.server_version()
        except ClusterLost as lost:
            if not lost.timeout:
                raise Unreachable(str(lost)) from lost
        except ClusterError as error:
            raise Unreachable(str(error)) from error
        await sleep(MANDATORY_PAUSE)


async def try_to_reach(
    cluster: Cluster, sleep: Sleep = asyncio.sleep, monotonic: Callable[[], float] = time.monotonic
) -> ServerVersion | None:
    """Ask every 5 s for at most 30 s, whatever the error; None: go on without API server (INIT-3)."""
    deadline = monotonic() + OPTIONAL_SECONDS
    while True:
        try:
            return await cluster.server_version()
        except (ClusterLost, ClusterError):
            if monotonic() + OPTIONAL_PAUSE > deadline:
                return None
        await sleep(OPTIONAL_PAUSE)


async def node_once_reached(cluster: Cluster, node: str, sleep: Sleep = asyncio.sleep) -> NodeView | None:
    """Ask every 5 s until it answers, then the Node; None if it cannot be read (INIT-7)."""
    while True:
        try:
            await cluster.server_version()
            break
        except (ClusterLost, ClusterError):
            await sleep(BACKGROUND_PAUSE)
    try:
        return await cluster.node(node)
    except (ClusterLost, ClusterError):
        return None
