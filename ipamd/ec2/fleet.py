"""The door to a cloud for whoever looks after many instances: EC2's actions as they are, of any instance.

`Ec2` (see `port`) is one instance's view; a `Fleet` is a region's. The controller asks it, over nodes that come and go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from ipamd.core.types import SECOND

from . import answers, requests
from .answers import Answer
from .embedded import EmbeddedCloud
from .latency import Latency, Profile
from .limits import limits
from .port import Ec2Error
from .requests import Request
from .vpc import node_of

NO_INSTANCE: Final = "InvalidInstanceID.NotFound"


class Fleet(Protocol):
    """EC2 in one region."""

    async def ask(self, request: Request) -> Answer:
        """One request. Raises `Ec2Error` (no effect) or `Ec2Lost` (effect unknown)."""
        ...

    def expect(self, instance: str, instance_type: str) -> None:
        """A node of the cluster says that it is this instance, of this type ("" if it does not say)."""
        ...

    async def close(self) -> None:
        """End."""
        ...


class EmbeddedFleet:
    """The embedded cloud as a fleet. An instance that a node names is launched when it is first asked for.

    So `kubectl apply` of a Node with a provider id and the label node.kubernetes.io/instance-type is all it takes.
    An instance of a type without known limits cannot be launched; it is described all the same, without interfaces,
    as EC2 describes what a controller's table does not know yet.
    """

    def __init__(
        self,
        cloud: EmbeddedCloud,
        latency: Profile = "none",
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.cloud = cloud
        self._types: dict[str, str] = {}
        self._latency = Latency(latency, cloud.vpc.settings.seed, {})
        self._sleep = sleep
        self._asked = 0

    def expect(self, instance: str, instance_type: str) -> None:
        """See the port; the last word counts until the instance is launched."""
        self._types[instance] = instance_type

    async def ask(self, request: Request) -> Answer:
        """See the port."""
        self._asked += 1
        pause = self._latency.ns(request, self._asked)
        if pause:
            await self._sleep(pause / SECOND)
        if isinstance(request, requests.DescribeInstances):
            for instance in request.ids:
                strange = await self._launched(instance)
                if strange is not None:
                    return answers.Page((strange,))
        return await self.cloud.serve(request)

    async def close(self) -> None:
        """See the port."""
        await self.cloud.close()

    async def _launched(self, instance: str) -> answers.Instance | None:
        """Launch an expected instance that is not there; None, or how one looks that cannot be launched."""
        vpc = self.cloud.vpc
        if instance in vpc.instances or instance in vpc.terminated or instance not in self._types:
            return None
        instance_type = self._types[instance]
        if not instance_type:
            fact = f"The instance ID '{instance}' does not exist"
            remedy = "give its Node the label node.kubernetes.io/instance-type, and the built-in cloud launches it"
            raise Ec2Error("DescribeInstances", NO_INSTANCE, f"{fact}; {remedy}")
        home = node_of(vpc)
        if limits(instance_type) is None:
            return answers.Instance(instance, instance_type, home.zone, vpc=home.vpc, subnet=home.subnet)
        await self.cloud.serve(requests.RunInstances(instance_type, home.subnet, named=(instance,)))
        return None
