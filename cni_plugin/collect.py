"""GC, when the configuration asks for it: addresses of attachments that the runtime no longer knows go back.

Upstream collects nothing. What ipamd holds stands in its checkpoint (`checkpointFile`); what the host has left of
pods whose link is gone shows in rules of priority 512 that lead to no route.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from cni_plugin import backend, errors, iproute, plan
from cni_plugin.check import documents
from cni_plugin.cniargs import Pod
from cni_plugin.delete import UNKNOWN_POD, tear_down
from cni_plugin.errors import CniError, failed
from cni_plugin.host import HostError, Route
from cni_plugin.status import RpcError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_plugin.env import Invocation
    from cni_plugin.host import Host
    from cni_plugin.log import Log
    from cni_plugin.netconf import NetworkConfig

VALID = "cni.dev/valid-attachments"
CHECKPOINT_MAX = 64 << 20  # bytes
CARDS_MAX = 64  # files of further network cards are looked for up to here


def collect(call: Invocation, config: NetworkConfig, host: Host, log: Log) -> None:
    """Release and clean what is not in the list of valid attachments; CniError 999 when some of it would not go."""
    try:
        valid = attachments(config.valid_attachments)
        stale = {key: pod for key, pod in held(config.checkpoint_file, config.name) if key not in valid}
    except (OSError, ValueError, RecursionError) as error:
        raise failed(errors.GC, error) from error
    wrong = []
    for (container, ifname), pod in stale.items():
        one = call._replace(container_id=container, ifname=ifname)
        try:
            reply, _ = backend.del_network(one, config, pod, backend.POD_DELETED)
            if reply.Success:
                tear_down(one, reply, host, log)
            log.info(f"Collected container {container} interface {ifname}: {backend.text_of(reply)}")
        except (RpcError, CniError) as error:
            if UNKNOWN_POD not in str(error):
                wrong.append(f"container {container}: {error}")
    try:
        _clean(host, log)
    except HostError as error:
        wrong.append(str(error))
    if wrong:
        raise failed(errors.GC, "; ".join(wrong))


def attachments(listed: Any) -> set[tuple[str, str]]:
    """Container and interface of each; ValueError when the runtime gave no such list, for then nothing is stale."""
    if not isinstance(listed, list):
        raise ValueError(f"{VALID}: want a list of containerID and ifname; nothing was collected")
    found = set()
    for each in listed:
        if not isinstance(each, dict) or not all(isinstance(each.get(key), str) for key in ("containerID", "ifname")):
            raise ValueError(f"{VALID}: {json.dumps(each)[:80]}: want containerID and ifname; nothing was collected")
        found.add((each["containerID"], each["ifname"]))
    return found


def held(path: str, network: str) -> Iterator[tuple[tuple[str, str], Pod]]:
    """What ipamd holds for a network, on all cards. OSError or ValueError when its checkpoint cannot be read."""
    base, suffix = os.path.splitext(path)
    for card in range(CARDS_MAX):
        name = f"{base}-nic-{card}{suffix}" if card else path
        if card and not os.path.exists(name):
            continue
        with open(name, "rb") as file:
            document = json.loads(file.read(CHECKPOINT_MAX))
        rows = document.get("allocations") if isinstance(document, dict) else None
        if not isinstance(rows, list | None):
            raise ValueError(f"{name}: want an object with allocations; see checkpointFile")
        for row in rows or []:
            if not isinstance(row, dict):
                raise ValueError(f"{name}: {json.dumps(row)[:80]} is no allocation; see checkpointFile")
            if row.get("networkName") == network:
                about = row.get("metadata") or {}
                pod = Pod(str(about.get("k8sPodName", "")), str(about.get("k8sPodNamespace", "")))
                yield (str(row.get("containerID", "")), str(row.get("ifName", ""))), pod


def _clean(host: Host, log: Log) -> None:
    """Remove the rules of addresses to which the host has no route any more: a pod has its route before its rules."""
    for six in (False, True) if os.path.exists("/proc/net/if_inet6") else (False,):  # else: a kernel without IPv6
        result = iproute.batch(["rule show", "route show table main"], six=six, json=True)
        if result.failures:
            raise HostError(f"ip: {'; '.join(result.failures.values())}")
        rules, routes = documents(result.stdout)
        reached = {row.get("dst") for row in routes}
        length = 128 if six else 32
        orphans = [
            Route(f"{rule['dst']}/{length}", 0)
            for rule in rules
            if rule.get("priority") == plan.TO_POD_RULE and "dstlen" not in rule and rule.get("dst") not in reached
            if rule.get("dst", "all") != "all"
        ]
        if orphans:
            host.tear_down(orphans, 0)
            log.info(f"Collected the rules of {', '.join(route.address for route in orphans)}")
