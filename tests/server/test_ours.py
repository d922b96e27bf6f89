"""What introspection tells beside upstream: plan, state, journal, health; and whom it tells (HTTP-1, HTTP-2)."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession, ClientTimeout, StreamReader

from ipamd.cli.past import JournalHistory
from ipamd.cli.state import document
from ipamd.core import events as ev
from ipamd.core.commands import AddNetwork, DelNetwork, Terminate
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND, Pod, Sandbox
from ipamd.journal.journal import Journal
from ipamd.server import history, listen
from ipamd.server.guard import is_local
from ipamd.server.history import Past
from ipamd.server.introspection import Introspection
from ipamd.server.listen import HttpDoor, open_http

from .memory import EPOCH, Memory

pytestmark = pytest.mark.asyncio
UPSTREAMS = {
    "AvailableCommands": [
        "/v1/enis",
        "/v1/eni-configs",
        "/v1/networkutils-env-settings",
        "/v1/ipamd-env-settings",
    ]
}


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
async def asking(node: Memory, place: Path | None = None, address: str = "127.0.0.1:0") -> AsyncIterator[Asking]:
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
    door = await open_http(introspection.application(), address, "--introspection")
    try:
        async with ClientSession(timeout=ClientTimeout(total=20)) as session:
            yield Asking(node, door, session)
    finally:
        await door.close()
        if journal is not None:
            journal.close()


# ---- the plan ------------------------------------------------------------------------------------------------


async def test_the_plan_tells_what_is_wanted_and_the_numbers_behind_it() -> None:
    """POOL-5, POOL-22: two addresses short of WARM_IP_TARGET, so two are asked for on the ENI that has room."""
    node = Memory(Settings(warm_ip_target=3)).ready()
    node.tell(ev.WorkMoved(None))

    async with asking(node) as client:
        plan = (await client.get("/v1/plan")).json

    card = plan["cards"]["0"]
    assert (card["verdict"], card["short"], card["over"], card["in"]) == ("grow", 2, 0, "addresses")
    assert card["because"] == "1 addresses available, WARM_IP_TARGET=3; 1 in all, MINIMUM_IP_TARGET=0"
    assert (card["rules"], card["held_back_by"]) == (["POOL-5"], [])
    assert plan["wants"] == [{"call": "AssignPrivateIpAddresses", "arguments": {"eni": "eni-0", "secondary_ips": 2}}]
    assert plan["in_flight"] == [] and plan["wake_at"] > plan["at"] == EPOCH


@pytest.mark.parametrize(
    ("settings", "because", "rules"),
    [
        (Settings(), "1 addresses available, want 3: WARM_ENI_TARGET=1", ["POOL-6", "POOL-11"]),
        (
            Settings(prefix_delegation=True, warm_prefix_target=2),
            "0 addresses available, want 32; 0 free prefixes, WARM_PREFIX_TARGET=2",
            ["POOL-6", "POOL-10"],
        ),
    ],
)
async def test_the_plan_names_the_rule_that_decides(settings: Settings, because: str, rules: list[str]) -> None:
    """POOL-3: which of the targets rules, and its comparison in numbers."""
    async with asking(Memory(settings).ready()) as client:
        card = (await client.get("/v1/plan")).json["cards"]["0"]

    assert (card["because"], card["rules"], card["verdict"]) == (because, rules, "grow")


@pytest.mark.parametrize(
    ("settings", "events", "told"),
    [
        (Settings(warm_ip_target=3), [ev.Terminating()], "the daemon is shutting down (POOL-18)"),
        (Settings(warm_ip_target=3, provisioning_disabled=True), [], "(ENV-9, ENV-10)"),
        (Settings(warm_ip_target=3), [ev.SubnetExhausted("InsufficientCidrBlocks", "none")], "for another 120 s"),
        (Settings(warm_ip_target=9, max_eni=1), [
            ev.CidrAdded("eni-0", "10.0.0.1/32"), ev.CidrAdded("eni-0", "10.0.0.2/32"),
        ], "every slot of all 1 ENIs is taken (POOL-38)"),
    ],
)  # fmt: skip
async def test_the_plan_tells_what_holds_the_pool_back(settings: Settings, events: list[ev.Event], told: str) -> None:
    """POOL-18, POOL-28, POOL-38: short, and yet nothing will be done."""
    node = Memory(settings).ready()
    if events:
        node.tell(*events)

    async with asking(node) as client:
        plan = (await client.get("/v1/plan")).json

    assert plan["cards"]["0"]["verdict"] == "grow"
    assert any(told in reason for reason in plan["cards"]["0"]["held_back_by"])
    assert plan["wants"] == []


async def test_what_a_pod_would_be_told_is_part_of_the_plan() -> None:
    """The reason of a refusal and its remedy, before anybody is refused."""
    node = Memory(Settings(minimum_ip_target=1)).ready()
    await node.submit(web(0))

    async with asking(node) as client:
        told = (await client.get("/v1/plan")).json["if_no_address_is_free"]

    assert told["reason"] == "target"
    assert "MINIMUM_IP_TARGET alone never grows" in told["remedy"]


# ---- health --------------------------------------------------------------------------------------------------


async def test_health_is_200_while_pods_are_served_only() -> None:
    """Before node init and after SIGTERM it is 503, with the phase and the journal's lag."""
    node = Memory()
    async with asking(node) as client:
        early = await client.get("/healthz")
        node.ready()
        fine = await client.get("/healthz")
        await node.submit(Terminate())
        late = await client.get("/healthz")

    assert [reply.status for reply in (early, fine, late)] == [503, 200, 503]
    assert [reply.json["status"] for reply in (early, fine, late)] == ["new", "ok", "terminating"]
    assert fine.json["journal_lag_seconds"] == 0.25


# ---- the past ------------------------------------------------------------------------------------------------


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


async def test_the_state_of_a_record_of_a_moment_and_of_now(tmp_path: Path) -> None:
    """`at` is a record's number or a time; without it the present State is told. No container is named (HTTP-5)."""
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


async def test_readers_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads are few; one who cannot be served is told so."""
    monkeypatch.setattr(history, "READERS_MAX", 0)
    async with asking(await lived(), tmp_path) as client:
        reply = await client.get("/v1/state?at=3")
        now = await client.get("/v1/state")

    assert (reply.status, now.status) == (503, 200)


# ---- who may ask ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/plan", "/v1/state", "/v1/journal", "/healthz"])
async def test_our_paths_are_read_only(path: str, tmp_path: Path) -> None:
    """Upstream checks no method (HTTP-2); ours take GET and HEAD."""
    async with asking(await lived(), tmp_path) as client:
        posted = await client.get(path, "POST")
        head = await client.get(path, "HEAD")

    assert (posted.status, posted.headers["Allow"]) == (405, "GET, HEAD")
    assert (head.status, head.text) == (200, "")


@pytest.mark.parametrize("path", ["/", "/v1/pods", "/v1/plan/", "/v1/journal/1", "/healthz/x", "/v1/states"])
async def test_paths_that_nobody_knows_list_upstreams_commands(path: str, tmp_path: Path) -> None:
    """HTTP-2, HTTP-3: unchanged by what we added."""
    async with asking(await lived(), tmp_path) as client:
        reply = await client.get(path)

    assert (reply.status, reply.json) == (200, UPSTREAMS)


@pytest.mark.parametrize("path", ["/v1/enis", "/v1/plan", "/"])
async def test_a_foreign_name_is_refused_on_loopback(path: str) -> None:
    """DNS rebinding: the browser asks 127.0.0.1, but under the attacker's name."""
    async with asking(Memory().ready()) as client:
        foreign = await client.get(path, Host="rebind.example:61679")
        own = await client.get(path, Host="localhost:61679")

    assert (foreign.status, own.status) == (403, 200)
    assert "rebind.example" in foreign.json["error"]


async def test_a_unix_socket_takes_any_name(tmp_path: Path) -> None:
    """No browser asks there, and clients put anything into the header."""
    place = tmp_path / "http.sock"
    async with asking(Memory().ready(), address=f"unix:{place}"):
        reader, writer = await asyncio.open_unix_connection(str(place))
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: anything.example\r\nConnection: close\r\n\r\n")
        said = await asyncio.wait_for(reader.read(), 5)
        writer.close()

    assert said.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True), ("LOCALHOST:61679", True), ("127.0.0.1:61679", True), ("127.8.9.1", True),
        ("[::1]:61679", True), ("::1", True), ("localhost.", True), (socket.gethostname(), True),
        ("[::ffff:127.0.0.1]:1", True), ("10.0.0.1", False), ("localhost.example", False), ("", False),
        ("127.0.0.1.nip.io", False), ("[::2]:61679", False), ("0.0.0.0:61679", False), ("[", False),
    ],
)  # fmt: skip
async def test_names_of_this_machine(host: str, local: bool) -> None:
    """Loopback addresses, localhost, and the machine's own name; with and without a port."""
    assert is_local(host) == local


async def test_a_request_that_never_ends_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP-1: upstream reads for five seconds at most."""
    monkeypatch.setattr(listen, "_KEEPALIVE", 0.1)
    async with asking(Memory().ready()) as client:
        port = int(client.door.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /v1/enis HTTP/1.1\r\nHost: loc")
        said = await asyncio.wait_for(reader.read(), 5)
        writer.close()

    assert said == b""


async def test_connections_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes when the door is full is told so, and nobody else suffers."""
    monkeypatch.setattr(listen, "CONNECTIONS_MAX", 1)
    async with asking(Memory().ready()) as client:
        port = int(client.door.url.rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        crowded = await client.get("/healthz")
        writer.close()
        await writer.wait_closed()

    assert crowded.status == 503


@pytest.mark.parametrize("size", [9_000, 100_000])
async def test_absurd_requests_are_refused(size: int) -> None:
    """A line that is too long is no question."""
    async with asking(Memory().ready()) as client:
        reply = await client.get(f"/healthz?x={'a' * size}")

    assert reply.status == 400
