"""A hundred thousand requests of every kind at random: whatever is asked, every promise of the cloud holds."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from ipamd.core.calls import Failed
from ipamd.core.types import SECOND, ip4
from ipamd.ec2 import requests
from ipamd.ec2.answers import Granted
from ipamd.ec2.requests import Request
from ipamd.ec2.space6 import ip6
from ipamd.ec2.state import Vpc, VpcSettings
from ipamd.ec2.vpc import add_subnet, launch, make_vpc, serve
from tests.ec2.truth import check_truth, inside, ranges

TYPES = ("m5.large", "t3.small", "c5.4xlarge", "p4d.24xlarge", "t2.medium")
KINDS = ("interface", "interface", "interface", "trunk", "branch", "efa", "efa-only")


class Asker:
    """Asks for what mostly makes sense, and for what does not now and then."""

    def __init__(self, vpc: Vpc, seed: int) -> None:
        self.vpc = vpc
        self.dice = random.Random(seed)
        self.asks: list[Callable[[], Request]] = [
            self.create, self.create, self.attach, self.attach, self.detach, self.delete, self.delete,
            self.assign, self.assign, self.assign_named, self.unassign, self.unassign, self.assign6, self.unassign6,
            self.reserve, self.unreserve, self.run, self.terminate, self.associate, self.disassociate, self.tag,
        ]  # fmt: skip

    def request(self) -> Request:
        return self.dice.choice(self.asks)()

    def eni(self) -> str:
        return self.dice.choice(list(self.vpc.enis) or ["eni-0"])

    def subnet(self) -> str:
        return self.dice.choice(list(self.vpc.subnets))

    def address(self, subnet: str) -> str:
        space = self.vpc.spaces[subnet]
        number = space.base + self.dice.randrange(space.size + 4)
        return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))

    def prefix(self, subnet: str) -> str:
        space = self.vpc.spaces[subnet]
        number = space.base + self.dice.randrange(space.size >> 4) * 16
        return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0)) + "/28"

    def create(self) -> Request:
        subnet, roll = self.subnet(), self.dice.random()
        return requests.CreateNetworkInterface(
            subnet,
            interface_type=self.dice.choice(KINDS),
            primary=self.address(subnet) if roll < 0.1 else "",
            address_count=self.dice.randrange(5) if roll < 0.5 else 0,
            prefix_count=self.dice.randrange(3) if roll >= 0.5 else 0,
            ipv6_prefix_count=self.dice.randrange(2) if roll > 0.8 else 0,
            token=f"t-{self.dice.randrange(40)}" if 0.2 < roll < 0.3 else "",
        )

    def attach(self) -> Request:
        instance = self.dice.choice(list(self.vpc.instances))
        return requests.AttachNetworkInterface(
            self.eni(), instance, self.dice.randrange(5), self.dice.choice((0, 0, 0, 1))
        )

    def detach(self) -> Request:
        return requests.DetachNetworkInterface(self.dice.choice([*self.vpc.attachments, "eni-attach-0"]))

    def delete(self) -> Request:
        return requests.DeleteNetworkInterface(self.eni())

    def assign(self) -> Request:
        if self.dice.random() < 0.5:
            return requests.AssignPrivateIpAddresses(self.eni(), address_count=self.dice.randrange(6))
        return requests.AssignPrivateIpAddresses(self.eni(), prefix_count=self.dice.randrange(4))

    def assign_named(self) -> Request:
        eni = self.eni()
        subnet, roll = self.vpc.enis[eni].subnet, self.dice.random()
        if roll < 0.5:
            return requests.AssignPrivateIpAddresses(eni, prefixes=(self.prefix(subnet),))
        return requests.AssignPrivateIpAddresses(
            eni, addresses=(self.address(subnet), self.address(subnet)), allow_reassignment=roll < 0.7
        )

    def unassign(self) -> Request:
        row = self.vpc.enis[self.eni()]
        if len(row.addresses) > 2:
            return requests.UnassignPrivateIpAddresses(row.eni, addresses=row.addresses[1::2])
        return requests.UnassignPrivateIpAddresses(row.eni, prefixes=row.prefixes[:2])

    def assign6(self) -> Request:
        if self.dice.random() < 0.5:
            return requests.AssignIpv6Addresses(self.eni(), address_count=self.dice.randrange(4))
        return requests.AssignIpv6Addresses(self.eni(), prefix_count=self.dice.randrange(3))

    def unassign6(self) -> Request:
        row = self.vpc.enis[self.eni()]
        return requests.UnassignIpv6Addresses(row.eni, row.ipv6_addresses[:2], row.ipv6_prefixes[1:])

    def reserve(self) -> Request:
        subnet, kind = self.subnet(), self.dice.choice(("prefix", "explicit"))
        length = self.dice.choice((26, 27, 28, 28) if kind == "prefix" else (27, 28, 30, 32))
        space = self.vpc.spaces[subnet]
        size = 1 << (32 - length)
        number = space.base + self.dice.randrange(max(1, space.size // size)) * size
        text = ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
        return requests.CreateSubnetCidrReservation(subnet, f"{text}/{length}", kind)

    def unreserve(self) -> Request:
        return requests.DeleteSubnetCidrReservation(self.dice.choice(list(self.vpc.reservations) or ["scr-0"]))

    def run(self) -> Request:
        count = self.dice.randrange(1, 3) if len(self.vpc.instances) < 12 else 1001
        return requests.RunInstances(
            self.dice.choice(TYPES),
            max_count=count,
            interfaces=(
                requests.LaunchInterface(subnet=self.subnet(), address_count=self.dice.randrange(3)),
                requests.LaunchInterface(
                    device=1, subnet=self.subnet(), interface_type=self.dice.choice(("interface", "efa")),
                    prefix_count=self.dice.randrange(2), delete_on_termination=self.dice.random() < 0.5,
                ),
            ),
        )  # fmt: skip

    def terminate(self) -> Request:
        names = list(self.vpc.instances)
        return requests.TerminateInstances(tuple(self.dice.sample(names, 1)) if len(names) > 3 else ("i-0",))

    def associate(self) -> Request:
        trunks = [e.eni for e in self.vpc.enis.values() if e.interface_type == "trunk"] or ["eni-0"]
        return requests.AssociateTrunkInterface(self.eni(), self.dice.choice(trunks), self.dice.randrange(6))

    def disassociate(self) -> Request:
        return requests.DisassociateTrunkInterface(self.dice.choice(list(self.vpc.associations) or ["trunk-assoc-0"]))

    def tag(self) -> Request:
        key = str(self.dice.randrange(60))
        if self.dice.random() < 0.5:
            return requests.DeleteTags((self.eni(), self.subnet()), {key: None})
        return requests.CreateTags((self.eni(), self.subnet()), {key: "x"})


def world(placement: str, seed: int) -> Vpc:
    """Three subnets in one zone, one of them with IPv6, and two instances."""
    vpc = make_vpc(
        VpcSettings(seed, "spread" if placement == "spread" else "packed"),
        subnet="10.0.0.0/24", vpc_cidr="10.0.0.0/16", instance_type="c5.4xlarge",
    )  # fmt: skip
    add_subnet(vpc, "10.0.1.0/26", now=0)
    add_subnet(vpc, "10.0.2.0/28", now=0)
    launch(vpc, "t3.small", list(vpc.subnets)[1], now=0)
    serve(vpc, requests.AssociateVpcCidrBlock(vpc.row.vpc, ipv6=True), 0)
    ipv6 = vpc.row.ipv6_cidr.replace("00::/56", "01::/64")
    served = serve(vpc, requests.AssociateSubnetCidrBlock(next(iter(vpc.subnets)), ipv6), 0)
    assert not isinstance(served.answer, Failed), served.answer
    return vpc


def check_grant(vpc: Vpc, request: Request, told: object, kept: dict[str, int]) -> None:
    """What was given unasked lies outside reservations; blocks come from `prefix` reservations while these have any."""
    if isinstance(request, requests.AssignPrivateIpAddresses) and isinstance(told, Granted):
        subnet = vpc.enis[request.eni].subnet
        assert len(told.addresses) == max(request.address_count, len(request.addresses))
        assert len(told.prefixes) == max(request.prefix_count, len(request.prefixes))
        if request.address_count:
            assert not any(inside(ip4(a), ranges(vpc, subnet)) for a in told.addresses)
        if request.prefix_count:
            firsts = [ip4(p.partition("/")[0]) for p in told.prefixes]
            promised, all_reserved = ranges(vpc, subnet, "prefix"), ranges(vpc, subnet)
            from_kept = [f for f in firsts if inside(f, promised)]
            assert len(from_kept) == min(kept[subnet], request.prefix_count)
            assert not any(inside(f, all_reserved) for f in firsts if f not in from_kept)
        if not request.allow_reassignment and request.addresses:
            assert not any(inside(ip4(a), ranges(vpc, subnet, "prefix")) for a in told.addresses)
    if isinstance(request, requests.AssignIpv6Addresses) and isinstance(told, Granted):
        assert all(vpc.spaces6[vpc.enis[request.eni].subnet].holds(ip6(a.partition("/")[0])) for a in told.prefixes)


def live(placement: str, seed: int, steps: int, check_each: int) -> Counter[str]:
    """Ask `steps` times, checking as it goes; how often each action was carried out, and how often each code came."""
    vpc = world(placement, seed)
    asker, heard = Asker(vpc, seed), Counter[str]()
    for step in range(steps):
        request = asker.request()
        kept = {subnet: space.kept.count for subnet, space in vpc.spaces.items()}
        serial = vpc.serial
        served = serve(vpc, request, step * SECOND // 10)
        told = served.answer
        heard[told.code if isinstance(told, Failed) else type(request).__name__] += 1
        assert vpc.serial == serial + bool(served.rows)
        check_grant(vpc, request, told, kept)
        if step % check_each == 0:
            check_truth(vpc)
    check_truth(vpc)
    return heard


@pytest.mark.parametrize("placement", ["packed", "spread"])
def test_every_promise_holds_after_each_request(placement: str) -> None:
    """Addresses, blocks, alignment, reservations, limits and counts, checked after every one of 1500 requests."""
    heard = live(placement, seed=7, steps=1500, check_each=1)

    assert sum(heard.values()) == 1500


def test_a_hundred_thousand_requests_of_every_kind() -> None:
    """Every action gets through, every shortage and limit is met, and the truth is what the counts say."""
    heard = live("packed", seed=1, steps=50_000, check_each=1000)
    heard += live("spread", seed=2, steps=50_000, check_each=1000)

    assert sum(heard.values()) == 100_000
    assert all(heard[type(ask()).__name__] for ask in Asker(world("packed", 0), 0).asks), heard
    for code in (
        "InsufficientFreeAddressesInSubnet", "InsufficientCidrBlocks", "PrivateIpAddressLimitExceeded",
        "AttachmentLimitExceeded", "InvalidIPAddress.InUse", "InvalidParameterValue", "UnsupportedOperation",
        "InvalidNetworkInterface.InUse", "OperationNotPermitted", "InvalidParameterCombination",
    ):  # fmt: skip
        assert heard[code], (code, heard)


def test_the_same_seed_lives_the_same_life() -> None:
    """Two clouds of one seed that are asked the same hold the same, whatever the placement."""
    assert live("spread", seed=5, steps=300, check_each=300) == live("spread", seed=5, steps=300, check_each=300)
    one, two = world("spread", 9), world("spread", 9)
    askers = Asker(one, 9), Asker(two, 9)
    for step in range(400):
        assert serve(one, askers[0].request(), step) == serve(two, askers[1].request(), step)
    assert one.rows() == two.rows()


@pytest.mark.parametrize("placement", ["packed", "spread"])
def test_rows_rebuild_the_cloud_with_everything_in_it(placement: str) -> None:
    """An image of a cloud with reservations, IPv6, trunks and launches restores its spaces and indexes."""
    vpc = world(placement, 3)
    asker = Asker(vpc, 3)
    for step in range(9000):
        serve(vpc, asker.request(), step)
        if step > 3000 and vpc.reservations and vpc.associations and vpc.terminated:
            break
    image = Vpc(vpc.settings)
    image.install(vpc.rows(), vpc.at, settled=True)

    check_truth(image)
    assert image.rows() == vpc.rows()
    assert [s.groups for s in image.spaces.values()] == [s.groups for s in vpc.spaces.values()]
    assert image.reservations and image.associations and image.terminated
