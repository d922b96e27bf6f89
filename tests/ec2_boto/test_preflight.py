"""`ipamd ec2 preflight`: each permission by a dry run, the least policy, and what it says (EC2-50)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ipamd.cli import ec2_preflight
from ipamd.ec2.preflight import ACTIONS, NO_DRY_RUN, policy
from tests.ec2_boto.test_imds import FIRST, serving, tree
from tests.ec2_boto.weather import Weather, refusal, weather, xml

PERMITTED = refusal("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
UPSTREAM = {
    "AssignPrivateIpAddresses", "AttachNetworkInterface", "CreateNetworkInterface", "DeleteNetworkInterface",
    "DescribeInstances", "DescribeTags", "DescribeNetworkInterfaces", "DescribeInstanceTypes",
    "DescribeSecurityGroups", "DescribeSubnets", "DetachNetworkInterface", "ModifyNetworkInterfaceAttribute",
    "UnassignPrivateIpAddresses", "CreateTags",
}  # fmt: skip
"""EC2-50, IPv4."""


def instance(asked: dict[str, str]) -> Any:
    """A dry run is permitted; in earnest, the instance is there."""
    if asked.get("DryRun") == "true":
        return PERMITTED(asked)
    body = "<reservationSet><item><ownerId>123456789012</ownerId><instancesSet><item><instanceId>i-0a</instanceId>"
    return xml("DescribeInstances", f"{body}</item></instancesSet></item></reservationSet>")


@pytest.fixture
def sky(monkeypatch: pytest.MonkeyPatch) -> Iterator[Weather]:
    """An account that permits everything, and an instance in it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    with weather() as made, serving(tree(m0=FIRST)) as service:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url)
        made.tell(PERMITTED)
        made.tell(instance, "DescribeInstances")
        yield made


def test_everything_is_permitted(sky: Weather, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0; every request was a dry run but the one that tells who we are."""
    code = ec2_preflight.main(["--endpoint", sky.url, "--json"])
    found = json.loads(capsys.readouterr().out)

    assert code == 0
    assert (found["account"], found["region"], found["instance"]) == ("123456789012", "eu-west-1", "i-0a")
    assert {check["action"]: check["verdict"] for check in found["checks"]} == {
        action: "unchecked" if action in NO_DRY_RUN else "allowed" for action in ACTIONS
    }
    assert found["missing"] == []
    assert [asked["Action"] for asked in sky.asked if asked.get("DryRun") != "true"] == ["DescribeInstances"]


def test_what_is_denied_is_named(sky: Weather, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, the actions, and the policy that grants them."""
    sky.tell(refusal("UnauthorizedOperation", "You are not authorized.", 403), "CreateTags", "AttachNetworkInterface")
    sky.tell(refusal("InvalidAttachmentID.NotFound", "none"), "DetachNetworkInterface")
    code = ec2_preflight.main(["--endpoint", sky.url])
    text = capsys.readouterr().out
    who, rest = text.split("\n", 1)

    assert code == 1
    assert who == f"account 123456789012, region eu-west-1, instance i-0a, by {sky.url}"
    assert "denied     ec2:CreateTags  (You are not authorized" in rest
    assert "unclear    ec2:DetachNetworkInterface  (InvalidAttachmentID.NotFound: none)" in rest
    assert "denied: ec2:AttachNetworkInterface, ec2:CreateTags; grant the policy below" in rest
    assert json.loads(rest[rest.index("{") :]) == policy("eu-west-1")


def test_nobody_can_be_asked(sky: Weather, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 1."""
    code = ec2_preflight.main(["--endpoint", "http://127.0.0.1:9"])
    told = capsys.readouterr()

    assert code == 1
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    assert "http://127.0.0.1:9: cannot be reached" in told.err


def test_expired_credentials_are_not_taken_for_a_verdict(sky: Weather, capsys: pytest.CaptureFixture[str]) -> None:
    """EC2 says nothing about permissions then."""
    sky.tell(refusal("RequestExpired", "Request has expired."))
    sky.tell(refusal("RequestExpired", "Request has expired."), "DescribeInstances")
    code = ec2_preflight.main(["--endpoint", sky.url])

    assert code == 1
    assert "RequestExpired: Request has expired; the credentials have expired" in capsys.readouterr().err


@pytest.mark.spec("EC2-28", "EC2-50")
def test_the_policy_alone_asks_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    """The least of what upstream documents: without the two actions that nobody calls."""
    code = ec2_preflight.main(["--policy", "--region", "cn-north-1"])
    printed = json.loads(capsys.readouterr().out)
    others, tags = printed["Statement"]

    assert code == 0
    assert {action.removeprefix("ec2:") for action in others["Action"] + tags["Action"]} == UPSTREAM - {
        "DescribeTags", "DescribeSecurityGroups",
    }  # fmt: skip
    assert tags == {
        "Effect": "Allow",
        "Action": ["ec2:CreateTags"],
        "Resource": ["arn:aws-cn:ec2:*:*:network-interface/*"],
    }
