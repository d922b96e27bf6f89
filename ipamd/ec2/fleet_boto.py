"""A fleet over HTTP by boto3, before AWS or a moto server: the requests that the controller makes, and no others.

What is asked and answered are EC2's own nouns (`requests`, `answers`); here they become boto3's and come back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from . import answers, requests
from .answers import Answer
from .boto import BotoCloud
from .boto_client import Access, Clients
from .boto_client import Request as Sent
from .boto_imds import Imds, InstanceFacts
from .boto_threads import Threads
from .boto_views import addresses_of, prefixes_of, tags_of
from .port import Ec2Error, Ec2Lost, operation
from .requests import Request

Json = Mapping[str, Any]
PAGES_MAX: Final = 1000


class BotoFleet:
    """One region of one account; satisfies `Fleet`."""

    def __init__(self, boto: BotoCloud) -> None:
        """Not for callers: use `open_fleet`."""
        self._boto = boto

    @property
    def endpoint(self) -> str:
        """Where EC2 is asked."""
        return self._boto.endpoint

    def expect(self, instance: str, instance_type: str) -> None:
        """Nothing: instances are as they are."""

    async def ask(self, request: Request) -> Answer:
        """See the port."""
        method, asked = sent(request)
        read = method.startswith("describe_")
        token = bool(getattr(request, "token", ""))
        again = read or token or isinstance(request, _REPEATABLE)

        def work(client: Any) -> Answer:
            pages = [getattr(client, method)(**asked)]
            while read and pages[-1].get("NextToken") and len(pages) < PAGES_MAX:
                pages.append(getattr(client, method)(**asked, NextToken=pages[-1]["NextToken"]))
            try:
                return told(request, pages)
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise Ec2Lost(operation(request), f"{self.endpoint}: an answer without {error}") from error

        return await self._boto.ask(Sent(operation(request), repeatable=again, read=read), work)

    async def close(self) -> None:
        """Let go of connections."""
        await self._boto.close()


_REPEATABLE: Final = (
    requests.ModifyNetworkInterfaceAttribute,
    requests.CreateTags,
    requests.DeleteNetworkInterface,
    requests.DisassociateTrunkInterface,
)


async def open_fleet(access: Access) -> BotoFleet:
    """The fleet of a region; nothing is sent yet. Raises `Ec2Error`."""
    threads = Threads()
    if not access.region:
        raise Ec2Error("open", "", "no region is named; set AWS_REGION")
    try:
        clients = await threads.run(lambda: Clients(access), "open")
    except ValueError as error:  # a malformed endpoint or region
        raise Ec2Error("open", "", str(error)) from None
    nobody = InstanceFacts("", "", "", access.region, "", "", "", "", "")
    return BotoFleet(BotoCloud(nobody, clients, Imds(access.imds), threads))


def sent(request: Request) -> tuple[str, dict[str, Any]]:
    """boto3's method and its parameters; what was not asked for is left out."""
    match request:
        case requests.DescribeInstances():
            return "describe_instances", {"InstanceIds": list(request.ids)}
        case requests.DescribeSubnets():
            return "describe_subnets", {"SubnetIds": list(request.ids)}
        case requests.DescribeNetworkInterfaces() if request.ids:
            return "describe_network_interfaces", {"NetworkInterfaceIds": list(request.ids)}
        case requests.DescribeNetworkInterfaces():
            return "describe_network_interfaces", {"Filters": _filters(request.filters), "MaxResults": 1000}
        case requests.DescribeTrunkInterfaceAssociations():
            return "describe_trunk_interface_associations", {"Filters": _filters(request.filters)}
        case requests.AssignPrivateIpAddresses():
            counts = {"SecondaryPrivateIpAddressCount": request.address_count, "Ipv4PrefixCount": request.prefix_count}
            return "assign_private_ip_addresses", {"NetworkInterfaceId": request.eni, **_given(counts)}
        case requests.UnassignPrivateIpAddresses():
            lists = {"PrivateIpAddresses": list(request.addresses), "Ipv4Prefixes": list(request.prefixes)}
            return "unassign_private_ip_addresses", {"NetworkInterfaceId": request.eni, **_given(lists)}
        case requests.CreateNetworkInterface():
            return "create_network_interface", _creation(request)
        case requests.AttachNetworkInterface():
            return "attach_network_interface", {
                "NetworkInterfaceId": request.eni, "InstanceId": request.instance, "DeviceIndex": request.device,
            }  # fmt: skip
        case requests.ModifyNetworkInterfaceAttribute():
            ends = {"AttachmentId": request.attachment, "DeleteOnTermination": request.delete_on_termination}
            return "modify_network_interface_attribute", {"NetworkInterfaceId": request.eni, "Attachment": ends}
        case requests.AssociateTrunkInterface():
            return "associate_trunk_interface", {
                "BranchInterfaceId": request.branch, "TrunkInterfaceId": request.trunk, "VlanId": request.vlan,
                **_given({"ClientToken": request.token}),
            }  # fmt: skip
        case requests.DisassociateTrunkInterface():
            return "disassociate_trunk_interface", {"AssociationId": request.association}
        case requests.DeleteNetworkInterface():
            return "delete_network_interface", {"NetworkInterfaceId": request.eni}
        case _:
            raise AssertionError(f"the controller does not ask for {operation(request)}")


def told(request: Request, pages: list[Json]) -> Answer:
    """What EC2 answered, all pages of it."""
    first = pages[0]
    match request:
        case requests.DescribeInstances():
            found = [i for page in pages for r in page.get("Reservations") or () for i in r.get("Instances") or ()]
            return answers.Page(tuple(_instance(row) for row in found))
        case requests.DescribeSubnets():
            return answers.Page(tuple(_subnet(row) for page in pages for row in page.get("Subnets") or ()))
        case requests.DescribeNetworkInterfaces():
            rows = [row for page in pages for row in page.get("NetworkInterfaces") or ()]
            return answers.Page(tuple(_interface(row) for row in rows))
        case requests.DescribeTrunkInterfaceAssociations():
            rows = [row for page in pages for row in page.get("InterfaceAssociations") or ()]
            return answers.Page(tuple(_association(row) for row in rows))
        case requests.AssignPrivateIpAddresses():
            singles = tuple(row["PrivateIpAddress"] for row in first.get("AssignedPrivateIpAddresses") or ())
            return answers.Granted(singles, tuple(r["Ipv4Prefix"] for r in first.get("AssignedIpv4Prefixes") or ()))
        case requests.CreateNetworkInterface():
            return _interface(first["NetworkInterface"])
        case requests.AttachNetworkInterface():
            return answers.Attached(first["AttachmentId"])
        case requests.AssociateTrunkInterface():
            return _association(first["InterfaceAssociation"])
        case _:
            return answers.Done()


def _creation(request: requests.CreateNetworkInterface) -> dict[str, Any]:
    asked: dict[str, Any] = {"SubnetId": request.subnet, "Description": request.description}
    if request.interface_type not in ("", "interface"):
        asked["InterfaceType"] = request.interface_type
    if request.tags:
        tags = [{"Key": key, "Value": value} for key, value in sorted(request.tags.items())]
        asked["TagSpecifications"] = [{"ResourceType": "network-interface", "Tags": tags}]
    return asked | _given({"Groups": list(request.security_groups), "ClientToken": request.token})


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


def _filters(filters: requests.Filters) -> list[dict[str, Any]]:
    return [{"Name": name, "Values": list(values)} for name, values in filters.items()]


def _instance(row: Json) -> answers.Instance:
    return answers.Instance(
        instance=row["InstanceId"],
        instance_type=row.get("InstanceType", ""),
        zone=(row.get("Placement") or {}).get("AvailabilityZone", ""),
        state=(row.get("State") or {}).get("Name", "running"),
        vpc=row.get("VpcId", ""),
        subnet=row.get("SubnetId", ""),
        primary=row.get("PrivateIpAddress", ""),
        interfaces=tuple(_interface(eni) for eni in row.get("NetworkInterfaces") or ()),
        tags=tags_of(row.get("Tags")),
    )


def _interface(row: Json) -> answers.NetworkInterface:
    attachment: Json = row.get("Attachment") or {}
    return answers.NetworkInterface(
        eni=row["NetworkInterfaceId"],
        mac=row.get("MacAddress", ""),
        subnet=row.get("SubnetId", ""),
        vpc=row.get("VpcId", ""),
        status=row.get("Status", "available"),
        interface_type=row.get("InterfaceType", "interface"),
        addresses=addresses_of(row),
        prefixes=prefixes_of(row),
        security_groups=tuple(group["GroupId"] for group in row.get("Groups") or ()),
        description=row.get("Description", ""),
        attachment=attachment.get("AttachmentId", ""),
        instance=attachment.get("InstanceId", ""),
        device=attachment.get("DeviceIndex", -1),
        card=attachment.get("NetworkCardIndex", 0),
        tags=tags_of(row.get("TagSet")),
    )


def _subnet(row: Json) -> answers.Subnet:
    return answers.Subnet(
        row["SubnetId"],
        row.get("VpcId", ""),
        row["CidrBlock"],
        row.get("AvailabilityZone", ""),
        row.get("AvailableIpAddressCount", 0),
        tags=tags_of(row.get("Tags")),
    )


def _association(row: Json) -> answers.TrunkAssociation:
    return answers.TrunkAssociation(
        row["AssociationId"], row["BranchInterfaceId"], row["TrunkInterfaceId"], row.get("VlanId", 0)
    )
