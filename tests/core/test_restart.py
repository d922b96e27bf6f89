"""What a start finds again: pods, cooldowns, ages, pauses; stale rows; orphans (DM-59..DM-66, INIT-25..INIT-29)."""

from __future__ import annotations

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core import links
from ipamd.core.calls import (
    Failed,
    LinksView,
    Outcome,
    PrunePodRules,
    ReadLinks,
    SetUpEni,
    Succeeded,
    UnassignPrivateIpAddresses,
)
from ipamd.core.commands import AddNetwork, DelNetwork, Observed, Terminate, UnknownPod
from ipamd.core.settings import Settings
from ipamd.core.types import Pod
from ipamd.core.work import Init
from ipamd.ec2.vpc import apply

from .world import NODE, Bench, Killed, Lab, bare, sandbox, without

SINGLE = Settings(warm_ip_target=1)
PREFIXES = Settings(prefix_delegation=True, warm_prefix_target=1)
ANSWERS = dict[str, str]


def node(settings: Settings = PREFIXES, pods: int = 3) -> tuple[Lab, ANSWERS]:
    """A settled node with pods, and what they were answered."""
    lab = Lab(settings).start().run(10)
    return lab, {f"pod-{i}": lab.pod(f"pod-{i}", 10).address for i in range(pods)}


def asked_again(lab: Lab, answers: ANSWERS) -> ANSWERS:
    """What the same pods are answered now."""
    return {name: lab.pod(name).address for name in answers}


# ---- pods ---------------------------------------------------------------------------------------------------


@pytest.mark.spec("INIT-26", "DM-64", "DM-5")
@pytest.mark.parametrize("settings", [PREFIXES, SINGLE])
def test_pods_keep_their_addresses(settings: Settings) -> None:
    """Key, address, metadata and time of assignment survive; nothing is released."""
    lab, answers = node(settings)
    block = next(iter(lab.state.enis[lab.primary].blocks.values()))
    record = block.records[0]
    before = (record.sandbox, record.pod, record.assigned_at)
    lab.restart(seconds=5)

    block = next(iter(lab.state.enis[lab.primary].blocks.values()))
    record = block.records[0]
    assert (record.sandbox, record.pod, record.assigned_at) == before
    assert asked_again(lab, answers) == answers
    assert not lab.events(ev.AddressReleased)


@pytest.mark.spec("INIT-25", "DM-64")
@pytest.mark.parametrize("settings", [PREFIXES, SINGLE])
def test_metadata_that_lags_at_a_start_costs_no_pod_its_address(settings: Settings) -> None:
    """It shows no secondary address at all; EC2 is believed."""
    lab, answers = node(settings)
    lab.vpc.faults.metadata_shows(bare)
    lab.restart()

    assert asked_again(lab, answers) == answers
    assert lab.leaks() == []


@pytest.mark.spec("INIT-20", "INIT-25")
def test_metadata_without_our_eni_costs_no_pod_its_address() -> None:
    """The store's ENIs are described too; EC2 says that it hangs on us."""
    lab, answers = node(SINGLE, 5)
    (eni,) = lab.others
    lab.vpc.faults.metadata_shows(lambda view: without(view, eni))
    lab.restart()

    assert asked_again(lab, answers) == answers
    assert lab.state.enis[eni].subnet_cidr == "10.0.0.0/24" and lab.leaks() == []


@pytest.mark.spec("REC-13", "REC-10")
def test_a_block_that_ec2_kept_is_not_dropped_with_its_pods_by_an_old_entry() -> None:
    """Released, not unassigned, found again at the start: its entry ends, its pods stay."""
    lab, _ = node(msgspec.structs.replace(SINGLE, ip_cooldown_period=0, max_eni=1), 2)
    lab.kill_at = lambda record: any(
        isinstance(e, ev.CallStarted) and isinstance(e.call, UnassignPrivateIpAddresses) for e in record.events
    )
    lab.delete("pod-1")
    with pytest.raises(Killed):
        lab.run(60)
    lab.kill_at = None
    held = list(lab.state.held)
    lab.run(25).restart()
    answers = {f"new-{i}": lab.pod(f"new-{i}").address for i in range(2)}
    mark = lab.mark()
    lab.run(200)

    assert len(held) == 1 and held[0].removesuffix("/32") in answers.values()
    assert not [e for e in lab.events(ev.CidrRemoved, mark) if e.pods]
    assert asked_again(lab, answers) == answers and lab.leaks() == []


@pytest.mark.spec("REC-7", "DM-64")
def test_an_eni_detached_meanwhile_leaves_with_its_pods() -> None:
    """Not found: entries of that ENI are dropped."""
    lab, _ = node(SINGLE, 5)
    (eni,) = lab.others
    pods = lab.state.enis[eni].assigned
    lab.die()
    lab.detach(eni)
    mark = lab.mark()
    lab.start(2)

    assert lab.events(ev.EniLeft, mark) == [ev.EniLeft(eni, "gone", pods)] and pods
    assert len(lab.state.stores[0].owners) == 5 - pods


@pytest.mark.spec("DM-64")
def test_a_block_unassigned_meanwhile_leaves_with_its_pods() -> None:
    """The address is on no ENI any more: presumed dead."""
    lab, answers = node(SINGLE, 2)
    lab.die()
    apply(lab.vpc, UnassignPrivateIpAddresses(lab.primary, (answers["pod-0"],)), lab.now)
    mark = lab.mark()
    lab.start(2)

    assert [(e.why, e.pods) for e in lab.events(ev.CidrRemoved, mark)] == [("restart", 1)]
    assert sandbox("pod-0") not in lab.state.stores[0].owners
    assert lab.pod("pod-1").address == answers["pod-1"]


@pytest.mark.spec("DM-64", "DM-65")
def test_a_start_after_pods_keeps_no_second_copy() -> None:
    """An address is held once, however often the process starts."""
    lab, answers = node()
    for seed in range(2, 7):
        lab.restart(seed=seed)

    assert asked_again(lab, answers) == answers
    assert len(lab.state.stores[0].owners) == len(answers)


@pytest.mark.spec("INIT-34", "INIT-38", "DM-64")
@pytest.mark.parametrize("fault", ["check", "host", "link"])
def test_an_eni_that_cannot_be_set_up_again_keeps_its_pods(fault: str) -> None:
    """Given up, but its addresses are not handed out a second time."""
    lab, answers = node(SINGLE, 5)
    (eni,) = lab.others
    lab.die()
    failures = ["setupENINetwork: failed to find the link which uses MAC address x" if fault == "link" else "no"] * 6
    if fault == "check":
        lab.vpc.faults.fail_next("DescribeSubnets", "InternalError", times=12)

    def answer(call: object) -> Outcome:
        return (
            Failed("", failures.pop()) if isinstance(call, SetUpEni) and fault != "check" and failures else Succeeded()
        )

    lab.engine._host = answer
    mark = lab.mark()
    lab.start(2).run(300)
    fresh = lab.pod("fresh").address

    assert "waitENIAttachedMaxRetryExceeded" in lab.counted(mark)
    assert asked_again(lab, answers) == answers and fresh not in answers.values()
    assert eni in lab.state.enis and lab.leaks() == []


@pytest.mark.spec("INIT-38")
def test_an_empty_eni_that_cannot_be_set_up_again_is_left_out() -> None:
    """Without pods it leaves the store, and the reconcile adopts it once it can."""
    lab = Lab(Settings(warm_ip_target=4)).start().run(10)
    (eni,) = lab.others
    lab.die()
    failures = ["no"] * 6
    lab.engine._host = lambda call: (
        Failed("", failures.pop()) if isinstance(call, SetUpEni) and failures else Succeeded()
    )
    mark = lab.mark()
    lab.start(2).run(55)
    left = eni in lab.state.enis
    lab.run(200)

    assert not left and lab.events(ev.EniLeft, mark)[0] == ev.EniLeft(eni, "gone")
    assert lab.leaks() == [] and lab.quiet()


# ---- volatile things ----------------------------------------------------------------------------------------


@pytest.mark.spec("DM-29", "DM-28")
def test_a_cooldown_goes_on_across_a_restart() -> None:
    """Ours remembers when the address was released; upstream hands it out at once."""
    lab = Lab(msgspec.structs.replace(SINGLE, max_eni=1), instance_type="t3.small").start().run(10)
    lab.pods(3, 10)
    address = lab.delete("pod-1").address
    lab.restart(seconds=5)
    refused = lab.refused("next").reason
    lab.run(26)

    assert refused == "cooldown"
    assert lab.pod("next").address == address


@pytest.mark.spec("DM-3", "POOL-15", "POOL-17", "POOL-28", "REC-11")
def test_ages_pauses_and_clocks_go_on_across_a_restart() -> None:
    """Appendix D's volatile rows are facts of our journal."""
    lab, _ = node(msgspec.structs.replace(SINGLE, subnet_discovery=False, ip_cooldown_period=0), 2)
    lab.delete("pod-1", 10)
    lab.vpc.faults.fail_next("AssignPrivateIpAddresses", "InsufficientFreeAddressesInSubnet", times=2)
    lab.pods(1, 10, name="more")
    before = (
        lab.state.enis[lab.primary].ready_at, lab.state.exhausted_at, lab.state.last_decrease, dict(lab.state.held),
    )  # fmt: skip
    lab.restart()

    assert all(before)
    assert before == (
        lab.state.enis[lab.primary].ready_at, lab.state.exhausted_at, lab.state.last_decrease, lab.state.held,
    )  # fmt: skip


@pytest.mark.spec("RPC-52", "DM-32")
def test_a_purge_that_was_due_happens_after_the_restart() -> None:
    """The delayed purge is a fact too."""
    lab, _ = node(PREFIXES, 1)
    lab.restart(settings=SINGLE).run(10)
    lab.delete("pod-0", 5)
    lab.restart(seconds=60)
    lab.run(1)

    assert not lab.vpc.enis[lab.primary].prefixes and lab.leaks() == []


@pytest.mark.spec("INIT-28", "DM-28")
def test_a_leftover_block_that_cools_goes_back_when_it_has_cooled() -> None:
    """With the mode changed while an address cools, the prefix waits for it."""
    lab, _ = node(PREFIXES, 1)
    lab.delete("pod-0", 10)
    lab.restart(settings=SINGLE)
    early = list(lab.vpc.enis[lab.primary].prefixes)
    lab.run(21)

    assert len(early) == 1 and not lab.vpc.enis[lab.primary].prefixes
    assert lab.leaks() == []


@pytest.mark.spec("RPC-8")
def test_terminating_ends_with_the_process() -> None:
    """Appendix D: the next one grows again."""
    lab, _ = node(SINGLE, 1)
    lab.engine.submit(Terminate())
    before = lab.state.terminating
    lab.restart()

    assert (before, lab.state.terminating) == (True, False)


@pytest.mark.spec("DM-28")
def test_new_settings_hold_from_the_start_on() -> None:
    """The cooldown is read once, at the start; addresses that rest are judged by it."""
    lab = Lab(msgspec.structs.replace(SINGLE, max_eni=1)).start().run(10)
    lab.pods(3, 10)
    lab.delete("pod-0", 3)
    lab.restart(settings=msgspec.structs.replace(SINGLE, max_eni=1, ip_cooldown_period=2))

    assert lab.pod("next").address


# ---- stale rows ---------------------------------------------------------------------------------------------


@pytest.mark.spec("TV-25", "DM-62")
@pytest.mark.parametrize(("links", "kept"), [(("customb5faff8a083",), True), (("eni9571956a6cc",), False), ((), False)])
def test_a_row_is_kept_while_its_veth_is_there(links: tuple[str, ...], kept: bool) -> None:
    """The suffix decides, whatever the prefix; a row without a name is always kept."""
    bench = Bench()
    bench.eni("eni-1", 0, "10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32")
    bench.tell(AddNetwork(sandbox("named"), Pod("kube-system", "coredns-57ff979f67-qqbdh")))
    bench.tell(AddNetwork(sandbox("nameless"), Pod()))
    bench.tell(AddNetwork(sandbox("half"), Pod("kube-system", "")))
    bench.record(ev.Started(Settings(), NODE, 2), ev.WorkMoved(Init("links")))

    bench.tell(Observed(ReadLinks(), LinksView(links)))

    owners = bench.state.stores[0].owners
    assert (sandbox("named") in owners) is kept
    assert sandbox("nameless") in owners and sandbox("half") in owners


@pytest.mark.spec("TV-25")
@pytest.mark.parametrize(
    ("namespace", "name", "suffix"),
    [
        ("kube-system", "coredns-57ff979f67-qqbdh", "b5faff8a083"),
        ("kube-system", "coredns-57ff979f67-8ns9b", "9571956a6cc"),
        ("default", "sample-pod", "cc21c2d7785"),
    ],
)
def test_a_veth_is_named_after_its_pod(namespace: str, name: str, suffix: str) -> None:
    """NETW-9: eleven hex digits of SHA-1."""
    assert links.veth_suffix(Pod(namespace, name)) == suffix


@pytest.mark.spec("DM-62", "DM-63")
def test_a_dropped_row_leaves_a_fresh_address_and_no_rules() -> None:
    """The address does not cool, its rules are pruned, a failure to do so is logged."""
    lab = Lab(SINGLE).start().run(10)
    granted = lab.pod("gone", 10)
    lab.links = LinksView(("eth0", f"eni{links.veth_suffix(Pod('default', 'kept'))}"))
    kept = lab.pod("kept", 10)
    mark = lab.mark()
    lab.restart()

    assert lab.calls(PrunePodRules, mark) == [PrunePodRules(granted.address)]
    assert [e.stale for e in lab.events(ev.AddressReleased, mark)] == [True]
    assert lab.pod("kept").address == kept.address
    assert lab.pod("next").address == granted.address


@pytest.mark.spec("DM-62")
def test_where_the_hosts_links_are_not_known_no_row_is_judged() -> None:
    """A host that only records answers so."""
    lab, answers = node()
    lab.links = LinksView((), known=False)
    lab.restart()

    assert asked_again(lab, answers) == answers


@pytest.mark.spec("TV-26", "DM-62")
def test_links_that_cannot_be_listed_end_the_start() -> None:
    """The error's text is the step's."""
    bench = Bench()
    bench.record(ev.Started(Settings(), NODE, 2), ev.WorkMoved(Init("links")))

    bench.tell(Observed(ReadLinks(), Failed("", "netlink failed")))

    assert bench.events(ev.InitFailed) == [ev.InitFailed("links", "", "netlink failed")]
    assert bench.state.phase == "failed"


@pytest.mark.spec("DM-62", "DM-66")
def test_a_dropped_pod_is_unknown_from_then_on() -> None:
    """There is no other place where it might be found."""
    lab = Lab(SINGLE).start().run(10)
    lab.pod("gone", 10)
    lab.links = LinksView(())
    lab.restart()

    assert lab.engine.submit(DelNetwork(sandbox("gone"))) == UnknownPod(sandbox("gone"))
