"""What changed between two States: ENIs, blocks, pods, settings. Pure; words for people are the caller's."""

from __future__ import annotations

import msgspec

from .settings import Settings
from .state import State
from .types import Instant
from .views import PodView, PoolView, pods, pool


class EniChange(msgspec.Struct, frozen=True):
    """One ENI; `change` is added, removed or changed. Counts as (before, after)."""

    eni: str
    device: int
    change: str
    prefixes: tuple[int, int]
    ips: tuple[int, int]
    pods: tuple[int, int]


class BlockChange(msgspec.Struct, frozen=True):
    """One prefix or single address; pods and cooling addresses as (before, after)."""

    cidr: str
    eni: str
    change: str
    pods: tuple[int, int]
    cooling: tuple[int, int]


class PodChange(msgspec.Struct, frozen=True):
    """One sandbox; `before` and `after` are its addresses, "" for none."""

    pod: str
    container: str
    change: str
    before: str
    after: str


class Difference(msgspec.Struct, frozen=True):
    """Everything that differs, in order of ENI, block and pod."""

    seqs: tuple[int, int]
    moments: tuple[Instant, Instant]
    total_ips: tuple[int, int]
    assigned: tuple[int, int]
    cooling: tuple[int, int]
    enis: tuple[EniChange, ...]
    blocks: tuple[BlockChange, ...]
    pods: tuple[PodChange, ...]
    settings: dict[str, tuple[str, str]]


def difference(before: State, after: State, moments: tuple[Instant, Instant]) -> Difference:
    """From one State to another; cooldowns are judged at the moments."""
    was, now = pool(before, moments[0]), pool(after, moments[1])
    return Difference(
        seqs=(before.seq, after.seq),
        moments=moments,
        total_ips=(was.total_ips, now.total_ips),
        assigned=(was.assigned, now.assigned),
        cooling=(was.cooling, now.cooling),
        enis=tuple(_enis(was, now)),
        blocks=tuple(_blocks(was, now)),
        pods=tuple(_pods(before, after)),
        settings=_settings(before.settings, after.settings),
    )


def _word(was: object, now: object) -> str:
    return "added" if was is None else "removed" if now is None else "changed"


def _enis(was: PoolView, now: PoolView) -> list[EniChange]:
    olds = {view.eni: view for view in was.enis}
    news = {view.eni: view for view in now.enis}
    found = []
    for eni in dict.fromkeys([*olds, *news]):
        old, new = olds.get(eni), news.get(eni)
        counts = [(getattr(old, name, 0), getattr(new, name, 0)) for name in ("prefixes", "ips", "pods")]
        if old is None or new is None or any(a != b for a, b in counts) or old.excluded != new.excluded:
            device = next(view.device for view in (new, old) if view is not None)
            found.append(EniChange(eni, device, _word(old, new), *counts))
    return found


def _blocks(was: PoolView, now: PoolView) -> list[BlockChange]:
    olds = {(view.eni, block.cidr): block for view in was.enis for block in view.blocks}
    news = {(view.eni, block.cidr): block for view in now.enis for block in view.blocks}
    found = []
    for eni, cidr in dict.fromkeys([*olds, *news]):
        old, new = olds.get((eni, cidr)), news.get((eni, cidr))
        if old != new:
            counts = [(getattr(old, name, 0), getattr(new, name, 0)) for name in ("pods", "cooling")]
            found.append(BlockChange(cidr, eni, _word(old, new), *counts))
    return found


def _pods(before: State, after: State) -> list[PodChange]:
    olds, news = _by_sandbox(before), _by_sandbox(after)
    found = []
    for key in dict.fromkeys([*olds, *news]):
        old, new = olds.get(key), news.get(key)
        addresses = (old.address if old else "", new.address if new else "")
        if addresses[0] != addresses[1]:
            view = new or old
            assert view is not None
            found.append(PodChange(f"{view.namespace}/{view.name}", view.container, _word(old, new), *addresses))
    return found


def _by_sandbox(state: State) -> dict[tuple[str, str, str], PodView]:
    return {(view.network, view.container, view.interface): view for view in pods(state)}


def _settings(was: Settings, now: Settings) -> dict[str, tuple[str, str]]:
    names = [name for name in Settings.__struct_fields__ if getattr(was, name) != getattr(now, name)]
    return {name: (str(getattr(was, name)), str(getattr(now, name))) for name in names}
