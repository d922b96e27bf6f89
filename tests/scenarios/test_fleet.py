"""Several nodes in one subnet and one time: scheduler, kubelet, drain, termination, and what they share."""

from __future__ import annotations

import pytest

from ipamd.core import invariants
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND
from ipamd.ec2.latency import Profile
from ipamd.ec2.state import Vpc, VpcSettings
from ipamd.sim import neighbours
from ipamd.sim.fleet import HOST_PODS, Fleet
from ipamd.sim.kubelet import RETRY
from ipamd.sim.neighbours import Refusal

PREFIXES = Settings(prefix_delegation=True, warm_prefix_target=1)
SINGLES = Settings(warm_ip_target=1)


def fleet(subnet: str = "10.0.0.0/24", latency: Profile = "none", seed: int = 1) -> Fleet:
    vpc = Vpc(VpcSettings(seed=seed))
    return Fleet(vpc, neighbours.make_subnet(vpc, subnet), latency=latency, seed=seed)


def holders(made: Fleet) -> list[str]:
    return [pod.address for node in made.nodes.values() for pod in node.pods.values() if pod.address]


def check_whole(made: Fleet) -> None:
    """What holds always: states without a contradiction, no address on two ENIs, none with two pods."""
    for node in made.nodes.values():
        invariants.check(node.engine.state)
    on_enis = [a for eni in made.vpc.enis.values() for a in (*eni.addresses, *eni.prefixes)]
    assert len(on_enis) == len(set(on_enis))
    held = holders(made)
    assert len(held) == len(set(held))


def test_pods_spread_over_the_nodes_with_the_fewest() -> None:
    """The one that joined first among equals; nobody beyond max-pods, host-network pods included."""
    made = fleet()
    made.join("a", "m5.large", PREFIXES, max_pods=HOST_PODS + 5)
    made.join("b", "m5.large", PREFIXES, max_pods=HOST_PODS + 2)
    made.settle()

    first = made.add_pods(3)
    more = made.add_pods(6)

    assert [pod.node for pod in first] == ["a", "b", "a"]
    assert [len(made.nodes[name].pods) for name in "ab"] == [5, 2]
    assert [pod.node for pod in more[-2:]] == ["", ""]
    assert len(made.pending) == 2
    check_whole(made)


def test_a_pod_that_ends_makes_room_for_one_that_waits() -> None:
    """Pending pods are placed in the order they came, as soon as there is room."""
    made = fleet()
    made.join("a", "m5.large", PREFIXES, max_pods=HOST_PODS + 1)
    made.settle()
    one, two, three = made.add_pods(3)

    made.delete_pods([one])

    assert (two.node, bool(two.address), three.node) == ("a", True, "")
    assert one.number not in made.pods


def test_pods_that_come_before_the_node_is_ready_are_placed_then() -> None:
    """Node init takes its time at EC2's latencies; nobody is placed on a node before."""
    made = fleet(latency="realistic")
    made.join("a", "m5.large", PREFIXES, max_pods=20)
    (pod,) = made.add_pods(1)
    assert (pod.node, made.nodes["a"].ready) == ("", False)

    made.settle()

    assert made.nodes["a"].ready
    assert pod.address
    assert made.nodes["a"].waits[0] > 0


def test_the_kubelet_asks_again_with_a_new_sandbox() -> None:
    """A t3.small has three addresses; the fourth pod asks every ten seconds until one is free."""
    made = fleet()
    made.join("a", "t3.small", Settings(warm_ip_target=1, max_eni=1, ip_cooldown_period=0), max_pods=20)
    made.settle()
    for _ in range(3):
        made.add_pods(1)
        made.settle()
    (late,) = made.add_pods(1)
    sandbox = late.sandbox
    began = made.now

    made.advance(began + 3 * RETRY)
    refused = late.attempt
    made.delete_pods([next(iter(made.pods.values()))])
    made.advance(made.now + 3 * RETRY)

    assert refused == 4
    assert late.sandbox != sandbox
    assert late.address
    check_whole(made)


def test_two_nodes_compete_for_the_last_block() -> None:
    """One VPC: what one node got the other does not, whoever asks first."""
    made = fleet("10.0.0.0/26")
    made.join("a", "m5.large", PREFIXES, max_pods=60)
    made.join("b", "m5.large", PREFIXES, max_pods=60)
    made.settle()

    made.add_pods(40)
    made.advance(made.now + 300 * SECOND)

    held = {name: len(made.nodes[name].engine.state.stores[0].owners) for name in "ab"}
    prefixes = sum(len(eni.prefixes) for eni in made.vpc.enis.values())
    assert prefixes == 2  # of four blocks EC2's own addresses break the first and the last
    assert sum(held.values()) == 32
    assert sum(not pod.address for pod in made.pods.values()) == 8
    check_whole(made)


def test_a_drained_node_takes_no_pod_until_it_is_uncordoned() -> None:
    """Its pods begin elsewhere; nobody comes back by himself."""
    made = fleet()
    for name in "ab":
        made.join(name, "m5.large", PREFIXES, max_pods=20)
    made.settle()
    made.add_pods(10)

    assert made.drain("a")
    assert [len(made.nodes[name].pods) for name in "ab"] == [0, 10]
    assert len(made.pods) == 10
    made.cordon("a", False)
    made.add_pods(4)

    assert [len(made.nodes[name].pods) for name in "ab"] == [4, 10]
    check_whole(made)


def test_a_budget_bounds_how_many_pods_are_down_at_once() -> None:
    """L-70: with single addresses each replacement waits for its address, so the budget makes the drain slower."""
    spans = []
    for budget in (1, 4, None):
        made = fleet(latency="realistic")
        for name in "ab":
            made.join(name, "m5.large", SINGLES, max_pods=29)
        made.settle()
        made.add_pods(12)
        made.advance(made.now + 120 * SECOND)
        began = made.now
        made.most_down = 0

        assert made.drain("a", budget)
        assert made.most_down == (budget or 6)
        spans.append(made.now - began)
        check_whole(made)

    assert spans[0] > spans[1] > spans[2] == 0


def test_a_drain_that_nobody_has_room_for_is_given_up() -> None:
    """One pod of the budget stays pending for ever, so no other one is evicted."""
    made = fleet()
    made.join("a", "m5.large", PREFIXES, max_pods=20)
    made.settle()
    made.add_pods(5)

    began = made.now
    assert not made.drain("a", 1, limit=600 * SECOND)

    assert made.now - began == 600 * SECOND
    assert len(made.nodes["a"].pods) == 4
    assert len(made.pending) == 1


def test_a_terminated_node_gives_everything_back() -> None:
    """Its ENIs and their addresses are free at once, it makes no more calls, and its pods begin elsewhere."""
    made = fleet()
    made.join("a", "t3.small", PREFIXES, max_pods=60)
    made.settle()
    free = made.vpc.spaces[made.subnet].free
    made.join("b", "t3.small", PREFIXES, max_pods=60)
    made.settle()
    made.add_pods(60)
    made.settle()
    requests = made.nodes["b"].engine.requests.total()

    made.terminate("b")
    made.advance(made.now + 300 * SECOND)

    assert len(made.vpc.enis) == len(made.vpc.attached[made.nodes["a"].engine.node.instance])
    grown = sum(eni.slots + 15 * len(eni.prefixes) for eni in made.vpc.enis.values())
    assert made.vpc.spaces[made.subnet].free == free + 1 + 16 - grown
    assert made.nodes["b"].engine.requests.total() == requests
    assert (len(made.pods), len(made.nodes["b"].pods)) == (60, 0)
    assert not any(pod.node == "b" for pod in made.pods.values())


def test_a_pinned_pod_ends_with_its_node() -> None:
    """Nothing else may run it, so nobody makes it anew."""
    made = fleet()
    for name in "ab":
        made.join(name, "m5.large", PREFIXES, max_pods=20)
    made.settle()
    made.add_pods(3, "a")
    made.add_pods(1)

    made.terminate("a")

    assert [pod.node for pod in made.pods.values()] == ["b"]


@pytest.mark.spec("INIT-20")
def test_a_daemon_whose_init_fails_is_started_again() -> None:
    """After 10 s, 20 s, 40 s and so on; pods wait for it meanwhile."""
    made = fleet()
    made.vpc.faults.fail_next("DescribeNetworkInterfaces", "UnauthorizedOperation", "denied", times=-1)
    node = made.join("a", "m5.large", PREFIXES, max_pods=20)
    (pod,) = made.add_pods(1)
    crashed = []
    for _ in range(100):
        made.advance(made.now + SECOND)
        crashed.append(node.crashes)
    assert (node.down, pod.node) == (True, "")
    made.vpc.faults.clear()

    made.advance(made.now + 300 * SECOND)

    delays = [crashed.index(n + 1) - crashed.index(n) for n in range(2, 4)]
    assert [round(delay, -1) for delay in delays] == [20, 40]
    assert (node.crashes, node.ready) == (4, True)
    assert pod.address


def test_pods_run_on_while_their_daemon_restarts() -> None:
    """Addresses are the same ones before and after."""
    made = fleet(latency="realistic")
    made.join("a", "m5.large", PREFIXES, max_pods=60)
    made.settle()
    made.add_pods(20)
    made.settle()
    before = holders(made)

    made.restart("a", Settings(prefix_delegation=True, warm_ip_target=2))
    (late,) = made.add_pods(1)
    assert not made.nodes["a"].ready
    made.settle()

    assert holders(made)[:20] == before
    assert late.address
    check_whole(made)


def test_one_seed_is_one_history_and_another_is_another() -> None:
    """Every record of every node, byte for byte."""
    histories = []
    for seed in (3, 3, 4):
        made = fleet(latency="realistic", seed=seed)
        for name in "abc":
            made.join(name, "t3.small", PREFIXES, max_pods=40)
        made.add_pods(70)
        made.advance(made.now + 200 * SECOND)
        made.drain("b", 3)
        made.settle()
        check_whole(made)
        histories.append([node.records for node in made.nodes.values()])

    assert histories[0] == histories[1]
    assert histories[0] != histories[2]


def test_neighbours_take_and_give() -> None:
    """Their addresses come out of the same subnet; what EC2 refuses them is told with its code."""
    made = fleet()
    vpc, subnet = made.vpc, made.subnet
    free = vpc.spaces[subnet].free

    neighbours.take_in_each_block(vpc, subnet, 2, made.now)
    assert (vpc.spaces[subnet].free, vpc.spaces[subnet].free_blocks) == (free - 32, 0)
    assert len(neighbours.taken(vpc, subnet)) == 32
    neighbours.give_back(vpc, subnet, 4, made.now)
    assert vpc.spaces[subnet].free == free - 28
    neighbours.give_back(vpc, subnet, None, made.now)

    assert (vpc.spaces[subnet].free, vpc.spaces[subnet].free_blocks) == (free, 14)
    with pytest.raises(Refusal, match="CreateNetworkInterface: InvalidParameterValue"):
        neighbours.take(vpc, subnet, "10.9.9.9", made.now)


def test_neighbours_keep_out_of_what_is_reserved() -> None:
    """W-52: nothing but prefixes comes out of a reservation for prefixes."""
    made = fleet()
    neighbours.reserve(made.vpc, made.subnet, "10.0.0.64/26", "prefix", made.now)

    neighbours.take_in_each_block(made.vpc, made.subnet, 1, made.now)

    taken = [eni.addresses[0] for eni in made.vpc.enis.values()]
    assert len(taken) == 12
    assert not any(64 <= int(address.rsplit(".", 1)[1]) < 128 for address in taken)
    with pytest.raises(Refusal, match="CreateSubnetCidrReservation"):
        neighbours.reserve(made.vpc, made.subnet, "10.0.0.0/24", "prefix", made.now)
