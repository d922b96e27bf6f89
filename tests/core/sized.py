"""A node of any number of addresses that is at rest: what a tick and an ADD cost there, whatever the number."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from ipamd.core import events as ev
from ipamd.core.commands import Start, Tick
from ipamd.core.evolve import fold
from ipamd.core.settings import Node, Settings
from ipamd.core.state import State
from ipamd.core.types import SECOND, ip4_text
from ipamd.sim.engine import EPOCH

from .world import pod, sandbox

ENIS = 13
PREFIX = 16
NODE = Node("i-1", "big", subnet="subnet-1", primary_eni="eni-0", enis_max=15, ips_per_eni=50, max_pods=20_000)
SETTINGS = Settings(prefix_delegation=True, warm_prefix_target=1)
NOW = EPOCH + 120 * SECOND
"""Long enough after the last record for every pause to be over, too early for a reconcile."""


def node(addresses: int) -> State:
    """All of so many addresses are held by pods, one prefix more is free; the ENIs are the same at any size."""
    state = State()
    events: list[ev.Event] = [ev.Started(SETTINGS, NODE, 1)]
    blocks = [f"{ip4_text((10 << 24) + PREFIX * number)}/28" for number in range(-(-addresses // PREFIX) + 1)]
    share = -(-len(blocks) // ENIS)
    for number in range(ENIS):
        eni, primary = f"eni-{number}", f"10.255.0.{number}"
        mac = f"02:00:00:00:00:{number:02x}"
        events.append(ev.EniReady(eni, mac, number, number + 1, "subnet-1", "10.0.0.0/8", primary, primary=not number))
        events += [ev.CidrAdded(eni, cidr) for cidr in blocks[number * share : (number + 1) * share]]
    events += [ev.NodeReady(), ev.WorkMoved(None, next="update"), ev.PoolActed("increased")]
    held = [(cidr, offset) for cidr in blocks[:-1] for offset in range(PREFIX)]
    for number, (cidr, offset) in enumerate(held):
        eni = f"eni-{blocks.index(cidr) // share}"
        address = ip4_text((10 << 24) + PREFIX * blocks.index(cidr) + offset)
        events.append(ev.AddressAssigned(address, eni, cidr, sandbox(f"pod-{number}"), pod(f"pod-{number}")))
    started = Start(SETTINGS, NODE, 1)
    fold(state, ev.Record(ev.FORMAT, 1, EPOCH, "i-1", started, tuple(events)))
    fold(state, ev.Record(ev.FORMAT, 2, NOW - 30 * SECOND, "i-1", Tick(), (ev.Resynced(),)))
    state.tally(0)  # as any tick before has left it
    return state


def lines_run(work: Callable[[], object]) -> int:
    """How many lines of Python run in it: a cost that no machine's load changes."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count
