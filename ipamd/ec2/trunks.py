"""Branch ENIs on trunk ENIs: one association each, told apart by VLAN (WIN-136..140)."""

from __future__ import annotations

from typing import Final

import msgspec

from ipamd.core.calls import Failed
from ipamd.core.types import Instant

from . import answers, refusals
from .describe import trunk_association
from .interfaces import repeated
from .requests import AssociateTrunkInterface, DisassociateTrunkInterface
from .rows import Effect, UsedToken, identifier
from .state import Vpc

VLANS: Final = range(1, 4095)


def associate(vpc: Vpc, request: AssociateTrunkInterface, now: Instant) -> Effect | Failed:
    """An unattached ENI without association becomes a branch of the trunk, in its availability zone."""
    used = repeated(vpc, request, now) if request.token else None
    if used is not None:
        return used
    branch, trunk = vpc.enis.get(request.branch), vpc.enis.get(request.trunk)
    if branch is None or trunk is None:
        return refusals.no_such_eni(request.branch if branch is None else request.trunk)
    if trunk.interface_type != "trunk":
        return refusals.not_a_trunk(trunk.eni)
    if branch.interface_type not in ("interface", "branch"):
        return refusals.not_a_branch(branch.eni, f"it is of type {branch.interface_type}")
    if branch.attachment:
        return refusals.not_a_branch(branch.eni, "it is attached to an instance")
    if branch.association:
        return refusals.not_a_branch(branch.eni, f"it is associated with {branch.trunk}")
    if vpc.subnets[branch.subnet].zone != vpc.subnets[trunk.subnet].zone:
        return refusals.not_a_branch(branch.eni, "it is in another availability zone than its trunk")
    if request.vlan not in VLANS:
        return refusals.invalid("vlanId", request.vlan, f"want {VLANS.start} to {VLANS.stop - 1}")
    if any(vpc.enis[e].vlan == request.vlan for e in vpc.branches.get(trunk.eni, ())):
        return refusals.vlan_in_use(request.vlan, trunk.eni)
    row = msgspec.structs.replace(
        branch,
        interface_type="branch",
        association=identifier("trunk-assoc", vpc.settings.seed, vpc.serial + 1),
        trunk=trunk.eni,
        vlan=request.vlan,
    )
    answer = trunk_association(row)
    if not request.token:
        return Effect(answer, (row,))
    return Effect(answer, (row, UsedToken(request.token, request, answer, now)))


def disassociate(vpc: Vpc, request: DisassociateTrunkInterface) -> Effect | Failed:
    """The branch is on no trunk any more."""
    name = vpc.associations.get(request.association)
    if name is None:
        return refusals.no_such("trunk-association", request.association)
    row = msgspec.structs.replace(vpc.enis[name], association="", trunk="", vlan=0)
    return Effect(answers.Done(), (row,))
