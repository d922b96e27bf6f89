"""Files that hold a state instead of a story: ipam.json, dumps of /v1/enis, settings, metrics, an instance's id.

Recognised by what they hold, not by their names: `metrics.json` of a bundle is text, and any file may be an error page.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from ipamd.core.types import CidrText, EniId, Instant, IpText, Pod, Sandbox

from .addresses import canonical, is_address, is_block
from .lines import instant

Kind: TypeAlias = Literal["checkpoint", "enis", "metrics", "settings", "fact"]
_METRIC: Final = re.compile(r"^(awscni_\w+)(?:\{([^}]*)\})? (-?[\d.eE+]+)", re.MULTILINE)
_INSTANCE: Final = re.compile(rb"\s*(i-[0-9a-f]{8,17})\s*")
_NEVER: Final = "0001-01-01"


class HeldAddress(NamedTuple):
    """Who holds an address. `at` is when it was given (0: not told); a container of "" was blanked."""

    address: IpText
    sandbox: Sandbox
    pod: Pod
    at: Instant


class ShownEni(NamedTuple):
    """One ENI of a dump: its blocks, and whoever holds something of them."""

    eni: EniId
    device: int
    card: int
    primary: bool
    trunk: bool
    efa: bool
    excluded: bool
    table: int
    subnet: str
    cidrs: tuple[CidrText, ...]
    held: tuple[HeldAddress, ...]


class Snapshot(NamedTuple):
    """What the state files told. `at` is the dump's time."""

    at: Instant
    enis: tuple[ShownEni, ...] | None = None
    held: tuple[HeldAddress, ...] | None = None
    figures: dict[str, float] | None = None
    env: dict[str, str] | None = None
    instance: str = ""


class _Metadata(msgspec.Struct):
    k8sPodNamespace: str = ""
    k8sPodName: str = ""
    interfacesCount: int = 0


class _Allocation(msgspec.Struct):
    containerID: str
    networkName: str = ""
    ifName: str = ""
    ipv4: str = ""
    ipv6: str = ""
    allocationTimestamp: int = 0
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


class _Checkpoint(msgspec.Struct):
    version: str
    allocations: list[_Allocation] | None = None


class _Key(msgspec.Struct):
    networkName: str = ""
    containerID: str = ""
    ifName: str = ""


class _Address(msgspec.Struct):
    Address: str = ""
    IPAMKey: _Key = msgspec.field(default_factory=_Key)
    IPAMMetadata: _Metadata = msgspec.field(default_factory=_Metadata)
    AssignedTime: str = ""


class _Cidr(msgspec.Struct):
    IPAddresses: dict[str, _Address] | None = None
    IPv4Addresses: dict[str, _Address] | None = None


class _Eni(msgspec.Struct):
    ID: str = ""
    IsPrimary: bool = False
    IsTrunk: bool = False
    IsEFA: bool = False
    IsExcludedForPodIPs: bool = False
    DeviceNumber: int = -1
    RouteTableID: int = -1
    SubnetID: str = ""
    AvailableIPv4Cidrs: dict[str, _Cidr] | None = None
    IPv6Cidrs: dict[str, _Cidr] | None = None


class _Store(msgspec.Struct):
    ENIs: dict[str, _Eni] | None = None
    TotalIPs: int = 0
    AssignedIPs: int = 0


def recognise(name: str, head: bytes) -> Kind | None:
    """What a file seems to be, judged by how it begins; None: no state file that we know."""
    begin = head.lstrip()
    if begin.startswith(b"{"):
        if b'"vpc-cni-ipam/' in head and b'"allocations"' in head:
            return "checkpoint"
        if b'"ENIs"' in head and b'"TotalIPs"' in head:
            return "enis"
        if b'"WARM_' in head or b'"AWS_VPC_' in head:
            return "settings"
        return None
    if b"awscni_" in head and b"# TYPE" in head:
        return "metrics"
    if name.rpartition("/")[2] == "instance-id.txt" and _INSTANCE.fullmatch(head):
        return "fact"
    return None


def read(kind: Kind, text: bytes, at: Instant, card: int = 0) -> Snapshot:
    """The file's content. Raises msgspec.MsgspecError or ValueError where it is not what it seemed to be."""
    match kind:
        case "checkpoint":
            return Snapshot(at, held=_checkpoint(msgspec.json.decode(text, type=_Checkpoint)))
        case "enis":
            return Snapshot(at, enis=tuple(_enis(text)))
        case "settings":
            told = msgspec.json.decode(text, type=dict[str, object])
            return Snapshot(at, env={key: _plain(value) for key, value in told.items()})
        case "metrics":
            return Snapshot(at, figures=_metrics(text.decode("utf-8", "replace")))
        case "fact":
            return Snapshot(at, instance=text.strip().decode())


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _checkpoint(document: _Checkpoint) -> tuple[HeldAddress, ...]:
    if document.version != "vpc-cni-ipam/1":
        raise ValueError(f"checkpoint version {document.version[:40]!r}: want vpc-cni-ipam/1")
    return tuple(
        HeldAddress(
            canonical(row.ipv4 or row.ipv6),
            Sandbox(row.networkName, row.containerID, row.ifName),
            Pod(row.metadata.k8sPodNamespace, row.metadata.k8sPodName, row.metadata.interfacesCount),
            row.allocationTimestamp,
        )
        for row in document.allocations or ()
        if is_address(canonical(row.ipv4 or row.ipv6))
    )


def _enis(text: bytes) -> list[ShownEni]:
    """Since v1.20 stores keyed by network card, before that one store."""
    try:
        stores = msgspec.json.decode(text, type=dict[str, _Store])
    except msgspec.ValidationError:
        stores = {"0": msgspec.json.decode(text, type=_Store)}
    return [
        _eni(eni, shown, int(card) if card.isdigit() and len(card) < 3 else 0)
        for card, store in stores.items()
        for eni, shown in (store.ENIs or {}).items()
    ]


def _eni(eni: EniId, shown: _Eni, card: int) -> ShownEni:
    both = [*(shown.AvailableIPv4Cidrs or {}).items(), *(shown.IPv6Cidrs or {}).items()]
    blocks = {canonical(cidr): block for cidr, block in both if is_block(canonical(cidr))}
    held = [
        HeldAddress(
            canonical(address),
            Sandbox(row.IPAMKey.networkName, row.IPAMKey.containerID, row.IPAMKey.ifName),
            Pod(row.IPAMMetadata.k8sPodNamespace, row.IPAMMetadata.k8sPodName, row.IPAMMetadata.interfacesCount),
            0 if row.AssignedTime.startswith(_NEVER) else instant(row.AssignedTime) or 0,
        )
        for block in blocks.values()
        for address, row in (block.IPAddresses or block.IPv4Addresses or {}).items()
        if (row.IPAMKey.networkName or row.IPAMMetadata.k8sPodName) and is_address(canonical(address))
    ]
    return ShownEni(
        shown.ID or eni, shown.DeviceNumber, card, shown.IsPrimary, shown.IsTrunk, shown.IsEFA,
        shown.IsExcludedForPodIPs, shown.RouteTableID, shown.SubnetID, tuple(blocks), tuple(held),
    )  # fmt: skip


def _metrics(text: str) -> dict[str, float]:
    """Families without labels by name; of those with labels the sum."""
    figures: dict[str, float] = {}
    for name, _, value in _METRIC.findall(text):
        figures[name] = figures.get(name, 0.0) + float(value)
    return figures
