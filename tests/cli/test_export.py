"""`ipamd log export`: a copy to give away, anonymized or not."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from ipamd.core import views
from ipamd.core.types import SECOND
from ipamd.journal.journal import Journal
from ipamd.journal.reading import lines, read
from ipamd.sim.past import fold_to, replay
from tests.imports.lives import NAMES, SETTINGS, life

from .conftest import Run


@pytest.fixture(params=range(len(SETTINGS)), ids=NAMES)
def lived(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A journal with refusals, restarts and everything that random lives bring."""
    where = tmp_path / "lived"
    journal = Journal.open(where, sync=False)
    for record in life(request.param, SETTINGS[request.param])[1]:
        journal.stage(record)
    journal.close()
    return where


def test_a_copy_has_the_same_lines(ipamd: Run, journal: Path, tmp_path: Path) -> None:
    """One file, byte for byte what the segments hold."""
    said = ipamd("log", "export", journal, "-o", tmp_path / "copy.jsonl", "--json")

    assert (tmp_path / "copy.jsonl").read_bytes() == b"".join(lines(journal))
    assert said.json == {"records": len(list(read(journal)))}


def test_an_anonymized_journal_verifies_replays_and_folds_to_the_same_shape(
    ipamd: Run, lived: Path, tmp_path: Path
) -> None:
    """Every decision comes out the same under the new names, and the pool has the same form."""
    copy = tmp_path / "copy.jsonl"

    assert ipamd("log", "export", lived, "--anonymize", "-o", copy).code == 0

    assert ipamd("log", "verify", copy).code == 0
    assert replay(copy).divergence is None
    before, after = fold_to(lived), fold_to(copy)
    assert shape(views.pool(after, after.at)) == shape(views.pool(before, before.at))
    assert [pod.assigned_at for pod in views.pods(after)] == [pod.assigned_at for pod in views.pods(before)]
    assert len(views.cooling(after, after.at + SECOND)) == len(views.cooling(before, before.at + SECOND))


def shape(pool: views.PoolView) -> object:
    """The pool without names: what lies where in its subnet, how much, and in what state."""
    enis = [
        (eni.device, last(eni.primary_ip), eni.stays,
         [(last(block.cidr), block.pods, block.cooling) for block in eni.blocks])
        for eni in pool.enis
    ]  # fmt: skip
    return enis, pool.total_ips, pool.assigned, pool.unused


def last(address: str) -> str:
    """Where in its network an address lies."""
    return address.rpartition(".")[2] if "." in address else ":".join(address.split(":")[4:])


def test_no_name_is_left(ipamd: Run, lived: Path, tmp_path: Path) -> None:
    """Not one pod, namespace, container, id, MAC or address of the original stands anywhere in the copy."""
    copy = tmp_path / "copy.jsonl"
    ipamd("log", "export", lived, "--anonymize", "-o", copy, "--seed", "x")
    text = copy.read_text()

    state = fold_to(lived)
    names = {"web-0", '"shop"', state.node.instance, state.node.vpc, state.node.subnet, "10.0.0."}
    names |= {":".join(state.node.primary_ip6.split(":")[:3])}
    names |= {pod.container for pod in views.pods(state)} | set(state.enis) | {eni.mac for eni in state.enis.values()}
    assert [name for name in sorted(names) if name and name in text] == []


def test_a_controller_s_journal_is_renamed_too(ipamd: Run, tmp_path: Path) -> None:
    """Of Windows nodes: it verifies, every decision comes out the same, and no name of the original is in it."""
    where, copy = tmp_path / "windows", tmp_path / "copy.jsonl"
    prefixes = ("--config", "enable-windows-prefix-delegation=true")
    made = ("simulate", "--os", "windows", "--instance-type", "c5.large", *prefixes, "--pods", "12", "--journal", where)
    assert ipamd(*made).code == 0

    assert ipamd("log", "export", where, "--anonymize", "-o", copy, "--seed", "x").code == 0

    assert ipamd("log", "verify", copy).code == 0
    assert replay(copy).divergence is None
    before, after = fold_to(where).windows, fold_to(copy).windows
    assert [len(pods) for pods in before.pods.values()] == [len(pods) for pods in after.pods.values()] == [12]
    original, text = b"".join(lines(where)).decode(), copy.read_text()
    names = set(re.findall(r"(?:eni|i|subnet)-[0-9a-f]{17}|uid-\d+|pod-\d{6}|10\.0\.0\.\d+", original))
    assert len(names) > 30 and [name for name in sorted(names - {"10.0.0.0"}) if f'"{name}' in text] == []


def test_a_seed_gives_the_same_names_again(ipamd: Run, lived: Path, tmp_path: Path) -> None:
    """And another one others; without one they are drawn by chance."""
    copies = []
    for number, words in enumerate((("--seed", "a"), ("--seed", "a"), ("--seed", "b"), ())):
        ipamd("log", "export", lived, "--anonymize", "-o", tmp_path / f"{number}.jsonl", *words)
        copies.append((tmp_path / f"{number}.jsonl").read_bytes())

    assert copies[0] == copies[1] and len(set(copies)) == 3


def test_texts_are_searched_for_names(ipamd: Run, tmp_path: Path) -> None:
    """EC2's messages keep their words; ids, accounts, ARNs and request ids in them are other ones, or removed."""
    from tests.journal.samples import varied

    message = (
        "You are not authorized: arn:aws:sts::123456789012:assumed-role/x on eni-0a1b2c3d4e5f60718 at 10.0.0.17 "
        "(RequestID: 01234567-89ab-cdef-0123-456789abcdef) for web-1"
    )
    journal = Journal.open(tmp_path / "j", sync=False)
    for seq in range(1, 12):
        record = varied(seq)
        if seq == 11:
            (ended, *rest) = record.events
            record = msgspec.structs.replace(record, events=(msgspec.structs.replace(ended, message=message), *rest))
        journal.stage(record)
    journal.close()

    ipamd("log", "export", tmp_path / "j", "--anonymize", "-o", tmp_path / "copy.jsonl")

    told = msgspec.to_builtins(list(read(tmp_path / "copy.jsonl"))[10].events[0])["message"]
    assert told.startswith("You are not authorized: removed on eni-0") and "RequestID: removed" in told
    assert not any(name in told for name in ("123456789012", "60718", "10.0.0.17"))


@pytest.mark.parametrize(
    "words, complaint",
    [(("--seed", "x"), "--seed: only --anonymize has a use for it"), (("-o", "{taken}"), "exists already")],
)
def test_a_wrong_command_line_is_told(
    ipamd: Run, journal: Path, tmp_path: Path, words: tuple[str, ...], complaint: str
) -> None:
    """Exit code 2."""
    (tmp_path / "taken").write_text("mine")

    said = ipamd("log", "export", journal, *(word.format(taken=tmp_path / "taken") for word in words))

    assert said.code == 2 and complaint in said.err
    assert (tmp_path / "taken").read_text() == "mine"
