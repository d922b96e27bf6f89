"""Each clause of the behaviour we follow is shown by a test, or docs/spec-unshown.tsv says why not.

A test cites by `@pytest.mark.spec("POOL-7", "POOL-25..29")`; words in docstrings and ids of parameters do not count.
"""

from __future__ import annotations

import ast

import pytest

from .clauses import citations, cited, marks, titles, unshown


def test_every_clause_is_shown_or_excused() -> None:
    """`make trace T=--missing` lists them."""
    assert [clause for clause in titles() if clause not in citations() and clause not in unshown()] == []


def test_no_clause_is_both_shown_and_excused() -> None:
    """Whoever shows a clause takes it off the list; those that are "not shown yet" may be shown any day."""
    excused = [clause for clause, reason in unshown().items() if not reason.startswith("not shown yet")]

    assert [f"{clause}: {citations()[clause]}" for clause in excused if clause in citations()] == []


def test_only_clauses_that_exist_are_cited_or_excused() -> None:
    """A number that no clause has is a slip of the pen."""
    assert [f"{clause}: {tests}" for clause, tests in citations().items() if clause not in titles()] == []
    assert [clause for clause in unshown() if clause not in titles()] == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("POOL-7", ["POOL-7"]),
        ("RPC-9..11", ["RPC-9", "RPC-10", "RPC-11"]),
        ("DM-5..DM-7", ["DM-5", "DM-6", "DM-7"]),
        ("V6-4", ["V6-4"]),
    ],
)
def test_ranges_are_citations_too(text: str, named: list[str]) -> None:
    """From one number to another, with the family's name once or twice."""
    assert list(cited(text)) == named


@pytest.mark.parametrize("text", ["", "POOL", "POOL-", "POOL-7 ", "POOL-7, POOL-8", "POOL-7..DM-9", "pool-7"])
def test_anything_else_is_no_citation(text: str) -> None:
    """One clause or one range an argument, and nothing beside it."""
    with pytest.raises(ValueError, match="want a clause such as POOL-7"):
        list(cited(text))


def test_marks_are_found_over_functions_classes_and_parameters() -> None:
    """Each with the test it stands over; one at module level has none."""
    source = """
pytestmark = pytest.mark.spec("DM-1")
@pytest.mark.spec("DM-2", "DM-3")
def test_one(): ...
@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.spec("DM-4"))])
async def test_two(x): ...
"""

    assert list(marks(ast.parse(source))) == [
        ("", "DM-1"), ("test_one", "DM-2"), ("test_one", "DM-3"), ("test_two", "DM-4"),
    ]  # fmt: skip
