"""Adding addresses or prefixes to ENIs that have room: fallback, re-read, exhaustion (POOL-22..29, EC2-20, EC2-21)."""

from __future__ import annotations

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core.calls import (
    ADDRESS_LIMIT_EXCEEDED,
    INSUFFICIENT_CIDR_BLOCKS,
    INSUFFICIENT_FREE_ADDRESSES,
    AssignPrivateIpAddresses,
    CreateNetworkInterface,
    Done,
    Failed,
    Granted,
    Succeeded,
    UnassignPrivateIpAddresses,
)
from ipamd.core.commands import Settle, Tick
from ipamd.core.fill import unassign_calls
from ipamd.core.settings import Settings
from ipamd.core.types import CallId
from ipamd.core.work import Grow
from ipamd.ec2.vpc import apply

from .world import NODE, Bench, Lab

ADDRESSES = Settings(warm_ip_target=1, ip_cooldown_period=0)
PREFIXES = Settings(prefix_delegation=True, warm_prefix_target=1, ip_cooldown_period=0)
ASSIGN = "AssignPrivateIpAddresses"


def ready(settings: Settings, instance_type: str = "c5.xlarge") -> Lab:
    """A settled node."""
    return Lab(settings, instance_type=instance_type).start().run(10)


def counts(lab: Lab, since: int) -> list[int]:
    """What each request asked for."""
    return [call.secondary_ips + call.prefixes for call in lab.calls(AssignPrivateIpAddresses, since)]


# ---- how much is asked for ----------------------------------------------------------------------------------


@pytest.mark.spec("POOL-22", "POOL-23", "EC2-20")
@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        (Settings(warm_ip_target=5), AssignPrivateIpAddresses("eni-0", secondary_ips=5)),
        (Settings(warm_ip_target=99), AssignPrivateIpAddresses("eni-0", secondary_ips=13)),
        (Settings(warm_eni_target=1), AssignPrivateIpAddresses("eni-0", secondary_ips=13)),
        (Settings(prefix_delegation=True, warm_prefix_target=3), AssignPrivateIpAddresses("eni-0", prefixes=3)),
        (Settings(prefix_delegation=True, warm_prefix_target=40), AssignPrivateIpAddresses("eni-0", prefixes=13)),
        (Settings(prefix_delegation=True, warm_ip_target=17), AssignPrivateIpAddresses("eni-0", prefixes=2)),
    ],
)
def test_what_is_wanted_is_asked_for_as_far_as_there_are_slots(
    settings: Settings, asked: AssignPrivateIpAddresses
) -> None:
    """A block of the other kind takes a slot too; the counts go by the mode."""
    other = "10.9.0.1/32" if settings.prefix_delegation else "10.9.0.0/28"
    bench = Bench(settings)
    bench.eni("eni-0", 0, other, primary=True)
    bench.wait(2.5)
    bench.tell(Tick())
    bench.tell(Tick())

    (started,) = bench.events(ev.CallStarted)
    assert started.call == asked


@pytest.mark.spec("POOL-21", "POOL-22")
def test_the_lowest_device_with_room_is_filled() -> None:
    """One ENI a cycle; a full one, a trunk and an excluded one are passed over."""
    bench = Bench(Settings(warm_ip_target=20), msgspec.structs.replace(NODE, ips_per_eni=3, enis_max=6))
    bench.eni("eni-0", 0, "10.0.0.1/32", "10.0.0.2/32", primary=True)
    bench.eni("eni-1", 1, trunk=True)
    bench.eni("eni-2", 2, excluded=True)
    bench.eni("eni-3", 3, "10.0.3.1/32")
    bench.eni("eni-4", 4)
    bench.wait(2.5)
    bench.tell(Tick())
    bench.tell(Tick())

    (started,) = bench.events(ev.CallStarted)
    assert started.call == AssignPrivateIpAddresses("eni-3", secondary_ips=1)


@pytest.mark.spec("POOL-29")
@pytest.mark.parametrize("settings", [ADDRESSES, PREFIXES])
def test_what_ec2_granted_comes_into_the_store_as_it_is(settings: Settings) -> None:
    """Addresses as /32, prefixes as /28, on the ENI that was asked."""
    lab = ready(settings)

    blocks = [cidr for eni in lab.state.enis.values() for cidr in eni.blocks]
    row = lab.vpc.enis[lab.primary]
    assert blocks == [*(f"{address}/32" for address in row.addresses[1:]), *row.prefixes]
    assert len(blocks) == 1


@pytest.mark.spec("POOL-29")
def test_a_partial_grant_is_accepted() -> None:
    """Fewer than asked for is what there is; the next cycle asks again."""
    bench = Bench(Settings(warm_ip_target=5))
    bench.eni("eni-0", 0, primary=True)
    bench.wait(2.5)
    bench.tell(Tick())
    bench.tell(Tick())
    bench.tell(Settle(CallId(1), Succeeded(Granted(("10.0.0.7", "10.0.0.8")))))

    assert bench.cidrs("eni-0") == ["10.0.0.7/32", "10.0.0.8/32"]
    assert bench.balance.short == 3
    assert [event.action for event in bench.events(ev.PoolActed)] == ["increase", "increased"]


@pytest.mark.spec("POOL-29")
@pytest.mark.parametrize(
    ("settings", "name"),
    [(ADDRESSES, "increaseIPPoolGetENIaddressesFailed"), (PREFIXES, "increaseIPPoolGetENIprefixedFailed")],
)
def test_an_empty_grant_counts_as_increased_and_as_an_error(settings: Settings, name: str) -> None:
    """No content and no error."""
    bench = Bench(settings)
    bench.eni("eni-0", 0, primary=True)
    bench.wait(2.5)
    bench.tell(Tick())
    bench.tell(Tick())
    bench.tell(Settle(CallId(1), Succeeded(Granted())))

    assert [event.fn for event in bench.events(ev.ErrorCounted)] == [name]
    assert [event.action for event in bench.events(ev.PoolActed)] == ["increase", "increased"]
    assert bench.state.last_pool_action == bench.now


# ---- failures -----------------------------------------------------------------------------------------------


@pytest.mark.spec("POOL-25")
def test_any_error_is_tried_once_more_with_one() -> None:
    """The same ENI with count 1; that success is an increase."""
    lab = Lab(Settings(warm_ip_target=4), instance_type="c5.xlarge")
    lab.vpc.faults.fail_next(ASSIGN, "InternalError")
    lab.start()

    assert counts(lab, 0)[:2] == [4, 1]
    assert lab.state.phase == "ready" and lab.shape() == [(1, 0)]
    assert lab.counted() == []


@pytest.mark.spec("POOL-27")
def test_the_second_error_is_counted_and_ends_the_attempt() -> None:
    """Other ENIs are not tried, the next cycle begins anew; nothing pauses."""
    lab = ready(ADDRESSES)
    lab.vpc.faults.fail_next(ASSIGN, "InternalError", times=2)
    mark = lab.mark()
    lab.pod("one", 3)
    first = counts(lab, mark)
    lab.run(5)

    assert first == [1, 1]
    assert lab.counted(mark) == ["increaseIPPoolAllocIPAddressesFailed"]
    assert counts(lab, mark) == [1, 1, 1] and lab.shape() == [(2, 1)]


@pytest.mark.spec("POOL-26")
@pytest.mark.parametrize("fault", ["limit", "lost", "limit on fallback"])
@pytest.mark.parametrize("settings", [ADDRESSES, PREFIXES])
def test_an_eni_that_holds_more_than_we_know_is_read_again(settings: Settings, fault: str) -> None:
    """After the limit error, or without an answer, EC2 says what is there; the cycle counts as increased."""
    lab = ready(settings)
    prefixes = int(settings.prefix_delegation)
    apply(lab.vpc, AssignPrivateIpAddresses(lab.primary, 1 - prefixes, prefixes), lab.now)
    if fault == "lost":
        lab.vpc.faults.lose_next(ASSIGN, effect=True)
    else:
        if fault == "limit on fallback":
            lab.vpc.faults.fail_next(ASSIGN, "InternalError")
        lab.vpc.faults.fail_next(ASSIGN, ADDRESS_LIMIT_EXCEEDED)
    mark = lab.mark()
    lab.pod("one", 3)

    assert lab.leaks() == []
    assert [event.action for event in lab.events(ev.PoolActed, mark)][:2] == ["increase", "increased"]
    assert lab.counted(mark) == []


@pytest.mark.spec("POOL-26")
def test_an_eni_that_cannot_be_read_again_ends_the_attempt() -> None:
    """The error of the read is the attempt's; the next cycle tries again."""
    lab = ready(ADDRESSES)
    lab.vpc.faults.fail_next(ASSIGN, ADDRESS_LIMIT_EXCEEDED)
    lab.vpc.faults.fail_next("DescribeNetworkInterfaces", "InternalError")
    mark = lab.mark()
    lab.pod("one", 3)
    first = [event.action for event in lab.events(ev.PoolActed, mark)]
    lab.run(10)

    assert first == ["increase"]
    assert lab.shape() == [(2, 1)] and lab.leaks() == []


@pytest.mark.spec("POOL-27", "POOL-21")
@pytest.mark.parametrize("code", [INSUFFICIENT_CIDR_BLOCKS, INSUFFICIENT_FREE_ADDRESSES])
def test_an_exhausted_subnet_makes_the_pool_try_its_other_enis_and_then_a_new_one(code: str) -> None:
    """With subnet discovery the next ENI may lie in another subnet; a new one certainly may."""
    lab = Lab(Settings(warm_ip_target=16), instance_type="c5.xlarge").start().run(30)
    lab.vpc.faults.fail_next(ASSIGN, code, times=2)
    mark = lab.mark()
    lab.pods(1, 10)

    asked = [(call.eni == lab.primary, call.secondary_ips) for call in lab.calls(AssignPrivateIpAddresses, mark)]
    assert lab.shape()[0] == (14, 1)
    assert asked == [(False, 1), (False, 1)]
    assert [call.secondary_ips for call in lab.calls(CreateNetworkInterface, mark)] == [1]
    assert lab.counted(mark) == ["increaseIPPoolAllocIPAddressesFailed"]
    assert not lab.events(ev.SubnetExhausted)


@pytest.mark.spec("POOL-27")
def test_the_next_eni_is_asked_for_all_that_is_wanted() -> None:
    """The walk goes on with the full count, and with its own fallback."""
    bench = Bench(Settings(warm_ip_target=5))
    bench.eni("eni-0", 0, primary=True)
    bench.eni("eni-1", 1)
    bench.wait(2.5)
    bench.tell(Tick())
    asked = []
    for call_id in (1, 2, 3, 4):
        bench.tell(Tick())
        asked.append(bench.events(ev.CallStarted)[-1].call)
        bench.tell(Settle(CallId(call_id), Failed(INSUFFICIENT_FREE_ADDRESSES, "full")))

    assert [(call.eni, call.secondary_ips) for call in asked if isinstance(call, AssignPrivateIpAddresses)] == [
        ("eni-0", 5), ("eni-0", 1), ("eni-1", 5), ("eni-1", 1),
    ]  # fmt: skip
    assert isinstance(bench.state.pool.work, Grow)


@pytest.mark.spec("POOL-28")
@pytest.mark.parametrize("code", [INSUFFICIENT_CIDR_BLOCKS, INSUFFICIENT_FREE_ADDRESSES])
def test_without_discovery_an_exhausted_subnet_pauses_the_pool(code: str) -> None:
    """The moment is remembered, the step ends without error and without a new ENI."""
    lab = ready(msgspec.structs.replace(ADDRESSES, subnet_discovery=False))
    lab.vpc.faults.fail_next(ASSIGN, code, times=2)
    mark = lab.mark()
    lab.pod("one", 10)

    assert [event.code for event in lab.events(ev.SubnetExhausted, mark)] == [code]
    assert lab.state.exhausted_at and not lab.calls(CreateNetworkInterface, mark)
    assert lab.refused("two").reason in ("fragmented", "subnet_full")


@pytest.mark.spec("POOL-28", "TV-44")
def test_other_errors_do_not_pause() -> None:
    """A throttled request is tried again in the next cycle."""
    lab = ready(ADDRESSES)
    lab.vpc.faults.fail_next(ASSIGN, "RequestLimitExceeded", times=2)
    lab.pod("one", 3)

    assert lab.state.exhausted_at == 0
    assert lab.refused("two").reason == "throttled"
    lab.run(5)
    assert lab.shape() == [(2, 1)]


@pytest.mark.spec("POOL-28")
def test_a_fragmented_subnet_is_told_apart_from_a_full_one() -> None:
    """A /27 has 26 free addresses and no free aligned block; the pod is told so."""
    lab = Lab(PREFIXES, subnet="10.0.0.0/27").start().run(10)

    assert {event.code for event in lab.events(ev.SubnetExhausted)} == {INSUFFICIENT_CIDR_BLOCKS}
    assert lab.refused("one").reason == "fragmented"


@pytest.mark.spec("POOL-22")
def test_an_eni_that_left_meanwhile_is_passed_over() -> None:
    """The queue goes on with the next one, or the step ends."""
    bench = Bench(Settings(warm_ip_target=5))
    bench.eni("eni-0", 0, primary=True)
    bench.eni("eni-1", 1)
    bench.wait(2.5)
    bench.tell(Tick())
    bench.record(ev.EniLeft("eni-0", "gone"))
    bench.tell(Tick())
    bench.tell(Tick())
    (started,) = bench.events(ev.CallStarted)

    assert started.call == AssignPrivateIpAddresses("eni-1", secondary_ips=5)


@pytest.mark.spec("EC2-21")
def test_unassign_takes_addresses_without_mask_and_prefixes_with_it() -> None:
    """One call a kind, none for an empty list."""
    bench = Bench()
    bench.eni("eni-0", 0)
    eni = bench.state.enis["eni-0"]

    assert unassign_calls(eni, []) == []
    assert unassign_calls(eni, ["10.0.0.1/32"]) == [UnassignPrivateIpAddresses("eni-0", addresses=("10.0.0.1",))]
    assert unassign_calls(eni, ["10.0.0.1/32", "10.0.0.16/28"]) == [
        UnassignPrivateIpAddresses("eni-0", prefixes=("10.0.0.16/28",)),
        UnassignPrivateIpAddresses("eni-0", addresses=("10.0.0.1",)),
    ]


@pytest.mark.spec("EC2-20")
def test_a_call_is_settled_once() -> None:
    """A second answer, or one of a call that nobody made, is not heard."""
    bench = Bench(Settings(warm_ip_target=1))
    bench.eni("eni-0", 0, primary=True)
    bench.wait(2.5)
    bench.tell(Tick())
    bench.tell(Tick())
    answer = Settle(CallId(1), Succeeded(Granted(("10.0.0.7",))))
    bench.tell(answer)
    seq = bench.state.seq

    bench.tell(answer)
    bench.tell(Settle(CallId(77), Succeeded(Done())))

    assert bench.state.seq == seq
