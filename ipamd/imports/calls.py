"""EC2 calls as the log tells them: begun, ended, with what latency, and ENIs on their way in and out."""

from __future__ import annotations

import re
from typing import Final

from ipamd.core import events as ev
from ipamd.core.calls import (
    INSUFFICIENT_CODES,
    AssignIpv6Addresses,
    AssignPrivateIpAddresses,
    Call,
    CreateNetworkInterface,
    DeleteNetworkInterface,
    DetachNetworkInterface,
    UnassignPrivateIpAddresses,
)
from ipamd.core.events import Event
from ipamd.core.types import CallId

from .pool import Pool
from .sorting import Heard

_CODE: Final = re.compile(r"(?:api error )?([A-Z][A-Za-z]+(?:\.[A-Za-z]+)*): ")
_NUMBER_MAX: Final = 10_000


class Calls:
    """At most one call of each action is in flight: upstream's pool loop is one goroutine."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._open: dict[type, CallId] = {}

    def take(self, heard: Heard, values: dict[str, str]) -> None:
        """A line of EC2's; any other one is no concern of this."""
        pool, eni = self._pool, values.get("eni", "")
        match heard.id:
            case "G1b":
                count = min(int(values["n"]), _NUMBER_MAX)
                prefixes = pool.state.settings.prefix_delegation
                call = AssignPrivateIpAddresses(eni, 0 if prefixes else count, count if prefixes else 0)
                self._begin(heard, call)
            case "G1c":
                self._begin(heard, AssignIpv6Addresses(eni, min(int(values["n"]), _NUMBER_MAX)))
            case "G4":
                wide = values["kind"].startswith("IPv6")
                pool.record(heard, self._end(AssignIpv6Addresses if wide else AssignPrivateIpAddresses, "succeeded"))
            case "G5":
                self._failed(heard, AssignPrivateIpAddresses, values["err"])
            case "G2":
                groups = tuple(values["sgs"].split())
                self._begin(heard, CreateNetworkInterface(values["sn"], groups, "", ""))
            case "G2b":
                known = pool.facts.eni(eni)
                made = ev.EniCreated(eni, known.primary_ip, known.subnet, "")
                pool.record(heard, [*self._end(CreateNetworkInterface, "succeeded"), made])
            case "G2c" | "G2d":
                self._failed(heard, CreateNetworkInterface, values["err"])
            case "G3":
                device = max(pool.facts.eni(eni).device, 0)
                pool.record(heard, [ev.EniAttached(eni, "", device)] if eni in pool.state.pending else [])
            case "G6":
                listed = tuple(values["l"].split())
                addresses, prefixes_ = (listed, ()) if values["kind"] == "IPs" else ((), listed)
                self._begin(heard, UnassignPrivateIpAddresses(eni, addresses, prefixes_))
            case "G6b":
                pool.record(heard, self._end(UnassignPrivateIpAddresses, "succeeded"))
            case "G7":
                self._begin(heard, DetachNetworkInterface(eni, ""))
            case "G7b" | "G7c":
                self._gone(heard, values)
            case _:
                pass

    def drop(self) -> list[Event]:
        """A process ended: whatever it waited for is lost."""
        lost: list[Event] = [ev.CallEnded(call, "lost", message="the process ended") for call in self._open.values()]
        self._open.clear()
        return lost

    def _begin(self, heard: Heard, call: Call) -> None:
        events = self._end(type(call), "lost")
        number = CallId(self._pool.state.next_call)
        self._open[type(call)] = number
        self._pool.record(heard, [*events, ev.CallStarted(number, call, "side")])

    def _end(self, kind: type, how: str, code: str = "", message: str = "") -> list[Event]:
        number = self._open.pop(kind, None)
        if number is None:
            return []
        match how:
            case "succeeded":
                return [ev.CallEnded(number, "succeeded")]
            case "failed":
                return [ev.CallEnded(number, "failed", code, message)]
            case _:
                return [ev.CallEnded(number, "lost", message="no line tells its end")]

    def _failed(self, heard: Heard, kind: type, err: str) -> None:
        found = _CODE.search(err)
        code, message = (found[1], err[found.end() :]) if found else ("", err)
        message = message[:1000]
        events = self._end(kind, "failed", code, message)
        if code not in INSUFFICIENT_CODES:
            fn = "increaseIPPoolAllocENI" if kind is CreateNetworkInterface else "increaseIPPoolAllocIPAddrs"
            events.append(ev.ErrorCounted(fn, message, code))
        self._pool.record(heard, events)

    def _gone(self, heard: Heard, values: dict[str, str]) -> None:
        eni, what = values["eni"], values.get("what", "freed")
        if what == "detached":
            self._pool.record(heard, self._end(DetachNetworkInterface, "succeeded"))
            if eni in self._pool.state.pending:
                self._begin(heard, DeleteNetworkInterface(eni))
            return
        events = [*self._end(DetachNetworkInterface, "succeeded"), *self._end(DeleteNetworkInterface, "succeeded")]
        gone: list[Event] = [ev.EniDiscarded(eni)] if eni in self._pool.state.pending else []
        self._pool.record(heard, [*events, *gone])
