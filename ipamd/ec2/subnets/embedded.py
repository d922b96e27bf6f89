"""Facts from the embedded cloud of a state directory, whether or not a daemon has it open.

The daemon holds the cloud's lock and may be writing, so a copy of the log is opened instead: the directory is only
read. A change that is half written when the copy is taken has been told to nobody, and is not in it.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from ipamd.ec2.cloudlog import CloudError
from ipamd.ec2.embedded import EmbeddedCloud
from ipamd.ec2.rows import EniRow, ReservationRow
from ipamd.ec2.state import Vpc

from .facts import TRUNK_TAG, EniFacts, Reservation, ReservationKind, SubnetFacts, checked

LOG = Path("cloud") / "cloud.jsonl"


def subnets(directory: Path) -> list[SubnetFacts]:
    """The subnets of DIRECTORY/cloud. Raises `CloudError`, or `CloudDamaged` naming the line."""
    log = directory / LOG
    with tempfile.TemporaryDirectory(prefix="ipamd-subnet-") as place:
        copy = Path(place)
        (copy / LOG).parent.mkdir()
        try:
            shutil.copyfile(log, copy / LOG)
        except FileNotFoundError:
            raise CloudError(
                f"{directory}: has no embedded cloud ({LOG} is missing); name the --state-dir of an `ipamd run` on the "
                "embedded cloud, or ask another backend by --endpoint"
            ) from None
        except OSError as error:
            raise CloudError(f"{log}: cannot be read: {error.strerror}; make it readable") from error
        try:
            cloud = EmbeddedCloud.open(copy)
        except CloudError as error:
            raise CloudError(str(error).replace(str(copy), str(directory))) from error
        asyncio.run(cloud.close())
        return facts_of(cloud.vpc)


def facts_of(vpc: Vpc) -> list[SubnetFacts]:
    """Every IPv4 subnet of a cloud's model, in the order they were made."""
    enis: dict[str, list[EniFacts]] = {}
    for eni in vpc.enis.values():
        enis.setdefault(eni.subnet, []).append(_eni(eni))
    reservations: dict[str, list[Reservation]] = {}
    for reservation in vpc.reservations.values():
        if ":" not in reservation.cidr:
            reservations.setdefault(reservation.subnet, []).append(_reservation(reservation))
    return [
        checked(
            SubnetFacts(
                subnet=row.subnet,
                cidr=row.cidr,
                zone=row.zone,
                vpc=vpc.vpc_of(row.subnet).vpc,
                name=row.tags.get("Name", ""),
                reservations=tuple(reservations.get(row.subnet, ())),
                enis=tuple(enis.get(row.subnet, ())),
            )
        )
        for row in vpc.subnets.values()
    ]


def _eni(row: EniRow) -> EniFacts:
    return EniFacts(
        eni=row.eni,
        addresses=row.addresses,
        prefixes=row.prefixes,
        interface_type=row.interface_type,
        description=row.description,
        instance=row.instance if row.attachment else "",
        device=row.device if row.attachment else -1,
        attached=bool(row.attachment),
        goes_with_instance=row.delete_on_termination,
        trunk=row.trunk or row.tags.get(TRUNK_TAG, ""),
        tags=row.tags,
    )


def _reservation(row: ReservationRow) -> Reservation:
    kind: ReservationKind = "prefix" if row.reservation_type == "prefix" else "explicit"
    return Reservation(row.cidr, kind, row.reservation, row.description)
