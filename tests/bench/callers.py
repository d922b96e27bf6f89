"""Callers of AddNetwork: so many at once over one connection, each with its next pod once the last is answered."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import grpc

from ipamd.rpc import rpc_pb2

SERVICE: Final = rpc_pb2.DESCRIPTOR.services_by_name["CNIBackend"].full_name
_DEADLINE: Final = 30.0


class Calls:
    """What one burst of calls took: seconds of each, in order of their end, and of all together."""

    def __init__(self, each: list[float], wall: float) -> None:
        self.each = each
        self.wall = wall


class Caller:
    """One connection to one server. Requests are encoded before the clock runs, replies are checked after it."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address)
        self._add = self._method("AddNetwork")
        self._delete = self._method("DelNetwork")

    def _method(self, name: str) -> Callable[..., Any]:
        return self._channel.unary_unary(f"/{SERVICE}/{name}")

    async def close(self) -> None:
        """Hang up."""
        await self._channel.close()

    async def add(self, pods: Sequence[int], at_once: int) -> Calls:
        """ADD these pods, `at_once` calls in flight. Raises RuntimeError for one that gets no address."""
        calls, replies = await self._burst(self._add, [add_request(pod) for pod in pods], at_once)
        for pod, reply in zip(pods, replies, strict=True):
            if not rpc_pb2.AddNetworkReply.FromString(reply).Success:
                raise RuntimeError(f"pod {pod} got no address")
        return calls

    async def delete(self, pods: Sequence[int]) -> None:
        """DEL these pods as fast as it goes."""
        await self._burst(self._delete, [delete_request(pod) for pod in pods], 64)

    async def one_reply(self, pod: int) -> bytes:
        """The bytes that an ADD is answered with."""
        reply: bytes = await self._add(add_request(pod), timeout=_DEADLINE)
        return reply

    async def _burst(
        self, method: Callable[..., Any], requests: Sequence[bytes], at_once: int
    ) -> tuple[Calls, list[bytes]]:
        each: list[float] = []
        replies = [b""] * len(requests)
        waiting = iter(range(len(requests)))
        clock = time.perf_counter

        async def one_caller() -> None:
            for number in waiting:
                began = clock()
                replies[number] = await method(requests[number], timeout=_DEADLINE)
                each.append(clock() - began)

        gc.collect()
        began = clock()
        await asyncio.gather(*(one_caller() for _ in range(at_once)))
        return Calls(each, clock() - began), replies


def add_request(pod: int) -> bytes:
    """What the plugin sends for a pod, its fields as long as a real cluster makes them."""
    return rpc_pb2.AddNetworkRequest(
        K8S_POD_NAME=f"web-7d4b9c6f5d-{pod:05}",
        K8S_POD_NAMESPACE="default",
        K8S_POD_INFRA_CONTAINER_ID=f"{pod:064x}",
        ContainerID=f"{pod:064x}",
        IfName="eth0",
        NetworkName="aws-cni",
        Netns=f"/var/run/netns/cni-{pod:08x}-0000-4000-8000-000000000000",
    ).SerializeToString()


def delete_request(pod: int) -> bytes:
    """The plugin's DEL of the same pod."""
    return rpc_pb2.DelNetworkRequest(
        K8S_POD_NAME=f"web-7d4b9c6f5d-{pod:05}",
        K8S_POD_NAMESPACE="default",
        K8S_POD_INFRA_CONTAINER_ID=f"{pod:064x}",
        ContainerID=f"{pod:064x}",
        IfName="eth0",
        NetworkName="aws-cni",
        Reason="PodDeleted",
    ).SerializeToString()
