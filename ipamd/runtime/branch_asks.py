"""What the controller asks of EC2 for trunks and branches: each call of the machine is a few requests (WIN-138..143).

Tags tell what belongs to whom, so whatever a crash leaves half done is found when the trunk is opened anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ipamd.core.branch_calls import (
    Available,
    Branch,
    BranchesFound,
    BranchFacts,
    DropBranch,
    FindBranches,
    MakeBranch,
    OpenTrunk,
    TrunkFacts,
)
from ipamd.core.calls import ENI_NOT_FOUND, Done, Failed, Lost
from ipamd.core.types import CallId
from ipamd.ec2 import answers, requests
from ipamd.ec2.limits import limits

from .clock import Clock
from .fleet_asks import FleetAsks

TRUNK: Final = "aws-k8s-trunk-eni"
BRANCH: Final = "aws-k8s-branch-eni"
OWNER_TAG: Final = "eks:eni:owner"
OWNER: Final = "eks-vpc-resource-controller"
CNI: Final = "amazon-vpc-cni"
INSTANCE_TAG: Final = "node.k8s.amazonaws.com/instance_id"
VLAN_TAG: Final = "vpcresources.k8s.aws/vlan-id"
TRUNK_TAG: Final = "vpcresources.k8s.aws/trunk-eni-id"
"""WIN-139."""
ATTACH_TRIES: Final = 7
"""WIN-138: waits of 1 s, doubled, between them."""


class BranchAsks:
    """`table`: branch interfaces by instance type."""

    def __init__(self, asks: FleetAsks, clock: Clock, cluster_name: str, table: Mapping[str, int]) -> None:
        self._asks = asks
        self._clock = clock
        self._cluster_name = cluster_name
        self._table = table

    def _tags(self, instance: str, **more: str) -> dict[str, str]:
        cluster = f"kubernetes.io/cluster/{self._cluster_name}"
        return {OWNER_TAG: OWNER, cluster: "owned", INSTANCE_TAG: instance, **more}

    async def open_trunk(self, call: OpenTrunk, call_id: CallId) -> TrunkFacts | Failed | Lost:
        """WIN-138: the trunk that is there, or a new one at the highest free device index; and its branches."""
        instance = await self._asks.described(call.instance, call_id)
        if isinstance(instance, Failed | Lost):
            return instance
        kind = instance.instance_type
        known, limit = limits(kind), self._table.get(kind, 0)
        if known is None or not known.trunking_compatible or not limit:
            return TrunkFacts(kind)
        primary = next((e for e in instance.interfaces if e.addresses[:1] == (instance.primary,)), None)
        groups = primary.security_groups if primary is not None else ()
        found = next((e for e in instance.interfaces if e.interface_type == "trunk"), None)
        if found is not None:
            branches = await self._branches(found.eni, found.subnet, call_id)
            if isinstance(branches, Failed | Lost):
                return branches
            differs = {
                "security_groups": set(found.security_groups) != set(groups), "subnet": found.subnet != instance.subnet,
            }  # fmt: skip
            unreconciled = tuple(name for name, differing in differs.items() if differing)
            return TrunkFacts(kind, limit, found.eni, instance.subnet, groups, branches, False, unreconciled)
        taken = {eni.device for eni in instance.interfaces if eni.card == 0}
        device = next((n for n in reversed(range(known.card_limits[0])) if n not in taken), None)
        if device is None:
            return Failed("AttachmentLimitExceeded", f"{call.instance}: no device index is free for a trunk")
        made = await self._make_trunk(call.instance, instance.subnet, groups, device, call_id)
        if isinstance(made, Failed | Lost):
            return made
        return TrunkFacts(kind, limit, made, instance.subnet, groups, (), True)

    async def _make_trunk(
        self, instance: str, subnet: str, groups: tuple[str, ...], device: int, call_id: CallId
    ) -> str | Failed | Lost:
        made = await self._asks.ask(
            requests.CreateNetworkInterface(
                subnet=subnet, security_groups=groups, description=TRUNK, interface_type="trunk",
                token=f"trunk-{instance}-{call_id}", tags=self._tags(instance),
            ),
            call_id,
        )  # fmt: skip
        if isinstance(made, Failed | Lost):
            return made
        assert isinstance(made, answers.NetworkInterface), made
        attached = await self._asks.ask(requests.AttachNetworkInterface(made.eni, instance, device), call_id)
        if isinstance(attached, Failed | Lost):
            await self._asks.ask(requests.DeleteNetworkInterface(made.eni), call_id)
            return attached
        assert isinstance(attached, answers.Attached), attached
        ends = requests.ModifyNetworkInterfaceAttribute(made.eni, attached.attachment, True)
        modified = await self._asks.ask(ends, call_id)
        return modified if isinstance(modified, Failed | Lost) else made.eni

    async def _branches(self, trunk: str, subnet: str, call_id: CallId) -> tuple[Branch, ...] | Failed | Lost:
        """Branches by the trunk's tag, lowest VLAN first."""
        wanted: requests.Filters = {f"tag:{TRUNK_TAG}": (trunk,), "subnet-id": (subnet,)}
        page = await self._asks.ask(requests.DescribeNetworkInterfaces(filters=wanted), call_id)
        if isinstance(page, Failed | Lost):
            return page
        assert isinstance(page, answers.Page), page
        cidr = await self._asks.subnet_cidr(subnet, call_id)
        if isinstance(cidr, Failed | Lost):
            return cidr
        found = []
        for row in page.items:
            assert isinstance(row, answers.NetworkInterface), row
            vlan = row.tags.get(VLAN_TAG, "")
            number = int(vlan) if vlan.isascii() and vlan.isdigit() and len(vlan) < 5 else 0
            found.append(Branch(row.eni, row.mac, row.addresses[0] if row.addresses else "", number, cidr))
        return tuple(sorted(found, key=lambda branch: (branch.vlan, branch.eni)))

    async def find_branches(self, call: FindBranches, call_id: CallId) -> BranchesFound | Failed | Lost:
        """WIN-146: what carries the trunk's tag."""
        found = await self._branches(call.trunk, call.subnet, call_id)
        return found if isinstance(found, Failed | Lost) else BranchesFound(found)

    async def find_available(self, call_id: CallId) -> Available | Failed | Lost:
        """WIN-146: the cluster's interfaces that hang on nothing, by the tag of who made them."""
        found: dict[str, tuple[str, ...]] = {}
        for owner in (OWNER, CNI):
            wanted: requests.Filters = {
                "status": ("available",), f"tag:kubernetes.io/cluster/{self._cluster_name}": ("owned",),
                f"tag:{OWNER_TAG}": (owner,),
            }  # fmt: skip
            page = await self._asks.ask(requests.DescribeNetworkInterfaces(filters=wanted), call_id)
            if isinstance(page, Failed | Lost):
                return page
            assert isinstance(page, answers.Page), page
            found[owner] = tuple(sorted(row.eni for row in page.items if isinstance(row, answers.NetworkInterface)))
        return Available(found[OWNER], found[CNI])

    async def make(self, call: MakeBranch, call_id: CallId) -> BranchFacts | Failed | Lost:
        """WIN-141: made and associated; one that could not be associated comes back with the error."""
        cidr = await self._asks.subnet_cidr(call.subnet, call_id)
        if isinstance(cidr, Failed | Lost):
            return cidr
        tags = self._tags(call.instance, **{VLAN_TAG: str(call.vlan), TRUNK_TAG: call.trunk})
        made = await self._asks.ask(
            requests.CreateNetworkInterface(
                subnet=call.subnet, security_groups=call.security_groups, description=BRANCH,
                token=f"branch-{call.uid}-{call.vlan}-{call_id}", tags=tags,
            ),
            call_id,
        )  # fmt: skip
        if isinstance(made, Failed | Lost):
            return made
        assert isinstance(made, answers.NetworkInterface), made
        branch = Branch(made.eni, made.mac, made.addresses[0] if made.addresses else "", call.vlan, cidr)
        on = requests.AssociateTrunkInterface(
            made.eni, call.trunk, call.vlan, token=f"associate-{call.uid}-{call.vlan}-{call_id}"
        )
        associated = await self._asks.ask(on, call_id)
        if isinstance(associated, Failed):
            return BranchFacts(branch, f"{associated.code}: {associated.message}")
        if isinstance(associated, Lost):
            return BranchFacts(branch, f"no answer: {associated.why}")
        assert isinstance(associated, answers.TrunkAssociation), associated
        return BranchFacts(
            Branch(branch.eni, branch.mac, branch.private_ip, branch.vlan, cidr, associated.association)
        )

    async def drop(self, call: DropBranch, call_id: CallId) -> Done | Failed | Lost:
        """WIN-143: an association that cannot be ended does not keep the interface from being deleted."""
        branch = call.branch
        if branch.association:
            await self._asks.ask(requests.DisassociateTrunkInterface(branch.association), call_id)
        gone = await self._asks.ask(requests.DeleteNetworkInterface(branch.eni), call_id)
        if isinstance(gone, Failed) and gone.code == ENI_NOT_FOUND:
            return Done()
        return gone if isinstance(gone, Failed | Lost) else Done()
