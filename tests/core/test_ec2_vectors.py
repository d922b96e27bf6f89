"""Upstream's vectors for reconciling with the cloud and for the EC2 calls (TV-51..TV-57, TV-70..TV-76, TV-78)."""

from __future__ import annotations

import msgspec
import pytest

from ipamd.core import adopt, observe
from ipamd.core import events as ev
from ipamd.core.calls import (
    ATTACHMENT_NOT_FOUND,
    AssignPrivateIpAddresses,
    Attachment,
    AttachmentsView,
    AttachNetworkInterface,
    CreatedEni,
    CreateNetworkInterface,
    DeleteNetworkInterface,
    DescribeInstances,
    DetachNetworkInterface,
    Ec2Call,
    Failed,
    Granted,
    MetadataEni,
    MetadataView,
    ReadMetadata,
    Result,
    SetUpEni,
    Subnet,
    SubnetsView,
    Succeeded,
    TearDownEni,
    UnassignPrivateIpAddresses,
)
from ipamd.core.commands import Observed
from ipamd.core.plan import want
from ipamd.core.pool_linux import stats
from ipamd.core.resync import quoted_id
from ipamd.core.settings import Settings
from ipamd.core.state import State
from ipamd.core.subnets import valid_for_creation
from ipamd.core.types import SECOND
from ipamd.core.work import Candidate, Grow
from ipamd.ec2.vpc import apply

from .world import Bench, Lab, bare

EXCLUDED = {"kubernetes.io/role/cni": "0"}
A_MINUTE = 66.0
"""After it a reconcile has surely run (REC-1, POOL-13)."""


def elsewhere(lab: Lab, call: Ec2Call) -> Result:
    """Somebody else changes the node's ENIs."""
    outcome = apply(lab.vpc, call, lab.now)
    assert isinstance(outcome, Succeeded), outcome
    return outcome.result


def total(lab: Lab) -> int:
    return stats(lab.state, 0, lab.now).total


# ---- ENI set-up ----------------------------------------------------------------------------------------------


@pytest.mark.spec("TV-51", "INIT-38")
def test_an_eni_that_the_host_cannot_set_up_does_not_come_into_the_store() -> None:
    """The failure is counted; only the primary ENI is there, and the new one stays attached."""
    lab = Lab()
    lab.host_answers = lambda call: Failed("", "netlink failed") if isinstance(call, SetUpEni) else Succeeded()
    lab.restart().run(10)
    lab.pod("web", 3)

    assert list(lab.state.enis) == [lab.primary]
    assert "increaseIPPoolsetupENIFailed" in lab.counted()
    assert lab.state.pending == {}
    assert [row.device for row in lab.vpc.enis.values()] == [0, 1]


@pytest.mark.spec("TV-52")
def test_an_unreadable_subnet_is_an_error_with_upstreams_words() -> None:
    """The check's failure is told by its known text; a subnet that EC2 does not list is no error."""
    failure = Failed("InternalError", "denied")
    adoption = adopt.start(State(), (candidate("subnet-1"),))

    stuck = adopt.checked(State(), adoption, failure)

    assert isinstance(stuck, adopt.Stuck)
    assert isinstance(stuck.failure, Failed)
    assert "checking to excluded configured subnet" in stuck.failure.message
    assert not isinstance(adopt.checked(State(), adoption, SubnetsView(())), adopt.Stuck)


def candidate(subnet: str) -> Candidate:
    tags = {"node.k8s.amazonaws.com/instance_id": ""}
    return Candidate("eni-1", "02:00:00:00:00:01", 1, 0, subnet, "10.0.0.0/24", "10.0.0.9", tags=tags)


@pytest.mark.spec("TV-53", "POOL-46", "POOL-47")
@pytest.mark.parametrize("tags, excluded", [(EXCLUDED, True), ({"kubernetes.io/role/cni": "1"}, False), ({}, False)])
def test_an_eni_is_excluded_by_its_subnets_tag(tags: dict[str, str], excluded: bool) -> None:
    """The tag 0 excludes and is recorded, every other one does not."""
    lab = Lab(Settings(warm_ip_target=2))
    lab.tag_subnet(lab.node.subnet, tags)

    lab.start().run(10)

    assert lab.state.enis[lab.primary].excluded is excluded
    assert [event.excluded for event in lab.events(ev.EniExcluded)] == [True] * excluded


@pytest.mark.spec("TV-54", "POOL-48")
@pytest.mark.parametrize("prefixes", [False, True])
def test_unused_blocks_of_an_excluded_eni_go_back_at_start(prefixes: bool) -> None:
    """Its one unassigned address, or its one unused prefix, is given back; the store holds neither."""
    lab = Lab(Settings(prefix_delegation=prefixes, warm_prefix_target=1))
    grant = AssignPrivateIpAddresses(lab.primary, secondary_ips=not prefixes, prefixes=prefixes)
    granted = elsewhere(lab, grant)
    assert isinstance(granted, Granted)
    lab.tag_subnet(lab.node.subnet, EXCLUDED)

    lab.start()

    back = UnassignPrivateIpAddresses(lab.primary, granted.addresses, granted.prefixes)
    assert lab.calls(UnassignPrivateIpAddresses) == [back]
    assert lab.shape() == [(0, 0)]
    assert lab.leaks() == []


# ---- reconcile -----------------------------------------------------------------------------------------------


@pytest.mark.spec("TV-55", "REC-4..9")
def test_prefixes_and_enis_that_come_and_go_are_learnt() -> None:
    """What others do to the node's ENIs is seen within a minute and believed once EC2 confirms."""
    lab = Lab(Settings(prefix_delegation=True, provisioning_disabled=True)).start()
    assert total(lab) == 0

    granted = elsewhere(lab, AssignPrivateIpAddresses(lab.primary, prefixes=1))
    lab.run(A_MINUTE)
    assert (len(lab.state.enis), total(lab)) == (1, 16)

    assert isinstance(granted, Granted)
    elsewhere(lab, UnassignPrivateIpAddresses(lab.primary, prefixes=granted.prefixes))
    lab.run(A_MINUTE)
    assert (len(lab.state.enis), total(lab)) == (1, 0)

    made = elsewhere(lab, CreateNetworkInterface(lab.node.subnet, (), "other", "t", prefixes=1))
    assert isinstance(made, CreatedEni)
    attached = elsewhere(lab, AttachNetworkInterface(made.eni, 1))
    lab.run(A_MINUTE)
    assert (len(lab.state.enis), total(lab)) == (2, 16)

    elsewhere(lab, DetachNetworkInterface(made.eni, getattr(attached, "attachment", "")))
    lab.run(A_MINUTE)
    assert (len(lab.state.enis), total(lab)) == (1, 0)


@pytest.mark.spec("TV-56", "REC-2", "REC-8")
@pytest.mark.parametrize("case", ["listed", "none and EC2 fails", "none but EC2 has both", "no ENI at all"])
def test_bad_instance_metadata_costs_no_address(case: str) -> None:
    """Whatever metadata claims, the two addresses that EC2 knows stay."""
    lab = Lab(Settings(warm_ip_target=2)).start().run(10)
    assert lab.shape() == [(2, 0)]
    if case.startswith("none"):
        lab.vpc.faults.metadata_shows(bare)
    if case == "none and EC2 fails":
        lab.vpc.faults.fail_next("DescribeNetworkInterfaces", "InternalError", times=-1)
    if case == "no ENI at all":
        lab.vpc.faults.metadata_shows(lambda view: msgspec.structs.replace(view, enis=()))
    since = lab.mark()

    lab.run(2 * A_MINUTE)

    assert lab.shape() == [(2, 0)]
    assert lab.events(ev.CidrRemoved, since) == []
    assert lab.events(ev.EniLeft, since) == []
    assert ("reconcileFailedGetENIs" in lab.counted(since)) is (case == "no ENI at all")


@pytest.mark.spec("TV-57", "REC-11")
def test_a_freed_block_is_held_back_for_a_minute() -> None:
    """Unknown; then freed recently; then freed, but not recently; then forgotten."""
    bench = Bench()
    bench.eni("eni-0", 0, "10.0.0.9/32", primary=True)
    cidr = "10.0.0.9/32"

    def known() -> tuple[bool, bool]:
        return cidr in bench.state.held, observe.recently_freed(bench.state, cidr, bench.now)

    assert known() == (False, False)
    bench.record(ev.CidrRemoved("eni-0", cidr, "scale_down", bench.now + 60 * SECOND))
    assert known() == (True, True)
    bench.wait(60)
    assert known() == (True, False)
    bench.record(ev.HoldEnded(cidr))
    assert known() == (False, False)


# ---- calls ---------------------------------------------------------------------------------------------------


def growing(work: Grow, settings: Settings = Settings()) -> Bench:  # noqa: B008 - frozen
    """A node in the middle of adding an ENI, which EC2 has made already."""
    bench = Bench(settings)
    bench.eni("eni-0", 0, primary=True)
    bench.record(ev.EniCreated("eni-new", "10.0.0.77", "subnet-1", "token"), ev.WorkMoved(work))
    return bench


def step(bench: Bench) -> Grow:
    work = bench.state.pool.work
    assert isinstance(work, Grow)
    return work


def attachments(*devices: int) -> AttachmentsView:
    return AttachmentsView(tuple(Attachment(f"eni-{device}", device) for device in devices))


@pytest.mark.spec("TV-70", "EC2-5")
def test_the_lowest_free_device_index_is_taken() -> None:
    """Attachments at 0 and 3 leave 1 as the first free one; other cards' devices do not matter."""
    bench = growing(Grow(1, "idle", step="index", eni="eni-new"))
    view = attachments(0, 3)
    other_card = Attachment("eni-x", 1, card=1)

    bench.tell(Observed(DescribeInstances(), AttachmentsView((*view.attachments, other_card))))

    assert (step(bench).step, step(bench).device) == ("attach", 1)


@pytest.mark.spec("TV-70", "EC2-8")
def test_without_a_free_device_index_the_new_eni_is_deleted() -> None:
    """All of 0..99 are taken."""
    bench = growing(Grow(1, "idle", step="index", eni="eni-new"))

    bench.tell(Observed(DescribeInstances(), attachments(*range(100))))

    assert want(bench.state, step(bench), bench.now).call == DeleteNetworkInterface("eni-new")
    assert "device index" in step(bench).error


@pytest.mark.spec("TV-71", "EC2-8")
def test_an_eni_that_cannot_be_attached_is_deleted() -> None:
    """The error of the attachment is what is counted; no ENI is left behind."""
    lab = Lab().start().run(10)
    lab.vpc.faults.fail_next("AttachNetworkInterface", "AttachmentLimitExceeded", "too many", times=1)
    lab.pod("web", 3)

    errors = [event.message for event in lab.events(ev.ErrorCounted) if event.fn == "increaseIPPoolAllocENI"]
    assert len(lab.calls(DeleteNetworkInterface)) == 1
    assert len(errors) == 1 and "AttachmentLimitExceeded" in errors[0]
    assert lab.leaks() == []


def shown(addresses: int, prefixes: int = 0) -> MetadataView:
    """Metadata with the new ENI, which has so many secondary addresses and prefixes."""
    held = tuple(f"10.0.0.{77 + i}" for i in range(1 + addresses))
    blocks = tuple(f"10.0.1.{16 * i}/28" for i in range(prefixes))
    eni = MetadataEni("eni-new", "02:00:00:00:00:09", 1, "subnet-1", "10.0.0.0/8", held, blocks)
    return MetadataView((eni,), ("10.0.0.0/8",), ("sg-1",))


@pytest.mark.spec("TV-73", "EC2-14")
@pytest.mark.parametrize(
    "prefix_mode, wanted, has, tries, ready",
    [
        (False, 2, 2, 1, True),
        (False, 12, 2, 12, True),
        (False, 2, 0, 12, False),
        (True, 1, 1, 1, True),
        (True, 1, 0, 12, False),
    ],
)
def test_a_new_eni_is_waited_for(prefix_mode: bool, wanted: int, has: int, tries: int, ready: bool) -> None:
    """What was wanted at once, less of it after twelve tries; nothing at all is an error."""
    settings = Settings(prefix_delegation=prefix_mode, subnet_discovery=False)
    bench = growing(Grow(wanted, "idle", step="wait", eni="eni-new", attachment="a-1", device=1), settings)
    view = shown(0, has) if prefix_mode else shown(has)

    asked = 0
    while isinstance(bench.state.pool.work, Grow) and step(bench).step == "wait":
        bench.now = max(bench.now, step(bench).due)
        bench.tell(Observed(ReadMetadata(), view))
        asked += 1

    assert asked == tries
    assert (bench.state.pool.work is not None) is ready
    failed = [event.fn for event in bench.events(ev.ErrorCounted)]
    assert failed == ([] if ready else ["increaseIPPoolwaitENIAttachedFailed"])


def spare_eni() -> Lab:
    """A node whose second ENI will be freed soon."""
    lab = Lab().start().run(10)
    lab.pod("web", 30)
    lab.delete("web")
    return lab


@pytest.mark.spec("TV-74", "EC2-22", "EC2-24")
@pytest.mark.parametrize(
    "action, times, freed, counted",
    [
        ("DeleteNetworkInterface", 1, True, []),
        ("DeleteNetworkInterface", 12, False, ["FreeENIDeleteErr", "decreaseIPPoolFreeENIFailed"]),
        ("DescribeNetworkInterfaces", 1, False, ["getENIAttachmentIDFailed", "decreaseIPPoolFreeENIFailed"]),
        ("DetachNetworkInterface", 1, True, []),
        ("DetachNetworkInterface", 12, False, ["decreaseIPPoolFreeENIFailed"]),
    ],
)
def test_freeing_an_eni_is_tried_twelve_times(action: str, times: int, freed: bool, counted: list[str]) -> None:
    """A passing error costs a retry, a lasting one ends the attempt and is counted."""
    lab = spare_eni()
    lab.until(lambda: bool(lab.events(ev.EniLeft)))
    gone = lab.events(ev.EniLeft)[0].eni
    lab.vpc.faults.fail_next(action, "InternalError", times=times)

    lab.until(lambda: lab.state.pool.work is None)

    assert (gone not in lab.vpc.enis) is freed
    assert lab.counted() == counted
    rules_stay = action == "DescribeNetworkInterfaces" or (action == "DetachNetworkInterface" and not freed)
    assert len(lab.calls(TearDownEni)) == (not rules_stay)


@pytest.mark.spec("EC2-22")
def test_an_eni_without_attachment_cannot_be_detached() -> None:
    """Detaching is still tried, without an id, which ends in the same error as a detach that never works."""
    lab = spare_eni()
    lab.until(lambda: bool(lab.events(ev.EniLeft)))
    gone = lab.vpc.enis[lab.events(ev.EniLeft)[0].eni]
    elsewhere(lab, DetachNetworkInterface(gone.eni, gone.attachment))
    lab.vpc.faults.fail_next("DetachNetworkInterface", ATTACHMENT_NOT_FOUND, times=1)

    lab.until(lambda: lab.state.pool.work is None)

    assert {call.attachment for call in lab.calls(DetachNetworkInterface)} == {""}
    assert lab.counted() == ["decreaseIPPoolFreeENIFailed"]


@pytest.mark.spec("TV-75", "EC2-30")
@pytest.mark.parametrize(
    "message, found",
    [
        ("The networkInterface ID 'eni-00000088' does not exist", "eni-00000088"),
        ("The networkInterface ID eni-00000088 does not exist", ""),
        ("", ""),
        ("'' 'not an id!' 'eni-1'", "eni-1"),
    ],
)
def test_the_unknown_id_is_read_from_ec2s_message(message: str, found: str) -> None:
    """The first quoted token of letters, digits and dashes."""
    assert quoted_id(message) == found


@pytest.mark.spec("TV-76", "EC2-3")
def test_tags_of_managed_enis() -> None:
    """The instance; with a cluster its name and the owner; additional ones beside and over them."""
    state = Bench().state
    assert adopt.cluster_tags(state) == {"node.k8s.amazonaws.com/instance_id": "i-1"}

    state.settings = Settings(cluster_name="c1", additional_eni_tags={"team": "net", "eks:eni:owner": "us"})
    assert adopt.cluster_tags(state) == {
        "cluster.k8s.amazonaws.com/name": "c1",
        "eks:eni:owner": "us",
        "node.k8s.amazonaws.com/instance_id": "i-1",
        "team": "net",
    }


@pytest.mark.spec("TV-78", "POOL-45")
@pytest.mark.parametrize(
    "primary, role, valid",
    [
        (True, "0", False), (True, "1", True), (True, "", True), (True, None, True),
        (False, None, False), (False, "0", False), (False, "1", True), (False, "true", True),
    ],
)  # fmt: skip
def test_a_subnets_tag_says_whether_it_takes_new_enis(primary: bool, role: str | None, valid: bool) -> None:
    """Without a tag only the primary subnet does; 0 forbids; any other value allows."""
    tags = {} if role is None else {"kubernetes.io/role/cni": role}
    subnet = Subnet("subnet-1" if primary else "subnet-2", "10.0.0.0/24", 100, tags=tags)

    assert valid_for_creation(Bench().state, subnet) is valid
