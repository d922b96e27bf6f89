"""Why there is no address: one word, the fact, the remedy. Used by refusals, metrics and `why` alike."""

from __future__ import annotations

from typing import Final

from .calls import INSUFFICIENT_CIDR_BLOCKS, INSUFFICIENT_FREE_ADDRESSES, REQUEST_LIMIT_EXCEEDED, UNAUTHORIZED
from .cluster import manageable
from .commands import Refused
from .pool_linux import allocatable, balance, enis_max, has_room_for_eni, targets
from .state import State, Trouble
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
    "restart": "retry; node init takes seconds, else see the daemon's log",
    "unschedulable": "uncordon the node, or set AWS_MANAGE_ENIS_NON_SCHEDULABLE=true",
}
"""Reason -> what may be done about it, where the reason alone tells that."""

TROUBLE_FRESH: Final = 30 * SECOND
"""So long after a failure a refusal is laid to it: several pool cycles."""
WAIT_FAILED: Final = "increaseIPPoolwaitENIAttachedFailed"
NO_SUBNET: Final = "no valid subnets available for ENI creation"
PRIMARY_EXCLUDED: Final = "primary subnet is tagged with kubernetes.io/role/cni=0"
_BY_CODE: Final = {
    INSUFFICIENT_CIDR_BLOCKS: ("fragmented", "the subnet has no free aligned /28 block"),
    INSUFFICIENT_FREE_ADDRESSES: ("subnet_full", "the subnet has too few free addresses"),
    REQUEST_LIMIT_EXCEEDED: ("throttled", "EC2 throttled the last request"),
    "RequestThrottled": ("throttled", "EC2 throttled the last request"),
    "Throttling": ("throttled", "EC2 throttled the last request"),
    "ThrottlingException": ("throttled", "EC2 throttled the last request"),
    "AccessDenied": ("permission", "EC2 refused the last request for lack of permission"),
    UNAUTHORIZED: ("permission", "EC2 refused the last request for lack of permission"),
}


def paused(state: State, now: Instant) -> bool:
    """Within 120 s, inclusive, of the last insufficient-CIDR error (POOL-18, TV-43)."""
    return bool(state.exhausted_at) and now - state.exhausted_at <= EXHAUSTED_PAUSE


def refusal(state: State, now: Instant) -> Refused:
    """The reason that, if it were not so, would most directly have given an address."""
    if state.phase != "ready":
        step = getattr(state.pool.work, "step", state.phase)
        return _refused("restart", f"the daemon is starting: node init is at step {step}")
    if state.terminating:
        return _refused("terminating", "the daemon is shutting down")
    if not manageable(state):
        return _refused("unschedulable", "the node is cordoned, so its pool does not grow")
    if state.trouble is not None and troubled(state, now):
        return _of_trouble(state.trouble)
    cooling = _cooling(state, now)
    if cooling:
        still = "1 address still cools" if cooling == 1 else f"{cooling} addresses still cool"
        return _refused("cooldown", f"{still} ({state.settings.ip_cooldown_period} s after their release)")
    return _by_growth(state, now)


def troubled(state: State, now: Instant) -> bool:
    """Whether the last failure to grow still matters: the pool pauses for it, or has hardly had time to try again.

    A pool that is too small tries every five seconds, so an older failure was followed by a pool that had enough.
    """
    return state.trouble is not None and (paused(state, now) or now - state.trouble.at <= TROUBLE_FRESH)


def reason_of(fn: str, code: str, message: str) -> tuple[str, str]:
    """The reason and the fact that a failure to grow is."""
    if code in _BY_CODE:
        reason, fact = _BY_CODE[code]
        return reason, f"{fact} ({code})"
    if fn == WAIT_FAILED:
        return "metadata_lag", "a new ENI never was whole in instance metadata"
    if message in (NO_SUBNET, PRIMARY_EXCLUDED):
        return "excluded_subnet", message
    return "api_error", f"the last {fn} failed ({code or 'no code'})"


def _of_trouble(trouble: Trouble) -> Refused:
    return _refused(*reason_of(trouble.fn, trouble.code, trouble.message))


def _cooling(state: State, now: Instant) -> int:
    """Addresses that would serve pods if they did not cool."""
    cooldown = state.cooldown
    return sum(
        block.cooling_at(now, cooldown)
        for store in state.stores.values()
        for block in store.by_rank.values()
        if block.cooling and state.usable(block)
    )


def _spare_but_excluded(state: State) -> bool:
    """Whether an excluded ENI has an address that nobody uses."""
    mode = state.settings.prefix_delegation
    return any(
        eni.excluded and any(block.prefix == mode and block.assigned < block.size for block in eni.blocks.values())
        for eni in state.enis.values()
    )


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
    if _spare_but_excluded(state):
        return _refused("excluded_subnet", "there are free addresses, on an ENI whose subnet is excluded by its tag")
    full = _of_enis(state)
    if full is not None:
        return full
    if isinstance(state.pool.work, Fill):
        return _refused("target", "addresses are on their way")
    fact = "all addresses of the warm pool are in use"
    if targets(state, 0) == (0, state.settings.minimum_ip_target):
        return Refused("target", fact, "set WARM_IP_TARGET: MINIMUM_IP_TARGET alone never grows the pool beyond itself")
    return _refused("target", fact)
