"""A small soak; the whole one is `python -m tests.windows.soak`."""

from __future__ import annotations

import pytest

from .soak import Soak, run


@pytest.mark.spec("WIN-31", "WIN-68..71", "WIN-96..98", "WIN-123")
@pytest.mark.parametrize("seed", [1, 2])
def test_a_cluster_through_faults_losses_and_restarts(seed: int) -> None:
    """Every invariant holds after every record, live equals replay, and in the end every pod is annotated."""
    found = run(Soak(nodes=8, pods=300, hours=2, seed=seed, checks=1, fault_percent=4))

    assert found.records > 1000
    assert min(found.restarts, found.lost_nodes, found.faults) > 0
    assert (found.waiting, found.annotated > 20) == (0, True)
