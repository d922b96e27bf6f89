"""The conflist that makes a runtime call aws-cni, and what upstream's entrypoint checks before it writes one.

Everything here is a function of the environment's variables (ENV-60..72).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

NAME: Final = "10-aws.conflist"
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_DISABLED6: Final = {f"net.ipv6.conf.{where}.disable_ipv6": "1" for where in ("all", "default", "lo")}


class Refused(Exception):
    """A value that upstream's entrypoint ends for: the variable, what it holds, what is wanted."""


def checked(env: Mapping[str, str]) -> None:
    """Raises Refused, as upstream's entrypoint exits (ENV-63, ENV-64, ENV-67..69)."""
    if env.get("AWS_VPC_K8S_PLUGIN_LOG_FILE") == "stdout":
        _refuse(env, "AWS_VPC_K8S_PLUGIN_LOG_FILE", "a path or stderr: on stdout it would spoil the plugin's result")
    prefix = env.get("AWS_VPC_K8S_CNI_VETHPREFIX", "eni")
    if len(prefix.encode()) > 4 or prefix in ("eth", "lo", "vlan"):
        _refuse(env, "AWS_VPC_K8S_CNI_VETHPREFIX", "at most 4 characters, and not eth, lo or vlan")
    if _on(env, "ENABLE_POD_ENI") and env.get("POD_SECURITY_GROUP_ENFORCING_MODE", "strict") not in (
        "strict",
        "standard",
    ):
        _refuse(env, "POD_SECURITY_GROUP_ENFORCING_MODE", "strict or standard")
    cooldown = env.get("IP_COOLDOWN_PERIOD", "30")
    if _INTEGER.fullmatch(cooldown) is None or int(cooldown) < 0:
        _refuse(env, "IP_COOLDOWN_PERIOD", "an integer >= 0")
    least = 1280 if _on(env, "ENABLE_IPv6") else 576
    for name in ("AWS_VPC_ENI_MTU", "POD_MTU"):
        text = env.get(name, "9001")
        if _INTEGER.fullmatch(text) is None or not least <= int(text) <= 9001:
            _refuse(env, name, f"an integer from {least} to 9001")
    _check_targets(env)


def _check_targets(env: Mapping[str, str]) -> None:
    """ENV-69: compared as text, as upstream does: "-1" and "" count as none, "abc" as one."""
    names = ("WARM_PREFIX_TARGET", "WARM_IP_TARGET", "MINIMUM_IP_TARGET")
    if _on(env, "ENABLE_PREFIX_DELEGATION") and not any(env.get(name, "0") > "0" for name in names):
        raise Refused(f"ENABLE_PREFIX_DELEGATION=true: want {', '.join(names[:2])} or {names[2]} above 0 with it")


def _refuse(env: Mapping[str, str], name: str, want: str) -> None:
    raise Refused(f"{name}={env.get(name, '')[:60]!a}: want {want}")


def _on(env: Mapping[str, str], name: str, default: bool = False) -> bool:
    text = env.get(name, "")
    return text in ("1", "t", "T", "TRUE", "true", "True") if text else default


def conflist(env: Mapping[str, str], installed: Collection[str]) -> dict[str, Any]:
    """The configuration as data. A chained plugin is listed if its binary is among `installed`: see `missing`."""
    plugins = [_aws_cni(env)]
    if "portmap" in installed:
        plugins.append({"type": "portmap", "capabilities": {"portMappings": True}, "snat": True})
    if _on(env, "ENABLE_BANDWIDTH_PLUGIN") and "bandwidth" in installed:
        plugins.append({"type": "bandwidth", "capabilities": {"bandwidth": True}})
    if _on(env, "DISABLE_POD_V6") and "tuning" in installed:
        plugins.append({"type": "tuning", "sysctl": dict(_DISABLED6)})
    return {"cniVersion": "0.4.0", "name": "aws-cni", "disableCheck": True, "plugins": plugins}


def missing(env: Mapping[str, str], installed: Collection[str]) -> list[str]:
    """What a pod would go without, because the binary is not there; one line each."""
    wanted = {"portmap": ("hostPort of pods", True), "bandwidth": ("ENABLE_BANDWIDTH_PLUGIN", False)}
    wanted["tuning"] = ("DISABLE_POD_V6", False)
    lines = []
    for plugin, (what, always) in wanted.items():
        if plugin not in installed and (always or _on(env, what)):
            lines.append(f"{plugin}: not in the directory of plugins, so {what} has no effect; install the CNI plugins")
    if _on(env, "ENABLE_V6_EGRESS") or (_on(env, "ENABLE_IPv6") and _on(env, "ENABLE_V4_EGRESS", default=True)):
        lines.append("egress-cni: is no part of this, so pods reach their own family only")
    return lines


def _aws_cni(env: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": "aws-cni",
        "type": "aws-cni",
        "vethPrefix": env.get("AWS_VPC_K8S_CNI_VETHPREFIX", "eni"),
        "mtu": env.get("POD_MTU") or env.get("AWS_VPC_ENI_MTU") or "9001",
        "podSGEnforcingMode": env.get("POD_SECURITY_GROUP_ENFORCING_MODE") or "strict",
        "pluginLogFile": env.get("AWS_VPC_K8S_PLUGIN_LOG_FILE") or "/var/log/aws-routed-eni/plugin.log",
        "pluginLogLevel": env.get("AWS_VPC_K8S_PLUGIN_LOG_LEVEL") or "Debug",
        "capabilities": {"io.kubernetes.cri.pod-annotations": True},
    }


def text_of(made: dict[str, Any]) -> str:
    """As the file holds it."""
    return json.dumps(made, indent=2) + "\n"
