"""What the HTTP doors of a daemon are given to look at: its State, its journal, its disk's lag, its cloud's subnets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ipamd.config import Config, Instance, Verdict, ipamd_env, network_env, verdicts
from ipamd.config.verdicts import GRAVE
from ipamd.core.settings import Node
from ipamd.core.types import Instant
from ipamd.ec2.embedded import EmbeddedCloud
from ipamd.ec2.port import Ec2
from ipamd.runtime.clock import Clock
from ipamd.runtime.daemon import Daemon
from ipamd.runtime.hostkernel import KernelHost
from ipamd.runtime.hostnet import Host
from ipamd.server.counts import RequestCounts
from ipamd.server.history import Past
from ipamd.server.introspection import EniConfig, Introspection, no_eni_config
from ipamd.server.metrics import Metrics, Subnets

from .past import JournalHistory
from .state import document


def introspection_of(
    daemon: Daemon, config: Config, clock: Clock, journal: Path, eni_config: EniConfig = no_eni_config
) -> Introspection:
    """Upstream's paths and ours; `journal` is the directory that the daemon writes."""

    def now() -> Instant:
        return max(clock.now(), daemon.state.at)

    return Introspection(
        state=lambda: daemon.state,
        network_env=lambda: network_env(config),
        ipamd_env=lambda: ipamd_env(config),
        eni_config=eni_config,
        now=now,
        lag=lambda: daemon.datastore.lag_seconds,
        past=Past(JournalHistory(journal), lambda: daemon.state, document, now),
    )


def metrics_of(daemon: Daemon, counts: RequestCounts, version: str, clock: Clock, cloud: Ec2, host: Host) -> Metrics:
    """Fed by the daemon's records and calls from now on."""

    def connmark() -> tuple[str, Mapping[str, int]]:
        return (host.connmark_backend, host.connmark_counts) if isinstance(host, KernelHost) else ("", {})

    metrics = Metrics(
        lambda: daemon.state,
        counts,
        version,
        now=clock.now,
        lag=lambda: daemon.datastore.lag_seconds,
        subnets=free_space(cloud),
        connmark=connmark,
    )
    daemon.datastore.subscribe(metrics.on_record)
    daemon.performer.on_call = metrics.on_call
    return metrics


def free_space(cloud: Ec2) -> Subnets | None:
    """Free addresses and free /28 blocks by subnet, where the cloud is our own model; EC2 tells no blocks."""
    if not isinstance(cloud, EmbeddedCloud):
        return None
    spaces = cloud.vpc.spaces
    return lambda: {subnet: (space.free, space.free_blocks) for subnet, space in spaces.items()}


def grave(config: Config, node: Node, prefixes: bool) -> Iterator[Verdict]:
    """What nobody wants of these settings on this node: that it starves, or that its pool flaps."""
    if node.enis_max < 1:
        return  # a type whose limits are not known
    instance = Instance(
        node.instance_type, node.enis_max, node.ips_per_eni - 1, prefixes, node.max_pods,
        max(len(node.cards), 1), node.trunking_compatible,
    )  # fmt: skip
    yield from (verdict for verdict in verdicts(config, instance) if verdict.kind in GRAVE)
