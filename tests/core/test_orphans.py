"""ENIs of ours that hang on nothing when a process starts: found by what the journal knows of them, and deleted."""

from __future__ import annotations

import pytest

from ipamd.core import events as ev
from ipamd.core.calls import (
    AttachNetworkInterface,
    CreateNetworkInterface,
    DeleteNetworkInterface,
    MetadataView,
    ReadMetadata,
)
from ipamd.ec2.sights import see
from ipamd.ec2.vpc import apply

from .test_grow import full
from .test_restart import node
from .test_shed import spare
from .world import Killed


@pytest.mark.spec("INIT-20")
def test_a_start_without_loose_ends_looks_for_none() -> None:
    """No unattached ENI is sought where every create was answered and every ENI attached."""
    lab, _ = node()
    lab.restart()

    assert lab.engine.requests["DescribeNetworkInterfaces"] == 1


@pytest.mark.spec("EC2-8", "DM-64")
def test_only_orphans_of_ours_are_deleted() -> None:
    """An unattached ENI of another node, or of ours that we do not know, is left to its owner."""
    lab = full()
    lab.pod("new")
    lab.kill_at = lambda record: any(
        isinstance(e, ev.CallStarted) and isinstance(e.call, AttachNetworkInterface) for e in record.events
    )
    with pytest.raises(Killed):
        lab.run(10)
    lab.kill_at = None
    tags = {"node.k8s.amazonaws.com/instance_id": lab.node.instance}
    apply(lab.vpc, CreateNetworkInterface(lab.node.subnet, (), "stranger", "", -1, -1, tags), lab.now)
    mark = lab.mark()
    lab.restart()

    deleted = lab.calls(DeleteNetworkInterface, mark)
    assert len(deleted) == 1 and deleted[0].eni not in lab.vpc.enis
    assert [row.description for row in lab.vpc.enis.values() if not row.attachment] == ["stranger"]


@pytest.mark.spec("INIT-20", "EC2-24")
@pytest.mark.parametrize("action", ["FindNetworkInterfaces", "DeleteNetworkInterface"])
def test_orphans_that_cannot_be_cleaned_up_do_not_end_the_start(action: str) -> None:
    """Logged; the node comes up, and its next start tries again."""
    lab = full()
    lab.pod("new")
    lab.kill_at = lambda record: any(
        isinstance(e, ev.CallStarted) and isinstance(e.call, AttachNetworkInterface) for e in record.events
    )
    with pytest.raises(Killed):
        lab.run(10)
    lab.kill_at = None
    lab.vpc.faults.fail_next(action, "UnauthorizedOperation")
    mark = lab.mark()
    lab.restart()

    assert lab.state.phase == "ready" and lab.counted(mark) == []
    assert len([e for e in lab.events(ev.ErrorCounted, mark) if not e.counter]) == 1
    lab.restart(seed=3).run(10)
    assert lab.leaks() == [] and not lab.state.pending


@pytest.mark.spec("INIT-20", "INIT-25")
def test_an_eni_that_ec2_has_detached_is_not_adopted_because_metadata_still_shows_it() -> None:
    """The process died after the detach, its clean-up fails, metadata lags: nothing hangs on us."""
    lab = spare()
    (eni,) = lab.others
    lab.until(lambda: eni not in lab.state.enis)
    lab.die()
    shown = see(lab.vpc, ReadMetadata(), lab.now, lab.node.instance)
    lab.detach(eni)
    assert isinstance(shown, MetadataView) and len(shown.enis) == 2
    lab.vpc.faults.metadata_shows(shown)
    lab.vpc.faults.fail_next("DeleteNetworkInterface", "InternalError")
    lab.start(2)

    assert list(lab.state.enis) == [lab.primary]
    assert eni in lab.state.pending
