"""EC2 over HTTP by boto3: the same port as the embedded cloud, before AWS or before a moto server.

boto3 blocks, so each request runs in a thread of its own; instance metadata is read on the loop. A request has a
time as a whole; when it is over the caller hears at once, and the thread sends nothing any more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar, assert_never

import msgspec

from ipamd.core.calls import (
    DescribeInstances,
    DescribeNetworkInterfaces,
    DescribeSubnets,
    Ec2Call,
    FindNetworkInterfaces,
    ReadMetadata,
    Result,
    View,
)
from ipamd.core.settings import Node
from ipamd.core.types import CallId

from . import boto_views as views
from .boto_calls import METHODS, parameters, repeatable, result
from .boto_client import Access, Clients, Request
from .boto_errors import EXPIRED, REJECTED, Place, translated, unsent
from .boto_imds import Imds, InstanceFacts
from .boto_threads import Threads
from .limits import DEFAULT_MAX_PODS, limits, max_pods, trunking_compatible
from .port import Ec2Error, Ec2Look, Ec2Lost, Feature, operation

_T = TypeVar("_T")

PAGES_MAX: Final = 1000
"""Pages of one listing; more would be a service that hands out its tokens in a circle."""
RENEW_SECONDS: Final = 5.0
"""The credential chain is asked anew no more often than this."""
KEY_OF_MOTO: Final = ("moto", "moto")
"""Access key and secret for a moto, which looks at neither: nobody's, so that a wrong endpoint refuses them."""


class Identity(msgspec.Struct, frozen=True):
    """Whom a door acts on."""

    account: str
    region: str
    instance: str
    instance_type: str
    primary_eni: str
    endpoint: str

    @property
    def text(self) -> str:
        """In words, with every fact."""
        return (
            f"account {self.account or '(not told)'}, region {self.region}, instance {self.instance} "
            f"({self.instance_type}), primary ENI {self.primary_eni}, by {self.endpoint}"
        )


class BotoCloud:
    """One instance's door to EC2; satisfies `Ec2`."""

    def __init__(self, facts: InstanceFacts, clients: Clients, imds: Imds, threads: Threads) -> None:
        """Not for callers: use `open_boto`."""
        self.facts = facts
        self.prefixes_supported: bool | None = None
        """Whether the instance's type carries prefixes, as EC2 says; None where our own table knows (LIM-4)."""
        self._clients = clients
        self._imds = imds
        self._threads = threads
        self._place = Place(clients.url, facts.region)
        self._refused_keys = False
        self._renewed = -RENEW_SECONDS

    @property
    def endpoint(self) -> str:
        """Where EC2 is asked."""
        return self._clients.url

    @property
    def features(self) -> frozenset[Feature]:
        """All that the port knows: it is for EC2, or a server that behaves as EC2 does."""
        return frozenset(Feature)

    async def call(self, call: Ec2Call, call_id: CallId | None = None) -> Result:
        """Perform one call. Raises `Ec2Error` (no effect) or `Ec2Lost` (effect unknown)."""
        method, asked = METHODS[type(call)], parameters(call, self.facts.instance)
        request = Request(operation(call), repeatable=repeatable(call), read=False)

        def work(client: Any) -> Result:
            answer = getattr(client, method)(**asked)
            try:
                return result(call, answer)
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise _Unreadable(error) from error

        return await self.ask(request, work)

    async def look(self, look: Ec2Look) -> View:
        """Read once. Raises `Ec2Error` or `Ec2Lost`."""
        facts = self.facts
        match look:
            case ReadMetadata():
                return await self._imds.view()
            case DescribeNetworkInterfaces():
                rows = await self._listed(look, "describe_network_interfaces", views.by_ids(look.ids, facts.vpc))
                return views.enis_view(rows, look.ids)
            case FindNetworkInterfaces():
                asked = views.unattached(look, facts.vpc)
                return views.enis_view(await self._listed(look, "describe_network_interfaces", asked))
            case DescribeInstances():
                return views.attachments_view(await self._instance())
            case DescribeSubnets():
                asked = views.subnets_of(facts.vpc, facts.zone)
                return views.subnets_view(await self._listed(look, "describe_subnets", asked))
            case _:
                assert_never(look)

    async def node(self) -> Node:
        """Facts of the instance (INIT-9) and of its type: from our table, else from EC2 (LIM-4)."""
        facts, kind = self.facts, self.facts.instance_type
        known = limits(kind)
        if known:
            enis, addresses, cards = known.enis, known.ips_per_eni, known.cards
        else:
            enis, addresses, cards = await self._type_limits()
        return Node(
            instance=facts.instance,
            instance_type=kind,
            region=facts.region,
            zone=facts.zone,
            vpc=facts.vpc,
            subnet=facts.subnet,
            primary_eni=facts.primary_eni,
            primary_ip=facts.primary_ip,
            enis_max=enis,
            ips_per_eni=addresses,
            max_pods=max_pods(kind) if known else DEFAULT_MAX_PODS,
            trunking_compatible=trunking_compatible(kind),
            cards=cards,
            primary_ip6=facts.primary_ip6,
        )

    async def identity(self) -> Identity:
        """Whom calls will act on, as EC2 confirms it: the instance must be there for these credentials.

        Raises `Ec2Error` or `Ec2Lost`.
        """
        reservation = await self._reservation()
        facts = self.facts
        account = str(reservation.get("OwnerId", "")) or facts.account
        kind, eni = facts.instance_type, facts.primary_eni
        return Identity(account, facts.region, facts.instance, kind, eni, self.endpoint)

    async def close(self) -> None:
        """Requests that wait for an answer are left alone: EC2 carries them out or not."""
        self._clients.close()
        await self._imds.close()

    # ---- asking ----------------------------------------------------------------------------------------------

    async def ask(self, request: Request, work: Callable[[Any], _T]) -> _T:
        """One request in its time, `work` with a boto3 client. Raises the port's errors; all else is a bug."""
        seconds = self._clients.access.seconds
        try:
            async with asyncio.timeout(seconds):
                await self._renew()
                return await self._threads.run(lambda: self._clients.perform(request, work), request.action)
        except TimeoutError:
            if request.give_up() and not request.read:
                raise Ec2Lost(request.action, f"{self._place.url}: nothing within {seconds:g} s") from None
            if request.refused is None and request.tries:
                why = f"nothing within {seconds:g} s; trying again by itself"
                raise Ec2Lost(request.action, f"{self._place.url}: {why}") from None
            raise unsent(request, self._place) from None
        except _Unreadable as error:
            raise Ec2Lost(request.action, f"{self._place.url}: an answer without {error}") from None
        except Exception as error:
            said = translated(error, request, self._place)
            if said is None:
                raise
            self._refused_keys = isinstance(said, Ec2Error) and said.code in EXPIRED | REJECTED
            raise said from None
        finally:
            request.give_up()

    async def _renew(self) -> None:
        """Once EC2 has refused the credentials, and not more often than now and then: look for newer ones."""
        now = time.monotonic()
        if self._refused_keys and now - self._renewed >= RENEW_SECONDS and self._clients.access.key is None:
            self._renewed = now
            await self._threads.run(self._clients.renew, "credentials")

    async def _listed(self, look: Ec2Look, method: str, asked: dict[str, Any]) -> list[views.Json]:
        """Every row of a listing, page by page."""
        name = {"describe_network_interfaces": "NetworkInterfaces", "describe_subnets": "Subnets"}[method]

        def work(client: Any) -> list[views.Json]:
            rows: list[views.Json] = []
            token = ""
            for _ in range(PAGES_MAX):
                page = getattr(client, method)(**asked, **({"NextToken": token} if token else {}))
                rows += page.get(name) or ()
                token = page.get("NextToken") or ""
                if not token:
                    return rows
            raise _Unreadable(f"an end after {PAGES_MAX} pages")

        return await self.ask(Request(operation(look), repeatable=True, read=True), work)

    async def _reservation(self) -> views.Json:
        """EC2-5: DescribeInstances of this instance, which must be in exactly one reservation."""
        name = self.facts.instance
        request = Request("DescribeInstances", repeatable=True, read=True)
        answer: views.Json = await self.ask(request, lambda client: client.describe_instances(InstanceIds=[name]))
        reservations: list[views.Json] = answer.get("Reservations") or []
        if len(reservations) != 1 or len(reservations[0].get("Instances") or []) != 1:
            fact = f"{name}: EC2 described {len(reservations)} reservations, want exactly one with one instance"
            remedy = f"check region {self.facts.region} and the account of the credentials"
            raise Ec2Error("DescribeInstances", "", f"{fact}; {remedy}")
        return reservations[0]

    async def _instance(self) -> views.Json:
        found: views.Json = (await self._reservation())["Instances"][0]
        return found

    async def _type_limits(self) -> tuple[int, int, tuple[int, ...]]:
        """LIM-4: ENIs, addresses per ENI and ENIs by card of a type that our table lacks.

        Raises `Ec2Error` or `Ec2Lost`.
        """
        kind = self.facts.instance_type
        request = Request("DescribeInstanceTypes", repeatable=True, read=True)
        answer = await self.ask(request, lambda client: client.describe_instance_types(InstanceTypes=[kind]))
        types: list[views.Json] = answer.get("InstanceTypes") or []
        if len(types) != 1:
            raise Ec2Error("DescribeInstanceTypes", "", f"Failed calling DescribeInstanceTypes for `{kind}`")
        found = types[0]
        network = found.get("NetworkInfo") or {}
        self.prefixes_supported = found.get("Hypervisor") == "nitro" or bool(found.get("BareMetal"))
        listed = sorted(network.get("NetworkCards") or (), key=lambda card: int(card.get("NetworkCardIndex", 0)))
        cards = tuple(int(card.get("MaximumNetworkInterfaces", 0)) for card in listed) if len(listed) > 1 else ()
        enis, addresses = int(network.get("MaximumNetworkInterfaces", 0)), network.get("Ipv4AddressesPerInterface", 0)
        return enis, int(addresses), cards


class _Unreadable(Exception):
    """An answer that lacks what EC2 always sends."""


async def open_boto(access: Access, imds: Imds) -> BotoCloud:
    """The door of the instance that `imds` describes, in its region unless `access` names one.

    Nothing is changed, and EC2 is not asked yet. Raises `Ec2Error` or `Ec2Lost`.
    """
    threads = Threads()
    try:
        facts = await imds.facts()
        region = access.region or facts.region
        facts = msgspec.structs.replace(facts, region=region)
        asked = msgspec.structs.replace(access, region=region)
        request = Request("open", repeatable=True, read=True)
        try:
            clients = await threads.run(lambda: Clients(asked), "open")
        except Exception as error:
            said = translated(error, request, Place(access.endpoint or f"EC2 of {region}", region))
            if said is None:
                if not isinstance(error, ValueError):
                    raise
                said = Ec2Error("open", "", str(error))  # a malformed endpoint or region
            raise said from None
    except BaseException:
        await imds.close()
        raise
    return BotoCloud(facts, clients, imds, threads)
