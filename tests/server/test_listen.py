"""Sockets and ports: prepared as upstream prepares them, refused in plain words where they cannot be had."""

import os
import socket
import stat
from pathlib import Path

import grpc
import pytest
from aiohttp import ClientSession, UnixConnector, web

from ipamd.server.listen import ListenError, open_http, open_tcp, open_unix, parse_address, prepare_unix
from ipamd.server.services import make_server

from .memory import Memory, add_request, serving, stub_of

asyncio = pytest.mark.asyncio


@pytest.mark.spec("TV-68", "RPC-2")
@asyncio
async def test_parents_are_made_and_the_socket_is_0660(tmp_path: Path) -> None:
    """Parents 0755, whatever the umask is."""
    place = tmp_path / "run" / "aws-node" / "ipamd.sock"
    before = os.umask(0o077)
    try:
        async with serving(Memory().ready().backend(), place) as channel:
            assert stat.S_IMODE(place.stat().st_mode) == 0o660
            assert stat.S_IMODE(place.parent.stat().st_mode) == 0o755
            assert (await stub_of(channel).AddNetwork(add_request())).Success
    finally:
        os.umask(before)


@pytest.mark.spec("TV-68")
@asyncio
async def test_a_stale_file_is_replaced(tmp_path: Path) -> None:
    """A regular file at the path."""
    place = tmp_path / "ipamd.sock"
    place.write_text("left over")

    async with serving(Memory().backend(), place):
        assert stat.S_ISSOCK(place.stat().st_mode)


@pytest.mark.spec("RPC-2")
@asyncio
async def test_a_dead_daemons_socket_is_replaced(tmp_path: Path) -> None:
    """SIGKILL leaves the socket behind; nobody answers on it."""
    place = tmp_path / "ipamd.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place))
        dead.listen(1)

    async with serving(Memory().ready().backend(), place) as channel:
        assert (await stub_of(channel).AddNetwork(add_request())).Success


@asyncio
async def test_a_living_daemons_socket_is_refused_and_left_alone(tmp_path: Path) -> None:
    """Two daemons never share a socket; the first one goes on."""
    place = tmp_path / "ipamd.sock"
    async with serving(Memory().ready().backend(), place) as channel:
        second = await make_server(Memory().backend())
        with pytest.raises(
            ListenError, match=r"ipamd\.sock: a living process answers on it; stop that daemon, or name"
        ):
            open_unix(second, place)

        assert (await stub_of(channel).AddNetwork(add_request())).Success


def test_a_directory_is_refused(tmp_path: Path) -> None:
    """Nothing of the user's is deleted."""
    with pytest.raises(ListenError, match="it is a directory; name a file in it"):
        prepare_unix(tmp_path)

    assert tmp_path.is_dir()


def test_a_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    """Linux takes 107 bytes; gRPC would only say that it failed."""
    with pytest.raises(ListenError, match="at most 107 are possible"):
        prepare_unix(tmp_path / ("s" * 120))


def test_a_parent_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """The fact is named, not the errno."""
    (tmp_path / "file").write_text("")

    with pytest.raises(ListenError, match="a part of the path is a file"):
        prepare_unix(tmp_path / "file" / "ipamd.sock")


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs sysfs, where nobody may make files, not even root")
def test_a_directory_without_write_permission_is_refused() -> None:
    """Bad input: whether it is the mode or the mount that forbids it, the fact is named."""
    with pytest.raises(ListenError, match=r"(permission denied|read-only); name another one with --socket"):
        prepare_unix(Path("/sys/kernel/ipamd.sock"))


@asyncio
async def test_a_path_with_special_letters_works(tmp_path: Path) -> None:
    """gRPC reads addresses as URIs: blanks, %, # and ? are quoted."""
    async with serving(Memory().ready().backend(), tmp_path / "a b%41#?.sock") as channel:
        assert (await stub_of(channel).AddNetwork(add_request())).Success
        assert (tmp_path / "a b%41#?.sock").exists()


@asyncio
async def test_the_socket_goes_with_the_server(tmp_path: Path) -> None:
    """A clean stop leaves nothing behind."""
    async with serving(Memory().backend(), tmp_path / "ipamd.sock"):
        pass

    assert not (tmp_path / "ipamd.sock").exists()


@asyncio
async def test_a_port_in_use_is_refused() -> None:
    """Also one that gRPC itself holds: SO_REUSEPORT would let two daemons share it unnoticed."""
    first, second = await make_server(Memory().backend()), await make_server(Memory().backend())
    taken = open_tcp(first, "127.0.0.1:0")
    await first.start()

    with pytest.raises(ListenError, match=rf"port {taken}: it is in use by another process; stop the other process"):
        open_tcp(second, taken)
    with pytest.raises(ListenError, match=rf"port {taken}: it is in use by another process.*--metrics"):
        await open_http(web.Application(), taken, "--metrics")
    await first.stop(None)


@asyncio
async def test_an_address_of_another_machine_is_refused() -> None:
    """192.0.2.0/24 is nobody's."""
    server = await make_server(Memory().backend())

    with pytest.raises(ListenError, match="this machine has no such address"):
        open_tcp(server, "192.0.2.1:50051")


@pytest.mark.spec("ENV-34")
@pytest.mark.parametrize(
    "text, address",
    [
        ("127.0.0.1:61679", ("127.0.0.1", 61679)),
        (":61678", ("", 61678)),
        ("[::1]:80", ("::1", 80)),
        ("", ("", 0)),
    ],
)
def test_addresses_are_read_as_go_reads_them(text: str, address: tuple[str, int]) -> None:
    """`host:port`; the empty address is a random port of all interfaces."""
    assert parse_address(text, "--introspection") == address


@pytest.mark.parametrize("text", ["61679", "127.0.0.1:", "127.0.0.1:http", "::1:80", "127.0.0.1:65536", "h:-1", "h:٣"])
def test_a_wrong_address_names_the_option(text: str) -> None:
    """The thing, the fact, the remedy."""
    with pytest.raises(ListenError, match=r"for --tcp$"):
        parse_address(text, "--tcp")


@pytest.mark.spec("HTTP-1")
@asyncio
async def test_http_listens_on_a_unix_path_too(tmp_path: Path) -> None:
    """`unix:<path>`; the socket goes when the door is closed."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="here")

    app = web.Application()
    app.router.add_get("/", answer)
    place = tmp_path / "introspection.sock"

    door = await open_http(app, f"unix:{place}", "--introspection")
    async with ClientSession(connector=UnixConnector(str(place))) as session, session.get("http://ipamd/") as reply:
        text = await reply.text()
    await door.close()

    assert (text, door.url, place.exists()) == ("here", f"unix://{place}", False)


@asyncio
async def test_a_random_port_is_named_in_the_url() -> None:
    """Port 0 is any free one; the url says which."""
    door = await open_http(web.Application(), "127.0.0.1:0", "--metrics")
    async with ClientSession() as session, session.get(f"{door.url}/nothing") as reply:
        assert reply.status == 404
    await door.close()

    assert door.url.startswith("http://127.0.0.1:") and not door.url.endswith(":0")
    with pytest.raises(grpc.aio.AioRpcError):
        async with grpc.aio.insecure_channel(door.url.removeprefix("http://")) as channel:
            await stub_of(channel).AddNetwork(add_request(), timeout=2)
