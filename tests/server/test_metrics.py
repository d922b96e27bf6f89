"""`/metrics`: upstream's names and types, in a format that its readers parse (HTTP-20..26)."""

import pytest
from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families

from ipamd.core import events as ev
from ipamd.core.commands import AddNetwork, DelNetwork, RefuseAdd
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND, Pod, Sandbox
from ipamd.core.work import Fill, Grow, Resync, Shed, Trim, Work
from ipamd.server.counts import RequestCounts
from ipamd.server.exposition import Counters, Histogram, number, render
from ipamd.server.listen import open_http
from ipamd.server.metrics import Metrics

from .memory import Memory

WEB = AddNetwork(Sandbox("aws-cni", "c1", "eth0"), Pod("shop", "web-0", 1))
TYPES = {
    "awscni_build_info": "gauge",
    "awscni_ipamd_error_count": "counter",
    "awscni_ipamd_action_inprogress": "gauge",
    "awscni_eni_max": "gauge",
    "awscni_ip_max": "gauge",
    "awscni_reconcile_count": "counter",
    "awscni_add_ip_req_count": "counter",
    "awscni_del_ip_req_count": "counter",
    "awscni_aws_api_latency_ms": "summary",
    "awscni_aws_api_error_count": "counter",
    "awscni_aws_utils_error_count": "counter",
    "awscni_ec2api_req_count": "counter",
    "awscni_ec2api_error_count": "counter",
    "awscni_eni_allocated": "gauge",
    "awscni_total_ip_addresses": "gauge",
    "awscni_assigned_ip_addresses": "gauge",
    "awscni_force_removed_enis": "counter",
    "awscni_force_removed_ips": "counter",
    "awscni_total_ipv4_prefixes": "gauge",
    "awscni_assigned_ip_per_cidr": "gauge",
    "awscni_no_available_ip_addresses": "counter",
    "awscni_assigned_ip_per_eni": "gauge",
    "awscni_ipamd_startup_duration_seconds": "histogram",
    "awscni_ipamd_node_initialization_duration_seconds": "histogram",
    "awscni_connmark_backend": "gauge",
    "awscni_connmark_reconcile_total": "counter",
    "awscni_pod_eni_error_count": "counter",
}


class Scrape:
    """What one scrape shows."""

    def __init__(self, metrics: Metrics) -> None:
        self.text = render(metrics.collect()).decode()
        lines = self.text.splitlines()
        self.types = dict(line.split()[2:4] for line in lines if line.startswith("# TYPE"))
        # The parser renames counters as OpenMetrics would; the TYPE lines have the names that were sent.
        self.series = {
            (self._sent(sample.name), *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
        }

    def _sent(self, name: str) -> str:
        bare = name.removesuffix("_total")
        return bare if self.types.get(bare) == "counter" else name

    def __getitem__(self, key: str | tuple[str, dict[str, str]]) -> float:
        name, labels = key if isinstance(key, tuple) else (key, {})
        return self.series[name, *sorted(labels.items())]


def watched(settings: Settings | None = None, *addresses: str) -> tuple[Memory, Metrics]:
    """A node whose records feed metrics."""
    node = Memory(settings, addresses=addresses or ("10.0.0.5", "10.0.0.6"))
    metrics = Metrics(lambda: node.state, RequestCounts())
    node.subscribers.append(metrics.on_record)
    return node, metrics


def busy() -> Metrics:
    """Every family has a series."""
    node, metrics = watched()
    node.ready()
    node.tell(
        ev.ErrorCounted("increaseIPPoolAllocENI", "no", "X"),
        ev.ErrorCounted("FreeENIDeleteErr", "X: no", "X", "aws_utils"),
        ev.ReconcileCounted("eniReconcileAdd"),
        ev.AddressAssigned("10.0.0.5", "eni-0", "10.0.0.5/32", WEB.sandbox),
    )
    metrics.on_call("CreateTags", 0.5, "UnauthorizedOperation", "no")
    metrics._requests.deleted("PodDeleted")
    return metrics


@pytest.mark.spec("HTTP-21")
def test_names_and_types_are_upstreams() -> None:
    """No ending is added to a counter's name, in samples and in TYPE lines alike."""
    scrape = Scrape(busy())

    shown = {name: kind for name, kind in scrape.types.items() if name.startswith("awscni_")}
    assert shown == TYPES
    assert not [line for line in scrape.text.splitlines() if line.startswith("awscni") and "_created" in line]


@pytest.mark.spec("HTTP-20")
def test_the_process_is_described_as_usual() -> None:
    """Process collectors of the default registry, under their usual names."""
    scrape = Scrape(busy())

    assert scrape["process_resident_memory_bytes"] > 1e6
    assert scrape.types["process_cpu_seconds_total"] == "counter"


@pytest.mark.spec("HTTP-21")
@pytest.mark.asyncio
async def test_pool_gauges_follow_the_state() -> None:
    """The store's totals, blocks and ENIs; a block's series stays after its last pod."""
    node, metrics = watched()
    node.ready()
    await node.submit(WEB)

    scrape = Scrape(metrics)
    assert scrape["awscni_eni_allocated"] == 1
    assert scrape["awscni_total_ip_addresses"] == 2
    assert scrape["awscni_assigned_ip_addresses"] == 1
    assert scrape["awscni_eni_max"] == 3
    assert scrape["awscni_ip_max"] == 9
    assert scrape["awscni_assigned_ip_per_cidr", {"cidr": "10.0.0.5/32"}] == 1
    assert scrape["awscni_assigned_ip_per_eni", {"eni": "eni-0"}] == 1

    await node.submit(DelNetwork(WEB.sandbox))
    node.tell(ev.CidrRemoved("eni-0", "10.0.0.5/32", "scale_down"))
    scrape = Scrape(metrics)
    assert scrape["awscni_assigned_ip_per_cidr", {"cidr": "10.0.0.5/32"}] == 0
    assert scrape["awscni_total_ip_addresses"] == 1


def test_prefixes_count_sixteen_addresses() -> None:
    """awscni_total_ipv4_prefixes, and awscni_ip_max in prefix mode."""
    node, metrics = watched(Settings(prefix_delegation=True), "10.0.0.16/28")
    node.ready()

    scrape = Scrape(metrics)

    assert (scrape["awscni_total_ipv4_prefixes"], scrape["awscni_total_ip_addresses"]) == (1, 16)
    assert scrape["awscni_ip_max"] == 3 * 48


@pytest.mark.asyncio
async def test_refusals_count_by_reason_and_exhaustion_apart() -> None:
    """awscni_no_available_ip_addresses moves for lack of an address, not for a bad request."""
    node, metrics = watched(None, "10.0.0.5")
    node.ready()
    await node.submit(WEB)
    await node.submit(AddNetwork(Sandbox("aws-cni", "c2", "eth0"), Pod()))
    await node.submit(RefuseAdd(Pod(), "invalid", "too long"))

    scrape = Scrape(metrics)

    assert scrape["awscni_no_available_ip_addresses"] == 1
    assert scrape["ipamd_refusals_total", {"reason": "target"}] == 1
    assert scrape["ipamd_refusals_total", {"reason": "invalid"}] == 1


@pytest.mark.spec("HTTP-21", "HTTP-24", "HTTP-26")
def test_calls_feed_the_latency_summary_and_the_ec2_counters() -> None:
    """Whole milliseconds; status 200, EC2's code, or nothing; no quantiles. Metadata is not EC2."""
    _, metrics = watched()
    metrics.on_call("AssignPrivateIpAddresses", 0.1239, "", "")
    metrics.on_call("AssignPrivateIpAddresses", 0.2, "InsufficientCidrBlocks", "none left")
    metrics.on_call("AssignPrivateIpAddresses", 10.0, "", "no answer")
    metrics.on_call("ReadMetadata", 0.001, "", "")
    metrics.on_call("ReadMetadata", 0.001, "503", "unavailable")

    scrape = Scrape(metrics)

    api = {"api": "AssignPrivateIpAddresses"}
    fine, refused = {"error": "false", "status": "200"}, {"error": "true", "status": "InsufficientCidrBlocks"}
    assert scrape["awscni_aws_api_latency_ms_sum", api | fine] == 123
    assert scrape["awscni_aws_api_latency_ms_count", api | refused] == 1
    assert scrape["awscni_aws_api_latency_ms_sum", api | {"error": "true", "status": ""}] == 10_000
    assert scrape["awscni_ec2api_req_count", {"fn": "AssignPrivateIpAddresses"}] == 3
    assert scrape["awscni_ec2api_error_count", {"fn": "AssignPrivateIpAddresses"}] == 2
    assert scrape["awscni_aws_api_error_count", api | {"error": "InsufficientCidrBlocks"}] == 1
    assert "ReadMetadata" not in scrape.text and "quantile" not in scrape.text


@pytest.mark.spec("HTTP-22", "HTTP-23")
def test_errors_and_reconciliations_count_by_fn() -> None:
    """A failure that upstream only logs moves nothing, nor does a clean-up without an API error."""
    node, metrics = watched()
    node.tell(
        ev.ErrorCounted("increaseIPPoolAllocENI", "x"),
        ev.ErrorCounted("DescribeSubnets", "x", "X", ""),
        ev.ErrorCounted("FreeENIDeleteErr", "X: gone", "X", "aws_utils"),
        ev.ErrorCounted("FreeENIDeleteErr", "no answer", "", "aws_utils"),
        ev.ReconcileCounted("eniIPPoolReconcileDel", 3),
    )

    scrape = Scrape(metrics)

    assert scrape["awscni_ipamd_error_count", {"fn": "increaseIPPoolAllocENI"}] == 1
    assert scrape["awscni_aws_utils_error_count", {"fn": "FreeENIDeleteErr", "error": "X: gone"}] == 1
    assert scrape["awscni_reconcile_count", {"fn": "eniIPPoolReconcileDel"}] == 3
    assert "DescribeSubnets" not in scrape.text and "no answer" not in scrape.text


@pytest.mark.spec("TV-27")
def test_forced_removals_are_counted() -> None:
    """One address with its block, then an ENI with one pod."""
    node, metrics = watched()
    node.ready()
    node.tell(ev.CidrRemoved("eni-0", "10.0.0.5/32", "resync", pods=1))
    node.tell(ev.EniLeft("eni-0", "gone", 1), ev.EniLeft("eni-1", "freed"))

    scrape = Scrape(metrics)

    assert (scrape["awscni_force_removed_enis"], scrape["awscni_force_removed_ips"]) == (1, 2)


@pytest.mark.spec("HTTP-25")
def test_the_durations_of_a_start_are_in_upstreams_buckets() -> None:
    """`le` as Go writes it; init failed is told apart."""
    node, metrics = watched()
    node.tell(ev.Started(Settings(), node.state.node, 1))
    node.now += 3 * SECOND
    node.tell(ev.NodeReady())
    node.tell(ev.InitFailed("metadata", "", "no answer"))

    scrape = Scrape(metrics)

    name = "awscni_ipamd_node_initialization_duration_seconds"
    assert scrape[f"{name}_bucket", {"success": "true", "le": "2.5"}] == 0
    assert scrape[f"{name}_bucket", {"success": "true", "le": "5"}] == 1
    assert scrape[f"{name}_sum", {"success": "true"}] == 3
    failed = {"success": "false", "with_api_server": "false", "failure_reason": "node_initialization"}
    assert scrape["awscni_ipamd_startup_duration_seconds_count", failed] == 1
    bounds = [line.split('le="')[1].split('"')[0] for line in scrape.text.splitlines() if f"{name}_bucket{{le=" in line]
    assert bounds[:12] == ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"]


@pytest.mark.parametrize(
    "work, action",
    [
        (Fill(("eni-0",), 1, "idle"), "increaseDatastorePool"),
        (Grow(1, "idle"), "increaseDatastorePool"),
        (Trim((), "idle"), "decreaseDatastorePool"),
        (Shed("eni-1", "10.0.0.9"), "decreaseDatastorePool"),
        (Resync(), "nodeIPPoolReconcile"),
        (None, ""),
    ],
)
def test_the_running_action_is_1(work: Work | None, action: str) -> None:
    """awscni_ipamd_action_inprogress{fn}: at most one at a time."""
    node, metrics = watched()
    node.ready()
    node.tell(ev.WorkMoved(work))

    scrape = Scrape(metrics)

    name = "awscni_ipamd_action_inprogress"
    actions = ("nodeInit", "increaseDatastorePool", "decreaseDatastorePool", "nodeIPPoolReconcile")
    assert [fn for fn in actions if scrape[name, {"fn": fn}]] == ([action] if action else [])


def test_node_init_is_an_action_too() -> None:
    """Section 3.3: the gauge is 1 from Started to NodeReady."""
    node, metrics = watched()
    node.tell(ev.Started(Settings(), node.state.node, 1))

    assert Scrape(metrics)["awscni_ipamd_action_inprogress", {"fn": "nodeInit"}] == 1


@pytest.mark.spec("HTTP-21")
def test_connmark_results_are_there_from_the_start() -> None:
    """Pre-created at 0; the name ends in _total upstream too."""
    scrape = Scrape(watched()[1])

    for result in ("success", "error"):
        assert scrape["awscni_connmark_reconcile_total", {"result": result}] == 0


def test_a_real_host_tells_its_connmark_backend_and_how_it_went() -> None:
    """The gauge is 1 for the backend that is in use."""
    state = watched()[0].state
    metrics = Metrics(lambda: state, RequestCounts(), connmark=lambda: ("nftables", {"success": 2, "error": 1}))

    scrape = Scrape(metrics)

    assert scrape["awscni_connmark_backend", {"backend": "nftables"}] == 1
    assert [scrape["awscni_connmark_reconcile_total", {"result": each}] for each in ("success", "error")] == [2, 1]


@pytest.mark.spec("HTTP-20")
@pytest.mark.asyncio
async def test_the_door_answers_metrics_and_nothing_else() -> None:
    """Text format 0.0.4, whatever the reader accepts."""
    door = await open_http(busy().application(), "127.0.0.1:0", "--metrics")
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    async with ClientSession(headers=accept) as session:
        async with session.get(f"{door.url}/metrics") as reply:
            kind, text = reply.headers["Content-Type"], await reply.text()
        async with session.get(f"{door.url}/") as other:
            status = other.status
    await door.close()

    assert (kind, status) == ("text/plain; version=0.0.4; charset=utf-8", 404)
    assert text.startswith("# HELP awscni_build_info") and text.endswith("\n")


def test_hostile_label_values_are_escaped_and_bounded() -> None:
    """Quotes, backslashes and newlines; more than a thousand label sets are not told apart."""
    counters = Counters("x", "line\nbreak \\", ("fn",))
    for number_ in range(1200):
        counters.add(f'a"\\\n{number_}')

    text = render([counters.metric()]).decode()

    assert "# HELP x line\\nbreak \\\\\n" in text
    assert 'x{fn="a\\"\\\\\\n0"} 1\n' in text and 'x{fn="other"} 200\n' in text
    (family,) = text_string_to_metric_families(text)
    assert len(family.samples) == 1001 and family.samples[0].labels["fn"] == 'a"\\\n0'


def test_numbers_are_written_as_go_writes_them() -> None:
    """Whole numbers without a point, infinities with a sign."""
    assert [number(value) for value in (1.0, 0.25, 1e21, float("inf"), float("-inf"), float("nan"))] == [
        "1", "0.25", "1000000000000000000000", "+Inf", "-Inf", "NaN",
    ]  # fmt: skip


def test_a_bound_belongs_to_its_bucket() -> None:
    """`le` is less or equal."""
    histogram = Histogram("h", "h", (), (1.0, 2.0))
    for value in (1.0, 1.5, 3.0):
        histogram.observe(value)

    metric = histogram.metric()

    assert [sample.value for sample in metric.samples] == [1, 2, 3, 5.5, 3]
