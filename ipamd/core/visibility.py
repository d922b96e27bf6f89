"""WIN-107: what was assigned counts once DescribeNetworkInterfaces shows it. For whoever performs the call.

waits     how long to wait before each further look
visible   which of the granted items one look showed, and whether the wait is over
"""

from __future__ import annotations

from typing import Final

from .calls import Ec2Eni, Granted
from .types import MS

WAITS: Final = tuple(250 * MS << n for n in range(6))
"""Seven looks with these pauses between them, about 15.75 s, in ns; upstream adds up to 10 % to each."""


def visible(granted: Granted, shown: Ec2Eni) -> tuple[Granted, bool]:
    """What of `granted` is there, in its order. Over: all is, or the interface shows no list of that kind at all."""
    addresses = tuple(item for item in granted.addresses if item in shown.addresses)
    prefixes = tuple(item for item in granted.prefixes if item in shown.prefixes)
    seen = Granted(addresses, prefixes)
    nothing_listed = not (shown.prefixes if granted.prefixes else shown.addresses)
    return seen, nothing_listed or seen == granted
