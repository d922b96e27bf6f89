"""One stored object in the shape of the version it is asked for: kind and apiVersion, and the two shapes of an Event.

Objects are stored without kind and apiVersion; Events in the shape of the core group.
"""

from __future__ import annotations

from typing import Final

import msgspec

from .catalog import Kind, Object

_NEW_NAMES: Final = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}
"""Field of a core Event -> the same in events.k8s.io."""
_CORE_NAMES: Final = {new: core for core, new in _NEW_NAMES.items()} | {"reportingInstance": "reportingInstance"}


def served(kind: Kind, obj: Object) -> Object:
    """The object as this kind's clients expect it."""
    return {"kind": kind.kind, "apiVersion": kind.api_version, **bare(kind, obj)}


def listed(kind: Kind, obj: Object) -> Object:
    """The object as an item of a list: only custom resources say their kind there."""
    return served(kind, obj) if kind.custom else bare(kind, obj)


def line(value: object) -> bytes:
    """JSON as Go writes it: U+2028 and U+2029 escaped, since some clients take them for the end of a line."""
    raw = msgspec.json.encode(value)
    if b"\xe2\x80" not in raw:
        return raw
    return raw.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")


def bare(kind: Kind, obj: Object) -> Object:
    """The object without kind and apiVersion."""
    if not kind.storage:
        return obj
    return {_NEW_NAMES.get(key, key): value for key, value in obj.items()}


def stored(kind: Kind, obj: Object) -> Object:
    """What is kept of an object that a client sent."""
    kept = {key: value for key, value in obj.items() if key not in ("kind", "apiVersion")}
    if kind.storage:
        kept = {_CORE_NAMES.get(key, key): value for key, value in kept.items()}
    return kept
