"""Events to log lines, in the words that readers of ipamd's log know.

The fixed parts of a line are upstream's, so that what parses its log parses ours; the letters at the line ends name
the pattern: A assignment, B release, C the store, D requests, E the pool, F start and reconciling, G EC2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, assert_never

from msgspec.structs import asdict

from ipamd.core import events as ev
from ipamd.core.branch_events import BranchEvent
from ipamd.core.commands import DelNetwork
from ipamd.core.state import State
from ipamd.core.types import SECOND, Instant, Pod, Sandbox
from ipamd.core.windows_events import WindowsEvent

from . import branches, calls, requests, windows
from .line import Line, duration, listed, second_text
from .tally import Tally

Write: TypeAlias = Callable[[Instant, str, list[Line]], None]
"""Instant of the record, where the lines come from, the lines."""

_NOBODY = (Sandbox("", "", ""), Pod())


class Narrator:
    """Words each record. It has to be told of all of them, from the State it was made with."""

    def __init__(self, state: State, version: str = "") -> None:
        """`state`: what was recovered, before `Start`; it is read now and not kept."""
        self._tally = Tally(state)
        self._version = version

    def subscriber(self, write: Write) -> Callable[[ev.Record], None]:
        """What to subscribe: each durable record's lines go to `write`, in one go."""

        def on_record(record: ev.Record) -> None:
            said = self.lines(record)
            if said:
                write(record.at, f"journal/record:{record.seq}", said)

        return on_record

    def lines(self, record: ev.Record) -> list[Line]:
        """The lines of one record, in the order of its events."""
        said = requests.begun(record.cause)
        for event in record.events:
            said += self._words(event, record)
            if isinstance(event, ev.AssignRefused):
                said += requests.refused(event)
        return said

    def _words(self, event: ev.Event, record: ev.Record) -> list[Line]:
        match event:
            case ev.AddressAssigned():
                return self._assigned(event)
            case ev.AddressReleased():
                return self._released(event, record)
            case ev.AssignRefused():
                return _refused(event)
            case ev.CidrAdded():
                self._tally.added(event.eni, event.cidr)
                return [Line("info", f"Added ENI({event.eni})'s IP/Prefix {event.cidr} to datastore")]  # C3
            case ev.CidrRemoved():
                return self._cidr_removed(event)
            case ev.CallStarted():
                self._tally.calls[event.call_id] = event.call
                return calls.begun(event.call)
            case ev.CallEnded():
                return calls.ended(self._tally.calls.pop(event.call_id, None), event)
            case ev.PoolActed():
                return self._acted(event)
            case ev.EniReady():
                self._tally.eni_ready(event.eni, event.card)
                return [
                    *_card(event.eni, event.card),
                    Line("debug", f"Found ENI: {event.eni}, MAC {event.mac}, device {event.device}"),  # G12
                    Line("debug", f"DataStore add an ENI {event.eni}"),  # C1
                    Line("debug", f"Primary IP for ENI {event.eni} is {event.primary_ip}"),  # F4b
                    Line("info", f"ENI {event.eni} set up."),  # F3c
                ]
            case ev.EniLeft():
                return self._eni_left(event)
            case ev.EniCreated():
                return [Line("info", f"Created a new ENI: {event.eni}")]  # G2b
            case ev.EniAttached():
                return [Line("info", f"Successfully created and attached a new ENI {event.eni} to instance")]  # G3
            case ev.EniDiscarded():
                return [Line("info", f"ENI {event.eni} is done with: it is gone, or left to the leaked-ENI cleaner")]
            case ev.EniExcluded():
                self._tally.excluded[event.eni] = event.excluded
                state = "excluded from" if event.excluded else "available for"
                return [Line("info", f"ENI {event.eni} marked as {state} pod IP allocation")]  # C10
            case ev.Started():
                return self._started(event)
            case ev.SecurityGroupsChanged():
                return self._groups(event)
            case ev.PurgeDue():
                return self._purge_due(event)
            case ev.CardsManaged():
                self._tally.managed = event.cards
                return _stores(event.cards)
            case _:
                if isinstance(event, BranchEvent):
                    return branches.words(event)
                return windows.words(event) if isinstance(event, WindowsEvent) else _plain(event)

    def _assigned(self, event: ev.AddressAssigned) -> list[Line]:
        sandbox, pod = event.sandbox, event.pod
        self._tally.assign(event.eni, event.block, event.address, (sandbox, pod))
        metadata = f"{{K8SPodNamespace:{pod.namespace} K8SPodName:{pod.name} InterfacesCount:{pod.interfaces}}}"
        what = f"Assign IP {event.address} to sandbox {sandbox.text} with metadata {metadata}"
        return [Line("info", f"assignPodIPAddressUnsafe: {what}")]  # A1

    def _released(self, event: ev.AddressReleased, record: ev.Record) -> list[Line]:
        sandbox, pod = self._tally.release(event) or _NOBODY
        if event.stale:
            return [_stale(event.address, sandbox, pod)]
        if not sandbox.container and isinstance(record.cause, DelNetwork):
            sandbox = record.cause.sandbox
        what = f"Unassign IP {event.address} from sandbox {sandbox.text}"
        said = [Line("info", f"unassignPodIPAddressUnsafe: {what}")]  # B1
        rest = self._tally.settings.ip_cooldown_period
        if rest > 0:
            until = f"available after {second_text(record.at + rest * SECOND)}"
            said.append(
                Line("debug", f"IP {event.address} entering cooldown period of {duration(rest)} ({until})")
            )  # B4
        return said

    def _cidr_removed(self, event: ev.CidrRemoved) -> list[Line]:
        self._tally.removed(event.eni, event.cidr)
        said = []
        if event.why == "resync":
            kind = "IP" if event.cidr.endswith("/32") else "Prefix"
            said.append(Line("info", f"Reconcile and delete {kind} {event.cidr} on ENI {event.eni}"))  # F7
        if event.pods:
            said.append(
                Line("warn", f"{event.cidr} leaves ENI {event.eni} while {event.pods} pods hold addresses of it")
            )
        said.append(Line("info", f"Deleted ENI({event.eni})'s IP/Prefix {event.cidr} from datastore"))  # C4
        if event.why == "excluded":
            gone = f"CIDR {event.cidr} from excluded ENI {event.eni}"
            said.append(Line("info", f"Successfully removed empty {gone}"))  # C11b
        return said

    def _eni_left(self, event: ev.EniLeft) -> list[Line]:
        tally = self._tally
        freed = tally.eni_left(event.eni)
        total, assigned, prefixes = tally.figures(tally.cards.pop(event.eni, 0))
        figures = f"free {freed} addresses, total: {total}, assigned: {assigned}, total prefixes: {prefixes}"
        stats = f"{event.eni}: IP/Prefix address pool stats: {figures}"
        if event.why == "freed":
            return [
                Line("info", f"RemoveUnusedENIFromStore {stats}"),  # C5
                Line("info", f"Start freeing ENI {event.eni}"),  # E5
            ]
        said = [Line("info", f"Reconcile and delete detached ENI {event.eni}")]  # F7b
        if event.pods:
            said.append(Line("warn", f"Force removing eni {event.eni} with {event.pods} assigned pods"))  # C7
        return [*said, Line("info", f"RemoveENIFromDataStore {stats}")]  # C6

    def _acted(self, event: ev.PoolActed) -> list[Line]:
        card = f"network card {event.card}"
        if event.action not in ("increase", "decrease"):
            return []  # the blocks and ENIs that came or went are said by their own events
        kind = "Prefix" if self._tally.settings.prefix_delegation else "IP"
        why = event.why
        totals = f"Total IPs/Prefixes = {why.get('total', 0)}/{why.get('prefixes', 0)}"
        used = f"AssignedIPs/CooldownIPs: {why.get('assigned', 0)}/{why.get('cooling', 0)}"
        stats = f"{totals}, {used}, c.maxIPsPerENI = {self._tally.ips_per_eni}"
        return [
            Line("debug", f"{kind} pool stats for {card}: {stats}"),  # E2
            Line("debug", f"Starting to {event.action} pool size for {card}"),  # E4
        ]

    def _started(self, event: ev.Started) -> list[Line]:
        """F1 tells a reader to forget everything, so what survived is told again."""
        tally = self._tally
        tally.started(event.settings, event.node)
        said = [Line("info", f"Starting L-IPAMD {self._version}  ...")]  # F1
        said.append(Line("debug", "Begin ipam state recovery"))  # F2
        said += _stores(tally.managed) if tally.managed != (0,) else []
        for eni, blocks in tally.enis.items():
            said += _card(eni, tally.cards.get(eni, 0))
            said.append(Line("debug", f"DataStore add an ENI {eni}"))  # C1
            said += [Line("info", f"Added ENI({eni})'s IP/Prefix {cidr} to datastore") for cidr in blocks]  # C3
        for eni, blocks in tally.enis.items():
            for held in blocks.values():
                said += [
                    Line("info", f"Recovered {who.text} => {eni}/{address}") for address, (who, _) in held.items()
                ]  # C8
        said.append(Line("debug", "Completed ipam state recovery"))  # F2
        return said + requests.settings(event)

    def _purge_due(self, event: ev.PurgeDue) -> list[Line]:
        if self._tally.excluded.get(event.eni):
            what = f"CIDR {event.cidr} on excluded ENI {event.eni} is now empty"
            return [Line("debug", f"{what}, scheduling for cleanup")]  # C11
        return [Line("debug", f"{event.cidr} of ENI {event.eni} is empty; it goes back at {second_text(event.due)}")]

    def _groups(self, event: ev.SecurityGroupsChanged) -> list[Line]:
        before, self._tally.groups = self._tally.groups, event.groups
        found = [group for group in event.groups if group not in before]
        gone = [group for group in before if group not in event.groups]
        return [Line("info", f"Found primary SG {group}, added to ipamd cache") for group in found] + [  # F11
            Line("info", f"Removed primary SG {group} from ipamd cache") for group in gone
        ]


def _refused(event: ev.AssignRefused) -> list[Line]:
    """The remedy is the door's to tell: see `Refused`."""
    why = f"{event.reason}: {event.fact}"
    if event.reason == "invalid":
        return [Line("debug", f"AddNetwork refused, {why}")]
    return [Line("debug", f"DataStore has no available IP/Prefix addresses ({why})")]  # A10


_Plain: TypeAlias = (
    ev.NodeReady
    | ev.RowDropped
    | ev.InitFailed
    | ev.Terminating
    | ev.Resynced
    | ev.SubnetExhausted
    | ev.PurgeEnded
    | ev.HoldEnded
    | ev.ErrorCounted
    | ev.ReconcileCounted
    | ev.KubeNodeChanged
    | ev.MaxPodsChanged
    | ev.VpcCidrsChanged
    | ev.ConnectionTrackingSeen
    | ev.UnmanagedEnisChanged
    | ev.WorkMoved
)


def _stale(address: str, sandbox: Sandbox, pod: Pod) -> Line:
    why = f"host-side veth not found for pod {pod.namespace}/{pod.name}"
    which = f"IPv4(), IPv6({address})" if ":" in address else f"IPv4({address}), IPv6()"
    return Line("warn", f"stale IP allocation for ID({sandbox.container}): {which} due to {why}")  # B9


def _card(eni: str, card: int) -> list[Line]:
    return [Line("debug", f"Got network card index {card} for ENI {eni}")] if card else []  # G8


def _stores(cards: tuple[int, ...]) -> list[Line]:
    return [Line("info", f"initialized datastore for network cards index {card}") for card in cards]  # C9


def _plain(event: _Plain) -> list[Line]:
    """Events whose words need nothing but themselves."""
    match event:
        case ev.RowDropped(why="veth"):
            return [_stale(event.address, event.sandbox, event.pod)]
        case ev.RowDropped():
            unknown = f"Sandbox {event.sandbox.text} uses unknown IP Address {event.address}"
            return [Line("info", f"datastore: {unknown} - presuming stale/dead")]  # B8
        case ev.NodeReady():
            return [Line("info", "node init completed successfully")]  # F9b
        case ev.InitFailed():
            why = f"{event.code}: {event.message}" if event.code else event.message
            return [Line("error", f"Initialization failure: step {event.step}: {why}")]  # F9
        case ev.Terminating():
            return [Line("info", "Received shutdown signal, setting 'terminating' to true")]  # D13
        case ev.Resynced():
            return [Line("debug", "Successfully Reconciled ENI/IP pool")]  # F7e
        case ev.SubnetExhausted():
            return [Line("error", f"Insufficient IP Addresses due to: {event.code or 'unknown'}")]  # E9
        case ev.PurgeDue():
            return [
                Line("debug", f"{event.cidr} of ENI {event.eni} is empty; it goes back at {second_text(event.due)}")
            ]
        case ev.ErrorCounted(fn="AssignPrivateIpAddresses"):
            return [Line("error", f"failed to allocate a private IP/Prefix address: {event.message}")]  # G5b
        case ev.ErrorCounted():
            return [Line("error", f"{event.fn}: {event.message}")]
        case ev.KubeNodeChanged():
            return [Line("info", f"The Node object is {'cordoned' if event.node.unschedulable else 'schedulable'} now")]
        case ev.MaxPodsChanged():
            return [Line("info", f"Setting max pods to {event.max_pods}, the capacity of the Node")]
        case ev.VpcCidrsChanged():
            return [Line("info", f"The VPC's CIDRs are {listed(event.cidrs)}")]
        case ev.ConnectionTrackingSeen():
            kept = asdict(event.tracking) if event.tracking else {}
            each = tuple(f"{name} {seconds} s" for name, seconds in kept.items() if seconds is not None)
            whose = f"the primary ENI's, {listed(each)}" if each else "EC2's own"
            return [Line("info", f"New ENIs track connections with timeouts that are {whose}")]
        case ev.UnmanagedEnisChanged():
            return [Line("info", f"Unmanaged ENIs: {listed(event.enis)}")]
        case ev.PurgeEnded() | ev.HoldEnded() | ev.ReconcileCounted() | ev.WorkMoved():
            return []  # bookkeeping: the journal has it
        case _:
            assert_never(event)
