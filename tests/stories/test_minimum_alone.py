"""MINIMUM_IP_TARGET alone, with prefixes: the node never grows, and starves with most of it empty."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from ipamd.config import Instance, load, verdicts
from ipamd.core.commands import AddNetwork, Assigned, Refused
from ipamd.core.pool_linux import balance
from ipamd.core.settings import Quirks, Settings
from ipamd.core.types import SECOND, Pod
from ipamd.sim.combinations import STRICT
from ipamd.sim.engine import Engine
from ipamd.sim.scenario import Scenario, node, sandbox
from ipamd.sim.settle import settle
from tests.runtime.spawned import spawned

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tuning.md"
PODS = 40
MAX_PODS = 110
both = pytest.mark.parametrize("quirks", [STRICT, Quirks()], ids=["upstream", "ours"])


def lived(settings: Settings) -> tuple[Engine, list[Refused]]:
    """An m5.large with 40 pods, a second apart; ten minutes pass; those that were refused ask once more."""
    engine = node(Scenario("m5.large", settings, max_pods=MAX_PODS))
    engine.start(1)
    settle(engine)
    waiting = []
    for number in range(PODS):
        request = AddNetwork(sandbox(number), Pod("default", f"pod-{number}", 1))
        if not isinstance(engine.submit(request), Assigned):
            waiting.append(request)
        engine.advance(engine.now + SECOND)
    engine.advance(engine.now + 600 * SECOND)
    answers = [engine.submit(request) for request in waiting]
    return engine, [answer for answer in answers if isinstance(answer, Refused)]


def story(quirks: Quirks, **more: int) -> Settings:
    """ENABLE_PREFIX_DELEGATION=true and MINIMUM_IP_TARGET=20."""
    return msgspec.structs.replace(
        Settings(prefix_delegation=True, minimum_ip_target=20, warm_prefix_target=1, quirks=quirks), **more
    )


@pytest.mark.spec("POOL-5", "POOL-7", "POOL-3")
@both
def test_it_starves_with_two_prefixes_of_twenty_seven(quirks: Quirks) -> None:
    """20 addresses are two prefixes, 32 addresses; 8 of 40 pods never get one, there as here.

    WARM_PREFIX_TARGET=1 has no say, and the one ENI has 7 empty slots of 9.
    """
    engine, refused = lived(story(quirks))

    goal = balance(engine.state, 0, engine.now)
    assert (goal.stats.prefixes, goal.stats.total, goal.stats.assigned, len(refused)) == (2, 32, 32, 8)
    assert (goal.low, goal.short, goal.stats.available) == (False, 0, 0)
    assert engine.requests["AssignPrivateIpAddresses"] == 1
    assert len(engine.state.enis) == 1


def test_a_refused_pod_is_told_the_remedy() -> None:
    """Upstream says that there is no address; the reason, the fact and the remedy are ours."""
    _, refused = lived(story(Quirks()))

    (told,) = {(each.reason, each.fact, each.remedy) for each in refused}
    assert told == (
        "target",
        "all addresses of the warm pool are in use",
        "set WARM_IP_TARGET: MINIMUM_IP_TARGET alone never grows the pool beyond itself",
    )


@pytest.mark.spec("POOL-5")
@both
def test_a_warm_target_beside_it_is_the_cure(quirks: Quirks) -> None:
    """With WARM_IP_TARGET=1 the pool grows as pods come; all 40 have an address."""
    engine, refused = lived(story(quirks, warm_ip_target=1))

    assert refused == []
    assert balance(engine.state, 0, engine.now).stats.prefixes == 3


def test_it_is_seen_before_a_pod_comes() -> None:
    """`ipamd config` says what will happen, with the same numbers."""
    env = {"ENABLE_PREFIX_DELEGATION": "true", "MINIMUM_IP_TARGET": "20"}
    (first, *_) = verdicts(load(env), Instance("m5.large", 3, 9, True, MAX_PODS))

    assert first.kind == "starves"
    assert "beyond 32 addresses: 32 pods get one and no other, of the 110 that the node could carry" in first.reason


def test_the_daemon_warns_at_its_start(tmp_path: Path) -> None:
    """The same finding, in the log of `ipamd run`; a cured configuration is not warned of."""
    words = ("--set", "ENABLE_PREFIX_DELEGATION=true", "--set", "MINIMUM_IP_TARGET=20", "--max-pods", "110")
    with spawned(tmp_path / "starving", *words) as starving:
        warned = starving.stderr
    with spawned(tmp_path / "cured", *words, "--set", "WARM_IP_TARGET=1") as cured:
        silent = cured.stderr

    assert "starves: MINIMUM_IP_TARGET: without WARM_IP_TARGET the pool never grows beyond 32 addresses" in warned
    assert "starves" not in silent


def test_the_page_tells_these_numbers() -> None:
    """docs/tuning.md, as measured here."""
    page = PAGE.read_text()

    assert "| pods that never get an address, of 40 | 8 | 8 |" in page
    assert "| the same with `WARM_IP_TARGET=1` beside it | 0 | 0 |" in page
