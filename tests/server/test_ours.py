"""What introspection tells beside upstream: plan and health; and whom it tells (HTTP-1, HTTP-2)."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from ipamd.core import events as ev
from ipamd.core.commands import Terminate
from ipamd.core.settings import Settings
from ipamd.server import listen
from ipamd.server.guard import is_local

from .asking import asking, lived, web
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


# ---- the plan ------------------------------------------------------------------------------------------------


@pytest.mark.spec("POOL-5", "POOL-22")
async def test_the_plan_tells_what_is_wanted_and_the_numbers_behind_it() -> None:
    """Two addresses short of WARM_IP_TARGET, so two are asked for on the ENI that has room."""
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


@pytest.mark.spec("POOL-3", "POOL-6", "POOL-11", "POOL-10")
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
    """Which of the targets rules, and its comparison in numbers."""
    async with asking(Memory(settings).ready()) as client:
        card = (await client.get("/v1/plan")).json["cards"]["0"]

    assert (card["because"], card["rules"], card["verdict"]) == (because, rules, "grow")


@pytest.mark.spec("POOL-18", "POOL-28", "POOL-38")
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
    """Short, and yet nothing will be done."""
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


# ---- who may ask ---------------------------------------------------------------------------------------------


@pytest.mark.spec("HTTP-2")
@pytest.mark.parametrize("path", ["/v1/plan", "/v1/state", "/v1/journal", "/healthz"])
async def test_our_paths_are_read_only(path: str, tmp_path: Path) -> None:
    """Upstream checks no method; ours take GET and HEAD."""
    async with asking(await lived(), tmp_path) as client:
        posted = await client.get(path, "POST")
        head = await client.get(path, "HEAD")

    assert (posted.status, posted.headers["Allow"]) == (405, "GET, HEAD")
    assert (head.status, head.text) == (200, "")


@pytest.mark.spec("HTTP-2", "HTTP-3")
@pytest.mark.parametrize("path", ["/", "/v1/pods", "/v1/plan/", "/v1/journal/1", "/healthz/x", "/v1/states"])
async def test_paths_that_nobody_knows_list_upstreams_commands(path: str, tmp_path: Path) -> None:
    """Unchanged by what we added."""
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


@pytest.mark.spec("HTTP-1")
async def test_a_request_that_never_ends_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Upstream reads for five seconds at most."""
    monkeypatch.setattr(listen, "_KEEPALIVE", 0.1)
    async with asking(Memory().ready()) as client:
        port = int(client.door.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /v1/enis HTTP/1.1\r\nHost: loc")
        said = await asyncio.wait_for(reader.read(), 5)
        writer.close()

    assert said == b""


async def test_connections_have_a_bound() -> None:
    """Whoever comes when the door is full is told so, and nobody else suffers."""
    async with asking(Memory().ready(), connections_max=1) as client:
        port = int(client.door.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        first = await reader.readline()  # it is answered, so the door has counted it
        crowded = await client.get("/healthz")
        writer.close()
        await writer.wait_closed()

    assert b"200" in first and crowded.status == 503


@pytest.mark.parametrize("size", [9_000, 100_000])
async def test_absurd_requests_are_refused(size: int) -> None:
    """A line that is too long is no question."""
    async with asking(Memory().ready()) as client:
        reply = await client.get(f"/healthz?x={'a' * size}")

    assert reply.status == 400
