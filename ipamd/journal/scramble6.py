"""Other IPv6 addresses of the same structure: those of a /56 stay together, and the /56 is another one.

A VPC's IPv6 block is a /56, and what names the owner are its bits after the kind of the address (the first 16, such as
2600 or fd00) and before the 56th. Those are replaced as a whole, by a permutation that keeps the order of the blocks
that occur; subnets, prefixes and places in them stay. Loopback, link-local and multicast addresses and those of the
instance's services (fd00:ec2::/32) are nobody's, and stay.
"""

from __future__ import annotations

from hashlib import blake2b
from ipaddress import IPv6Address
from typing import Final

_VPC: Final = 56
_KIND: Final = 16
_DRAWN: Final = _VPC - _KIND
_SERVICES: Final = 0xFD000EC2
_NOBODYS: Final = (0x0000, 0xFE80, 0xFF02)


class Scramble6:
    """Told of every address and CIDR first (`learn`), then asked (`of`). The same key gives the same answers."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._found: set[int] = set()
        self._new: dict[int, int] = {}

    def learn(self, text: str) -> None:
        """An address or a CIDR that occurs. Text that is neither is passed over."""
        value = _read(text)
        if value is not None and _owned(value):
            self._found.add(value >> (128 - _VPC))
            self._new.clear()

    def of(self, text: str) -> str:
        """What it is called afterwards, as RFC 5952 writes it."""
        value = _read(text)
        if value is None or not _owned(value):
            return text
        self._new = self._new or self._drawn()
        block = value >> (128 - _VPC)
        rest = value & ((1 << (128 - _VPC)) - 1)
        _, slash, length = text.partition("/")
        return f"{IPv6Address(self._new.get(block, self._one(block)) << (128 - _VPC) | rest)}{slash}{length}"

    def _drawn(self) -> dict[int, int]:
        """New blocks of each kind, in the old ones' order."""
        new: dict[int, int] = {}
        for kind in sorted({block >> _DRAWN for block in self._found}):
            olds = sorted(block for block in self._found if block >> _DRAWN == kind)
            drawn = {self._one(block) for block in olds}
            step = 0
            while len(drawn) < len(olds):
                step += 1
                drawn.add(self._one(olds[0] + step))
            new |= dict(zip(olds, sorted(drawn), strict=True))
        return new

    def _one(self, block: int) -> int:
        digest = blake2b(block.to_bytes(_VPC // 8 + 1, "big"), key=self._key, digest_size=_DRAWN // 8).digest()
        return block >> _DRAWN << _DRAWN | int.from_bytes(digest, "big")


def _owned(value: int) -> bool:
    return value >> 112 not in _NOBODYS and value >> 96 != _SERVICES


def _read(text: str) -> int | None:
    try:
        return int(IPv6Address(text.partition("/")[0]))
    except ValueError:
        return None
