"""Figures of a card and of its ENIs, brought up to date from the blocks that changed since they were last asked for.

So a fold pays next to nothing for them, and a quiet tick costs the same at 10 and at 10,000 addresses. They are an
index: `invariants.check` proves them against the blocks. Addresses that cool are counted as of the last record; see
`pool_linux.cooled` for what has cooled since.
"""

from __future__ import annotations

from .blocks import Block, Share


class Tally:
    """Sums over blocks. `serving` ones are of the mode's kind on an ENI that is not excluded (DM-34)."""

    __slots__ = (
        "assigned", "empty_prefixes", "idle_prefixes", "open_empty", "prefixes", "resting", "serving_assigned",
        "serving_resting", "serving_size",
    )  # fmt: skip

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

    def change(self, old: Share, new: Share) -> None:
        """A block's share is another one now."""
        self.assigned += new[0] - old[0]
        self.resting += new[1] - old[1]
        self.prefixes += new[2] - old[2]
        self.empty_prefixes += new[3] - old[3]
        self.idle_prefixes += new[4] - old[4]
        self.open_empty += new[5] - old[5]
        self.serving_size += new[6] - old[6]
        self.serving_assigned += new[7] - old[7]
        self.serving_resting += new[8] - old[8]

    @property
    def figures(self) -> Share:
        """All sums, for comparisons."""
        return (
            self.assigned, self.resting, self.prefixes, self.empty_prefixes, self.idle_prefixes, self.open_empty,
            self.serving_size, self.serving_assigned, self.serving_resting,
        )  # fmt: skip


def share(block: Block, serving: bool, excluded: bool) -> Share:
    """What a block on its ENI adds to the tallies."""
    pods, resting = block.assigned, len(block.cooling) - block.thawed
    empty, prefix = not pods, block.prefix
    counted = (pods, resting, int(prefix), int(prefix and empty), int(prefix and empty and not resting))
    open_empty = int(empty and not excluded)
    if not serving:
        return (*counted, open_empty, 0, 0, 0)
    return (*counted, open_empty, block.size, pods, 0 if block.wide else resting)
