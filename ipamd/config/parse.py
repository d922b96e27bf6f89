"""Texts to values, as Go's strconv and net read them, so that a value means here what it means upstream.

Every function takes the text of one variable. `Invalid` says what was wanted; `Partly` carries what could be
used of a list or an object beside what could not.
"""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Final, TypeAlias

Value: TypeAlias = bool | int | str | tuple[str, ...] | dict[str, str] | None

_TRUE: Final = ("1", "t", "T", "TRUE", "true", "True")
_FALSE: Final = ("0", "f", "F", "FALSE", "false", "False")
_DECIMAL: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)
_ANY_BASE: Final = re.compile(
    r"(?P<sign>[+-]?)(?:0[xX](?P<hex>(?:_?[0-9a-fA-F])+)|0[oO]?(?P<oct>(?:_?[0-7])+)|0[bB](?P<bin>(?:_?[01])+)"
    r"|(?P<dec>0|[1-9](?:_?[0-9])*))",
    re.ASCII,
)
_BASES: Final = (("hex", 16), ("oct", 8), ("bin", 2), ("dec", 10))
_CIDR: Final = re.compile(r"(?P<address>[0-9.]+)/(?P<length>[0-9]{1,2})", re.ASCII)
INT64_MAX: Final = 2**63 - 1
UINT32_MAX: Final = 2**32 - 1
RESERVED_TAG: Final = "k8s.amazonaws.com"
"""ENV-25: no additional tag may have a key that contains this."""


class Invalid(ValueError):
    """The text is not what the variable takes. `want` completes the sentence "want ..."."""

    def __init__(self, want: str) -> None:
        super().__init__(want)
        self.want = want


class Partly(ValueError):
    """Some of the text is not what the variable takes; `value` is what is used, `instead` says what is done."""

    def __init__(self, want: str, value: Value, instead: str) -> None:
        super().__init__(want)
        self.want, self.value, self.instead = want, value, instead


def boolean(text: str) -> bool:
    """`strconv.ParseBool`: 1 t T TRUE true True, 0 f F FALSE false False."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise Invalid("true or false (also 1 t T TRUE True, 0 f F FALSE False)")


def atoi(text: str, want: str = "an integer") -> int:
    """`strconv.Atoi`: an optional sign and decimal digits, within 64 bits; no blanks, no underscores."""
    if _DECIMAL.fullmatch(text) is None or len(text) > 20:
        raise Invalid(want)
    value = int(text)
    if not -INT64_MAX - 1 <= value <= INT64_MAX:
        raise Invalid(want)
    return value


def at_least(low: int, text: str) -> int:
    """An integer that is not below `low`."""
    want = f"an integer >= {low}"
    value = atoi(text, want)
    if value < low:
        raise Invalid(want)
    return value


def connmark(text: str) -> int:
    """ENV-42, `strconv.ParseInt` with base 0: 0x, 0o, 0b and underscores are understood; 1..2^32-1."""
    want = "an integer 1..4294967295, 0x80 for example"
    found = _ANY_BASE.fullmatch(text)
    if found is None or len(text) > 80:
        raise Invalid(want)
    digits, base = next((found[name], base) for name, base in _BASES if found[name])
    value = int(digits.replace("_", ""), base)
    if found["sign"] == "-" or not 1 <= value <= UINT32_MAX:
        raise Invalid(want)
    return value


def timeout(text: str) -> int:
    """ENV-27: seconds, ten at least."""
    return at_least(10, text)


def one_of(words: tuple[str, ...], text: str, any_case: bool) -> str:
    """The word itself, in the letters it was given in."""
    if (text.lower() if any_case else text) not in words:
        raise Invalid(", ".join(words[:-1]) + f" or {words[-1]}" + (" (any case)" if any_case else ""))
    return text


def cidrs(text: str) -> tuple[str, ...]:
    """ENV-38, ENV-39: IPv4 CIDRs parted by commas, trimmed, in network form; the others are left out."""
    good: list[str] = []
    bad: list[str] = []
    for entry in text.split(",") if text else ():
        network = _network(entry.strip())
        if network is None:
            bad.append(entry.strip())
        else:
            good.append(network)
    if bad:
        raise Partly("IPv4 CIDRs such as 10.0.0.0/8, parted by commas", tuple(good), _leaving_out(bad))
    return tuple(good)


def _network(entry: str) -> str | None:
    found = _CIDR.fullmatch(entry)
    if found is None or int(found["length"]) > 32:
        return None
    try:
        return str(ipaddress.IPv4Network((found["address"], int(found["length"])), strict=False))
    except ValueError:
        return None


def eni_tags(text: str) -> dict[str, str]:
    """ENV-25: a JSON object of strings (null is ""); keys that contain k8s.amazonaws.com are left out (TV-76)."""
    want = 'a JSON object of strings such as {"team":"net"}'
    try:
        tags = json.loads(text)
    except (ValueError, RecursionError):
        raise Invalid(want) from None
    if tags is None:
        return {}
    if not isinstance(tags, dict) or not all(isinstance(value, str | None) for value in tags.values()):
        raise Invalid(want)
    kept = {key: value or "" for key, value in tags.items() if RESERVED_TAG not in key}
    dropped = [key for key in tags if RESERVED_TAG in key]
    if dropped:
        raise Partly(f"tag keys without {RESERVED_TAG}", kept, _leaving_out(dropped))
    return kept


def verbatim(text: str) -> str:
    """Any text."""
    return text


def veth_prefix(text: str) -> str:
    """ENV-44 with the entrypoint's rule ENV-67, which ipamd itself does not check."""
    if len(text) > 4 or text in ("eth", "lo", "vlan"):
        raise Partly("at most 4 characters, and not eth, lo or vlan", text, "using it all the same")
    return text


def _leaving_out(entries: list[str]) -> str:
    named = ", ".join(json.dumps(entry[:40]) for entry in entries[:5])
    return f"leaving out {named}" + (f" and {len(entries) - 5} more" if len(entries) > 5 else "")


def unpaired(text: str) -> bool:
    """Whether the text was not UTF-8: the journal and EC2's tags could not carry it."""
    return any("\ud800" <= letter <= "\udfff" for letter in text)
