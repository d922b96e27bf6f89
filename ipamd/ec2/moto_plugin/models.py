"""moto's EC2 backend with the VPC model behind its networking.

Here are the methods by which moto's own parts reach ENIs, subnets, groups and instances (its responses, and
services such as ECS, EFS, autoscaling). Where both hold a thing, moto's has the model's id or gives it its own, and
the model decides whether it may be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network
from typing import Any, ClassVar, cast

from moto.ec2.exceptions import InvalidNetworkInterfaceIdError, OperationNotPermitted4
from moto.ec2.models.instances import Instance, InstanceState, Reservation
from moto.ec2.models.subnets import Subnet
from moto.ec2.utils import generate_dns_from_ip

from ipamd.ec2 import answers, requests

from . import asks, tells
from .door import Behaviour, Door
from .networks import Networks
from .views import Enis, InstanceNics, Nic

MODELLED_TAGS = ("eni-", "scr-")
"""Ids of what only the model holds, tags included."""
NO_TOKEN = "ABCDE"
"""What moto puts in the place of a client token that was not sent."""


class EC2Backend(Networks):
    """One account's EC2 in one region."""

    behaviour: ClassVar[Behaviour] = Behaviour()
    """Set before the first request."""

    def __init__(self, region_name: str, account_id: str) -> None:
        self.door = Door(self.behaviour, region_name, account_id)
        self._most_instances = 0
        super().__init__(region_name, account_id)
        self.nics = Enis(self)
        self.enis = cast(Any, self.nics)

    # ---- ENIs, as moto's other parts use them ------------------------------------------------------------------

    def create_network_interface(
        self,
        subnet: Any,
        private_ip_address: str | list[str],
        private_ip_addresses: list[dict[str, Any]] | None = None,
        group_ids: list[str] | None = None,
        description: str | None = None,
        tags: dict[str, str] | None = None,
        delete_on_termination: bool | None = False,
        **kwargs: Any,
    ) -> Any:
        """For moto's services. An address that the subnet cannot give is let go: moto draws some at random."""
        known = self.get_subnet(subnet) if isinstance(subnet, str) else subnet
        wanted = private_ip_address[0] if isinstance(private_ip_address, list) else private_ip_address
        asked = requests.CreateNetworkInterface(
            subnet=known.id,
            primary=wanted if wanted and self._is_free(known, wanted) else "",
            security_groups=tuple(group_ids or ()),
            description=description or "",
            tags=tags or {},
        )
        made = self.door.ask(asked, answers.NetworkInterface)
        return self.nics[made.eni]

    def _is_free(self, subnet: Subnet, address: str) -> bool:
        inside = IPv4Address(address) in IPv4Network(subnet.cidr_block)
        return inside and self.door.cloud.spaces[subnet.id].is_free(int(IPv4Address(address)))

    def get_network_interface(self, eni_id: str) -> Any:
        if eni_id not in self.nics:
            raise InvalidNetworkInterfaceIdError(eni_id)
        return self.nics[eni_id]

    def told(self, eni: answers.NetworkInterface) -> tells.Members:
        """An ENI as EC2 describes it: the model's facts, names of groups and public addresses from moto."""
        told = tells.network_interface(eni, self.region_name, self._group_name)
        public = self.nics[eni.eni].public_ip if eni.eni in self.nics else None
        if public:
            told["Association"] = told["PrivateIpAddresses"][0]["Association"] = self._association(public)
        return told

    def _group_name(self, group_id: str) -> str:
        group = self.get_security_group_from_id(group_id)
        return group.name if group is not None else group_id

    def _association(self, public_ip: str) -> dict[str, Any]:
        elastic = next(iter(self.address_by_ip([public_ip], fail_if_not_found=False)), None)
        association: dict[str, Any] = {
            "PublicIp": public_ip,
            "PublicDnsName": generate_dns_from_ip(public_ip),
            "IpOwnerId": self.account_id if elastic is not None else "amazon",
        }
        if elastic is not None:
            association |= {"AllocationId": elastic.allocation_id, "AssociationId": elastic.association_id}
        return association

    def delete_network_interface(self, eni_id: str) -> None:
        self.door.ask(requests.DeleteNetworkInterface(eni=eni_id), answers.Done)

    def describe_network_interfaces(self, filters: Any = None) -> list[Any]:
        """For `do_resources_exist` alone, which asks for one id."""
        wanted = (filters or {}).get("network-interface-id")
        return [self.get_network_interface(wanted)] if wanted else list(self.nics.values())

    # ---- tags --------------------------------------------------------------------------------------------------

    def do_resources_exist(self, resource_ids: list[str]) -> bool:
        """moto knows no reservation; the model says so itself."""
        return super().do_resources_exist([r for r in resource_ids if not r.startswith(MODELLED_TAGS)])

    def create_tags(self, resource_ids: list[str], tags: dict[str, str]) -> bool:
        ours, rest = divided(resource_ids)
        if ours:
            self.door.ask(requests.CreateTags(resources=ours, tags=tags), answers.Done)
        return super().create_tags(rest, tags) if rest else True

    def delete_tags(self, resource_ids: list[str], tags: dict[str, str]) -> bool:
        """Without tags, all go."""
        ours, rest = divided(resource_ids)
        if ours:
            gone: dict[str, str | None] = {**tags}
            self.door.ask(requests.DeleteTags(resources=ours, tags=gone), answers.Done)
        for resource in rest:
            super().delete_tags([resource], tags or dict.fromkeys(self.tags[resource], cast(str, None)))
        return True

    def describe_tags(self, filters: dict[str, list[str]] | None = None) -> list[dict[str, str]]:
        """moto's, then the model's; the commonest question, one resource's own tags, is not a walk over all."""
        wanted = (filters or {}).get("resource-id", [])
        if filters and list(filters) == ["resource-id"] and not any("*" in r or "?" in r for r in wanted):
            ours, rest = divided(wanted)
            held = {r: self.tags[r] for r in rest if r in self.tags}
        else:
            ours, held = ("*",), self.tags
        every, self.tags = self.tags, held
        try:
            found = super().describe_tags(filters)
        finally:
            self.tags = every
        return found + (self._model_tags(filters or {}) if ours else [])

    def _model_tags(self, filters: dict[str, list[str]]) -> list[dict[str, str]]:
        asked = requests.DescribeTags(filters={name: tuple(values) for name, values in filters.items()})
        page = self.door.ask(asked, answers.Page)
        return [
            {"resource_id": tag.resource, "key": tag.key, "value": tag.value, "resource_type": tag.kind}
            for tag in page.items
            if isinstance(tag, answers.Tag) and tag.resource.startswith(MODELLED_TAGS)
        ]

    # ---- instances ---------------------------------------------------------------------------------------------

    @contextmanager
    def at_most(self, instances: int) -> Iterator[None]:
        """Inside, `run_instances` launches up to so many, if there is room for more than the least."""
        self._most_instances = instances
        try:
            yield
        finally:
            self._most_instances = 0

    def run_instances(
        self,
        image_id: str,
        count: int,
        user_data: Any,
        security_group_names: list[str],
        **kwargs: Any,
    ) -> Reservation:
        """The model launches, with ENIs and limits; then moto makes its instances around those ENIs."""
        groups = [self.get_security_group_by_name_or_id(name) for name in security_group_names]
        group_ids = [g.id for g in groups if g is not None] + [
            g if isinstance(g, str) else g.id for g in kwargs.get("security_group_ids", ())
        ]
        asked = self._launch(count, group_ids, kwargs)
        launched = self.door.ask(asked, answers.Launched).instances
        for earlier in self.reservations.values():  # the same client token again
            if any(instance.id == launched[0].instance for instance in earlier.instances):
                return earlier
        try:
            return self._around(launched, image_id, user_data, security_group_names, kwargs)
        except Exception:
            ids = tuple(made.instance for made in launched)
            self.door.ask(requests.TerminateInstances(instances=ids), answers.Terminated)
            raise

    def _launch(self, count: int, group_ids: list[str], kwargs: dict[str, Any]) -> requests.RunInstances:
        nics = kwargs.get("nics") or []
        interfaces = tuple(asks.launch_interface(nic, group_ids) for nic in nics)
        subnet = kwargs.get("subnet_id") or ""
        if not subnet and not any(i.subnet or i.eni for i in interfaces):
            subnet = self._default_subnet(kwargs.get("placement")).id
        kinds = kwargs.get("tags") or {}
        token = kwargs.get("client_token") or NO_TOKEN
        return requests.RunInstances(
            instance_type=kwargs.get("instance_type", "m1.small"),
            subnet=subnet,
            min_count=count,
            max_count=max(count, self._most_instances),
            interfaces=interfaces,
            security_groups=() if interfaces else tuple(group_ids),
            primary=kwargs.get("private_ip") or "",
            ipv6_address_count=kwargs.get("ipv6_address_count") or 0,
            interface_tags=kinds.get(asks.NETWORK_INTERFACE, {}),
            token=token if token != NO_TOKEN else "",
        )

    def _default_subnet(self, zone: str | None) -> Subnet:
        defaults = self.get_default_subnets()
        found = defaults.get(zone or f"{self.region_name}a") or next(iter(defaults.values()), None)
        if found is None:
            self.raise_error("MissingInput", "No subnets found for the default VPC. Please specify a subnet.")
        assert found is not None
        return found

    def _around(
        self,
        launched: Iterable[answers.Instance],
        image_id: str,
        user_data: Any,
        names: list[str],
        kwargs: dict[str, Any],
    ) -> Reservation:
        whole: Reservation | None = None
        for made in launched:
            nics = [{"DeviceIndex": i.device, "NetworkInterfaceId": i.eni} for i in made.interfaces]
            facts = {"subnet_id": made.subnet, "private_ip": made.primary, "nics": nics}
            reservation = super().run_instances(image_id, 1, user_data, names, **{**kwargs, **facts})
            (instance,) = reservation.instances
            self._adopt(instance, made.instance, kwargs)
            if whole is None:
                whole = reservation
            else:
                del self.reservations[reservation.id]
                instance.ami_launch_index = len(whole.instances)
                whole.instances.append(instance)
        assert whole is not None, "the model launches one at least"
        return whole

    def _adopt(self, instance: Instance, name: str, kwargs: dict[str, Any]) -> None:
        self.tags[name] = self.tags.pop(instance.id, {})
        instance.id = name
        instance.nics = cast(Any, InstanceNics(self, name))
        first = cast(Nic, instance.nics[0])
        first.public_ip_auto_assign = bool(instance.associate_public_ip)
        first.start()

    def terminate_instances(self, instance_ids: list[str]) -> list[tuple[Instance, InstanceState]]:
        """ENIs go or become `available` in the model; moto ends the rest."""
        for instance in self.get_multi_instances_by_id(instance_ids) if instance_ids else []:
            if instance.disable_api_termination is True:
                raise OperationNotPermitted4(instance.id)
        running = tuple(name for name in instance_ids if name in self.door.cloud.instances)
        if running:
            self.door.ask(requests.TerminateInstances(instances=running), answers.Terminated)
        return super().terminate_instances(instance_ids)


def divided(resources: Iterable[str]) -> tuple[tuple[str, ...], list[str]]:
    """Those whose tags the model holds, and the rest."""
    listed = list(resources)
    return tuple(r for r in listed if r.startswith(MODELLED_TAGS)), [
        r for r in listed if not r.startswith(MODELLED_TAGS)
    ]
