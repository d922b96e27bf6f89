"""Where facts come from: the AWS CLI's JSON, the embedded cloud of a state directory, a backend over HTTP."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ipamd.core.calls import AssignPrivateIpAddresses
from ipamd.ec2.embedded import CloudOptions, EmbeddedCloud
from ipamd.ec2.subnets.aws_json import documents, facts_of
from ipamd.ec2.subnets.facts import WrongFacts
from tests.cli.conftest import Run
from tests.moto.served import Served
from tests.subnet.lots import EXAMPLE

SUBNETS = {"Subnets": [{"SubnetId": "subnet-1", "CidrBlock": "10.0.0.0/24"}]}
NO_ENIS: dict[str, object] = {"NetworkInterfaces": []}


def eni_row(**members: object) -> dict[str, object]:
    return {
        "NetworkInterfaceId": "eni-1",
        "SubnetId": "subnet-1",
        "PrivateIpAddresses": [{"PrivateIpAddress": "10.0.0.20", "Primary": True}],
        **members,
    }


def text(*values: object) -> bytes:
    """JSON documents one after the other, as a shell would collect them."""
    return "\n".join(json.dumps(value) for value in values).encode()


def said_of(held: bytes) -> str:
    """The refusal of a text."""
    with pytest.raises(WrongFacts) as refused:
        facts_of(documents("here", held))
    return str(refused.value)


# ---- what the AWS CLI prints -----------------------------------------------------------------------------------


def test_documents_may_stand_in_one_file_or_in_three(ipamd: Run, tmp_path: Path) -> None:
    """W-40: the example is the guides' fragmented /24, and the same when each answer has its own file."""
    one = ipamd("subnet", EXAMPLE, "--json")
    parts = documents("example", EXAMPLE.read_bytes())
    assert len(parts) == 3
    files = [tmp_path / f"{number}.json" for number in range(3)]
    for file, held in zip(files, EXAMPLE.read_text().replace("\n}\n{", "\n}\0{").split("\0"), strict=True):
        file.write_text(held)

    three = ipamd("subnet", *reversed(files), "--json")

    assert (one.code, one.err) == (three.code, three.err) == (1, "")
    assert one.json == three.json
    assert (one.json["subnets"][0]["figures"]["free"], one.json["subnets"][0]["figures"]["free_blocks"]) == (237, 0)


def test_every_coding_that_a_shell_writes_is_read() -> None:
    """UTF-8 with and without its mark; PowerShell redirects UTF-16."""
    plain = text(SUBNETS, NO_ENIS).decode()

    for coding in ("utf-8", "utf-8-sig", "utf-16"):
        assert facts_of(documents("here", plain.encode(coding)))[0].cidr == "10.0.0.0/24"


def test_members_are_read_as_ec2_names_them() -> None:
    """Addresses with the primary one first, prefixes, attachment, tags, reservations; other subnets' ENIs stay out."""
    row = eni_row(
        PrivateIpAddresses=[
            {"PrivateIpAddress": "10.0.0.21", "Primary": False},
            {"PrivateIpAddress": "10.0.0.20", "Primary": True},
        ],
        Ipv4Prefixes=[{"Ipv4Prefix": "10.0.0.32/28"}],
        Attachment={"InstanceId": "i-1", "DeviceIndex": 0, "DeleteOnTermination": True, "Status": "attached"},
        TagSet=[{"Key": "vpcresources.k8s.aws/trunk-eni-id", "Value": "eni-7"}],
        PrivateDnsName="ip-10-0-0-20.ec2.internal",
    )
    elsewhere = eni_row(NetworkInterfaceId="eni-2", SubnetId="subnet-2")
    kept = {
        "SubnetIpv4CidrReservations": [
            {"SubnetId": "subnet-1", "Cidr": "10.0.0.64/28", "ReservationType": "explicit", "Description": "dns"}
        ]
    }

    facts = facts_of(documents("here", text(SUBNETS, {"NetworkInterfaces": [row, elsewhere]}, kept)))[0]

    assert [one.eni for one in facts.enis] == ["eni-1"]
    one = facts.enis[0]
    assert (one.addresses, one.prefixes) == (("10.0.0.20", "10.0.0.21"), ("10.0.0.32/28",))
    assert (one.instance, one.device, one.goes_with_instance, one.trunk) == ("i-1", 0, True, "eni-7")
    assert [(r.cidr, r.kind, r.description) for r in facts.reservations] == [("10.0.0.64/28", "explicit", "dns")]
    assert facts.reservations_known


def test_pages_that_overlap_count_once_and_contradictions_are_refused() -> None:
    """The same ENI twice is one ENI; the same id with other addresses is two states."""
    twice = {"NetworkInterfaces": [eni_row(), eni_row()]}
    other = {"NetworkInterfaces": [eni_row(), eni_row(PrivateIpAddresses=[{"PrivateIpAddress": "10.0.0.30"}])]}

    assert len(facts_of(documents("here", text(SUBNETS, twice)))[0].enis) == 1
    assert "eni-1: is described twice and differently" in said_of(text(SUBNETS, other))


def test_subnets_with_ipv6_alone_are_passed_over() -> None:
    """They have no IPv4 blocks to look at; a list of nothing else is refused."""
    six = {"SubnetId": "subnet-6", "Ipv6Native": True}

    assert len(facts_of(documents("here", text({"Subnets": [six, *SUBNETS["Subnets"]]}, NO_ENIS)))) == 1
    assert "no subnet with an IPv4 CIDR" in said_of(text({"Subnets": [six]}, NO_ENIS))


def test_missing_reservations_are_said_to_be_missing(ipamd: Run, tmp_path: Path) -> None:
    """Without that answer nothing is known of reservations: a piece of advice, no failure."""
    (tmp_path / "a.json").write_bytes(text(SUBNETS, NO_ENIS))

    said = ipamd("subnet", tmp_path / "a.json")

    assert said.code == 0
    assert "reservations-unknown: nothing is said about reservations" in said.out


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (b"", "here: empty; want what `aws ec2 describe-subnets`"),
        (b"  \n", "empty"),
        (b"{", "here, line 1: no JSON"),
        (b"----\n|  DescribeSubnets |", "no JSON"),
        (b"\xff\x00\xfe", "is not text"),
        (b"[]", "Expected `object`, got `array`"),
        (b"null", "Expected `object`, got `null`"),
        (b"{}", "has none of Subnets, NetworkInterfaces"),
        (b'{"Reservations": []}', "has none of Subnets"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"Subnets": ' + b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"Subnets": [{"CidrBlock": "10.0.0.0/24"}]}', "missing required field `SubnetId`"),
        (b'{"Subnets": [{"SubnetId": 5}]}', "Expected `str`, got `int` - at `$.Subnets[0].SubnetId`"),
        (b'{"Subnets": [' + b"1" * 10_000 + b"]}", "here"),
        (text(SUBNETS), "no ENIs are described"),
        (text(NO_ENIS), "no subnet with an IPv4 CIDR is described"),
        (text({"Subnets": [{"SubnetId": "s", "CidrBlock": "ten"}]}, NO_ENIS), 's: subnet'),
        (text({"Subnets": [{"SubnetId": "s", "CidrBlock": "10.0.0.0/8"}]}, NO_ENIS), "want a length of /16 to /28"),
        (text(SUBNETS, {"Subnets": [{"SubnetId": "subnet-1", "CidrBlock": "10.0.1.0/24"}]}), "two CIDRs"),
        (
            text(SUBNETS, {"NetworkInterfaces": [eni_row(Ipv4Prefixes=[{"Ipv4Prefix": "10.0.0.1/28"}])]}),
            'prefix "10.0.0.1/28": want an aligned /28',
        ),
        (
            text(SUBNETS, {"NetworkInterfaces": [eni_row(PrivateIpAddresses=[{"PrivateIpAddress": "10.9.0.1"}])]}),
            "address 10.9.0.1: lies outside subnet-1",
        ),
        (
            text({"SubnetIpv4CidrReservations": [{"SubnetId": "s", "Cidr": "c", "ReservationType": "odd"}]}),
            "Invalid enum value 'odd'",
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else f"{len(value)} bytes",
)  # fmt: skip
def test_hostile_text_is_refused_in_one_line(held: bytes, said: str) -> None:
    """The place, the fact, and what is wanted; never a traceback."""
    refusal = said_of(held)

    assert said in refusal
    assert len(refusal) < 500 and "\n" not in refusal


def test_many_documents_are_read_in_linear_time() -> None:
    """100,000 empty answers before the real ones."""
    held = b'{"NetworkInterfaces":[]} ' * 100_000 + text(SUBNETS, NO_ENIS)

    assert facts_of(documents("here", held))[0].enis == ()


# ---- the embedded cloud ----------------------------------------------------------------------------------------


def cloud_in(directory: Path, subnet: str = "10.7.0.0/24") -> EmbeddedCloud:
    return EmbeddedCloud.open(directory, CloudOptions(instance_type="m5.large", subnet=subnet))


def test_the_cloud_of_a_running_daemon_is_read_without_touching_it(ipamd: Run, tmp_path: Path) -> None:
    """The daemon's lock is held and its log is growing: nothing is written, and what is on disk is shown."""
    cloud = cloud_in(tmp_path)
    node = asyncio.run(cloud.node())
    asyncio.run(cloud.call(AssignPrivateIpAddresses(eni=node.primary_eni, prefixes=2)))
    log = tmp_path / "cloud" / "cloud.jsonl"
    with log.open("ab") as torn:
        torn.write(b'{"type":"Changed","serial":')
    before = {path: path.read_bytes() for path in (tmp_path / "cloud").iterdir()}

    said = ipamd("subnet", tmp_path, "--json")

    told = said.json["subnets"][0]
    assert (said.code, said.err) == (0, "")
    assert (told["subnet"], told["cidr"], told["map"]) == (node.subnet, "10.7.0.0/24", ["5PP............1"])
    assert told["holders"][0]["holder"] == node.instance
    assert {path: path.read_bytes() for path in (tmp_path / "cloud").iterdir()} == before
    asyncio.run(cloud.close())


def test_a_directory_without_a_cloud_or_with_a_damaged_one_is_named(ipamd: Run, tmp_path: Path) -> None:
    """Exit code 1, the reader's own path in the message, and what to do."""
    empty = ipamd("subnet", tmp_path)
    asyncio.run(cloud_in(tmp_path).close())
    log = tmp_path / "cloud" / "cloud.jsonl"
    log.write_bytes(log.read_bytes().replace(b"10.7.0.0", b"10.8.0.0", 1))

    damaged = ipamd("subnet", tmp_path)

    assert (empty.code, damaged.code) == (1, 1)
    assert f"{tmp_path}: has no embedded cloud" in empty.err
    assert f"{log}, line" in damaged.err and "checksum" in damaged.err


# ---- a backend -------------------------------------------------------------------------------------------------


def test_a_fragmented_subnet_of_a_backend_fails_the_pre_flight_and_the_call(
    ipamd: Run, door: Served, ec2: Any, new_subnet: Callable[[int], str]
) -> None:
    """W-33, W-40, L-34: what the view says of a backend's subnet is what the backend then does."""
    subnet = new_subnet(24)
    base = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["CidrBlock"].rsplit(".", 1)[0]
    enis = [
        ec2.create_network_interface(SubnetId=subnet, PrivateIpAddress=f"{base}.{block * 16 + 7}")
        for block in range(1, 15)
    ]
    first = enis[0]["NetworkInterface"]["NetworkInterfaceId"]

    said = ipamd("subnet", "--endpoint", door.line["endpoint"], "--subnet", subnet, "--json")
    with pytest.raises(ClientError, match="InsufficientCidrBlocks"):
        ec2.assign_private_ip_addresses(NetworkInterfaceId=first, Ipv4PrefixCount=1)

    told = said.json["subnets"][0]
    assert said.code == 1, said.err
    assert (told["figures"]["free"], told["figures"]["prefixes_available"]) == (237, 0)
    assert told["map"] == ["4" + "1" * 15]
    assert [advice["code"] for advice in told["advice"]] == ["no-free-block"]


def test_a_reservation_made_first_keeps_prefixes_to_be_had(
    ipamd: Run, door: Served, ec2: Any, new_subnet: Callable[[int], str]
) -> None:
    """W-41, W-52, W-53, L-48: as many prefixes come out of the reservation as the view promises."""
    subnet = new_subnet(26)
    cidr = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["CidrBlock"]
    base = cidr.rsplit(".", 1)[0]
    ec2.create_subnet_cidr_reservation(SubnetId=subnet, Cidr=f"{base}.32/28", ReservationType="prefix")
    made = ec2.create_network_interface(SubnetId=subnet, PrivateIpAddress=f"{base}.20")["NetworkInterface"]

    before = ipamd("subnet", "--endpoint", door.line["endpoint"], "--subnet", cidr, "--json")
    ec2.assign_private_ip_addresses(NetworkInterfaceId=made["NetworkInterfaceId"], Ipv4PrefixCount=1)
    after = ipamd("subnet", "--endpoint", door.line["endpoint"], "--subnet", cidr, "--json")

    assert before.json["subnets"][0]["map"] == ["41r1"]
    assert after.json["subnets"][0]["map"] == ["41P1"]
    assert [said.json["subnets"][0]["figures"]["prefixes_reserved"] for said in (before, after)] == [1, 0]
    assert (before.code, after.code) == (0, 1)


def test_a_backend_that_is_not_there_is_a_clear_message(ipamd: Run) -> None:
    """Nobody listens, no URL at all, another subnet: the thing, the fact, the remedy."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{taken.getsockname()[1]}"
        unreachable = ipamd("subnet", "--endpoint", gone)
    wrong = ipamd("subnet", "--endpoint", "file:///etc/passwd")

    assert (unreachable.code, wrong.code) == (1, 1)
    assert f"{gone}: cannot be reached" in unreachable.err and "ipamd ec2 serve" in unreachable.err
    assert "want a URL such as http://127.0.0.1:5000" in wrong.err


def test_an_unknown_subnet_of_a_backend_is_ec2s_refusal(ipamd: Run, door: Served) -> None:
    """EC2's own code is passed on."""
    said = ipamd("subnet", "--endpoint", door.line["endpoint"], "--subnet", "subnet-0123456789abcdef0")

    assert said.code == 1
    assert "InvalidSubnetID.NotFound" in said.err
