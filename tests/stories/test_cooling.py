"""Addresses in their cooldown counted as available: 2 warm, 23 minimum, 19 assigned, 4 cooling."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from ipamd.core.commands import AddNetwork, Assigned, DelNetwork, Refused
from ipamd.core.pool_linux import balance
from ipamd.core.settings import Quirks, Settings
from ipamd.core.types import SECOND, Pod
from ipamd.server.planned import plan_document
from ipamd.sim.combinations import STRICT
from ipamd.sim.engine import Engine
from ipamd.sim.scenario import Scenario, add, node, sandbox
from ipamd.sim.settle import settle

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tuning.md"
SETTINGS = Settings(warm_ip_target=2, minimum_ip_target=23)


class Told(msgspec.Struct, frozen=True):
    """How it went for the pod that came then; it asks again every second."""

    seconds: int
    refusals: int
    reasons: tuple[str, ...]
    requests: int
    """To EC2, for addresses, until it had one."""


def node_of_the_story(quirks: Quirks) -> Engine:
    """An m5.large: 23 addresses, of which 19 are assigned and 4 cool since a moment ago."""
    engine = node(Scenario("m5.large", msgspec.structs.replace(SETTINGS, quirks=quirks)))
    engine.start(1)
    settle(engine)
    for number in range(21):
        assert add(engine, number)
    for number in range(4):
        engine.submit(DelNetwork(sandbox(number), "PodDeleted"))
    for number in (21, 22):
        assert add(engine, number)
    return engine


def told(engine: Engine) -> Told:
    """The next pod comes."""
    began, before = engine.now, engine.requests["AssignPrivateIpAddresses"]
    request = AddNetwork(sandbox(23), Pod("default", "pod-23", 1))
    reasons: dict[str, None] = {}
    refusals = 0
    answer = engine.submit(request)
    while isinstance(answer, Refused):
        refusals += 1
        reasons[answer.reason] = None
        assert refusals < 120, "it would never get one"
        engine.advance(engine.now + SECOND)
        answer = engine.submit(request)
    assert isinstance(answer, Assigned)
    requests = engine.requests["AssignPrivateIpAddresses"] - before
    return Told((engine.now - began) // SECOND, refusals, tuple(reasons), requests)


@pytest.mark.spec("DM-34", "POOL-5")
@pytest.mark.parametrize(("quirks", "available", "short"), [(STRICT, 4, 0), (Quirks(), 0, 2)], ids=["upstream", "ours"])
def test_the_figures_of_that_moment(quirks: Quirks, available: int, short: int) -> None:
    """Upstream sees 4 available of 2 wanted and is short of nothing; we see none and are short of 2."""
    engine = node_of_the_story(quirks)

    goal = balance(engine.state, 0, engine.now)
    assert (goal.stats.total, goal.stats.assigned, goal.stats.cooling) == (23, 19, 4)
    assert (goal.stats.available, goal.short, goal.over, goal.low) == (available, short, 0, short > 0)


@pytest.mark.spec("DM-8", "DM-34")
def test_upstream_requests_nothing_and_adds_fail_until_the_cooldown_is_over() -> None:
    """31 refusals in 31 s, no request to EC2, while four slots of the node stay empty."""
    engine = node_of_the_story(STRICT)

    assert told(engine) == Told(31, 31, ("cooldown",), 0)


@pytest.mark.spec("POOL-5", "POOL-13")
def test_ours_requests_two_addresses_at_the_next_update() -> None:
    """Five seconds later the pod has its address, by one request to EC2."""
    engine = node_of_the_story(Quirks())

    assert told(engine) == Told(5, 5, ("cooldown",), 1)


def test_one_switch_makes_the_difference() -> None:
    """UPSTREAM_PARITY=cooling_counts_as_available alone brings upstream's outcome back."""
    engine = node_of_the_story(Quirks(cooling_counts_as_available=True))

    assert told(engine) == Told(31, 31, ("cooldown",), 0)


def test_the_plan_explains_both() -> None:
    """/v1/plan in that moment: the comparison in numbers, and what is wanted."""
    upstream, ours = (plan_document(engine.state, engine.now) for engine in map(node_of_the_story, (STRICT, Quirks())))

    assert upstream["cards"]["0"]["because"].startswith("4 addresses available, WARM_IP_TARGET=2")
    assert (upstream["cards"]["0"]["verdict"], upstream["wants"]) == ("rest", [])
    assert ours["cards"]["0"]["because"].startswith("0 addresses available, WARM_IP_TARGET=2")
    assert [asked["call"] for asked in ours["wants"]] == ["AssignPrivateIpAddresses"]


def test_the_page_tells_these_numbers() -> None:
    """docs/tuning.md, as measured here."""
    page = PAGE.read_text()

    assert "| first address for the next pod | after 31 s | after 5 s |" in page
    assert "| refused ADDs, one a second | 31 | 5 |" in page
    assert "| requests for addresses | 0 | 1 |" in page
