"""The result of ADD as JSON, in the form that the configuration's cniVersion asks for.

Interfaces in order: host end and container end of every address, then a dummy. Some fields carry numbers for
the DEL that gets this back as prevResult: the container end's `mac` is the route table, the dummy's `mac` the
VLAN id (0 for normal pods) and its `sandbox` the device number of the first address (RPC-59). With real MACs
(`realMacs`, for runtimes and plugins that read them) the numbers of tables and devices are left out.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cni_plugin.versions import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_plugin.host import Branch, Link

INDENT = 4


def render(version: str, links: Sequence[Link], branch: Branch | None, dummy: str, netns: str) -> str:
    """The result document. `links` is not empty, `version` is one we support, `dummy` the dummy's name.

    0.1/0.2: objects `ip4` and `ip6`, the first address of each. 0.3/0.4: `version` in each address, and
    `dns`. 1.x: neither, and keys in sorted order.
    """
    gateway = branch.gateway if branch else ""
    if version in FAMILIES[0]:
        return json.dumps(_oldest(version, links, gateway), indent=INDENT)
    modern = version in FAMILIES[2]
    document: dict[str, Any] = {
        "cniVersion": version,
        "interfaces": _interfaces(links, branch, dummy, netns),
        "ips": [_address(at, link, gateway, modern) for at, link in enumerate(links)],
    }
    if not modern:
        document["dns"] = {}
    return json.dumps(document, indent=INDENT, sort_keys=modern)


def _interfaces(links: Sequence[Link], branch: Branch | None, dummy: str, netns: str) -> list[dict[str, str]]:
    entries: list[dict[str, str]] = []
    for link in links:
        entries.append({"name": link.host_veth})
        entries.append({"name": link.container_interface, "mac": link.mac or str(link.table), "sandbox": netns})
    if branch or links[0].mac:
        entries.append({"name": dummy, "mac": str(branch.vlan_id if branch else 0)})
    else:
        entries.append({"name": dummy, "mac": "0", "sandbox": str(links[0].device)})
    return entries


def _address(at: int, link: Link, gateway: str, modern: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {} if modern else {"version": "6" if ":" in link.address else "4"}
    entry["interface"] = 2 * at + 1
    entry["address"] = link.address
    if gateway:
        entry["gateway"] = gateway
    return entry


def _oldest(version: str, links: Sequence[Link], gateway: str) -> dict[str, Any]:
    document: dict[str, Any] = {"cniVersion": version}
    for key, is_v6 in (("ip4", False), ("ip6", True)):
        address = next((link.address for link in links if (":" in link.address) == is_v6), None)
        if address:
            document[key] = {"ip": address, "gateway": gateway} if gateway else {"ip": address}
    document["dns"] = {}
    return document
