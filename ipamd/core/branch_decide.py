"""Trunk and branch interfaces: what shall be recorded of a command or an outcome (WIN-136..146).

A driver sends `TrunkSeen` and `BranchPodSeen` for Linux nodes that may carry a trunk and for pods that request
POD_ENI, `CooldownSeen` at every event of the ConfigMap, and `BranchDue` when `branch_state.next_due` has come. Calls
come out in lane "pod-eni". All pods of a node are to be seen before the node after a start: annotations say whose the
branches are.
"""

from __future__ import annotations

from typing import Final

import msgspec

from . import branch_events as be
from . import branch_leaks
from .branch_calls import (
    POD_ENI,
    Branch,
    BranchFacts,
    DropBranch,
    FindAvailable,
    FindBranches,
    MakeBranch,
    OpenTrunk,
    TrunkFacts,
)
from .branch_state import COOLDOWN_LEAST, LEAVE_AFTER, Holder, Queued, Trunk, next_due
from .calls import ENI_NOT_FOUND, UNAUTHORIZED, Call, Failed, Outcome, Succeeded
from .cluster_calls import AdvertiseCapacity, AnnotatePod
from .events import CallEnded, CallStarted, Event
from .state import Running, State
from .steps import text_of
from .types import MS, SECOND, CallId, EniId, Instant
from .windows_events import Announced

TRIES_MAX: Final = 5
"""WIN-125: retries of a pod's branches."""
DROPS_MAX: Final = 3
"""WIN-143."""
BACKOFF_START: Final = 5 * MS
POLICY: Final = "AmazonEKSVPCResourceController"
OPENING: Final = "the trunk is not open"
FULL: Final = "as many branch interfaces as the instance type carries"
_UNIT: Final = ((3600, "h"), (60, "m"), (1, "s"))


class Draft:
    """One decision in the making."""

    def __init__(self, state: State, now: Instant) -> None:
        self.trunks = state.trunks
        self.state = state
        self.now = now
        self.events: list[Event] = []
        self._next_call = state.next_call

    def note(self, event: Event) -> None:
        """Record an event."""
        self.events.append(event)

    def call(self, node: str, call: Call) -> None:
        """Record the intention to call."""
        self.events.append(CallStarted(CallId(self._next_call), call, "pod-eni", node))
        self._next_call += 1

    def announce(self, node: str, reason: str, text: str, pod: be.BranchPod | None = None, *, warning: bool) -> None:
        """A Kubernetes event on the node or the pod."""
        about = (pod.namespace, pod.name, pod.uid) if pod is not None else ("", "", "")
        self.events.append(Announced(node, reason, text, warning, *about))


def decide(state: State, command: be.BranchCommand, now: Instant) -> list[Event]:
    """One command."""
    draft = Draft(state, now)
    match command:
        case be.CooldownSeen():
            _cooldown(draft, command.text)
        case be.TrunkSeen():
            _trunk_seen(draft, command)
        case be.TrunkGone():
            trunk = draft.trunks.nodes.get(command.node)
            if trunk is not None and trunk.phase == "ready":
                draft.note(be.TrunkLeaving(command.node, now + LEAVE_AFTER))
            elif trunk is not None and trunk.phase != "leaving":
                draft.note(be.TrunkForgotten(command.node))
        case be.BranchPodSeen():
            _pod_seen(draft, command)
        case be.BranchPodGone():
            _pod_gone(draft, command.node, command.uid)
        case be.BranchDue():
            _due(draft)
    return draft.events


def _cooldown(draft: Draft, text: str | None) -> None:
    """WIN-144, WIN-145: a value that parses and differs is adopted, and every node hears of it."""
    if text is None or not text.lstrip("+-").isdigit() or not text.isascii() or len(text) > 9:
        return
    seconds = max(int(text), COOLDOWN_LEAST)
    repeats = draft.state.windows.quirks.windows_low_cooldown_repeats
    if (int(text) if repeats else seconds) == draft.trunks.cooldown:
        return
    draft.note(be.CooldownChanged(seconds))
    seen = (name for name, node in draft.state.windows.nodes.items() if node.phase != "unseen")
    for node in sorted({*seen, *draft.trunks.nodes}):
        told = f"the branch ENI cooldown period is now {_go_text(seconds)}"
        draft.announce(node, "BranchENICoolDownPeriodUpdated", told, warning=False)


def _go_text(seconds: int) -> str:
    """A duration as Go writes it: `1m30s`."""
    parts: list[str] = []
    for size, unit in _UNIT:
        if seconds >= size or parts or size == 1:
            parts.append(f"{seconds // size}{unit}")
            seconds %= size
    return "".join(parts)


# ---- trunks ----------------------------------------------------------------------------------------------------


def _trunk_seen(draft: Draft, seen: be.TrunkSeen) -> None:
    trunk = draft.trunks.nodes.get(seen.node)
    if trunk is None or trunk.instance != seen.instance:
        draft.note(be.TrunkKnown(seen.node, seen.instance))
        draft.call(seen.node, OpenTrunk(seen.instance))
    elif trunk.phase == "ready" and trunk.facts.limit and seen.capacity != trunk.facts.limit:
        draft.call(seen.node, AdvertiseCapacity(seen.node, POD_ENI, trunk.facts.limit))
    check = branch_leaks.check_begins(trunk, draft.now) if trunk is not None else None
    if check is not None:
        draft.note(check[0])
        draft.call(seen.node, check[1])


def _trunk_opened(draft: Draft, trunk: Trunk, outcome: Outcome) -> None:
    """WIN-136, WIN-138."""
    facts = outcome.result if isinstance(outcome, Succeeded) else None
    if not isinstance(facts, TrunkFacts):
        code = outcome.code if isinstance(outcome, Failed) else ""
        text = f"the trunk was not opened: {text_of(outcome)}"
        draft.announce(trunk.name, "NodeTrunkFailedInit", text, warning=False)
        if code:
            policy = f"; the role needs policy {POLICY}" if code == UNAUTHORIZED else ""
            draft.announce(trunk.name, "TrunkENICreationFailed", f"{code}{policy}", warning=True)
        draft.note(be.TrunkRefused(trunk.name, text_of(outcome)))
        return
    if not facts.limit:
        why = (
            f"instance type {facts.instance_type} carries no trunk, or how many branch interfaces is not known; "
            "give its row in a file to --limits"
        )
        draft.announce(trunk.name, "Unsupported", why, warning=True)
        draft.note(be.TrunkRefused(trunk.name, why, again=False))
        return
    by_eni = {branch.eni: branch for branch in facts.branches}
    adopted = {}
    for uid, holder in trunk.pods.items():
        said = annotated(holder.pod.annotation)
        named = [
            msgspec.structs.replace(by_eni[eni], association=association)
            for eni, association in said.items()
            if eni in by_eni
        ]
        if named and not holder.pod.done:
            adopted[uid] = tuple(named)
    draft.note(be.TrunkOpened(trunk.name, facts, adopted))
    draft.announce(trunk.name, "NodeTrunkInitiated", f"trunk {facts.trunk} is ready", warning=False)
    draft.call(trunk.name, AdvertiseCapacity(trunk.name, POD_ENI, facts.limit))
    ready = msgspec.structs.replace(trunk, phase="ready", facts=facts, vlans=[b.vlan for b in facts.branches])
    for uid, holder in trunk.pods.items():
        if uid not in adopted and not holder.pod.done and not holder.pod.annotation:
            _serve(draft, ready, holder, len(facts.branches))


class _Row(msgspec.Struct):
    """What is read of one member of the annotation."""

    eniId: str = ""
    associationID: str = ""


def annotated(annotation: str) -> dict[EniId, str]:
    """Interface -> association of a pod's annotation (WIN-142); none for one that cannot be read."""
    try:
        rows = msgspec.json.decode(annotation or "[]", type=list[_Row])
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return {}
    return {row.eniId: row.associationID for row in rows if row.eniId}


def annotation_of(branches: list[Branch]) -> str:
    """WIN-142."""
    rows = [
        {
            "eniId": branch.eni, "ifAddress": branch.mac, "privateIp": branch.private_ip, "ipv6Addr": "",
            "vlanId": branch.vlan, "subnetCidr": branch.subnet_cidr, "subnetV6Cidr": "",
            "associationID": branch.association,
        }
        for branch in branches
    ]  # fmt: skip
    return msgspec.json.encode(rows).decode()


# ---- pods ------------------------------------------------------------------------------------------------------


def _pod_seen(draft: Draft, seen: be.BranchPodSeen) -> None:
    trunk = draft.trunks.nodes.get(seen.node)
    holder = trunk.pods.get(seen.pod.uid) if trunk is not None else None
    if seen.pod.done:
        _pod_gone(draft, seen.node, seen.pod.uid)
        return
    if holder is None or holder.pod != seen.pod:
        draft.note(be.BranchPodKnown(seen.node, seen.pod))
    if trunk is None or trunk.phase != "ready":
        return
    holder = holder or Holder(seen.pod)
    idle = not (holder.branches or holder.making or holder.annotated or holder.due > draft.now)
    if idle and not seen.pod.annotation:
        _serve(draft, trunk, Holder(seen.pod, failures=holder.failures), trunk.in_use + trunk.ending)


def _serve(draft: Draft, trunk: Trunk, holder: Holder, taken_already: int) -> None:
    """WIN-141. `taken_already`: branches of pods and of the delete queue."""
    pod, facts = holder.pod, trunk.facts
    begun = [e.call for e in draft.events if isinstance(e, CallStarted) and isinstance(e.call, MakeBranch)]
    if taken_already + len(begun) + max(pod.wanted, 1) > facts.limit:
        due = draft.now + draft.trunks.cooldown * SECOND
        draft.note(be.BranchWaits(trunk.name, pod.uid, FULL, due, holder.failures))
        return
    groups = pod.groups or facts.security_groups
    draft.announce(
        trunk.name, "SecurityGroupRequested",
        f"security groups {', '.join(groups)}" if pod.groups else "no policy matches any more; the instance's groups",
        pod, warning=not pod.groups,
    )  # fmt: skip
    taken = {*trunk.vlans, *(call.vlan for call in begun)}
    for _ in range(max(pod.wanted, 1)):
        vlan = Trunk("", "", vlans=sorted(taken)).free_vlan()
        if not vlan:
            _failed(draft, trunk, holder, "no VLAN id is free on the trunk")
            return
        taken.add(vlan)
        draft.call(
            trunk.name, MakeBranch(facts.trunk, pod.uid, vlan, facts.subnet, groups, trunk.instance)
        )


def _branch_made(draft: Draft, trunk: Trunk, call: MakeBranch, outcome: Outcome) -> None:
    facts = outcome.result if isinstance(outcome, Succeeded) else None
    holder = trunk.pods.get(call.uid)
    if isinstance(facts, BranchFacts):
        made = be.BranchMade(trunk.name, call.uid, call.vlan, facts.branch, facts.error)
    else:
        made = be.BranchMade(trunk.name, call.uid, call.vlan, None, text_of(outcome))
    draft.note(made)
    if holder is None or holder.making != [call.vlan]:
        return  # the pod is gone, or other branches of it are on their way
    error = holder.failed or made.error
    if error:
        draft.note(be.BranchesQueued(trunk.name, call.uid))
        _failed(draft, trunk, holder, error)
        return
    branches = [*holder.branches, *([made.branch] if made.branch is not None else [])]
    pod = holder.pod
    text = annotation_of(branches)
    draft.call(trunk.name, AnnotatePod(pod.namespace, pod.name, pod.uid, POD_ENI, text))


def _failed(draft: Draft, trunk: Trunk, holder: Holder, why: str) -> None:
    """An event, and another try while there are any left."""
    pod, failures = holder.pod, holder.failures + 1
    draft.announce(trunk.name, "BranchAllocationFailed", f"no branch interface: {why}", pod, warning=True)
    due = draft.now + (BACKOFF_START << failures) if failures <= TRIES_MAX else 0
    draft.note(be.BranchWaits(trunk.name, pod.uid, why, due, failures))


def _annotation_came_back(draft: Draft, trunk: Trunk, call: AnnotatePod, outcome: Outcome) -> None:
    holder = trunk.pods.get(call.uid)
    if holder is None:
        return
    if isinstance(outcome, Succeeded):
        draft.note(be.BranchesAnnotated(trunk.name, call.uid))
        draft.announce(trunk.name, "ResourceAllocated", f"allocated {call.value} to the pod", holder.pod, warning=False)
        return
    draft.note(be.BranchesQueued(trunk.name, call.uid))
    text = f"the annotation was not written: {text_of(outcome)}"
    draft.announce(trunk.name, "BranchENIAnnotationFailed", text, holder.pod, warning=True)
    failures = holder.failures + 1
    due = draft.now + (BACKOFF_START << failures) if failures <= TRIES_MAX else 0
    draft.note(be.BranchWaits(trunk.name, call.uid, text, due, failures))


def _pod_gone(draft: Draft, node: str, uid: str) -> None:
    """WIN-143: its branches rest at the back of the queue."""
    trunk = draft.trunks.nodes.get(node)
    if trunk is None or uid not in trunk.pods:
        return
    if trunk.pods[uid].branches:
        draft.note(be.BranchesQueued(node, uid, draft.now))
    draft.note(be.BranchPodForgotten(node, uid))


# ---- time ------------------------------------------------------------------------------------------------------


def _due(draft: Draft) -> None:
    """The first trunk whose moment has come."""
    at = next_due(draft.trunks)
    if at is None or at > draft.now:
        return
    if at == draft.trunks.clean_at:
        began, find = branch_leaks.round_begins()
        draft.note(began)
        draft.call("", find)
        return
    trunk = next(t for _, t in sorted(draft.trunks.nodes.items(), key=lambda item: item[0]) if t.wake == at)
    waiting = next((h for h in trunk.pods.values() if h.due and h.due <= draft.now), None)
    if waiting is not None:
        draft.note(be.BranchWaits(trunk.name, waiting.pod.uid, waiting.waits, 0, waiting.failures))
        if trunk.phase == "ready" and not (waiting.branches or waiting.making):
            _serve(draft, trunk, waiting, trunk.in_use + trunk.ending)
        return
    if trunk.phase == "leaving" and trunk.leave_at and trunk.leave_at <= draft.now:
        for uid in trunk.pods:
            draft.note(be.BranchesQueued(trunk.name, uid))
        draft.note(be.BranchTicked(trunk.name))
        held = [Queued(branch) for holder in trunk.pods.values() for branch in holder.branches]
        for row in [*held, *trunk.queue]:
            draft.call(trunk.name, DropBranch(row.branch))
        if not held and not trunk.queue and not trunk.dropping:
            draft.note(be.TrunkForgotten(trunk.name))
        return
    draft.note(be.BranchTicked(trunk.name))
    for row in trunk.queue:
        if row.since and draft.now - row.since < draft.trunks.cooldown * SECOND:
            break
        draft.call(trunk.name, DropBranch(row.branch))


def _dropped(draft: Draft, trunk: Trunk, call: DropBranch, outcome: Outcome) -> None:
    """WIN-143: what is gone already counts as deleted; three tries in one pass, then it is forgotten."""
    eni = call.branch.eni
    row = trunk.dropping.get(eni)
    if row is None:
        return
    if isinstance(outcome, Succeeded) or (isinstance(outcome, Failed) and outcome.code == ENI_NOT_FOUND):
        draft.note(be.BranchGone(trunk.name, eni))
        if trunk.phase == "leaving" and trunk.ending == 1:
            draft.note(be.TrunkForgotten(trunk.name))
        return
    leaked = row.tries + 1 >= DROPS_MAX
    draft.note(be.BranchKept(trunk.name, eni, text_of(outcome), leaked))
    if not leaked:
        draft.call(trunk.name, DropBranch(row.branch))
    elif trunk.phase == "leaving" and trunk.ending == 1:
        draft.note(be.TrunkForgotten(trunk.name))


def settle(state: State, running: Running, ended: CallEnded, outcome: Outcome, now: Instant) -> list[Event]:
    """A call of lane "pod-eni" came back."""
    draft = Draft(state, now)
    draft.note(ended)
    if isinstance(running.call, FindAvailable):
        ran, drops = branch_leaks.round_ended(state.trunks, outcome)
        draft.events += ran
        for drop in drops:
            draft.call("", drop)
    trunk = state.trunks.nodes.get(running.node)
    if trunk is None:
        return draft.events
    call = running.call
    if isinstance(call, OpenTrunk):
        if trunk.phase == "opening" and trunk.instance == call.instance:
            _trunk_opened(draft, trunk, outcome)
    elif isinstance(call, MakeBranch):
        _branch_made(draft, trunk, call, outcome)
    elif isinstance(call, DropBranch):
        _dropped(draft, trunk, call, outcome)
    elif isinstance(call, AnnotatePod):
        _annotation_came_back(draft, trunk, call, outcome)
    elif isinstance(call, FindBranches) and trunk.checking:
        draft.note(branch_leaks.check_ended(trunk, outcome, now, state.seed))
    return draft.events
