"""A caller of a daemon's gRPC doors, one request at a time, as the plugin is."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import grpc

from ipamd.rpc.rpc_pb2 import AddNetworkReply, AddNetworkRequest, DelNetworkReply, DelNetworkRequest

SERVICE = "/rpc.CNIBackend/"
DEADLINE = 20.0


class Caller:
    """A connection. Errors are `grpc.RpcError`."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address)
        grpc.channel_ready_future(self._channel).result(DEADLINE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._channel.close()

    def add(self, pod: str, **fields: str) -> AddNetworkReply:
        """AddNetwork for a pod."""
        return self.add_with_trailers(pod, **fields)[0]

    def add_with_trailers(self, pod: str, **fields: str) -> tuple[AddNetworkReply, dict[str, str]]:
        """The reply, and the trailing metadata that came with it."""
        request = AddNetworkRequest(K8S_POD_NAME=pod, K8S_POD_NAMESPACE="default")
        words = {"ContainerID": f"container-{pod}"[:64], "IfName": "eth0", "NetworkName": "aws-cni", **fields}
        for name, value in words.items():
            setattr(request, name, value)
        raw, trailers = self.raw("AddNetwork", request.SerializeToString())
        return AddNetworkReply.FromString(raw), trailers

    def address(self, pod: str) -> str:
        """The address that an AddNetwork gives; asserts that it gives one."""
        reply = self.add(pod)
        assert reply.Success, f"no address for {pod}"
        return str(reply.IPAllocationMetadata[0].IPv4Addr)

    def delete(self, pod: str, **fields: str) -> DelNetworkReply:
        """DelNetwork for a pod."""
        request = DelNetworkRequest(
            K8S_POD_NAME=pod, K8S_POD_NAMESPACE="default", ContainerID=f"container-{pod}"[:64], IfName="eth0",
            NetworkName="aws-cni", Reason="PodDeleted", **fields,
        )  # fmt: skip
        return DelNetworkReply.FromString(self.raw("DelNetwork", request.SerializeToString())[0])

    def raw(self, method: str, message: bytes) -> tuple[bytes, dict[str, str]]:
        """Bytes there, bytes and trailing metadata back."""
        call: Any = self._channel.unary_unary(SERVICE + method)
        reply, done = call.with_call(message, timeout=DEADLINE)
        return bytes(reply), {str(key): str(value) for key, value in done.trailing_metadata() or ()}
