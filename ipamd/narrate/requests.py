"""Lines about requests and about the process itself: who asks, who is refused, under which settings (D, E7, G10)."""

from __future__ import annotations

import json

import msgspec

from ipamd.core import events as ev
from ipamd.core.commands import AddNetwork, Command, DelNetwork
from ipamd.core.types import Pod, Sandbox

from .line import Line

_MULTI = "  RequiresMultiNICAttachment:true"


def begun(cause: Command) -> list[Line]:
    """The request that a record answers; nothing for other causes."""
    match cause:
        case AddNetwork():
            key = cause.sandbox
            return [
                Line("info", f"Received AddNetwork for NS , Sandbox {key.container}, ifname {key.interface}"),  # D1
                Line("debug", f"AddNetworkRequest: {_fields(key, cause.pod)}{_MULTI if cause.multi_nic else ''}"),  # D2
            ]
        case DelNetwork():
            key = cause.sandbox
            return [
                Line("info", f"Received DelNetwork for Sandbox {key.container}"),  # D6
                Line("debug", f"DelNetworkRequest: {_fields(key, Pod(), cause.reason)}"),  # D2
            ]
        case _:
            return []


def refused(event: ev.AssignRefused) -> list[Line]:
    """The reply to an ADD that got nothing."""
    why = f"{event.reason}: {event.fact}"
    return [Line("info", f"Send AddNetworkReply: Success: false IPAddr: [], resp: , err: {why}")]  # D4


def settings(event: ev.Started) -> list[Line]:
    """What the node is and how its pool is tuned. The last line is our own: upstream tells less of its settings."""
    node, tuned = event.node, event.settings
    targets = (
        f"warm IP target: {tuned.warm_ip_target}, warm prefix target: {tuned.warm_prefix_target}, "
        f"warm ENI target: {tuned.warm_eni_target}, minimum IP target: {tuned.minimum_ip_target}"
    )
    whole = msgspec.json.encode({"settings": tuned, "node": node, "seed": event.seed}).decode()
    told = (
        ("availability zone", node.zone), ("instance-id", node.instance), ("instance-type", node.instance_type),
        ("subnet-id", node.subnet), ("vpc-id", node.vpc),
    )  # fmt: skip
    return [
        *(Line("debug", f"Found {name}: {value}") for name, value in told if value),  # G10
        Line("debug", f"IP pool manager - max pods: {node.max_pods}, {targets}"),  # E7
        Line("info", f"Effective settings: {whole}"),
    ]


def _fields(key: Sandbox, pod: Pod, reason: str = "") -> str:
    """A request as Go prints its message: fields that are empty are left out."""
    fields = (
        ("K8S_POD_NAME", pod.name), ("K8S_POD_NAMESPACE", pod.namespace), ("K8S_POD_INFRA_CONTAINER_ID", key.container),
        ("Reason", reason), ("ContainerID", key.container), ("IfName", key.interface), ("NetworkName", key.network),
    )  # fmt: skip
    return "  ".join(f"{name}:{json.dumps(value, ensure_ascii=False)}" for name, value in fields if value)
