"""An observed ENI against the stored one: the events that explain the difference (REC-5..14).

Instance metadata may lag, so a block freed within the last 60 s is not learnt again from it (REC-11), and a
difference is believed only after EC2 was asked (REC-8, REC-9).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from . import events as ev
from .calls import Ec2Eni, MetadataEni, MetadataView
from .state import Eni, State
from .types import CidrText, Instant, single
from .work import Resync

Kind: TypeAlias = Literal["addresses", "prefixes"]


def stored(eni: Eni, kind: Kind) -> list[CidrText]:
    """Keys of the ENI's blocks of one kind."""
    return [cidr for cidr, block in eni.blocks.items() if block.prefix == (kind == "prefixes")]


def source(seen: MetadataEni | Ec2Eni, eni: Eni, kind: Kind) -> list[CidrText]:
    """What an observation says the ENI holds of one kind; the recorded primary address is skipped (REC-10)."""
    if kind == "prefixes":
        return list(seen.prefixes)
    return [single(address) for address in seen.addresses if address != eni.primary_ip]


def similar(seen: MetadataEni, eni: Eni, kind: Kind) -> bool:
    """REC-8 and REC-9: as many as stored, and each of them stored."""
    have = stored(eni, kind)
    if kind == "prefixes":
        return len(have) == len(seen.prefixes) and all(prefix in eni.blocks for prefix in seen.prefixes)
    others = [single(address) for address in seen.addresses[1:]]
    return len(have) + 1 == len(seen.addresses) and all(cidr in eni.blocks for cidr in others)


def offered(state: State, seen: MetadataView) -> MetadataView:
    """What metadata shows, less the primary ENI's prefixes with custom networking (POOL-42, EC2-37)."""
    if not state.settings.custom_networking:
        return seen
    primary = state.node.primary_eni
    shown = (msgspec.structs.replace(eni, prefixes=()) if eni.eni == primary else eni for eni in seen.enis)
    return msgspec.structs.replace(seen, enis=tuple(shown))


def believed(shown: MetadataEni, eni: Eni, kind: Kind) -> list[CidrText]:
    """What an ENI holds where EC2 must not be asked: what metadata says, and whatever has a pod.

    Metadata may lag, and a pod's address must not be given away for that.
    """
    found = source(shown, eni, kind)
    return found + [cidr for cidr in stored(eni, kind) if eni.blocks[cidr].assigned and cidr not in found]


def recently_freed(state: State, cidr: CidrText, now: Instant) -> bool:
    """Freed, and its cooldown entry not expired (REC-11)."""
    return now < state.held.get(cidr, 0)


def expired_holds(state: State, found: list[CidrText], now: Instant) -> bool:
    """Whether some found block has an expired cooldown entry, so that EC2 must say if it is really there (REC-10)."""
    return any(cidr in state.held and not recently_freed(state, cidr, now) for cidr in found)


def reconcile(
    state: State,
    eni: Eni,
    kind: Kind,
    found: list[CidrText],
    now: Instant,
    verified: bool,
    in_ec2: list[CidrText] | None,
) -> list[ev.Event]:
    """Add what was found, drop what was not seen (REC-10, REC-12).

    `verified`: `found` came from EC2. `in_ec2` is what EC2 says where `found` came from metadata and an expired
    entry had to be checked; None if that read failed or was not needed.
    """
    added: list[ev.Event] = []
    seen: dict[CidrText, None] = {}
    protected = 0
    for cidr in found:
        if recently_freed(state, cidr, now):
            continue
        if cidr in state.held:
            if not verified and in_ec2 is None:
                seen[cidr] = None
                protected += 1
                continue
            if not verified and in_ec2 is not None and cidr not in in_ec2:
                continue
            added.append(ev.HoldEnded(cidr))
        if cidr not in eni.blocks:
            added.append(ev.CidrAdded(eni.eni, cidr))
        seen[cidr] = None
    counted = found_again(len(seen) - protected)
    dropped: list[ev.Event] = []
    for cidr in stored(eni, kind):
        if cidr not in seen:
            dropped.append(ev.CidrRemoved(eni.eni, cidr, "resync", pods=eni.blocks[cidr].assigned))
    if dropped:
        dropped.append(ev.ReconcileCounted("eniIPPoolReconcileDel", len(dropped)))
    return [*added, *counted, *dropped]


def found_again(blocks: int) -> list[ev.Event]:
    """REC-10: the counter moves for each block that was found, new or not."""
    return [ev.ReconcileCounted("eniDataStorePoolReconcileAdd", blocks)] if blocks else []


def condense(state: State, seen: MetadataView, now: Instant) -> MetadataView:
    """The same view without its ENIs when they hold just what the store holds; the driver records this instead.

    Only for a reconcile or the watcher: node init and a growing ENI need to see what is there.
    """
    if state.settings.ipv6:  # nothing is reconciled there (V6-5)
        quiet = state.pool.work is None
        return msgspec.structs.replace(seen, enis=(), as_stored=True) if quiet else seen
    seen = offered(state, seen)
    ours = [shown for shown in seen.enis if shown.eni not in state.unmanaged]
    managed = sum(eni.eni not in state.unmanaged for eni in state.enis.values())
    same = len(ours) == managed and len(seen.enis) - len(ours) == len(state.unmanaged)
    if not same or not isinstance(state.pool.work, Resync | None):
        return seen
    for shown in ours:
        eni = state.enis.get(shown.eni)
        if eni is None or not (similar(shown, eni, "addresses") and similar(shown, eni, "prefixes")):
            return seen
        if any(cidr in state.held for cidr in eni.blocks):
            return seen
    return msgspec.structs.replace(seen, enis=(), as_stored=True)
