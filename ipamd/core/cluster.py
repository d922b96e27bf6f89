"""What this node's Node object and the lack of a permission mean (POOL-19, POOL-40, EV-1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from . import events as ev
from .calls import UNAUTHORIZED, Call, DetachNetworkInterface, Ec2Call, Failed, FindNetworkInterfaces, Look
from .kube import MISSING_PERMISSIONS, ReadCniNode, ReadEniConfig, RecordEvent
from .state import State
from .types import SECOND, CallId, Instant

EXTERNAL_LABEL: Final = "vpc.amazonaws.com/externalEniConfig"
ENI_CONFIG_DEFAULT: Final = "default"
SERIES: Final = 360 * SECOND
"""So long the same event is not raised again, as client-go's recorder makes one series of it."""
_DOCS: Final = "https://github.com/aws/amazon-vpc-cni-k8s/blob/master/docs/iam-policy.md"


def eni_config_name(
    labels: Mapping[str, str], annotations: Mapping[str, str], annotation_key: str, label_key: str
) -> str:
    """The ENIConfig of a node: external label, annotation, label, `default` (POOL-40). Even an empty value counts."""
    for worn, key in ((labels, EXTERNAL_LABEL), (annotations, annotation_key), (labels, label_key)):
        if key in worn:
            return worn[key]
    return ENI_CONFIG_DEFAULT


def own_eni_config(state: State) -> str:
    """This node's; `default` while its Node object is not known."""
    if state.kube_node is None:
        return ENI_CONFIG_DEFAULT
    settings = state.settings
    return eni_config_name(
        state.kube_node.labels, state.kube_node.annotations, settings.eni_config_annotation, settings.eni_config_label
    )


def manageable(state: State) -> bool:
    """Whether ENIs may come and go as far as the Node says (POOL-18, POOL-19, POOL-36); unknown: they may."""
    if state.kube_node is None or state.settings.manage_enis_non_schedulable:
        return True
    return not state.kube_node.unschedulable


def unpermitted(state: State, asked: Call | Look, failed: object, now: Instant) -> list[ev.Event]:
    """EV-1: EC2 lacks a permission, so a Kubernetes event says which. There must be a cluster to say it to."""
    if not isinstance(failed, Failed) or failed.code != UNAUTHORIZED or not state.cluster:
        return []
    if isinstance(asked, ReadEniConfig | ReadCniNode):
        return []
    if isinstance(asked, DetachNetworkInterface) and state.settings.quirks.detach_raises_no_event:
        return []
    action = f"ec2:{_name(asked)}"
    last = state.warned.get(action)
    if last is not None and now - last < SERIES:
        return []
    note = f"Unauthorized operation: failed to call {action} due to missing permissions. Please refer {_DOCS}"
    call = RecordEvent(MISSING_PERMISSIONS, action, f"{note} to attach relevant policy to IAM role")
    return [ev.CallStarted(CallId(state.next_call), call, "side")]


def _name(asked: Ec2Call | object) -> str:
    return "DescribeNetworkInterfaces" if isinstance(asked, FindNetworkInterfaces) else type(asked).__name__
