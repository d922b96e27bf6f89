"""Label and field selectors: `a=b,c!=d,e in (f,g),h,!i` and `spec.nodeName=w1`. One that cannot be read is 400."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import msgspec

from .catalog import Kind, Object, field
from .refusal import bad_request

Test: TypeAlias = Callable[[Object], bool]

_SET: Final = re.compile(r"\s*(\S+?)\s+(in|notin)\s*\(([^()]*)\)\s*\Z")
_EQUAL: Final = re.compile(r"\s*([^\s=!<>]+?)\s*(!=|==|=|<|>)\s*(\S*)\s*\Z")
_EXISTS: Final = re.compile(r"\s*(!?)\s*([^\s=!(),<>]+)\s*\Z")
_KEY: Final = re.compile(
    r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,251}[A-Za-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z"
)
_VALUE: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?\Z")


class Requirement(msgspec.Struct, frozen=True):
    """One condition upon a label."""

    key: str
    operator: Literal["in", "notin", "exists", "absent", "less", "greater"]
    values: tuple[str, ...] = ()

    def holds(self, labels: Object) -> bool:
        """Whether labels meet it. An absent label is `notin` and differs from every value."""
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value in self.values
            case "notin":
                return value not in self.values
            case "exists":
                return self.key in labels
            case "absent":
                return self.key not in labels
            case "less" | "greater":
                if not isinstance(value, str) or not re.fullmatch(r"-?[0-9]{1,18}", value):
                    return False
                bound = int(self.values[0])
                return int(value) < bound if self.operator == "less" else int(value) > bound


def labels(text: str) -> Test | None:
    """The test a label selector stands for, None if it is empty."""
    if not text.strip():
        return None
    wanted = [_requirement(part) for part in _parts(text)]

    def test(obj: Object) -> bool:
        worn = obj["metadata"].get("labels") or {}
        return all(requirement.holds(worn) for requirement in wanted)

    return test


def _parts(text: str) -> list[str]:
    """The text between those commas that no parentheses enclose."""
    parts, depth, begin = [], 0, 0
    for place, char in enumerate(text):
        if char == "," and depth == 0:
            parts.append(text[begin:place])
            begin = place + 1
        depth += (char == "(") - (char == ")")
    return [*parts, text[begin:]]


def _requirement(part: str) -> Requirement:
    if found := _SET.match(part):
        values = tuple(value.strip() for value in found[3].split(","))
        return _checked(Requirement(found[1], "in" if found[2] == "in" else "notin", values))
    if found := _EQUAL.match(part):
        key, operator, value = found.groups()
        if operator in "<>":
            if not re.fullmatch(r"-?[0-9]{1,18}", value):
                raise bad_request(f'unable to parse requirement: values[0][{key}]: Invalid value: "{value[:80]}": for '
                                  "'Gt', 'Lt' operators, the value must be an integer")  # fmt: skip
            return _checked(Requirement(key, "less" if operator == "<" else "greater", (value,)))
        return _checked(Requirement(key, "notin" if operator == "!=" else "in", (value,)))
    if found := _EXISTS.match(part):
        return _checked(Requirement(found[2], "absent" if found[1] else "exists"))
    raise bad_request(f"unable to parse requirement: found '{part.strip()[:80]}', expected: identifier")


def _checked(requirement: Requirement) -> Requirement:
    if not _KEY.match(requirement.key):
        raise bad_request(
            f'unable to parse requirement: <nil>: Invalid value: "{requirement.key[:80]}": name part must consist of '
            "alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
        )
    for value in requirement.values:
        if not _VALUE.match(value):
            raise bad_request(
                f'unable to parse requirement: values[0][{requirement.key}]: Invalid value: "{value[:80]}": a valid '
                "label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
                "and end with an alphanumeric character"
            )
    return requirement


def fields(kind: Kind, text: str) -> Test | None:
    """The test a field selector stands for, None if it is empty. A field that is not selectable is 400."""
    wanted: list[tuple[str, bool, str]] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = re.fullmatch(r"([^=!]+)(!=|==|=)(.*)", part, re.DOTALL)
        if not found:
            raise bad_request(f"invalid selector: '{text[:80]}'; can't understand '{part[:80]}'")
        label, operator, value = found.groups()
        wanted.append((_path(kind, label), operator != "!=", value))
    if not wanted:
        return None
    return lambda obj: all((_text(kind, obj, path) == value) is same for path, same, value in wanted)


def _path(kind: Kind, label: str) -> str:
    if label == "metadata.name" or (label == "metadata.namespace" and kind.namespaced):
        return label
    path = kind.fields.get(label)
    if path is None:
        raise bad_request(kind.label_refusal(label))
    return path


def _text(kind: Kind, obj: Object, path: str) -> str:
    value = field(obj, path)
    if value is None:
        return "false" if path in kind.flags else ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def both(first: Test | None, second: Test | None) -> Test | None:
    """The test that both hold; None stands for everything."""
    if first is None or second is None:
        return first or second
    return lambda obj: first(obj) and second(obj)
