"""The reflector when the server forgets, breaks off, or refuses: on a lab in this process, whose history we can end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ipamd.k8s.client import LightkubeCluster, connect
from ipamd.k8s.lab import kubeconfig
from ipamd.k8s.lab.catalog import Kind
from ipamd.k8s.lab.server import Lab
from ipamd.k8s.lab.writes import Asked, Deletion
from ipamd.k8s.port import ClusterError, Listed, Seen
from ipamd.k8s.reflector import PAUSE_MAX, Changed, Reflector, pause
from ipamd.k8s.views import NodeView

pytestmark = pytest.mark.asyncio


class Site:
    """A lab, a client of it, and a reflector of its nodes whose pauses we end."""

    def __init__(self, lab: Lab, cluster: LightkubeCluster) -> None:
        self.lab = lab
        self.nodes: Kind = lab.catalog.kinds["", "v1"]["nodes"]
        self.changes: list[tuple[str, str]] = []
        self.failures: list[str] = []
        self.paused = asyncio.Event()
        self.go_on = asyncio.Event()
        self.heard = asyncio.Event()
        self.reflector = Reflector(cluster.nodes(), self._changed, failed=self.failures.append, sleep=self._sleep)

    def add(self, name: str, **labels: str) -> None:
        self.lab.writes.create(self.nodes, "", {"metadata": {"name": name, "labels": labels}}, Asked())

    def relabel(self, name: str, **labels: str) -> None:
        node = self.lab.writes.find(self.nodes, "", name)
        body = {**node, "metadata": {**node["metadata"], "labels": labels}}
        self.lab.writes.update(self.nodes, "", name, body, "", Asked())

    def drop(self, name: str) -> None:
        self.lab.writes.delete(self.nodes, "", name, Deletion(), Asked())

    async def until(self, *wanted: tuple[str, str]) -> None:
        """Wait until these changes were seen, and no others."""
        async with asyncio.timeout(20):
            while len(self.changes) < len(wanted):
                self.heard.clear()
                await self.heard.wait()
        assert self.changes == list(wanted)
        self.changes.clear()

    def _changed(self, change: Changed[NodeView]) -> None:
        self.changes.append((change.type, change.key))
        self.heard.set()

    async def _sleep(self, _: float) -> None:
        self.paused.set()
        await self.go_on.wait()


@asynccontextmanager
async def a_site() -> AsyncIterator[Site]:
    lab = Lab(bookmark_seconds=0.05)
    path = kubeconfig.write(None, await lab.start())
    cluster = connect({"KUBECONFIG": str(path)})
    site = Site(lab, cluster)
    running = asyncio.create_task(site.reflector.run())
    try:
        await site.reflector.synced.wait()
        yield site
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await cluster.close()
        await lab.stop()
        kubeconfig.remove(path)


async def test_after_a_break_the_watch_goes_on_where_it_was() -> None:
    """The server ends the stream or goes away: no second list, no change is lost."""
    async with a_site() as site:
        site.add("w1")
        await site.until(("added", "w1"))

        port = int(site.lab.url.rsplit(":", 1)[1])
        await site.lab.stop()
        await asyncio.wait_for(site.paused.wait(), 20)
        site.add("w2")
        await site.lab.start(port)
        site.go_on.set()
        await site.until(("added", "w2"))

        assert site.reflector.lists == 1


async def test_after_410_it_lists_again_and_tells_the_difference() -> None:
    """What was added, modified and deleted meanwhile comes as changes; what is as it was does not."""
    async with a_site() as site:
        for name in ("gone", "kept", "other"):
            site.add(name)
        await site.until(("added", "gone"), ("added", "kept"), ("added", "other"))

        port = int(site.lab.url.rsplit(":", 1)[1])
        await site.lab.stop()
        await asyncio.wait_for(site.paused.wait(), 20)
        site.drop("gone")
        site.relabel("other", zone="a")
        site.add("new")
        site.lab.storage.compact()
        await site.lab.start(port)
        site.go_on.set()
        await site.until(("deleted", "gone"), ("added", "new"), ("modified", "other"))

        assert sorted(site.reflector.items) == ["kept", "new", "other"]
        assert site.reflector.lists == 2


async def test_bookmarks_keep_a_quiet_watch_from_410() -> None:
    """Others' changes move the version on, so that history may be forgotten under a watch that saw none of them."""
    async with a_site() as site:
        site.add("w1")
        await site.until(("added", "w1"))
        spaces = site.lab.catalog.kinds["", "v1"]["namespaces"]

        site.lab.writes.create(spaces, "", {"metadata": {"name": "elsewhere"}}, Asked())
        version = str(site.lab.storage.version)
        async with asyncio.timeout(20):
            while site.reflector.version != version:
                await asyncio.sleep(0)
        port = int(site.lab.url.rsplit(":", 1)[1])
        await site.lab.stop()
        await asyncio.wait_for(site.paused.wait(), 20)
        site.lab.storage.compact()
        await site.lab.start(port)
        site.go_on.set()
        site.add("w2")
        await site.until(("added", "w2"))

        assert site.reflector.lists == 1


class Refusing:
    """A source whose first two lists are refused, and whose watch then ends without an event."""

    def __init__(self) -> None:
        self.asked = 0

    async def list(self) -> Listed[NodeView]:
        self.asked += 1
        if self.asked < 3:
            raise ClusterError("GET nodes", 403, "Forbidden", "not allowed")
        return Listed([NodeView("w1", "5")], "7")

    async def watch(self, version: str) -> AsyncGenerator[Seen[NodeView], None]:
        await asyncio.Event().wait()
        yield Seen("BOOKMARK", version)


async def test_refusals_are_told_and_tried_again_after_growing_pauses() -> None:
    """A missing permission may be given later."""
    pauses: list[float] = []
    failures: list[str] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    reflector = Reflector(Refusing(), failed=failures.append, sleep=sleep, seed="w1")
    running = asyncio.create_task(reflector.run())
    await asyncio.wait_for(reflector.synced.wait(), 20)
    running.cancel()

    assert failures == ["GET nodes: 403 Forbidden: not allowed"] * 2
    assert pauses == [pause(0, "w1"), pause(1, "w1")] and 0.8 <= pauses[0] < pauses[1]
    assert list(reflector.items) == ["w1"]


async def test_pauses_double_up_to_half_a_minute_and_differ_between_nodes() -> None:
    """The spread is at most a half and always the same for a node."""
    grown = [pause(n, "w1") for n in range(12)]

    assert all(0.8 * 2**n <= seconds < 1.2 * 2**n for n, seconds in enumerate(grown[:5]))
    assert PAUSE_MAX <= grown[-1] <= 1.5 * PAUSE_MAX
    assert pause(3, "w1") == grown[3] != pause(3, "w2")
