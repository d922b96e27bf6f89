"""Instance limits: how many ENIs and IPv4 addresses each instance type carries, as data.

The table (`instance_limits.json`, one type a line) holds the 1391 types that upstream v1.23.1 knows (LIM-1,
Appendix A) with the trunking flag of the VPC resource controller (LIM-9, Appendix B). Members that are left
out have the defaults of `Limits`. It is read once, on first use, in a few milliseconds.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import msgspec

DEFAULT_MAX_PODS: Final = 110
"""INIT-32: the figure where neither the API server nor the table says one."""
MANY_VCPUS: Final = 30
MAX_PODS_FEW_VCPUS: Final = 110
MAX_PODS_MANY_VCPUS: Final = 250
"""LIM-12: the caps of the AMI's recommendation, up to and above `MANY_VCPUS` default vCPUs."""


class Limits(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What one instance type carries (LIM-1)."""

    enis: int
    """ENIs, of the default card where there are several (LIM-2)."""
    ips_per_eni: int
    """IPv4 slots of one ENI: the primary address, secondary addresses and prefixes count one each."""
    hypervisor: str = "nitro"
    """`nitro`, `xen` or `unknown`."""
    bare_metal: bool = False
    cards: tuple[int, ...] = ()
    """ENIs of each network card by card index; empty: one card that carries `enis`."""
    trunking_compatible: bool = True

    @property
    def card_limits(self) -> tuple[int, ...]:
        """ENIs of each network card, one entry at least."""
        return self.cards or (self.enis,)

    @property
    def prefixes(self) -> bool:
        """Whether the type carries delegated prefixes (INIT-14): hypervisor nitro, or bare metal."""
        return self.hypervisor == "nitro" or self.bare_metal


class UnknownInstanceType(ValueError):
    """The table has no such type; the message names it, some that are alike, and the remedy."""

    def __init__(self, instance_type: str) -> None:
        from difflib import get_close_matches

        alike = get_close_matches(instance_type, _table(), n=3)
        known = len(_table())
        hint = f"did you mean {' or '.join(alike)}?" if alike else "want a name such as m5.large"
        super().__init__(
            f"instance type {instance_type[:100]!r}: not one of the {known} types with known limits; {hint}"
        )
        self.instance_type = instance_type


@cache
def _table() -> dict[str, Limits]:
    from importlib.resources import files

    text = files(__package__).joinpath("instance_limits.json").read_bytes()
    return msgspec.json.decode(text, type=dict[str, Limits])


def instance_types() -> tuple[str, ...]:
    """Every type of the table, sorted by name."""
    return tuple(_table())


def limits(instance_type: str) -> Limits | None:
    """The limits of one type, or None for a type the table lacks (LIM-6, LIM-8)."""
    return _table().get(instance_type)


def limits_of(instance_type: str) -> Limits:
    """The limits of one type; raises `UnknownInstanceType`."""
    found = _table().get(instance_type)
    if found is None:
        raise UnknownInstanceType(instance_type)
    return found


def prefix_delegation_supported(instance_type: str) -> bool:
    """INIT-14: hypervisor nitro or bare metal; an unknown type has neither (LIM-6)."""
    found = _table().get(instance_type)
    return found is not None and found.prefixes


def trunking_compatible(instance_type: str) -> bool:
    """LIM-9: a type that the controller's table lacks counts as compatible."""
    found = _table().get(instance_type)
    return found is None or found.trunking_compatible


def pods_by_limits(instance_type: str) -> int | None:
    """LIM-10: the row of the max-pods file, ENIs * (IPv4 per ENI - 1) + 2; None for an unknown type."""
    found = _table().get(instance_type)
    return None if found is None else found.enis * (found.ips_per_eni - 1) + 2


def max_pods(instance_type: str) -> int:
    """INIT-32 without an API server: the max-pods file's row (LIM-11), else 110."""
    pods = pods_by_limits(instance_type)
    return DEFAULT_MAX_PODS if pods is None else pods


def recommended_max_pods(
    found: Limits, *, prefixes: bool, vcpus: int | None, custom_networking: bool = False, max_eni: int = 0
) -> int:
    """LIM-12: what the EKS AMI recommends as kubelet's `--max-pods`. `vcpus=None` leaves the cap out.

    `prefixes` counts sixteen addresses a slot where the hypervisor is nitro; `max_eni` > 0 lowers the ENIs.
    """
    enis = min(found.enis, max_eni) if max_eni > 0 else found.enis
    slots = (enis - custom_networking) * (found.ips_per_eni - 1)
    pods = slots * (16 if prefixes and found.hypervisor == "nitro" else 1) + 2
    if vcpus is None:
        return pods
    return min(pods, MAX_PODS_MANY_VCPUS if vcpus > MANY_VCPUS else MAX_PODS_FEW_VCPUS)
