"""Only ENIs that upstream's tag rules give to the node are changed (DM-48, DM-49, EC2-42), whatever is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from ipamd.core.adopt import CREATED_AT
from ipamd.core.calls import (
    AssignPrivateIpAddresses,
    Attached,
    AttachNetworkInterface,
    CreatedEni,
    CreateNetworkInterface,
    CreateTags,
    DeleteNetworkInterface,
    DescribeNetworkInterfaces,
    DetachNetworkInterface,
    Done,
    Ec2Call,
    ModifyNetworkInterfaceAttribute,
    UnassignPrivateIpAddresses,
)
from ipamd.core.cards import INSTANCE_TAG, NO_MANAGE_TAG
from ipamd.core.settings import Node
from ipamd.ec2.boto_guard import Guarded
from ipamd.ec2.embedded import EmbeddedCloud
from ipamd.ec2.port import Ec2Error


class World:
    """An account seen twice: by its owner, and through the guard of the one instance."""

    def __init__(self, cloud: EmbeddedCloud, node: Node, manage_untagged: bool) -> None:
        self.cloud = cloud
        self.node = node
        self.guarded = Guarded(cloud, node, manage_untagged=manage_untagged)

    async def eni(self, tags: dict[str, str], *, attached: bool = True, description: str = "") -> tuple[str, str]:
        """Somebody's ENI; its id and attachment."""
        made = await self.cloud.call(CreateNetworkInterface(self.node.subnet, (), description, "", tags=tags))
        assert isinstance(made, CreatedEni)
        if not attached:
            return made.eni, ""
        result = await self.cloud.call(AttachNetworkInterface(made.eni, len(self.cloud.vpc.attachments)))
        assert isinstance(result, Attached)
        return made.eni, result.attachment

    async def refusal(self, call: Ec2Call) -> str:
        """Why the guard stops the call; "" if it lets it through. Nothing was changed if it stops it."""
        before = self.cloud.vpc.serial
        try:
            await self.guarded.call(call)
        except Ec2Error as error:
            stopped = error
        else:
            return ""
        assert (stopped.code, self.cloud.vpc.serial) == ("", before)
        return stopped.message


@asynccontextmanager
async def world(directory: Path, *, manage_untagged: bool = True) -> AsyncIterator[World]:
    """A new account."""
    cloud = EmbeddedCloud.open(directory)
    try:
        yield World(cloud, await cloud.node(), manage_untagged)
    finally:
        await cloud.close()


@pytest.mark.asyncio
async def test_what_it_makes_is_its_own(tmp_path: Path) -> None:
    """From the first call to the last, without a tag."""
    async with world(tmp_path) as it:
        made = await it.guarded.call(CreateNetworkInterface(it.node.subnet, (), "", "t"))
        assert isinstance(made, CreatedEni)
        attached = await it.guarded.call(AttachNetworkInterface(made.eni, 1))
        assert isinstance(attached, Attached)

        assert await it.refusal(AssignPrivateIpAddresses(made.eni, prefixes=1)) == ""
        assert await it.refusal(DetachNetworkInterface(made.eni, attached.attachment)) == ""
        assert await it.refusal(DeleteNetworkInterface(made.eni)) == ""


@pytest.mark.spec("DM-48")
@pytest.mark.asyncio
async def test_an_eni_that_is_not_managed_is_left_alone(tmp_path: Path) -> None:
    """DM-48 rule 1, for every call."""
    async with world(tmp_path) as it:
        eni, attachment = await it.eni({NO_MANAGE_TAG: "true", INSTANCE_TAG: it.node.instance})
        for call in (
            AssignPrivateIpAddresses(eni, prefixes=1),
            UnassignPrivateIpAddresses(eni, addresses=("10.0.0.5",)),
            ModifyNetworkInterfaceAttribute(eni, security_groups=("sg-1",)),
            CreateTags(eni, {"a": "b"}),
            DetachNetworkInterface(eni, attachment),
            DeleteNetworkInterface(eni),
        ):
            why = await it.refusal(call)
            assert why.startswith(f"{eni}: tagged {NO_MANAGE_TAG}=true; it is left alone"), why


@pytest.mark.asyncio
async def test_a_tag_that_comes_later_counts(tmp_path: Path) -> None:
    """What was ours is not, once it was seen with the tag; and is again without."""
    async with world(tmp_path) as it:
        eni, _ = await it.eni({}, attached=False)
        await it.cloud.call(AttachNetworkInterface(eni, 1))
        before = await it.refusal(CreateTags(eni, {"a": "b"}))
        await it.cloud.call(CreateTags(eni, {NO_MANAGE_TAG: "true"}))
        await it.guarded.look(DescribeNetworkInterfaces((eni,)))
        marked = await it.refusal(CreateTags(eni, {"a": "c"}))
        await it.cloud.call(CreateTags(eni, {NO_MANAGE_TAG: "no"}))
        after = await it.refusal(CreateTags(eni, {"a": "d"}))

    assert (before, after) == ("", "")
    assert NO_MANAGE_TAG in marked


@pytest.mark.spec("DM-48", "DM-49")
@pytest.mark.asyncio
@pytest.mark.parametrize("manage_untagged, allowed", [(True, True), (False, False)])
async def test_an_untagged_eni(tmp_path: Path, manage_untagged: bool, allowed: bool) -> None:
    """DM-48 rule 3: MANAGE_UNTAGGED_ENI; one tagged for another instance counts as untagged."""
    async with world(tmp_path, manage_untagged=manage_untagged) as it:
        for tags in ({}, {INSTANCE_TAG: "i-0ffff"}):
            eni, _ = await it.eni(tags)
            why = await it.refusal(AssignPrivateIpAddresses(eni, prefixes=1))
            assert (why == "") is allowed
            assert allowed or "MANAGE_UNTAGGED_ENI is false" in why


@pytest.mark.spec("DM-48")
@pytest.mark.asyncio
async def test_an_eni_of_this_instance_by_its_tag(tmp_path: Path) -> None:
    """DM-48 rule 2; unattached too, as a lost create is found."""
    async with world(tmp_path, manage_untagged=False) as it:
        attached, _ = await it.eni({INSTANCE_TAG: it.node.instance})
        loose, _ = await it.eni({INSTANCE_TAG: it.node.instance}, attached=False)

        assert await it.refusal(AssignPrivateIpAddresses(attached, prefixes=1)) == ""
        assert await it.refusal(AttachNetworkInterface(loose, 2)) == ""


@pytest.mark.asyncio
async def test_the_primary_eni_stays(tmp_path: Path) -> None:
    """It takes addresses, tags and groups, and is never detached or deleted."""
    async with world(tmp_path) as it:
        primary = it.node.primary_eni
        assert await it.refusal(AssignPrivateIpAddresses(primary, prefixes=1)) == ""
        assert "never detached" in await it.refusal(DetachNetworkInterface(primary, "eni-attach-1"))
        assert "never detached" in await it.refusal(DeleteNetworkInterface(primary))


@pytest.mark.spec("EC2-42", "EC2-43")
@pytest.mark.asyncio
async def test_unattached_enis_of_others(tmp_path: Path) -> None:
    """Left alone, but for leaked ones of any node: tagged with their age, and deleted."""
    async with world(tmp_path) as it:
        stranger, _ = await it.eni({}, attached=False)
        leaked, _ = await it.eni({INSTANCE_TAG: "i-0ffff"}, attached=False, description="aws-K8S-i-0ffff")
        other, _ = await it.eni({INSTANCE_TAG: "i-0ffff"}, attached=False, description="a database")

        assert "unattached" in await it.refusal(DeleteNetworkInterface(stranger))
        assert "unattached" in await it.refusal(AttachNetworkInterface(leaked, 1))
        assert "unattached" in await it.refusal(CreateTags(leaked, {INSTANCE_TAG: it.node.instance}))
        assert await it.refusal(CreateTags(leaked, {CREATED_AT: "2026-01-01T00:00:00Z"})) == ""
        assert await it.refusal(DeleteNetworkInterface(leaked)) == ""
        assert "unattached" in await it.refusal(DeleteNetworkInterface(other))


@pytest.mark.asyncio
async def test_an_eni_of_another_instance(tmp_path: Path) -> None:
    """Attached elsewhere: not even by its tags."""
    async with world(tmp_path) as it:
        there = it.node
        elsewhere = Guarded(it.cloud, replace(there, instance="i-0bbbb", primary_eni="eni-0bbbb"))
        eni, _ = await it.eni({INSTANCE_TAG: "i-0bbbb"})
        with pytest.raises(Ec2Error, match=f"attached to {there.instance}, not to this instance"):
            await elsewhere.call(AssignPrivateIpAddresses(eni, prefixes=1))


@pytest.mark.asyncio
async def test_what_does_not_exist_is_for_ec2_to_refuse(tmp_path: Path) -> None:
    """EC2's own codes reach the machine, which knows them."""
    async with world(tmp_path) as it:
        for call in (DeleteNetworkInterface("eni-0123"), AssignPrivateIpAddresses("eni-0123", prefixes=1)):
            with pytest.raises(Ec2Error) as refused:
                await it.guarded.call(call)
            assert refused.value.code == "InvalidNetworkInterfaceID.NotFound"
        assert await it.guarded.call(CreateTags(it.node.primary_eni, {"a": "b"})) == Done()
