"""IPv6 mode: one /80 an ENI, no warm pool, and its recovery (V6-1..10)."""

from __future__ import annotations

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core import leaks, pool_linux
from ipamd.core.calls import (
    AssignIpv6Addresses,
    AttachNetworkInterface,
    CreateNetworkInterface,
    LinksView,
    PrunePodRules,
    RefreshPodRules,
    SetUpEni,
    SetUpHost,
)
from ipamd.core.commands import Assigned
from ipamd.core.links import veth_suffix
from ipamd.core.plan import agenda, plan
from ipamd.core.settings import Quirks, Settings
from ipamd.core.types import ip6, ip6_text
from ipamd.ec2.answers import NetworkInterface
from ipamd.ec2.requests import AssignIpv6Addresses as Assign
from ipamd.ec2.requests import CreateNetworkInterface as Create
from ipamd.ec2.state import VpcSettings
from ipamd.ec2.vpc import apply, make_vpc, node_of, serve
from ipamd.sim.engine import EPOCH, Crashed

from .cards_world import TWO_CARDS
from .world import NODE, Bench, Lab, facts, pod, sandbox

V6 = Settings(ipv6=True, prefix_delegation=True)
EXCLUDED = {"kubernetes.io/role/cni": "0"}
SLASH_80 = 1 << 48


def lab_of(settings: Settings = V6, *, instance_type: str = "m5.large", lag_ms: int = 0) -> Lab:
    """A node in a VPC with IPv6."""
    lab = Lab(settings, instance_type=instance_type)
    shape = VpcSettings(metadata_lag=lag_ms * 1_000_000)
    lab.vpc = make_vpc(shape, instance_type=instance_type, subnet="10.0.0.0/24", now=EPOCH, ipv6=True)
    lab.node = node_of(lab.vpc)
    lab.engine = lab._process(EPOCH)
    return lab


def prefixes(lab: Lab) -> dict[str, list[str]]:
    """ENI -> its blocks in the store."""
    return {eni.eni: list(eni.blocks) for eni in lab.state.enis.values()}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("::", 0),
        ("::1", 1),
        ("2001:db8::", 0x20010DB8 << 96),
        ("2001:db8:0:1:1:1:1:1", 0x20010DB8_00000001_00010001_00010001),
        ("2001:db8::1:0:0:1", 0x20010DB8_00000000_00010000_00000001),
        ("2600:1f13:1:2:3::f", 0x26001F13_00010002_00030000_0000000F),
    ],
)
def test_ipv6_addresses_are_written_as_rfc_5952_says(text: str, value: int) -> None:
    """The first longest run of zeros is left out, a single zero is not."""
    assert ip6_text(value) == text
    assert ip6(text) == value


@pytest.mark.spec("TV-9", "DM-14", "DM-4")
def test_ipv6_blocks_count_by_their_size() -> None:
    """Two /80s, one gone, one forced away with its pod; unknown blocks and ENIs change nothing."""
    bench = Bench(V6)
    bench.eni("eni-1", 1, "2001:db8::/80")
    totals = [bench.stats.total]
    for event in (
        ev.CidrAdded("eni-1", "2001:db8:1::/80"),
        ev.CidrRemoved("eni-1", "2001:db8:1::/80", "resync"),
        ev.CidrRemoved("eni-1", "2001:db8:9999::/80", "resync"),
        ev.CidrRemoved("unknown", "2001:db8::/80", "resync"),
    ):
        bench.record(event)
        totals.append(bench.stats.total)

    answer = bench.granted("pod")
    bench.record(ev.CidrRemoved("eni-1", "2001:db8::/80", "resync", pods=1))

    assert totals == [SLASH_80, 2 * SLASH_80, SLASH_80, SLASH_80, SLASH_80]
    assert (answer.device, answer.address) == (1, "2001:db8::")
    assert (bench.stats.total, bench.cidrs("eni-1")) == (0, [])


@pytest.mark.spec("TV-10", "DM-34")
def test_figures_of_an_ipv6_node() -> None:
    """Nothing counts as cooling there."""
    bench = Bench(V6)
    bench.eni("eni-1", 1, "2001:db8::/80")
    bench.granted("a")
    bench.granted("b")
    bench.released("b")

    counted = bench.stats

    assert (counted.total, counted.prefixes, counted.assigned, counted.cooling) == (SLASH_80, 1, 1, 0)


@pytest.mark.spec("DM-23", "DM-18", "DM-30", "TV-65")
def test_ipv6_addresses_are_given_in_order_and_rest_after_use() -> None:
    """From the network address on; what cooled comes first, the same sandbox has its own again."""
    bench = Bench(V6)
    bench.eni("eni-1", 0, "2001:db8::/64", primary=True)

    first = [bench.granted(name) for name in ("a", "b", "c")]
    again = bench.granted("b")
    bench.released("b")
    cooling = bench.granted("d")
    bench.wait(31)
    cooled = bench.granted("e")

    assert [(answer.address, answer.device, answer.table) for answer in first] == [
        ("2001:db8::", 0, 254), ("2001:db8::1", 0, 254), ("2001:db8::2", 0, 254),
    ]  # fmt: skip
    assert again.repeated and again.address == "2001:db8::1"
    assert (cooling.address, cooled.address) == ("2001:db8::3", "2001:db8::1")


@pytest.mark.spec("DM-64", "DM-18")
def test_an_address_far_up_a_block_costs_no_more_than_another() -> None:
    """A recovered one may lie anywhere among the 2^48; the lowest free ones are given as ever."""
    bench = Bench(V6)
    bench.eni("eni-1", 0, "2001:db8::/80")
    far = ev.AddressAssigned("2001:db8::ffff:ffff:ffff", "eni-1", "2001:db8::/80", sandbox("far"))
    near = ev.AddressAssigned("2001:db8::1", "eni-1", "2001:db8::/80", sandbox("near"))

    bench.record(far)
    bench.record(near)
    given = [bench.granted(name).address for name in ("a", "b")]
    bench.record(ev.AddressReleased("2001:db8::ffff:ffff:ffff", "eni-1", "2001:db8::/80", stale=True))

    assert given == ["2001:db8::", "2001:db8::2"]
    assert len(bench.state.stores[0].owners) == 3


@pytest.mark.spec("V6-4", "EC2-26", "INIT-37")
def test_an_eni_without_a_prefix_is_given_one() -> None:
    """One /80, asked for once; a restart finds it and asks for none."""
    lab = lab_of().start().run(1)
    held = prefixes(lab)

    lab.restart(1).run(1)

    assert [len(blocks) for blocks in held.values()] == [1]
    assert all(block.endswith("/80") for blocks in held.values() for block in blocks)
    assert len(lab.calls(AssignIpv6Addresses)) == 1 and prefixes(lab) == held
    assert lab.vpc.enis[lab.primary].ipv6_prefixes == tuple(held[lab.primary])


@pytest.mark.spec("V6-4")
def test_of_several_prefixes_the_first_is_used() -> None:
    """The others stay attached."""
    lab = lab_of()
    serve(lab.vpc, Assign(lab.primary, prefix_count=3), EPOCH)

    lab.start().run(1)

    attached = lab.vpc.enis[lab.primary].ipv6_prefixes
    assert len(attached) == 3
    assert prefixes(lab) == {lab.primary: [attached[0]]} and lab.calls(AssignIpv6Addresses) == []


@pytest.mark.spec("V6-4", "INIT-34")
@pytest.mark.parametrize("effect", [False, True])
def test_a_prefix_whose_grant_was_lost_is_asked_for_once(effect: bool) -> None:
    """EC2 is asked what the ENI holds before it is asked for another."""
    lab = lab_of()
    lab.vpc.faults.lose_next("AssignIpv6Addresses", effect=effect)

    lab.start().run(60)

    assert len(lab.vpc.enis[lab.primary].ipv6_prefixes) == 1
    assert len(lab.calls(AssignIpv6Addresses)) == (1 if effect else 2)
    assert lab.state.phase == "ready"


@pytest.mark.spec("INIT-34", "INIT-38")
def test_an_eni_that_gets_no_prefix_is_given_up_after_six_tries() -> None:
    """It stays in the store without a block; start-up goes on, and pods are refused with the reason."""
    lab = lab_of()
    lab.vpc.faults.fail_next("AssignIpv6Addresses", "InternalError", times=99)

    lab.start().run(120)

    assert len(lab.calls(AssignIpv6Addresses)) == 6
    assert prefixes(lab) == {lab.primary: []} and lab.state.phase == "ready"
    assert lab.counted() == ["waitENIAttachedMaxRetryExceeded"]
    assert lab.refused("pod").reason == "api_error"


@pytest.mark.spec("POOL-14", "V6-5", "EC2-40", "V6-1")
def test_there_is_no_loop() -> None:
    """No scaling, no reconcile, no search for leaked ENIs, whatever the targets say; the watcher goes on."""
    lab = lab_of(msgspec.structs.replace(V6, warm_ip_target=5, minimum_ip_target=100)).start().run(1)
    lab.pods(40)
    mark = lab.mark()

    lab.run(4000)

    assert lab.all_calls(mark) == [] and lab.events(ev.Resynced) == []
    assert not leaks.enabled(lab.state)
    assert [due.lane for due in agenda(lab.state, lab.now)] == ["watch"]
    assert plan(lab.state, lab.now).calls == ()
    assert pool_linux.balance(lab.state, 0, lab.now).short == 0


@pytest.mark.spec("V6-6", "V6-7", "EC2-1", "EC2-14", "POOL-30")
def test_further_cards_get_an_eni_at_start() -> None:
    """With one IPv6 address, waited for in metadata, and a /80 of its own; then no more."""
    lab = lab_of(msgspec.structs.replace(V6, multi_nic=True), instance_type=TWO_CARDS, lag_ms=1500).start().run(30)

    (created,) = lab.calls(CreateNetworkInterface)
    (attached,) = lab.calls(AttachNetworkInterface)
    assert (created.ipv6_addresses, created.secondary_ips, created.prefixes) == (1, -1, -1)
    assert attached.card == 1
    assert [(eni.card, eni.table, len(eni.blocks)) for eni in lab.state.enis.values()] == [(0, 254, 1), (1, 10100, 1)]
    (set_up,) = lab.calls(SetUpEni)
    assert ":" in set_up.primary_ip and set_up.subnet_cidr.endswith("/64")


@pytest.mark.spec("V6-6")
def test_a_card_whose_eni_cannot_be_made_is_left_empty() -> None:
    """The node is ready all the same."""
    lab = lab_of(msgspec.structs.replace(V6, multi_nic=True), instance_type=TWO_CARDS)
    lab.vpc.faults.fail_next("CreateNetworkInterface", "InternalError", times=9)

    lab.start().run(30)

    assert lab.state.phase == "ready" and len(lab.state.enis) == 1
    assert "increaseIPPoolAllocENI" in lab.counted()


@pytest.mark.spec("V6-3", "INIT-23", "POOL-47")
def test_a_node_in_an_excluded_subnet_serves_from_an_eni_of_another() -> None:
    """The primary ENI is not in the store at all."""
    lab = lab_of()
    other = lab.subnet("10.0.1.0/24", {"kubernetes.io/role/cni": "1"})
    lab.tag_subnet(lab.node.subnet, EXCLUDED)

    lab.start().run(30)

    (eni,) = lab.state.enis.values()
    assert (eni.subnet, eni.card, eni.excluded, len(eni.blocks)) == (other, 0, False, 1)
    assert isinstance(lab.pod("pod"), Assigned)


@pytest.mark.spec("INIT-23")
def test_without_an_eni_that_may_serve_the_start_fails() -> None:
    """No subnet may carry another one."""
    lab = lab_of()
    lab.tag_subnet(lab.node.subnet, EXCLUDED)

    with pytest.raises(Crashed, match="allocate"):
        lab.start().run(30)


@pytest.mark.spec("INIT-23")
def test_subnets_that_cannot_be_described_are_fatal() -> None:
    """But for a missing permission, which leaves nobody excluded (POOL-44)."""
    lab = lab_of()
    lab.vpc.faults.fail_next("DescribeSubnets", "InternalError")
    allowed = lab_of()
    allowed.vpc.faults.fail_next("DescribeSubnets", "UnauthorizedOperation")

    allowed.start().run(1)

    assert allowed.state.phase == "ready" and len(allowed.state.enis) == 1
    with pytest.raises(Crashed, match="subnets"):
        lab.start().run(1)


@pytest.mark.spec("INIT-23", "DM-64")
@pytest.mark.parametrize("strict", [False, True])
def test_pods_of_a_subnet_that_was_excluded_keep_their_addresses(strict: bool) -> None:
    """Their ENI takes no new ones; upstream forgets them."""
    lab = lab_of(msgspec.structs.replace(V6, quirks=Quirks(restart_trusts_metadata=strict))).start().run(1)
    lab.pod("old")
    lab.subnet("10.0.1.0/24", {"kubernetes.io/role/cni": "1"})
    lab.tag_subnet(lab.node.subnet, EXCLUDED)

    lab.restart(1).run(30)
    new = lab.pod("new")

    assert (lab.primary in lab.state.enis) is not strict
    assert new.eni != lab.primary and sum(eni.assigned for eni in lab.state.enis.values()) == (1 if strict else 2)


@pytest.mark.spec("V6-10", "INIT-29", "DM-62", "DM-63")
def test_recovered_pods_keep_their_addresses_and_no_rule_is_refreshed() -> None:
    """A pod whose veth is gone is dropped, and its address is free at once."""
    lab = lab_of().start().run(1)
    kept, gone = lab.pods(2)
    lab.links = LinksView((f"eni{veth_suffix(pod('pod-0'))}",))
    before = facts(lab.state)
    lab.die()
    assert facts(lab.state) == before

    lab.restart(1).run(1)

    assert lab.calls(RefreshPodRules) == []
    assert [call.address for call in lab.calls(PrunePodRules)] == [gone.address]
    assert lab.pod("pod-0").repeated and lab.pod("later").address == gone.address
    assert ip6(gone.address) == ip6(kept.address) + 1


@pytest.mark.spec("INIT-17", "V6-9", "NETW-2")
def test_the_host_is_set_up_with_the_nodes_ipv6_address() -> None:
    """And the VPC's IPv6 blocks."""
    lab = lab_of().start().run(1)

    (call,) = lab.calls(SetUpHost)
    assert call.primary_ip == lab.node.primary_ip6 and call.vpc_cidrs == (lab.vpc.row.ipv6_cidr,)
    assert lab.state.vpc_cidrs == (lab.vpc.row.ipv6_cidr,)


@pytest.mark.spec("V6-8", "V6-2", "V6-5")
def test_a_trunk_is_looked_for_until_it_is_there() -> None:
    """With security groups for pods; it gets no prefix, other blocks are left alone, and then the loop ends."""
    lab = lab_of(msgspec.structs.replace(V6, pod_eni=True)).start().run(20)
    before = prefixes(lab)
    made = serve(lab.vpc, Create(lab.node.subnet, interface_type="trunk", ipv6_address_count=1), lab.now).answer
    assert isinstance(made, NetworkInterface)
    apply(lab.vpc, AttachNetworkInterface(made.eni, 3), lab.now)

    lab.run(20)
    mark = lab.mark()
    lab.run(100)

    assert lab.state.enis[made.eni].trunk and lab.state.enis[made.eni].blocks == {}
    assert prefixes(lab)[lab.primary] == before[lab.primary]
    assert lab.events(ev.WorkMoved, mark) == []


@pytest.mark.spec("DM-51", "V6-2")
def test_the_primary_eni_is_managed_whatever_its_tags_say() -> None:
    """In IPv6 mode the tests of DM-51 are not applied to it."""
    lab = lab_of()
    row = lab.vpc.enis[lab.primary]
    tags = {"node.k8s.amazonaws.com/no_manage": "true"}
    lab.vpc.install((msgspec.structs.replace(row, tags=tags),), lab.now)

    lab.start().run(1)

    assert list(lab.state.enis) == [lab.primary] and lab.state.unmanaged == ()


@pytest.mark.spec("DM-16", "DM-64")
def test_another_family_begins_with_nothing() -> None:
    """Pods of the family before are dropped with its blocks, as upstream does not find their addresses."""
    lab = lab_of(Settings(warm_ip_target=1)).start().run(10)
    lab.pod("v4")

    lab.restart(1, V6).run(10)
    answer = lab.pod("v6")

    assert ":" in answer.address
    assert all(block.wide for eni in lab.state.enis.values() for block in eni.blocks.values())


def test_the_node_used_here_has_an_ipv6_address() -> None:
    """So that the tests above are about IPv6 and not about its absence."""
    assert lab_of().node.primary_ip6 and NODE.primary_ip6 == ""
