"""Random lives of one node against the pure cloud: safety after every record, liveness when the faults stop."""

from __future__ import annotations

import os
from ipaddress import ip_address, ip_network

import msgspec
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ipamd.core import invariants, snapshot
from ipamd.core.calls import INSUFFICIENT_CODES
from ipamd.core.commands import AddNetwork, Assigned, DelNetwork, Refused, Released
from ipamd.core.decide import decide
from ipamd.core.events import CallEnded, CallStarted, CidrRemoved, EniLeft, Record
from ipamd.core.evolve import fold
from ipamd.core.plan import plan
from ipamd.core.settings import Quirks, Settings
from ipamd.core.state import State
from ipamd.core.types import MS, SECOND, Pod, Sandbox
from ipamd.ec2.latency import Latency
from ipamd.ec2.state import VpcSettings
from ipamd.ec2.vpc import make_vpc, node_of
from ipamd.sim.engine import EPOCH, Engine

from .cards_world import TWO_CARDS

STRICT = Quirks(**{name: True for name in Quirks.__struct_fields__})
ACTIONS = (
    "AssignPrivateIpAddresses", "UnassignPrivateIpAddresses", "CreateNetworkInterface", "AttachNetworkInterface",
    "ModifyNetworkInterfaceAttribute", "DetachNetworkInterface", "DeleteNetworkInterface", "AssignIpv6Addresses",
    "DescribeNetworkInterfaces", "DescribeInstances", "DescribeSubnets", "FindNetworkInterfaces", "ReadMetadata",
)  # fmt: skip
CODES = ("InsufficientCidrBlocks", "InsufficientFreeAddressesInSubnet", "PrivateIpAddressLimitExceeded",
         "RequestLimitExceeded", "UnauthorizedOperation", "InternalError")  # fmt: skip

pool_settings = st.builds(
    Settings,
    warm_ip_target=st.sampled_from([0, 0, 1, 2, 5]),
    minimum_ip_target=st.sampled_from([0, 0, 3, 10]),
    warm_eni_target=st.sampled_from([0, 1, 1, 2]),
    warm_prefix_target=st.sampled_from([0, 1, 1, 2]),
    max_eni=st.sampled_from([0, 0, 2]),
    prefix_delegation=st.booleans(),
    ip_cooldown_period=st.sampled_from([0, 30, 30, 90]),
    subnet_discovery=st.booleans(),
    quirks=st.sampled_from([Quirks(), Quirks(), STRICT]),
    multi_nic=st.booleans(),
)
node_kinds = st.sampled_from(["t3.small", "t3.small", "c5.large", TWO_CARDS, "ipv6"])
"""Instance types; or one that serves IPv6."""


class Life(RuleBasedStateMachine):
    """A node's life; `self.held` is what its callers believe."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Record] = []
        self.held: dict[Sandbox, tuple[str, ...]] = {}
        self.ipv6 = False
        self.released: dict[str, int] = {}
        self.serial = 0

    @initialize(
        chosen=pool_settings,
        kind=node_kinds,
        subnet=st.sampled_from(["10.0.0.0/24", "10.0.0.0/26", "10.0.0.0/20"]),
        latency=st.sampled_from(["none", "realistic"]),
        seed=st.integers(0, 2**16),
    )
    def begin(self, chosen: Settings, kind: str, subnet: str, latency: str, seed: int) -> None:
        lag = 1500 * MS if latency == "realistic" else 0
        self.ipv6 = kind == "ipv6"
        cloud = VpcSettings(seed=seed, metadata_lag=lag)
        instance_type = TWO_CARDS if self.ipv6 else kind
        vpc = make_vpc(cloud, instance_type=instance_type, subnet=subnet, now=EPOCH, ipv6=self.ipv6)
        chosen = self.of_family(chosen)
        node = msgspec.structs.replace(node_of(vpc), max_pods=10_000)
        answers = Latency("realistic" if latency == "realistic" else "none", seed)
        self.engine = Engine(vpc, chosen, node, latency=answers, sink=self.written)
        self.engine.start(seed)
        self.wait_ready()

    def of_family(self, chosen: Settings) -> Settings:
        """The settings as a node of this family has them."""
        return msgspec.structs.replace(chosen, ipv6=True, prefix_delegation=True) if self.ipv6 else chosen

    def written(self, record: Record) -> None:
        """After each record: the invariants, and nothing assigned that the cloud does not have on this node."""
        self.records.append(record)
        invariants.check(self.engine.state)
        for event in record.events:
            if isinstance(event, CidrRemoved):
                self.block_left(event, record.at)
            elif isinstance(event, EniLeft) and event.why == "gone":
                self.released.clear()

    def block_left(self, event: CidrRemoved, at: int) -> None:
        """What the pool gives back has cooled; what the cloud took may come again at any time."""
        network = ip_network(event.cidr)
        inside = [address for address in self.released if ip_address(address) in network]
        if event.why in ("restart", "resync") or self.engine.settings.quirks.cooling_released_by_scale_down:
            for address in inside:
                del self.released[address]
            return
        cooldown = self.engine.state.cooldown
        assert all(at - self.released[address] > cooldown for address in inside), f"{event.cidr} still cools"

    def wait_ready(self) -> None:
        """Init ends by itself: at the latest after every retry of every step."""
        for _ in range(200):
            if self.engine.state.phase == "ready":
                return
            self.engine.advance(self.engine.now + 10 * SECOND)
        raise AssertionError(f"init hangs at {self.engine.state.pool.work}")

    @rule(count=st.integers(1, 20))
    def add(self, count: int) -> None:
        """Pods arrive; a granted address is nobody else's and has cooled."""
        for _ in range(count):
            self.serial += 1
            sandbox = Sandbox("aws-cni", f"c{self.serial}", "eth0")
            answer = self.engine.submit(AddNetwork(sandbox, Pod("default", f"pod-{self.serial}", 1)))
            assert isinstance(answer, Assigned | Refused)
            if isinstance(answer, Assigned):
                self.granted(sandbox, answer)

    def granted(self, sandbox: Sandbox, answer: Assigned) -> None:
        for address in addresses(answer):
            assert all(address not in held for held in self.held.values())
            last = self.released.get(address)
            if last is not None:
                assert self.engine.now - last > self.engine.state.cooldown, "the cooldown was not respected"
        self.held[sandbox] = addresses(answer)

    @precondition(lambda self: self.engine.settings.multi_nic)
    @rule()
    def add_multi_nic(self) -> None:
        """A pod that wants an address of each card; one that was refused is deleted, as the runtime does."""
        self.serial += 1
        sandbox = Sandbox("aws-cni", f"m{self.serial}", "eth0")
        answer = self.engine.submit(AddNetwork(sandbox, Pod("default", f"pod-{self.serial}"), multi_nic=True))
        assert isinstance(answer, Assigned | Refused)
        if isinstance(answer, Assigned):
            assert len(addresses(answer)) == len(self.engine.state.cards)
            self.granted(sandbox, answer)
            return
        for store in self.engine.state.stores.values():
            if sandbox in store.owners:
                block, offset = store.owners[sandbox]
                self.released[block.address(offset)] = self.engine.now
        self.engine.submit(DelNetwork(sandbox, "SetupNSFailed"))
        assert all(sandbox not in store.owners for store in self.engine.state.stores.values())

    @precondition(lambda self: self.held)
    @rule(data=st.data(), count=st.integers(1, 12))
    def delete(self, data: st.DataObject, count: int) -> None:
        """Pods go."""
        for _ in range(min(count, len(self.held))):
            sandbox = data.draw(st.sampled_from(sorted(self.held, key=lambda s: s.container)))
            answer = self.engine.submit(DelNetwork(sandbox, "PodDeleted"))
            expected = self.held.pop(sandbox)
            assert isinstance(answer, Released) and addresses(answer) == expected
            self.released |= dict.fromkeys(expected, self.engine.now)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """The same ADD again gives the same address (DM-30)."""
        sandbox = data.draw(st.sampled_from(sorted(self.held, key=lambda s: s.container)))
        if self.engine.settings.quirks.repeated_add_per_store:
            return  # it may get another one there
        answer = self.engine.submit(AddNetwork(sandbox))
        assert isinstance(answer, Assigned) and answer.repeated and answer.address == self.held[sandbox][0]

    @rule(seconds=st.sampled_from([0.1, 1, 2.5, 5, 31, 61, 130]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.engine.advance(self.engine.now + int(seconds * SECOND))

    @rule(action=st.sampled_from(ACTIONS), code=st.sampled_from(CODES), times=st.integers(1, 3))
    def fault(self, action: str, code: str, times: int) -> None:
        """EC2 refuses something soon."""
        self.engine.vpc.faults.fail_next(action, code, times=times)

    @rule(action=st.sampled_from(ACTIONS[:8]), effect=st.booleans())
    def lose(self, action: str, effect: bool) -> None:
        """An answer of EC2 gets lost, with or without the effect."""
        self.engine.vpc.faults.lose_next(action, effect=effect)

    @rule(chosen=pool_settings)
    def restart(self, chosen: Settings) -> None:
        """SIGKILL and a new process, other settings included: nothing held is lost (upstream: what metadata lags)."""
        quirks = self.engine.state.settings.quirks
        self.engine.vpc.faults.clear()
        now, cooldown = self.engine.now, self.engine.state.cooldown
        self.released = {address: at for address, at in self.released.items() if now - at <= cooldown}
        multi_nic = self.engine.settings.multi_nic
        self.engine.settings = self.of_family(msgspec.structs.replace(chosen, quirks=quirks, multi_nic=multi_nic))
        if quirks.restart_forgets:
            self.released.clear()
        self.engine.start(self.serial)
        self.wait_ready()
        if quirks.restart_trusts_metadata:
            self.held = {sandbox: held for sandbox, held in self.owned().items() if sandbox in self.held}

    @invariant()
    def nothing_assigned_that_the_cloud_lacks(self) -> None:
        """Every assigned address is on the ENI that State says, in the cloud."""
        if not hasattr(self, "engine"):
            return
        for eni in self.engine.state.enis.values():
            row = self.engine.vpc.enis.get(eni.eni)
            there = {*(row.addresses + row.prefixes + row.ipv6_prefixes if row else ())}
            for cidr, block in eni.blocks.items():
                if block.assigned:
                    assert row is not None and cidr.removesuffix("/32") in there, f"{cidr} is not on {eni.eni}"

    @invariant()
    def callers_and_state_agree(self) -> None:
        """What callers were told is what State holds."""
        if not hasattr(self, "engine"):
            return
        assert self.owned() == self.held

    def owned(self) -> dict[Sandbox, tuple[str, ...]]:
        """What State holds, by sandbox, in the order of the cards."""
        owned: dict[Sandbox, tuple[str, ...]] = {}
        for store in self.engine.state.stores.values():
            for sandbox, (block, offset) in store.owners.items():
                owned[sandbox] = (*owned.get(sandbox, ()), block.address(offset))
        return owned

    def teardown(self) -> None:
        """Replay equals live, every cause decides again what was recorded, and the plan comes to rest."""
        if not hasattr(self, "engine"):
            return
        self.replay()
        self.engine.vpc.faults.clear()
        if not flaps(self.engine.settings):
            self.rests()

    def replay(self) -> None:
        state = State()
        for record in self.records:
            assert decide(state, record.cause, record.at).events == record.events
            fold(state, record)
        assert snapshot.encode(state) == snapshot.encode(self.engine.state)
        assert snapshot.encode(snapshot.fork(state)) == snapshot.encode(state)

    def rests(self) -> None:
        """Liveness: without faults and demand the pool wants nothing more, within the longest pause and retries."""
        for _ in range(20):
            if self.quiet():
                return
        raise AssertionError(f"the pool does not rest: {plan(self.engine.state, self.engine.now)}")

    def quiet(self) -> bool:
        """No call for two minutes, but for those that a full subnet refuses (POOL-28: asked again for ever)."""
        seq = self.engine.state.seq
        self.engine.advance(self.engine.now + 130 * SECOND)
        events = [event for record in self.records[seq:] for event in record.events]
        started = {event.call_id for event in events if isinstance(event, CallStarted)}
        ended = [event for event in events if isinstance(event, CallEnded)]
        return started <= {event.call_id for event in ended if event.code in INSUFFICIENT_CODES}


def addresses(answer: Assigned | Released) -> tuple[str, ...]:
    """Of every card, in their order."""
    return (answer.address, *(other.address for other in answer.others))


def flaps(chosen: Settings) -> bool:
    """Settings under which the pool never rests upstream either, or cannot for want of room."""
    if chosen.prefix_delegation:
        no_targets = not chosen.warm_ip_target and not chosen.minimum_ip_target
        return no_targets and not chosen.warm_prefix_target
    return not chosen.warm_eni_target


class LifeTest(Life.TestCase):  # type: ignore[valid-type,misc]
    """Hypothesis drives it; more examples with IPAMD_EXAMPLES."""

    settings = settings(
        max_examples=int(os.environ.get("IPAMD_EXAMPLES", "60")),
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.reuse, Phase.generate] if os.environ.get("IPAMD_NO_SHRINK") else list(Phase),
    )
