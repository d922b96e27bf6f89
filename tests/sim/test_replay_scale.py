"""`replay` of long journals: the first divergence is found, and memory does not grow with the journal."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

from ipamd.sim.past import replay

from ..bench.scale import write


def test_a_planted_divergence_is_found_in_memory_that_stays_flat(tmp_path: Path) -> None:
    """Four times the records, found where planted, with hardly more memory at the peak."""
    peaks = []
    for records in (3_000, 12_000):
        where = tmp_path / str(records)
        planted = write(where, records)
        tracemalloc.start()
        found = replay(where)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

        assert found.divergence is not None and found.divergence.seq == planted > records * 9 // 10

    assert peaks[1] < 1.5 * peaks[0]
