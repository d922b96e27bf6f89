"""What a configuration comes to on an instance: does the pool starve or flap, what has no effect, what is a limit.

The rules are closed formulas of the settings; `ipamd.sim.combinations` lives every combination of a small node
through, and a test holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ipamd.core.types import PREFIX_SIZE, ceil_div

from .case import Case, Instance, Kind, Verdict
from .errors import quoted
from .features import features
from .load import Config
from .variables import VARIABLES

GRAVE: Final[tuple[Kind, ...]] = ("starves", "flaps")
"""What no node should run with."""
_KINDS: Final[tuple[Kind, ...]] = ("starves", "flaps", "limits", "ignored", "risks")
_TARGETS: Final = ("WARM_IP_TARGET", "MINIMUM_IP_TARGET")
_LOOPBACK: Final = ("127.", "localhost:", "[::1]:", "unix:")


def verdicts(config: Config, instance: Instance) -> tuple[Verdict, ...]:
    """Every finding, the gravest kind first. Raises `ConfigError` where the daemon would not start."""
    settings = config.check(prefix_delegation_supported=instance.prefixes).settings
    case = Case(config, settings, instance)
    if settings.provisioning_disabled:
        found = [_provisioning(case), *_ignored(case), *_risks(case)]
    elif settings.ipv6:  # no pool (V6-5)
        found = [*_unread(case), *_risks(case)]
    else:
        found = [*_starves(case), *_flaps(case), *_limits(case), *_ignored(case), *_risks(case)]
    found += features(case)
    return tuple(sorted(found, key=lambda verdict: _KINDS.index(verdict.kind)))


def _provisioning(case: Case) -> Verdict:
    name, spec = "DISABLE_NETWORK_RESOURCE_PROVISIONING", "ENV-9"
    if not case.config.values[name]:
        name, spec = "ENABLE_IMDS_ONLY_MODE", "ENV-10"
    reason = "no ENI and no address is ever added or given back: pods get what others attach to the instance"
    return Verdict("limits", (name,), reason, (spec, "POOL-13", "POOL-18"))


def _starves(case: Case) -> Iterator[Verdict]:
    settings, size = case.settings, case.size
    held = min(ceil_div(settings.minimum_ip_target, size) * size, case.capacity)
    if settings.warm_ip_target or not settings.minimum_ip_target or held >= case.pods:
        return
    reason = (
        f"without WARM_IP_TARGET the pool never grows beyond {held} addresses: {held} pods get one and no other, "
        f"of the {case.pods} that the node could carry"
    )
    spec = ("POOL-5", "POOL-6", "POOL-7") if settings.prefix_delegation else ("POOL-5", "POOL-6")
    yield Verdict("starves", ("MINIMUM_IP_TARGET",), reason, spec, "set WARM_IP_TARGET to 1 or more too")


def _flaps(case: Case) -> Iterator[Verdict]:
    settings, slots = case.settings, case.instance.slots
    if case.by_addresses or not case.pods:
        return
    if settings.prefix_delegation:
        if not settings.warm_prefix_target:
            reason = (
                "whenever all prefixes are full (with 0, 16, 32, ... pods) one is added, found to be one too many, "
                "given back, and added again"
            )
            remedy = "set WARM_PREFIX_TARGET=1; the stock image refuses to start so"
            yield Verdict("flaps", ("WARM_PREFIX_TARGET",), reason, ("POOL-6", "POOL-10", "ENV-69"), remedy)
    elif not settings.warm_eni_target and case.serving > 1 and slots < case.instance.max_pods:
        reason = (
            f"whenever all ENIs are full (with {slots} pods, and so on) one is added, found to be one too many, "
            "freed a minute later, and added again"
        )
        remedy = "set WARM_ENI_TARGET=1, or WARM_IP_TARGET"
        yield Verdict("flaps", ("WARM_ENI_TARGET",), reason, ("POOL-6", "POOL-35", "DM-36"), remedy)


def _limits(case: Case) -> Iterator[Verdict]:
    settings, instance = case.settings, case.instance
    if case.by_addresses:
        wanted = {
            "WARM_IP_TARGET": settings.warm_ip_target,
            "MINIMUM_IP_TARGET": settings.minimum_ip_target,
        }
    elif settings.prefix_delegation:
        wanted = {"WARM_PREFIX_TARGET": settings.warm_prefix_target * PREFIX_SIZE}
    else:
        wanted = {"WARM_ENI_TARGET": settings.warm_eni_target * instance.slots}
    for name, addresses in wanted.items():
        if addresses > min(case.capacity, instance.max_pods + case.size):
            reason = (
                f"asks for {addresses} addresses; the node stops at {case.capacity} (all {case.serving} ENIs) "
                f"or at max pods {instance.max_pods}, so it takes all it may at once"
            )
            yield Verdict("limits", (name,), reason, ("POOL-6", "POOL-38"), "lower it")
    if instance.max_pods > case.capacity + 2:  # two of the host's network come with every node (LIM-10)
        reason = f"{instance.max_pods} are allowed, but the node carries {case.capacity} addresses for pods"
        remedy = "lower kubelet's --max-pods (`ipamd max-pods` recommends one)"
        yield Verdict("limits", ("MAX_ENI",) if settings.max_eni else ("max pods",), reason, ("POOL-38",), remedy)
    by_single = instance.enis * instance.slots + 2
    if settings.prefix_delegation and instance.max_pods <= by_single < case.capacity:
        reason = (
            f"{instance.max_pods} is a figure for single addresses: the pool stops growing there, "
            f"though prefixes could give {case.capacity} addresses"
        )
        remedy = "raise kubelet's --max-pods (`ipamd max-pods` recommends one)"
        yield Verdict("limits", ("max pods",), reason, ("POOL-6", "INIT-32", "LIM-12"), remedy)


def _unread(case: Case) -> Iterator[Verdict]:
    for warning in case.config.warnings:
        if warning.name in VARIABLES and not case.chosen(warning.name):
            reason = f"{quoted(warning.value)} is refused: want {warning.want}; {warning.instead}"
            yield Verdict("ignored", (warning.name,), reason, (VARIABLES[warning.name].spec,))


def _ignored(case: Case) -> Iterator[Verdict]:
    settings, instance = case.settings, case.instance
    yield from _unread(case)
    if case.config.values["ENABLE_PREFIX_DELEGATION"] and not settings.prefix_delegation:
        reason = f"{instance.name} is neither on Nitro nor bare metal and takes no prefixes; single addresses are used"
        yield Verdict("ignored", ("ENABLE_PREFIX_DELEGATION",), reason, ("INIT-13", "INIT-14"))
    if settings.max_eni > instance.enis:
        reason = f"{settings.max_eni} is above the {instance.enis} ENIs that {instance.name} carries, which rule"
        yield Verdict("ignored", ("MAX_ENI",), reason, ("ENV-5", "INIT-16"))
    if settings.minimum_ip_target and settings.minimum_ip_target <= settings.warm_ip_target:
        reason = f"{settings.minimum_ip_target} is within WARM_IP_TARGET={settings.warm_ip_target}, which rules"
        yield Verdict("ignored", ("MINIMUM_IP_TARGET",), reason, ("POOL-5",))
    ruling = " and ".join(name for name in _TARGETS if case.config.values[name])
    if case.chosen("WARM_ENI_TARGET"):
        if case.by_addresses:
            yield Verdict("ignored", ("WARM_ENI_TARGET",), f"{ruling} rules", ("POOL-3",))
        elif settings.prefix_delegation:
            yield Verdict("ignored", ("WARM_ENI_TARGET",), "prefix delegation is on", ("POOL-3", "POOL-6"))
    if case.chosen("WARM_PREFIX_TARGET"):
        if not settings.prefix_delegation:
            yield Verdict("ignored", ("WARM_PREFIX_TARGET",), "prefix delegation is off", ("POOL-2", "POOL-3"))
        elif case.by_addresses:
            reason = f"{ruling} rules; it only keeps ENIs that hold free prefixes from being freed"
            yield Verdict("ignored", ("WARM_PREFIX_TARGET",), reason, ("POOL-3", "DM-39"))


def _risks(case: Case) -> Iterator[Verdict]:
    cooldown, quirks = case.settings.ip_cooldown_period, case.settings.quirks
    if cooldown <= 0:
        reason = "an address may serve a new pod at once, while others still send to the pod that had it"
        yield Verdict("risks", ("IP_COOLDOWN_PERIOD",), reason, ("DM-28",), "30 is the default")
    if quirks.cooling_counts_as_available and cooldown > 0:
        reason = f"after pods go, cooling addresses look available: for up to {cooldown} s new pods may get none"
        remedy = "raise the warm target by the pods that go within that time"
        yield Verdict("risks", ("UPSTREAM_PARITY",), reason, ("DM-34", "POOL-5"), remedy)
    address = case.config.options.introspection_address
    if case.config.options.introspection and not address.startswith(_LOOPBACK):
        reason = f'"{address}" is no loopback address: whoever reaches it reads the names of all pods'
        yield Verdict("risks", ("INTROSPECTION_BIND_ADDRESS",), reason, ("ENV-34",), "use 127.0.0.1:61679")
