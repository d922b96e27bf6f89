"""Random lives of a node with faults and deaths: in the end EC2 and the store hold the same, and no pod was lost."""

from __future__ import annotations

import random

import pytest

from ipamd.core import events as ev
from ipamd.core.calls import Ec2Call
from ipamd.core.commands import AddNetwork, Assigned, DelNetwork, Released
from ipamd.core.settings import Settings
from ipamd.ec2.vpc import apply
from ipamd.sim.engine import Crashed

from .world import Killed, Lab, pod, sandbox

CALLS = (
    "AssignPrivateIpAddresses", "UnassignPrivateIpAddresses", "CreateNetworkInterface", "AttachNetworkInterface",
    "ModifyNetworkInterfaceAttribute", "DetachNetworkInterface", "DeleteNetworkInterface", "CreateTags",
)  # fmt: skip
LOOKS = ("DescribeNetworkInterfaces", "DescribeInstances", "DescribeSubnets", "FindNetworkInterfaces", "ReadMetadata")
CODES = (
    "InsufficientCidrBlocks", "InsufficientFreeAddressesInSubnet", "PrivateIpAddressLimitExceeded",
    "RequestLimitExceeded", "UnauthorizedOperation", "InternalError",
)  # fmt: skip


class Life:
    """One node; `held` is what its callers were told."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        choose = self.chance.choice
        self.lab = Lab(
            self.settings(),
            instance_type=choose(["t3.small", "t3.small", "c5.large"]),
            subnet=choose(["10.0.0.0/24", "10.0.0.0/26", "10.0.0.0/20"]),
            latency=choose(["none", "realistic"]),
            lag_ms=choose([0, 1500]),
        )
        self.held: dict[str, str] = {}
        self.serial = 0
        self.start()

    def settings(self) -> Settings:
        choose = self.chance.choice
        return Settings(
            warm_ip_target=choose([0, 1, 1, 2, 5]),
            minimum_ip_target=choose([0, 0, 3, 10]),
            warm_prefix_target=1,
            max_eni=choose([0, 0, 2]),
            prefix_delegation=choose([True, False]),
            ip_cooldown_period=choose([0, 5, 30, 90]),
            subnet_discovery=choose([True, True, False]),
        )

    def start(self) -> None:
        """A start that a fault ends is repeated, as whoever supervises a daemon does."""
        for _ in range(20):
            self.serial += 1
            try:
                self.lab.start(self.serial).until(lambda: self.lab.state.phase == "ready", 900)
                return
            except Crashed:
                self.lab.die()
        raise AssertionError(f"the node never starts: {self.lab.state.pool.work}")

    def add(self) -> None:
        self.serial += 1
        name = f"pod-{self.serial}"
        answer = self.lab.engine.submit(AddNetwork(sandbox(name), pod(name)))
        if isinstance(answer, Assigned):
            assert answer.address not in self.held.values(), f"{answer.address} is held twice"
            self.held[name] = answer.address

    def delete(self) -> None:
        name = self.chance.choice(sorted(self.held))
        answer = self.lab.engine.submit(DelNetwork(sandbox(name)))
        assert isinstance(answer, Released) and answer.address == self.held.pop(name)

    def fault(self) -> None:
        choose, faults = self.chance.choice, self.lab.vpc.faults
        if self.chance.random() < 0.6:
            faults.fail_next(choose(CALLS + LOOKS), choose(CODES), times=self.chance.randint(1, 3))
        else:
            faults.lose_next(choose(CALLS), effect=choose([True, False]))

    def death(self) -> None:
        """At one of the next calls, which may have had its effect; a new process, perhaps with other settings."""
        left = self.chance.randint(1, 4)

        def kill_at(record: ev.Record) -> bool:
            nonlocal left
            left -= any(isinstance(event, ev.CallStarted) for event in record.events)
            return left == 0

        self.lab.kill_at = kill_at
        try:
            self.lab.run(60)
        except Killed:
            started = [event.call for event in self.lab.records[-1].events if isinstance(event, ev.CallStarted)]
            if isinstance(started[0], Ec2Call) and self.chance.random() < 0.5:
                apply(self.lab.vpc, started[0], self.lab.now)
        self.lab.kill_at = None
        if self.chance.random() < 0.3:
            self.lab.settings = self.settings()
        self.lab.die()
        self.start()

    def live(self, steps: int) -> None:
        for _ in range(steps):
            step = self.chance.random()
            if step < 0.35:
                for _ in range(self.chance.randint(1, 8)):
                    self.add()
            elif step < 0.6:
                for _ in range(min(len(self.held), self.chance.randint(1, 8))):
                    self.delete()
            elif step < 0.85:
                self.fault()
            elif step < 0.95:
                self.death()
            self.lab.run(self.chance.choice([0, 0.3, 1, 2.5, 5, 31, 61, 130]))
            self.check_pods()

    def check_pods(self) -> None:
        owners = {key.container for store in self.lab.state.stores.values() for key in store.owners}
        assert owners == set(self.held)


@pytest.mark.spec("DM-64", "EC2-8", "EC2-24", "REC-5", "REC-10")
@pytest.mark.parametrize("seed", range(120))
def test_in_the_end_nothing_has_leaked_and_no_pod_was_lost(seed: int) -> None:
    """Without further faults, and one more start for what was given up."""
    life = Life(seed)
    life.live(40)

    life.lab.vpc.faults.clear()
    life.lab.run(700)
    life.lab.die()
    life.start()
    life.lab.run(400)

    life.check_pods()
    assert life.lab.leaks() == []
