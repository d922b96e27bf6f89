"""From a scenario file's bytes to a `ScenarioFile` that can be run, or to one line that says what is wrong with it."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Union

import msgspec
import yaml

from ipamd.config import VARIABLES, ConfigError, load
from ipamd.core.settings import Settings
from ipamd.ec2 import max_pods as recommended
from ipamd.ec2.limits import UnknownInstanceType, limits_of, max_pods
from ipamd.ec2.space import subnet_network, vpc_network

from .fleet import HOST_PODS
from .fleet_view import Facts
from .scenario_file import AddPods, Assign, DeletePods, Drain, Give, NodeSpec, Restart, ScenarioFile, Step, Steps, Take

SIZE_MAX: Final = 256 * 1024
"""Bytes of a scenario file; one that a person wrote has a few thousand."""
DEPTH_MAX: Final = 30
PODS_MAX: Final = 10_000
NODES_MAX: Final = 100
TIMES_MAX: Final = 1_000
SECONDS_MAX: Final = 7 * 24 * 3600
KUBELET_DEFAULT: Final = 110
"""max-pods of a kubelet that nobody told."""
PARITY: Final = "UPSTREAM_PARITY"
INSTANCE_TYPE: Final = "node.kubernetes.io/instance-type"
_ROW: Final = re.compile(r"[LW]-[0-9]{2}[a-z]?")
_ARG: Final = re.compile(r"--([a-z-]+)[= ]([^\s=]+)")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_TYPES: Final = re.compile(r"Expected `(.*?)`, got `(.*?)`")


class ScenarioError(ValueError):
    """The file is no scenario; one line that names file, key, fact and remedy."""


class Wrong(Exception):
    """A key and what is wrong with it."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(f"{key}: {text}" if key else text)


# ---- finding files -------------------------------------------------------------------------------------------


def shipped() -> list[str]:
    """Names of the scenarios that come along, in alphabetical order."""
    room = files(__package__).joinpath("scenarios")
    return sorted(item.name.removesuffix(".yaml") for item in room.iterdir() if item.name.endswith(".yaml"))


def read(name: str) -> ScenarioFile:
    """The scenario of that file, or the shipped one of that name. Raises `ScenarioError`."""
    path = Path(name)
    if not path.suffix and "/" not in name and not path.is_file():
        names = shipped()
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else "`ipamd scenario list` tells what comes along"
            raise ScenarioError(f"{name[:80]!a}: no scenario of that name, and no such file; {hint}")
        return decode(files(__package__).joinpath("scenarios", f"{name}.yaml").read_bytes(), f"{name}.yaml")
    try:
        with path.open("rb") as file:
            text = file.read(SIZE_MAX + 1)
    except OSError as error:
        raise ScenarioError(f"{name}: {(error.strerror or 'cannot be read').lower()}; name a YAML file") from None
    return decode(text, name)


def decode(text: bytes, name: str) -> ScenarioFile:
    """The scenario in this text; `name` is the file's, for messages. Raises `ScenarioError`."""
    try:
        scenario = _converted(_loaded(text))
        _check(scenario)
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
        return yaml.load(text, _Plain)
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


# ---- what it says --------------------------------------------------------------------------------------------


def _check(scenario: ScenarioFile) -> None:
    for index, row in enumerate(scenario.rows):
        if not _ROW.fullmatch(row):
            raise Wrong(f"rows[{index}]", f"is {row[:20]!r}; want an id such as L-45")
    try:
        subnet_network(scenario.subnet)
    except ValueError as error:
        raise Wrong("subnet", str(error)) from None
    if scenario.config.vpc:
        try:
            vpc_network(scenario.config.vpc)
        except ValueError as error:
            raise Wrong("config.vpc", str(error)) from None
    if not 0 < scenario.config.retry_seconds <= 3600:
        raise Wrong("config.retry_seconds", f"is {scenario.config.retry_seconds:g}; want more than 0, at most 3600")
    if not 1 <= len(scenario.nodes) <= NODES_MAX:
        raise Wrong("nodes", f"are {len(scenario.nodes)}; want 1 to {NODES_MAX}")
    names = node_names(scenario)
    for index, name in enumerate(names):
        if name in names[:index]:
            raise Wrong(f"nodes[{index}].name", f"is {name!r} again; give each node a name of its own")
        _check_node(scenario, index)
    _check_steps(scenario.steps, "steps", set(names), nested=False)
    _check_expected(scenario.expect, "expect", set(names))


def node_names(scenario: ScenarioFile) -> list[str]:
    """The nodes' names by position."""
    return [spec.name or f"node-{index}" for index, spec in enumerate(scenario.nodes, 1)]


def _check_node(scenario: ScenarioFile, index: int) -> None:
    spec, key = scenario.nodes[index], f"nodes[{index}]"
    if spec.os != "linux":
        later = "Windows nodes come with a later release; " if spec.os == "windows" else ""
        raise Wrong(f"{key}.os", f"is {spec.os[:20]!r}; {later}want linux")
    allowed = spec.requirements.get(INSTANCE_TYPE, (spec.type,))
    other = next((name for name in spec.requirements if name != INSTANCE_TYPE), None)
    if other is not None:
        raise Wrong(f"{key}.requirements.{other[:60]}", f"is not modelled; want {INSTANCE_TYPE}")
    if spec.type not in allowed:
        raise Wrong(f"{key}.type", f"is {spec.type}, but requirements allow {', '.join(allowed)}; choose one of them")
    try:
        limits_of(spec.type)
    except UnknownInstanceType as error:
        raise Wrong(f"{key}.type", str(error)) from None
    settings_of(spec.type, spec.env, spec.cni_version, key)
    max_pods_of(scenario, index)


def settings_of(instance_type: str, env: Mapping[str, str | int | bool], version: str, key: str) -> Settings:
    """What the daemon makes of its environment. Raises `Wrong` for what the daemon would warn of."""
    texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in env.items()}
    for name in texts:
        if name not in VARIABLES and name != PARITY:
            near = difflib.get_close_matches(name, [*VARIABLES, PARITY], n=1)
            hint = f"did you mean {near[0]}?" if near else "docs/settings.md lists them all"
            raise Wrong(f"{key}.env.{name[:60]}", f"no such variable; {hint}")
    try:
        config = load(texts)
        checked = config.check(prefix_delegation_supported=limits_of(instance_type).prefixes)
    except ConfigError as error:
        raise Wrong(f"{key}.env", str(error)) from None
    if config.warnings:
        raise Wrong(f"{key}.env", config.warnings[0].text)
    if not knows_prefixes(version, key):
        return msgspec.structs.replace(checked.settings, prefix_delegation=False)
    return checked.settings


def knows_prefixes(version: str, key: str = "") -> bool:
    """Whether this version of the VPC CNI delegates prefixes; "" is the newest. Raises `Wrong`."""
    if not version:
        return True
    try:
        return recommended.minor_version(version) >= recommended.PREFIXES_SINCE
    except ValueError as error:
        raise Wrong(f"{key}.cni_version", str(error)) from None


def max_pods_of(scenario: ScenarioFile, index: int) -> int:
    """The kubelet's max-pods of a node. Raises `Wrong`.

    `--max-pods` counts before all; a managed group has the lowest figure recommended for any of its types; with
    `--use-max-pods=false` it is the kubelet's own default; else the type's figure for single addresses.
    """
    spec, key = scenario.nodes[index], f"nodes[{index}]"
    given = _arguments(spec.kubelet_args, ("max-pods",), f"{key}.kubelet_args")
    used = _arguments(spec.bootstrap_args, ("use-max-pods",), f"{key}.bootstrap_args").get("use-max-pods", "true")
    if used not in ("true", "false"):
        raise Wrong(f"{key}.bootstrap_args", f"--use-max-pods is {used[:20]!r}; want true or false")
    if "max-pods" in given:
        text = given["max-pods"]
        if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) <= HOST_PODS:
            raise Wrong(f"{key}.kubelet_args", f"--max-pods is {text[:20]!r}; want a number above {HOST_PODS}")
        return int(text)
    if spec.group:
        return min(_recommended(other) for other in scenario.nodes if other.group == spec.group)
    return KUBELET_DEFAULT if used == "false" else max_pods(spec.type)


def _recommended(spec: NodeSpec) -> int:
    prefixes = str(spec.env.get("ENABLE_PREFIX_DELEGATION", "")).lower() == "true"
    version = recommended.minor_version(spec.cni_version) if spec.cni_version else (1, 23)
    try:
        return recommended.max_pods(spec.type, recommended.Asked(prefixes, cni_version=version)).max_pods
    except UnknownInstanceType as error:
        raise Wrong("nodes", str(error)) from None


def _arguments(text: str, known: tuple[str, ...], key: str) -> dict[str, str]:
    found = dict(_ARG.findall(text))
    if _ARG.sub("", text).strip():
        raise Wrong(key, f"is {text[:60]!r}; want --NAME=VALUE")
    other = next((name for name in found if name not in known), None)
    if other is not None:
        raise Wrong(key, f"--{other[:40]} is not modelled; want {', '.join(f'--{name}' for name in known)}")
    return found


def _check_steps(steps: Steps, key: str, names: set[str], *, nested: bool) -> None:
    if not steps:
        raise Wrong(key, "are none; want one at least")
    for index, step in enumerate(steps):
        if isinstance(step, Step):
            _check_step(step, f"{key}[{index}]", names, nested)


def _check_step(step: Step, key: str, names: set[str], nested: bool) -> None:
    action = step.action
    if not action:
        raise Wrong(key, f"has none or several; want exactly one of {', '.join(Step.__struct_fields__)}")
    key = f"{key}.{action}"
    value = getattr(step, action)
    named = value if action in ("join", "cordon", "uncordon", "terminate") else getattr(value, "node", "")
    if isinstance(value, str) and action in ("drain", "restart"):
        named = value
    if named and named not in names:
        raise Wrong(key, f"{named[:40]!r} is no node of this scenario; want one of {', '.join(sorted(names))}")
    match value:
        case int() if action in ("add_pods", "delete_pods"):
            _bounded(key, value, 1, PODS_MAX)
        case AddPods() | DeletePods():
            _bounded(f"{key}.count", value.count, 1, PODS_MAX)
        case int() | float():
            _bounded(key, value, 0, SECONDS_MAX)
        case Drain():
            _bounded(f"{key}.max_unavailable", value.max_unavailable, 0, PODS_MAX)
        case Give():
            _bounded(f"{key}.count", value.count, 1, PODS_MAX)
        case Take():
            if bool(value.in_each_block) + bool(value.count) + bool(value.addresses) != 1:
                raise Wrong(key, "want exactly one of in_each_block, count and addresses")
            _bounded(f"{key}.in_each_block", value.in_each_block, 0, 16)
            _bounded(f"{key}.count", value.count, 0, PODS_MAX)
        case Assign():
            if bool(value.addresses) == bool(value.prefixes):
                raise Wrong(key, "want exactly one of addresses and prefixes")
        case Restart():
            if value.cni_version:
                knows_prefixes(value.cni_version, key)
        case _:
            pass
    if step.repeat is not None:
        _bounded(f"{key}.times", step.repeat.times, 1, TIMES_MAX)
        if nested:
            raise Wrong(key, "stands in another repeat; want one level")
        _check_steps(step.repeat.steps, f"{key}.steps", names, nested=True)
    if step.expect is not None:
        if nested:
            raise Wrong(key, "stands in a repeat; want it after")
        _check_expected(step.expect, key, names)


def _bounded(key: str, value: float, low: int, high: int) -> None:
    if not low <= value <= high:
        raise Wrong(key, f"is {value:g}; want {low} to {high}")


def _check_expected(expected: Facts, key: str, names: set[str]) -> None:
    nodes = expected.nodes if isinstance(expected.nodes, dict) else {}
    stranger = next((name for name in nodes if name not in names), None)
    if stranger is not None:
        want = ", ".join(sorted(names))
        raise Wrong(f"{key}.nodes.{stranger[:40]}", f"is no node of this scenario; want one of {want}")
    if not msgspec.to_builtins(expected):
        raise Wrong(key, "says nothing; want one member at least")

