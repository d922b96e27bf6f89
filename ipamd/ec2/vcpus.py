"""How many vCPUs each instance type has by default, as data: what the cap on pods a node goes by (LIM-12).

The table (`instance_vcpus.json`) names its source and its date; `make limits` writes it again. It lacks a few
types that the table of limits has: what is not known is None, and is never guessed.
"""

from __future__ import annotations

from functools import cache

import msgspec


class VcpuTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    source: str
    """Which program's table it was taken from, with its version."""
    date: str
    """The day on which that version was first read, YYYY-MM-DD."""
    vcpus: dict[str, int]
    """Instance type -> default vCPUs, sorted by type."""


@cache
def vcpu_table() -> VcpuTable:
    """The table that comes with the program; read once."""
    from importlib.resources import files

    return msgspec.json.decode(files(__package__).joinpath("instance_vcpus.json").read_bytes(), type=VcpuTable)


def vcpus(instance_type: str) -> int | None:
    """Default vCPUs of one type; None for a type that the table lacks."""
    return vcpu_table().vcpus.get(instance_type)
