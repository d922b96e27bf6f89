"""What else happens in a subnet beside its nodes: addresses that others take, reservations, instances that end.

All of it goes through EC2's own actions (`vpc.serve`), as a script of the subnet's owner would do it.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Final

from ipamd.core.calls import Failed, Lost
from ipamd.core.types import PREFIX_SIZE, Instant, ip4_text
from ipamd.ec2 import answers
from ipamd.ec2.networks import next_ipv6
from ipamd.ec2.requests import (
    CreateNetworkInterface,
    CreateSubnet,
    CreateSubnetCidrReservation,
    CreateVpc,
    DeleteNetworkInterface,
    Request,
    TerminateInstances,
)
from ipamd.ec2.space import subnet_network
from ipamd.ec2.state import Vpc
from ipamd.ec2.vpc import serve

DESCRIPTION: Final = "something else in this subnet"
"""Of the ENIs made here, each of which holds one address."""


class Refusal(Exception):
    """EC2 refused what the scenario does beside its nodes."""


def ask(vpc: Vpc, request: Request, now: Instant) -> answers.Answer:
    """EC2's answer to one request. Raises `Refusal`."""
    answer = serve(vpc, request, now).answer
    if isinstance(answer, Failed):
        raise Refusal(f"{type(request).__name__}: {answer.code}: {answer.message}")
    assert not isinstance(answer, Lost), "replies are not lost here"
    return answer


def take(vpc: Vpc, subnet: str, address: str, now: Instant) -> None:
    """Another ENI takes one address ("" for any that EC2 chooses). Raises `Refusal`."""
    ask(vpc, CreateNetworkInterface(subnet=subnet, primary=address, description=DESCRIPTION), now)


def take_in_each_block(vpc: Vpc, subnet: str, count: int, now: Instant) -> None:
    """Others take the first `count` free addresses of every aligned /28 of the subnet: it is fragmented then.

    Where something is reserved, EC2 would refuse them, so they do not ask.
    """
    space = vpc.spaces[subnet]
    reserved = reservations(vpc, subnet)
    for block in range(space.base, space.base + space.size, PREFIX_SIZE):
        free = [address for address in range(block, block + PREFIX_SIZE) if space.is_free(address)]
        for address in free[:count]:
            if not any(IPv4Network(address).subnet_of(network) for network in reserved):
                take(vpc, subnet, ip4_text(address), now)


def give_back(vpc: Vpc, subnet: str, count: int | None, now: Instant) -> None:
    """The first `count` of the addresses that were taken here (None: all of them) are free again."""
    for eni in taken(vpc, subnet)[:count]:
        ask(vpc, DeleteNetworkInterface(eni=eni), now)


def taken(vpc: Vpc, subnet: str) -> list[str]:
    """ENIs of others in the subnet, oldest first."""
    return [e.eni for e in vpc.enis.values() if e.subnet == subnet and e.description == DESCRIPTION]


def reservations(vpc: Vpc, subnet: str, kind: str = "") -> list[IPv4Network]:
    """IPv4 ranges of the subnet that are reserved, of one kind or of both."""
    rows = [row for row in vpc.reservations.values() if row.subnet == subnet and ":" not in row.cidr]
    return [IPv4Network(row.cidr) for row in rows if kind in ("", row.reservation_type)]


def reserve(vpc: Vpc, subnet: str, cidr: str, kind: str, now: Instant) -> None:
    """A CIDR reservation; `kind` is `prefix` or `explicit`. Raises `Refusal`."""
    ask(vpc, CreateSubnetCidrReservation(subnet=subnet, cidr=cidr, reservation_type=kind), now)


def terminate(vpc: Vpc, instance: str, now: Instant) -> None:
    """The instance ends. Its ENIs that are kept on termination are deleted after it, as their owner would do."""
    enis = list(vpc.attached.get(instance, {}))
    ask(vpc, TerminateInstances(instances=(instance,)), now)
    for eni in enis:
        if eni in vpc.enis:
            ask(vpc, DeleteNetworkInterface(eni=eni), now)


def beside(vpc: Vpc, subnet: str, cidr: str) -> str:
    """One more subnet of the same VPC and zone; its id. Raises Refusal."""
    made = ask(vpc, CreateSubnet(vpc=vpc.subnets[subnet].vpc, cidr=cidr, zone=vpc.subnets[subnet].zone), 0)
    assert isinstance(made, answers.Subnet)
    return made.subnet


def make_subnet(vpc: Vpc, cidr: str, around: str = "", ipv6: bool = False) -> str:
    """A fresh cloud gets its VPC (by default the /16 around the subnet) and its subnet, whose id is returned.

    With `ipv6` the VPC has a /56 too, and the subnet the first /64 of it.
    """
    network = around or str(subnet_network(cidr).supernet(new_prefix=16))
    made = ask(vpc, CreateVpc(cidr=network, ipv6=ipv6), 0)
    assert isinstance(made, answers.Vpc)
    wide = next_ipv6(vpc, vpc.vpcs[made.vpc])
    subnet = ask(vpc, CreateSubnet(vpc=made.vpc, cidr=cidr, ipv6_cidr=wide), 0)
    assert isinstance(subnet, answers.Subnet)
    return subnet.subnet
