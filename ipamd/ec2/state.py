"""The cloud's state: rows by id, the indexes over them, and `install`, the only place that changes either.

Instance metadata is a view of its own: each ENI's history of what it showed, of which a read sees the newest
entry that is at least `metadata_lag` old.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Generic, Literal, TypeVar, assert_never

import msgspec

from ipamd.core.calls import MetadataEni
from ipamd.core.types import EniId, Instant, ip4

from .faults import Faults
from .rows import EniGone, EniRow, InstanceRow, Row, SubnetRow, TokenRow, VpcRow, draw
from .space import Place, Space, lowest
from .throttle import Bucket, Throttle

T = TypeVar("T")
Placement = Literal["packed", "spread"]

TOKEN_LIFE: Final = 24 * 3600 * 1_000_000_000
"""How long a client token is remembered, in ns."""


class VpcSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """How this cloud behaves where EC2 leaves it open."""

    seed: int = 0
    placement: Placement = "packed"
    """Which free address or block is given: the lowest, or one anywhere, as EC2 fragments its subnets."""
    metadata_lag: int = 0
    """How long instance metadata lags a change, in ns."""
    buckets: dict[str, Bucket] = {}
    """Token buckets by action; an action without one is never throttled."""


class Shown(msgspec.Struct, frozen=True):
    """What instance metadata shows of one attached ENI."""

    eni: MetadataEni
    security_groups: tuple[str, ...]


class Lagged(Generic[T]):
    """A value whose changes are seen late: (visible from, value), oldest first."""

    __slots__ = ("_entries",)

    def __init__(self, value: T) -> None:
        self._entries: list[tuple[Instant, T]] = [(0, value)]

    @property
    def newest(self) -> T:
        return self._entries[-1][1]

    def put(self, value: T, now: Instant, lag: int) -> None:
        """`value` is seen from `now + lag` on. What nobody can see any more is forgotten."""
        keep = self._seen_index(now)
        del self._entries[:keep]
        self._entries.append((now + lag, value))

    def seen(self, now: Instant) -> T:
        """The newest value that is visible at `now`."""
        return self._entries[self._seen_index(now)][1]

    def settled(self, now: Instant) -> bool:
        """Whether the newest value is the one that is seen."""
        return self._entries[-1][0] <= now

    def _seen_index(self, now: Instant) -> int:
        index = len(self._entries) - 1
        while index and self._entries[index][0] > now:
            index -= 1
        return index


class Vpc:
    """One VPC with its subnets, ENIs and instances. Everything but `install` reads."""

    def __init__(self, settings: VpcSettings) -> None:
        self.settings = settings
        self.serial = 0
        """Changes installed so far; every change's ids are drawn from it."""
        self.at: Instant = 0
        """Instant of the newest change; time never runs back."""
        self.row = VpcRow("", "", (), "")
        self.cidrs: Lagged[tuple[str, ...]] = Lagged(())
        self.subnets: dict[str, SubnetRow] = {}
        self.spaces: dict[str, Space] = {}
        self.instances: dict[str, InstanceRow] = {}
        self.enis: dict[EniId, EniRow] = {}
        self.macs: dict[str, EniId] = {}
        self.attachments: dict[str, EniId] = {}
        self.attached: dict[str, dict[EniId, None]] = {}
        """ENIs of each instance, in the order they were attached."""
        self.shown: dict[str, dict[EniId, Lagged[Shown | None]]] = {}
        """What each instance's metadata shows or will show."""
        self.tokens: dict[str, TokenRow] = {}
        """By token, oldest first."""
        self.faults = Faults()
        self.throttle = Throttle(settings.buckets)
        self._lag = 0

    # ---- queries ---------------------------------------------------------------------------------------

    @property
    def first_instance(self) -> str:
        """The instance that was launched first."""
        return next(iter(self.instances))

    def place(self, concern: str) -> Place:
        """Where the next change looks for a free address or block."""
        if self.settings.placement == "packed":
            return lowest
        drawn = 0

        def spread(positions: int) -> int:
            nonlocal drawn
            drawn += 1
            return draw(f"{concern}/{drawn}", self.settings.seed, self.serial) % positions

        return spread

    def rows(self) -> list[Row]:
        """Everything that is remembered; installed into a fresh Vpc it gives this state, metadata settled."""
        kept: list[Row] = [self.row, *self.subnets.values(), *self.instances.values()]
        kept.extend(self.enis.values())
        kept.extend(self.tokens.values())
        return kept

    def settled(self, now: Instant) -> bool:
        """Whether metadata shows every change."""
        shown = (entry.settled(now) for enis in self.shown.values() for entry in enis.values())
        return self.cidrs.settled(now) and all(shown)

    # ---- change ----------------------------------------------------------------------------------------

    def install(self, rows: Iterable[Row], at: Instant, *, settled: bool = False) -> None:
        """One change: what the rows say is so from now on. Rows that contradict the state are a bug.

        `settled` means that metadata shows it at once: how an instance begins, and what an image restores.
        """
        self.serial += 1
        self.at = max(self.at, at)
        self._lag = 0 if settled else self.settings.metadata_lag
        for row in rows:
            match row:
                case VpcRow():
                    self.row = row
                    self.cidrs.put(row.cidrs, self.at, self._lag)
                case SubnetRow():
                    if row.subnet not in self.subnets:
                        self.spaces[row.subnet] = Space(row.cidr)
                    self.subnets[row.subnet] = row
                case InstanceRow():
                    self.instances[row.instance] = row
                case EniRow():
                    self._install_eni(row)
                case EniGone():
                    self._remove_eni(row.eni)
                case TokenRow():
                    self._install_token(row)
                case _:
                    assert_never(row)

    def _install_eni(self, row: EniRow) -> None:
        old = self.enis.get(row.eni)
        if old is None or old.addresses != row.addresses or old.prefixes != row.prefixes:
            self._install_addresses(old, row)
        if old is None:
            assert row.mac not in self.macs, f"MAC {row.mac} is on two ENIs"
            self.macs[row.mac] = row.eni
        if old is not None and old.attachment and old.attachment != row.attachment:
            self._forget_attachment(old)
        if row.attachment:
            self.attachments[row.attachment] = row.eni
            self.attached.setdefault(row.instance, {})[row.eni] = None
            self._show(row)
        self.enis[row.eni] = row

    def _install_addresses(self, old: EniRow | None, row: EniRow) -> None:
        space = self.spaces[row.subnet]
        had = frozenset(old.addresses) | frozenset(old.prefixes) if old else frozenset()
        has = frozenset(row.addresses) | frozenset(row.prefixes)
        if old is not None:
            gone = [a for a in old.addresses if a not in has]
            _give(space, gone, [p for p in old.prefixes if p not in has])
        for address in row.addresses:
            if address not in had:
                space.take(ip4(address))
        for prefix in row.prefixes:
            if prefix not in had:
                space.take_block(_first(prefix))

    def _remove_eni(self, eni: EniId) -> None:
        old = self.enis.pop(eni)
        if old.attachment:
            self._forget_attachment(old)
        del self.macs[old.mac]
        _give(self.spaces[old.subnet], old.addresses, old.prefixes)

    def _forget_attachment(self, old: EniRow) -> None:
        del self.attachments[old.attachment]
        del self.attached[old.instance][old.eni]
        self._put_shown(old.instance, old.eni, None)

    def _show(self, row: EniRow) -> None:
        eni = MetadataEni(
            eni=row.eni,
            mac=row.mac,
            device=row.device,
            subnet=row.subnet,
            subnet_cidr=self.subnets[row.subnet].cidr,
            addresses=row.addresses,
            prefixes=row.prefixes,
            card=row.card,
        )
        self._put_shown(row.instance, row.eni, Shown(eni, row.security_groups))

    def _put_shown(self, instance: str, eni: EniId, value: Shown | None) -> None:
        history = self.shown.setdefault(instance, {})
        entry = history.get(eni)
        if entry is None:
            entry = history[eni] = Lagged(None)
        if entry.newest != value:
            entry.put(value, self.at, self._lag)
        for gone in [e for e, h in history.items() if h.newest is None and h.settled(self.at)]:
            del history[gone]

    def _install_token(self, row: TokenRow) -> None:
        self.tokens[row.token] = row
        while self.tokens:
            oldest = next(iter(self.tokens.values()))
            if oldest.at + TOKEN_LIFE > self.at:
                break
            del self.tokens[oldest.token]


def _first(prefix: str) -> int:
    return ip4(prefix.partition("/")[0])


def _give(space: Space, addresses: Iterable[str], prefixes: Iterable[str]) -> None:
    for address in addresses:
        space.give(ip4(address))
    for prefix in prefixes:
        space.give_block(_first(prefix))
