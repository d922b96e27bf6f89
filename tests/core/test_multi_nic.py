"""AddNetwork and DelNetwork over several network cards (RPC-29..33, RPC-40, RPC-44, RPC-46, RPC-56, RPC-57)."""

from __future__ import annotations

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core.commands import AddNetwork, Answer, Assigned, DelNetwork, Hollow, Refused, Released, UnknownPod
from ipamd.core.settings import Quirks, Settings

from .world import NODE, Bench, pod, sandbox

THREE_CARDS = msgspec.structs.replace(NODE, cards=(4, 4, 4))
MULTI = Settings(multi_nic=True)


def bench_of(
    blocks: dict[int, tuple[str, ...]], *, settings: Settings = MULTI, cards: tuple[int, ...] | None = None
) -> Bench:
    """A node with one ENI on each card, which holds these addresses."""
    bench = Bench(settings, THREE_CARDS)
    bench.record(ev.CardsManaged(cards or tuple(blocks)))
    for card, cidrs in blocks.items():
        table = 10000 + 100 * card + 1 if card else 254
        primary_ip = f"10.255.{card}.1"
        ready = ev.EniReady(
            f"eni-{card}", f"02:00:00:00:00:0{card}", card and 1, table, "s", "10.0.0.0/8", primary_ip, card=card
        )
        bench.record(ready, *[ev.CidrAdded(f"eni-{card}", cidr) for cidr in cidrs])
    return bench


def add(bench: Bench, name: str, multi_nic: bool = True) -> Answer:
    return bench.tell(AddNetwork(sandbox(name), pod(name), multi_nic))


def delete(bench: Bench, name: str) -> Answer:
    return bench.tell(DelNetwork(sandbox(name), "PodDeleted"))


def strict(bench_settings: Settings = MULTI) -> Settings:
    return msgspec.structs.replace(bench_settings, quirks=Quirks(last_store_by_index=True))


@pytest.mark.spec("RPC-29", "RPC-31", "RPC-34", "DM-20")
def test_a_multi_nic_pod_gets_an_address_of_each_card() -> None:
    """In the order of the cards, each with its device and table; the count of interfaces is recorded."""
    bench = bench_of({0: ("10.0.0.1/32",), 1: ("10.0.1.1/32",)})

    answer = add(bench, "a")

    assert isinstance(answer, Assigned)
    assert (answer.address, answer.device, answer.table) == ("10.0.0.1", 0, 254)
    assert [(more.address, more.device, more.table) for more in answer.others] == [("10.0.1.1", 1, 10101)]
    assert [event.pod.interfaces for event in bench.events(ev.AddressAssigned)] == [2, 2]


@pytest.mark.spec("RPC-31", "DM-30")
def test_the_same_multi_nic_add_again_gives_the_same_addresses() -> None:
    """And no record."""
    bench = bench_of({0: ("10.0.0.0/32", "10.0.0.1/32"), 1: ("10.0.1.0/32", "10.0.1.1/32")})
    first = add(bench, "a")
    records = len(bench.records)

    again = add(bench, "a")

    assert isinstance(first, Assigned) and isinstance(again, Assigned)
    assert [again.address, *(more.address for more in again.others)] == ["10.0.0.0", "10.0.1.0"]
    assert again.repeated and len(bench.records) == records


@pytest.mark.spec("RPC-33", "RPC-32")
def test_what_a_multi_nic_pod_got_before_it_was_refused_stays_assigned() -> None:
    """The next attempt goes on from there."""
    bench = bench_of({0: ("10.0.0.1/32",), 1: ()})

    refused = add(bench, "a")
    bench.put("eni-1", "10.0.1.1/32")
    answer = add(bench, "a")

    assert isinstance(refused, Refused)
    assert isinstance(answer, Assigned) and [more.address for more in answer.others] == ["10.0.1.1"]
    assert [event.address for event in bench.events(ev.AddressAssigned)] == ["10.0.0.1", "10.0.1.1"]


@pytest.mark.spec("RPC-29", "TV-64")
def test_several_interfaces_are_refused_without_multi_nic() -> None:
    """The reason names the variable."""
    bench = bench_of({0: ("10.0.0.1/32",)}, settings=Settings())

    answer = add(bench, "a")

    assert isinstance(answer, Refused) and "ENABLE_MULTI_NIC" in answer.fact


@pytest.mark.spec("RPC-32", "TV-63")
def test_a_pod_of_one_interface_goes_to_the_next_card_when_one_is_exhausted() -> None:
    """The first card first; with all exhausted it is refused."""
    bench = bench_of({0: ("10.0.0.1/32",), 1: ("10.0.1.1/32",)})

    answers = [add(bench, name, multi_nic=False) for name in ("a", "b", "c")]

    assert [answer.address for answer in answers if isinstance(answer, Assigned)] == ["10.0.0.1", "10.0.1.1"]
    assert isinstance(answers[2], Refused)


@pytest.mark.spec("RPC-31", "DM-17", "DM-30")
@pytest.mark.parametrize(("per_store", "address"), [(False, "10.0.1.1"), (True, "10.0.0.2")])
def test_a_repeated_add_finds_the_address_on_whichever_card(per_store: bool, address: str) -> None:
    """Upstream asks the first card first, and gives a second address when that has one by now."""
    settings = msgspec.structs.replace(MULTI, quirks=Quirks(repeated_add_per_store=per_store))
    bench = bench_of({0: (), 1: ("10.0.1.1/32",)}, settings=settings)
    add(bench, "a", multi_nic=False)
    bench.put("eni-0", "10.0.0.2/32")

    again = add(bench, "a", multi_nic=False)

    assert isinstance(again, Assigned) and again.address == address
    assert again.repeated is not per_store


@pytest.mark.spec("RPC-40")
@pytest.mark.parametrize("index", [False, True])
def test_gaps_among_the_cards_do_not_hide_exhaustion(index: bool) -> None:
    """Upstream never meets its last store, and answers success without an address."""
    bench = bench_of({0: (), 2: ()}, settings=strict() if index else MULTI)

    answer = add(bench, "a", multi_nic=False)

    assert isinstance(answer, Hollow if index else Refused)


@pytest.mark.spec("RPC-44", "RPC-45", "DM-27")
def test_a_release_frees_as_many_as_the_pod_had() -> None:
    """Card by card, with the figures of each."""
    bench = bench_of({0: ("10.0.0.1/32",), 1: ("10.0.1.1/32",), 2: ("10.0.2.1/32",)})
    add(bench, "a")

    answer = delete(bench, "a")

    assert isinstance(answer, Released) and answer.interfaces == 3
    assert [answer.address, *(more.address for more in answer.others)] == ["10.0.0.1", "10.0.1.1", "10.0.2.1"]
    assert all(not store.owners for store in bench.state.stores.values())


@pytest.mark.spec("RPC-44", "RPC-46")
def test_a_release_finds_a_pod_of_one_interface_on_a_later_card() -> None:
    """The cards before do not know it."""
    bench = bench_of({0: (), 1: ("10.0.1.1/32",), 2: ("10.0.2.1/32",)})
    add(bench, "a", multi_nic=False)

    answer = delete(bench, "a")

    assert isinstance(answer, Released) and answer.address == "10.0.1.1" and answer.others == ()


@pytest.mark.spec("RPC-56")
def test_a_pod_that_the_last_card_does_not_know_is_unknown_but_freed() -> None:
    """Card 0 knows it with two interfaces, card 1 does not: card 0's address is free all the same."""
    bench = bench_of({0: ("10.0.0.1/32",), 1: ()})
    add(bench, "a")

    answer = delete(bench, "a")

    assert answer == UnknownPod(sandbox("a"))
    assert [event.address for event in bench.events(ev.AddressReleased)] == ["10.0.0.1"]


@pytest.mark.spec("RPC-57", "RPC-46")
@pytest.mark.parametrize(
    ("cards", "index", "answer"),
    [((0, 2), True, Hollow()), ((0, 2), False, UnknownPod(sandbox("x"))), ((0, 1), True, UnknownPod(sandbox("x")))],
)
def test_an_unknown_pod_is_unknown_with_gaps_among_the_cards_too(
    cards: tuple[int, ...], index: bool, answer: Answer
) -> None:
    """Upstream calls it a success where the last card's index is not the number of stores less one."""
    bench = bench_of(dict.fromkeys(cards, ()), settings=strict() if index else MULTI)

    assert delete(bench, "x") == answer
