"""The ConfigMap: what its keys say, and what a pool is told."""

from __future__ import annotations

import pytest

from ipamd.core.settings import Quirks, WindowsQuirks, windows_quirks
from ipamd.core.windows_config import (
    IPAM,
    PREFIX_DELEGATION,
    PoolKind,
    Targets,
    complaints,
    conditions,
    parse,
    parse_bool,
    parse_int,
    pool_config,
)

from .pools import OURS

ON = {PREFIX_DELEGATION: "true"}
WARM, MINIMUM, PREFIX = "windows-warm-ip-target", "windows-minimum-ip-target", "windows-warm-prefix-target"


def vector(name: str, data: dict[str, str], warm: int, minimum: int, prefix: int = 0) -> object:
    """One row: the data and the parsed targets."""
    return pytest.param(data, Targets(warm, minimum, prefix), id=name)


@pytest.mark.spec("WIN-2", "V-1..10", "V-14", "WIN-7", "WIN-8", "WIN-10")
@pytest.mark.parametrize(
    ("data", "parsed"),
    [
        vector("V-01", {**ON, WARM: "1", MINIMUM: "3", PREFIX: "0"}, 1, 3),
        vector("V-02", {PREFIX_DELEGATION: "false", WARM: "0", MINIMUM: "0"}, 1, 0),
        vector("V-03", {**ON, WARM: "0", MINIMUM: "0", PREFIX: "0"}, 1, 3),
        vector("V-04", {WARM: "Invalid string", MINIMUM: "Invalid string"}, 3, 3),
        vector("V-05", {WARM: "-5", MINIMUM: "-5"}, -5, -5),
        vector("V-06", {**ON, WARM: "-10", MINIMUM: "-100", PREFIX: "0"}, -10, -100),
        vector("V-07", {IPAM: "true"}, 3, 3),
        vector("V-08", {WARM: "1"}, 1, 0),
        vector("V-09", {**ON, WARM: "2", MINIMUM: "2", PREFIX: "two"}, 2, 2),
        vector("V-10", {**ON, PREFIX: "1"}, 0, 0, 1),
        vector("V-14a", {**ON, WARM: "x", MINIMUM: "y", PREFIX: "1"}, 0, 0, 1),
        vector("V-14-unset", {"warm-ip-target": "abc", WARM: "5"}, 3, 3),
        vector("V-14", {"warm-ip-target": "abc", WARM: "5", MINIMUM: "4"}, 0, 4),
    ],
)
def test_targets_are_parsed(data: dict[str, str], parsed: Targets) -> None:
    """The raw prefix-delegation key decides how unset targets are read."""
    assert parse(data, OURS) == parsed


@pytest.mark.spec("V-11", "WIN-13")
def test_the_overlay_goes_to_the_mode_that_the_key_names() -> None:
    """The other mode's pool keeps its static targets."""
    data = {**ON, WARM: "2", MINIMUM: "10", PREFIX: "1"}

    assert pool_config(data, "prefix", OURS) == Targets(2, 10, 1)
    assert pool_config(data, "secondary", OURS) == Targets(3, 3)


@pytest.mark.spec("V-12", "WIN-9", "WIN-12")
@pytest.mark.parametrize(("kind", "targets"), [("secondary", Targets(3, 3)), ("prefix", Targets(1, 3))])
def test_without_a_config_map_targets_are_static(kind: PoolKind, targets: Targets) -> None:
    """A ConfigMap that cannot be read, or has no data."""
    assert pool_config(None, kind, OURS) == targets


@pytest.mark.spec("V-13", "WIN-14")
def test_a_secondary_pool_under_the_prefix_key_gets_static_targets() -> None:
    """A node that cannot carry prefixes; what was meant is the ConfigMap's own target."""
    data = {**ON, WARM: "7"}
    meant = WindowsQuirks(windows_other_mode_keeps_static=False)

    assert pool_config(data, "secondary", OURS) == Targets(3, 3)
    assert pool_config(data, "secondary", meant) == Targets(7, 0)


@pytest.mark.spec("WIN-3")
def test_booleans_have_six_spellings_each() -> None:
    """Anything else is false, a missing key too."""
    assert all(map(parse_bool, ["1", "t", "T", "TRUE", "true", "True"]))
    assert not any(map(parse_bool, ["0", "f", "False", "trued", "wrongVal", "yes", "tRUE", "", " true", None]))


@pytest.mark.spec("WIN-4")
@pytest.mark.parametrize(
    ("text", "value"),
    [("5", (5, True)), ("+5", (5, True)), ("-5", (-5, True)), ("007", (7, True)), ("5 ", (0, False))]
    + [(bad, (0, False)) for bad in ("", " 5", "5.0", "0x5", "1_000", "five", "--5", "\u0665")],
)  # fmt: skip
def test_integers_are_digits_with_a_sign(text: str, value: tuple[int, bool]) -> None:
    """What cannot be read is 0."""
    assert parse_int(text, OURS) == value


@pytest.mark.spec("WIN-4")
@pytest.mark.parametrize(("text", "largest"), [("9" * 30, 2**63 - 1), ("-9223372036854775809", -(2**63))])
def test_a_target_beyond_64_bits(text: str, largest: int) -> None:
    """Upstream keeps the saturated number, ours counts it as unreadable."""
    strict = windows_quirks(Quirks(windows_out_of_range_saturates=True))

    assert parse_int(text, OURS) == (0, False)
    assert parse_int(text, strict) == (largest, False)


@pytest.mark.spec("WIN-5", "WIN-6")
def test_the_plain_key_wins_over_the_prefixed_one() -> None:
    """Presence decides: the chart's keys make the prefixed ones dead."""
    chart = {"warm-prefix-target": "0", "warm-ip-target": "1", "minimum-ip-target": "3"}

    assert parse({**chart, WARM: "9", MINIMUM: "9"}, OURS) == Targets(1, 3)


@pytest.mark.spec("WIN-11")
def test_a_minimum_alone_keeps_none_warm() -> None:
    """The code's way is the default; the documents' 3 is a switch."""
    documented = WindowsQuirks(windows_minimum_alone_keeps_none_warm=False)

    assert parse({MINIMUM: "10"}, OURS) == Targets(0, 10)
    assert parse({MINIMUM: "10"}, documented) == Targets(3, 10)
    assert parse({WARM: "0", MINIMUM: "10"}, documented) == Targets(1, 10)


@pytest.mark.spec("WIN-15", "WIN-16", "S-23", "S-24", "S-25", "S-26")
@pytest.mark.parametrize(
    ("data", "legacy", "flag", "ipam", "delegation"),
    [
        ({IPAM: "true", **ON}, False, True, True, True),
        ({IPAM: "true", PREFIX_DELEGATION: "wrongVal"}, False, True, True, False),
        ({**ON}, False, True, False, False),
        ({IPAM: "wrongVal", **ON}, False, True, False, False),
        (None, False, True, False, False),
        ({}, False, True, False, False),
        ({IPAM: "true", **ON}, True, True, False, False),
        ({IPAM: "true", **ON}, False, False, True, False),
    ],
)
def test_conditions(data: dict[str, str] | None, legacy: bool, flag: bool, ipam: bool, delegation: bool) -> None:
    """IPAM needs its key and no legacy Deployment; prefix delegation needs IPAM, its key and the flag."""
    found = conditions(data, legacy, flag, OURS)

    assert (found.ipam, found.prefix_delegation) == (ipam, delegation)


@pytest.mark.spec("WIN-4", "WIN-5", "WIN-10")
def test_complaints_name_the_key_the_fact_and_the_remedy() -> None:
    """Every value that cannot be meant has one line; good ones have none."""
    bad = {IPAM: "yes", "warm-ip-target": "ten", "minimum-ip-target": "-1", WARM: "5", "branch-eni-cooldown": "60"}

    assert complaints(bad) == [
        'enable-windows-ipam: "yes": want true or false; counts as false',
        'minimum-ip-target: "-1": want an integer >= 0; a default takes its place',
        'warm-ip-target: "ten": want an integer >= 0; counts as 0',
        "windows-warm-ip-target: warm-ip-target is there too and wins; remove one of the two",
    ]
    assert complaints({IPAM: "true", "warm-ip-target": "5"}) == complaints(None) == []
