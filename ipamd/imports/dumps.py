"""State files beside a log: what they say of its beginning is stated, what they say of its end is compared.

A dump is taken after the last line. A block in it that no line added was there before the first line; so was an
address that ipam.json says was given earlier.
"""

from __future__ import annotations

from ipamd.core import events as ev
from ipamd.core import pool_linux, views
from ipamd.core.commands import AddNetwork
from ipamd.core.events import Event
from ipamd.core.types import Instant, Sandbox

from .addresses import is_block
from .documents import HeldAddress, ShownEni
from .gather import Gathered
from .pool import Pool
from .sorting import Heard


class Dumps:
    """The newest of each kind of state file."""

    def __init__(self, found: Gathered, pool: Pool) -> None:
        self._found = found
        self._pool = pool
        self._shown: dict[str, tuple[str, ShownEni]] = {}
        self._held: list[tuple[str, HeldAddress]] = []
        self.at: Instant = 0
        self._enis_known = self._held_known = False
        for name, snapshot in sorted(found.snapshots, key=lambda each: each[1].at):
            self.at = max(self.at, snapshot.at)
            if snapshot.enis is not None:
                self._shown = {shown.eni: (name, shown) for shown in snapshot.enis}
                self._enis_known = True
            if snapshot.held is not None:
                self._held += [(name, held) for held in snapshot.held]
                self._held_known = True
        if not self._held_known:
            self._held = [(name, held) for name, shown in self._shown.values() for held in shown.held]

    @property
    def any(self) -> bool:
        """Whether there is a pool in them at all."""
        return self._enis_known or self._held_known

    def before(self, heard: Heard) -> None:
        """State what was there before the first line."""
        self._blocks(heard)
        for _, held in self._held:
            sandbox = self._sandbox(held)
            early = held.at and held.at < heard.at
            if (early or not self._found.lines.count) and self._pool.held(held.address) is None:
                if held.at > heard.at or self._pool.address_of(sandbox, self._pool.card_of(held.address)):
                    continue
                if not held.at:
                    self._pool.assume("the moment of an assignment: the dump does not tell it")
                events = self._pool.assign(heard, sandbox, held.address, held.pod, held.at)
                self._pool.record(heard, events, AddNetwork(sandbox, held.pod), line=False)

    def _blocks(self, heard: Heard) -> None:
        facts = self._found.facts
        for cidr, eni in facts.homes.items():
            came, went = facts.came.get(cidr), facts.went.get(cidr)
            shown = eni in self._shown and cidr in self._shown[eni][1].cidrs
            earlier = (shown and came is None) or (went is not None and (came is None or went < came))
            if earlier and is_block(cidr):
                self._pool.assume("a block was in the pool before the first line that names it")
                self._pool.record(heard, self._pool.block(eni, cidr), line=False)
        for eni, (_, dumped) in self._shown.items():
            events: list[Event] = self._pool.eni(eni)
            if dumped.excluded:
                events.append(ev.EniExcluded(eni, True))
            self._pool.record(heard, events, line=False)

    def _sandbox(self, held: HeldAddress) -> Sandbox:
        """A dump of v1.23 on leaves containers out: then the pod's name has to stand for it."""
        if held.sandbox.container:
            return held.sandbox
        self._pool.assume("the container of a pod whose dump leaves it out")
        return Sandbox(held.sandbox.network or "aws-cni", f"unknown-{held.pod.namespace}-{held.pod.name}", "eth0")

    def after(self) -> None:
        """Compare the end with what the dumps show."""
        if self._enis_known:
            self._compare_enis()
        if self._held_known or self._enis_known:
            self._compare_held()
        self._compare_figures()

    def _compare_enis(self) -> None:
        report, state = self._pool.report, self._pool.state
        for eni, (name, shown) in self._shown.items():
            known = state.enis.get(eni)
            if known is None:
                report.contradict(f"{name}: shows {eni}, the lines add up to a pool without it")
                continue
            for cidr in sorted(set(shown.cidrs) ^ set(known.blocks)):
                if cidr in known.blocks:
                    report.contradict(f"{name}: {eni} is without {cidr}, the lines add up to a pool with it")
                elif is_block(cidr):
                    report.contradict(f"{name}: shows {cidr} on {eni}, the lines add up to a pool without it")
        for eni in state.enis:
            if eni not in self._shown:
                report.contradict(f"the dump of ENIs: is without {eni}, the lines add up to a pool with it")

    def _compare_held(self) -> None:
        report = self._pool.report
        shown = {held.address: (name, held) for name, held in self._held}
        pods = {view.address: view for view in views.pods(self._pool.state)}
        for address, (name, held) in shown.items():
            view = pods.get(address)
            if view is None:
                report.contradict(
                    f"{name}: {address} is held by {held.pod.namespace}/{held.pod.name}, the lines free it"
                )
            elif held.sandbox.container and view.container != held.sandbox.container:
                report.contradict(
                    f"{name}: {address} is held by {held.sandbox.container[:12]}, the lines say {view.container[:12]}"
                )
        for address, view in pods.items():
            if address not in shown:
                report.contradict(f"the dump: nobody holds {address}, the lines say {view.namespace}/{view.name}")

    def _compare_figures(self) -> None:
        figures, state = self._found.facts.figures, self._pool.state
        stores = [pool_linux.stats(state, card, state.at) for card in state.stores]
        counted = {"awscni_eni_allocated": len(state.enis)}
        if not state.settings.ipv6:
            counted["awscni_total_ip_addresses"] = sum(stats.total for stats in stores)
            counted["awscni_assigned_ip_addresses"] = sum(stats.assigned for stats in stores)
        for family, here in counted.items():
            if family in figures and int(figures[family]) != here:
                self._pool.report.contradict(f"metrics: {family} is {figures[family]:g}, the lines add up to {here}")
