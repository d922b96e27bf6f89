"""The metrics that users asked upstream for, and what holds of every family."""

from __future__ import annotations

import time
from pathlib import Path

import grpc
import pytest

from ipamd.cli.sights import free_space
from ipamd.core import events as ev
from ipamd.core.commands import AddNetwork, DelNetwork
from ipamd.core.reasons import REASONS
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND, Pod, Sandbox
from ipamd.ec2.embedded import CloudOptions, EmbeddedCloud
from ipamd.server.counts import REJECTED, RequestCounts
from ipamd.server.exposition import render
from ipamd.server.metrics import Metrics, Subnets

from .memory import Memory, add_request, failure, serving, stub_of
from .test_metrics import TYPES, Scrape

OURS = {
    "ipamd_add_duration_seconds": "histogram",
    "ipamd_cooling_ip_addresses": "gauge",
    "ipamd_journal_lag_seconds": "gauge",
    "ipamd_refusals_total": "counter",
    "ipamd_subnet_free_addresses": "gauge",
    "ipamd_subnet_free_prefixes": "gauge",
}


def watched(
    settings: Settings | None = None, *addresses: str, subnets: Subnets | None = None
) -> tuple[Memory, Metrics]:
    """A ready node whose records feed metrics, with its clock."""
    node = Memory(settings, addresses=addresses or ("10.0.0.5", "10.0.0.6"))
    metrics = Metrics(lambda: node.state, RequestCounts(), now=lambda: node.now, lag=lambda: 1.5, subnets=subnets)
    node.subscribers.append(metrics.on_record)
    return node.ready(), metrics


def web(number: int) -> AddNetwork:
    """The request of pod web-`number`."""
    return AddNetwork(Sandbox("aws-cni", f"c{number}", "eth0"), Pod("shop", f"web-{number}", 1))


@pytest.mark.spec("HTTP-21")
def test_every_family_is_announced_from_the_first_scrape_on() -> None:
    """HELP and TYPE are there before anything has happened, so that a dashboard finds the names."""
    scrape = Scrape(Metrics(lambda: Memory().state, RequestCounts()))

    announced = {name: kind for name, kind in scrape.types.items() if name.startswith(("awscni_", "ipamd_"))}
    helped = [line.split()[2] for line in scrape.text.splitlines() if line.startswith("# HELP")]
    assert announced == TYPES | OURS
    assert sorted(set(helped)) == sorted(helped) == sorted(scrape.types)


@pytest.mark.spec("DM-8")
@pytest.mark.asyncio
async def test_cooling_addresses_are_counted_until_they_have_cooled() -> None:
    """Inclusive of the thirtieth second."""
    node, metrics = watched()
    await node.submit(web(1))
    await node.submit(web(2))
    await node.submit(DelNetwork(web(1).sandbox))
    node.now += 10 * SECOND
    await node.submit(DelNetwork(web(2).sandbox))

    counts = []
    for seconds in (0, 20, 1, 9, 1):
        node.now += seconds * SECOND
        counts.append(Scrape(metrics)["ipamd_cooling_ip_addresses"])

    assert counts == [2, 2, 1, 1, 0]


@pytest.mark.asyncio
async def test_each_answer_to_add_is_timed(tmp_path: Path) -> None:
    """Refused ones and those of a wrong version too; DelNetwork is not AddNetwork."""
    node = Memory(addresses=("10.0.0.5",)).ready()
    backend = node.backend()
    metrics = Metrics(lambda: node.state, backend.counts)
    async with serving(backend, tmp_path / "s") as channel:
        stub = stub_of(channel)
        await stub.AddNetwork(add_request("a"))
        await stub.AddNetwork(add_request("b"))
        await failure(stub.AddNetwork(add_request("c", ClientVersion="v9")))

    scrape = Scrape(metrics)

    name = "ipamd_add_duration_seconds"
    assert scrape[f"{name}_count"] == scrape[f"{name}_bucket", {"le": "+Inf"}] == 3
    assert 0 < scrape[f"{name}_sum"] < 3
    assert scrape[f"{name}_bucket", {"le": "10"}] == 3


@pytest.mark.spec("RPC-18", "RPC-37")
@pytest.mark.asyncio
async def test_requests_that_leave_no_record_are_refusals_too(tmp_path: Path) -> None:
    """Node init, the disk, bytes that are no message: each under a reason of its own."""
    node = Memory(addresses=("10.0.0.5",))
    backend = node.backend()
    metrics = Metrics(lambda: node.state, backend.counts)
    async with serving(backend, tmp_path / "s") as channel:
        stub = stub_of(channel)
        await failure(stub.AddNetwork(add_request("a")))
        node.ready()
        await failure(stub.AddNetwork(add_request("a", ClientVersion="v9")))
        node.vpc_blocks = OSError("no metadata")
        await failure(stub.AddNetwork(add_request("a")))
        node.failure = OSError("disk full")
        await failure(stub.AddNetwork(add_request("b")))
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary("/rpc.CNIBackend/AddNetwork", request_serializer=bytes)(b"\xff\xff\xff")

    scrape = Scrape(metrics)

    assert {reason: scrape["ipamd_refusals_total", {"reason": reason}] for reason in REJECTED} == dict.fromkeys(
        REJECTED, 1
    )
    assert scrape["awscni_add_ip_req_count"] == 4  # HTTP-21: the one that is no message never was a request


def test_every_reason_is_there_at_zero() -> None:
    """A rate needs the zero before the first refusal; no reason stands twice."""
    scrape = Scrape(watched()[1])

    shown = {key[1]: value for key, value in scrape.series.items() if key[0] == "ipamd_refusals_total"}
    assert shown == {("reason", reason): 0 for reason in (*REASONS, *REJECTED)}
    assert len(shown) == len(REASONS) + len(REJECTED)


def test_the_lag_of_the_journal_is_shown() -> None:
    """What is decided and not yet on disk grows old where the disk is slow."""
    assert Scrape(watched()[1])["ipamd_journal_lag_seconds"] == 1.5


@pytest.mark.asyncio
async def test_the_subnet_is_shown_where_the_cloud_is_our_model(tmp_path: Path) -> None:
    """A /24: 256 addresses, five reserved, one of the primary ENI; its block and the last one are not whole."""
    cloud = EmbeddedCloud.open(tmp_path, CloudOptions(instance_type="t3.small", subnet="10.0.0.0/24"))
    try:
        (subnet,) = cloud.vpc.subnets
        scrape = Scrape(watched(subnets=free_space(cloud))[1])
    finally:
        await cloud.close()

    assert scrape["ipamd_subnet_free_addresses", {"subnet": subnet}] == 250
    assert scrape["ipamd_subnet_free_prefixes", {"subnet": subnet}] == 14


def test_elsewhere_the_subnet_is_announced_and_has_no_series() -> None:
    """EC2 tells how many addresses are free, never how many blocks."""
    scrape = Scrape(watched()[1])

    assert scrape.types["ipamd_subnet_free_prefixes"] == "gauge"
    assert "ipamd_subnet_free_prefixes{" not in scrape.text


def test_a_scrape_costs_the_same_for_each_series() -> None:
    """1,000 and 10,000 blocks with a pod each: the time by series is the same; the half above allows for noise."""

    def of(blocks: int) -> tuple[Metrics, int]:
        addresses = [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in range(blocks)]
        node, metrics = watched(None, *addresses)
        node.tell(
            *(
                ev.AddressAssigned(address, "eni-0", f"{address}/32", Sandbox("n", address, "eth0"))
                for address in addresses
            )
        )
        return metrics, blocks

    def seconds(metrics: Metrics) -> float:
        began = time.process_time()
        render(metrics.collect())
        return time.process_time() - began

    small, large = of(1000), of(10_000)
    best_small = min(seconds(small[0]) for _ in range(8)) / small[1]
    best_large = min(seconds(large[0]) for _ in range(4)) / large[1]

    assert best_large < 1.5 * best_small
