"""The kinds of pods, and the exact kernel state of each: in the pod's namespace and on the host.

`{mac}` is the address of the host's end of the link, which is random. The rows are those of tests.cni_plugin.shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from ipamd.rpc import rpc_pb2
from tests.cni_plugin.harness import NGINX, NGINX_1, added, allocation

POD_0, POD_1 = f"eni{NGINX}", f"eni{NGINX_1}"
LINK: Final[dict[str, Any]] = {"mtu": 1500, "up": True, "qlen": 0}
MULTI_NIC: Final = {"io.kubernetes.cri.pod-annotations": {"k8s.amazonaws.com/nicConfig": "multi-nic-attachment"}}


@dataclass(frozen=True)
class Case:
    """ipamd's reply to ADD, keys of the configuration, and what must be there afterwards."""

    reply: rpc_pb2.AddNetworkReply
    pod_links: tuple[str, ...]
    pod_addresses: set[str]
    pod_routes: set[str]
    pod_neighbours: set[str]
    host_links: tuple[str, ...]
    host_routes: set[str]
    host_rules: set[str]
    pod_rules: set[str] = field(default_factory=set)
    config: dict[str, Any] = field(default_factory=dict)
    family: str = "-4"


def one_nic(device: int, table: int, rules: set[str]) -> Case:
    """An IPv4 pod with one link."""
    return Case(
        reply=added(allocation("10.0.1.9", device=device, table=table)),
        pod_links=("eth0",),
        pod_addresses={"10.0.1.9/32 eth0"},
        pod_routes={"169.254.1.1 eth0 link", "default via 169.254.1.1 eth0"},
        pod_neighbours={"169.254.1.1 eth0 {mac}"},
        host_links=(POD_0,),
        host_routes={f"10.0.1.9 {POD_0} link"},
        host_rules=rules,
    )


PRIMARY: Final = one_nic(0, 254, {"512 to 10.0.1.9 main"})
SECONDARY: Final = one_nic(2, 3, {"512 to 10.0.1.9 main", "1536 from 10.0.1.9 3"})
SIX: Final = Case(
    reply=added(allocation(v6="fd00:0:0:1::9", device=0, table=254)),
    pod_links=("eth0",),
    pod_addresses={"fd00:0:0:1::9/128 eth0"},
    pod_routes={"fe80::1 eth0", "default via fe80::1 eth0"},
    pod_neighbours={"fe80::1 eth0 {mac}"},
    host_links=(POD_0,),
    host_routes={f"fd00:0:0:1::9 {POD_0}"},
    host_rules={"512 to fd00:0:0:1::9 main"},
    family="-6",
)
TWO_CARDS: Final = Case(
    reply=added(allocation("10.0.1.9", device=0, table=254), allocation("10.1.1.9", device=1, table=10101)),
    config={"runtimeConfig": MULTI_NIC},
    pod_links=("eth0", "mNicIf1"),
    pod_addresses={"10.0.1.9/32 eth0", "10.1.1.9/32 mNicIf1"},
    pod_routes={
        "169.254.1.1 eth0 link",
        "default via 169.254.1.1 eth0",
        "169.254.1.2 mNicIf1 link table 1",
        "default via 169.254.1.2 mNicIf1 table 1",
    },
    pod_rules={"1 from 10.1.1.9 1"},
    pod_neighbours={"169.254.1.1 eth0 {mac}", "169.254.1.2 mNicIf1 {mac1}"},
    host_links=(POD_0, POD_1),
    host_routes={f"10.0.1.9 {POD_0} link", f"10.1.1.9 {POD_1} link"},
    host_rules={"512 to 10.0.1.9 main", "512 to 10.1.1.9 main", "1536 from 10.1.1.9 10101"},
)


def branch(mode: str, veth: str, routes: set[str], rules: set[str]) -> Case:
    """A pod with a branch ENI on VLAN 5; the index of the trunk is filled in by whoever has one."""
    return Case(
        reply=added(
            allocation("10.0.2.9", device=-1, table=0),
            PodVlanId=5,
            PodENIMAC="02:c3:46:52:cb:57",
            PodENISubnetGW="10.0.2.1",
            ParentIfIndex=1,
        ),
        config={"podSGEnforcingMode": mode},
        pod_links=("eth0",),
        pod_addresses={"10.0.2.9/32 eth0"},
        pod_routes={"169.254.1.1 eth0 link", "default via 169.254.1.1 eth0"},
        pod_neighbours={"169.254.1.1 eth0 {mac}"},
        host_links=(veth, "vlan.eth.5"),
        host_routes=routes | {"10.0.2.1 vlan.eth.5 link table 105", "default via 10.0.2.1 vlan.eth.5 table 105"},
        host_rules=rules,
    )


STRICT: Final = branch(
    "strict",
    f"vlan{NGINX}",
    {f"10.0.2.9 vlan{NGINX} link table 105"},
    {"10 iif vlan.eth.5 105", f"10 iif vlan{NGINX} 105"},
)
STANDARD: Final = branch(
    "standard",
    POD_0,
    {f"10.0.2.9 {POD_0} link"},
    {"512 to 10.0.2.9 main", "1536 from 10.0.2.9 105"},
)
CASES: Final = {
    "primary ENI": PRIMARY,
    "secondary ENI": SECONDARY,
    "IPv6": SIX,
    "two network cards": TWO_CARDS,
    "branch ENI, strict": STRICT,
    "branch ENI, standard": STANDARD,
}
