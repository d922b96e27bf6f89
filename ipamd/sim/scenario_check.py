"""What a scenario file says, checked: names, numbers, settings, and that steps speak of nodes that are there then."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Final

import msgspec

from ipamd.config import VARIABLES, ConfigError, load
from ipamd.core.reasons import REASONS
from ipamd.core.settings import Settings
from ipamd.ec2 import max_pods as recommended
from ipamd.ec2.limits import UnknownInstanceType, limits_of, max_pods
from ipamd.ec2.space import subnet_network, vpc_network

from .fleet import HOST_PODS
from .fleet_view import Facts
from .scenario_file import (
    AddPods,
    Assign,
    DeletePods,
    Drain,
    Fault,
    Give,
    NodeSpec,
    Reserve,
    Restart,
    ScenarioFile,
    Step,
    Steps,
    Take,
)

PODS_MAX: Final = 10_000
NODES_MAX: Final = 100
TIMES_MAX: Final = 1_000
SECONDS_MAX: Final = 7 * 24 * 3600
SLOTS_MAX: Final = 64
KUBELET_DEFAULT: Final = 110
"""max-pods of a kubelet that nobody told."""
PARITY: Final = "UPSTREAM_PARITY"
INSTANCE_TYPE: Final = "node.kubernetes.io/instance-type"
ACTIONS: Final = (
    "AssignPrivateIpAddresses", "AttachNetworkInterface", "CreateNetworkInterface", "CreateTags",
    "DeleteNetworkInterface", "DescribeInstances", "DescribeNetworkInterfaces", "DescribeSubnets",
    "DetachNetworkInterface", "ModifyNetworkInterfaceAttribute", "UnassignPrivateIpAddresses",
)  # fmt: skip
"""What daemons ask of EC2."""
TARGETS: Final = ("minimum_ip", "warm_eni", "warm_ip", "warm_prefix")
_ROW: Final = re.compile(r"[LW]-[0-9]{2}[a-z]?")
_ARG: Final = re.compile(r"--([a-z-]+)[= ]([^\s=]+)")
_ONCE: Final = ("join", "terminate", "expect")
"""Steps that cannot stand in a repeat."""


class Wrong(Exception):
    """A key and what is wrong with it."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(f"{key}: {text}" if key else text)


def check(scenario: ScenarioFile) -> None:
    """Raises `Wrong` for the first thing that is."""
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
    joining = {step.join for step in scenario.steps if isinstance(step, Step) and step.join}
    _Steps(scenario, {name for name in names if name not in joining}).check(scenario.steps, "steps", nested=False)
    _check_expected(scenario.expect, "expect", set(names), named_answers(scenario.steps))


def node_names(scenario: ScenarioFile) -> list[str]:
    """The nodes' names by position."""
    return [spec.name or f"node-{index}" for index, spec in enumerate(scenario.nodes, 1)]


def named_answers(steps: Steps) -> set[str]:
    """Names under which EC2's answers to `assign` are kept."""
    named: set[str] = set()
    for step in steps:
        if isinstance(step, Step):
            named |= {step.assign.named} if step.assign is not None else set()
            named |= named_answers(step.repeat.steps) if step.repeat is not None else set()
    return named - {""}


def _check_node(scenario: ScenarioFile, index: int) -> None:
    spec, key = scenario.nodes[index], f"nodes[{index}]"
    if spec.os not in ("linux", "windows"):
        raise Wrong(f"{key}.os", f"is {spec.os[:20]!r}; want linux or windows")
    if spec.os != scenario.nodes[0].os:
        raise Wrong(f"{key}.os", f"is {spec.os}, that of nodes[0] is {scenario.nodes[0].os}; want one OS in a scenario")
    if scenario.windows:
        _check_windows(spec, key)
    elif scenario.config_map is not None:
        raise Wrong("config_map", "is a Windows controller's; these nodes are Linux ones: use env")
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


def _check_windows(spec: NodeSpec, key: str) -> None:
    """A Windows node has no daemon of its own. Raises `Wrong`."""
    for member in ("env", "cni_version", "bootstrap_args", "group", "requirements"):
        if getattr(spec, member):
            raise Wrong(f"{key}.{member}", "means nothing on a Windows node; config_map is what its controller reads")


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


def speaks_ipv6(scenario: ScenarioFile) -> bool:
    """Whether a node of it is an IPv6 node, so that the VPC must have IPv6."""
    return any(settings_of(spec.type, spec.env, "", f"nodes[{n}]").ipv6 for n, spec in enumerate(scenario.nodes))


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
    return KUBELET_DEFAULT if used == "false" or scenario.windows else max_pods(spec.type)


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


class _Steps:
    """Follows the steps: which nodes have joined, which are terminated."""

    def __init__(self, scenario: ScenarioFile, present: set[str]) -> None:
        self._scenario = scenario
        self._names = node_names(scenario)
        self._present = present
        self._gone: set[str] = set()

    def check(self, steps: Steps, key: str, *, nested: bool) -> None:
        if not steps:
            raise Wrong(key, "are none; want one at least")
        for index, step in enumerate(steps):
            if isinstance(step, Step):
                self._step(step, f"{key}[{index}]", nested)

    def _step(self, step: Step, key: str, nested: bool) -> None:
        action = step.action
        if not action:
            raise Wrong(key, f"has none or several; want exactly one of {', '.join(Step.__struct_fields__)}")
        key = f"{key}.{action}"
        if nested and action in _ONCE:
            raise Wrong(key, "stands in a repeat; want it after")
        if action == ("restart" if self._scenario.windows else "configure"):
            other = "configure" if self._scenario.windows else "restart"
            raise Wrong(key, f"means nothing to nodes of this OS; did you mean {other}?")
        value = getattr(step, action)
        node = value if isinstance(value, str) and action not in ("give", "reserve") else getattr(value, "node", "")
        if node:
            self._node(node, action, key)
        if action in ("add_pods", "delete_pods") and isinstance(value, int):
            _bounded(key, value, 1, PODS_MAX)
        elif isinstance(value, int | float):
            _bounded(key, value, 0, SECONDS_MAX)
        elif step.repeat is not None:
            if nested:
                raise Wrong(key, "stands in another repeat; want one level")
            _bounded(f"{key}.times", step.repeat.times, 1, TIMES_MAX)
            self.check(step.repeat.steps, f"{key}.steps", nested=True)
        elif step.expect is not None:
            _check_expected(step.expect, key, set(self._names), named_answers(self._scenario.steps))
        else:
            self._members(Reserve(cidr=value) if action == "reserve" and isinstance(value, str) else value, key)

    def _node(self, name: str, action: str, key: str) -> None:
        """Nodes join once, act while they are there, and end once."""
        if name not in self._names:
            raise Wrong(key, f"{name[:40]!r} is no node of this scenario; want one of {', '.join(sorted(self._names))}")
        if action == "join":
            if name in self._present:
                raise Wrong(key, f"{name!r} has joined already; a node joins once")
            self._present.add(name)
        elif name not in self._present:
            raise Wrong(key, f"{name!r} has not joined yet; want a step join before")
        elif name in self._gone:
            raise Wrong(key, f"{name!r} is terminated; leave it out")
        elif action == "terminate":
            self._gone.add(name)

    def _members(self, value: object, key: str) -> None:
        match value:
            case AddPods() | DeletePods() | Give():
                _bounded(f"{key}.count", value.count, 1, PODS_MAX)
            case Drain():
                _bounded(f"{key}.max_unavailable", value.max_unavailable, 0, PODS_MAX)
            case Fault():
                _known(value.action, ACTIONS, f"{key}.action", "is no action of EC2's that is made here")
                _bounded(f"{key}.times", value.times, 1, PODS_MAX)
            case Take():
                self._take(value, key)
            case Reserve():
                _inside(value.cidr, self._scenario.subnet, f"{key}.cidr", "a CIDR")
            case Assign():
                if bool(value.addresses) == bool(value.prefixes):
                    raise Wrong(key, "want exactly one of addresses and prefixes")
                _bounded(f"{key}.addresses", value.addresses, 0, SLOTS_MAX)
                _bounded(f"{key}.prefixes", value.prefixes, 0, SLOTS_MAX)
            case Restart():
                spec = self._scenario.nodes[self._names.index(value.node)]
                settings_of(spec.type, spec.env | value.env, value.cni_version or spec.cni_version, key)
            case _:
                pass

    def _take(self, take: Take, key: str) -> None:
        if bool(take.in_each_block) + bool(take.count) + bool(take.addresses) != 1:
            raise Wrong(key, "want exactly one of in_each_block, count and addresses")
        _bounded(f"{key}.in_each_block", take.in_each_block, 0, 16)
        _bounded(f"{key}.count", take.count, 0, 65_536)
        for index, address in enumerate(take.addresses):
            try:
                IPv4Address(address)
            except ValueError:
                raise Wrong(f"{key}.addresses[{index}]", f"is {address[:40]!r}; want an address") from None
            _inside(address, self._scenario.subnet, f"{key}.addresses[{index}]", "an address")


def _inside(text: str, subnet: str, key: str, what: str) -> None:
    try:
        inside = IPv4Network(text).subnet_of(IPv4Network(subnet))
    except ValueError:
        inside = False
    if not inside:
        raise Wrong(key, f"is {text[:40]!r}; want {what} of the subnet {subnet}")


def _bounded(key: str, value: float, low: int, high: int) -> None:
    if not low <= value <= high:
        raise Wrong(key, f"is {value:g}; want {low} to {high}")


def _check_expected(expected: Facts, key: str, names: set[str], asked: set[str]) -> None:
    """A word that nothing is ever counted under would be met by 0 for ever."""
    nodes = expected.nodes if isinstance(expected.nodes, dict) else {}
    for name, said in nodes.items():
        if name not in names:
            _known(name, tuple(sorted(names)), f"{key}.nodes", "is no node of this scenario")
        for member, words in (("calls", ACTIONS), ("refusals", REASONS), ("targets", TARGETS)):
            counts = getattr(said, member)
            for word in counts if isinstance(counts, dict) else ():
                _known(word, words, f"{key}.nodes.{name}.{member}", "is never counted")
    for word in expected.answers if isinstance(expected.answers, dict) else ():
        _known(word, tuple(sorted(asked)), f"{key}.answers", "is named by no step assign")
    if not msgspec.to_builtins(expected):
        raise Wrong(key, "says nothing; want one member at least")


def _known(word: str, words: tuple[str, ...], key: str, fact: str) -> None:
    if word not in words:
        near = difflib.get_close_matches(word, words, n=1)
        hint = f"did you mean {near[0]}?" if near else f"want one of {', '.join(words)}"
        raise Wrong(f"{key}.{word[:40]}", f"{fact}; {hint}")
