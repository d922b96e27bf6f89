"""How long EC2 takes to answer: a pure function of profile, seed, action and request number.

The figures of `realistic` are assumptions inside what is known publicly: assigning takes under a second,
creating and attaching an ENI up to ten seconds together. Any action can be given a distribution of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, get_args

import msgspec

from ipamd.core.calls import Ec2Call
from ipamd.core.types import MS, SECOND

from .port import Ec2Look, operation
from .requests import Request
from .rows import draw

Profile = Literal["none", "realistic"]
PROFILES: Final[tuple[str, ...]] = get_args(Profile)
LONGEST: Final = 60 * SECOND
PERMILLE: Final = 1000


class Spread(msgspec.Struct, frozen=True, array_like=True):
    """A distribution by its quantiles, (permille, milliseconds) pairs from 0 to 1000; straight lines between them.

    `((0, 200), (1000, 900))`: every length from 200 to 900 ms alike.
    `((0, 200), (500, 300), (990, 900), (1000, 9000))`: half below 300, one in a hundred above 900.
    """

    quantiles: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        shares, lengths = [q for q, _ in self.quantiles], [ms for _, ms in self.quantiles]
        if shares[:1] != [0] or shares[-1:] != [PERMILLE] or len(set(shares)) < len(shares) or shares != sorted(shares):
            raise ValueError(f"quantiles {shares}: want permilles rising from 0 to {PERMILLE}")
        if lengths != sorted(lengths) or lengths[0] < 0 or lengths[-1] * MS > LONGEST:
            raise ValueError(f"lengths {lengths}: want milliseconds that do not fall, 0 to {LONGEST // MS}")

    def length(self, number: int) -> int:
        """The length in ns that a random 64-bit number stands for."""
        share = number % (PERMILLE * MS)  # a millionth of a permille is the finest that is told apart
        for (low, short), (high, long) in zip(self.quantiles, self.quantiles[1:], strict=False):
            if share < high * MS:
                return short * MS + (long - short) * (share - low * MS) // (high - low)
        raise AssertionError("the quantiles end at 1000")


def evenly(shortest: int, longest: int) -> Spread:
    """Every length between two, in milliseconds, is alike."""
    return Spread(((0, shortest), (PERMILLE, longest)))


REALISTIC_MS: Final = MappingProxyType(
    {
        "CreateNetworkInterface": (1000, 2000),
        "AttachNetworkInterface": (1500, 8000),
        "ModifyNetworkInterfaceAttribute": (100, 400),
        "AssignPrivateIpAddresses": (200, 900),
        "UnassignPrivateIpAddresses": (200, 900),
        "AssignIpv6Addresses": (200, 900),
        "UnassignIpv6Addresses": (200, 900),
        "DetachNetworkInterface": (1000, 4000),
        "DeleteNetworkInterface": (200, 900),
        "AssociateTrunkInterface": (300, 1500),
        "DisassociateTrunkInterface": (300, 1500),
        "RunInstances": (1500, 5000),
        "TerminateInstances": (300, 1500),
        "CreateTags": (100, 400),
        "ReadMetadata": (2, 20),
        "ReadInstanceMetadata": (2, 20),
    }
)
"""Shortest and longest answer of each action, in milliseconds; between them every length is alike."""
READ_MS, WRITE_MS = (50, 150), (100, 900)
"""Of the other actions: those that only read, and those that change something."""

METADATA_LAG: Final = MappingProxyType({"none": 0, "realistic": 1500 * MS})
"""How long after a change instance metadata shows it, in ns."""


class Latency:
    """Answer times of one profile. `Latency("none", 0)` answers at once."""

    def __init__(self, profile: Profile, seed: int, own: Mapping[str, Spread] = MappingProxyType({})) -> None:
        """`own` are distributions by action that take the profile's place."""
        if profile not in PROFILES:
            raise ValueError(f"latency {profile!r}: want one of {', '.join(PROFILES)}")
        self.profile = profile
        self._seed = seed
        self._own = own

    def ns(self, request: Ec2Call | Ec2Look | Request, n: int) -> int:
        """How long the n-th request takes, in ns; a driver lets half pass before the effect, half after."""
        return self.of(operation(request), n)

    def of(self, action: str, n: int) -> int:
        """The same by EC2's name of the action, for a door that serves others too."""
        own = self._own.get(action)
        if own is not None:
            return own.length(draw(action, self._seed, n))
        if self.profile == "none":
            return 0
        shortest, longest = REALISTIC_MS.get(action) or (
            READ_MS if action.startswith(("Describe", "Get")) else WRITE_MS
        )
        width = (longest - shortest) * MS
        length = shortest * MS + draw(action, self._seed, n) % (width + 1)
        assert length <= 10 * SECOND
        return length
