"""`why no-ip` on incidents with a planted cause, and the other two questions. `why` sees the journals alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipamd.core.commands import AddNetwork, Assigned, DelNetwork, Refused
from ipamd.core.events import AddressAssigned, AssignRefused, EniReady, Started
from ipamd.core.reasons import REASONS
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND, Pod
from ipamd.journal.errors import JournalMissing
from ipamd.journal.journal import Journal
from ipamd.journal.reading import read
from ipamd.sim.kubelet import RETRY
from ipamd.sim.scenario import Scenario, live, node, sandbox
from ipamd.sim.settle import settle
from ipamd.sim.why import SEVERAL, refusal_at, why_no_ip
from ipamd.sim.why_held import UnknownThing, why_not_freed
from ipamd.sim.why_pod import NoSuchPod, why_pod

from .incidents import DECOYS, RECIPES, make
from .incidents import SEVERAL as SEVERAL_RECIPES

SEEDS = range(5)
"""How many decoys an incident has."""


def test_the_planted_cause_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every reason, each with no decoy and with several; the score is printed, and every cited record is there."""
    wrong: list[str] = []
    carried: set[str] = set()
    agreed = total = 0
    for number, recipe in enumerate(RECIPES):
        for seed in SEEDS:
            planted = make(tmp_path / f"{number}-{seed}", recipe, seed)
            told = why_no_ip(planted.journal, refusal_at(planted.journal), search=False)
            total += 1
            carried |= set(planted.decoys)
            agreed += told.said == recipe.causes[0]
            assert told.control, f"{planted}: the unchanged life has no refusal"
            last = told.refusal
            assert all(cause.seqs and 0 < min(cause.seqs) <= max(cause.seqs) <= last for cause in told.causes)
            if told.reason != recipe.causes[0]:
                wrong.append(f"{planted.causes} with {planted.decoys}: {told.reason}")
    with capsys.disabled():
        print(f"\nwhy no-ip: {total - len(wrong)} of {total} planted causes named; the daemon itself said {agreed}")

    assert total >= 40
    assert carried == set(DECOYS)
    assert wrong == []
    assert agreed == total


def test_several_causes_are_called_several(tmp_path: Path) -> None:
    """Two planted: both are named, whether each alone would have sufficed or not."""
    for number, recipe in enumerate(SEVERAL_RECIPES):
        for seed in range(2):
            planted = make(tmp_path / f"{number}-{seed}", recipe, seed)

            told = why_no_ip(planted.journal, refusal_at(planted.journal), search=False)

            assert told.reason == SEVERAL
            assert {cause.reason for cause in told.causes} == set(planted.causes)


def test_every_cause_also_occurs_as_a_decoy_and_every_reason_is_one_of_the_list() -> None:
    """A reason that only ever stood in the journal as the cause would be found by looking for it."""
    planted = {cause for recipe in RECIPES for cause in recipe.causes}
    unplanted = {"unschedulable", "invalid"}

    assert planted | unplanted == set(REASONS)
    assert planted == set(DECOYS)


def test_the_shortest_change_is_found_by_trying(tmp_path: Path) -> None:
    """A cooldown: a shorter one helps; what was tried in vain is told too."""
    recipe = next(recipe for recipe in RECIPES if recipe.causes == ("cooldown",))
    planted = make(tmp_path / "j", recipe, 0)

    told = why_no_ip(planted.journal, refusal_at(planted.journal))

    assert told.shortest.startswith("IP_COOLDOWN_PERIOD=")
    assert told.shortest == next(each.change for each in told.tried if each.grants)
    assert any(not each.grants for each in told.tried)


def test_an_earlier_refusal_can_be_asked_for(tmp_path: Path) -> None:
    """By record, by pod; where there is none that is said."""
    recipe = next(recipe for recipe in RECIPES if recipe.causes == ("eni_limit",))
    journal = make(tmp_path / "j", recipe, 2).journal
    refusals = [r for r in read(journal) if any(isinstance(e, AssignRefused) for e in r.events)]
    first = refusals[0]

    assert refusal_at(journal, first.seq + 1) == first
    assert refusal_at(journal) == refusals[-1]
    assert isinstance(first.cause, AddNetwork)
    assert isinstance(refusal_at(journal, pod=f"shop/{first.cause.pod.name}").cause, AddNetwork)
    with pytest.raises(JournalMissing, match=f"up to record {first.seq - 1}"):
        refusal_at(journal, first.seq - 1)


# ---- why not freed --------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A t3.small: three pods came, one went a second ago."""
    journal = Journal.open(tmp_path / "small", sync=False)
    engine = node(Scenario("t3.small", Settings(warm_ip_target=1, minimum_ip_target=5)), journal.stage)
    engine.start(1)
    settle(engine)
    for number in range(5):
        assert isinstance(engine.submit(AddNetwork(sandbox(number), Pod("d", f"p{number}", 1))), Assigned)
        settle(engine)
    engine.advance(engine.now + 120 * SECOND)
    engine.submit(DelNetwork(sandbox(1), "PodDeleted"))
    journal.close()
    return tmp_path / "small"


def test_the_rule_that_holds_an_eni_and_its_record(small: Path) -> None:
    """The primary ENI by its nature, the second one by its pods, each with the record that made it so."""
    enis = {e.eni: r.seq for r in read(small) for e in r.events if isinstance(e, EniReady)}
    pods = {e.eni: r.seq for r in read(small) for e in r.events if isinstance(e, AddressAssigned)}
    primary, second = enis

    assert (told := why_not_freed(small, primary)).rule == "primary" and told.seqs == (enis[primary],)
    held = why_not_freed(small, second)

    assert (held.rule, held.kind) == ("pods", "ENI")
    assert pods[second] in held.seqs
    assert why_not_freed(small, second, seq=enis[second]).rule == "young"


def test_the_rule_that_holds_an_address(small: Path) -> None:
    """Assigned, cooling with the moment at which that ends, or needed by a target; unknown ones are refused."""
    assigned = [
        (r.seq, e.address, e.pod.name) for r in read(small) for e in r.events if isinstance(e, AddressAssigned)
    ]
    (seq, address, _), (_, cooling, _) = assigned[0], assigned[1]
    last = max(r.seq for r in read(small))
    started = next(r.seq for r in read(small) if any(isinstance(e, Started) for e in r.events))

    kept = why_not_freed(small, address)
    cools = why_not_freed(small, cooling)
    others = {why_not_freed(small, cidr.removesuffix("/32")).rule for cidr in _blocks(small)}

    assert (kept.rule, kept.seqs) == ("pods", (seq,))
    assert (cools.rule, cools.seqs, cools.until - cools.at) == ("cooling", (last,), 30 * SECOND)
    assert others == {"pods", "cooling", "warm_ip_target"}
    assert started in next(t for c in _blocks(small) if (t := why_not_freed(small, c)).rule == "warm_ip_target").seqs
    with pytest.raises(UnknownThing, match="no ENI, block or address"):
        why_not_freed(small, "10.200.0.1")


def _blocks(path: Path) -> list[str]:
    from ipamd.sim.past import fold_to

    return [cidr for eni in fold_to(path).enis.values() for cidr in eni.blocks]


# ---- why POD --------------------------------------------------------------------------------------------------


def test_a_pods_wait_is_a_waterfall_without_gaps(tmp_path: Path) -> None:
    """Refused while an ENI is created, attached and awaited; then granted: the spans add up to the wait."""
    journal = Journal.open(tmp_path / "j", sync=False)
    engine = node(Scenario("m5.large", Settings(warm_ip_target=1), latency="realistic"), journal.stage)
    engine.start(1)
    settle(engine)
    for number in range(9):
        while isinstance(engine.submit(AddNetwork(sandbox(number), Pod("d", f"p{number}", 1))), Refused):
            engine.advance(engine.now + RETRY)
    engine.advance(engine.now + SECOND)
    while isinstance(engine.submit(AddNetwork(sandbox(99), Pod("d", "late", 1))), Refused):
        engine.advance(engine.now + 2 * SECOND)
    journal.close()

    told = why_pod(tmp_path / "j", "d/late")

    assert told.wait > 0 and told.granted_seq and told.address
    assert [each.reason == "" for each in told.tries] == [False] * (len(told.tries) - 1) + [True]
    assert sum(span.end - span.begin for span in told.spans) == told.wait
    assert all(one.end == two.begin for one, two in zip(told.spans, told.spans[1:], strict=False))
    assert {"attach", "ec2", "metadata", "assign"} <= {span.stage for span in told.spans}
    assert why_pod(tmp_path / "j", "late") == told


def test_a_pod_that_never_asked(tmp_path: Path) -> None:
    """Nothing to tell is said, not shown as an empty table."""
    journal = Journal.open(tmp_path / "j", sync=False)
    scenario = Scenario("m5.large", Settings(), pods=1)
    live(scenario, node(scenario, journal.stage))
    journal.close()

    with pytest.raises(NoSuchPod, match="no pod of that name asked"):
        why_pod(tmp_path / "j", "nobody")
