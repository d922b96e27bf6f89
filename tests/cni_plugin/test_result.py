"""The result of ADD in each version of the protocol (RPC-59)."""

import json
from typing import Any

import pytest

from cni_plugin.host import Branch, Link
from cni_plugin.result import render

NETNS = "/var/run/netns/cni-x"
LINK = Link("eni0a1b2c3d4e5", "eth0", "10.0.1.9/32", table=3, device=2)
SECOND = Link("enie48ae9c2f34", "mNicIf1", "10.1.1.9/32", table=10101, device=1)
LINK_V6 = Link("eni0a1b2c3d4e5", "eth0", "fd00::9/128", table=254, device=0)
BRANCH_LINK = Link("vlan0a1b2c3d4e5", "eth0", "10.0.2.9/32", table=0, device=-1)
BRANCH = Branch(5, "02:c3:46:52:cb:57", "10.0.2.1", 7, "strict")

INTERFACES = [
    {"name": "eni0a1b2c3d4e5"},
    {"name": "eth0", "mac": "3", "sandbox": NETNS},
    {"name": "dummy0a1b2c3d4e5", "mac": "0", "sandbox": "2"},
]


def rendered(version: str, *links: Link, branch: Branch | None = None) -> tuple[str, Any]:
    """The text and the document."""
    text = render(version, links, branch, "dummy0a1b2c3d4e5", NETNS)
    return text, json.loads(text)


@pytest.mark.parametrize("version", ["0.3.0", "0.3.1", "0.4.0"])
def test_middle_versions_name_the_family_and_end_with_dns(version: str) -> None:
    """Key order as the structures upstream have it; four blanks of indent."""
    text, document = rendered(version, LINK)

    assert document == {
        "cniVersion": version,
        "interfaces": INTERFACES,
        "ips": [{"version": "4", "interface": 1, "address": "10.0.1.9/32"}],
        "dns": {},
    }
    assert list(document) == ["cniVersion", "interfaces", "ips", "dns"]
    assert list(document["ips"][0]) == ["version", "interface", "address"]
    assert text.startswith('{\n    "cniVersion"')


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
def test_new_versions_have_sorted_keys_and_no_family_nor_dns(version: str) -> None:
    """Sorted all the way down, as a marshaller of maps does it."""
    _, document = rendered(version, LINK)

    assert document == {
        "cniVersion": version,
        "interfaces": INTERFACES,
        "ips": [{"address": "10.0.1.9/32", "interface": 1}],
    }
    assert list(document) == ["cniVersion", "interfaces", "ips"]
    assert list(document["interfaces"][1]) == ["mac", "name", "sandbox"]
    assert list(document["ips"][0]) == ["address", "interface"]


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_oldest_versions_have_one_address_of_each_family(version: str) -> None:
    """Interfaces are lost, and with them the numbers for DEL."""
    _, document = rendered(version, LINK, SECOND)
    _, both = rendered(version, LINK_V6, SECOND)

    assert document == {"cniVersion": version, "ip4": {"ip": "10.0.1.9/32"}, "dns": {}}
    assert both == {
        "cniVersion": version,
        "ip4": {"ip": "10.1.1.9/32"},
        "ip6": {"ip": "fd00::9/128"},
        "dns": {},
    }


def test_family_six_is_named() -> None:
    """By the address alone."""
    _, document = rendered("0.4.0", LINK_V6)

    assert document["ips"] == [{"version": "6", "interface": 1, "address": "fd00::9/128"}]
    assert document["interfaces"][2] == {"name": "dummy0a1b2c3d4e5", "mac": "0", "sandbox": "0"}


def test_every_address_has_two_interfaces_and_the_dummy_comes_last() -> None:
    """Addresses point at the container ends, at odd indexes; the dummy has the first device number."""
    _, document = rendered("1.0.0", LINK, SECOND)

    assert [each["name"] for each in document["interfaces"]] == [
        "eni0a1b2c3d4e5",
        "eth0",
        "enie48ae9c2f34",
        "mNicIf1",
        "dummy0a1b2c3d4e5",
    ]
    assert document["interfaces"][3]["mac"] == "10101"
    assert document["interfaces"][4]["sandbox"] == "2"
    assert [each["interface"] for each in document["ips"]] == [1, 3]


def test_branch_pod_shows_vlan_and_gateway() -> None:
    """The dummy's mac is the VLAN id and it has no sandbox; only branch pods have a gateway."""
    _, document = rendered("0.4.0", BRANCH_LINK, branch=BRANCH)
    _, oldest = rendered("0.2.0", BRANCH_LINK, branch=BRANCH)

    assert document["interfaces"] == [
        {"name": "vlan0a1b2c3d4e5"},
        {"name": "eth0", "mac": "0", "sandbox": NETNS},
        {"name": "dummy0a1b2c3d4e5", "mac": "5"},
    ]
    assert document["ips"] == [{"version": "4", "interface": 1, "address": "10.0.2.9/32", "gateway": "10.0.2.1"}]
    assert oldest["ip4"] == {"ip": "10.0.2.9/32", "gateway": "10.0.2.1"}
