"""What boto3's describe calls are asked and what their answers show. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ipamd.core.calls import Attachment, AttachmentsView, Ec2Eni, EnisView, FindNetworkInterfaces, Subnet, SubnetsView
from ipamd.core.types import ConnectionTracking

Json = Mapping[str, Any]

TRACKING: Final = {
    "TcpEstablishedTimeout": "tcp_established",
    "UdpStreamTimeout": "udp_stream",
    "UdpTimeout": "udp",
}
"""EC2's names of the timeouts of connection tracking, and ours."""
PAGE: Final = 1000
"""ENIs on one page (EC2-42); EC2 takes no page size together with ids."""


def by_ids(ids: tuple[str, ...], vpc: str) -> dict[str, Any]:
    """DescribeNetworkInterfaces of these ENIs (EC2-30), or of all the VPC's for no ids."""
    if ids:
        return {"NetworkInterfaceIds": list(ids)}
    return {"Filters": _filters({"vpc-id": vpc}), "MaxResults": PAGE}


def unattached(look: FindNetworkInterfaces, vpc: str) -> dict[str, Any]:
    """DescribeNetworkInterfaces of what hangs on nothing in the VPC and carries all the tags (EC2-42)."""
    tags = {f"tag:{key}": value for key, value in sorted(look.tags.items())}
    return {"Filters": _filters({"status": "available", "vpc-id": vpc, **tags}), "MaxResults": PAGE}


def subnets_of(vpc: str, zone: str) -> dict[str, Any]:
    """DescribeSubnets of the VPC in the zone (POOL-43)."""
    return {"Filters": _filters({"vpc-id": vpc, "availability-zone": zone})}


def _filters(values: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"Name": name, "Values": [value]} for name, value in values.items()]


def enis_view(rows: Iterable[Json], ids: tuple[str, ...] = ()) -> EnisView:
    """ENIs in the order asked for, in EC2's where none was."""
    enis = [eni(row) for row in rows]
    if ids:
        place = {name: number for number, name in reversed(list(enumerate(ids)))}
        enis.sort(key=lambda found: place.get(found.eni, len(ids)))
    return EnisView(tuple(enis))


def eni(row: Json) -> Ec2Eni:
    """One member of DescribeNetworkInterfaces."""
    attachment: Json = row.get("Attachment") or {}
    return Ec2Eni(
        eni=row["NetworkInterfaceId"],
        mac=row.get("MacAddress", ""),
        subnet=row.get("SubnetId", ""),
        status=row.get("Status", ""),
        addresses=addresses_of(row),
        prefixes=prefixes_of(row),
        attachment=attachment.get("AttachmentId", ""),
        instance=attachment.get("InstanceId", ""),
        device=attachment.get("DeviceIndex", -1),
        card=attachment.get("NetworkCardIndex", 0),
        delete_on_termination=attachment.get("DeleteOnTermination", False),
        interface_type=row.get("InterfaceType", "interface"),
        description=row.get("Description", ""),
        tags=tags_of(row.get("TagSet")),
        security_groups=tuple(group["GroupId"] for group in row.get("Groups") or ()),
        ipv6_addresses=ipv6_addresses_of(row),
        ipv6_prefixes=tuple(prefix["Ipv6Prefix"] for prefix in row.get("Ipv6Prefixes") or ()),
        tracking=tracking_of(row.get("ConnectionTrackingConfiguration")),
    )


def tracked(tracking: ConnectionTracking) -> dict[str, int]:
    """Timeouts as EC2 names them, those that are set (EC2-34)."""
    told = {name: getattr(tracking, member) for name, member in TRACKING.items()}
    return {name: seconds for name, seconds in told.items() if seconds is not None}


def tracking_of(row: Json | None) -> ConnectionTracking | None:
    """Timeouts of what EC2 tells of them; None where none is set."""
    known = {member: row[name] for name, member in TRACKING.items() if row and row.get(name) is not None}
    return ConnectionTracking(**known) if known else None


def addresses_of(row: Json) -> tuple[str, ...]:
    """IPv4 addresses of an ENI, the primary one first, the others in EC2's order."""
    listed = row.get("PrivateIpAddresses") or ()
    first = [address["PrivateIpAddress"] for address in listed if address.get("Primary")]
    others = [address["PrivateIpAddress"] for address in listed if not address.get("Primary")]
    return (*first, *others)


def ipv6_addresses_of(row: Json) -> tuple[str, ...]:
    """IPv6 addresses of an ENI in EC2's order."""
    return tuple(address["Ipv6Address"] for address in row.get("Ipv6Addresses") or ())


def prefixes_of(row: Json) -> tuple[str, ...]:
    """IPv4 prefixes of an ENI in EC2's order."""
    return tuple(prefix["Ipv4Prefix"] for prefix in row.get("Ipv4Prefixes") or ())


def tags_of(rows: Iterable[Json] | None) -> dict[str, str]:
    """Tags by key."""
    return {tag["Key"]: tag.get("Value", "") for tag in rows or ()}


def attachments_view(instance: Json) -> AttachmentsView:
    """The ENIs of one instance of DescribeInstances, by card and device (EC2-5)."""
    found = [
        Attachment(
            row["NetworkInterfaceId"],
            row["Attachment"].get("DeviceIndex", -1),
            row["Attachment"].get("NetworkCardIndex", 0),
        )
        for row in instance.get("NetworkInterfaces") or ()
        if row.get("Attachment")
    ]
    return AttachmentsView(tuple(sorted(found, key=lambda seen: (seen.card, seen.device))))


def subnets_view(rows: Iterable[Json]) -> SubnetsView:
    """Subnets in EC2's order."""
    return SubnetsView(
        tuple(
            Subnet(
                row["SubnetId"],
                row["CidrBlock"],
                row["AvailableIpAddressCount"],
                row.get("AvailabilityZone", ""),
                tags_of(row.get("Tags")),
            )
            for row in rows
        )
    )
