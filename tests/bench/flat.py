"""Does a node of 10,000 addresses decide as fast as one of 10? And a scrape, for each series that it shows?"""

from __future__ import annotations

import time
from collections.abc import Callable

from ipamd.core.commands import AddNetwork
from ipamd.core.decide import decide
from ipamd.core.plan import update
from ipamd.core.state import State
from ipamd.server.counts import RequestCounts
from ipamd.server.exposition import render
from ipamd.server.metrics import Metrics
from tests.core.sized import NOW, node
from tests.core.world import pod, sandbox

from .figures import Line, interleaved, number, ratios, spread
from .place import Place
from .sizes import Sizes

FEW, MANY = 10, 10_000
_TURNS = 2_000


def run(sizes: Sizes, place: Place) -> list[Line]:
    """Three lines, each the many against the few."""
    few, many = node(FEW), node(MANY)
    turns = _TURNS if sizes.records > 100_000 else 20
    lines = [
        _line("flat add", "one ADD decided", sizes.rounds, turns, lambda state: decide(state, _ADD, NOW), few, many),
        _line(
            "flat tick", "an update of a quiet pool", sizes.rounds, turns, lambda state: update(state, NOW), few, many
        ),
    ]
    scraped = [_scraped(few), _scraped(many)]
    rounds = interleaved(
        sizes.rounds, *(lambda pair=pair: _seconds(pair[0], max(turns // 100, 2)) / pair[1] for pair in scraped)
    )
    facts = {"series": f"{scraped[0][1]} and {scraped[1][1]}"}
    what = f"a scrape for each series shown, {MANY:,} addresses against {FEW}"
    return [*lines, Line("flat scrape", what, ratios(rounds[1], rounds[0]), bound=1.2, facts=facts)]


_ADD = AddNetwork(sandbox("new"), pod("new"))


def _line(
    name: str, what: str, rounds: int, turns: int, work: Callable[[State], object], few: State, many: State
) -> Line:
    low, high = interleaved(
        rounds, *(lambda state=state: _seconds(lambda: work(state), turns) for state in (few, many))
    )
    facts = {
        f"{count:,}": f"{number(spread(seconds).median * 1e6)} us" for count, seconds in ((FEW, low), (MANY, high))
    }
    return Line(name, f"{what}, {MANY:,} addresses against {FEW}", ratios(high, low), bound=1.2, facts=facts)


def _seconds(work: Callable[[], object], turns: int) -> float:
    began = time.perf_counter()
    for _ in range(turns):
        work()
    return (time.perf_counter() - began) / turns


def _scraped(state: State) -> tuple[Callable[[], bytes], int]:
    """A scrape of a node, and how many series it shows."""
    metrics = Metrics(lambda: state, RequestCounts(), now=lambda: NOW)

    def scrape() -> bytes:
        return render(metrics.collect())

    return scrape, sum(not line.startswith(b"#") for line in scrape().splitlines())
