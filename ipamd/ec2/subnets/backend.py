"""Facts from a running backend that speaks EC2's API, such as `ipamd ec2 serve`: three listings, nothing is changed.

boto3 is imported only when somebody asks. On a loopback address the credentials are made up, so that none of real
worth go to a program that only plays EC2; anywhere else it is the ordinary credential chain.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from http.client import HTTPException
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

import msgspec

from .aws_json import Document, answered, facts_of
from .facts import SubnetFacts

if TYPE_CHECKING:
    from ipamd.ec2.boto_client import Clients

SECONDS: Final = 60.0
"""For one page of a listing."""
ABOUT: Final = "/ipamd/instance.json"
"""Where `ipamd ec2 serve` says what it made."""
ABOUT_BYTES_MAX: Final = 1 << 16
ABOUT_SECONDS: Final = 5.0
SUBNETS_EACH: Final = 100
"""Subnets of one filter; EC2 takes 200 values."""
PAGE: Final = 1000


class BackendFailed(Exception):
    """The backend cannot be asked: what, why, and what to do."""


class About(msgspec.Struct, frozen=True):
    """What the backend tells of itself; empty where it tells nothing."""

    region: str = ""
    vpc_id: str = ""


def subnets(endpoint: str, region: str = "", subnet: str = "") -> list[SubnetFacts]:
    """The backend's subnets: the one of an id or a CIDR, else those of the VPC it names, else all of the region.

    Raises `BackendFailed`, or `WrongFacts` for an answer that cannot be.
    """
    host = _host(endpoint)
    about = _about(endpoint)
    chosen = region or about.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""
    if not chosen:
        raise BackendFailed(f"{endpoint}: does not say its region; give --region, or set AWS_REGION")
    clients = _clients(endpoint, chosen, _loopback(host))
    try:
        return facts_of(list(_asked(clients, about, subnet)))
    finally:
        clients.close()


def _asked(clients: Clients, about: About, subnet: str) -> Iterator[Document]:
    which: dict[str, Any] = {}
    if subnet.startswith("subnet-"):
        which = {"SubnetIds": [subnet]}
    elif subnet:
        which = {"Filters": [{"Name": "cidr-block", "Values": [subnet]}]}
    elif about.vpc_id:
        which = {"Filters": [{"Name": "vpc-id", "Values": [about.vpc_id]}]}
    found: list[str] = []
    size = {} if "SubnetIds" in which else {"MaxResults": PAGE}
    for page in _pages(clients, "DescribeSubnets", lambda client: client.describe_subnets, {**which, **size}):
        found += [row["SubnetId"] for row in page["Subnets"]]
        yield answered(page)
    for first in range(0, len(found), SUBNETS_EACH):
        mine = {"Filters": [{"Name": "subnet-id", "Values": found[first : first + SUBNETS_EACH]}], "MaxResults": PAGE}
        name = "DescribeNetworkInterfaces"
        for page in _pages(clients, name, lambda client: client.describe_network_interfaces, mine):
            yield answered(page)
    for one in found:
        name, mine = "GetSubnetCidrReservations", {"SubnetId": one}
        for page in _pages(clients, name, lambda client: client.get_subnet_cidr_reservations, mine):
            yield answered(page)


def _pages(
    clients: Clients, action: str, method: Callable[[Any], Callable[..., Any]], wanted: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """The pages of one listing. Raises `BackendFailed`."""
    token = ""
    seen = {""}
    while True:
        page = _page(clients, action, method, {**wanted, **({"NextToken": token} if token else {})})
        yield page
        token = page.get("NextToken") or ""
        if token in seen:  # the empty one, or a listing that goes round in circles
            return
        seen.add(token)


def _page(
    clients: Clients, action: str, method: Callable[[Any], Callable[..., Any]], wanted: dict[str, Any]
) -> dict[str, Any]:
    from ipamd.ec2.boto_client import Request
    from ipamd.ec2.boto_errors import Place, translated

    request = Request(action, repeatable=True, read=True)
    try:
        found: dict[str, Any] = clients.perform(request, lambda client: method(client)(**wanted))
        return found
    except Exception as error:
        told = translated(error, request, Place(clients.url, clients.access.region))
        if told is None:
            raise
        raise BackendFailed(str(told)) from error


def _clients(endpoint: str, region: str, made_up: bool) -> Clients:
    try:
        from ipamd.ec2.boto_client import Access, Clients
    except ModuleNotFoundError as error:
        raise BackendFailed(
            f"{error.name} is not installed, and a backend is asked through it; pip install 'ipamd-emulator[aws]'"
        ) from None
    from botocore.exceptions import BotoCoreError

    access = Access(region, endpoint, SECONDS, ("ipamd", "ipamd") if made_up else None)
    try:
        return Clients(access)
    except (BotoCoreError, ValueError) as error:
        raise BackendFailed(f"{endpoint}, region {region[:40]!a}: {error}") from None


def _host(endpoint: str) -> str:
    try:
        parts = urlsplit(endpoint)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts.hostname
    except ValueError:
        pass
    raise BackendFailed(f'--endpoint "{endpoint[:100]}": want a URL such as http://127.0.0.1:5000')


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _about(endpoint: str) -> About:
    """What the backend tells of itself. Raises `BackendFailed` if nobody is there."""
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(endpoint.rstrip("/") + ABOUT, timeout=ABOUT_SECONDS) as answer:
            return msgspec.json.decode(answer.read(ABOUT_BYTES_MAX), type=About)
    except HTTPError:
        return About()
    except (URLError, TimeoutError, HTTPException, OSError) as error:
        why = getattr(error, "reason", error)
        raise BackendFailed(f"{endpoint}: cannot be reached ({why}); is `ipamd ec2 serve` running there?") from None
    except (msgspec.MsgspecError, RecursionError):
        return About()
