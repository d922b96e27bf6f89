"""The lab's server in this process: watches whose client is gone, that fall behind, or that are many."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from ipamd.k8s.lab.server import Lab
from ipamd.k8s.lab.writes import Asked

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def a_lab(window: int = 100) -> AsyncIterator[tuple[Lab, aiohttp.ClientSession]]:
    lab = Lab(window=window, clock=lambda: 1_767_323_045_000_000_000)
    url = await lab.start()
    async with aiohttp.ClientSession(url) as session:
        yield lab, session
    await lab.stop()


def add(lab: Lab, *names: str) -> None:
    kind = lab.catalog.kinds["", "v1"]["configmaps"]
    for name in names:
        lab.writes.create(kind, "default", {"metadata": {"name": name}}, Asked())


async def test_watch_ends_when_its_client_goes() -> None:
    """A client that was killed costs nothing, though nothing happens that could be sent to it."""
    async with a_lab() as (lab, session):
        answer = await session.get("/api/v1/configmaps?watch=1&resourceVersion=" + str(lab.storage.version))
        assert lab.watches == 1

        answer.close()
        async with asyncio.timeout(20):
            while lab.watches:
                await asyncio.sleep(0)

        assert lab.watches == 0


async def test_every_watch_sees_every_change_in_order() -> None:
    """Fifty at once."""
    async with a_lab() as (lab, session):
        version = str(lab.storage.version)
        answers = [await session.get(f"/api/v1/configmaps?watch=1&resourceVersion={version}") for _ in range(50)]

        add(lab, "a", "b", "c")
        lines = [[await answer.content.readline() for _ in "abc"] for answer in answers]
        seen = [[json.loads(line)["object"]["metadata"] for line in each] for each in lines]
        for answer in answers:
            answer.close()

        assert all([one["name"] for one in each] == ["a", "b", "c"] for each in seen)
        assert seen[0][0]["creationTimestamp"] == "2026-01-02T03:04:05Z"


async def test_watch_that_falls_behind_the_window_is_told() -> None:
    """Only so many changes are kept; what missed some gets 410 instead of a gap."""
    async with a_lab(window=5) as (lab, session):
        version = str(lab.storage.version)
        add(lab, *(f"n{number}" for number in range(20)))

        async with session.get(f"/api/v1/configmaps?watch=1&resourceVersion={version}") as answer:
            lines = [json.loads(line) async for line in answer.content]

        assert [line["type"] for line in lines] == ["ERROR"]
        assert lines[0]["object"]["code"] == 410


async def test_continued_list_whose_version_is_forgotten_can_go_on_inconsistently() -> None:
    """410 with a token that continues at the current version, as the message says."""
    async with a_lab() as (lab, session):
        path = "/api/v1/namespaces/default/configmaps"
        add(lab, "a", "b", "d")
        first = await (await session.get(f"{path}?limit=1")).json()
        add(lab, "c")
        lab.storage.compact()

        refused = await session.get(path, params={"limit": "1", "continue": first["metadata"]["continue"]})
        status = await refused.json()
        rest = await (await session.get(path, params={"continue": status["metadata"]["continue"]})).json()

        assert (refused.status, status["reason"]) == (410, "Expired")
        assert [item["metadata"]["name"] for item in rest["items"]] == ["b", "c", "d"]


async def test_texts_that_some_clients_take_for_line_ends_are_escaped() -> None:
    """U+2028 in a value does not break a watch's line, as with a server written in Go."""
    async with a_lab() as (lab, session):
        kind = lab.catalog.kinds["", "v1"]["configmaps"]
        lab.writes.create(kind, "default", {"metadata": {"name": "a"}, "data": {"k": "x\u2028y"}}, Asked())

        raw = await (await session.get("/api/v1/configmaps?watch=1&timeoutSeconds=1")).text()

        assert len(raw.splitlines()) == 1
        assert json.loads(raw)["object"]["data"] == {"k": "x\u2028y"}
