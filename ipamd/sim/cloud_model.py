"""The VPC model as a recorded node left it: its ENIs and blocks, its subnets, the addresses of others, the weather.

What no record tells is assumed: that others hold the top of a subnet, that the cloud fails an action just when it did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec

from ipamd.core import adopt, cards
from ipamd.core.settings import Node
from ipamd.core.state import State
from ipamd.core.types import MS, Instant, ip4, ip4_text
from ipamd.ec2.faults import ALWAYS, Fault
from ipamd.ec2.latency import READ_MS, REALISTIC_MS, WRITE_MS, Latency
from ipamd.ec2.limits import Limits, UnknownInstanceType, limits_of
from ipamd.ec2.rows import EniRow, InstanceRow, SubnetRow, VpcRow, mac_address
from ipamd.ec2.space import subnet_network
from ipamd.ec2.state import Vpc, VpcSettings

from .cloud_facts import CloudFacts

SEED: Final = 7
OTHERS: Final = "eni-of-others"


def cloud_of(
    state: State, node: Node, facts: CloudFacts, now: Instant, subnet: str = "", roomy: bool = False
) -> Vpc:
    """The model with what State holds (before the first record: what the first node init saw).

    `roomy`: every subnet is a /16 without others.
    `subnet`: the node lives in an empty subnet of this CIDR instead, with its primary ENI alone. Raises ValueError
    for a CIDR that EC2 would refuse.
    """
    vpc = Vpc(VpcSettings(seed=SEED), region=node.region)
    rows = list(_enis(state, node, facts))
    if subnet or not rows:
        rows = [_primary(node, subnet or _around(node.primary_ip))]
    cidrs = {row.subnet: subnet or _cidr(row, state, facts) for row in rows}
    cidrs |= {name: known.cidr for name, known in facts.subnets.items() if name not in cidrs and not subnet}
    if roomy:
        cidrs = {name: _widened(cidr) for name, cidr in cidrs.items()}
    around = state.vpc_cidrs or (_widened(cidrs[rows[0].subnet]),)
    around = tuple(dict.fromkeys([*around, *(cidr for cidr in cidrs.values() if cidr.startswith("100."))]))
    vpc.install((VpcRow(node.vpc or "vpc-0", node.region, around, "sg-0"),), now, settled=True)
    for name, cidr in cidrs.items():
        known = facts.subnets.get(name)
        tags = known.tags if known is not None else {}
        vpc.install((SubnetRow(name, cidr, node.zone, tags, node.vpc or "vpc-0"),), now, settled=True)
    instance = InstanceRow(node.instance, node.instance_type, node.zone, limits_for(node), _primary_id(node))
    vpc.install((instance, *rows), now, settled=True)
    for name in () if subnet or roomy else cidrs:
        _crowd(vpc, name, facts.others.get(name, 0), now)
    return vpc


def limits_for(node: Node) -> Limits:
    """The table's, or what is said of the node where that is more or the type is unknown."""
    try:
        known = limits_of(node.instance_type)
        enis, ips = max(known.enis, node.enis_max), max(known.ips_per_eni, node.ips_per_eni)
        return msgspec.structs.replace(known, enis=enis, ips_per_eni=ips)
    except UnknownInstanceType:
        return Limits(max(node.enis_max, 1), max(node.ips_per_eni, 1))


def storms(vpc: Vpc, facts: CloudFacts, blows: Callable[[str], bool]) -> None:
    """The recorded weather; `blows` says of a code ("" for a lost answer) whether it is to be."""
    for storm in facts.storms:
        if blows(storm.code):
            if storm.lost:
                fault = Fault(storm.action, ALWAYS, lost=True, since=storm.since, until=storm.until)
            else:
                fault = Fault(
                    storm.action, ALWAYS, code=storm.code, message=storm.message, since=storm.since, until=storm.until
                )
            vpc.faults.add([fault])


def _primary_id(node: Node) -> str:
    return node.primary_eni or "eni-primary"


def _enis(state: State, node: Node, facts: CloudFacts) -> Iterator[EniRow]:
    tags = {seen.eni: seen.tags for seen in facts.enis}
    if state.seq:
        for number, eni in enumerate(state.enis.values()):
            mine = tags.get(eni.eni) or {cards.INSTANCE_TAG: node.instance, adopt.CREATED_AT: "1970-01-01T00:00:00Z"}
            singles = tuple(block.cidr.removesuffix("/32") for block in eni.blocks.values() if not block.prefix)
            prefixes = tuple(block.cidr for block in eni.blocks.values() if block.prefix)
            yield EniRow(
                eni.eni, eni.mac or mac_address(SEED, number), eni.subnet, eni.ready_at, (eni.primary_ip, *singles),
                prefixes, state.security_groups or (), tags=mine, attachment=f"eni-attach-{eni.eni}",
                instance=node.instance, device=eni.device, card=eni.card, delete_on_termination=True,
            )  # fmt: skip
        for eni_id, row in state.pending.items():
            attached = f"eni-attach-{eni_id}" if row.attachment else ""
            device = max((eni.device for eni in state.enis.values()), default=0) + 1 if attached else -1
            yield EniRow(
                eni_id, mac_address(SEED, 1000 + ip4(row.primary_ip)), row.subnet, 0, (row.primary_ip,),
                attachment=attached, instance=node.instance if attached else "", device=device,
            )  # fmt: skip
        return
    for seen in facts.enis:
        if seen.addresses and seen.attachment:
            yield EniRow(
                seen.eni, seen.mac, seen.subnet, seen.created_at, seen.addresses, seen.prefixes, seen.security_groups,
                seen.description, seen.tags, attachment=seen.attachment, instance=node.instance, device=seen.device,
                card=seen.card, delete_on_termination=seen.delete_on_termination,
            )  # fmt: skip


def _primary(node: Node, cidr: str) -> EniRow:
    """The node's first ENI alone, in an empty subnet."""
    address = ip4_text(int(subnet_network(cidr).network_address) + 4)
    return EniRow(
        _primary_id(node), mac_address(SEED, 0), node.subnet or "subnet-0", 0, (address,), attachment="eni-attach-0",
        instance=node.instance, device=0, delete_on_termination=True,
    )  # fmt: skip


def _cidr(row: EniRow, state: State, facts: CloudFacts) -> str:
    known = facts.subnets.get(row.subnet)
    if known is not None:
        return known.cidr
    eni = state.enis.get(row.eni)
    return eni.subnet_cidr if eni is not None and eni.subnet_cidr else _around(row.addresses[0])


def _widened(cidr: str) -> str:
    return _around(cidr.partition("/")[0])


def _around(address: str) -> str:
    return f"{ip4_text(ip4(address or '10.0.0.4') & 0xFFFF0000)}/16"


def _crowd(vpc: Vpc, subnet: str, count: int, now: Instant) -> None:
    """Others hold `count` addresses, from the top."""
    space = vpc.spaces[subnet]
    last = space.base + space.size - 2
    taken: list[str] = []
    for address in range(last, space.base, -1):
        if len(taken) == count:
            break
        if space.is_free(address):
            taken.append(ip4_text(address))
    if taken:
        row = EniRow(f"{OTHERS}-{subnet}", mac_address(SEED, 9_000_000 + space.base), subnet, 0, tuple(taken))
        vpc.install((row,), now, settled=True)


class Fitted(Latency):
    """Answer times as recorded: of the nearest request of the same action; others as `realistic`, or none at all."""

    def __init__(self, facts: CloudFacts, clock: Callable[[], Instant], given: Mapping[str, int]) -> None:
        """`given`: ns by action that take the place of those recorded, "" for every other action."""
        super().__init__("none", 0)
        self._facts = facts
        self._clock = clock
        self._given = given
        self._none = not any(any(series.values) for series in facts.took.values())
        self.guessed: set[str] = set()
        """Actions that no record tells of."""

    def of(self, action: str, n: int) -> int:
        """See `Latency`."""
        given = self._given.get(action, self._given.get(""))
        if given is not None:
            return given
        if self._none:
            return 0
        series = self._facts.took.get(action)
        near = series.near(self._clock()) if series is not None else None
        if near is not None:
            return near
        self.guessed.add(action)
        low, high = REALISTIC_MS.get(action) or (READ_MS if action.startswith("Describe") else WRITE_MS)
        return (low + high) // 2 * MS


def lagging(vpc: Vpc, lag: int) -> None:
    """What changes from now on, metadata shows `lag` ns later."""
    vpc.settings = msgspec.structs.replace(vpc.settings, metadata_lag=lag)
