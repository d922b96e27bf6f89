"""What lines and files tell that holds for long: settings, the node, each ENI, where a block lives, who a pod is.

Collected in one reading, in any order; what depends on the moment is kept with it and asked for by moment.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

import msgspec

from ipamd.core.settings import Node, Quirks, Settings
from ipamd.core.types import CidrText, EniId, Instant, IpText, Pod

from .addresses import canonical
from .patterns import Match

Limits: TypeAlias = Callable[[str], tuple[int, int] | None]
"""Instance type -> ENIs and IPv4 addresses of one, or None for a type that is not known."""
UPSTREAM: Final = Quirks(**{name: True for name in Quirks.__struct_fields__})
"""Whoever wrote the log is taken to be upstream's ipamd, unless it says what it is."""
_FIELD: Final = re.compile(r'(\w+):("(?:[^"\\]|\\.)*"|\S+)')
_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)(?:\.\d+)?s)?")
CARDS_MAX: Final = 99
_BOOLEANS: Final = {"true": True, "false": False}


class EniFacts(msgspec.Struct):
    """An ENI as far as it is known; "" and -1 where it is not."""

    mac: str = ""
    device: int = -1
    table: int = -1
    subnet: str = ""
    subnet_cidr: CidrText = ""
    primary_ip: IpText = ""
    card: int = 0
    primary: bool = False
    trunk: bool = False


class Tenure(NamedTuple):
    """What our own daemon says of itself at its start (F9c)."""

    settings: Settings
    node: Node
    seed: int


class _Own(msgspec.Struct):
    settings: Settings
    node: Node
    seed: int


class Facts:
    """See above. `sightings` of a block: when it first came and first went, as far as the logs tell."""

    def __init__(self) -> None:
        self.enis: dict[EniId, EniFacts] = {}
        self.homes: dict[CidrText, EniId] = {}
        self.came: dict[CidrText, Instant] = {}
        self.went: dict[CidrText, Instant] = {}
        self.pods: dict[str, Pod] = {}
        self.devices: dict[IpText, int] = {}
        self.node: dict[str, str] = {}
        self.env: dict[str, str] = {}
        self.starts: list[Instant] = []
        self.warm: list[tuple[Instant, dict[str, int]]] = []
        self.own: list[tuple[Instant, Tenure]] = []
        self.cooldown: int | None = None
        self.prefixes = False
        self.ipv6 = False
        self.cards: list[tuple[Instant, int]] = []
        """Network cards that got a store, and when (C9)."""
        self.max_pods = 0
        self.figures: dict[str, float] = {}
        self._setups: dict[IpText, dict[str, str | None]] = {}
        self._subnet = ""

    def eni(self, eni: EniId) -> EniFacts:
        """What is known of an ENI; made where nothing was."""
        return self.enis.setdefault(eni, EniFacts())

    def hear(self, found: Match, at: Instant) -> None:
        """Keep what one line tells for long."""
        values = {key: value or "" for key, value in found.values.items()}
        match found.id:
            case "C1":
                self.eni(values["eni"])
            case "C3" | "C4":
                sighted = self.came if found.id == "C3" else self.went
                cidr = canonical(values["cidr"])
                self.homes.setdefault(cidr, values["eni"])
                sighted[cidr] = min(at, sighted.get(cidr, at))
                self.ipv6 = self.ipv6 or ":" in cidr
                self.prefixes = self.prefixes or (cidr.endswith(("/28", "/80")) and found.id == "C3")
            case "D2" | "H1":
                self._request(found.id, values)
            case "A1" | "A4" | "H2b" | "H4":
                self.pods.setdefault(values["cid"], Pod(values["ns"], values["pod"], int(values.get("n") or 0)))
            case "D3" | "H3b":
                address = (values.get("v4") or "").partition("/")[0]
                if address and int(values["dev"]) >= 0:
                    self.devices[address] = int(values["dev"])
            case "E7" | "E2" | "E2b" | "B4" | "F10b":
                self._settings(found.id, values, at)
            case "C9":
                self.cards.append((at, min(int(values["card"]), CARDS_MAX)))
            case "F1":
                self.starts.append(at)
            case "F9c":
                self._told(values["json"], at)
            case _:
                self._of_enis(found.id, values)

    def _request(self, name: str, values: dict[str, str]) -> None:
        if name == "H1":
            told = dict(pair.partition("=")[::2] for pair in values["args"].split(";"))
            self.pods.setdefault(values["cid"], Pod(told.get("K8S_POD_NAMESPACE", ""), told.get("K8S_POD_NAME", "")))
            return
        fields = protobuf(values["pb"])
        if container := fields.get("ContainerID", ""):
            pod = Pod(fields.get("K8S_POD_NAMESPACE", ""), fields.get("K8S_POD_NAME", ""))
            self.pods.setdefault(container, pod)

    def _settings(self, name: str, values: dict[str, str], at: Instant) -> None:
        if name == "E7":
            told = {key: int(values[key]) for key in ("mp", "wip", "wpf", "weni", "min")}
            if not self.warm or self.warm[-1][1] != told:
                self.warm.append((at, told))
        elif name == "B4":
            self.cooldown = self.cooldown if self.cooldown is not None else seconds(values["dur"])
        elif name == "F10b":
            self.max_pods = int(values["b"])
        else:
            self.prefixes = self.prefixes or values["kind"] == "Prefix"

    def _of_enis(self, name: str, values: dict[str, str]) -> None:
        match name:
            case "G2":
                self._subnet = values["sn"]
            case "G2b":
                self.eni(values["eni"]).subnet = self._subnet
            case "F4b":
                self.eni(values["eni"]).primary_ip = canonical(values["ip"])
            case "F5":
                self._setups[canonical(values["ip"])] = dict(values)
            case "G8":
                self.eni(values["eni"]).card = min(int(values["card"]), CARDS_MAX)
            case "G11":
                self.eni(values["eni"]).primary = True
            case "C15":
                self.eni(values["eni"]).trunk = True
            case "G12":
                known = self.eni(values["eni"])
                known.mac, known.device = values["mac"], int(values["dev"])
            case "G10":
                self.node.setdefault(values["what"], values["val"].strip())
            case _:
                pass

    def _told(self, text: str, at: Instant) -> None:
        try:
            own = msgspec.json.decode(text, type=_Own)
        except msgspec.MsgspecError:
            return
        self.own.append((at, Tenure(own.settings, own.node, own.seed)))

    def settle(self) -> None:
        """Everything was heard: join what stands in different lines, and order what has a moment."""
        self.starts = sorted(set(self.starts))
        self.warm.sort(key=lambda told: told[0])
        self.own.sort(key=lambda told: told[0])
        for known in self.enis.values():
            setup = self._setups.get(known.primary_ip)
            if setup is not None:
                known.mac = known.mac or setup["mac"] or ""
                known.subnet_cidr = known.subnet_cidr or setup["cidr"] or ""
                known.table = int(setup["table"] or -1)
                known.card = min(int(setup.get("card") or known.card), CARDS_MAX)
            if known.device == 0 and known.card == 0:
                known.primary = True
            if known.primary:
                known.device = 0
                known.subnet = known.subnet or self.node.get("subnet-id", "")
                known.primary_ip = known.primary_ip or self.node.get("primary IPv4 address", "")

    def tenure(self, at: Instant, limits: Limits, instance_type: str = "") -> tuple[Tenure, list[str]]:
        """Settings and node of the process that lived at `at`, and in words what of them is assumed."""
        until = self._next_start(at)
        for told_at, tenure in self.own:
            if at <= told_at < until:
                return tenure, []
        assumed: list[str] = []
        return Tenure(self._settings_at(at, until, assumed), self._node(limits, instance_type, assumed), 0), assumed

    def stores_at(self, at: Instant) -> tuple[int, ...]:
        """The network cards for which the process that lived at `at` keeps a store: told (C9), or those with ENIs."""
        until = self._next_start(at)
        told = {card for heard, card in self.cards if at <= heard < until}
        return tuple(sorted(told or {0} | {known.card for known in self.enis.values()}))

    def _next_start(self, at: Instant) -> Instant:
        index = bisect_right(self.starts, at)
        return self.starts[index] if index < len(self.starts) else 1 << 62

    def _settings_at(self, at: Instant, until: Instant, assumed: list[str]) -> Settings:
        index = bisect_left(self.warm, at, key=lambda told: told[0])
        if index == len(self.warm) or self.warm[index][0] >= until:
            index -= 1
        told = self.warm[index][1] if self.warm and index >= 0 else {}
        if not told and not self.env:
            assumed.append("the warm targets: no line and no file tells them; the defaults stand")
        if self.cooldown is None and "IP_COOLDOWN_PERIOD" not in self.env:
            assumed.append("IP_COOLDOWN_PERIOD=30: no line tells it")
        prefixes = self.env.get("ENABLE_PREFIX_DELEGATION", "").lower() == "true" or self.prefixes
        multi_nic = self.env.get("ENABLE_MULTI_NIC", "").lower() == "true" or any(card for _, card in self.cards)
        whole = Settings(
            warm_ip_target=told.get("wip", _whole(self.env, "WARM_IP_TARGET", 0)),
            minimum_ip_target=told.get("min", _whole(self.env, "MINIMUM_IP_TARGET", 0)),
            warm_eni_target=told.get("weni", _whole(self.env, "WARM_ENI_TARGET", 1)),
            warm_prefix_target=told.get("wpf", _whole(self.env, "WARM_PREFIX_TARGET", 0)),
            max_eni=_whole(self.env, "MAX_ENI", 0),
            prefix_delegation=prefixes,
            ipv6=self.env.get("ENABLE_IPv6", "").lower() == "true" or self.ipv6,
            multi_nic=multi_nic,
            ip_cooldown_period=self.cooldown
            if self.cooldown is not None
            else _whole(self.env, "IP_COOLDOWN_PERIOD", 30),
            quirks=UPSTREAM,
        )
        return whole

    def _node(self, limits: Limits, instance_type: str, assumed: list[str]) -> Node:
        kind = instance_type or self.node.get("instance-type", "")
        known = limits(kind) if kind else None
        if known is None and self.figures.get("awscni_eni_max") and self.figures.get("awscni_ip_max"):
            enis = int(self.figures["awscni_eni_max"])
            known = enis, int(self.figures["awscni_ip_max"]) // enis // (16 if self.prefixes else 1) + 1
        if known is None:
            assumed.append("the instance type: no line tells it, so its limits are not known; see --instance-type")
        if "instance-id" not in self.node:
            assumed.append("the instance: no line tells its id")
        told = [warm["mp"] for _, warm in self.warm if warm["mp"]]
        primary = next((eni for eni, known_eni in self.enis.items() if known_eni.primary), "")
        return Node(
            instance=self.node.get("instance-id", "i-unknown"),
            instance_type=kind or "unknown",
            region=self.node.get("region", ""),
            zone=self.node.get("availability zone", ""),
            vpc=self.node.get("vpc-id", ""),
            subnet=self.node.get("subnet-id", ""),
            primary_eni=primary,
            primary_ip=self.node.get("primary IPv4 address", ""),
            primary_ip6=canonical(self.node.get("primary IPv6 address", "")),
            enis_max=known[0] if known else -1,
            ips_per_eni=known[1] if known else 0,
            max_pods=self.max_pods or (told[-1] if told else 110),
        )


def protobuf(text: str) -> dict[str, str]:
    """Fields of a protobuf message as Go prints it; one or two blanks between them, strings in quotes."""
    return {name: value.strip('"') for name, value in _FIELD.findall(text)}


def seconds(text: str) -> int | None:
    """Whole seconds of Go's `30s`, `1m30s`, `1h0m0s`; None for anything else."""
    found = _DURATION.fullmatch(text)
    if found is None or not text:
        return None
    hours, minutes, rest = (int(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + rest


def _whole(env: dict[str, str], name: str, default: int) -> int:
    text = env.get(name, "")
    return int(text) if re.fullmatch(r"\d{1,6}", text, re.ASCII) else default
