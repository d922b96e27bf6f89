"""Creating an ENI: the request, the order of calls, the subnet (POOL-30, POOL-43..POOL-52, EC2-1..EC2-10)."""

from __future__ import annotations

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core.calls import (
    AttachNetworkInterface,
    CreateNetworkInterface,
    Ec2Call,
    ModifyNetworkInterfaceAttribute,
    SetUpEni,
    Subnet,
)
from ipamd.core.moments import rfc3339
from ipamd.core.settings import Settings
from ipamd.core.subnets import candidates, excluded, valid_for_creation
from ipamd.core.types import ConnectionTracking
from ipamd.ec2 import answers, requests
from ipamd.ec2.latency import Profile
from ipamd.ec2.vpc import serve
from ipamd.sim.engine import EPOCH

from .world import Bench, Lab

SINGLE = Settings(warm_ip_target=1, ip_cooldown_period=0)
PREFIXES = Settings(prefix_delegation=True, warm_prefix_target=1, ip_cooldown_period=0)
CREATE = "CreateNetworkInterface"
CREATED_AT = "node.k8s.amazonaws.com/createdAt"


def full(settings: Settings = SINGLE, latency: Profile = "none") -> Lab:
    """A t3.small whose primary ENI is full, so that the next pod needs a new ENI."""
    lab = Lab(settings, latency=latency).start().run(20)
    lab.pods(2, 10)
    assert len(lab.state.enis) == 1
    return lab


def grown(lab: Lab, seconds: float = 10) -> int:
    """One more pod, and the time it takes; where the records of it begin."""
    mark = lab.mark()
    lab.pod("new", seconds)
    return mark


def ec2(lab: Lab, since: int) -> list[str]:
    return [type(call).__name__ for call in lab.all_calls(since) if isinstance(call, Ec2Call)]


# ---- the request --------------------------------------------------------------------------------------------


@pytest.mark.spec("EC2-1", "POOL-30")
@pytest.mark.parametrize(
    ("settings", "pods", "secondary_ips", "prefixes"),
    [(SINGLE, 3, 1, -1), (Settings(warm_eni_target=1), 1, 3, -1), (PREFIXES, 33, -1, 1)],
)
def test_one_kind_of_count_is_sent(settings: Settings, pods: int, secondary_ips: int, prefixes: int) -> None:
    """What is short in addresses, a whole ENI's worth without targets, or prefixes."""
    lab = Lab(settings).start().run(10)
    lab.pods(pods, 10)

    (call,) = lab.calls(CreateNetworkInterface)
    assert (call.secondary_ips, call.prefixes) == (secondary_ips, prefixes)


@pytest.mark.spec("EC2-34", "TV-79")
@pytest.mark.parametrize(
    ("primary", "copied"),
    [
        (None, None),
        (ConnectionTracking(), None),
        (ConnectionTracking(350, 120, 45), ConnectionTracking(350, 120, 45)),
        (ConnectionTracking(tcp_established=350), ConnectionTracking(tcp_established=350)),
    ],
)
def test_a_new_eni_tracks_connections_as_the_primary_one(
    primary: ConnectionTracking | None, copied: ConnectionTracking | None
) -> None:
    """Only the timeouts that are set, as they were at the last describe-all; also after a restart."""
    lab = Lab(SINGLE, latency="none")
    if primary is not None:
        changed = requests.ModifyNetworkInterfaceAttribute(lab.primary, tracking=primary)
        assert serve(lab.vpc, changed, EPOCH).answer == answers.Done()
    lab.start().run(20)
    lab.pods(3, 10)
    lab.die()
    lab.restart().run(10)
    lab.pods(3, 20, "more")

    made = lab.calls(CreateNetworkInterface)
    assert len(made) >= 2 and {call.tracking for call in made} == {copied}


@pytest.mark.spec("EC2-34")
def test_connection_tracking_that_changes_is_seen_at_the_next_describe_all() -> None:
    """A reconcile that meets a strange ENI describes all; until then new ENIs get what was known."""
    lab = Lab(SINGLE, latency="none").start().run(20)
    changed = requests.ModifyNetworkInterfaceAttribute(lab.primary, tracking=ConnectionTracking(udp=45))
    assert serve(lab.vpc, changed, lab.now).answer == answers.Done()
    lab.foreign()
    lab.run(140)

    assert lab.state.tracking == ConnectionTracking(udp=45)
    assert [event.tracking for event in lab.events(ev.ConnectionTrackingSeen)] == [ConnectionTracking(udp=45)]


@pytest.mark.spec("EC2-2")
def test_no_more_is_asked_for_than_an_eni_holds() -> None:
    """The count is capped at L; the rest comes with the next ENI."""
    lab = Lab(Settings(warm_ip_target=8)).start().run(30)

    assert [call.secondary_ips for call in lab.calls(CreateNetworkInterface)] == [3, 2]
    assert lab.shape() == [(3, 0), (3, 0), (2, 0)]


@pytest.mark.spec("EC2-1", "EC2-3", "TV-76")
def test_the_description_and_the_tags_say_whose_it_is() -> None:
    """Description, instance id, creation time, cluster name and owner, extra tags over all."""
    extra = {"team": "net", "eks:eni:owner": "us"}
    lab = full(msgspec.structs.replace(SINGLE, cluster_name="blue", additional_eni_tags=extra))
    mark = grown(lab)

    (call,) = lab.calls(CreateNetworkInterface, mark)
    tags = {key: value for key, value in call.tags.items() if key not in ("ipamd-emulator/token", CREATED_AT)}
    assert call.description == f"aws-K8S-{lab.node.instance}"
    assert call.subnet == lab.node.subnet
    assert tags == {
        "cluster.k8s.amazonaws.com/name": "blue", "eks:eni:owner": "us",
        "node.k8s.amazonaws.com/instance_id": lab.node.instance, "team": "net",
    }  # fmt: skip
    assert call.tags[CREATED_AT].startswith("2026-01-01T00:00:") and call.tags[CREATED_AT].endswith("Z")
    assert list(call.tags) == sorted(call.tags)


@pytest.mark.spec("EC2-3")
@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (0, "1970-01-01T00:00:00Z"), (951_782_400, "2000-02-29T00:00:00Z"), (4_107_542_399, "2100-02-28T23:59:59Z"),
        (1_787_307_300, "2026-08-21T10:15:00Z"), (EPOCH // 10**9, "2026-01-01T00:00:00Z"),
    ],
)  # fmt: skip
def test_an_instant_is_written_as_rfc_3339(instant: int, text: str) -> None:
    """UTC, whole seconds."""
    assert rfc3339(instant * 10**9) == text


@pytest.mark.spec("EC2-3")
def test_without_a_cluster_name_there_is_no_cluster_tag() -> None:
    """Only the instance id and the creation time."""
    lab = full()
    mark = grown(lab)

    (call,) = lab.calls(CreateNetworkInterface, mark)
    assert "cluster.k8s.amazonaws.com/name" not in call.tags and "eks:eni:owner" not in call.tags


@pytest.mark.spec("EC2-1", "POOL-52")
def test_the_cached_groups_are_sent_sorted() -> None:
    """Those of the primary ENI, ascending."""
    lab = Lab(SINGLE)
    row = lab.vpc.enis[lab.primary]
    lab.vpc.install((msgspec.structs.replace(row, security_groups=("sg-9", "sg-1", "sg-5")),), lab.now)
    lab.start().run(10)
    lab.pods(3, 10)

    assert lab.calls(CreateNetworkInterface)[0].security_groups == ("sg-1", "sg-5", "sg-9")


@pytest.mark.spec("EC2-10", "POOL-30")
def test_the_calls_come_in_order() -> None:
    """Create, index, attach, delete-on-termination, wait, host set-up; then it is in the store."""
    lab = full()
    mark = grown(lab)

    (eni,) = lab.others
    assert [type(call).__name__ for call in lab.all_calls(mark)] == [
        CREATE, "AttachNetworkInterface", "ModifyNetworkInterfaceAttribute", "SetUpEni",
    ]  # fmt: skip
    (modify,) = lab.calls(ModifyNetworkInterfaceAttribute, mark)
    (host,) = lab.calls(SetUpEni, mark)
    assert lab.calls(AttachNetworkInterface, mark) == [AttachNetworkInterface(eni, 1, 0)]
    assert modify.delete_on_termination and lab.vpc.enis[eni].delete_on_termination
    assert (host.eni, host.device, host.table, host.subnet_cidr) == (eni, 1, 2, "10.0.0.0/24")
    assert not lab.state.pending and lab.leaks() == []
    assert lab.engine.requests["DescribeSubnets"] == 3 and lab.engine.requests["DescribeInstances"] == 1


@pytest.mark.spec("DM-3", "INIT-37")
def test_an_eni_ages_from_when_it_is_ready() -> None:
    """The record that brings it into the store is its birth."""
    lab = full(latency="realistic")
    mark = grown(lab, 60)

    (record,) = [r for r in lab.records[mark:] for e in r.events if isinstance(e, ev.EniReady)]
    assert lab.state.enis[lab.others[0]].ready_at == record.at
    assert record.at > lab.records[mark].at


# ---- which subnet -------------------------------------------------------------------------------------------


def tags(role: str | None, cluster: str = "") -> dict[str, str]:
    found = {} if role is None else {"kubernetes.io/role/cni": role}
    return found | ({f"cni.networking.k8s.aws/cluster/{cluster}": "shared"} if cluster else {})


@pytest.mark.spec("POOL-45", "TV-78")
@pytest.mark.parametrize(
    ("primary", "role", "cluster", "name", "valid"),
    [
        (True, None, "", "", True), (True, "", "", "", True), (True, "0", "", "", False), (True, "1", "", "", True),
        (False, None, "", "", False), (False, "0", "", "", False), (False, "1", "", "", True),
        (False, "true", "", "", True), (False, "1", "blue", "blue", True), (False, "1", "red", "blue", False),
        (False, "1", "red", "", True), (False, "1", "", "blue", True), (True, None, "red", "blue", True),
        (True, "1", "red", "blue", False),
    ],
)  # fmt: skip
def test_which_subnets_may_carry_a_new_eni(
    primary: bool, role: str | None, cluster: str, name: str, valid: bool
) -> None:
    """The role tag first, then the cluster rule, which an untagged primary subnet is spared."""
    bench = Bench(Settings(cluster_name=name))
    subnet = Subnet("subnet-1" if primary else "subnet-2", "10.0.0.0/24", 10, tags=tags(role, cluster))

    assert valid_for_creation(bench.state, subnet) is valid


@pytest.mark.spec("POOL-46")
@pytest.mark.parametrize(
    ("role", "cluster", "name", "out"),
    [
        (None, "", "", False), ("", "", "", False), ("0", "", "", True), ("1", "", "", False),
        ("1", "blue", "blue", False), ("1", "red", "blue", True), ("1", "red", "", False), (None, "red", "blue", False),
    ],
)  # fmt: skip
def test_which_subnets_exclude_their_enis(role: str | None, cluster: str, name: str, out: bool) -> None:
    """ "0" excludes, another value leaves it to the cluster rule, no tag never does."""
    bench = Bench(Settings(cluster_name=name))

    seen = excluded(bench.state, (Subnet("subnet-1", "10.0.0.0/24", 10, tags=tags(role, cluster)),))

    assert seen == (("subnet-1",) if out else ())


@pytest.mark.spec("POOL-43")
def test_the_subnet_with_most_free_addresses_comes_first() -> None:
    """Descending, equals in EC2's order, invalid ones left out."""
    bench = Bench()
    subnets = tuple(
        Subnet(name, "10.0.0.0/24", free, tags=tags(role))
        for name, free, role in [("a", 5, "1"), ("b", 9, "1"), ("c", 99, None), ("subnet-1", 9, None), ("d", 7, "0")]
    )

    assert candidates(bench.state, subnets) == ("b", "subnet-1", "a")


@pytest.mark.spec("POOL-43")
def test_subnets_are_tried_until_one_gives() -> None:
    """Each try has a token of its own; the ENI lies where it was made."""
    lab = full()
    larger = lab.subnet("10.0.4.0/22", tags("1"))
    other = lab.subnet("10.0.8.0/23", tags("1"))
    lab.vpc.faults.fail_next(CREATE, "InsufficientFreeAddressesInSubnet", times=1)
    mark = grown(lab)

    tried = lab.calls(CreateNetworkInterface, mark)
    assert [call.subnet for call in tried] == [larger, other]
    assert len({call.token for call in tried}) == 2
    assert lab.state.enis[lab.others[0]].subnet == other
    assert lab.counted(mark) == [] and not lab.state.exhausted_at


@pytest.mark.spec("POOL-43", "POOL-30")
def test_when_all_subnets_fail_the_last_error_counts() -> None:
    """An insufficient one starts the 120 s pause and is counted twice."""
    lab = full()
    lab.subnet("10.0.4.0/22", tags("1"))
    lab.vpc.faults.fail_next(CREATE, "InternalError")
    lab.vpc.faults.fail_next(CREATE, "InsufficientFreeAddressesInSubnet")
    mark = grown(lab)

    assert lab.counted(mark) == ["increaseIPPoolAllocENI", "increaseIPPoolAllocIPAddressesFailed"]
    assert lab.state.exhausted_at and len(lab.calls(CreateNetworkInterface, mark)) == 2


@pytest.mark.spec("POOL-30", "EC2-4")
def test_the_address_limit_is_an_ordinary_error_at_creation() -> None:
    """No re-read, no smaller count, no pause."""
    lab = full()
    lab.vpc.faults.fail_next(CREATE, "PrivateIpAddressLimitExceeded")
    mark = grown(lab, 3)

    assert lab.counted(mark) == ["increaseIPPoolAllocENI"]
    assert not lab.state.exhausted_at and ec2(lab, mark) == [CREATE]


@pytest.mark.spec("POOL-43", "POOL-50")
@pytest.mark.parametrize("discovery", [True, False])
def test_no_valid_subnet_is_an_error(discovery: bool) -> None:
    """Nothing is created where every subnet, or without discovery the primary one, is tagged 0."""
    lab = full(msgspec.structs.replace(SINGLE, subnet_discovery=discovery))
    lab.tag_subnet(lab.node.subnet, tags("0"))
    mark = grown(lab, 3)

    (event,) = [event for event in lab.events(ev.ErrorCounted, mark) if event.counter]
    assert event.fn == "increaseIPPoolAllocENI"
    wanted = "no valid subnets" if discovery else "primary subnet is tagged with kubernetes.io/role/cni=0"
    assert wanted in event.message
    assert ec2(lab, mark) == []


@pytest.mark.spec("POOL-44", "POOL-50")
@pytest.mark.parametrize("discovery", [True, False])
def test_without_describe_subnets_the_primary_subnet_is_used(discovery: bool) -> None:
    """The failing check is only logged; with discovery off it never chose."""
    lab = full(msgspec.structs.replace(SINGLE, subnet_discovery=discovery))
    lab.subnet("10.0.4.0/22", tags("1"))
    lab.vpc.faults.fail_next("DescribeSubnets", "UnauthorizedOperation")
    mark = grown(lab)

    assert [call.subnet for call in lab.calls(CreateNetworkInterface, mark)] == [lab.node.subnet]
    assert len(lab.state.enis) == 2 and lab.counted(mark) == []


@pytest.mark.spec("POOL-50")
def test_without_discovery_other_subnets_are_not_used() -> None:
    """The primary subnet only, however full it is."""
    lab = full(msgspec.structs.replace(SINGLE, subnet_discovery=False))
    lab.subnet("10.0.4.0/22", tags("1"))
    lab.vpc.faults.fail_next(CREATE, "InsufficientFreeAddressesInSubnet")
    mark = grown(lab)

    assert [call.subnet for call in lab.calls(CreateNetworkInterface, mark)] == [lab.node.subnet]
    assert lab.state.exhausted_at
