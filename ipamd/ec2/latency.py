"""How long EC2 takes to answer: a pure function of profile, seed, action and request number.

The figures of `realistic` are assumptions inside what is known publicly: assigning takes under a second,
creating and attaching an ENI up to ten seconds together.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, Literal, get_args

from ipamd.core.calls import Ec2Call
from ipamd.core.types import MS, SECOND

from .port import Ec2Look, operation
from .rows import draw

Profile = Literal["none", "realistic"]
PROFILES: Final[tuple[str, ...]] = get_args(Profile)

REALISTIC_MS: Final = MappingProxyType(
    {
        "CreateNetworkInterface": (1000, 2000),
        "AttachNetworkInterface": (1500, 8000),
        "ModifyNetworkInterfaceAttribute": (100, 400),
        "AssignPrivateIpAddresses": (200, 900),
        "UnassignPrivateIpAddresses": (200, 900),
        "DetachNetworkInterface": (1000, 4000),
        "DeleteNetworkInterface": (200, 900),
        "CreateTags": (100, 400),
        "DescribeNetworkInterfaces": (50, 150),
        "DescribeInstances": (50, 150),
        "DescribeSubnets": (50, 150),
        "ReadMetadata": (2, 20),
    }
)
"""Shortest and longest answer of each action, in milliseconds; between them every length is alike."""

METADATA_LAG: Final = MappingProxyType({"none": 0, "realistic": 1500 * MS})
"""How long after a change instance metadata shows it, in ns."""


class Latency:
    """Answer times of one profile. `Latency("none", 0)` answers at once."""

    def __init__(self, profile: Profile, seed: int) -> None:
        if profile not in PROFILES:
            raise ValueError(f"latency {profile!r}: want one of {', '.join(PROFILES)}")
        self.profile = profile
        self._seed = seed

    def ns(self, request: Ec2Call | Ec2Look, n: int) -> int:
        """How long the n-th request takes, in ns; a driver lets half pass before the effect, half after."""
        if self.profile == "none":
            return 0
        action = operation(request)
        shortest, longest = REALISTIC_MS[action]
        width = (longest - shortest) * MS
        length = shortest * MS + draw(action, self._seed, n) % (width + 1)
        assert length <= 10 * SECOND
        return length
