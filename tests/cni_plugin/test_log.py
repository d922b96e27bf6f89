"""The plugin's log: form, levels, where it goes, and that it never harms the answer."""

import io
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cni_plugin import log as log_module
from cni_plugin.log import Log, timestamp
from tests.cni_plugin.harness import Node, environment, invoke

Conf = Callable[..., bytes]
MOMENT = 1_710_091_508.4874  # 2024-03-10T17:25:08.487Z


def lines(path: Path) -> list[dict[str, str]]:
    """The log file's lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_add_leaves_the_lines_that_tools_look_for(node: Node, conf: Conf, tmp_path: Path) -> None:
    """Four keys a line; wording that an importer of plugin.log knows."""
    path = tmp_path / "deep" / "plugin.log"

    outcome = invoke(environment("ADD"), conf(dryRun=True, pluginLogFile=str(path), pluginLogLevel=""))

    found = lines(path)
    assert outcome.stderr == ""
    assert all(list(line) == ["level", "ts", "caller", "msg"] for line in found)
    assert found[0]["msg"] == "Constructed new logger instance"
    assert found[1]["msg"].startswith("Received CNI add request: ContainerID(cafe0001) Netns(/var/run/netns/cni-x)")
    assert found[2]["msg"] == (
        "Received add network response from ipamd for container cafe0001 interface eth0: Success:true "
        'IPAllocationMetadata:{IPv4Addr:"10.0.1.9" DeviceNumber:2 RouteTableId:3}'
    )
    assert found[3]["msg"] == (
        "SetupPodNetwork: hostVethName=enic440f455693, contVethName=eth0, netnsPath=/var/run/netns/cni-x, "
        "ipAddr=10.0.1.9/32, routeTableNumber=3, mtu=9001"
    )
    assert re.fullmatch(r"cni_plugin/add.py:\d+", found[1]["caller"])


def test_del_leaves_its_lines_too(node: Node, conf: Conf, tmp_path: Path) -> None:
    """Each invocation appends."""
    path = tmp_path / "plugin.log"

    for _ in range(2):
        invoke(environment("DEL"), conf(dryRun=True, pluginLogFile=str(path), pluginLogLevel="info"))

    messages = [line["msg"] for line in lines(path)]
    assert [message.split(":")[0] for message in messages[:2]] == [
        "Received CNI del request",
        "Received del network response from ipamd for pod nginx namespace default sandbox cafe0001",
    ]
    assert len(messages) == 6


@pytest.mark.parametrize(
    "level, written",
    [
        ("debug", ["debug", "debug", "info", "error"]),
        ("odd", ["debug", "debug", "info", "error"]),
        ("Info", ["info", "error"]),
        ("WARN", ["error"]),
        ("error", ["error"]),
        ("fatal", []),
    ],
)
def test_level_is_a_threshold_in_any_case(level: str, written: list[str]) -> None:
    """What is no level means debug."""
    stderr = io.StringIO()
    log = Log("", level, stderr)

    log.debug("a")
    log.info("b")
    log.error("c")

    assert [json.loads(line)["level"] for line in stderr.getvalue().splitlines()] == written


@pytest.mark.parametrize("destination", ["", "stderr", "stdout"])
def test_log_never_goes_to_stdout(node: Node, conf: Conf, destination: str) -> None:
    """stdout belongs to the result."""
    outcome = invoke(environment("ADD"), conf(dryRun=True, pluginLogFile=destination, pluginLogLevel="info"))

    assert outcome.document["cniVersion"] == "0.4.0"
    assert len(outcome.log) == 2


def test_log_that_cannot_be_written_is_dropped(node: Node, conf: Conf, tmp_path: Path) -> None:
    """A directory, a file below a file, a FIFO without a reader, a name with a zero byte."""
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "fifo")
    places = [str(tmp_path), f"{tmp_path}/file/x", f"{tmp_path}/fifo", "a\0b"]

    outcomes = [invoke(environment("ADD"), conf(dryRun=True, pluginLogFile=place)) for place in places]

    assert [(each.code, each.stderr) for each in outcomes] == [(0, "")] * 4


def test_closed_stderr_is_no_failure() -> None:
    """The runtime may have closed it."""
    stderr = io.StringIO()
    stderr.close()

    Log("", "debug", stderr).error("x")

    assert stderr.closed


def test_line_breaks_stay_inside_a_line(tmp_path: Path) -> None:
    """Nothing that a pod is called can forge a line."""
    path = tmp_path / "plugin.log"
    log = Log(str(path), "info", io.StringIO())

    log.info('a"}\n{"level":"error"')
    log.close()

    assert [line["msg"] for line in lines(path)] == ['a"}\n{"level":"error"']


@pytest.mark.parametrize(
    "zone, text",
    [
        ("UTC", "2024-03-10T17:25:08.487Z"),
        ("CET-1", "2024-03-10T18:25:08.487+0100"),
        ("EST5", "2024-03-10T12:25:08.487-0500"),
    ],
)
def test_time_is_the_hosts_with_its_offset(zone: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Milliseconds; the offset without a colon, Z for UTC."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert timestamp(MOMENT) == text
    finally:
        monkeypatch.undo()
        time.tzset()


def test_full_file_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One aside with the time in its name, a fresh one in place; others' files are left alone."""
    monkeypatch.setattr(log_module, "FILE_MAX", 10)
    path = tmp_path / "plugin.log"
    path.write_text("x" * 10)
    (tmp_path / "plugin-notes.log").write_text("mine")

    Log(str(path), "debug", io.StringIO()).close()

    assert [line["msg"] for line in lines(path)] == ["Constructed new logger instance"]
    [aside] = [each for each in tmp_path.glob("plugin-2*.log")]
    assert re.fullmatch(r"plugin-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}\.log", aside.name)
    assert aside.read_text() == "x" * 10
    assert (tmp_path / "plugin-notes.log").read_text() == "mine"


def test_older_files_are_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five at most, none older than 30 days."""
    monkeypatch.setattr(log_module, "FILE_MAX", 10)
    path = tmp_path / "plugin.log"
    path.write_text("x" * 10)
    for day in range(1, 8):
        (tmp_path / f"plugin-2024-01-0{day}T00-00-00.000.log").write_text("old")
    os.utime(tmp_path / "plugin-2024-01-06T00-00-00.000.log", (0, 0))

    Log(str(path), "debug", io.StringIO()).close()

    kept = sorted(each.name for each in tmp_path.glob("plugin-2024-*.log"))
    assert kept == [f"plugin-2024-01-0{day}T00-00-00.000.log" for day in (4, 5, 7)]
