"""SIGKILL before an EC2 call, between its effect and its reply, and after the reply: the next tenure finds its way.

A call in flight is a field of State; the next Start ends it as lost, and init looks at the cloud before it trusts it.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ipamd.core import events as ev
from ipamd.core.plan import plan
from ipamd.core.types import SECOND
from ipamd.journal.reading import bounds
from ipamd.runtime.clock import ManualClock
from tests.crash.doomed import CLOUD, MODES
from tests.runtime.rig import Rig, living

pytestmark = [pytest.mark.crash, pytest.mark.slow]
OPERATIONS = (
    ("prefixes", "AssignPrivateIpAddresses"),
    ("prefixes", "CreateNetworkInterface"),
    ("prefixes", "CreateTags"),
    ("prefixes", "AttachNetworkInterface"),
    ("prefixes", "ModifyNetworkInterfaceAttribute"),
    ("prefixes", "UnassignPrivateIpAddresses"),
    ("addresses", "CreateNetworkInterface"),
    ("addresses", "DetachNetworkInterface"),
    ("addresses", "DeleteNetworkInterface"),
)


def killed(directory: Path, mode: str, operation: str, point: str) -> list[list[str]]:
    """What a process that killed itself there had been answered, as words."""
    words = [sys.executable, "-m", "tests.crash.doomed", str(directory), mode, operation, point]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, f"{operation} was never called: {done.returncode} {done.stderr}"
    return [line.split() for line in done.stdout.splitlines()]


def known(answers: list[list[str]]) -> dict[str, str]:
    """Pod -> address after all answers."""
    pods: dict[str, str] = {}
    for verb, pod, *address in answers:
        if verb == "add":
            pods[pod] = address[0]
        else:
            del pods[pod]
    return pods


def assigned(rig: Rig) -> dict[str, str]:
    """Pod -> address in State."""
    found = {}
    for eni in rig.state.enis.values():
        for block in eni.blocks.values():
            for offset, record in block.records.items():
                if record.sandbox is not None:
                    found[record.sandbox.container.removeprefix("container-")] = dotted(block.base + offset)
    return found


def dotted(value: int) -> str:
    """Dotted text."""
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))


def stored(rig: Rig) -> dict[str, set[str]]:
    """ENI -> blocks as State has them."""
    return {eni.eni: set(eni.blocks) for eni in rig.state.enis.values()}


def in_cloud(rig: Rig) -> dict[str, set[str]]:
    """ENI -> blocks as the cloud has them, unattached ENIs included."""
    return {
        eni.eni: {*eni.prefixes, *(f"{address}/32" for address in eni.addresses[1:])}
        for eni in rig.cloud.vpc.enis.values()
    }


@pytest.mark.parametrize("point", ["before", "between", "after"])
@pytest.mark.parametrize("mode, operation", OPERATIONS, ids=[f"{m}-{o}" for m, o in OPERATIONS])
def test_a_crash_around_a_call_leaks_nothing(tmp_path: Path, mode: str, operation: str, point: str) -> None:
    """Answered pods are as they were; the store and the cloud agree again, and the plan is empty."""
    answers = killed(tmp_path, mode, operation, point)
    settings, pods = MODES[mode]

    async def next_tenure() -> None:
        clock = ManualClock(bounds(tmp_path).last_at + SECOND)
        async with living(tmp_path, settings, cloud=CLOUD, max_pods=pods, clock=clock) as rig:
            first = rig.records[0].events
            at_start = assigned(rig)
            await rig.advance(900)

            if point != "after":
                assert isinstance(first[0], ev.CallEnded) and first[0].ended == "lost"
            difference = at_start.items() ^ known(answers).items()
            assert len(difference) <= 1, "one answer may have been on its way"
            assert assigned(rig) == at_start
            assert stored(rig) == in_cloud(rig)
            assert plan(rig.state, clock.now()).calls == ()

    asyncio.run(next_tenure())
