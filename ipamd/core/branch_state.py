"""Trunks, their branches, VLANs and delete queues: one more part of State, with its fold (WIN-136..146).

    Trunks
      cooldown                          seconds
      nodes  name -> Trunk
                       vlans            taken VLAN ids
                       pods  uid -> Holder: branches made for it, VLANs being made into branches
                       queue            branches to be deleted, oldest first
                       dropping         branches whose deletion is under way
"""

from __future__ import annotations

from typing import Final, Literal, assert_never

import msgspec

from . import branch_events as be
from .branch_calls import Branch, DropBranch, MakeBranch, TrunkFacts
from .calls import Call
from .types import SECOND, EniId, Instant

VLANS_MAX: Final = 120
"""WIN-140."""
COOLDOWN_DEFAULT: Final = 60
COOLDOWN_LEAST: Final = 30
"""WIN-144, seconds."""
TICK: Final = 30 * SECOND
LEAVE_AFTER: Final = 60 * SECOND
CHECK_FIRST: Final = 60 * SECOND
CLEAN_EVERY: Final = 1800 * SECOND
"""WIN-146."""


class Holder(msgspec.Struct):
    """One pod. `making` are VLANs whose branches are being made; `annotated`: the pod's annotation names them."""

    pod: be.BranchPod
    branches: list[Branch] = []
    making: list[int] = []
    failed: str = ""
    annotated: bool = False
    waits: str = ""
    due: Instant = 0
    failures: int = 0


class Queued(msgspec.Struct):
    """A branch to be deleted; `since` 0: at once."""

    branch: Branch
    since: Instant = 0
    tries: int = 0


class Trunk(msgspec.Struct):
    """One node's trunk."""

    name: str
    instance: str
    phase: Literal["opening", "ready", "refused", "leaving"] = "opening"
    facts: TrunkFacts = TrunkFacts("")
    vlans: list[int] = []
    pods: dict[str, Holder] = {}
    queue: list[Queued] = []
    dropping: dict[EniId, Queued] = {}
    tick_at: Instant = 0
    leave_at: Instant = 0
    check_at: Instant = 0
    """From when on the node's next event leads to a check for leaks; `check_every`: the interval of the last (ns)."""
    check_every: int = 0
    checking: bool = False
    wake: Instant = 0
    """The earliest moment at which something is due here; 0: never. An index over the rest."""

    @property
    def in_use(self) -> int:
        """Branches of pods, those being made included."""
        return sum(len(holder.branches) + len(holder.making) for holder in self.pods.values())

    @property
    def ending(self) -> int:
        """Branches that are to be deleted, or are being deleted."""
        return len(self.queue) + len(self.dropping)

    def free_vlan(self) -> int:
        """WIN-140: the lowest free one; 0 where there is none."""
        taken = set(self.vlans)
        return next((vlan for vlan in range(1, VLANS_MAX + 1) if vlan not in taken), 0)


class Trunks(msgspec.Struct):
    """Everything of trunks. Empty where no node carries one."""

    cooldown: int = COOLDOWN_DEFAULT
    nodes: dict[str, Trunk] = {}
    clean_at: Instant = 0
    """When the cleaner's next round begins; 0: there is none."""
    available: tuple[EniId, ...] = ()
    """What its last round saw and let be."""
    found: tuple[int, int, int] = (0, 0, 0)
    """Of the last round: made by the controller, made by the CNI, leaked."""


def next_due(trunks: Trunks) -> Instant | None:
    """When `BranchDue` is to be sent next; None while nothing is due ever."""
    moments = [trunk.wake for trunk in trunks.nodes.values() if trunk.wake]
    return min([*moments, *([trunks.clean_at] if trunks.clean_at else [])], default=None)


def copied(trunks: Trunks) -> Trunks:
    """An independent copy."""
    return msgspec.convert(msgspec.to_builtins(trunks), Trunks)


def call_started(trunks: Trunks, node: str, call: Call) -> None:
    """A VLAN is taken as soon as a branch for it is intended; a branch leaves the queue as its deletion is."""
    trunk = trunks.nodes.get(node)
    if trunk is None:
        return
    if isinstance(call, MakeBranch) and call.uid in trunk.pods:
        trunk.vlans.append(call.vlan)
        trunk.pods[call.uid].making.append(call.vlan)
    elif isinstance(call, DropBranch):
        found = next((row for row in trunk.queue if row.branch.eni == call.branch.eni), None)
        if found is not None:
            trunk.queue.remove(found)
            trunk.dropping[call.branch.eni] = found
    _wake(trunk)


def change(trunks: Trunks, event: be.BranchEvent, at: Instant) -> None:
    """What one event means; total, never refuses."""
    if isinstance(event, be.CooldownChanged):
        trunks.cooldown = event.seconds
        return
    if isinstance(event, be.CleanerBegan):
        trunks.clean_at = at + CLEAN_EVERY
        return
    if isinstance(event, be.CleanerRan):
        trunks.available = tuple(eni for eni in event.seen if eni not in event.leaked)
        trunks.found = (event.controller, event.cni, len(event.leaked))
        return
    if isinstance(event, be.TrunkKnown):
        fresh = Trunk(event.node, event.instance)
        before = trunks.nodes.get(event.node)
        if before is not None:
            fresh.pods = {uid: Holder(holder.pod) for uid, holder in before.pods.items()}
        trunks.nodes[event.node] = fresh
        return
    if isinstance(event, be.TrunkForgotten):
        trunks.nodes.pop(event.node, None)
        return
    if isinstance(event, be.BranchPodKnown) and event.node not in trunks.nodes:
        trunks.nodes[event.node] = Trunk(event.node, "", "refused")
    trunk = trunks.nodes.get(event.node)
    if trunk is not None:
        _change(trunk, event, at)
        _wake(trunk)


def _change(trunk: Trunk, event: be.BranchEvent, at: Instant) -> None:
    match event:
        case be.TrunkOpened():
            _opened(trunk, event, at)
        case be.TrunkRefused():
            trunk.phase = "refused"
            trunk.instance = "" if event.again else trunk.instance
        case be.TrunkLeaving():
            trunk.phase = "leaving"
            trunk.leave_at = event.due
        case be.BranchPodKnown():
            trunk.pods.setdefault(event.pod.uid, Holder(event.pod)).pod = event.pod
        case be.BranchPodForgotten():
            trunk.pods.pop(event.uid, None)
        case be.BranchWaits():
            holder = trunk.pods.get(event.uid)
            if holder is not None:
                holder.waits, holder.due, holder.failures = event.why, event.due, event.failures
        case be.BranchMade():
            _made(trunk, event, at)
        case be.BranchesAnnotated():
            holder = trunk.pods.get(event.uid)
            if holder is not None:
                holder.annotated, holder.waits, holder.due, holder.failures = True, "", 0, 0
        case be.BranchesQueued():
            _queued(trunk, event, at)
        case be.BranchTicked():
            trunk.tick_at = at + TICK if trunk.queue else 0
            if trunk.phase == "leaving":
                trunk.leave_at = 0
        case be.BranchGone():
            row = trunk.dropping.pop(event.eni, None)
            if row is not None and row.branch.vlan in trunk.vlans:
                trunk.vlans.remove(row.branch.vlan)
        case be.BranchKept():
            row = trunk.dropping.pop(event.eni, None)
            if row is not None and not event.leaked:
                row.tries += 1
                row.since = 0
                trunk.queue.insert(0, row)
        case be.LeakCheckBegan():
            trunk.checking = True
        case be.LeakChecked():
            trunk.checking, trunk.check_every, trunk.check_at = False, event.every, at + event.every
            trunk.vlans += [b.vlan for b in event.leaked if b.vlan and b.vlan not in trunk.vlans]
            trunk.queue = [*(Queued(branch) for branch in event.leaked), *trunk.queue]
            trunk.tick_at = trunk.tick_at or (at + TICK if trunk.queue else 0)
        case be.CooldownChanged() | be.TrunkKnown() | be.TrunkForgotten() | be.CleanerBegan() | be.CleanerRan():
            raise AssertionError("these are not of a known trunk")
        case _:
            assert_never(event)


def _opened(trunk: Trunk, event: be.TrunkOpened, at: Instant) -> None:
    trunk.phase, trunk.facts = "ready", event.facts
    trunk.vlans = sorted({branch.vlan for branch in event.facts.branches if branch.vlan})
    adopted: set[EniId] = set()
    for uid, branches in event.adopted.items():
        if uid in trunk.pods:
            trunk.pods[uid].branches = list(branches)
            trunk.pods[uid].annotated = True
            adopted.update(branch.eni for branch in branches)
    trunk.queue = [Queued(branch, at) for branch in event.facts.branches if branch.eni not in adopted]
    trunk.tick_at = at + TICK if trunk.queue else 0
    trunk.check_at, trunk.check_every = at + CHECK_FIRST, CHECK_FIRST


def _made(trunk: Trunk, event: be.BranchMade, at: Instant) -> None:
    """A branch of a pod that is no more is to be deleted."""
    holder = trunk.pods.get(event.uid)
    if holder is not None and event.vlan in holder.making:
        holder.making.remove(event.vlan)
        holder.failed = holder.failed or event.error
    if event.branch is None:
        if event.vlan in trunk.vlans:
            trunk.vlans.remove(event.vlan)
    elif holder is not None:
        holder.branches.append(event.branch)
    else:
        trunk.queue.insert(0, Queued(event.branch))
        trunk.tick_at = trunk.tick_at or at + TICK


def _queued(trunk: Trunk, event: be.BranchesQueued, at: Instant) -> None:
    holder = trunk.pods.get(event.uid)
    if holder is None:
        return
    rows = [Queued(branch, event.since) for branch in holder.branches]
    trunk.queue = [*trunk.queue, *rows] if event.since else [*rows, *trunk.queue]
    holder.branches, holder.annotated, holder.failed = [], False, ""
    if rows:
        trunk.tick_at = trunk.tick_at or at + TICK


def _wake(trunk: Trunk) -> None:
    moments = [holder.due for holder in trunk.pods.values() if holder.due]
    moments += [moment for moment in (trunk.tick_at, trunk.leave_at) if moment]
    trunk.wake = min(moments, default=0)
