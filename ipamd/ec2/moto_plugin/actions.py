"""EC2's networking actions that the model answers alone: ENIs, their addresses, trunks, CIDR reservations.

moto finds an action by its method.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.exceptions import InvalidParameterValueErrorUnknownAttribute
from moto.ec2.responses._base_response import EC2BaseResponse

from ipamd.ec2 import answers, requests

from . import asks, tells
from .door import Door

AnswerT = TypeVar("AnswerT", bound=answers.Answer)


class ModelActions(EC2BaseResponse):
    """Each method is one action."""

    params: dict[str, Any]

    @property
    def door(self) -> Door:
        door: Door = self.ec2_backend.door
        return door

    def ask(self, request: requests.Request, kind: type[AnswerT]) -> AnswerT:
        """The model's answer; to a dry run it is always a refusal."""
        if self.params.get("DryRun"):
            request = msgspec.structs.replace(request, dry_run=True)
        return self.door.ask(request, kind)

    # ---- ENIs --------------------------------------------------------------------------------------------------

    def create_network_interface(self) -> ActionResult:
        made = self.ask(asks.create_network_interface(self.params), answers.NetworkInterface)
        token = {"ClientToken": self.params["ClientToken"]} if self.params.get("ClientToken") else {}
        return ActionResult({"NetworkInterface": self._eni(made), **token})

    def delete_network_interface(self) -> ActionResult:
        self.ask(asks.delete_network_interface(self.params), answers.Done)
        return EmptyResult()

    def describe_network_interfaces(self) -> ActionResult:
        page = self.ask(asks.describe_network_interfaces(self.params), answers.Page)
        shown = [self._eni(item) for item in page.items if isinstance(item, answers.NetworkInterface)]
        return ActionResult({"NetworkInterfaces": shown, "NextToken": page.next_token or None})

    def describe_network_interface_attribute(self) -> ActionResult:
        name, attribute = self.params.get("NetworkInterfaceId", ""), self.params.get("Attribute", "")
        page = self.ask(requests.DescribeNetworkInterfaces(ids=(name,)), answers.Page)
        eni = page.items[0]
        assert isinstance(eni, answers.NetworkInterface)
        shown = self._eni(eni)
        told: dict[str, Any] = {"NetworkInterfaceId": eni.eni}
        match attribute:
            case "description":
                told["Description"] = {"Value": eni.description}
            case "groupSet":
                told["Groups"] = shown["Groups"]
            case "sourceDestCheck":
                told["SourceDestCheck"] = {"Value": eni.source_dest_check}
            case "attachment":
                told["Attachment"] = shown.get("Attachment")
            case other:
                raise InvalidParameterValueErrorUnknownAttribute(other)
        return ActionResult(told)

    def attach_network_interface(self) -> ActionResult:
        made = self.ask(asks.attach_network_interface(self.params), answers.Attached)
        return ActionResult({"AttachmentId": made.attachment, "NetworkCardIndex": made.card})

    def detach_network_interface(self) -> ActionResult:
        self.ask(asks.detach_network_interface(self.params), answers.Done)
        return EmptyResult()

    def modify_network_interface_attribute(self) -> ActionResult:
        self.ask(asks.modify_network_interface_attribute(self.params), answers.Done)
        return EmptyResult()

    # ---- addresses ---------------------------------------------------------------------------------------------

    def assign_private_ip_addresses(self) -> ActionResult:
        given = self.ask(asks.assign_private_ip_addresses(self.params), answers.Granted)
        return ActionResult(tells.assigned(self.params["NetworkInterfaceId"], given))

    def unassign_private_ip_addresses(self) -> ActionResult:
        self.ask(asks.unassign_private_ip_addresses(self.params), answers.Done)
        return EmptyResult()

    def assign_ipv6_addresses(self) -> ActionResult:
        given = self.ask(asks.assign_ipv6_addresses(self.params), answers.Granted)
        return ActionResult(tells.assigned_ipv6(self.params["NetworkInterfaceId"], given))

    def unassign_ipv6_addresses(self) -> ActionResult:
        taken = self.ask(asks.unassign_ipv6_addresses(self.params), answers.Granted)
        return ActionResult(tells.unassigned_ipv6(self.params["NetworkInterfaceId"], taken))

    # ---- trunks ------------------------------------------------------------------------------------------------

    def associate_trunk_interface(self) -> ActionResult:
        made = self.ask(asks.associate_trunk_interface(self.params), answers.TrunkAssociation)
        token = self.params.get("ClientToken")
        return ActionResult({"InterfaceAssociation": tells.trunk_association(made), "ClientToken": token})

    def disassociate_trunk_interface(self) -> ActionResult:
        self.ask(asks.disassociate_trunk_interface(self.params), answers.Done)
        return ActionResult({"Return": True, "ClientToken": self.params.get("ClientToken")})

    def describe_trunk_interface_associations(self) -> ActionResult:
        page = self.ask(asks.describe_trunk_interface_associations(self.params), answers.Page)
        shown = [tells.trunk_association(i) for i in page.items if isinstance(i, answers.TrunkAssociation)]
        return ActionResult({"InterfaceAssociations": shown, "NextToken": page.next_token or None})

    # ---- CIDR reservations ---------------------------------------------------------------------------------------

    def create_subnet_cidr_reservation(self) -> ActionResult:
        made = self.ask(asks.create_subnet_cidr_reservation(self.params), answers.CidrReservation)
        return ActionResult({"SubnetCidrReservation": tells.cidr_reservation(made)})

    def delete_subnet_cidr_reservation(self) -> ActionResult:
        gone = self.ask(asks.delete_subnet_cidr_reservation(self.params), answers.CidrReservation)
        return ActionResult({"DeletedSubnetCidrReservation": tells.cidr_reservation(gone)})

    def get_subnet_cidr_reservations(self) -> ActionResult:
        page = self.ask(asks.get_subnet_cidr_reservations(self.params), answers.Page)
        held = [item for item in page.items if isinstance(item, answers.CidrReservation)]
        return ActionResult(
            {
                "SubnetIpv4CidrReservations": [tells.cidr_reservation(r) for r in held if not r.ipv6],
                "SubnetIpv6CidrReservations": [tells.cidr_reservation(r) for r in held if r.ipv6],
                "NextToken": page.next_token or None,
            }
        )

    # ---- how they are told -----------------------------------------------------------------------------------------

    def _eni(self, eni: answers.NetworkInterface) -> tells.Members:
        return self.ec2_backend.told(eni)  # type: ignore[no-any-return]
