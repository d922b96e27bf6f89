"""The HTTP face of the lab: paths, query strings, bodies and content types to reads and writes, and back.

It listens on 127.0.0.1 only, without authentication; so that no web page can use it, a request must name that address
as its host and must not come from another site's page.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import web

from ipamd.core.types import Instant

from . import discovery, seeds
from .catalog import Catalog
from .refusal import Refusal, bad_request
from .requests import Requests, status_of
from .shapes import line
from .storage import WINDOW, Storage
from .watching import Watch
from .writes import Writes

BODY_MAX: Final = 3 * 1024 * 1024
_JSON: Final = "application/json"
_PROTOBUF_V2: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""What is asked for has an @ before v1.0, which is no valid media type: the answer's has a dot."""
_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Lab:
    """One in-memory cluster and its server."""

    def __init__(
        self,
        *,
        clock: Callable[[], Instant] = time.time_ns,
        seed: int = 0,
        window: int = WINDOW,
        bookmark_seconds: float = 60.0,
    ) -> None:
        self.storage = Storage(window)
        self.catalog = Catalog()
        self.writes = Writes(self.storage, self.catalog, clock, seed)
        seeds.sow(self.writes, self.catalog)
        self.storage.compact()
        self.requests = Requests(self.storage, self.catalog, self.writes, clock, bookmark_seconds)
        self.url = ""
        """Where it listens, once started."""
        self._watches: set[Watch] = set()
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> str:
        """Listen on 127.0.0.1; the URL. Raises OSError if the port is taken."""
        app = web.Application(middlewares=[_guarded], client_max_size=BODY_MAX)
        for path, handler in (
            ("/version", self._version), ("/healthz", self._healthy), ("/livez", self._healthy),
            ("/readyz", self._healthy), ("/openapi/v2", self._openapi_v2), ("/openapi/v3", self._openapi_index),
            ("/api", self._api), ("/apis", self._groups),
        ):  # fmt: skip
            app.router.add_get(path + "{_:/?}", handler)  # some clients ask for /version/
        app.router.add_get("/openapi/v3/{place:.+}", self._openapi_group)
        app.router.add_post("/lab/compact", self._compact)
        app.router.add_route("*", "/{path:apis?/.+}", self._resource)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self.url

    async def stop(self) -> None:
        """End the watches, then the server."""
        for watch in tuple(self._watches):
            watch.end()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def watches(self) -> int:
        """How many watches are open."""
        return len(self._watches)

    # ---- documents ----

    async def _version(self, _: web.Request) -> web.Response:
        return _answer(discovery.VERSION)

    async def _healthy(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _api(self, request: web.Request) -> web.Response:
        return _answer(discovery.api(request.host))

    async def _groups(self, _: web.Request) -> web.Response:
        return _answer(discovery.groups(self.catalog))

    async def _openapi_v2(self, request: web.Request) -> web.Response:
        if "protobuf" in request.headers.get("Accept", ""):
            return web.Response(body=discovery.OPENAPI_V2_PROTOBUF, headers={"Content-Type": _PROTOBUF_V2})
        return _answer(discovery.openapi_v2())

    async def _openapi_index(self, _: web.Request) -> web.Response:
        return _answer(discovery.openapi_index(self.catalog))

    async def _openapi_group(self, request: web.Request) -> web.Response:
        found = discovery.openapi_group(self.catalog, request.match_info["place"])
        return _answer(found) if found else _nothing()

    async def _compact(self, _: web.Request) -> web.Response:
        """The lab's own: forget the history, so that watches and lists at older versions are refused with 410."""
        return _answer({"resourceVersion": str(self.storage.compact())})

    # ---- resources ----

    async def _resource(self, request: web.Request) -> web.StreamResponse:
        parts = request.match_info["path"].strip("/").split("/")
        if parts[0] == "api":
            group, version, rest = "", parts[1], parts[2:]
        else:
            group, version, rest = parts[1], parts[2] if len(parts) > 2 else "", parts[3:]
        if not version:
            document = discovery.group(self.catalog, group)
            return _answer(document) if document else _nothing()
        if not rest:
            document = discovery.resources(self.catalog, group, version)
            return _answer(document) if document else _nothing()
        target = self.requests.target(group, version, rest)
        if target is None:
            return _nothing()
        accept = request.headers.get("Accept", "")
        if request.method == "GET" and not target.name and self.requests.is_watch(request.query):
            return await self._watch(request, self.requests.watch(target, request.query, accept))
        body = await request.read()
        code, answer = self.requests.answer(target, request.method, request.query, accept, request.content_type, body)
        return _answer(answer, code)

    async def _watch(self, request: web.Request, watch: Watch) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": _JSON, "Cache-Control": "no-cache, private"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        self._watches.add(watch)
        lines = watch.lines()
        try:
            async for ready in lines:
                await response.write(ready)
            await response.write_eof()
        except ConnectionResetError:
            pass  # the client has seen enough
        finally:
            await lines.aclose()
            self._watches.discard(watch)
        return response


def _answer(value: Any, code: int = 200) -> web.Response:
    headers = {"Content-Type": _JSON, "Cache-Control": "no-cache, private"}
    return web.Response(status=code, body=line(value), headers=headers)


def _nothing() -> web.Response:
    """What a path gets that nothing is served at."""
    return web.Response(status=404, text="404 page not found\n")


@web.middleware
async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refusals become Status answers; requests that a web page could have made are refused."""
    try:
        origin = request.headers.get("Origin", "")
        if not _ours(request.host) or (origin and not _ours(urlsplit(origin).netloc)):
            raise Refusal(403, "Forbidden", "the request must name 127.0.0.1 or localhost as its host and origin")
        return await handler(request)
    except Refusal as refusal:
        return _answer(refusal.status, refusal.code)
    except RecursionError:
        return _answer(bad_request("the body is too deeply nested").status, 400)
    except web.HTTPRequestEntityTooLarge:
        text = f"Request entity too large: limit is {BODY_MAX}"
        return _answer(status_of(413, "RequestEntityTooLarge", text), 413)
    except web.HTTPMethodNotAllowed:
        return _answer(status_of(405, "MethodNotAllowed", "the server does not allow this method on the requested "
                                 "resource"), 405)  # fmt: skip
    except web.HTTPNotFound:
        return _nothing()


def _ours(host: str) -> bool:
    name, _, port = host.rpartition(":")
    return (name if port.isdigit() else host).lower() in _HOSTS
