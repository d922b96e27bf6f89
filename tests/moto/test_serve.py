"""`ipamd ec2 serve` as a program: its line, its end, its options, malformed requests, lag, throttle and latency."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from ipamd.cli import main

from .served import MACS, PATIENCE, Served, http, refused, serving
from .test_addresses import Subnets, addresses, described, eni

AUTHORIZATION = "AWS4-HMAC-SHA256 Credential=any/20260101/us-west-2/ec2/aws4_request"


def post(door: Served, body: str) -> tuple[int, str]:
    """A request as no SDK would send it."""
    headers = {"Authorization": AUTHORIZATION, "Content-Type": "application/x-www-form-urlencoded"}
    return http(door.line["endpoint"] + "/", "POST", headers, body.encode())


def test_the_line_names_what_there_is_and_is_repeated(door: Served, ec2: Any) -> None:
    """One JSON line; `/ipamd/instance.json` gives the same; the ids are EC2's."""
    served = http(door.line["endpoint"] + "/ipamd/instance.json")

    assert list(door.line) == ["endpoint", "imds", "region", "vpc_id", "subnet_id", "instance_id", "eni_id"]
    assert served == (200, door.text)
    held = described(ec2, door.line["eni_id"])
    assert (held["VpcId"], held["SubnetId"]) == (door.line["vpc_id"], door.line["subnet_id"])
    assert held["Attachment"]["InstanceId"] == door.line["instance_id"]
    assert door.line["endpoint"].startswith("http://127.0.0.1:")


def test_sigterm_ends_it_and_the_seed_repeats_it(tmp_path: Path) -> None:
    """Exit code 0 within seconds, nothing more on either output; the same seed gives the same ids."""
    words = ("--seed", "5", "--subnet", "10.9.0.0/24", "--reserve", "10.9.0.0/25")
    lines = []
    for _ in range(2):
        with serving(*words) as served:
            served.process.send_signal(signal.SIGTERM)
            out, errors = served.process.communicate(timeout=PATIENCE)
            lines.append(served.line)
            assert (served.process.returncode, out, errors) == (0, "", "")

    ids = [{k: v for k, v in line.items() if k.endswith("_id")} for line in lines]
    assert ids[0] == ids[1]


def test_a_port_that_is_taken_is_one_line(door: Served) -> None:
    """Exit code 1, the port named, the remedy."""
    port = door.line["endpoint"].rpartition(":")[2]
    command = [sys.executable, "-m", "ipamd", "ec2", "serve", "--port", port]

    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)

    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert f"127.0.0.1:{port}: cannot listen" in line and "choose another port" in line


@pytest.mark.parametrize(
    "words, said",
    [
        (["--subnet", "10.0.0.0/29"], "/29"),
        (["--subnet", "nonsense"], "nonsense"),
        (["--instance-type", "m5.huge"], "m5.huge"),
        (["--subnet", "10.0.0.0/24", "--vpc", "10.1.0.0/16"], "outside"),
        (["--subnet", "10.0.0.0/24", "--reserve", "10.1.0.0/28"], "outside"),
        (["--subnet", "10.0.0.0/24", "--reserve", "x"], "x"),
        (["--port", "70000"], "port"),
        (["--imds-lag", "-1"], "seconds"),
    ],
)
def test_options_that_make_no_sense_are_wrong_usage(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 before moto is loaded."""
    code = main(["ec2", "serve", *words])

    assert code == 2
    assert said in capsys.readouterr().err


def test_an_unknown_command_of_ec2_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """The two that there are, are named."""
    assert main(["ec2", "fly"]) == 2
    assert "want one of serve, preflight" in capsys.readouterr().err
    assert main(["ec2"]) == 2


@pytest.mark.parametrize(
    "body, code",
    [
        ("Action=NoSuchAction&Version=2016-11-15", "InvalidAction"),
        ("Action=AssignPrivateIpAddresses&NetworkInterfaceId=&Ipv4PrefixCount=1", "MissingParameter"),
        ("Action=AssignPrivateIpAddresses&NetworkInterfaceId=eni-0&Ipv4PrefixCount=many", "InvalidParameterValue"),
        ("Action=AssignPrivateIpAddresses&NetworkInterfaceId=../x&Ipv4PrefixCount=1", "Malformed"),
        ("Action=AttachNetworkInterface&NetworkInterfaceId={eni}&InstanceId={instance}", "Invalid"),
        ("Action=CreateNetworkInterface", "MissingParameter"),
        ("Action=DeleteNetworkInterface&NetworkInterfaceId=eni-0123456789abcdef0",
         "InvalidNetworkInterfaceID.NotFound"),
        ("Action=AssignPrivateIpAddresses&NetworkInterfaceId={eni}&Ipv4PrefixCount=-1", "InvalidParameterValue"),
        ("Action=AssignPrivateIpAddresses&NetworkInterfaceId={eni}", "MissingParameter"),
        ("Action=AssignPrivateIpAddresses&NetworkInterfaceId={eni}&Ipv4PrefixCount=1&"
         "SecondaryPrivateIpAddressCount=1", "InvalidParameterCombination"),
        ("Action=DescribeNetworkInterfaces&Filter.1.Value.1=x", "InvalidParameterValue"),
        ("Action=DescribeSubnets&MaxResults=2", "InvalidParameterValue"),
        ("Action=DescribeSubnets&Filter.1.Name=nope&Filter.1.Value.1=x", "InvalidParameterValue"),
        ("Action=DescribeInstances&Filter.1.Name=nope&Filter.1.Value.1=x", "InvalidParameterValue"),
        ("Action=CreateSecurityGroup&GroupName=g&GroupDescription=d&DryRun=perhaps", "InvalidParameterValue"),
        ("Action=CreateNetworkInterface&DryRun=perhaps", "InvalidParameterValue"),
        ("Action=DescribeInstanceTypes&MaxResults=100&NextToken=zz", "InvalidPaginationToken"),
        ("Action=CreateTransitGatewayPolicyTable", "UnsupportedOperation"),
        ("Action=DescribeSubnets&Bogus=1", "UnknownParameter"),
    ],
)  # fmt: skip
def test_a_malformed_request_gets_ec2s_own_code(door: Served, body: str, code: str) -> None:
    """XML with a code and a message, HTTP 400: never a traceback, never HTTP 500."""
    ids = {"eni": door.line["eni_id"], "instance": door.line["instance_id"]}

    status, text = post(door, body.format(**ids))

    assert status == 400
    assert f"<Code>{code}" in text or (code == "Malformed" and "Malformed</Code>" in text), text


def test_a_dry_run_of_motos_own_action_makes_nothing(door: Served) -> None:
    """CreateSubnet, in which moto looks at no DryRun, and RunInstances."""
    client, vpc = door.client(), door.line["vpc_id"]
    before = client.describe_subnets(), client.describe_instances()

    for action, asked in (
        (client.create_subnet, {"VpcId": vpc, "CidrBlock": "10.0.250.0/28"}),
        (client.run_instances, {"ImageId": "ami-12345678", "MinCount": 1, "MaxCount": 1}),
    ):
        with pytest.raises(ClientError, match="DryRunOperation"):
            action(DryRun=True, **asked)

    after = client.describe_subnets(), client.describe_instances()
    assert [a.get("Subnets") or a.get("Reservations") for a in after] == [
        b.get("Subnets") or b.get("Reservations") for b in before
    ]


def test_instance_types_come_page_by_page(door: Served) -> None:
    """All of them, each once, no page larger than asked for."""
    client = door.client()
    names = [{"Name": "instance-type", "Values": ["m5*"]}]
    pages = list(
        client.get_paginator("describe_instance_types").paginate(Filters=names, PaginationConfig={"PageSize": 20})
    )
    types = [kind["InstanceType"] for page in pages for kind in page["InstanceTypes"]]

    assert len(pages) > 1 and max(len(page["InstanceTypes"]) for page in pages) == 20
    assert len(types) == len(set(types)) and "m5.large" in types


def test_requests_of_many_threads_lose_and_double_nothing(door: Served, new_subnet: Subnets) -> None:
    """One lock around the model: 8 clients take 40 addresses of one subnet, all different."""
    subnet = new_subnet(24)
    client = door.client(max_pool_connections=8)
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: eni(client, subnet), range(40)))

    given = [a for one in made for a in addresses(one)]
    assert len(set(given)) == len(given) == 40


def test_lag_staleness_and_latency_are_there_when_asked_for() -> None:
    """Metadata shows a prefix after the lag, Describe calls may show the past, and calls take their time."""
    with serving("--subnet", "10.8.0.0/24", "--imds-lag", "30", "--stale", "30", "--latency") as slow:
        ec2 = slow.client()
        began = time.monotonic()
        given = ec2.assign_private_ip_addresses(NetworkInterfaceId=slow.line["eni_id"], Ipv4PrefixCount=1)
        took = time.monotonic() - began
        mac = slow.metadata("latest/meta-data/mac")[1]
        seen = [ec2.describe_network_interfaces()["NetworkInterfaces"] for _ in range(8)]

        assert len(given["AssignedIpv4Prefixes"]) == 1
        assert took >= 0.2
        assert slow.metadata(f"{MACS}{mac}/ipv4-prefix")[0] == 404
        assert any(not any(e.get("Ipv4Prefixes") for e in enis) for enis in seen)


@pytest.mark.spec("EC2-1")
def test_a_fault_script_is_carried_out(door: Served, ec2: Any, new_subnet: Subnets) -> None:
    """Refused, lost after its effect (EC2-1's client token finds it), and done; a rule is used up."""
    url, subnet = door.line["endpoint"] + "/ipamd/faults.json", new_subnet(24)
    rules: list[dict[str, object]] = [
        {"action": "CreateNetworkInterface", "code": "InternalError", "message": "x"},
        {"action": "CreateNetworkInterface", "lost": True, "effect": True},
        {"action": "ReadInstanceMetadata", "message": "gone"},
    ]
    status, waiting = http(url, "POST", {"Content-Type": "application/json"}, json.dumps(rules).encode())

    code, _ = refused(ec2.create_network_interface, SubnetId=subnet, ClientToken="lost")
    with pytest.raises(ConnectionClosedError):
        ec2.create_network_interface(SubnetId=subnet, ClientToken="lost")
    made = ec2.create_network_interface(SubnetId=subnet, ClientToken="lost")["NetworkInterface"]
    metadata = [door.metadata("latest/meta-data/mac")[0] for _ in range(2)]

    assert (status, len(json.loads(waiting)), code) == (200, 3, "InternalError")
    here = [{"Name": "subnet-id", "Values": [subnet]}]
    found = ec2.describe_network_interfaces(Filters=here)["NetworkInterfaces"]
    assert [e["NetworkInterfaceId"] for e in found] == [made["NetworkInterfaceId"]]
    assert metadata == [503, 200]
    assert json.loads(http(url)[1]) == []
    assert http(url, "POST", {"Content-Type": "application/json"}, b'[{"acton": "x"}]')[0] == 400
    assert http(url, "POST", {"Content-Type": "text/plain"}, b"[]")[0] == 415
    assert http(url, "PUT")[0] == 405
    assert http(url, "DELETE") == (200, "[]\n")


def test_a_reset_leaves_moto_with_its_default_vpc_and_other_regions_have_instances_too() -> None:
    """`/moto-api/reset` takes the start's VPC away; metadata knows instances of any region, and then none."""
    with serving() as served:
        there = served.client(region="eu-west-1")
        launch = {"ImageId": "ami-12c6146b", "InstanceType": "t3.small", "MinCount": 1, "MaxCount": 1}
        made = there.run_instances(**launch)["Instances"][0]["InstanceId"]
        zone = served.metadata(f"{made}/latest/meta-data/placement/availability-zone")
        http(served.line["endpoint"] + "/moto-api/reset", "POST")

        ec2 = served.client()
        assert zone == (200, "eu-west-1a")
        assert [v["IsDefault"] for v in ec2.describe_vpcs()["Vpcs"]] == [True]
        assert ec2.describe_network_interfaces()["NetworkInterfaces"] == []
        assert served.metadata("latest/meta-data/mac")[0] == 404
        assert len(ec2.run_instances(**launch)["Instances"][0]["NetworkInterfaces"]) == 1


def test_what_is_denied_is_unauthorized() -> None:
    """Whoever answers the action, moto or the model; a dry run tells it too."""
    with serving("--deny", "AssignPrivate*", "--deny", "ec2:DescribeVolumes") as strict:
        ec2 = strict.client()

        codes = {
            refused(ec2.assign_private_ip_addresses, NetworkInterfaceId=strict.line["eni_id"], Ipv4PrefixCount=1)[0],
            refused(ec2.describe_volumes, DryRun=True)[0],
        }

        assert codes == {"UnauthorizedOperation"}
        assert ec2.describe_subnets()["Subnets"] != []


def test_throttling_is_there_when_asked_for() -> None:
    """RequestLimitExceeded with HTTP 503 once a bucket is empty, of EC2's actions and of moto's alike."""
    with serving("--subnet", "10.8.0.0/24", "--throttle") as strict:
        codes = []
        for _ in range(400):
            status, text = post(strict, "Action=DescribeSubnets&Version=2016-11-15")
            if status != 200:
                codes.append((status, "<Code>RequestLimitExceeded</Code>" in text))
                break

        assert codes == [(503, True)]


def test_the_ready_line_is_json_alone(door: Served) -> None:
    """Whoever starts it reads one line and knows all."""
    assert door.text.count("\n") == 1
    assert json.loads(door.text) == door.line
