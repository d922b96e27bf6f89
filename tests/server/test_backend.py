"""AddNetwork, DelNetwork and GetNetworkPolicyConfigs over a real socket (RPC-18..58, TV-60..TV-67)."""

from pathlib import Path

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from ipamd.core import events as ev
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND
from ipamd.rpc.rpc_pb2 import AddNetworkReply, DelNetworkReply, IPAllocationMetadata, NetworkPolicyAgentConfigReply

from .memory import Memory, add_request, config_stub_of, del_request, failure, reason_of, serving, stub_of

pytestmark = pytest.mark.asyncio
UNKNOWN_POD = "1 error occurred:\n\t* datastore: unknown pod\n\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the socket is."""
    return tmp_path / "ipamd.sock"


@pytest.mark.spec("TV-61", "TV-66")
async def test_a_pod_gets_an_address_with_device_and_table(place: Path) -> None:
    """External SNAT; one address, one metadata entry, one request counted."""
    node = Memory().ready()
    node.snat_now = (True, ())
    backend = node.backend()

    async with serving(backend, place) as channel:
        reply = await stub_of(channel).AddNetwork(add_request())

    assert reply == AddNetworkReply(
        Success=True,
        IPAllocationMetadata=[IPAllocationMetadata(IPv4Addr="192.168.1.100", DeviceNumber=0, RouteTableId=254)],
        UseExternalSNAT=True,
        VPCv4CIDRs=["10.10.0.0/16"],
    )
    assert backend.counts.adds == 1


@pytest.mark.spec("TV-62", "RPC-35")
async def test_excluded_cidrs_follow_those_of_the_vpc(place: Path) -> None:
    """Without external SNAT the exclusions are appended; both are read anew on each call."""
    node = Memory(addresses=("192.168.1.100", "192.168.1.101")).ready()
    node.snat_now = (False, ("10.12.0.0/16", "10.13.0.0/16"))

    async with serving(node.backend(), place) as channel:
        first = await stub_of(channel).AddNetwork(add_request())
        node.snat_now, node.vpc_blocks = (True, ("10.12.0.0/16",)), ("10.10.0.0/16", "10.11.0.0/16")
        second = await stub_of(channel).AddNetwork(add_request("other"))

    assert (first.UseExternalSNAT, [*first.VPCv4CIDRs]) == (False, ["10.10.0.0/16", "10.12.0.0/16", "10.13.0.0/16"])
    assert (second.UseExternalSNAT, [*second.VPCv4CIDRs]) == (True, ["10.10.0.0/16", "10.11.0.0/16"])


@pytest.mark.spec("RPC-38", "RPC-55")
async def test_the_policy_mode_is_passed_on_verbatim(place: Path) -> None:
    """The policy mode is passed on verbatim."""
    node = Memory(Settings(network_policy_mode="Strict")).ready()

    async with serving(node.backend(), place) as channel:
        added = await stub_of(channel).AddNetwork(add_request())
        deleted = await stub_of(channel).DelNetwork(del_request())

    assert (added.NetworkPolicyMode, deleted.NetworkPolicyMode) == ("Strict", "Strict")


@pytest.mark.spec("TV-63", "RPC-33")
async def test_without_addresses_the_reply_is_empty_and_the_reason_travels_beside_it(place: Path) -> None:
    """Success=false and nothing else, gRPC OK; reason and remedy in the trailing metadata."""
    node = Memory(Settings(network_policy_mode="strict"), addresses=()).ready()

    async with serving(node.backend(), place) as channel:
        call = stub_of(channel).AddNetwork(add_request())
        reply = await call
        reason = reason_of(await call.trailing_metadata())

    assert reply == AddNetworkReply()
    assert reason.split(":")[0] == "target" and ";" in reason
    assert isinstance(node.records[-1].events[0], ev.AssignRefused)


@pytest.mark.spec("RPC-30")
@pytest.mark.parametrize("field", ["NetworkName", "ContainerID", "IfName"])
async def test_an_empty_part_of_the_key_is_refused(place: Path, field: str) -> None:
    """An empty part of the key is refused."""
    node = Memory().ready()

    async with serving(node.backend(), place) as channel:
        call = stub_of(channel).AddNetwork(add_request(**{field: ""}))
        reply = await call
        reason = reason_of(await call.trailing_metadata())

    assert reply == AddNetworkReply()
    assert reason.startswith("invalid: ") and field in reason


@pytest.mark.spec("TV-64", "RPC-29")
async def test_several_interfaces_are_refused_while_multi_nic_is_off(place: Path) -> None:
    """Several interfaces are refused while multi nic is off."""
    node = Memory().ready()

    async with serving(node.backend(), place) as channel:
        call = stub_of(channel).AddNetwork(add_request(RequiresMultiNICAttachment=True))
        reply = await call

        assert reply == AddNetworkReply()
        assert "ENABLE_MULTI_NIC" in reason_of(await call.trailing_metadata())


@pytest.mark.parametrize("field", ["K8S_POD_NAME", "Netns", "ContainerID"])
async def test_a_field_of_a_megabyte_is_refused_by_name_and_the_door_goes_on(place: Path, field: str) -> None:
    """A field over 4 KiB: upstream's refusal, the field in the reason, and a record that does not carry it."""
    node = Memory().ready()

    async with serving(node.backend(), place) as channel:
        call = stub_of(channel).AddNetwork(add_request(**{field: "ü" * 500_000}))
        reply = await call
        reason = reason_of(await call.trailing_metadata())
        after = await stub_of(channel).AddNetwork(add_request())

    assert reply == AddNetworkReply()
    assert reason.startswith(f"invalid: {field} has 1000000 bytes, at most 4096 are taken")
    (refused,) = node.records[2].events
    assert isinstance(refused, ev.AssignRefused) and refused.reason == "invalid" and len(refused.pod.name) < 300
    assert after.Success


async def test_fields_of_exactly_four_kib_are_taken(place: Path) -> None:
    """The bound is on one field, not on the request."""
    node = Memory().ready()

    async with serving(node.backend(), place) as channel:
        reply = await stub_of(channel).AddNetwork(add_request(K8S_POD_NAME="p" * 4096, Netns="n" * 4096))

    assert reply.Success


@pytest.mark.spec("TV-60", "RPC-18", "RPC-19")
async def test_the_wrong_client_version_is_rejected_but_counted(place: Path) -> None:
    """FAILED_PRECONDITION with both versions; nothing is recorded."""
    node = Memory().ready()
    backend = node.backend(version="1.2.3")
    records = len(node.records)

    async with serving(backend, place) as channel:
        added = await failure(stub_of(channel).AddNetwork(add_request(ClientVersion="1.2.4")))
        deleted = await failure(stub_of(channel).DelNetwork(del_request(ClientVersion="1.2.4")))
        right = await failure(stub_of(channel).DelNetwork(del_request(ClientVersion="1.2.3")))

    assert added[:2] == (grpc.StatusCode.FAILED_PRECONDITION, 'wrong client version "1.2.4" (!= "1.2.3")')
    assert deleted[:2] == added[:2]
    assert right[:2] == (grpc.StatusCode.UNKNOWN, UNKNOWN_POD)
    assert (backend.counts.adds, backend.counts.deletes, len(node.records)) == (1, {"PodDeleted": 2}, records)


@pytest.mark.spec("RPC-20")
async def test_a_stock_plugin_without_a_version_is_welcome(place: Path) -> None:
    """Shipped plugins send nothing; another version is refused by default."""
    node = Memory().ready()

    async with serving(node.backend(), place) as channel:
        assert (await stub_of(channel).AddNetwork(add_request())).Success
        code, text, _ = await failure(stub_of(channel).AddNetwork(add_request(ClientVersion="v1" * 1000)))

    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert text.endswith('..." (!= "")') and len(text) < 400


@pytest.mark.spec("RPC-45", "RPC-55", "RPC-43")
async def test_a_released_address_is_named_in_the_reply(place: Path) -> None:
    """The reason is counted verbatim."""
    node = Memory().ready()
    backend = node.backend()

    async with serving(backend, place) as channel:
        await stub_of(channel).AddNetwork(add_request())
        reply = await stub_of(channel).DelNetwork(del_request(Reason="SetupNSFailed"))

    assert reply == DelNetworkReply(
        Success=True,
        IPAllocationMetadata=[IPAllocationMetadata(IPv4Addr="192.168.1.100", DeviceNumber=0, RouteTableId=254)],
    )
    assert backend.counts.deletes == {"SetupNSFailed": 1}


@pytest.mark.spec("RPC-46")
async def test_an_unknown_pod_is_an_error_that_the_plugin_knows(place: Path) -> None:
    """Status UNKNOWN and the multierror text, byte by byte; also for keys that no ADD would take."""
    node = Memory().ready()
    records = len(node.records)

    async with serving(node.backend(), place) as channel:
        absent = await failure(stub_of(channel).DelNetwork(del_request("absent")))
        empty = await failure(stub_of(channel).DelNetwork(del_request("")))
        long = await failure(stub_of(channel).DelNetwork(del_request("c" * 1_000_000)))

    assert absent == empty == (grpc.StatusCode.UNKNOWN, UNKNOWN_POD, "")
    assert long[:2] == absent[:2] and long[2].startswith("invalid: ContainerID has 1000000 bytes")
    assert len(node.records) == records


@pytest.mark.spec("DM-30")
async def test_a_repeated_add_gets_the_same_address_and_makes_no_record(place: Path) -> None:
    """DM-30 seen from the wire."""
    node = Memory().ready()

    async with serving(node.backend(), place) as channel:
        first = await stub_of(channel).AddNetwork(add_request())
        records = len(node.records)
        second = await stub_of(channel).AddNetwork(add_request())

    assert first == second
    assert len(node.records) == records


@pytest.mark.spec("DM-28")
async def test_a_cooling_address_is_the_reason_of_a_refusal(place: Path) -> None:
    """After 30 s the same address is free again."""
    node = Memory().ready()

    async with serving(node.backend(), place) as channel:
        await stub_of(channel).AddNetwork(add_request())
        await stub_of(channel).DelNetwork(del_request())
        call = stub_of(channel).AddNetwork(add_request("next"))
        refused, reason = await call, reason_of(await call.trailing_metadata())
        node.now += 31 * SECOND
        later = await stub_of(channel).AddNetwork(add_request("next"))

    assert not refused.Success and reason.startswith("cooldown: 1 address still cools")
    assert later.IPAllocationMetadata[0].IPv4Addr == "192.168.1.100"


@pytest.mark.spec("RPC-37")
async def test_a_metadata_failure_ends_the_call_but_keeps_the_address(place: Path) -> None:
    """UNKNOWN with the failure's text; the retry gets the same address."""
    node = Memory().ready()
    node.vpc_blocks = OSError("GetVPCIPv4CIDRBlocks: no answer from instance metadata")

    async with serving(node.backend(), place) as channel:
        code, text, _ = await failure(stub_of(channel).AddNetwork(add_request()))
        node.vpc_blocks = ("10.10.0.0/16",)
        retry = await stub_of(channel).AddNetwork(add_request())

    assert (code, text) == (grpc.StatusCode.UNKNOWN, "GetVPCIPv4CIDRBlocks: no answer from instance metadata")
    assert retry.IPAllocationMetadata[0].IPv4Addr == "192.168.1.100"


async def test_a_journal_that_cannot_record_makes_the_door_unavailable(place: Path) -> None:
    """Nothing is answered that is not durable; the text says what failed."""
    node = Memory().ready()
    node.failure = OSError("journal/7.jsonl: fsync failed: No space left on device (ENOSPC); free some space")

    async with serving(node.backend(), place) as channel:
        added = await failure(stub_of(channel).AddNetwork(add_request()))
        deleted = await failure(stub_of(channel).DelNetwork(del_request()))

    assert added[0] is deleted[0] is grpc.StatusCode.UNAVAILABLE
    assert added[1].startswith("AddNetwork could not be recorded: journal/7.jsonl: fsync failed")


@pytest.mark.spec("RPC-6")
async def test_before_node_init_has_ended_nothing_is_given(place: Path) -> None:
    """RPC-6 keeps the door shut until then; should one knock all the same, it is told to come back."""
    node = Memory()

    async with serving(node.backend(), place) as channel:
        code, text, _ = await failure(stub_of(channel).AddNetwork(add_request()))

    assert code is grpc.StatusCode.UNAVAILABLE and "not ready" in text


async def test_bytes_that_are_no_message_are_rejected_by_name(place: Path) -> None:
    """INTERNAL as from grpc-go, with the message's name; uncounted, and the door goes on."""
    node = Memory().ready()
    backend = node.backend()

    async with serving(backend, place) as channel:
        raw: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/rpc.CNIBackend/AddNetwork")
        code, text, _ = await failure(raw(b"\xff\xff\xff"))
        bad_utf8 = await failure(raw(b"\x0a\x02\xff\xfe"))
        after = await stub_of(channel).AddNetwork(add_request())

    assert code is bad_utf8[0] is grpc.StatusCode.INTERNAL
    assert text.startswith("rpc.AddNetworkRequest of 3 bytes: ")
    assert after.Success and backend.counts.adds == 1


@pytest.mark.spec("TV-67", "RPC-58")
async def test_policy_configs_come_from_the_start(place: Path) -> None:
    """The client's version does not matter."""
    node = Memory(Settings(network_policy_mode="standard")).ready()

    async with serving(node.backend(version="1.2.3"), place) as channel:
        reply = await config_stub_of(channel).GetNetworkPolicyConfigs(Empty())

    assert reply == NetworkPolicyAgentConfigReply(
        NetworkPolicyMode="standard",
        MultiNICEnabled=False,
        NodeIPv4="192.168.1.10",
        InstanceID="i-0123456789abcdef0",
        Region="us-west-2",
    )


@pytest.mark.spec("RPC-43")
async def test_reasons_of_releases_have_a_bound(place: Path) -> None:
    """Verbatim, but a caller cannot fill the memory with label values."""
    node = Memory().ready()
    backend = node.backend()

    async with serving(backend, place) as channel:
        stub = stub_of(channel)
        for number in range(40):
            await failure(stub.DelNetwork(del_request(Reason=f"reason {number}")))
        await failure(stub.DelNetwork(del_request(Reason="r" * 1000)))

    assert len(backend.counts.deletes) == 33 and backend.counts.deletes["other"] == 9
