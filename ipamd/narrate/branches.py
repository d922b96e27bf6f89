"""Trunks and branch interfaces in words: the node first, then what happened. The words are ours."""

from __future__ import annotations

from typing import assert_never

from ipamd.core import branch_events as be
from ipamd.core.branch_calls import BranchCall, DropBranch, FindAvailable, FindBranches, MakeBranch, OpenTrunk

from .line import Line, listed, second_text


def asked(call: BranchCall) -> Line:
    """What is about to be asked of EC2."""
    match call:
        case OpenTrunk():
            return Line("debug", f"Opening the trunk of instance {call.instance}")
        case MakeBranch():
            return Line("debug", f"Making a branch on {call.trunk}, VLAN {call.vlan}, for pod {call.uid}")
        case DropBranch():
            return Line("debug", f"Deleting branch {call.branch.eni}")
        case FindAvailable():
            return Line("debug", "Looking for interfaces of the cluster that hang on nothing")
        case FindBranches():
            return Line("debug", f"Looking for everything that carries the tag of trunk {call.trunk}")
        case _:
            assert_never(call)


def words(event: be.BranchEvent) -> list[Line]:
    """The lines of one event; bookkeeping has none."""
    match event:
        case be.CooldownChanged():
            return [Line("info", f"Branch interfaces rest {event.seconds} s before they are deleted")]
        case be.TrunkOpened():
            facts = event.facts
            kept = sum(map(len, event.adopted.values()))
            found = f"{len(facts.branches)} branches found, {kept} of them in use"
            return [Line("info", f"{event.node}: trunk {facts.trunk} is ready, {found}, limit {facts.limit}")]
        case be.TrunkRefused():
            return [Line("warn", f"{event.node}: no trunk: {event.why}")]
        case be.TrunkLeaving():
            return [Line("info", f"{event.node}: gone; its branches are deleted from {second_text(event.due)} on")]
        case be.BranchWaits():
            when = f"; next try at {second_text(event.due)}" if event.due else ""
            return [Line("debug", f"{event.node}: pod {event.uid} waits for a branch: {event.why}{when}")]
        case be.BranchMade() if event.branch is not None and not event.error:
            return [Line("info", f"{event.node}: branch {event.branch.eni}, VLAN {event.vlan}, for pod {event.uid}")]
        case be.BranchMade():
            return [Line("warn", f"{event.node}: no branch for pod {event.uid}: {event.error}")]
        case be.BranchesQueued():
            return [Line("info", f"{event.node}: the branches of pod {event.uid} are to be deleted")]
        case be.BranchGone():
            return [Line("info", f"{event.node}: branch {event.eni} is deleted")]
        case be.BranchKept():
            end = "its VLAN is lost until the controller starts anew" if event.leaked else "tried again"
            return [Line("warn", f"{event.node}: branch {event.eni} was not deleted: {event.error}; {end}")]
        case be.CleanerRan() if event.leaked:
            return [Line("warn", f"{len(event.leaked)} leaked interfaces are deleted: {listed(event.leaked)}")]
        case be.LeakChecked() if event.leaked:
            found = listed(tuple(branch.eni for branch in event.leaked))
            return [Line("warn", f"{event.node}: branches that are nobody's are deleted: {found}")]
        case _:
            return []
