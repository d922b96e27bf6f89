"""One request to a resource: which object or collection it is about, what is to be done, and the answer's body.

Knows query strings, bodies and the shapes an Accept header asks for (objects, tables, metadata only); the server
moves the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from ipamd.core.types import Instant

from . import reads, tables
from .catalog import NAMESPACES, PODS, Catalog, Kind, Object
from .refusal import Refusal, bad_request, method_not_allowed
from .shapes import listed, served
from .storage import Storage
from .watching import Watch
from .writes import APPLY_PATCH, Asked, Deletion, Writes

_YAML: Final = frozenset({"application/yaml", "application/apply-patch+yaml"})
_BODIES: Final = ("application/json", "application/yaml")
_RETURNED_WHEN_DELETED: Final = frozenset({PODS, "/serviceaccounts", "/services"})


class Target(msgspec.Struct, frozen=True):
    """What a path names: a collection, or with a name an object, or with a part a subresource."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    part: str = ""


class Requests:
    """Everything below /api/v1/ and /apis/GROUP/VERSION/."""

    def __init__(
        self, storage: Storage, catalog: Catalog, writes: Writes, clock: Callable[[], Instant], bookmark_seconds: float
    ) -> None:
        self._storage = storage
        self._catalog = catalog
        self._writes = writes
        self._clock = clock
        self._bookmark_seconds = bookmark_seconds

    def target(self, group: str, version: str, parts: list[str]) -> Target | None:
        """What the rest of a path names, None if that is not served."""
        space = ""
        if parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in ("status", "finalize"):
            space, parts = parts[1], parts[2:]
        if parts == ["bindings"] and not group:
            return Target(self._catalog.named(PODS), space, "", "binding")
        kind = self._catalog.find(group, version, parts[0])
        if kind is None or len(parts) > 3 or bool(space) > kind.namespaced:
            return None
        name, part = (*parts[1:], "", "")[:2]
        if (name and kind.namespaced and not space) or (part and part not in kind.subresources):
            return None
        return Target(kind, space, name, part)

    # ---- watch ----

    @staticmethod
    def is_watch(query: Mapping[str, str]) -> bool:
        """Whether the list is to be a watch: `1`, `true` and `True` all mean it."""
        return _flag(query, "watch")

    def watch(self, target: Target, query: Mapping[str, str], accept: str) -> Watch:
        """The stream that is asked for."""
        kind, form, heads = target.kind, _form(accept), True
        include = query.get("includeObject", "Metadata")

        def shape(obj: Object) -> Object:
            nonlocal heads
            if form == "Table":
                metadata = {"resourceVersion": obj["metadata"]["resourceVersion"]}
                made = tables.table(kind, [obj], self._clock(), metadata, heads=heads, include=include)
                heads = False
                return made
            return tables.partial(obj) if form else served(kind, obj)

        asked = _query(query)
        return Watch(self._storage, kind, target.namespace, asked, shape, self._bookmark_seconds)

    # ---- everything else ----

    def answer(
        self, target: Target, method: str, query: Mapping[str, str], accept: str, content_type: str, body: bytes
    ) -> tuple[int, Any]:
        """(HTTP status, body). Raises Refusal."""
        if target.part == "binding":
            return self._bind(target, method, content_type, body)
        kind, asked = target.kind, _asked(query)
        space, name, part = target.namespace, target.name, target.part
        match method, bool(name):
            case "GET", True:
                obj = reads.get(self._storage, kind, (space, name), query.get("resourceVersion", ""))
                return 200, self._one(kind, obj, query, accept)
            case "GET", False:
                return 200, self._page(target, query, accept)
            case "POST", False:
                obj = self._writes.create(kind, self._space(target), _decoded(content_type, body), asked)
                return 201, self._one(kind, obj, query, accept)
            case "PUT", True:
                sent = _decoded(content_type, body)
                obj, new = self._writes.update(kind, space, name, sent, part, asked)
                return 201 if new else 200, self._one(kind, obj, query, accept)
            case "PATCH", True:
                sent = _decoded(content_type, body, patch=True)
                if content_type == APPLY_PATCH and query.get("fieldManager", "") == "":
                    asked = msgspec.structs.replace(asked, manager="")
                obj, new = self._writes.patch(kind, space, name, content_type, sent, part, asked)
                return 201 if new else 200, self._one(kind, obj, query, accept)
            case "DELETE", True if not part:
                return self._delete(target, query, content_type, body, asked)
            case "DELETE", False:
                return 200, self._delete_all(target, query, content_type, body, asked)
            case _:
                raise method_not_allowed()

    def _space(self, target: Target) -> str:
        if target.kind.namespaced and not target.namespace:
            raise method_not_allowed()
        return target.namespace

    def _bind(self, target: Target, method: str, content_type: str, body: bytes) -> tuple[int, Object]:
        if method != "POST":
            raise method_not_allowed()
        sent = _decoded(content_type, body)
        name = target.name or str((sent.get("metadata") or {}).get("name", ""))
        self._writes.bind(target.namespace, name, sent)
        return 201, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}

    def _delete(
        self, target: Target, query: Mapping[str, str], content_type: str, body: bytes, asked: Asked
    ) -> tuple[int, Object]:
        kind = target.kind
        wanted = _deletion(query, content_type, body)
        obj, gone = self._writes.delete(kind, target.namespace, target.name, wanted, asked)
        if not gone or kind.key in _RETURNED_WHEN_DELETED:
            return 200, served(kind, obj)
        group = {"group": kind.group} if kind.group else {}
        details = {"name": target.name, **group, "kind": kind.plural, "uid": obj["metadata"]["uid"]}
        return 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def _delete_all(
        self, target: Target, query: Mapping[str, str], content_type: str, body: bytes, asked: Asked
    ) -> Object:
        self._space(target)
        if target.kind.key == NAMESPACES:
            raise method_not_allowed()
        page = reads.list_page(self._storage, target.kind, target.namespace, _query(query))
        wanted = _deletion(query, content_type, body)
        deleted = [
            self._writes.delete(target.kind, target.namespace, obj["metadata"]["name"], wanted, asked)[0]
            for obj in page.items
        ]
        return self._list(target.kind, deleted, {"resourceVersion": str(self._storage.version)})

    # ---- shapes ----

    def _one(self, kind: Kind, obj: Object, query: Mapping[str, str], accept: str) -> Object:
        match _form(accept):
            case "Table":
                metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
                include = query.get("includeObject", "Metadata")
                return tables.table(kind, [obj], self._clock(), metadata, heads=True, include=include)
            case "PartialObjectMetadata":
                return tables.partial(obj)
            case _:
                return served(kind, obj)

    def _page(self, target: Target, query: Mapping[str, str], accept: str) -> Object:
        page = reads.list_page(self._storage, target.kind, target.namespace, _query(query))
        metadata: Object = {"resourceVersion": str(page.version)}
        if page.continued:
            metadata["continue"] = page.continued
        if page.remaining is not None:
            metadata["remainingItemCount"] = page.remaining
        match _form(accept):
            case "Table":
                include = query.get("includeObject", "Metadata")
                return tables.table(target.kind, page.items, self._clock(), metadata, heads=True, include=include)
            case "PartialObjectMetadata":
                rows = [tables.partial(obj) for obj in page.items]
                return {
                    "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                    "items": rows,
                }  # fmt: skip
            case _:
                return self._list(target.kind, page.items, metadata)

    @staticmethod
    def _list(kind: Kind, items: list[Object], metadata: Object) -> Object:
        shown = [listed(kind, obj) for obj in items]
        return {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata, "items": shown}


def status_of(code: int, reason: str, message: str) -> Object:
    """A Status of failure for what no Refusal was raised for."""
    return Refusal(code, reason, message).status


def _form(accept: str) -> str:
    """The first shape of the Accept header that is served: "" for the objects themselves. Raises Refusal (406)."""
    for offer in accept.split(",") if accept else [""]:
        media, *options = (part.strip() for part in offer.split(";"))
        if media not in ("", "*/*", "application/*", "application/json"):
            continue
        chosen = dict(option.partition("=")[::2] for option in options)
        match chosen.get("as", ""):
            case "":
                return ""
            case "Table" if chosen.get("v") == "v1":
                return "Table"
            case "PartialObjectMetadata" | "PartialObjectMetadataList" if chosen.get("v") == "v1":
                return "PartialObjectMetadata"
    raise Refusal(406, "NotAcceptable", "only the following media types are accepted: application/json")


def _flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "").lower() not in ("", "0", "f", "false")


def _query(query: Mapping[str, str]) -> reads.Query:
    def number(name: str) -> int:
        text = query.get(name, "") or "0"
        if not (text.isascii() and text.isdigit()) or len(text) > 12:
            raise bad_request(f'{name}: Invalid value: "{text[:40]}": want an integer >= 0')
        return int(text)

    return reads.Query(
        label_selector=query.get("labelSelector", ""),
        field_selector=query.get("fieldSelector", ""),
        resource_version=query.get("resourceVersion", ""),
        resource_version_match=query.get("resourceVersionMatch", ""),
        limit=number("limit"),
        continued=query.get("continue", ""),
        watch=_flag(query, "watch"),
        allow_watch_bookmarks=_flag(query, "allowWatchBookmarks"),
        send_initial_events=_flag(query, "sendInitialEvents") if query.get("sendInitialEvents") else None,
        timeout_seconds=number("timeoutSeconds"),
    )


def _asked(query: Mapping[str, str]) -> Asked:
    dry = query.get("dryRun", "")
    if dry not in ("", "All"):
        raise bad_request(f'dryRun: Unsupported value: "{dry[:40]}": supported values: "All"')
    return Asked(dry_run=dry == "All", manager=query.get("fieldManager", ""), force=_flag(query, "force"))


def _decoded(content_type: str, body: bytes, *, patch: bool = False) -> Any:
    """The body as JSON values; a patch may be a list too."""
    if not patch and content_type not in (*_BODIES, "application/octet-stream"):  # the latter is "none was sent"
        raise Refusal(415, "UnsupportedMediaType", "the body of the request was in an unknown format - accepted media "
                      f"types include: {', '.join(_BODIES)}")  # fmt: skip
    try:
        decoded = msgspec.yaml.decode(body) if content_type in _YAML else msgspec.json.decode(body)
    except msgspec.MsgspecError as error:
        raise bad_request(f"couldn't get version/kind; json parse error: {error}") from None
    if not isinstance(decoded, dict | list) or (isinstance(decoded, list) and not patch):
        raise bad_request("the body must be a JSON object")
    return decoded


def _deletion(query: Mapping[str, str], content_type: str, body: bytes) -> Deletion:
    wanted = Deletion()
    if body.strip():
        try:
            wanted = msgspec.convert(_decoded(content_type, body), Deletion)
        except msgspec.ValidationError as error:
            raise bad_request(f"DeleteOptions: {error}") from None
    grace = query.get("gracePeriodSeconds", "")
    if not grace:
        return wanted
    if not (grace.isascii() and grace.isdigit()) or len(grace) > 9:
        raise bad_request(f'gracePeriodSeconds: Invalid value: "{grace[:40]}": want an integer >= 0')
    return msgspec.structs.replace(wanted, grace_period_seconds=int(grace))
