"""Reconciling the store with instance metadata and, where they differ, with EC2 (REC-1..REC-9, REC-14..REC-16)."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core.calls import (
    ENI_NOT_FOUND,
    AssignPrivateIpAddresses,
    MetadataEni,
    MetadataView,
    UnassignPrivateIpAddresses,
)
from ipamd.core.observe import condense, similar
from ipamd.core.settings import Settings
from ipamd.core.state import Eni
from ipamd.ec2.vpc import apply

from .world import Bench, Lab, bare

STILL = Settings(warm_ip_target=2, minimum_ip_target=2, ip_cooldown_period=0)
"""Targets that a reconcile of the tests does not bring out of balance by itself."""
DESCRIBE = "DescribeNetworkInterfaces"


def quiet(settings: Settings = STILL, instance_type: str = "c5.xlarge") -> Lab:
    """A settled node just after a reconcile, a minute before the next one."""
    lab = Lab(settings, instance_type=instance_type).start().run(100)
    lab.reconciled()
    return lab


def counts(lab: Lab, since: int) -> dict[str, int]:
    """What a reconcile counted, by name."""
    found: dict[str, int] = {}
    for event in lab.events(ev.ReconcileCounted, since):
        found[event.fn] = found.get(event.fn, 0) + event.times
    return found


# ---- when ---------------------------------------------------------------------------------------------------


@pytest.mark.spec("REC-1", "REC-15")
def test_a_reconcile_runs_after_a_quiet_minute() -> None:
    """More than 60 s after the last pool action or reconcile; it stamps its end."""
    lab = Lab(STILL).start()
    (acted,) = lab.times(lambda e: isinstance(e, ev.PoolActed) and e.action == "increased")
    lab.run(200)

    runs = lab.times(lambda e: isinstance(e, ev.Resynced))
    assert acted + 60 < runs[0] <= acted + 65
    assert all(60 < b - a <= 65 for a, b in pairwise(runs))


@pytest.mark.spec("REC-1")
def test_the_first_check_runs_at_once_where_nothing_was_done_before() -> None:
    """LastPoolAction starts at zero: with an old pool that needs nothing, at the first check after the start."""
    lab = Lab(Settings(warm_eni_target=0, minimum_ip_target=0, max_eni=1, warm_ip_target=0), max_pods=0).start().run(6)

    assert lab.times(lambda e: isinstance(e, ev.Resynced)) == [5.0]


@pytest.mark.spec("REC-1", "POOL-17")
def test_a_pool_action_puts_the_reconcile_off() -> None:
    """A busy pool is not compared with metadata that lags it."""
    lab = quiet()
    mark = lab.mark()
    for i in range(8):
        lab.pod(f"pod-{i}", 15)

    runs = lab.times(lambda e: isinstance(e, ev.Resynced), mark)
    assert runs == []


@pytest.mark.spec("REC-2", "TV-56")
@pytest.mark.parametrize("fault", ["error", "nothing listed"])
def test_metadata_that_fails_changes_nothing(fault: str) -> None:
    """Counted; no change, no stamp, so it is tried again at the next check."""
    lab = quiet()
    shape = lab.shape()
    if fault == "error":
        lab.vpc.faults.fail_next("ReadMetadata", "", "404", times=6)
    else:
        lab.vpc.faults.metadata_shows(MetadataView())
    mark = lab.mark()
    lab.until(lambda: bool(lab.counted(mark)))
    lab.vpc.faults.clear()
    failed_at = lab.clock
    stamped = lab.events(ev.Resynced, mark)
    lab.reconciled()

    assert set(lab.counted(mark)) == {"reconcileFailedGetENIs"}
    assert stamped == [] and lab.shape() == shape
    assert lab.clock - failed_at <= 5


# ---- known ENIs ---------------------------------------------------------------------------------------------


@pytest.mark.spec("REC-8", "REC-9")
def test_similar_is_the_same_number_and_the_same_addresses() -> None:
    """Metadata lists the primary address first; order does not matter."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32", "10.0.0.2/32", "10.0.1.0/28")
    eni = bench.state.enis["eni-1"]

    def seen(addresses: tuple[str, ...], prefixes: tuple[str, ...], eni: Eni = eni) -> tuple[bool, bool]:
        shown = MetadataEni("eni-1", eni.mac, 1, "subnet-1", "10.0.0.0/8", (eni.primary_ip, *addresses), prefixes)
        return similar(shown, eni, "addresses"), similar(shown, eni, "prefixes")

    assert seen(("10.0.0.2", "10.0.0.1"), ("10.0.1.0/28",)) == (True, True)
    assert seen(("10.0.0.1",), ()) == (False, False)
    assert seen(("10.0.0.1", "10.0.0.9"), ("10.0.9.0/28",)) == (False, False)
    assert seen(("10.0.0.1", "10.0.0.2", "10.0.0.3"), ("10.0.1.0/28", "10.0.9.0/28")) == (False, False)


@pytest.mark.spec("REC-5", "REC-8", "REC-9", "REC-10")
@pytest.mark.parametrize("prefixes", [False, True])
def test_what_came_without_us_is_added(prefixes: bool) -> None:
    """Metadata differs, EC2 confirms, the block comes into the store."""
    lab = quiet(Settings(prefix_delegation=prefixes, minimum_ip_target=2))
    apply(lab.vpc, AssignPrivateIpAddresses(lab.primary, 0 if prefixes else 2, 2 if prefixes else 0), lab.now)
    mark = lab.reconciled()

    added = lab.events(ev.CidrAdded, mark)
    assert len(added) == 2 and lab.leaks() == []
    assert counts(lab, mark)["eniDataStorePoolReconcileAdd"] >= 2


@pytest.mark.spec("REC-10", "HTTP-21")
def test_a_quiet_reconcile_counts_every_block_it_finds() -> None:
    """The counter moves for blocks that were there already."""
    lab = quiet(Settings(minimum_ip_target=3))
    mark = lab.reconciled()

    assert counts(lab, mark) == {"eniDataStorePoolReconcileAdd": 3}
    assert lab.shape() == [(3, 0)]


@pytest.mark.spec("REC-12", "DM-13")
@pytest.mark.parametrize("prefixes", [False, True])
def test_what_went_without_us_is_dropped_with_its_pods(prefixes: bool) -> None:
    """EC2 confirms that it is gone; the pod loses its entry, the event says how many did."""
    lab = quiet(Settings(prefix_delegation=prefixes, minimum_ip_target=2))
    granted = lab.pod("one")
    row = lab.vpc.enis[lab.primary]
    gone = UnassignPrivateIpAddresses(
        lab.primary, () if prefixes else (granted.address,), row.prefixes[:1] if prefixes else ()
    )
    apply(lab.vpc, gone, lab.now)
    mark = lab.reconciled()

    (removed,) = lab.events(ev.CidrRemoved, mark)
    assert (removed.why, removed.pods, removed.held_until) == ("resync", 1, 0)
    assert counts(lab, mark)["eniIPPoolReconcileDel"] == 1
    assert not lab.state.stores[0].owners and lab.leaks() == []


@pytest.mark.spec("REC-8", "TV-56")
def test_metadata_that_lies_is_not_believed() -> None:
    """It lists no secondary address, EC2 lists them all: nothing changes."""
    lab = quiet()
    lab.vpc.faults.metadata_shows(bare)
    before, asked = lab.shape(), lab.engine.requests[DESCRIBE]
    mark = lab.reconciled()

    assert lab.shape() == before and lab.leaks() == []
    assert lab.engine.requests[DESCRIBE] == asked + 1
    assert not lab.events(ev.CidrRemoved, mark) and not lab.events(ev.CidrAdded, mark)


@pytest.mark.spec("REC-8", "REC-9", "EC2-25")
@pytest.mark.parametrize("code", ["InternalError", ENI_NOT_FOUND])
def test_an_eni_that_ec2_cannot_describe_is_left_as_it_is(code: str) -> None:
    """That ENI's part is abandoned, the reconcile goes on and ends."""
    lab = quiet()
    lab.vpc.faults.metadata_shows(bare)
    lab.vpc.faults.fail_next(DESCRIBE, code)
    before = lab.shape()
    mark = lab.reconciled()

    assert lab.shape() == before
    assert not lab.events(ev.CidrRemoved, mark) and lab.state.pool.work is None


@pytest.mark.spec("REC-5", "REC-8", "REC-9")
def test_each_kind_is_verified_on_its_own() -> None:
    """Addresses first, then prefixes; only what differs is asked for."""
    lab = quiet(Settings(prefix_delegation=True, minimum_ip_target=2))
    asked = lab.engine.requests[DESCRIBE]
    apply(lab.vpc, AssignPrivateIpAddresses(lab.primary, secondary_ips=1), lab.now)
    lab.reconciled()
    one = lab.engine.requests[DESCRIBE] - asked
    apply(lab.vpc, AssignPrivateIpAddresses(lab.primary, secondary_ips=1), lab.now)
    apply(lab.vpc, AssignPrivateIpAddresses(lab.primary, prefixes=1), lab.now)
    lab.reconciled()

    assert (one, lab.engine.requests[DESCRIBE] - asked) == (1, 3)
    assert lab.leaks() == []


@pytest.mark.spec("REC-10", "REC-14")
def test_the_primary_address_is_never_taken_for_a_pod() -> None:
    """The ENI's recorded primary address is skipped wherever it stands in the list."""
    lab = quiet()
    row = lab.vpc.enis[lab.primary]
    turned = (row.addresses[1], row.addresses[0], *row.addresses[2:])
    lab.vpc.faults.metadata_shows(
        lambda view: msgspec.structs.replace(
            view, enis=tuple(msgspec.structs.replace(eni, addresses=turned) for eni in view.enis)
        )
    )
    lab.reconciled()

    assert f"{lab.node.primary_ip}/32" not in lab.state.enis[lab.primary].blocks
    assert lab.leaks() == []


@pytest.mark.spec("REC-16", "REC-3", "DM-1")
def test_only_card_zero_has_a_store() -> None:
    """What becomes attached later is judged by the stores there are."""
    lab = quiet()
    lab.foreign(1)
    lab.reconciled()

    assert list(lab.state.stores) == [0]


@pytest.mark.spec("REC-4")
def test_pods_are_served_while_a_reconcile_waits_for_ec2() -> None:
    """The pool lane waits, ADD and DEL do not."""
    lab = Lab(STILL, instance_type="c5.xlarge", latency="realistic", lag_ms=1500).start().run(100)
    lab.foreign(2)
    mark = lab.mark()
    lab.until(lambda: lab.state.pool.work is not None)
    granted = lab.pod("meanwhile")
    lab.until(lambda: bool(lab.events(ev.Resynced, mark)))

    assert granted.address in {address for row in lab.vpc.enis.values() for address in row.addresses}
    assert lab.leaks() == []


@pytest.mark.spec("REC-8", "REC-15")
def test_a_view_as_stored_is_recorded_without_its_enis() -> None:
    """A quiet node's journal does not repeat what it knows; any difference, or a held block, stays."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32")
    eni = bench.state.enis["eni-1"]
    same = MetadataEni("eni-1", eni.mac, 1, "subnet-1", "10.0.0.0/8", (eni.primary_ip, "10.0.0.1"))
    view = MetadataView((same,), ("10.0.0.0/8",), ("sg-1",))
    more = msgspec.structs.replace(view, enis=(msgspec.structs.replace(same, addresses=(*same.addresses, "10.0.0.2")),))

    assert condense(bench.state, view, bench.now) == MetadataView((), ("10.0.0.0/8",), ("sg-1",), as_stored=True)
    assert condense(bench.state, more, bench.now) is more
    bench.record(
        ev.CidrRemoved("eni-1", "10.0.0.1/32", "scale_down", bench.now + 1), ev.CidrAdded("eni-1", "10.0.0.1/32")
    )
    assert condense(bench.state, view, bench.now) is view
