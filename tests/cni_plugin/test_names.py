"""Names of links and the numbers that follow from devices (NETW-9, RPC-59, RPC-60)."""

import hashlib

import pytest

from cni_plugin import names


@pytest.mark.parametrize(
    "namespace, pod, index, digits",
    [
        ("kube-system", "coredns-57ff979f67-qqbdh", 0, "b5faff8a083"),
        ("kube-system", "coredns-57ff979f67-8ns9b", 0, "9571956a6cc"),
        ("default", "sample-pod", 0, "cc21c2d7785"),
        ("default", "nginx", 0, "c440f455693"),
        ("default", "nginx", 1, "e48ae9c2f34"),
        ("", "", 0, "3a52ce78095"),
        ("", "", 1, "ce799470a46"),
    ],
)
def test_host_end_ends_with_eleven_digits_of_the_pod(namespace: str, pod: str, index: int, digits: str) -> None:
    """The examples of NETW-9 and of the plugin's own table."""
    assert names.host_veth("eni", namespace, pod, index) == f"eni{digits}"
    assert names.host_veth("", namespace, pod, index) == digits


def test_digits_are_those_of_sha1() -> None:
    """The interpreter's own SHA-1 and hashlib's agree, whatever characters a name has."""
    name = "p\u00f6d-\udc80"

    expected = hashlib.sha1(f"ns.{name}.3".encode("utf-8", "surrogateescape")).hexdigest()[:11]
    assert names.pod_hash("ns", name, 3) == expected


def test_dummy_bears_the_digits_of_the_first_link() -> None:
    """Sixteen characters, one more than the kernel would take: it never becomes a link."""
    assert names.dummy_interface("default", "nginx") == "dummyc440f455693"


@pytest.mark.spec("RPC-60")
def test_container_ends_after_the_first_are_numbered() -> None:
    """CNI_IFNAME is the runtime's, the further names are fixed."""
    assert [names.container_interface("eth0", index) for index in range(3)] == ["eth0", "mNicIf1", "mNicIf2"]


@pytest.mark.parametrize(
    "mode, is_branch, prefix",
    [("strict", True, "vlan"), ("standard", True, "abc"), ("odd", True, "abc"), ("strict", False, "abc")],
)
def test_prefix_of_branch_pods_depends_on_the_enforcing_mode(mode: str, is_branch: bool, prefix: str) -> None:
    """Strict branch pods are matched by `vlan+`, all others by what the configuration says."""
    assert names.veth_prefix("abc", mode, is_branch) == prefix


@pytest.mark.parametrize("device, table", [(0, 254), (1, 2), (14, 15)])
def test_table_of_an_old_result_follows_from_the_device(device: int, table: int) -> None:
    """Card 0: the primary ENI uses the main table."""
    assert names.table_of_device(device) == table
