"""What if: the same subnet with one more reservation, or without some of its nodes. Facts in, facts out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from ipaddress import IPv4Network

import msgspec

from ipamd.core.types import CidrText

from .facts import EniFacts, Reservation, SubnetFacts, reservation_network

WHATIF = "what if"
"""The description of a reservation that does not exist."""


class Drained(msgspec.Struct, frozen=True):
    """The subnet after nodes were drained and terminated."""

    facts: SubnetFacts
    instances: tuple[str, ...]
    stay: tuple[str, ...]
    """ENIs of those nodes that outlive them, for want of delete-on-termination: they keep their addresses."""


def with_reservations(facts: SubnetFacts, cidrs: Iterable[CidrText]) -> SubnetFacts:
    """The subnet with prefix reservations added, over addresses in use too, as EC2 allows.

    Raises ValueError for one that EC2 would refuse: outside the subnet, or overlapping another one.
    """
    network = IPv4Network(facts.cidr)
    held = [(IPv4Network(r.cidr), r.reservation or "another one") for r in facts.reservations]
    added = []
    for cidr in cidrs:
        wanted = reservation_network(network, cidr)
        other = next((f"{name} ({there})" for there, name in held if there.overlaps(wanted)), None)
        if other is not None:
            raise ValueError(f"reservation {cidr}: overlaps {other}, and EC2 refuses that; choose a free range")
        if wanted.prefixlen > 28:
            raise ValueError(f"reservation {cidr}: no /28 fits into it; want /28 or wider")
        held.append((wanted, "another one"))
        added.append(Reservation(cidr, "prefix", "", WHATIF))
    return msgspec.structs.replace(facts, reservations=(*facts.reservations, *added))


def without_nodes(facts: SubnetFacts, nodes: Sequence[str]) -> Drained:
    """The subnet after these nodes have been drained and terminated.

    A node is named by its instance id, by the IP address of its primary ENI, or by a node name that either of them
    is in (`ip-10-0-1-5.ec2.internal`, `i-0abc.us-west-2.compute.internal`). Raises ValueError for an unknown one.
    """
    instances = tuple(dict.fromkeys(_instance(facts, node) for node in nodes))
    gone = {eni.eni for eni in facts.enis if eni.instance in instances}
    stay = tuple(eni.eni for eni in facts.enis if eni.eni in gone and not eni.goes_with_instance)
    kept = [eni for eni in facts.enis if not _goes(eni, gone, stay)]
    detached = [_detached(eni) if eni.eni in stay else eni for eni in kept]
    return Drained(msgspec.structs.replace(facts, enis=tuple(detached)), instances, stay)


def _goes(eni: EniFacts, gone: set[str], stay: tuple[str, ...]) -> bool:
    """Whether the ENI leaves with the nodes: it is theirs, or a branch of a trunk that is."""
    return (eni.eni in gone and eni.eni not in stay) or eni.trunk in gone


def _detached(eni: EniFacts) -> EniFacts:
    return msgspec.structs.replace(eni, instance="", device=-1, attached=False)


def node_names(eni: EniFacts) -> Iterable[str]:
    """What the node of an instance's ENI may be called: only a primary ENI gives more than the instance id."""
    yield eni.instance
    if eni.device == 0 and eni.addresses:
        yield eni.addresses[0]
        yield f"ip-{eni.addresses[0].replace('.', '-')}"
        if eni.dns_name:
            yield eni.dns_name


def _instance(facts: SubnetFacts, node: str) -> str:
    known = {name: eni.instance for eni in facts.enis if eni.instance for name in node_names(eni)}
    for name in (node, node.partition(".")[0]):
        if name in known:
            return known[name]
    alike = get_close_matches(node[:100], known, n=2) or list(dict.fromkeys(known.values()))[:3]
    hint = f"known are {', '.join(alike)}" if alike else "no instance has an ENI there"
    raise ValueError(f'node "{node[:100]}": has no ENI in {facts.subnet}; {hint}')
