"""A node with the daemon and three ENIs, thirty pods on it: all reach all, and nothing stays behind."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.cni_plugin.harness import Outcome, config
from tests.cni_plugin.place import Place, call
from tests.host.rig import Netns, daemon, namespaces, needs_netns, run
from tests.netns.echo import unanswered
from tests.netns.rig import until

pytestmark = [needs_netns, pytest.mark.slow]
PODS = 30
OPTIONS = ("--instance-type", "m5.xlarge", "--set", "MAX_ENI=3", "--set", "WARM_ENI_TARGET=3", "--max-pods", "58")
"""Three ENIs of fourteen addresses, attached at once and never given back."""
AT_ONCE = 4
PATIENCE = 60


class Pod(NamedTuple):
    """A sandbox."""

    number: int
    netns: str


class Cluster:
    """One node and the runtime on it."""

    def __init__(self, node: Netns, socket: str, pods: Sequence[Netns]) -> None:
        self.node = node
        self._stdin = config(ipamdAddress=socket, mtu="9001")
        self.pods = [Pod(number, each.name) for number, each in enumerate(pods)]
        self.addresses: dict[Pod, str] = {}

    def _call(self, verb: str, pod: Pod) -> Outcome:
        args = f"K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-{pod.number};K8S_POD_INFRA_CONTAINER_ID=c{pod.number}"
        return call(
            Place(self.node.name, pod.netns), verb, self._stdin, CNI_CONTAINERID=f"c{pod.number}", CNI_ARGS=args
        )

    def _added(self, pod: Pod) -> str:
        """The address, asked for again and again as kubelet does."""
        end = time.monotonic() + PATIENCE
        while (outcome := self._call("ADD", pod)).code:
            assert "failed to assign an IP address" in outcome.stdout, outcome.stdout
            assert time.monotonic() < end, outcome.stdout
        return str(outcome.document["ips"][0]["address"]).partition("/")[0]

    def add(self, pods: Sequence[Pod]) -> None:
        """ADD each of them, a few at a time."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            self.addresses |= dict(zip(pods, pool.map(self._added, pods), strict=True))

    def delete(self, pods: Sequence[Pod]) -> set[str]:
        """DEL each of them, then remove their namespaces; the addresses they had."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            outcomes = list(pool.map(lambda pod: self._call("DEL", pod), pods))
        assert [(each.code, each.stdout) for each in outcomes] == [(0, "")] * len(pods)
        for pod in pods:
            run("ip", "netns", "del", pod.netns)
        until(lambda: len(self.veths()) == len(self.addresses) - len(pods))
        return {self.addresses.pop(pod) for pod in pods}

    def veths(self) -> list[str]:
        """The hosts' ends of the pods' links."""
        return [link["ifname"] for link in self.node.seen("link", "show") if link["ifname"].startswith("eni")]

    def unreached(self, *more: str) -> dict[str, set[str]]:
        """Pods that do not reach every other pod, the node, and `more`."""
        wanted = {*self.addresses.values(), *self.own(), *more}
        missed = {pod.netns: unanswered(pod.netns, wanted - {own}) for pod, own in self.addresses.items()}
        return {netns: left for netns, left in missed.items() if left}

    def own(self) -> set[str]:
        """The node's own addresses, one an ENI."""
        shown = self.node.seen("-4", "addr", "show", "scope", "global")
        return {each["local"] for link in shown for each in link.get("addr_info", [])}

    def traces(self, addresses: set[str]) -> list[str]:
        """Rows of rules, routes and neighbours, whatever their state, that speak of these addresses."""
        listed = [
            *self.node.seen("rule", "show"),
            *self.node.seen("route", "show", "table", "all"),
            *self.node.seen("neigh", "show"),
        ]
        return [str(row) for row in listed if addresses & {row.get("src"), row.get("dst"), row.get("prefsrc")}]


@pytest.fixture
def router() -> Iterator[tuple[Netns, ...]]:
    """The node, the VPC, and a namespace a pod."""
    with namespaces("node", "vpc", *(f"pod{number}" for number in range(PODS))) as made:
        yield made


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Rows that are in one of two states of a namespace only."""
    found = []
    for name, rows in before.items():
        old, new = (
            {str(row) for row in (each.splitlines() if isinstance(each, str) else each)} for each in (rows, after[name])
        )
        found += [f"- {name} {row}" for row in sorted(old - new)] + [f"+ {name} {row}" for row in sorted(new - old)]
    return found


def state(node: Netns) -> dict[str, Any]:
    """The whole network state, once no link is still looking for duplicates of its own address."""
    until(lambda: not node.seen("-6", "addr", "show", "tentative"))
    return node.network()


def ready(node: Netns) -> bool:
    """Whether both secondary ENIs are set up: each has its rule."""
    return [rule["priority"] for rule in node.seen("rule", "show")].count(32765) == 2


@pytest.mark.timeout(300)
@pytest.mark.spec("NETW-4", "NETW-5", "NETW-9")
def test_thirty_pods_come_talk_and_go(tmp_path: Path, router: tuple[Netns, ...]) -> None:
    """Pings among all; half of them go without a trace; the daemon restarts unnoticed; at the end all is as before."""
    node, vpc, *pods = router

    with daemon(node, vpc, tmp_path / "s", *OPTIONS) as first:
        until(lambda: ready(node), PATIENCE)
        before = state(node)
        cluster = Cluster(node, first.grpc, pods)
        cluster.add(cluster.pods)
        tables = {rule["table"] for rule in node.seen("rule", "show") if rule["priority"] == 1536}
        assert len(set(cluster.addresses.values())) == PODS
        assert len(tables) == 2  # and the primary ENI's pods have none
        assert cluster.unreached("10.0.0.1") == {}

        gone = cluster.delete(cluster.pods[::2])
        assert len(cluster.veths()) == PODS - len(gone)
        assert cluster.traces(gone) == []
        assert cluster.unreached() == {}
        running = state(node)
        first.terminate()
        assert cluster.unreached("10.0.0.1") == {}

    with daemon(node, vpc, tmp_path / "s", *OPTIONS):
        assert differences(running, state(node)) == []
        assert cluster.unreached("10.0.0.1") == {}
        cluster.delete(cluster.pods[1::2])
        assert (cluster.veths(), cluster.addresses) == ([], {})
        assert differences(before, state(node)) == []
