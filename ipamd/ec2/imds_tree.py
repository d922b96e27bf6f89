"""What instance metadata says of one instance, as a tree of names: all that ipamd reads (EC2-35..37), and what SDKs do.

    meta-data/  instance-id  instance-type  mac  local-ipv4  placement/  services/  iam/
                network/interfaces/macs/02:.../  interface-id  device-number  local-ipv4s  ipv4-prefix  ...
    dynamic/    instance-identity/document

A name that has nothing to say is left out: its reader gets 404, which is "none" (EC2-36).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from ipamd.core.types import SECOND, Instant

from .answers import InstanceMetadata, NetworkInterface, Subnet, Vpc
from .imds_server import Tree

ROLE: Final = "ipamd-emulator"
"""The instance's role; its keys open nothing but an emulator, which looks at no signature."""
CREDENTIALS_LIFE: Final = timedelta(hours=6)


def tree(shown: InstanceMetadata, now: Instant) -> Tree:
    """Everything below `/latest`. `now` only dates the credentials' end."""
    enis = shown.interfaces
    first = enis[0] if enis else None
    meta: dict[str, str | Tree] = {
        "ami-launch-index": "0",
        "iam": {"security-credentials": {ROLE: _credentials(now)}},
        "instance-id": shown.instance,
        "instance-life-cycle": "on-demand",
        "instance-type": shown.instance_type,
        "network": {"interfaces": {"macs": {eni.mac: _interface(eni, shown) for eni in enis}}},
        "placement": {"availability-zone": shown.zone, "region": shown.region},
        "services": {"domain": "amazonaws.com", "partition": "aws"},
    }
    if shown.tags:
        meta["tags"] = {"instance": dict(shown.tags)}
    if first is not None:
        meta["mac"] = first.mac
        meta["security-groups"] = "\n".join(first.security_groups)
        if first.addresses:
            meta["local-ipv4"] = first.addresses[0]
            meta["local-hostname"] = meta["hostname"] = _hostname(first, shown.region)
        if first.ipv6_addresses:
            meta["ipv6"] = first.ipv6_addresses[0]
    document = {"instance-identity": {"document": _document(shown, first)}}
    return {"dynamic": document, "meta-data": dict(sorted(meta.items()))}


def _interface(eni: NetworkInterface, shown: InstanceMetadata) -> Tree:
    """The directory of one MAC. An efa-only ENI has no addresses at all (EC2-37)."""
    subnet = shown.subnets[eni.subnet]
    listed = {
        "device-number": [str(eni.device)],
        "interface-id": [eni.eni],
        "ipv4-prefix": eni.prefixes,
        "ipv6-prefix": eni.ipv6_prefixes,
        "ipv6s": eni.ipv6_addresses,
        "local-hostname": [_hostname(eni, shown.region)] if eni.addresses else [],
        "local-ipv4s": eni.addresses,
        "mac": [eni.mac],
        "network-card": [str(eni.card)],
        "owner-id": [eni.owner],
        "security-group-ids": eni.security_groups,
        "subnet-id": [eni.subnet],
        **_ranges(subnet, shown.vpc),
        "vpc-id": [shown.vpc.vpc],
    }
    return {name: "\n".join(texts) for name, texts in listed.items() if any(texts)}


def _ranges(subnet: Subnet, vpc: Vpc) -> dict[str, list[str]]:
    cidrs = [a.cidr for a in vpc.cidrs]
    return {
        "subnet-ipv4-cidr-block": [subnet.cidr],
        "subnet-ipv6-cidr-blocks": [a.cidr for a in subnet.ipv6_cidrs],
        "vpc-ipv4-cidr-block": cidrs[:1],
        "vpc-ipv4-cidr-blocks": cidrs,
        "vpc-ipv6-cidr-blocks": [a.cidr for a in vpc.ipv6_cidrs],
    }


def _hostname(eni: NetworkInterface, region: str) -> str:
    domain = "ec2.internal" if region == "us-east-1" else f"{region}.compute.internal"
    return f"ip-{eni.addresses[0].replace('.', '-')}.{domain}"


def _document(shown: InstanceMetadata, first: NetworkInterface | None) -> str:
    document = {
        "accountId": shown.vpc.owner,
        "architecture": "x86_64",
        "availabilityZone": shown.zone,
        "imageId": None,
        "instanceId": shown.instance,
        "instanceType": shown.instance_type,
        "pendingTime": _iso(datetime.fromtimestamp(shown.launched_at // SECOND, UTC)),
        "privateIp": first.addresses[0] if first and first.addresses else None,
        "region": shown.region,
        "version": "2017-09-30",
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def _credentials(now: Instant) -> str:
    at = datetime.fromtimestamp(now // SECOND, UTC)
    keys = {
        "Code": "Success",
        "LastUpdated": _iso(at),
        "Type": "AWS-HMAC",
        "AccessKeyId": "ASIAEMULATOROFIPAMD1",
        "SecretAccessKey": "opens-nothing",
        "Token": "opens-nothing",
        "Expiration": _iso(at + CREDENTIALS_LIFE),
    }
    return msgspec.json.format(msgspec.json.encode(keys), indent=2).decode()


def _iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
