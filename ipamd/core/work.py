"""Continuations as data: what the pool lane is in the middle of, and at which step.

Upstream's pool loop is one goroutine that sleeps inside its calls. Here the same sequence is a value in State:
after a crash, in a replay or in a what-if it is read, not resumed. `WorkMoved` is the only event that sets it.
Steps are named after what is wanted next; each module that owns a kind of work (init, fill, grow, shed, resync,
watch) has one function that says what a step wants and one that says where an outcome leads.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from .calls import Ec2Call, HostCall, MetadataEni
from .kube import KubeCall
from .types import CidrText, EniId, Instant, IpText, Ipv4Text

Then: TypeAlias = Literal["free", "idle", "ready", "links"]
"""What follows a pool action: try to free an ENI (POOL-15 d), end the half-cycle, end node init, or go on with it."""


class _Work(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag=True):
    """Frozen, compared by value, encoded with its class name in the member `kind`."""


class Candidate(msgspec.Struct, frozen=True, omit_defaults=True):
    """An attached ENI on its way into a store (INIT-37). `addresses` are the secondary ones."""

    eni: EniId
    mac: str
    device: int
    card: int
    subnet: str
    subnet_cidr: CidrText
    primary_ip: IpText
    """Of the active family, as is `subnet_cidr`."""
    addresses: tuple[Ipv4Text, ...] = ()
    prefixes: tuple[CidrText, ...] = ()
    tags: dict[str, str] = {}
    kind: str = "interface"
    """EC2's InterfaceType (DM-53)."""


class Adoption(msgspec.Struct, frozen=True, omit_defaults=True):
    """Candidates still to be set up, head first: tag (INIT-24), check the subnet (POOL-46), in IPv6 mode see that
    there is a /80 (V6-4), host set-up, ready."""

    queue: tuple[Candidate, ...]
    step: Literal["tag", "check", "read_prefix", "assign_prefix", "host", "ready"] = "tag"
    attempt: int = 0
    due: Instant = 0
    excluded: tuple[str, ...] | None = None
    """Excluded subnets once DescribeSubnets was read; None before."""


class Init(_Work, frozen=True):
    """Node init (INIT-16..33). `seen` is instance metadata between the two halves of describe-all (EC2-30)."""

    step: Literal[
        "orphans",
        "drop",
        "metadata",
        "host",
        "describe",
        "subnets",
        "adopt",
        "links",
        "prune",
        "clean",
        "rules",
        "groups",
        "features",
        "prescale",
    ] = "orphans"
    seen: tuple[MetadataEni, ...] = ()
    missing: tuple[EniId, ...] = ()
    """Ids that EC2 does not know although metadata showed them (EC2-30)."""
    adoption: Adoption | None = None
    calls: tuple[Ec2Call | HostCall | KubeCall, ...] = ()
    attempt: int = 0
    due: Instant = 0
    lacking: bool = False
    """No ENI may serve pods: one is made once the others are adopted (INIT-23)."""


class Fill(_Work, frozen=True):
    """Adding addresses or prefixes to ENIs that have room (POOL-22..29). The head of `queue` is being filled."""

    queue: tuple[EniId, ...]
    wanted: int
    then: Then
    step: Literal["assign", "fallback", "reread"] = "assign"
    card: int = 0


class Grow(_Work, frozen=True):
    """Creating one ENI (POOL-30, EC2-1..14). `wanted` counts addresses or prefixes."""

    wanted: int
    then: Then
    card: int = 0
    step: Literal[
        "eniconfig",
        "subnets",
        "create",
        "seek",
        "index",
        "attach",
        "seek_attach",
        "modify",
        "wait",
        "adopt",
        "undo_detach",
        "undo_delete",
    ] = "subnets"
    subnets: tuple[str, ...] = ()
    """Subnets still to be tried, best first (POOL-43)."""
    groups: tuple[str, ...] | None = None
    """Security groups of the ENIConfig (POOL-39); None: the primary ENI's."""
    token: str = ""
    eni: EniId = ""
    attachment: str = ""
    device: int = -1
    adoption: Adoption | None = None
    error: str = ""
    """Why it is being undone."""
    code: str = ""
    """EC2's code of that error."""
    attempt: int = 0
    due: Instant = 0


class Trim(_Work, frozen=True):
    """Giving blocks back to EC2 after they left the store (POOL-31, POOL-32). Failures are only logged."""

    calls: tuple[Ec2Call, ...]
    then: Then
    card: int = 0


class Free(_Work, frozen=True):
    """The moment after an increase or a decrease at which an ENI may be freed (POOL-36)."""

    card: int = 0


class Turn(_Work, frozen=True):
    """The network cards that the pool update, or the increase at node init, has still to see to, in order (POOL-15)."""

    cards: tuple[int, ...]
    shrink: bool = True
    """Whether this update may scale down: decided once for all cards (POOL-16)."""
    then: Literal["idle", "ready"] = "idle"


class Shed(_Work, frozen=True):
    """Freeing one ENI that left the store (EC2-22, POOL-37)."""

    eni: EniId
    primary_ip: IpText
    step: Literal["describe", "detach", "delete", "rules"] = "describe"
    attachment: str = ""
    attempt: int = 0
    due: Instant = 0


class Resync(_Work, frozen=True):
    """Reconciling with instance metadata (REC-1..15)."""

    step: Literal["metadata", "describe", "metadata_again", "verify", "adopt"] = "metadata"
    asked: tuple[EniId, ...] = ()
    """Every ENI that metadata showed, to be described because one of them is unknown (REC-4)."""
    missing: tuple[EniId, ...] = ()
    """Of these the ones that EC2 does not know (EC2-30)."""
    verify: tuple[tuple[EniId, Literal["addresses", "prefixes", "held"]], ...] = ()
    """What still has to be asked of EC2, head first; `held` are expired cooldown entries (REC-10)."""
    seen: tuple[MetadataEni, ...] = ()
    tags: dict[EniId, dict[str, str]] = {}
    kinds: dict[EniId, str] = {}
    """EC2's InterfaceType of those that are not plain (DM-53)."""
    adoption: Adoption | None = None
    attempt: int = 0
    due: Instant = 0


class Sweep(_Work, frozen=True):
    """Leaked ENIs of one round (EC2-40..44): first those without a creation time are tagged, then the old ones go."""

    untagged: tuple[EniId, ...] = ()
    leaked: tuple[EniId, ...] = ()
    attempt: int = 0
    due: Instant = 0


class ApplyGroups(_Work, frozen=True):
    """Setting changed security groups on every ENI, ascending id (POOL-51)."""

    queue: tuple[EniId, ...]
    groups: tuple[str, ...]


class SyncHost(_Work, frozen=True):
    """The VPC's CIDRs changed: host rules are programmed again (INIT-30)."""


Work: TypeAlias = Init | Fill | Grow | Trim | Free | Turn | Shed | Resync | ApplyGroups | SyncHost | Sweep
