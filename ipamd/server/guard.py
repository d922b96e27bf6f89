"""Who may ask, and how: the Host header of loopback connections, the parameters of our own paths, refusals.

A browser can be made to ask a loopback address under a foreign name (DNS rebinding). The name then stands in the
Host header, so on a loopback connection only names of this machine are answered. Unix sockets have no names, and who
binds another address has chosen to be asked by others.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from typing import Final

import msgspec
from aiohttp import web

VALUES_MAX: Final = 16
"""How often a parameter may be given."""
VALUE_LENGTH: Final = 256
_LOCAL: Final = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")


class Refusal(Exception):
    """A request that is not answered as it was asked."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def json_response(document: object, status: int = 200) -> web.Response:
    """A document of ours; nobody may keep it or take it for something else."""
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    if status == 405:
        headers["Allow"] = "GET, HEAD"
    if status == 503:
        headers["Retry-After"] = "1"
    body = msgspec.json.encode(document) + b"\n"
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


def refused(refusal: Refusal) -> web.Response:
    """The refusal as a document."""
    return json_response({"error": refusal.text}, refusal.status)


def check_host(request: web.Request) -> None:
    """Raises `Refusal` for a loopback connection under a name that is none of this machine's."""
    transport = request.transport
    name = transport.get_extra_info("sockname") if transport is not None else None
    if not isinstance(name, tuple) or not _loopback(str(name[0])):
        return
    given = request.headers.get("Host", "")
    if given and not is_local(given):
        want = "want localhost or a loopback address in the Host header"
        raise Refusal(403, f'"{given[:VALUE_LENGTH]}": {want}: this door answers its own machine only')


def is_local(host: str) -> bool:
    """Whether a Host header, with or without a port, names this machine."""
    bare = host.strip().lower()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    bare = bare.removesuffix(".")
    return bare in _LOCAL or bare == socket.gethostname().lower() or _loopback(bare)


def _loopback(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or (mapped is not None and mapped.is_loopback)


def check_method(request: web.Request) -> None:
    """Our paths are read-only. Raises `Refusal`."""
    if request.method not in ("GET", "HEAD"):
        raise Refusal(405, f"{request.method[:20]}: this path is read-only; want GET")


def parameters(request: web.Request, known: Collection[str]) -> dict[str, list[str]]:
    """The query's parameters, each with its values. Raises `Refusal` for one that is not `known`, or too many."""
    found: dict[str, list[str]] = {name: [] for name in known}
    for name, value in request.query.items():
        if name not in found:
            listed = ", ".join(sorted(known)) or "none"
            raise Refusal(400, f'parameter "{name[:40]}": no such one here; known: {listed}')
        if len(value) > VALUE_LENGTH:
            raise Refusal(400, f"parameter {name}: {len(value)} characters; want {VALUE_LENGTH} at most")
        found[name].append(value)
        if len(found[name]) > VALUES_MAX:
            raise Refusal(400, f"parameter {name}: given too often; want {VALUES_MAX} times at most")
    return found


def one(found: dict[str, list[str]], name: str, default: str = "") -> str:
    """The one value of a parameter. Raises `Refusal` where there are several."""
    values = found[name]
    if len(values) > 1:
        raise Refusal(400, f"parameter {name}: given {len(values)} times; want it once")
    return values[0] if values else default


def whole(text: str, name: str, low: int, high: int) -> int:
    """A whole number within bounds. Raises `Refusal`."""
    if not (text.isascii() and text.isdigit()) or not low <= int(text[:20]) <= high:
        raise Refusal(400, f'{name}="{text[:40]}": want a whole number from {low} to {high}')
    return int(text)
