"""Journals of every format that was ever written fold for ever, to what they folded to when they were written.

`golden/format-N.jsonl` was written by the ipamd of its time and is never written again; `golden/format-N.json` is the
pool that it led to.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from ipamd.core import views
from ipamd.core.events import FORMAT
from ipamd.core.state import State
from ipamd.core.types import Instant
from ipamd.journal.verify import verify
from ipamd.sim.past import fold_to

GOLDEN = Path(__file__).parent / "golden"
JOURNALS = sorted(GOLDEN.glob("format-*.jsonl"))


def outline(state: State, now: Instant) -> object:
    """The pool in plain terms, which later versions may tell more of but not differently."""
    return {
        "seq": state.seq,
        "phase": state.phase,
        "instance": state.node.instance,
        "prefix_delegation": state.settings.prefix_delegation,
        "enis": {eni.eni: [eni.device, eni.primary_ip, sorted(eni.blocks)] for eni in state.enis.values()},
        "pods": {
            view.address: [view.namespace, view.name, view.container, view.assigned_at] for view in views.pods(state)
        },
        "cooling": {view.address: view.released_at for view in views.cooling(state, now)},
    }


@pytest.mark.parametrize("path", JOURNALS, ids=lambda path: path.stem)
def test_an_old_journal_folds_to_what_it_always_did(path: Path) -> None:
    """Every record is readable and means what it meant."""
    report = verify(path)
    state = fold_to(path)

    assert report.ok and report.records == state.seq
    expected = msgspec.json.decode(path.with_suffix(".json").read_bytes())
    assert msgspec.to_builtins(outline(state, state.at)) == expected


def test_every_format_has_its_golden_journal() -> None:
    """Whoever raises FORMAT keeps the old reader and adds a journal here; the old files stay."""
    formats = {int(path.stem.split("-")[1]) for path in JOURNALS}

    assert formats == set(range(1, FORMAT + 1))
