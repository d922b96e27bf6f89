"""A process that kills itself at one point of one EC2 call, in the middle of a pool that grows and shrinks.

    python -m tests.crash.doomed DIR MODE OPERATION POINT

It prints what it was answered, a line each, before it goes on: `add p3 10.0.0.19`, `del p3`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Final

from ipamd.core.calls import Ec2Call
from ipamd.core.commands import AddNetwork, Assigned, DelNetwork
from ipamd.core.settings import Settings
from ipamd.ec2.embedded import CloudOptions, CrashPoint
from ipamd.ec2.port import operation
from tests.runtime.rig import living, sandbox

CLOUD: Final = CloudOptions(instance_type="t3.small")
"""Three ENIs with three slots each."""
MODES: Final = {
    "prefixes": (Settings(prefix_delegation=True, warm_prefix_target=1, ip_cooldown_period=5), 60),
    "addresses": (Settings(warm_eni_target=1, ip_cooldown_period=5), 6),
}
"""Settings, and pods that need two ENIs. An idle ENI goes back with addresses, an idle block with prefixes."""


async def live(directory: Path, mode: str, doomed: str, at: CrashPoint) -> None:
    """Pods come, pods go, and somewhere on the way the process is no more."""

    def crash(point: CrashPoint, call: Ec2Call) -> None:
        if point == at and operation(call) == doomed:
            os.kill(os.getpid(), signal.SIGKILL)

    settings, pods = MODES[mode]
    async with living(directory, settings, cloud=CLOUD, max_pods=pods, crash_at=crash) as rig:
        added = 0
        while added < pods:
            answer = await rig.daemon.datastore.submit(AddNetwork(sandbox(f"p{added}")))
            if isinstance(answer, Assigned):
                print(f"add p{added} {answer.address}", flush=True)
                added += 1
            else:
                await rig.advance(5)
        for i in range(added):
            await rig.daemon.datastore.submit(DelNetwork(sandbox(f"p{i}"), "PodDeleted"))
            print(f"del p{i}", flush=True)
        await rig.advance(900)


if __name__ == "__main__":
    asyncio.run(live(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]))  # type: ignore[arg-type]
