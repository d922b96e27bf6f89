"""Time travel over a journal: any order of jumps gives the State that a fold from the beginning gives."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from ipamd.core import snapshot
from ipamd.core.difference import difference
from ipamd.core.events import AssignRefused, Record
from ipamd.core.evolve import fold
from ipamd.core.state import State
from ipamd.journal.errors import JournalMissing
from ipamd.journal.journal import Journal
from ipamd.journal.reading import read
from ipamd.sim.past import fold_to
from ipamd.sim.travel import Travel

from .lives import live_at_random


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some hundred records, with refusals."""
    return live_at_random(tmp_path_factory.mktemp("life") / "j", 1, steps=150).journal


def test_jumps_in_any_order_give_the_folded_state(life: Path) -> None:
    """On, back, far and near: the State after the record, and the record itself."""
    states: dict[int, bytes] = {}
    state = State()
    records: dict[int, Record] = {}
    for record in read(life):
        fold(state, record)
        states[record.seq], records[record.seq] = snapshot.encode(state), record
    travel, random = Travel(life), Random(4)
    assert travel.seq == max(states)

    for _ in range(60):
        if random.random() < 0.5:
            travel.to(random.randrange(1, max(states) + 1))
        else:
            travel.step(random.choice((-3, -1, 1, 2)))
        assert snapshot.encode(travel.state) == states[travel.seq]
        assert travel.record == records[travel.seq]


def test_the_next_refusal_and_the_one_before(life: Path) -> None:
    """Both directions visit the same records; at the end nothing moves."""
    refusals = [r.seq for r in read(life) if any(isinstance(e, AssignRefused) for e in r.events)]
    travel = Travel(life)
    travel.to(1)

    ahead = [travel.seq for _ in refusals if travel.refusal(1)]
    stayed = travel.refusal(1)
    travel.to(10**9)
    behind = [travel.seq for _ in refusals if travel.refusal(-1)]

    assert (ahead == refusals and behind == refusals[::-1]) or travel.bounds.last_seq in refusals
    assert not stayed
    assert travel.refused_if_asked is not None


def test_a_cursor_sees_what_is_written_later(tmp_path: Path) -> None:
    """A journal that grows: refresh tells how many records came."""
    told = live_at_random(tmp_path / "j", 2, steps=10)
    travel = Travel(told.journal)
    assert travel.refresh() == 0
    more = list(read(live_at_random(tmp_path / "k", 2, steps=20).journal))[told.records :]
    journal = Journal.open(told.journal, sync=False)
    for record in more:
        journal.stage(record)
    journal.close()

    assert travel.refresh() == len(more)
    assert travel.step(len(more)).seq == told.records + len(more)


def test_an_empty_journal_has_no_moment(tmp_path: Path) -> None:
    """There is no record to stand at."""
    Journal.open(tmp_path / "j", sync=False).close()

    with pytest.raises(JournalMissing, match="holds no record"):
        Travel(tmp_path / "j")


def test_a_difference_is_what_the_records_between_did(life: Path) -> None:
    """From nothing to the end: every pod of the end is added; from a State to itself: nothing."""
    end = fold_to(life)
    half = fold_to(life, end.seq // 2)

    whole = difference(State(), end, (0, end.at))
    none = difference(end, end, (end.at, end.at))
    back = difference(end, half, (end.at, half.at))
    forth = difference(half, end, (half.at, end.at))

    assert {change.change for change in whole.pods} == {"added"}
    assert len(whole.pods) == whole.assigned[1] == sum(eni.pods[1] for eni in whole.enis)
    assert (none.enis, none.blocks, none.pods, none.settings) == ((), (), (), {})
    assert {p.pod for p in back.pods} == {p.pod for p in forth.pods}
    assert sum(p.change == "added" for p in forth.pods) == sum(p.change == "removed" for p in back.pods)
