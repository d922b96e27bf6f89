"""Every combination of warm targets on a small node: what lives show, what the rules say, what the page tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipamd.config import Instance, load, verdicts
from ipamd.config.verdicts import GRAVE
from ipamd.ec2.limits import limits_of
from ipamd.sim.combinations import ENIS, INSTANCE_TYPE, SLOTS, Combination, Outcome, outcome
from ipamd.sim.combinations_page import lives, page_table, replaced

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tuning.md"


@pytest.fixture(scope="module")
def ours() -> dict[Combination, Outcome]:
    """Each combination lived through as we decide."""
    return lives(strict=False)


@pytest.fixture(scope="module")
def strict() -> dict[Combination, Outcome]:
    """Each combination lived through as upstream decides."""
    return lives(strict=True)


def kinds(combination: Combination) -> set[str]:
    """What the rules say of a combination: starves, flaps, or neither."""
    env = {
        "WARM_IP_TARGET": combination.warm_ip,
        "MINIMUM_IP_TARGET": combination.minimum_ip,
        "WARM_ENI_TARGET": combination.warm_eni,
        "WARM_PREFIX_TARGET": combination.warm_prefix,
        "MAX_ENI": ENIS,
        "ENABLE_PREFIX_DELEGATION": str(combination.prefixes).lower(),
    }
    parity = {"UPSTREAM_PARITY": "strict", "ENABLE_IPv4": "true"} if combination.strict else {}
    config = load({name: str(value) for name, value in env.items()} | parity)
    instance = Instance(INSTANCE_TYPE, limits_of(INSTANCE_TYPE).enis, SLOTS, True, combination.max_pods)
    return {found.kind for found in verdicts(config, instance) if found.kind in GRAVE}


def lived(found: Outcome) -> set[str]:
    """What a life showed, in the same words."""
    return {"starves"} if found.starves_at is not None else {"flaps"} if found.flaps_at else set()


@pytest.mark.spec("POOL-5..8", "POOL-10", "POOL-35")
def test_the_rules_find_just_what_lives_find(
    ours: dict[Combination, Outcome], strict: dict[Combination, Outcome]
) -> None:
    """No combination is called starving or flapping wrongly, and none is missed."""
    wrong = [
        (combination, kinds(combination), found)
        for combination, found in (ours | strict).items()
        if kinds(combination) != lived(found)
    ]

    assert wrong == []
    assert len(ours) == len(strict) >= 150


@pytest.mark.spec("POOL-6")
@pytest.mark.parametrize(
    "combination",
    [
        Combination(False, minimum_ip=4, max_pods=4),
        Combination(False, minimum_ip=3, max_pods=4),
        Combination(False, warm_eni=0, max_pods=3),
        Combination(False, warm_eni=0, max_pods=4),
        Combination(True, minimum_ip=17, max_pods=32),
        Combination(True, minimum_ip=16, max_pods=32),
        Combination(True, warm_prefix=0, max_pods=8),
        Combination(True, warm_prefix=1, max_pods=8),
    ],
)
def test_max_pods_is_heeded_by_both(combination: Combination) -> None:
    """A pool that has an address for every pod there can be starves nobody, and grows no more."""
    assert kinds(combination) == lived(outcome(combination))


def test_upstream_and_we_starve_and_flap_alike(
    ours: dict[Combination, Outcome], strict: dict[Combination, Outcome]
) -> None:
    """None of the differences that have a switch changes these outcomes: the settings mean what they mean upstream."""
    assert list(ours.values()) == list(strict.values())


def test_the_table_of_the_page_is_current(ours: dict[Combination, Outcome], strict: dict[Combination, Outcome]) -> None:
    """Otherwise: python -m ipamd.sim.combinations_page docs/tuning.md."""
    page = PAGE.read_text()

    assert replaced(page, page_table(ours, strict)) == page


def test_a_page_without_marks_is_refused() -> None:
    """Nothing is written where it does not belong."""
    with pytest.raises(ValueError, match="the page has no <!-- made by"):
        replaced("a page", "a table")
