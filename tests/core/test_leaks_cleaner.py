"""The leaked-ENI cleaner: whose ENIs, how old, when, and what a failure costs (EC2-40..44, TV-77)."""

from __future__ import annotations

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core import leaks
from ipamd.core.calls import CreatedEni, CreateNetworkInterface, Succeeded
from ipamd.core.moments import instant_of, rfc3339
from ipamd.core.settings import Quirks, Settings
from ipamd.core.types import SECOND
from ipamd.ec2.vpc import apply

from .world import Lab

STILL = Settings(warm_ip_target=1, minimum_ip_target=2, ip_cooldown_period=0)
OTHER = {"node.k8s.amazonaws.com/instance_id": "i-other"}
CREATED_AT = "node.k8s.amazonaws.com/createdAt"
ROUND = 3600 + leaks.LATEST


def lab(settings: Settings = STILL) -> Lab:
    """A settled node, ten minutes old."""
    return Lab(settings).start().run(600)


def stray(node: Lab, age: float | str | None, description: str = "aws-K8S-i-other", **tags: str) -> str:
    """An unattached ENI of another node; `age` in seconds, or the text of its tag, or none at all."""
    words = {**OTHER, **tags}
    if age is not None:
        words[CREATED_AT] = age if isinstance(age, str) else rfc3339(node.now - int(age * SECOND))
    call = CreateNetworkInterface(
        node.engine.node.subnet, (), description, f"stray-{len(node.vpc.enis)}", secondary_ips=0, tags=words
    )
    outcome = apply(node.vpc, call, node.now)
    assert isinstance(outcome, Succeeded) and isinstance(outcome.result, CreatedEni)
    return outcome.result.eni


@pytest.mark.spec("EC2-42", "EC2-43", "TV-77")
def test_only_old_unattached_enis_of_the_cni_are_deleted() -> None:
    """Another description, a young one or one without creation time stays."""
    node = lab()
    old, young = stray(node, 600), stray(node, -ROUND)
    foreign, unstamped = stray(node, 600, "somebody's"), stray(node, None)

    node.run(ROUND)

    assert old not in node.vpc.enis
    assert {young, foreign, unstamped} <= node.vpc.enis.keys()
    assert instant_of(node.vpc.enis[unstamped].tags[CREATED_AT]) is not None
    assert CREATED_AT not in node.vpc.enis[foreign].tags or foreign in node.vpc.enis


@pytest.mark.spec("EC2-43")
def test_what_was_tagged_in_one_round_goes_in_the_next() -> None:
    """It is skipped once, and an hour later it is older than five minutes."""
    node = lab()
    eni = stray(node, None)

    node.run(ROUND)
    assert eni in node.vpc.enis
    node.run(ROUND)

    assert eni not in node.vpc.enis


@pytest.mark.spec("EC2-42")
def test_another_cluster_s_enis_are_not_looked_at() -> None:
    """With CLUSTER_NAME only ENIs that carry its tag are found."""
    node = lab(msgspec.structs.replace(STILL, cluster_name="blue"))
    ours = stray(node, 600, **{"cluster.k8s.amazonaws.com/name": "blue"})
    theirs = stray(node, 600, **{"cluster.k8s.amazonaws.com/name": "green"})

    node.run(ROUND)

    assert ours not in node.vpc.enis and theirs in node.vpc.enis


@pytest.mark.spec("EC2-40")
@pytest.mark.parametrize("disabled", ["provisioning_disabled", "leaked_cleanup_disabled"])
def test_it_can_be_switched_off(disabled: str) -> None:
    """Without provisioning, or by its own variable."""
    node = lab(msgspec.structs.replace(STILL, **{disabled: True}))
    eni = stray(node, 600)

    node.run(2 * ROUND)

    assert eni in node.vpc.enis


@pytest.mark.spec("EC2-41", "INIT-10")
def test_rounds_are_an_hour_apart_and_up_to_299_s_late() -> None:
    """The first begins within five minutes, each later one an hour on, late anew."""
    node = Lab(STILL).start().run(1)
    state, since = node.state, node.state.leaks.since

    first = leaks.next_round(state, since)
    second = leaks.next_round(state, first)
    third = leaks.next_round(state, second)

    assert 0 <= first - since < leaks.LATEST * SECOND
    assert 0 <= second - since - leaks.PERIOD < leaks.LATEST * SECOND
    assert len({(moment - since) % leaks.PERIOD for moment in (first, second, third)}) > 1


@pytest.mark.spec("EC2-41")
def test_a_round_that_finds_nothing_leaves_no_record() -> None:
    """An hour of a quiet node is an hour of reconcile stamps."""
    node = lab()
    before = len(node.events(ev.WorkMoved))

    node.run(ROUND)

    assert all(event.lane != "leaks" for event in node.events(ev.WorkMoved)[before:])


@pytest.mark.spec("EC2-24", "EC2-41")
def test_a_failing_delete_is_tried_twelve_times_and_counted() -> None:
    """Then the cleaner goes on with the next ENI."""
    node = lab()
    first, second = sorted([stray(node, 600), stray(node, 600)])
    node.vpc.faults.fail_next("DeleteNetworkInterface", "InternalError", times=12)  # one ENI's tries

    node.run(ROUND + 1200)

    counted = [event.fn for event in node.events(ev.ErrorCounted)]
    assert counted.count("cleanUpLeakedENIDeleteErr") == 1
    assert first in node.vpc.enis and second not in node.vpc.enis


@pytest.mark.spec("EC2-44")
@pytest.mark.parametrize("upstream", [False, True], ids=["ours", "upstream"])
def test_a_creation_time_that_cannot_be_read(upstream: bool) -> None:
    """Ours takes the ENI for fresh, upstream deletes it; both write a proper time."""
    node = lab(msgspec.structs.replace(STILL, quirks=Quirks(unparsable_created_at_leaks=upstream)))
    eni = stray(node, "yesterday")

    node.run(ROUND)

    assert (eni in node.vpc.enis) is not upstream


@pytest.mark.spec("EC2-41")
def test_a_crash_in_the_middle_of_a_round_begins_a_new_one() -> None:
    """What was left is found by the next process."""
    node = lab()
    enis = [stray(node, 600), stray(node, 600)]
    node.until(lambda: node.state.leaks.work is not None, ROUND)

    node.restart().run(ROUND)

    assert not set(enis) & node.vpc.enis.keys()


@pytest.mark.spec("EC2-3", "EC2-43")
@pytest.mark.parametrize(
    "text, seconds",
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-08-21T10:15:00Z", 1_787_307_300),
        ("2026-08-21T12:15:00+02:00", 1_787_307_300),
        ("2024-02-29T23:59:59.5Z", 1_709_251_199.5),
        ("2000-03-01T00:00:00-00:30", 951_870_600),
    ],
)
def test_times_are_read_and_written(text: str, seconds: float) -> None:
    """RFC 3339, with offset and fraction."""
    instant = instant_of(text)

    assert instant == int(seconds * SECOND)
    assert instant_of(rfc3339(instant)) == instant // SECOND * SECOND


@pytest.mark.spec("EC2-44")
@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z", "2026-08-21", "2026-08-21T10:15:00"])
def test_what_is_no_time_is_none(text: str) -> None:
    """A tag that somebody mistyped."""
    assert instant_of(text) is None
