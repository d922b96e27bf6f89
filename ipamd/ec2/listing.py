"""Describe and Get: which things a listing holds, filtered, page by page.

A page holds things in the order of their ids, so that what comes and goes between two pages is met once or not at
all. The token names the last id, sealed with what was asked, so that it fits no other question.
"""

from __future__ import annotations

import re
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, TypeAlias, TypeVar, assert_never, cast

import msgspec

from ipamd.core.calls import Failed
from ipamd.core.types import Instant

from . import answers, describe, refusals, requests
from .limits import instance_types, limits
from .requests import Filters, Listing
from .sights import Seen
from .state import Vpc
from .tags import default_group

A = TypeVar("A", bound=answers.Item)
Values: TypeAlias = Callable[[A], Iterable[str]]

PAGE_MIN, PAGE_MAX = 5, 1000
TYPES_PAGE_MAX: Final = 100
FILTER_VALUES_MAX: Final = 200


def _flag(value: bool) -> tuple[str]:
    return ("true" if value else "false",)


VPC_FILTERS: Final[dict[str, Values[answers.Vpc]]] = {
    "vpc-id": lambda v: (v.vpc,),
    "cidr": lambda v: (v.cidrs[0].cidr,),
    "cidr-block-association.cidr-block": lambda v: [c.cidr for c in v.cidrs],
    "cidr-block-association.association-id": lambda v: [c.association for c in v.cidrs],
    "ipv6-cidr-block-association.ipv6-cidr-block": lambda v: [c.cidr for c in v.ipv6_cidrs],
    "ipv6-cidr-block-association.association-id": lambda v: [c.association for c in v.ipv6_cidrs],
    "owner-id": lambda v: (v.owner,),
    "state": lambda _: ("available",),
    "is-default": lambda _: ("false",),
}
SUBNET_FILTERS: Final[dict[str, Values[answers.Subnet]]] = {
    "subnet-id": lambda s: (s.subnet,),
    "vpc-id": lambda s: (s.vpc,),
    "cidr-block": lambda s: (s.cidr,),
    "cidr": lambda s: (s.cidr,),
    "availability-zone": lambda s: (s.zone,),
    "available-ip-address-count": lambda s: (str(s.free),),
    "ipv6-cidr-block-association.ipv6-cidr-block": lambda s: [c.cidr for c in s.ipv6_cidrs],
    "ipv6-cidr-block-association.association-id": lambda s: [c.association for c in s.ipv6_cidrs],
    "owner-id": lambda s: (s.owner,),
    "state": lambda _: ("available",),
    "default-for-az": lambda _: ("false",),
}
RESERVATION_FILTERS: Final[dict[str, Values[answers.CidrReservation]]] = {
    "reservationType": lambda r: (r.reservation_type,),
    "subnet-id": lambda r: (r.subnet,),
}
ENI_FILTERS: Final[dict[str, Values[answers.NetworkInterface]]] = {
    "network-interface-id": lambda e: (e.eni,),
    "subnet-id": lambda e: (e.subnet,),
    "vpc-id": lambda e: (e.vpc,),
    "availability-zone": lambda e: (e.zone,),
    "owner-id": lambda e: (e.owner,),
    "status": lambda e: (e.status,),
    "interface-type": lambda e: (e.interface_type,),
    "mac-address": lambda e: (e.mac,),
    "description": lambda e: (e.description,),
    "group-id": lambda e: e.security_groups,
    "private-ip-address": lambda e: e.addresses[:1],
    "addresses.private-ip-address": lambda e: e.addresses,
    "ipv6-addresses.ipv6-address": lambda e: e.ipv6_addresses,
    "source-dest-check": lambda e: _flag(e.source_dest_check),
    "attachment.attachment-id": lambda e: (e.attachment,) if e.attachment else (),
    "attachment.instance-id": lambda e: (e.instance,) if e.instance else (),
    "attachment.device-index": lambda e: (str(e.device),) if e.attachment else (),
    "attachment.network-card-index": lambda e: (str(e.card),) if e.attachment else (),
    "attachment.status": lambda e: ("attached",) if e.attachment else (),
    "attachment.delete-on-termination": lambda e: _flag(e.delete_on_termination) if e.attachment else (),
    "requester-managed": lambda _: ("false",),
}
TRUNK_FILTERS: Final[dict[str, Values[answers.TrunkAssociation]]] = {
    "association-id": lambda t: (t.association,),
    "branch-interface-id": lambda t: (t.branch,),
    "trunk-interface-id": lambda t: (t.trunk,),
    "vlan-id": lambda t: (str(t.vlan),),
    "interface-protocol": lambda _: ("VLAN",),
}
INSTANCE_FILTERS: Final[dict[str, Values[answers.Instance]]] = {
    "instance-id": lambda i: (i.instance,),
    "instance-type": lambda i: (i.instance_type,),
    "instance-state-name": lambda i: (i.state,),
    "availability-zone": lambda i: (i.zone,),
    "owner-id": lambda i: (i.owner,),
    "vpc-id": lambda i: (i.vpc,) if i.vpc else (),
    "subnet-id": lambda i: (i.subnet,) if i.subnet else (),
    "private-ip-address": lambda i: (i.primary,) if i.primary else (),
    "network-interface.network-interface-id": lambda i: [e.eni for e in i.interfaces],
    "network-interface.subnet-id": lambda i: [e.subnet for e in i.interfaces],
    "network-interface.addresses.private-ip-address": lambda i: [a for e in i.interfaces for a in e.addresses],
}
TYPE_FILTERS: Final[dict[str, Values[answers.InstanceType]]] = {
    "instance-type": lambda t: (t.instance_type,),
    "hypervisor": lambda t: (t.hypervisor,),
    "bare-metal": lambda t: _flag(t.bare_metal),
    "network-info.maximum-network-interfaces": lambda t: (str(t.enis),),
    "network-info.ipv4-addresses-per-interface": lambda t: (str(t.ipv4_per_eni),),
    "network-info.ipv6-addresses-per-interface": lambda t: (str(t.ipv6_per_eni),),
    "network-info.maximum-network-cards": lambda t: (str(len(t.cards)),),
}
GROUP_FILTERS: Final[dict[str, Values[answers.SecurityGroup]]] = {
    "group-id": lambda g: (g.group,),
    "group-name": lambda g: (g.name,),
    "vpc-id": lambda g: (g.vpc,),
    "description": lambda g: (g.description,),
    "owner-id": lambda g: (g.owner,),
}
TAG_FILTERS: Final[dict[str, Values[answers.Tag]]] = {
    "resource-id": lambda t: (t.resource,),
    "resource-type": lambda t: (t.kind,),
    "key": lambda t: (t.key,),
    "value": lambda t: (t.value,),
}


def listing(vpc: Vpc, request: Listing, now: Instant) -> answers.Page | Failed:
    """What one listing answers at `now`: the truth, or with stale reads what was true a moment before."""
    seen = Seen(vpc, now)
    match request:
        case requests.DescribeVpcs():
            vpcs = {v.vpc: describe.vpc_description(seen, v) for v in seen.vpcs.values()}
            return _page(request, vpcs, VPC_FILTERS, request.ids, "vpc")
        case requests.DescribeSubnets():
            subnets = {s.subnet: describe.subnet(seen, s, seen.free(s.subnet)) for s in seen.subnets.values()}
            return _page(request, subnets, SUBNET_FILTERS, request.ids, "subnet")
        case requests.GetSubnetCidrReservations():
            if request.subnet not in seen.subnets:
                return refusals.no_such("subnet", request.subnet)
            there = (r for r in seen.reservations.values() if r.subnet == request.subnet)
            return _page(request, {r.reservation: describe.reservation(seen, r) for r in there}, RESERVATION_FILTERS)
        case requests.DescribeNetworkInterfaces():
            chosen = {e: seen.enis[e] for e in request.ids if e in seen.enis} if request.ids else seen.enis
            enis = {name: describe.network_interface(seen, row) for name, row in chosen.items()}
            return _page(request, enis, ENI_FILTERS, request.ids, "network-interface")
        case requests.DescribeTrunkInterfaceAssociations():
            branches = (e for e in seen.enis.values() if e.association)
            found = {e.association: describe.trunk_association(e) for e in branches}
            return _page(request, found, TRUNK_FILTERS, request.ids, "trunk-association")
        case requests.DescribeInstances():
            return _page(request, _instances(seen, request.ids), INSTANCE_FILTERS, request.ids, "instance")
        case requests.DescribeInstanceTypes():
            return _types(request)
        case requests.DescribeSecurityGroups():
            return _page(request, _groups(seen), GROUP_FILTERS, request.ids, "security-group")
        case requests.DescribeTags():
            return _page(request, {f"{t.resource} {t.key}": t for t in _tags(seen)}, TAG_FILTERS)
        case _:
            assert_never(request)


def _instances(seen: Seen, ids: tuple[str, ...]) -> dict[str, answers.Instance]:
    rows = seen.instances | seen.terminated
    wanted = [rows[i] for i in ids if i in rows] if ids else rows.values()
    return {row.instance: describe.instance(seen, row, seen.attached(row.instance)) for row in wanted}


def _groups(seen: Seen) -> dict[str, answers.SecurityGroup]:
    rows = {v.default_group: default_group(v) for v in seen.vpcs.values()} | seen.groups
    return {name: describe.group(seen, row) for name, row in rows.items()}


def _types(request: requests.DescribeInstanceTypes) -> answers.Page | Failed:
    unknown = [name for name in request.names if limits(name) is None]
    if unknown:
        return refusals.no_such_type(unknown)
    found = {name: limits(name) for name in request.names or instance_types()}
    types = {name: describe.instance_type(name, has) for name, has in found.items() if has is not None}
    return _page(request, types, TYPE_FILTERS, request.names, page_max=TYPES_PAGE_MAX)


def _tags(seen: Seen) -> Iterable[answers.Tag]:
    tagged = (
        ("vpc", seen.vpcs),
        ("subnet", seen.subnets),
        ("subnet-cidr-reservation", seen.reservations),
        ("security-group", seen.groups),
        ("instance", seen.instances),
        ("network-interface", seen.enis),
    )
    for kind, rows in tagged:
        for name, row in rows.items():
            for key, value in row.tags.items():
                yield answers.Tag(name, kind, key, value)


def _page(
    request: Listing,
    items: dict[str, A],
    filters: dict[str, Values[A]],
    ids: tuple[str, ...] = (),
    kind: str = "",
    page_max: int = PAGE_MAX,
) -> answers.Page | Failed:
    """Of `items` by id: those of `ids` in that order, or all; those that pass the filters; one page of them."""
    missing = next((name for name in ids if name not in items), None)
    if missing is not None:
        return refusals.no_such(kind, missing)
    passing = _passing([(name, items[name]) for name in ids or items], request.filters, filters)
    if isinstance(passing, Failed):
        return passing
    if not request.max_results and not request.next_token:
        return answers.Page(tuple([cast(answers.Item, item) for _, item in passing]))
    if ids:
        return refusals.either("ids", "maxResults")
    if request.max_results and not PAGE_MIN <= request.max_results <= page_max:
        return refusals.invalid("maxResults", request.max_results, f"want {PAGE_MIN} to {page_max}")
    after = _opened(request)
    if after is None:
        return refusals.no_such_token()
    rest = sorted(((name, item) for name, item in passing if name > after), key=lambda pair: pair[0])
    page = rest[: request.max_results or page_max]
    token = _sealed(request, page[-1][0]) if len(page) < len(rest) else ""
    return answers.Page(tuple([cast(answers.Item, item) for _, item in page]), token)


def _passing(
    items: list[tuple[str, A]], wanted: Filters, filters: dict[str, Values[A]]
) -> list[tuple[str, A]] | Failed:
    for name, texts in wanted.items():
        if len(texts) > FILTER_VALUES_MAX:
            return refusals.invalid("filter", name, f"want {FILTER_VALUES_MAX} values at most")
        values = _tag_values(name) or filters.get(name)
        if values is None:
            return refusals.bad_filter(name)
        match = _matcher(texts)
        items = [pair for pair in items if any(match(value) for value in values(pair[1]))]
    return items


def _tag_values(name: str) -> Callable[[answers.Item], Iterable[str]] | None:
    """The filters that everything with tags has."""
    if name == "tag-key":
        return lambda item: getattr(item, "tags", {})
    if name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return lambda item: [v for k, v in getattr(item, "tags", {}).items() if k == key]
    return None


@lru_cache(maxsize=256)
def _matcher(texts: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a value is one of the texts; `*` stands for any characters, `?` for one, `\\` takes their sense away."""
    if not any(c in text for text in texts for c in "*?\\"):
        return frozenset(texts).__contains__
    parts = []
    for text in texts:
        tokens = re.findall(r"\\.|.", text, re.DOTALL)
        parts.append("".join({"*": ".*", "?": "."}.get(t, re.escape(t[-1])) for t in tokens))
    pattern = re.compile("|".join(parts), re.DOTALL)
    return lambda value: pattern.fullmatch(value) is not None


def _seal(request: Listing) -> str:
    asked = msgspec.structs.replace(request, max_results=0, next_token="")
    return f"{zlib.crc32(msgspec.json.encode(asked)):08x}"


def _sealed(request: Listing, last: str) -> str:
    return urlsafe_b64encode(f"{_seal(request)}{last}".encode()).decode()


def _opened(request: Listing) -> str | None:
    """The id that the token names, "" for no token, None for one that is not of this question."""
    if not request.next_token:
        return ""
    try:
        text = urlsafe_b64decode(request.next_token.encode()).decode()
    except ValueError:
        return None
    return text[8:] if text[:8] == _seal(request) and len(text) > 8 else None
