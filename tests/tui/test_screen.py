"""The screen as a function of a moment, without a terminal: every address a cell, the record, the plan and its why."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from ipamd.cli.tui import cells
from ipamd.cli.tui.moment import Moment
from ipamd.cli.tui.screen import Choice, Screen, Sizes, place, record_at, screen_of, slider
from ipamd.cli.tui.sources import JournalSource
from ipamd.cli.tui.spans import Line, text_of
from ipamd.core.types import SECOND

INCIDENTS = Path(__file__).resolve().parents[2] / "examples" / "incidents"
COOLING = INCIDENTS / "cooling-shortage.jsonl"
CELLS = Choice()
SIZES = Sizes(whole=120, pool=62, record=48, plan=48)


def told(lines: tuple[Line, ...]) -> str:
    """The lines as text."""
    return "\n".join(map(text_of, lines))


def shown(source: JournalSource, moment: Moment, choice: Choice = CELLS, sizes: Sizes = SIZES) -> Screen:
    """The screen of a moment."""
    return screen_of(moment, source.reach, source.name, frozenset({81, 82, 83}), choice, sizes)


def counted(moment: Moment) -> dict[str, int]:
    """Cells by kind."""
    found = [cell.kind for group in cells.groups(moment) for row in group.rows for cell in row.cells]
    return {kind: found.count(kind) for kind in ("assigned", "cooling", "free", "reserved", "open")}


def test_every_address_is_one_cell_by_what_it_does() -> None:
    """19 assigned, 4 cooling, none free; three ENIs' own addresses; four of their slots were never asked for."""
    moment = JournalSource(COOLING).to(81)

    assert counted(moment) == {"assigned": 19, "cooling": 4, "free": 0, "reserved": 3, "open": 4}


def test_cells_agree_with_the_pool_at_every_record(journal: Path) -> None:
    """Prefix mode, pods that come and go: the cells' sums are the pool's at each moment."""
    source = JournalSource(journal)
    for seq in range(source.reach.first_seq, source.reach.last_seq + 1):
        moment = source.to(seq)
        found = counted(moment)

        assert (found["assigned"], found["cooling"]) == (moment.pool.assigned, moment.pool.cooling)
        assert found["free"] == moment.pool.unused - moment.pool.cooling


def test_an_excluded_eni_has_no_free_address() -> None:
    """What serves nobody and may serve nobody is reserved."""
    moment = JournalSource(INCIDENTS / "minimum-starvation.jsonl").to(21)
    pool = moment.pool
    excluded = tuple(msgspec.structs.replace(eni, excluded=True) for eni in pool.enis)
    moment = msgspec.structs.replace(moment, pool=msgspec.structs.replace(pool, enis=excluded))

    assert counted(moment)["free"] == 0
    assert counted(moment)["reserved"] == 33


def test_the_record_tells_the_refusal_and_its_remedy() -> None:
    """Cause, event, reason, remedy; a container's id is shortened."""
    source = JournalSource(COOLING)

    record = told(shown(source, source.to(81)).record)

    assert "AssignRefused" in record and "reason=cooldown" in record and "remedy=" in record
    assert "sandbox=aws-cni/d30c664baa0d…/eth0" in record


def test_the_plan_says_why_nothing_is_done() -> None:
    """The verdict, the comparison that made it with its numbers, and what a pod would be told."""
    source = JournalSource(COOLING)

    plan = " ".join(told(shown(source, source.to(81)).plan).split())

    for text in ("verdict rest", "4 addresses available,", "WARM_IP_TARGET=2", "cooldown: 4 addresses", "short=0"):
        assert text in plan


def test_the_rows_that_the_record_is_about_are_marked() -> None:
    """An arrow stands before the ENI's row in which an address was assigned, and before no other."""
    source = JournalSource(COOLING)
    moment = source.to(84)
    assert moment.record is not None and moment.record.events[0].address == "10.0.0.5"  # type: ignore[union-attr]

    marked = [text_of(row) for row in shown(source, moment).pool if text_of(row).startswith("▸")]

    assert [row.split()[1] for row in marked] == ["10.0.0.4"]


def test_the_list_of_pods_names_holders_and_what_cools() -> None:
    """Instead of cells: pod, address, for how long; then cooling addresses with the time that is left."""
    source = JournalSource(COOLING)

    listed = told(shown(source, source.to(82), Choice(pods=True)).pool)

    assert "shop/web-v1-04  10.0.0.9         dev 0  for 29s" in listed
    assert listed.count("cooling, 17s left") == 4


def test_time_goes_on_between_records() -> None:
    """A moment between two records: what cools by then is judged by the moment, not by the record."""
    source = JournalSource(COOLING)
    last = source.reach.last_at

    moment = source.at(source.to(81).at + 9 * SECOND)

    assert moment.seq == 81
    assert "+9s" in text_of(shown(source, moment).head[1])
    assert source.at(last + 60 * SECOND).at == last
    assert source.at(0).at == source.reach.first_at


def test_the_slider_shows_the_cursor_and_the_refusals() -> None:
    """From end to end by records; each of its columns leads to a record that stands in that column."""
    reach = JournalSource(COOLING).reach
    track, times = slider(84, reach, frozenset({1, 81, 86}), 100)

    text = text_of(track)
    assert len(text) == 99
    assert (text[2], text[-2], text.count("!"), text.count("●")) == ("!", "!", 3, 1)
    assert text_of(times).split() == ["2026-01-01", "00:00:00", "2026-01-01", "00:02:29"]
    for column in range(2, 98):
        seq = record_at(column, reach, 100)
        assert place(seq, reach, 96) >= column - 2
        assert seq == 1 or place(seq - 1, reach, 96) < column - 2 or place(seq, reach, 96) == column - 2


@pytest.mark.parametrize("width", [20, 35, 62, 200])
def test_no_row_is_wider_than_its_panel(width: int) -> None:
    """However narrow: rows of cells are broken, headings are cut, and no cell is lost."""
    source = JournalSource(INCIDENTS / "minimum-starvation.jsonl")
    moment = source.to(source.reach.last_seq)

    rows = [text_of(row) for row in shown(source, moment, sizes=Sizes(80, width, width, width)).pool]

    assert max(map(len, rows)) <= max(width, 32)
    assert "".join(rows).count("■") == 32
