"""What a journal tells of the cloud below it: subnets, ENIs, answer times, lag, and when EC2 refused what.

    facts = CloudFacts()
    facts.hear(state_before, record)           # every record in order
    vpc = cloud_of(state, node, facts, now)    # sim.cloud_model: the VPC model, holding what State says

A *storm* is a span in which EC2 failed an action: from the first failed request to the next that it served. Refusals
that follow from what was asked (a full ENI, an unknown id) are no storms: the model itself gives them.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

import msgspec

from ipamd.core import events as ev
from ipamd.core.calls import (
    ADDRESS_LIMIT_EXCEEDED,
    ATTACHMENT_LIMIT_EXCEEDED,
    ATTACHMENT_NOT_FOUND,
    ENI_NOT_FOUND,
    AssignPrivateIpAddresses,
    AttachNetworkInterface,
    CreateNetworkInterface,
    Ec2Eni,
    EnisView,
    Failed,
    Lost,
    MetadataView,
    Outcome,
    ReadLinks,
    Subnet,
    SubnetsView,
    Succeeded,
)
from ipamd.core.commands import Observed, Settle
from ipamd.core.events import Record
from ipamd.core.kube import KubeLook
from ipamd.core.plan import want
from ipamd.core.reasons import NO_SUBNET, PRIMARY_EXCLUDED, WAIT_FAILED
from ipamd.core.state import State
from ipamd.core.types import NEVER, SECOND, Instant
from ipamd.core.work import Grow, Init
from ipamd.ec2.port import operation
from ipamd.ec2.space import RESERVED

OURS: Final = frozenset(
    {ADDRESS_LIMIT_EXCEEDED, ATTACHMENT_LIMIT_EXCEEDED, ATTACHMENT_NOT_FOUND, ENI_NOT_FOUND, "InvalidParameterValue"}
)
"""Codes that tell of the request, not of the weather."""


GROWTH: Final = (AssignPrivateIpAddresses, AttachNetworkInterface, CreateNetworkInterface)


UNKNOWN: Final = 60 * SECOND
"""What is added to a length whose end no record tells."""
BEFORE: Final = 15 * SECOND
"""A storm may have begun so long before its first failure, unless the action was served in between."""


class Storm(msgspec.Struct):
    """EC2 fails an action with a code from `since` to before `until` (ns; NEVER: it never served it again)."""

    action: str
    code: str
    message: str
    lost: bool
    since: Instant
    until: Instant
    seqs: list[int]
    """The records of the failures."""


class Series:
    """Values by instant; asked for a moment it gives the one nearest in time, the earlier of two."""

    def __init__(self) -> None:
        self._at: list[Instant] = []
        self._values: list[int] = []

    def add(self, at: Instant, value: int) -> None:
        """`at` does not fall."""
        self._at.append(at)
        self._values.append(value)

    def near(self, at: Instant) -> int | None:
        """The nearest value; None of nothing."""
        if not self._at:
            return None
        after = min(bisect_left(self._at, at), len(self._at) - 1)
        before = max(after - 1, 0)
        return self._values[before if at - self._at[before] <= abs(self._at[after] - at) else after]

    @property
    def values(self) -> list[int]:
        """In order of time."""
        return self._values


class CloudFacts:
    """See the module."""

    def __init__(self) -> None:
        self.subnets: dict[str, Subnet] = {}
        self.enis: tuple[Ec2Eni, ...] = ()
        """As the first node init saw them."""
        self.took: dict[str, Series] = {}
        """Ns from request to answer, by action."""
        self.lag = Series()
        """Ns from an ENI's attachment until instance metadata showed it whole."""
        self.storms: list[Storm] = []
        self.others: dict[str, int] = {}
        """Addresses of a subnet that others hold, by the newest description."""
        self.attachments: list[tuple[int, Instant]] = []
        """Record and instant of each ENI attached."""
        self.exclusions: list[int] = []
        """Records that found a subnet excluded."""
        self.wait_failures: list[int] = []
        """Records that gave up an ENI because metadata did not show it."""
        self.last_growth = 0
        """The record of the newest call that adds an ENI or addresses."""
        self._served: dict[str, Instant] = {}
        self._open: dict[str, Storm] = {}
        self._attached: dict[str, Instant] = {}
        self._unseen: dict[str, Instant] = {}

    def hear(self, state: State, record: Record) -> None:
        """A record, and the State before it."""
        for event in record.events:
            match event:
                case ev.EniAttached():
                    self.attachments.append((record.seq, record.at))
                case ev.EniExcluded(excluded=True):
                    self.exclusions.append(record.seq)
                case ev.ErrorCounted(message=message) if message in (NO_SUBNET, PRIMARY_EXCLUDED):
                    self.exclusions.append(record.seq)
                case ev.ErrorCounted(fn=fn) if fn == WAIT_FAILED:
                    self.wait_failures.append(record.seq)
                case ev.CallStarted(call=call) if isinstance(call, GROWTH):
                    self.last_growth = record.seq
                case _:
                    pass
        match record.cause:
            case Settle(call_id=call_id, outcome=outcome) if call_id in state.calls:
                running = state.calls[call_id]
                self._answered(type(running.call).__name__, running.started_at, record, outcome)
                if isinstance(running.call, AttachNetworkInterface) and isinstance(outcome, Succeeded):
                    self._attached[running.call.eni] = record.at
            case Observed(look=look, seen=seen) if not isinstance(look, ReadLinks | KubeLook):
                began = self._asked_at(state, record)
                outcome = seen if isinstance(seen, Failed) else Succeeded()
                self._answered(operation(look), began, record, outcome)
                self._saw(state, record, seen)
            case _:
                pass

    def finish(self, state: State) -> None:
        """The last State: what is in flight then took longer than it has so far, nobody knows how long."""
        for running in state.calls.values():
            action = type(running.call).__name__
            self.took.setdefault(action, Series()).add(state.at, state.at - running.started_at + UNKNOWN)
        work = state.pool.work
        if isinstance(work, Grow) and work.step == "wait" and work.eni in self._attached:
            self.lag.add(state.at, state.at - self._attached[work.eni] + UNKNOWN)

    def _asked_at(self, state: State, record: Record) -> Instant:
        """When a look began: with the step that wants it, which no record tells but the one before."""
        work = state.pool.work
        if work is None or state.pool.call is not None:
            return record.at
        return max(state.at, want(state, work, record.at).due)

    def _answered(self, action: str, began: Instant, record: Record, outcome: Outcome) -> None:
        self.took.setdefault(action, Series()).add(record.at, record.at - began)
        storm = self._open.get(action)
        if isinstance(outcome, Succeeded):
            self._served[action] = record.at
            if storm is not None:
                storm.until = max(began, storm.since + 1)
                del self._open[action]
            return
        code = outcome.code if isinstance(outcome, Failed) else ""
        if code in OURS:
            return
        lost = isinstance(outcome, Lost)
        if storm is not None and (storm.code, storm.lost) == (code, lost):
            storm.seqs.append(record.seq)
            return
        if storm is not None:
            storm.until = began
        text = outcome.message if isinstance(outcome, Failed) else outcome.why
        since = max(began - BEFORE, self._served.get(action, 0) + 1, storm.until if storm is not None else 0)
        self._open[action] = Storm(action, code, text or "as recorded", lost, since, NEVER, [record.seq])
        self.storms.append(self._open[action])

    def _saw(self, state: State, record: Record, seen: object) -> None:
        match seen:
            case SubnetsView(subnets=subnets):
                for subnet in subnets:
                    self.subnets[subnet.subnet] = subnet
                    taken = capacity(subnet.cidr) - subnet.free
                    self.others[subnet.subnet] = max(taken - held(state, subnet.subnet), 0)
            case EnisView(enis=enis) if isinstance(state.pool.work, Init) and not self.enis:
                self.enis = enis
            case MetadataView(enis=enis):
                for eni in enis:
                    if eni.subnet not in self.subnets:
                        self.subnets[eni.subnet] = Subnet(eni.subnet, eni.subnet_cidr, -1)
            case _:
                pass
        work = state.pool.work
        if not isinstance(work, Grow) or work.step != "wait" or work.eni not in self._attached:
            return
        if any(isinstance(e, ev.WorkMoved) and isinstance(e.work, Grow) and e.work.step == "wait"
               for e in record.events):  # fmt: skip
            self._unseen[work.eni] = record.at
            return
        attached = self._attached.pop(work.eni)
        unseen = self._unseen.pop(work.eni, attached - 1)
        self.lag.add(record.at, max(unseen + 1 - attached, 0))


def capacity(cidr: str) -> int:
    """Addresses of a subnet without EC2's five."""
    return (1 << (32 - int(cidr.partition("/")[2]))) - RESERVED


def held(state: State, subnet: str) -> int:
    """Addresses of a subnet that this node holds."""
    ours = [eni for eni in state.enis.values() if eni.subnet == subnet]
    pending = sum(row.subnet == subnet for row in state.pending.values())
    return pending + sum(1 + sum(block.size for block in eni.blocks.values()) for eni in ours)
