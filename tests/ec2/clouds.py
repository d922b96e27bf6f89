"""Embedded clouds to open, fill, abandon and open again."""

from __future__ import annotations

from pathlib import Path

from ipamd.core.calls import (
    AssignPrivateIpAddresses,
    AttachNetworkInterface,
    CreatedEni,
    CreateTags,
)
from ipamd.core.types import SECOND, CallId
from ipamd.ec2.embedded import CloudOptions, EmbeddedCloud
from tests.ec2.worlds import creation

SMALL = CloudOptions(instance_type="m5.large", subnet="10.0.0.0/24")


class Clock:
    """A clock that a test sets; sleeping moves it."""

    def __init__(self) -> None:
        self.now = 1_000 * SECOND
        self.slept: list[float] = []

    def __call__(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += round(seconds * SECOND)


def reopened(directory: Path, options: CloudOptions = CloudOptions()) -> EmbeddedCloud:  # noqa: B008
    return EmbeddedCloud.open(directory, options, clock=Clock())


def abandon(cloud: EmbeddedCloud) -> None:
    """What the death of a process does: descriptors close, nothing is written."""
    cloud._log.close()


def log_of(directory: Path) -> Path:
    return directory / "cloud" / "cloud.jsonl"


async def populated(directory: Path) -> EmbeddedCloud:
    """A cloud with a second ENI, a prefix, an address and tags."""
    cloud = EmbeddedCloud.open(directory, SMALL, clock=Clock())
    eni = await cloud.call(creation(cloud.vpc, token="t-1", secondary_ips=2), CallId(7))
    assert isinstance(eni, CreatedEni)
    await cloud.call(AttachNetworkInterface(eni.eni, 1))
    await cloud.call(AssignPrivateIpAddresses(eni.eni, prefixes=1))
    await cloud.call(CreateTags(eni.eni, {"who": "web-0"}))
    return cloud
