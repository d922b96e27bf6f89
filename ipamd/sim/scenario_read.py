"""From a scenario file's bytes to a `ScenarioFile` that can be run, or to one line that says what is wrong with it."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Union

import msgspec
import yaml

from .scenario_check import Wrong, check
from .scenario_file import ScenarioFile

SIZE_MAX: Final = 256 * 1024
"""Bytes of a scenario file; one that a person wrote has a few thousand."""
DEPTH_MAX: Final = 30
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_TYPES: Final = re.compile(r"Expected `(.*?)`, got `(.*?)`")


class ScenarioError(ValueError):
    """The file is no scenario; one line that names file, key, fact and remedy."""


# ---- finding files -------------------------------------------------------------------------------------------


def shipped() -> list[str]:
    """Names of the scenarios that come along, in alphabetical order."""
    room = files(__package__).joinpath("scenarios")
    return sorted(item.name.removesuffix(".yaml") for item in room.iterdir() if item.name.endswith(".yaml"))


def read(name: str) -> ScenarioFile:
    """The scenario of that file, or the shipped one of that name. Raises `ScenarioError`."""
    path = Path(name)
    if not path.suffix and "/" not in name and not path.exists():
        names = shipped()
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else "`ipamd scenario list` tells what comes along"
            raise ScenarioError(f"{name[:80]!a}: no scenario of that name, and no such file; {hint}")
        return decode(files(__package__).joinpath("scenarios", f"{name}.yaml").read_bytes(), f"{name}.yaml")
    try:
        with path.open("rb") as file:
            text = file.read(SIZE_MAX + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        fact = getattr(error, "strerror", None) or "no such file"
        raise ScenarioError(f"{name}: {fact.lower()}; name a YAML file") from None
    return decode(text, name)


def decode(text: bytes, name: str) -> ScenarioFile:
    """The scenario in this text; `name` is the file's, for messages. Raises `ScenarioError`."""
    try:
        scenario = _converted(_loaded(text))
        check(scenario)
    except Wrong as wrong:
        raise ScenarioError(f"{name}: {' '.join(str(wrong).split())}") from None
    return scenario


# ---- YAML ----------------------------------------------------------------------------------------------------


class _Plain(yaml.SafeLoader):
    """No alias, so that nothing grows; no key twice, so that nothing is lost; not deeper than anyone writes."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        fact = "an alias (*name)" if self.check_event(yaml.AliasEvent) else ""
        fact = fact or ("too deeply nested" if self.depth > DEPTH_MAX else "")
        if fact:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem=fact, problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            word = getattr(key, "value", None)
            if not isinstance(word, str) or word in seen:
                fact = f"the key {word!r} twice" if isinstance(word, str) else "a key that is no text"
                raise yaml.MarkedYAMLError(problem=fact, problem_mark=key.start_mark)
            seen.add(word)
        return super().construct_mapping(node, deep)


def _loaded(text: bytes) -> object:
    if len(text) > SIZE_MAX:
        raise Wrong("", f"longer than {SIZE_MAX} bytes; want one scenario a file")
    try:
        return yaml.load(text.decode(), _Plain)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise Wrong(where, f"{error.problem}; want plain YAML") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise Wrong("", f"not readable as YAML ({ascii(str(error)[:100])[1:-1]}); want UTF-8 text") from None


def _converted(loaded: object) -> ScenarioFile:
    if not isinstance(loaded, dict):
        raise Wrong("", f"holds {type(loaded).__name__}; want a mapping with the keys nodes, steps and expect")
    try:
        return msgspec.convert(loaded, ScenarioFile)
    except msgspec.ValidationError as error:
        fact, _, at = str(error).partition(" - at `$")
        key = at.rstrip("`").removeprefix(".")
        unknown = _UNKNOWN.match(fact)
        if unknown:
            known = _members(key)
            near = difflib.get_close_matches(unknown[1], known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"want one of {', '.join(known)}"
            raise Wrong(f"{key}.{unknown[1][:40]}".lstrip("."), f"no such key; {hint}") from None
        expected = _TYPES.match(fact)
        if expected:
            raise Wrong(key, f"is {expected[2]}; want {expected[1].replace(' | null', '')}") from None
        missing = re.match(r"Object missing required field `(\w+)`", fact)
        if missing:
            raise Wrong(f"{key}.{missing[1]}".lstrip("."), "is missing; add it") from None
        raise Wrong(key, f"{fact[0].lower()}{fact[1:]}; docs/scenarios.md tells what there may be") from None


def _members(key: str) -> list[str]:
    """The members that the object at this path may have."""
    kinds: list[Any] = [ScenarioFile]
    for member, _ in re.findall(r"(\w+)|(\[[^\]]*\])", re.sub(r"^\.?", "", key)):
        nested = []
        for kind in _flat(kinds):
            if member and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                nested.append(typing.get_type_hints(kind).get(member))
            elif not member:
                nested.append(next((a for a in reversed(typing.get_args(kind)) if a is not Ellipsis), None))
        kinds = nested
    structs = [kind for kind in _flat(kinds) if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]
    return [name for kind in structs for name in kind.__struct_fields__]


def _flat(kinds: list[Any]) -> Iterator[Any]:
    for kind in kinds:
        if typing.get_origin(kind) in (Union, types.UnionType):
            yield from _flat(list(typing.get_args(kind)))
        else:
            yield kind
