"""What-if and why on journals of nodes that an API server told things: custom networking, a cordoned node."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from ipamd.core import snapshot
from ipamd.core.commands import AddNetwork, Assigned, KubeNodeSeen
from ipamd.core.events import AddressAssigned
from ipamd.core.kube import EniConfigView, KubeNode
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND, Pod
from ipamd.ec2.vpc import add_subnet, associate_cidr
from ipamd.journal.journal import Journal
from ipamd.journal.reading import read
from ipamd.sim.cluster import SimCluster
from ipamd.sim.engine import Engine
from ipamd.sim.relive import Change
from ipamd.sim.scenario import Scenario, node, sandbox
from ipamd.sim.settle import settle
from ipamd.sim.whatif import what_if
from ipamd.sim.why import refusal_at, why_no_ip

FREE, CORDONED = KubeNode(), KubeNode(unschedulable=True)


def come(engine: Engine, number: int) -> bool:
    """The next pod; whether it has an address."""
    return isinstance(engine.submit(AddNetwork(sandbox(number), Pod("d", f"p{number}", 1))), Assigned)


def clustered(where: Path, settings: Settings) -> tuple[Engine, Journal]:
    """A node with an API server, not started."""
    journal = Journal.open(where, sync=False)
    chosen = node(Scenario("m5.large", settings, subnet="10.0.0.0/24"))
    facts = msgspec.structs.replace(chosen.node, name="worker-1", cluster=True)
    kube = SimCluster(FREE)
    engine = Engine(chosen.vpc, chosen.settings, facts, sink=journal.stage, kube=kube)
    associate_cidr(engine.vpc, "10.1.0.0/16", now=engine.now)
    kube.eni_configs["default"] = EniConfigView(add_subnet(engine.vpc, "10.1.240.0/24", now=engine.now).subnet, ())
    return engine, journal


def test_custom_networking_is_lived_again(tmp_path: Path) -> None:
    """The recorded ENIConfig is offered again: more warm addresses come out of its subnet, and without a change all is
    as it was."""
    engine, journal = clustered(tmp_path / "j", Settings(custom_networking=True, warm_ip_target=2))
    engine.start(1)
    settle(engine)
    assert all(come(engine, number) for number in range(2))
    settle(engine)
    journal.close()

    same = what_if(tmp_path / "j", Change())
    more = what_if(tmp_path / "j", Change(settings={"warm_ip_target": 6}))

    assert snapshot.encode(same.end) == snapshot.encode(engine.state)
    assert more.document.lived_from and more.end.phase == "ready"
    assert (more.document.baseline.unused, more.document.variant.unused) == (2, 6)
    assert more.document.variant.assigned == 2
    given = [event.address for r in read(tmp_path / "j") for event in r.events if isinstance(event, AddressAssigned)]
    assert all(address.startswith("10.1.240.") for address in given)


@pytest.mark.parametrize("cordoned", [True, False])
def test_a_cordoned_node_is_named_and_one_that_was_is_not(tmp_path: Path, cordoned: bool) -> None:
    """Unschedulable while pods come: the cause; cordoned an hour before and free again: a decoy."""
    engine, journal = clustered(tmp_path / "j", Settings(warm_ip_target=2, minimum_ip_target=2))
    engine.start(1)
    settle(engine)
    engine.submit(KubeNodeSeen(CORDONED))
    settle(engine)
    if not cordoned:
        engine.submit(KubeNodeSeen(FREE))
        engine.advance(engine.now + 3600 * SECOND)
    number = 0
    while come(engine, number):
        number += 1
        engine.advance(engine.now + (12 * SECOND if cordoned else 0))
    journal.close()

    told = why_no_ip(tmp_path / "j", refusal_at(tmp_path / "j"), search=False)

    assert told.control
    assert told.reason == ("unschedulable" if cordoned else "target")
    if cordoned:
        seen = [r.seq for r in read(tmp_path / "j") if isinstance(r.cause, KubeNodeSeen)]
        assert told.causes[0].seqs == (seen[-1],)
