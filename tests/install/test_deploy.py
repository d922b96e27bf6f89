"""What deploy/ ships: manifests that parse, options that exist, metrics that are exposed."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ipamd.cli import health, install, run
from ipamd.config import VARIABLES
from ipamd.config.variables import ELSEWHERE
from tests.runtime.spawned import PATIENCE, spawned

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "node"
METRIC = re.compile(r"\b(?:awscni|ipamd)_[a-z0-9_]+\b")


def documents() -> dict[str, Any]:
    """Kind -> object of the DaemonSet's manifest."""
    return {made["kind"]: made for made in yaml.safe_load_all((DEPLOY / "daemonset.yaml").read_text())}


def daemon() -> dict[str, Any]:
    """The container that runs ipamd."""
    found: dict[str, Any] = documents()["DaemonSet"]["spec"]["template"]["spec"]["containers"][0]
    return found


def asked() -> dict[str, set[str]]:
    """File -> metrics that its expressions name."""
    alerts = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())
    rules = [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    board = json.loads((DEPLOY / "dashboard.json").read_text())
    panels = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    panels += [each["query"] for each in board["templating"]["list"]]
    return {
        name: {metric for text in texts for metric in METRIC.findall(text)}
        for name, texts in (("alerts", rules), ("dashboard", panels))
    }


def test_every_metric_that_is_asked_for_is_exposed(tmp_path: Path) -> None:
    """A daemon's own exposition has each name, so no panel and no alert stays silent for ever."""
    with spawned(tmp_path / "s", "--max-pods", "0") as process:
        text = process.text("/metrics", "metrics")
    families = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    names = set(families) | {f"{name}_bucket" for name, kind in families.items() if kind == "histogram"}

    assert {name: sorted(metrics - names) for name, metrics in asked().items()} == {"alerts": [], "dashboard": []}
    assert min(map(len, asked().values())) >= 6


def test_alerts_say_what_to_do() -> None:
    """The four that a node needs, each with a remedy."""
    alerts = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())
    rules = [rule for group in alerts["groups"] for rule in group["rules"]]

    names = [rule["alert"] for rule in rules]
    assert names == ["NoAvailableAddress", "CooldownPressure", "SubnetNearlyOutOfPrefixes", "JournalLag"]
    assert all(rule["annotations"]["remedy"] and rule["labels"]["severity"] for rule in rules)


def test_the_command_and_the_probes_are_ones_we_have() -> None:
    """Parsed by the commands' own parsers, as the container would."""
    container = daemon()
    words = shlex.split(container["args"][0].replace("${HOST_IP##*.}", "7"))
    assert words[:3] == ["exec", "ipamd", "install"] and words[3:6] == ["--", "ipamd", "run"]

    installing = install.parser().parse_args(words[3:])
    running = run.parser().parse_args(words[6:])

    assert installing.command[1:] == words[4:]
    assert (running.host, running.vpc_netns, running.subnet) == ("netlink", "vpc", "10.64.7.0/24")
    for probe in ("readinessProbe", "livenessProbe"):
        probing = container[probe]["exec"]["command"]
        assert probing[:2] == ["ipamd", "health"] and health.parser().parse_args(probing[2:]).rpc_timeout == 5


def test_every_variable_is_one_that_somebody_reads() -> None:
    """No name is misspelt; what the command line uses is there."""
    names = [each["name"] for each in daemon()["env"]]

    assert [name for name in names if name not in VARIABLES and name not in ELSEWHERE and name != "HOST_IP"] == []


def test_mounts_have_volumes_and_the_account_its_role() -> None:
    """Names on both sides agree."""
    made = documents()
    pod = made["DaemonSet"]["spec"]["template"]["spec"]
    containers = [*pod["initContainers"], *pod["containers"]]
    mounted = {mount["name"] for container in containers for mount in container["volumeMounts"]}

    assert mounted == {volume["name"] for volume in pod["volumes"]}
    assert made["ClusterRoleBinding"]["roleRef"]["name"] == made["ClusterRole"]["metadata"]["name"]
    assert made["ClusterRoleBinding"]["subjects"][0]["name"] == pod["serviceAccountName"]
    kustomization = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())
    assert all((DEPLOY / name).is_file() for name in kustomization["resources"])


@pytest.mark.spec("EV-6")
def test_the_role_is_upstreams_and_what_a_pods_annotation_needs() -> None:
    """What upstream's manifest grants, and nothing but `patch` of pods beside it."""
    granted: dict[str, set[str]] = {}
    for rule in documents()["ClusterRole"]["rules"]:
        for resource in rule["resources"]:
            granted.setdefault(resource, set()).update(rule["verbs"])
    read = {"get", "list", "watch"}

    assert granted == {
        "eniconfigs": read, "namespaces": read, "nodes": read, "pods": {*read, "patch"},
        "events": {"create", "patch", "list"}, "cninodes": {*read, "patch"},
    }  # fmt: skip


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kubectl_builds_the_kustomization() -> None:
    """With the image's name put in place."""
    words = ["kubectl", "kustomize", str(DEPLOY)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)

    assert done.returncode == 0, done.stderr
    images = re.findall(r"image: (\S+)", done.stdout)
    assert images and set(images) == {"ipamd-emulator:latest"}
