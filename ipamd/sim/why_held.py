"""Why something was not given back to EC2: the rule that holds an ENI, a block or an address, and the record behind it.

why_not_freed(path, "eni-0abc", seq)
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

import msgspec

from ipamd.core import events as ev
from ipamd.core.blocks import Block
from ipamd.core.cluster import manageable
from ipamd.core.events import Record
from ipamd.core.evolve import fold
from ipamd.core.plan import DECREASE_INTERVAL
from ipamd.core.pool_linux import (
    ENI_MIN_LIFETIME,
    allocatable,
    balance,
    deletable_eni,
    extra_enis_possible,
    freeable_blocks,
    hold_on_eni,
    stats,
)
from ipamd.core.state import Eni, State
from ipamd.core.types import Instant
from ipamd.journal.reading import StrPath, bounds, read

from .past import Progress, Warn, begin, silent

FREE: Final = "free"
_STAYS: Final = "with ENABLE_IPv6 the pool neither grows nor shrinks: what an ENI has it keeps"


class NotFreed(msgspec.Struct, frozen=True):
    """`rule` is one word, `free` if nothing holds it; `seqs` are the records that made the rule true."""

    thing: str
    kind: str
    """ENI, prefix or address."""
    rule: str
    fact: str
    until: Instant
    """When the rule ends by itself, in ns; 0: it does not, or nobody knows."""
    seqs: tuple[int, ...]
    seq: int
    at: Instant


class UnknownThing(ValueError):
    """Nothing of that name is in the pool at that moment."""


class _Index:
    """Which records made what true: told every record in order."""

    def __init__(self) -> None:
        self.started = self.decreased = self.terminating = self.increase = self.node = 0
        self.ready: dict[str, int] = {}
        self.added: dict[str, int] = {}
        self.assigned: dict[str, int] = {}
        self.released: dict[str, int] = {}

    def hear(self, record: Record) -> None:
        for event in record.events:
            match event:
                case ev.Started():
                    self.started = record.seq
                case ev.Terminating():
                    self.terminating = record.seq
                case ev.KubeNodeChanged():
                    self.node = record.seq
                case ev.EniReady(eni=eni):
                    self.ready[eni] = record.seq
                case ev.CidrAdded(cidr=cidr):
                    self.added[cidr] = record.seq
                case ev.AddressAssigned(address=address):
                    self.assigned[address] = record.seq
                case ev.AddressReleased(address=address):
                    self.released[address] = record.seq
                case ev.PoolActed(action="decreased"):
                    self.decreased = record.seq
                case ev.WorkMoved():
                    self.increase = record.seq
                case _:
                    pass


def why_not_freed(
    path: StrPath,
    thing: str,
    seq: int | None = None,
    at: Instant | None = None,
    progress: Progress = silent,
    warn: Warn = silent,
) -> NotFreed:
    """What holds an ENI (by id), a prefix (CIDR) or an address after record `seq`, judged at `at`.

    Raises `UnknownThing` for what is not in the pool then, and what reading a journal raises.
    """
    last = bounds(path).last_seq if seq is None else seq
    state, index = begin(path, None, oldest=True, warn=warn), _Index()
    for record in read(path, state.seq + 1):
        if record.seq > last:
            break
        fold(state, record)
        index.hear(record)
        if record.seq % 1024 == 0:
            progress(record.seq, last)
    now = state.at if at is None else max(at, state.at)
    return _answer(state, index, thing, now)


def _answer(state: State, index: _Index, thing: str, now: Instant) -> NotFreed:
    thing = _canonical(thing)
    eni = state.enis.get(thing)
    if eni is not None:
        return _eni(state, index, eni, now)
    for eni in state.enis.values():
        if thing in (eni.primary_ip, f"{eni.primary_ip}/32"):
            fact = f"it is the primary address of {eni.eni} and goes with the ENI alone"
            return _told(state, now, thing, "address", "primary", fact, _seqs(index.ready.get(eni.eni)))
        for block in eni.blocks.values():
            if thing == block.cidr or (block.size == 1 and thing == block.cidr.removesuffix("/32")):
                return _block(state, index, eni, block, now)
            if (offset := _offset(block, thing)) is not None:
                return _address(state, index, eni, block, offset, now)
    if thing in state.pending:
        fact = "it is in no store: it is just being added, or freed already"
        return _told(state, now, thing, "ENI", "pending", fact, _seqs(index.increase))
    raise UnknownThing(f"{thing[:60]}: no ENI, block or address of the pool after record {state.seq}")


def _canonical(thing: str) -> str:
    """An IPv6 address or CIDR as events write it; every other text as it is."""
    address, slash, length = thing.partition("/")
    try:
        return f"{IPv6Address(address)}{slash}{length}" if ":" in address else thing
    except AddressValueError:
        return thing


def _offset(block: Block, address: str) -> int | None:
    """Where an address stands in a block; None: not in it, or no address."""
    try:
        value = int(IPv6Address(address) if block.wide else IPv4Address(address))
    except AddressValueError:
        return None
    return value - block.base if block.base <= value < block.base + block.size else None


def _seqs(*seqs: int | None) -> tuple[int, ...]:
    return tuple(sorted({seq for seq in seqs if seq}))


def _told(
    state: State, now: Instant, thing: str, kind: str, rule: str, fact: str, seqs: tuple[int, ...], until: Instant = 0
) -> NotFreed:
    return NotFreed(thing, kind, rule, fact, until, seqs, state.seq, now)


def _address(state: State, index: _Index, eni: Eni, block: Block, offset: int, now: Instant) -> NotFreed:
    """An address of a prefix: its own state, else its prefix's."""
    address = block.address(offset)
    record = block.records.get(offset)
    if record is not None and record.sandbox is not None:
        fact = f"pod {record.pod.namespace}/{record.pod.name} has it"
        return _told(state, now, address, "address", "pods", fact, _seqs(index.assigned.get(address)))
    if record is not None and now - record.released_at <= state.cooldown:
        until = record.released_at + state.cooldown
        fact = f"it cools for {state.settings.ip_cooldown_period} s after its release"
        return _told(state, now, address, "address", "cooling", fact, _seqs(index.released.get(address)), until)
    told = _block(state, index, eni, block, now)
    return msgspec.structs.replace(
        told, thing=address, kind="address", fact=f"it goes with its prefix {block.cidr}: {told.fact}"
    )


def _block(state: State, index: _Index, eni: Eni, block: Block, now: Instant) -> NotFreed:
    """POOL-31: what a scale-down would leave."""
    kind = "prefix" if block.prefix else "address"
    name = block.cidr if block.prefix else block.cidr.removesuffix("/32")

    def told(rule: str, fact: str, seqs: tuple[int, ...], until: Instant = 0) -> NotFreed:
        return _told(state, now, name, kind, rule, fact, seqs, until)

    if block.assigned:
        held = [(block.address(o), r.pod) for o, r in sorted(block.records.items()) if r.sandbox is not None]
        pods = ", ".join(f"{pod.namespace}/{pod.name}" for _, pod in held[:3])
        more = f" and {len(held) - 3} more" if len(held) > 3 else ""
        return told("pods", f"{pods}{more} have addresses of it", _seqs(*(index.assigned.get(ip) for ip, _ in held)))
    if block not in freeable_blocks(state, eni, now):
        released = [(at, block.address(offset)) for at, offset in block.cooling]
        until = max(at for at, _ in released) + state.cooldown
        fact = f"addresses of it cool for {state.settings.ip_cooldown_period} s after their release"
        return told("cooling", fact, _seqs(*(index.released.get(ip) for _, ip in released)), until)
    if state.settings.ipv6:
        return told("ipv6", _STAYS, _seqs(index.started))
    if state.pool.work is not None:
        fact = f"the pool is busy ({type(state.pool.work).__name__}); it looks again when that has ended"
        return told("busy", fact, _seqs(index.increase))
    goal = balance(state, eni.card, now)
    if not goal.high:
        counted = goal.stats
        target = _target(state)
        fact = (
            f"the pool is not over its target ({target}): {counted.total} addresses, {counted.assigned} assigned, "
            f"{counted.cooling} cooling, {counted.available} available"
        )
        return told(target.partition("=")[0].lower(), fact, _seqs(index.started, index.added.get(block.cidr)))
    if state.last_decrease and now - state.last_decrease <= DECREASE_INTERVAL:
        fact = "the last scale-down was less than 30 s before"
        return told("interval", fact, _seqs(index.decreased), state.last_decrease + DECREASE_INTERVAL)
    return told(FREE, f"nothing: the pool is over by {goal.over}, and the next look at it gives blocks back", ())


def _eni(state: State, index: _Index, eni: Eni, now: Instant) -> NotFreed:
    """DM-36, then POOL-35 and POOL-36."""

    def told(rule: str, fact: str, seqs: tuple[int, ...], until: Instant = 0) -> NotFreed:
        return _told(state, now, eni.eni, "ENI", rule, fact, seqs, until)

    ready = index.ready.get(eni.eni)
    addresses = [
        (block.address(offset), record)
        for block in eni.blocks.values()
        for offset, record in sorted(block.records.items())
    ]
    match hold_on_eni(state, eni, now):
        case "primary":
            return told("primary", "the instance's primary ENI is never freed", _seqs(ready))
        case "young":
            until = eni.ready_at + ENI_MIN_LIFETIME
            return told("young", "an ENI stays for its first 60 s", _seqs(ready), until)
        case "cooling":
            last = [(r.released_at, ip) for ip, r in addresses if r.sandbox is None]
            until = max(at for at, _ in last) + state.cooldown
            cooling = [index.released.get(ip) for at, ip in last if now - at <= state.cooldown]
            return told("cooling", f"{len(cooling)} of its addresses cool", _seqs(*cooling), until)
        case "pods":
            held = [index.assigned.get(ip) for ip, r in addresses if r.sandbox is not None]
            return told("pods", f"{len(held)} pods have addresses of it", _seqs(*held))
        case ("warm_ip_target" | "minimum_ip_target" | "warm_prefix_target") as word:
            value = getattr(state.settings, word)
            fact = f"without it the others would not meet {word.upper()}={value}"
            return told(word, fact, _seqs(index.started))
        case ("trunk" | "efa") as word:
            return told(word, f"it is the {word} interface", _seqs(ready))
        case _:
            return _may_go(state, index, eni, now)


def _may_go(state: State, index: _Index, eni: Eni, now: Instant) -> NotFreed:
    def told(rule: str, fact: str, seqs: tuple[int, ...]) -> NotFreed:
        return _told(state, now, eni.eni, "ENI", rule, fact, seqs)

    if state.terminating:
        return told("terminating", "the daemon is ending and frees nothing", _seqs(index.terminating))
    if state.settings.ipv6:
        return told("ipv6", _STAYS, _seqs(index.started))
    if state.settings.provisioning_disabled:
        return told("provisioning_disabled", "the daemon makes and frees no ENIs", _seqs(index.started))
    if not manageable(state):
        fact = "the node is not to be scheduled on, and with custom networking no ENI is then made or freed"
        return told("unschedulable", fact, _seqs(index.started, index.node))
    counted = stats(state, eni.card, now)
    if not extra_enis_possible(state, eni.card, counted):
        target = _target(state)
        fact = f"{counted.available} addresses are available, so {target} leaves no ENI to spare"
        return told(target.partition("=")[0].lower(), fact, _seqs(index.started))
    chosen = deletable_eni(state, eni.card, now)
    if chosen != eni.eni:
        return told("order", f"one ENI goes at a time, and {chosen} goes first", _seqs(index.ready.get(chosen)))
    room = len(allocatable(state, eni.card))
    return told(FREE, f"nothing: the next look at the pool frees it ({room} ENIs have room)", ())


def _target(state: State) -> str:
    settings = state.settings
    if settings.warm_ip_target or settings.minimum_ip_target:
        name = "warm_ip_target" if settings.warm_ip_target else "minimum_ip_target"
    else:
        name = "warm_prefix_target" if settings.prefix_delegation else "warm_eni_target"
    return f"{name.upper()}={getattr(settings, name)}"
