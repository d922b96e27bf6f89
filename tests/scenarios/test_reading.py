"""What a scenario file may say, and the one line that tells what is wrong with it: file, key, fact, remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ipamd.sim.scenario_check import max_pods_of
from ipamd.sim.scenario_read import SIZE_MAX, ScenarioError, decode, read

GOOD: dict[str, Any] = {
    "nodes": [{"name": "a", "type": "m5.large"}],
    "steps": ["settle"],
    "expect": {"nodes": {"a": {"ips": 9}}},
}


def refusal(text: str | bytes) -> str:
    with pytest.raises(ScenarioError) as caught:
        decode(text if isinstance(text, bytes) else text.encode(), "x.yaml")
    told = str(caught.value)
    assert told.startswith("x.yaml: ") and "\n" not in told
    return told.removeprefix("x.yaml: ")


def refused(**changes: object) -> str:
    return refusal(yaml.safe_dump({**GOOD, **changes}))


def node(**members: object) -> dict[str, object]:
    return {"name": "a", "type": "m5.large", **members}


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"stpes": []}, "stpes: no such key; did you mean steps?"),
        ({"zzz": 1}, "zzz: no such key; want one of title, rows, subnet, nodes, config_map"),
        ({"rows": "L-45"}, "rows: is str; want array"),
        ({"rows": ["X-1"]}, "rows[0]: is 'X-1'; want an id such as L-45"),
        ({"subnet": "10.0.0.0/30"}, "subnet: subnet '10.0.0.0/30': want a length of /16 to /28, as EC2 does"),
        ({"config": {"vpc": "10.0.0.1/16"}}, "config.vpc: VPC CIDR '10.0.0.1/16': bits are set"),
        ({"config": {"seed": "one"}}, "config.seed: is str; want int"),
        ({"config": {"latency": "slow"}}, "config.latency: invalid enum value 'slow'"),
        ({"config": {"retry_seconds": 0}}, "config.retry_seconds: is 0; want more than 0, at most 3600"),
        ({"nodes": []}, "nodes: are 0; want 1 to 100"),
        ({"nodes": [{"name": "a"}]}, "nodes[0].type: is missing; add it"),
        ({"nodes": [node(), node()]}, "nodes[1].name: is 'a' again; give each node a name of its own"),
        ({"nodes": [node(type="m5.big")]}, "nodes[0].type: instance type 'm5.big': not one of the "),
        ({"nodes": [node(os="beos")]}, "nodes[0].os: is 'beos'; want linux or windows"),
        ({"nodes": [node(), node(name="b", os="windows")]}, "nodes[1].os: is windows, that of nodes[0] is linux"),
        ({"nodes": [node(os="windows", cni_version="1.9")]}, "nodes[0].cni_version: means nothing on a Windows node"),
        ({"config_map": {}}, "config_map: is a Windows controller's; these nodes are Linux ones"),
        ({"steps": [{"configure": {}}]}, "steps[0].configure: means nothing to nodes of this OS; did you"),
        ({"nodes": [node(os="plan9")]}, "nodes[0].os: is 'plan9'; want linux"),
        ({"nodes": [node(colour=1)]}, "nodes[0].colour: no such key; want one of type, name, os, env"),
        ({"nodes": [node(env={"WARM_IP_TARGT": 1})]}, "nodes[0].env.WARM_IP_TARGT: no such variable; did you mean"),
        ({"nodes": [node(env={"WARM_IP_TARGET": "x"})]}, 'nodes[0].env: WARM_IP_TARGET="x": want an integer >= 0'),
        ({"nodes": [node(env={"ENABLE_IPv6": True})]}, "nodes[0].env: ENABLE_IPv4=true and ENABLE_IPv6=true"),
        (
            {"nodes": [node(env={"ENABLE_IPv4": False, "ENABLE_IPv6": True})]},  # L-05: it cannot be left out there
            "nodes[0].env: ENABLE_PREFIX_DELEGATION=false: want true with ENABLE_IPv6",
        ),
        ({"nodes": [node(env={"WARM_IP_TARGET": [1]})]}, "nodes[0].env[...]: is array; want bool | int | str"),
        ({"nodes": [node(kubelet_args="--max-pods=2")]}, "nodes[0].kubelet_args: --max-pods is '2'; want a number"),
        ({"nodes": [node(kubelet_args="--max-pods=many")]}, "nodes[0].kubelet_args: --max-pods is 'many'; want"),
        ({"nodes": [node(kubelet_args="--v=4")]}, "nodes[0].kubelet_args: --v is not modelled; want --max-pods"),
        ({"nodes": [node(kubelet_args="max")]}, "nodes[0].kubelet_args: is 'max'; want --NAME=VALUE"),
        ({"nodes": [node(bootstrap_args="--use-max-pods=no")]}, "nodes[0].bootstrap_args: --use-max-pods is 'no'"),
        ({"nodes": [node(cni_version="new")]}, 'nodes[0].cni_version: "new": want a version such as 1.9.0'),
        (
            {"nodes": [node(requirements={"node.kubernetes.io/instance-type": ["m5.xlarge"]})]},
            "nodes[0].type: is m5.large, but requirements allow m5.xlarge; choose one of them",
        ),
        ({"nodes": [node(requirements={"zone": ["a"]})]}, "nodes[0].requirements.zone: is not modelled; want"),
        ({"steps": []}, "steps: are none; want one at least"),
        ({"steps": ["sleep"]}, "steps[0]: invalid enum value 'sleep'"),
        ({"steps": [{"settle": 1, "wait": 1}]}, "steps[0]: has none or several; want exactly one of add_pods"),
        ({"steps": [{}]}, "steps[0]: has none or several; want exactly one of add_pods"),
        ({"steps": [{"ad_pods": 1}]}, "steps[0].ad_pods: no such key; did you mean add_pods?"),
        ({"steps": [{"add_pods": "ten"}]}, "steps[0].add_pods: is str; want int | object"),
        ({"steps": [{"add_pods": 0}]}, "steps[0].add_pods: is 0; want 1 to 10000"),
        ({"steps": [{"add_pods": {"count": 10**6}}]}, "steps[0].add_pods.count: is 1e+06; want 1 to 10000"),
        ({"steps": [{"add_pods": {"count": 1, "node": "b"}}]}, "steps[0].add_pods: 'b' is no node of this scenario"),
        ({"steps": [{"delete_pods": {"count": 1, "node": "b"}}]}, "steps[0].delete_pods: 'b' is no node of this"),
        ({"steps": [{"wait": -1}]}, "steps[0].wait: is -1; want 0 to 604800"),
        ({"steps": [{"wait": float("nan")}]}, "steps[0].wait: is nan; want 0 to 604800"),
        ({"steps": [{"wait": True}]}, "steps[0].wait: is bool; want float"),
        ({"steps": [{"join": "b"}]}, "steps[0].join: 'b' is no node of this scenario; want one of a"),
        ({"steps": [{"drain": "b"}]}, "steps[0].drain: 'b' is no node of this scenario; want one of a"),
        ({"steps": [{"drain": {"node": "a", "max_unavailable": -1}}]}, "steps[0].drain.max_unavailable: is -1"),
        ({"steps": [{"restart": {"node": "b"}}]}, "steps[0].restart: 'b' is no node of this scenario"),
        ({"steps": [{"restart": {"node": "a", "env": {"X": 1}}}]}, "steps[0].restart.env.X: no such variable"),
        ({"steps": [{"restart": {"node": "a", "cni_version": "x"}}]}, 'steps[0].restart.cni_version: "x": want'),
        ({"steps": [{"take": {}}]}, "steps[0].take: want exactly one of in_each_block, count and addresses"),
        ({"steps": [{"take": {"addresses": ["ten"]}}]}, "steps[0].take.addresses[0]: is 'ten'; want an address"),
        ({"steps": [{"reserve": "10.0.0.0/33"}]}, "steps[0].reserve.cidr: is '10.0.0.0/33'; want"),
        ({"steps": [{"assign": {"node": "a"}}]}, "steps[0].assign: want exactly one of addresses and prefixes"),
        ({"steps": [{"assign": {"node": "b", "prefixes": 1}}]}, "steps[0].assign: 'b' is no node of this scenario"),
        ({"steps": [{"repeat": {"times": 0, "steps": ["settle"]}}]}, "steps[0].repeat.times: is 0; want 1 to 1000"),
        (
            {"steps": [{"repeat": {"times": 1, "steps": [{"repeat": {"times": 1, "steps": ["settle"]}}]}}]},
            "steps[0].repeat.steps[0].repeat: stands in another repeat; want one level",
        ),
        (
            {"steps": [{"repeat": {"times": 1, "steps": [{"expect": {"settled": True}}]}}]},
            "steps[0].repeat.steps[0].expect: stands in a repeat; want it after",
        ),
        (
            {"steps": [{"repeat": {"times": 2, "steps": [{"join": "a"}]}}]},
            "steps[0].repeat.steps[0].join: stands in a repeat; want it after",
        ),
        ({"steps": [{"join": "a"}, {"join": "a"}]}, "steps[1].join: 'a' has joined already; a node joins once"),
        ({"steps": [{"cordon": "a"}, {"join": "a"}]}, "steps[0].cordon: 'a' has not joined yet; want a step join"),
        ({"steps": [{"terminate": "a"}, {"drain": "a"}]}, "steps[1].drain: 'a' is terminated; leave it out"),
        ({"expect": {}}, "expect: says nothing; want one member at least"),
        ({"expect": {"nodes": {"b": {"ips": 1}}}}, "expect.nodes.b: is no node of this scenario; want one of a"),
        ({"expect": {"nodes": {"a": {"calls": {"AssignPrivateIp": 0}}}}}, "expect.nodes.a.calls.AssignPrivateIp: is"),
        ({"expect": {"nodes": {"a": {"refusals": {"full": 0}}}}}, "expect.nodes.a.refusals.full: is never counted"),
        ({"expect": {"nodes": {"a": {"targets": {"warm": 0}}}}}, "expect.nodes.a.targets.warm: is never counted; did"),
        ({"expect": {"answers": {"first": "ok"}}}, "expect.answers.first: is named by no step assign; want one of"),
        ({"steps": [{"fault": {"action": "Assign", "code": "X"}}]}, "steps[0].fault.action.Assign: is no action"),
        ({"expect": {"nodes": {"a": {"ip": 1}}}}, "expect.nodes[...].ip: no such key; did you mean ips?"),
        ({"expect": {"pods": {"running": "9"}}}, "expect.pods.running: is str; want int"),
        ({"steps": [{"expect": {"nodes": {"b": {}}}}]}, "steps[0].expect.nodes.b: is no node of this scenario"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(changes: dict[str, object], told: str) -> None:
    """The key with its path, the fact, and what to write instead."""
    assert told in refused(**changes)


@pytest.mark.parametrize(
    "text, told",
    [
        ("", "holds NoneType; want a mapping with the keys nodes, steps and expect"),
        ("- 1", "holds list; want a mapping"),
        ("nodes: [", "line 1, column 9: "),
        ("nodes: &a []\nsteps: *a\n", "line 2, column 8: an alias (*name); want plain YAML"),
        ("nodes: []\nnodes: []\n", "line 2, column 1: the key 'nodes' twice; want plain YAML"),
        ("? [1]\n: 2\n", "line 1, column 3: a key that is no text; want plain YAML"),
        ("nodes: !!python/object/apply:os.getpid []\n", "line 1, column 8: could not determine a constructor"),
        ("nodes: " + "[" * 2000, "too deeply nested; want plain YAML"),
        (b"\xff\xfe\xfa\xfa", "not readable as YAML"),
        (b"nodes: \xff", "not readable as YAML"),
        ("a: \x07", "not readable as YAML"),
        ("#" * (SIZE_MAX + 1), f"longer than {SIZE_MAX} bytes; want one scenario a file"),
    ],
)
def test_only_plain_yaml_is_loaded(text: str | bytes, told: str) -> None:
    """No tags that make objects, no aliases that grow, no key that another one hides; and never a traceback."""
    assert told in refusal(text)


def test_a_file_is_read_by_its_path(tmp_path: Path) -> None:
    """Whatever its name, if it has a dot or a slash, or exists."""
    path = tmp_path / "mine"
    path.write_text(yaml.safe_dump(GOOD))

    assert read(str(path)).nodes[0].type == "m5.large"


@pytest.mark.parametrize(
    "name, told",
    [
        ("fragmented-subnt", "'fragmented-subnt': no scenario of that name, and no such file; did you mean fragmented"),
        ("zzz", "'zzz': no scenario of that name, and no such file; `ipamd scenario list` tells what comes along"),
        ("../../etc/none.yaml", "../../etc/none.yaml: no such file or directory; name a YAML file"),
        ("/", "/: is a directory; name a YAML file"),
        ("a\0b.yaml", "no such file"),
    ],
)
def test_a_name_that_is_none_is_told(name: str, told: str) -> None:
    """With names that are alike, or where to find them."""
    with pytest.raises(ScenarioError) as caught:
        read(name)

    assert told in str(caught.value)


@pytest.mark.parametrize(
    "members, max_pods",
    [
        ({}, 29),
        ({"kubelet_args": "--max-pods=110"}, 110),
        ({"kubelet_args": "--max-pods 58"}, 58),
        ({"bootstrap_args": "--use-max-pods=false"}, 110),
        ({"bootstrap_args": "--use-max-pods=true"}, 29),
        ({"bootstrap_args": "--use-max-pods=false", "kubelet_args": "--max-pods=50"}, 50),
        ({"env": {"ENABLE_PREFIX_DELEGATION": True}}, 29),
        ({"group": "g"}, 29),
        ({"group": "g", "env": {"ENABLE_PREFIX_DELEGATION": "true"}}, 110),
        ({"group": "g", "env": {"ENABLE_PREFIX_DELEGATION": True}, "cni_version": "1.8.0"}, 29),
    ],
)
def test_max_pods_is_what_the_kubelet_is_told(members: dict[str, object], max_pods: int) -> None:
    """L-35, L-36, L-51: the flag counts before all; then the group's lowest; then the type's, or kubelet's own."""
    scenario = decode(yaml.safe_dump({**GOOD, "nodes": [node(**members)]}).encode(), "x.yaml")

    assert max_pods_of(scenario, 0) == max_pods
