"""Why there is no address: one word, the fact, the remedy. Used by refusals, metrics and `why` alike."""

from __future__ import annotations

from typing import Final

from .calls import INSUFFICIENT_CIDR_BLOCKS, INSUFFICIENT_FREE_ADDRESSES, REQUEST_LIMIT_EXCEEDED, UNAUTHORIZED
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

_BY_CODE: Final = {
    INSUFFICIENT_CIDR_BLOCKS: (
        "fragmented",
        "the subnet has no free aligned /28 block",
        "reserve a /28-aligned range for prefixes, or use another subnet",
    ),
    INSUFFICIENT_FREE_ADDRESSES: (
        "subnet_full",
        "the subnet has too few free addresses",
        "add a subnet or lower the warm targets of its nodes",
    ),
    REQUEST_LIMIT_EXCEEDED: (
        "throttled",
        "EC2 throttled the last request",
        "raise the warm targets so that fewer calls are needed, or ask for a higher rate",
    ),
    UNAUTHORIZED: (
        "permission",
        "EC2 refused the last request for lack of permission",
        "grant the node's role the EC2 actions",
    ),
}


def paused(state: State, now: Instant) -> bool:
    """Within 120 s, inclusive, of the last insufficient-CIDR error (POOL-18, TV-43)."""
    return bool(state.exhausted_at) and now - state.exhausted_at <= EXHAUSTED_PAUSE


def refusal(state: State, now: Instant) -> Refused:
    """The reason that, if it were not so, would most directly have given an address."""
    if state.terminating:
        return Refused("terminating", "the daemon is shutting down", "the next daemon answers the retry")
    if state.trouble is not None and state.trouble.code in _BY_CODE:
        reason, fact, remedy = _BY_CODE[state.trouble.code]
        return Refused(reason, f"{fact} ({state.trouble.code})", remedy)
    cooling = sum(len(store.cooling) for store in state.stores.values())
    if cooling:
        still = "1 address still cools" if cooling == 1 else f"{cooling} addresses still cool"
        fact = f"{still} ({state.settings.ip_cooldown_period} s after their release)"
        return Refused("cooldown", fact, "retry, lower IP_COOLDOWN_PERIOD, or raise the warm targets")
    return _by_growth(state, now)


def _by_growth(state: State, now: Instant) -> Refused:
    if isinstance(state.pool.work, Grow):
        step = state.pool.work.step
        if step == "wait":
            return Refused("metadata_lag", f"ENI {state.pool.work.eni} is not in instance metadata yet", "retry")
        return Refused("attach_pending", f"an ENI is being added (step {step})", "retry, or raise the warm targets")
    counted = balance(state, 0, now)
    if counted.stats.total >= state.node.max_pods:
        fact = f"all {counted.stats.total} addresses are in use; with max pods {state.node.max_pods} no more are sought"
        return Refused("max_pods", fact, "use another node")
    serving = [eni for eni in state.enis.values() if not eni.excluded]
    if not serving:
        fact = "every ENI's subnet is excluded by its tag"
        return Refused("excluded_subnet", fact, "remove kubernetes.io/role/cni=0")
    if not allocatable(state, 0) and not has_room_for_eni(state, 0):
        fact = f"all {enis_max(state)} ENIs of {state.node.instance_type} are full"
        return Refused("eni_limit", fact, "use a larger type, prefix delegation, or fewer pods a node")
    if state.trouble is not None:
        fact = f"the last {state.trouble.fn} failed ({state.trouble.code or 'no code'})"
        return Refused("api_error", fact, "see the log for EC2's message")
    if isinstance(state.pool.work, Fill):
        return Refused("target", "addresses are on their way", "retry, or raise the warm targets")
    remedy = "retry, or raise the warm targets"
    if targets(state, 0) == (0, state.settings.minimum_ip_target):
        remedy = "set WARM_IP_TARGET: MINIMUM_IP_TARGET alone never grows the pool beyond itself"
    return Refused("target", "all addresses of the warm pool are in use", remedy)
