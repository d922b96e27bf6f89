"""`/metrics` with upstream's names, types and labels (HTTP-20..26).

records  -> counters and the two histograms       on_record, once a record is durable
requests -> counters of the doors                 RequestCounts
calls    -> latency and EC2 counters              on_call, from the performer
State    -> gauges                                at the moment of a scrape

Every family has its HELP and TYPE from the first scrape on, samples or not. What users asked upstream for and it does
not have is named `ipamd_`.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

from aiohttp import web
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import Metric

from ipamd.core import events as ev
from ipamd.core.pool_linux import cooled, enis_max, ips_per_eni
from ipamd.core.reasons import REASONS
from ipamd.core.state import State
from ipamd.core.types import SECOND, CidrText, Instant
from ipamd.core.work import Fill, Grow, Init, Resync, Shed, Trim, Work

from .counts import RequestCounts
from .exposition import CONTENT_TYPE, Counters, Histogram, Summary, gauge, gauges, render

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""HTTP-25."""
_METADATA: Final = "ReadMetadata"
"""Instance metadata is not EC2's API: upstream's latency summary never sees it (HTTP-24)."""
_NOT_EXHAUSTION: Final = ("invalid", "restart")
"""Refusals that are not for lack of an address."""

Connmark: TypeAlias = Callable[[], tuple[str, Mapping[str, int]]]
"""What programs the connmark rules, "" for nothing yet; how often that went well or wrong ("success", "error")."""
Subnets: TypeAlias = Callable[[], Mapping[str, tuple[int, int]]]
"""Subnet -> its free addresses and its free /28 blocks."""


class Metrics:
    """Everything that `/metrics` shows."""

    def __init__(
        self,
        state: Callable[[], State],
        requests: RequestCounts,
        version: str = "",
        *,
        now: Callable[[], Instant] = time.time_ns,
        lag: Callable[[], float] = lambda: 0.0,
        subnets: Subnets | None = None,
        connmark: Connmark = lambda: ("", {}),
    ) -> None:
        """`now` in ns; `lag`: how many seconds the disk is behind; `subnets` where the backend can know;
        `connmark` where the host is a real one."""
        self._state = state
        self._requests = requests
        self._version = version
        self._now = now
        self._lag = lag
        self._subnets = subnets
        self._started_at: Instant = 0
        self._errors = Counters("awscni_ipamd_error_count", "Failures of ipamd, by what failed", ("fn",))
        self._reconciled = Counters("awscni_reconcile_count", "What reconciliation added and dropped", ("fn",))
        self._utils = Counters("awscni_aws_utils_error_count", "Failed clean-ups in EC2", ("fn", "error"))
        self._latency = Summary(
            "awscni_aws_api_latency_ms", "Latency of EC2 requests in milliseconds", ("api", "error", "status")
        )
        self._api_errors = Counters("awscni_aws_api_error_count", "EC2 requests refused, by code", ("api", "error"))
        self._calls = Counters("awscni_ec2api_req_count", "EC2 requests, by action", ("fn",))
        self._failed_calls = Counters("awscni_ec2api_error_count", "EC2 requests that failed, by action", ("fn",))
        self._forced_enis = Counters("awscni_force_removed_enis", "ENIs that left with pods on them")
        self._forced_ips = Counters("awscni_force_removed_ips", "Addresses that left while a pod held them")
        self._exhausted = Counters("awscni_no_available_ip_addresses", "Requests refused for lack of an address")
        self._connmark = connmark
        self._pod_eni = Counters("awscni_pod_eni_error_count", "Failures with security groups for pods", ("fn",))
        self._refused = Counters(
            "ipamd_refusals_total", "AddNetwork requests without an address, by reason", ("reason",)
        )
        for reason in REASONS:
            self._refused.add(reason, times=0)
        self._startup = Histogram(
            "awscni_ipamd_startup_duration_seconds",
            "From the start to open doors, or to the failure",
            ("success", "with_api_server", "failure_reason"),
            BUCKETS,
        )
        self._init = Histogram(
            "awscni_ipamd_node_initialization_duration_seconds", "Duration of node init", ("success",), BUCKETS
        )
        self._cidrs: dict[CidrText, None] = {}
        """Blocks that ever served a pod: their series stay (HTTP-21)."""
        self._sunk: dict[CidrText, int] = {}
        """Releases in each IPv6 block since the start: what upstream's gauge has fallen by (DM-26)."""
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        GCCollector(registry=self._process)

    # ---- what feeds it -------------------------------------------------------------------------------------

    def on_record(self, record: ev.Record) -> None:
        """Count one durable record."""
        for event in record.events:
            match event:
                case ev.AddressAssigned():
                    self._cidrs[event.block] = None
                case ev.AddressReleased() if ":" in event.address and not event.stale:
                    self._sunk[event.block] = self._sunk.get(event.block, 0) + 1
                case ev.AssignRefused():
                    self._refused.add(event.reason)
                    if event.reason not in _NOT_EXHAUSTION:
                        self._exhausted.add()
                case ev.ErrorCounted():
                    self._error(event)
                case ev.ReconcileCounted():
                    self._reconciled.add(event.fn, times=event.times)
                case ev.EniLeft() if event.pods:
                    self._forced_enis.add()
                    self._forced_ips.add(times=event.pods)
                case ev.CidrRemoved() if event.pods:
                    self._forced_ips.add(times=event.pods)
                case ev.Started():
                    self._started_at = record.at
                case ev.NodeReady():
                    self._initialised(record.at, "true", "")
                case ev.InitFailed():
                    self._initialised(record.at, "false", "node_initialization")
                case _:
                    pass  # what moves no counter

    def on_call(self, operation: str, seconds: float, code: str, problem: str = "") -> None:
        """One EC2 request ended. A failure without EC2's code has only a `problem`."""
        if operation == _METADATA:
            return
        failed = bool(code or problem)
        self._calls.add(operation)
        self._latency.observe(float(int(seconds * 1000)), operation, _word(failed), code if failed else "200")
        if failed:
            self._failed_calls.add(operation)
        if code:
            self._api_errors.add(operation, code)

    def _error(self, event: ev.ErrorCounted) -> None:
        if event.counter == "ipamd":
            self._errors.add(event.fn)
        elif event.counter == "pod_eni":
            self._pod_eni.add(event.fn)
        elif event.counter == "aws_utils" and event.code:
            self._utils.add(event.fn, event.message[:256])

    def _initialised(self, at: Instant, success: str, reason: str) -> None:
        seconds = (at - self._started_at) / SECOND
        self._init.observe(seconds, success)
        self._startup.observe(seconds, success, "false", reason)

    # ---- what reads it -------------------------------------------------------------------------------------

    def collect(self) -> Iterator[Metric]:
        """Every family, upstream's first; those without a series have their HELP and TYPE all the same."""
        state = self._state()
        build = gauge("awscni_build_info", "The build", 1)
        build.samples[0].labels.update(version=self._version, goversion=_runtime())
        yield build
        yield from self._gauges(state)
        yield from self._counters()
        yield from self._ours(state)
        yield from self._process.collect()

    def _counters(self) -> Iterator[Metric]:
        requests = Counters("awscni_add_ip_req_count", "AddNetwork requests, the rejected ones included")
        requests.add(times=self._requests.adds)
        releases = Counters("awscni_del_ip_req_count", "DelNetwork requests, by their reason", ("reason",))
        for reason, times in self._requests.deletes.items():
            releases.add(reason, times=times)
        backend, results = self._connmark()
        reconciled = Counters("awscni_connmark_reconcile_total", "Reconciliations of connmark rules", ("result",))
        for result in ("success", "error"):
            reconciled.add(result, times=results.get(result, 0))
        families = (
            self._errors, self._reconciled, requests, releases, self._latency, self._api_errors, self._utils,
            self._calls, self._failed_calls, self._forced_enis, self._forced_ips, self._exhausted,
            self._startup, self._init, reconciled, self._pod_eni,
        )  # fmt: skip
        for family in families:
            yield family.metric()
        backends = {backend: 1} if backend else {}
        yield gauges("awscni_connmark_backend", "What programs the connmark rules", "backend", backends)

    def _ours(self, state: State) -> Iterator[Metric]:
        """What upstream does not have."""
        refusals = self._refused.metric()
        for reason, times in self._requests.rejected.items():
            refusals.add_sample(self._refused.name, {"reason": reason}, times)
        yield refusals
        yield self._requests.add_seconds.metric()
        cooling = cooling_addresses(state, max(self._now(), state.at))
        yield gauge("ipamd_cooling_ip_addresses", "Released addresses that serve nobody yet", cooling)
        yield gauge("ipamd_journal_lag_seconds", "Age of the oldest record that is not on disk yet", self._lag())
        free = self._subnets() if self._subnets is not None else {}
        addresses = {subnet: found[0] for subnet, found in free.items()}
        prefixes = {subnet: found[1] for subnet, found in free.items()}
        yield gauges("ipamd_subnet_free_addresses", "Addresses of the subnet that no ENI has", "subnet", addresses)
        yield gauges("ipamd_subnet_free_prefixes", "Free aligned /28 blocks of the subnet", "subnet", prefixes)

    def _gauges(self, state: State) -> Iterator[Metric]:
        total = assigned = prefixes = 0
        by_cidr = dict.fromkeys(self._cidrs, 0)
        by_eni = {}
        for eni in state.enis.values():
            pods = 0
            for block in eni.blocks.values():
                total += block.size
                prefixes += block.prefix and not block.wide
                pods += block.assigned
                if block.assigned or block.cidr in by_cidr:
                    by_cidr[block.cidr] = by_cidr.get(block.cidr, 0) + block.assigned
            by_eni[eni.eni] = pods
            assigned += pods
        if state.settings.quirks.ipv6_block_gauge_sinks:
            by_cidr |= {cidr: -self._sunk.get(cidr, 0) for cidr in by_cidr if ":" in cidr}
        for store in state.stores.values():
            total += store.drift_total
            prefixes += store.drift_prefixes
        most = max(enis_max(state) - len(state.counted), 0)
        plain = (
            ("awscni_eni_max", "ENIs that this instance can carry", most),
            ("awscni_ip_max", "Addresses that this instance can carry", most * max(ips_per_eni(state), 0)),
            ("awscni_eni_allocated", "ENIs in the store", len(state.enis)),
            ("awscni_total_ip_addresses", "Addresses in the store", total),
            ("awscni_assigned_ip_addresses", "Addresses that pods hold", assigned),
            ("awscni_total_ipv4_prefixes", "IPv4 prefixes in the store", prefixes),
        )
        for name, documentation, value in plain:
            yield gauge(name, documentation, value)
        running = {fn: int(fn == _action(state)) for fn in _ACTIONS}
        yield gauges("awscni_ipamd_action_inprogress", "Actions of ipamd that run now", "fn", running)
        yield gauges("awscni_assigned_ip_per_cidr", "Pods by block", "cidr", by_cidr)
        yield gauges("awscni_assigned_ip_per_eni", "Pods by ENI", "eni", by_eni)

    # ---- the door ------------------------------------------------------------------------------------------

    def application(self) -> web.Application:
        """An aiohttp application with `/metrics` and nothing else."""
        app = web.Application()
        app.router.add_get("/metrics", self._answer)
        return app

    async def _answer(self, _: web.Request) -> web.Response:
        return web.Response(body=render(self.collect()), headers={"Content-Type": CONTENT_TYPE})


_ACTIONS: Final = ("nodeInit", "increaseDatastorePool", "decreaseDatastorePool", "nodeIPPoolReconcile")


def _action(state: State) -> str:
    """Which of the actions of HTTP-21 the pool lane is in, "" if none."""
    if state.phase == "init":
        return "nodeInit"
    work: Work | None = state.pool.work
    match work:
        case Init():
            return "nodeInit"
        case Fill() | Grow():
            return "increaseDatastorePool"
        case Trim() | Shed():
            return "decreaseDatastorePool"
        case Resync():
            return "nodeIPPoolReconcile"
        case _:
            return ""


def cooling_addresses(state: State, now: Instant) -> int:
    """How many addresses cool at `now` (DM-8). Costs what has cooled since the last record."""
    return sum(state.tally(card).resting - sum(cooled(state, card, now).values()) for card in state.stores)


def _word(truth: bool) -> str:
    return "true" if truth else "false"


def _runtime() -> str:
    """The label `goversion`: this program's runtime is another one."""
    return f"python{platform.python_version()}"
