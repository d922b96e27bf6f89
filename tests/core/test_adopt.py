"""ENIs that the store does not know, and ENIs that are gone (REC-4, REC-6, REC-7, EC2-15, EC2-30)."""

from __future__ import annotations

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core.calls import (
    ENI_NOT_FOUND,
    CreateTags,
    DetachNetworkInterface,
    Failed,
    MetadataEni,
    Outcome,
    SetUpEni,
    Succeeded,
)
from ipamd.core.resync import quoted_id
from ipamd.core.settings import Settings
from ipamd.ec2.vpc import apply

from .test_resync import DESCRIBE, STILL, counts, quiet
from .world import Lab, without


@pytest.mark.spec("REC-4", "REC-6", "EC2-15", "TV-55")
def test_an_unknown_eni_is_described_tagged_set_up_and_adopted() -> None:
    """With its addresses; the counter says so; its pods may come."""
    lab = quiet()
    eni = lab.foreign(addresses=3)
    mark = lab.reconciled()

    assert [type(call) for call in lab.all_calls(mark)] == [CreateTags, SetUpEni]
    assert lab.vpc.enis[eni].tags == {"node.k8s.amazonaws.com/instance_id": lab.node.instance}
    assert len(lab.state.enis[eni].blocks) == 3 and lab.state.enis[eni].device == 5
    assert counts(lab, mark)["eniReconcileAdd"] == 1
    assert lab.leaks() == []


@pytest.mark.spec("REC-6")
def test_two_unknown_enis_are_adopted_one_after_the_other() -> None:
    """One describe for both; by device number."""
    lab = quiet()
    later, sooner = lab.foreign(1, device=6), lab.foreign(1, device=5)
    asked = lab.engine.requests[DESCRIBE]
    mark = lab.reconciled()

    assert [event.eni for event in lab.events(ev.EniReady, mark)] == [sooner, later]
    assert lab.engine.requests[DESCRIBE] == asked + 1


@pytest.mark.spec("EC2-15")
def test_an_eni_with_all_its_tags_is_not_tagged_again() -> None:
    """Nothing to change, no call; a foreign tag stays."""
    lab = quiet(msgspec.structs.replace(STILL, cluster_name="blue"))
    tags = {
        "node.k8s.amazonaws.com/instance_id": lab.node.instance, "cluster.k8s.amazonaws.com/name": "blue",
        "eks:eni:owner": "amazon-vpc-cni", "team": "x",
    }  # fmt: skip
    eni = lab.foreign(tags=tags)
    stale = lab.foreign(device=6, tags=tags | {"cluster.k8s.amazonaws.com/name": "red"})
    mark = lab.reconciled()

    assert lab.calls(CreateTags, mark) == [CreateTags(stale, {"cluster.k8s.amazonaws.com/name": "blue"})]
    assert lab.vpc.enis[eni].tags["team"] == "x"


@pytest.mark.spec("REC-6", "INIT-24", "ENV-9")
def test_with_provisioning_disabled_nothing_is_tagged() -> None:
    """Reconcile stays, tagging does not."""
    lab = Lab(msgspec.structs.replace(STILL, provisioning_disabled=True)).start().run(100)
    eni = lab.foreign(addresses=2)
    mark = lab.reconciled()

    assert eni in lab.state.enis and not lab.calls(CreateTags)
    assert [type(call) for call in lab.all_calls(mark)] == [SetUpEni]


@pytest.mark.spec("REC-6", "INIT-38")
@pytest.mark.parametrize("at", ["tag", "check", "host"])
def test_an_eni_that_cannot_be_set_up_is_counted_and_tried_again_later(at: str) -> None:
    """Skipped, the others are not; the next reconcile adopts it."""
    lab = quiet()
    first, second = lab.foreign(1, device=5), lab.foreign(1, device=6)
    if at == "tag":
        lab.vpc.faults.fail_next("CreateTags", "InternalError", times=5)
    elif at == "check":
        lab.vpc.faults.fail_next("DescribeSubnets", "InternalError")
    else:
        answers: list[Outcome] = [Failed("", "no link")]
        lab.engine._host = lambda call: answers.pop() if isinstance(call, SetUpEni) and answers else Succeeded()
    mark = lab.reconciled()
    known = [eni in lab.state.enis for eni in (first, second)]
    fns = lab.counted(mark)
    lab.reconciled()

    assert known == [False, True]
    assert fns == ["eniReconcileAdd"]
    assert lab.leaks() == []


@pytest.mark.spec("REC-4", "EC2-30", "TV-75")
def test_an_id_that_ec2_does_not_know_is_left_out() -> None:
    """Metadata shows an ENI that is gone: it is dropped without a word, the rest adopted."""
    lab = quiet()
    ghost = MetadataEni(
        "eni-0ghost", "02:00:00:00:00:99", 7, lab.node.subnet, "10.0.0.0/24", ("10.0.0.200", "10.0.0.201")
    )
    real = lab.foreign(1)
    lab.vpc.faults.metadata_shows(lambda view: msgspec.structs.replace(view, enis=(*view.enis, ghost)))
    lab.vpc.faults.fail_next(DESCRIBE, ENI_NOT_FOUND, "The networkInterface ID 'eni-0ghost' does not exist")
    mark = lab.reconciled()

    assert real in lab.state.enis and "eni-0ghost" not in lab.state.enis
    assert lab.counted(mark) == [] and len(lab.calls(CreateTags, mark)) == 1
    assert lab.leaks() == []


@pytest.mark.spec("REC-4", "EC2-30", "HTTP-22")
def test_describe_all_is_tried_twelve_times_and_then_ends_the_reconcile() -> None:
    """No change, no stamp, only a log line; k * 10 ms between tries."""
    lab = quiet()
    eni = lab.foreign(1)
    lab.vpc.faults.fail_next(DESCRIBE, "InternalError", times=12)
    mark = lab.mark()
    lab.until(lambda: len(lab.vpc.faults.rules) == 0)
    lab.run(0)
    after = (eni in lab.state.enis, lab.events(ev.Resynced, mark), lab.state.pool.work)
    counted = lab.counted(mark)
    lab.reconciled()

    assert after == (False, [], None) and counted == []
    assert eni in lab.state.enis


@pytest.mark.spec("EC2-30", "TV-75")
@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("The networkInterface ID 'eni-00000088' does not exist", "eni-00000088"), ("no quotes", ""),
        ("'not an id!' but 'eni-1'", "eni-1"), ("''", ""),
    ],
)  # fmt: skip
def test_the_missing_id_is_read_from_the_message(message: str, found: str) -> None:
    """The first quoted token of letters, digits and dashes."""
    assert quoted_id(message) == found


@pytest.mark.spec("REC-7", "DM-42", "TV-55")
def test_an_eni_that_vanished_leaves_with_its_pods() -> None:
    """Detached behind our back: its pods lose their entry, both counters move."""
    lab = quiet()
    eni = lab.foreign(addresses=2)
    lab.reconciled()
    lab.pods(3)
    on_it = lab.state.enis[eni].assigned
    apply(lab.vpc, DetachNetworkInterface(eni, lab.vpc.enis[eni].attachment), lab.now)
    mark = lab.reconciled()

    assert on_it >= 1
    assert lab.events(ev.EniLeft, mark) == [ev.EniLeft(eni, "gone", pods=on_it)]
    assert counts(lab, mark)["eniReconcileDel"] == 1
    assert len(lab.state.stores[0].owners) == 3 - on_it


@pytest.mark.spec("REC-7")
def test_an_eni_that_metadata_loses_for_a_moment_comes_back_with_its_blocks() -> None:
    """Metadata alone decides about attachment, as upstream has it; the next reconcile adopts the ENI again."""
    lab = quiet(Settings(warm_eni_target=1))
    eni = lab.foreign(addresses=2)
    lab.reconciled()
    lab.vpc.faults.metadata_shows(lambda view: without(view, eni))
    lab.reconciled()
    gone = eni not in lab.state.enis
    lab.vpc.faults.clear()
    lab.reconciled()

    assert gone and len(lab.state.enis[eni].blocks) == 2 and lab.leaks() == []
