"""What the controller asks of EC2, each at EC2's client-side rate and counted: assign, unassign, describe.

A call of the machine can be several requests: after an assignment the interface is described until it shows what
was granted (WIN-107), and an instance is read with its subnet (WIN-33). Failures are the machine's outcomes.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from typing import Final, NamedTuple

from ipamd.core.calls import AssignPrivateIpAddresses, Failed, Granted, Lost, UnassignPrivateIpAddresses
from ipamd.core.cluster_calls import InstanceFacts, InterfaceFacts
from ipamd.core.types import CallId
from ipamd.ec2 import answers, requests
from ipamd.ec2.answers import Answer
from ipamd.ec2.fleet import NO_INSTANCE, Fleet
from ipamd.ec2.limits import limits
from ipamd.ec2.port import Ec2Error, Ec2Lost, operation
from ipamd.ec2.requests import Request

from .clock import Clock
from .pace import Bucket

TRIES: Final = 3
"""WIN-113: of one request, when EC2 throttles."""
THROTTLED: Final = frozenset({"RequestLimitExceeded", "Throttling", "ThrottlingException", "RequestThrottled"})
VISIBLE_TRIES: Final = 7
VISIBLE_SECONDS: Final = 0.25
"""WIN-107: waits of 250 ms, doubled, between the tries, up to a tenth longer."""


class Asked(NamedTuple):
    """One request to EC2 as the metrics hear of it. `code` is "" after a success."""

    action: str
    seconds: float
    code: str


class FleetAsks:
    """`on_ask` hears of every request."""

    def __init__(self, fleet: Fleet, clock: Clock, rate: Bucket) -> None:
        self.on_ask: Callable[[Asked], None] = lambda _: None
        self._fleet = fleet
        self._clock = clock
        self._rate = rate
        self._subnets: dict[str, str] = {}
        """Id -> CIDR: a subnet's never changes, so a re-sync costs one request (WIN-97)."""

    async def ask(self, request: Request, call_id: CallId | None = None) -> Answer | Failed | Lost:
        """One request, again when EC2 throttles."""
        for number in range(1, TRIES + 1):
            await self._rate.take()
            answer = await self._once(request)
            if not isinstance(answer, Failed) or answer.code not in THROTTLED or number == TRIES:
                return answer
            await self._clock.sleep(2.0**number * spread(f"throttled/{call_id}/{number}"))
        raise AssertionError("the last try returns")

    async def _once(self, request: Request) -> Answer | Failed | Lost:
        began = time.monotonic()
        code = ""
        try:
            return await self._fleet.ask(request)
        except Ec2Error as error:
            code = error.code or "error"
            return Failed(error.code, error.message)
        except Ec2Lost as lost:
            code = "lost"
            return Lost(lost.why)
        finally:
            self.on_ask(Asked(operation(request), time.monotonic() - began, code))

    async def assign(self, call: AssignPrivateIpAddresses, call_id: CallId) -> Granted | Failed | Lost:
        """WIN-106..108: what was granted and shows; less than was wanted if some of it never does."""
        request = requests.AssignPrivateIpAddresses(
            call.eni, address_count=call.secondary_ips, prefix_count=call.prefixes
        )
        answer = await self.ask(request, call_id)
        if isinstance(answer, Failed | Lost):
            return answer
        assert isinstance(answer, answers.Granted), answer
        if call.prefixes and not answer.prefixes:
            return Failed("", "the answer lists no prefix; compared with EC2 next")
        return await self._shown(call, answer, call_id)

    async def _shown(
        self, call: AssignPrivateIpAddresses, granted: answers.Granted, call_id: CallId
    ) -> Granted | Lost:
        """Wait until the interface shows all that was granted."""
        seen = Granted()
        for number in range(VISIBLE_TRIES):
            found = await self.ask(requests.DescribeNetworkInterfaces(ids=(call.eni,)), call_id)
            if isinstance(found, Failed | Lost):
                why = found.message if isinstance(found, Failed) else found.why
                return Lost(f"granted, but the interface could not be described: {why}")
            assert isinstance(found, answers.Page), found
            row = found.items[0]
            assert isinstance(row, answers.NetworkInterface), row
            if not (row.prefixes if call.prefixes else row.addresses):
                return Granted()  # WIN-107: no such list at all ends the wait
            seen = Granted(
                tuple(a for a in granted.addresses if a in row.addresses),
                tuple(p for p in granted.prefixes if p in row.prefixes),
            )
            if (seen.addresses, seen.prefixes) == (granted.addresses, granted.prefixes):
                return seen
            if number < VISIBLE_TRIES - 1:
                wait = VISIBLE_SECONDS * 2**number
                await self._clock.sleep(wait * (1 + spread(f"visible/{call_id}/{number}") / 10))
        return seen

    async def unassign(self, call: UnassignPrivateIpAddresses, call_id: CallId) -> Failed | Lost | None:
        """WIN-109: one request for the whole list."""
        addresses = tuple(address.partition("/")[0] for address in call.addresses)
        answer = await self.ask(requests.UnassignPrivateIpAddresses(call.eni, addresses, call.prefixes), call_id)
        return answer if isinstance(answer, Failed | Lost) else None

    async def instance(self, name: str, call_id: CallId | None = None) -> InstanceFacts | Failed | Lost:
        """WIN-33: the instance, its subnet's CIDR, its interfaces with the primary one first, its type's limits."""
        found = await self.described(name, call_id)
        if isinstance(found, Failed | Lost):
            return found
        known = limits(found.instance_type)
        if known is None:
            return InstanceFacts(found.instance_type, "", ())
        cidr = await self.subnet_cidr(found.subnet, call_id)
        if isinstance(cidr, Failed | Lost):
            return cidr
        # The primary interface is the one whose primary address is the instance's.
        ordered = sorted(found.interfaces, key=lambda eni: eni.addresses[:1] != (found.primary,))
        interfaces = tuple(InterfaceFacts(eni.eni, eni.addresses[1:], eni.prefixes) for eni in ordered)
        return InstanceFacts(found.instance_type, cidr, interfaces, known.ips_per_eni, known.prefixes)

    async def described(self, name: str, call_id: CallId | None = None) -> answers.Instance | Failed | Lost:
        """DescribeInstances of one."""
        answer = await self.ask(requests.DescribeInstances(ids=(name,)), call_id)
        if isinstance(answer, Failed | Lost):
            return answer
        assert isinstance(answer, answers.Page), answer
        rows = [row for row in answer.items if isinstance(row, answers.Instance) and row.state != "terminated"]
        if len(rows) != 1:
            return Failed(NO_INSTANCE, f"{name}: EC2 described {len(rows)} running instances of this id, want one")
        return rows[0]

    async def subnet_cidr(self, subnet: str, call_id: CallId | None = None) -> str | Failed | Lost:
        """The subnet's IPv4 CIDR."""
        if subnet in self._subnets:
            return self._subnets[subnet]
        answer = await self.ask(requests.DescribeSubnets(ids=(subnet,)), call_id)
        if isinstance(answer, Failed | Lost):
            return answer
        assert isinstance(answer, answers.Page), answer
        for row in answer.items:
            if isinstance(row, answers.Subnet):
                self._subnets[subnet] = row.cidr
                return row.cidr
        return Failed("InvalidSubnetID.NotFound", f"{subnet}: EC2 described no such subnet")


def spread(seed: str) -> float:
    """0 to 1, the same for the same text: jitter that can be lived again."""
    return zlib.crc32(seed.encode()) / 2**32
