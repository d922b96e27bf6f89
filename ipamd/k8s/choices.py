"""What ipamd decides about the cluster's objects, without talking to it: names, features, annotations."""

from __future__ import annotations

from typing import Final

from .views import Feature, NodeView

EXTERNAL_LABEL: Final = "vpc.amazonaws.com/externalEniConfig"
ENI_CONFIG_KEY: Final = "k8s.amazonaws.com/eniConfig"
ENI_CONFIG_DEFAULT: Final = "default"


def eni_config_name(
    node: NodeView | None, annotation_key: str = ENI_CONFIG_KEY, label_key: str = ENI_CONFIG_KEY
) -> str:
    """The ENIConfig of a node: external label, annotation, label, `default`; also without a Node (POOL-40).

    Presence decides, even of an empty value.
    """
    if node is None:
        return ENI_CONFIG_DEFAULT
    for worn, key in ((node.labels, EXTERNAL_LABEL), (node.annotations, annotation_key), (node.labels, label_key)):
        if key in worn:
            return worn[key]
    return ENI_CONFIG_DEFAULT


def features_with(features: tuple[Feature, ...], name: str, value: str) -> tuple[Feature, ...] | None:
    """The features with one added at the end in place of all of its name; None if it is there already (SGP-3)."""
    added = Feature(name, value)
    if added in features:
        return None
    return (*(feature for feature in features if feature.name != name), added)
