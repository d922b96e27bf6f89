"""Names of links, and the numbers that follow from them (NETW-9)."""

from __future__ import annotations

try:  # hashlib loads OpenSSL, 4 ms of a 60 ms process; the stdlib's own random takes this way too
    from _sha1 import sha1  # type: ignore[import-not-found]
except ImportError:  # pragma: no cover - an interpreter built without its own SHA-1
    from hashlib import sha1

HASH_DIGITS = 11  # prefix of at most 4 bytes + 11 digits fill the 15 bytes of an interface name
BRANCH_PREFIX = "vlan"  # strict mode: iptables matches `vlan+`
MAIN_TABLE = 254


def pod_hash(namespace: str, pod: str, index: int = 0) -> str:
    """The first 11 hex digits of SHA-1 of `<namespace>.<pod>`, with `.<index>` after it from index 1 on."""
    text = f"{namespace}.{pod}" if index == 0 else f"{namespace}.{pod}.{index}"
    digits: str = sha1(text.encode("utf-8", "surrogateescape")).hexdigest()
    return digits[:HASH_DIGITS]


def host_veth(prefix: str, namespace: str, pod: str, index: int = 0) -> str:
    """The host end of the pod's link number `index`."""
    return prefix + pod_hash(namespace, pod, index)


def veth_prefix(configured: str, enforcing_mode: str, is_branch: bool) -> str:
    """`vlan` for branch ENI pods in strict mode, else what the configuration says."""
    return BRANCH_PREFIX if is_branch and enforcing_mode == "strict" else configured


def container_interface(ifname: str, index: int) -> str:
    """CNI_IFNAME for the first link, `mNicIf<index>` for further ones (RPC-60)."""
    return ifname if index == 0 else f"mNicIf{index}"


def dummy_interface(namespace: str, pod: str) -> str:
    """The entry of the result that carries numbers into DEL's prevResult; never a kernel link (RPC-59)."""
    return "dummy" + pod_hash(namespace, pod)


def table_of_device(device: int) -> int:
    """Route table of an ENI of card 0 by its device number: main for the primary ENI, else number + 1."""
    return MAIN_TABLE if device == 0 else device + 1
