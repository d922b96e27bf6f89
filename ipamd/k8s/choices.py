"""What ipamd decides about the cluster's objects, without talking to it: names, features, annotations."""

from __future__ import annotations

from typing import Final

from ipamd.core.cluster import ENI_CONFIG_DEFAULT
from ipamd.core.cluster import eni_config_name as named

from .views import POD_ENI, Feature, NodeView, PodView

ENI_CONFIG_KEY: Final = "k8s.amazonaws.com/eniConfig"


def eni_config_name(
    node: NodeView | None, annotation_key: str = ENI_CONFIG_KEY, label_key: str = ENI_CONFIG_KEY
) -> str:
    """The ENIConfig of a node: external label, annotation, label, `default`; also without a Node (POOL-40).

    Presence decides, even of an empty value.
    """
    if node is None:
        return ENI_CONFIG_DEFAULT
    return named(node.labels, node.annotations, annotation_key, label_key)


def wants_branch_eni(pod: PodView) -> bool:
    """Whether a limit of its first container names vpc.amazonaws.com/pod-eni (RPC-23)."""
    return any(name.startswith(POD_ENI) for name in pod.first_limits)


def features_with(features: tuple[Feature, ...], name: str, value: str) -> tuple[Feature, ...] | None:
    """The features with one added at the end in place of all of its name; None if it is there already (SGP-3)."""
    added = Feature(name, value)
    if added in features:
        return None
    return (*(feature for feature in features if feature.name != name), added)
