"""Why there is no address: one word, the fact, the remedy. Used by refusals, metrics and `why` alike."""

from __future__ import annotations

from typing import Final

from .calls import INSUFFICIENT_CIDR_BLOCKS, INSUFFICIENT_FREE_ADDRESSES, REQUEST_LIMIT_EXCEEDED, UNAUTHORIZED
from .cluster import manageable
from .commands import Refused
from .pool_linux import allocatable, balance, enis_max, has_room_for_eni, targets
from .state import State
from .types import SECOND, Instant
from .work import Fill, Grow

REASONS: Final = (
    "target", "cooldown", "eni_limit", "max_pods", "subnet_full", "fragmented", "throttled", "api_error", "permission",
    "metadata_lag", "attach_pending", "unschedulable", "excluded_subnet", "terminating", "restart", "invalid",
)  # fmt: skip
EXHAUSTED_PAUSE: Final = 120 * SECOND
"""POOL-18: no increase for so long after the subnet was found exhausted (inclusive)."""

REMEDIES: Final = {
    "target": "retry, or raise the warm targets",
    "cooldown": "retry, lower IP_COOLDOWN_PERIOD, or raise the warm targets",
    "attach_pending": "retry, or raise the warm targets",
    "metadata_lag": "retry",
    "eni_limit": "use a larger type, prefix delegation, or fewer pods a node",
    "max_pods": "raise --max-pods",
    "subnet_full": "add a subnet or lower the warm targets of its nodes",
    "fragmented": "reserve a /28-aligned range for prefixes, or use another subnet",
    "excluded_subnet": "remove kubernetes.io/role/cni=0",
    "throttled": "raise the warm targets so that fewer calls are needed, or ask for a higher rate",
    "permission": "grant the node's role the EC2 actions",
    "api_error": "see the log for EC2's message",
    "terminating": "the next daemon answers the retry",
    "unschedulable": "uncordon the node, or set AWS_MANAGE_ENIS_NON_SCHEDULABLE=true",
}
"""Reason -> what may be done about it, where the reason alone tells that."""

_BY_CODE: Final = {
    INSUFFICIENT_CIDR_BLOCKS: ("fragmented", "the subnet has no free aligned /28 block"),
    INSUFFICIENT_FREE_ADDRESSES: ("subnet_full", "the subnet has too few free addresses"),
    REQUEST_LIMIT_EXCEEDED: ("throttled", "EC2 throttled the last request"),
    UNAUTHORIZED: ("permission", "EC2 refused the last request for lack of permission"),
}


def paused(state: State, now: Instant) -> bool:
    """Within 120 s, inclusive, of the last insufficient-CIDR error (POOL-18, TV-43)."""
    return bool(state.exhausted_at) and now - state.exhausted_at <= EXHAUSTED_PAUSE


def refusal(state: State, now: Instant) -> Refused:
    """The reason that, if it were not so, would most directly have given an address."""
    if state.terminating:
        return _refused("terminating", "the daemon is shutting down")
    if not manageable(state):
        return _refused("unschedulable", "the node is cordoned, so its pool does not grow")
    if state.trouble is not None and state.trouble.code in _BY_CODE:
        reason, fact = _BY_CODE[state.trouble.code]
        return _refused(reason, f"{fact} ({state.trouble.code})")
    cooling = sum(len(store.cooling) for store in state.stores.values())
    if cooling:
        still = "1 address still cools" if cooling == 1 else f"{cooling} addresses still cool"
        return _refused("cooldown", f"{still} ({state.settings.ip_cooldown_period} s after their release)")
    return _by_growth(state, now)


def stopped(state: State, now: Instant) -> Refused | None:
    """Why a pool that its targets call too small does not grow, where a limit of the node is why (POOL-6, POOL-38)."""
    counted = balance(state, 0, now)
    if counted.short <= 0:
        return None
    if not counted.low:
        return _of_max_pods(state, counted.stats.total)
    return _of_enis(state)


def _refused(reason: str, fact: str) -> Refused:
    return Refused(reason, fact, REMEDIES[reason])


def _of_max_pods(state: State, total: int) -> Refused:
    held = "1 address" if total == 1 else f"{total} addresses"
    pods = "1 pod" if state.node.max_pods == 1 else f"{state.node.max_pods} pods"
    return _refused("max_pods", f"the pool holds {held}, the node may have {pods}")


def _of_enis(state: State) -> Refused | None:
    if any(allocatable(state, card) or has_room_for_eni(state, card) for card in state.cards):
        return None
    enis = "the only ENI" if enis_max(state) == 1 else f"all {enis_max(state)} ENIs"
    return _refused("eni_limit", f"{enis} of {state.node.instance_type} {'is' if enis_max(state) == 1 else 'are'} full")


def _without_prefix(state: State) -> Refused:
    """IPv6 has no pool to wait for: an ENI that serves has a /80, and a /80 is never used up."""
    if all(eni.excluded for eni in state.enis.values()):
        return _refused("excluded_subnet", "every ENI's subnet is excluded by its tag")
    return _refused("api_error", "no ENI has an IPv6 prefix")


def _by_growth(state: State, now: Instant) -> Refused:
    if isinstance(state.pool.work, Grow):
        step = state.pool.work.step
        if step == "wait":
            return _refused("metadata_lag", f"ENI {state.pool.work.eni} is not in instance metadata yet")
        return _refused("attach_pending", f"an ENI is being added (step {step})")
    if state.settings.ipv6:
        return _without_prefix(state)
    total = balance(state, 0, now).stats.total
    if total >= state.node.max_pods:
        return _of_max_pods(state, total)
    serving = [eni for eni in state.enis.values() if not eni.excluded]
    if not serving:
        return _refused("excluded_subnet", "every ENI's subnet is excluded by its tag")
    full = _of_enis(state)
    if full is not None:
        return full
    if state.trouble is not None:
        return _refused("api_error", f"the last {state.trouble.fn} failed ({state.trouble.code or 'no code'})")
    if isinstance(state.pool.work, Fill):
        return _refused("target", "addresses are on their way")
    fact = "all addresses of the warm pool are in use"
    if targets(state, 0) == (0, state.settings.minimum_ip_target):
        return Refused("target", fact, "set WARM_IP_TARGET: MINIMUM_IP_TARGET alone never grows the pool beyond itself")
    return _refused("target", fact)
