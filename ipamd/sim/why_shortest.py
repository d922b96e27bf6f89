"""Changes of one setting or limit, each knob a ladder from small to large: the search for the shortest that helps."""

from __future__ import annotations

from typing import Final

import msgspec

from ipamd.core import pool_linux
from ipamd.core.state import State
from ipamd.ec2.limits import UnknownInstanceType, limits_of

from .relive import Change

_MORE: Final = (1, 2, 4, 8, 16, 32)
_SIZES: Final = ("nano", "micro", "small", "medium", "large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge")


class Step(msgspec.Struct, frozen=True):
    """One rung. `reasons`: which causes this knob bears on."""

    text: str
    change: Change
    reasons: tuple[str, ...]


class Tried(msgspec.Struct, frozen=True):
    """A change that was tried, and whether the pod had an address with it."""

    change: str
    grants: bool


def steps(before: State, base: State) -> list[list[Step]]:
    """The ladders for a node as it was at the refusal (`before`); `base` is where branches begin."""
    ladders = [_cooldown(before), _warm(before), _minimum(before), _blocks(before), _limits(before), _types(before)]
    if not before.settings.prefix_delegation and _prefixes(before):
        change = Change(settings={"prefix_delegation": True, "warm_prefix_target": 1})
        ladders.append([Step("ENABLE_PREFIX_DELEGATION=true", change, ("eni_limit",))])
    if base.settings.quirks.cooling_counts_as_available:
        quirks = msgspec.structs.replace(base.settings.quirks, cooling_counts_as_available=False)
        ladders.append(
            [
                Step(
                    "UPSTREAM_PARITY without cooling_counts_as_available",
                    Change(settings={"quirks": quirks}),
                    ("cooldown",),
                )
            ]
        )
    return [rungs for rungs in ladders if rungs]


def _cooldown(state: State) -> list[Step]:
    now = state.settings.ip_cooldown_period
    lower = sorted({now * 3 // 4, now // 2, now // 4, 1, 0} - {now}, reverse=True)
    return [
        Step(f"IP_COOLDOWN_PERIOD={period}", Change(settings={"ip_cooldown_period": period}), ("cooldown",))
        for period in lower
        if period < now
    ]


def _warm(state: State) -> list[Step]:
    now = state.settings.warm_ip_target
    reasons = ("target", "attach_pending", "throttled", "api_error", "subnet_full", "restart", "metadata_lag")
    return [
        Step(f"WARM_IP_TARGET={now + more}", Change(settings={"warm_ip_target": now + more}), reasons) for more in _MORE
    ]


def _minimum(state: State) -> list[Step]:
    now = state.settings.minimum_ip_target
    total = pool_linux.stats(state, 0, state.at).total
    wanted = [total + more for more in _MORE if total + more > now]
    return [
        Step(f"MINIMUM_IP_TARGET={most}", Change(settings={"minimum_ip_target": most}), ("target", "attach_pending"))
        for most in wanted
    ]


def _blocks(state: State) -> list[Step]:
    name, variable = ("warm_eni_target", "WARM_ENI_TARGET")
    if state.settings.prefix_delegation:
        name, variable = ("warm_prefix_target", "WARM_PREFIX_TARGET")
    if pool_linux.targets(state, 0) is not None:
        return []
    now = getattr(state.settings, name)
    return [
        Step(f"{variable}={now + more}", Change(settings={name: now + more}), ("target", "attach_pending"))
        for more in (1, 2, 3)
    ]


def _limits(state: State) -> list[Step]:
    rungs = []
    if state.settings.max_eni:
        rungs.append(Step("MAX_ENI unset", Change(settings={"max_eni": 0}), ("eni_limit",)))
    total = pool_linux.stats(state, 0, state.at).total
    if total >= state.node.max_pods:
        rungs += [
            Step(f"--max-pods {state.node.max_pods + more}", Change(node={"max_pods": state.node.max_pods + more}),
                 ("max_pods",))
            for more in _MORE
        ]  # fmt: skip
    return rungs


def _types(state: State) -> list[Step]:
    """Larger sizes of the same family."""
    family, _, size = state.node.instance_type.partition(".")
    rungs = []
    for larger in _SIZES[_SIZES.index(size) + 1 :] if size in _SIZES else ():
        try:
            limits = limits_of(f"{family}.{larger}")
        except UnknownInstanceType:
            continue
        if (limits.enis, limits.ips_per_eni) == (state.node.enis_max, state.node.ips_per_eni):
            continue
        node = {"instance_type": f"{family}.{larger}", "enis_max": limits.enis, "ips_per_eni": limits.ips_per_eni}
        rungs.append(Step(f"--instance-type {family}.{larger}", Change(node=node), ("eni_limit",)))
    return rungs[:3]


def _prefixes(state: State) -> bool:
    try:
        return limits_of(state.node.instance_type).prefixes
    except UnknownInstanceType:
        return False
