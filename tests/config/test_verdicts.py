"""What a configuration comes to, by rule; tests/stories holds the rules against lives of a small node."""

from __future__ import annotations

import pytest

from ipamd.config import Config, ConfigError, Instance, Verdict, load, verdicts

SMALL = Instance("t3.small", enis=3, slots=3, prefixes=True, max_pods=11)
LARGE = Instance("m5.large", enis=3, slots=9, prefixes=True, max_pods=110)
XEN = Instance("m4.large", enis=2, slots=9, prefixes=False, max_pods=20)
PREFIXES = {"ENABLE_PREFIX_DELEGATION": "true"}


def found(env: dict[str, str], instance: Instance = LARGE, *overrides: str) -> list[Verdict]:
    """The verdicts on an environment."""
    return list(verdicts(load(env, overrides), instance))


def short(env: dict[str, str], instance: Instance = LARGE) -> list[tuple[str, tuple[str, ...]]]:
    """Kind and variables of each verdict."""
    return [(each.kind, each.names) for each in found(env, instance)]


def test_the_defaults_are_fine() -> None:
    """WARM_ENI_TARGET=1 on a node whose max pods is its type's."""
    assert found({}, SMALL) == []


@pytest.mark.spec("POOL-5", "POOL-6", "POOL-7")
@pytest.mark.parametrize(
    ("minimum", "prefixes", "held"), [("5", False, 5), ("26", False, 26), ("20", True, 32), ("96", True, 96)]
)
def test_a_minimum_alone_starves(minimum: str, prefixes: bool, held: int) -> None:
    """The pool never grows beyond it, rounded up to prefixes."""
    (verdict, *_) = found({"MINIMUM_IP_TARGET": minimum} | (PREFIXES if prefixes else {}))

    assert (verdict.kind, verdict.names) == ("starves", ("MINIMUM_IP_TARGET",))
    assert f"beyond {held} addresses" in verdict.reason
    assert {"POOL-5", "POOL-6"} <= set(verdict.spec)
    assert "WARM_IP_TARGET to 1" in verdict.remedy


@pytest.mark.parametrize(
    ("env", "max_pods"),
    [
        ({"MINIMUM_IP_TARGET": "27"}, 110),
        ({"MINIMUM_IP_TARGET": "11"}, 11),
        ({"MINIMUM_IP_TARGET": "97"} | PREFIXES, 110),
        ({"MINIMUM_IP_TARGET": "5", "WARM_IP_TARGET": "1"}, 110),
    ],
)
def test_a_minimum_that_covers_all_pods_starves_nobody(env: dict[str, str], max_pods: int) -> None:
    """All addresses of the node, all that max pods lets come, or a warm target beside it."""
    instance = Instance("m5.large", 3, 9, True, max_pods)

    assert not [each for each in found(env, instance) if each.kind in ("starves", "flaps")]


@pytest.mark.spec("POOL-6", "POOL-10", "ENV-69")
def test_no_target_at_all_flaps_with_prefixes() -> None:
    """The stock image does not start so."""
    (verdict,) = found(PREFIXES | {"WARM_PREFIX_TARGET": "0"})

    assert (verdict.kind, verdict.names) == ("flaps", ("WARM_PREFIX_TARGET",))
    assert verdict.spec == ("POOL-6", "POOL-10", "ENV-69")


@pytest.mark.spec("POOL-35", "DM-36")
def test_no_warm_eni_flaps_unless_there_is_one_eni_only() -> None:
    """The new ENI is spare as soon as it is there."""
    env = {"WARM_ENI_TARGET": "0"}

    assert short(env, SMALL) == [("flaps", ("WARM_ENI_TARGET",))]
    assert short(env | {"MAX_ENI": "1"}, Instance("t3.small", 3, 3, True, 3)) == []
    assert short(env, Instance("t3.small", 3, 3, True, 3)) == []


@pytest.mark.spec("POOL-3", "POOL-2", "DM-39", "POOL-5", "ENV-5", "ENV-1", "ENV-2", "ENV-3", "ENV-23")
@pytest.mark.parametrize(
    ("env", "ignored", "spec"),
    [
        ({"WARM_ENI_TARGET": "2", "WARM_IP_TARGET": "3"}, "WARM_ENI_TARGET", "POOL-3"),
        ({"WARM_ENI_TARGET": "2"} | PREFIXES, "WARM_ENI_TARGET", "POOL-3"),
        ({"WARM_PREFIX_TARGET": "2"}, "WARM_PREFIX_TARGET", "POOL-2"),
        ({"WARM_PREFIX_TARGET": "2", "WARM_IP_TARGET": "3"} | PREFIXES, "WARM_PREFIX_TARGET", "DM-39"),
        ({"MINIMUM_IP_TARGET": "3", "WARM_IP_TARGET": "3"}, "MINIMUM_IP_TARGET", "POOL-5"),
        ({"MAX_ENI": "4"}, "MAX_ENI", "ENV-5"),
        ({"MAX_ENI": "0"}, "MAX_ENI", "ENV-5"),
        ({"WARM_IP_TARGET": "-3"}, "WARM_IP_TARGET", "ENV-1"),
        ({"MINIMUM_IP_TARGET": "-3"}, "MINIMUM_IP_TARGET", "ENV-2"),
        ({"WARM_ENI_TARGET": "-1"}, "WARM_ENI_TARGET", "ENV-3"),
        ({"IP_COOLDOWN_PERIOD": "soon"}, "IP_COOLDOWN_PERIOD", "ENV-23"),
    ],
)
def test_what_has_no_effect_is_named_with_its_rule(env: dict[str, str], ignored: str, spec: str) -> None:
    """Each verdict says which rule overrules the variable."""
    (verdict,) = found(env, Instance("m5.large", 3, 9, True, 29 if PREFIXES.items() - env.items() else 110))

    assert (verdict.kind, verdict.names) == ("ignored", (ignored,))
    assert spec in verdict.spec


def test_a_target_that_nobody_set_is_not_called_ignored() -> None:
    """WARM_ENI_TARGET is 1 by default: that says nothing about what its owner wanted."""
    assert short({"WARM_IP_TARGET": "3"}, SMALL) == []


@pytest.mark.spec("INIT-13", "INIT-14")
def test_xen_types_take_no_prefixes() -> None:
    """Prefix delegation is off, whatever was set, and so is its target."""
    (verdict, target) = found(PREFIXES | {"WARM_PREFIX_TARGET": "2"}, XEN)

    assert (verdict.kind, verdict.names, verdict.spec) == (
        "ignored", ("ENABLE_PREFIX_DELEGATION",), ("INIT-13", "INIT-14"),
    )  # fmt: skip
    assert (target.kind, target.names) == ("ignored", ("WARM_PREFIX_TARGET",))


@pytest.mark.spec("POOL-6", "POOL-38", "LIM-10", "LIM-12")
@pytest.mark.parametrize(
    ("env", "instance", "name", "words"),
    [
        ({"WARM_IP_TARGET": "40"}, SMALL, "WARM_IP_TARGET", "asks for 40 addresses; the node stops at 9"),
        ({"WARM_ENI_TARGET": "4"}, SMALL, "WARM_ENI_TARGET", "asks for 12 addresses; the node stops at 9"),
        ({"WARM_PREFIX_TARGET": "30"} | PREFIXES, LARGE, "WARM_PREFIX_TARGET", "asks for 480 addresses"),
        ({}, LARGE, "max pods", "110 are allowed, but the node carries 27"),
        ({"MAX_ENI": "1"}, SMALL, "MAX_ENI", "11 are allowed, but the node carries 3"),
        (PREFIXES, SMALL, "max pods", "11 is a figure for single addresses"),
    ],
)
def test_limits_are_told_with_their_numbers(env: dict[str, str], instance: Instance, name: str, words: str) -> None:
    """Targets and max pods that the node cannot meet."""
    (verdict,) = found(env, instance)

    assert (verdict.kind, verdict.names) == ("limits", (name,))
    assert words in verdict.reason


@pytest.mark.spec("ENV-9", "ENV-10", "POOL-18")
@pytest.mark.parametrize("name", ["DISABLE_NETWORK_RESOURCE_PROVISIONING", "ENABLE_IMDS_ONLY_MODE"])
def test_without_provisioning_the_targets_say_nothing(name: str) -> None:
    """No growing, so no starving by a target, and no flapping."""
    assert short({name: "true", "MINIMUM_IP_TARGET": "5"}) == [("limits", (name,))]


@pytest.mark.spec("DM-28", "DM-34", "ENV-34")
@pytest.mark.parametrize(
    ("env", "name", "spec"),
    [
        ({"IP_COOLDOWN_PERIOD": "0"}, "IP_COOLDOWN_PERIOD", "DM-28"),
        ({"IP_COOLDOWN_PERIOD": "-1"}, "IP_COOLDOWN_PERIOD", "DM-28"),
        ({"UPSTREAM_PARITY": "cooling_counts_as_available"}, "UPSTREAM_PARITY", "DM-34"),
        ({"INTROSPECTION_BIND_ADDRESS": "0.0.0.0:61679"}, "INTROSPECTION_BIND_ADDRESS", "ENV-34"),
    ],
)
def test_risks_are_named(env: dict[str, str], name: str, spec: str) -> None:
    """No cooldown, cooling addresses that look available, a door to the network."""
    (verdict,) = found(env, SMALL)

    assert (verdict.kind, verdict.names) == ("risks", (name,))
    assert spec in verdict.spec


def test_the_gravest_comes_first() -> None:
    """A reader who stops after the first line has read what matters."""
    env = {"MINIMUM_IP_TARGET": "5", "WARM_ENI_TARGET": "3", "IP_COOLDOWN_PERIOD": "0"}

    assert [each.kind for each in found(env, SMALL)] == ["starves", "ignored", "risks"]


def test_every_verdict_is_one_line_with_its_rules() -> None:
    """The thing, the fact, the remedy, the rules; hostile values stay on the line."""
    verdict = found({"WARM_IP_TARGET": "a\nb"}, SMALL)[0]

    assert verdict.text == 'WARM_IP_TARGET: "a\\nb" is refused: want an integer >= 0; using 0 (ENV-1)'


@pytest.mark.spec("INIT-13")
def test_where_the_daemon_would_not_start_there_is_no_verdict() -> None:
    """The reason is the error."""
    config: Config = load({"ENABLE_IPv4": "false"})

    with pytest.raises(ConfigError, match="exactly one address family"):
        verdicts(config, LARGE)


@pytest.mark.parametrize(
    ("env", "overrides", "source"),
    [({}, [], "default"), ({"UPSTREAM_PARITY": "strict"}, [], "environment"), ({}, ["UPSTREAM_PARITY="], "--set")],
)
def test_the_source_of_the_parity_is_known(env: dict[str, str], overrides: list[str], source: str) -> None:
    """It is no row of the table of variables, but it is shown beside them."""
    assert load(env, overrides).parity_source == source
