"""Each clause of the behaviour we follow is cited by a test, or is named here with the reason why not yet.

A test cites by `@pytest.mark.spec("POOL-7", "POOL-25..29")`; words in docstrings and ids of parameters do not count.
The clauses are those of upstream v1.23.1 as this project numbers them; a family's last number is its size.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

TESTS = Path(__file__).resolve().parent
CITATION = re.compile(r"\b(DM|POOL|REC|INIT|EC2|RPC|DOC|TV|LIM|HTTP|ENV)-(\d+)(?:\.\.(?:\1-)?(\d+))?\b")


def numbers(*spans: int | tuple[int, int]) -> tuple[int, ...]:
    return tuple(n for span in spans for n in (range(span[0], span[1] + 1) if isinstance(span, tuple) else (span,)))


KNOWN: Final = {
    "DM": numbers((1, 66)),
    "POOL": numbers((1, 52)),
    "REC": numbers((1, 16)),
    "INIT": numbers((1, 41)),
    "EC2": numbers((0, 10), 14, 15, (20, 37), (40, 44), 50),
    "RPC": numbers((1, 61)),
    "DOC": numbers((1, 16), (20, 45)),
    "TV": numbers((1, 79)),
    "LIM": numbers((1, 15)),
    "HTTP": numbers((1, 10), (20, 26)),
    "ENV": numbers((1, 48), (60, 72)),
}
"""Every clause that exists; a citation of another number is a slip of the pen."""

SCOPE: Final = {
    **KNOWN,
    "DM": numbers((1, 49), (56, 66)),
    "POOL": numbers((1, 38)),
    "INIT": numbers((1, 40)),
    "EC2": numbers((0, 10), 14, 15, (20, 25), (40, 44)),
}
"""What the first release answers for: one Linux node, IPv4, one network card."""

KUBERNETES = "needs the Kubernetes API"
IPV6 = "IPv6"
CARDS = "several network cards"
POD_ENI = "trunk and branch ENIs"
CUSTOM = "custom networking, which needs the Kubernetes API"
AWS = "the backend for AWS itself"
IMAGE = "read by the container's entrypoint, not by the daemon"

LATER: Final = {
    "DM-14": IPV6, "DM-23": IPV6,
    "POOL-12": CARDS, "POOL-14": IPV6, "POOL-19": KUBERNETES,
    "INIT-5": KUBERNETES,
    "INIT-15": KUBERNETES, "INIT-23": IPV6,
    "EC2-23": KUBERNETES,
    "RPC-22": POD_ENI, "RPC-23": POD_ENI, "RPC-24": POD_ENI, "RPC-25": POD_ENI, "RPC-27": POD_ENI, "RPC-28": POD_ENI,
    "RPC-32": CARDS, "RPC-36": IPV6, "RPC-39": KUBERNETES, "RPC-49": KUBERNETES, "RPC-54": KUBERNETES,
    "RPC-56": CARDS, "RPC-57": CARDS,
    "TV-9": IPV6, "TV-10": IPV6, "TV-24": CARDS, "TV-35": CUSTOM, "TV-36": CUSTOM, "TV-47": CARDS, "TV-58": POD_ENI,
    "TV-65": IPV6, "TV-79": AWS,
    "HTTP-26": AWS,
    **dict.fromkeys(("ENV-60", "ENV-61", "ENV-62", "ENV-63", "ENV-64", "ENV-65", "ENV-66", "ENV-67", "ENV-68"), IMAGE),
    **dict.fromkeys(("ENV-70", "ENV-71", "ENV-72"), IMAGE),
}  # fmt: skip
"""Clauses of later releases, and what each waits for."""

UNTESTED: Final = {
    "DOC-40": "why three rows of upstream's tables cannot be; those rows are tested by what the code does",
    "INIT-36": "the file of max pods by type is our table of limits (LIM-10)",
    "HTTP-10": "upstream's handling of a document that cannot be encoded, and of one that is obsolete",
    "RPC-7": "the probes of upstream's manifest",
    "RPC-47": "what gRPC does with a reply when there is an error",
    "RPC-59": "how the plugin writes its result; tested there by the plugin's own clauses",
}
"""Clauses that ask nothing of us."""

SHOWN_BY: Final = {
    "INIT-6": ("INIT-17", "INIT-20"),
    "INIT-11": ("ENV-1", "ENV-21"),
    "LIM-7": ("POOL-1",),
    "RPC-21": ("RPC-18", "RPC-19"),
}
"""Clauses that only gather others."""


def cited(text: str) -> Iterator[str]:
    """Every clause a text names, ranges written out."""
    for family, first, last in CITATION.findall(text):
        for number in range(int(first), int(last or first) + 1):
            yield f"{family}-{number}"


def marks(tree: ast.Module) -> Iterator[str]:
    """What `pytest.mark.spec` is given, wherever it stands: over a test, a class or a parameter."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.spec":
            for argument in node.args:
                assert isinstance(argument, ast.Constant) and isinstance(argument.value, str), ast.unparse(node)
                yield argument.value


@cache
def citations() -> dict[str, list[str]]:
    """Clause -> the test modules that cite it."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        if path == Path(__file__).resolve():
            continue
        for text in marks(ast.parse(path.read_text())):
            for clause in cited(text):
                found.setdefault(clause, []).append(str(path.relative_to(TESTS)))
    return found


def clauses(families: dict[str, tuple[int, ...]]) -> list[str]:
    return [f"{family}-{number}" for family, listed in families.items() for number in listed]


@pytest.mark.parametrize("family", SCOPE)
def test_every_clause_of_the_first_release_is_cited_by_a_test(family: str) -> None:
    """Cite it where it is shown, or say in this module what it waits for."""
    excused = LATER.keys() | UNTESTED.keys() | SHOWN_BY.keys()

    missing = [clause for clause in clauses({family: SCOPE[family]}) if clause not in citations().keys() | excused]

    assert missing == []


def test_no_clause_is_both_cited_and_excused() -> None:
    """Whoever tests a clause of a later release takes it off the list here."""
    excused: Iterable[str] = [*LATER, *UNTESTED, *SHOWN_BY]

    assert [f"{clause}: {citations()[clause]}" for clause in excused if clause in citations()] == []


def test_clauses_that_gather_others_are_shown_by_them() -> None:
    """What stands for another clause is cited itself."""
    assert [clause for listed in SHOWN_BY.values() for clause in listed if clause not in citations()] == []


def test_only_clauses_that_exist_are_cited() -> None:
    """A number that no clause has is a slip of the pen."""
    known = set(clauses(KNOWN))

    assert [f"{clause}: {paths}" for clause, paths in citations().items() if clause not in known] == []


def test_only_clauses_of_the_first_release_are_excused() -> None:
    """The lists hold what the scope asks for and nothing else."""
    asked = set(clauses(SCOPE))

    assert [clause for clause in (*LATER, *UNTESTED, *SHOWN_BY) if clause not in asked] == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("POOL-7, DM-5..DM-7 and RPC-9..11", ["POOL-7", "DM-5", "DM-6", "DM-7", "RPC-9", "RPC-10", "RPC-11"]),
        ("EC2-14: twelve tries (12-3)", ["EC2-14"]),
        ("ENV-X, TV-, POOL", []),
    ],
)
def test_ranges_are_citations_too(text: str, named: list[str]) -> None:
    """From one number to another, with the family's name once or twice."""
    assert list(cited(text)) == named
