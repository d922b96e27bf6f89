"""ENIs that their tags keep out of our hands: known, counted, and left alone (DM-48, DM-49, DM-51, POOL-38, REC-3)."""

from __future__ import annotations

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core import pool_linux
from ipamd.core.calls import CreateNetworkInterface, CreateTags, ModifyNetworkInterfaceAttribute, SetUpEni
from ipamd.core.cards import sort_out, still
from ipamd.core.settings import Settings
from ipamd.core.state import State
from ipamd.core.work import Candidate
from ipamd.ec2.vpc import apply

from .test_resync import DESCRIBE, STILL, quiet
from .world import Bench, Lab, facts

NO_MANAGE, INSTANCE = "node.k8s.amazonaws.com/no_manage", "node.k8s.amazonaws.com/instance_id"
YES = {NO_MANAGE: "true"}


def unmanaged(state: State, tags: dict[str, dict[str, str]]) -> tuple[str, ...]:
    """Which of the ENIs with these tags stay out."""
    attached = [Candidate(eni, "", 1, 0, "", "", "10.0.0.1", tags=own) for eni, own in tags.items()]
    return sort_out(state, attached).outside


@pytest.mark.spec("DM-48", "DM-49", "TV-45")
@pytest.mark.parametrize(
    ("second", "third", "kept_out"),
    [
        ({}, {}, ()),
        (YES, YES, ("eni-2", "eni-3")),
        (YES, {NO_MANAGE: "false"}, ("eni-2",)),
        (YES, {INSTANCE: "i-1"}, ("eni-2",)),
        ({INSTANCE: "i-2"}, {INSTANCE: "i-1"}, ()),
        (YES | {INSTANCE: "i-1"}, {NO_MANAGE: ""}, ("eni-2",)),
    ],
)
def test_the_tag_decides_which_enis_are_ours(
    second: dict[str, str], third: dict[str, str], kept_out: tuple[str, ...]
) -> None:
    """no_manage=true and nothing else; the tag of another instance is no obstacle."""
    bench = Bench()

    assert unmanaged(bench.state, {"eni-1": {}, "eni-2": second, "eni-3": third}) == kept_out


@pytest.mark.spec("DM-48", "TV-45")
def test_the_primary_eni_is_always_ours() -> None:
    """Whatever it is tagged."""
    bench = Bench()

    assert unmanaged(bench.state, {bench.state.node.primary_eni: YES}) == ()


@pytest.mark.spec("DM-48", "ENV-19")
@pytest.mark.parametrize(
    ("tags", "ours"),
    [({}, False), ({INSTANCE: "i-2"}, False), ({INSTANCE: "i-1"}, True), ({NO_MANAGE: "false"}, True), (YES, False)],
)
def test_untagged_enis_may_be_declined(tags: dict[str, str], ours: bool) -> None:
    """With MANAGE_UNTAGGED_ENI off an ENI must carry this instance's id, or be named as managed."""
    bench = Bench(Settings(manage_untagged_eni=False))

    assert (unmanaged(bench.state, {"eni-2": tags}) == ()) is ours


@pytest.mark.spec("DM-48", "TV-45")
def test_without_any_description_the_known_set_stays() -> None:
    """An empty tag map is no news."""
    bench = Bench()
    bench.record(ev.UnmanagedEnisChanged(("eni-2",)))

    assert still(bench.state, {"eni-1", "eni-2"}).outside == ("eni-2",)


@pytest.mark.spec("INIT-21", "DM-51", "TV-46")
def test_node_init_leaves_an_unmanaged_eni_alone() -> None:
    """Not tagged, not set up, not in the store; its addresses serve nobody."""
    lab = Lab(Settings(warm_ip_target=4))
    eni = lab.foreign(addresses=3, tags=YES)
    lab.start()

    assert list(lab.state.enis) == [lab.primary] and lab.state.unmanaged == (eni,)
    assert not lab.calls(SetUpEni) and {call.eni for call in lab.calls(CreateTags)} == {lab.primary}
    assert {call.eni for call in lab.calls(ModifyNetworkInterfaceAttribute)} == {lab.primary}


@pytest.mark.spec("POOL-38")
def test_an_unmanaged_eni_takes_room() -> None:
    """A t3.small of three ENIs, one of them not ours, has room for one more beside the primary."""
    lab = Lab(Settings(warm_ip_target=9), instance_type="t3.small")
    eni = lab.foreign(tags=YES)
    lab.start().run(100)

    assert lab.shape() == [(3, 0), (3, 0)] and not pool_linux.has_room_for_eni(lab.state, 0)
    assert len(lab.calls(CreateNetworkInterface)) == 1
    assert lab.vpc.enis[eni].attachment


@pytest.mark.spec("REC-3", "REC-4", "DM-51", "TV-46")
def test_the_reconcile_describes_a_new_eni_once_and_leaves_it_alone() -> None:
    """Known as unmanaged from then on; twice filtered is the same as once."""
    lab = quiet()
    eni = lab.foreign(addresses=2, tags=YES)
    asked = lab.engine.requests[DESCRIBE]
    lab.reconciled()
    first = (lab.state.unmanaged, lab.engine.requests[DESCRIBE] - asked)
    mark = lab.reconciled()

    assert first == ((eni,), 1)
    assert lab.engine.requests[DESCRIBE] - asked == 1 and eni not in lab.state.enis
    assert {type(event).__name__ for event in lab.events(object, mark)} == {"WorkMoved", "Resynced", "ReconcileCounted"}
    assert not lab.all_calls(mark)


@pytest.mark.spec("REC-7")
def test_an_eni_that_became_unmanaged_leaves_with_its_pods() -> None:
    """Noticed when a reconcile describes all ENIs, because another one is new."""
    lab = quiet(Settings(warm_eni_target=1))
    eni = lab.foreign(addresses=2)
    lab.reconciled()
    adopted = eni in lab.state.enis
    apply(lab.vpc, CreateTags(eni, YES), lab.now)
    lab.reconciled()
    unnoticed = eni in lab.state.enis
    lab.foreign(addresses=1, device=6)
    mark = lab.reconciled()

    assert (adopted, unnoticed) == (True, True)
    assert lab.events(ev.EniLeft, mark) == [ev.EniLeft(eni, "gone")]
    assert lab.state.unmanaged == (eni,)


@pytest.mark.spec("DM-48")
def test_an_eni_that_is_ours_again_is_adopted() -> None:
    """The set is replaced wholesale by what the tags say now."""
    lab = quiet(Settings(warm_eni_target=1))
    eni = lab.foreign(addresses=2, tags=YES)
    lab.reconciled()
    apply(lab.vpc, CreateTags(eni, {NO_MANAGE: "false"}), lab.now)
    lab.foreign(addresses=1, device=6)
    lab.reconciled()

    assert lab.state.unmanaged == () and len(lab.state.enis[eni].blocks) == 2


@pytest.mark.spec("DM-51", "POOL-38")
def test_an_unmanaged_eni_that_is_detached_gives_its_room_back() -> None:
    """The count is of what is attached."""
    lab = quiet()
    eni = lab.foreign(tags=YES)
    lab.reconciled()
    known = lab.state.unmanaged
    lab.detach(eni)
    lab.reconciled()

    assert (known, lab.state.unmanaged) == ((eni,), ())


@pytest.mark.spec("POOL-51")
def test_changed_groups_are_not_set_on_an_unmanaged_eni() -> None:
    """On every ENI of the stores, and on no other."""
    lab = quiet()
    eni = lab.foreign(tags=YES)
    lab.reconciled()
    row = lab.vpc.enis[lab.primary]
    lab.vpc.install((msgspec.structs.replace(row, security_groups=("sg-9",)),), lab.now)
    mark = lab.mark()
    lab.run(31)

    assert {call.eni for call in lab.calls(ModifyNetworkInterfaceAttribute, mark)} == {lab.primary}
    assert lab.vpc.enis[eni].security_groups != ("sg-9",)


@pytest.mark.spec("DM-48")
def test_the_set_survives_a_restart_and_a_snapshot() -> None:
    """It is part of State."""
    lab = Lab(STILL)
    eni = lab.foreign(tags=YES)
    lab.start()
    mark = lab.mark()
    lab.restart()

    assert lab.state.unmanaged == (eni,) and not lab.events(ev.UnmanagedEnisChanged, mark)
    assert eni.encode() in facts(lab.state)
