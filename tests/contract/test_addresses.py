"""Addresses and prefixes on every door: what is granted, counted, limited, reserved, and refused when it runs out."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from ipamd.core.calls import (
    AssignPrivateIpAddresses,
    CreateNetworkInterface,
    DeleteNetworkInterface,
    Done,
    Granted,
    UnassignPrivateIpAddresses,
)
from tests.contract.conftest import Worlds
from tests.contract.doors import Need, World, eventually

pytestmark = pytest.mark.asyncio


async def assigned(world: World, eni: str, *, secondary_ips: int = 0, prefixes: int = 0) -> Granted:
    """What an assign grants."""
    told = await world.ec2.call(AssignPrivateIpAddresses(eni, secondary_ips, prefixes))
    assert isinstance(told, Granted)
    return told


@pytest.mark.spec("EC2-20")
async def test_an_assign_tells_just_what_is_new(a_world: Worlds) -> None:
    """Not what the ENI had before; all of it is there afterwards, in the truth and in metadata."""
    world = await a_world()
    made = await world.create(secondary_ips=1)
    await world.attach(made.eni)
    first = await assigned(world, made.eni, secondary_ips=2)
    second = await assigned(world, made.eni, secondary_ips=1)
    expected = (made.primary_ip, *made.addresses, *first.addresses, *second.addresses)
    truth = await eventually(lambda: world.eni(made.eni), lambda eni: len(eni.addresses) == 5)
    shown = await eventually(lambda: world.shown(made.eni), lambda seen: seen is not None and len(seen.addresses) == 5)

    assert (len(first.addresses), first.prefixes, len(second.addresses)) == (2, (), 1)
    assert truth.addresses[0] == made.primary_ip
    assert sorted(truth.addresses) == sorted(expected) and len(set(expected)) == 5
    assert shown is not None and sorted(shown.addresses) == sorted(expected)


@pytest.mark.spec("EC2-1", "EC2-20", "EC2-35")
async def test_prefixes_are_aligned_blocks_of_sixteen(a_world: Worlds) -> None:
    """EC2-20 in prefix mode: with the ENI and later; metadata shows `ipv4-prefix`."""
    world = await a_world()
    made = await world.create(prefixes=1)
    await world.attach(made.eni)
    granted = await assigned(world, made.eni, prefixes=2)
    prefixes = (*made.prefixes, *granted.prefixes)
    truth = await eventually(lambda: world.eni(made.eni), lambda eni: len(eni.prefixes) == 3)
    shown = await eventually(lambda: world.shown(made.eni), lambda seen: seen is not None and len(seen.prefixes) == 3)
    cidr = IPv4Network((await world.subnet()).cidr)

    assert (len(made.prefixes), len(granted.prefixes), granted.addresses) == (1, 2, ())
    assert len(set(prefixes)) == 3
    assert all(IPv4Network(prefix).prefixlen == 28 and IPv4Network(prefix).subnet_of(cidr) for prefix in prefixes)
    assert all(IPv4Network(prefix).network_address not in (cidr[0], cidr[-16]) for prefix in prefixes)
    assert sorted(truth.prefixes) == sorted(prefixes) and truth.addresses == (made.primary_ip,)
    assert shown is not None and sorted(shown.prefixes) == sorted(prefixes)


@pytest.mark.spec("POOL-43")
async def test_free_addresses_are_counted(a_world: Worlds) -> None:
    """An address is one, a prefix sixteen, and both come back."""
    world = await a_world(subnet="10.21.0.0/24")
    free = [(await world.subnet()).free]
    made = await world.create(secondary_ips=1)
    free.append((await world.subnet()).free)
    granted = await assigned(world, made.eni, prefixes=2)
    free.append((await world.subnet()).free)
    await world.ec2.call(UnassignPrivateIpAddresses(made.eni, prefixes=granted.prefixes))
    free.append((await world.subnet()).free)
    await world.ec2.call(DeleteNetworkInterface(made.eni))
    free.append((await world.subnet()).free)

    assert free == [250, 248, 216, 248, 250]


@pytest.mark.spec("EC2-21")
async def test_what_is_given_back_is_gone(a_world: Worlds) -> None:
    """Addresses and prefixes; what the ENI does not have is refused, as is its primary address."""
    world = await a_world()
    made = await world.create(secondary_ips=2)
    granted = await assigned(world, made.eni, prefixes=1)
    done = await world.ec2.call(UnassignPrivateIpAddresses(made.eni, addresses=made.addresses[:1]))
    await world.ec2.call(UnassignPrivateIpAddresses(made.eni, prefixes=granted.prefixes))
    truth = await eventually(lambda: world.eni(made.eni), lambda eni: not eni.prefixes)
    again = await world.refusal(UnassignPrivateIpAddresses(made.eni, addresses=made.addresses[:1]))
    block = await world.refusal(UnassignPrivateIpAddresses(made.eni, prefixes=granted.prefixes))
    primary = await world.refusal(UnassignPrivateIpAddresses(made.eni, addresses=(made.primary_ip,)))

    assert done == Done()
    assert truth.addresses == (made.primary_ip, made.addresses[1])
    assert {again.code, block.code, primary.code} == {"InvalidParameterValue"}


@pytest.mark.spec("LIM-1")
async def test_an_eni_holds_as_much_as_the_type_carries(a_world: Worlds) -> None:
    """m5.large has ten slots an ENI; primary address, secondary addresses and prefixes are one each."""
    world = await a_world(Need.LIMIT, instance_type="m5.large")
    made = await world.create(secondary_ips=4)
    await world.attach(made.eni)
    await assigned(world, made.eni, prefixes=4)
    before = await world.eni(made.eni)
    block = await world.refusal(AssignPrivateIpAddresses(made.eni, prefixes=2))
    single = await world.refusal(AssignPrivateIpAddresses(made.eni, secondary_ips=2))
    unchanged = await world.eni(made.eni)
    await assigned(world, made.eni, prefixes=1)

    assert {block.code, single.code} == {"PrivateIpAddressLimitExceeded"}
    assert unchanged == before
    assert len((await world.eni(made.eni)).prefixes) == 5


@pytest.mark.spec("INIT-14")
async def test_a_type_without_prefixes(a_world: Worlds) -> None:
    """t2.medium is on Xen; addresses it takes."""
    world = await a_world(instance_type="t2.medium")
    refused = await world.refusal(AssignPrivateIpAddresses(world.node.primary_eni, prefixes=1))
    granted = await assigned(world, world.node.primary_eni, secondary_ips=1)

    assert refused.code in ("UnsupportedOperation", "InvalidParameterValue", "InvalidParameterCombination")
    assert len(granted.addresses) == 1


@pytest.mark.spec("POOL-28")
async def test_a_subnet_without_free_addresses(a_world: Worlds) -> None:
    """Eleven of sixteen can be used; a request is met in full or not at all."""
    world = await a_world(Need.LIMIT, subnet="10.22.0.0/28")
    made = await world.create(secondary_ips=7)
    left = (await world.subnet()).free
    more = await world.refusal(AssignPrivateIpAddresses(made.eni, secondary_ips=left + 1))
    untouched = (await world.subnet()).free
    granted = await assigned(world, made.eni, secondary_ips=left)
    eni = await world.refusal(CreateNetworkInterface(world.node.subnet, (), "", "contract-full"))
    addresses = [world.node.primary_ip, made.primary_ip, *made.addresses, *granted.addresses]
    cidr = IPv4Network("10.22.0.0/28")

    assert (left, untouched, (await world.subnet()).free) == (2, 2, 0)
    assert {more.code, eni.code} == {"InsufficientFreeAddressesInSubnet"}
    assert len(set(addresses)) == 11
    assert not {IPv4Address(address) for address in addresses} & {cidr[0], cidr[1], cidr[2], cidr[3], cidr[15]}


@pytest.mark.spec("POOL-28")
async def test_a_subnet_without_free_blocks(a_world: Worlds) -> None:
    """No block in a /28, where five addresses are EC2's own; enough free addresses do not help."""
    world = await a_world(subnet="10.23.0.0/27")
    free = (await world.subnet()).free
    refused = await world.refusal(AssignPrivateIpAddresses(world.node.primary_eni, prefixes=1))

    assert free == 26
    assert refused.code == "InsufficientCidrBlocks"
    assert (await world.subnet()).free == free


async def test_prefixes_come_out_of_their_reservation_first(a_world: Worlds) -> None:
    """A reservation for prefixes is used before anything else, and holds nothing but prefixes."""
    reserved = IPv4Network("10.24.0.64/27")
    world = await a_world(subnet="10.24.0.0/24", reservations={str(reserved): "prefix"})
    made = await world.create(secondary_ips=6)
    first = await assigned(world, made.eni, prefixes=2)
    second = await assigned(world, made.eni, prefixes=1)
    singles = [IPv4Address(address) for address in (world.node.primary_ip, made.primary_ip, *made.addresses)]

    assert sorted(first.prefixes) == ["10.24.0.64/28", "10.24.0.80/28"]
    assert not IPv4Network(second.prefixes[0]).subnet_of(reserved)
    assert not [address for address in singles if address in reserved]


async def test_nothing_comes_out_of_an_explicit_reservation(a_world: Worlds) -> None:
    """EC2 chooses neither an address nor a block from it."""
    reserved = IPv4Network("10.25.0.16/28")
    world = await a_world(Need.LIMIT, subnet="10.25.0.0/27", reservations={str(reserved): "explicit"})
    made = await world.create(secondary_ips=5)
    block = await world.refusal(AssignPrivateIpAddresses(made.eni, prefixes=1))
    granted = await assigned(world, made.eni, secondary_ips=5)
    full = await world.refusal(AssignPrivateIpAddresses(made.eni, secondary_ips=1))
    singles = [IPv4Address(address) for address in (made.primary_ip, *made.addresses, *granted.addresses)]

    assert block.code in ("InsufficientCidrBlocks", "InsufficientFreeAddressesInSubnet")
    assert full.code == "InsufficientFreeAddressesInSubnet"
    assert not [address for address in singles if address in reserved]
