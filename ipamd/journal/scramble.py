"""Other IPv4 addresses of the same structure: what shares a prefix still does, and order and offsets stay.

A bit is flipped, or not, by chance that depends on the key and on the bits before it: so two addresses share as many
leading bits afterwards as before (a prefix-preserving permutation). Three kinds of bits are never flipped:

    10.  in 10.0.0.0/8 and its like           so private stays private
    a bit under which both ways are taken     so the order of the addresses that occur stays, and with it every choice
    bits inside a known subnet                so reserved addresses, alignment and neighbours stay

The first and last say how little is hidden: the size of subnets and where in them an address lies. What is hidden is
which networks they are.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from ipaddress import IPv4Network
from typing import Final

from ipamd.core.types import ip4, ip4_text

_DEPTH: Final = 24
"""Bits that may be flipped; the last eight stay, subnet known or not."""
_FIXED: Final = (
    ("10.0.0.0/8", 8), ("172.16.0.0/12", 12), ("192.168.0.0/16", 16), ("100.64.0.0/10", 10), ("169.254.0.0/16", 32),
    ("127.0.0.0/8", 32), ("198.18.0.0/15", 15), ("224.0.0.0/3", 32), ("0.0.0.0/8", 32),
)  # fmt: skip
_CLASSES: Final = tuple((int(IPv4Network(text).network_address), int(IPv4Network(text).netmask), bits)
                        for text, bits in _FIXED)  # fmt: skip
ADDRESS: Final = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}(?:/\d{1,2})?", re.ASCII)


class Scramble:
    """Told of every address and CIDR first (`learn`), then asked (`of`). The same key gives the same answers."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._taken: list[set[int]] = [set() for _ in range(_DEPTH + 1)]
        self._subnets: dict[int, set[int]] = {}
        self._known: dict[int, int] = {}

    def learn(self, text: str) -> None:
        """An address `a.b.c.d` or a CIDR that occurs. Text that is neither is passed over."""
        base, length = _read(text)
        if length < 0:
            return
        for depth in range(min(length, _DEPTH) + 1):
            self._taken[depth].add(base >> (32 - depth))
        if 16 <= length <= 27:
            self._subnets.setdefault(length, set()).add(base >> (32 - length))

    def of(self, text: str) -> str:
        """What it is called afterwards."""
        base, length = _read(text)
        if length < 0:
            return text
        _, slash, suffix = text.partition("/")
        return f"{ip4_text(self._map(base, length))}{slash}{suffix}"

    def _map(self, base: int, length: int) -> int:
        top = base >> (32 - _DEPTH)
        if top not in self._known:
            self._known[top] = self._flips(base)
        flips = self._known[top]
        if length < _DEPTH:
            flips &= ~((1 << (32 - length)) - 1)
        return base ^ flips

    def _flips(self, base: int) -> int:
        fixed = next((bits for network, mask, bits in _CLASSES if base & mask == network), 8)
        flips = 0
        for depth in range(fixed, _DEPTH):
            if any(base >> (32 - length) in nets for length, nets in self._subnets.items() if depth >= length >= 20):
                break
            before = base >> (32 - depth)
            both = before << 1 in self._taken[depth + 1] and before << 1 | 1 in self._taken[depth + 1]
            if not both and self._chance(depth, before):
                flips |= 1 << (31 - depth)
        return flips

    def _chance(self, depth: int, before: int) -> bool:
        text = depth.to_bytes(1, "big") + before.to_bytes(4, "big")
        return bool(blake2b(text, key=self._key, digest_size=1).digest()[0] & 1)


def _read(text: str) -> tuple[int, int]:
    """Address and prefix length; -1 for what is no address."""
    address, slash, suffix = text.partition("/")
    if ADDRESS.fullmatch(text) is None or any(int(octet) > 255 for octet in address.split(".")):
        return 0, -1
    length = int(suffix) if slash else 32
    return (ip4(address), length) if length <= 32 else (0, -1)
