"""`ipamd state`: the fold at any record or moment, as tables, as JSON and as upstream's document."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ipamd.cli import output
from ipamd.core import views
from ipamd.core.types import SECOND
from ipamd.journal.lock import Lock
from ipamd.journal.reading import bounds, read
from ipamd.sim.past import fold_to

from .conftest import Run
from .test_journal_commands import numbers


def plain(value: object) -> Any:
    """The value as JSON has it."""
    return msgspec.json.decode(msgspec.json.encode(value))


def test_state_is_the_fold_up_to_any_record(ipamd: Run, journal: Path) -> None:
    """--at SEQ: the same State as folding by hand, with pods, blocks and the work that was in flight."""
    for seq in (1, 10, 40, bounds(journal).last_seq):
        state = fold_to(journal, seq)
        shown = ipamd("state", journal, "--at", seq, "--json").json

        assert shown["seq"] == seq
        assert shown["pool"] == plain(views.pool(state, state.at))
        assert shown["pods"] == plain(views.pods(state))
        assert shown["loop"]["work"] == (type(state.pool.work).__name__ if state.pool.work else "")


def test_state_at_a_time_judges_cooldowns_by_that_time(ipamd: Run, journal: Path) -> None:
    """--at TIME: a released address cools 29 s after its release, and 31 s after it no more."""
    release = max(record.at for record in read(journal) if type(record.cause).__name__ == "DelNetwork")

    def cooling(seconds: int) -> list[dict[str, Any]]:
        moment = output.time_text(release + seconds * SECOND)
        found: list[dict[str, Any]] = ipamd("state", journal, "--at", moment, "--json").json["cooling"]
        return found

    assert len(cooling(29)) == 1
    assert cooling(31) == []


def test_tables_of_state_name_everything(ipamd: Run, journal: Path) -> None:
    """For people: ENIs, blocks, pods and the figures behind the next decision; no colour without a terminal."""
    said = ipamd("state", journal)

    assert said.code == 0
    chosen = "ENABLE_PREFIX_DELEGATION=true"
    for text in (chosen, "10.0.0.16/28", "why it stays", "default/pod-", "free_prefixes", "doing"):
        assert text in said.out
    assert "\x1b" not in said.out
    assert not [line for line in said.out.splitlines() if line.endswith(" ") or len(line) > 110]


def test_state_says_as_of_when_and_whether_somebody_writes(ipamd: Run, journal: Path) -> None:
    """Nobody writes: nothing is told to come. Somebody does: who, and when the pool is looked at next."""
    last = bounds(journal)
    dead = ipamd("state", journal).out
    lock = Lock(journal)
    try:
        alive = ipamd("state", journal).out
    finally:
        lock.release()

    moment = f"as of               {output.time_text(last.last_at)}: record {last.last_seq}, the newest; "
    assert dead.startswith(f"{moment}no process writes this journal\n")
    assert alive.startswith(f"{moment}process {os.getpid()} writes this journal\n")
    assert "looks next" in alive
    assert "looks next" not in dead


def test_state_before_the_first_record_says_so(ipamd: Run, journal: Path) -> None:
    """--at 0: no year 1970, no node without a name."""
    said = ipamd("state", journal, "--at", 0)

    assert (said.code, said.out) == (0, "as of record 0: before the first record, so there is nothing yet\n")
    assert ipamd("state", journal, "--at", 0, "--json").json["seq"] == 0


@pytest.mark.spec("POOL-6")
def test_the_limit_that_stops_growth_is_shown(ipamd: Run, tmp_path: Path) -> None:
    """16 addresses for a node of 11 pods, all in use; in the table, and in the JSON as reason and remedy."""
    words = ("--set", "ENABLE_PREFIX_DELEGATION=true", "--pods", 16, "--max-pods", 11, "--journal", tmp_path / "j")
    ipamd("simulate", "--instance-type", "t3.small", *words)

    fact = "the pool holds 16 addresses, the node may have 11 pods"
    stopped = ipamd("state", tmp_path / "j", "--json").json["loop"]["stopped"]
    assert stopped == {"reason": "max_pods", "fact": fact, "remedy": "raise --max-pods"}
    assert f"grows no more  {fact}; raise --max-pods" in ipamd("state", tmp_path / "j").out


def test_a_pool_that_may_grow_names_no_limit(ipamd: Run, journal: Path) -> None:
    """Neither while it grows nor when it has what it wants."""
    for seq in range(1, bounds(journal).last_seq + 1):
        assert ipamd("state", journal, "--at", seq, "--json").json["loop"]["stopped"] is None


def test_enis_in_no_store_are_told_from_each_other(ipamd: Run, tmp_path: Path) -> None:
    """One was just made and waits to be attached, another is being freed: the table says which is which."""
    ipamd("simulate", "--instance-type", "t3.small", "--pods", 1, "--settle", 300, "--journal", tmp_path / "grown")
    created = numbers(ipamd("log", "show", tmp_path / "grown", "--type", "EniCreated").out)[0]

    coming = ipamd("state", tmp_path / "grown", "--at", created)
    assert "coming, not attached" in coming.out

    words = ("--pods", 1, "--delete", 1, "--settle", 300, "--journal", tmp_path / "freed")
    ipamd("simulate", "--instance-type", "t3.small", *words)
    left = numbers(ipamd("log", "show", tmp_path / "freed", "--type", "EniLeft").out)[0]
    assert "being freed" in ipamd("state", tmp_path / "freed", "--at", left).out


@pytest.mark.spec("DM-58")
def test_the_checkpoint_is_upstreams_document(ipamd: Run, journal: Path) -> None:
    """Exact keys, assigned addresses only."""
    document = ipamd("state", journal, "--checkpoint").json

    assert document["version"] == "vpc-cni-ipam/1"
    assert len(document["allocations"]) == 15
    for allocation in document["allocations"]:
        assert list(allocation) == [
            "networkName", "containerID", "ifName", "ipv4", "allocationTimestamp", "metadata",
        ]  # fmt: skip
        assert list(allocation["metadata"]) == ["k8sPodNamespace", "k8sPodName", "interfacesCount"]


@pytest.mark.parametrize("at, said", [("99999", "no record 99999"), ("2020-01-01", "the oldest kept record, 1, is of")])
def test_moments_outside_the_journal_are_refused(ipamd: Run, journal: Path, at: str, said: str) -> None:
    """Exit code 2: neither the future nor what was never recorded can be folded."""
    answer = ipamd("state", journal, "--at", at)

    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err
