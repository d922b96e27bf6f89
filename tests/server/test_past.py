"""State and journal over HTTP: pages, filters, streams, and what is wrong with a question."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import StreamReader

from ipamd.core.commands import AddNetwork
from ipamd.core.types import SECOND, Pod
from ipamd.server import history

from .asking import asking, lived, web
from .memory import EPOCH

pytestmark = pytest.mark.asyncio


# ---- the past ------------------------------------------------------------------------------------------------


@pytest.mark.spec("HTTP-5")
async def test_the_state_of_a_record_of_a_moment_and_of_now(tmp_path: Path) -> None:
    """`at` is a record's number or a time; without it the present State is told. No container is named."""
    node = await lived()

    async with asking(node, tmp_path) as client:
        now = await client.get("/v1/state")
        third = await client.get("/v1/state?at=3")
        moment = await client.get("/v1/state?at=2026-01-01T00:00:02.5Z")

    assert [pod["name"] for pod in now.json["pods"]] == ["web-1", "web-2"]
    assert [pod["name"] for pod in third.json["pods"]] == ["web-0"]
    assert [pod["name"] for pod in moment.json["pods"]] == ["web-0", "web-1"]
    assert (now.json["seq"], third.json["seq"], moment.json["seq"]) == (6, 3, 4)
    assert moment.json["at"] == EPOCH + 2 * SECOND + SECOND // 2
    assert all("secret" not in reply.text and "eth0" not in reply.text for reply in (now, third, moment))
    assert now.headers["Content-Type"] == "application/json" and now.headers["Cache-Control"] == "no-store"


async def test_the_journal_comes_in_pages(tmp_path: Path) -> None:
    """`next` is where the following page begins; `more` says that it has something."""
    node = await lived()
    async with asking(node, tmp_path) as client:
        first = (await client.get("/v1/journal?limit=4")).json
        second = (await client.get(f"/v1/journal?limit=4&since={first['next']}")).json
        none = (await client.get(f"/v1/journal?since={second['next']}")).json

    assert [record["seq"] for record in first["records"]] == [1, 2, 3, 4]
    assert (first["next"], first["more"]) == (5, True)
    assert [record["seq"] for record in second["records"]] == [5, 6]
    assert (second["next"], second["more"]) == (7, False)
    assert (none["records"], none["next"]) == ([], 7)


@pytest.mark.parametrize(
    ("query", "seqs"),
    [
        ("pod=shop/web-0", [3, 6]),
        ("pod=web-1&pod=web-2", [4, 5]),
        ("ip=10.0.0.11", [2, 4]),
        ("type=AddressReleased", [6]),
        ("type=AddressReleased&pod=web-1", []),
        ("since=2026-01-01T00:00:03Z", [5, 6]),
        ("since=1s", [5, 6]),
        ("since=5&pod=web-0", [6]),
        ("eni=eni-0&type=EniReady", [2]),
    ],
)
async def test_the_journal_is_filtered_as_the_command_line_does(query: str, seqs: list[int], tmp_path: Path) -> None:
    """By pod, address, ENI and type; values of one parameter are alternatives."""
    async with asking(await lived(), tmp_path) as client:
        reply = await client.get(f"/v1/journal?{query}")

    assert [record["seq"] for record in reply.json["records"]] == seqs
    assert "secret" not in reply.text and "crc" not in reply.text


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/v1/state?at=yesterday", 400, "want a record number, "),
        ("/v1/state?at=99", 404, "no record 99: the newest is 6"),
        ("/v1/state?at=2020-01-01T00:00:00Z", 404, "the oldest kept record, 1, is of 2026-01-01"),
        ("/v1/state?when=3", 400, 'parameter "when": no such one here; known: at'),
        ("/v1/state?at=1&at=2", 400, "given 2 times"),
        ("/v1/journal?limit=0", 400, "want a whole number from 1 to 1000"),
        ("/v1/journal?since=1000", 404, "the newest record is 6"),
        ("/v1/journal?type=Nothing", 400, "want one of"),
        ("/v1/journal?ip=ten", 400, "want an IPv4 address"),
        ("/v1/journal?pod=" + "x" * 300, 400, "want 256 at most"),
        ("/v1/journal?" + "&".join(["pod=a"] * 17), 400, "want 16 times at most"),
        ("/v1/journal?follow=1&type=Nothing", 400, "want one of"),
        ("/v1/plan?x=1", 400, "no such one here"),
    ],
)
async def test_a_bad_question_is_answered_with_what_is_wrong(path: str, status: int, said: str, tmp_path: Path) -> None:
    """One member `error`: the thing, the fact, the remedy."""
    async with asking(await lived(), tmp_path) as client:
        reply = await client.get(path)

    assert reply.status == status
    assert list(reply.json) == ["error"] and said in reply.json["error"]


async def test_a_damaged_journal_is_told_and_not_shown(tmp_path: Path) -> None:
    """The line that is wrong is named; the door goes on."""
    async with asking(await lived(), tmp_path) as client:
        (segment,) = tmp_path.glob("*.jsonl")
        lines = segment.read_bytes().splitlines(keepends=True)
        segment.write_bytes(b"".join([*lines[:3], lines[3].replace(b"web-1", b"web-9"), *lines[4:]]))

        reply = await client.get("/v1/journal")

        assert reply.status == 500 and "line 4" in reply.json["error"]
        assert (await client.get("/healthz")).status == 200


# ---- the stream ----------------------------------------------------------------------------------------------


async def events(stream: StreamReader, count: int) -> list[tuple[int, dict[str, Any]]]:
    """The next `count` records of a stream: id and document."""
    found: list[tuple[int, dict[str, Any]]] = []
    number = 0
    async for line in stream:
        if line.startswith(b"id: "):
            number = int(line[4:])
        elif line.startswith(b"data: "):
            found.append((number, json.loads(line[6:])))
            if len(found) == count:
                return found
    raise AssertionError(f"the stream ended after {found}")


async def test_a_stream_gives_what_is_kept_and_then_what_comes(tmp_path: Path) -> None:
    """Server-sent events: `id` is the record's number; filters hold for what comes too."""
    node = await lived()
    async with asking(node, tmp_path) as client, client.follow("since=3&pod=web-1&pod=web-9") as reply:
        assert reply.headers["Content-Type"] == "text/event-stream"
        ((seq, kept),) = await events(reply.content, 1)
        await node.submit(AddNetwork(web(9).sandbox, Pod("shop", "web-9", 1)))
        ((later, new),) = await events(reply.content, 1)

    assert (seq, later) == (4, 7)
    assert kept["events"][0]["pod"]["name"] == "web-1" and kept["events"][0]["sandbox"]["container"] == ""
    assert new["events"][0]["type"] == "AddressAssigned"


async def test_a_reader_that_comes_again_goes_on_where_it_was(tmp_path: Path) -> None:
    """Last-Event-ID, as browsers send it."""
    async with asking(await lived(), tmp_path) as client:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": "4"}
        async with client.session.get(f"{client.door.url}/v1/journal", headers=headers) as reply:
            found = await events(reply.content, 2)

    assert [seq for seq, _ in found] == [5, 6]


async def test_a_stream_ends_with_the_door(tmp_path: Path) -> None:
    """SIGTERM does not wait for those who follow."""
    async with asking(await lived(), tmp_path) as client, client.follow("since=6") as reply:
        await events(reply.content, 1)
        await asyncio.wait_for(client.door.close(), 5)
        rest = await asyncio.wait_for(reply.content.read(), 5)

    assert b"data:" not in rest


async def test_followers_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is told so, and may come again."""
    monkeypatch.setattr(history, "FOLLOWERS_MAX", 1)
    async with asking(await lived(), tmp_path) as client, client.follow("since=6") as reply:
        await events(reply.content, 1)
        second = await client.get("/v1/journal?follow=1")

    assert (second.status, second.headers["Retry-After"]) == (503, "1")


async def test_a_reader_that_has_gone_leaves_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser's tab that is closed is noticed without waiting for news."""
    monkeypatch.setattr(history, "FOLLOWERS_MAX", 1)
    async with asking(await lived(), tmp_path) as client:
        async with client.follow("since=6") as reply:
            await events(reply.content, 1)
        async with asyncio.timeout(10):
            while (again := await client.session.get(f"{client.door.url}/v1/journal?follow=1&since=6")).status != 200:
                again.close()
        found = await events(again.content, 1)
        again.close()

    assert [seq for seq, _ in found] == [6]


async def test_readers_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads are few; one who cannot be served is told so."""
    monkeypatch.setattr(history, "READERS_MAX", 0)
    async with asking(await lived(), tmp_path) as client:
        reply = await client.get("/v1/state?at=3")
        now = await client.get("/v1/state")

    assert (reply.status, now.status) == (503, 200)
