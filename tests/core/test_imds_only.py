"""IMDS-only mode and disabled provisioning: EC2 changes nothing at our request, and in the first case is not asked."""

from __future__ import annotations

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core.calls import MetadataView, View
from ipamd.core.settings import Quirks, Settings

from .world import Lab, bare

IMDS_ONLY = Settings(imds_only=True, provisioning_disabled=True, leaked_cleanup_disabled=True)
FILLED = Settings(warm_ip_target=2)


def filled(then: Settings) -> Lab:
    """A node that had a pool, restarted under other settings; what it asks EC2 from there on is counted."""
    node = Lab(FILLED).start().run(10)
    node.restart(settings=then)
    node.engine.requests.clear()
    return node


@pytest.mark.spec("EC2-32", "ENV-10", "TV-50")
def test_ec2_is_never_asked_in_imds_only_mode() -> None:
    """Neither at start nor later; the pool is what metadata shows and serves pods."""
    node = Lab(FILLED).start().run(10)
    held = set(node.state.enis[node.primary].blocks)
    node.settings = IMDS_ONLY
    node.die()
    node.start(3).run(300)

    assert node.engine.requests == {} and node.state.phase == "ready"
    assert set(node.state.enis[node.primary].blocks) == held
    node.pods(2)


@pytest.mark.spec("ENV-9", "EC2-40", "POOL-13")
def test_without_provisioning_nothing_is_changed_and_reconciling_goes_on() -> None:
    """A foreign ENI is adopted as ever, without a tag."""
    node = filled(Settings(provisioning_disabled=True))
    eni = node.foreign(addresses=2)

    node.run(200)

    assert eni in node.state.enis and node.vpc.enis[eni].tags == {}
    assert not [name for name in node.engine.requests if not name.startswith("Describe")]


@pytest.mark.spec("EC2-32", "REC-4", "REC-8")
def test_metadata_is_believed_where_ec2_must_not_be_asked() -> None:
    """ENIs and addresses come and go with it, but a pod's address stays though metadata lost it."""
    node = filled(IMDS_ONLY)
    node.pod("web")
    eni = node.foreign(addresses=2)
    node.run(130)
    came = len(node.state.enis[eni].blocks)

    def sight(view: View) -> View:
        return bare(view) if isinstance(view, MetadataView) else view

    node.engine.sight = sight
    node.run(130)

    assert came == 2 and len(node.state.enis[eni].blocks) == 0
    assert [block.assigned for block in node.state.enis[node.primary].blocks.values()] == [1]
    assert node.engine.requests == {}


@pytest.mark.spec("EC2-33")
def test_upstream_asks_ec2_here_and_there() -> None:
    """Its subnet discovery is not switched off by the mode."""
    upstream = msgspec.structs.replace(IMDS_ONLY, quirks=Quirks(imds_only_asks_ec2=True))
    node = filled(upstream)
    node.foreign(addresses=1)

    node.run(130)

    assert node.engine.requests["DescribeSubnets"] and not node.events(ev.InitFailed)
