"""The 30 s watcher: VPC CIDRs (INIT-30) and security groups (INIT-31, POOL-51), one look at metadata for both.

Upstream runs two goroutines; both wait 30 s after their last round ended, so one lane does for both.
"""

from __future__ import annotations

import msgspec

from . import events as ev
from .calls import (
    Failed,
    MetadataView,
    ModifyNetworkInterfaceAttribute,
    Outcome,
    ReadMetadata,
    SetUpHost,
    Succeeded,
    View,
)
from .state import State
from .steps import WATCH_INTERVAL, Want, logged
from .types import Instant
from .work import ApplyGroups, SyncHost, Work


def next_round(state: State, now: Instant) -> Instant:
    """When metadata is read again: every 30 s from the end of node init or of the last round that changed something."""
    since = state.watch.since
    return since + (max(now - since, 0) // WATCH_INTERVAL + 1) * WATCH_INTERVAL


def want(state: State) -> Want | None:
    """The lane's next step; None while it only waits for its next round."""
    work = state.watch.work
    if isinstance(work, SyncHost):
        primary = state.enis.get(state.node.primary_eni)
        return Want(call=SetUpHost(state.node_ip, state.vpc_cidrs, primary.mac if primary else ""))
    if isinstance(work, ApplyGroups):
        if not work.queue:
            return Want()
        return Want(call=ModifyNetworkInterfaceAttribute(work.queue[0], security_groups=work.groups))
    return None


def look() -> ReadMetadata:
    """What a round reads."""
    return ReadMetadata()


def observe(state: State, seen: View | Failed) -> list[ev.Event]:
    """A round: errors skip it; what changed is recorded and applied, CIDRs first."""
    if not isinstance(seen, MetadataView) or state.watch.work is not None:
        return []
    events: list[ev.Event] = []
    work: Work | None = None
    groups = tuple(sorted(seen.security_groups))
    if groups != state.security_groups and not state.settings.provisioning_disabled:
        events.append(ev.SecurityGroupsChanged(groups))
        work = None if state.settings.custom_networking else ApplyGroups(tuple(sorted(state.enis)), groups)  # POOL-51
    vpc_cidrs = seen.vpc_cidrs6 if state.settings.ipv6 else seen.vpc_cidrs
    if vpc_cidrs != state.vpc_cidrs:
        events.append(ev.VpcCidrsChanged(vpc_cidrs))
        work = SyncHost()
    return [*events, ev.WorkMoved(work, "watch")] if events else []


def settle(state: State, outcome: Outcome) -> list[ev.Event]:
    """Failures are logged; the next ENI, or the end of the round."""
    work = state.watch.work
    failed: list[ev.Event] = [] if isinstance(outcome, Succeeded) else [logged(f"watch {type(work).__name__}", outcome)]
    if isinstance(work, ApplyGroups) and len(work.queue) > 1:
        return [*failed, ev.WorkMoved(msgspec.structs.replace(work, queue=work.queue[1:]), "watch")]
    if isinstance(work, SyncHost) and state.groups_stale and not state.settings.custom_networking:
        apply = ApplyGroups(tuple(sorted(state.enis)), state.security_groups or ())
        return [*failed, ev.WorkMoved(apply, "watch")]
    return [*failed, ev.WorkMoved(None, "watch")]


def evaluate() -> list[ev.Event]:
    """Nothing left in the queue."""
    return [ev.WorkMoved(None, "watch")]
