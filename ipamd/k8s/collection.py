"""One path and one selection of the API: all of it now, and what happens after a version.

Both doors to a cluster read through it, each with the fields of an object that it wants.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar, cast
from urllib.parse import quote

import msgspec

from . import wire
from .port import ClusterError, Item, Listed, Seen

if TYPE_CHECKING:  # what it imports is an extra, and costs half a second
    from .client import LightkubeCluster

PAGE: Final = 500
WATCH_SECONDS: Final = 300


class Versioned(Protocol):
    """The metadata of an object."""

    @property
    def resource_version(self) -> str: ...


class Object(Protocol):
    """What is decoded of an object."""

    @property
    def metadata(self) -> Versioned: ...


T = TypeVar("T", bound=Object)
V = TypeVar("V", bound=Item)


class _PageMetadata(
    msgspec.Struct, frozen=True, rename={"resource_version": "resourceVersion", "continued": "continue"}
):
    resource_version: str = ""
    continued: str = ""


class _Page(msgspec.Struct, Generic[T], frozen=True):
    metadata: _PageMetadata = _PageMetadata()
    items: list[T] | None = None


class Collection(Generic[T, V]):
    """`port.Source`: objects decoded as `thing`, then read into views by `reading`."""

    def __init__(
        self,
        cluster: LightkubeCluster,
        path: str,
        selection: Mapping[str, str],
        reading: Callable[[T], V],
        thing: type[T],
        page: int = PAGE,
    ) -> None:
        self._cluster = cluster
        self._path = path
        self._selection = selection
        self._reading = reading
        self._thing = thing
        self._page = page
        self._list_type = cast("type[_Page[T]]", _Page[thing])  # type: ignore[valid-type]

    async def list(self) -> Listed[V]:
        """Everything in it, all pages of one version."""
        items: list[V] = []
        continued = ""
        while True:
            onward = {"continue": continued} if continued else {}
            params: dict[str, str | int] = {**self._selection, "limit": self._page, **onward}
            raw = await self._cluster.request("GET", self._path, params=params, seconds=30.0)
            page = wire.decoded(f"GET {self._path}", raw, self._list_type)
            items += map(self._reading, page.items or ())
            continued = page.metadata.continued
            if not continued:
                return Listed(items, page.metadata.resource_version)

    async def watch(self, version: str) -> AsyncGenerator[Seen[V], None]:
        """What happens after a version. An ERROR line is raised as ClusterError."""
        operation = f"WATCH {self._path}"
        params: dict[str, str | int] = {
            **self._selection,
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": WATCH_SECONDS,
        }
        lines = self._cluster.lines(self._path, params)
        try:
            async for raw in lines:
                line = wire.decoded(operation, raw, wire.Line)
                if line.type == "ERROR":
                    status = wire.decoded(operation, line.object, wire.Refused)
                    raise ClusterError(operation, status.code, status.reason, status.message)
                thing = wire.decoded(operation, line.object, self._thing)
                found = None if line.type == "BOOKMARK" else self._reading(thing)
                yield Seen(line.type, thing.metadata.resource_version, found)
        finally:
            await lines.aclose()


def part(text: str) -> str:
    """One part of a path, whatever is in it. Raises ClusterError for what would be another path."""
    if text in ("", ".", ".."):
        raise ClusterError("GET", 404, "NotFound", f'"{text}" is no name of an object')
    return quote(text, safe="")


def pod_path(namespace: str, name: str) -> str:
    """Where a pod is."""
    return f"/api/v1/namespaces/{part(namespace)}/pods/{part(name)}"
