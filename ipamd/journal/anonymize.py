"""A journal that can be shown around: every name in it is another one, and all that follows from it is the same.

    names = Names(seed)
    for record in read(journal): names.learn(record)
    for record in read(journal): write(names.rename(record))

Renamed are pods, namespaces, containers, nodes, clusters, tags, the ids of ENIs, instances, subnets, VPCs and security
groups, MACs and addresses (see `scramble`). Names of one kind keep their order, and names that are hashes of others
(host veths) are computed anew, so every decision of the journal comes out the same. Kept are times, settings,
instance types, regions and zones, error codes and EC2's messages without ids, accounts and tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from random import Random
from typing import Any, Final

import msgspec

from ipamd.core.events import Record
from ipamd.core.links import veth_suffix
from ipamd.core.types import Pod

from .scramble import Scramble
from .scramble6 import Scramble6

_KINDS: Final = {
    "namespace": "namespace", "name": "pod", "pod": "pod", "container": "container", "uid": "uid", "node": "node",
    "cluster_name": "cluster",
}  # fmt: skip
"""Member -> what its text names."""
_FREE: Final = frozenset(("message", "fact", "source", "assumed", "description", "annotation", "why"))
"""Members of free text, in which names may stand among words."""
_VERBATIM: Final = frozenset(
    ("type", "kind", "token", "step", "action", "lane", "code", "instance_type", "region", "zone")
)
_OUR_TAGS: Final = re.compile(r"(?:[\w-]+\.)*(?:kubernetes\.io|amazonaws\.com|k8s\.aws)/|ipamd-emulator/|aws:")
_ID: Final = r"\b(?:eni-attach|eni|i|subnet|vpc|sg|rtb|trunk-assoc)-[0-9A-Za-z]+\b"
_MAC: Final = r"\b[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}\b"
_HOST: Final = r"\bip-\d{1,3}-\d{1,3}-\d{1,3}-\d{1,3}\b"
_V4: Final = r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?:/\d{1,2})?(?![\d.]*\d)"
_GROUP: Final = r"[0-9A-Fa-f]{1,4}"
_V6: Final = (
    rf"(?<![\w:.])(?:{_GROUP}(?::{_GROUP}){{7}}|(?=[0-9A-Fa-f:]*::)[0-9A-Fa-f:]{{3,39}})(?:/\d{{1,3}})?(?![\w:])"
)
_SECRET: Final = r"\barn:\S+|\b\d{12}\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[A-Za-z0-9_+/=-]{60,}"
_WORD: Final = r"[A-Za-z0-9][\w.-]*[A-Za-z0-9]"
_FIXED_IDS: Final = re.compile(f"(?P<mac>{_MAC})|(?P<v4>{_V4})|(?P<v6>{_V6})|(?P<host>{_HOST})|(?P<id>{_ID})", re.ASCII)
_PROSE: Final = re.compile(f"{_FIXED_IDS.pattern}|(?P<secret>{_SECRET})|(?P<word>{_WORD})", re.ASCII)
_VETH: Final = re.compile(r"(.*?)([0-9a-f]{11})")
_DIGITS: Final = 17


class Names:
    """Old names to new ones. The seed decides; without it nobody can tell which it was."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._random = Random(f"{seed}/names")
        self._addresses = Scramble(sha256(seed.encode()).digest())
        self._wide = Scramble6(sha256(seed.encode()).digest())
        self._found: dict[str, set[str]] = {}
        self._pods: set[Pod] = set()
        self._new: dict[str, dict[str, str]] | None = None
        self._veths: dict[str, str] = {}

    # ---- the first reading ---------------------------------------------------------------------------------

    def learn(self, record: Record) -> None:
        """Every name of a record is known afterwards."""
        self._walk(msgspec.to_builtins(record), "", self._note)

    def _note(self, text: str, member: str) -> str:
        kind = self._kind(text, member)
        if kind:
            self._found.setdefault(kind, set()).add(text)
            return text
        for found in _FIXED_IDS.finditer(text):
            group = found.lastgroup or ""
            if group == "v4":
                self._addresses.learn(found[0])
            elif group == "v6":
                self._wide.learn(found[0])
            elif group == "host":
                self._addresses.learn(found[0][3:].replace("-", "."))
            else:
                self._found.setdefault("mac" if group == "mac" else found[0].rpartition("-")[0], set()).add(found[0])
        return text

    def _kind(self, text: str, member: str) -> str:
        """What the whole text names; "" where it names nothing as a whole."""
        if not text:
            return ""
        if member in ("tag key", "tag value"):
            return member
        kind = _KINDS.get(member, "")
        return "" if kind == "node" and _FIXED_IDS.fullmatch(text) else kind

    # ---- the second reading --------------------------------------------------------------------------------

    def rename(self, record: Record) -> Record:
        """The record under its new names. Raises msgspec.ValidationError for what would not be a record."""
        if self._new is None:
            self._settle()
        renamed = self._walk(msgspec.to_builtins(record), "", self._other)
        return msgspec.convert(renamed, Record)

    def _settle(self) -> None:
        """New names of each kind, in the old ones' order."""
        self._new = {}
        for kind, found in sorted(self._found.items()):
            olds = sorted(found)
            self._new[kind] = dict(zip(olds, self._fresh(kind, olds), strict=True))
        for pod in self._pods:
            named = Pod(self._named("namespace", pod.namespace), self._named("pod", pod.name))
            self._veths[veth_suffix(pod)] = veth_suffix(named)

    def _fresh(self, kind: str, olds: list[str]) -> list[str]:
        width = len(str(len(olds)))
        draw = self._random
        match kind:
            case "container" | "uid":
                return [f"{n:015x}".ljust(64, "0") for n in sorted(draw.sample(range(1 << 60), len(olds)))]
            case "mac":
                numbers = sorted(draw.sample(range(1 << 40), len(olds)))
                return ["02:" + ":".join(f"{n:010x}"[i : i + 2] for i in range(0, 10, 2)) for n in numbers]
            case "pod" | "namespace" | "node" | "cluster":
                return [f"{kind}-{n:0{width}}" for n in range(len(olds))]
            case "tag key" | "tag value":
                return [f"{kind.replace(' ', '-')}-{n:0{width}}" for n in range(len(olds))]
            case _:
                numbers = sorted(draw.sample(range(1 << 62), len(olds)))
                return [f"{kind}-{n:0{_DIGITS}x}" for n in numbers]

    def _other(self, text: str, member: str) -> str:
        kind = self._kind(text, member)
        if kind:
            return self._named(kind, text)
        if member in _VERBATIM:
            return text
        if member == "names":
            return self._link(text)
        return (_PROSE if member in _FREE else _FIXED_IDS).sub(self._part, text)

    def _named(self, kind: str, text: str) -> str:
        assert self._new is not None
        return self._new.get(kind, {}).get(text, text)

    def _link(self, name: str) -> str:
        """A host link: a veth is its prefix and a hash of its pod; one of an unknown pod gets another hash."""
        found = _VETH.fullmatch(name)
        if found is None:
            return name
        known = self._veths.get(found[2])
        return found[1] + (known or sha256(f"{self._seed}/{name}".encode()).hexdigest()[:11])

    def _part(self, found: re.Match[str]) -> str:
        text = found[0]
        match found.lastgroup:
            case "mac":
                return self._named("mac", text)
            case "v4":
                return self._addresses.of(text)
            case "v6":
                return self._wide.of(text)
            case "host":
                return "ip-" + self._addresses.of(text[3:].replace("-", ".")).replace(".", "-")
            case "id":
                return self._named(text.rpartition("-")[0], text)
            case "secret":
                return "removed"
            case _:
                return self._word(text)

    def _word(self, text: str) -> str:
        """A name among words, only one that no ordinary word could be; or an id inside one, as in `aws-K8S-i-1`."""
        if "-" not in text and not any(char.isdigit() for char in text):
            return text
        for kind in ("pod", "namespace", "container", "cluster", "node", "uid"):
            new = self._named(kind, text)
            if new != text:
                return new
        return _FIXED_IDS.sub(self._part, text)

    # ---- both ----------------------------------------------------------------------------------------------

    def _walk(self, value: Any, member: str, change: Callable[[str, str], str]) -> Any:
        """The same value with every text changed; `change` is told which member a text is of."""
        if isinstance(value, str):
            return change(value, member)
        if isinstance(value, list | tuple):
            return [self._walk(each, member, change) for each in value]
        if not isinstance(value, dict):
            return value
        if member in ("tags", "additional_eni_tags"):
            return {self._tag(k, True, change): self._tag_value(k, v, change) for k, v in value.items()}
        if self._new is None and isinstance(value.get("name", value.get("namespace")), str):
            self._pods.add(Pod(value.get("namespace", ""), value.get("name", "")))
        return {change(k, "key"): self._walk(v, k, change) for k, v in value.items()}

    def _tag(self, text: str, key: bool, change: Callable[[str, str], str]) -> str:
        if key and _OUR_TAGS.match(text):
            return change(text, "description")
        return change(text, "tag key" if key else "tag value")

    def _tag_value(self, key: str, value: str, change: Callable[[str, str], str]) -> str:
        if not _OUR_TAGS.match(key):
            return self._tag(value, False, change)
        if key.startswith("ipamd-emulator/"):
            return value
        return change(value, "cluster_name" if key == "cluster.k8s.amazonaws.com/name" else "description")
