"""A cluster in virtual time: this node's Node object, ENIConfigs, its CNINode, pods' annotations, events.

What the core writes is kept, so that a scenario or a test can look at it. `down` is an API server that refuses all.
"""

from __future__ import annotations

from ipamd.core.calls import Failed, Outcome, Succeeded
from ipamd.core.kube import (
    AddFeature,
    ClearPodIp,
    CniNodeView,
    EniConfigView,
    KubeCall,
    KubeLook,
    KubeNode,
    KubeView,
    ReadCniNode,
    ReadEniConfig,
    RecordEvent,
    SetPodIp,
)

_DOWN = Failed("", "the API server is down")


class SimCluster:
    """One API server, as far as one node needs it; without `node` there is none."""

    def __init__(self, node: KubeNode | None = None, eni_configs: dict[str, EniConfigView] | None = None) -> None:
        self.node = node
        self.eni_configs = eni_configs or {}
        self.features: tuple[tuple[str, str], ...] = ()
        self.pod_ips: dict[tuple[str, str], str] = {}
        """(namespace, name) -> the annotation pod-ips."""
        self.events: list[RecordEvent] = []
        self.down = node is None

    def call(self, call: KubeCall) -> Outcome:
        """Perform one call at once."""
        if self.down:
            return _DOWN
        match call:
            case SetPodIp():
                self.pod_ips[call.namespace, call.name] = call.address
            case ClearPodIp():
                if self.pod_ips.get((call.namespace, call.name), call.released) != call.released:
                    said = f"released IP {call.released} does not match existing annotation. Not patching pod"
                    return Failed("", said)
                self.pod_ips[call.namespace, call.name] = ""
            case AddFeature():
                others = tuple(feature for feature in self.features if feature[0] != call.name)
                self.features = (*others, (call.name, call.value))
            case RecordEvent():
                self.events.append(call)
        return Succeeded()

    def look(self, look: KubeLook) -> KubeView | Failed:
        """Read once, at once."""
        if self.down:
            return _DOWN
        match look:
            case ReadEniConfig():
                return self.eni_configs.get(look.name) or Failed("", f'eniconfigs "{look.name}" not found')
            case ReadCniNode():
                return CniNodeView(self.features)
