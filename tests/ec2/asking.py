"""Short words for the tests that ask the model with EC2's own requests."""

from __future__ import annotations

from typing import TypeVar

from ipamd.core.calls import Failed, Lost
from ipamd.core.types import Instant
from ipamd.ec2 import answers, requests
from ipamd.ec2.requests import Request
from ipamd.ec2.state import Vpc
from ipamd.ec2.vpc import serve

A = TypeVar("A")


def asked(vpc: Vpc, request: Request, kind: type[A], now: Instant = 0) -> A:
    """The answer to a request that must be carried out, of the kind it must have."""
    answer = serve(vpc, request, now).answer
    assert isinstance(answer, kind), answer
    return answer


def code(vpc: Vpc, request: Request, now: Instant = 0) -> str:
    """The code of a request that must be refused, without effect."""
    before, serial = vpc.rows(), vpc.serial
    answer = serve(vpc, request, now).answer
    assert isinstance(answer, Failed), answer
    assert (vpc.rows(), vpc.serial) == (before, serial)
    return answer.code


def message(vpc: Vpc, request: Request, now: Instant = 0) -> str:
    answer = serve(vpc, request, now).answer
    assert isinstance(answer, Failed), answer
    return answer.message


def eni(vpc: Vpc, subnet: str = "", kind: str = "interface", prefix_count: int = 0, address_count: int = 0) -> str:
    """A new ENI, in the first subnet by default."""
    request = requests.CreateNetworkInterface(
        subnet or next(iter(vpc.subnets)),
        interface_type=kind,
        prefix_count=prefix_count,
        address_count=address_count,
    )
    return asked(vpc, request, answers.NetworkInterface).eni


def seen(vpc: Vpc, name: str, now: Instant = 0) -> answers.NetworkInterface:
    page = asked(vpc, requests.DescribeNetworkInterfaces(ids=(name,)), answers.Page, now)
    item = page.items[0]
    assert isinstance(item, answers.NetworkInterface)
    return item


def items(vpc: Vpc, request: Request, kind: type[A], now: Instant = 0) -> list[A]:
    """The items of a listing's page."""
    page = asked(vpc, request, answers.Page, now)
    found: list[A] = [item for item in page.items if isinstance(item, kind)]
    assert len(found) == len(page.items)
    return found


def lost(vpc: Vpc, request: Request, now: Instant = 0) -> bool:
    return isinstance(serve(vpc, request, now).answer, Lost)
