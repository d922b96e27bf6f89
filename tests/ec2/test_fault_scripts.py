"""Fault scripts as data, and answer times by quantiles."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ipamd.core.calls import Failed, Lost, ReadMetadata
from ipamd.core.types import MS, SECOND
from ipamd.ec2 import answers, requests
from ipamd.ec2.fault_script import BadFaultScript, faults_of
from ipamd.ec2.latency import Latency, Spread
from ipamd.ec2.vpc import look, look_delayed, make_vpc, perform, serve
from tests.ec2.asking import asked, code, lost, seen
from tests.ec2.truth import check_truth
from tests.ec2.worlds import creation, primary

Assign = requests.AssignPrivateIpAddresses


def test_a_fault_script_is_data() -> None:
    """fail, lose the reply, do it twice, grant a part, delay: each as its step says, in order, then no more."""
    vpc = make_vpc(subnet="10.0.0.0/24", instance_type="m5.24xlarge")
    vpc.faults.add(
        faults_of(
            [
                {"action": "AssignPrivateIpAddresses", "do": "fail", "code": "InternalError", "times": 2},
                {"action": "AssignPrivateIpAddresses", "do": "lose the reply"},
                {"action": "AssignPrivateIpAddresses", "do": "lose the reply", "effect": False},
                {"action": "AssignPrivateIpAddresses", "do": "do it twice"},
                {"action": "AssignPrivateIpAddresses", "do": "grant", "at_most": 1},
                {"action": "AssignPrivateIpAddresses", "do": "delay", "seconds": 2.5},
            ]
        )
    )
    asks = Assign(primary(vpc), address_count=2)
    assert [code(vpc, asks), code(vpc, asks)] == ["InternalError", "InternalError"]
    assert lost(vpc, asks) and len(seen(vpc, primary(vpc)).addresses) == 3
    assert lost(vpc, asks) and len(seen(vpc, primary(vpc)).addresses) == 3
    twice = serve(vpc, asks, 0)
    assert twice.earlier and twice.rows and len(seen(vpc, primary(vpc)).addresses) == 7
    assert asked(vpc, asks, answers.Granted).addresses == ("10.0.0.11",)
    assert serve(vpc, asks, 0).delay == 2500 * MS
    assert serve(vpc, asks, 0).delay == 0 and not vpc.faults.rules
    check_truth(vpc)


def test_a_creation_with_a_token_done_twice_makes_one_eni() -> None:
    """What client tokens are for; without one there are two."""
    vpc = make_vpc()
    twice = {"action": "CreateNetworkInterface", "do": "do it twice", "times": 2}
    vpc.faults.add(faults_of([twice]))
    perform(vpc, creation(vpc, token="t-1"), 0)
    assert len(vpc.enis) == 2
    perform(vpc, creation(vpc), 0)
    assert len(vpc.enis) == 4


def test_steps_wait_for_their_time_and_their_turn() -> None:
    """`from` and `until` in seconds after the script begins; `skip` lets requests through first."""
    vpc = make_vpc()
    limited = {"action": "DescribeVpcs", "do": "fail", "code": "RequestLimitExceeded", "times": -1}
    third = {"action": "DescribeSubnets", "do": "fail", "code": "X", "skip": 2}
    vpc.faults.add(faults_of([limited | {"from": 60, "until": 90}, third], 1000 * SECOND))
    asked(vpc, requests.DescribeVpcs(), answers.Page, 1059 * SECOND)
    assert code(vpc, requests.DescribeVpcs(), 1060 * SECOND) == "RequestLimitExceeded"
    assert code(vpc, requests.DescribeVpcs(), 1089 * SECOND) == "RequestLimitExceeded"
    asked(vpc, requests.DescribeVpcs(), answers.Page, 1090 * SECOND)
    for _ in range(2):
        asked(vpc, requests.DescribeSubnets(), answers.Page, 1000 * SECOND)
    assert code(vpc, requests.DescribeSubnets(), 1000 * SECOND) == "X"


def test_looks_suffer_faults_as_calls_do() -> None:
    """A delayed read of metadata, a refused one, and a lost one."""
    vpc = make_vpc()
    vpc.faults.add(
        faults_of(
            [
                {"action": "ReadMetadata", "do": "delay", "seconds": 1},
                {"action": "ReadMetadata", "do": "fail", "message": "connection refused"},
                {"action": "ReadMetadata", "do": "lose the reply"},
            ]
        )
    )
    view, delay = look_delayed(vpc, ReadMetadata(), 0)
    assert not isinstance(view, Failed | Lost) and delay == SECOND
    assert look(vpc, ReadMetadata(), 0) == Failed("", "connection refused")
    assert isinstance(look(vpc, ReadMetadata(), 0), Lost)


@pytest.mark.parametrize(
    ("step", "fact"),
    [
        ({"action": "AssignIps", "do": "fail", "code": "X"}, "want an EC2 action"),
        ({"action": "CreateTags", "do": "fail"}, "a failure without code"),
        ({"action": "CreateTags", "do": "explode"}, "explode"),
        ({"action": "CreateTags", "do": "delay"}, "want seconds > 0"),
        ({"action": "CreateTags", "do": "grant"}, "at_most"),
        ({"action": "CreateTags", "do": "do it twice", "times": 0}, "times"),
        ({"action": "CreateTags", "do": "do it twice", "tiems": 1}, "tiems"),
        ("fail", "fault script"),
    ],
)
def test_a_script_that_cannot_be_meant_is_refused(step: object, fact: str) -> None:
    """The message names the step, what is wrong with it and what would do."""
    with pytest.raises(BadFaultScript, match=fact):
        faults_of([step])


def test_an_action_can_have_its_own_distribution() -> None:
    """Quantiles: half of the answers below the median, one in a hundred beyond the last but one; by the seed."""
    spread = Spread(((0, 100), (500, 200), (990, 1000), (1000, 9000)))
    latency = Latency("none", 1, {"CreateVpc": spread})
    lengths = sorted(latency.ns(requests.CreateVpc("10.0.0.0/16"), n) for n in range(4000))
    assert lengths[0] >= 100 * MS and lengths[-1] <= 9000 * MS
    assert 190 * MS < lengths[2000] < 210 * MS and 800 * MS < lengths[3900] < 1000 * MS
    assert latency.ns(requests.DescribeVpcs(), 0) == 0
    realistic = Latency("realistic", 1)
    assert all(realistic.ns(ask, 0) for ask in (requests.DescribeVpcs(), requests.CreateVpc("10.0.0.0/16")))
    for bad in (((0, 1),), ((0, 5), (1000, 1)), ((0, 1), (500, 2)), ((0, 0), (1000, 61_000))):
        with pytest.raises(ValueError, match="want"):
            Spread(bad)


def test_the_cloud_page_can_be_run() -> None:
    """Its program gives what it says, and its fault script is read by any YAML reader."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "cloud.md").read_text()
    program = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    script = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert program is not None and script is not None
    spoken: dict[str, object] = {}
    exec(program[1], spoken)
    assert "granted" in spoken
    deeds = faults_of(yaml.safe_load(script[1]), 5 * SECOND)
    assert [f.action for f in deeds][:2] == ["AssignPrivateIpAddresses", "CreateNetworkInterface"]
    assert (deeds[-1].since, deeds[-1].until, deeds[-1].times) == (65 * SECOND, 95 * SECOND, -1)
