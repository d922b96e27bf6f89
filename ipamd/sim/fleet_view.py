"""What can be said of a fleet at one moment, and what a scenario expects to be said: the same words for both.

`facts(fleet, ...)` fills every member; in a scenario's `expect` each may be left out. Counts are of the present
moment unless a member says otherwise; times in ms are whole, rounded up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from ipaddress import IPv4Network

import msgspec
from msgspec import UNSET, UnsetType

from ipamd.core import events as ev
from ipamd.core import views
from ipamd.core.calls import AssignPrivateIpAddresses, CreateNetworkInterface
from ipamd.core.reasons import paused
from ipamd.core.state import State
from ipamd.core.types import MS, PREFIX_LENGTH, SECOND, ceil_div
from ipamd.ec2.state import Vpc
from ipamd.narrate import Narrator

from .fleet import Fleet, FleetNode
from .neighbours import reservations, taken


class _Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Every member may be left out of an expectation."""


class NodeFacts(_Words, frozen=True, kw_only=True):
    """One node that has joined."""

    state: str | UnsetType = UNSET
    """`starting`, `ready`, `cordoned`, `crashed` or `terminated`."""
    max_pods: int | UnsetType = UNSET
    """As its kubelet has it; two host-network pods count."""
    pods: int | UnsetType = UNSET
    """Pods that run here with an address."""
    waiting: int | UnsetType = UNSET
    """Pods that were placed here and have no address yet."""
    enis_max: int | UnsetType = UNSET
    """ENIs that its type may have."""
    slots_per_eni: int | UnsetType = UNSET
    """Addresses and prefixes that one ENI of its type may have, the primary address included."""
    enis: int | UnsetType = UNSET
    """ENIs of its pool."""
    slots: tuple[int, ...] | UnsetType = UNSET
    """Slots in use of each attached ENI by device number, as EC2 has it; the primary address is one."""
    ipv6_slots: tuple[int, ...] | UnsetType = UNSET
    """The same for IPv6: an address or a /80 is one."""
    prefixes: int | UnsetType = UNSET
    ips: int | UnsetType = UNSET
    """Single secondary addresses."""
    total_ips: int | UnsetType = UNSET
    """Addresses that serve pods, of the mode's kind."""
    unused: int | UnsetType = UNSET
    """Those of them without a pod, cooling ones included."""
    unused_prefixes: int | UnsetType = UNSET
    cooling: int | UnsetType = UNSET
    most_unused: int | UnsetType = UNSET
    """The most at any moment so far at which the fleet had settled."""
    pods_on_prefixes: int | UnsetType = UNSET
    pods_on_ips: int | UnsetType = UNSET
    pods_on_ipv6: int | UnsetType = UNSET
    stranded: int | UnsetType = UNSET
    """Pods that run with an address of which the daemon knows nothing."""
    waited: int | UnsetType = UNSET
    """Pods so far that had to wait for their address."""
    longest_wait_ms: int | UnsetType = UNSET
    """From the pod's creation until it had its address, of those that got one here."""
    refused: int | UnsetType = UNSET
    """AddNetwork requests that got no address so far; the kubelet repeats them."""
    refusals: dict[str, int] | UnsetType = UNSET
    """The same by reason: `fragmented`, `eni_limit`, ..."""
    calls: dict[str, int] | UnsetType = UNSET
    """Requests to EC2 so far by action, reads included."""
    failures: dict[str, int] | UnsetType = UNSET
    """Calls that EC2 refused so far, by code."""
    assign_ms: tuple[int, int] | UnsetType = UNSET
    """Shortest and longest time that adding addresses or prefixes to an ENI took so far; 0, 0 for none."""
    new_eni_ms: tuple[int, int] | UnsetType = UNSET
    """The same of making and attaching an ENI."""
    slow_assigns: int | UnsetType = UNSET
    """Those assigns that took a second or longer."""
    slow_enis: int | UnsetType = UNSET
    """Those new ENIs that took longer than ten seconds."""
    quick_enis: int | UnsetType = UNSET
    """Those that took less than a second, as an assign does."""
    paused: bool | UnsetType = UNSET
    """Whether the pool asks for nothing because the subnet was found exhausted (120 s)."""
    crashes: int | UnsetType = UNSET
    groups_shared: bool | UnsetType = UNSET
    """Whether every ENI has the security groups of the primary one."""
    prefix_mode: bool | UnsetType = UNSET
    capacity: int | UnsetType = UNSET
    """Windows: addresses for pods that the Node advertises."""
    reachable: int | UnsetType = UNSET
    """Windows: how many pods could have an address of the mode's kind now, the slots of the other kind left out."""
    events: dict[str, int] | UnsetType = UNSET
    """Windows: Kubernetes events so far on the node and on its pods, by reason."""
    targets: dict[str, int] | UnsetType = UNSET
    """`warm_ip`, `minimum_ip`, `warm_eni` and `warm_prefix`, as the daemon has them."""
    log: dict[str, int] | UnsetType = UNSET
    """How many lines of the daemon's log begin with a text, for the texts that the scenario expects."""


class SubnetFacts(_Words, frozen=True, kw_only=True):
    """The subnet that the nodes are in."""

    free: int | UnsetType = UNSET
    """Free addresses (AvailableIpAddressCount)."""
    free_blocks: int | UnsetType = UNSET
    """Free aligned /28 blocks that a prefix could have."""
    taken: int | UnsetType = UNSET
    """Addresses that others than the nodes took."""
    prefixes: int | UnsetType = UNSET
    """Prefixes on ENIs."""
    aligned_prefixes: int | UnsetType = UNSET
    """Those of them that are 16 addresses at a boundary of 16 inside the subnet, and no one else's."""
    reserved_prefixes: int | UnsetType = UNSET
    """Those of them that lie in a reservation for prefixes."""
    reserved_singles: int | UnsetType = UNSET
    """Single addresses on ENIs that lie in a reservation for prefixes."""


class PodFacts(_Words, frozen=True, kw_only=True):
    """All pods of the fleet, host-network ones left out."""

    total: int | UnsetType = UNSET
    running: int | UnsetType = UNSET
    """With an address."""
    waiting: int | UnsetType = UNSET
    """Placed on a node, without an address yet."""
    pending: int | UnsetType = UNSET
    """No node has room under its max-pods."""
    most_down: int | UnsetType = UNSET
    """Most pods without an address right after any eviction."""


class Facts(_Words, frozen=True, kw_only=True):
    """A fleet at one moment."""

    settled: bool | UnsetType = UNSET
    """Whether the last `settle` came to rest."""
    drained: bool | UnsetType = UNSET
    """Whether the last `drain` came to its end."""
    seconds: float | UnsetType = UNSET
    """Since the beginning."""
    nodes: dict[str, NodeFacts] | UnsetType = UNSET
    pods: PodFacts | UnsetType = UNSET
    subnet: SubnetFacts | UnsetType = UNSET
    answers: dict[str, str] | UnsetType = UNSET
    """What EC2 said to each named `assign`: `ok`, or the code of its refusal."""


def facts(
    fleet: Fleet, *, began: int, settled: bool, drained: bool, answers: Mapping[str, str], texts: tuple[str, ...]
) -> Facts:
    """Everything that can be said now. `began` in ns; `texts` are the beginnings of log lines to count."""
    everyone = fleet.pods.values()
    running = sum(bool(pod.address) for pod in everyone)
    return Facts(
        settled=settled,
        drained=drained,
        seconds=round((fleet.now - began) / SECOND, 3),
        nodes={name: _node(fleet, node, texts) for name, node in fleet.nodes.items()},
        pods=PodFacts(
            total=len(everyone),
            running=running,
            waiting=len(everyone) - running - len(fleet.pending),
            pending=len(fleet.pending),
            most_down=fleet.most_down,
        ),
        subnet=subnet_facts(fleet.vpc, fleet.subnet),
        answers=dict(answers),
    )


def _node(fleet: Fleet, node: FleetNode, texts: tuple[str, ...]) -> NodeFacts:
    state = State() if node.terminated else node.engine.state  # of what is gone there is nothing to tell
    pool = views.pool(state, fleet.now)
    held = views.pods(state)
    known = {pod.address for pod in held}
    running = [pod for pod in node.pods.values() if pod.address]
    attached = [fleet.vpc.enis[e] for e in fleet.vpc.attached.get(node.engine.node.instance, {})]
    attached.sort(key=lambda eni: (eni.card, eni.device))
    refusals = _refusals(node)
    assigns, creations = _durations(node)
    settings, limits = node.engine.settings, node.engine.node
    return NodeFacts(
        state=_state_of(node),
        max_pods=node.max_pods,
        pods=len(running),
        waiting=len(node.pods) - len(running),
        enis_max=limits.enis_max,
        slots_per_eni=limits.ips_per_eni,
        enis=len(pool.enis),
        slots=tuple(eni.slots for eni in attached),
        ipv6_slots=tuple(eni.ipv6_slots for eni in attached),
        prefixes=sum(eni.prefixes for eni in pool.enis),
        ips=sum(eni.ips for eni in pool.enis),
        total_ips=pool.total_ips,
        unused=pool.unused,
        unused_prefixes=pool.unused_prefixes,
        cooling=pool.cooling,
        most_unused=node.most_unused,
        pods_on_prefixes=sum(not pod.block.endswith("/32") for pod in held),
        pods_on_ipv6=sum(":" in pod.address for pod in held),
        pods_on_ips=sum(pod.block.endswith("/32") for pod in held),
        stranded=sum(pod.address not in known for pod in running),
        waited=sum(wait > 0 for wait in node.waits),
        longest_wait_ms=ceil_div(max(node.waits, default=0), MS),
        refused=sum(refusals.values()),
        refusals=refusals,
        calls=dict(sorted(node.engine.requests.items())),
        failures=_failures(node),
        assign_ms=_span(assigns),
        new_eni_ms=_span(creations),
        slow_assigns=sum(length >= SECOND for length in assigns),
        slow_enis=sum(length > 10 * SECOND for length in creations),
        quick_enis=sum(length < SECOND for length in creations),
        paused=paused(state, fleet.now),
        crashes=node.crashes,
        groups_shared=all(eni.security_groups == attached[0].security_groups for eni in attached),
        prefix_mode=settings.prefix_delegation,
        targets={
            "warm_ip": settings.warm_ip_target, "minimum_ip": settings.minimum_ip_target,
            "warm_eni": settings.warm_eni_target, "warm_prefix": settings.warm_prefix_target,
        },
        log=_log(node, texts),
    )  # fmt: skip


def _state_of(node: FleetNode) -> str:
    if node.terminated:
        return "terminated"
    if node.down:
        return "crashed"
    if not node.ready:
        return "starting"
    return "cordoned" if node.cordoned else "ready"


def _refusals(node: FleetNode) -> dict[str, int]:
    events = (event for record in node.records for event in record.events)
    return dict(sorted(Counter(event.reason for event in events if isinstance(event, ev.AssignRefused)).items()))


def _failures(node: FleetNode) -> dict[str, int]:
    events = (event for record in node.records for event in record.events)
    ends = (event for event in events if isinstance(event, ev.CallEnded) and event.ended == "failed")
    return dict(sorted(Counter(end.code for end in ends).items()))


def _durations(node: FleetNode) -> tuple[list[int], list[int]]:
    """How long successful assigns took, and ENIs from the request until they were attached, in ns."""
    begun: dict[int, tuple[int, bool]] = {}
    asked = 0
    assigns: list[int] = []
    creations: list[int] = []
    for record in node.records:
        for event in record.events:
            match event:
                case ev.CallStarted(call=AssignPrivateIpAddresses()):
                    begun[event.call_id] = (record.at, True)
                case ev.CallStarted(call=CreateNetworkInterface()):
                    asked = record.at
                case ev.CallEnded(ended="succeeded") if event.call_id in begun:
                    assigns.append(record.at - begun[event.call_id][0])
                case ev.EniAttached():
                    creations.append(record.at - asked)
                case _:
                    pass
    return assigns, creations


def _span(lengths: list[int]) -> tuple[int, int]:
    return (ceil_div(min(lengths), MS), ceil_div(max(lengths), MS)) if lengths else (0, 0)


def _log(node: FleetNode, texts: tuple[str, ...]) -> dict[str, int]:
    found = dict.fromkeys(texts, 0)
    if not texts:
        return found
    narrator = Narrator(State())
    for record in node.records:
        for line in narrator.lines(record):
            for text in texts:
                found[text] += line.msg.startswith(text)
    return found


def subnet_facts(vpc: Vpc, subnet: str) -> SubnetFacts:
    """The subnet as it is now."""
    space = vpc.spaces[subnet]
    network = IPv4Network(vpc.subnets[subnet].cidr)
    here = [eni for eni in vpc.enis.values() if eni.subnet == subnet]
    prefixes = [IPv4Network(prefix) for eni in here for prefix in eni.prefixes]
    singles = [IPv4Network(address) for eni in here for address in eni.addresses]
    reserved = reservations(vpc, subnet, "prefix")
    mine = Counter(prefixes)
    aligned = (
        prefix
        for prefix in prefixes
        if prefix.prefixlen == PREFIX_LENGTH and prefix.subnet_of(network) and mine[prefix] == 1
    )
    return SubnetFacts(
        free=space.free,
        free_blocks=space.free_blocks,
        taken=len(taken(vpc, subnet)),
        prefixes=len(prefixes),
        aligned_prefixes=sum(1 for _ in aligned),
        reserved_prefixes=sum(any(p.subnet_of(r) for r in reserved) for p in prefixes),
        reserved_singles=sum(any(s.subnet_of(r) for r in reserved) for s in singles),
    )


# ---- expectations --------------------------------------------------------------------------------------------


class Finding(msgspec.Struct, frozen=True):
    """One member that is not as expected; `key` is its path, `nodes.a.prefixes`."""

    key: str
    expected: object
    actual: object


def differences(expected: Facts, actual: Facts) -> list[Finding]:
    """Where they differ, in the order in which they are expected. What a count does not name is 0."""
    return _differences(msgspec.to_builtins(expected), msgspec.to_builtins(actual), "")


def _differences(expected: object, actual: object, at: str) -> list[Finding]:
    if isinstance(expected, dict) and isinstance(actual, dict):
        found: list[Finding] = []
        for key, value in expected.items():
            absent = 0 if isinstance(value, int) else None
            found += _differences(value, actual.get(key, absent), f"{at}.{key}" if at else str(key))
        return found
    return [] if expected == actual else [Finding(at, expected, actual)]
