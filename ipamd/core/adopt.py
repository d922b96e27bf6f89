"""Setting up attached ENIs (INIT-24, INIT-37): tag, check the subnet, program the host, put into the store.

Node init, reconciliation and a freshly grown ENI walk the same steps; what a failure means is the owner's to say.

    tag -> check -> [read_prefix -> assign_prefix] -> host -> ready -> next candidate

The middle is IPv6's: an ENI has one /80, its first, or it is given one (V6-4).
"""

from __future__ import annotations

import msgspec

from . import events as ev
from .calls import (
    UNAUTHORIZED,
    AssignIpv6Addresses,
    CreateTags,
    DescribeNetworkInterfaces,
    DescribeSubnets,
    EnisView,
    Failed,
    Granted,
    Lost,
    Outcome,
    SetUpEni,
    SubnetsView,
    Succeeded,
    View,
)
from .cards import INSTANCE_TAG
from .state import Eni, State
from .steps import TAG_BACKOFF, Want, logged
from .subnets import excluded
from .types import PREFIX6_LENGTH, PREFIX_LENGTH, SECOND, CidrText, Instant, single
from .work import Adoption, Candidate

CREATED_AT = "node.k8s.amazonaws.com/createdAt"
DESCRIPTION = "aws-K8S-"
"""How the description of every ENI begins that a node made (EC2-1); only such are ours to delete (EC2-42)."""
MAIN_TABLE = 254
TRUNK = "trunk"
"""EC2's interface type (DM-53)."""
HOST_TRIES = 6
"""INIT-34: the first attempt and five retries."""
HOST_PAUSE = 10 * SECOND
LINK_NOT_FOUND = "setupENINetwork: failed to find the link which uses MAC address"
"""INIT-34: with this text in the error a retry is pointless."""
_BLOCKS = (f"/{PREFIX_LENGTH}", f"/{PREFIX6_LENGTH}")


class Stuck(msgspec.Struct, frozen=True):
    """The head of the queue cannot go on: at which step, and why."""

    step: str
    failure: Failed | Lost
    tries: int


def route_table(card: int, device: int) -> int:
    """DM-9."""
    if card:
        return 10000 + 100 * card + device
    return device + 1 if device else MAIN_TABLE


def cluster_tags(state: State) -> dict[str, str]:
    """Tags of managed ENIs without createdAt, in key order (EC2-3, EC2-15, TV-76)."""
    tags = {INSTANCE_TAG: state.node.instance}
    if state.settings.cluster_name:
        tags["cluster.k8s.amazonaws.com/name"] = state.settings.cluster_name
        tags["eks:eni:owner"] = "amazon-vpc-cni"
    tags.update(state.settings.additional_eni_tags)
    return dict(sorted(tags.items()))


def missing_tags(state: State, candidate: Candidate) -> dict[str, str]:
    """What CreateTags has to send (EC2-15); nothing for a trunk or while provisioning is disabled (INIT-24)."""
    if state.settings.provisioning_disabled or candidate.kind == TRUNK:
        return {}
    return {key: value for key, value in cluster_tags(state).items() if candidate.tags.get(key) != value}


def start(state: State, queue: tuple[Candidate, ...], excluded: tuple[str, ...] | None = None) -> Adoption:
    """An adoption of these candidates, the steps that need nothing already passed."""
    return _skip(state, Adoption(queue, excluded=excluded))


def _skip(state: State, adoption: Adoption) -> Adoption:
    """Advance over steps that have nothing to do for the head."""
    if not adoption.queue:
        return adoption
    head, step = adoption.queue[0], adoption.step
    if step == "tag" and not missing_tags(state, head):
        step = "check"
    known = adoption.excluded is not None or state.ec2_silent
    if step == "check" and (known or not state.settings.subnet_discovery):
        step = "read_prefix"
    if step == "read_prefix" and (not state.settings.ipv6 or head.kind == TRUNK):
        step = "host"
    if step == "host" and (head.eni == state.node.primary_eni or (head.device == 0 and head.card == 0)):
        step = "ready"
    return msgspec.structs.replace(adoption, step=step)


def want(state: State, adoption: Adoption) -> Want:
    """The head's next step. `ready` wants a decision: see `admit`."""
    head = adoption.queue[0]
    match adoption.step:
        case "tag":
            return Want(call=CreateTags(head.eni, missing_tags(state, head)), due=adoption.due)
        case "check":
            return Want(look=DescribeSubnets(), due=adoption.due)
        case "read_prefix":
            return Want(look=DescribeNetworkInterfaces((head.eni,)), due=adoption.due)
        case "assign_prefix":
            return Want(call=AssignIpv6Addresses(head.eni), due=adoption.due)
        case "host":
            table = route_table(head.card, head.device)
            trunk = head.kind == TRUNK
            call = SetUpEni(
                head.eni, head.mac, head.device, table, head.primary_ip, head.subnet_cidr, head.card, trunk
            )
            return Want(call=call, due=adoption.due)
        case "ready":
            return Want(due=adoption.due)


def settled(state: State, adoption: Adoption, outcome: Outcome, now: Instant, retry_host: bool) -> Adoption | Stuck:
    """Where the outcome of a tag or host call leads. `retry_host`: 10 s apart, as at init (INIT-34)."""
    if adoption.step == "assign_prefix":
        return _prefix_assigned(state, adoption, outcome)
    if not isinstance(outcome, Failed | Lost):
        step = "check" if adoption.step == "tag" else "ready"
        return _skip(state, msgspec.structs.replace(adoption, step=step, attempt=0, due=0))
    tries = adoption.attempt + 1
    if adoption.step == "tag" and tries < TAG_BACKOFF.tries:
        due = now + TAG_BACKOFF.delay(state, tries)
        return msgspec.structs.replace(adoption, attempt=tries, due=due)
    hopeless = isinstance(outcome, Failed) and LINK_NOT_FOUND in outcome.message
    if adoption.step == "host" and retry_host and tries < HOST_TRIES and not hopeless:
        return msgspec.structs.replace(adoption, attempt=tries, due=now + HOST_PAUSE)
    return Stuck(adoption.step, outcome, tries)


def observed(state: State, adoption: Adoption, seen: View | Failed) -> Adoption | Stuck:
    """Where a look of the head's leads."""
    if adoption.step == "check":
        return checked(state, adoption, seen)
    head = adoption.queue[0]
    if isinstance(seen, Failed):
        return Stuck("read_prefix", seen, adoption.attempt + 1)
    assert isinstance(seen, EnisView)
    held = next((found.ipv6_prefixes for found in seen.enis if found.eni == head.eni), ())
    known = state.enis.get(head.eni)
    stored = [prefix for prefix in held if known is not None and prefix in known.blocks]
    if not held:
        return msgspec.structs.replace(adoption, step="assign_prefix")
    return _with_prefix(state, adoption, (*stored, *held)[0])


def _with_prefix(state: State, adoption: Adoption, prefix: CidrText) -> Adoption:
    """V6-4: this one is the ENI's, whatever else hangs on it."""
    head = msgspec.structs.replace(adoption.queue[0], prefixes=(prefix,))
    queue = (head, *adoption.queue[1:])
    return _skip(state, msgspec.structs.replace(adoption, queue=queue, step="host", attempt=0, due=0))


def _prefix_assigned(state: State, adoption: Adoption, outcome: Outcome) -> Adoption | Stuck:
    """Without an answer, or with an empty one, EC2 is asked what the ENI holds."""
    tries = adoption.attempt + 1
    if isinstance(outcome, Succeeded) and isinstance(outcome.result, Granted) and outcome.result.prefixes:
        return _with_prefix(state, adoption, outcome.result.prefixes[0])
    if isinstance(outcome, Failed) or tries >= HOST_TRIES:
        failure = Failed("", "EC2 granted no prefix") if isinstance(outcome, Succeeded) else outcome
        return Stuck("assign_prefix", failure, tries)
    return msgspec.structs.replace(adoption, step="read_prefix", attempt=tries)


def checked(state: State, adoption: Adoption, seen: View | Failed) -> Adoption | Stuck:
    """The subnets are known; one DescribeSubnets serves the whole queue. Without permission nobody is excluded."""
    if isinstance(seen, Failed) and unpermitted(state, seen):
        return _skip(state, msgspec.structs.replace(adoption, step="read_prefix", attempt=0, due=0))
    if isinstance(seen, Failed):
        failure = Failed(seen.code, f"checking to excluded configured subnet: {seen.message}")
        return Stuck("check", failure, adoption.attempt + 1)
    assert isinstance(seen, SubnetsView)
    out = excluded(state, seen.subnets)
    return _skip(state, msgspec.structs.replace(adoption, excluded=out, step="read_prefix", attempt=0, due=0))


def unpermitted(state: State, seen: View | Failed) -> list[ev.Event]:
    """A node without the permission to describe subnets works with the primary one (POOL-44); it is only logged.

    Upstream leaves such an ENI without host set-up (INIT-39).
    """
    if state.settings.quirks.exclusion_failure_skips_host:
        return []
    return [logged("DescribeSubnets", seen)] if isinstance(seen, Failed) and seen.code == UNAUTHORIZED else []


def next_candidate(state: State, adoption: Adoption) -> Adoption:
    """Drop the head, done or given up."""
    rest = msgspec.structs.replace(adoption, queue=adoption.queue[1:], step="tag", attempt=0, due=0)
    return _skip(state, rest)


def admit(state: State, adoption: Adoption, with_blocks: bool = True) -> list[ev.Event]:
    """The head comes into its store with its blocks (INIT-37 steps 3, 4, 8; 5 for the exclusion).

    An ENI that the store knows already (restart) keeps its age and gets the difference only.
    """
    head = adoption.queue[0]
    known = state.enis.get(head.eni)
    events: list[ev.Event] = []
    trunk, efa = head.kind == "trunk", head.kind == "efa"
    if known is None or (known.trunk, known.efa) != (trunk, efa):
        table = route_table(head.card, head.device)
        primary = head.eni == state.node.primary_eni
        events.append(
            ev.EniReady(
                head.eni,
                head.mac,
                head.device,
                table,
                head.subnet,
                head.subnet_cidr,
                head.primary_ip,
                head.card,
                primary,
                trunk,
                efa,
            )
        )
    excludes = head.subnet in (adoption.excluded or ())
    judged = adoption.excluded is not None or not state.settings.subnet_discovery
    if excludes != (known.excluded if known else False) and judged and _flagged(state, known):
        events.append(ev.EniExcluded(head.eni, excludes))
    if with_blocks:
        events += difference(state, head)
    return events


def _flagged(state: State, known: Eni | None) -> bool:
    """POOL-47: in IPv6 mode no flag is set, but for an ENI that stays only because pods are on it (INIT-23)."""
    return not state.settings.ipv6 or known is not None


def blocks_of(candidate: Candidate) -> list[CidrText]:
    """The keys of a candidate's blocks; prefixes of a size we do not know are skipped (INIT-40)."""
    return [single(address) for address in candidate.addresses] + [
        prefix for prefix in candidate.prefixes if prefix.endswith(_BLOCKS)
    ]


def difference(state: State, candidate: Candidate) -> list[ev.Event]:
    """The events that make the stored ENI hold just the candidate's blocks."""
    known = state.enis.get(candidate.eni)
    stored = known.blocks if known else {}
    wanted = blocks_of(candidate)
    keep = set(wanted)
    gone: list[ev.Event] = [
        ev.CidrRemoved(candidate.eni, cidr, "restart", pods=block.assigned)
        for cidr, block in stored.items()
        if cidr not in keep
    ]
    return gone + [ev.CidrAdded(candidate.eni, cidr) for cidr in wanted if cidr not in stored]
