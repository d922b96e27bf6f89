"""Tags: on every thing that has an id."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from ipamd.core.calls import Failed

from . import answers, refusals
from .requests import CreateTags, DeleteTags
from .rows import Effect, EniRow, GroupRow, InstanceRow, ReservationRow, SubnetRow, VpcRow
from .state import Vpc

TAGS_MAX: Final = 50
Tagged: TypeAlias = VpcRow | SubnetRow | ReservationRow | GroupRow | InstanceRow | EniRow

PREFIXES: Final = {
    "eni": "network-interface",
    "i": "instance",
    "subnet": "subnet",
    "vpc": "vpc",
    "sg": "security-group",
    "scr": "subnet-cidr-reservation",
}
"""EC2's words for things, by how their ids begin."""


def create(vpc: Vpc, request: CreateTags) -> Effect | Failed:
    """EC2-15: the tags given replace those of the same key; the others stay. All resources or none."""
    found = _resources(vpc, request.resources)
    if isinstance(found, Failed):
        return found
    if not request.tags:
        return refusals.missing("tag")
    rows = []
    for row in found:
        wrong = wrong_tags(row.tags, request.tags)
        if wrong is not None:
            return wrong
        rows.append(msgspec.structs.replace(row, tags=row.tags | request.tags))
    return Effect(answers.Done(), tuple(rows))


def delete(vpc: Vpc, request: DeleteTags) -> Effect | Failed:
    """Tags by key, with a value only if the tag has it; no keys: every tag. What is not there is no error."""
    found = _resources(vpc, request.resources)
    if isinstance(found, Failed):
        return found
    rows = []
    for row in found:
        left = {
            key: value
            for key, value in row.tags.items()
            if request.tags and (key not in request.tags or request.tags[key] not in (None, value))
        }
        if left != row.tags:
            rows.append(msgspec.structs.replace(row, tags=left))
    return Effect(answers.Done(), tuple(rows))


def find(vpc: Vpc, resource: str) -> Tagged | None:
    """The row of an id; a default group without a row of its own has one made for it."""
    found = (
        vpc.enis.get(resource)
        or vpc.instances.get(resource)
        or vpc.subnets.get(resource)
        or vpc.vpcs.get(resource)
        or vpc.groups.get(resource)
        or vpc.reservations.get(resource)
    )
    return found or next((default_group(row) for row in vpc.vpcs.values() if row.default_group == resource), None)


def default_group(row: VpcRow) -> GroupRow:
    """The group that every VPC has."""
    return GroupRow(row.default_group, "default", row.vpc, "default VPC security group")


def _resources(vpc: Vpc, names: tuple[str, ...]) -> list[Tagged] | Failed:
    if not names:
        return refusals.missing("resourceId")
    found = []
    for name in dict.fromkeys(names):
        row = find(vpc, name)
        if row is None:
            kind = PREFIXES.get(name.partition("-")[0])
            return refusals.no_such(kind, name) if kind else refusals.no_such_id(name)
        found.append(row)
    return found


def wrong_tags(had: dict[str, str], more: dict[str, str]) -> Failed | None:
    """What is wrong with tags that are to be added to `had`."""
    bad = next((key for key in more if not key or len(key) > 128 or key.startswith("aws:")), None)
    if bad is not None:
        return refusals.invalid("tag key", bad, "want 1 to 128 characters that do not begin with aws:")
    bad = next((key for key, value in more.items() if len(value) > 256), None)
    if bad is not None:
        return refusals.invalid("tag value", more[bad], "want 256 characters at most")
    return refusals.too_many_tags() if len(had | more) > TAGS_MAX else None
