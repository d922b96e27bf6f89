"""The API server of a recorded life: the Node object, ENIConfigs and CNINode as the journal says they were, and when.

    told = Told()
    told.hear(record)                  # every record in order
    kube = told.cluster(state)         # as it was then; `told.after(state.seq)` is what was heard later
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ipamd.core.calls import Subnet
from ipamd.core.commands import KubeNodeSeen, Observed, Start
from ipamd.core.events import Record
from ipamd.core.kube import CniNodeView, EniConfigView, ReadEniConfig
from ipamd.core.state import State
from ipamd.core.types import Instant

from .cluster import SimCluster

Fact = KubeNodeSeen | tuple[str, EniConfigView | None] | CniNodeView
"""The Node object; an ENIConfig by name, None where there was none; the CNINode."""
_UNKNOWN_CIDR: Final = "100.{}.0.0/16"
"""Of an ENIConfig's subnet that no record tells the CIDR of."""


class Told:
    """See the module."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, Instant, Fact]] = []

    def hear(self, record: Record) -> None:
        """One record."""
        fact: Fact | None = None
        match record.cause:
            case KubeNodeSeen() as seen:
                fact = seen
            case Start(kube_node=node) if node is not None:
                fact = KubeNodeSeen(node)
            case Observed(look=ReadEniConfig(name=name), seen=EniConfigView() as view):
                fact = (name, view)
            case Observed(look=ReadEniConfig(name=name)):
                fact = (name, None)
            case Observed(seen=CniNodeView() as view):
                fact = view
            case _:
                pass
        if fact is not None:
            self.heard.append((record.seq, record.at, fact))

    def cluster(self, state: State) -> SimCluster:
        """As of the State's record; what was first read later was so before, as far as anybody knows."""
        kube = SimCluster(state.kube_node)
        for seq, _, fact in self.heard:
            new_config = isinstance(fact, tuple) and fact[0] not in kube.eni_configs
            new_features = isinstance(fact, CniNodeView) and not kube.features
            if seq <= state.seq or new_config or new_features:
                tell(kube, fact)
        kube.down = kube.node is None and not state.cluster
        return kube

    def after(self, seq: int) -> Iterator[tuple[int, Instant, Fact]]:
        """What was heard by later records."""
        return (each for each in self.heard if each[0] > seq)

    def subnets(self, known: dict[str, Subnet]) -> dict[str, Subnet]:
        """The subnets of ENIConfigs that no record tells more of."""
        named = {fact[1].subnet for _, _, fact in self.heard if isinstance(fact, tuple) and fact[1] is not None}
        missing = sorted(name for name in named if name and name not in known)
        return {name: Subnet(name, _UNKNOWN_CIDR.format(64 + n), -1) for n, name in enumerate(missing[:60])}


def tell(kube: SimCluster, fact: Fact) -> None:
    """The API server has this from now on."""
    match fact:
        case KubeNodeSeen(node=node):
            kube.node, kube.down = node, False
        case CniNodeView(features=features):
            kube.features = features
        case (name, None):
            kube.eni_configs.pop(name, None)
        case (name, EniConfigView() as view):
            kube.eni_configs[name] = view
