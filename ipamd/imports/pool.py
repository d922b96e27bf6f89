"""The pool as the lines tell it: each change becomes events, checked against what was told before.

Nothing is decided here. Where a line presupposes what no line told (an address of an unknown block, say), the missing
fact is stated too and marked as assumed; where it contradicts an earlier one, the later line is believed and the
contradiction noted.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from ipamd.core import events as ev
from ipamd.core.adopt import route_table
from ipamd.core.blocks import Block
from ipamd.core.commands import AddNetwork, DelNetwork, Imported, Start, Terminate
from ipamd.core.events import FORMAT, Event, Record
from ipamd.core.evolve import fold
from ipamd.core.state import State
from ipamd.core.types import CidrText, EniId, Instant, IpText, Pod, Sandbox, single

from .addresses import prefix_of
from .facts import EniFacts, Facts
from .report import Report
from .sorting import Heard

Demand: TypeAlias = AddNetwork | DelNetwork | Start | Terminate | None
UNKNOWN_ENI: Final = "eni-unknown"
"""Where blocks lie of which no line tells an ENI."""
_UNKNOWN_DEVICE: Final = 99


class Pool:
    """State so far, and the records that lead to it. Every change goes through `record`."""

    def __init__(self, facts: Facts, report: Report, names: list[str]) -> None:
        self.facts = facts
        self.report = report
        self.names = names
        self.state = State()
        self.made: list[Record] = []
        """Records not yet taken by whoever writes them."""
        self.confirmed: set[str] | None = None
        """During a restart: ENIs, blocks and sandboxes that the new process told of; None: no restart is on."""
        self._assumed: list[str] = []

    # ---- records -------------------------------------------------------------------------------------------

    def record(self, heard: Heard, events: list[Event], demand: Demand = None, *, line: bool = True) -> None:
        """These events happened, as this line tells. No events: no record."""
        assumed, self._assumed = tuple(self._assumed), []
        if not events:
            return
        source = self.names[heard.file] if heard.file >= 0 else ""
        cause = Imported(source, heard.line if line else 0, demand, assumed)
        self.note(heard.at, cause, events)

    def note(self, at: Instant, cause: Imported, events: list[Event]) -> None:
        """The next record, folded; time never runs back."""
        state = self.state
        made = Record(FORMAT, state.seq + 1, max(at, state.at), state.node.instance, cause, tuple(events))
        for event in events:
            if isinstance(event, ev.Started):
                made = Record(FORMAT, made.seq, made.at, event.node.instance, cause, made.events)
        fold(state, made)
        self.made.append(made)
        self.report.records += 1

    def assume(self, text: str) -> None:
        """The record being made states this without a witness."""
        self._assumed.append(self.report.assume(text))

    def where(self, heard: Heard) -> str:
        """`ipamd.log line 12`, for people."""
        return f"{self.names[heard.file]} line {heard.line}" if heard.file >= 0 else "the dump"

    # ---- ENIs and blocks -----------------------------------------------------------------------------------

    def eni(self, eni: EniId) -> list[Event]:
        """What makes an ENI known; nothing where it is."""
        if self.confirmed is not None:
            self.confirmed.add(eni)
        if eni in self.state.enis:
            return []
        known = self.facts.enis.get(eni) or EniFacts()
        missing = [name for name, value in (("device number", known.device >= 0), ("MAC", known.mac),
                   ("primary address", known.primary_ip), ("subnet", known.subnet)) if not value]  # fmt: skip
        if missing:
            self.assume(f"{' and '.join(missing)} of an ENI")
        card, stores = known.card, sorted({*self.state.cards, known.card})
        device = known.device if known.device >= 0 else self._free_device(card)
        there = sum(other.card == card for other in self.state.enis.values())
        if 0 < self._enis_max(card) <= there:
            kind = self.state.node.instance_type
            self.report.contradict(f"{eni} is one ENI more than the {there} that {kind} takes")
        managed: list[Event] = [] if card in self.state.stores else [ev.CardsManaged(tuple(stores))]
        return [
            *managed,
            ev.EniReady(
                eni, known.mac, device, known.table if known.table >= 0 else route_table(card, device), known.subnet,
                known.subnet_cidr, known.primary_ip, card, known.primary, known.trunk,
            )
        ]  # fmt: skip

    def _enis_max(self, card: int) -> int:
        """ENIs that a card takes; -1: not known."""
        node = self.state.node
        return node.cards[card] if card < len(node.cards) else node.enis_max

    def _free_device(self, card: int) -> int:
        taken = {eni.device for eni in self.state.enis.values() if eni.card == card}
        taken |= {known.device for known in self.facts.enis.values() if known.card == card}
        return next(device for device in range(1, _UNKNOWN_DEVICE) if device not in taken)

    def block(self, eni: EniId, cidr: CidrText) -> list[Event]:
        """What makes a block known; nothing where it is. No address lies in two blocks: an earlier one goes."""
        events = self.eni(eni)
        for other, overlapping, pods in self._overlapping(eni, cidr):
            self.report.contradict(f"{cidr} comes to {eni} while {other} has {overlapping}")
            events.append(ev.CidrRemoved(other, overlapping, "resync", pods=pods))
        if self.confirmed is not None:
            self.confirmed.add(f"{eni} {cidr}")
        known = self.state.enis.get(eni)
        if known is None or cidr not in known.blocks:
            events.append(ev.CidrAdded(eni, cidr))
        return events

    def _overlapping(self, eni: EniId, cidr: CidrText) -> list[tuple[EniId, CidrText, int]]:
        base = cidr.partition("/")[0]
        around = prefix_of(base)
        whole = cidr == around
        return [
            (known.eni, other, block.assigned)
            for known in self.state.enis.values()
            for other, block in known.blocks.items()
            if (known.eni, other) != (eni, cidr)
            and (other in (cidr, around) or (whole and prefix_of(other.partition("/")[0]) == cidr))
        ]

    def find(self, address: IpText) -> tuple[EniId, CidrText] | None:
        """The block of the pool that an address lies in."""
        for cidr in (single(address), prefix_of(address)):
            for eni in self.state.enis.values():
                if cidr in eni.blocks:
                    return eni.eni, cidr
        return None

    def home(self, address: IpText, card: int = 0) -> tuple[EniId, CidrText, list[Event]]:
        """Its block, and what has to be stated first where the pool does not have it; on `card` if nothing tells."""
        found = self.find(address)
        if found is not None:
            return (*found, [])
        for cidr in (single(address), prefix_of(address)):
            if cidr in self.facts.homes:
                eni = self.facts.homes[cidr]
                self.assume("a block was in the pool before the first line that names it")
                return eni, cidr, self.block(eni, cidr)
        prefixes = self.state.settings.prefix_delegation or ":" in address
        cidr = prefix_of(address) if prefixes else single(address)
        device = self.facts.devices.get(address, -1)
        nowhere = f"{UNKNOWN_ENI}-card-{card}" if card else UNKNOWN_ENI
        told = [name for name, known in self.facts.enis.items() if known.device == device >= 0 and known.card == card]
        eni = told[0] if told else nowhere
        self.assume("the block of an address" if told else "the ENI and the block of an address")
        if not told:
            self.facts.enis.setdefault(eni, EniFacts(device=_UNKNOWN_DEVICE, card=card))
        return eni, cidr, self.block(eni, cidr)

    # ---- addresses -----------------------------------------------------------------------------------------

    def held(self, address: IpText) -> Sandbox | None:
        """Who holds an address."""
        found = self.find(address)
        if found is None:
            return None
        block = self.state.enis[found[0]].blocks[found[1]]
        record = block.records.get(block.offset(address))
        return record.sandbox if record is not None else None

    def address_of(self, sandbox: Sandbox, card: int = -1) -> IpText:
        """What a sandbox holds, of this network card or of the first that it has one of; "" for nothing."""
        for store in self.state.stores.values():
            if card not in (-1, store.card):
                continue
            place: tuple[Block, int] | None = store.owners.get(sandbox)
            if place is not None:
                return place[0].address(place[1])
        return ""

    def holds(self, sandbox: Sandbox) -> int:
        """How many addresses it holds: one at most of each network card."""
        return sum(sandbox in store.owners for store in self.state.stores.values())

    def holding(self, container: str) -> Sandbox | None:
        """A sandbox of this container that holds an address."""
        return next(
            (key for store in self.state.stores.values() for key in store.owners if key.container == container), None
        )

    def assign(
        self, heard: Heard, sandbox: Sandbox, address: IpText, pod: Pod, since: Instant = 0
    ) -> list[Event]:  # fmt: skip
        """An address is given, or was at `since`. What it contradicts is put right first."""
        if self.confirmed is not None:
            self.confirmed.add(sandbox.text)
        card = self.card_of(address, self.holds(sandbox) if pod.interfaces > 1 else 0)
        holder, other = self.held(address), self.address_of(sandbox, card)
        if holder == sandbox:
            return []
        events: list[Event] = []
        if holder is not None:
            self.report.contradict(f"{self.where(heard)}: {address} goes to {sandbox.text}, {holder.text} holds it")
            self.assume("a release that no line tells")
            events += self._release(address)
        if other:
            self.report.contradict(f"{self.where(heard)}: {sandbox.text} gets {address}, it holds {other}")
            self.assume("a release that no line tells")
            events += self._release(other)
        eni, cidr, before = self.home(address, card)
        return [*events, *before, ev.AddressAssigned(address, eni, cidr, sandbox, pod, since)]

    def card_of(self, address: IpText, otherwise: int = 0) -> int:
        """The network card of its ENI, known now or from another line; else as many as the sandbox has already."""
        found = self.find(address)
        if found is not None:
            return self.state.enis[found[0]].card
        homes = self.facts.homes
        eni = homes.get(single(address)) or homes.get(prefix_of(address), "")
        return self.facts.enis[eni].card if eni in self.facts.enis else otherwise

    def release(self, heard: Heard, sandbox: Sandbox | None, address: IpText, stale: bool = False) -> list[Event]:
        """An address is given back. One that nobody is known to hold was held since before the first line."""
        holder = self.held(address)
        if holder is not None:
            if sandbox is not None and holder.container != sandbox.container:
                self.report.contradict(
                    f"{self.where(heard)}: {sandbox.text} gives {address} back, {holder.text} holds it"
                )
            return self._release(address, stale)
        if sandbox is None or stale or self._cools(address):
            return []
        other = self.address_of(sandbox)
        if other:
            self.report.contradict(f"{self.where(heard)}: {sandbox.text} gives {address} back, it holds {other}")
            return self._release(other)
        eni, cidr, before = self.home(address)
        self.assume("an assignment that no line tells")
        pod = self.facts.pods.get(sandbox.container, Pod())
        given = ev.AddressAssigned(address, eni, cidr, sandbox, pod)
        return [*before, given, ev.AddressReleased(address, eni, cidr)]

    def _release(self, address: IpText, stale: bool = False) -> list[Event]:
        found = self.find(address)
        assert found is not None, f"{address} is held, so its block is known"
        return [ev.AddressReleased(address, *found, stale)]

    def _cools(self, address: IpText) -> bool:
        """Whether it was released already: several lines tell of one release."""
        found = self.find(address)
        if found is None:
            return False
        block = self.state.enis[found[0]].blocks[found[1]]
        return block.offset(address) in block.records
