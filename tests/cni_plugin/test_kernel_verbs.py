"""CHECK on a real kernel, and STATUS and GC where the configuration asks for real answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.cni_plugin import shown
from tests.cni_plugin.cases import POD_0, SECONDARY, SIX, TWO_CARDS, Case
from tests.cni_plugin.harness import Node, Refusal, config, deleted, environment, invoke
from tests.cni_plugin.place import Place, call
from tests.netns import rig
from tests.runtime.spawned import spawned

Conf = Callable[..., bytes]
MODERN = {"cniVersion": "1.1.0", "statusAndGc": True}


@pytest.fixture
def place() -> Iterator[Place]:
    """A node and a pod, empty."""
    rig.require()
    with rig.namespaces("node", "pod") as (host, pod):
        yield Place(host, pod)


@pytest.mark.parametrize(
    "case", [pytest.param(SECONDARY, id="one"), pytest.param(SIX, id="six"), pytest.param(TWO_CARDS, id="two cards")]
)
def test_check_agrees_with_add(node: Node, conf: Conf, place: Place, case: Case) -> None:
    """Right after ADD all is as ADD made it."""
    node.add = case.reply
    add = call(place, "ADD", conf(**case.config))

    check = call(place, "CHECK", conf(prevResult=add.document, **case.config))

    assert (check.code, check.stdout) == (0, "")


DAMAGE = {
    "pod link set dev eth0 down": "eth0 is down",
    "pod link set dev eth0 mtu 1400": "eth0 has MTU 1400, want 9001",
    "pod link delete dev eth0": "no link eth0",
    "pod address delete 10.0.1.9/32 dev eth0": "eth0 has no address 10.0.1.9",
    "pod route delete default": "no default route via 169.254.1.1 dev eth0 in table 254 of the pod",
    "pod neighbour delete 169.254.1.1 dev eth0": "169.254.1.1 is not the neighbour",
    "pod rule delete priority 1": "no rule from 10.1.1.9 to table 1 in the pod",
    f"host link set dev {POD_0} down": f"{POD_0} is down",
    "host route delete 10.0.1.9": f"no route to 10.0.1.9 dev {POD_0} on the host",
    "host rule delete priority 512 to 10.0.1.9": "no rule of priority 512 to 10.0.1.9",
    "host rule delete priority 1536": "no rule of priority 1536 from 10.1.1.9 to table 10101",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_check_finds_each_damage(node: Node, conf: Conf, place: Place, damage: str) -> None:
    """One row is taken away: CHECK says which."""
    node.add = TWO_CARDS.reply
    add = call(place, "ADD", conf())
    side, *words = damage.split()

    rig.ip(*words, netns=place.pod if side == "pod" else place.host)
    check = call(place, "CHECK", conf(prevResult=add.document))

    assert check.document["code"] == 999
    assert check.document["msg"].startswith("check cmd: pod network is not as ADD made it: ")
    assert DAMAGE[damage] in check.document["msg"]


def test_check_of_a_pod_that_is_gone(node: Node, conf: Conf, place: Place) -> None:
    """Its namespace cannot be opened."""
    add = call(place, "ADD", conf())
    rig.ip("netns", "delete", place.pod)

    check = call(place, "CHECK", conf(prevResult=add.document))

    assert "the pod may be gone" in check.document["msg"]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"interfaces": []}, "it is no result of aws-cni for this pod"),
        ({"ips": []}, "prevResult has no address on eth0"),
    ],
)
def test_check_of_somebody_elses_result(node: Node, conf: Conf, change: dict[str, Any], words: str) -> None:
    """Said before any namespace is looked at."""
    add = invoke(environment("ADD"), conf(dryRun=True))

    check = invoke(environment("CHECK"), conf(prevResult={**add.document, **change}))

    assert words in check.document["msg"]


def test_real_macs_in_the_result(node: Node, conf: Conf, place: Place) -> None:
    """What Podman reads is there and true; CHECK agrees, and DEL without ipamd finds the table by itself."""
    node.add = TWO_CARDS.reply
    add = call(place, "ADD", conf(realMacs=True))
    interfaces = add.document["interfaces"]

    check = call(place, "CHECK", conf(realMacs=True, prevResult=add.document))
    delete = call(place, "DEL", conf(ipamdAddress="unix:///nowhere.sock", prevResult=add.document))

    assert {each["name"]: each["mac"] for each in interfaces if "sandbox" in each} == {
        name: shown.mac(place.pod, name) for name in ("eth0", "mNicIf1")
    }
    assert "sandbox" not in interfaces[-1]
    assert (check.code, delete.code) == (0, 0)
    assert (shown.rules(place.host), shown.routes(place.host)) == (set(), set())


def test_status_asks_the_daemon(tmp_path: Path) -> None:
    """A daemon that serves is fine; once it is gone, code 50."""
    with spawned(tmp_path / "s") as daemon:
        stdin = config(**MODERN, ipamdAddress=daemon.grpc)
        serving = invoke(environment("STATUS"), stdin)
    gone = invoke(environment("STATUS"), stdin)

    assert (serving.stdout, serving.code) == ("", 0)
    assert (gone.document["code"], gone.document["msg"]) == (50, "ipamd does not answer: no pod can be added")
    assert "rpc error: code = Unavailable" in gone.document["details"]


def test_status_of_a_server_without_health(node: Node, conf: Conf) -> None:
    """Whoever listens there is no ipamd."""
    outcome = invoke(environment("STATUS"), conf(**MODERN))

    assert outcome.document["code"] == 50
    assert "Unimplemented" in outcome.document["details"]


@pytest.mark.parametrize("verb", ["STATUS", "GC"])
def test_without_the_switch_both_are_fine_always(conf: Conf, verb: str) -> None:
    """Upstream's answer: nobody is asked."""
    outcome = invoke(environment(verb), conf(cniVersion="1.1.0"))

    assert (outcome.stdout, outcome.code) == ("", 0)


def checkpoint(path: Path, *containers: str, network: str = "aws-cni") -> str:
    """A file as ipamd keeps it."""
    rows = [
        {
            "networkName": network,
            "containerID": each,
            "ifName": "eth0",
            "ipv4": "10.0.1.9",
            "metadata": {"k8sPodNamespace": "default", "k8sPodName": f"pod-{each}"},
        }
        for each in containers
    ]
    path.write_text(json.dumps({"version": "vpc-cni-ipam/1", "allocations": rows}))
    return str(path)


def valid(*containers: str) -> dict[str, Any]:
    """What the runtime knows."""
    return {"cni.dev/valid-attachments": [{"containerID": each, "ifname": "eth0"} for each in containers]}


def test_gc_gives_back_what_the_runtime_does_not_know(node: Node, conf: Conf, place: Place, tmp_path: Path) -> None:
    """The pod that is gone loses address and rules, the other one and other networks keep theirs; cards are files."""
    node.add, node.delete = SECONDARY.reply, deleted(*SECONDARY.reply.IPAllocationMetadata)
    assert call(place, "ADD", conf()).code == 0
    file = checkpoint(tmp_path / "ipam.json", "kept")
    checkpoint(tmp_path / "ipam-nic-1.json", "cafe0001")
    checkpoint(tmp_path / "ipam-nic-2.json", "foreign", network="other")

    gc = call(place, "GC", conf(**MODERN, checkpointFile=file, **valid("kept")))

    assert (gc.code, gc.stdout) == (0, "")
    assert [(each.ContainerID, each.Reason, each.K8S_POD_NAME) for each in node.asked[1:]] == [
        ("cafe0001", "PodDeleted", "pod-cafe0001")
    ]
    assert (shown.rules(place.host), shown.routes(place.host)) == (set(), set())


def test_gc_removes_rules_that_lead_nowhere(node: Node, conf: Conf, place: Place, tmp_path: Path) -> None:
    """A DEL that never came: the link went with its namespace, the rules stayed. A living pod's stay."""
    node.add = SECONDARY.reply
    assert call(place, "ADD", conf()).code == 0
    for words in ("512 to 10.0.9.9 table main", "1536 from 10.0.9.9 table 3", "512 to 10.8.0.0/16 table main"):
        rig.ip("rule", "add", "priority", *words.split(), netns=place.host)
    rig.ip("-6", "rule", "add", "priority", "512", "to", "fd00::9", "table", "main", netns=place.host)

    gc = call(place, "GC", conf(**MODERN, checkpointFile=checkpoint(tmp_path / "ipam.json"), **valid("cafe0001")))

    assert (gc.code, gc.stdout) == (0, "")
    assert shown.rules(place.host) == SECONDARY.host_rules | {"512 to 10.8.0.0 main"}
    assert shown.rules(place.host, "-6") == set()


def test_gc_goes_on_after_a_failure_and_tells_it(node: Node, conf: Conf, place: Place, tmp_path: Path) -> None:
    """A sandbox that ipamd does not know is none; any other refusal is named."""
    node.delete = Refusal(grpc.StatusCode.INTERNAL, "disk full")
    file = checkpoint(tmp_path / "ipam.json", "c1", "c2")

    gc = call(place, "GC", conf(**MODERN, checkpointFile=file, **valid()))
    node.delete = Refusal(grpc.StatusCode.UNKNOWN, "datastore: unknown pod")
    again = call(place, "GC", conf(**MODERN, checkpointFile=file, **valid()))

    assert gc.document["msg"].startswith("gc cmd: failed to collect: container c1: rpc error: code = Internal")
    assert "container c2: rpc error" in gc.document["msg"]
    assert again.code == 0


@pytest.mark.parametrize(
    "attachments, words",
    [
        ({}, "want a list of containerID and ifname; nothing was collected"),
        ({"cni.dev/valid-attachments": [{"containerID": "x"}]}, "nothing was collected"),
        (valid(), "No such file"),
    ],
)
def test_gc_without_its_lists_collects_nothing(
    node: Node, conf: Conf, tmp_path: Path, attachments: dict[str, Any], words: str
) -> None:
    """No list is not an empty list."""
    outcome = invoke(environment("GC"), conf(**MODERN, checkpointFile=f"{tmp_path}/none.json", **attachments))

    assert words in outcome.document["msg"]
    assert node.asked == []
