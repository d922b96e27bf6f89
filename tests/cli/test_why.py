"""`ipamd why`: the three questions as tables and as JSON."""

from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path

import pytest

from ipamd.cli import main as cli
from ipamd.core.events import AddressAssigned, AddressReleased
from ipamd.journal.reading import bounds, read

from .conftest import Run


@pytest.fixture
def full(ipamd: Run, tmp_path: Path) -> Path:
    """A t3.small whose nine addresses are all in use; three pods were refused."""
    where = tmp_path / "full"
    said = ipamd("simulate", "--instance-type", "t3.small", "--pods", 12, "--journal", where, "--json")
    assert said.code == 0, said.err
    return where


def test_no_ip_names_cause_records_and_shortest_change(ipamd: Run, full: Path) -> None:
    """For people, and the same as JSON."""
    said = ipamd("why", "no-ip", full)
    told = ipamd("why", "no-ip", full, "--json").json

    assert said.code == 0, said.err
    assert "eni_limit" in said.out and f"[{told['refusal']}]" in said.out
    assert told["reason"] == told["said"] == "eni_limit"
    assert told["causes"][0]["seqs"] and told["shortest"] == "--instance-type t3.medium"
    assert ipamd("why", "no-ip", full, "--quick", "--json").json["tried"] == []


def test_a_first_word_that_is_no_question_is_a_pod(ipamd: Run, full: Path) -> None:
    """`ipamd why default/pod-3 JOURNAL`."""
    said = ipamd("why", "default/pod-3", full)

    assert said.code == 0, said.err
    assert "waterfall" in said.out and "granted" in said.out
    assert ipamd("why", "pod", "pod-3", full, "--json").json["address"].startswith("10.0.0.")


def test_what_holds_an_address(ipamd: Run, full: Path) -> None:
    """The rule and its record."""
    address = ipamd("why", "pod-3", full, "--json").json["address"]

    said = ipamd("why", "why-not-freed", address, full)

    assert said.code == 0, said.err
    assert "default/pod-3" in said.out
    assert ipamd("why", "not-freed", address, full, "--json").json["rule"] == "pods"


def test_what_holds_an_address_of_an_ipv6_prefix(ipamd: Run, tmp_path: Path) -> None:
    """A pod, a cooldown, and what no pod ever had: in IPv6 mode the prefix stays with its ENI."""
    where = tmp_path / "six"
    six = ("ENABLE_IPv6=true", "ENABLE_IPv4=false", "ENABLE_PREFIX_DELEGATION=true")
    words = [word for value in six for word in ("--set", value)]
    assert ipamd("simulate", *words, "--pods", 2, "--delete", 2, "--journal", where).code == 0
    address = next(e.address for r in read(where) for e in r.events if isinstance(e, AddressReleased))
    assigned = next(r.seq for r in read(where) for e in r.events if isinstance(e, AddressAssigned))
    never = str(IPv6Address(address) + 0x2000)

    def rule(thing: str, at: object) -> object:
        return ipamd("why", "not-freed", thing, where, "--at", at, "--json").json["rule"]

    newest = bounds(where).last_seq
    assert (rule(address, newest), rule(IPv6Address(address).exploded, newest)) == ("cooling", "cooling")
    assert rule(never, assigned) == "pods"
    assert rule(never, assigned - 1) == "ipv6"
    assert cli(["why-not-freed", never, str(where)]) == 0


@pytest.mark.parametrize(
    "words, said",
    [
        (["no-ip", "--at", "1"], "no pod was refused an address up to record 1"),
        (["no-ip", "--at", "99999"], "want a record from 1 to"),
        (["not-freed", "10.9.9.9"], "no ENI, block or address"),
        (["nobody"], "no pod of that name"),
    ],
)
def test_nothing_to_explain_is_said(words: list[str], said: str, ipamd: Run, full: Path) -> None:
    """Exit code 2, one line on standard error."""
    done = ipamd("why", *words, full)

    assert (done.code, done.out) == (2, "")
    assert said in done.err
