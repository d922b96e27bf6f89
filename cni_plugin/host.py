"""The host's side of a pod's links: what ADD makes there and DEL takes away.

Links, addresses, routes and rules are programmed through `Host`: `wiring.Kernel` does it, `DryRun`
(`"dryRun": true`) tells the log and leaves the host alone.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_plugin.log import Log


class Link(NamedTuple):
    """One veth pair: names of its ends, the pod's address with /32 or /128, and where its traffic leaves."""

    host_veth: str
    container_interface: str
    address: str
    table: int
    device: int
    mac: str = ""  # of the pod's end; "" where nobody asked, and then the result has the table's number in its place


class Branch(NamedTuple):
    """A branch ENI: the VLAN on the trunk that carries it, its MAC, its gateway, the trunk's link index."""

    vlan_id: int
    mac: str
    gateway: str
    parent_index: int
    enforcing_mode: str


class Route(NamedTuple):
    """What DEL must know of one link: the address with its prefix length, and its route table."""

    address: str
    table: int


class HostError(Exception):
    """The host could not be programmed; the text says what, why and what to do."""


class Host(Protocol):
    """Whoever programs the host. `programs` is False when nothing is really touched."""

    programs: bool

    def set_up(self, links: Sequence[Link], branch: Branch | None, netns: str, mtu: int) -> None:
        """Make the links in the pod's namespace and on the host; HostError leaves nothing of them."""

    def mac(self, netns: str, interface: str) -> str:
        """The address of a link in the pod's namespace; HostError when it has none."""

    def tear_down(self, routes: Sequence[Route], vlan_id: int) -> None:
        """Remove the host's routes and rules of these addresses, and the VLAN link if `vlan_id` is not 0."""


class DryRun:
    """Says in the log what would be done."""

    programs = False

    def __init__(self, log: Log) -> None:
        self._log = log

    def set_up(self, links: Sequence[Link], branch: Branch | None, netns: str, mtu: int) -> None:
        """Log the links to make."""
        for link in links:
            ends = (
                f"hostVethName={link.host_veth}, contVethName={link.container_interface}, "
                f"netnsPath={netns}, ipAddr={link.address}"
            )
            if branch is None:
                self._log.debug(f"SetupPodNetwork: {ends}, routeTableNumber={link.table}, mtu={mtu}")
            else:
                self._log.debug(
                    f"SetupBranchENIPodNetwork: {ends}, vlanID={branch.vlan_id}, eniMAC={branch.mac}, "
                    f"subnetGW={branch.gateway}, parentIfIndex={branch.parent_index}, mtu={mtu}, "
                    f"podSGEnforcingMode={branch.enforcing_mode}"
                )

    def mac(self, netns: str, interface: str) -> str:
        """There is no link."""
        return ""

    def tear_down(self, routes: Sequence[Route], vlan_id: int) -> None:
        """Log the addresses to remove."""
        for route in routes:
            words = f"containerAddr={route.address}"
            if vlan_id:
                self._log.debug(f"TeardownBranchENIPodNetwork: {words}, vlanID={vlan_id}")
            else:
                self._log.debug(f"TeardownPodNetwork: {words}, routeTable={route.table}")


def is_own_netns(netns: str) -> bool:
    """Whether the namespace at that path is this process's own; False when it cannot be looked at."""
    try:
        own, other = os.stat("/proc/thread-self/ns/net"), os.stat(netns)
    except (OSError, ValueError):
        return False
    return (own.st_dev, own.st_ino) == (other.st_dev, other.st_ino)
