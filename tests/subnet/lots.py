"""Subnets for the tests: facts in a line or two, and the guides' fragmented /24."""

from __future__ import annotations

from pathlib import Path

from ipamd.ec2.subnets.facts import EniFacts, Reservation, ReservationKind, SubnetFacts, checked
from ipamd.ec2.subnets.report import Asked, Report, picture, report

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "fragmented-subnet.json"
"""A /24 with one address in each of the 14 blocks that EC2 leaves whole."""
SUBNET = "subnet-1"


def eni(number: int, *addresses: str, instance: str = "", device: int = 0, **more: object) -> EniFacts:
    """An ENI; with an instance it is attached to it, and goes when the instance goes."""
    made = {"goes_with_instance": bool(instance), "attached": bool(instance), **more}
    there = device if instance else -1
    return EniFacts(f"eni-{number}", addresses, instance=instance, device=there, **made)  # type: ignore[arg-type]


def reserved(cidr: str, kind: ReservationKind = "prefix") -> Reservation:
    return Reservation(cidr, kind, f"scr-{cidr.partition('/')[0]}")


def lot(cidr: str, *enis: EniFacts, reservations: tuple[Reservation, ...] = (), **more: object) -> SubnetFacts:
    return checked(SubnetFacts(SUBNET, cidr, enis=enis, reservations=reservations, **more))  # type: ignore[arg-type]


def fragmented(*reservations: Reservation) -> SubnetFacts:
    """W-40: 10.0.0.0/24, one foreign address in each of the 14 blocks that EC2 leaves whole."""
    enis = [eni(block, f"10.0.0.{block * 16 + 5}", description="RDSNetworkInterface") for block in range(1, 15)]
    return lot("10.0.0.0/24", *enis, reservations=reservations)


def told(facts: SubnetFacts, asked: Asked = Asked()) -> Report:  # noqa: B008 - frozen
    return report(picture(facts, asked), asked, ())


def codes(facts: SubnetFacts, asked: Asked = Asked()) -> list[str]:  # noqa: B008 - frozen
    """Which advice there is."""
    return [advice.code for advice in told(facts, asked).advice]
