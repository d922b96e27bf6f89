"""Addresses and blocks as texts of others have them: which are of use, and in which block an address lies."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Final

from ipamd.core.types import PREFIX6_LENGTH, PREFIX_LENGTH, CidrText, IpText, ip4, ip4_text, ip6, ip6_text

_WIDE_BITS: Final = 128 - PREFIX6_LENGTH
_LONGEST: Final = 49
_WIDE: Final = re.compile(r"[0-9a-f:]{2,39}", re.ASCII)
_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_ADDRESS: Final = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}", re.ASCII)
_BLOCK: Final = re.compile(rf"({_OCTET}(?:\.{_OCTET}){{3}})/(32|28)", re.ASCII)


def canonical(text: str) -> str:
    """An IPv6 address or CIDR as RFC 5952 writes it; any other text as it is."""
    if ":" not in text or len(text) > _LONGEST:
        return text
    address, slash, length = text.partition("/")
    try:
        return str(IPv6Address(address)) + slash + length
    except ValueError:
        return text


def is_address(text: str) -> bool:
    """Whether it is an IPv4 address, or an IPv6 one as RFC 5952 writes it."""
    if ":" not in text:
        return _ADDRESS.fullmatch(text) is not None
    return _WIDE.fullmatch(text) is not None and _wide(text)


def is_block(text: str) -> bool:
    """Whether it is a secondary address (/32) or an aligned prefix (/28, in IPv6 /80)."""
    base, _, length = text.partition("/")
    if ":" in text:
        return length == str(PREFIX6_LENGTH) and is_address(base) and prefix_of(base) == text
    found = _BLOCK.fullmatch(text)
    return found is not None and (found[2] == "32" or ip4(found[1]) & 0xF == 0)


def prefix_of(address: IpText) -> CidrText:
    """The /28 an address lies in; in IPv6 the /80."""
    if ":" in address:
        return f"{ip6_text(ip6(address) >> _WIDE_BITS << _WIDE_BITS)}/{PREFIX6_LENGTH}"
    return f"{ip4_text(ip4(address) & ~0xF)}/{PREFIX_LENGTH}"


def _wide(text: str) -> bool:
    try:
        return ip6_text(int(IPv6Address(text))) == text
    except ValueError:
        return False
