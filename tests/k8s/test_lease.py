"""Leader election over a Lease: one leads, another takes over, nobody leads twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from ipamd.core.types import SECOND
from ipamd.k8s.client import connect
from ipamd.k8s.control import ControlCluster
from ipamd.k8s.lab import kubeconfig
from ipamd.k8s.lease import LEASE, Election, LeadershipLost

from .apiserver import Api

pytestmark = [pytest.mark.asyncio, pytest.mark.spec("WIN-135")]


class Steps:
    """A clock that moves when someone sleeps: by so much, at once."""

    def __init__(self) -> None:
        self.at = 1_767_323_045 * SECOND
        self.slept = 0
        self.stop_after = 100

    def now(self) -> int:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.slept += 1
        if self.slept > self.stop_after:
            raise asyncio.CancelledError
        self.at += round(seconds * SECOND)


@pytest_asyncio.fixture
async def candidate(api: Api, space: str) -> AsyncIterator[Callable[[str, Steps], Election]]:
    """Makes candidates for the Lease of one namespace."""
    clusters: list[ControlCluster] = []

    def make(identity: str, clock: Steps) -> Election:
        clusters.append(ControlCluster(connect({"KUBECONFIG": api.kubeconfig})))
        return Election(clusters[-1], identity, clock.now, clock.sleep, namespace=space.rsplit("/", 1)[-1])

    yield make
    for cluster in clusters:
        await cluster.close()


def held(api: Api, space: str) -> dict[str, object]:
    path = f"/apis/coordination.k8s.io/v1{space.removeprefix('/api/v1')}/leases/{LEASE}"
    found: dict[str, object] = api.get(path)["spec"]
    return found


async def test_the_first_candidate_makes_the_lease(
    api: Api, space: str, candidate: Callable[[str, Steps], Election]
) -> None:
    """With upstream's name and durations; renewing it keeps its beginning."""
    clock = Steps()
    first = candidate("a", clock)

    await first.acquire()
    made = held(api, space)
    clock.at += 7 * SECOND
    await first.acquire()
    again = held(api, space)

    assert (made["holderIdentity"], made["leaseDurationSeconds"], made["leaseTransitions"]) == ("a", 30, 0)
    assert again["acquireTime"] == made["acquireTime"] and again["renewTime"] != made["renewTime"]


async def test_another_waits_until_the_lease_has_not_changed_for_its_length(
    api: Api, space: str, candidate: Callable[[str, Steps], Election]
) -> None:
    """By its own clock, however wrong that is."""
    ours, other = Steps(), Steps()
    other.at += 9_999 * SECOND
    await candidate("a", ours).acquire()

    await candidate("b", other).acquire()

    assert other.slept == 6  # 30 s in steps of 5 s
    assert held(api, space)["holderIdentity"] == "b" and held(api, space)["leaseTransitions"] == 1


async def test_a_lease_given_up_is_taken_at_once(
    api: Api, space: str, candidate: Callable[[str, Steps], Election]
) -> None:
    """Who ends in order leaves no gap."""
    ours, other = Steps(), Steps()
    leader = candidate("a", ours)
    await leader.acquire()
    await leader.release()

    await candidate("b", other).acquire()

    assert other.slept == 0 and held(api, space)["holderIdentity"] == "b"
    assert not leader.leading


async def test_a_leader_learns_that_another_one_leads(
    api: Api, space: str, candidate: Callable[[str, Steps], Election]
) -> None:
    """It was away for too long: it must act no more."""
    ours, other = Steps(), Steps()
    leader = candidate("a", ours)
    await leader.acquire()
    await candidate("b", other).acquire()

    with pytest.raises(LeadershipLost, match="'b' holds Lease"):
        await leader.keep()


async def test_a_leader_without_an_api_server_gives_up_before_its_lease_ends(tmp_path: Path) -> None:
    """After 15 s, half of the 30 s that another one waits."""
    clock = Steps()
    warned: list[str] = []
    config = kubeconfig.write(tmp_path / "nowhere", "http://127.0.0.1:9")
    nowhere = ControlCluster(connect({}, kubeconfig=config))
    leader = Election(nowhere, "a", clock.now, clock.sleep, warn=warned.append)
    leader.leader = "a"
    began = clock.at

    with pytest.raises(LeadershipLost, match="not renewed for 15 s"):
        await leader.keep()

    assert clock.at - began == 15 * SECOND and len(warned) == 3
    await nowhere.close()
