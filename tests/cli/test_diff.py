"""`ipamd diff A B`: by ENI, block and pod, as tables and JSON."""

from __future__ import annotations

from pathlib import Path

from ipamd.core.events import AddressReleased
from ipamd.journal.reading import read

from .conftest import Run


def test_everything_was_added_since_the_beginning(ipamd: Run, journal: Path) -> None:
    """From before the first record to now."""
    told = ipamd("diff", 0, "0s", journal, "--json").json
    said = ipamd("diff", 0, "0s", journal)

    assert said.code == 0, said.err
    assert told["assigned"] == [0, 15] and len(told["pods"]) == 15
    assert {change["change"] for change in told["enis"] + told["blocks"] + told["pods"]} == {"added"}
    assert "pods" in said.out and "0 -> 15" in said.out


def test_pods_that_went_are_removed(ipamd: Run, journal: Path) -> None:
    """Five went in the second half of that life."""
    last = ipamd("state", journal, "--json").json["seq"]
    first = next(r.seq for r in read(journal) if any(isinstance(e, AddressReleased) for e in r.events))

    told = ipamd("diff", first - 1, last, journal, "--json").json

    assert len(told["pods"]) == 5
    assert {pod["change"] for pod in told["pods"]} == {"removed"}


def test_moments_in_the_wrong_order_are_refused(ipamd: Run, journal: Path) -> None:
    """Exit code 2; the same moment twice is no difference."""
    said = ipamd("diff", 9, 3, journal)
    same = ipamd("diff", 9, 9, journal)

    assert (said.code, said.out) == (2, "") and "earlier moment first" in said.err
    assert "no ENI, block or pod differs" in same.out
