"""The clauses of the behaviour we follow, and which tests show them.

docs/spec-ids.tsv         every clause: its id and a title of our own
docs/spec-unshown.tsv     those that no test shows, and why
@pytest.mark.spec("POOL-7", "WIN-33..39")    a test shows these clauses
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).resolve().parent
DOCS: Final = TESTS.parent / "docs"
_CITATION: Final = re.compile(r"([A-Z][A-Z0-9]*)-(\d+)(?:\.\.(?:\1-)?(\d+))?")


def _table(name: str) -> dict[str, str]:
    lines = (DOCS / name).read_text().splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    assert all(len(row) == 2 and all(row) for row in rows), f"docs/{name}: want an id, a tab and a text in each line"
    table = {clause: text for clause, text in rows}
    assert len(table) == len(rows), f"docs/{name}: an id stands there twice"
    return table


@cache
def titles() -> dict[str, str]:
    """Clause -> title."""
    return _table("spec-ids.tsv")


@cache
def unshown() -> dict[str, str]:
    """Clause -> why no test shows it."""
    return _table("spec-unshown.tsv")


def cited(text: str) -> Iterator[str]:
    """The clauses that one argument of the mark names, a range written out. Raises ValueError for anything else."""
    found = _CITATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r}: want a clause such as POOL-7, or a range such as POOL-7..9")
    family, first, last = found.groups()
    for number in range(int(first), int(last or first) + 1):
        yield f"{family}-{number}"


def marks(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(test, argument) of every mark, over a function, a class or a parameter; "" for one at module level."""

    def walk(node: ast.AST, test: str) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            inner = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else test
            if isinstance(child, ast.Call) and ast.unparse(child.func) == "pytest.mark.spec":
                for argument in child.args:
                    assert isinstance(argument, ast.Constant), f"{ast.unparse(child)}: want texts as they stand"
                    yield test, str(argument.value)
            yield from walk(child, inner)

    yield from walk(tree, "")


@cache
def citations() -> dict[str, list[str]]:
    """Clause -> the tests that show it, as `core/test_shed.py::test_...`."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for test, text in marks(ast.parse(path.read_text())):
            where = str(path.relative_to(TESTS)) + (f"::{test}" if test else "")
            for clause in cited(text):
                found.setdefault(clause, []).append(where)
    return {clause: list(dict.fromkeys(tests)) for clause, tests in found.items()}
