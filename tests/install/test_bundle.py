"""aws-cni as a bundle, in a root directory that has glibc and nothing else: no Python, no shell."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from cni_plugin.versions import SUPPORTED
from ipamd.cli.bundle import install
from tests.cni_plugin.harness import ENVIRONMENT
from tests.host.rig import daemon, namespaces, needs_netns
from tests.netns.rig import path_of, run_in
from tests.runtime.spawned import PATIENCE, spawned

ROOT = Path(__file__).resolve().parents[2]
BUILD_SECONDS = 300
GLIBC = re.compile(r"(ld-linux[\w-]*|lib(c|m|dl|pthread|rt|util|resolv))\.so\.\d+")
UNSHARE = shutil.which("unshare") or "unshare"
"""util-linux's: a root directory and a /proc of the test's own, gone with the process."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(BUILD_SECONDS),
    pytest.mark.skipif(os.geteuid() != 0, reason="chroot wants root"),
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make plugin` makes."""
    place = tmp_path_factory.mktemp("plugin")
    tool = Path(sys.executable).with_name("pyinstaller")
    words = [tool, "--noconfirm", "--log-level", "WARN", "--distpath", place / "dist", "--workpath", place / "work"]
    done = subprocess.run(
        [*map(str, words), str(ROOT / "deploy" / "node" / "aws-cni.spec")],
        capture_output=True, text=True, timeout=BUILD_SECONDS, cwd=place,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return place / "dist" / "aws-cni"


def needed(bundle: Path) -> set[Path]:
    """What the loader takes from the system for the launcher and every library of the bundle."""
    found = set()
    for program in (bundle / "aws-cni", *bundle.rglob("*.so*")):
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, timeout=PATIENCE).stdout
        found |= {Path(word) for word in listed.split() if word.startswith("/")}
    return {path for path in found if bundle not in path.parents}


@pytest.fixture
def root(bundle: Path, tmp_path: Path) -> Path:
    """A root directory: the plugin where runtimes look for it, glibc as ldd names it."""
    place = tmp_path / "root"
    install(bundle, place / "opt" / "cni" / "bin")
    for library in needed(bundle):
        if GLIBC.fullmatch(library.name):
            into = place / library.relative_to("/")
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library.resolve(), into)
    (place / "proc").mkdir()
    return place


def plugin(root: Path, verb: str, config: dict[str, object]) -> subprocess.CompletedProcess[str]:
    """The plugin in that root, which has /proc as every Linux has, as a runtime would call it."""
    env = {"CNI_COMMAND": verb, "AWS_VPC_K8S_CNI_LOG_FILE": "stderr", **ENVIRONMENT}
    return subprocess.run(
        [UNSHARE, "--mount", "--pid", "--fork", f"--root={root}", "--mount-proc", "/opt/cni/bin/aws-cni"],
        input=json.dumps(config), capture_output=True, text=True, timeout=PATIENCE, env=env,
    )  # fmt: skip


def test_it_needs_glibc_alone(bundle: Path) -> None:
    """Every other library is in the bundle."""
    strangers = {path.name for path in needed(bundle) if not GLIBC.fullmatch(path.name)}
    brought = {path.name for path in bundle.rglob("*.so*")}

    assert strangers <= brought, strangers - brought


def test_without_python_it_tells_its_versions(root: Path) -> None:
    """The launcher starts, finds its lib/ through the symbolic link, and answers."""
    done = plugin(root, "VERSION", {"cniVersion": "1.0.0"})

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["supportedVersions"] == list(SUPPORTED)


def test_without_a_verb_it_tells_what_it_is(bundle: Path) -> None:
    """As `aws-cni` of this environment does."""
    done = subprocess.run([bundle / "aws-cni"], env={}, capture_output=True, text=True, timeout=PATIENCE)

    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith(f"AWS CNI {version('ipamd-emulator')}\n")


def test_without_python_a_pod_gets_an_address(root: Path, tmp_path: Path) -> None:
    """HTTP/2 and protobuf are in the bundle: ADD and DEL reach a daemon outside of that root."""
    config: dict[str, object] = {"cniVersion": "0.4.0", "name": "aws-cni", "type": "aws-cni", "dryRun": True}
    socket = root / "var" / "run" / "aws-node" / "ipamd.sock"
    socket.parent.mkdir(parents=True)
    with spawned(tmp_path / "s", "--socket", str(socket), "--max-pods", "5"):
        added = plugin(root, "ADD", config)
        deleted = plugin(root, "DEL", config)

    assert added.returncode == 0, added.stderr + added.stdout
    assert json.loads(added.stdout)["ips"][0]["address"].endswith("/32")
    assert (deleted.returncode, deleted.stdout) == (0, ""), deleted.stderr


@needs_netns
def test_the_bundle_wires_a_pod(bundle: Path, tmp_path: Path) -> None:
    """Everything that ADD, CHECK, STATUS, GC and DEL import is in it, the way into a namespace too."""
    checkpoint = str(tmp_path / "ipam.json")
    backing = ("--set", f"AWS_VPC_K8S_CNI_BACKING_STORE={checkpoint}")
    with namespaces("node", "vpc", "pod") as (node, vpc, pod), daemon(node, vpc, tmp_path / "s", *backing) as process:
        stdin: dict[str, Any] = {
            "cniVersion": "1.1.0", "name": "aws-cni", "type": "aws-cni", "ipamdAddress": process.grpc,
            "pluginLogFile": str(tmp_path / "plugin.log"), "statusAndGc": True, "checkpointFile": checkpoint,
            "cni.dev/valid-attachments": [],
        }  # fmt: skip
        env = {"PATH": os.environ["PATH"], **ENVIRONMENT, "CNI_NETNS": path_of(pod.name)}

        def answer(verb: str) -> str:
            asked = {**env, "CNI_COMMAND": verb}
            done = run_in(node.name, str(bundle / "aws-cni"), stdin=json.dumps(stdin).encode(), env=asked)
            assert done.returncode == 0, (verb, done.stdout, done.stderr)
            return done.stdout.decode()

        stdin["prevResult"] = json.loads(answer("ADD"))
        reached = node.pings(stdin["prevResult"]["ips"][0]["address"].partition("/")[0])
        said = [answer(verb) for verb in ("CHECK", "STATUS", "GC", "DEL")]
        left = [rule["priority"] for rule in node.seen("rule", "show")]

    assert reached and said == [""] * 4
    assert 512 not in left


def test_nothing_heavy_comes_along(bundle: Path) -> None:
    """What the plugin must not import it must not carry either: OpenSSL, asyncio's way of doing things, grpc."""
    names = {path.name.split(".")[0] for path in bundle.rglob("*") if path.is_file()}

    assert {"_ssl", "_hashlib", "libcrypto", "libssl", "cygrpc", "_decimal", "_msgspec"} & names == set()
    assert sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file()) < 25_000_000
