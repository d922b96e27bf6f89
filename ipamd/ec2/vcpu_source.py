"""Writes the vCPU table from moto's table of instance types: `python -m ipamd.ec2.vcpu_source FILE` (`make limits`).

Only types with known limits are taken. Written again from the same source it is the same file, date included.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from .limits import instance_types
from .vcpus import VcpuTable


def table(described: Mapping[str, Any], source: str, date: str) -> VcpuTable:
    """The vCPUs out of what DescribeInstanceTypes tells of each type. Raises ValueError for a count below 1."""
    found: dict[str, int] = {}
    for name in instance_types():
        count = described.get(name, {}).get("VCpuInfo", {}).get("DefaultVCpus")
        if count is None:
            continue
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"{source}: {name} has {count!r} vCPUs; want a whole number of 1 or more")
        found[name] = count
    return VcpuTable(source, date, found)


def text(written: VcpuTable) -> bytes:
    """The file's bytes: one type a line, so that a newer table is a short difference."""
    head = {"source": written.source, "date": written.date}
    rows = ",\n".join(f'"{name}":{count}' for name, count in written.vcpus.items())
    return msgspec.json.encode(head)[:-1] + b',"vcpus":{\n' + rows.encode() + b"\n}}\n"


def write(path: Path, described: Mapping[str, Any], source: str, today: str) -> VcpuTable:
    """Write the table; the date stays as it was if nothing else is new. Raises OSError or ValueError."""
    fresh = table(described, source, today)
    if path.exists():
        old = msgspec.json.decode(path.read_bytes(), type=VcpuTable)
        if (old.source, old.vcpus) == (fresh.source, fresh.vcpus):
            fresh = old
    path.write_bytes(text(fresh))
    return fresh


def moto_source() -> tuple[dict[str, Any], str]:
    """moto's table of instance types and its name. Raises ImportError where moto is not installed."""
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    return INSTANCE_TYPES, f"moto {version('moto')}, ec2/resources/instance_types.json"


if __name__ == "__main__":
    write(Path(sys.argv[1]), *moto_source(), f"{datetime.now(UTC):%Y-%m-%d}")
