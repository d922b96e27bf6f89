"""Which assignments survive a start: those whose host veth is there (DM-62), and the rows of a checkpoint (DM-64).

row            its veth is gone               no ENI has its address      two rows, one address
ours           released as stale, rules go    -                           -
a checkpoint   dropped, rules go (DM-63)      dropped                     fatal (DM-64)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from . import events as ev
from .blocks import Block
from .calls import Failed, LinksView, PrunePodRules
from .commands import Restored
from .state import State, assignments
from .types import IpText, Pod, ip4, ip6

DUPLICATE = "datastore: IP already in data store"
"""DM-11: upstream's text for an address that two rows claim."""


def veth_suffix(pod: Pod) -> str:
    """NETW-9: the 11 hex digits that end the host veth's name."""
    return hashlib.sha1(f"{pod.namespace}.{pod.name}".encode(), usedforsecurity=False).hexdigest()[:11]


def survivors(state: State, seen: LinksView) -> tuple[list[ev.Event], list[PrunePodRules]] | Failed:
    """What changes now that the host's links are known, and whose rules are to be removed."""
    gone = _gone(seen)
    events: list[ev.Event] = []
    stale: list[IpText] = []
    for _, block, offset, record in assignments(state):
        if gone(record.pod):
            address = block.address(offset)
            events.append(ev.AddressReleased(address, block.eni, block.cidr, stale=True))
            stale.append(address)
    taken: set[IpText] = set()
    for row in state.restored:
        store = state.stores.get(row.card)
        if store is not None and row.sandbox in store.owners:
            continue  # the last start came this far, and ended before the node was ready
        if gone(row.pod):
            events.append(ev.RowDropped(row.address, row.sandbox, "veth", row.pod))
            stale.append(row.address)
            continue
        block_of_row = _block_of(state, row)
        if block_of_row is None:
            events.append(ev.RowDropped(row.address, row.sandbox, "address", row.pod))
            continue
        if row.address in taken:
            return Failed("", f"{DUPLICATE}: {row.address} of sandbox {row.sandbox.text}")
        taken.add(row.address)
        where = block_of_row
        events.append(ev.AddressAssigned(row.address, where.eni, where.cidr, row.sandbox, row.pod, since=row.at))
    return events, [PrunePodRules(address) for address in stale]


def _gone(seen: LinksView) -> Callable[[Pod], bool]:
    """Whether a pod's veth is missing. Pods without a name, and hosts whose links are not known, are believed."""

    def gone(pod: Pod) -> bool:
        if not (seen.known and pod.namespace and pod.name):
            return False
        suffix = veth_suffix(pod)
        return not any(name.endswith(suffix) for name in seen.names)

    return gone


def _block_of(state: State, row: Restored) -> Block | None:
    """Any ENI of the card, excluded or not, and a block of either kind (DM-64)."""
    wide = ":" in row.address
    wanted = ip6(row.address) if wide else ip4(row.address)
    for eni in state.enis.values():
        if eni.card != row.card:
            continue
        for block in eni.blocks.values():
            if block.wide == wide and block.base <= wanted < block.base + block.size:
                return block
    return None
