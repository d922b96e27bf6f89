"""One server for all tests of a worker; each test makes the subnets that it needs, out of one VPC."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from itertools import count
from typing import Any

import pytest

from .served import VPC_CIDR, Served, serving

_BLOCKS = count(1)


@pytest.fixture(scope="session")
def door() -> Iterator[Served]:
    """A VPC of /16 whose first /24 is the subnet of one m5.large: 3 ENIs of 10 IPv4 slots."""
    with serving("--instance-type", "m5.large", "--subnet", "10.0.0.0/24", "--vpc", VPC_CIDR, "--seed", "7") as served:
        yield served


@pytest.fixture(scope="session")
def ec2(door: Served) -> Any:
    """A client of it."""
    return door.client()


@pytest.fixture
def new_subnet(door: Served, ec2: Any) -> Callable[[int], str]:
    """Makes a subnet of the prefix length asked for, alone in its /24."""

    def make(length: int = 24) -> str:
        base = list(IPv4Network(VPC_CIDR).subnets(new_prefix=24))[next(_BLOCKS)]
        cidr = str(next(base.subnets(new_prefix=length)))
        made = ec2.create_subnet(VpcId=door.line["vpc_id"], CidrBlock=cidr, AvailabilityZone="us-west-2a")
        name: str = made["Subnet"]["SubnetId"]
        return name

    return make


@pytest.fixture
def new_instance(ec2: Any, new_subnet: Callable[[int], str]) -> Iterator[Callable[..., tuple[str, str]]]:
    """Launches an instance; its id and its primary ENI's. It is terminated after the test."""
    launched: list[str] = []

    def launch(instance_type: str = "m5.large", subnet: str = "") -> tuple[str, str]:
        made = ec2.run_instances(
            ImageId="ami-12c6146b",
            InstanceType=instance_type,
            SubnetId=subnet or new_subnet(24),
            MinCount=1,
            MaxCount=1,
        )["Instances"][0]
        launched.append(made["InstanceId"])
        return made["InstanceId"], made["NetworkInterfaces"][0]["NetworkInterfaceId"]

    yield launch
    if launched:
        ec2.terminate_instances(InstanceIds=launched)
