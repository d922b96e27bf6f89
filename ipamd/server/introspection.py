"""Introspection over HTTP: the stores and the environment as upstream shows them (HTTP-1..HTTP-10), and ours.

Upstream's four paths answer as they do there, and every path that nobody knows answers with their list (HTTP-2).
Ours beside them are read-only: `/v1/plan`, `/v1/state`, `/v1/journal` and `/healthz`.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec
from aiohttp import web

from ipamd.core.blocks import Address, Block
from ipamd.core.moments import rfc3339
from ipamd.core.state import Eni, State
from ipamd.core.types import Instant

from .guard import Refusal, check_host, check_method, json_response, parameters, refused
from .history import Past
from .planned import health, plan_document

Document: TypeAlias = dict[str, Any]
Env: TypeAlias = Callable[[], Mapping[str, Any]]
EniConfig: TypeAlias = Callable[[], Awaitable[str | None]]
"""The name of the node's ENIConfig; None where the Node cannot be read."""

_TIMEOUT: Final = 5.0
"""HTTP-1: seconds for one answer."""
_NO_TIME: Final = "0001-01-01T00:00:00Z"
_ROUTES: Final = ("/v1/enis", "/v1/eni-configs", "/v1/networkutils-env-settings", "/v1/ipamd-env-settings")
_log = logging.getLogger(__name__)


async def no_eni_config() -> str | None:
    """Without an API server there is no Node to read the ENIConfig's name from (HTTP-7)."""
    return None


class Introspection:
    """The routes of HTTP-2 and ours. `now` in ns; `lag` is how many seconds the disk is behind; `past` reads back."""

    def __init__(
        self,
        *,
        state: Callable[[], State],
        network_env: Env,
        ipamd_env: Env,
        eni_config: EniConfig = no_eni_config,
        now: Callable[[], Instant] = time.time_ns,
        lag: Callable[[], float] = lambda: 0.0,
        past: Past | None = None,
    ) -> None:
        self._state = state
        self._network_env = network_env
        self._ipamd_env = ipamd_env
        self._eni_config = eni_config
        self._now = now
        self._lag = lag
        self._past = past

    def application(self) -> web.Application:
        """An aiohttp application with one handler for all paths and methods."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        if self._past is not None:
            app.on_shutdown.append(self._past.close)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        _log.info(
            "Handling http request: %s, from: %s, URI: %s", request.method, request.remote, request.path_qs[:1024]
        )
        try:
            check_host(request)
            if request.path == "/v1/journal" and self._past is not None:
                check_method(request)
                return await self._past.journal(request)  # a stream has no end to wait for
            async with asyncio.timeout(_TIMEOUT):
                ours = await self._ours(request)
                return ours if ours is not None else await self._document(request.path)
        except Refusal as refusal:
            return refused(refusal)
        except TimeoutError:
            return web.Response(status=500, text="Internal Server Error")

    async def _ours(self, request: web.Request) -> web.Response | None:
        """What upstream does not have; None for every other path."""
        if request.path == "/v1/state" and self._past is not None:
            check_method(request)
            return await self._past.state(request)
        if request.path not in ("/v1/plan", "/healthz"):
            return None
        check_method(request)
        parameters(request, ())
        state = self._state()
        if request.path == "/v1/plan":
            return json_response(plan_document(state, max(self._now(), state.at)))
        status, document = health(state, self._lag())
        return json_response(document, status)

    async def _document(self, path: str) -> web.Response:
        match path:
            case "/v1/enis":
                return _json(enis(self._state()))
            case "/v1/eni-configs":
                name = await self._eni_config()
                return web.Response(status=404, text="Not Found") if name is None else _json(name)
            case "/v1/networkutils-env-settings":
                return _json(dict(sorted(self._network_env().items())))
            case "/v1/ipamd-env-settings":
                return _json(dict(sorted(self._ipamd_env().items())))
            case _:
                return _json({"AvailableCommands": _ROUTES})


def _json(document: object) -> web.Response:
    """JSON with <, > and & escaped, as Go writes it; the type is what Go's sniffing calls such a body (HTTP-2)."""
    body = msgspec.json.encode(document)
    for letter, escaped in ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026")):
        body = body.replace(letter, escaped)
    return web.Response(body=body, content_type="text/plain", charset="utf-8")


def enis(state: State) -> Document:
    """HTTP-4: card number -> totals and ENIs. Keys of objects that are maps upstream are sorted as Go sorts them."""
    shown: Document = {}
    for card, store in sorted(state.stores.items(), key=lambda item: str(item[0])):
        held = sorted((eni for eni in state.enis.values() if eni.card == card), key=lambda eni: eni.eni)
        shown[str(card)] = {
            "TotalIPs": sum(block.size for eni in held for block in eni.blocks.values()) + store.drift_total,
            "AssignedIPs": sum(eni.assigned for eni in held),
            "ENIs": {eni.eni: _eni(eni) for eni in held},
        }
    return shown


def _eni(eni: Eni) -> Document:
    return {
        "ID": eni.eni,
        "IsPrimary": eni.primary,
        "IsTrunk": eni.trunk,
        "IsEFA": eni.efa,
        "DeviceNumber": eni.device,
        "AvailableIPv4Cidrs": {cidr: _block(block) for cidr, block in sorted(eni.blocks.items()) if not block.wide},
        "IPv6Cidrs": {cidr: _block(block) for cidr, block in sorted(eni.blocks.items()) if block.wide},
        "IsExcludedForPodIPs": eni.excluded,
        "RouteTableID": eni.table,
        "SubnetID": eni.subnet,
    }


def _block(block: Block) -> Document:
    addresses = {block.address(offset): record for offset, record in block.records.items()}
    ip, _, length = block.cidr.partition("/")
    return {
        "Cidr": {"IP": ip, "Mask": mask(int(length), 128 if block.wide else 32)},
        "IPAddresses": {text: _address(text, record) for text, record in sorted(addresses.items())},
        "IsPrefix": block.prefix,
        "AddressFamily": "",  # DM-47
    }


def _address(text: str, record: Address) -> Document:
    """HTTP-5: container and interface are blanked."""
    pod = {
        "k8sPodNamespace": record.pod.namespace,
        "k8sPodName": record.pod.name,
        "interfacesCount": record.pod.interfaces,
    }
    network = record.sandbox.network if record.sandbox is not None else ""
    return {
        "Address": text,
        "IPAMKey": {"networkName": network, "containerID": "", "ifName": ""},
        "IPAMMetadata": {key: value for key, value in pod.items() if value},
        "AssignedTime": time_text(record.assigned_at),
        "UnassignedTime": time_text(record.released_at),
    }


def mask(length: int, bits: int = 32) -> str:
    """Base64 of the bytes of a mask: /28 is `////8A==`, /80 of 128 bits `/////////////wAAAAAAAA==` (HTTP-5)."""
    ones = (1 << length) - 1 << (bits - length)
    return base64.b64encode(ones.to_bytes(bits // 8)).decode()


def time_text(instant: Instant) -> str:
    """RFC 3339 as Go writes a time: 0 is its zero time."""
    return rfc3339(instant, fraction=True) if instant else _NO_TIME
