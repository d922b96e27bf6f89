"""Instance metadata that lags, throttling, latency, and faults on request."""

from __future__ import annotations

import msgspec
import pytest

from ipamd.core.calls import (
    AssignPrivateIpAddresses,
    AttachNetworkInterface,
    CreateTags,
    DescribeInstances,
    DescribeNetworkInterfaces,
    DescribeSubnets,
    DetachNetworkInterface,
    EnisView,
    Failed,
    FindNetworkInterfaces,
    Lost,
    MetadataView,
    ModifyNetworkInterfaceAttribute,
    ReadMetadata,
    Succeeded,
)
from ipamd.core.types import MS, SECOND
from ipamd.ec2.latency import METADATA_LAG, REALISTIC_MS, Latency
from ipamd.ec2.state import VpcSettings
from ipamd.ec2.throttle import Bucket
from ipamd.ec2.vpc import apply, associate_cidr, look, make_vpc
from tests.ec2.worlds import (
    attached,
    created,
    creation,
    described,
    done,
    granted,
    metadata,
    primary,
    refused,
)

LAG = 2 * SECOND


# ---- metadata -------------------------------------------------------------------------------------------------


@pytest.mark.spec("EC2-14")
def test_metadata_shows_a_change_after_its_lag() -> None:
    """EC2 tells the truth at once, instance metadata only when the lag has passed (EC2-14 waits for it)."""
    vpc = make_vpc(VpcSettings(metadata_lag=LAG))
    new = granted(vpc, primary(vpc), secondary_ips=1, now=10 * SECOND).addresses
    assert described(vpc, primary(vpc), 10 * SECOND).addresses == ("10.0.0.4", *new)
    assert metadata(vpc, 12 * SECOND - 1).enis[0].addresses == ("10.0.0.4",)
    assert metadata(vpc, 12 * SECOND).enis[0].addresses == ("10.0.0.4", *new)


def test_a_new_instance_is_seen_at_once() -> None:
    """An instance boots with its primary ENI: a read right after finds it, whatever the lag."""
    vpc = make_vpc(VpcSettings(metadata_lag=LAG), now=5 * SECOND)
    view = metadata(vpc, 5 * SECOND)
    assert [e.eni for e in view.enis] == [primary(vpc)]
    assert view.vpc_cidrs == ("10.0.0.0/16",) and view.security_groups == (vpc.row.default_group,)


@pytest.mark.spec("EC2-37")
def test_only_attached_enis_are_shown_in_order_of_card_and_device() -> None:
    """Unattached ENIs are not in metadata; the primary address comes first."""
    vpc = make_vpc(instance_type="m5.4xlarge")
    created(vpc)
    second, first = attached(vpc, 2), attached(vpc, 1, prefixes=1)
    shown = metadata(vpc).enis
    assert [(e.eni, e.device) for e in shown[1:]] == [(first.eni, 1), (second.eni, 2)]
    assert shown[1].addresses == (first.primary_ip,) and shown[1].prefixes == first.prefixes
    assert shown[1].subnet_cidr == "10.0.0.0/16"


@pytest.mark.spec("EC2-30")
def test_a_detached_eni_is_still_shown_for_the_lag() -> None:
    """Metadata may name an ENI that EC2 no longer has attached."""
    vpc = make_vpc(VpcSettings(metadata_lag=LAG))
    eni = attached(vpc, 1, now=0)
    done(vpc, DetachNetworkInterface(eni.eni, described(vpc, eni.eni).attachment), 10 * SECOND)
    assert len(metadata(vpc, 12 * SECOND - 1).enis) == 2
    assert len(metadata(vpc, 12 * SECOND).enis) == 1


def test_changes_inside_one_lag_are_seen_one_by_one() -> None:
    """Each change has its own time of becoming visible; the order is kept."""
    vpc = make_vpc(VpcSettings(metadata_lag=LAG))
    for second in (10, 11):
        granted(vpc, primary(vpc), secondary_ips=1, now=second * SECOND)
    seen = [len(metadata(vpc, now * SECOND).enis[0].addresses) for now in (11, 12, 13)]
    assert seen == [1, 2, 3]
    assert not vpc.settled(12 * SECOND) and vpc.settled(13 * SECOND)


@pytest.mark.spec("POOL-51")
def test_security_groups_and_cidrs_lag_too() -> None:
    """The groups of the primary ENI, and the VPC's CIDRs, arrive with the lag."""
    vpc = make_vpc(VpcSettings(metadata_lag=LAG))
    done(vpc, ModifyNetworkInterfaceAttribute(primary(vpc), security_groups=("sg-9",)), 10 * SECOND)
    associate_cidr(vpc, "100.64.0.0/16", now=10 * SECOND)
    early, late = metadata(vpc, 11 * SECOND), metadata(vpc, 12 * SECOND)
    assert (early.security_groups, len(early.vpc_cidrs)) == ((vpc.row.default_group,), 1)
    assert (late.security_groups, len(late.vpc_cidrs)) == (("sg-9",), 2)


def test_time_never_runs_back() -> None:
    """A clock that was set back is read as the newest change's instant."""
    vpc = make_vpc(now=100 * SECOND)
    granted(vpc, primary(vpc), secondary_ips=1, now=50 * SECOND)
    assert vpc.at == 100 * SECOND
    assert described(vpc, created(vpc, now=50 * SECOND).eni).created_at == 100 * SECOND
    assert len(metadata(vpc, 0).enis[0].addresses) == 2


# ---- throttling -----------------------------------------------------------------------------------------------


def test_token_bucket_empties_and_refills() -> None:
    """RequestLimitExceeded when the action's bucket is empty; a second later one more request goes through."""
    buckets = {"DescribeSubnets": Bucket(capacity=2, per_second=1.0)}
    vpc = make_vpc(VpcSettings(buckets=buckets))
    seen = [look(vpc, DescribeSubnets(), now) for now in (0, 0, 0, SECOND, SECOND)]
    codes = [s.code if isinstance(s, Failed) else "" for s in seen]
    assert codes == ["", "", "RequestLimitExceeded", "", "RequestLimitExceeded"]
    assert not isinstance(look(vpc, DescribeInstances(), 0), Failed)


def test_a_throttled_call_has_no_effect() -> None:
    """The subnet and the ENI stay as they were."""
    vpc = make_vpc(VpcSettings(buckets={"AssignPrivateIpAddresses": Bucket(1, 0.0)}))
    call = AssignPrivateIpAddresses(primary(vpc), 1)
    done(vpc, call)
    before = vpc.rows()
    assert refused(apply(vpc, call, 3600 * SECOND)) == "RequestLimitExceeded"
    assert vpc.rows() == before


def test_a_bucket_that_never_admits_is_refused() -> None:
    """A bucket needs room for one request."""
    with pytest.raises(ValueError, match="capacity >= 1"):
        make_vpc(VpcSettings(buckets={"CreateTags": Bucket(0, 1.0)}))


# ---- faults ---------------------------------------------------------------------------------------------------


def test_failures_on_request_have_no_effect() -> None:
    """`fail_next` refuses that many calls of that action and no other."""
    vpc = make_vpc()
    vpc.faults.fail_next("AssignPrivateIpAddresses", "UnauthorizedOperation", "no", times=2)
    call = AssignPrivateIpAddresses(primary(vpc), 1)
    assert [refused(apply(vpc, call, 0)) for _ in range(2)] == ["UnauthorizedOperation"] * 2
    assert isinstance(apply(vpc, CreateTags(primary(vpc), {"a": "1"}), 0), Succeeded)
    assert isinstance(apply(vpc, call, 0), Succeeded)
    assert len(described(vpc, primary(vpc)).addresses) == 2


@pytest.mark.parametrize(("effect", "enis"), [(True, 2), (False, 1)])
def test_a_lost_reply_with_and_without_effect(effect: bool, enis: int) -> None:
    """`lose_next`: the caller hears nothing; the ENI is there or not, and is found by its tags."""
    vpc = make_vpc()
    vpc.faults.lose_next("CreateNetworkInterface", effect=effect)
    call = creation(vpc, token="t-1")
    assert isinstance(apply(vpc, call, 0), Lost)
    assert len(vpc.enis) == enis
    found = look(vpc, FindNetworkInterfaces(call.tags), 0)
    assert isinstance(found, EnisView) and len(found.enis) == enis - 1
    assert isinstance(apply(vpc, call, 0), Succeeded) and len(vpc.enis) == 2


def test_a_lost_reply_to_a_refused_call_is_still_lost() -> None:
    """The caller cannot tell whether a lost call would have been refused."""
    vpc = make_vpc()
    vpc.faults.lose_next("AssignPrivateIpAddresses", effect=True)
    assert isinstance(apply(vpc, AssignPrivateIpAddresses("eni-0123", 1), 0), Lost)


def test_looks_fail_and_get_lost_too() -> None:
    """Looks are known by their own name; a search is also a DescribeNetworkInterfaces."""
    vpc = make_vpc()
    vpc.faults.fail_next("ReadMetadata", "", "HTTP 500")
    vpc.faults.lose_next("FindNetworkInterfaces", effect=False)
    vpc.faults.fail_next("DescribeNetworkInterfaces", "InternalError")
    assert look(vpc, ReadMetadata(), 0) == Failed("", "HTTP 500")
    assert isinstance(look(vpc, FindNetworkInterfaces({}), 0), Lost)
    assert look(vpc, FindNetworkInterfaces({}), 0) == Failed("InternalError", "injected")
    assert isinstance(look(vpc, DescribeNetworkInterfaces(()), 0), EnisView)


def test_metadata_shows_what_it_is_told_to() -> None:
    """A canned view, or a function of the true one, for so many reads."""
    vpc = make_vpc()
    vpc.faults.metadata_shows(MetadataView(), times=1)
    vpc.faults.metadata_shows(lambda true: msgspec.structs.replace(true, security_groups=("sg-x",)), times=2)
    seen = [metadata(vpc) for _ in range(4)]
    assert [len(view.enis) for view in seen] == [0, 1, 1, 1]
    assert [view.security_groups[0] == "sg-x" for view in seen[1:]] == [True, True, False]
    vpc.faults.metadata_shows(MetadataView())
    vpc.faults.clear()
    assert len(metadata(vpc).enis) == 1


# ---- latency --------------------------------------------------------------------------------------------------


def test_realistic_latency_stays_in_its_bounds() -> None:
    """Assigning takes under a second, creating and attaching up to ten together; every n has its own figure."""
    latency, vpc = Latency("realistic", 7), make_vpc()
    assign, create = AssignPrivateIpAddresses(primary(vpc), 1), creation(vpc)
    attach = AttachNetworkInterface(primary(vpc), 1)
    lengths = [latency.ns(assign, n) for n in range(500)]
    assert min(lengths) > 0 and max(lengths) < SECOND and len(set(lengths)) > 400
    both = [latency.ns(create, n) + latency.ns(attach, n) for n in range(500)]
    assert max(both) <= 10 * SECOND and max(both) > 8 * SECOND and min(both) < 4 * SECOND


def test_latency_is_a_function_of_seed_and_number() -> None:
    """The same seed and request number give the same figure; `none` is 0."""
    look_ = DescribeSubnets()
    one, other = Latency("realistic", 1), Latency("realistic", 2)
    assert [one.ns(look_, n) for n in range(50)] == [Latency("realistic", 1).ns(look_, n) for n in range(50)]
    assert [one.ns(look_, n) for n in range(50)] != [other.ns(look_, n) for n in range(50)]
    assert Latency("none", 1).ns(look_, 3) == 0
    assert METADATA_LAG == {"none": 0, "realistic": 1500 * MS}
    with pytest.raises(ValueError, match="want one of none, realistic"):
        Latency("slow", 1)  # type: ignore[arg-type]


def test_every_action_has_a_latency() -> None:
    """No request that the port can carry is left out of the table."""
    assert all(0 < shortest < longest for shortest, longest in REALISTIC_MS.values())
    latency = Latency("realistic", 0)
    for request in (ReadMetadata(), DescribeInstances(), DescribeNetworkInterfaces(()), FindNetworkInterfaces({})):
        assert latency.ns(request, 0) > 0
