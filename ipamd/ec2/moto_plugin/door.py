"""One account's cloud in one region, as HTTP threads reach it: a lock, EC2's throttle and latency, the VPC model.

Requests run one at a time: moto checks first and acts later, without locks of its own. Waiting is done outside the
lock, half of it before the effect and half after, as in the embedded cloud.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import TypeVar

import msgspec
from moto.ec2.exceptions import EC2ClientError

from ipamd.core.calls import Failed, Lost
from ipamd.core.types import SECOND, EniId, Instant
from ipamd.ec2 import answers, describe, refusals, requests
from ipamd.ec2 import vpc as model
from ipamd.ec2.latency import Latency, Profile
from ipamd.ec2.state import Vpc, VpcSettings
from ipamd.ec2.throttle import Bucket, Throttle

AnswerT = TypeVar("AnswerT", bound=answers.Answer)


class Behaviour(msgspec.Struct, frozen=True):
    """What is asked of every cloud of this process; off by default."""

    settings: VpcSettings = VpcSettings()
    latency: Profile = "none"
    buckets: dict[str, Bucket] = {}
    """By action, those of moto's own actions too."""


class Refused(EC2ClientError):
    """EC2's code and message, as moto serializes them."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.code, failed.message)


class Unanswered(Exception):
    """The reply is lost: the connection ends without one."""


class Door:
    """The way in. `cloud` is for reading; `lock` must be held."""

    def __init__(
        self,
        behaviour: Behaviour,
        region: str,
        account: str,
        clock: Callable[[], Instant] = time.time_ns,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        settings = msgspec.structs.replace(behaviour.settings, account=account)
        self.region = region
        self.account = account
        self.lock = threading.RLock()
        self.cloud: Vpc = Vpc(settings, region=region)
        self._clock = clock
        self._sleep = sleep
        self._latency = Latency(behaviour.latency, settings.seed)
        self._throttle = Throttle(behaviour.buckets)
        self._requests = 0
        self._here = threading.local()

    def ask(self, request: requests.Request, kind: type[AnswerT]) -> AnswerT:
        """The model's answer. Raises `Refused` or `Unanswered`."""
        with self.lock:
            served = model.serve(self.cloud, request, self._clock())
        self._here.owed = getattr(self._here, "owed", 0) + served.delay
        outcome = served.answer
        if isinstance(outcome, Failed):
            raise Refused(outcome)
        if isinstance(outcome, Lost):
            raise Unanswered(outcome.why)
        assert isinstance(outcome, kind), f"{type(request).__name__} gave {type(outcome).__name__}"
        return outcome

    def admit(self, action: str) -> None:
        """Take a token for one request, and look whether it is permitted, whoever answers it. Raises `Refused`."""
        if not self._throttle.admit(action, self._clock(), self.account, self.region):
            raise Refused(refusals.throttled())
        if any(fnmatchcase(action, pattern.removeprefix("ec2:")) for pattern in self.cloud.settings.denied):
            raise Refused(refusals.unauthorized())

    def waits(self, action: str) -> tuple[float, float]:
        """Seconds to let pass before and after the next request of the action."""
        self._requests += 1
        half = self._latency.of(action, self._requests) / 2 / SECOND
        return half, half

    def owed(self) -> float:
        """Seconds that faults have added to this thread's request."""
        owed, self._here.owed = getattr(self._here, "owed", 0), 0
        return owed / SECOND

    def pause(self, seconds: float) -> None:
        if seconds > 0:
            self._sleep(seconds)

    def now(self) -> Instant:
        return self._clock()

    @contextmanager
    def earlier(self, ns: int) -> Iterator[None]:
        """Inside, it is so much earlier: what is made then is no news to metadata and to Describe calls."""
        clock = self._clock
        self._clock = lambda: clock() - ns
        try:
            yield
        finally:
            self._clock = clock

    def interface(self, eni: EniId) -> answers.NetworkInterface:
        """One ENI as it is now."""
        return describe.network_interface(self.cloud, self.cloud.enis[eni])
