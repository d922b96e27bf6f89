"""The log that the daemon itself wrote, imported, folds to the daemon's own pool: whole, and after what logs suffer."""

from __future__ import annotations

import gzip
from pathlib import Path
from random import Random

import pytest

from ipamd.core import views
from ipamd.core.commands import AddNetwork, DelNetwork, Imported, asked
from ipamd.core.events import AddressAssigned, AssignRefused
from ipamd.core.settings import Settings
from ipamd.core.state import State
from ipamd.sim.past import relive

from .lives import NAMES, SETTINGS, imported, life, log_of, pool

SEEDS = range(6)
every_life = pytest.mark.parametrize("seed", SEEDS)
every_setting = pytest.mark.parametrize("settings", SETTINGS, ids=NAMES)
one_card = pytest.mark.parametrize("settings", SETTINGS[:5], ids=NAMES[:5])


def written(where: Path, lines: list[bytes], name: str = "ipamd.log") -> Path:
    """The lines as a file."""
    path = where / name
    path.write_bytes(b"".join(lines))
    return path


@every_setting
@every_life
def test_a_whole_log_gives_back_the_pool(seed: int, settings: Settings, tmp_path: Path) -> None:
    """Every ENI, block, assignment and cooldown, over restarts too; nothing assumed, nothing contradicted."""
    engine, records = life(seed, settings)

    state, _, found = imported(written(tmp_path, log_of(records)))

    assert pool(state, engine.now) == pool(engine.state, engine.now)
    assert (state.settings, state.node) == (engine.state.settings, engine.state.node)
    report = found.report
    assert (report.contradictions, report.assumed, report.lost, report.unreadable) == ([], {}, {}, 0)


@every_life
def test_demand_comes_back_too(seed: int, tmp_path: Path) -> None:
    """Every ADD that was granted or refused and every DEL, in order, as the cause of what it led to."""
    _, records = life(seed, SETTINGS[1])
    wanted = [record.cause for record in records if isinstance(record.cause, AddNetwork | DelNetwork)]

    _, made, _ = imported(written(tmp_path, log_of(records)))

    assert all(isinstance(record.cause, Imported) for record in made)
    told = [one for record in made if isinstance(one := asked(record.cause), AddNetwork | DelNetwork)]
    assert [(type(one), one.sandbox) for one in told] == [(type(one), one.sandbox) for one in wanted]
    before = [event for record in records for event in record.events if isinstance(event, AssignRefused)]
    after = [event for record in made for event in record.events if isinstance(event, AssignRefused)]
    assert [(one.reason, one.pod.name) for one in after] == [(one.reason, one.pod.name) for one in before]


@every_life
def test_rotated_gzipped_and_interleaved_files_are_one_log(seed: int, tmp_path: Path) -> None:
    """Three rotated files, two of them compressed, and one line in three of the newest in a file of its own."""
    engine, records = life(seed, SETTINGS[2])
    lines = log_of(records)
    third = len(lines) // 3
    (tmp_path / "ipamd-2026-01-01T00-05-00.000.log.gz").write_bytes(gzip.compress(b"".join(lines[third : 2 * third])))
    (tmp_path / "ipamd-2026-01-01T00-02-00.000.log.gz").write_bytes(gzip.compress(b"".join(lines[:third])))
    last = by_moment(lines[2 * third :])
    written(tmp_path, [line for group in last[::2] for line in group])
    written(tmp_path, [line for group in last[1::2] for line in group], "ipamd-other.log")

    state, _, found = imported(tmp_path)

    assert pool(state, engine.now) == pool(engine.state, engine.now)
    assert found.report.contradictions == []


@every_life
def test_order_in_the_file_does_not_matter(seed: int, tmp_path: Path) -> None:
    """Moments shuffled at will; lines of one moment keep their order, for nothing else tells it."""
    engine, records = life(seed, SETTINGS[3])
    moments = by_moment(log_of(records))
    Random(seed).shuffle(moments)

    state, _, found = imported(written(tmp_path, [line for group in moments for line in group]))

    assert pool(state, engine.now) == pool(engine.state, engine.now)
    assert found.report.contradictions == []


def by_moment(lines: list[bytes]) -> list[list[bytes]]:
    """Lines of one millisecond together."""
    groups: dict[bytes, list[bytes]] = {}
    for line in lines:
        groups.setdefault(line.partition(b'"ts":"')[2][:24], []).append(line)
    return list(groups.values())


@every_life
def test_damage_beside_the_state_costs_nothing_and_is_counted(seed: int, tmp_path: Path) -> None:
    """Foreign lines, half lines, bytes that are no text, and every line given twice in a second file."""
    engine, records = life(seed, SETTINGS[0])
    lines = log_of(records)
    random = Random(seed)
    spoilt = list(lines)
    rubbish = [b"goroutine 1 [running]:\n", b"\xff\xfe\x00 nothing\n", b'{"level":"info","ts":12}\n', b"]]\n"]
    for one in rubbish:
        spoilt.insert(random.randrange(len(spoilt)), one)
    written(tmp_path, spoilt)
    written(tmp_path, lines, "ipamd-2026-01-01T00-02-00.000.log")

    state, _, found = imported(tmp_path)

    assert pool(state, engine.now) == pool(engine.state, engine.now)
    report = found.report
    assert (report.unreadable, report.contradictions) == (len(rubbish), [])
    assert report.lines == report.understood + report.unknown + report.unreadable
    assert report.repeated > 0


@every_life
def test_lines_broken_by_a_terminal_are_joined(seed: int, tmp_path: Path) -> None:
    """A line that goes on in the next one is one line."""
    engine, records = life(seed, SETTINGS[0])
    broken = [line[:60] + b"\n" + line[60:] if number % 5 == 0 else line for number, line in enumerate(log_of(records))]

    state, _, found = imported(written(tmp_path, broken))

    assert pool(state, engine.now) == pool(engine.state, engine.now)
    assert found.report.unreadable == 0


@one_card
@every_life
def test_a_log_that_begins_in_the_middle_ends_right_as_far_as_it_tells(
    seed: int, settings: Settings, tmp_path: Path
) -> None:
    """Whoever came after the cut is where the daemon has it; what was there before is assumed, and said to be."""
    engine, records = life(seed, settings)
    lines = log_of(records)
    cut = lines[len(lines) // 2 :]

    state, made, found = imported(written(tmp_path, cut), limits=False)

    given = {
        event.address: event.sandbox
        for record in records
        for event in record.events
        if isinstance(event, AddressAssigned) and line_of(event).encode() in b"".join(cut)
    }
    ours = {view.address: view.container for view in views.pods(state)}
    theirs = {view.address: view.container for view in views.pods(engine.state)}
    assert {address: ours.get(address) for address in given} == {address: theirs.get(address) for address in given}
    assert found.report.assumed or b"Starting L-IPAMD" in cut[0]
    assert relive(made, State(), len(made)).divergence is None


@every_life
def test_where_no_line_tells_the_card_of_an_eni_the_log_contradicts_itself_and_says_so(
    seed: int, tmp_path: Path
) -> None:
    """The second address of a pod seems to take the place of the first: nothing else shows that there are two cards."""
    _, records = life(seed, SETTINGS[5])
    lines = log_of(records)
    known = (b"Effective settings", b"network card", b"set up", b"Found ENI", b"datastore for")

    _, made, found = imported(
        written(tmp_path, [line for line in lines if not any(text in line for text in known)]), limits=False
    )

    wide = [event for record in records for event in record.events if isinstance(event, AddressAssigned)]
    assert any(event.pod.interfaces == 2 for event in wide)
    assert any("it holds" in text for text in found.report.contradictions)
    assert len(made) == found.report.records


def line_of(event: AddressAssigned) -> str:
    """The part of A1 that names address and sandbox."""
    return f"Assign IP {event.address} to sandbox {event.sandbox.text} "


@every_setting
@every_life
def test_any_lines_may_be_missing(seed: int, settings: Settings, tmp_path: Path) -> None:
    """One line in five is gone, one in twenty is garbled: the import ends, invariants hold, all is accounted for."""
    _, records = life(seed, settings)
    random = Random(seed)
    kept = [line for line in log_of(records) if random.random() > 0.2]
    spoilt = [garbled(random, line) if random.random() < 0.05 else line for line in kept]

    _, made, found = imported(written(tmp_path, spoilt), limits=False)

    report = found.report
    assert len(made) == report.records > 0
    assert report.lines == report.understood + report.unknown + report.unreadable
    assert relive(made, State(), len(made)).imported == len(made)


def garbled(random: Random, line: bytes) -> bytes:
    """Some bytes of a line are others."""
    spoilt = bytearray(line[:-1])
    for _ in range(3):
        spoilt[random.randrange(len(spoilt))] = random.randrange(32, 127)
    return bytes(spoilt) + b"\n"
