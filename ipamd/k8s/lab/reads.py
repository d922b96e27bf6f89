"""Get, list and watch: what is read, at which version, and how a list goes on.

A list that continues shows the version its first page was read at, as etcd does, for as long as that is remembered.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

import msgspec

from . import selectors
from .catalog import Kind, Object
from .refusal import Refusal, bad_request, barred, expired, invalid, not_found, too_large, wrong
from .storage import Change, Name, Storage

Seen: TypeAlias = tuple[Literal["ADDED", "MODIFIED", "DELETED"], Object]

INITIAL_END: Final = "k8s.io/initial-events-end"
_TOO_OLD: Final = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


class Query(msgspec.Struct, frozen=True, rename="camel"):
    """What a list or a watch asks for, from the query string."""

    label_selector: str = ""
    field_selector: str = ""
    resource_version: str = ""
    resource_version_match: str = ""
    limit: int = 0
    continued: str = msgspec.field(name="continue", default="")
    watch: bool = False
    allow_watch_bookmarks: bool = False
    send_initial_events: bool | None = None
    timeout_seconds: int = 0


class Page(msgspec.Struct, frozen=True):
    """One page of a list."""

    version: int
    items: list[Object]
    continued: str = ""
    remaining: int | None = None


class _Token(msgspec.Struct, frozen=True):
    v: str
    rv: int
    start: Name


def version_of(text: str) -> int:
    """A resourceVersion as the number it is; "" and "0" are 0: any."""
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise bad_request(f'Invalid value: "{text[:40]}": invalid resource version')
    return int(text)


def get(storage: Storage, kind: Kind, name: Name, version: str) -> Object:
    """One object. Raises Refusal: 404, or 504 for a version to come."""
    if version_of(version) > storage.version:
        raise too_large(version_of(version), storage.version)
    found = storage.get(kind.key, name)
    if found is None:
        raise not_found(kind, name[1])
    return found


def test_of(kind: Kind, namespace: str, query: Query) -> selectors.Test | None:
    """Which objects a list or a watch is about."""
    chosen = selectors.both(selectors.labels(query.label_selector), selectors.fields(kind, query.field_selector))
    if not namespace:
        return chosen
    return selectors.both(lambda obj: obj["metadata"].get("namespace") == namespace, chosen)


def list_page(storage: Storage, kind: Kind, namespace: str, query: Query) -> Page:
    """The page that the query asks for."""
    check_query(kind, query)
    version, start = storage.version, ("", "")
    asked = version_of(query.resource_version)
    if query.continued:
        if asked:
            raise bad_request("specifying resource version is not allowed when using continue")
        version, start = _continued(storage, kind, query.continued)
    elif query.resource_version_match == "Exact":
        version = asked
    elif asked > version:
        raise too_large(asked, version)
    chosen = test_of(kind, namespace, query)
    try:
        objects = storage.at(kind.key, version)
    except Refusal as refusal:
        if refusal.code != 410:
            raise
        raise _too_old(storage, query, start) from None
    names = sorted(name for name in objects if name > start and (not namespace or name[0] == namespace))
    items: list[Object] = []
    for place, name in enumerate(names):
        if chosen is None or chosen(objects[name]):
            items.append(objects[name])
        if query.limit and len(items) == query.limit and place + 1 < len(names):
            left = len(names) - place - 1
            selected = query.label_selector or query.field_selector
            return Page(version, items, _token(version, name), None if selected else left)
    return Page(version, items)


def check_query(kind: Kind, query: Query) -> None:
    """Refuses combinations that mean nothing."""
    match, version = query.resource_version_match, query.resource_version
    found = []
    if match and match not in ("Exact", "NotOlderThan"):
        found.append(wrong("resourceVersionMatch", match, 'supported values: "Exact", "NotOlderThan"'))
    elif query.watch:
        if query.send_initial_events is None and match:
            found.append(barred("resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless "
                                "sendInitialEvents is provided"))  # fmt: skip
        elif query.send_initial_events is not None and match != "NotOlderThan":
            found.append(barred("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to "
                                "NotOlderThan"))  # fmt: skip
    elif query.send_initial_events is not None:
        found.append(barred("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    elif match and not version:
        found.append(barred("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is "
                            "provided"))  # fmt: skip
    elif match == "Exact" and version == "0":
        found.append(barred("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion '
                            '"0"'))  # fmt: skip
    if found:
        options = msgspec.structs.replace(kind, group="meta.k8s.io", kind="ListOptions")
        raise invalid(options, "", *found)


def seen_by(chosen: selectors.Test | None, change: Change) -> Seen | None:
    """The change as a watch with a selector sees it: what comes to match is added, what no longer does is deleted."""
    if chosen is None:
        return change.type, change.after
    was = change.before is not None and chosen(change.before)
    if change.type == "DELETED":
        return ("DELETED", change.after) if was else None
    matches = chosen(change.after)
    if matches:
        return ("MODIFIED" if was else "ADDED"), change.after
    if was and change.before is not None:
        version = change.after["metadata"]["resourceVersion"]
        last = {**change.before, "metadata": {**change.before["metadata"], "resourceVersion": version}}
        return "DELETED", last
    return None


def initial(storage: Storage, kind: Kind, chosen: selectors.Test | None) -> Iterator[Object]:
    """Everything a watch begins with when it names no version."""
    for name in storage.names(kind.key):
        obj = storage.get(kind.key, name)
        if obj is not None and (chosen is None or chosen(obj)):
            yield obj


def _token(version: int, last: Name) -> str:
    raw = msgspec.json.encode(_Token("meta.k8s.io/v1", version, last))
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _continued(storage: Storage, kind: Kind, text: str) -> tuple[int, Name]:
    """(version, last name shown). A version of -1 stands for the current one."""
    try:
        token = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=_Token)
    except (ValueError, msgspec.MsgspecError) as error:
        raise bad_request(f"invalid continue token: {error}") from None
    if not -1 <= token.rv <= storage.version or token.v != "meta.k8s.io/v1":
        raise bad_request("invalid continue token: it is not one of this server's")
    return (storage.version if token.rv == -1 else token.rv), token.start


def _too_old(storage: Storage, query: Query, start: Name) -> Refusal:
    if not query.continued:
        return expired("The resourceVersion for the provided list is too old.")
    refusal = expired(_TOO_OLD)
    refusal.continued = _token(-1, start)
    return refusal
