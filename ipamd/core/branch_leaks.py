"""Interfaces that nobody knows: the cluster-wide cleaner and each trunk's own check (WIN-146).

    every 30 minutes      FindAvailable: interfaces tagged for the cluster that hang on nothing. What the round before
                          saw too, and no trunk knows, is deleted
    at a node's events    FindBranches: what carries the trunk's tag and is nobody's goes to the delete queue. A minute
                          after the trunk was opened or a leak was found, then ever later, 15 minutes at most

The cleaner is on where `OpenController.cleaner` says so; a cluster in virtual time has none.
"""

from __future__ import annotations

import zlib
from typing import Final

from . import branch_events as be
from .branch_calls import Available, Branch, BranchesFound, DropBranch, FindAvailable, FindBranches
from .branch_state import CHECK_FIRST, Trunk, Trunks
from .calls import Outcome, Succeeded
from .types import SECOND, EniId, Instant

CHECK_LATEST: Final = 900 * SECOND
STRETCH: Final = 5
"""An interval is the last one times 1 to 1 + this."""


def known(trunks: Trunks) -> set[EniId]:
    """Every interface that a trunk answers for."""
    found: set[EniId] = set()
    for trunk in trunks.nodes.values():
        found |= {trunk.facts.trunk, *trunk.dropping, *(row.branch.eni for row in trunk.queue)}
        found |= {branch.eni for holder in trunk.pods.values() for branch in holder.branches}
    return found


def round_begins() -> tuple[be.CleanerBegan, FindAvailable]:
    """The moment has come."""
    return be.CleanerBegan(), FindAvailable()


def round_ended(trunks: Trunks, outcome: Outcome) -> tuple[list[be.CleanerRan], list[DropBranch]]:
    """A round that failed leaves what the one before saw."""
    facts = outcome.result if isinstance(outcome, Succeeded) else None
    if not isinstance(facts, Available):
        return [], []
    ours = known(trunks)
    seen = tuple(eni for eni in (*facts.controller, *facts.cni) if eni not in ours)
    leaked = tuple(eni for eni in seen if eni in trunks.available)
    ran = be.CleanerRan(seen, leaked, len(facts.controller), len(facts.cni))
    return [ran], [DropBranch(Branch(eni)) for eni in leaked]


def check_begins(trunk: Trunk, now: Instant) -> tuple[be.LeakCheckBegan, FindBranches] | None:
    """A node was seen: its trunk is checked if that is due and none is on its way."""
    if trunk.phase != "ready" or trunk.checking or not trunk.check_at or now < trunk.check_at:
        return None
    return be.LeakCheckBegan(trunk.name), FindBranches(trunk.facts.trunk, trunk.facts.subnet)


def check_ended(trunk: Trunk, outcome: Outcome, now: Instant, seed: int) -> be.LeakChecked:
    """What EC2 has of the trunk and no pod, queue or call knows of. Without an answer the interval stays."""
    facts = outcome.result if isinstance(outcome, Succeeded) else None
    if not isinstance(facts, BranchesFound):
        return be.LeakChecked(trunk.name, (), trunk.check_every)
    held = known(Trunks(nodes={trunk.name: trunk}))
    making = {vlan for holder in trunk.pods.values() for vlan in holder.making}
    leaked = tuple(b for b in facts.branches if b.eni not in held and b.vlan not in making)
    if leaked:
        return be.LeakChecked(trunk.name, leaked, CHECK_FIRST)
    chance = zlib.crc32(f"{seed}/leaks/{trunk.name}/{now}".encode()) % 1000
    stretched = trunk.check_every + trunk.check_every * STRETCH * chance // 1000
    return be.LeakChecked(trunk.name, (), min(stretched, CHECK_LATEST))
