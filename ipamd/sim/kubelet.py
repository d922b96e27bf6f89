"""How a pod comes by its address: the kubelet makes a sandbox, asks, and, refused, makes another one a while later.

An *arrival* is the ADDs of one pod (namespace and name) up to its first grant, with the DELs of the failed sandboxes
between. A later ADD of the same pod, after the granted one's DEL, is another arrival. Pods that their caller does not
name are told apart by their sandbox. The same notion serves recorded journals, `ipamd whatif`, `ipamd scenario`,
`ipamd simulate --retry` and `make demo`.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import msgspec

from ipamd.core import events as ev
from ipamd.core.commands import AddNetwork, Command, DelNetwork
from ipamd.core.events import Record
from ipamd.core.types import NEVER, SECOND, Instant, Ipv4Text, Pod, Sandbox

RETRY: Final = 10 * SECOND
"""How long after a refusal the kubelet tries a pod's sandbox again: its back-off period, without the jitter."""


def container_of(pod: str, attempt: int = 0) -> str:
    """The id of the sandbox that a pod's try is for: another one each time, as of a real runtime."""
    return sha256((f"{pod}/{attempt}" if attempt else pod).encode()).hexdigest()


class Arrival(msgspec.Struct):
    """One pod's way to an address. Instants in ns; NEVER where it did not happen."""

    pod: Pod
    sandbox: Sandbox
    """The one that was granted, or tried last."""
    tries: list[Instant]
    seqs: list[int]
    """The records of its tries."""
    granted_at: Instant = NEVER
    ended_at: Instant = NEVER
    ended_seq: int = 0
    reasons: list[str] = []

    @property
    def wait(self) -> int | None:
        """From the first try to the grant, in ns; None without a grant."""
        return self.granted_at - self.tries[0] if self.granted_at else None


def demand_of(cause: Command) -> AddNetwork | DelNetwork | None:
    """What a pod's sandbox asked for by this cause, directly or told by somebody's logs."""
    told = cause if isinstance(cause, AddNetwork | DelNetwork) else getattr(cause, "demand", None)
    return told if isinstance(told, AddNetwork | DelNetwork) else None


Key = tuple[str, str] | Sandbox


def key_of(pod: Pod, sandbox: Sandbox) -> Key:
    """What tells one pod from another."""
    return (pod.namespace, pod.name) if pod.name else sandbox


class Arrivals:
    """Told every record in order, it knows the arrivals: `waiting` without an address, `held` with one, `gone`."""

    def __init__(self, keep_gone: bool = True) -> None:
        self.all: list[Arrival] = []
        self.waiting: dict[Key, Arrival] = {}
        self.held: dict[Sandbox, Arrival] = {}
        self._by_address: dict[Ipv4Text, Sandbox] = {}
        self._keep_gone = keep_gone

    def hear(self, record: Record) -> Arrival | None:
        """The arrival that this record grants an address to, if it does."""
        asked = demand_of(record.cause)
        granted = None
        for event in record.events:
            match event:
                case ev.AddressAssigned():
                    granted = self._try(record, event.pod, event.sandbox)
                    granted.granted_at = record.at
                    del self.waiting[key_of(event.pod, event.sandbox)]
                    self.held[event.sandbox] = granted
                    self._by_address[event.address] = event.sandbox
                case ev.AssignRefused() if isinstance(asked, AddNetwork):
                    self._try(record, asked.pod, asked.sandbox).reasons.append(event.reason)
                case ev.AddressReleased():
                    self._end(event.address, record)
                case _:
                    pass
        return granted

    def _try(self, record: Record, pod: Pod, sandbox: Sandbox) -> Arrival:
        key = key_of(pod, sandbox)
        arrival = self.waiting.get(key)
        if arrival is None:
            arrival = self.waiting[key] = Arrival(pod, sandbox, [], [])
            if self._keep_gone:
                self.all.append(arrival)
        arrival.sandbox = sandbox
        arrival.tries.append(record.at)
        arrival.seqs.append(record.seq)
        return arrival

    def _end(self, address: Ipv4Text, record: Record) -> None:
        sandbox = self._by_address.pop(address, None)
        arrival = self.held.pop(sandbox, None) if sandbox is not None else None
        if arrival is not None:
            arrival.ended_at, arrival.ended_seq = record.at, record.seq
