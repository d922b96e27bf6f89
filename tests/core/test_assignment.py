"""Which address a sandbox gets, what a release means, how long an address rests (DM-5..DM-8, DM-16..DM-30)."""

from __future__ import annotations

import pytest

from ipamd.core import events as ev
from ipamd.core.assign import MIGRATED_INTERFACE, MIGRATED_NETWORK
from ipamd.core.commands import (
    AddNetwork,
    Assigned,
    DelNetwork,
    NotReady,
    RefuseAdd,
    Refused,
    Released,
    Start,
    UnknownPod,
)
from ipamd.core.decide import decide
from ipamd.core.reasons import REASONS
from ipamd.core.settings import Settings
from ipamd.core.state import State
from ipamd.core.types import Pod, Sandbox, ip4
from ipamd.sim.engine import EPOCH

from .world import NODE, Bench, facts, nth, pod, sandbox

PREFIXES = Settings(prefix_delegation=True)


def fill(bench: Bench, count: int, name: str = "pod") -> list[str]:
    """So many pods; their addresses in order."""
    return [bench.granted(f"{name}-{i}").address for i in range(count)]


# ---- which address ------------------------------------------------------------------------------------------


def test_every_address_of_a_prefix_serves_from_the_network_address_to_the_last() -> None:
    """DM-18, DM-4, DM-5: sixteen in ascending order, .0 and .15 included; before that they have no record."""
    bench = Bench(PREFIXES)
    bench.eni("eni-1", 1, "10.0.0.16/28")
    untouched = dict(bench.state.enis["eni-1"].blocks["10.0.0.16/28"].records)

    addresses = fill(bench, 16)

    assert untouched == {}
    assert addresses == [nth("10.0.0.16", i) for i in range(16)]


def test_a_full_block_serves_nobody_twice() -> None:
    """DM-22, DM-17 (3): an assigned address is never assigned again; the seventeenth pod finds none."""
    bench = Bench(PREFIXES)
    bench.eni("eni-1", 1, "10.0.0.16/28")

    addresses = fill(bench, 16)
    refused = bench.refused("one too many")

    assert len(set(addresses)) == 16
    assert refused.reason in REASONS


def test_cooling_addresses_are_skipped_and_come_first_once_they_have_cooled() -> None:
    """DM-19, DM-18: .1 cools, so .3 goes out; later .1 is preferred to the untouched .4."""
    bench = Bench(PREFIXES)
    bench.eni("eni-1", 1, "10.0.0.0/28")
    fill(bench, 3)
    bench.released("pod-1")

    while_cooling = bench.granted("early").address
    bench.wait(31)
    after = bench.granted("late").address

    assert (while_cooling, after) == ("10.0.0.3", "10.0.0.1")


def test_an_assignment_purges_what_has_cooled_in_its_block() -> None:
    """DM-8, DM-18: records of free-again addresses go with the next assignment in their block, not before."""
    bench = Bench(PREFIXES)
    bench.eni("eni-1", 1, "10.0.0.0/28")
    fill(bench, 3)
    bench.released("pod-0")
    bench.released("pod-1")
    bench.wait(31)
    block = bench.state.enis["eni-1"].blocks["10.0.0.0/28"]

    before = sorted(block.records)
    bench.granted("next")
    after = sorted(block.records)

    assert (before, after) == ([0, 1, 2], [0, 2])


def test_of_several_cooled_addresses_the_one_that_rested_longest_goes_first() -> None:
    """DM-18: any of them conforms; ours is the oldest. The others are purged then, so the lowest follows."""
    bench = Bench(PREFIXES)
    bench.eni("eni-1", 1, "10.0.0.0/28")
    fill(bench, 3)
    for name in ("pod-2", "pod-1", "pod-0"):
        bench.released(name)
        bench.wait(1)
    bench.wait(31)

    assert fill(bench, 3, "again") == ["10.0.0.2", "10.0.0.0", "10.0.0.1"]


def test_the_fullest_prefix_serves_first() -> None:
    """DM-17: upstream's order is random; ours packs, so that prefixes fall free sooner."""
    bench = Bench(PREFIXES)
    bench.eni("eni-1", 1, "10.0.0.0/28", "10.0.0.16/28")
    fill(bench, 20)
    for i in range(3, 16):
        bench.released(f"pod-{i}")
    bench.wait(31)

    assert bench.granted("next").address == "10.0.0.20"


def test_among_equal_blocks_the_lowest_device_serves_first() -> None:
    """DM-17: device number, then address, whatever the order in which ENIs and blocks came."""
    bench = Bench()
    bench.eni("eni-b", 2, "10.0.0.1/32")
    bench.eni("eni-a", 1, "10.0.0.9/32", "10.0.0.8/32")

    assert fill(bench, 3) == ["10.0.0.8", "10.0.0.9", "10.0.0.1"]


@pytest.mark.parametrize("kind", ["primary", "trunk", "efa"])
def test_every_kind_of_eni_serves_what_it_holds(kind: str) -> None:
    """DM-17: primary, trunk and EFA ENIs are eligible if they have blocks."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32", primary=kind == "primary", trunk=kind == "trunk", efa=kind == "efa")

    assert bench.granted("one").address == "10.0.0.1"


@pytest.mark.parametrize(("prefix_delegation", "address"), [(False, "10.0.0.99"), (True, "10.0.0.0")])
def test_only_blocks_of_the_modes_kind_serve(prefix_delegation: bool, address: str) -> None:
    """DM-24, DM-17 (2), DM-16: both kinds may lie on one ENI; the mode says which one serves new pods."""
    bench = Bench(Settings(prefix_delegation=prefix_delegation))
    bench.eni("eni-1", 1, "10.0.0.0/28", "10.0.0.99/32")

    assert bench.granted("one").address == address


def test_changing_the_mode_leaves_pods_where_they_are() -> None:
    """DM-24: no block is converted; the pod of the other kind keeps its address and can be released."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.0/28", "10.0.0.99/32")
    bench.granted("old")
    bench.record(ev.Started(PREFIXES, NODE, 2), ev.NodeReady(), ev.WorkMoved(None))

    again = bench.granted("old").address
    new = bench.granted("new").address
    released = bench.released("old")

    assert (again, new, released.address) == ("10.0.0.99", "10.0.0.0", "10.0.0.99")


def test_the_answer_names_device_and_route_table() -> None:
    """DM-20, RPC-34: address, device number, table of the ENI that the address is on."""
    bench = Bench()
    bench.eni("eni-3", 3, "10.0.0.1/32")

    assert bench.granted("one") == Assigned("10.0.0.1", "eni-3", 3, 4)


# ---- the same again, and refusals ---------------------------------------------------------------------------


def test_the_same_sandbox_gets_the_same_address_and_leaves_no_record() -> None:
    """DM-30, RPC-31: no event, no count, no time changes."""
    bench = Bench(PREFIXES)
    bench.eni("eni-1", 1, "10.0.0.0/28")
    first = bench.granted("one")
    before, seq = facts(bench.state), bench.state.seq

    again = bench.granted("one")

    assert again == Assigned(first.address, first.eni, first.device, first.table, repeated=True)
    assert (facts(bench.state), bench.state.seq) == (before, seq)


def test_a_sandbox_keeps_its_address_when_its_eni_is_excluded() -> None:
    """DM-17 (1): what it owns is returned unchanged wherever it lies."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32")
    first = bench.granted("one")
    bench.record(ev.EniExcluded("eni-1", True))

    assert bench.granted("one").address == first.address


def test_sandboxes_differ_by_any_part_of_their_key() -> None:
    """DM-6: network, container and interface together are the key; its text joins them with slashes."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32", "10.0.0.4/32")
    keys = [Sandbox("n", "c", "i"), Sandbox("m", "c", "i"), Sandbox("n", "d", "i"), Sandbox("n", "c", "j")]

    answers = [bench.tell(AddNetwork(key)) for key in keys]

    assert len({a.address for a in answers if isinstance(a, Assigned)}) == 4
    assert keys[0].text == "n/c/i"


@pytest.mark.parametrize("key", [Sandbox("", "c", "i"), Sandbox("n", "", "i"), Sandbox("n", "c", "")])
def test_an_incomplete_key_is_refused(key: Sandbox) -> None:
    """RPC-30: all three parts must be there; the refusal is recorded with its reason."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32")

    answer = bench.tell(AddNetwork(key))

    assert isinstance(answer, Refused) and answer.reason == "invalid"
    assert [event.reason for event in bench.events(ev.AssignRefused)] == ["invalid"]
    assert bench.stats.assigned == 0


def test_a_request_that_a_door_turned_away_is_recorded() -> None:
    """RPC-30: what never became a sandbox is in the journal all the same, and touches nothing."""
    bench = Bench()
    bench.tell(RefuseAdd(Pod("ns", "x"), "invalid", "Netns is 5000 bytes long"))

    assert bench.events(ev.AssignRefused) == [
        ev.AssignRefused("invalid", "Netns is 5000 bytes long", None, Pod("ns", "x"))
    ]


def test_no_address_is_a_refusal_with_a_reason_and_a_record() -> None:
    """RPC-33, RPC-42, DM-17 (3): a value, not an error; one event for the no-available counter."""
    bench = Bench()

    refused = bench.refused("one")

    (event,) = bench.events(ev.AssignRefused)
    assert refused.reason in REASONS and refused.fact and refused.remedy
    assert (event.reason, event.sandbox, event.pod) == (refused.reason, sandbox("one"), pod("one"))
    assert refused.text == f"{refused.reason}: {refused.fact}; {refused.remedy}"


def test_nothing_is_served_before_the_node_is_ready() -> None:
    """RPC-6, INIT-25: neither ADD nor DEL is answered, or recorded, during node init."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32")
    bench.granted("one")
    bench.tell(Start(Settings(), NODE, 2))
    seq = bench.state.seq

    assert bench.add("two") == NotReady("init")
    assert bench.delete("one") == NotReady("init")
    assert decide(State(), AddNetwork(sandbox("x")), EPOCH).answer == NotReady("new")
    assert bench.state.seq == seq


# ---- release ------------------------------------------------------------------------------------------------


def test_a_release_frees_the_key_and_says_what_it_freed() -> None:
    """DM-26, DM-27, RPC-44, RPC-45: the entry goes, the cooldown begins, the answer names where it was."""
    bench = Bench()
    bench.eni("eni-1", 2, "10.0.0.1/32")
    bench.granted("one")
    bench.wait(5)

    answer = bench.released("one")

    record = bench.state.enis["eni-1"].blocks["10.0.0.1/32"].records[0]
    assert answer == Released("10.0.0.1", "eni-1", 2, 3, 1)
    assert (record.sandbox, record.pod, record.assigned_at, record.released_at) == (None, Pod(), EPOCH, bench.now)
    assert (bench.stats.assigned, bench.stats.cooling) == (0, 1)


@pytest.mark.parametrize(("asked", "reported"), [(0, 1), (1, 1), (2, 2)])
def test_the_interface_count_comes_back_and_none_counts_as_one(asked: int, reported: int) -> None:
    """DM-27, DM-7, RPC-44: what ADD was told; 0, as old entries have it, is reported as 1."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32")
    bench.tell(AddNetwork(sandbox("one"), Pod("ns", "name", asked)))

    assert bench.released("one").interfaces == reported


def test_an_unknown_sandbox_is_said_to_be_unknown() -> None:
    """DM-25, RPC-46: no event; a second DEL of the same sandbox is the same."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32")
    bench.granted("one")
    bench.released("one")
    seq = bench.state.seq

    assert bench.delete("one") == UnknownPod(sandbox("one"))
    assert bench.delete("never") == UnknownPod(sandbox("never"))
    assert bench.state.seq == seq


def test_an_entry_from_before_cni_keys_is_found_by_its_container() -> None:
    """DM-25, DM-66: network `_migrated-from-cri`, interface `unknown`, the same container."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32")
    bench.tell(AddNetwork(Sandbox(MIGRATED_NETWORK, "old", MIGRATED_INTERFACE)))

    assert (MIGRATED_NETWORK, MIGRATED_INTERFACE) == ("_migrated-from-cri", "unknown")
    assert bench.released("old").address == "10.0.0.1"


# ---- cooldown -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("period", "waited", "granted"),
    [(30, 29.999, False), (30, 30, False), (30, 30.000000001, True), (5, 5, False), (5, 5.1, True), (0, 0.001, True)],
)
def test_an_address_rests_for_its_period_the_last_instant_included(period: int, waited: float, granted: bool) -> None:
    """DM-8, DM-28: cooling while now - released <= period, free again after."""
    bench = Bench(Settings(ip_cooldown_period=period))
    bench.eni("eni-1", 1, "10.0.0.1/32")
    bench.granted("one")
    bench.released("one")
    bench.wait(waited)

    assert isinstance(bench.add("two"), Assigned) is granted


@pytest.mark.parametrize("period", [0, -1, -100])
def test_no_or_negative_period_means_no_cooldown(period: int) -> None:
    """DM-28: the address goes out again at the very next instant; a negative one even at the same."""
    bench = Bench(Settings(ip_cooldown_period=period))
    bench.eni("eni-1", 1, "10.0.0.1/32")
    for i in range(3):
        bench.granted(f"pod-{i}")
        bench.released(f"pod-{i}")
        bench.wait(0 if period else 1e-9)

    assert bench.granted("last").address == "10.0.0.1"


def test_the_refusal_says_that_addresses_cool() -> None:
    """DM-28: the reason is the cooldown, with the count and the setting."""
    bench = Bench(Settings(ip_cooldown_period=7))
    bench.eni("eni-1", 1, "10.0.0.1/32")
    bench.granted("one")
    bench.released("one")

    refused = bench.refused("two")

    assert refused.reason == "cooldown"
    assert "1 address still cools" in refused.fact and "7 s" in refused.fact and "IP_COOLDOWN_PERIOD" in refused.remedy


def test_a_forced_release_leaves_nothing_to_cool() -> None:
    """DM-15: a block that comes back after a forced removal is fresh, its addresses serve at once."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32")
    bench.granted("one")
    bench.record(ev.CidrRemoved("eni-1", "10.0.0.1/32", "resync", pods=1))
    bench.put("eni-1", "10.0.0.1/32")

    assert bench.stats.cooling == 0
    assert bench.granted("two").address == "10.0.0.1"


def test_a_decision_changes_nothing_until_it_is_folded() -> None:
    """DM-21: decide only reads, whatever the command; two decisions on one State agree."""
    bench = Bench(PREFIXES)
    bench.eni("eni-1", 1, "10.0.0.0/28")
    bench.granted("one")
    bench.released("one")
    bench.granted("two")
    bench.wait(31)
    before = facts(bench.state)

    for command in (AddNetwork(sandbox("x")), DelNetwork(sandbox("two")), Start(PREFIXES, NODE, 9)):
        first, second = decide(bench.state, command, bench.now), decide(bench.state, command, bench.now)
        assert first == second and first.events
        assert facts(bench.state) == before


def test_a_steady_pool_serves_all_its_addresses_round_and_round() -> None:
    """DM-18, DM-28: forty lives on four addresses, none of them given out within its cooldown."""
    bench = Bench()
    bench.eni("eni-1", 1, *(f"10.0.0.{i}/32" for i in range(1, 5)))
    released: dict[str, int] = {}
    served = []

    for i in range(40):
        address = bench.granted(f"pod-{i}").address
        assert address not in released or bench.now - released[address] > bench.state.cooldown
        served.append(address)
        bench.wait(11)
        bench.released(f"pod-{i}")
        released[address] = bench.now

    assert {served.count(f"10.0.0.{i}") for i in range(1, 5)} == {10}
    assert [ip4(address) for address in served[:4]] == sorted(ip4(address) for address in served[:4])
