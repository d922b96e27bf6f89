"""Which address a sandbox gets, what a release means, how long an address rests (DM-5..DM-8, DM-16..DM-30)."""

from __future__ import annotations

import pytest

from ipamd.core import events as ev
from ipamd.core.assign import MIGRATED_INTERFACE, MIGRATED_NETWORK
from ipamd.core.commands import (
    AddNetwork,
    Assigned,
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
from ipamd.core.types import Pod, Sandbox
from ipamd.sim.engine import EPOCH

from .world import NODE, Bench, facts, nth, pod, sandbox

PREFIXES = Settings(prefix_delegation=True)


def fill(bench: Bench, count: int, name: str = "pod") -> list[str]:
    """So many pods; their addresses in order."""
    return [bench.granted(f"{name}-{i}").address for i in range(count)]


# ---- which address ------------------------------------------------------------------------------------------


@pytest.mark.spec("DM-18", "DM-4", "DM-5")
def test_every_address_of_a_prefix_serves_from_the_network_address_to_the_last() -> None:
    """Sixteen in ascending order, .0 and .15 included; before that they have no record."""
    bench = Bench(PREFIXES)
    bench.eni("eni-1", 1, "10.0.0.16/28")
    untouched = dict(bench.state.enis["eni-1"].blocks["10.0.0.16/28"].records)

    addresses = fill(bench, 16)

    assert untouched == {}
    assert addresses == [nth("10.0.0.16", i) for i in range(16)]


@pytest.mark.spec("DM-22", "DM-17")
def test_a_full_block_serves_nobody_twice() -> None:
    """DM-17 (3): an assigned address is never assigned again; the seventeenth pod finds none."""
    bench = Bench(PREFIXES)
    bench.eni("eni-1", 1, "10.0.0.16/28")

    addresses = fill(bench, 16)
    refused = bench.refused("one too many")

    assert len(set(addresses)) == 16
    assert refused.reason in REASONS


@pytest.mark.spec("DM-19", "DM-18")
def test_cooling_addresses_are_skipped_and_come_first_once_they_have_cooled() -> None:
    """.1 cools, so .3 goes out; later .1 is preferred to the untouched .4."""
    bench = Bench(PREFIXES)
    bench.eni("eni-1", 1, "10.0.0.0/28")
    fill(bench, 3)
    bench.released("pod-1")

    while_cooling = bench.granted("early").address
    bench.wait(31)
    after = bench.granted("late").address

    assert (while_cooling, after) == ("10.0.0.3", "10.0.0.1")


@pytest.mark.spec("DM-8", "DM-18")
def test_an_assignment_purges_what_has_cooled_in_its_block() -> None:
    """Records of free-again addresses go with the next assignment in their block, not before."""
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


@pytest.mark.spec("DM-18")
def test_of_several_cooled_addresses_the_one_that_rested_longest_goes_first() -> None:
    """Any of them conforms; ours is the oldest. The others are purged then, so the lowest follows."""
    bench = Bench(PREFIXES)
    bench.eni("eni-1", 1, "10.0.0.0/28")
    fill(bench, 3)
    for name in ("pod-2", "pod-1", "pod-0"):
        bench.released(name)
        bench.wait(1)
    bench.wait(31)

    assert fill(bench, 3, "again") == ["10.0.0.2", "10.0.0.0", "10.0.0.1"]


@pytest.mark.spec("DM-17")
def test_the_fullest_prefix_serves_first() -> None:
    """Upstream's order is random; ours packs, so that prefixes fall free sooner."""
    bench = Bench(PREFIXES)
    bench.eni("eni-1", 1, "10.0.0.0/28", "10.0.0.16/28")
    fill(bench, 20)
    for i in range(3, 16):
        bench.released(f"pod-{i}")
    bench.wait(31)

    assert bench.granted("next").address == "10.0.0.20"


@pytest.mark.spec("DM-17")
def test_among_equal_blocks_the_lowest_device_serves_first() -> None:
    """Device number, then address, whatever the order in which ENIs and blocks came."""
    bench = Bench()
    bench.eni("eni-b", 2, "10.0.0.1/32")
    bench.eni("eni-a", 1, "10.0.0.9/32", "10.0.0.8/32")

    assert fill(bench, 3) == ["10.0.0.8", "10.0.0.9", "10.0.0.1"]


@pytest.mark.spec("DM-17")
@pytest.mark.parametrize("kind", ["primary", "trunk", "efa"])
def test_every_kind_of_eni_serves_what_it_holds(kind: str) -> None:
    """Primary, trunk and EFA ENIs are eligible if they have blocks."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32", primary=kind == "primary", trunk=kind == "trunk", efa=kind == "efa")

    assert bench.granted("one").address == "10.0.0.1"


@pytest.mark.spec("DM-24", "DM-17", "DM-16")
@pytest.mark.parametrize(("prefix_delegation", "address"), [(False, "10.0.0.99"), (True, "10.0.0.0")])
def test_only_blocks_of_the_modes_kind_serve(prefix_delegation: bool, address: str) -> None:
    """DM-17 (2), DM-16: both kinds may lie on one ENI; the mode says which one serves new pods."""
    bench = Bench(Settings(prefix_delegation=prefix_delegation))
    bench.eni("eni-1", 1, "10.0.0.0/28", "10.0.0.99/32")

    assert bench.granted("one").address == address


@pytest.mark.spec("DM-24")
def test_changing_the_mode_leaves_pods_where_they_are() -> None:
    """No block is converted; the pod of the other kind keeps its address and can be released."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.0/28", "10.0.0.99/32")
    bench.granted("old")
    bench.record(ev.Started(PREFIXES, NODE, 2), ev.NodeReady(), ev.WorkMoved(None))

    again = bench.granted("old").address
    new = bench.granted("new").address
    released = bench.released("old")

    assert (again, new, released.address) == ("10.0.0.99", "10.0.0.0", "10.0.0.99")


@pytest.mark.spec("DM-20", "RPC-34")
def test_the_answer_names_device_and_route_table() -> None:
    """Address, device number, table of the ENI that the address is on."""
    bench = Bench()
    bench.eni("eni-3", 3, "10.0.0.1/32")

    assert bench.granted("one") == Assigned("10.0.0.1", "eni-3", 3, 4)


# ---- the same again, and refusals ---------------------------------------------------------------------------


@pytest.mark.spec("DM-30", "RPC-31")
def test_the_same_sandbox_gets_the_same_address_and_leaves_no_record() -> None:
    """No event, no count, no time changes."""
    bench = Bench(PREFIXES)
    bench.eni("eni-1", 1, "10.0.0.0/28")
    first = bench.granted("one")
    before, seq = facts(bench.state), bench.state.seq

    again = bench.granted("one")

    assert again == Assigned(first.address, first.eni, first.device, first.table, repeated=True)
    assert (facts(bench.state), bench.state.seq) == (before, seq)


@pytest.mark.spec("DM-17")
def test_a_sandbox_keeps_its_address_when_its_eni_is_excluded() -> None:
    """DM-17 (1): what it owns is returned unchanged wherever it lies."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32")
    first = bench.granted("one")
    bench.record(ev.EniExcluded("eni-1", True))

    assert bench.granted("one").address == first.address


@pytest.mark.spec("DM-6")
def test_sandboxes_differ_by_any_part_of_their_key() -> None:
    """Network, container and interface together are the key; its text joins them with slashes."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32", "10.0.0.4/32")
    keys = [Sandbox("n", "c", "i"), Sandbox("m", "c", "i"), Sandbox("n", "d", "i"), Sandbox("n", "c", "j")]

    answers = [bench.tell(AddNetwork(key)) for key in keys]

    assert len({a.address for a in answers if isinstance(a, Assigned)}) == 4
    assert keys[0].text == "n/c/i"


@pytest.mark.spec("RPC-30")
@pytest.mark.parametrize("key", [Sandbox("", "c", "i"), Sandbox("n", "", "i"), Sandbox("n", "c", "")])
def test_an_incomplete_key_is_refused(key: Sandbox) -> None:
    """All three parts must be there; the refusal is recorded with its reason."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32")

    answer = bench.tell(AddNetwork(key))

    assert isinstance(answer, Refused) and answer.reason == "invalid"
    assert [event.reason for event in bench.events(ev.AssignRefused)] == ["invalid"]
    assert bench.stats.assigned == 0


@pytest.mark.spec("RPC-30")
def test_a_request_that_a_door_turned_away_is_recorded() -> None:
    """What never became a sandbox is in the journal all the same, and touches nothing."""
    bench = Bench()
    bench.tell(RefuseAdd(Pod("ns", "x"), "invalid", "Netns is 5000 bytes long"))

    assert bench.events(ev.AssignRefused) == [
        ev.AssignRefused("invalid", "Netns is 5000 bytes long", None, Pod("ns", "x"))
    ]


@pytest.mark.spec("RPC-33", "RPC-42", "DM-17")
def test_no_address_is_a_refusal_with_a_reason_and_a_record() -> None:
    """DM-17 (3): a value, not an error; one event for the no-available counter."""
    bench = Bench()

    refused = bench.refused("one")

    (event,) = bench.events(ev.AssignRefused)
    assert refused.reason in REASONS and refused.fact and refused.remedy
    assert (event.reason, event.sandbox, event.pod) == (refused.reason, sandbox("one"), pod("one"))
    assert refused.text == f"{refused.reason}: {refused.fact}; {refused.remedy}"


@pytest.mark.spec("RPC-6", "INIT-25")
def test_nothing_is_served_before_the_node_is_ready() -> None:
    """Neither ADD nor DEL is served during node init; the refused ADD is recorded, its reason the restart."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32")
    bench.granted("one")
    bench.tell(Start(Settings(), NODE, 2))
    seq = bench.state.seq

    assert bench.add("two") == NotReady("init")
    assert bench.delete("one") == NotReady("init")
    assert decide(State(), AddNetwork(sandbox("x")), EPOCH).answer == NotReady("new")
    assert bench.state.seq == seq + 1
    assert [event.reason for event in bench.events(ev.AssignRefused)] == ["restart"]


# ---- release ------------------------------------------------------------------------------------------------


@pytest.mark.spec("DM-26", "DM-27", "RPC-44", "RPC-45")
def test_a_release_frees_the_key_and_says_what_it_freed() -> None:
    """The entry goes, the cooldown begins, the answer names where it was."""
    bench = Bench()
    bench.eni("eni-1", 2, "10.0.0.1/32")
    bench.granted("one")
    bench.wait(5)

    answer = bench.released("one")

    record = bench.state.enis["eni-1"].blocks["10.0.0.1/32"].records[0]
    assert answer == Released("10.0.0.1", "eni-1", 2, 3, 1)
    assert (record.sandbox, record.pod, record.assigned_at, record.released_at) == (None, Pod(), EPOCH, bench.now)
    assert (bench.stats.assigned, bench.stats.cooling) == (0, 1)


@pytest.mark.spec("DM-27", "DM-7", "RPC-44")
@pytest.mark.parametrize(("asked", "reported"), [(0, 1), (1, 1), (2, 2)])
def test_the_interface_count_comes_back_and_none_counts_as_one(asked: int, reported: int) -> None:
    """What ADD was told; 0, as old entries have it, is reported as 1."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32")
    bench.tell(AddNetwork(sandbox("one"), Pod("ns", "name", asked)))

    assert bench.released("one").interfaces == reported


@pytest.mark.spec("DM-25", "RPC-46")
def test_an_unknown_sandbox_is_said_to_be_unknown() -> None:
    """No event; a second DEL of the same sandbox is the same."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32")
    bench.granted("one")
    bench.released("one")
    seq = bench.state.seq

    assert bench.delete("one") == UnknownPod(sandbox("one"))
    assert bench.delete("never") == UnknownPod(sandbox("never"))
    assert bench.state.seq == seq


@pytest.mark.spec("DM-25", "DM-66")
def test_an_entry_from_before_cni_keys_is_found_by_its_container() -> None:
    """Network `_migrated-from-cri`, interface `unknown`, the same container."""
    bench = Bench()
    bench.eni("eni-1", 1, "10.0.0.1/32")
    bench.tell(AddNetwork(Sandbox(MIGRATED_NETWORK, "old", MIGRATED_INTERFACE)))

    assert (MIGRATED_NETWORK, MIGRATED_INTERFACE) == ("_migrated-from-cri", "unknown")
    assert bench.released("old").address == "10.0.0.1"
