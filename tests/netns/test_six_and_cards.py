"""IPv6 nodes and nodes with several network cards: the daemon, its host, the plugin, two pods that reach each other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cni_plugin.harness import Outcome, config
from tests.cni_plugin.place import Place, call
from tests.host.rig import Netns, daemon, namespaces, needs_netns
from tests.netns.echo import unanswered
from tests.netns.rig import until

pytestmark = [needs_netns, pytest.mark.slow]
SIX = ("--set", "ENABLE_IPv4=false", "--set", "ENABLE_IPv6=true", "--set", "ENABLE_PREFIX_DELEGATION=true")
CARDS = ("--instance-type", "p4d.24xlarge", "--set", "ENABLE_MULTI_NIC=true", "--max-pods", "30")
ALL_CARDS = {"io.kubernetes.cri.pod-annotations": {"k8s.amazonaws.com/nicConfig": "multi-nic-attachment"}}
OUTSIDE = {4: "198.51.100.1", 6: "2001:db8::1"}
PATIENCE = 30


class Case(NamedTuple):
    """A kind of node: its options, the family, how many addresses a pod has, and the tables of those."""

    options: tuple[str, ...]
    family: int
    tables: tuple[int, ...]


CASES = [
    pytest.param(Case(SIX, 6, ()), id="IPv6", marks=pytest.mark.spec("V6-9", "NETW-5")),
    pytest.param(
        Case(CARDS, 4, (10100, 10200, 10300)), id="four cards", marks=pytest.mark.spec("DM-9", "RPC-33", "NETW-5")
    ),
    pytest.param(
        Case((*CARDS, *SIX), 6, (10100, 10200, 10300)), id="four cards, IPv6", marks=pytest.mark.spec("V6-6", "NETW-4")
    ),
]


def invoke(verb: str, node: Netns, pod: Netns, stdin: bytes) -> Outcome:
    """One verb of the pod, whose name is its namespace's."""
    args = f"K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod.name};K8S_POD_INFRA_CONTAINER_ID={pod.name}"
    return call(Place(node.name, pod.name), verb, stdin, CNI_CONTAINERID=pod.name, CNI_ARGS=args)


def added(node: Netns, pod: Netns, stdin: bytes) -> list[str]:
    """The addresses of a pod that is there now, asked for as kubelet does while a card's one warm address comes."""
    end = time.monotonic() + PATIENCE
    while (outcome := invoke("ADD", node, pod, stdin)).code:
        assert "failed to assign an IP address" in outcome.stdout, outcome.stdout
        assert time.monotonic() < end, outcome.stdout
    return [each["address"].partition("/")[0] for each in outcome.document["ips"]]


def rules(node: Netns, family: int, priority: int) -> list[int]:
    """The tables of the rules of a priority."""
    found = node.seen(f"-{family}", "rule", "show")
    return sorted(int(rule["table"]) for rule in found if rule["priority"] == priority)


def own(node: Netns, family: int) -> set[str]:
    """The node's addresses on its ENIs."""
    shown = node.seen(f"-{family}", "addr", "show", "scope", "global")
    held = [each for link in shown if link.get("ifname", "").startswith("ens") for each in link["addr_info"]]
    return {each["local"] for each in held if each.get("family") == ("inet6" if family == 6 else "inet")}


def unreached(pods: Sequence[Netns], addresses: set[str]) -> dict[str, set[str]]:
    """What each pod misses."""
    missed = {pod.name: unanswered(pod.name, addresses) for pod in pods}
    return {name: left for name, left in missed.items() if left}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("case", CASES)
def test_two_pods_reach_each_other_the_node_and_the_world(tmp_path: Path, case: Case) -> None:
    """Every address of theirs answers; a restart changes nothing; after DEL the node is as it was before."""
    with namespaces("node", "vpc", "a", "b") as (node, vpc, *pods):
        vpc.ip("addr", "add", OUTSIDE[case.family], "dev", "lo")
        with daemon(node, vpc, tmp_path / "s", *case.options) as first:
            until(lambda: rules(node, case.family, 32765) == list(case.tables), PATIENCE)
            until(lambda: not node.seen("-6", "addr", "show", "tentative"), PATIENCE)
            before = node.network()
            stdin = config(ipamdAddress=first.grpc, mtu="9001", runtimeConfig=ALL_CARDS if case.tables else {})
            held = [added(node, pod, stdin) for pod in pods]
            wanted = {*held[0], *held[1], *own(node, case.family)}
            assert [len(each) for each in held] == [len(case.tables) + 1] * 2
            assert len(wanted) == 3 * (len(case.tables) + 1)
            assert rules(node, case.family, 1536) == sorted([*case.tables, *case.tables])
            assert unreached(pods, wanted | {OUTSIDE[case.family]}) == {}
            assert unanswered(node.name, wanted | {OUTSIDE[case.family]}) == set()
            until(lambda: not node.seen("-6", "addr", "show", "tentative"), PATIENCE)
            running = node.network()

        with daemon(node, vpc, tmp_path / "s", *case.options) as second:
            assert node.network() == running
            assert unreached(pods, wanted) == {}
            stdin = config(ipamdAddress=second.grpc, mtu="9001")
            gone = [invoke("DEL", node, pod, stdin) for pod in pods]
            assert [(each.code, each.stdout) for each in gone] == [(0, "")] * 2
            for pod in pods:
                pod.ip("link", "del", "eth0")
                for index in range(1, len(case.tables) + 1):
                    pod.ip("link", "del", f"mNicIf{index}")
            assert node.network() == before
