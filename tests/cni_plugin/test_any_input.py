"""Whatever the runtime or the server sends, the plugin answers in its own words."""

import io
import json
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cni_plugin.main import run
from cni_plugin.status import RpcError
from tests.cni_plugin.harness import RecordingHost, environment
from tests.cni_plugin.peers import listening
from tests.cni_plugin.test_wire import call

SETTINGS_FRAME = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
TEXT = st.text(max_size=12)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
INTERFACE = st.fixed_dictionaries({}, optional={"name": TEXT | ANY, "mac": TEXT | ANY, "sandbox": TEXT | ANY})
IP = st.fixed_dictionaries(
    {}, optional={"address": st.sampled_from(["10.0.0.1/32", "fd00::1/128", "x"]) | ANY, "interface": ANY}
)
RESULT = st.fixed_dictionaries(
    {},
    optional={
        "cniVersion": st.sampled_from(["0.4.0", "1.0.0", ""]) | ANY,
        "interfaces": st.lists(INTERFACE, max_size=4) | ANY,
        "ips": st.lists(IP, max_size=2) | ANY,
        "ip4": st.fixed_dictionaries({"ip": ANY}) | ANY,
    },
)
CONFIG = st.fixed_dictionaries(
    {"name": st.just("aws-cni")},
    optional={
        "cniVersion": st.sampled_from(["", "0.1.0", "0.4.0", "1.1.0", "9.0"]) | ANY,
        "vethPrefix": st.sampled_from(["eni", "", "\U0001f600"]) | ANY,
        "mtu": TEXT | ANY,
        "podSGEnforcingMode": ANY,
        "pluginLogLevel": ANY,
        "runtimeConfig": st.dictionaries(TEXT, ANY, max_size=2) | ANY,
        "prevResult": RESULT | ANY,
        "dryRun": ANY,
        "rpcDeadlineSeconds": ANY,
    },
)
FRAME = st.tuples(st.binary(max_size=40), st.integers(0, 12), st.integers(0, 255), st.sampled_from([0, 1, 2, 3]))


@pytest.fixture(scope="module")
def absent() -> Iterator[str]:
    """A path at which nobody listens."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"{folder}/ipamd.sock"


def answer(environ: dict[str, str], stdin: bytes) -> tuple[str, int]:
    """What the plugin prints, and its exit code."""
    return run(environ, io.BytesIO(stdin), io.StringIO(), RecordingHost())


@settings(max_examples=400, deadline=None)
@given(keys=CONFIG, verb=st.sampled_from(["ADD", "DEL", "CHECK", "STATUS", "GC"]), args=TEXT)
def test_any_configuration_is_answered(absent: str, keys: dict[str, Any], verb: str, args: str) -> None:
    """Nothing, or an error of the protocol that names its stage."""
    stdin = json.dumps({**keys, "ipamdAddress": f"unix://{absent}"}).encode()

    text, code = answer(environment(verb, CNI_ARGS=args), stdin)

    if code == 0:
        assert text == ""
    else:
        assert json.loads(text)["code"] in (1, 6, 7, 999)
        assert "unexpected" not in text


@settings(max_examples=200, deadline=None)
@given(stdin=st.binary(max_size=60), verb=st.sampled_from(["ADD", "STATUS"]))
def test_any_bytes_on_stdin_are_answered(stdin: bytes, verb: str) -> None:
    """Almost always with code 6."""
    text, code = answer(environment(verb), stdin)

    assert code == 1
    assert json.loads(text)["code"] in (6, 7)


@settings(max_examples=200, deadline=None)
@given(frames=st.lists(FRAME, max_size=6), greets=st.booleans())
def test_any_bytes_of_a_server_are_an_rpc_error(
    tmp_path_factory: pytest.TempPathFactory, frames: list[tuple[bytes, int, int, int]], greets: bool
) -> None:
    """Frames of any kind, with and without a greeting: never another exception."""
    path = Path(tmp_path_factory.mktemp("peer")) / "s"
    said = (SETTINGS_FRAME if greets else b"") + b"".join(
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
        for payload, kind, flags, stream in frames
    )

    def speak(connection: socket.socket) -> None:
        connection.recv(1)
        connection.sendall(said)

    with listening(path, speak), pytest.raises(RpcError):
        call(str(path))
