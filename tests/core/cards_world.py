"""Nodes with several network cards, or with ENIs of special kinds, for the tests of the core."""

from __future__ import annotations

from ipamd.core.settings import Settings
from ipamd.ec2.answers import Launched
from ipamd.ec2.requests import LaunchInterface, RunInstances
from ipamd.ec2.vpc import node_of, serve
from ipamd.sim.engine import EPOCH

from .world import Lab

TWO_CARDS = "hpc7a.12xlarge"
"""Two network cards with two ENIs each, 50 addresses an ENI."""
FOUR_CARDS = "p4d.24xlarge"
MULTI = Settings(multi_nic=True, warm_ip_target=1)


def launched(settings: Settings, *special: tuple[int, int, str], instance_type: str = TWO_CARDS) -> Lab:
    """A node that comes with more ENIs than its primary one, as (card, device, EC2's interface type)."""
    lab = Lab(settings, instance_type=instance_type)
    subnet = lab.node.subnet
    others = [LaunchInterface(subnet=subnet, device=d, card=c, interface_type=kind) for c, d, kind in special]
    request = RunInstances(instance_type, interfaces=(LaunchInterface(subnet=subnet), *others))
    answer = serve(lab.vpc, request, EPOCH).answer
    assert isinstance(answer, Launched), answer
    lab.node = node_of(lab.vpc, answer.instances[0].instance)
    lab.engine = lab._process(EPOCH)
    return lab


def by_card(lab: Lab) -> dict[int, list[tuple[int, int]]]:
    """Card -> (blocks, pods) of each of its ENIs by device."""
    found: dict[int, list[tuple[int, int]]] = {card: [] for card in lab.state.stores}
    for eni in lab.state.enis.values():
        found[eni.card].append((len(eni.blocks), eni.assigned))
    return found
