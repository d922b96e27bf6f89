"""The plugin as the runtime runs it: real processes, their streams and exit codes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cni_plugin.harness import Node, config, environment
from tests.cni_plugin.peers import listening, until_closed

Conf = Callable[..., bytes]
SCRIPT = Path(sys.executable).with_name("aws-cni")
MODULE = [sys.executable, "-m", "cni_plugin"]
COMMANDS = [pytest.param([str(SCRIPT)], id="aws-cni"), pytest.param(MODULE, id="python -m cni_plugin")]


def started(command: list[str], environ: dict[str, str], stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    """One process, run to its end."""
    paths = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "HOME")}
    return subprocess.run(command, input=stdin, env={**paths, **environ}, capture_output=True, timeout=60, check=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_add_then_del_over_a_socket(node: Node, conf: Conf, command: list[str]) -> None:
    """The result on stdout, nothing on stderr at this level, exit code 0; DEL says nothing."""
    add = started(command, environment("ADD"), conf(dryRun=True))
    delete = started(command, environment("DEL"), conf(dryRun=True, prevResult=json.loads(add.stdout)))

    assert (add.returncode, add.stderr) == (0, b"")
    assert json.loads(add.stdout)["ips"][0]["address"] == "10.0.1.9/32"
    assert (delete.returncode, delete.stdout, delete.stderr) == (0, b"", b"")
    assert [type(each).__name__ for each in node.asked] == ["AddNetworkRequest", "DelNetworkRequest"]


@pytest.mark.parametrize("command", COMMANDS)
def test_failure_is_json_and_exit_code_one(conf: Conf, command: list[str]) -> None:
    """No traceback anywhere."""
    done = started(command, environment("ADD"), conf(dryRun=True))

    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] == 999
    assert b"Traceback" not in done.stdout + done.stderr


def test_version_and_introduction(conf: Conf) -> None:
    """The two answers that need nothing."""
    version = started(MODULE, {"CNI_COMMAND": "VERSION"}, b"")
    about = started(MODULE, {}, b"")

    assert json.loads(version.stdout)["cniVersion"] == "1.1.0"
    assert (about.returncode, about.stdout) == (0, b"")
    assert about.stderr.startswith(b"AWS CNI ")


def test_closed_stdin_is_reported() -> None:
    """Code 5, not a crash."""
    command = f'exec "{sys.executable}" -m cni_plugin <&-'

    done = started(["/bin/sh", "-c", command], environment("ADD"), b"")

    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] == 5


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_stdout_that_takes_nothing_is_exit_code_one(node: Node, conf: Conf, redirection: str) -> None:
    """The runtime must not take silence for success."""
    command = f'exec "{sys.executable}" -m cni_plugin {redirection}'

    done = started(["/bin/sh", "-c", command], environment("ADD"), conf(dryRun=True))

    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


def test_closed_stderr_does_not_matter(node: Node, conf: Conf) -> None:
    """The log is dropped, the result stands."""
    command = f'exec "{sys.executable}" -m cni_plugin 2>&-'

    done = started(["/bin/sh", "-c", command], environment("ADD"), conf(dryRun=True, pluginLogLevel="debug"))

    assert done.returncode == 0
    assert json.loads(done.stdout)["cniVersion"] == "0.4.0"


def test_interruption_is_reported_as_json(socket_path: str, conf: Conf) -> None:
    """Ctrl-C while ipamd is silent."""
    child: list[subprocess.Popen[bytes]] = []

    def interrupt(connection: object) -> None:
        child[0].send_signal(signal.SIGINT)
        until_closed(connection)  # type: ignore[arg-type]

    with listening(socket_path, interrupt):
        process = subprocess.Popen(
            MODULE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **environment("ADD")}
        )
        child.append(process)
        stdout, _ = process.communicate(conf(dryRun=True), timeout=60)

    assert process.returncode == 1
    assert "unexpected KeyboardInterrupt" in json.loads(stdout)["msg"]


def test_many_at_once_share_one_daemon(node: Node, conf: Conf) -> None:
    """A burst of pods, each a process."""

    def one(number: int) -> int:
        return started(MODULE, environment("ADD", CNI_CONTAINERID=f"c{number}"), conf(dryRun=True)).returncode

    with ThreadPoolExecutor(6) as pool:
        codes = list(pool.map(one, range(12)))

    assert codes == [0] * 12
    assert sorted(each.ContainerID for each in node.asked) == sorted(f"c{number}" for number in range(12))


def test_bytes_that_are_no_text_do_not_crash_it(node: Node) -> None:
    """The environment and stdin are bytes; what is not UTF-8 is an error or a replacement."""
    environ = environment("ADD", CNI_ARGS=os.fsdecode(b"K8S_POD_NAME=\xff\xfe"))

    done = started(MODULE, environ, config(dryRun=True, vethPrefix="\udcff\udcff\udcff\udcff\udcff"))

    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] == 999
