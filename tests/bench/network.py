"""AddNetwork of a real daemon with a durable journal: against a bare echo server, and at 10 against 700 pods.

The pool (1008 addresses on one ENI, prefix mode) is there before the clock runs. A burst of ADDs is timed; the DELs
that make room for the next burst are not. Cooldown is 0, so the same addresses serve again and again. The two servers
are separate processes, loaded in turn by this one over a Unix socket each. The few ADDs on top of 10 and of 700 pods
hardly change their number; what they added is deleted before the next few.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from statistics import median
from typing import Final

from .callers import Caller, Calls, add_request
from .figures import Line, number, percentile, ratios
from .place import Place
from .processes import Server, echo, pooled_daemon, serving
from .sizes import Sizes

CALLERS: Final = (1, 16, 64)
FEW: Final = 10
MANY: Final = 700


class _Side:
    """One server's results for one number of callers, round by round."""

    def __init__(self) -> None:
        self.rate: list[float] = []
        self.p50: list[float] = []
        self.p99: list[float] = []
        self.cpu: list[float] = []

    def keep(self, calls: Calls, cpu: float) -> None:
        """One burst, and the CPU seconds that the server used for it."""
        self.rate.append(len(calls.each) / calls.wall)
        self.p50.append(percentile(calls.each, 0.5))
        self.p99.append(percentile(calls.each, 0.99))
        self.cpu.append(cpu / len(calls.each))

    @property
    def text(self) -> str:
        """Absolute figures, medians of the rounds."""
        return (
            f"{number(median(self.rate))}/s, p50 {number(median(self.p50) * 1e3)} ms, "
            f"p99 {number(median(self.p99) * 1e3)} ms, {number(median(self.cpu) * 1e6)} us of the server's CPU a call"
        )


def run(sizes: Sizes, place: Place) -> list[Line]:
    """Throughput and p99 at 1, 16 and 64 callers against the echo; time of an ADD at 700 pods against 10."""
    return asyncio.run(_run(sizes, place))


async def _run(sizes: Sizes, place: Place) -> list[Line]:
    with serving(pooled_daemon(place, "daemon", sizes.pool), place.disk / "daemon.log") as ours:
        caller = Caller(ours.ready["grpc"][0])
        reply = await caller.one_reply(0)
        await caller.delete([0])
        with serving(echo(place, reply), place.disk / "echo.log") as theirs:
            other = Caller(theirs.ready["grpc"][0])
            lines = await _against_echo(sizes, place, (ours, caller), (theirs, other))
            lines[0].facts["messages"] = f"{len(add_request(0))} bytes there, {len(reply)} back"
            await other.close()
        lines += await _flat(sizes, place, caller)
        await caller.close()
    return lines


async def _against_echo(
    sizes: Sizes, place: Place, ours: tuple[Server, Caller], theirs: tuple[Server, Caller]
) -> list[Line]:
    pods = range(sizes.burst)
    lines = []
    for at_once in CALLERS:
        sides = _Side(), _Side()
        syncs: list[float] = []
        for round_ in range(-1, sizes.network_rounds):
            for side, (server, caller) in zip(sides, (ours, theirs), strict=True):
                before = server.cpu_seconds
                calls = await caller.add(pods, at_once)
                used = server.cpu_seconds - before
                await caller.delete(pods)
                if round_ >= 0:
                    side.keep(calls, used)
            if round_ >= 0:
                syncs.append(median(fsyncs(place.disk, 20)))
        lines += _compared(at_once, *sides, syncs)
    return lines


def _compared(at_once: int, ours: _Side, bare: _Side, syncs: list[float]) -> list[Line]:
    """Two lines for one number of callers; `syncs` is one fsync in seconds, round by round. Only 64 are bounded."""
    allowed = [3 * p99 + sync for p99, sync in zip(bare.p99, syncs, strict=True)]
    many = at_once == CALLERS[-1]
    callers = f"{at_once} caller{'s' if at_once > 1 else ''}"
    return [
        Line(f"add {at_once} rate", f"AddNetwork, durable, {callers}: calls/s against the echo's",
             ratios(ours.rate, bare.rate), bound=0.5 if many else None, better="higher",
             facts={"daemon": ours.text, "echo": bare.text}),
        Line(f"add {at_once} p99", f"{callers}: the p99 against three times the echo's and one fsync",
             ratios(ours.p99, allowed), bound=1 if many else None,
             facts={"against the echo alone": f"p50 {number(ratios(ours.p50, bare.p50).median)}x, "
                                              f"p99 {number(ratios(ours.p99, bare.p99).median)}x",
                    "one fsync": f"{number(median(syncs) * 1e3)} ms"}),
    ]  # fmt: skip


def fsyncs(directory: Path, count: int) -> list[float]:
    """Seconds of appending some bytes and having them on disk, as the journal does it, each alone."""
    took = []
    fd = os.open(directory / "fsync", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        for _ in range(count):
            began = time.perf_counter()
            os.write(fd, b"x" * 512)
            os.fdatasync(fd)
            took.append(time.perf_counter() - began)
    finally:
        os.close(fd)
    return took


async def _flat(sizes: Sizes, place: Place, few: Caller) -> list[Line]:
    """Seconds a call at 700 pods against 10, for one caller and for 16: two daemons that run so many, in turn."""
    present = FEW, min(MANY, sizes.pool - sizes.step)
    lines = []
    with serving(pooled_daemon(place, "many", sizes.pool), place.disk / "many.log") as full:
        many = Caller(full.ready["grpc"][0])
        for caller, pods in zip((few, many), present, strict=True):
            await caller.add(range(pods), CALLERS[-1])
        for at_once in CALLERS[:2]:
            took: tuple[list[float], list[float]] = [], []
            for round_ in range(-1, sizes.flat_rounds):
                for kept, caller, pods in zip(took, (few, many), present, strict=True):
                    more = range(pods, pods + sizes.step)
                    seconds = (await caller.add(more, at_once)).wall / sizes.step
                    await caller.delete(more)
                    if round_ >= 0:
                        kept.append(seconds)
            shown = [f"{number(median(kept) * 1e3)} ms at {pods}" for kept, pods in zip(took, present, strict=True)]
            lines.append(
                Line(f"add flat {at_once}", f"time of an ADD at {present[1]} pods against {FEW}, {at_once} at once",
                     ratios(took[1], took[0]), bound=1.2, facts={"an ADD": ", ".join(shown)})
            )  # fmt: skip
        await many.close()
    return lines
