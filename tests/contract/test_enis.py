"""The life of an ENI on every door: made, found, attached, changed, detached, deleted, and not found."""

from __future__ import annotations

from functools import partial

import pytest

from ipamd.core.calls import (
    AssignPrivateIpAddresses,
    AttachmentsView,
    AttachNetworkInterface,
    CreatedEni,
    CreateNetworkInterface,
    CreateTags,
    DeleteNetworkInterface,
    DescribeInstances,
    DescribeNetworkInterfaces,
    DetachNetworkInterface,
    Done,
    Ec2Call,
    EnisView,
    FindNetworkInterfaces,
    ModifyNetworkInterfaceAttribute,
    UnassignPrivateIpAddresses,
)
from ipamd.core.types import ConnectionTracking
from ipamd.ec2.port import Ec2Look
from tests.contract.conftest import Worlds
from tests.contract.doors import Need, eventually

pytestmark = pytest.mark.asyncio
ABSENT = "eni-0123456789abcdef0"


@pytest.mark.spec("INIT-9", "EC2-5", "EC2-30", "EC2-35..37")
async def test_the_instance_and_its_primary_eni(a_world: Worlds) -> None:
    """The three views of the same thing agree."""
    world = await a_world()
    node = world.node
    shown = await world.shown(node.primary_eni)
    truth = await world.eni(node.primary_eni)
    attached = await world.ec2.look(DescribeInstances())
    metadata = await world.metadata()

    assert shown is not None and isinstance(attached, AttachmentsView)
    assert (shown.device, shown.subnet, shown.addresses[0]) == (0, node.subnet, node.primary_ip)
    assert (truth.eni, truth.status, truth.instance, truth.device) == (node.primary_eni, "in-use", node.instance, 0)
    assert (truth.mac, truth.addresses[0]) == (shown.mac, node.primary_ip)
    assert node.primary_eni in [found.eni for found in attached.attachments if found.device == 0]
    assert metadata.security_groups == truth.security_groups
    assert metadata.vpc_cidrs and shown.subnet_cidr == (await world.subnet()).cidr
    assert (await world.subnet()).zone == node.zone


@pytest.mark.spec("EC2-1..9", "EC2-22", "EC2-24")
async def test_from_creation_to_deletion(a_world: Worlds) -> None:
    """Each step shows where the next one looks."""
    world = await a_world()
    made = await world.create(secondary_ips=2, tags={"ipamd-contract": "life"})
    loose = await world.eni(made.eni)
    attachment = await world.attach(made.eni)
    await world.ec2.call(ModifyNetworkInterfaceAttribute(made.eni, attachment, delete_on_termination=True))
    hung = await eventually(lambda: world.eni(made.eni), lambda eni: eni.delete_on_termination)
    shown = await eventually(lambda: world.shown(made.eni), lambda seen: seen is not None)
    await world.ec2.call(DetachNetworkInterface(made.eni, attachment))
    free = await eventually(lambda: world.eni(made.eni), lambda eni: eni.status == "available")
    await eventually(lambda: world.shown(made.eni), lambda seen: seen is None)
    deleted = await world.ec2.call(DeleteNetworkInterface(made.eni))
    gone = await world.refusal(DescribeNetworkInterfaces((made.eni,)))

    assert (loose.status, loose.attachment, loose.instance) == ("available", "", "")
    assert loose.addresses == (made.primary_ip, *made.addresses) and len(made.addresses) == 2
    assert (loose.mac, loose.description, loose.tags) == (made.mac, "ipamd contract", {"ipamd-contract": "life"})
    assert (hung.status, hung.attachment, hung.instance) == ("in-use", attachment, world.node.instance)
    assert shown is not None and (shown.device, shown.mac) == (hung.device, made.mac)
    assert shown.addresses == loose.addresses
    assert (free.attachment, free.addresses) == ("", loose.addresses)
    assert deleted == Done()
    assert gone.code == "InvalidNetworkInterfaceID.NotFound"


@pytest.mark.spec("EC2-34")
async def test_an_eni_keeps_the_connection_tracking_it_was_made_with(a_world: Worlds) -> None:
    """All three timeouts, one of them, none."""
    world = await a_world()
    asked = (ConnectionTracking(350, 120, 45), ConnectionTracking(tcp_established=350), None)
    made = [await world.create(tracking=tracking) for tracking in asked]
    held = [await eventually(partial(world.eni, eni.eni), lambda seen: seen is not None) for eni in made]

    assert tuple(eni.tracking for eni in held) == asked


@pytest.mark.spec("EC2-1")
async def test_the_same_token_is_the_same_eni(a_world: Worlds) -> None:
    """A create whose answer was lost may be sent again; with other parameters the token is refused."""
    world = await a_world()
    groups = (await world.metadata()).security_groups
    made = await world.create(token="contract-same", secondary_ips=1)
    again = CreateNetworkInterface(world.node.subnet, groups, "ipamd contract", "contract-same", secondary_ips=1)
    repeated = await world.ec2.call(again)
    other = CreateNetworkInterface(world.node.subnet, groups, "another", "contract-same", secondary_ips=2)
    refused = await world.refusal(other)

    assert isinstance(repeated, CreatedEni)
    assert (repeated.eni, repeated.primary_ip, repeated.addresses) == (made.eni, made.primary_ip, made.addresses)
    assert refused.code == "IdempotentParameterMismatch"


async def test_unattached_enis_are_found_by_their_tags(a_world: Worlds) -> None:
    """All the tags must fit; what is attached is not looked for."""
    world = await a_world()
    first = await world.create(tags={"ipamd-contract": "find", "n": "1"})
    second = await world.create(tags={"ipamd-contract": "find", "n": "2"})
    both = await eventually(lambda: world.ec2.look(FindNetworkInterfaces({"ipamd-contract": "find"})), holds(2))
    one = await world.ec2.look(FindNetworkInterfaces({"ipamd-contract": "find", "n": "2"}))
    await world.attach(first.eni)
    rest = await eventually(lambda: world.ec2.look(FindNetworkInterfaces({"ipamd-contract": "find"})), holds(1))

    assert isinstance(both, EnisView) and isinstance(one, EnisView) and isinstance(rest, EnisView)
    assert {eni.eni for eni in both.enis} == {first.eni, second.eni}
    assert [eni.eni for eni in one.enis] == [second.eni]
    assert [eni.eni for eni in rest.enis] == [second.eni]


def holds(count: int):  # type: ignore[no-untyped-def] # a predicate on any view
    return lambda seen: isinstance(seen, EnisView) and len(seen.enis) == count


@pytest.mark.spec("EC2-30")
async def test_enis_come_in_the_order_asked_for(a_world: Worlds) -> None:
    """Enis come in the order asked for."""
    world = await a_world()
    made = await world.create()
    seen = [
        await world.ec2.look(DescribeNetworkInterfaces(ids))
        for ids in ((made.eni, world.node.primary_eni), (world.node.primary_eni, made.eni))
    ]

    assert [[eni.eni for eni in view.enis] for view in seen if isinstance(view, EnisView)] == [
        [made.eni, world.node.primary_eni], [world.node.primary_eni, made.eni],
    ]  # fmt: skip


@pytest.mark.spec("EC2-15")
async def test_tags_replace_those_of_the_same_key(a_world: Worlds) -> None:
    """The others stay."""
    world = await a_world()
    made = await world.create(tags={"a": "1", "b": "2"})
    await world.ec2.call(CreateTags(made.eni, {"b": "3", "c": "4"}))
    seen = await eventually(lambda: world.eni(made.eni), lambda eni: len(eni.tags) == 3)

    assert seen.tags == {"a": "1", "b": "3", "c": "4"}


@pytest.mark.spec("EC2-29")
async def test_security_groups_are_set(a_world: Worlds) -> None:
    """The groups that it had are no refusal."""
    world = await a_world()
    made = await world.create()
    groups = (await world.eni(made.eni)).security_groups
    done = await world.ec2.call(ModifyNetworkInterfaceAttribute(made.eni, security_groups=groups))

    assert done == Done() and groups
    assert (await world.eni(made.eni)).security_groups == groups


@pytest.mark.spec("EC2-22", "EC2-24", "EC2-29", "EC2-30", "TV-75")
@pytest.mark.parametrize(
    "request_",
    [
        AssignPrivateIpAddresses(ABSENT, secondary_ips=1),
        AssignPrivateIpAddresses(ABSENT, prefixes=1),
        UnassignPrivateIpAddresses(ABSENT, addresses=("10.20.0.9",)),
        AttachNetworkInterface(ABSENT, 1),
        ModifyNetworkInterfaceAttribute(ABSENT, security_groups=("sg-0123456789abcdef0",)),
        DeleteNetworkInterface(ABSENT),
        CreateTags(ABSENT, {"a": "b"}),
        DescribeNetworkInterfaces((ABSENT,)),
    ],
    ids=lambda request: type(request).__name__,
)
async def test_an_eni_that_is_not_there(a_world: Worlds, request_: Ec2Call | Ec2Look) -> None:
    """One code for all, and the id stands between quotes."""
    world = await a_world()
    refused = await world.refusal(request_)

    assert refused.code == "InvalidNetworkInterfaceID.NotFound"
    assert f"'{ABSENT}'" in refused.message


@pytest.mark.spec("EC2-22")
async def test_other_things_that_are_not_there(a_world: Worlds) -> None:
    """Attachments and subnets have codes of their own; a second delete finds nothing."""
    world = await a_world()
    attachment = await world.refusal(DetachNetworkInterface(world.node.primary_eni, "eni-attach-0123456789abcdef0"))
    subnet = await world.refusal(CreateNetworkInterface("subnet-0123456789abcdef0", (), "", "contract-none"))
    made = await world.create()
    await world.ec2.call(DeleteNetworkInterface(made.eni))
    twice = await world.refusal(DeleteNetworkInterface(made.eni))

    assert attachment.code == "InvalidAttachmentID.NotFound"
    assert subnet.code == "InvalidSubnetID.NotFound"
    assert twice.code == "InvalidNetworkInterfaceID.NotFound"


@pytest.mark.spec("EC2-22", "EC2-24")
async def test_what_is_attached_stays(a_world: Worlds) -> None:
    """Not deleted, not attached twice, its device not taken; the primary one not detached."""
    world = await a_world()
    made = await world.create()
    await world.attach(made.eni)
    hung = await world.eni(made.eni)
    primary = await world.eni(world.node.primary_eni)
    other = await world.create()
    deleted = await world.refusal(DeleteNetworkInterface(made.eni))
    attached = await world.refusal(AttachNetworkInterface(made.eni, hung.device + 1))
    taken = await world.refusal(AttachNetworkInterface(other.eni, hung.device))
    detached = await world.refusal(DetachNetworkInterface(primary.eni, primary.attachment))

    assert deleted.code == "InvalidParameterValue" and "in use" in deleted.message
    assert attached.code == "InvalidNetworkInterface.InUse"
    assert taken.code == "InvalidParameterValue"
    assert detached.code == "OperationNotPermitted"
    assert (await world.eni(made.eni)) == hung


@pytest.mark.spec("LIM-1", "LIM-2")
async def test_no_more_enis_than_the_type_carries(a_world: Worlds) -> None:
    """m5.large carries three."""
    world = await a_world(Need.LIMIT, instance_type="m5.large")
    for _ in range(2):
        await world.attach((await world.create()).eni)
    spare = await world.create()
    refused = await world.refusal(AttachNetworkInterface(spare.eni, 3))

    assert refused.code == "AttachmentLimitExceeded"
    assert (await world.eni(spare.eni)).status == "available"


async def test_parameters_that_are_missing_or_too_many(a_world: Worlds) -> None:
    """EC2's codes for requests that cannot be meant."""
    world = await a_world()
    eni = world.node.primary_eni
    nothing = await world.refusal(AssignPrivateIpAddresses(eni))
    both = await world.refusal(AssignPrivateIpAddresses(eni, secondary_ips=1, prefixes=1))
    neither = await world.refusal(ModifyNetworkInterfaceAttribute(eni))

    assert nothing.code == "MissingParameter"
    assert both.code == "InvalidParameterCombination"
    assert neither.code in ("MissingParameter", "InvalidParameterCombination")
