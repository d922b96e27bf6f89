"""`ipamd install` and `ipamd health` as processes: order, waiting, replacing, taking away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ipamd.cli.bundle import BundleError, install, remove
from tests.runtime.spawned import PATIENCE, command, environment, spawned


def bundle(place: Path, says: str) -> Path:
    """A bundle whose launcher says something."""
    (place / "lib").mkdir(parents=True)
    (place / "aws-cni").write_text(f"#!/bin/sh\necho {says}\n")
    (place / "aws-cni").chmod(0o755)
    return place


def node(tmp_path: Path, **more: str) -> dict[str, str]:
    """The environment of a container that sees the node's directories."""
    where = {"HOST_CNI_BIN_PATH": str(tmp_path / "bin"), "HOST_CNI_CONFDIR_PATH": str(tmp_path / "net.d")}
    return environment({**where, **more})


def ipamd(*words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ipamd", *words], capture_output=True, text=True, timeout=PATIENCE, env=env
    )


@pytest.mark.spec("ENV-60", "ENV-61")
def test_with_a_daemon_that_serves_plugin_and_configuration_are_there(tmp_path: Path) -> None:
    """Each is told; the configuration is readable by everybody, and gone again with the plugin after --uninstall."""
    made = bundle(tmp_path / "b", "one")
    with spawned(tmp_path / "s") as daemon:
        done = ipamd(
            "install", "--bundle", str(made), "--socket", daemon.grpc.removeprefix("unix://"), env=node(tmp_path)
        )
        health = ipamd("health", "--addr", daemon.grpc, "--json", env=node(tmp_path))
    conf = tmp_path / "net.d" / "10-aws.conflist"

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"Installed {tmp_path}/bin/aws-cni", f"Installed {conf}"]
    assert "portmap: not in the directory" in done.stderr
    assert json.loads(conf.read_text())["name"] == "aws-cni" and conf.stat().st_mode & 0o777 == 0o644
    assert subprocess.run([tmp_path / "bin" / "aws-cni"], capture_output=True, text=True).stdout == "one\n"
    assert json.loads(health.stdout) == {"serving": True, "code": 0, "text": "status: SERVING"}

    gone = ipamd("install", "--uninstall", "--json", env=node(tmp_path))
    assert gone.returncode == 0 and len(json.loads(gone.stdout)["removed"]) == 3
    assert [*(tmp_path / "bin").iterdir(), *(tmp_path / "net.d").iterdir()] == []


def test_without_a_daemon_there_is_no_configuration(tmp_path: Path) -> None:
    """The node stays NotReady: the plugin is there, but nobody would answer it."""
    made = bundle(tmp_path / "b", "one")
    socket = tmp_path / "nobody.sock"

    done = ipamd("install", "--bundle", str(made), "--socket", str(socket), "--wait", "0.1", env=node(tmp_path))
    health = ipamd("health", "--addr", f"unix://{socket}", "--connect-timeout", "0.1", env=node(tmp_path))

    assert done.returncode == 1 and "nobody serves there after 0.1 s; start ipamd run" in done.stderr
    assert (tmp_path / "bin" / "aws-cni").exists() and not (tmp_path / "net.d").exists()
    assert health.returncode == 2 and "is ipamd run up?" in health.stderr


def test_the_daemon_it_starts_gets_its_signals(tmp_path: Path) -> None:
    """As the entrypoint of a container: configuration once it serves, then it ends as the daemon does."""
    made = bundle(tmp_path / "b", "one")
    words = [sys.executable, "-m", "ipamd", "install", "--bundle", str(made), "--socket", f"{tmp_path}/s.sock", "--"]
    daemon = command(tmp_path / "s", "--set", "AWS_VPC_K8S_CNI_LOGLEVEL=error")
    with subprocess.Popen([*words, *daemon], stdout=subprocess.PIPE, text=True, env=node(tmp_path)) as process:
        assert process.stdout is not None
        told = iter(process.stdout.readline, "")
        assert any(line.startswith("Installed") and "conflist" in line for line in told)
        process.send_signal(signal.SIGTERM)

        assert process.wait(PATIENCE) == 0


def test_a_daemon_that_cannot_start_is_not_waited_for(tmp_path: Path) -> None:
    """Upstream would go on probing until the liveness probe ends it."""
    made = bundle(tmp_path / "b", "one")

    done = ipamd(
        "install", "--bundle", str(made), "--", sys.executable, "-c", "raise SystemExit(3)", env=node(tmp_path)
    )

    assert done.returncode == 1 and not (tmp_path / "net.d").exists()


@pytest.mark.parametrize(
    ("words", "more", "code", "says"),
    [
        ((), {"AWS_VPC_ENI_MTU": "ten"}, 1, "AWS_VPC_ENI_MTU='ten': want an integer from 576 to 9001"),
        (("--bundle", "/nowhere"), {}, 1, "/nowhere/aws-cni: no such program; want the directory that make plugin"),
        (("--uninstall", "--", "true"), {}, 2, "--uninstall: starts no daemon"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    tmp_path: Path, words: tuple[str, ...], more: dict[str, str], code: int, says: str
) -> None:
    """The thing, the fact, the remedy; nothing is installed."""
    done = ipamd("install", *words, env=node(tmp_path, **more))

    assert done.returncode == code and says in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "bin" / "aws-cni").exists()


def test_a_new_version_takes_the_place_of_the_old_in_one_step(tmp_path: Path) -> None:
    """The one before stays for processes that still run from it; older ones go."""
    into = tmp_path / "bin"
    launchers = [install(bundle(tmp_path / says, says), into) for says in ("one", "two", "three")]

    said = subprocess.run([launchers[-1]], capture_output=True, text=True).stdout
    kept = sorted(p.name for p in (into / "aws-cni.d").iterdir())

    assert said == "three\n" and len(kept) == 2 and launchers[-1].is_symlink()
    install(tmp_path / "three", into)
    assert sorted(p.name for p in (into / "aws-cni.d").iterdir()) == kept
    assert os.readlink(launchers[-1]).startswith("aws-cni.d/")


def test_somebody_elses_plugin_is_not_removed(tmp_path: Path) -> None:
    """A real aws-cni of this name stays where it is."""
    (tmp_path / "aws-cni").write_text("not ours")

    assert remove(tmp_path) == [] and (tmp_path / "aws-cni").exists()
    with pytest.raises(BundleError, match="make plugin"):
        install(tmp_path / "nothing", tmp_path)
