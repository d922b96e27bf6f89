"""What an import found out about its own inputs: what was understood, what is assumed, what contradicts what."""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec

KEPT: Final = 200
"""Contradictions and assumptions kept as texts; beyond that they are only counted."""


class FileReport(msgspec.Struct):
    """One input file. `kind`: log, checkpoint, enis, metrics, settings, fact, or "" where it is of no use here."""

    name: str
    kind: str
    lines: int = 0
    damage: str = ""


class Report(msgspec.Struct):
    """Counts of lines are of logs only; blank lines and the rest of broken ones are not counted."""

    lines: int = 0
    understood: int = 0
    unknown: int = 0
    """Messages of no known pattern: kept nowhere, counted here."""
    unreadable: int = 0
    """Lines of no known shape, or damaged."""
    repeated: int = 0
    """The same line from a second file."""
    undated: int = 0
    """Lines that tell no time; they count as of the line before."""
    records: int = 0
    patterns: Counter[str] = msgspec.field(default_factory=Counter)
    """Understood lines by pattern."""
    unknown_samples: Counter[str] = msgspec.field(default_factory=Counter)
    """How the commonest unknown messages begin."""
    files: list[FileReport] = []
    refused: list[str] = []
    assumed: dict[str, int] = {}
    """What was not known and is stated all the same -> how often."""
    contradictions: list[str] = []
    contradictions_more: int = 0
    lost: dict[str, int] = {}
    """What lines told and the journal does not hold, by reason."""

    def assume(self, text: str) -> str:
        """Count an assumption; gives the text back."""
        if text in self.assumed or len(self.assumed) < KEPT:
            self.assumed[text] = self.assumed.get(text, 0) + 1
        else:
            self.assumed["others"] = self.assumed.get("others", 0) + 1
        return text

    def contradict(self, text: str) -> None:
        """Note what two papers, or two lines, tell differently."""
        if len(self.contradictions) < KEPT:
            self.contradictions.append(text)
        else:
            self.contradictions_more += 1

    def lose(self, why: str) -> None:
        """Count a line whose meaning has no place in a journal."""
        self.lost[why] = self.lost.get(why, 0) + 1

    @property
    def coverage(self) -> str:
        """One line: how much of the logs was understood."""
        share = f"{100 * self.understood / self.lines:.1f} %" if self.lines else "none"
        return (
            f"{self.lines} lines: {self.understood} understood ({share}), {self.unknown} unknown, "
            f"{self.unreadable} unreadable"
        )

    @property
    def sound(self) -> bool:
        """Whether nothing was refused, damaged or contradictory."""
        return not (self.refused or self.contradictions or any(file.damage for file in self.files))
