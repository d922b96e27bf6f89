"""Which of several controllers acts: the one that holds a Lease, as client-go's leader election has it.

    acquire   until the Lease is ours: it is absent, given up, or its holder has not renewed it for `seconds`
    keep      renew it; raises LeadershipLost once that has failed for `renew_seconds`, or another one holds it
    release   give it up, so that the next one need not wait

Clocks of different machines are never compared: a holder's time is up when its record has not changed for so long
by our own clock. Between losing the Lease and another one's taking it lie `seconds - renew_seconds`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from msgspec.structs import replace

from ipamd.core.types import SECOND, Instant

from .control import ControlCluster
from .control_views import Lease
from .port import ClusterError, ClusterLost
from .wire import micro_time

LEASE: Final = "cp-vpc-resource-controller"
NAMESPACE: Final = "kube-system"
LEASE_SECONDS: Final = 30
RENEW_SECONDS: Final = 15
RETRY_SECONDS: Final = 5
"""WIN-135."""


class LeadershipLost(Exception):
    """The Lease could not be renewed in time, or another controller holds it: this process must act no more."""

    def __init__(self, why: str) -> None:
        super().__init__(f"leader election lost: {why}; this process ends, start it again to stand for election")


class Election:
    """One candidate. `now` and `sleep` are the clock's."""

    def __init__(
        self,
        cluster: ControlCluster,
        identity: str,
        now: Callable[[], Instant],
        sleep: Callable[[float], Awaitable[object]],
        *,
        namespace: str = NAMESPACE,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._cluster = cluster
        self.identity = identity
        self._now = now
        self._sleep = sleep
        self._namespace = namespace
        self._warn = warn
        self._seen = Lease(namespace, LEASE)
        self._seen_at: Instant = 0
        self.leader = ""
        """Who holds the Lease, as far as is known."""

    @property
    def leading(self) -> bool:
        """Whether it is ours, as far as is known."""
        return self.leader == self.identity

    async def acquire(self) -> None:
        """Return when the Lease is ours."""
        while not await self._try():
            await self._sleep(RETRY_SECONDS)

    async def keep(self) -> None:
        """Renew it for ever. Raises LeadershipLost."""
        renewed = self._now()
        while True:
            await self._sleep(RETRY_SECONDS)
            if await self._try():
                renewed = self._now()
            elif not self.leading:
                raise LeadershipLost(f"{self.leader!a:.200} holds Lease {self._namespace}/{LEASE}")
            elif self._now() - renewed >= RENEW_SECONDS * SECOND:
                raise LeadershipLost(f"Lease {self._namespace}/{LEASE} was not renewed for {RENEW_SECONDS} s")

    async def release(self) -> None:
        """Give it up, if it is ours; a failure only means that the next one waits."""
        if not self.leading:
            return
        try:
            await self._cluster.update_lease(replace(self._seen, holder="", seconds=1, renewed=self._time()))
            self.leader = ""
        except (ClusterError, ClusterLost) as error:
            self._warn(f"Lease {self._namespace}/{LEASE} was not given up: {error}; the next leader waits for it")

    async def _try(self) -> bool:
        """Take or renew it; whether it is ours now."""
        try:
            return await self._attempt()
        except ClusterError as error:
            if error.conflict or error.reason == "AlreadyExists":
                return False  # another candidate was quicker
            self._warn(f"leader election: {error}")
        except ClusterLost as lost:
            self._warn(f"leader election: {lost}")
        return False

    async def _attempt(self) -> bool:
        try:
            found = await self._cluster.lease(self._namespace, LEASE)
        except ClusterError as error:
            if not error.missing:
                raise
            self._observe(await self._cluster.create_lease(self._held(Lease(self._namespace, LEASE))))
            return True
        self._observe(found)
        theirs = found.holder not in ("", self.identity)
        if theirs and self._now() - self._seen_at < max(found.seconds, 1) * SECOND:
            return False
        self._observe(await self._cluster.update_lease(self._held(found)))
        return True

    def _observe(self, found: Lease) -> None:
        """What the Lease says, and since when by our clock."""
        if (found.version, found.holder) != (self._seen.version, self._seen.holder) or not self._seen_at:
            self._seen, self._seen_at = found, self._now()
        self.leader = found.holder

    def _held(self, before: Lease) -> Lease:
        """The Lease as ours, from now."""
        now = self._time()
        mine = before.holder == self.identity
        return replace(
            before,
            holder=self.identity,
            seconds=LEASE_SECONDS,
            renewed=now,
            acquired=before.acquired if mine and before.acquired else now,
            transitions=before.transitions + (0 if mine or not before.version else 1),
        )

    def _time(self) -> str:
        return micro_time(self._now())
