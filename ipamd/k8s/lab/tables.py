"""Lists as the tables that kubectl prints (meta.k8s.io/v1 Table), and objects cut down to their metadata."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from ipamd.core.types import SECOND, Instant

from .catalog import Kind, Object, field
from .shapes import served


def table(kind: Kind, objects: list[Object], now: Instant, metadata: Object, *, heads: bool, include: str) -> Object:
    """A table of stored objects; `heads` whether its columns are described; `include` what a row's object is."""
    columns: list[Object] = [{"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0}]
    for column in kind.columns:
        priority = 1 if column.wide else 0
        type_ = "string" if column.type == "date" else column.type
        columns.append({"name": column.name, "type": type_, "format": "", "description": "", "priority": priority})
    columns.append({"name": "Age", "type": "string", "format": "", "description": "", "priority": 0})
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns if heads else None,
        "rows": [{"cells": _cells(kind, obj, now), "object": _row_object(kind, obj, include)} for obj in objects],
    }


def partial(obj: Object) -> Object:
    """Only the metadata of an object."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def _row_object(kind: Kind, obj: Object, include: str) -> Object | None:
    match include:
        case "Object":
            return served(kind, obj)
        case "None":
            return None
        case _:
            return partial(obj)


def _cells(kind: Kind, obj: Object, now: Instant) -> list[Any]:
    cells: list[Any] = [obj["metadata"]["name"]]
    for column in kind.columns:
        value = _STATES[column.path](obj) if column.path in _STATES else field(obj, column.path)
        if column.type == "date":
            cells.append(age(str(value or ""), now))
        elif value is None:
            cells.append(0 if column.type == "integer" else "<none>")
        else:
            cells.append(value if isinstance(value, str | int) else msgspec.json.encode(value).decode())
    return [*cells, age(obj["metadata"].get("creationTimestamp", ""), now)]


def _node_state(obj: Object) -> str:
    conditions: list[Object] = (obj.get("status") or {}).get("conditions") or []
    ready: Object = next((c for c in conditions if c.get("type") == "Ready"), {})
    state = {"True": "Ready", "False": "NotReady"}.get(ready.get("status", ""), "Unknown")
    return f"{state},SchedulingDisabled" if obj["spec"].get("unschedulable") else state


def _pod_state(obj: Object) -> str:
    return "Terminating" if obj["metadata"].get("deletionTimestamp") else obj["status"].get("phase", "Unknown")


_STATES: Final = {"nodes:state": _node_state, "pods:state": _pod_state}
"""Columns that are no field of the object."""


def age(since: str, now: Instant) -> str:
    """How long ago a time was, as kubectl writes it: 5s, 3m, 2h, 4d."""
    try:
        then = datetime.fromisoformat(since.replace("Z", "+00:00"))
    except ValueError:
        return "<unknown>"
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    seconds = max(0, now // SECOND - int(then.timestamp()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
