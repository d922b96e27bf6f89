"""`ipamd whatif` of a controller's journal: the recorded pods under another ConfigMap."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from ipamd.core import snapshot
from ipamd.core.types import SECOND
from ipamd.core.windows_commands import ConfigSeen, NodeSeen, PodSeen
from ipamd.ec2.latency import Profile
from ipamd.journal.journal import Journal
from ipamd.journal.reading import read
from ipamd.sim.past import fold_to
from ipamd.sim.windows_engine import WindowsEngine
from ipamd.sim.windows_node import pools_of, windows_cluster
from ipamd.sim.windows_relive import Change
from ipamd.sim.windows_whatif import WrongChange, what_if

PREFIXES = {"enable-windows-ipam": "true", "enable-windows-prefix-delegation": "true"}
SINGLES = {"enable-windows-ipam": "true"}


def life(where: Path, seed: int, config: dict[str, str], latency: Profile = "realistic") -> WindowsEngine:
    """Two nodes, pods that come and go, a restart; drawn from the seed alone, whatever the config."""
    random = Random(seed)
    journal = Journal.open(where, sync=False)
    try:
        engine = windows_cluster("10.0.0.0/22", latency=latency, seed=seed, sink=journal.stage)
        engine.configure(config)
        for name, kind in (("node-1", "c5.large"), ("node-2", "m5.xlarge")):
            engine.join(name, kind)
        engine.advance(engine.now + 60 * SECOND)
        for number in range(20):
            node = random.choice(("node-1", "node-2"))
            engine.add_pods(random.randrange(3), node)
            pods = list(engine.objects.pods.values())
            engine.delete_pods(random.sample(pods, min(len(pods), random.randrange(2))))
            engine.advance(engine.now + random.randrange(1, 60) * SECOND)
            if number == 12:
                engine.start()
        engine.settle()
    finally:
        journal.close()
    return engine


@pytest.mark.parametrize("seed", range(4))
def test_without_a_change_the_recorded_life_is_lived(tmp_path: Path, seed: int) -> None:
    """To the byte, and nothing is assumed; a change that changes nothing is none."""
    engine = life(tmp_path / "j", seed, PREFIXES if seed % 2 else SINGLES)

    found = what_if(tmp_path / "j", Change(config=SINGLES))

    assert snapshot.encode(found.end) == snapshot.encode(engine.state)
    assert found.document.variant == found.document.baseline
    assert found.document.lived_from == 0
    for name, node in engine.objects.nodes.items():
        assert found.document.baseline.nodes[name] == pools_of(engine.state, name, node.capacity)


@pytest.mark.parametrize("seed", range(4))
def test_the_variant_is_what_would_have_been_recorded(tmp_path: Path, seed: int) -> None:
    """The same pods under another ConfigMap from the beginning: the pools that such a node really ends with."""
    other = {**PREFIXES, "warm-prefix-target": "2"} if seed % 2 else {**SINGLES, "warm-ip-target": "5"}
    life(tmp_path / "recorded", seed, PREFIXES if seed % 2 else SINGLES, "none")
    real = life(tmp_path / "real", seed, other, "none")

    found = what_if(tmp_path / "recorded", Change(config=other))

    pools = {name: pools_of(real.state, name, node.capacity) for name, node in real.objects.nodes.items()}
    assert found.document.lived_from > 0
    assert found.document.variant.nodes == pools
    assert found.document.variant.held_max > found.document.baseline.held_max


def test_the_variant_lives_on_from_the_middle_of_a_journal(tmp_path: Path) -> None:
    """An edit of the ConfigMap that did not happen: same until then, other afterwards."""
    journal = Journal.open(tmp_path / "j", sync=False)
    engine = windows_cluster("10.0.0.0/24", latency="realistic", sink=journal.stage)
    engine.configure(SINGLES)
    engine.join("node-1", "c5.large")
    engine.add_pods(2, "node-1")
    engine.settle()
    engine.configure({**SINGLES, "warm-ip-target": "6"})
    engine.settle()
    engine.add_pods(1, "node-1")
    engine.settle()
    journal.close()
    edit = [record.seq for record in read(tmp_path / "j") if isinstance(record.cause, ConfigSeen)][-1]

    found = what_if(tmp_path / "j", Change(dropped=frozenset({edit})))

    assert found.document.lived_from == edit
    assert (found.document.baseline.warm, found.document.variant.warm) == (6, 3)
    assert found.document.variant.used == found.document.baseline.used == 3


def test_a_pod_that_did_not_come_and_another_type(tmp_path: Path) -> None:
    """--drop of a pod's first record leaves the pod out; a larger type holds pods that had no room."""
    journal = Journal.open(tmp_path / "j", sync=False)
    engine = windows_cluster("10.0.0.0/22", sink=journal.stage)
    engine.configure(SINGLES)
    engine.join("node-1", "c5.large")
    engine.add_pods(12, "node-1")
    engine.settle()
    journal.close()
    pod = next(record.seq for record in read(tmp_path / "j") if isinstance(record.cause, PodSeen))

    fewer = what_if(tmp_path / "j", Change(dropped=frozenset({pod}))).document
    larger = what_if(tmp_path / "j", Change(instance_type="c5.4xlarge")).document

    assert (fewer.baseline.arrivals, fewer.variant.arrivals) == (12, 11)
    assert (fewer.baseline.unserved, fewer.variant.unserved, larger.variant.unserved) == (3, 2, 0)


def test_what_cannot_be_changed_is_refused(tmp_path: Path) -> None:
    """A record that nobody asked for, a start that is needed, and a subnet without room for the nodes."""
    life(tmp_path / "j", 1, SINGLES)
    records = list(read(tmp_path / "j"))
    settled = next(r.seq for r in records if type(r.cause).__name__ == "Settle")

    for change, said in (
        (Change(dropped=frozenset({settled})), "nobody asked for it"),
        (Change(dropped=frozenset({1})), "without its first start"),
        (Change(dropped=frozenset({99_999})), "want a record from 1 to"),
        (Change(subnet="10.1.0.0/33"), "10.1.0.0/33"),
    ):
        with pytest.raises(WrongChange, match=said):
            what_if(tmp_path / "j", change)
    assert any(isinstance(record.cause, NodeSeen) for record in records)
    assert fold_to(tmp_path / "j").windows.opened
