"""VPCs, subnets and security groups: moto's things and the model's under one id.

The default group, and a VPC's IPv6 CIDR, are the model's choice; other ids are moto's.
"""

from __future__ import annotations

from typing import Any, cast

from moto.ec2 import models as stock
from moto.ec2.models.security_groups import SecurityGroup
from moto.ec2.models.subnets import Subnet
from moto.ec2.models.vpcs import VPC

from ipamd.ec2 import answers, requests

from .door import Door
from .views import ModelSubnet

_NEW_GROUP: Any = SecurityGroup
"""moto's class, which declares a method abstract that it does not need."""


class Networks(stock.EC2Backend):
    """Each change is asked of the model too; what it refuses is not there."""

    door: Door

    def create_security_group(
        self,
        name: str,
        description: str,
        vpc_id: str | None = None,
        tags: dict[str, str] | None = None,
        force: bool = False,
        is_default: bool | None = None,
    ) -> SecurityGroup:
        """The default group comes with its VPC, and so does the model's VPC; any other is told to the model."""
        if is_default:
            assert vpc_id is not None, "a default group belongs to a VPC"
            named = self._model_vpc(vpc_id).default_group
            default: SecurityGroup = _NEW_GROUP(self, named, name, description, vpc_id, tags, is_default)
            self.groups[vpc_id][default.id] = default
            return default
        group = super().create_security_group(name, description, vpc_id, tags, force, is_default)
        try:
            self.door.ask(
                requests.CreateSecurityGroup(
                    name=name, description=description, vpc=group.vpc_id or "", named=group.id
                ),
                answers.SecurityGroup,
            )
        except Exception:
            super()._delete_security_group(group.vpc_id, group.id)
            raise
        return group

    def _delete_security_group(self, vpc_id: str | None, group_id: str) -> None:
        """The default group goes with its VPC, which the model has let go by then."""
        if group_id in self.door.cloud.groups:
            self.door.ask(requests.DeleteSecurityGroup(group=group_id), answers.Done)
        super()._delete_security_group(vpc_id, group_id)

    def _model_vpc(self, vpc_id: str) -> answers.Vpc:
        vpc = self.vpcs[vpc_id]
        ipv6 = vpc.get_cidr_block_association_set(ipv6=True)
        made = self.door.ask(
            requests.CreateVpc(cidr=vpc.cidr_block, ipv6=bool(ipv6), named=vpc_id), answers.Vpc
        )
        for shown, chosen in zip(ipv6, made.ipv6_cidrs, strict=True):
            shown["cidr_block"] = chosen.cidr
        return made

    def create_vpc(self, *args: Any, **kwargs: Any) -> VPC:
        """moto's, which asks for the default group on its way; refused by the model, it is not there."""
        before = set(self.vpcs)
        try:
            return super().create_vpc(*args, **kwargs)
        except Exception:
            for made in [v for v in self.vpcs if v not in before]:
                del self.vpcs[made]
            raise

    def delete_vpc(self, vpc_id: str) -> VPC:
        """What is in the way, moto says for its things and the model for its."""
        self.door.ask(requests.DeleteVpc(vpc=self.get_vpc(vpc_id).id), answers.Done)
        return super().delete_vpc(vpc_id)

    def associate_vpc_cidr_block(
        self, vpc_id: str, cidr_block: str, amazon_provided_ipv6_cidr_block: bool
    ) -> dict[str, Any]:
        vpc = self.get_vpc(vpc_id)
        ipv6 = bool(amazon_provided_ipv6_cidr_block)
        asked = requests.AssociateVpcCidrBlock(vpc=vpc_id, cidr="" if ipv6 else cidr_block or "", ipv6=ipv6)
        made = self.door.ask(asked, answers.CidrAssociated)
        told = super().associate_vpc_cidr_block(vpc.id, cidr_block, amazon_provided_ipv6_cidr_block)
        told["cidr_block"] = made.cidr
        return told

    def disassociate_vpc_cidr_block(self, association_id: str) -> dict[str, Any]:
        """The two have ids of their own for one association; its CIDR is what they share."""
        for vpc in self.vpcs.values():
            known = vpc._cidr_block_association_set.get(association_id)
            if known is not None:
                page = self.door.ask(requests.DescribeVpcs(ids=(vpc.id,)), answers.Page)
                self._disassociate(known["cidr_block"], page)
        return super().disassociate_vpc_cidr_block(association_id)

    def _disassociate(self, cidr: str, page: answers.Page) -> None:
        for vpc in page.items:
            assert isinstance(vpc, answers.Vpc)
            for held in (*vpc.cidrs, *vpc.ipv6_cidrs):
                if held.cidr == cidr:
                    self.door.ask(
                        requests.DisassociateVpcCidrBlock(association=held.association), answers.CidrAssociated
                    )

    def create_subnet(self, vpc_id: str, cidr_block: str, *args: Any, **kwargs: Any) -> Subnet:
        made = super().create_subnet(vpc_id, cidr_block, *args, **kwargs)
        shelf = next(shelf for shelf in self.subnets.values() if made.id in shelf)
        ipv6 = next(iter(made.ipv6_cidr_block_associations.values()), {}).get("ipv6CidrBlock", "")
        try:
            self.door.ask(
                requests.CreateSubnet(
                    vpc=vpc_id, cidr=cidr_block, zone=made.availability_zone, ipv6_cidr=ipv6, named=made.id
                ),
                answers.Subnet,
            )
        except Exception:
            del shelf[made.id]
            raise
        cast(Any, made).__class__ = ModelSubnet
        return made

    def delete_subnet(self, subnet_id: str) -> Subnet:
        subnet = self.get_subnet(subnet_id)
        self.door.ask(requests.DeleteSubnet(subnet=subnet.id), answers.Done)
        return super().delete_subnet(subnet_id)

    def associate_subnet_cidr_block(self, subnet_id: str, ipv6_cidr_block: str) -> dict[str, Any]:
        asked = requests.AssociateSubnetCidrBlock(subnet=subnet_id, ipv6_cidr=ipv6_cidr_block)
        self.door.ask(asked, answers.CidrAssociated)
        return super().associate_subnet_cidr_block(subnet_id, ipv6_cidr_block)

    def disassociate_subnet_cidr_block(self, association_id: str) -> tuple[str, dict[str, str]]:
        """As with VPCs, the CIDR is what the two share."""
        subnet = self.get_subnet_from_ipv6_association(association_id)
        if subnet is not None:
            cidr = subnet.ipv6_cidr_block_associations[association_id]["ipv6CidrBlock"]
            (held,) = self.door.ask(requests.DescribeSubnets(ids=(subnet.id,)), answers.Page).items
            assert isinstance(held, answers.Subnet)
            for found in [a for a in held.ipv6_cidrs if a.cidr == cidr]:
                asked = requests.DisassociateSubnetCidrBlock(association=found.association)
                self.door.ask(asked, answers.CidrAssociated)
        return super().disassociate_subnet_cidr_block(association_id)
