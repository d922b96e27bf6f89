"""Timeouts of connection tracking of the model's ENIs."""

from __future__ import annotations

import pytest

from ipamd.core.types import ConnectionTracking
from ipamd.ec2 import answers, requests
from ipamd.ec2.vpc import make_vpc
from tests.ec2.asking import asked, code
from tests.ec2.worlds import primary, subnet_of


@pytest.mark.spec("EC2-34")
@pytest.mark.parametrize(
    ("tracking", "allowed"),
    [
        (ConnectionTracking(60, 60, 30), True),
        (ConnectionTracking(432_000, 180, 60), True),
        (ConnectionTracking(tcp_established=59), False),
        (ConnectionTracking(udp_stream=181), False),
        (ConnectionTracking(udp=61), False),
    ],
)
def test_timeouts_of_connection_tracking_have_bounds(tracking: ConnectionTracking, allowed: bool) -> None:
    """EC2 refuses what is outside, at creation and later; what it took is shown."""
    vpc = make_vpc()
    make = requests.CreateNetworkInterface(subnet=subnet_of(vpc), tracking=tracking)
    change = requests.ModifyNetworkInterfaceAttribute(primary(vpc), tracking=tracking)

    if allowed:
        assert asked(vpc, make, answers.NetworkInterface).tracking == tracking
        asked(vpc, change, answers.Done)
        assert vpc.enis[primary(vpc)].tracking == tracking
    else:
        assert [code(vpc, make), code(vpc, change)] == ["InvalidParameterValue"] * 2
