"""Bad input to `ipamd run`, with real processes: each is one clear line, thing, fact and remedy, and no traceback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from ipamd.journal.reading import read
from tests.runtime.spawned import PATIENCE, Spawned, command, environment, failed_start, spawned
from tests.runtime.wire import Caller

PREFIXES = ("--set", "ENABLE_PREFIX_DELEGATION=true")


def expect_one_line(outcome: tuple[int, str], *parts: str, code: int = 1) -> None:
    """The last line of standard error is the reason; the others are log lines; nothing looks like a bug."""
    got, stderr = outcome
    lines = stderr.splitlines()
    assert got == code, stderr
    assert "Traceback" not in stderr
    assert [line for line in lines if not line.startswith("{")] == lines[-1:], stderr
    for part in parts:
        assert part in lines[-1]


# ---- what it cannot start with ---------------------------------------------------------------------------------


def test_an_unknown_instance_type(tmp_path: Path) -> None:
    """Named, with types that are alike."""
    outcome = failed_start(tmp_path / "s", "--instance-type", "m5.lagre")

    expect_one_line(outcome, "instance type 'm5.lagre'", "did you mean m5.large", code=2)


@pytest.mark.spec("ENV-21", "INIT-13")
@pytest.mark.parametrize(
    "name, value, parts",
    [
        ("NETWORK_POLICY_ENFORCING_MODE", "sometimes", ("NETWORK_POLICY_ENFORCING_MODE", "want", "standard")),
        ("ENABLE_IPv4", "false", ("ENABLE_IPv4=false", "exactly one address family")),
        ("UPSTREAM_PARITY", "mostly", ("UPSTREAM_PARITY", "mostly", "want strict")),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, name: str, value: str, parts: tuple[str, ...]) -> None:
    """INIT-13 and what this release lacks; from the environment and from --set alike."""
    expect_one_line(failed_start(tmp_path / "a", env={name: value}), *parts)
    expect_one_line(failed_start(tmp_path / "b", "--set", f"{name}={value}"), *parts)


def test_a_setting_that_does_not_exist(tmp_path: Path) -> None:
    """With the name that was probably meant; wrong usage, so exit code 2, as with every command."""
    outcome = failed_start(tmp_path / "s", "--set", "WARM_IP_TARGTE=5")

    expect_one_line(outcome, "WARM_IP_TARGTE", "did you mean WARM_IP_TARGET", code=2)


def test_a_value_upstream_would_not_die_of(tmp_path: Path) -> None:
    """It goes on with upstream's default and says so in the log (section 10, column inv.)."""
    with spawned(tmp_path / "s", env={"WARM_IP_TARGET": "ten"}) as daemon:
        assert 'WARM_IP_TARGET=\\"ten\\": want an integer >= 0; using 0' in daemon.stderr


@pytest.mark.parametrize(
    "words, parts",
    [
        (("--latency", "sometimes"), ("--latency", "realistic")),
        (("--max-pods", "many"), ("--max-pods", "want a whole number")),
        (("--journal-keep", "forever"), ("--journal-keep", "want a size (500MB, 1GiB)")),
        (("--frobnicate",), ("unrecognized arguments", "--frobnicate")),
    ],
)
def test_wrong_usage_is_exit_code_2(tmp_path: Path, words: tuple[str, ...], parts: tuple[str, ...]) -> None:
    """Said by the parser, with the usage."""
    code, stderr = failed_start(tmp_path / "s", *words)

    assert code == 2
    assert all(part in stderr for part in parts)
    assert "Traceback" not in stderr


def test_a_cloud_of_another_instance_type(tmp_path: Path) -> None:
    """A cloud is what it was begun as."""
    with spawned(tmp_path / "s", "--instance-type", "t3.small"):
        pass

    outcome = failed_start(tmp_path / "s", "--instance-type", "m5.large")

    expect_one_line(outcome, str(tmp_path / "s"), "t3.small", "m5.large", "leave the instance type out")


def test_a_subnet_ec2_would_refuse(tmp_path: Path) -> None:
    """EC2's subnets are /16 to /28."""
    expect_one_line(failed_start(tmp_path / "s", "--subnet", "10.0.0.0/30"), "10.0.0.0/30", code=2)


# ---- doors -----------------------------------------------------------------------------------------------------


def test_a_socket_that_a_living_daemon_answers_on(tmp_path: Path) -> None:
    """Refused; the other daemon serves on and notices nothing."""
    with spawned(tmp_path / "a", *PREFIXES) as daemon, Caller(daemon.grpc) as caller:
        outcome = failed_start(tmp_path / "b", "--socket", f"{tmp_path}/a.sock")

        expect_one_line(outcome, f"{tmp_path}/a.sock", "a living process answers", "--socket")
        assert caller.address("web")


def test_a_directory_in_place_of_the_socket(tmp_path: Path) -> None:
    """Refused, and left alone."""
    place = tmp_path / "place"
    (place / "kept").mkdir(parents=True)

    expect_one_line(failed_start(tmp_path / "s", "--socket", str(place)), str(place), "it is a directory")
    assert (place / "kept").is_dir()


@pytest.mark.spec("RPC-2")
def test_stale_sockets_and_files_are_replaced(tmp_path: Path) -> None:
    """What nobody answers on is in nobody's use."""
    (tmp_path / "a.sock").write_text("a file")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "b.sock"))

    for name in ("a", "b"):
        with spawned(tmp_path / name, *PREFIXES) as daemon, Caller(daemon.grpc) as caller:
            assert caller.address("web")


@pytest.mark.parametrize("option", ["--introspection", "--metrics", "--tcp"])
def test_a_port_in_use(tmp_path: Path, option: str) -> None:
    """Named with the option that would change it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        outcome = failed_start(tmp_path / "s", option, f"127.0.0.1:{port}")

    expect_one_line(outcome, f"127.0.0.1:{port}", "in use", option)


@pytest.mark.parametrize("option", ["--introspection", "--metrics", "--tcp"])
def test_an_address_that_is_none(tmp_path: Path, option: str) -> None:
    """What is wanted is said."""
    outcome = failed_start(tmp_path / "s", option, "nowhere")

    expect_one_line(outcome, "nowhere", f"want HOST:PORT for {option}", code=2)


# ---- the state directory ---------------------------------------------------------------------------------------


def test_a_journal_that_another_daemon_writes(tmp_path: Path) -> None:
    """Its pid is named; it serves on."""
    with spawned(tmp_path / "s", *PREFIXES) as daemon, Caller(daemon.grpc) as caller:
        outcome = failed_start(tmp_path / "s", "--socket", f"{tmp_path}/other.sock")

        expect_one_line(outcome, f"{tmp_path}/s/journal", str(daemon.popen.pid), "--state-dir")
        assert caller.address("web")


def test_a_damaged_journal(tmp_path: Path) -> None:
    """File, line and remedy; nothing is changed on disk."""
    with spawned(tmp_path / "s", *PREFIXES):
        pass
    segment = next((tmp_path / "s" / "journal").glob("*.jsonl"))
    lines = segment.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"at":1', b'"at":2', 1)
    segment.write_bytes(b"".join(lines))

    expect_one_line(failed_start(tmp_path / "s"), f"{segment} line 3", "CRC", "restore the file from a copy")
    assert segment.read_bytes() == b"".join(lines)


def test_a_damaged_cloud(tmp_path: Path) -> None:
    """The embedded cloud's memory is checked as the journal is."""
    with spawned(tmp_path / "s", *PREFIXES):
        pass
    log = tmp_path / "s" / "cloud" / "cloud.jsonl"
    log.write_bytes(log.read_bytes().replace(b"10.0.0.4", b"10.0.0.5", 1))

    expect_one_line(failed_start(tmp_path / "s"), str(log), "line", "move")


def test_a_state_directory_below_a_file(tmp_path: Path) -> None:
    """A part of the path is no directory."""
    (tmp_path / "file").write_text("")

    expect_one_line(failed_start(tmp_path / "file" / "s", "--socket", f"{tmp_path}/s.sock"), "file", "--state-dir")


def test_a_read_only_state_directory(tmp_path: Path) -> None:
    """Permission for others than root; root meets a read-only mount in a namespace of its own."""
    place = tmp_path / "s"
    place.mkdir()
    words = command(place / "state", "--socket", f"{tmp_path}/s.sock")
    if os.geteuid() == 0:
        unshare = shutil.which("unshare")
        if unshare is None:
            pytest.skip("root needs unshare (util-linux) to see a read-only directory")
        script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
        words = [unshare, "--mount", "sh", "-c", script, str(place), *words]
    else:
        place.chmod(0o555)

    done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=PATIENCE)

    if "unshare failed" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    expect_one_line((done.returncode, done.stderr), f"{place}/state/journal", "name another --state-dir")


FULL = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000))
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_full_disk_ends_it_and_keeps_what_was_answered(tmp_path: Path) -> None:
    """The journal meets the largest file size: requests are refused from then on, the process ends with the remedy."""
    state_dir = tmp_path / "s"
    log = (tmp_path / "stderr").open("w+")
    quiet = ("--set", "AWS_VPC_K8S_CNI_LOGLEVEL=error", "--set", "IP_COOLDOWN_PERIOD=0")
    words = [sys.executable, "-c", FULL, *command(state_dir, *PREFIXES, *quiet)]
    popen = subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=log)
    assert popen.stdout is not None
    answered: dict[str, str] = {}
    refused: grpc.RpcError | None = None
    try:
        with Caller(f"unix://{tmp_path}/s.sock") as caller:
            for _ in range(2000):
                try:
                    answered["web"] = caller.address("web")
                    caller.delete("web")
                    del answered["web"]
                except grpc.RpcError as error:
                    refused = error
                    break
        code = popen.wait(PATIENCE)
    finally:
        popen.kill()
        popen.stdout.close()
    log.seek(0)
    text = log.read()

    assert refused is not None and refused.code() == grpc.StatusCode.UNAVAILABLE
    expect_one_line((code, text), str(state_dir / "journal"), "File too large", "then start again")
    with spawned(state_dir, *PREFIXES) as daemon:
        held = daemon.get("/v1/enis")["0"]["AssignedIPs"]
    assert held >= len(answered)
    assert sum(1 for _ in read(state_dir)) > 100


# ---- requests --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spawned]:
    """One daemon for all bad requests: it must serve on after each of them."""
    with spawned(tmp_path_factory.mktemp("bad") / "s", *PREFIXES) as daemon:
        yield daemon


@pytest.fixture
def caller(daemon: Spawned) -> Iterator[Caller]:
    """A connection; afterwards the daemon must answer as before."""
    with Caller(daemon.grpc) as caller:
        yield caller
        assert caller.address("well-formed").startswith("10.0.")


@pytest.mark.parametrize("message", [b"\xff\xff\xff", b"\x0a\x05ab", b"\x00" * 100])
def test_bytes_that_are_no_message(caller: Caller, message: bytes) -> None:
    """INTERNAL, as upstream's server says, and what was wrong."""
    with pytest.raises(grpc.RpcError) as refused:
        caller.raw("AddNetwork", message)

    assert refused.value.code() == grpc.StatusCode.INTERNAL
    assert "AddNetworkRequest" in str(refused.value.details())


def test_a_method_that_does_not_exist(caller: Caller) -> None:
    """UNIMPLEMENTED."""
    with pytest.raises(grpc.RpcError) as refused:
        caller.raw("EnforceNpToPod", b"")

    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.spec("RPC-30", "RPC-33")
@pytest.mark.parametrize("field", ["ContainerID", "IfName", "NetworkName"])
def test_an_empty_sandbox_key(daemon: Spawned, caller: Caller, field: str) -> None:
    """Success=false and nothing else; the reason is in the trailer and in the journal."""
    reply, trailers = caller.add_with_trailers("nameless", **{field: ""})

    assert reply.SerializeToString() == b""
    assert trailers["ipamd-reason"].startswith("invalid: ")
    assert "must not be empty" in trailers["ipamd-reason"]
    assert (
        '"type":"AssignRefused","reason":"invalid"' in next((daemon.state_dir / "journal").glob("*.jsonl")).read_text()
    )


def test_a_pod_name_of_a_megabyte(daemon: Spawned, caller: Caller) -> None:
    """Refused like any other, and not written down whole."""
    reply, trailers = caller.add_with_trailers("x" * (1 << 20))

    assert not reply.Success
    assert "1048576 bytes, at most 4096" in trailers["ipamd-reason"]
    assert sum(path.stat().st_size for path in (daemon.state_dir / "journal").iterdir()) < 200_000


@pytest.mark.spec("RPC-46")
def test_a_release_of_what_was_never_given(caller: Caller) -> None:
    """The words that the plugin looks for."""
    with pytest.raises(grpc.RpcError) as refused:
        caller.delete("stranger")

    assert refused.value.code() == grpc.StatusCode.UNKNOWN
    assert "datastore: unknown pod" in str(refused.value.details())


@pytest.mark.spec("RPC-18")
def test_another_version_of_the_plugin(caller: Caller) -> None:
    """Another version of the plugin."""
    with pytest.raises(grpc.RpcError) as refused:
        caller.add("web", ClientVersion="v0.0.1")

    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION


def test_names_with_control_characters_and_markup(daemon: Spawned, caller: Caller) -> None:
    """They are taken as they are, and leave the journal and the log as one line each."""
    name = 'web\n{"crc":"00000000"}\x1b[31m<script>'
    address = caller.address(name)

    assert address.startswith("10.0.")
    assert [record.seq for record in read(daemon.state_dir)][-1] > 0
    assert all(line.startswith("{") for line in daemon.stderr.splitlines())
