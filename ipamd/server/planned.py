"""`/v1/plan`: what the pool would do next, and why, with the numbers it decides by; and `/healthz`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import msgspec

from ipamd.core import plan as planning
from ipamd.core.cluster import manageable
from ipamd.core.plan import DECREASE_INTERVAL
from ipamd.core.pool_linux import Balance, allocatable, enis_max, has_room_for_eni, ips_per_eni
from ipamd.core.reasons import EXHAUSTED_PAUSE, paused, refusal
from ipamd.core.settings import Settings
from ipamd.core.state import State
from ipamd.core.types import PREFIX_SIZE, SECOND, Instant

Document: TypeAlias = dict[str, Any]

_TARGETS: Final = (
    "warm_ip_target", "minimum_ip_target", "warm_eni_target", "warm_prefix_target", "max_eni", "prefix_delegation",
    "ip_cooldown_period", "provisioning_disabled",
)  # fmt: skip


def plan_document(state: State, now: Instant) -> Document:
    """The plan at `now` (ns). `in_flight` has begun; `wants` is what the next update would begin."""
    wanted = planning.plan(state, now)
    running = [
        {"call_id": call_id, "lane": row.lane, "started_at": row.started_at, **_named(row.call)}
        for call_id, row in state.calls.items()
    ]
    told = refusal(state, now) if state.phase == "ready" else None
    return {
        "seq": state.seq,
        "at": now,
        "phase": state.phase,
        "doing": type(state.pool.work).__name__ if state.pool.work is not None else "",
        "step": getattr(state.pool.work, "step", ""),
        "in_flight": running,
        "wants": [_named(call) for call in wanted.calls[len(running) :]],
        "looks": [_named(look) for look in wanted.looks],
        "wake_at": wanted.wake_at,
        "wake_in_seconds": None if wanted.wake_at is None else max(wanted.wake_at - now, 0) / SECOND,
        "cards": {str(card): _card(state, card, goal, now) for card, goal in wanted.why.items()},
        "settings": {name: getattr(state.settings, name) for name in _TARGETS},
        "if_no_address_is_free": told and {"reason": told.reason, "fact": told.fact, "remedy": told.remedy},
    }


def _named(asked: object) -> Document:
    arguments = msgspec.to_builtins(asked)
    return {"call": arguments.pop("type", type(asked).__name__), "arguments": arguments}


def _card(state: State, card: int, goal: Balance, now: Instant) -> Document:
    because, rules = _because(state, goal)
    return {
        "verdict": "grow" if goal.low else "shrink" if goal.high else "rest",
        "short": goal.short,
        "over": goal.over,
        "in": "prefixes" if state.settings.prefix_delegation else "addresses",
        "because": because,
        "rules": rules,
        "held_back_by": list(_held_back(state, card, goal, now)),
        "figures": msgspec.structs.asdict(goal.stats),
        "max_pods": state.node.max_pods,
        "enis_max": enis_max(state),
    }


def _because(state: State, goal: Balance) -> tuple[str, list[str]]:
    """The comparison that decided, in numbers, and the rules that make it."""
    settings: Settings = state.settings
    counted = goal.stats
    if goal.targets:
        return (
            f"{counted.available} addresses available, WARM_IP_TARGET={settings.warm_ip_target}; "
            f"{counted.total} in all, MINIMUM_IP_TARGET={settings.minimum_ip_target}",
            ["POOL-5", "POOL-7", "POOL-8"] if settings.prefix_delegation else ["POOL-5"],
        )
    if settings.prefix_delegation:
        target = settings.warm_prefix_target
        return (
            f"{counted.available} addresses available, want {target * PREFIX_SIZE}; "
            f"{counted.free_prefixes} free prefixes, WARM_PREFIX_TARGET={target}",
            ["POOL-6", "POOL-10"],
        )
    target = settings.warm_eni_target
    wanted = target * max(ips_per_eni(state), 0)
    return f"{counted.available} addresses available, want {wanted}: WARM_ENI_TARGET={target}", ["POOL-6", "POOL-11"]


def _held_back(state: State, card: int, goal: Balance, now: Instant) -> Iterator[str]:
    """Why nothing comes of it though the figures ask for it."""
    if goal.short and not goal.low:
        yield f"{goal.stats.total} addresses are enough for max pods {state.node.max_pods} (POOL-6)"
    if goal.low:
        yield from _not_growing(state, card, now)
    elif goal.high and state.last_decrease and now - state.last_decrease <= DECREASE_INTERVAL:
        yield f"the last scale-down was {(now - state.last_decrease) // SECOND} s ago, want more than 30 s (POOL-15)"


def _not_growing(state: State, card: int, now: Instant) -> Iterator[str]:
    if state.terminating:
        yield "the daemon is shutting down (POOL-18)"
    elif state.settings.provisioning_disabled:
        yield "DISABLE_NETWORK_RESOURCE_PROVISIONING or ENABLE_IMDS_ONLY_MODE (ENV-9, ENV-10)"
    elif paused(state, now):
        left = (state.exhausted_at + EXHAUSTED_PAUSE - now) // SECOND
        yield f"the subnet was exhausted; no attempt for another {left} s (POOL-18, POOL-28)"
    elif not manageable(state):
        yield "the node is cordoned (POOL-18, POOL-19)"
    elif not planning.increase_allowed(state, now):
        yield "growing is not allowed now (POOL-18)"
    if not allocatable(state, card) and not has_room_for_eni(state, card):
        yield f"every slot of all {enis_max(state)} ENIs is taken (POOL-38)"


def health(state: State, lag_seconds: float) -> tuple[int, Document]:
    """200 while the node can serve AddNetwork, else 503; what it is doing, and how far the disk is behind."""
    status = "terminating" if state.terminating else "ok" if state.phase == "ready" else state.phase
    document = {
        "status": status,
        "phase": state.phase,
        "seq": state.seq,
        "journal_lag_seconds": lag_seconds,
    }
    return (200 if status == "ok" else 503), document
