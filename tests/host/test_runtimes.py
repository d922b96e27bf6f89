"""aws-cni as runtimes call it: cnitool of containernetworking/cni, and Podman with real containers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.spawned import PATIENCE

from .rig import Netns, daemon, namespaces, needs_netns

CNITOOL = "github.com/containernetworking/cni/cnitool@v1.3.0"
BUILD_SECONDS = 300
NAME = "aws-cni"
pytestmark = [needs_netns, pytest.mark.timeout(BUILD_SECONDS + 120)]
on_ci = bool(os.environ.get("CI"))
needs_podman = pytest.mark.skipif(
    not on_ci and None in (shutil.which("podman"), shutil.which("runc")), reason="podman and runc are not installed"
)


@pytest.fixture(scope="module")
def cnitool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by Go from the module proxy, with Go's own cache."""
    if shutil.which("go") is None and not on_ci:
        pytest.skip("go is not installed")
    place = tmp_path_factory.mktemp("gobin")
    done = subprocess.run(
        ["go", "install", CNITOOL],
        capture_output=True, text=True, timeout=BUILD_SECONDS, env={**os.environ, "GOBIN": str(place)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return place / "cnitool"


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """A directory of plugins with ours alone."""
    place = tmp_path / "bin"
    place.mkdir()
    (place / NAME).symlink_to(Path(sys.executable).with_name(NAME))
    return place


@pytest.fixture
def here() -> Iterator[tuple[Netns, Netns, Netns]]:
    """A node, the VPC, and a pod."""
    with namespaces("node", "vpc", "pod") as (node, vpc, pod):
        yield node, vpc, pod


def network(place: Path, socket: str, version: str = "1.1.0", **more: object) -> Path:
    """A directory with the network's configuration; by default of 1.1.0, so that every verb is sent."""
    place.mkdir()
    log = {"pluginLogFile": str(place.parent / "plugin.log"), "pluginLogLevel": "debug"}
    plugin = {"type": NAME, "ipamdAddress": socket, "statusAndGc": True, "mtu": "1500", **log, **more}
    (place / "10-aws.conflist").write_text(json.dumps({"cniVersion": version, "name": NAME, "plugins": [plugin]}))
    return place


def inside(node: Netns, *words: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A program in the node's network, with the files of the machine."""
    return subprocess.run(
        ["nsenter", f"--net=/run/netns/{node.name}", *words],
        capture_output=True, text=True, timeout=PATIENCE * 2, env={**os.environ, **env}, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_cnitool_runs_the_whole_chain(
    cnitool: Path, plugins: Path, here: tuple[Netns, Netns, Netns], tmp_path: Path
) -> None:
    """status, add, check, gc, del against a daemon: the pod is reached in between, and leaves nothing behind.

    cnitool's gc names no attachments at all, so a plugin that collects (statusAndGc) refuses; one as upstream's agrees.
    """
    node, vpc, pod = here
    checkpoint = tmp_path / "ipam.json"
    store = ("--set", f"AWS_VPC_K8S_CNI_BACKING_STORE={checkpoint}")
    with daemon(node, vpc, tmp_path / "s", "--max-pods", "5", *store) as process:
        conf = network(tmp_path / "net.d", process.grpc, checkpointFile=str(checkpoint))
        env = {"NETCONFPATH": str(conf), "CNI_PATH": str(plugins), "CNI_IFNAME": "eth0"}
        env["CNI_ARGS"] = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=nginx"
        before = node.network()

        def verb(name: str) -> str:
            done = inside(node, str(cnitool), name, NAME, f"/run/netns/{pod.name}", env=env)
            assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
            return done.stdout

        verb("status")
        address = json.loads(verb("add"))["ips"][0]["address"]
        verb("check")
        assert address.endswith("/32") and node.pings(address.removesuffix("/32"))
        pod.ip("route", "del", "default")
        assert inside(node, str(cnitool), "check", NAME, f"/run/netns/{pod.name}", env=env).returncode != 0
        refused = inside(node, str(cnitool), "gc", NAME, f"/run/netns/{pod.name}", env=env)
        assert refused.returncode != 0 and "nothing was collected" in refused.stdout + refused.stderr
        assert not node.pings(address.removesuffix("/32")), "cnitool deletes all that it has made before it asks"
        env["NETCONFPATH"] = str(network(tmp_path / "plain.d", process.grpc, statusAndGc=False))
        assert json.loads(verb("add"))["ips"]
        verb("gc")
        verb("del")
        verb("del")
        pod.ip("link", "del", "eth0")

        assert node.network() == before


def test_without_a_daemon_status_says_so(
    cnitool: Path, plugins: Path, here: tuple[Netns, Netns, Netns], tmp_path: Path
) -> None:
    """The runtime learns it before it starts a pod."""
    node, _, pod = here
    conf = network(tmp_path / "net.d", f"unix://{tmp_path}/nobody.sock")
    env = {"NETCONFPATH": str(conf), "CNI_PATH": str(plugins), "CNI_IFNAME": "eth0"}

    done = inside(node, str(cnitool), "status", NAME, f"/run/netns/{pod.name}", env=env)

    assert done.returncode != 0 and "nobody.sock" in done.stdout + done.stderr


@pytest.fixture
def short() -> Iterator[Path]:
    """A place with a short path, as Podman wants it."""
    place = Path(tempfile.mkdtemp(prefix="pod-"))
    yield place / "p"
    shutil.rmtree(place, ignore_errors=True)


class Podman:
    """Podman with directories of its own: nothing of the machine's containers is seen or touched."""

    def __init__(self, node: Netns, place: Path, conf: Path, plugins: Path) -> None:
        self._node = node
        place.mkdir()
        settings = place / "containers.conf"
        settings.write_text(
            "[containers]\n"
            'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
            "[engine]\n"
            'cgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "runc"\n'
            "[network]\n"
            f'network_backend = "cni"\ncni_plugin_dirs = ["{plugins}"]\nnetwork_config_dir = "{conf}"\n'
        )
        self._env = {"CONTAINERS_CONF": str(settings)}
        self._words = ["podman", "--root", f"{place}/root", "--runroot", f"{place}/run", "--tmpdir", f"{place}/tmp"]
        self._words += ["--storage-driver", "vfs"]
        self.rootfs = place / "busybox"
        (self.rootfs / "bin").mkdir(parents=True)
        busybox = shutil.which("busybox")
        assert busybox is not None, "busybox-static is not installed"
        shutil.copy(busybox, self.rootfs / "bin" / "busybox")
        for directory in ("dev", "etc", "proc", "sys", "tmp", "run"):
            (self.rootfs / directory).mkdir()

    def __call__(self, *words: str) -> str:
        """Standard output of a command that must succeed."""
        done = inside(self._node, *self._words, *words, env=self._env)
        assert done.returncode == 0, f"podman {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, name: str) -> str:
        """A container that waits to be ended; its address."""
        self(
            "run", "-d", "--name", name, "--network", NAME, "--rootfs", str(self.rootfs), "/bin/busybox", "sleep", "600"
        )
        shown: dict[str, Any] = json.loads(self("inspect", name))[0]
        return str(shown["NetworkSettings"]["Networks"][NAME]["IPAddress"])

    def end(self, *names: str) -> None:
        """Remove containers, whatever state they are in."""
        self("rm", "-f", "-t", "0", *names)


@needs_podman
def test_podmans_containers_have_the_daemons_addresses_and_reach_each_other(
    plugins: Path, here: tuple[Netns, Netns, Netns], tmp_path: Path, short: Path
) -> None:
    """Two real containers, no image pulled: each pings the other and the node; once gone they leave nothing."""
    node, vpc, _ = here
    with daemon(node, vpc, tmp_path / "s", "--max-pods", "5") as process:
        conf = network(tmp_path / "net.d", process.grpc, "0.4.0", realMacs=True)
        podman = Podman(node, short, conf, plugins)
        before = node.network()
        try:
            one, two = podman.start("one"), podman.start("two")
            held = {rule["dst"] for rule in node.seen("rule", "show") if rule["priority"] == 512}

            assert {one, two} == held and one != two
            podman("exec", "one", "/bin/busybox", "ping", "-c", "1", "-W", "3", two)
            podman("exec", "two", "/bin/busybox", "ping", "-c", "1", "-W", "3", one)
            podman("exec", "one", "/bin/busybox", "ping", "-c", "1", "-W", "3", "10.0.0.4")
            assert node.pings(one)
        finally:
            podman.end("one", "two")

        assert node.network() == before
