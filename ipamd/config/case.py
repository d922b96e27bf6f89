"""What the rules about a configuration read, and what they say."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from ipamd.core.settings import Settings
from ipamd.core.types import PREFIX_SIZE

from .load import Config

Kind: TypeAlias = Literal["starves", "flaps", "limits", "ignored", "risks"]


class Instance(msgspec.Struct, frozen=True):
    """What an instance type carries (LIM-1): ENIs, addresses for pods of one ENI, whether these may be prefixes."""

    name: str
    enis: int
    slots: int
    prefixes: bool
    max_pods: int
    """Of the node (INIT-32)."""
    cards: int = 1
    """Network cards."""
    trunks: bool = True
    """Whether it carries a trunk ENI (LIM-9)."""


class Verdict(msgspec.Struct, frozen=True):
    """One finding: what it is, which variables make it, why, the rules it follows from, and what to do."""

    kind: Kind
    names: tuple[str, ...]
    reason: str
    spec: tuple[str, ...]
    remedy: str = ""

    @property
    def text(self) -> str:
        """One line: the variables, the fact, the remedy, the rules."""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{', '.join(self.names)}: {self.reason}{remedy} ({', '.join(self.spec)})"


class Case(msgspec.Struct, frozen=True):
    """What the rules read."""

    config: Config
    settings: Settings
    instance: Instance

    @property
    def size(self) -> int:
        """Addresses of one block."""
        return PREFIX_SIZE if self.settings.prefix_delegation else 1

    @property
    def enis(self) -> int:
        """ENIs that may be attached (ENV-5)."""
        most = self.instance.enis
        return min(self.settings.max_eni, most) if self.settings.max_eni >= 1 else most

    @property
    def serving(self) -> int:
        """Those of them with addresses for pods: not the primary one of custom networking (POOL-42), no trunk."""
        trunk = self.settings.pod_eni and self.instance.trunks and not self.settings.ipv6
        return max(self.enis - self.settings.custom_networking - trunk, 0)

    @property
    def capacity(self) -> int:
        """Addresses for pods with every slot taken."""
        return self.serving * self.instance.slots * self.size

    @property
    def pods(self) -> int:
        """Pods with an address of their own that the node could have."""
        return min(self.capacity, self.instance.max_pods)

    @property
    def by_addresses(self) -> bool:
        """Whether the targets in addresses rule (POOL-2, POOL-3)."""
        return bool(self.settings.warm_ip_target or self.settings.minimum_ip_target)

    def chosen(self, name: str) -> bool:
        """Whether somebody set the variable."""
        return self.config.sources[name] != "default"
