"""Figures of a card or an ENI, kept up to date block by block, so that a quiet tick costs the same at any size.

A block is counted while it stands in a tally and taken out before anything of it changes; `invariants.check` proves
the sums. Addresses that cool are counted as of the last record: see `pool_linux.resting` for what cooled since.
"""

from __future__ import annotations

from .blocks import Block


class Tally:
    """Sums over blocks. `serving` ones are of the mode's kind on an ENI that is not excluded (DM-34)."""

    __slots__ = ("assigned", "empty_prefixes", "idle_prefixes", "open_empty", "prefixes", "resting",
                 "serving_assigned", "serving_resting", "serving_size")  # fmt: skip

    def __init__(self) -> None:
        self.assigned = 0
        self.resting = 0
        """Addresses released and not known to have cooled."""
        self.prefixes = 0
        self.empty_prefixes = 0
        """Prefixes without pods (DM-35)."""
        self.idle_prefixes = 0
        """Those of them where nothing cools."""
        self.open_empty = 0
        """Blocks of any kind without pods on ENIs that are not excluded (DM-39)."""
        self.serving_size = 0
        self.serving_assigned = 0
        self.serving_resting = 0
        """Without those of IPv6 blocks (DM-34)."""

    def count(self, block: Block, serving: bool, excluded: bool, sign: int) -> None:
        """Put a block in (+1) or take it out (-1); everything about it must be as it was when it was put in."""
        resting = block.resting
        self.assigned += sign * block.assigned
        self.resting += sign * resting
        if block.prefix:
            self.prefixes += sign
        if not block.assigned:
            if block.prefix:
                self.empty_prefixes += sign
                if not resting:
                    self.idle_prefixes += sign
            if not excluded:
                self.open_empty += sign
        if serving:
            self.serving_size += sign * block.size
            self.serving_assigned += sign * block.assigned
            if not block.wide:
                self.serving_resting += sign * resting

    def figures(self) -> tuple[int, ...]:
        """All sums, in the order of their names: for comparisons."""
        return tuple(getattr(self, name) for name in sorted(self.__slots__))
