"""What ipamd decides about the cluster's objects: the name of a node's ENIConfig, the features of its CNINode."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from ipamd.k8s.choices import eni_config_name, features_with
from ipamd.k8s.port import Cluster, ClusterError
from ipamd.k8s.views import POD_IPS, Feature, NodeView, PodView
from ipamd.k8s.writes import set_pod_ip

KEY = "k8s.amazonaws.com/eniConfig"
EXTERNAL = "vpc.amazonaws.com/externalEniConfig"


@pytest.mark.spec("POOL-40")
@pytest.mark.parametrize(
    "labels, annotations, expected",
    [
        ({EXTERNAL: "external", KEY: "label"}, {KEY: "annotation"}, "external"),
        ({KEY: "label"}, {KEY: "annotation"}, "annotation"),
        ({KEY: "label"}, {}, "label"),
        ({}, {}, "default"),
        ({KEY: "label"}, {KEY: ""}, ""),
        ({EXTERNAL: "", KEY: "label"}, {}, ""),
    ],
)
def test_eni_config_is_named_by_what_is_present_first(
    labels: dict[str, str], annotations: dict[str, str], expected: str
) -> None:
    """External label, annotation, label, default; an empty value is present too."""
    assert eni_config_name(NodeView("w1", labels=labels, annotations=annotations)) == expected


@pytest.mark.spec("POOL-40")
def test_eni_config_keys_can_be_chosen_and_a_missing_node_has_the_default() -> None:
    """ENI_CONFIG_ANNOTATION_DEF and ENI_CONFIG_LABEL_DEF; without a Node it is `default`."""
    node = NodeView("w1", labels={"zone": "a"}, annotations={"my/eni": "b"})

    assert eni_config_name(node, annotation_key="my/eni", label_key="zone") == "b"
    assert eni_config_name(node, label_key="zone") == "a"
    assert eni_config_name(None) == "default"


@pytest.mark.spec("SGP-3")
def test_feature_replaces_all_of_its_name_and_goes_to_the_end() -> None:
    """Others keep their order; the same name and value is nothing to do."""
    held = (Feature("CustomNetworking", "a"), Feature("X"), Feature("CustomNetworking", "b"))

    assert features_with(held, "CustomNetworking", "c") == (Feature("X"), Feature("CustomNetworking", "c"))
    assert features_with(held, "CustomNetworking", "b") is None
    assert features_with((), "SecurityGroupsForPods", "") == (Feature("SecurityGroupsForPods"),)


class Contended:
    """A cluster in which another one always writes first, `rivals` times."""

    def __init__(self, rivals: int) -> None:
        self.rivals = rivals
        self.tries = 0

    async def pod(self, namespace: str, name: str) -> PodView:
        return PodView(namespace, name)

    async def patch_pod_annotations(self, pod: PodView, annotations: dict[str, str | None]) -> PodView:
        self.tries += 1
        if self.tries <= self.rivals:
            raise ClusterError("PATCH pod", 409, "Conflict", "modified")
        return PodView(pod.namespace, pod.name, annotations={POD_IPS: annotations[POD_IPS] or ""})


@pytest.mark.spec("EV-3")
@pytest.mark.parametrize("rivals, tries, pauses", [(0, 1, []), (2, 3, [0.01, 0.05]), (9, 4, [0.01, 0.05, 0.25])])
def test_conflicts_are_tried_four_times(rivals: int, tries: int, pauses: list[float]) -> None:
    """After 10, 50 and 250 ms, each time from a fresh look at the pod; then the conflict is the caller's."""
    contended, slept = Contended(rivals), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    writing = set_pod_ip(cast(Cluster, contended), "ns", "web", "10.0.0.5", sleep)
    if rivals < 4:
        assert asyncio.run(writing).annotations == {POD_IPS: "10.0.0.5"}
    else:
        with pytest.raises(ClusterError, match="Conflict"):
            asyncio.run(writing)

    assert (contended.tries, slept) == (tries, pauses)
