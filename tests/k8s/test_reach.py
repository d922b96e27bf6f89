"""How ipamd asks at its start whether there is an API server (INIT-2, INIT-3, INIT-7), in virtual time."""

from __future__ import annotations

from typing import cast

import pytest

from ipamd.k8s.port import Cluster, ClusterError, ClusterLost
from ipamd.k8s.reach import Unreachable, node_once_reached, try_to_reach, wait_until_reached
from ipamd.k8s.views import NodeView, ServerVersion

pytestmark = pytest.mark.asyncio
VERSION = ServerVersion("v1.34.0")
TIMEOUT = ClusterLost("GET /version", "ConnectTimeout", timeout=True)
BROKEN = ClusterLost("GET /version", "ConnectError")
FORBIDDEN = ClusterError("GET /version", 403, "Forbidden", "no")


class Scripted:
    """A server that answers as listed, the last answer for ever, and a clock that only its pauses move."""

    def __init__(self, *answers: ServerVersion | Exception, node: NodeView | Exception = FORBIDDEN) -> None:
        self._answers = list(answers)
        self._node = node
        self.now = 0.0
        self.pauses: list[float] = []

    async def server_version(self, seconds: float = 5.0) -> ServerVersion:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def node(self, name: str) -> NodeView:
        if isinstance(self._node, Exception):
            raise self._node
        return self._node

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    @property
    def cluster(self) -> Cluster:
        return cast(Cluster, self)


@pytest.mark.spec("INIT-2")
async def test_needed_server_is_waited_for_as_long_as_it_times_out() -> None:
    """Every 2 s, the first time at once."""
    server = Scripted(TIMEOUT, TIMEOUT, VERSION)

    assert await wait_until_reached(server.cluster, server.sleep) == VERSION
    assert server.pauses == [2.0, 2.0]


@pytest.mark.spec("INIT-2")
@pytest.mark.parametrize("answer", [BROKEN, FORBIDDEN])
async def test_needed_server_that_fails_otherwise_ends_ipamd(answer: Exception) -> None:
    """Only timeouts are asked again."""
    server = Scripted(TIMEOUT, answer)

    with pytest.raises(Unreachable, match="GET /version"):
        await wait_until_reached(server.cluster, server.sleep)


@pytest.mark.spec("INIT-3")
async def test_unneeded_server_is_given_up_after_half_a_minute() -> None:
    """Every 5 s whatever the error, for at most 30 s; then ipamd goes on without."""
    absent, late = Scripted(BROKEN), Scripted(FORBIDDEN, TIMEOUT, VERSION)

    nothing = await try_to_reach(absent.cluster, absent.sleep, lambda: absent.now)
    found = await try_to_reach(late.cluster, late.sleep, lambda: late.now)

    assert nothing is None and absent.now == 30.0 and set(absent.pauses) == {5.0}
    assert found == VERSION and late.now == 10.0


@pytest.mark.spec("INIT-7")
async def test_server_that_comes_later_tells_how_many_pods_the_node_takes() -> None:
    """Every 5 s in the background; then the Node's capacity replaces max pods, or nothing does."""
    readable = Scripted(BROKEN, VERSION, node=NodeView("w1", capacity={"pods": "110"}))
    unreadable = Scripted(VERSION)

    found = await node_once_reached(readable.cluster, "w1", readable.sleep)
    assert found is not None and found.pods_max == 110
    assert readable.pauses == [5.0]
    assert await node_once_reached(unreadable.cluster, "w1", unreadable.sleep) is None
