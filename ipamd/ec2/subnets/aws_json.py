"""Facts out of what the AWS CLI prints: describe-subnets, describe-network-interfaces, get-subnet-cidr-reservations.

The documents may stand in any number of texts, several in one text too; each is known by its members. Members that
are not needed are not looked at. The answers of boto3 have the same members, so a backend's go the same way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final, Literal, TypeAlias

import msgspec

from .facts import TRUNK_TAG, EniFacts, Reservation, SubnetFacts, WrongFacts, checked

TEXT_BYTES_MAX: Final = 512 << 20
"""A subnet of 65,536 addresses on as many ENIs is about a tenth of it."""
_SPACE: Final = re.compile(r"\s*")
WANT: Final = (
    "want what `aws ec2 describe-subnets`, `describe-network-interfaces` or `get-subnet-cidr-reservations` "
    "print with --output json"
)


class _Ec2(msgspec.Struct, frozen=True, rename="pascal"):
    """Members have EC2's names; those that are not listed are passed over."""


class _Tag(_Ec2, frozen=True):
    key: str = ""
    value: str = ""


class _Subnet(_Ec2, frozen=True):
    subnet_id: str
    cidr_block: str | None = None
    """None of a subnet with IPv6 alone, which is passed over."""
    availability_zone: str = ""
    vpc_id: str = ""
    available_ip_address_count: int | None = None
    tags: list[_Tag] | None = None


class _Attachment(_Ec2, frozen=True):
    instance_id: str | None = None
    device_index: int | None = None
    delete_on_termination: bool = False
    status: str = ""


class _Address(_Ec2, frozen=True):
    private_ip_address: str
    primary: bool = False


class _Prefix(_Ec2, frozen=True):
    ipv4_prefix: str


class _Interface(_Ec2, frozen=True):
    network_interface_id: str
    subnet_id: str = ""
    interface_type: str = "interface"
    description: str | None = None
    private_ip_address: str | None = None
    private_dns_name: str | None = None
    private_ip_addresses: list[_Address] | None = None
    ipv4_prefixes: list[_Prefix] | None = None
    attachment: _Attachment | None = None
    requester_managed: bool = False
    tag_set: list[_Tag] | None = None


class _Reservation(_Ec2, frozen=True):
    subnet_id: str
    cidr: str
    reservation_type: Literal["prefix", "explicit"]
    subnet_cidr_reservation_id: str = ""
    description: str | None = None


class Document(_Ec2, frozen=True):
    """One answer of EC2's; exactly one of the members is there in what the CLI prints."""

    subnets: list[_Subnet] | None = None
    network_interfaces: list[_Interface] | None = None
    subnet_ipv4_cidr_reservations: list[_Reservation] | None = None

    @property
    def known(self) -> bool:
        members = (self.subnets, self.network_interfaces, self.subnet_ipv4_cidr_reservations)
        return any(member is not None for member in members)


Named: TypeAlias = tuple[str, bytes]
"""Where a text came from, as errors name it, and its bytes."""


def documents(name: str, held: bytes) -> list[Document]:
    """The documents of one text, one after the other. Raises `WrongFacts` naming the place."""
    if len(held) > TEXT_BYTES_MAX:
        raise WrongFacts(f"{name}: {len(held) >> 20} MiB; want {TEXT_BYTES_MAX >> 20} MiB at most: one VPC at a time")
    text = _decoded(name, held)
    if not text.strip():
        raise WrongFacts(f"{name}: empty; {WANT}")
    try:
        return [_document(name, msgspec.json.decode(text, type=Document))]
    except (msgspec.DecodeError, RecursionError):
        return [_document(name, _converted(name, value)) for value in _values(name, text)]


def answered(answer: object) -> Document:
    """One answer of boto3's as a document. Raises `WrongFacts`."""
    return _document("the backend's answer", _converted("the backend's answer", answer))


def facts_of(found: Iterable[Document]) -> list[SubnetFacts]:
    """The subnets that the documents tell of, in their order, checked. Raises `WrongFacts`."""
    subnets: dict[str, _Subnet] = {}
    enis: dict[str, dict[str, EniFacts]] = {}
    reservations: dict[str, dict[Reservation, None]] = {}
    listed, reserved = False, False
    for document in found:
        for subnet in document.subnets or ():
            if not subnet.cidr_block:
                continue
            if subnets.setdefault(subnet.subnet_id, subnet).cidr_block != subnet.cidr_block:
                raise WrongFacts(f"{subnet.subnet_id}: is there with two CIDRs; give one state of one account")
        for interface in document.network_interfaces or ():
            _add(enis.setdefault(interface.subnet_id, {}), _eni(interface))
        for reservation in document.subnet_ipv4_cidr_reservations or ():
            reservations.setdefault(reservation.subnet_id, {})[_reservation(reservation)] = None
        listed = listed or document.network_interfaces is not None
        reserved = reserved or document.subnet_ipv4_cidr_reservations is not None
    _check_complete(subnets, listed)
    return [
        checked(
            SubnetFacts(
                subnet=subnet.subnet_id,
                cidr=subnet.cidr_block or "",
                zone=subnet.availability_zone,
                vpc=subnet.vpc_id,
                name=_tags(subnet.tags).get("Name", ""),
                available=subnet.available_ip_address_count,
                reservations=tuple(reservations.get(subnet.subnet_id, ())),
                reservations_known=reserved,
                enis=tuple(enis.get(subnet.subnet_id, {}).values()),
            )
        )
        for subnet in subnets.values()
    ]


def _check_complete(subnets: dict[str, _Subnet], listed: bool) -> None:
    if not subnets:
        raise WrongFacts("no subnet with an IPv4 CIDR is described; add what `aws ec2 describe-subnets` prints")
    if not listed:
        raise WrongFacts("no ENIs are described; add what `aws ec2 describe-network-interfaces` prints")


def _add(known: dict[str, EniFacts], eni: EniFacts) -> None:
    if known.setdefault(eni.eni, eni) != eni:
        raise WrongFacts(f"{eni.eni}: is described twice and differently; give one state of one account")


def _eni(interface: _Interface) -> EniFacts:
    given = interface.private_ip_addresses or ()
    first = [a.private_ip_address for a in given if a.primary]
    others = [a.private_ip_address for a in given if not a.primary]
    if not given and interface.private_ip_address:
        first = [interface.private_ip_address]
    attachment = interface.attachment
    attached = attachment is not None and attachment.status != "detached"
    here = attachment if attached and attachment is not None else _Attachment()
    tags = _tags(interface.tag_set)
    return EniFacts(
        eni=interface.network_interface_id,
        addresses=(*first, *others),
        prefixes=tuple(prefix.ipv4_prefix for prefix in interface.ipv4_prefixes or ()),
        interface_type=interface.interface_type,
        description=interface.description or "",
        instance=here.instance_id or "",
        device=-1 if here.device_index is None else here.device_index,
        attached=attached,
        goes_with_instance=here.delete_on_termination,
        requester_managed=interface.requester_managed,
        trunk=tags.get(TRUNK_TAG, ""),
        dns_name=interface.private_dns_name or "",
        tags=tags,
    )


def _reservation(told: _Reservation) -> Reservation:
    return Reservation(told.cidr, told.reservation_type, told.subnet_cidr_reservation_id, told.description or "")


def _tags(tags: list[_Tag] | None) -> dict[str, str]:
    return {tag.key: tag.value for tag in tags or ()}


# ---- text ----------------------------------------------------------------------------------------------------


def _decoded(name: str, held: bytes) -> str:
    """UTF-8, or UTF-16 with its mark, as PowerShell redirects."""
    coding = "utf-16" if held[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return held.decode(coding)
    except UnicodeDecodeError as error:
        raise WrongFacts(f"{name}: byte {error.start} is not text; {WANT}") from None


def _values(name: str, text: str) -> Iterator[object]:
    """The JSON values of a text, one after the other."""
    decoder = json.JSONDecoder()
    at = _past_space(text, 0)
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise WrongFacts(f"{name}, line {error.lineno}: no JSON ({error.msg}); {WANT}") from None
        except (RecursionError, ValueError):
            raise WrongFacts(f"{name}: nested too deeply, or a number too long; {WANT}") from None
        yield value
        at = _past_space(text, at)


def _past_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None, "the pattern matches the empty text"
    return found.end()


def _converted(name: str, value: object) -> Document:
    try:
        return msgspec.convert(value, Document)
    except (msgspec.ValidationError, RecursionError) as error:
        raise WrongFacts(f"{name}: {error}; {WANT}") from None


def _document(name: str, document: Document) -> Document:
    if not document.known:
        raise WrongFacts(f"{name}: has none of Subnets, NetworkInterfaces, SubnetIpv4CidrReservations; {WANT}")
    return document
