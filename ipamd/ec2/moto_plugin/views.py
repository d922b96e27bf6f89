"""moto's objects that stand for what the model holds: they keep nothing that the model knows and read it each time.

moto writes into some of them what it believes (an attachment id, a status); that is not kept.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Final

from moto.ec2.models.subnets import Subnet
from moto.ec2.utils import random_public_ip

from ipamd.core.types import EniId
from ipamd.ec2.rows import EniRow

from . import tells

if TYPE_CHECKING:
    from .models import EC2Backend

CARD_KEYS: Final = 100
"""Keys of one network card among an instance's ENIs, as moto keeps them; those of card 0 are the device indexes."""


class Nic:
    """An ENI in the form in which moto's other parts (NAT gateways, elastic IPs, ECS, EFS) use one."""

    KEPT: Final = frozenset({"ec2_backend", "id", "public_ip", "public_ip_auto_assign"})

    def __init__(self, ec2_backend: EC2Backend, eni: EniId) -> None:
        self.ec2_backend = ec2_backend
        self.id = eni
        self.public_ip: str | None = None
        self.public_ip_auto_assign: bool | str = False

    def __setattr__(self, name: str, value: object) -> None:
        if name in self.KEPT:
            object.__setattr__(self, name, value)

    @property
    def row(self) -> EniRow:
        return self.ec2_backend.door.cloud.enis[self.id]

    @property
    def private_ip_address(self) -> str | None:
        row = self.row
        return row.addresses[0] if row.addresses else None

    @property
    def private_ip_addresses(self) -> list[dict[str, Any]]:
        return [{"Primary": not i, "PrivateIpAddress": a} for i, a in enumerate(self.row.addresses)]

    @property
    def private_dns_name(self) -> str | None:
        address = self.private_ip_address
        return tells.private_name(address, self.ec2_backend.region_name) if address else None

    @property
    def ipv6_addresses(self) -> list[str]:
        return list(self.row.ipv6_addresses)

    @property
    def subnet(self) -> Subnet:
        return self.ec2_backend.get_subnet(self.row.subnet)

    @property
    def subnet_id(self) -> str:
        return self.row.subnet

    @property
    def vpc_id(self) -> str:
        return self.subnet.vpc_id

    @property
    def availability_zone(self) -> str:
        return self.subnet.availability_zone

    @property
    def owner_id(self) -> str:
        return self.ec2_backend.account_id

    @property
    def mac_address(self) -> str:
        return self.row.mac

    @property
    def description(self) -> str:
        return self.row.description

    @property
    def status(self) -> str:
        return self.row.status

    @property
    def interface_type(self) -> str:
        return self.row.interface_type

    @property
    def instance(self) -> Any:
        return self.ec2_backend.get_instance_by_id(self.row.instance) if self.row.instance else None

    @property
    def attachment_id(self) -> str | None:
        return self.row.attachment or None

    @property
    def device_index(self) -> int | None:
        return self.row.device if self.row.attachment else None

    @property
    def delete_on_termination(self) -> bool:
        """For moto it never is: the model has ended the ENI before moto asks."""
        return False

    @property
    def group_set(self) -> list[Any]:
        found = (self.ec2_backend.get_security_group_from_id(g) for g in self.row.security_groups)
        return [group for group in found if group is not None]

    @property
    def tags(self) -> dict[str, str]:
        return dict(self.row.tags)

    def add_tags(self, tag_map: dict[str, str]) -> None:
        self.ec2_backend.create_tags([self.id], tag_map)

    def start(self) -> None:
        """The instance starts: it has its public address, if it is to have one."""
        self.check_auto_public_ip()

    def stop(self) -> None:
        if self.public_ip_auto_assign:
            self.public_ip = None

    def check_auto_public_ip(self) -> None:
        if str(self.public_ip_auto_assign).lower() == "true":
            self.public_ip = random_public_ip()

    def delete(self) -> None:
        self.ec2_backend.delete_network_interface(self.id)


class Nowhere:
    """What moto reads as device 0 of an instance that is terminated."""

    private_ip_address = public_ip = None


class Enis(MutableMapping[str, Nic]):
    """Every ENI of the model by id; removing one deletes it."""

    def __init__(self, ec2_backend: EC2Backend) -> None:
        self._backend = ec2_backend
        self._known: dict[str, Nic] = {}

    def __getitem__(self, eni: str) -> Nic:
        if eni not in self._backend.door.cloud.enis:
            self._known.pop(eni, None)
            raise KeyError(eni)
        nic = self._known.get(eni)
        if nic is None:
            nic = self._known[eni] = Nic(self._backend, eni)
        return nic

    def __setitem__(self, eni: str, nic: Nic) -> None:
        """The model has it already."""

    def __delitem__(self, eni: str) -> None:
        self._backend.delete_network_interface(eni)
        self._known.pop(eni, None)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._backend.door.cloud.enis))

    def __len__(self) -> int:
        return len(self._backend.door.cloud.enis)


class InstanceNics(MutableMapping[int, Any]):
    """One instance's ENIs by device index; those of other network cards behind."""

    def __init__(self, ec2_backend: EC2Backend, instance: str) -> None:
        self._backend = ec2_backend
        self._instance = instance

    def _attached(self) -> dict[int, Nic]:
        cloud = self._backend.door.cloud
        rows = (cloud.enis[eni] for eni in cloud.attached.get(self._instance, {}))
        by_key = {row.card * CARD_KEYS + row.device: row.eni for row in rows}
        return {key: self._backend.nics[by_key[key]] for key in sorted(by_key)}

    def __getitem__(self, key: int) -> Any:
        attached = self._attached()
        if key not in attached and key == 0:
            return Nowhere()
        return attached[key]

    def __contains__(self, key: object) -> bool:
        return key in self._attached()

    def __setitem__(self, key: int, nic: Any) -> None:
        """The model has it already."""

    def __delitem__(self, key: int) -> None:
        """The model knows better."""

    def __iter__(self) -> Iterator[int]:
        return iter(self._attached())

    def __len__(self) -> int:
        return len(self._attached())


class ModelSubnet(Subnet):
    """moto's subnet with the model's addresses."""

    @property
    def available_ip_address_count(self) -> int:
        free: int = self.ec2_backend.door.cloud.spaces[self.id].free
        return free

    def get_available_subnet_ip(self, instance: Any) -> str:
        """A free address for what moto makes next; nobody else gets in between, the lock is held."""
        space = self.ec2_backend.door.cloud.spaces[self.id]
        return str(IPv4Address(space.singles(1)[0])) if space.free else ""

    def request_ip(self, ip: str, instance: Any) -> None:
        """The model has given it."""

    def del_subnet_ip(self, ip: str) -> None:
        """The model takes it back with its ENI."""


