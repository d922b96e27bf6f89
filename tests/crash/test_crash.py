"""SIGKILL at any moment: what was answered is kept, what was not answered is one thing or the other, never both.

make test T='tests/crash --crash-rounds 200'
"""

from __future__ import annotations

import asyncio
import random
import subprocess
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from ipamd.ec2.embedded import EmbeddedCloud
from tests.crash.load import COOLDOWN, Ledger, add_again, held, load
from tests.runtime.spawned import Ended, Spawned

pytestmark = [pytest.mark.crash, pytest.mark.slow]
CHAIN = 10
"""Rounds on one state directory; more rounds are more chains."""
OPTIONS = (
    "--instance-type", "m5.4xlarge", "--max-pods", "110", "--set", "ENABLE_PREFIX_DELEGATION=true",
    "--set", "WARM_IP_TARGET=20", "--set", f"IP_COOLDOWN_PERIOD={COOLDOWN}", "--set", "AWS_VPC_K8S_CNI_LOGLEVEL=error",
)  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a chain of rounds."""
    if "chain" in metafunc.fixturenames:
        rounds, seed = metafunc.config.getoption("--crash-rounds"), metafunc.config.getoption("--crash-seed")
        chains = [(seed + first, min(CHAIN, rounds - first)) for first in range(0, rounds, CHAIN)]
        metafunc.parametrize("chain", chains, ids=[f"seed{seed}-{count}rounds" for seed, count in chains])


def blocks(state_dir: Path) -> list[IPv4Network]:
    """What the cloud says the instance holds, read from its own memory while no daemon has it open."""
    cloud = EmbeddedCloud.open(state_dir)
    found = [
        IPv4Network(block)
        for eni in cloud.vpc.enis.values()
        if eni.attachment
        for block in (*eni.prefixes, *(f"{address}/32" for address in eni.addresses[1:]))
    ]
    asyncio.run(cloud.close())
    return found


async def one_round(daemon: Spawned, ledger: Ledger, seed: int) -> None:
    """Load, and SIGKILL at a moment of the seed's choice, which may be before the first answer."""
    chance = random.Random(seed)
    begun = asyncio.Event()
    loading = asyncio.create_task(load(daemon.grpc, ledger, seed, begun))
    await asyncio.wait_for(begun.wait(), 30)
    await asyncio.sleep(chance.choice((0.02, 0.2, 0.7)) * chance.random())
    daemon.kill()
    await asyncio.wait_for(loading, 60)


def restarted(state_dir: Path, chance: random.Random) -> Spawned:
    """A daemon that came up again, after being killed while it did so now and then."""
    options: tuple[str, ...] = (*OPTIONS, "--latency", chance.choice(("none", "none", "realistic")))
    options = (*options, "--snapshot-every", chance.choice(("10", "100", "10000")))
    while chance.random() < 0.25:
        unlucky = Spawned(state_dir, *options)
        try:
            unlucky.popen.wait(0.1 + 0.5 * chance.random())
        except subprocess.TimeoutExpired:
            pass
        unlucky.kill()
    daemon = Spawned(state_dir, *options)
    try:
        daemon.wait_ready()
    except Ended as ended:
        raise AssertionError(f"the daemon does not come up again: {ended}") from None
    return daemon


def test_what_was_answered_survives_sigkill(tmp_path: Path, chain: tuple[int, int]) -> None:
    """After each restart every answered ADD is there, every answered DEL is gone, no address is held twice."""
    seed, rounds = chain
    ledger = Ledger()
    state_dir = tmp_path / "state"
    chance = random.Random(seed)
    daemon = restarted(state_dir, chance)
    try:
        for number in range(rounds):
            again = f"again: make test T='tests/crash --crash-seed {seed} --crash-rounds {number + 1}'"
            asyncio.run(one_round(daemon, ledger, seed + number))
            in_cloud = blocks(state_dir)
            daemon = restarted(state_dir, chance)
            now = held(daemon.get("/v1/enis"))
            ledger.compare(now)
            asyncio.run(add_again(daemon.grpc, ledger))
            strays = [a for a in now.values() if not any(IPv4Address(a) in block for block in in_cloud)]

            assert ledger.faults == [], again
            assert strays == [], f"assigned, but the cloud does not have them; {again}"
    finally:
        daemon.kill()
    assert ledger.answered >= rounds
