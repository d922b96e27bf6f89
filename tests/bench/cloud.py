"""The VPC model against stock moto: calls in this process, and the moto door against moto's own server over HTTP.

A round is the same five calls on both sides: create an ENI, assign an address, describe the ENI, unassign, delete.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config
from moto import mock_aws

from ipamd.ec2 import answers, requests
from ipamd.ec2 import vpc as model
from ipamd.ec2.state import Vpc, VpcSettings

from .figures import Line, interleaved, number, ratios, spread
from .place import Place
from .processes import BIN, serving
from .sizes import Sizes

REGION: Final = "us-west-2"
SUBNET: Final = "10.3.0.0/20"
CALLS: Final = 5
"""Of one round."""
_ACCOUNT: Final = {"region_name": REGION, "aws_access_key_id": "any", "aws_secret_access_key": "any"}
HTTP_TIMES: Final = 5
"""As many rounds over HTTP as in process, and shorter ones: two servers and a client on two cores are restless."""
MODEL_TIMES: Final = 50
"""Rounds of the model for one of moto: it would be over before the clock has moved."""


def run(sizes: Sizes, place: Place) -> list[Line]:
    """Two lines: the model in process, the door over HTTP."""
    return [_in_process(sizes), _over_http(sizes, place)]


def _in_process(sizes: Sizes) -> Line:
    cloud = _Model()
    with mock_aws():
        ec2 = boto3.client("ec2", **_ACCOUNT)
        subnet = _subnet(ec2)
        moto, ours = interleaved(
            sizes.rounds,
            lambda: _seconds(lambda: _round(ec2, subnet), sizes.cloud_rounds),
            lambda: _seconds(cloud.round, sizes.cloud_rounds * MODEL_TIMES),
        )
    facts = {"model": _rate(ours), "moto": _rate(moto)}
    what = "vpc.py, calls per second against stock moto in process through boto3"
    return Line("vpc model", what, ratios(moto, ours), bound=50, better="higher", facts=facts)


def _over_http(sizes: Sizes, place: Place) -> Line:
    log = place.disk / "moto.log"
    stock: list[str | Path] = [sys.executable, "-m", "tests.bench.stock_moto"]
    words = ["ec2", "serve", "--port", "0", "--region", REGION, "--subnet", "10.4.0.0/20"]
    ours: list[str | Path] = [BIN / "ipamd", *words]
    with serving(stock, log) as theirs, serving(ours, log) as door:
        clients = [_client(theirs.ready["endpoint"]), _client(door.ready["endpoint"])]
        subnets = [_subnet(client) for client in clients]
        moto, door_seconds = interleaved(
            sizes.rounds * HTTP_TIMES,
            lambda: _seconds(lambda: _round(clients[0], subnets[0]), sizes.cloud_rounds),
            lambda: _seconds(lambda: _round(clients[1], subnets[1]), sizes.cloud_rounds),
        )
    facts = {"door": _each(door_seconds), "moto": _each(moto)}
    what = "ipamd ec2 serve, time of a call over HTTP against stock moto's server"
    return Line("moto door", what, ratios(door_seconds, moto), bound=1.2, facts=facts)


class _Model:
    """A cloud with one subnet, and the five calls on it."""

    def __init__(self) -> None:
        self._cloud: Vpc = model.make_vpc(VpcSettings(), subnet=SUBNET)
        self._subnet = next(iter(self._cloud.subnets))

    def round(self) -> None:
        """The five calls."""
        made = self._ask(requests.CreateNetworkInterface(subnet=self._subnet))
        assert isinstance(made, answers.NetworkInterface)
        given = self._ask(requests.AssignPrivateIpAddresses(eni=made.eni, address_count=1))
        assert isinstance(given, answers.Granted)
        self._ask(requests.DescribeNetworkInterfaces(ids=(made.eni,)))
        self._ask(requests.UnassignPrivateIpAddresses(eni=made.eni, addresses=given.addresses))
        self._ask(requests.DeleteNetworkInterface(eni=made.eni))

    def _ask(self, request: requests.Request) -> object:
        return model.serve(self._cloud, request, 0).answer


def _round(ec2: Any, subnet: str) -> None:
    name = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    ec2.assign_private_ip_addresses(NetworkInterfaceId=name, SecondaryPrivateIpAddressCount=1)
    (eni,) = ec2.describe_network_interfaces(NetworkInterfaceIds=[name])["NetworkInterfaces"]
    second = eni["PrivateIpAddresses"][1]["PrivateIpAddress"]
    ec2.unassign_private_ip_addresses(NetworkInterfaceId=name, PrivateIpAddresses=[second])
    ec2.delete_network_interface(NetworkInterfaceId=name)


def _client(endpoint: str) -> Any:
    once = Config(retries={"total_max_attempts": 1})
    return boto3.client("ec2", endpoint_url=endpoint, config=once, **_ACCOUNT)


def _subnet(ec2: Any) -> str:
    vpc = ec2.create_vpc(CidrBlock="10.3.0.0/16")["Vpc"]["VpcId"]
    made = ec2.create_subnet(VpcId=vpc, CidrBlock=SUBNET, AvailabilityZone=f"{REGION}a")
    name: str = made["Subnet"]["SubnetId"]
    return name


def _seconds(once: Callable[[], None], times: int) -> float:
    """Of one round, on average."""
    began = time.perf_counter()
    for _ in range(times):
        once()
    return (time.perf_counter() - began) / times


def _rate(seconds: list[float]) -> str:
    return f"{number(CALLS / spread(seconds).median)} calls/s"


def _each(seconds: list[float]) -> str:
    return f"{number(spread(seconds).median / CALLS * 1e3)} ms a call"
