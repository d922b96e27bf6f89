"""Rows of a checkpoint that another ipamd left behind: which become assignments at the first start."""

from __future__ import annotations

import pytest

from ipamd.core import events as ev
from ipamd.core.calls import LinksView, PrunePodRules
from ipamd.core.commands import Released, Restored, Start
from ipamd.core.links import DUPLICATE, veth_suffix
from ipamd.core.settings import Settings
from ipamd.core.snapshot import fork
from ipamd.core.types import Pod
from ipamd.sim.engine import Crashed

from .world import Killed, Lab, facts, pod, sandbox

SINGLE = Settings(warm_ip_target=3, ip_cooldown_period=0)
LONG_AGO = 1_755_730_000_000_000_000


def kept_by_the_cloud(settings: Settings = SINGLE) -> tuple[Lab, list[str]]:
    """A node whose ENI carries addresses although its journal is empty, and these addresses."""
    lab = Lab(settings).start().run(10)
    addresses = [cidr.split("/")[0] for cidr in lab.state.enis[lab.primary].blocks]
    lab.records.clear()
    lab.die()
    return lab, addresses


def row(name: str, address: str) -> Restored:
    return Restored(sandbox(name), address, LONG_AGO, pod(name))


def began(lab: Lab, *rows: Restored) -> Lab:
    lab.engine.submit(Start(lab.settings, lab.node, 1, rows))
    return lab.run(0)


@pytest.mark.spec("DM-61", "DM-64")
def test_a_row_becomes_an_assignment_with_its_own_time() -> None:
    """The same sandbox, pod and moment; a repeated ADD gets the address, a DEL gives it back."""
    lab, addresses = kept_by_the_cloud()

    began(lab, row("web", addresses[1]))

    (restored,) = lab.events(ev.AddressAssigned)
    block, offset = lab.state.stores[0].owners[sandbox("web")]
    assert (restored.address, restored.since, restored.pod) == (addresses[1], LONG_AGO, pod("web"))
    assert block.records[offset].assigned_at == LONG_AGO
    assert lab.pod("web").address == addresses[1]
    assert isinstance(lab.delete("web"), Released)
    assert lab.state.restored == ()


@pytest.mark.spec("DM-64")
def test_a_row_without_a_home_is_dropped_and_said() -> None:
    """No ENI has its address: upstream presumes it dead; so is a row of the other family."""
    lab, _ = kept_by_the_cloud()

    began(lab, row("far", "192.0.2.7"), row("six", "2001:db8::7"))

    dropped = lab.events(ev.RowDropped)
    assert [(event.sandbox.container, event.why) for event in dropped] == [("far", "address"), ("six", "address")]
    assert lab.state.phase == "ready" and not lab.state.stores[0].owners


@pytest.mark.spec("DM-62", "DM-63")
def test_a_row_whose_veth_is_gone_is_dropped_with_its_rules() -> None:
    """A link that ends with the suffix keeps a row, whatever its prefix; a row without a pod's name is always kept."""
    lab, addresses = kept_by_the_cloud()
    lab.links = LinksView(("eth0", f"odd{veth_suffix(pod('web'))}"))
    nameless = Restored(sandbox("bare"), addresses[2], LONG_AGO, Pod())

    began(lab, row("web", addresses[0]), row("gone", addresses[1]), nameless)

    assert {key.container for key in lab.state.stores[0].owners} == {"web", "bare"}
    assert [(event.sandbox.container, event.why) for event in lab.events(ev.RowDropped)] == [("gone", "veth")]
    assert lab.calls(PrunePodRules) == [PrunePodRules(addresses[1])]


@pytest.mark.spec("DM-64", "DM-11")
def test_two_rows_of_one_address_end_the_start() -> None:
    """Upstream's own words; nobody can tell whose address it is."""
    lab, addresses = kept_by_the_cloud()

    with pytest.raises(Crashed):
        began(lab, row("one", addresses[0]), row("two", addresses[0]))

    (failed,) = lab.events(ev.InitFailed)
    assert failed.step == "restore" and failed.message.startswith(DUPLICATE) and addresses[0] in failed.message


@pytest.mark.spec("DM-24", "DM-64")
def test_rows_of_the_other_mode_are_taken_over_too() -> None:
    """A node that switched to prefixes keeps the pods on its single addresses."""
    lab, addresses = kept_by_the_cloud()
    lab.settings = lab.engine.settings = Settings(prefix_delegation=True, warm_prefix_target=1)

    began(lab, row("web", addresses[0])).run(30)

    assert lab.pod("web").address == addresses[0]
    assert addresses[0] + "/32" in lab.state.enis[lab.primary].blocks


@pytest.mark.spec("DM-61")
@pytest.mark.parametrize("step", ["adopt", "links", "prune", "groups"])
def test_a_start_that_dies_before_the_node_is_ready_loses_no_row(step: str) -> None:
    """The rows are part of the journal; the next start, which has none of its own, takes them over once."""
    lab, addresses = kept_by_the_cloud()
    lab.kill_at = lambda record: any(
        isinstance(event, ev.WorkMoved) and getattr(event.work, "step", "") == step for event in record.events
    )
    with pytest.raises(Killed):
        began(lab, row("one", addresses[0]), row("two", addresses[1]))
    lab.kill_at = None

    lab.restart()

    assert {key.container for key in lab.state.stores[0].owners} == {"one", "two"}
    assert len(lab.events(ev.AddressAssigned)) == 2


@pytest.mark.spec("DM-64")
def test_rows_are_part_of_a_snapshot_until_they_are_assignments() -> None:
    """A fork of a State in the middle of init has them too."""
    lab, addresses = kept_by_the_cloud()
    lab.engine.submit(Start(lab.settings, lab.node, 1, (row("web", addresses[0]),)))
    copy = fork(lab.state)

    assert facts(copy) == facts(lab.state)
    assert copy.restored == lab.state.restored
