"""A pool that has settled, for the sizing vectors: the node in virtual time, and what its tables count."""

from __future__ import annotations

from ipamd.config import load
from ipamd.core import views
from ipamd.core.views import PoolView
from ipamd.ec2.limits import limits_of
from ipamd.sim.engine import Engine
from ipamd.sim.scenario import Scenario, Settled, live, node


def scenario(instance_type: str, pods: int, **variables: int | bool) -> Scenario:
    """A node configured by environment variables alone, which takes any number of pods."""
    given = [f"{name}={str(value).lower()}" for name, value in variables.items()]
    prefixes = limits_of(instance_type).prefixes
    settings = load({}, given).settings(prefix_delegation_supported=prefixes)
    return Scenario(instance_type, settings, pods=pods)


def settled(instance_type: str, pods: int, **variables: int | bool) -> tuple[PoolView, Settled]:
    """The pool after `pods` came one at a time, settling after each; checked against what EC2 has."""
    wanted = scenario(instance_type, pods, **variables)
    engine = node(wanted)
    end = live(wanted, engine)
    check_ec2_has_the_same(engine)
    return views.pool(engine.state, engine.now), end


def check_ec2_has_the_same(engine: Engine) -> None:
    """The store and EC2 hold the same blocks on the same ENIs."""
    stored = {eni.eni: sorted(eni.blocks) for eni in engine.state.enis.values()}
    actual = {
        row.eni: sorted([*(f"{address}/32" for address in row.addresses[1:]), *row.prefixes])
        for row in engine.vpc.enis.values()
    }
    assert stored == actual
