"""A throttled account on every door: EC2's own code, no effect, and it passes."""

from __future__ import annotations

import asyncio

import pytest

from ipamd.core.calls import DescribeSubnets, SubnetsView
from ipamd.ec2.port import Ec2Error
from tests.contract.conftest import Worlds
from tests.contract.doors import Need, World, eventually

pytestmark = pytest.mark.asyncio
BURST = 120
"""More requests at once than the bucket of what only reads holds (100, an assumption)."""


async def asked(world: World) -> str:
    """EC2's code of one look; "" for an answer."""
    try:
        seen = await world.ec2.look(DescribeSubnets())
    except Ec2Error as error:
        return error.code
    assert isinstance(seen, SubnetsView) and seen.subnets
    return ""


async def test_a_burst_is_throttled_and_passes(a_world: Worlds) -> None:
    """Each look is answered or refused with RequestLimitExceeded, nothing else; a moment later all is well.

    boto3 waits and tries again by itself, so over HTTP a burst may be answered in the end.
    """
    world = await a_world(Need.THROTTLE)
    codes = await asyncio.gather(*(asked(world) for _ in range(BURST)))
    later = await eventually(lambda: asked(world), lambda code: code == "")

    assert set(codes) <= {"", "RequestLimitExceeded"}
    assert codes.count("") >= 100
    assert later == ""
