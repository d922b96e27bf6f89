"""What the records told so far, as far as lines need it: who holds what, block by block, and calls in flight.

A line about an ENI that leaves names the figures of the whole store, and one about a released address its sandbox;
neither is in the event. So whoever words the lines keeps this small copy, fed by the same events.
"""

from __future__ import annotations

from typing import TypeAlias

from ipamd.core import events as ev
from ipamd.core.calls import Call
from ipamd.core.settings import Node, Settings
from ipamd.core.state import State
from ipamd.core.types import PREFIX_SIZE, CallId, CidrText, EniId, IpText, Pod, Sandbox

Holder: TypeAlias = tuple[Sandbox, Pod]


def size(cidr: CidrText) -> int:
    """Addresses of a block."""
    return 1 << ((128 if ":" in cidr else 32) - int(cidr.rpartition("/")[2]))


class Tally:
    """ENI -> block -> address -> holder, and the network card of each ENI."""

    def __init__(self, state: State) -> None:
        """`state`: what was recovered before the first record to come; it is only read."""
        self.settings = state.settings
        self.node = state.node
        self.groups = state.security_groups or ()
        self.calls: dict[CallId, Call] = {call_id: running.call for call_id, running in state.calls.items()}
        self.enis: dict[EniId, dict[CidrText, dict[IpText, Holder]]] = {}
        self.excluded: dict[EniId, bool] = {}
        self.cards: dict[EniId, int] = {}
        self.managed = state.cards
        for eni in state.enis.values():
            self.eni_ready(eni.eni, eni.card)
            self.excluded[eni.eni] = eni.excluded
            for block in eni.blocks.values():
                self.added(eni.eni, block.cidr)
                for offset, record in block.records.items():
                    if record.sandbox is not None:
                        self.assign(eni.eni, block.cidr, block.address(offset), (record.sandbox, record.pod))

    @property
    def ips_per_eni(self) -> int:
        """maxIPsPerENI (POOL-1)."""
        slots = self.node.ips_per_eni - 1
        return slots * PREFIX_SIZE if self.settings.prefix_delegation else slots

    def started(self, settings: Settings, node: Node) -> None:
        """A new process; another instance begins with nothing."""
        if self.node.instance and self.node.instance != node.instance:
            self.enis.clear()
            self.excluded.clear()
            self.cards.clear()
            self.managed = (0,)
        self.settings, self.node = settings, node

    def eni_ready(self, eni: EniId, card: int) -> None:
        """An ENI came."""
        self.enis.setdefault(eni, {})
        self.cards[eni] = card

    def eni_left(self, eni: EniId) -> int:
        """An ENI went; how many addresses went with it."""
        gone = self.enis.pop(eni, {})
        self.excluded.pop(eni, None)
        return sum(map(size, gone))

    def figures(self, card: int) -> tuple[int, int, int]:
        """Addresses, those assigned, and prefixes of one card's ENIs."""
        blocks = [
            (cidr, held)
            for eni, there in self.enis.items()
            if self.cards.get(eni, 0) == card
            for cidr, held in there.items()
        ]
        prefixes = sum(not cidr.endswith("/32") for cidr, _ in blocks)
        return sum(size(cidr) for cidr, _ in blocks), sum(len(held) for _, held in blocks), prefixes

    def added(self, eni: EniId, cidr: CidrText) -> None:
        """A block came."""
        self.enis.setdefault(eni, {}).setdefault(cidr, {})

    def removed(self, eni: EniId, cidr: CidrText) -> None:
        """A block went, with whoever held something of it."""
        self.enis.get(eni, {}).pop(cidr, None)

    def assign(self, eni: EniId, cidr: CidrText, address: IpText, holder: Holder) -> None:
        """A sandbox holds an address."""
        self.enis.setdefault(eni, {}).setdefault(cidr, {})[address] = holder

    def release(self, event: ev.AddressReleased) -> Holder | None:
        """It holds it no longer; who it was."""
        return self.enis.get(event.eni, {}).get(event.block, {}).pop(event.address, None)
