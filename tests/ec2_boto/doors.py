"""A boto door for tests: bound to an instance that nobody asks metadata for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ipamd.ec2.boto import BotoCloud
from ipamd.ec2.boto_client import Access, Clients
from ipamd.ec2.boto_imds import Imds, InstanceFacts
from ipamd.ec2.boto_threads import Threads

FACTS = InstanceFacts(
    instance="i-0a",
    instance_type="m5.large",
    account="123456789012",
    region="us-west-2",
    zone="us-west-2a",
    vpc="vpc-0a",
    subnet="subnet-0a",
    primary_eni="eni-0a",
    primary_ip="10.0.0.10",
)
KEY = ("nobody", "nothing")


@asynccontextmanager
async def door(endpoint: str, seconds: float = 5.0, key: tuple[str, str] | None = KEY) -> AsyncIterator[BotoCloud]:
    """A door to an endpoint on this machine; without a key it asks the credential chain."""
    access = Access(FACTS.region, endpoint, seconds, key)
    cloud = BotoCloud(FACTS, Clients(access), Imds("http://127.0.0.1:1"), Threads())
    try:
        yield cloud
    finally:
        await cloud.close()
