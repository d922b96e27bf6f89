"""Server-side apply, its core: each applier owns the fields it sent, and what it sends no longer is removed.

Owners are the entries of metadata.managedFields with operation Apply. Writes other than apply own nothing here, so
a conflict is only ever between two appliers; a real server also counts updates.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec

from .catalog import Kind, Object
from .patches import merge_key
from .refusal import Refusal, bad_request

Fields: TypeAlias = dict[str, Any]
"""FieldsV1: `f:name` -> the fields below, `k:{"name":"a"}` -> those of an element; {} is a leaf."""

Path: TypeAlias = tuple[str, ...]

UNOWNED: Final = frozenset({("f:metadata", "f:name"), ("f:metadata", "f:namespace"), ("f:apiVersion",), ("f:kind",)})


def apply(kind: Kind, live: Object, config: Object, manager: str, *, force: bool, at: str) -> Object:
    """The live object ({} if there is none) after `manager` applied a configuration. Raises Refusal (400, 409)."""
    if not manager:
        text = "PatchOptions.meta.k8s.io is invalid: fieldManager: Required value: is required for apply patch"
        raise bad_request(text)
    keyed = not kind.custom
    entries: list[Object] = list(live.get("metadata", {}).get("managedFields") or [])
    mine = next((e for e in entries if e["manager"] == manager and e["operation"] == "Apply"), None)
    others = [e for e in entries if e is not mine]
    wanted = _fields(config, keyed)
    paths = _leaves(wanted)
    merged = _merged(live, config, keyed)
    lost = _conflicts(others, live, merged, paths)
    if lost and not force:
        raise _conflict(lost)
    held_by_others = {path for e in others for path in _leaves(e.get("fieldsV1") or {})}
    for path in sorted(_leaves(mine["fieldsV1"]) - paths - held_by_others if mine else ()):
        merged = _removed(merged, path)
    kept = [_without_paths(e, {path for owner, path in lost if owner == e["manager"]}) for e in others]
    entry = {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": kind.api_version,
        "time": mine["time"] if mine and mine["fieldsV1"] == wanted else at,
        "fieldsType": "FieldsV1",
        "fieldsV1": wanted,
    }
    metadata = {**merged["metadata"], "managedFields": [*(e for e in kept if e.get("fieldsV1")), entry]}
    return {**merged, "metadata": metadata}


def _fields(value: Any, keyed: bool, path: Path = ()) -> Fields:
    """The tree of fields a value sets; leaves are {}."""
    if isinstance(value, dict):
        return {
            f"f:{key}": _fields(below, keyed, (*path, f"f:{key}"))
            for key, below in value.items()
            if (*path, f"f:{key}") not in UNOWNED
        }
    if isinstance(value, list) and keyed and (key := merge_key(path[-1][2:], value)):
        return {_element(key, one): _fields(one, keyed, (*path, "k:")) for one in value if key in one}
    return {}


def _element(key: str, one: Object) -> str:
    return "k:" + msgspec.json.encode({key: one[key]}).decode()


def _leaves(fields: Fields, path: Path = ()) -> set[Path]:
    found: set[Path] = set()
    for name, below in fields.items():
        found |= _leaves(below, (*path, name)) if below else {(*path, name)}
    return found


def _merged(live: Any, config: Any, keyed: bool, name: str = "") -> Any:
    if isinstance(config, dict):
        result = dict(live) if isinstance(live, dict) else {}
        for key, value in config.items():
            result[key] = _merged(result.get(key), value, keyed, key)
        return result
    if isinstance(config, list) and isinstance(live, list) and keyed and (key := merge_key(name, live + config)):
        result_list = list(live)
        for one in config:
            place = next((i for i, held in enumerate(live) if held.get(key) == one.get(key)), -1)
            if place >= 0:
                result_list[place] = _merged(live[place], one, keyed)
            else:
                result_list.append(one)
        return result_list
    return config


def _value(obj: Any, path: Path) -> Any:
    for step in path:
        if step.startswith("f:"):
            obj = obj.get(step[2:]) if isinstance(obj, dict) else None
        else:
            wanted = msgspec.json.decode(step[2:])
            elements = obj if isinstance(obj, list) else []
            obj = next((e for e in elements if wanted.items() <= e.items()), None)
    return obj


def _conflicts(others: list[Object], live: Object, merged: Object, paths: set[Path]) -> list[tuple[str, Path]]:
    """(manager, path) of every field that another applier owns and that would change."""
    return [
        (entry["manager"], path)
        for entry in others
        if entry["operation"] == "Apply"
        for path in sorted(_leaves(entry.get("fieldsV1") or {}) & paths)
        if _value(live, path) != _value(merged, path)
    ]


def _conflict(lost: list[tuple[str, Path]]) -> Refusal:
    def dotted(path: Path) -> str:
        return "".join(f".{step[2:]}" if step.startswith("f:") else f"[{step[2:].strip('{}')}]" for step in path)

    causes = [
        {"reason": "FieldManagerConflict", "message": f'conflict with "{owner}"', "field": dotted(path)}
        for owner, path in lost
    ]
    many = "1 conflict" if len(lost) == 1 else f"{len(lost)} conflicts"
    listed = ", ".join(f'conflict with "{owner}": {dotted(path)}' for owner, path in lost)
    return Refusal(409, "Conflict", f"Apply failed with {many}: {listed}", {"causes": causes})


def _removed(obj: Any, path: Path) -> Any:
    """The value without what is at the path; an element of a list goes when nothing but its key would be left."""
    head, rest = path[0], path[1:]
    if head.startswith("f:"):
        name = head[2:]
        if not isinstance(obj, dict) or name not in obj:
            return obj
        if rest and (below := _removed(obj[name], rest)) not in ({}, []):
            return {**obj, name: below}
        return {key: value for key, value in obj.items() if key != name}
    if not isinstance(obj, list):
        return obj
    wanted = msgspec.json.decode(head[2:])
    result = []
    for element in obj:
        if not wanted.items() <= element.items():
            result.append(element)
        elif rest and (left := _removed(element, rest)):
            result.append(left)
    return result


def _without_paths(entry: Object, lost: set[Path]) -> Object:
    fields = entry.get("fieldsV1") or {}
    for path in sorted(lost):
        fields = _pruned(fields, path)
    return {**entry, "fieldsV1": fields}


def _pruned(fields: Fields, path: Path) -> Fields:
    head, rest = path[0], path[1:]
    if head not in fields:
        return fields
    below = _pruned(fields[head], rest) if rest else {}
    kept = {key: value for key, value in fields.items() if key != head}
    return {**kept, head: below} if below else kept
