"""What the doors say on nodes with IPv6, and on nodes with several network cards."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from ipamd.core import events as ev
from ipamd.core.commands import AddNetwork, DelNetwork
from ipamd.core.settings import Quirks, Settings
from ipamd.core.types import Pod, Sandbox
from ipamd.rpc.rpc_pb2 import AddNetworkReply, DelNetworkRequest, IPAllocationMetadata
from ipamd.server.counts import RequestCounts
from ipamd.server.introspection import enis, mask
from ipamd.server.metrics import Metrics

from .memory import NODE, Memory, add_request, config_stub_of, serving, stub_of

pytestmark = pytest.mark.asyncio

V6 = Settings(ipv6=True, prefix_delegation=True)
BLOCK = "2001:db8::/64"
KEY = Sandbox("net0", "cid", "eni")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the socket goes."""
    return tmp_path / "ipamd.sock"


def six(settings: Settings = V6) -> Memory:
    """An IPv6 node with one block on its primary ENI."""
    node = Memory(settings, addresses=(BLOCK,)).ready()
    node.vpc_blocks = ("2001:db8::/56",)
    node.snat_now = (True, ("10.12.0.0/16",))
    return node


def carded(second: Iterable[str], settings: Settings | None = None) -> Memory:
    """Two network cards with an ENI each; the second one holds these addresses."""
    node = Memory(settings or Settings(multi_nic=True)).ready()
    node.tell(
        ev.CardsManaged((0, 1)),
        ev.EniReady("eni-1", "02:00:00:00:00:02", 0, 10100, "subnet-a", "192.168.1.0/24", "192.168.1.9", card=1),
        *[ev.CidrAdded("eni-1", f"{address}/32") for address in second],
    )
    return node


@pytest.mark.spec("TV-65", "RPC-34", "RPC-36", "V6-9")
async def test_an_ipv6_pod_gets_the_vpcs_ipv6_blocks(place: Path) -> None:
    """Only the IPv6 fields are filled, and there is no SNAT, whatever the variables say."""
    async with serving(six().backend(), place) as channel:
        reply = await stub_of(channel).AddNetwork(add_request())

    held = IPAllocationMetadata(IPv6Addr="2001:db8::", DeviceNumber=0, RouteTableId=254)
    assert reply == AddNetworkReply(Success=True, IPAllocationMetadata=[held], VPCv6CIDRs=["2001:db8::/56"])


@pytest.mark.spec("TV-65", "DM-23")
async def test_ipv6_without_a_prefix_is_no_address(place: Path) -> None:
    """Success is false, as for IPv4."""
    node = Memory(V6, addresses=()).ready()

    async with serving(node.backend(), place) as channel:
        assert await stub_of(channel).AddNetwork(add_request()) == AddNetworkReply()


@pytest.mark.spec("RPC-45", "RPC-55")
async def test_a_released_ipv6_address_is_in_its_field(place: Path) -> None:
    """And the IPv4 field is empty."""
    async with serving(six().backend(), place) as channel:
        stub = stub_of(channel)
        await stub.AddNetwork(add_request())
        reply = await stub.DelNetwork(DelNetworkRequest(ContainerID="cid", IfName="eni", NetworkName="net0"))

    assert [(held.IPv4Addr, held.IPv6Addr) for held in reply.IPAllocationMetadata] == [("", "2001:db8::")]


@pytest.mark.spec("RPC-58", "TV-67")
@pytest.mark.parametrize(
    ("settings", "four", "six_", "multi"),
    [
        (Settings(), NODE.primary_ip, "", False),
        (V6, "", NODE.primary_ip6, False),
        (Settings(multi_nic=True), NODE.primary_ip, "", True),
    ],
)
async def test_the_policy_agent_learns_of_family_and_cards(
    place: Path, settings: Settings, four: str, six_: str, multi: bool
) -> None:
    """The node's address in the active family alone."""
    node = Memory(settings).ready()

    async with serving(node.backend(), place) as channel:
        reply = await config_stub_of(channel).GetNetworkPolicyConfigs(Empty())

    assert (reply.NodeIPv4, reply.NodeIPv6, reply.MultiNICEnabled) == (four, six_, multi)


@pytest.mark.spec("RPC-29", "RPC-31", "RPC-34", "RPC-44", "RPC-45")
async def test_a_multi_nic_pod_gets_and_gives_back_an_address_of_each_card(place: Path) -> None:
    """One entry each, in the order of the cards."""
    node = carded(["192.168.1.200"])
    entries = [("192.168.1.100", 0, 254), ("192.168.1.200", 0, 10100)]

    async with serving(node.backend(), place) as channel:
        stub = stub_of(channel)
        added = await stub.AddNetwork(add_request(RequiresMultiNICAttachment=True))
        gone = await stub.DelNetwork(DelNetworkRequest(ContainerID="cid", IfName="eni", NetworkName="net0"))

    for reply in (added, gone):
        assert reply.Success
        assert [(h.IPv4Addr, h.DeviceNumber, h.RouteTableId) for h in reply.IPAllocationMetadata] == entries


@pytest.mark.spec("RPC-33", "RPC-56", "TV-63")
async def test_a_card_without_an_address_refuses_the_whole_pod(place: Path) -> None:
    """No metadata; the release frees what the first card gave, and calls the pod unknown."""
    node = carded([])

    async with serving(node.backend(), place) as channel:
        stub = stub_of(channel)
        reply = await stub.AddNetwork(add_request(RequiresMultiNICAttachment=True))
        held = len(node.state.stores[0].owners)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.DelNetwork(DelNetworkRequest(ContainerID="cid", IfName="eni", NetworkName="net0"))

    assert reply == AddNetworkReply() and held == 1
    assert raised.value.code() is grpc.StatusCode.UNKNOWN
    assert raised.value.details() == "1 error occurred:\n\t* datastore: unknown pod\n\n"
    assert not node.state.stores[0].owners


@pytest.mark.spec("RPC-40", "RPC-57")
async def test_under_the_quirk_success_may_be_empty(place: Path) -> None:
    """Cards 0 and 2: upstream's last store is never met."""
    quirks = Quirks(last_store_by_index=True)
    node = Memory(Settings(multi_nic=True, quirks=quirks), addresses=()).ready()
    node.tell(ev.CardsManaged((0, 2)))

    async with serving(node.backend(), place) as channel:
        stub = stub_of(channel)
        added = await stub.AddNetwork(add_request())
        gone = await stub.DelNetwork(DelNetworkRequest(ContainerID="x", IfName="eni", NetworkName="net0"))

    assert (added.Success, len(added.IPAllocationMetadata)) == (True, 0)
    assert (gone.Success, len(gone.IPAllocationMetadata)) == (True, 0)


@pytest.mark.spec("HTTP-4", "HTTP-5", "TV-69")
async def test_introspection_shows_cards_and_ipv6_blocks() -> None:
    """Keyed by card; a /80's mask is 16 bytes, and its key stands under IPv6Cidrs."""
    node = six()
    await node.submit(AddNetwork(KEY, Pod("default", "web", 1)))

    shown = enis(node.state)
    (eni,) = shown["0"]["ENIs"].values()

    assert eni["AvailableIPv4Cidrs"] == {}
    assert list(eni["IPv6Cidrs"]) == [BLOCK] and list(eni["IPv6Cidrs"][BLOCK]["IPAddresses"]) == ["2001:db8::"]
    assert mask(80, 128) == "/////////////wAAAAAAAA=="
    assert list(enis(carded(["192.168.1.200"]).state)) == ["0", "1"]
    assert "cid" not in json.dumps(shown, default=str)


@pytest.mark.spec("DM-26", "HTTP-21")
@pytest.mark.parametrize(("sinks", "pods"), [(False, 1.0), (True, -1.0)])
async def test_the_gauge_of_pods_per_ipv6_block(sinks: bool, pods: float) -> None:
    """Two came and one went: upstream counts the releases alone. /80s are no IPv4 prefixes (DM-14)."""
    node = six(Settings(ipv6=True, prefix_delegation=True, quirks=Quirks(ipv6_block_gauge_sinks=sinks)))
    metrics = Metrics(lambda: node.state, RequestCounts())
    node.subscribers.append(metrics.on_record)
    other = Sandbox("net0", "other", "eni")
    for key in (KEY, other):
        await node.submit(AddNetwork(key, Pod("default", "web", 1)))
    await node.submit(DelNetwork(other, "PodDeleted"))

    shown = {(s.name, s.labels.get("cidr")): s.value for family in metrics.collect() for s in family.samples}

    assert shown["awscni_assigned_ip_per_cidr", BLOCK] == pods
    assert shown["awscni_total_ipv4_prefixes", None] == 0
