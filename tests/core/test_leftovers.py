"""Blocks that a start gives back: those of the other mode, and those of excluded ENIs (INIT-27, INIT-28, POOL-48)."""

from __future__ import annotations

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core.calls import AssignPrivateIpAddresses, UnassignPrivateIpAddresses
from ipamd.ec2.vpc import apply

from .test_init import EXCLUDED, PREFIXES, SINGLE
from .world import Lab


@pytest.mark.spec("INIT-28")
@pytest.mark.parametrize("prefix_delegation", [True, False])
@pytest.mark.parametrize("provisioning_disabled", [True, False])
def test_unused_blocks_of_the_other_mode_go_back(prefix_delegation: bool, provisioning_disabled: bool) -> None:
    """Prefixes without prefix delegation, addresses with it, of every ENI; whatever provisioning is."""
    settings = PREFIXES if prefix_delegation else SINGLE
    lab = Lab(msgspec.structs.replace(settings, provisioning_disabled=provisioning_disabled))
    apply(lab.vpc, AssignPrivateIpAddresses(lab.primary, secondary_ips=2), lab.now)
    eni = lab.foreign(addresses=1)
    apply(lab.vpc, AssignPrivateIpAddresses(eni, prefixes=2), lab.now)
    lab.start()

    unassigned = lab.calls(UnassignPrivateIpAddresses)
    kinds = {cidr.endswith("/32") for e in lab.state.enis.values() for cidr in e.blocks}
    assert [len(call.addresses) + len(call.prefixes) for call in unassigned] == ([2, 1] if prefix_delegation else [2])
    assert prefix_delegation not in kinds and lab.leaks() == []
    assert not lab.state.held


@pytest.mark.spec("INIT-27", "POOL-48", "TV-54")
@pytest.mark.parametrize("prefix_delegation", [True, False])
def test_unused_blocks_of_an_excluded_eni_go_back(prefix_delegation: bool) -> None:
    """Those of the mode's own kind too; no cooldown entry is made."""
    lab = Lab(msgspec.structs.replace(PREFIXES if prefix_delegation else SINGLE))
    apply(lab.vpc, AssignPrivateIpAddresses(lab.primary, int(not prefix_delegation), int(prefix_delegation)), lab.now)
    lab.tag_subnet(lab.node.subnet, EXCLUDED)
    lab.start()

    assert len(lab.calls(UnassignPrivateIpAddresses)) == 1
    assert lab.shape()[0] == (0, 0) and not lab.state.held and lab.leaks() == []


@pytest.mark.spec("INIT-27", "INIT-28", "POOL-49")
def test_an_unassign_that_fails_does_not_end_the_start() -> None:
    """Logged; the rest of the queue is worked off."""
    lab = Lab(PREFIXES)
    apply(lab.vpc, AssignPrivateIpAddresses(lab.primary, secondary_ips=1), lab.now)
    lab.foreign(addresses=1)
    lab.vpc.faults.fail_next("UnassignPrivateIpAddresses", "InternalError")
    lab.start()

    assert len(lab.calls(UnassignPrivateIpAddresses)) == 2 and lab.state.phase == "ready"
    assert lab.counted() == [] and [e.fn for e in lab.events(ev.ErrorCounted)] == ["init clean"]
