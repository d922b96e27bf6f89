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
    """ENI -> block -> address -> holder, with running totals."""

    def __init__(self, state: State) -> None:
        """`state`: what was recovered before the first record to come; it is only read."""
        self.settings = state.settings
        self.node = state.node
        self.groups = state.security_groups or ()
        self.calls: dict[CallId, Call] = {call_id: running.call for call_id, running in state.calls.items()}
        self.enis: dict[EniId, dict[CidrText, dict[IpText, Holder]]] = {}
        self.excluded: dict[EniId, bool] = {}
        self.total = self.assigned = self.prefixes = 0
        for eni in state.enis.values():
            self.eni_ready(eni.eni)
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
            self.total = self.assigned = self.prefixes = 0
        self.settings, self.node = settings, node

    def eni_ready(self, eni: EniId) -> None:
        """An ENI came."""
        self.enis.setdefault(eni, {})

    def eni_left(self, eni: EniId) -> int:
        """An ENI went; how many addresses went with it."""
        gone = list(self.enis.get(eni, {}))
        for cidr in gone:
            self.removed(eni, cidr)
        self.enis.pop(eni, None)
        self.excluded.pop(eni, None)
        return sum(map(size, gone))

    def added(self, eni: EniId, cidr: CidrText) -> None:
        """A block came."""
        blocks = self.enis.setdefault(eni, {})
        if cidr not in blocks:
            blocks[cidr] = {}
            self.total += size(cidr)
            self.prefixes += not cidr.endswith("/32")

    def removed(self, eni: EniId, cidr: CidrText) -> None:
        """A block went, with whoever held something of it."""
        held = self.enis.get(eni, {}).pop(cidr, None)
        if held is not None:
            self.total -= size(cidr)
            self.prefixes -= not cidr.endswith("/32")
            self.assigned -= len(held)

    def assign(self, eni: EniId, cidr: CidrText, address: IpText, holder: Holder) -> None:
        """A sandbox holds an address."""
        self.enis.setdefault(eni, {}).setdefault(cidr, {})[address] = holder
        self.assigned += 1

    def release(self, event: ev.AddressReleased) -> Holder | None:
        """It holds it no longer; who it was."""
        held = self.enis.get(event.eni, {}).get(event.block, {}).pop(event.address, None)
        self.assigned -= held is not None
        return held
