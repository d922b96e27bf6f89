"""ConfigMap `amazon-vpc-cni` as rules over its raw data: what the keys say, and what a pool is told (WIN-1..23).

    conditions   is IPAM on, is prefix delegation on?        (WIN-3, WIN-15, WIN-16)
    parse        the three targets as the ConfigMap has them (WIN-4..10)
    pool_config  the targets that a pool of a kind is given  (WIN-12..14)

Nothing here raises: a value that cannot be read counts as the specification says, and `complaints` tells of it.
"""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

import msgspec

from .settings import WindowsQuirks

PoolKind: TypeAlias = Literal["secondary", "prefix"]
"""Which of a node's two pools: single addresses, or /28 prefixes."""
ConfigData: TypeAlias = dict[str, str] | None
"""The raw `data` of the ConfigMap; None while it is absent, deleted or without data."""

IPAM: Final = "enable-windows-ipam"
PREFIX_DELEGATION: Final = "enable-windows-prefix-delegation"
WARM_IP: Final = "warm-ip-target"
MINIMUM_IP: Final = "minimum-ip-target"
WARM_PREFIX: Final = "warm-prefix-target"
ALIAS: Final = "windows-"
"""The fallback spelling of the three targets (WIN-5)."""

_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_INTEGER: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)
_LARGEST: Final = 2**63 - 1


class Targets(msgspec.Struct, frozen=True, omit_defaults=True):
    """A pool's config. `draining` is upstream's desired size 0 (WIN-12, WIN-101). 0 means unset in prefix mode."""

    warm: int = 0
    minimum: int = 0
    prefix: int = 0
    draining: bool = False


DRAINING: Final = Targets(draining=True)
STATIC: Final[dict[str, Targets]] = {"secondary": Targets(3, 3), "prefix": Targets(1, 3)}
"""WIN-12."""


class Conditions(msgspec.Struct, frozen=True, omit_defaults=True):
    """WIN-15, WIN-16 and what decides whether an edit of the ConfigMap reaches the nodes (WIN-18)."""

    ipam: bool = False
    prefix_delegation: bool = False
    remembered: Targets = Targets()


def parse_bool(text: str | None) -> bool:
    """WIN-3: anything but the six spellings of true is false."""
    return text in _TRUE


def parse_int(text: str, quirks: WindowsQuirks) -> tuple[int, bool]:
    """WIN-4: the value, and whether it was read cleanly. What cannot be read is 0."""
    if not _INTEGER.fullmatch(text):
        return 0, False
    digits = text.lstrip("+-").lstrip("0")
    value = int(digits or "0") if len(digits) <= 20 else _LARGEST + 2
    value = -value if text.startswith("-") else value
    if -_LARGEST - 1 <= value <= _LARGEST:
        return value, True
    saturated = _LARGEST if value > 0 else -_LARGEST - 1
    return (saturated if quirks.windows_out_of_range_saturates else 0), False


def conditions(data: ConfigData, legacy: bool, flag: bool, quirks: WindowsQuirks) -> Conditions:
    """`legacy`: Deployment `vpc-resource-controller` exists. `flag`: the process may delegate prefixes at all."""
    ipam = not legacy and data is not None and parse_bool(data.get(IPAM))
    delegation = ipam and flag and data is not None and parse_bool(data.get(PREFIX_DELEGATION))
    found = parse(data, quirks)
    watched = found if raw_prefix_delegation(data) else Targets(found.warm, found.minimum)
    return Conditions(ipam, delegation, watched)


def raw_prefix_delegation(data: ConfigData) -> bool:
    """The key alone, which is what target parsing follows (WIN-7, WIN-13)."""
    return data is not None and parse_bool(data.get(PREFIX_DELEGATION))


def _target(data: dict[str, str], key: str, quirks: WindowsQuirks) -> tuple[int, bool]:
    """The value and whether it was given and clean. Presence of the plain key decides, not validity (WIN-5)."""
    text = data.get(key, data.get(ALIAS + key))
    return parse_int(text, quirks) if text is not None else (0, False)


def parse(data: ConfigData, quirks: WindowsQuirks) -> Targets:
    """WIN-7, WIN-8, WIN-9. Negative targets pass (WIN-10)."""
    if data is None:
        return STATIC["secondary"]
    warm, warm_given = _target(data, WARM_IP, quirks)
    minimum, _ = _target(data, MINIMUM_IP, quirks)
    if raw_prefix_delegation(data):
        prefix, _ = _target(data, WARM_PREFIX, quirks)
        return STATIC["prefix"] if warm == minimum == prefix == 0 else Targets(warm, minimum, prefix)
    if warm == 0 and warm_given:
        warm = 1
    if warm == 0 and (minimum == 0 or not quirks.windows_minimum_alone_keeps_none_warm):
        return STATIC["secondary"] if minimum == 0 else Targets(3, minimum)
    return Targets(warm, minimum)


def pool_config(data: ConfigData, kind: PoolKind, quirks: WindowsQuirks) -> Targets:
    """WIN-13, WIN-14: the parsed targets go to the mode that the raw key names; the other one keeps its own."""
    named: PoolKind = "prefix" if raw_prefix_delegation(data) else "secondary"
    found = parse(data, quirks)
    if named != kind:
        if kind == "secondary" and not quirks.windows_other_mode_keeps_static and data is not None:
            plain = {key: value for key, value in data.items() if key != PREFIX_DELEGATION}
            return parse(plain, quirks)
        return STATIC[kind]
    return STATIC[kind] if found == Targets() else found


def complaints(data: ConfigData) -> list[str]:
    """What in the ConfigMap cannot be meant, one line each: the key, the fact, the remedy."""
    found = []
    for key, text in sorted((data or {}).items()):
        plain = key.removeprefix(ALIAS)
        if key in (IPAM, PREFIX_DELEGATION):
            if text not in _TRUE | _FALSE:
                found.append(f'{key}: "{text}": want true or false; counts as false')
        elif plain in (WARM_IP, MINIMUM_IP, WARM_PREFIX):
            value, clean = parse_int(text, WindowsQuirks())
            if not clean:
                found.append(f'{key}: "{text}": want an integer >= 0; counts as {value}')
            elif value < 0:
                found.append(f'{key}: "{text}": want an integer >= 0; a default takes its place')
            if key != plain and plain in (data or {}):
                found.append(f"{key}: {plain} is there too and wins; remove one of the two")
    return found
