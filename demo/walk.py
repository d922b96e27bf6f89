"""The whole walk: daemon, 58 pods, the pool as a table, SIGKILL, the same pods, 20 of them anew, replay.

Exit code: 0 all of it was so, 1 something was not (one line on standard error says what), 130 interrupted. The
last line on standard output is JSON, counted from /v1/enis and from the plugin's results.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NoReturn

from rich.console import Console

from demo import pool
from demo.node import Daemon, end_earlier
from demo.place import REMEDY, DemoError, Place, claimed, command
from demo.pods import AT_ONCE, PATIENCE_SECONDS, RETRY_SECONDS, Pod, Runtime
from ipamd.core.types import SECOND
from ipamd.sim.kubelet import RETRY

ROOT: Final = Path(__file__).resolve().parent.parent
PODS: Final = 58
AGAIN: Final = 20
ENIS, PREFIXES = 2, 5
"""What 58 pods make of a t3.small that keeps one prefix spare: 3 prefixes fill an ENI, 80 addresses in all."""
SETTLE_SECONDS: Final = 30.0
REPLAY_SECONDS: Final = 30.0
MEANING: Final = {
    "target": "every address was in use",
    "attach_pending": "an ENI was being added",
    "metadata_lag": "a new ENI was not visible yet",
    "cooldown": "free addresses were cooling",
}
"""ipamd's reasons for a refusal, in words."""
BACKOFF_SECONDS: Final = RETRY / SECOND
"""The kubelet's own pause."""
WIDTH: Final = 100
"""Columns where there is no terminal."""


def main(argv: list[str] | None = None) -> int:
    """Walk; the exit code."""
    parser = argparse.ArgumentParser(prog="make demo", description="A pod gets an address, with real processes.")
    parser.add_argument("--state-dir", type=Path, default=ROOT / ".demo", metavar="DIR", help="default %(default)s")
    text = f"a refused pod asks again so long after (default {RETRY_SECONDS:g}; the kubelet's is {BACKOFF_SECONDS:g})"
    parser.add_argument("--retry", type=_seconds, default=RETRY_SECONDS, metavar="SECONDS", help=text)
    args = parser.parse_args(argv)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        with claimed(args.state_dir) as place:
            last = Walk(place, args.retry).walk()
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"demo: {error.filename or args.state_dir}: {error.strerror}; {REMEDY}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted; its processes have ended", file=sys.stderr)
        return 130
    print(json.dumps(last, separators=(",", ":")), flush=True)
    return 0


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= PATIENCE_SECONDS / 2:
        raise argparse.ArgumentTypeError(f'"{text[:40]}": want 0.1 to {PATIENCE_SECONDS / 2:g} seconds')
    return seconds


def _interrupt(number: int, _: object) -> NoReturn:
    """Also where a shell made its background jobs deaf to Ctrl-C."""
    raise KeyboardInterrupt


class Walk:
    """The steps, each of which checks what it shows."""

    def __init__(self, place: Place, retry_seconds: float = RETRY_SECONDS) -> None:
        self._place = place
        self._retry_seconds = retry_seconds
        self._began = time.monotonic()
        self._out = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else WIDTH)
        self._daemon = Daemon(place)
        self._runtime = Runtime(place, retry_seconds)
        self._pods = [Pod(f"web-{number}") for number in range(PODS)]

    def walk(self) -> dict[str, Any]:
        """All of it; what the last line says. Raises DemoError; no process of ours outlives it."""
        self._afresh()
        try:
            self._start()
            self._add_all()
            self._show("58 pods on the pool, one prefix spare")
            kept = self._crash()
            readded = self._again()
            held = pool.by_pod(self._daemon.enis())
        finally:
            code = self._daemon.stop()
        journal = str(self._daemon.ready["journal"])
        self._replay(journal, code)
        self._what_next(journal)
        agreed = [pod for pod in self._pods if held.get(pod.name) == pod.address]
        expect(len(held) == len(agreed) == PODS, f"/v1/enis shows {len(held)} pods, {len(agreed)} as the plugin said")
        return {"pods": len(agreed), "kept": kept, "readded": readded, "journal": journal}

    # ---- the steps ---------------------------------------------------------------------------------------------

    def _afresh(self) -> None:
        ended = end_earlier(self._place.daemon_note)
        self._place.clear()
        if ended is not None:
            self._say(f"ended process {ended}, the daemon of an earlier demo that was cut short")

    def _start(self) -> None:
        self._say("start: t3.small on the embedded cloud, prefix mode, one prefix to be kept spare")
        seconds = self._daemon.start()
        self._note(shlex.join(["ipamd", *map(_shown, self._daemon.arguments)]))
        self._note(f"ready after {seconds:.1f} s, pid {self._daemon.ready['pid']}")

    def _add_all(self) -> None:
        self._say(
            f"add {PODS} pods: one aws-cni process each, {AT_ONCE} at a time; a refused pod asks again after "
            f"{self._retry_seconds:g} s (kubelet: {BACKOFF_SECONDS:g} s; --retry sets it)"
        )
        began = time.monotonic()
        self._runtime.add(self._pods)
        self._note(f"{PODS} pods have addresses after {time.monotonic() - began:.1f} s; the pool may grow every 5 s")
        if self._runtime.refusals:
            refusals = self._runtime.refusals.most_common()
            reasons = ", ".join(f"{count} while {MEANING.get(reason, reason)}" for reason, count in refusals)
            self._note(f"refused on the way, then asked again: {reasons}")
        expect(len({pod.address for pod in self._pods}) == PODS, "two pods have the same address")
        self._wait_for_pool()
        self._agree("after ADD")

    def _wait_for_pool(self) -> None:
        """Until the pool has its spare prefix again."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            rows = pool.rows(self._daemon.enis(), datetime.now(UTC))
            enis, prefixes = len({row.eni for row in rows}), len(rows)
            if (enis, prefixes) == (ENIS, PREFIXES):
                return
            expect(
                time.monotonic() < deadline,
                f"the pool has {enis} ENIs and {prefixes} prefixes, want {ENIS} and {PREFIXES}",
            )
            time.sleep(0.1)

    def _crash(self) -> int:
        """SIGKILL and restart; how many pods kept their address."""
        before = {pod.name: pod.address for pod in self._pods}
        pid = self._daemon.kill()
        self._say(f"kill -9 {pid}, start again, and repeat all {PODS} ADDs")
        seconds = self._daemon.start()
        shown = pool.by_pod(self._daemon.enis())
        repeated = self._runtime.repeat(self._pods)
        kept = sum(
            before[pod.name] == shown.get(pod.name) == address
            for pod, address in zip(self._pods, repeated, strict=True)
        )
        self._note(f"ready after {seconds:.1f} s; {kept} of {PODS} pods have the same address, by /v1/enis and by ADD")
        expect(kept == PODS, f"only {kept} of {PODS} pods kept their address")
        return kept

    def _again(self) -> int:
        """Delete some pods, add them anew; how many hold an address again."""
        chosen = self._pods[::3][:AGAIN]
        left = {pod.address for pod in chosen}
        self._say(f"delete {AGAIN} pods and add them again at once")
        self._runtime.delete(chosen)
        released = pool.held(self._daemon.enis())
        expect(not any(released[address].pod for address in left), "an address that was given back is still held")
        self._runtime.add(chosen)
        now = datetime.now(UTC)
        shown = pool.held(self._daemon.enis())
        early = []
        for pod in chosen:
            rest = released.get(pod.address)
            if rest is not None and rest.released_at != pool.NEVER:
                ready = rest.released_at + timedelta(seconds=pool.COOLDOWN_SECONDS)
                early += [pod.address] if shown[pod.address].assigned_at <= ready else []
        again = left & {pod.address for pod in chosen}
        expect(not early, f"{', '.join(early)} served again before its {pool.COOLDOWN_SECONDS} s were over")
        self._show(f"{AGAIN} pods anew: released addresses cool for {pool.COOLDOWN_SECONDS} s", now)
        first = min(released[address].released_at for address in left)
        free = first + timedelta(seconds=pool.COOLDOWN_SECONDS)
        self._note(f"released addresses given out again: {len(again)}; the first may be at {free:%H:%M:%S} UTC")
        self._agree("after the second ADD")
        return sum(shown[pod.address].pod == pod.name for pod in chosen)

    def _replay(self, journal: str, code: int) -> None:
        """The daemon has ended; its journal is decided again from the first record."""
        expect(code == 0, f"ipamd run ended with code {code} after SIGTERM; see {self._place.daemon_log}")
        self._say("stop (SIGTERM), then decide every record of the journal again")
        arguments = ["replay", journal, "--json"]
        try:
            done = subprocess.run(
                [command("ipamd"), *arguments], env=self._place.environment, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=REPLAY_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise DemoError(f"ipamd replay: no end within {REPLAY_SECONDS:g} s") from None
        said = (done.stdout or done.stderr).strip()
        expect(done.returncode == 0, f"ipamd {shlex.join(arguments)}: exit code {done.returncode}: {said[-500:]}")
        found = json.loads(done.stdout)
        expect(found["divergence"] is None, f"replay decided otherwise: {found['divergence']}")
        self._note(f"{found['records']} records, every decision the same")

    def _what_next(self, journal: str) -> None:
        self._say(f"the journal lies in {_shown(journal)}; try")
        for line in next_commands(self._daemon, self._place):
            self._out.print(f"    {line}", soft_wrap=True)

    # ---- words -------------------------------------------------------------------------------------------------

    def _agree(self, when: str) -> None:
        """The plugin's results and /v1/enis tell the same."""
        shown = pool.by_pod(self._daemon.enis())
        other = [pod.name for pod in self._pods if shown.get(pod.name) != pod.address]
        expect(not other, f"{when} /v1/enis and the plugin differ for {', '.join(other)}")

    def _show(self, title: str, now: datetime | None = None) -> None:
        with self._out.capture() as drawn:
            self._out.print(pool.table(self._daemon.enis(), title, now or datetime.now(UTC)))
        lines = drawn.get().splitlines()
        if not self._out.is_terminal:  # a table is filled up with blanks for a terminal only
            lines = [line.rstrip() for line in lines]
        print("\n".join(lines), flush=True)

    def _say(self, text: str) -> None:
        self._out.print(f"[{time.monotonic() - self._began:4.1f} s] {text}", soft_wrap=True)

    def _note(self, text: str) -> None:
        self._out.print(f"         {text}", soft_wrap=True)


def expect(truth: bool, otherwise: str) -> None:
    """Raises DemoError with what was found instead."""
    if not truth:
        raise DemoError(otherwise)


def next_commands(daemon: Daemon, place: Place) -> list[str]:
    """Command lines that work from the present directory."""
    ipamd, where = shlex.quote(_shown(command("ipamd"))), shlex.quote(_shown(str(place.directory)))
    journal = shlex.quote(_shown(str(daemon.ready["journal"])))
    return [
        f"{ipamd} state {where}",
        f"{ipamd} log show {where}",
        f"grep -h '\"web-0\"' {journal}/*.jsonl",
        f"{ipamd} replay {where}",
        f"{ipamd} simulate --instance-type m5.large --set ENABLE_PREFIX_DELEGATION=true --pods 58",
    ]


def _shown(word: str) -> str:
    """A path from here when it lies below; any other word as it is."""
    return word.removeprefix(f"{os.getcwd()}/")


if __name__ == "__main__":
    sys.exit(main())
