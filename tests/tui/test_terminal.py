"""`ipamd tui` on a real terminal, key by key, against recorded screens. See terminal.py for how to record them anew."""

from __future__ import annotations

from pathlib import Path

from ipamd.cli import simulate
from ipamd.journal.journal import Journal
from ipamd.journal.reading import read
from tests.runtime.spawned import spawned

from .terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]
COOLING = "tui examples/incidents/cooling-shortage.jsonl"
STARVATION = "tui examples/incidents/minimum-starvation.jsonl"


def test_an_incident_is_stepped_through() -> None:
    """Refusals, steps, minutes, both ends, the pods, a search both ways, a jump to a time; each as it was recorded."""
    with Terminal(COOLING, ROOT) as terminal:
        terminal.expect("newest", "record 86 of 86", "!")
        terminal.press("R")
        terminal.expect("refusal", "record 83 of 86", "AssignRefused", "reason=cooldown")
        terminal.press("Right")
        terminal.expect("step", "record 84 of 86")
        terminal.press("v")
        terminal.expect("pods", "▸ shop/web-v2-02", "cooling")
        terminal.press("v", "PgUp")
        terminal.expect("minute-back", "00:00:56.431")
        terminal.press("/", "web-v2-02", "Enter")
        terminal.expect("search", "record 81 of 86")
        terminal.press("n")
        terminal.until("record 82 of 86")
        terminal.press("N")
        terminal.until("record 81 of 86")
        terminal.press("N")
        terminal.expect("not-found", "no record of pod web-v2-02 before record 81")
        terminal.press("Home")
        terminal.expect("first", "record 1 of 86")
        terminal.press("g", "2026-01-01T00:01:30Z", "Enter")
        terminal.expect("time", "record 81 of 86", "+3.57s")
        terminal.press("g", "soon", "Enter")
        terminal.until('"soon": want a record number')
        terminal.press("?")
        terminal.expect("help", "the next refusal, the one before")
        terminal.press("Escape")
        terminal.until("5/9 slots")
        terminal.press("q")

        assert terminal.ended() == 0


def test_a_small_terminal_shows_all_of_it() -> None:
    """80x24: the panels stand above one another; made larger, they stand side by side again."""
    with Terminal(f"{STARVATION} --at 56", ROOT, 80, 24) as terminal:
        terminal.expect("small", "record 56 of 221", "reason=target")
        terminal.press("?")
        terminal.expect("small-help", "the next refusal, the one before", "quit")
        terminal.press("Escape")
        terminal.resize(120, 40)
        terminal.expect("grown", "record 56 of 221", "reason=target")
        terminal.press("q")

        assert terminal.ended() == 0


def test_windows_nodes_are_listed_with_their_pools(tmp_path: Path) -> None:
    """A controller's journal: a line a node, its groups as cells, its pools' figures, a pod that waits."""
    words = "--os windows --config enable-windows-prefix-delegation=true --pods 20 --delete 4 --json"
    assert simulate.main([*words.split(), "--journal", str(tmp_path / "windows")]) == 0
    with Terminal("tui windows", tmp_path) as terminal:
        terminal.expect("windows", "controller of 1 Windows node", "16 assigned")
        terminal.press("\\", "WindowsReleased", "Enter")
        terminal.expect("windows-released", "WindowsReleased")
        terminal.press("q")

        assert terminal.ended() == 0


def test_a_journal_that_grows_is_followed(journal: Path, tmp_path: Path) -> None:
    """The cursor stays at the newest record while somebody writes; going back ends that, End begins it again."""
    records = list(read(journal))
    live = Journal.open(tmp_path / "live", sync=False)
    for record in records[:30]:
        live.stage(record)
    live.flush()
    with Terminal("tui live", tmp_path) as terminal:
        terminal.until("record 30 of 30, the newest", "following")
        for record in records[30:40]:
            live.stage(record)
        live.flush()
        terminal.until("record 40 of 40, the newest", "following")
        terminal.press("Left")
        shown = terminal.until("record 39 of 40")
        assert "following" not in shown
        for record in records[40:50]:
            live.stage(record)
        live.flush()
        terminal.until("record 39 of 50")
        terminal.press("End")
        terminal.until("record 50 of 50, the newest", "following")
    live.close()


def test_a_daemon_is_asked_over_its_door(tmp_path: Path) -> None:
    """--url: the same screen from /v1/state, /v1/journal and /v1/plan, back in time too."""
    with (
        spawned(tmp_path / "node", "--instance-type", "m5.large") as daemon,
        Terminal(f"tui --url {daemon.ready['introspection']}", tmp_path) as terminal,
    ):
        terminal.until("m5.large  ready", "following", "verdict", "WARM_ENI_TARGET=1", "■ assigned 0")
        terminal.press("\\", "NodeReady", "Enter")
        terminal.until("NodeReady", "figures")
        terminal.press("Home")
        shown = terminal.until("record 1 of", "Started")
        terminal.press("q")

        assert "following" not in shown
        assert terminal.ended() == 0


def test_colours_tell_what_an_address_does() -> None:
    """On a terminal with colours assigned and cooling cells differ by colour; with NO_COLOR none is sent."""
    with Terminal(f"{COOLING} --at 81", ROOT, colour=True) as terminal:
        terminal.until("assigned 19")
        assert "\x1b[94m■" in terminal.painted and "\x1b[33m▒" in terminal.painted
    with Terminal(f"{COOLING} --at 81", ROOT) as terminal:
        terminal.until("assigned 19")
        assert "\x1b[94m" not in terminal.painted and "\x1b[3" not in terminal.painted.replace("\x1b[39m", "")
