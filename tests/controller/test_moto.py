"""The controller on EC2's API over HTTP: boto3 before `ipamd ec2 serve`, instances that somebody launched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.moto.served import Served, serving

from .spawned import (
    ADDRESS,
    DELEGATION,
    IPAM,
    addressed,
    capacity_of,
    cluster,
    configure,
    controlling,
    until,
    windows_node,
    windows_pod,
)


@pytest.mark.slow
@pytest.mark.spec("WIN-33", "WIN-37", "WIN-62", "WIN-116")
def test_windows_pods_get_addresses_that_ec2_knows(tmp_path: Path) -> None:
    """Secondary addresses first, prefixes after the switch, on the interface that DescribeInstances shows."""
    with serving("--instance-type", "t3.medium") as moto, cluster() as api:
        instance, endpoint = moto.line["instance_id"], moto.line["endpoint"]
        configure(api, IPAM)
        windows_node(api, "win-0", "t3.medium", provider_id=f"aws:///us-west-2a/{instance}")
        with controlling(tmp_path / "state", api, "--ec2", "moto", "--endpoint", endpoint) as controller:
            windows_pod(api, "a", "win-0")
            first = addressed(api, ["a"])["a"]
            until("secondary capacity", lambda: capacity_of(api, "win-0") == "5" or None)
            configure(api, DELEGATION)
            until("prefix capacity", lambda: capacity_of(api, "win-0") == "80" or None)
            windows_pod(api, "b", "win-0")
            second = addressed(api, ["b"])["b"]
            used = controller.get("/node/win-0")[ADDRESS]["UsedResources"]
            until("what is spare is gone", lambda: _addresses(moto, instance) == [first.partition("/")[0]] or None)
            assert controller.end() == 0

        (prefix,) = _interface(moto, instance)["Ipv4Prefixes"]
        assert second.endswith("/32") and prefix["Ipv4Prefix"].endswith("/28")
        assert [row["ResourceID"] for row in used.values()] == [first]


def _interface(moto: Served, instance: str) -> dict[str, Any]:
    wanted = [{"Name": "attachment.instance-id", "Values": [instance]}]
    row: dict[str, Any]
    (row,) = moto.client().describe_network_interfaces(Filters=wanted)["NetworkInterfaces"]
    return row


def _addresses(moto: Served, instance: str) -> list[str]:
    rows = _interface(moto, instance)["PrivateIpAddresses"]
    return [row["PrivateIpAddress"] for row in rows if not row["Primary"]]
