"""boto3 clients with our limits: a time for each request as a whole, and no second try of what may have happened.

boto3 tries again by itself (mode `adaptive`: it also slows down when EC2 throttles). That is right for a read and
for a call whose repetition changes nothing. A call that would happen twice is not sent again once its answer is
lost; whoever asked looks what became of it. The hooks here are botocore's public events:

    before-send    the request's time is over -> nothing is sent
    needs-retry    the answer was lost and the call must not be repeated -> no retry
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, TypeVar

import boto3
import botocore.session
import msgspec
from botocore.config import Config
from botocore.exceptions import ConnectionError
from botocore.loaders import create_loader

from .boto_threads import MOST

_T = TypeVar("_T")

TRIES: Final = 4
"""Of one request, the first one included."""
CONNECT_SECONDS: Final = 2.0
"""As long as a connection may take; EC2 is near."""
READ_SHARE: Final = 0.4
"""Part of a request's time after which a read is asked again."""
THROTTLED: Final = frozenset(
    {"RequestLimitExceeded", "Throttling", "ThrottlingException", "EC2ThrottledException", "RequestThrottled"}
)
NO_EFFECT: Final = THROTTLED | {"Unavailable", "ServiceUnavailable"}
"""Refusals that come with an HTTP status 5xx and had no effect all the same."""


class Access(msgspec.Struct, frozen=True):
    """Where EC2 is and who asks."""

    region: str
    endpoint: str = ""
    """"": as the region and the environment say."""
    seconds: float = 9.5
    """For one request with all its tries."""
    key: tuple[str, str] | None = None
    """Access key and secret; None: boto3's ordinary chain."""
    imds: str = ""
    """Where that chain finds instance metadata; "": as the environment says."""


class GaveUp(Exception):
    """Its time is over, so it was not sent (again)."""


class AnswerLost(Exception):
    """It was sent, what became of it is unknown, and it must not be repeated."""


class Request:
    """One request through all its tries; seen by its thread and by the loop that waits for it."""

    def __init__(self, action: str, *, repeatable: bool, read: bool) -> None:
        self.action = action
        self.repeatable = repeatable
        self.read = read
        self.tries = 0
        self.refused: tuple[str, str] | None = None
        """Code and message of the last refusal that is being retried."""
        self.unsure = False
        """Some try may have had its effect."""
        self._outstanding = False
        self._over = False
        self._lock = threading.Lock()

    def sending(self) -> None:
        """The next try. Raises `GaveUp`."""
        with self._lock:
            if self._over:
                raise GaveUp(self.action)
            self.tries += 1
            self._outstanding = True

    def answered(self, response: Any, error: BaseException | None) -> None:
        """What a try came to; raises `AnswerLost` or `GaveUp` where there must not be another."""
        if isinstance(error, GaveUp):
            raise error
        with self._lock:
            self._outstanding = False
            if error is not None:
                lost = not isinstance(error, ConnectionError)  # refused, no route, no such host: it was never sent
                why = str(error)
            else:
                http, parsed = response
                said = parsed.get("Error", {}) if http.status_code >= 300 else {}
                self.refused = (str(said.get("Code", "")), str(said.get("Message", ""))) if said else None
                lost = http.status_code >= 500 and said.get("Code", "") not in NO_EFFECT
                why = f"HTTP {http.status_code} {said.get('Code', '')}".rstrip()
            self.unsure = self.unsure or lost
        if lost and not self.read and not self.repeatable:
            raise AnswerLost(why) from error

    def give_up(self) -> bool:
        """No further try; whether it may have had, or may still have, its effect."""
        with self._lock:
            self._over = True
            return self._outstanding or self.unsure


class Clients:
    """Two EC2 clients, for reads and for calls; safe to use from several threads."""

    def __init__(self, access: Access) -> None:
        """Takes about half a second, mostly to read EC2's description. Raises botocore's errors."""
        self.access = access
        self._here = threading.local()
        self.renew()
        self.url: str = self._calls.meta.endpoint_url
        """Where EC2 is asked."""

    def renew(self) -> None:
        """Ask the credential chain anew: a profile's keys, once read, are kept for the life of a session."""
        session = _session(self.access)
        self._reads = self._client(session, READ_SHARE * self.access.seconds)
        self._calls = self._client(session, self.access.seconds)

    def perform(self, request: Request, work: Callable[[Any], _T]) -> _T:
        """`work` with the client that fits, its tries counted on `request`. Blocks; raises botocore's errors."""
        self._here.request = request
        try:
            return work(self._reads if request.read else self._calls)
        finally:
            self._here.request = None

    def close(self) -> None:
        """Let go of idle connections."""
        for client in (self._reads, self._calls):
            client.close()

    def _client(self, session: Any, read_seconds: float) -> Any:
        config = Config(
            connect_timeout=min(CONNECT_SECONDS, read_seconds),
            read_timeout=read_seconds,
            retries={"mode": "adaptive", "total_max_attempts": TRIES},
            max_pool_connections=MOST,
            user_agent_extra="ipamd-emulator",
            proxies={} if self.access.key is not None else None,  # a moto on this machine is behind no proxy
        )
        key, secret = self.access.key or (None, None)
        client = session.client(
            "ec2",
            region_name=self.access.region,
            endpoint_url=self.access.endpoint or None,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=config,
        )
        # Last of those for every service, where the rate limiter stands: what waits for its turn is not sent yet.
        client.meta.events.register_last("before-send", self._before_send)
        client.meta.events.register_first("needs-retry.ec2", self._needs_retry)
        return client

    def _before_send(self, **_: object) -> None:
        request: Request | None = getattr(self._here, "request", None)
        if request is not None:
            request.sending()

    def _needs_retry(self, response: Any = None, caught_exception: BaseException | None = None, **_: object) -> None:
        request: Request | None = getattr(self._here, "request", None)
        if request is not None:
            request.answered(response, caught_exception)


@cache
def _descriptions() -> Any:
    """Reads the descriptions of AWS's services, each once a process: EC2's has ten megabytes."""
    return create_loader()


def _session(access: Access) -> Any:
    inner = botocore.session.Session()
    inner.register_component("data_loader", _descriptions())
    variables: Mapping[str, object] = {
        "metadata_service_timeout": 1,
        "metadata_service_num_attempts": 2,
        **({"ec2_metadata_service_endpoint": access.imds} if access.imds else {}),
    }
    for name, value in variables.items():
        inner.set_config_variable(name, value)
    return boto3.Session(botocore_session=inner)
