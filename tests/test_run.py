"""`ipamd run` as its users meet it: the ready line, the doors, the options, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from ipamd.cli import run
from ipamd.cli.clouds import StartError
from ipamd.journal.reading import bounds, read
from tests.moto.served import serving
from tests.runtime.spawned import PATIENCE, Spawned, command, environment, spawned
from tests.runtime.wire import Caller

PREFIXES = ("--set", "ENABLE_PREFIX_DELEGATION=true")


@pytest.fixture(params=["embedded", "moto"])
def cloud(request: pytest.FixtureRequest) -> Iterator[tuple[str, ...]]:
    """Options that choose a cloud of the test's own: prefix mode lives on each of them alike."""
    if request.param == "embedded":
        yield ()
        return
    with serving("--instance-type", "m5.large", "--subnet", "10.0.0.0/20") as door:
        yield ("--ec2", "moto", "--endpoint", door.line["endpoint"])


def test_the_ready_line_is_all_that_stands_on_standard_output(tmp_path: Path, cloud: tuple[str, ...]) -> None:
    """One line of JSON with the doors' real addresses, once gRPC is open; logs are JSON lines on standard error."""
    with spawned(tmp_path / "s", *cloud, *PREFIXES) as daemon:
        with Caller(daemon.grpc) as caller:
            caller.address("web")
        daemon.terminate()
        rest = daemon.popen.stdout.read() if daemon.popen.stdout else b"?"

    ready = daemon.ready
    assert list(ready) == ["ready", "pid", "grpc", "introspection", "metrics", "journal"]
    assert ready["ready"] is True
    assert ready["pid"] == daemon.popen.pid
    assert ready["grpc"] == [f"unix://{tmp_path}/s.sock"]
    assert ready["introspection"].startswith("http://127.0.0.1:") and not ready["introspection"].endswith(":0")
    assert ready["metrics"].startswith("http://127.0.0.1:")
    assert ready["journal"] == str(tmp_path / "s" / "journal")
    assert rest == b""
    lines = [json.loads(line) for line in daemon.stderr.splitlines()]
    assert lines
    assert all(list(line) == ["level", "ts", "caller", "msg"] for line in lines)


@pytest.mark.spec("RPC-2")
def test_every_door_answers(tmp_path: Path, cloud: tuple[str, ...]) -> None:
    """gRPC on the socket (mode 0660, RPC-2) and on TCP, introspection, metrics; one store behind them all."""
    with spawned(tmp_path / "s", *cloud, *PREFIXES, "--tcp", "127.0.0.1:0") as daemon:
        unix, tcp = daemon.ready["grpc"]
        with Caller(unix) as caller:
            address = caller.address("web")
        with Caller(tcp) as caller:
            same = caller.address("web")

        assert same == address
        assert (tmp_path / "s.sock").stat().st_mode & 0o777 == 0o660
        assert daemon.get("/v1/enis")["0"]["AssignedIPs"] == 1
        assert "awscni_assigned_ip_addresses 1" in daemon.text("/metrics", "metrics")


@pytest.mark.spec("ENV-32", "ENV-33")
def test_doors_that_are_switched_off_are_null_in_the_ready_line(tmp_path: Path) -> None:
    """DISABLE_METRICS and DISABLE_INTROSPECTION."""
    env = {"DISABLE_METRICS": "true", "DISABLE_INTROSPECTION": "true"}
    with spawned(tmp_path / "s", env=env) as daemon:
        assert daemon.ready["metrics"] is None
        assert daemon.ready["introspection"] is None


@pytest.mark.spec("ENV-34")
def test_introspection_stands_where_the_environment_says(tmp_path: Path) -> None:
    """INTROSPECTION_BIND_ADDRESS, unless --introspection says otherwise; a Unix socket too."""
    place = tmp_path / "look.sock"
    words = ["--introspection", f"unix:{place}"]
    with spawned(tmp_path / "s", *words) as daemon:
        assert daemon.ready["introspection"] == f"unix://{place}"
        assert place.is_socket()


@pytest.mark.spec("ENV-35", "ENV-36")
def test_logs_go_to_the_file_that_is_named(tmp_path: Path) -> None:
    """AWS_VPC_K8S_CNI_LOG_FILE and AWS_VPC_K8S_CNI_LOGLEVEL."""
    file = tmp_path / "logs" / "ipamd.log"
    env = {"AWS_VPC_K8S_CNI_LOG_FILE": str(file), "AWS_VPC_K8S_CNI_LOGLEVEL": "INFO"}
    with spawned(tmp_path / "s", env=env) as daemon:
        daemon.terminate()

    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert daemon.stderr == ""
    assert {line["level"] for line in lines} <= {"info", "warn", "error"}
    assert any("Starting L-IPAMD" in line["msg"] for line in lines)


def test_options_reach_the_machine(tmp_path: Path) -> None:
    """Instance type, subnet, max pods, --set over the environment: all of them are in `Started`."""
    options = ("--instance-type", "c5.xlarge", "--subnet", "10.7.0.0/20", "--max-pods", "17")
    with spawned(tmp_path / "s", *options, "--set", "WARM_IP_TARGET=3", env={"WARM_IP_TARGET": "9"}) as daemon:
        daemon.terminate()

    start = next(read(tmp_path / "s")).cause
    assert (start.node.instance_type, start.node.max_pods, start.settings.warm_ip_target) == ("c5.xlarge", 17, 3)  # type: ignore[union-attr]
    assert start.node.primary_ip.startswith("10.7.0.")  # type: ignore[union-attr]


@pytest.mark.spec("RPC-18", "RPC-20")
def test_only_plugins_of_the_wanted_version_are_served(tmp_path: Path) -> None:
    """--client-version."""
    with spawned(tmp_path / "s", "--client-version", "v1.23.1") as daemon, Caller(daemon.grpc) as caller:
        with pytest.raises(grpc.RpcError) as refused:
            caller.add("web")
        served = caller.add("web", ClientVersion="v1.23.1")

    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert refused.value.details() == 'wrong client version "" (!= "v1.23.1")'
    assert served.Success


def test_sigkill_and_restart_keep_the_pods(tmp_path: Path, cloud: tuple[str, ...]) -> None:
    """The same sandboxes get the same addresses; the stale socket is replaced."""
    with spawned(tmp_path / "s", *cloud, *PREFIXES) as daemon, Caller(daemon.grpc) as caller:
        before = {pod: caller.address(pod) for pod in ("a", "b", "c")}
        daemon.kill()
    assert (tmp_path / "s.sock").exists()

    with spawned(tmp_path / "s", *cloud, *PREFIXES) as daemon, Caller(daemon.grpc) as caller:
        held = daemon.get("/v1/enis")["0"]["AssignedIPs"]
        after = {pod: caller.address(pod) for pod in ("a", "b", "c")}

    assert held == 3
    assert after == before


def test_without_its_journal_the_node_meets_the_same_cloud(tmp_path: Path, cloud: tuple[str, ...]) -> None:
    """The cloud outlives the journal: the ENIs and prefixes of before are found again."""
    with spawned(tmp_path / "s", *cloud, *PREFIXES) as daemon:
        before = daemon.get("/v1/enis")["0"]["ENIs"]
        daemon.terminate()
    for path in (tmp_path / "s" / "journal").iterdir():
        path.unlink()

    with spawned(tmp_path / "s", *cloud, *PREFIXES) as daemon:
        after = daemon.get("/v1/enis")["0"]["ENIs"]

    assert {eni: list(shown["AvailableIPv4Cidrs"]) for eni, shown in after.items()} == {
        eni: list(shown["AvailableIPv4Cidrs"]) for eni, shown in before.items()
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_within_two_seconds_under_load(tmp_path: Path, number: int, cloud: tuple[str, ...]) -> None:
    """Exit code 0; what was answered is kept, the snapshot makes the next start short, the socket is gone."""
    answered: dict[str, str] = {}
    slow = () if cloud else ("--latency", "realistic")
    with spawned(tmp_path / "s", *cloud, *PREFIXES, *slow, "--max-pods", "110") as daemon:

        def pods(worker: int) -> None:
            with Caller(daemon.grpc) as caller:
                for i in range(10_000):
                    try:
                        reply = caller.add(f"{worker}-{i}")
                    except grpc.RpcError:
                        return
                    if reply.Success:
                        answered[f"{worker}-{i}"] = reply.IPAllocationMetadata[0].IPv4Addr

        threads = [threading.Thread(target=pods, args=(worker,), daemon=True) for worker in range(4)]
        for thread in threads:
            thread.start()
        while len(answered) < 8:
            assert daemon.popen.poll() is None
        seconds = daemon.terminate(number)
        for thread in threads:
            thread.join(30)
        code = daemon.popen.returncode
        kept = (tmp_path / "s.sock").exists()

    assert code == 0
    assert seconds < 2
    assert not kept
    assert bounds(tmp_path / "s").last_seq > 0
    assert list((tmp_path / "s" / "journal").glob("snapshot-*.json"))
    with spawned(tmp_path / "s", *cloud, *PREFIXES) as daemon, Caller(daemon.grpc) as caller:
        assert {pod: caller.address(pod) for pod in answered} == answered


def test_a_signal_during_init_ends_it_too(tmp_path: Path) -> None:
    """With EC2's latencies init takes seconds; nobody waits for them."""
    daemon = Spawned(tmp_path / "s", *PREFIXES, "--latency", "realistic")
    try:
        while "Starting L-IPAMD" not in daemon.stderr:
            assert daemon.popen.poll() is None, daemon.stderr
        seconds = daemon.terminate()
    finally:
        daemon.kill()

    assert daemon.popen.returncode == 0
    assert seconds < 2


def test_callers_that_hang_do_not_delay_the_end(tmp_path: Path) -> None:
    """Half a request on each HTTP door, and an idle gRPC connection."""
    with spawned(tmp_path / "s") as daemon, Caller(daemon.grpc):
        doors = [daemon.ready["introspection"], daemon.ready["metrics"]]
        hanging = [socket.create_connection(("127.0.0.1", int(door.rpartition(":")[2]))) for door in doors]
        for connection in hanging:
            connection.sendall(b"GET /v1/enis HTTP/1.1\r\nHost: x\r\n")
        seconds = daemon.terminate()
        for connection in hanging:
            connection.close()

        assert daemon.popen.returncode == 0
        assert seconds < 2


def test_nobody_has_to_read_the_ready_line(tmp_path: Path) -> None:
    """A closed pipe on standard output is a warning in the log; pods get addresses all the same."""
    reader, writer = os.pipe()
    os.close(reader)
    words = command(tmp_path / "s", *PREFIXES)
    with (tmp_path / "stderr").open("w+") as log:
        popen = subprocess.Popen(words, stdout=writer, stderr=log, env=environment())
        os.close(writer)
        try:
            with Caller(f"unix://{tmp_path}/s.sock") as caller:
                address = caller.address("web")
            popen.terminate()
            code = popen.wait(PATIENCE)
        finally:
            popen.kill()
        log.seek(0)
        text = log.read()

    assert address.startswith("10.0.")
    assert "nobody reads the ready line" in text
    assert code == 0


@pytest.mark.spec("RPC-8")
def test_strict_parity_serves_on_after_sigterm(tmp_path: Path) -> None:
    """Only SIGKILL ends it."""
    words = ("--set", "UPSTREAM_PARITY=strict", "--set", "ENABLE_IPv4=true")
    with spawned(tmp_path / "s", *words) as daemon, Caller(daemon.grpc) as caller:
        daemon.popen.send_signal(signal.SIGTERM)
        while '"Terminating"' not in next(iter((tmp_path / "s" / "journal").glob("*.jsonl"))).read_text():
            assert daemon.popen.poll() is None
        address = caller.address("late")

        assert address.startswith("10.0.")
        assert daemon.popen.poll() is None


def test_the_state_directory_depends_on_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """root: /var/lib; others: $XDG_STATE_HOME if it is absolute, else ~/.local/state."""
    monkeypatch.setenv("HOME", "/users/kim")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    root = run.default_state_dir()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    named = run.default_state_dir()
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    relative = run.default_state_dir()

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(StartError, match="user 1000: has no home directory; name a --state-dir"):
        run.default_state_dir()

    assert str(root) == "/var/lib/ipamd-emulator"
    assert str(named) == "/state/ipamd-emulator"
    assert str(relative) == "/users/kim/.local/state/ipamd-emulator"


def homeless() -> Path:
    """A user of a container that no passwd file knows."""
    raise RuntimeError("no home directory")


def test_the_test_environment_configures_nothing() -> None:
    """What a developer has exported does not reach the daemons of the tests."""
    assert "WARM_IP_TARGET" not in environment()
