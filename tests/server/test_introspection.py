"""Introspection as upstream serves it (HTTP-1..HTTP-10, TV-69)."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession

from ipamd.config import ipamd_env, load, network_env
from ipamd.core import events as ev
from ipamd.core.commands import AddNetwork, DelNetwork
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND, Pod, Sandbox
from ipamd.server.introspection import Introspection, mask, time_text
from ipamd.server.listen import open_http

from .memory import EPOCH, Memory

pytestmark = pytest.mark.asyncio
CART = AddNetwork(Sandbox("aws-cni", "secret-container", "eth0"), Pod("shop", "cart-7c9", 1))


@asynccontextmanager
async def asking(node: Memory) -> AsyncIterator[tuple[ClientSession, str]]:
    """A client and the door's url."""
    config = load({})
    door = await open_http(
        Introspection(
            state=lambda: node.state,
            network_env=lambda: network_env(config),
            ipamd_env=lambda: ipamd_env(config),
        ).application(),
        "127.0.0.1:0",
        "--introspection",
    )
    try:
        async with ClientSession() as session:
            yield session, door.url
    finally:
        await door.close()


async def text_of(node: Memory, path: str, method: str = "GET") -> str:
    """The body of one request that must succeed."""
    async with asking(node) as (session, url), session.request(method, url + path) as reply:
        assert reply.status == 200
        assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
        return await reply.text()


@pytest.mark.spec("HTTP-4..6")
async def test_enis_are_shown_with_upstreams_keys_in_upstreams_order() -> None:
    """The documented example's shape, byte by byte in the order of the keys."""
    node = Memory(Settings(prefix_delegation=True), addresses=("10.9.8.16/28", "10.9.8.77")).ready()
    await node.submit(CART)

    body = await text_of(node, "/v1/enis")

    assert body == (
        '{"0":{"TotalIPs":17,"AssignedIPs":1,"ENIs":{"eni-0":{'
        '"ID":"eni-0","IsPrimary":true,"IsTrunk":false,"IsEFA":false,"DeviceNumber":0,'
        '"AvailableIPv4Cidrs":{'
        '"10.9.8.16/28":{"Cidr":{"IP":"10.9.8.16","Mask":"////8A=="},'
        '"IPAddresses":{"10.9.8.16":{"Address":"10.9.8.16",'
        '"IPAMKey":{"networkName":"aws-cni","containerID":"","ifName":""},'
        '"IPAMMetadata":{"k8sPodNamespace":"shop","k8sPodName":"cart-7c9","interfacesCount":1},'
        '"AssignedTime":"2026-01-01T00:00:00Z","UnassignedTime":"0001-01-01T00:00:00Z"}},'
        '"IsPrefix":true,"AddressFamily":""},'
        '"10.9.8.77/32":{"Cidr":{"IP":"10.9.8.77","Mask":"/////w=="},"IPAddresses":{},"IsPrefix":false,"AddressFamily":""}},'
        '"IPv6Cidrs":{},"IsExcludedForPodIPs":false,"RouteTableID":254,"SubnetID":"subnet-a"}}}}'
    )


@pytest.mark.spec("TV-69", "HTTP-5")
async def test_container_and_interface_are_never_shown() -> None:
    """Blanked, while ENI and address are there; the body is valid JSON."""
    node = Memory(addresses=("10.0.0.5",)).ready()
    await node.submit(CART)

    body = await text_of(node, "/v1/enis")

    assert "secret-container" not in body and "eth0" not in body
    assert "eni-0" in body and "10.0.0.5" in body
    assert json.loads(body)["0"]["AssignedIPs"] == 1


@pytest.mark.spec("DM-5", "DM-8")
async def test_a_cooling_address_is_listed_without_its_pod() -> None:
    """Touched, unassigned; both times are known."""
    node = Memory(addresses=("10.0.0.5",)).ready()
    await node.submit(CART)
    node.now += 90 * SECOND + 120_000_000
    await node.submit(DelNetwork(CART.sandbox))

    shown = json.loads(await text_of(node, "/v1/enis"))["0"]["ENIs"]["eni-0"]["AvailableIPv4Cidrs"]

    assert shown["10.0.0.5/32"]["IPAddresses"]["10.0.0.5"] == {
        "Address": "10.0.0.5",
        "IPAMKey": {"networkName": "", "containerID": "", "ifName": ""},
        "IPAMMetadata": {},
        "AssignedTime": "2026-01-01T00:00:00Z",
        "UnassignedTime": "2026-01-01T00:01:30.12Z",
    }


async def test_letters_of_html_are_escaped_as_go_escapes_them() -> None:
    """A pod's name is a caller's text: it must not become markup in somebody's browser."""
    node = Memory(addresses=("10.0.0.5",)).ready()
    await node.submit(AddNetwork(CART.sandbox, Pod("a&b", "<script>", 1)))

    body = await text_of(node, "/v1/enis")

    assert not re.search("[<>&]", body)
    assert '"\\u003cscript\\u003e"' in body and '"a\\u0026b"' in body


async def test_maps_are_sorted_by_text() -> None:
    """Go's encoder sorts the keys of maps: ENIs, blocks and addresses."""
    node = Memory(addresses=("10.0.0.9", "10.0.0.10")).ready()
    node.tell(ev.EniReady("eni-00", "02:00:00:00:00:02", 1, 2, "subnet-a", "192.168.1.0/24", "192.168.1.20"))

    shown = json.loads(await text_of(node, "/v1/enis"))["0"]["ENIs"]

    assert list(shown) == ["eni-0", "eni-00"]
    assert list(shown["eni-0"]["AvailableIPv4Cidrs"]) == ["10.0.0.10/32", "10.0.0.9/32"]


@pytest.mark.spec("HTTP-2", "HTTP-3")
@pytest.mark.parametrize("path", ["/", "/v1/pods", "/v1/enis/", "/metrics", "/%ff%00?x=<"])
async def test_every_other_path_lists_the_commands(path: str) -> None:
    """The historical /v1/pods too."""
    assert json.loads(await text_of(Memory(), path)) == {
        "AvailableCommands": [
            "/v1/enis",
            "/v1/eni-configs",
            "/v1/networkutils-env-settings",
            "/v1/ipamd-env-settings",
        ]
    }


@pytest.mark.spec("HTTP-2")
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_methods_do_not_matter(method: str) -> None:
    """Methods do not matter."""
    assert (await text_of(Memory().ready(), "/v1/enis", method)).startswith('{"0":{"TotalIPs":1,')


@pytest.mark.spec("HTTP-8", "HTTP-9")
async def test_the_environment_is_shown_under_upstreams_keys() -> None:
    """Sorted keys, numbers and nulls as upstream writes them."""
    assert await text_of(Memory(), "/v1/networkutils-env-settings") == (
        '{"AWS_EXTERNAL_SERVICE_CIDRS":null,"AWS_VPC_CNI_NODE_PORT_SUPPORT":true,"AWS_VPC_ENI_MTU":9001,'
        '"AWS_VPC_K8S_CNI_CONNMARK":128,"AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS":null,'
        '"AWS_VPC_K8S_CNI_EXTERNALSNAT":false,"AWS_VPC_K8S_CNI_RANDOMIZESNAT":2,"AWS_VPC_K8S_CNI_VETHPREFIX":"eni"}'
    )
    assert await text_of(Memory(), "/v1/ipamd-env-settings") == (
        '{"AWS_MANAGE_ENIS_NON_SCHEDULABLE":false,"AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG":false,'
        '"ENABLE_SUBNET_DISCOVERY":true,"WARM_ENI_TARGET":1,"WARM_IP_TARGET":0}'
    )


@pytest.mark.spec("HTTP-7")
async def test_without_a_node_object_there_is_no_eni_config() -> None:
    """404 with the words Not Found."""
    async with asking(Memory()) as (session, url), session.get(f"{url}/v1/eni-configs") as reply:
        assert (reply.status, await reply.text()) == (404, "Not Found")


@pytest.mark.spec("HTTP-1")
async def test_each_request_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """In upstream's words."""
    with caplog.at_level("INFO", logger="ipamd.server.introspection"):
        await text_of(Memory(), "/v1/enis?x=1")

    assert caplog.messages == ["Handling http request: GET, from: 127.0.0.1, URI: /v1/enis?x=1"]


@pytest.mark.spec("HTTP-5")
async def test_masks_and_times_are_gos() -> None:
    """Masks and times are gos."""
    assert [mask(length) for length in (32, 28, 0)] == ["/////w==", "////8A==", "AAAAAA=="]
    assert time_text(0) == "0001-01-01T00:00:00Z"
    assert time_text(EPOCH + 123_456_789) == "2026-01-01T00:00:00.123456789Z"
