"""Interfaces that nobody knows: the cleaner of a cluster, and the check of one trunk (WIN-146)."""

from __future__ import annotations

import pytest

from ipamd.core import branch_events as be
from ipamd.core.branch_calls import Available, Branch, BranchesFound, DropBranch, FindAvailable, FindBranches
from ipamd.core.branch_leaks import CHECK_LATEST
from ipamd.core.calls import Outcome, Succeeded
from ipamd.core.types import SECOND
from ipamd.core.windows_commands import OpenController
from ipamd.server.controller_metrics import ControllerMetrics, Figures

from .test_branches import NODE, REFUSED, Machine, opened


@pytest.mark.spec("WIN-146")
def test_what_two_rounds_saw_is_deleted() -> None:
    """Every 30 minutes; a round that failed is none; what a trunk answers for is let be."""
    machine = Machine()
    machine.tell(OpenController(cleaner=True))
    rounds: list[Outcome] = [
        Succeeded(Available(("eni-a", "eni-b"), ("eni-c",))),
        REFUSED,
        Succeeded(Available(("eni-b", "eni-d", "eni-trunk"), ("eni-c",))),
        Succeeded(Available()),
    ]
    machine.answers[FindAvailable] = rounds
    machine.tell(be.TrunkSeen(NODE, "i-1"))
    machine.run(3 * 1800 + 1)

    dropped = [call.branch.eni for call in machine.asked if isinstance(call, DropBranch)]
    assert (dropped, rounds) == (["eni-b", "eni-c"], [])
    assert machine.state.trunks.available == ()


@pytest.mark.spec("WIN-130", "WIN-146")
def test_the_last_round_is_measured() -> None:
    """By who made the interfaces, and how many were deleted."""
    machine = Machine()
    metrics = ControllerMetrics(lambda: machine.state, Figures)
    machine.tell(OpenController(cleaner=True))
    found: Outcome = Succeeded(Available(("eni-a",), ("eni-b", "eni-c")))
    machine.answers[FindAvailable] = [found, found]
    machine.run(1801)
    shown = metrics.render().decode().splitlines()

    assert "vpc_rc_created_available_eni_count 1" in shown
    assert "vpc_cni_created_available_eni_count 2" in shown
    assert "leaked_eni_count 3" in shown


@pytest.mark.spec("WIN-146")
def test_a_branch_that_is_nobodys_goes_at_the_next_tick() -> None:
    """Looked for at the node's events, from a minute on; its VLAN is taken until it is gone."""
    machine = opened()
    machine.answers[FindBranches] = [Succeeded(BranchesFound((Branch("eni-lost", vlan=3),)))]
    machine.tell(be.TrunkSeen(NODE, "i-1", 9))
    assert not [call for call in machine.asked if isinstance(call, FindBranches)]

    machine.run(60)
    machine.tell(be.TrunkSeen(NODE, "i-1", 9))
    assert [row.branch.eni for row in machine.trunk.queue] == ["eni-lost"]
    assert machine.trunk.vlans == [3]
    machine.run(31)
    assert [call.branch.eni for call in machine.asked if isinstance(call, DropBranch)] == ["eni-lost"]
    assert (machine.trunk.queue, machine.trunk.vlans) == ([], [])


@pytest.mark.spec("WIN-146")
def test_checks_come_ever_later_and_soon_again_after_a_leak() -> None:
    """Each interval is at least the last and 15 minutes at most; a leak begins anew with one minute."""
    machine = opened()
    every = []
    for _ in range(12):
        machine.answers[FindBranches] = [Succeeded(BranchesFound())]
        machine.run(machine.trunk.check_every // SECOND + 1)
        machine.tell(be.TrunkSeen(NODE, "i-1", 9))
        every.append(machine.trunk.check_every)
    assert every == sorted(every) and every[-1] == CHECK_LATEST

    machine.answers[FindBranches] = [REFUSED, Succeeded(BranchesFound((Branch("eni-lost", vlan=3),)))]
    for expected in (CHECK_LATEST, 60 * SECOND):
        machine.run(901)
        machine.tell(be.TrunkSeen(NODE, "i-1", 9))
        assert machine.trunk.check_every == expected
