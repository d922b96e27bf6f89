"""kubelet's `--max-pods` as the EKS AMI recommends it for one instance type, with the figures it comes from (LIM-12).

The rule is `limits.recommended_max_pods`; here stand what it is asked with and what a reader should be told: which
prefixes do not count and why, and what is not known.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from .limits import MANY_VCPUS, MAX_PODS_FEW_VCPUS, MAX_PODS_MANY_VCPUS, limits_of, recommended_max_pods
from .vcpus import vcpu_table, vcpus

PREFIXES_SINCE: Final = (1, 9)
"""The first minor version of the VPC CNI that delegates prefixes."""
_VERSION = re.compile(r"v?([0-9]{1,4})\.([0-9]{1,4})(?:[.+-][0-9A-Za-z.+-]*)?", re.ASCII)


class Asked(msgspec.Struct, frozen=True):
    """What the recommendation depends on, besides the type."""

    prefix_delegation: bool = False
    custom_networking: bool = False
    max_eni: int = 0
    """0: as many ENIs as the type carries."""
    cni_version: tuple[int, int] = (1, 23)
    """Major and minor."""


class MaxPods(msgspec.Struct, frozen=True):
    """The recommendation for one type and how it comes about; what `ipamd max-pods --json` prints."""

    instance_type: str
    max_pods: int
    """The recommendation; the uncapped figure where the vCPUs are not known."""
    uncapped: int
    """Addresses for pods with every ENI full, and two pods of the host network."""
    cap: int | None
    """110 up to 30 vCPUs, 250 above; None where the vCPUs are not known."""
    vcpus: int | None
    enis: int
    """ENIs that carry pods."""
    ips_per_eni: int
    """IPv4 slots of one ENI; its primary address takes one of them."""
    prefixes: bool
    """Whether a slot counts as a prefix of 16 addresses."""
    notes: tuple[str, ...]


def max_pods(instance_type: str, asked: Asked) -> MaxPods:
    """The recommendation for one type. Raises `UnknownInstanceType`."""
    found = limits_of(instance_type)
    wanted = asked.prefix_delegation and asked.cni_version >= PREFIXES_SINCE
    known = vcpus(instance_type)
    uncapped, pods = (
        recommended_max_pods(
            found,
            prefixes=wanted,
            vcpus=count,
            custom_networking=asked.custom_networking,
            max_eni=asked.max_eni,
        )
        for count in (None, known)
    )
    enis = min(found.enis, asked.max_eni) if asked.max_eni else found.enis
    return MaxPods(
        instance_type=instance_type,
        max_pods=pods,
        uncapped=uncapped,
        cap=None if known is None else MAX_PODS_MANY_VCPUS if known > MANY_VCPUS else MAX_PODS_FEW_VCPUS,
        vcpus=known,
        enis=enis - asked.custom_networking,
        ips_per_eni=found.ips_per_eni,
        prefixes=wanted and found.hypervisor == "nitro",
        notes=tuple(_notes(instance_type, found.hypervisor, asked, known)),
    )


def _notes(instance_type: str, hypervisor: str, asked: Asked, known: int | None) -> list[str]:
    notes = []
    if asked.prefix_delegation and asked.cni_version < PREFIXES_SINCE:
        major, minor = asked.cni_version
        notes.append(f"VPC CNI {major}.{minor} delegates no prefixes: want 1.9 or newer; counted without them")
    elif asked.prefix_delegation and hypervisor != "nitro":
        notes.append(
            f"{instance_type} has hypervisor {hypervisor}: the recommendation counts prefixes on Nitro types alone; "
            "counted without them"
        )
    if known is None:
        notes.append(
            f"{instance_type}: {vcpu_table().source} ({vcpu_table().date}) does not say how many vCPUs it has, "
            f"so the figure is not capped; cap it at {MAX_PODS_FEW_VCPUS} up to {MANY_VCPUS} vCPUs, "
            f"at {MAX_PODS_MANY_VCPUS} above"
        )
    return notes


def minor_version(text: str) -> tuple[int, int]:
    """`1.9.0`, `v1.9.0-eksbuild.1` or `1.9` as (1, 9). Raises ValueError."""
    found = _VERSION.fullmatch(text)
    if found is None:
        raise ValueError(f'"{text[:40]}": want a version such as 1.9.0')
    return int(found[1]), int(found[2])
