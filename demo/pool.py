"""/v1/enis as the walk needs it: who holds which address, what was released when, and a table."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from rich import box
from rich.table import Table

NEVER: Final = datetime(1, 1, 1, tzinfo=UTC)
COOLDOWN_SECONDS: Final = 30
"""IP_COOLDOWN_PERIOD, which the walk leaves at its default."""


class Row(NamedTuple):
    """One prefix of one ENI. `pods` holds an address each, `cooling` addresses were released within the cooldown."""

    device: int
    eni: str
    prefix: str
    size: int
    pods: int
    cooling: int


class Held(NamedTuple):
    """One address with a record: the pod that holds it ("" if none) and when that began or ended."""

    address: str
    pod: str
    assigned_at: datetime
    released_at: datetime


def rows(enis: dict[str, Any], now: datetime) -> list[Row]:
    """Prefixes by device and address."""
    found = []
    for eni in sorted(enis["ENIs"].values(), key=lambda eni: int(eni["DeviceNumber"])):
        for cidr, block in sorted(eni["AvailableIPv4Cidrs"].items(), key=lambda item: _order(item[0])):
            records = list(_records(block))
            cooling = sum(not held.pod and _seconds(held.released_at, now) <= COOLDOWN_SECONDS for held in records)
            pods = sum(bool(held.pod) for held in records)
            found.append(Row(eni["DeviceNumber"], eni["ID"], cidr, _size(block), pods, cooling))
    return found


def held(enis: dict[str, Any]) -> dict[str, Held]:
    """Every address that ever served a pod, by address."""
    blocks = (block for eni in enis["ENIs"].values() for block in eni["AvailableIPv4Cidrs"].values())
    return {record.address: record for block in blocks for record in _records(block)}


def by_pod(enis: dict[str, Any]) -> dict[str, str]:
    """Pod -> address, of the pods that hold one."""
    return {record.pod: record.address for record in held(enis).values() if record.pod}


def table(enis: dict[str, Any], title: str, now: datetime) -> Table:
    """The pool by ENI and prefix, for people."""
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("device", "ENI", "prefix", "pods", "cooling", "free"):
        made.add_column(name, justify="left" if name in ("ENI", "prefix") else "right")
    listed = rows(enis, now)
    for place, row in enumerate(listed):
        first = place == 0 or listed[place - 1].eni != row.eni
        free = row.size - row.pods - row.cooling
        whose = (str(row.device), row.eni) if first else ("", "")
        made.add_row(*whose, row.prefix, str(row.pods), str(row.cooling), str(free))
    pods, cooling = sum(row.pods for row in listed), sum(row.cooling for row in listed)
    size = sum(row.size for row in listed)
    made.add_section()
    made.add_row("", f"{len({row.eni for row in listed})} ENIs", f"{len(listed)} prefixes", str(pods), str(cooling),
                 str(size - pods - cooling))  # fmt: skip
    return made


def _records(block: dict[str, Any]) -> Iterator[Held]:
    for record in block["IPAddresses"].values():
        pod = record["IPAMMetadata"].get("k8sPodName", "") if record["IPAMKey"]["networkName"] else ""
        yield Held(record["Address"], pod, _time(record["AssignedTime"]), _time(record["UnassignedTime"]))


def _size(block: dict[str, Any]) -> int:
    """Addresses of a block, from its mask (base64 of four bytes)."""
    ones = int.from_bytes(base64.b64decode(block["Cidr"]["Mask"])).bit_count()
    return 1 << 32 - ones


def _order(cidr: str) -> tuple[int, ...]:
    return tuple(int(part) for part in cidr.partition("/")[0].split("."))


def _time(text: str) -> datetime:
    """RFC 3339 as Go writes it; Python takes six digits of the second at most."""
    whole, dot, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}{dot}{fraction[:6].ljust(6, '0') if dot else ''}+00:00")


def _seconds(since: datetime, until: datetime) -> float:
    return (until - since).total_seconds() if since != NEVER else float("inf")
