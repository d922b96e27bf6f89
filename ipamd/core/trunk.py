"""Asking for a trunk ENI: features of the node's CNINode, which the VPC resource controller acts on (SGP-2..7).

At init they are calls in a queue; afterwards a lane of its own looks every 5 s until the trunk is in the store, and
calls only where the feature is missing. A look leaves no record, so a node that waits for its trunk keeps quiet.
"""

from __future__ import annotations

from typing import Final

from . import events as ev
from .calls import Call, Failed, Outcome, Succeeded, View
from .cluster import ENI_CONFIG_DEFAULT, own_eni_config
from .kube import CUSTOM_NETWORKING, SECURITY_GROUPS_FOR_PODS, AddFeature, CniNodeView, KubeCall, ReadCniNode
from .pod_eni import trunk
from .pool_linux import enis_max
from .state import State
from .steps import HALF, text_of
from .types import CallId, Instant

PERIOD: Final = 2 * HALF
"""SGP-7: each pool update."""
NO_SLOT: Final = "no slot available for a trunk ENI to be attached"


def features(state: State) -> tuple[list[ev.Event], tuple[KubeCall, ...]]:
    """SGP-4, SGP-5: what init has to add to the CNINode, and what there is to be said."""
    if not state.settings.pod_eni:
        return [], ()
    said: list[ev.Event] = []
    calls: list[KubeCall] = []
    if state.settings.custom_networking:
        name = own_eni_config(state)
        if name != ENI_CONFIG_DEFAULT:
            calls.append(AddFeature(state.node.name, CUSTOM_NETWORKING, name))
        else:
            said.append(ev.ErrorCounted("CNINode", "the ENIConfig is `default`: CustomNetworking is not told", "", ""))
    if trunk(state) is None:
        if has_slot(state):
            calls.append(AddFeature(state.node.name, SECURITY_GROUPS_FOR_PODS))
        else:
            said.append(ev.ErrorCounted("tryEnableSecurityGroupsForPods", NO_SLOT, "", ""))
    return said, tuple(calls)


def has_slot(state: State) -> bool:
    """SGP-6: room for one more ENI on card 0; not asked in IPv6 mode."""
    if state.settings.ipv6:
        return True
    outside = sum(card == 0 for card in state.counted.values())
    return sum(eni.card == 0 for eni in state.enis.values()) < enis_max(state, 0) - outside


def failed_at_init(call: Call, outcome: Outcome) -> list[ev.Event]:
    """The failure counted; fatal for CustomNetworking (SGP-4), not for the other (SGP-5)."""
    assert isinstance(call, AddFeature) and not isinstance(outcome, Succeeded)
    if call.name == CUSTOM_NETWORKING:
        said = text_of(outcome)
        return [ev.ErrorCounted("nodeInit", said, counter="pod_eni"), ev.InitFailed("features", "", said)]
    return [counted(outcome)]


def counted(outcome: Outcome | Failed) -> ev.ErrorCounted:
    """SGP-6."""
    return ev.ErrorCounted("tryEnableSecurityGroupsForPods", text_of(outcome), counter="pod_eni")


# ---- the lane ------------------------------------------------------------------------------------------------


def wanted(state: State) -> bool:
    """Whether there is still a trunk to be asked for, and a slot for it."""
    return state.phase == "ready" and state.settings.pod_eni and trunk(state) is None and has_slot(state)


def next_round(state: State, now: Instant) -> Instant:
    """Every 5 s from the end of init or of the last call."""
    since = state.trunk.since
    return since + (max(now - since, 0) // PERIOD + 1) * PERIOD


def look(state: State) -> ReadCniNode:
    """What a round reads."""
    return ReadCniNode(state.node.name)


def observe(state: State, seen: View | Failed) -> list[ev.Event]:
    """The feature is there: nothing. It is not: it is added."""
    if not wanted(state) or state.trunk.call is not None:
        return []
    if isinstance(seen, Failed):
        return [counted(seen)]
    assert isinstance(seen, CniNodeView)
    if (SECURITY_GROUPS_FOR_PODS, "") in seen.features:
        return []
    call = AddFeature(state.node.name, SECURITY_GROUPS_FOR_PODS)
    return [ev.CallStarted(CallId(state.next_call), call, "trunk")]


def settle(outcome: Outcome) -> list[ev.Event]:
    """A failure is counted; the next round tries again."""
    again: list[ev.Event] = [ev.WorkMoved(None, "trunk")]
    return again if isinstance(outcome, Succeeded) else [counted(outcome), *again]
