"""What a process costs until it has done its work: the commands, against an interpreter that does nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .figures import Line, interleaved, number, ratios, spread
from .place import Place
from .processes import BIN, ROOT, daemon, pooled_daemon, serving
from .sizes import Sizes

_SECONDS = 60
_BUILD_SECONDS = 300


def run(sizes: Sizes, place: Place) -> list[Line]:
    """Four lines: help, the plugin's ADD with dryRun at a real daemon, from this environment and as the bundle that
    nodes without Python get, and a daemon until it is ready."""
    bundle = _bundle(place)
    with serving(pooled_daemon(place, "daemon", sizes.pool), place.disk / "daemon.log") as pooled:
        plugin = _Plugin(pooled.ready["grpc"][0])
        bare, usage, add, bundled, ready = interleaved(
            sizes.starts,
            lambda: _took([sys.executable, "-I", "-S", "-c", "pass"]),
            lambda: _took([BIN / "ipamd", "--help"]),
            lambda: plugin.add(BIN / "aws-cni"),
            lambda: plugin.add(bundle),
            _Daemons(place).ready,
        )
    base = {"python -I -S -c pass": f"{number(spread(bare).median * 1e3)} ms"}

    def line(name: str, what: str, seconds: list[float]) -> Line:
        """Against the bare interpreter."""
        took = f"{number(spread(seconds).median * 1e3)} ms"
        return Line(name, f"{what}, against python -I -S -c pass", ratios(seconds, bare), facts={"took": took, **base})

    return [
        line("help", "ipamd --help", usage),
        line("plugin", "aws-cni ADD with dryRun, one process, answered by a daemon", add),
        line("bundle", "the same by the bundle of make plugin", bundled),
        line("ready", "ipamd run on an empty directory until its ready line", ready),
    ]


def _bundle(place: Place) -> Path:
    """The launcher that `make plugin` writes, made anew. Raises CalledProcessError."""
    made, work = place.disk / "plugin", place.disk / "pyinstaller"
    words = ["--noconfirm", "--log-level", "WARN", "--distpath", str(made), "--workpath", str(work)]
    spec = ROOT / "deploy" / "node" / "aws-cni.spec"
    tool = [str(BIN / "pyinstaller"), *words, str(spec)]
    subprocess.run(tool, capture_output=True, check=True, timeout=_BUILD_SECONDS)
    return made / "aws-cni" / "aws-cni"


def _took(command: Sequence[str | Path], environ: Mapping[str, str] | None = None, stdin: bytes = b"") -> float:
    """Seconds of one process from start to end. Raises CalledProcessError."""
    words = [str(word) for word in command]
    began = time.perf_counter()
    subprocess.run(words, input=stdin, env=environ, capture_output=True, check=True, timeout=_SECONDS)
    return time.perf_counter() - began


class _Plugin:
    """ADDs of one new pod after the other."""

    def __init__(self, address: str) -> None:
        self._pods = 0
        self._configuration = json.dumps(
            {"cniVersion": "1.0.0", "name": "aws-cni", "type": "aws-cni", "dryRun": True, "pluginLogLevel": "error",
             "ipamdAddress": address}
        ).encode()  # fmt: skip

    def add(self, program: Path) -> float:
        """Seconds of the next pod's process."""
        self._pods += 1
        environ = {
            "PATH": os.environ.get("PATH", ""),
            "CNI_COMMAND": "ADD",
            "CNI_CONTAINERID": f"{self._pods:064x}",
            "CNI_NETNS": f"/var/run/netns/pod-{self._pods}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": "/opt/cni/bin",
            "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod-{self._pods};"
            f"K8S_POD_INFRA_CONTAINER_ID={self._pods:064x}",
        }
        return _took([program], environ, self._configuration)


class _Daemons:
    """Daemons that are started only to be ready."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._started = 0

    def ready(self) -> float:
        """Seconds until the next one is."""
        self._started += 1
        began = time.perf_counter()
        with serving(daemon(self._place, f"ready-{self._started}"), self._place.disk / "ready.log"):
            return time.perf_counter() - began
