"""Instance metadata over HTTP: IMDSv2 with a token, v1 where the service has no tokens (EC2-35..37).

Nothing is asked twice: whoever looks knows when to look again. The one exception is a token that has run out.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import msgspec

from ipamd.core.calls import MetadataEni, MetadataView

from .port import Ec2Error, Ec2Lost

DEFAULT_URL: Final = "http://169.254.169.254"
URL_VARIABLE: Final = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
"""AWS's own name for it."""
TOKEN_SECONDS: Final = 21_600
"""As long as a token may live."""
TOKEN_WAIT: Final = 1.0
"""Seconds for the token: its answer does not reach a container that is one hop too far away."""
MACS: Final = "network/interfaces/macs/"
_TOKEN_HEADER: Final = "X-aws-ec2-metadata-token"
_TTL_HEADER: Final = "X-aws-ec2-metadata-token-ttl-seconds"
_READ: Final = "ReadMetadata"
_LONGEST: Final = 1 << 20
"""Bytes of an answer; the longest real one has some kilobytes."""


class Absent(Exception):
    """404: the service has no such path."""


class InstanceFacts(msgspec.Struct, frozen=True):
    """What instance metadata says of the instance itself (INIT-9)."""

    instance: str
    instance_type: str
    account: str
    region: str
    zone: str
    vpc: str
    subnet: str
    primary_eni: str
    primary_ip: str
    primary_ip6: str = ""


class Imds:
    """A client of one instance's metadata."""

    def __init__(self, url: str = "", seconds: float = 9.0) -> None:
        """`url` is by default AWS_EC2_METADATA_SERVICE_ENDPOINT, else the well-known address."""
        self.url = (url or os.environ.get(URL_VARIABLE, "") or DEFAULT_URL).rstrip("/")
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None
        self._token: str | None = None
        self._asking = asyncio.Lock()

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()

    async def facts(self) -> InstanceFacts:
        """INIT-9. Raises Ec2Error or Ec2Lost."""
        document = await self._document()
        instance, kind, zone, local, mac = await asyncio.gather(
            self._needed("meta-data/instance-id"),
            self._needed("meta-data/instance-type"),
            self._needed("meta-data/placement/availability-zone"),
            self._needed("meta-data/local-ipv4"),
            self._needed("meta-data/mac"),
        )
        base = f"meta-data/{MACS}{mac}/"
        eni, subnet, vpc, local6 = await asyncio.gather(
            self._needed(f"{base}interface-id"),
            self._needed(f"{base}subnet-id"),
            self._needed(f"{base}vpc-id"),
            self._optional("meta-data/ipv6"),
        )
        region, account = str(document.get("region", "")), str(document.get("accountId", ""))
        return InstanceFacts(instance, kind, account, region, zone, vpc, subnet, eni, local, local6)

    async def view(self) -> MetadataView:
        """Every attached ENI; one without addresses is efa-only (EC2-37). Raises Ec2Error or Ec2Lost."""
        listed, primary = await asyncio.gather(self._needed(f"meta-data/{MACS}"), self._needed("meta-data/mac"))
        macs = [word.rstrip("/") for word in listed.split()]
        found = await asyncio.gather(*(self._eni(mac, mac == primary) for mac in macs))
        enis = sorted(found, key=lambda eni: (eni.card, eni.device))
        base = f"meta-data/{MACS}{primary}/"
        groups, cidrs, cidrs6 = await asyncio.gather(
            self._needed(f"{base}security-group-ids"),
            self._needed(f"{base}vpc-ipv4-cidr-blocks"),
            self._optional(f"{base}vpc-ipv6-cidr-blocks"),
        )
        split = tuple(cidrs6.split())
        return MetadataView(tuple(enis), tuple(cidrs.split()), tuple(groups.split()), vpc_cidrs6=split)

    async def _eni(self, mac: str, primary: bool) -> MetadataEni:
        """One ENI. Its own listing says which of the lists there are."""
        base = f"meta-data/{MACS}{mac}/"
        fields = {word.rstrip("/") for word in (await self._needed(base)).split()}
        ipv6s = "ipv6s" in fields
        eni, device, subnet, addresses, prefixes, cidr, card, own6, prefixes6, cidr6 = await asyncio.gather(
            self._needed(f"{base}interface-id"),
            self._needed(f"{base}device-number"),
            self._needed(f"{base}subnet-id"),
            self._optional(f"{base}local-ipv4s", "local-ipv4s" in fields),
            self._optional(f"{base}ipv4-prefix"),
            self._optional(f"{base}subnet-ipv4-cidr-block"),
            self._optional(f"{base}network-card", "network-card" in fields),
            self._optional(f"{base}ipv6s", ipv6s),
            self._optional(f"{base}ipv6-prefix", ipv6s),
            self._optional(f"{base}subnet-ipv6-cidr-blocks", ipv6s),
        )
        return MetadataEni(
            eni=eni,
            mac=mac,
            device=0 if primary else _number(f"{base}device-number", device),
            subnet=subnet,
            subnet_cidr=cidr,
            addresses=tuple(addresses.split()),
            prefixes=tuple(prefixes.split()),
            card=_number(f"{base}network-card", card) if card else 0,
            ipv6_addresses=tuple(own6.split()),
            ipv6_prefixes=tuple(prefixes6.split()),
            subnet_cidr6=cidr6.split()[0] if cidr6 else "",
        )

    async def _document(self) -> Mapping[str, Any]:
        text = await self._needed("dynamic/instance-identity/document")
        try:
            return msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.MsgspecError:
            raise self._wrong("dynamic/instance-identity/document", "is no JSON object") from None

    # ---- one path --------------------------------------------------------------------------------------------

    async def _needed(self, path: str) -> str:
        """The text of a path that must be there (EC2-36)."""
        try:
            return await self._get(path)
        except Absent:
            raise self._wrong(path, "is absent (HTTP 404)") from None

    async def _optional(self, path: str, listed: bool = True) -> str:
        """The text of a path, "" if it is absent (EC2-36) or was not listed (EC2-37)."""
        try:
            return await self._get(path) if listed else ""
        except Absent:
            return ""

    async def _get(self, path: str) -> str:
        """The text under /latest/. Raises Absent, Ec2Error or Ec2Lost."""
        token = await self._with_token(None)
        status, text = await self._request("GET", path, _headers(token))
        if status == 401:  # it has run out, or tokens are asked for since
            token = await self._with_token(token)
            status, text = await self._request("GET", path, _headers(token))
        if status == 404:
            raise Absent(path)
        if status == 401:
            raise self._wrong(
                path,
                "wants a token (IMDSv2) and gave none; let its answers pass one more hop: "
                "aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2",
            )
        if status == 403:
            raise self._wrong(
                path,
                "was refused (HTTP 403); on an EC2 instance switch metadata on: "
                "aws ec2 modify-instance-metadata-options --http-endpoint enabled; elsewhere name one with --imds",
            )
        if status != 200:
            raise self._wrong(path, f"was answered with HTTP {status}; want instance metadata at {self.url}")
        return text.strip()

    async def _with_token(self, stale: str | None) -> str:
        """The present token ("" for v1), asked for if there is none or if it is `stale`."""
        async with self._asking:
            if self._token is None or self._token == stale:
                self._token = await self._fresh()
            return self._token

    async def _fresh(self) -> str:
        """A new token; "" where the service has none to give, which v1 does not need."""
        headers = {_TTL_HEADER: str(TOKEN_SECONDS)}
        try:
            async with asyncio.timeout(min(TOKEN_WAIT, self._seconds)):
                status, text = await self._request("PUT", "api/token", headers)
        except TimeoutError:
            return ""
        return text.strip() if status == 200 else ""

    async def _request(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        session = self._open()
        url = f"{self.url}/latest/{path}"
        try:
            async with session.request(method, url, headers=headers, allow_redirects=False) as answer:
                body = await answer.content.read(_LONGEST)
                return answer.status, body.decode("utf-8", "replace")
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            remedy = "ipamd reads it on an EC2 instance; elsewhere name one with --imds"
            raise Ec2Error(_READ, "", f"{self.url}: no instance metadata ({error}); {remedy}") from None
        except TimeoutError:
            raise Ec2Lost(_READ, f"{url}: nothing within {self._seconds:g} s") from None
        except aiohttp.ClientError as error:
            raise Ec2Lost(_READ, f"{url}: {str(error) or type(error).__name__}") from None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._seconds, sock_connect=min(2.0, self._seconds)),
                connector=aiohttp.TCPConnector(limit=8),
            )
        return self._session

    def _wrong(self, path: str, fact: str) -> Ec2Error:
        return Ec2Error(_READ, "", f"{self.url}/latest/{path}: {fact}")


def _headers(token: str) -> Mapping[str, str]:
    return {_TOKEN_HEADER: token} if token else {}


def _number(path: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 6:
        raise Ec2Error(_READ, "", f"{path}: {text[:40]!a} is no number")
    return int(text)
