"""Pods that come and go on a real daemon, and what their callers know of it afterwards."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import grpc
import msgspec

from ipamd.rpc.rpc_pb2 import AddNetworkReply, AddNetworkRequest, DelNetworkReply, DelNetworkRequest
from ipamd.rpc.rpc_pb2_grpc import CNIBackendStub

NETWORK = "aws-cni"
WORKERS = 8
PODS_EACH = 8
COOLDOWN = 1
"""Seconds (IP_COOLDOWN_PERIOD of the daemon under test)."""


class Known(msgspec.Struct):
    """What is known of one sandbox: the address it holds, and what was asked without an answer."""

    address: str = ""
    asked: str = ""
    """`add` or `del` if the last request was not answered."""


class Ledger:
    """All sandboxes of all rounds, and the releases whose addresses must rest."""

    def __init__(self) -> None:
        self.pods: dict[str, Known] = {}
        self.released: dict[str, float] = {}
        """Address -> when its last answered release was asked for (monotonic seconds)."""
        self.answered = 0
        self.faults: list[str] = []

    def added(self, pod: str, address: str) -> None:
        """An ADD was answered."""
        known = self.pods.setdefault(pod, Known())
        if known.address and known.address != address:
            self.faults.append(f"{pod} holds {known.address}, a repeated ADD gave it {address}")
        holder = next((p for p, k in self.pods.items() if k.address == address and p != pod and not k.asked), None)
        if holder is not None:
            self.faults.append(f"{address} was given to {pod} while {holder} holds it")
        since = time.monotonic() - self.released.get(address, -1e9)
        if not known.address and since <= COOLDOWN:
            self.faults.append(
                f"{address} was given to {pod} {since:.3f} s after its release: it must cool {COOLDOWN} s"
            )
        self.pods[pod] = Known(address)
        self.answered += 1

    def deleted(self, pod: str, asked_at: float) -> None:
        """A DEL was answered."""
        address = self.pods.pop(pod).address
        self.released[address] = asked_at
        self.answered += 1

    def unanswered(self, pod: str, verb: str) -> None:
        """Nobody knows."""
        self.pods.setdefault(pod, Known()).asked = verb

    def compare(self, held: dict[str, str]) -> None:
        """Against what a fresh daemon says is held (pod -> address); settles what was unknown."""
        for pod, known in list(self.pods.items()):
            has = held.get(pod, "")
            may = {"": (known.address,), "add": (known.address or has,), "del": ("", known.address)}[known.asked]
            if has not in may:
                self.faults.append(f"{pod} held {known.address!r}, unanswered: {known.asked!r}; now it holds {has!r}")
            if has:
                self.pods[pod] = Known(has)
            else:
                del self.pods[pod]
        for pod in sorted(held.keys() - self.pods.keys()):
            self.faults.append(f"{pod} holds {held[pod]}, but its DEL was answered or it was never asked for")
        doubled = sorted({a for a in held.values() if list(held.values()).count(a) > 1})
        if doubled:
            self.faults.append(f"held twice: {doubled}")


def held(enis: Any) -> dict[str, str]:
    """Pod -> address of `/v1/enis`; the pod's name is the only key that introspection does not blank (HTTP-5)."""
    found: dict[str, str] = {}
    for store in enis.values():
        for eni in store["ENIs"].values():
            for block in eni["AvailableIPv4Cidrs"].values():
                for address in block["IPAddresses"].values():
                    pod = address["IPAMMetadata"].get("k8sPodName", "")
                    if address["IPAMKey"]["networkName"]:
                        assert pod not in found, f"{pod} holds {found[pod]} and {address['Address']}"
                        found[pod] = address["Address"]
    return found


async def add(stub: CNIBackendStub, pod: str) -> AddNetworkReply:
    """AddNetwork for a pod."""
    request = AddNetworkRequest(
        K8S_POD_NAME=pod, K8S_POD_NAMESPACE="crash", ContainerID=pod, IfName="eth0", NetworkName=NETWORK
    )
    reply: AddNetworkReply = await stub.AddNetwork(request, timeout=20)  # type: ignore[misc]
    return reply


async def delete(stub: CNIBackendStub, pod: str) -> DelNetworkReply:
    """DelNetwork for a pod."""
    request = DelNetworkRequest(
        K8S_POD_NAME=pod, K8S_POD_NAMESPACE="crash", ContainerID=pod, IfName="eth0", NetworkName=NETWORK,
        Reason="PodDeleted",
    )  # fmt: skip
    reply: DelNetworkReply = await stub.DelNetwork(request, timeout=20)  # type: ignore[misc]
    return reply


async def worker(stub: CNIBackendStub, ledger: Ledger, number: int, chance: random.Random) -> None:
    """Adds, repeats and deletes pods of its own until the daemon is gone."""
    while True:
        pod = f"w{number}-{chance.randrange(PODS_EACH)}"
        known = ledger.pods.get(pod)
        verb = "add" if known is None or chance.random() < 0.2 else "del"
        asked_at = time.monotonic()
        try:
            if verb == "add":
                reply = await add(stub, pod)
                if reply.Success:
                    ledger.added(pod, reply.IPAllocationMetadata[0].IPv4Addr)
                else:
                    await asyncio.sleep(0.01)  # the pool is low: as a kubelet would, later
            else:
                await delete(stub, pod)
                ledger.deleted(pod, asked_at)
        except grpc.aio.AioRpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                ledger.faults.append(f"{verb} of {pod}: {error.code()}: {error.details()}")
            ledger.unanswered(pod, verb)
            return


async def load(address: str, ledger: Ledger, seed: int, begun: asyncio.Event) -> None:
    """All workers until the daemon is gone; `begun` once they are connected."""
    async with grpc.aio.insecure_channel(address) as channel:
        await channel.channel_ready()
        begun.set()
        stub = CNIBackendStub(channel)
        chances = [random.Random(f"{seed}/{number}") for number in range(WORKERS)]
        await asyncio.gather(*(worker(stub, ledger, n, chance) for n, chance in enumerate(chances)))


async def add_again(address: str, ledger: Ledger) -> None:
    """A repeated ADD of every known pod must give the address it holds (DM-30)."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = CNIBackendStub(channel)
        for pod, known in list(ledger.pods.items()):
            reply = await add(stub, pod)
            got = reply.IPAllocationMetadata[0].IPv4Addr if reply.Success else "nothing"
            if got != known.address:
                ledger.faults.append(f"{pod} holds {known.address}, a repeated ADD gave it {got}")
