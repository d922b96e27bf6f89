"""`make trace`: every clause with its title and the tests that show it; `--missing`: only those without a test."""

from __future__ import annotations

import sys
from collections import Counter

from .clauses import citations, titles, unshown


def rows(only_missing: bool) -> list[tuple[str, str, str]]:
    """(clause, title, tests or reason), in the order of docs/spec-ids.tsv."""
    shown, reasons = citations(), unshown()
    found = []
    for clause, title in titles().items():
        if clause in shown and not only_missing:
            tests = shown[clause]
            more = f" and {len(tests) - 2} more" if len(tests) > 2 else ""
            found.append((clause, title, ", ".join(tests[:2]) + more))
        elif clause not in shown:
            found.append((clause, title, f"no test: {reasons.get(clause, 'and no reason')}"))
    return found


def main(arguments: list[str]) -> int:
    """Print the table; exit code 1 if a clause has neither test nor reason."""
    only_missing = arguments == ["--missing"]
    if arguments and not only_missing:
        print(f"tests.trace: {' '.join(arguments)[:80]}: want nothing or --missing", file=sys.stderr)
        return 2
    for row in rows(only_missing):
        print("\t".join(row))
    shown = citations()
    families = Counter(clause.partition("-")[0] for clause in titles())
    tested = Counter(clause.partition("-")[0] for clause in titles() if clause in shown)
    print("\n" + "  ".join(f"{family} {tested[family]}/{count}" for family, count in families.items()))
    print(f"{tested.total()} of {families.total()} clauses are shown by tests, {len(unshown())} are excused")
    return int(any(clause not in shown and clause not in unshown() for clause in titles()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
