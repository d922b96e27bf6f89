"""The documents' tables: one node, so many pods one after another, and what it settles at."""

from __future__ import annotations

import pytest

from ipamd.sim.windows_node import NODE, WindowsScenario, one_node, settled

from .pools import ROOMY, WIDE, keys, simulated

PREFIX = """
P-01 - - - 0 1 1 16|P-02 - - - 15 1 0 1|P-03 - - - 16 2 1 16|P-04 1 - - 0 1 1 16|P-05 3 - - 0 3 3 48
P-06 1 - - 5 2 1 27|P-07 1 - - 17 3 1 31|P-08 - - 1 0 1 1 16|P-09 - - 1 5 1 0 11|P-10 - - 1 15 1 0 1
P-11 - - 1 16 2 1 16|P-12 - 5 - 0 1 1 16|P-13 - 5 - 5 1 0 11|P-14 - 5 - 11 1 0 5|P-15 - 5 - 12 2 1 20
P-16 - 1 1 0 1 1 16|P-17 - 1 1 5 1 0 11|P-18 - 1 1 17 2 0 15|P-19 - 3 1 14 2 1 18|P-20 - 7 20 0 2 2 32
P-21 - 7 20 5 2 1 27|P-22 - 7 20 17 2 0 15|P-23 - 7 20 26 3 1 22
P-24 - 15 - 0 1 1 16|P-25 - 15 - 1 1 0 15|P-25 - 15 - 2 2 1 30|P-26 2 - - 0 2 2 32|P-27 2 - - 1 3 2 47
P-28 - - 20 0 2 2 32|P-29 20 - - 0 14 14 224|P-30 - - - 0 1 1 16|P-31 0 - - 0 1 1 16|P-31 -4 - - 0 1 1 16
P-31 - 0 0 0 1 1 16|P-31 - -1 -1 0 1 1 16
"""
"""Name, warm-prefix, warm-ip, min-ip, pods, prefixes attached, unused ones, unused addresses."""

SECONDARY = """
S-01 1 0 0 1 1|S-02 1 0 5 6 1|S-03 5 0 0 5 5|S-04 1 1 0 1 1|S-05 1 1 1 2 1|S-06 1 3 3 4 1|S-07 1 3 5 6 1
S-08 5 10 0 10 10|S-09 10 10 0 10 10|S-10 10 10 10 20 10|S-11 15 10 10 25 15|S-12 5 - 0 5 5|S-12 5 - 2 7 5
S-13 - 10 0 10 10|S-13 - 10 5 10 5|S-14 -1 -1 0 3 3|S-15 99 0 0 29 29|S-17 0 - 0 1 1|S-18 1 0 0 1 1
S-19 - 6 0 6 6|S-19 - 6 3 6 3|S-20 6 3 0 6 6|S-21 4 8 0 8 8|S-22 4 2 2 6 4
"""
"""Name, warm, min, pods, addresses held, spare."""


def _rows(table: str) -> list[object]:
    found: list[object] = []
    for line in table.strip().replace("\n", "|").split("|"):
        name, *figures = line.split()
        found.append(pytest.param(figures, id="-".join((name, *figures))))
    return found


def _config(prefixes: bool, **targets: str) -> dict[str, str]:
    return keys(prefixes, **{name: value for name, value in targets.items() if value != "-"})


@pytest.mark.spec("P-1..31", "WIN-90", "WIN-91", "WIN-94")
@pytest.mark.parametrize("figures", _rows(PREFIX))
def test_prefix_mode(figures: list[str]) -> None:
    """Prefixes attached, unused ones, unused addresses."""
    warm_prefix, warm, minimum, *numbers = figures
    pods, prefixes, unused, spare = map(int, numbers)
    config = _config(True, warm_prefix=warm_prefix, warm_ip=warm, minimum_ip=minimum)

    found = simulated(ROOMY, config, pods)

    assert (found.prefixes, found.unused_prefixes, found.warm, found.used) == (prefixes, unused, spare, pods)
    assert (found.ips, found.cooling, found.capacity) == (0, 0, 224)


@pytest.mark.spec("S-1..15", "S-17..22", "WIN-86", "WIN-7")
@pytest.mark.parametrize("figures", _rows(SECONDARY))
def test_secondary_mode(figures: list[str]) -> None:
    """Addresses held and spare ones, under the keys with the prefix `windows-`."""
    warm, minimum, *numbers = figures
    pods, held, spare = map(int, numbers)
    plain = _config(False, warm_ip=warm, minimum_ip=minimum)
    config = {key if key.startswith("enable") else f"windows-{key}": value for key, value in plain.items()}

    found = simulated(WIDE, config, pods)

    assert (found.ips, found.warm, found.used, found.prefixes, found.capacity) == (held, spare, pods, 0, 29)


@pytest.mark.spec("S-16")
def test_a_prefix_target_means_nothing_in_secondary_mode() -> None:
    """No prefix comes, and the addresses are the defaults'."""
    found = simulated(WIDE, keys(warm_prefix=2), 0)

    assert (found.prefixes, found.ips) == (0, 3)


@pytest.mark.spec("S-23")
def test_an_unreadable_prefix_key_means_secondary_mode() -> None:
    """Pods run with secondary addresses."""
    found = simulated(WIDE, keys() | {"enable-windows-prefix-delegation": "wrongVal"}, 2)

    assert (found.prefixes, found.used, found.ips) == (0, 2, 5)


@pytest.mark.spec("S-24", "S-25")
@pytest.mark.parametrize(
    "data",
    [{"enable-windows-prefix-delegation": "true"}, {"enable-windows-ipam": "wrongVal"}, {}],
    ids=["without IPAM", "unreadable", "no data"],
)
def test_without_ipam_no_pod_gets_an_address(data: dict[str, str]) -> None:
    """The webhook injects nothing, and EC2 is not asked."""
    engine = one_node(WindowsScenario(instance_type=WIDE, config=data))
    pods = engine.add_pods(2, NODE)
    engine.settle()

    assert [pod.annotation for pod in pods] == ["", ""]
    assert not engine.requests
    assert settled(engine).capacity == 0


@pytest.mark.spec("S-26", "WIN-22")
def test_the_legacy_deployment_turns_ipam_off_while_it_is_there() -> None:
    """Pods made meanwhile get nothing; those made after it is gone do."""
    engine = one_node(WindowsScenario(instance_type=WIDE, config=keys()))
    engine.set_legacy(True)
    before = engine.add_pods(1, NODE)
    engine.set_legacy(False)
    engine.idle()
    after = engine.add_pods(1, NODE)
    engine.settle()

    assert (before[0].annotation, bool(after[0].annotation)) == ("", True)


@pytest.mark.spec("S-27", "V-110", "WIN-93")
def test_a_minimum_of_prefixes_through_a_burst_and_its_end() -> None:
    """2 prefixes; 3 with 33 pods; 2 again when all ended and cooled, but none less while they cool."""
    engine = one_node(WindowsScenario(instance_type=ROOMY, config=keys(True, minimum_ip=20)))
    assert settled(engine).prefixes == 2
    pods = engine.add_pods(33, NODE)
    engine.settle()
    assert settled(engine).prefixes == 3

    engine.delete_pods(pods)
    engine.idle()
    cooling = settled(engine)
    engine.settle()

    assert (cooling.prefixes, cooling.cooling, cooling.ips) == (3, 33, 0)
    assert (settled(engine).prefixes, settled(engine).warm) == (2, 32)
    assert engine.requests["UnassignPrivateIpAddresses"] == 1


@pytest.mark.spec("S-28", "WIN-62")
def test_a_pod_s_address_lies_in_the_node_s_prefix() -> None:
    """One prefix, no secondary address, a mask of 32 bits."""
    engine = one_node(WindowsScenario(instance_type=ROOMY, config=keys(True)))
    (pod,) = engine.add_pods(1, NODE)
    engine.settle()
    node = engine.state.windows.nodes[NODE]
    (prefix,) = node.pools["prefix"].home

    assert pod.annotation.endswith("/32")
    assert pod.annotation.rpartition(".")[0] == prefix.rpartition(".")[0]
    assert settled(engine).ips == 0


@pytest.mark.spec("S-29", "WIN-117")
def test_back_to_secondary_mode() -> None:
    """No prefix is left, and two pods use two secondary addresses more."""
    engine = one_node(WindowsScenario(instance_type=ROOMY, config=keys(True)))
    engine.configure(keys(False))
    engine.settle()
    before = settled(engine)
    engine.add_pods(2, NODE)
    engine.settle()

    assert (before.prefixes, before.capacity) == (0, 14)
    assert settled(engine).ips - before.ips == 2
