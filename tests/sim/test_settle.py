"""When a simulated pool counts as settled, and which settings never settle."""

from __future__ import annotations

import pytest

from ipamd.core import events as ev
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND
from ipamd.ec2.latency import Profile
from ipamd.sim.engine import EPOCH, Engine
from ipamd.sim.scenario import Scenario, add, node
from ipamd.sim.settle import LIMIT, QUIET, changes, settle

PREFIXES = Settings(prefix_delegation=True, warm_prefix_target=1)


def started(settings: Settings = PREFIXES, latency: Profile = "none") -> Engine:
    engine = node(Scenario("t3.small", settings, latency=latency))
    engine.start()
    return engine


def test_a_pool_is_settled_after_forty_quiet_seconds() -> None:
    """Nothing in flight, and the last change 40 s ago: neither earlier nor later."""
    engine = started()

    assert settle(engine)
    assert engine.now == engine.changed_at + QUIET == EPOCH + QUIET
    assert not engine.busy


def test_a_change_begins_the_quiet_time_anew() -> None:
    """A pod comes, 2.5 s later the pool asks for a prefix: quiet counts from there."""
    engine = started()
    settle(engine)
    came = engine.now

    add(engine, 0)
    assert settle(engine)

    assert engine.now == came + 2.5 * SECOND + QUIET


def test_what_takes_time_is_waited_for() -> None:
    """With real latencies node init alone takes a while; a settled node is ready and idle."""
    engine = started(latency="realistic")
    assert engine.busy

    assert settle(engine)
    assert engine.state.phase == "ready"
    assert engine.now > EPOCH + QUIET


@pytest.mark.spec("REC-15")
def test_a_reconcile_that_finds_nothing_is_no_change() -> None:
    """Only its clock is stamped, once a minute; an hour of them changes nothing."""
    records: list[ev.Record] = []
    engine = node(Scenario("t3.small", PREFIXES), records.append)
    engine.start()
    settle(engine)
    before, changed_at = len(records), engine.changed_at

    engine.advance(engine.now + 3600 * SECOND)

    reconciles = [record for record in records[before:] if any(isinstance(e, ev.Resynced) for e in record.events)]
    assert 50 <= len(reconciles) <= 60
    assert engine.changed_at == changed_at
    assert not any(changes(record.events) for record in records[before:])


def test_a_reconcile_that_finds_something_is_a_change() -> None:
    """A block that EC2 has and the store has not comes into the store."""
    assert changes((ev.CidrAdded("eni-1", "10.0.0.16/28"), ev.Resynced(), ev.WorkMoved(None)))
    assert not changes((ev.Resynced(), ev.WorkMoved(None)))


def test_a_longer_quiet_time_is_kept() -> None:
    """--settle 100: a hundred seconds without a change."""
    engine = started()

    assert settle(engine, 100 * SECOND)
    assert engine.now == EPOCH + 100 * SECOND


@pytest.mark.spec("POOL-6", "POOL-10")
@pytest.mark.parametrize("pods, settled", [(0, False), (1, True), (15, True), (16, False), (17, True)])
def test_no_warm_prefix_flaps_whenever_the_last_prefix_is_full(pods: int, settled: bool) -> None:
    """With WARM_PREFIX_TARGET 0 an empty pool takes a prefix, which is then too many."""
    engine = started(Settings(prefix_delegation=True, warm_prefix_target=0))
    for number in range(pods):
        while not add(engine, number):
            engine.step()
    began = engine.now

    assert settle(engine) is settled
    if not settled:
        assert engine.now == began + LIMIT


@pytest.mark.spec("POOL-6", "POOL-35")
@pytest.mark.parametrize("pods, settled", [(0, True), (2, True), (3, False), (4, True), (6, False), (9, True)])
def test_no_warm_eni_flaps_while_every_eni_is_full(pods: int, settled: bool) -> None:
    """With WARM_ENI_TARGET 0 a full pool gets an ENI, which is freed when it is 60 s old.

    The default quiet time is shorter than that age, so it takes 70 quiet seconds to see it. At nine pods no ENI
    is left to come.
    """
    engine = started(Settings(warm_eni_target=0))
    for number in range(pods):
        while not add(engine, number):
            engine.step()

    assert settle(engine)
    assert settle(engine, 70 * SECOND) is settled


@pytest.mark.parametrize(
    "settings",
    [
        Settings(warm_eni_target=1),
        Settings(warm_eni_target=2),
        Settings(warm_ip_target=1),
        Settings(warm_ip_target=2, minimum_ip_target=5),
        Settings(minimum_ip_target=3),
        Settings(prefix_delegation=True, warm_prefix_target=1),
        Settings(prefix_delegation=True, warm_prefix_target=2),
        Settings(prefix_delegation=True, warm_ip_target=1, minimum_ip_target=1),
        Settings(prefix_delegation=True, warm_ip_target=7, minimum_ip_target=20),
        Settings(prefix_delegation=True, warm_prefix_target=0, minimum_ip_target=1),
    ],
    ids=lambda s: (
        f"{'pd' if s.prefix_delegation else 'sip'}-{s.warm_eni_target}-{s.warm_prefix_target}-"
        f"{s.warm_ip_target}-{s.minimum_ip_target}"
    ),
)
def test_every_other_setting_settles_for_good(settings: Settings) -> None:
    """After any number of pods nothing changes any more within ten minutes, past every age and pause."""
    for pods in range(0, 12, 3):
        engine = started(settings)
        for number in range(pods):
            add(engine, number)
            settle(engine)
        assert settle(engine, LIMIT // 2)
        assert settle(engine, LIMIT)
