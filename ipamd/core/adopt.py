"""Setting up attached ENIs (INIT-24, INIT-37): tag, check the subnet, program the host, put into the store.

Node init, reconciliation and a freshly grown ENI walk the same steps; what a failure means is the owner's to say.

    tag -> check -> host -> ready -> next candidate
"""

from __future__ import annotations

import msgspec

from . import events as ev
from .calls import UNAUTHORIZED, CreateTags, DescribeSubnets, Failed, Lost, Outcome, SetUpEni, SubnetsView, View
from .state import State
from .steps import TAG_BACKOFF, Want, logged
from .subnets import excluded
from .types import PREFIX_LENGTH, SECOND, CidrText, EniId, Instant, single
from .work import Adoption, Candidate

NO_MANAGE_TAG = "node.k8s.amazonaws.com/no_manage"
INSTANCE_TAG = "node.k8s.amazonaws.com/instance_id"
CREATED_AT = "node.k8s.amazonaws.com/createdAt"
MAIN_TABLE = 254
HOST_TRIES = 6
"""INIT-34: the first attempt and five retries."""
HOST_PAUSE = 10 * SECOND
LINK_NOT_FOUND = "setupENINetwork: failed to find the link which uses MAC address"
"""INIT-34: with this text in the error a retry is pointless."""


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
    """What CreateTags has to send (EC2-15); nothing while provisioning is disabled (INIT-24)."""
    if state.settings.provisioning_disabled:
        return {}
    return {key: value for key, value in cluster_tags(state).items() if candidate.tags.get(key) != value}


def unmanaged(state: State, tags: dict[EniId, dict[str, str]]) -> tuple[EniId, ...]:
    """Which of the described ENIs are none of ours (DM-48), sorted; what was known while nothing was described.

    An ENI tagged for another instance is ours unless MANAGE_UNTAGGED_ENI is off (DM-49).
    """
    if not tags:
        return state.unmanaged
    return tuple(sorted(eni for eni, own in tags.items() if eni != state.node.primary_eni and _shunned(state, own)))


def _shunned(state: State, tags: dict[str, str]) -> bool:
    marked = tags.get(NO_MANAGE_TAG)
    if marked is not None:
        return marked == "true"
    return not state.settings.manage_untagged_eni and tags.get(INSTANCE_TAG) != state.node.instance


def start(state: State, queue: tuple[Candidate, ...]) -> Adoption:
    """An adoption of these candidates, the steps that need nothing already passed."""
    return _skip(state, Adoption(queue))


def _skip(state: State, adoption: Adoption) -> Adoption:
    """Advance over steps that have nothing to do for the head."""
    if not adoption.queue:
        return adoption
    head, step = adoption.queue[0], adoption.step
    if step == "tag" and not missing_tags(state, head):
        step = "check"
    if step == "check" and (not state.settings.subnet_discovery or adoption.excluded is not None):
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
        case "host":
            table = route_table(head.card, head.device)
            call = SetUpEni(head.eni, head.mac, head.device, table, head.primary_ip, head.subnet_cidr)
            return Want(call=call, due=adoption.due)
        case "ready":
            return Want(due=adoption.due)


def settled(state: State, adoption: Adoption, outcome: Outcome, now: Instant, retry_host: bool) -> Adoption | Stuck:
    """Where the outcome of a tag or host call leads. `retry_host`: 10 s apart, as at init (INIT-34)."""
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


def checked(state: State, adoption: Adoption, seen: View | Failed) -> Adoption | Stuck:
    """The subnets are known; one DescribeSubnets serves the whole queue. Without permission nobody is excluded."""
    if isinstance(seen, Failed) and unpermitted(state, seen):
        return _skip(state, msgspec.structs.replace(adoption, step="host", attempt=0, due=0))
    if isinstance(seen, Failed):
        failure = Failed(seen.code, f"checking to excluded configured subnet: {seen.message}")
        return Stuck("check", failure, adoption.attempt + 1)
    assert isinstance(seen, SubnetsView)
    known = msgspec.structs.replace(adoption, excluded=excluded(state, seen.subnets), step="host", attempt=0, due=0)
    return _skip(state, known)


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
    if known is None:
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
            )
        )
    excludes = head.subnet in (adoption.excluded or ())
    if excludes != (known.excluded if known else False) and adoption.excluded is not None:
        events.append(ev.EniExcluded(head.eni, excludes))
    if with_blocks:
        events += difference(state, head)
    return events


def blocks_of(candidate: Candidate) -> list[CidrText]:
    """The keys of a candidate's blocks; prefixes of a size we do not know are skipped (INIT-40)."""
    return [single(address) for address in candidate.addresses] + [
        prefix for prefix in candidate.prefixes if prefix.endswith(f"/{PREFIX_LENGTH}")
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
