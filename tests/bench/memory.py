"""Resident memory of an idle daemon, against a process that holds the two server libraries and nothing else."""

from __future__ import annotations

import time

from .figures import Line, number, ratios, spread
from .place import Place
from .processes import daemon, empty, serving
from .sizes import Sizes


def run(sizes: Sizes, place: Place) -> list[Line]:
    """One line. Each round starts both processes anew and reads them once they have been idle for a while."""
    ours: list[float] = []
    bare: list[float] = []
    for round_ in range(sizes.rounds):
        with (
            serving(daemon(place, f"idle-{round_}"), place.disk / "idle.log") as one,
            serving(empty(place), place.disk / "empty.log") as other,
        ):
            time.sleep(sizes.idle_seconds)
            ours.append(one.resident / 2**20)
            bare.append(other.resident / 2**20)
    facts = {
        "daemon": f"{number(spread(ours).median)} MiB, m5.large without pods",
        "empty": f"{number(spread(bare).median)} MiB, grpc.aio on a Unix socket and aiohttp on a port",
    }
    return [Line("memory", "resident memory of the idle daemon against grpc.aio + aiohttp without use",
                 ratios(ours, bare), bound=1.5, facts=facts)]  # fmt: skip
