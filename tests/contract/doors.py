"""The doors that the contract is run on, and worlds behind them: one instance in one subnet, for one scenario.

Doors differ in what a test may make of the world behind them; `LACKS` is that table. What a door serves through
the port is the same on each.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from ipamd.core.calls import (
    ENI_NOT_FOUND,
    Attached,
    AttachmentsView,
    AttachNetworkInterface,
    CreatedEni,
    CreateNetworkInterface,
    DeleteNetworkInterface,
    DescribeInstances,
    DescribeNetworkInterfaces,
    DescribeSubnets,
    DetachNetworkInterface,
    Ec2Call,
    Ec2Eni,
    EnisView,
    MetadataEni,
    MetadataView,
    ReadMetadata,
    Subnet,
    SubnetsView,
)
from ipamd.core.settings import Node
from ipamd.ec2 import requests
from ipamd.ec2.boto import KEY_OF_MOTO, BotoCloud, open_boto
from ipamd.ec2.boto_client import Access
from ipamd.ec2.boto_imds import Imds
from ipamd.ec2.embedded import CloudOptions, EmbeddedCloud
from ipamd.ec2.port import Ec2, Ec2Error, Ec2Look
from ipamd.ec2.throttle import REALISTIC as BUCKETS
from tests.moto.served import Served

_T = TypeVar("_T")

DOORS: Final = ("embedded", "moto", "aws")
SECONDS: Final = 9.5


class Need(StrEnum):
    """What a scenario needs of the world beside an instance with room for two more ENIs."""

    SUBNET = "a subnet of a size of its own"
    RESERVATION = "CIDR reservations"
    TYPE = "an instance type of its own"
    LIMIT = "filling an ENI or the instance to its limit"
    THROTTLE = "an account that is throttled"


LACKS: Final[dict[str, dict[Need, str]]] = {
    "embedded": {},
    "moto": {},
    "aws": {
        Need.SUBNET: "the instance is where it is, and its subnet is not for a test to fill",
        Need.RESERVATION: "would change the subnet of others",
        Need.TYPE: "the instance is what it is",
        Need.LIMIT: "the limits depend on the instance; nothing may be left on it for long",
        Need.THROTTLE: "would throttle everybody else of the account",
    },
}
"""What a door cannot do, and why. A scenario that needs it is skipped there, with the reason."""


class World:
    """A door bound to its instance. `ec2` is the port, and all that a scenario may use for what it claims."""

    def __init__(self, ec2: Ec2, node: Node) -> None:
        self.ec2 = ec2
        self.node = node
        self._made: list[str] = []

    async def create(self, **asked: Any) -> CreatedEni:
        """A new ENI in the instance's subnet, with the primary ENI's groups; it is gone when the world ends."""
        groups = tuple(sorted((await self.metadata()).security_groups))
        asked = {"description": "ipamd contract", "token": f"contract-{time.time_ns()}", **asked}
        made = await self.ec2.call(CreateNetworkInterface(self.node.subnet, groups, **asked))
        assert isinstance(made, CreatedEni)
        self._made.append(made.eni)
        return made

    async def attach(self, eni: str, device: int = 0) -> str:
        """The ENI hangs on the instance, at the first free device index by default; the attachment's id."""
        if not device:
            seen = await self.ec2.look(DescribeInstances())
            assert isinstance(seen, AttachmentsView)
            taken = {found.device for found in seen.attachments}
            device = next(index for index in range(1, 100) if index not in taken)
        told = await self.ec2.call(AttachNetworkInterface(eni, device))
        assert isinstance(told, Attached)
        return told.attachment

    async def eni(self, eni: str) -> Ec2Eni:
        """As EC2 describes it."""
        seen = await self.ec2.look(DescribeNetworkInterfaces((eni,)))
        assert isinstance(seen, EnisView)
        return seen.enis[0]

    async def metadata(self) -> MetadataView:
        """What instance metadata shows."""
        seen = await self.ec2.look(ReadMetadata())
        assert isinstance(seen, MetadataView)
        return seen

    async def shown(self, eni: str) -> MetadataEni | None:
        """One ENI in instance metadata."""
        return next((found for found in (await self.metadata()).enis if found.eni == eni), None)

    async def subnet(self) -> Subnet:
        """The instance's own subnet."""
        seen = await self.ec2.look(DescribeSubnets())
        assert isinstance(seen, SubnetsView)
        return next(subnet for subnet in seen.subnets if subnet.subnet == self.node.subnet)

    async def refusal(self, request: Ec2Call | Ec2Look) -> Ec2Error:
        """How EC2 refuses a request that it must refuse."""
        asked: Awaitable[object] = self.ec2.call(request) if isinstance(request, Ec2Call) else self.ec2.look(request)
        with pytest.raises(Ec2Error) as refused:
            await asked
        return refused.value

    async def end(self) -> None:
        """Nothing is left of what was made."""
        for eni in self._made:
            try:
                seen = await self.eni(eni)
                if seen.attachment:
                    await self.ec2.call(DetachNetworkInterface(eni, seen.attachment))
                    await eventually(partial(self.eni, eni), lambda found: found.status == "available")
                await self.ec2.call(DeleteNetworkInterface(eni))
            except Ec2Error as error:
                if error.code != ENI_NOT_FOUND:
                    raise


async def eventually(ask: Callable[[], Awaitable[_T]], accept: Callable[[_T], bool]) -> _T:
    """What is asked for once it is as it must be. The doors on this machine show everything at once; AWS does not."""
    for _ in range(120):
        found = await ask()
        if accept(found):
            return found
        await asyncio.sleep(0.5)
    raise AssertionError(f"not within a minute; at last: {found}")


def aws_is_asked_for() -> bool:
    """AWS is only ever asked by name, and never in CI."""
    return os.environ.get("IPAMD_CONTRACT_AWS") == "yes" and "CI" not in os.environ


def skip_reason(door: str, needs: Sequence[Need]) -> str:
    """Why a scenario cannot run on a door; "" if it can."""
    if door == "aws" and not aws_is_asked_for():
        return "opt in on an EC2 instance, outside CI: IPAMD_CONTRACT_AWS=yes"
    return next((f"{door} lacks {need}: {LACKS[door][need]}" for need in needs if need in LACKS[door]), "")


@asynccontextmanager
async def embedded(
    directory: Path, subnet: str, instance_type: str, reservations: dict[str, str], throttled: bool = False
) -> AsyncIterator[World]:
    """A cloud in this process."""
    buckets = dict(BUCKETS) if throttled else {}
    cloud = EmbeddedCloud.open(directory, CloudOptions(instance_type=instance_type, subnet=subnet, buckets=buckets))
    try:
        node = await cloud.node()
        for cidr, kind in reservations.items():
            wanted = requests.CreateSubnetCidrReservation(subnet=node.subnet, cidr=cidr, reservation_type=kind)
            await cloud.serve(wanted)
        yield World(cloud, node)
    finally:
        await cloud.close()


@asynccontextmanager
async def moto(served: Served, subnet: str, instance_type: str, reservations: dict[str, str]) -> AsyncIterator[World]:
    """A VPC, a subnet and an instance of its own in a moto server, asked over HTTP by boto3."""
    admin = served.client()
    base = ".".join(subnet.split(".")[:2])
    vpc = admin.create_vpc(CidrBlock=f"{base}.0.0/16")["Vpc"]["VpcId"]
    zone = f"{served.line['region']}a"
    made = admin.create_subnet(VpcId=vpc, CidrBlock=subnet, AvailabilityZone=zone)["Subnet"]["SubnetId"]
    instance = _launch(admin, made, instance_type)
    for cidr, kind in reservations.items():
        admin.create_subnet_cidr_reservation(SubnetId=made, Cidr=cidr, ReservationType=kind)
    async with opened(
        Access("", served.line["endpoint"], SECONDS, KEY_OF_MOTO), f"{served.line['imds']}/{instance}"
    ) as world:
        yield world


def _launch(admin: Any, subnet: str, instance_type: str) -> str:
    told = admin.run_instances(
        ImageId="ami-12c6146b", InstanceType=instance_type, SubnetId=subnet, MinCount=1, MaxCount=1
    )
    return str(told["Instances"][0]["InstanceId"])


@asynccontextmanager
async def aws() -> AsyncIterator[World]:
    """The instance that this machine is."""
    async with opened(Access("", seconds=SECONDS), "") as world:
        yield world


@asynccontextmanager
async def opened(access: Access, imds: str) -> AsyncIterator[World]:
    """A boto door, without the guard: EC2's own refusals are what is looked at."""
    cloud: BotoCloud = await open_boto(access, Imds(imds))
    try:
        world = World(cloud, await cloud.node())
        try:
            yield world
        finally:
            await world.end()
    finally:
        await cloud.close()
