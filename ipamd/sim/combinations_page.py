"""The table of docs/tuning.md, made from the lives of `ipamd.sim.combinations`.

python -m ipamd.sim.combinations_page docs/tuning.md      writes it anew, between its two marks; about 10 s
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from .combinations import (
    ENI_TARGETS,
    IPS,
    IPS_OF_PREFIXES,
    PREFIX_TARGETS,
    Combination,
    Outcome,
    combinations,
    outcome,
)

BEGIN: Final = "<!-- made by: python -m ipamd.sim.combinations_page docs/tuning.md -->"
END: Final = "<!-- end of what is made -->"
_HEAD: Final = (
    "| Mode | `WARM_IP_TARGET` | `MINIMUM_IP_TARGET` | `WARM_ENI_TARGET` | `WARM_PREFIX_TARGET` | Upstream | Here |\n"
    "|---|---|---|---|---|---|---|\n"
)

Cells = tuple[str, int, int, int, str, str]
"""Mode, warm IPs, minimum, the mode's own target, upstream's outcome, ours."""


def lives(strict: bool) -> dict[Combination, Outcome]:
    """Every combination lived through."""
    return {combination: outcome(combination) for combination in combinations(strict)}


def page_table(ours: Mapping[Combination, Outcome], strict: Mapping[Combination, Outcome]) -> str:
    """The combinations that starve or flap on either side, rows that differ in one target alone drawn together."""
    cells: list[Cells] = []
    for (here, found), (_, there) in zip(ours.items(), strict.items(), strict=True):
        words = (_words(here, there), _words(here, found))
        if any(words):
            own = here.warm_prefix if here.prefixes else here.warm_eni
            cells.append(("prefixes" if here.prefixes else "addresses", here.warm_ip, here.minimum_ip, own, *words))
    count = len(ours)
    lines = [_row(*key, own, words) for key, own, words in _drawn_together(cells)]
    table = _HEAD + "\n".join(lines)
    return f"{BEGIN}\n\n{table}\n\nOf {count} combinations {len(cells)} starve or flap.\n\n{END}"


def _words(combination: Combination, found: Outcome) -> str:
    if found.starves_at is not None:
        return f"starves: {found.starves_at} of {combination.pods} pods get an address"
    if found.flaps_at:
        return f"flaps with {', '.join(map(str, found.flaps_at))} pods"
    return ""


def _drawn_together(cells: Sequence[Cells]) -> Iterable[tuple[tuple[str, str, str], str, tuple[str, str]]]:
    """First over the mode's own target, then over the minimum."""
    own: dict[tuple[str, int, int, str, str], list[int]] = {}
    for mode, warm, minimum, target, there, here in cells:
        own.setdefault((mode, warm, minimum, there, here), []).append(target)
    minimums: dict[tuple[str, int, str, str, str], list[int]] = {}
    for (mode, warm, minimum, there, here), targets in own.items():
        listed = _listed(targets, PREFIX_TARGETS if mode == "prefixes" else ENI_TARGETS)
        minimums.setdefault((mode, warm, listed, there, here), []).append(minimum)
    for (mode, warm, listed, there, here), values in minimums.items():
        yield (mode, str(warm), _listed(values, IPS_OF_PREFIXES if mode == "prefixes" else IPS)), listed, (there, here)


def _listed(values: Sequence[int], every: Sequence[int]) -> str:
    return "any" if len(values) == len(every) else ", ".join(map(str, values))


def _row(mode: str, warm: str, minimum: str, own: str, words: tuple[str, str]) -> str:
    targets = ("-", own) if mode == "prefixes" else (own, "-")
    there, here = (word or "fine" for word in words)
    cells = (mode, warm, minimum, *targets, there, "the same" if here == there else here)
    return f"| {' | '.join(cells)} |"


def replaced(page: str, table: str) -> str:
    """The page with another table between its marks. Raises ValueError where the marks are missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN if not begin else END}")
    return before + table + after


def main(page: Path) -> None:
    """Make the table anew."""
    page.write_text(replaced(page.read_text(), page_table(lives(False), lives(True))))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
