"""What must hold of a cloud whatever was asked of it, worked out from its rows alone."""

from __future__ import annotations

from ipaddress import ip_network

from ipamd.core.types import ip4
from ipamd.ec2.space6 import BLOCK_SIZE, ip6
from ipamd.ec2.state import Vpc


def ranges(vpc: Vpc, subnet: str, kind: str = "", version: int = 4) -> list[tuple[int, int]]:
    """First and last address of each reservation of a subnet, of one type or of both."""
    found = []
    for row in vpc.reservations.values():
        network = ip_network(row.cidr)
        if row.subnet == subnet and network.version == version and kind in ("", row.reservation_type):
            found.append((int(network.network_address), int(network.broadcast_address)))
    return found


def inside(address: int, spans: list[tuple[int, int]]) -> bool:
    return any(first <= address <= last for first, last in spans)


def check_truth(vpc: Vpc) -> None:
    """Every promise: nothing twice, alignment, counts, reservations, limits, indexes."""
    for subnet in vpc.subnets:
        check_subnet(vpc, subnet)
        if subnet in vpc.spaces6:
            check_subnet6(vpc, subnet)
    for instance in vpc.instances:
        check_instance(vpc, instance)
    assert vpc.attachments == {e.attachment: e.eni for e in vpc.enis.values() if e.attachment}
    assert vpc.macs == {e.mac: e.eni for e in vpc.enis.values()}
    assert vpc.associations == {e.association: e.eni for e in vpc.enis.values() if e.association}
    for row in vpc.enis.values():
        if row.association:
            assert row.interface_type == "branch" and not row.attachment
            assert vpc.enis[row.trunk].interface_type == "trunk" and row.eni in vpc.branches[row.trunk]
    for branches in vpc.branches.values():
        vlans = [vpc.enis[branch].vlan for branch in branches]
        assert len(vlans) == len(set(vlans))


def check_subnet(vpc: Vpc, subnet: str) -> None:
    space = vpc.spaces[subnet]
    held: list[int] = []
    for row in vpc.enis.values():
        if row.subnet != subnet:
            continue
        held += [ip4(address) for address in row.addresses]
        for prefix in row.prefixes:
            first, _, length = prefix.partition("/")
            assert length == "28" and ip4(first) % 16 == 0
            held += range(ip4(first), ip4(first) + 16)
    taken = set(held)
    assert len(taken) == len(held), "an address is on two ENIs"
    ec2s = {space.base, space.base + 1, space.base + 2, space.base + 3, space.base + space.size - 1}
    assert not taken & ec2s and all(space.holds(address) for address in taken)
    free = [a for a in range(space.base, space.base + space.size) if a not in taken and a not in ec2s]
    assert space.free == len(free)
    reserved, promised = ranges(vpc, subnet), ranges(vpc, subnet, "prefix")
    assert space.open == sum(not inside(a, reserved) for a in free)
    whole = kept = 0
    there = set(free)
    for block in range(space.base, space.base + space.size, 16):
        if all(a in there for a in range(block, block + 16)):
            kept += inside(block, promised)
            whole += not any(inside(a, reserved) for a in range(block, block + 16))
    assert (space.whole.count, space.kept.count, space.free_blocks) == (whole, kept, whole + kept)


def check_subnet6(vpc: Vpc, subnet: str) -> None:
    space = vpc.spaces6[subnet]
    addresses = [ip6(a) for e in vpc.enis.values() if e.subnet == subnet for a in e.ipv6_addresses]
    blocks = []
    for prefix in (p for e in vpc.enis.values() if e.subnet == subnet for p in e.ipv6_prefixes):
        first, _, length = prefix.partition("/")
        assert length == "80" and ip6(first) % BLOCK_SIZE == 0 and space.holds(ip6(first))
        blocks.append(ip6(first))
    assert len(set(addresses)) == len(addresses) and len(set(blocks)) == len(blocks)
    assert all(space.holds(a) and a & -BLOCK_SIZE not in set(blocks) for a in addresses)
    assert set(space.taken) == {*addresses, *(space.base + n for n in range(4)), space.base + (1 << 64) - 1}
    assert len(space.blocks_taken) == len(blocks)


def check_instance(vpc: Vpc, instance: str) -> None:
    limits = vpc.instances[instance].limits
    enis = [vpc.enis[e] for e in vpc.attached[instance]]
    assert {e.eni for e in enis} == {e.eni for e in vpc.enis.values() if e.instance == instance}
    assert vpc.instances[instance].primary_eni in {e.eni for e in enis}
    for card, most in enumerate(limits.card_limits):
        assert sum(e.card == card for e in enis) <= most
    assert all(e.card < len(limits.card_limits) for e in enis)
    assert len({(e.card, e.device) for e in enis}) == len(enis)
    assert all(max(e.slots, e.ipv6_slots) <= limits.ips_per_eni for e in enis)
    assert sum(e.interface_type == "trunk" for e in enis) <= 1
