"""Events of Windows nodes in words: the node first, then what happened. The words are ours."""

from __future__ import annotations

from typing import assert_never

from ipamd.core import windows_events as we
from ipamd.core.cluster_calls import AdvertiseCapacity, AnnotatePod, ClusterCall, ReadInstance

from .line import Line, listed, second_text


def asked(call: ClusterCall) -> Line:
    """What is about to be asked of the API server, or read of an instance."""
    match call:
        case AnnotatePod():
            return Line("debug", f"Annotating pod {call.namespace}/{call.name} with {call.key}={call.value}")
        case AdvertiseCapacity():
            return Line("info", f"Advertising {call.resource}={call.value} on node {call.node}")
        case ReadInstance():
            return Line("debug", f"Reading instance {call.instance} with its interfaces")
        case _:
            assert_never(call)


def words(event: we.WindowsEvent) -> list[Line]:
    """The lines of one event; bookkeeping has none."""
    match event:
        case we.WindowsAssigned():
            return [Line("info", f"{event.node}: {event.address} of {event.group} goes to pod {event.uid}")]
        case we.WindowsReleased():
            return [Line("info", f"{event.node}: the address of pod {event.uid} begins its cooldown")]
        case we.ReleaseRefused():
            return [Line("debug", f"{event.node}: pod {event.uid} gives nothing back: {event.why}")]
        case we.PodWaits():
            when = f"; next try at {second_text(event.due)}" if event.due else ""
            return [Line("debug", f"{event.node}: pod {event.uid} waits: {event.why}{when}")]
        case we.Announced():
            return [_announced(event)]
        case we.PodKnown() | we.PodForgotten() | we.PodAnnotated() | we.CapacityAdvertised():
            return []
        case we.ConfigMapChanged() | we.LegacyChanged() | we.ControllerOpened():
            return [_cluster(event)]
        case we.NodeKnown() | we.NodeForgotten() | we.NodeInitialised() | we.ModeRemembered():
            return [_node(event)]
        case _:
            return _pool(event)


def _announced(event: we.Announced) -> Line:
    subject = f"pod {event.namespace}/{event.pod}" if event.uid else f"node {event.node}"
    return Line("warn" if event.warning else "info", f"{event.reason} on {subject}: {event.message}")


def _cluster(event: we.ConfigMapChanged | we.LegacyChanged | we.ControllerOpened) -> Line:
    match event:
        case we.ConfigMapChanged():
            pairs = [f"{key}={value}" for key, value in sorted((event.data or {}).items())]
            shown = listed(tuple(pairs)) if event.data is not None else "none"
            return Line("info", f"ConfigMap amazon-vpc-cni is now {shown}")
        case we.LegacyChanged():
            is_there = "is there: Windows IPAM is off" if event.present else "is gone"
            return Line("info", f"Deployment vpc-resource-controller {is_there}")
        case we.ControllerOpened():
            return Line("info", "Controller started; nodes and pods are read anew")


def _node(event: we.NodeKnown | we.NodeForgotten | we.NodeInitialised | we.ModeRemembered) -> Line:
    match event:
        case we.NodeKnown():
            return Line("info", f"{event.node}: {'managed' if event.managed else 'not managed'}")
        case we.NodeForgotten():
            return Line("error" if event.why else "info", f"{event.node}: forgotten{': ' * bool(event.why)}{event.why}")
        case we.NodeInitialised():
            return Line("info", f"{event.node}: ready, instance type {event.facts.instance_type}")
        case we.ModeRemembered():
            return Line(
                "info", f"{event.node}: new pods get {'prefix' if event.prefix_mode else 'secondary'} addresses"
            )


def _pool(
    event: we.PoolBuilt
    | we.PoolConfigured
    | we.Ticked
    | we.ResyncWanted
    | we.PoolResynced
    | we.GroupsGained
    | we.GroupsKept
    | we.GroupsLost
    | we.PrefixesAvailable,
) -> list[Line]:
    where = f"{event.node}: {getattr(event, 'pool', 'prefix')} pool"
    match event:
        case we.PoolBuilt():
            return [Line("info", f"{where}: {len(event.held)} groups found, {len(event.taken)} addresses in use")]
        case we.PoolConfigured():
            wanted = event.targets
            targets = f"warm {wanted.warm}, minimum {wanted.minimum}, prefixes {wanted.prefix}"
            return [Line("info", f"{where}: {'draining' if wanted.draining else targets}")]
        case we.Ticked():
            return [Line("debug", f"{where}: {event.cooled} addresses have cooled")] if event.cooled else []
        case we.ResyncWanted():
            return [Line("warn", f"{where}: to be compared with EC2: {event.why}")]
        case we.PoolResynced():
            return [Line("info", f"{where}: EC2 has {len(event.held)} groups")]
        case we.GroupsGained():
            return [Line("info", f"{where}: gained {listed(tuple(held.group for held in event.held))}")]
        case we.GroupsKept():
            return [Line("warn", f"{where}: could not release {listed(event.groups)}")]
        case we.GroupsLost():
            return [Line("info", f"{where}: released {listed(event.groups)}")]
        case we.PrefixesAvailable():
            free = "has a free /28" if event.available else "has no free /28"
            return [Line("info" if event.available else "warn", f"{event.node}: its subnet {free}")]
        case _:
            assert_never(event)
