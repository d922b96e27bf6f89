"""`ipamd run` on a moto server and, as far as a machine without an account goes, on AWS: real processes, real HTTP."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.ec2_boto.weather import Weather, drop, refusal, weather
from tests.moto.served import Served, serving
from tests.runtime.spawned import PATIENCE, Spawned, environment, failed_start, spawned
from tests.runtime.wire import Caller

PREFIXES = ("--set", "ENABLE_PREFIX_DELEGATION=true", "--set", "WARM_PREFIX_TARGET=1")
KEYS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """A moto server for all the tests here."""
    with serving("--instance-type", "m5.large", "--subnet", "10.30.0.0/24", "--seed", "3") as door:
        yield door


class Host(NamedTuple):
    """An instance for one test: who it is, where its metadata is, and how a moto door is bound to it."""

    instance: str
    imds: str
    moto: tuple[str, ...]


@pytest.fixture
def host(served: Served) -> Host:
    """An m5.large in a /24 of its own VPC."""
    admin = served.client()
    vpc = admin.create_vpc(CidrBlock="10.30.0.0/16")["Vpc"]["VpcId"]
    zone = f"{served.line['region']}a"
    subnet = admin.create_subnet(VpcId=vpc, CidrBlock="10.30.0.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
    made = admin.run_instances(ImageId="ami-12c6146b", InstanceType="m5.large", SubnetId=subnet, MinCount=1, MaxCount=1)
    instance = made["Instances"][0]["InstanceId"]
    imds = f"{served.line['imds']}/{instance}"
    return Host(instance, imds, ("--ec2", "moto", "--endpoint", served.line["endpoint"], "--imds", imds))


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll until it holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE:g} s: {what}"
        time.sleep(0.05)


def prefixes(daemon: Spawned) -> set[str]:
    """What the store holds."""
    enis = daemon.get("/v1/enis")["0"]["ENIs"]
    return {cidr for eni in enis.values() for cidr in eni["AvailableIPv4Cidrs"] if cidr.endswith("/28")}


def in_ec2(client: Any, host: Host) -> dict[str, Any]:
    """The instance's ENIs as EC2 describes them, by id."""
    attached = [{"Name": "attachment.instance-id", "Values": [host.instance]}]
    return {
        eni["NetworkInterfaceId"]: eni
        for eni in client.describe_network_interfaces(Filters=attached)["NetworkInterfaces"]
    }


def prefixes_in_ec2(client: Any, host: Host) -> set[str]:
    """The instance's prefixes as EC2 describes them."""
    return {prefix["Ipv4Prefix"] for eni in in_ec2(client, host).values() for prefix in eni.get("Ipv4Prefixes") or ()}


def aws_options(sky: Weather, host: Host) -> tuple[str, ...]:
    """The door for AWS in front of a moto that stands behind the weather."""
    return ("--ec2", "aws", "--endpoint", sky.url, "--imds", host.imds)


@pytest.mark.slow
def test_the_life_of_a_node_in_prefix_mode(tmp_path: Path, served: Served, host: Host) -> None:
    """Ready, pods fill several prefixes, kill -9, a restart keeps them, SIGTERM; EC2 and the store agree."""
    client = served.client()
    words = (*host.moto, *PREFIXES, "--max-pods", "110")
    before: dict[str, str] = {}
    with spawned(tmp_path / "s", *words) as daemon, Caller(daemon.grpc) as caller:
        start = prefixes(daemon)
        for number in range(40):
            name = f"pod-{number}"
            wait_until(partial(_given, caller, name, before), f"an address for {name}")
        wait_until(lambda: len(prefixes(daemon)) >= 4, "a warm prefix more")
        wait_until(lambda: prefixes(daemon) == prefixes_in_ec2(client, host), "EC2 and the store agree")
        daemon.kill()

    with spawned(tmp_path / "s", *words) as daemon, Caller(daemon.grpc) as caller:
        held = daemon.get("/v1/enis")["0"]["AssignedIPs"]
        after = {pod: caller.address(pod) for pod in before}
        again = prefixes(daemon)
        there = prefixes_in_ec2(client, host)
        deleted = [caller.delete(pod).Success for pod in before]
        seconds = daemon.terminate()
        code = daemon.popen.returncode

    assert len(start) >= 1
    assert (held, len(set(before.values()))) == (40, 40)
    assert after == before
    assert again == there
    assert deleted == [True] * 40
    assert (code, seconds < 2) == (0, True)


def _given(caller: Caller, name: str, given: dict[str, str]) -> bool:
    reply = caller.add(name)
    if reply.Success:
        given[name] = reply.IPAllocationMetadata[0].IPv4Addr
    return bool(reply.Success)


@pytest.mark.spec("EC2-1..10", "EC2-14")
def test_an_eni_is_made_over_http(tmp_path: Path, served: Served, host: Host) -> None:
    """EC2-14 with secondary addresses: the primary ENI is not enough; the log says on whom it acts."""
    client = served.client()
    with spawned(tmp_path / "s", *host.moto, "--set", "WARM_IP_TARGET=12") as daemon:
        wait_until(lambda: daemon.get("/v1/enis")["0"]["TotalIPs"] >= 12, "twelve addresses")
        shown = daemon.get("/v1/enis")["0"]["ENIs"]
        enis = in_ec2(client, host)
        text = daemon.stderr

    made = [eni for eni in enis.values() if eni["Attachment"]["DeviceIndex"]]
    assert set(shown) == set(enis) and len(made) == 1
    assert made[0]["Attachment"]["DeleteOnTermination"] is True
    assert {"Key": "node.k8s.amazonaws.com/instance_id", "Value": host.instance} in made[0]["TagSet"]
    assert f"moto: acting on account 123456789012, region us-west-2, instance {host.instance} (m5.large)" in text


@pytest.mark.slow
def test_a_server_of_its_own_ends_with_the_daemon(tmp_path: Path) -> None:
    """Without --endpoint one is started; SIGTERM or SIGKILL, it is gone too; the next one is another cloud."""
    instances = []
    for kill in (False, True):
        with spawned(tmp_path / "s", "--ec2", "moto", "--subnet", "10.31.0.0/24", *PREFIXES) as daemon:
            with Caller(daemon.grpc) as caller:
                assert caller.address("web").startswith("10.31.0.")
            told = next(line for line in daemon.stderr.splitlines() if "acting on" in line)
            url = json.loads(told)["msg"].rpartition(" by ")[2]
            instances.append(told.partition("instance ")[2].split()[0])
            assert _listens(url)
            if kill:
                daemon.kill()
            else:
                assert daemon.terminate() < 2
        wait_until(lambda url=url: not _listens(url), "the server's end")  # type: ignore[misc]

    assert len(set(instances)) == 2
    assert (tmp_path / "s" / "moto.log").exists()


@pytest.mark.slow
def test_the_pool_serves_on_when_the_server_is_killed(tmp_path: Path) -> None:
    """EC2 and instance metadata are gone at once: the addresses that are there are given all the same."""
    with serving("--instance-type", "m5.large", "--subnet", "10.30.0.0/24") as door:
        words = ("--ec2", "moto", "--endpoint", door.line["endpoint"], *PREFIXES)
        with spawned(tmp_path / "s", *words) as daemon, Caller(daemon.grpc) as caller:
            first = caller.address("before")
            door.process.kill()
            door.process.wait(PATIENCE)

            replies = [caller.add(f"after-{number}") for number in range(10)]

            assert all(reply.Success for reply in replies)
            assert [*replies[0].VPCv4CIDRs] == ["10.30.0.0/16"]
            assert caller.address("before") == first
            assert caller.delete("after-0").Success


def _listens(url: str) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", int(url.rpartition(":")[2].strip("/")))) == 0


BAD_WEATHER = {
    "expired": (refusal("RequestExpired", "Request has expired."), "RequestExpired", "renew them"),
    "denied": (refusal("UnauthorizedOperation", "No.", 403), "UnauthorizedOperation", "ipamd ec2 preflight"),
    "broken": (drop, "no answer", "Connection was closed"),
    "throttled": (refusal("RequestLimitExceeded", "Request limit exceeded.", 503), "RequestLimitExceeded", "throttled"),
}


@pytest.mark.slow
def test_in_bad_weather_the_pool_serves_and_then_grows_again(tmp_path: Path, served: Served, host: Host) -> None:
    """EC2 fails in every way: pods get what is there, the log says what is wrong, and in fair weather it goes on."""
    with (
        weather(served.line["endpoint"]) as sky,
        spawned(tmp_path / "s", *aws_options(sky, host), *PREFIXES, env=KEYS) as daemon,
        Caller(daemon.grpc) as caller,
    ):
        warm = daemon.get("/v1/enis")["0"]["TotalIPs"]
        pods = []
        for kind, (told, fact, remedy) in BAD_WEATHER.items():
            sky.tell(told)
            pods += [caller.address(f"pod-{kind}-{number}") for number in range(warm // len(BAD_WEATHER))]
            wait_until(partial(_tells, daemon, fact, remedy), f"the log tells of it: {fact}")
        poor = daemon.get("/v1/enis")["0"]["TotalIPs"]
        sky.clear()
        wait_until(lambda: daemon.get("/v1/enis")["0"]["TotalIPs"] > warm, "the pool grows again")
        late = caller.address("late")

    assert len(set(pods)) == poor == warm > 0
    assert late not in pods


def _tells(daemon: Spawned, *parts: str) -> bool:
    return all(part in daemon.stderr for part in parts)


def test_an_endpoint_that_goes_and_comes(tmp_path: Path, served: Served, host: Host) -> None:
    """Nobody listens any more; then somebody does again."""
    sky = Weather(served.line["endpoint"])
    port = int(sky.url.rpartition(":")[2])
    options = aws_options(sky, host)
    with spawned(tmp_path / "s", *options, *PREFIXES, env=KEYS) as daemon, Caller(daemon.grpc) as caller:
        warm = daemon.get("/v1/enis")["0"]["TotalIPs"]
        sky.end()
        pods = [caller.address(f"pod-{number}") for number in range(warm)]
        wait_until(lambda: "check the endpoint" in daemon.stderr, "the log tells of it")
        again = Weather(served.line["endpoint"], port)
        try:
            wait_until(lambda: daemon.get("/v1/enis")["0"]["TotalIPs"] > warm, "the pool grows again")
        finally:
            again.end()

    assert len(set(pods)) == warm > 0


@pytest.mark.parametrize(
    "told, parts",
    [
        (refusal("InvalidInstanceID.NotFound", "no such instance"), ("check the region and the account",)),
        (refusal("AuthFailure", "not able to validate", 401), ("AuthFailure", "check the credentials")),
        (refusal("RequestExpired", "Request has expired."), ("RequestExpired", "renew them")),
        (refusal("OptInRequired", "not subscribed", 401), ("may not use EC2 in region us-west-2",)),
    ],
)
def test_a_start_that_ec2_refuses(tmp_path: Path, host: Host, told: Any, parts: tuple[str, ...]) -> None:
    """Before anything is changed: one line, and exit code 1."""
    with weather() as sky:
        sky.tell(told)
        code, stderr = failed_start(tmp_path / "s", *aws_options(sky, host), env=KEYS)

    assert code == 1
    _expect_reason(stderr, *parts)
    assert {asked["Action"] for asked in sky.asked} == {"DescribeInstances"}


def test_a_start_without_credentials(tmp_path: Path, host: Host) -> None:
    """The chain finds none."""
    nothing = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "", "AWS_SHARED_CREDENTIALS_FILE": ""}
    with weather() as sky:
        code, stderr = failed_start(tmp_path / "s", *aws_options(sky, host), env=nothing)

    assert code == 1
    _expect_reason(stderr, "no AWS credentials", "give the instance a role")
    assert sky.asked == []


def test_a_start_where_there_is_no_instance(tmp_path: Path) -> None:
    """Not on EC2: nobody answers for metadata."""
    words = ("--ec2", "aws", "--imds", "http://127.0.0.1:9")
    code, stderr = failed_start(tmp_path / "s", *words, env=KEYS)

    assert code == 1
    _expect_reason(stderr, "http://127.0.0.1:9: no instance metadata", "--imds")


@pytest.mark.parametrize(
    "words, parts",
    [
        (("--endpoint", "http://127.0.0.1:1"), ("--endpoint", "--ec2 moto or --ec2 aws")),
        (("--ec2", "moto", "--endpoint", "https://ec2.us-west-2.amazonaws.com"), ("is AWS", "by name: --ec2 aws")),
        (("--ec2", "moto", "--endpoint", "127.0.0.1:5000"), ("want a URL",)),
        (("--ec2", "moto", "--endpoint", "http://127.0.0.1:1", "--subnet", "10.0.0.0/24"), ("--subnet", "leave it")),
        (("--ec2", "aws", "--instance-type", "m5.large"), ("--instance-type", "leave it out")),
        (("--ec2", "aws", "--latency", "realistic"), ("--latency", "leave it out")),
    ],
)
def test_options_that_do_not_belong_together(tmp_path: Path, words: tuple[str, ...], parts: tuple[str, ...]) -> None:
    """Wrong usage, told before anything is opened."""
    code, stderr = failed_start(tmp_path / "s", *words)

    assert code == 2
    _expect_reason(stderr, *parts)


def test_an_endpoint_that_is_no_moto_of_ours(tmp_path: Path) -> None:
    """Nobody there, or somebody else."""
    code, stderr = failed_start(tmp_path / "s", "--ec2", "moto", "--endpoint", "http://127.0.0.1:9")

    assert code == 1
    _expect_reason(stderr, "http://127.0.0.1:9/ipamd/instance.json: cannot be reached", "ipamd ec2 serve")


def test_boto3_is_loaded_for_its_doors_alone() -> None:
    """Half a second and forty megabytes that the embedded cloud does not need."""
    told = subprocess.run(
        [sys.executable, "-c", "import sys, ipamd.cli.run; print('boto3' in sys.modules, 'moto' in sys.modules)"],
        capture_output=True, text=True, timeout=PATIENCE, env=environment(dict(os.environ)), check=True,
    )  # fmt: skip

    assert told.stdout.split() == ["False", "False"]


def _expect_reason(stderr: str, *parts: str) -> None:
    """The last line is the reason; nothing looks like a bug."""
    assert "Traceback" not in stderr
    assert "Unclosed" not in stderr
    for part in parts:
        assert part in stderr.splitlines()[-1]
