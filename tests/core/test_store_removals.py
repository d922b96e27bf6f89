"""Upstream's vectors for the store: what forced removals and exclusions leave (TV-27..29)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core import pool_linux, views
from ipamd.core.settings import Settings

from .world import Bench

BARE = Settings(warm_eni_target=0)


def document(bench: Bench) -> dict[str, Any]:
    """The checkpoint as JSON would have it."""
    plain: dict[str, Any] = msgspec.to_builtins(views.checkpoint(bench.state))
    return plain


def allocations(bench: Bench) -> list[tuple[str, str]]:
    """(container, address) of the checkpoint document."""
    return [(row["containerID"], row["ipv4"]) for row in document(bench)["allocations"]]


@pytest.mark.spec("TV-27", "DM-13", "DM-42")
def test_forced_removals_say_how_many_pods_they_took() -> None:
    """The events carry what force_removed_ips and force_removed_enis count."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32", "10.0.0.2/32")
    first = bench.granted("one")
    bench.record(ev.CidrRemoved("eni-1", "10.0.0.1/32", "resync", pods=1))
    second = bench.granted("two")
    bench.record(ev.EniLeft("eni-1", "gone", pods=1))

    assert (first.table, second.table) == (2, 2)
    assert not bench.state.stores[0].owners
    assert bench.stats.total == 0
    assert [event.pods for event in bench.events(ev.CidrRemoved)] == [1]
    assert [event.pods for event in bench.events(ev.EniLeft)] == [1]


@pytest.mark.spec("TV-29")
def test_eni_of_a_subnet_excluded_later_keeps_its_pod_and_may_go_when_empty() -> None:
    """Two allocatable, one after the exclusion; the second pod is refused; the old excluded ENI may go."""
    bench = Bench(BARE)
    bench.eni("eni-primary", 0, "10.0.1.1/32", primary=True)
    bench.eni("eni-secondary", 1, "10.0.2.1/32")
    before = len(pool_linux.allocatable(bench.state, 0))
    bench.record(ev.EniExcluded("eni-secondary", True))
    after = [eni.eni for eni in pool_linux.allocatable(bench.state, 0)]

    granted = bench.granted("one")
    bench.refused("two")
    bench.wait(61)

    assert (before, after) == (2, ["eni-primary"])
    assert granted.address == "10.0.1.1"
    assert bench.deletable() == "eni-secondary"
