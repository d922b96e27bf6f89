"""The cloud's state: rows by id, the indexes over them, and `install`, the only place that changes either.

It is the networking of one account in one region. Instance metadata is a view of its own: each ENI's history of
what it showed, of which a read sees the newest entry that is at least `metadata_lag` old.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, assert_never

import msgspec

from ipamd.core.types import EniId, Instant, ip4

from .core_calls import used_token
from .faults import Faults
from .past import Lagged, Past
from .rows import (
    EniGone,
    EniRow,
    GroupGone,
    GroupRow,
    InstanceRow,
    ReservationGone,
    ReservationRow,
    Row,
    SubnetGone,
    SubnetRow,
    TokenRow,
    UsedToken,
    VpcGone,
    VpcRow,
    draw,
)
from .space import Place, Space, lowest
from .space6 import Space6, extent, ip6
from .throttle import Bucket, Throttle

Placement = Literal["packed", "spread"]
Shortage = Literal["InsufficientFreeAddressesInSubnet", "InvalidParameterValue"]

TOKEN_LIFE: Final = 24 * 3600 * 1_000_000_000
"""How long a client token is remembered, in ns."""
TERMINATED_SHOWN: Final = 3600 * 1_000_000_000
"""How long a terminated instance is still described, in ns."""


class VpcSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """How this cloud behaves where EC2 leaves it open."""

    seed: int = 0
    placement: Placement = "packed"
    """Which free address or block is given: the lowest, or one anywhere, as EC2 fragments its subnets."""
    metadata_lag: int = 0
    """How long instance metadata lags a change, in ns."""
    buckets: dict[str, Bucket] = {}
    """Token buckets by action; an action without one is never throttled."""
    stale: int = 0
    """How far in the past EC2's descriptions may be, in ns; each read draws its own age up to this."""
    denied: tuple[str, ...] = ()
    """Actions that the caller lacks permission for; `*` and `?` are wild."""
    account: str = "123456789012"
    groups_exist: bool = False
    """Whether the groups that an ENI names must exist; else any well-formed id will do."""
    shortage: Shortage = "InsufficientFreeAddressesInSubnet"
    """Which of EC2's two refusals a request for more addresses than are free gets; both are seen in the wild."""


class Vpc:
    """VPCs with their subnets, ENIs and instances. Everything but `install` reads."""

    def __init__(self, settings: VpcSettings, throttle: Throttle | None = None, region: str = "") -> None:
        """`throttle` is shared by all who ask on one account's behalf, by default this one's own.

        `region` is by default the first VPC's.
        """
        self.settings = settings
        self.serial = 0
        """Changes installed so far; every change's ids are drawn from it."""
        self.at: Instant = 0
        """Instant of the newest change; time never runs back."""
        self.reads = 0
        """Descriptions asked for so far; the age of each is drawn from it."""
        self.region = region
        self.vpcs: dict[str, VpcRow] = {}
        self.subnets: dict[str, SubnetRow] = {}
        self.spaces: dict[str, Space] = {}
        self.spaces6: dict[str, Space6] = {}
        """Of the subnets that have an IPv6 CIDR."""
        self.reservations: dict[str, ReservationRow] = {}
        self.groups: dict[str, GroupRow] = {}
        self.instances: dict[str, InstanceRow] = {}
        self.terminated: dict[str, InstanceRow] = {}
        self.enis: dict[EniId, EniRow] = {}
        self.macs: dict[str, EniId] = {}
        self.attachments: dict[str, EniId] = {}
        self.attached: dict[str, dict[EniId, None]] = {}
        """ENIs of each instance, in the order they were attached."""
        self.branches: dict[EniId, dict[EniId, None]] = {}
        """Branch ENIs of each trunk."""
        self.associations: dict[str, EniId] = {}
        """Branch ENI of each trunk association."""
        self.cidrs: dict[str, Lagged[VpcRow]] = {}
        """Each VPC as instance metadata shows it."""
        self.shown: dict[str, dict[EniId, Lagged[EniRow | None]]] = {}
        """What each instance's metadata shows or will show."""
        self.tokens: dict[tuple[str, str], UsedToken] = {}
        """By action and token, oldest first."""
        self.faults = Faults()
        self.throttle = throttle or Throttle(settings.buckets)
        self.past = Past(settings.stale)
        self._lag = 0

    # ---- queries ---------------------------------------------------------------------------------------

    @property
    def first_instance(self) -> str:
        """The running instance that was launched first."""
        return next(iter(self.instances))

    @property
    def row(self) -> VpcRow:
        """The VPC that was made first."""
        return next(iter(self.vpcs.values()))

    def vpc_of(self, subnet: str) -> VpcRow:
        """The VPC that a subnet is in."""
        return self.vpcs[self.subnets[subnet].vpc]

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
        kept: list[Row] = [*self.vpcs.values(), *self.subnets.values(), *self.reservations.values()]
        kept.extend(self.groups.values())
        kept.extend(self.instances.values())
        kept.extend(self.terminated.values())
        kept.extend(self.enis.values())
        kept.extend(self.tokens.values())
        return kept

    def settled(self, now: Instant) -> bool:
        """Whether metadata shows every change."""
        shown = (entry.settled(now) for enis in self.shown.values() for entry in enis.values())
        return all(entry.settled(now) for entry in self.cidrs.values()) and all(shown)

    # ---- change ----------------------------------------------------------------------------------------

    def install(self, rows: Iterable[Row], at: Instant, *, settled: bool = False) -> None:
        """One change: what the rows say is so from now on. Rows that contradict the state are a bug.

        `settled` means that metadata shows it at once: how an instance begins, and what an image restores.
        """
        self.serial += 1
        self.at = max(self.at, at)
        self._lag = 0 if settled else self.settings.metadata_lag
        for row in rows:
            self._install(row)
        self._forget()

    def _install(self, row: Row) -> None:
        match row:
            case EniRow():
                self._install_eni(row)
            case EniGone():
                self._remove_eni(row.eni)
            case UsedToken():
                self.tokens[type(row.request).__name__, row.token] = row
            case TokenRow():
                self._install(used_token(row))
            case VpcRow():
                self._note("vpcs", row.vpc, self.vpcs)
                self.region = self.region or row.region
                self.vpcs[row.vpc] = row
                self.cidrs.setdefault(row.vpc, Lagged(row)).put(row, self.at, self._lag)
            case VpcGone():
                self._note("vpcs", row.vpc, self.vpcs)
                self.groups.pop(self.vpcs.pop(row.vpc).default_group, None)
                del self.cidrs[row.vpc]
            case SubnetRow():
                self._install_subnet(row if row.vpc else msgspec.structs.replace(row, vpc=self.row.vpc))
            case SubnetGone():
                self._remove_subnet(row.subnet)
            case ReservationRow():
                if row.reservation not in self.reservations:
                    first, size = extent(row.cidr)
                    self._space(row).reserve(first, size, prefix=row.reservation_type == "prefix")
                self._note("reservations", row.reservation, self.reservations)
                self.reservations[row.reservation] = row
            case ReservationGone():
                self._note("reservations", row.reservation, self.reservations)
                gone = self.reservations.pop(row.reservation)
                self._space(gone).unreserve(*extent(gone.cidr))
            case GroupRow():
                self._note("groups", row.group, self.groups)
                self.groups[row.group] = row
            case GroupGone():
                self._note("groups", row.group, self.groups)
                del self.groups[row.group]
            case InstanceRow():
                self._install_instance(row)
            case _:
                assert_never(row)

    def _install_subnet(self, row: SubnetRow) -> None:
        self._note("subnets", row.subnet, self.subnets)
        old = self.subnets.get(row.subnet)
        if old is None:
            self.spaces[row.subnet] = Space(row.cidr)
        if row.ipv6_cidr and row.subnet not in self.spaces6:
            self.spaces6[row.subnet] = Space6(row.ipv6_cidr)
        if not row.ipv6_cidr:
            self.spaces6.pop(row.subnet, None)
        self.subnets[row.subnet] = row

    def _remove_subnet(self, subnet: str) -> None:
        for name in [r.reservation for r in self.reservations.values() if r.subnet == subnet]:
            self._install(ReservationGone(name))
        self._note("subnets", subnet, self.subnets)
        self._note_free(subnet)
        del self.subnets[subnet], self.spaces[subnet]
        self.spaces6.pop(subnet, None)

    def _install_instance(self, row: InstanceRow) -> None:
        self._note("instances", row.instance, self.instances)
        self._note("terminated", row.instance, self.terminated)
        if row.terminated_at:
            self.instances.pop(row.instance, None)
            self.terminated[row.instance] = row
            self.shown.pop(row.instance, None)
            self.attached.pop(row.instance, None)
        else:
            self.instances[row.instance] = row
            self.attached.setdefault(row.instance, {})

    def _install_eni(self, row: EniRow) -> None:
        self._note("enis", row.eni, self.enis)
        old = self.enis.get(row.eni)
        if old is None or old.addresses != row.addresses or old.prefixes != row.prefixes:
            self._note_free(row.subnet)
            _exchange(self.spaces[row.subnet], ip4, old.addresses if old else (), row.addresses)
            _exchange_blocks(self.spaces[row.subnet], ip4, old.prefixes if old else (), row.prefixes)
        had = (old.ipv6_addresses, old.ipv6_prefixes) if old else ((), ())
        if had != (row.ipv6_addresses, row.ipv6_prefixes):
            _exchange(self.spaces6[row.subnet], ip6, had[0], row.ipv6_addresses)
            _exchange_blocks(self.spaces6[row.subnet], ip6, had[1], row.ipv6_prefixes)
        if old is None:
            assert row.mac not in self.macs, f"MAC {row.mac} is on two ENIs"
            self.macs[row.mac] = row.eni
        if old is not None and old.attachment and old.attachment != row.attachment:
            self._forget_attachment(old)
        if old is not None and old.association and old.association != row.association:
            self._forget_association(old)
        if row.attachment:
            self.attachments[row.attachment] = row.eni
            self.attached.setdefault(row.instance, {})[row.eni] = None
            self._put_shown(row.instance, row.eni, row)
        if row.association:
            self.associations[row.association] = row.eni
            self.branches.setdefault(row.trunk, {})[row.eni] = None
        self.enis[row.eni] = row

    def _remove_eni(self, eni: EniId) -> None:
        self._note("enis", eni, self.enis)
        old = self.enis.pop(eni)
        self._note_free(old.subnet)
        if old.attachment:
            self._forget_attachment(old)
        if old.association:
            self._forget_association(old)
        self.branches.pop(eni, None)
        del self.macs[old.mac]
        _exchange(self.spaces[old.subnet], ip4, old.addresses, ())
        _exchange_blocks(self.spaces[old.subnet], ip4, old.prefixes, ())
        if old.ipv6_slots:
            _exchange(self.spaces6[old.subnet], ip6, old.ipv6_addresses, ())
            _exchange_blocks(self.spaces6[old.subnet], ip6, old.ipv6_prefixes, ())

    def _forget_attachment(self, old: EniRow) -> None:
        del self.attachments[old.attachment]
        del self.attached[old.instance][old.eni]
        if old.instance in self.instances:
            self._put_shown(old.instance, old.eni, None)

    def _forget_association(self, old: EniRow) -> None:
        del self.associations[old.association]
        self.branches.get(old.trunk, {}).pop(old.eni, None)

    def _put_shown(self, instance: str, eni: EniId, value: EniRow | None) -> None:
        history = self.shown.setdefault(instance, {})
        entry = history.get(eni)
        if entry is None:
            entry = history[eni] = Lagged(None)
        if value is None or entry.newest is None or _shown(entry.newest) != _shown(value):
            entry.put(value, self.at, self._lag)
        for gone in [e for e, h in history.items() if h.newest is None and h.settled(self.at)]:
            del history[gone]

    def _space(self, row: ReservationRow) -> Space | Space6:
        return self.spaces6[row.subnet] if ":" in row.cidr else self.spaces[row.subnet]

    def _forget(self) -> None:
        """Tokens and terminated instances that are too old go."""
        while self.tokens:
            key, used = next(iter(self.tokens.items()))
            if used.at + TOKEN_LIFE > self.at:
                break
            del self.tokens[key]
        while self.terminated:
            name, row = next(iter(self.terminated.items()))
            if row.terminated_at + TERMINATED_SHOWN > self.at:
                break
            self._note("terminated", name, self.terminated)
            del self.terminated[name]

    def _note(self, table: str, key: str, of: Mapping[str, object]) -> None:
        if self.past.keep:
            self.past.note(self.at, table, key, of.get(key))

    def _note_free(self, subnet: str) -> None:
        if self.past.keep:
            self.past.note(self.at, "free", subnet, self.spaces[subnet].free)


def _shown(row: EniRow) -> tuple[object, ...]:
    """What instance metadata tells of an ENI that can change."""
    return (
        row.addresses, row.prefixes, row.ipv6_addresses, row.ipv6_prefixes,
        row.security_groups, row.attachment,
    )  # fmt: skip


def _exchange(
    space: Space | Space6, parse: Callable[[str], int], old: tuple[str, ...], new: tuple[str, ...]
) -> None:
    """Addresses that an ENI no longer has are free, those that it has now are taken."""
    had, has = frozenset(old), frozenset(new)
    for address in old:
        if address not in has:
            space.give(parse(address))
    for address in new:
        if address not in had:
            space.take(parse(address))


def _exchange_blocks(
    space: Space | Space6, parse: Callable[[str], int], old: tuple[str, ...], new: tuple[str, ...]
) -> None:
    for prefix in old:
        if prefix not in new:
            space.give_block(parse(prefix.partition("/")[0]))
    for prefix in new:
        if prefix not in old:
            space.take_block(parse(prefix.partition("/")[0]))
