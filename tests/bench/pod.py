"""What wiring a pod costs: one real `aws-cni` ADD, against its two parts done by processes that do nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cni_plugin.namespace import Namespace
from ipamd.rpc import rpc_pb2

from .callers import SERVICE, add_request
from .figures import Line, interleaved, number, ratios, spread
from .place import Place
from .processes import BIN, echo, serving
from .sizes import Sizes

ADDRESS = "10.0.1.9"
MAC = "02:00:00:00:00:01"
LINES = (
    "link add name eth0 mtu 9001 txqueuelen 0 up type veth peer name enix address {mac} mtu 9001 txqueuelen 0",
    "route replace 169.254.1.1/32 dev eth0 scope link table 254",
    "route add default via 169.254.1.1 dev eth0 table 254",
    "address add {address}/32 dev eth0",
    "neighbour add 169.254.1.1 lladdr {mac} dev eth0 nud permanent",
    "link set dev enix up",
    "route replace {address}/32 dev enix scope link table 254",
    "rule add priority 512 to {address}/32 table 254",
    "rule add priority 1536 from {address}/32 table 3",
)
"""The plugin's operations for a pod on a secondary ENI, all in one namespace."""
_SECONDS = 60


class Cost(NamedTuple):
    """Of one process and its children, in seconds."""

    wall: float
    cpu: float


def run(sizes: Sizes, place: Place) -> list[Line]:
    """Two lines, wall clock and CPU; none where no namespace can be made."""
    if os.geteuid():
        return []
    reply = rpc_pb2.AddNetworkReply(Success=True)
    reply.IPAllocationMetadata.add(IPv4Addr=ADDRESS, DeviceNumber=2, RouteTableId=3)
    costs: list[list[Cost]] = [[], [], []]
    with serving(echo(place, reply.SerializeToString()), place.disk / "echo.log"):
        bench = _Bench(place.sockets / "echo.sock")

        def measured(at: int) -> float:
            costs[at].append((bench.add, bench.unary, bench.batch)[at]())
            return costs[at][-1].wall

        interleaved(sizes.starts, *(lambda at=at: measured(at) for at in range(3)))
    add, unary, batch = (each[1:] for each in costs)  # the first round is not counted
    return [
        _line("pod wall", "wall clock", *([cost.wall for cost in each] for each in (add, unary, batch))),
        _line("pod cpu", "CPU time", *([cost.cpu for cost in each] for each in (add, unary, batch))),
    ]


def _line(name: str, what: str, add: list[float], unary: list[float], batch: list[float]) -> Line:
    parts = [a + b for a, b in zip(unary, batch, strict=True)]
    named = {"aws-cni ADD": add, "one unary call": unary, "one ip -batch": batch}
    facts = {name: f"{number(spread(values).median * 1e3)} ms" for name, values in named.items()}
    words = (
        f"{what} of an aws-cni ADD that wires a pod, against one unary call and one ip -batch of the same operations"
    )
    return Line(name, words, ratios(add, parts), bound=1.3, facts=facts)


class _Bench:
    """The three processes, each in namespaces that are new."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._request = add_request(1)
        self._configuration = json.dumps(
            {"cniVersion": "1.0.0", "name": "aws-cni", "type": "aws-cni", "pluginLogLevel": "error",
             "ipamdAddress": f"unix://{socket}"}
        ).encode()  # fmt: skip

    def add(self) -> Cost:
        """The plugin, from a node's namespace."""
        with _namespaces("node", "pod") as (node, pod):
            environ = {
                "PATH": os.environ.get("PATH", ""),
                "CNI_COMMAND": "ADD",
                "CNI_CONTAINERID": "1" * 64,
                "CNI_NETNS": f"/var/run/netns/{pod}",
                "CNI_IFNAME": "eth0",
                "CNI_PATH": "/opt/cni/bin",
                "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-7d4b9c6f5d-00001;"
                f"K8S_POD_INFRA_CONTAINER_ID={'1' * 64}",
            }
            return _cost([BIN / "aws-cni"], self._configuration, node, environ)

    def unary(self) -> Cost:
        """One call with the same messages."""
        words: list[str | Path] = [
            sys.executable,
            Path(__file__).with_name("unary.py"),
            self._socket,
            f"/{SERVICE}/AddNetwork",
        ]
        with _namespaces("node") as (node,):
            return _cost(words, self._request, node, dict(os.environ))

    def batch(self) -> Cost:
        """The same operations in one namespace."""
        text = "".join(f"{line.format(mac=MAC, address=ADDRESS)}\n" for line in LINES)
        with _namespaces("node") as (node,):
            return _cost(["ip", "-batch", "-"], text.encode(), node, dict(os.environ))


@contextmanager
def _namespaces(*roles: str) -> Iterator[list[str]]:
    names = [f"bench-{os.getpid()}-{role}" for role in roles]
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True, timeout=_SECONDS)
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, timeout=_SECONDS, capture_output=True)


def _cost(words: Sequence[str | Path], stdin: bytes, netns: str, environ: Mapping[str, str]) -> Cost:
    """One process in a namespace, with its children. Raises CalledProcessError."""
    command = [str(word) for word in words]
    place = Namespace(f"/var/run/netns/{netns}")
    try:
        with place:
            began = time.perf_counter()
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environ
            )
            assert process.stdin is not None and process.stdout is not None
            with process.stdin, process.stdout:
                process.stdin.write(stdin)
                process.stdin.close()
                said = process.stdout.read()
                _, status, used = os.wait4(process.pid, 0)
            wall = time.perf_counter() - began
    finally:
        place.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, said)
    return Cost(wall, used.ru_utime + used.ru_stime)
