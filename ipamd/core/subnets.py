"""Which subnets may carry an ENI, and which exclude one: tags and cluster rule (POOL-43..47, POOL-50)."""

from __future__ import annotations

from typing import Final

from .calls import Subnet
from .state import State

ROLE_TAG: Final = "kubernetes.io/role/cni"
CLUSTER_TAG_PREFIX: Final = "cni.networking.k8s.aws/cluster/"


def cluster_allows(state: State, subnet: Subnet) -> bool:
    """The cluster rule of POOL-45: no name, no cluster tag at all, or this cluster's tag."""
    name = state.settings.cluster_name
    tags = [key for key in subnet.tags if key.startswith(CLUSTER_TAG_PREFIX)]
    return not name or not tags or CLUSTER_TAG_PREFIX + name in tags


def valid_for_creation(state: State, subnet: Subnet) -> bool:
    """POOL-45, TV-78."""
    role = subnet.tags.get(ROLE_TAG, "")
    if role == "0":
        return False
    if not role:
        return subnet.subnet == state.node.subnet
    return cluster_allows(state, subnet)


def candidates(state: State, subnets: tuple[Subnet, ...]) -> tuple[str, ...]:
    """Subnets to try for a new ENI, the one with most free addresses first (POOL-43)."""
    valid = [subnet for subnet in subnets if valid_for_creation(state, subnet)]
    return tuple(subnet.subnet for subnet in sorted(valid, key=lambda subnet: -subnet.free))


def primary_allowed(state: State, subnets: tuple[Subnet, ...]) -> bool:
    """Whether the primary subnet may be used without discovery (POOL-50): it must not be tagged 0."""
    return not any(s.subnet == state.node.subnet and s.tags.get(ROLE_TAG, "") == "0" for s in subnets)


def excluded(state: State, subnets: tuple[Subnet, ...]) -> tuple[str, ...]:
    """Subnets whose existing ENIs get no new pods (POOL-46): tagged 0, or another cluster's."""
    return tuple(
        subnet.subnet
        for subnet in subnets
        if (role := subnet.tags.get(ROLE_TAG, "")) and (role == "0" or not cluster_allows(state, subnet))
    )
