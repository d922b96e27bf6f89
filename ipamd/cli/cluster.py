"""How `ipamd run` comes to its cluster: which API server, which node, and what is asked before and beside the daemon.

    nothing names an API server       run without (INIT-3), unless a setting needs one (INIT-2)
    it answers                        the Node tells max pods, ENIConfig and taints; a watch keeps them current
    it does not                       after 30 s run without, and ask every 5 s until it does (INIT-7)
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeVar

from msgspec.structs import replace

from ipamd.config import Config, ConfigError
from ipamd.core import events as ev
from ipamd.core.commands import KubeNodeSeen
from ipamd.core.kube import KubeNode, KubePod
from ipamd.core.pod_eni import trunk
from ipamd.core.settings import Node
from ipamd.core.types import Instant
from ipamd.k8s.choices import eni_config_name, wants_branch_eni
from ipamd.k8s.port import Cluster, ClusterError, ClusterLost, NoCluster
from ipamd.k8s.reach import Unreachable, node_once_reached, try_to_reach, wait_until_reached
from ipamd.k8s.reflector import Changed, Reflector
from ipamd.k8s.views import NodeView, Regarding
from ipamd.runtime.cluster import ClusterDoor, node_facts, own_pod, pod_facts
from ipamd.runtime.daemon import Daemon
from ipamd.runtime.hostnet import Host, HostError
from ipamd.server.backend import PodUnread, ReadPod

from .clouds import StartError, WrongOption

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_NEEDED_BY: Final = ("ENABLE_POD_ENI", "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "ANNOTATE_POD_IP")
"""INIT-2: with one of these on there must be an API server."""
LINK_TRIES: Final = 5
LINK_PAUSE: Final = 0.1
"""RPC-27."""


class Interrupted(Exception):
    """SIGTERM or SIGINT came while the API server was waited for."""


class Joined(NamedTuple):
    """The cluster as it was found. `node` is None while the API server was not reached; `cluster` if there is none."""

    cluster: Cluster | None = None
    name: str = ""
    node: NodeView | None = None
    regarding: Regarding | None = None


async def join(args: argparse.Namespace, config: Config) -> Joined:
    """Find the API server and read the Node (INIT-1..5, INIT-32). Raises StartError, Interrupted."""
    needed = next((name for name in _NEEDED_BY if config.values[name]), "")
    name = args.node_name if args.node_name is not None else config.options.node_name
    named = args.kubeconfig is not None or os.environ.get("KUBECONFIG") or os.environ.get("KUBERNETES_SERVICE_HOST")
    if not named:
        if needed:
            raise StartError(f"{needed}=true: it needs an API server; name one with --kubeconfig or KUBECONFIG")
        return Joined()
    if not name:
        remedy = "say which node this is with --node-name or MY_NODE_NAME"
        if args.kubeconfig is not None:
            raise WrongOption(f"--kubeconfig {args.kubeconfig}: there is no node's name; {remedy}")
        if needed:
            raise StartError(f"{needed}=true: there is no node's name; {remedy}")
        _log.warning("running without API server: there is no node's name; %s", remedy)
        return Joined()
    cluster = _connect(args, config, needed)
    if cluster is None:
        return Joined()
    try:
        return await _interruptibly(_greet(cluster, name, needed, config.options.pod_name))
    except BaseException:
        await cluster.close()
        raise


def _connect(args: argparse.Namespace, config: Config, needed: str) -> Cluster | None:
    """A client, nothing sent yet. Without it the daemon runs alone, if it may (INIT-3)."""
    try:
        from ipamd.k8s.client import connect
    except ModuleNotFoundError as error:
        raise StartError(
            f"Python has no {error.name}, which a cluster needs; install it with: pip install 'ipamd-emulator[k8s]'"
        ) from None
    environ = dict(os.environ)
    if config.options.cluster_endpoint is not None:
        environ["CLUSTER_ENDPOINT"] = config.options.cluster_endpoint
    try:
        agent = f"ipamd-{config.options.vpc_cni_version}"
        return connect(environ, kubeconfig=args.kubeconfig, agent=agent)
    except NoCluster as error:
        if needed or args.kubeconfig is not None:
            raise StartError(str(error)) from None
        _log.warning("running without API server: %s", error)
        return None


async def _greet(cluster: Cluster, name: str, needed: str, pod_name: str) -> Joined:
    try:
        reached = await (wait_until_reached(cluster) if needed else try_to_reach(cluster))
    except Unreachable as error:
        raise StartError(f"{needed}=true: the API server cannot be reached: {error}") from None
    if reached is None:
        _log.warning("no answer from the API server within 30 s: running without it until it answers")
        return Joined(cluster, name)
    try:
        node = await cluster.node(name)
    except (ClusterError, ClusterLost) as error:
        raise StartError(f"node {name}: cannot be read: {error}; see --node-name and MY_NODE_NAME") from None
    regarding = await own_pod(cluster, pod_name)
    if pod_name and regarding is None:
        _log.warning("pod kube-system/%s cannot be read: events will name no pod", pod_name)
    return Joined(cluster, name, node, regarding)


async def _interruptibly(work: Awaitable[_T]) -> _T:
    """Let SIGTERM and SIGINT end the wait, as they end the daemon later on. Raises Interrupted."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    told: list[int] = []

    def stop() -> None:
        told.append(1)
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        return await task
    except asyncio.CancelledError:
        if told:
            raise Interrupted from None
        raise
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def capacity(node: NodeView) -> int:
    """INIT-32, INIT-35: the Node's pod capacity, 0 where it names none. Raises ConfigError for what is no number."""
    if "pods" not in node.capacity:
        return 0
    if node.pods_max is None:
        text = node.capacity["pods"][:40]
        raise ConfigError(f'node {node.name}: status.capacity.pods is "{text}": want a whole number')
    return node.pods_max


def seen_by(joined: Joined, node: Node) -> Node:
    """The instance as the cluster sees it."""
    node = replace(node, name=joined.name, cluster=joined.node is not None)
    return node if joined.node is None else replace(node, max_pods=capacity(joined.node))


class Membership:
    """The daemon's part in its cluster while it runs: the Node is watched, doors may read pods and the ENIConfig."""

    def __init__(self, joined: Joined, config: Config, now: Callable[[], Instant]) -> None:
        self._joined = joined
        self._config = config
        self._now = now
        self._latest: KubeNode | None = None

    def facts(self, view: NodeView | None) -> KubeNode | None:
        """What of the Node the machine is told."""
        options = self._config.options
        return node_facts(view, options.eni_config_annotation, options.eni_config_label) if view is not None else None

    def attend(self, daemon: Daemon, *, max_pods_given: bool) -> None:
        """From now on calls and looks reach the API server, and the machine hears of its Node."""
        cluster = self._joined.cluster
        if cluster is None:
            return
        daemon.performer.kube = ClusterDoor(cluster, self._now, self._joined.regarding)

        def on_record(record: ev.Record) -> None:
            """What was seen before the machine began is said once it has."""
            if self._latest is not None and any(type(event) is ev.Started for event in record.events):
                daemon.driver.tell(KubeNodeSeen(self._latest))

        daemon.datastore.subscribe(on_record)
        daemon.tasks.spawn(self._follow(cluster, daemon, max_pods_given), "cluster: node")

    async def _follow(self, cluster: Cluster, daemon: Daemon, max_pods_given: bool) -> None:
        if self._joined.node is None:
            late = await node_once_reached(cluster, self._joined.name)
            if late is not None:
                self._tell(daemon, late, None if max_pods_given else late.pods_max)
                _log.info("the API server answers at last; node %s is read", late.name)

        def changed(change: Changed[NodeView]) -> None:
            if change.after is not None:
                self._tell(daemon, change.after, None)

        source = cluster.nodes(self._joined.name)
        await Reflector(
            source, changed, failed=lambda why: _log.warning("watch of the node: %s", why), seed=self._joined.name
        ).run()

    def _tell(self, daemon: Daemon, view: NodeView, max_pods: int | None) -> None:
        self._latest = facts = self.facts(view)
        assert facts is not None
        daemon.driver.tell(KubeNodeSeen(facts, max_pods))

    async def eni_config(self) -> str | None:
        """HTTP-7: the ENIConfig's name; None where the Node cannot be read."""
        if self._joined.cluster is None:
            return None
        try:
            view = await self._joined.cluster.node(self._joined.name)
        except (ClusterError, ClusterLost):
            return None
        return eni_config_name(view, self._config.options.eni_config_annotation, self._config.options.eni_config_label)

    def reader(self, daemon: Daemon, host: Host) -> ReadPod:
        """How doors read a Pod, with the trunk's link where it has a branch ENI (RPC-22, RPC-27)."""

        async def read(namespace: str, name: str) -> KubePod:
            cluster = self._joined.cluster
            said = f"error while trying to retrieve pod info: {namespace[:253]}/{name[:253]}"
            if cluster is None:
                raise PodUnread(f"{said}: there is no API server")
            try:
                view = await cluster.pod(namespace, name)
            except (ClusterError, ClusterLost) as error:
                raise PodUnread(f"{said}: {error}") from None
            eni = trunk(daemon.state)
            wanted = eni is not None and wants_branch_eni(view)
            return pod_facts(view, await trunk_link(host, eni.mac) if wanted and eni is not None else 0)

        return read

    async def close(self) -> None:
        """Close the connections."""
        if self._joined.cluster is not None:
            await self._joined.cluster.close()


async def trunk_link(host: Host, mac: str) -> int:
    """The index of the trunk's link (RPC-27): five tries, a tenth of a second apart; 0 in vain."""
    for attempt in range(LINK_TRIES):
        if attempt:
            await asyncio.sleep(LINK_PAUSE)
        try:
            found = await host.link_index(mac)
        except HostError as error:
            _log.warning("%s", error)
            continue
        if found:
            return found
    return 0
