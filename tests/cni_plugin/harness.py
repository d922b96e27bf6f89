"""What the plugin's tests stand on: one invocation, a real gRPC server with a script, a host that remembers."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from cni_plugin.host import Branch, HostError, Link, Route
from cni_plugin.main import run
from ipamd.rpc import rpc_pb2, rpc_pb2_grpc

ENVIRONMENT = {
    "CNI_CONTAINERID": "cafe0001",
    "CNI_NETNS": "/var/run/netns/cni-x",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/opt/cni/bin",
    "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=nginx;"
    "K8S_POD_INFRA_CONTAINER_ID=cafe0001;K8S_POD_UID=uid-1",
}
CONFIG = {"cniVersion": "0.4.0", "name": "aws-cni", "type": "aws-cni", "pluginLogLevel": "error"}
NGINX = "c440f455693"  # default/nginx by the table of examples (NETW-9)
NGINX_1 = "e48ae9c2f34"


@dataclass(frozen=True)
class Outcome:
    """What one invocation printed, and its exit code."""

    stdout: str
    code: int
    stderr: str

    @property
    def document(self) -> Any:
        """stdout as JSON."""
        return json.loads(self.stdout)

    @property
    def log(self) -> list[dict[str, str]]:
        """The log lines on stderr."""
        return [json.loads(line) for line in self.stderr.splitlines()]


def environment(verb: str, **changes: str | None) -> dict[str, str]:
    """A complete environment for `verb`; a change of None leaves the variable out."""
    wanted = {**ENVIRONMENT, "CNI_COMMAND": verb, **changes}
    return {name: value for name, value in wanted.items() if value is not None}


def config(**changes: Any) -> bytes:
    """A network configuration as the runtime sends it; a change of None leaves the key out."""
    wanted = {**CONFIG, **changes}
    return json.dumps({key: value for key, value in wanted.items() if value is not None}).encode()


def invoke(environ: Mapping[str, str], stdin: bytes = b"", host: RecordingHost | FailingHost | None = None) -> Outcome:
    """One invocation inside this process."""
    stderr = io.StringIO()
    text, code = run(environ, io.BytesIO(stdin), stderr, host)
    return Outcome(text, code, stderr.getvalue())


@dataclass
class RecordingHost:
    """A host whose kernel is a list of calls."""

    programs: bool = True
    set_ups: list[tuple[list[Link], Branch | None, str, int]] = field(default_factory=list)
    tear_downs: list[tuple[list[Route], int]] = field(default_factory=list)

    def set_up(self, links: Sequence[Link], branch: Branch | None, netns: str, mtu: int) -> None:
        """Remember the links."""
        self.set_ups.append((list(links), branch, netns, mtu))

    def mac(self, netns: str, interface: str) -> str:
        """Some address."""
        return "0e:00:00:00:00:01"

    def tear_down(self, routes: Sequence[Route], vlan_id: int) -> None:
        """Remember the addresses."""
        self.tear_downs.append((list(routes), vlan_id))


class FailingHost:
    """A host on which nothing can be made."""

    programs = True

    def set_up(self, links: Sequence[Link], branch: Branch | None, netns: str, mtu: int) -> None:
        """Fail as a kernel might."""
        raise HostError(f"{links[0].host_veth}: cannot create: operation not permitted; run as root")

    def mac(self, netns: str, interface: str) -> str:
        """There is none."""
        raise HostError(f"{interface}: is gone")

    def tear_down(self, routes: Sequence[Route], vlan_id: int) -> None:
        """Fail as a kernel might."""
        raise HostError(f"{routes[0].address}: cannot remove its rule: operation not permitted; run as root")


Answer = Any  # a reply message, or an exception made by `status`


class Refusal(Exception):
    """A gRPC status for the scripted server to end a call with."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


@dataclass
class Node(rpc_pb2_grpc.CNIBackendServicer, rpc_pb2_grpc.NPBackendServicer):
    """ipamd and the network policy agent: answers by script, remembers what it was asked."""

    add: Answer = None
    delete: Answer = None
    enforce: Answer = None
    forget: Answer = None
    trailers: tuple[tuple[str, str], ...] = ()
    asked: list[Any] = field(default_factory=list)
    timeouts: list[float | None] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    hang: bool = False

    def AddNetwork(self, request: Any, context: Any) -> Any:
        """Answer as `add` says."""
        return self._answer(request, context, self.add)

    def DelNetwork(self, request: Any, context: Any) -> Any:
        """Answer as `delete` says."""
        return self._answer(request, context, self.delete)

    def EnforceNpToPod(self, request: Any, context: Any) -> Any:
        """Answer as `enforce` says."""
        return self._answer(request, context, self.enforce)

    def DeletePodNp(self, request: Any, context: Any) -> Any:
        """Answer as `forget` says."""
        return self._answer(request, context, self.forget)

    def _answer(self, request: Any, context: Any, answer: Answer) -> Any:
        self.asked.append(request)
        self.timeouts.append(context.time_remaining())
        if self.hang:
            self.release.wait(30)
        if self.trailers:
            context.set_trailing_metadata(self.trailers)
        if isinstance(answer, Refusal):
            context.abort(answer.code, answer.details)
        return answer


@contextmanager
def serving(node: Node, *addresses: str, threads: int = 4) -> Iterator[list[int]]:
    """Serve `node` at these gRPC addresses; yields their port numbers (1 for Unix sockets)."""
    server = grpc.server(futures.ThreadPoolExecutor(threads))
    rpc_pb2_grpc.add_CNIBackendServicer_to_server(node, server)
    rpc_pb2_grpc.add_NPBackendServicer_to_server(node, server)
    ports = [server.add_insecure_port(address) for address in addresses]
    server.start()
    try:
        yield ports
    finally:
        node.release.set()
        server.stop(0).wait()


def allocation(v4: str = "", v6: str = "", device: int = 2, table: int = 3) -> rpc_pb2.IPAllocationMetadata:
    """One address of a reply."""
    return rpc_pb2.IPAllocationMetadata(IPv4Addr=v4, IPv6Addr=v6, DeviceNumber=device, RouteTableId=table)


def added(*allocations: rpc_pb2.IPAllocationMetadata, **more: Any) -> rpc_pb2.AddNetworkReply:
    """A successful AddNetworkReply."""
    return rpc_pb2.AddNetworkReply(Success=True, IPAllocationMetadata=allocations, **more)


def deleted(*allocations: rpc_pb2.IPAllocationMetadata, **more: Any) -> rpc_pb2.DelNetworkReply:
    """A successful DelNetworkReply."""
    return rpc_pb2.DelNetworkReply(Success=True, IPAllocationMetadata=allocations, **more)


ONE = added(allocation("10.0.1.9"))
