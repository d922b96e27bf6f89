"""The three patches that change a JSON value: RFC 6902, RFC 7386 and Kubernetes' strategic merge.

All of them build a new value and share what did not change. What cannot be applied raises `PatchError`.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from .catalog import Object

Json: TypeAlias = Any

MERGE_KEYS: Final = {
    "addresses": "type",
    "conditions": "type",
    "containers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ownerReferences": "uid",
    "podIPs": "ip",
    "ports": "containerPort",
    "secrets": "name",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
"""Field -> the key by which a strategic merge tells its elements apart. Other lists of objects are replaced."""

MERGED_VALUES: Final = frozenset({"finalizers", "podCIDRs"})
"""Lists of plain values that a strategic merge unites."""

OPERATIONS_MAX: Final = 10_000


class PatchError(Exception):
    """The patch does not fit what it is applied to."""


def merge(target: Json, patch: Json) -> Json:
    """RFC 7386: objects are merged, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


# ---- strategic merge -----------------------------------------------------------------------------------------


def strategic(target: Json, patch: Object) -> Json:
    """Kubernetes' strategic merge patch: like `merge`, but lists with a merge key are merged element by element."""
    directive = patch.get("$patch")
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    if directive == "delete":
        return {}
    result = dict(target) if isinstance(target, dict) else {}
    if isinstance(patch.get("$retainKeys"), list):
        result = {key: value for key, value in result.items() if key in patch["$retainKeys"]}
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            if not isinstance(value, list):
                raise PatchError(f"{key}: want a list")
            name = key.partition("/")[2]
            result[name] = [held for held in _list_in(result, name) if held not in value]
        elif key.startswith("$"):
            continue
        elif value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = strategic(result.get(key), value)
        elif isinstance(value, list):
            result[key] = _merged_list(key, _list_in(result, key), value)
        else:
            result[key] = value
    for key, order in patch.items():
        if key.startswith("$setElementOrder/"):
            _reorder(result, key.partition("/")[2], order)
    return result


def _list_in(obj: Object, name: str) -> list[Json]:
    held = obj.get(name)
    return held if isinstance(held, list) else []


def merge_key(name: str, elements: list[Json]) -> str:
    """The merge key of a list, "" if it has none. Ports of services are told apart by `port`."""
    key = MERGE_KEYS.get(name, "")
    if name == "ports" and any(isinstance(e, dict) and "port" in e for e in elements):
        key = "port"
    return key if all(isinstance(e, dict) for e in elements) else ""


def _merged_list(name: str, held: list[Json], patch: list[Json]) -> list[Json]:
    if name in MERGED_VALUES:
        return held + [value for value in patch if value not in held]
    key = merge_key(name, held + [e for e in patch if not (isinstance(e, dict) and e.get("$patch") == "replace")])
    if not key:
        return patch
    if any(element.get("$patch") == "replace" for element in patch):
        return [element for element in patch if "$patch" not in element]
    result = list(held)
    for element in patch:
        if key not in element:
            raise PatchError(f"map: {element} does not contain declared merge key: {key}")
        place = next((i for i, one in enumerate(result) if one.get(key) == element[key]), -1)
        if element.get("$patch") == "delete":
            result = [one for one in result if one.get(key) != element[key]]
        elif place >= 0:
            result[place] = strategic(result[place], element)
        else:
            result.append(strategic({}, element))
    return result


def _reorder(result: Object, name: str, order: Json) -> None:
    held = result.get(name)
    if not isinstance(held, list) or not isinstance(order, list):
        return
    key = merge_key(name, held)

    def identity(element: Json) -> Json:
        return element.get(key) if key and isinstance(element, dict) else element

    wanted = [identity(element) for element in order]
    known = sorted((e for e in held if identity(e) in wanted), key=lambda e: wanted.index(identity(e)))
    others = [e for e in held if identity(e) not in wanted]
    result[name] = known + others


# ---- RFC 6902 ------------------------------------------------------------------------------------------------


def apply_operations(target: Json, operations: Json) -> Json:
    """RFC 6902, all operations or none."""
    if not isinstance(operations, list) or len(operations) > OPERATIONS_MAX:
        raise PatchError(f"want a list of at most {OPERATIONS_MAX} operations")
    for operation in operations:
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise PatchError("an operation is an object with op and path")
        target = _operate(target, operation)
    return target


def _operate(target: Json, operation: Object) -> Json:
    path = _pointer(operation["path"])
    match operation.get("op"):
        case "add" | "replace" | "test" as op if "value" not in operation:
            raise PatchError(f"{op} {operation['path']}: value is missing")
        case "add":
            return _set(target, path, operation["value"], insert=True)
        case "replace":
            read(target, path)
            return _set(target, path, operation["value"], insert=False)
        case "remove":
            read(target, path)
            return _without(target, path)
        case "test":
            if _missing_is_none(target, path) != operation["value"]:
                raise PatchError(f"testing value {operation['path']} failed")
            return target
        case "move":
            origin = _pointer(str(operation.get("from")))
            value = read(target, origin)
            return _set(_without(target, origin), path, value, insert=True)
        case "copy":
            return _set(target, path, read(target, _pointer(str(operation.get("from")))), insert=True)
        case other:
            raise PatchError(f"unexpected kind of operation: {other}")


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise PatchError(f"{text}: a JSON pointer begins with /")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def read(target: Json, path: list[str]) -> Json:
    """The value at a path. Raises PatchError where there is none."""
    for part in path:
        if isinstance(target, dict) and part in target:
            target = target[part]
        elif isinstance(target, list):
            target = target[_index(target, part, len(target) - 1)]
        else:
            raise PatchError(f"there is nothing at {part}")
    return target


def _missing_is_none(target: Json, path: list[str]) -> Json:
    try:
        return read(target, path)
    except PatchError:
        return None


def _index(target: list[Json], part: str, last: int) -> int:
    if not part.isascii() or not part.isdigit() or int(part[:9]) > last:
        raise PatchError(f"{part}: no such element of {len(target)}")
    return int(part[:9])


def _set(target: Json, path: list[str], value: Json, *, insert: bool) -> Json:
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(target, dict):
        if rest and head not in target:
            raise PatchError(f"there is nothing at {head}")
        return {**target, head: _set(target.get(head), rest, value, insert=insert)}
    if not isinstance(target, list):
        raise PatchError(f"{head}: its parent is neither an object nor a list")
    if rest or not insert:
        place = _index(target, head, len(target) - 1)
        return [*target[:place], _set(target[place], rest, value, insert=insert), *target[place + 1 :]]
    place = len(target) if head == "-" else _index(target, head, len(target))
    return [*target[:place], value, *target[place:]]


def _without(target: Json, path: list[str]) -> Json:
    if not path:
        return None
    head, rest = path[0], path[1:]
    if isinstance(target, dict):
        kept = {key: value for key, value in target.items() if key != head}
        return {**target, head: _without(target[head], rest)} if rest else kept
    place = _index(target, head, len(target) - 1)
    middle = [_without(target[place], rest)] if rest else []
    return [*target[:place], *middle, *target[place + 1 :]]
