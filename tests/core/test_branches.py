"""Trunks and branches in the pure machine: VLANs, the delete queue, retries, cooldown, nodes that go."""

from __future__ import annotations

import pytest

from ipamd.core import branch_events as be
from ipamd.core import snapshot
from ipamd.core.branch_calls import POD_ENI, Branch, BranchFacts, DropBranch, MakeBranch, OpenTrunk, TrunkFacts
from ipamd.core.branch_decide import annotation_of
from ipamd.core.branch_state import Trunk, next_due
from ipamd.core.calls import Call, Done, Failed, Outcome, Succeeded
from ipamd.core.cluster_calls import AdvertiseCapacity, AnnotatePod
from ipamd.core.commands import Command, Settle
from ipamd.core.decide import decide
from ipamd.core.events import FORMAT, CallStarted, Event, Record
from ipamd.core.evolve import fold
from ipamd.core.settings import Quirks, windows_quirks
from ipamd.core.state import State
from ipamd.core.types import SECOND, CallId
from ipamd.core.windows_commands import OpenController
from ipamd.core.windows_events import Announced

NODE = "lin-0"
REFUSED = Failed("RequestLimitExceeded", "too many")


class Machine:
    """The machine, a clock, and an EC2 that does what it is told: `answers` by kind of call, else it works."""

    def __init__(self, limit: int = 9, *branches: Branch) -> None:
        self.state = State()
        self.now = 1_767_323_045 * SECOND
        self.facts = TrunkFacts("c5.large", limit, "eni-trunk", "subnet-1", ("sg-0",), branches)
        self.answers: dict[type[Call], list[Outcome]] = {}
        self.told: list[Event] = []
        self.asked: list[Call] = []
        self.made = 0
        self.tell(OpenController())

    def tell(self, command: Command) -> None:
        """One command, and every call that follows, answered at once."""
        self.apply(command)
        while self.state.calls:
            call_id = next(iter(self.state.calls))
            self.apply(Settle(call_id, self._outcome(call_id)))

    def apply(self, command: Command) -> None:
        """One command alone; each decision is made from a State that was written and read, too."""
        decision = decide(self.state, command, self.now)
        assert decide(snapshot.decode(snapshot.encode(self.state)), command, self.now) == decision
        if not decision.events:
            return
        record = Record(FORMAT, self.state.seq + 1, self.now, "controller", command, decision.events)
        fold(self.state, record)
        self.told += decision.events
        self.asked += [event.call for event in decision.events if isinstance(event, CallStarted)]

    def _outcome(self, call_id: CallId) -> Outcome:
        call = self.state.calls[call_id].call
        scripted = self.answers.get(type(call))
        if scripted:
            return scripted.pop(0)
        if isinstance(call, OpenTrunk):
            return Succeeded(self.facts)
        if isinstance(call, MakeBranch):
            self.made += 1
            eni = f"eni-{self.made}"
            return Succeeded(BranchFacts(Branch(eni, "02:00", "10.0.0.9", call.vlan, "10.0.0.0/16", f"a-{eni}")))
        return Succeeded(Done())

    def run(self, seconds: int) -> None:
        """Let time pass, moment by moment."""
        until = self.now + seconds * SECOND
        while (due := next_due(self.state.trunks)) is not None and due <= until:
            self.now = max(self.now, due)
            self.tell(be.BranchDue())
        self.now = until

    @property
    def trunk(self) -> Trunk:
        return self.state.trunks.nodes[NODE]

    def reasons(self) -> list[str]:
        """Kubernetes events so far."""
        return [event.reason for event in self.told if isinstance(event, Announced)]

    def count(self, kind: type[Call]) -> int:
        """Calls of a kind so far."""
        return sum(isinstance(call, kind) for call in self.asked)


def pod(number: int, **facts: object) -> be.BranchPodSeen:
    """A pod that asks for one branch."""
    given = {"uid": f"u-{number}", "namespace": "default", "name": f"p-{number}", "groups": ("sg-1",), **facts}
    return be.BranchPodSeen(NODE, be.BranchPod(**given))  # type: ignore[arg-type]


def opened(limit: int = 9, *branches: Branch) -> Machine:
    """A node whose trunk is ready."""
    machine = Machine(limit, *branches)
    machine.tell(be.TrunkSeen(NODE, "i-1"))
    return machine


@pytest.mark.spec("WIN-138", "WIN-140", "WIN-141", "WIN-142")
def test_a_pod_gets_the_lowest_free_vlan() -> None:
    """Ids from 1; one that was freed is given again before a higher one."""
    machine = opened()
    for number in range(3):
        machine.tell(pod(number))
    machine.tell(be.BranchPodGone(NODE, "u-1"))
    machine.run(120)
    machine.tell(pod(7))

    vlans = {uid: [b.vlan for b in holder.branches] for uid, holder in machine.trunk.pods.items()}
    assert vlans == {"u-0": [1], "u-2": [3], "u-7": [2]}
    last = [call for call in machine.asked if isinstance(call, AnnotatePod)][-1]
    assert last.key == POD_ENI and last.value == annotation_of(machine.trunk.pods["u-7"].branches)
    assert machine.asked[:2] == [OpenTrunk("i-1"), AdvertiseCapacity(NODE, POD_ENI, 9)]


@pytest.mark.spec("WIN-143", "WIN-144")
def test_a_branch_rests_before_it_is_deleted() -> None:
    """60 s by default, looked at every 30 s; its place on the trunk is taken until then."""
    machine = opened(1)
    machine.tell(pod(0))
    machine.tell(be.BranchPodGone(NODE, "u-0"))
    machine.tell(pod(1))
    assert machine.trunk.pods["u-1"].waits and machine.reasons().count("BranchAllocationFailed") == 0

    machine.run(59)
    assert machine.count(DropBranch) == 0
    machine.run(61)
    machine.tell(pod(1))
    machine.run(60)

    assert machine.count(DropBranch) == 1 and machine.trunk.ending == 0
    assert [b.vlan for b in machine.trunk.pods["u-1"].branches] == [1]


@pytest.mark.spec("WIN-141")
def test_a_failed_branch_goes_to_the_front_of_the_queue_and_is_tried_again() -> None:
    """Made but not associated: it is deleted at once; five more tries, then an end."""
    machine = opened()
    half = [Succeeded(BranchFacts(Branch(f"eni-half-{n}", vlan=n + 1), "no association")) for n in range(6)]
    machine.answers[MakeBranch] = list(half)
    machine.tell(pod(0))
    machine.run(29)

    assert machine.count(MakeBranch) == 6 and machine.reasons().count("BranchAllocationFailed") == 6
    assert [row.since for row in machine.trunk.queue] == [0] * 6
    machine.run(1)
    assert machine.count(DropBranch) == 6 and machine.trunk.vlans == []


@pytest.mark.spec("WIN-141")
def test_without_a_policy_the_instances_groups_are_used_and_that_is_said() -> None:
    """A warning on the pod, and its branch all the same."""
    machine = opened()
    machine.tell(pod(0, groups=()))

    (asked,) = [call for call in machine.asked if isinstance(call, MakeBranch)]
    (said,) = [e for e in machine.told if isinstance(e, Announced) and e.reason == "SecurityGroupRequested"]
    assert asked.security_groups == ("sg-0",) and said.warning


@pytest.mark.spec("WIN-141")
def test_an_annotation_that_fails_frees_the_branch() -> None:
    """The branch goes to the front of the queue, the pod is served anew."""
    machine = opened()
    machine.answers[AnnotatePod] = [Failed("Conflict")]
    machine.tell(pod(0))
    machine.run(1)

    assert "BranchENIAnnotationFailed" in machine.reasons()
    assert machine.trunk.pods["u-0"].annotated and machine.count(MakeBranch) == 2
    assert [row.branch.eni for row in machine.trunk.queue] == ["eni-1"]


@pytest.mark.spec("WIN-143")
def test_a_branch_that_cannot_be_deleted_is_forgotten_with_its_vlan() -> None:
    """Three tries in one pass; one that EC2 does not know counts as deleted."""
    machine = opened()
    for number in range(2):
        machine.tell(pod(number))
        machine.tell(be.BranchPodGone(NODE, f"u-{number}"))
    machine.answers[DropBranch] = [REFUSED, Failed("InvalidNetworkInterfaceID.NotFound"), REFUSED, REFUSED]
    machine.run(120)

    assert machine.count(DropBranch) == 4 and machine.trunk.ending == 0
    assert machine.trunk.vlans == [1]


@pytest.mark.spec("WIN-138")
def test_a_restart_adopts_what_annotations_name_and_deletes_the_rest() -> None:
    """Pods are seen before the node; association ids come from the annotation."""
    left = [Branch("eni-a", vlan=4), Branch("eni-b", vlan=7)]
    machine = Machine(9, *left)
    machine.tell(pod(0, annotation='[{"eniId":"eni-b","associationID":"a-7","vlanId":7}]'))
    machine.tell(pod(1, annotation="not JSON"))
    machine.tell(be.TrunkSeen(NODE, "i-1"))

    assert [(b.eni, b.association) for b in machine.trunk.pods["u-0"].branches] == [("eni-b", "a-7")]
    assert [row.branch.eni for row in machine.trunk.queue] == ["eni-a"]
    machine.run(120)
    assert machine.trunk.vlans == [7]


@pytest.mark.spec("WIN-144", "WIN-145")
@pytest.mark.parametrize("strict", [False, True], ids=["ours", "upstream"])
def test_the_cooldown_follows_the_config_map(strict: bool) -> None:
    """Values under 30 count as 30; what cannot be read, or goes away, changes nothing; nodes hear of a change.

    Upstream compares what is written with what counts, and tells of 5 again and again.
    """
    machine = opened()
    machine.tell(OpenController(quirks=windows_quirks(Quirks(windows_low_cooldown_repeats=strict))))
    machine.tell(be.TrunkSeen(NODE, "i-1"))
    seconds = []
    for text in ("90", None, "soon", "5", "5", "60"):
        machine.tell(be.CooldownSeen(text))
        seconds.append(machine.state.trunks.cooldown)

    said = [e.message for e in machine.told if isinstance(e, Announced) and "CoolDown" in e.reason]
    assert seconds == [90, 90, 90, 30, 30, 60]
    assert len(said) == (4 if strict else 3) and "1m30s" in said[0]


@pytest.mark.spec("WIN-146")
def test_a_node_that_goes_takes_its_branches_along() -> None:
    """One minute later they are all deleted, without a cooldown."""
    machine = opened()
    for number in range(3):
        machine.tell(pod(number))
    machine.tell(be.TrunkGone(NODE))
    machine.run(59)
    assert machine.count(DropBranch) == 0

    machine.run(1)

    assert machine.count(DropBranch) == 3 and NODE not in machine.state.trunks.nodes


@pytest.mark.spec("WIN-136", "WIN-138")
def test_what_keeps_a_trunk_from_being_opened_is_said() -> None:
    """EC2's refusal is tried again at the node's next event, a type without limit is not."""
    machine = Machine()
    machine.answers[OpenTrunk] = [Failed("UnauthorizedOperation", "no"), Succeeded(TrunkFacts("m7i.large"))]
    for _ in range(3):
        machine.tell(be.TrunkSeen(NODE, "i-1"))

    assert machine.count(OpenTrunk) == 2
    assert machine.reasons() == ["NodeTrunkFailedInit", "TrunkENICreationFailed", "Unsupported"]
    texts = [event.message for event in machine.told if isinstance(event, Announced)]
    assert "AmazonEKSVPCResourceController" in texts[1] and "--limits" in texts[2]


@pytest.mark.spec("WIN-141")
def test_a_pod_that_goes_while_its_branch_is_made_leaves_nothing() -> None:
    """The branch comes back to nobody and is deleted."""
    machine = opened()
    machine.apply(pod(0))
    machine.apply(be.BranchPodGone(NODE, "u-0"))
    machine.run(0)
    machine.tell(be.TrunkSeen(NODE, "i-1"))
    machine.run(60)

    assert machine.count(MakeBranch) == 1 and machine.count(DropBranch) == 1
    assert machine.trunk.vlans == [] and machine.trunk.ending == 0
