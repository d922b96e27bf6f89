"""The configuration for the runtime, and what is refused before it is written."""

from __future__ import annotations

import json

import pytest

from ipamd.cli.conflist import Refused, checked, conflist, missing, text_of

PLUGINS = ("aws-cni", "portmap", "bandwidth", "tuning")


def test_by_default_it_is_what_upstream_writes_but_for_egress() -> None:
    """aws-cni with upstream's defaults, then portmap; version 0.4.0, so that no runtime sends GC or STATUS."""
    made = json.loads(text_of(conflist({}, PLUGINS)))

    assert {key: made[key] for key in ("cniVersion", "name", "disableCheck")} == {
        "cniVersion": "0.4.0",
        "name": "aws-cni",
        "disableCheck": True,
    }
    assert made["plugins"] == [
        {
            "name": "aws-cni",
            "type": "aws-cni",
            "vethPrefix": "eni",
            "mtu": "9001",
            "podSGEnforcingMode": "strict",
            "pluginLogFile": "/var/log/aws-routed-eni/plugin.log",
            "pluginLogLevel": "Debug",
            "capabilities": {"io.kubernetes.cri.pod-annotations": True},
        },
        {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
    ]


@pytest.mark.spec("ENV-62", "ENV-64", "ENV-65")
def test_the_variables_reach_the_plugin() -> None:
    """POD_MTU beats the ENI's MTU; prefix, mode and log as named."""
    env = {
        "POD_MTU": "1400",
        "AWS_VPC_ENI_MTU": "1500",
        "AWS_VPC_K8S_CNI_VETHPREFIX": "pod",
        "POD_SECURITY_GROUP_ENFORCING_MODE": "standard",
        "AWS_VPC_K8S_PLUGIN_LOG_FILE": "stderr",
        "AWS_VPC_K8S_PLUGIN_LOG_LEVEL": "info",
    }

    plugin = conflist(env, PLUGINS)["plugins"][0]

    shown = {key: plugin[key] for key in ("mtu", "vethPrefix", "podSGEnforcingMode", "pluginLogFile", "pluginLogLevel")}
    assert list(shown.values()) == ["1400", "pod", "standard", "stderr", "info"]
    assert conflist({"AWS_VPC_ENI_MTU": "1500"}, PLUGINS)["plugins"][0]["mtu"] == "1500"


@pytest.mark.spec("ENV-70")
def test_bandwidth_and_tuning_come_when_asked_for_and_portmap_keeps_its_snat() -> None:
    """Upstream loses `snat` on the way there; we do not."""
    made = conflist({"ENABLE_BANDWIDTH_PLUGIN": "true", "DISABLE_POD_V6": "true"}, PLUGINS)["plugins"]

    assert [plugin["type"] for plugin in made] == ["aws-cni", "portmap", "bandwidth", "tuning"]
    assert made[1]["snat"] is True
    assert made[3]["sysctl"] == {f"net.ipv6.conf.{where}.disable_ipv6": "1" for where in ("all", "default", "lo")}


@pytest.mark.spec("ENV-66", "ENV-70")
def test_what_is_not_there_is_left_out_and_told() -> None:
    """A runtime fails every pod for a plugin it does not find."""
    env = {"ENABLE_BANDWIDTH_PLUGIN": "true", "ENABLE_V6_EGRESS": "true"}

    assert [plugin["type"] for plugin in conflist(env, ("aws-cni",))["plugins"]] == ["aws-cni"]
    assert [line.split(":")[0] for line in missing(env, ("aws-cni",))] == ["portmap", "bandwidth", "egress-cni"]
    assert missing({}, PLUGINS) == []


@pytest.mark.parametrize(
    ("env", "says"),
    [
        pytest.param({"AWS_VPC_K8S_PLUGIN_LOG_FILE": "stdout"}, "want a path", marks=pytest.mark.spec("ENV-64")),
        pytest.param({"AWS_VPC_K8S_CNI_VETHPREFIX": "vlan"}, "not eth, lo or vlan", marks=pytest.mark.spec("ENV-67")),
        pytest.param({"AWS_VPC_K8S_CNI_VETHPREFIX": "fives"}, "at most 4", marks=pytest.mark.spec("ENV-67")),
        ({"ENABLE_POD_ENI": "true", "POD_SECURITY_GROUP_ENFORCING_MODE": "lax"}, "want strict or standard"),
        pytest.param({"IP_COOLDOWN_PERIOD": "-1"}, "want an integer >= 0", marks=pytest.mark.spec("ENV-68")),
        pytest.param({"IP_COOLDOWN_PERIOD": "ten"}, "want an integer >= 0", marks=pytest.mark.spec("ENV-68")),
        pytest.param({"POD_MTU": "575"}, "from 576 to 9001", marks=pytest.mark.spec("ENV-63")),
        pytest.param({"AWS_VPC_ENI_MTU": "9002"}, "from 576 to 9001", marks=pytest.mark.spec("ENV-63")),
        pytest.param({"POD_MTU": "1279", "ENABLE_IPv6": "true"}, "from 1280", marks=pytest.mark.spec("ENV-63")),
        pytest.param({"ENABLE_PREFIX_DELEGATION": "true"}, "above 0 with it", marks=pytest.mark.spec("ENV-69")),
        pytest.param(
            {"ENABLE_PREFIX_DELEGATION": "true", "WARM_IP_TARGET": "-1", "MINIMUM_IP_TARGET": " 1"},
            "above 0 with it",
            marks=pytest.mark.spec("ENV-69"),
        ),
    ],
)
def test_what_upstreams_entrypoint_ends_for_is_refused(env: dict[str, str], says: str) -> None:
    """With the variable and what it wants."""
    with pytest.raises(Refused, match=says):
        checked(env)


@pytest.mark.spec("ENV-69")
@pytest.mark.parametrize("target", ["1", "abc"])
def test_targets_are_compared_as_text(target: str) -> None:
    """Upstream's comparison is of strings: letters are above "0"."""
    checked({"ENABLE_PREFIX_DELEGATION": "true", "WARM_PREFIX_TARGET": target})

    with pytest.raises(Refused):
        checked({"ENABLE_PREFIX_DELEGATION": "true", "WARM_PREFIX_TARGET": ""})
