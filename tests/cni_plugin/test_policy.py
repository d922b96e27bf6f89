"""The network policy agent: asked when ipamd names a mode, never in a dry run (RPC-17)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from ipamd.rpc import rpc_pb2
from tests.cni_plugin.harness import (
    Node,
    RecordingHost,
    Refusal,
    added,
    allocation,
    deleted,
    environment,
    invoke,
    serving,
)

Conf = Callable[..., bytes]
MODE = "standard"


@pytest.fixture
def node(socket_path: str) -> Iterator[Node]:
    """ipamd with two addresses for a pod under policy, and an agent that agrees."""
    node = Node(
        add=added(allocation("10.0.1.9"), allocation("10.1.1.9"), NetworkPolicyMode=MODE),
        delete=deleted(allocation("10.0.1.9"), NetworkPolicyMode=MODE),
        enforce=rpc_pb2.EnforceNpReply(Success=True),
        forget=rpc_pb2.DeleteNpReply(Success=True),
    )
    with serving(node, f"unix:{socket_path}"):
        yield node


@pytest.mark.spec("RPC-14")
def test_agent_is_told_the_pod_the_mode_and_the_number_of_interfaces(node: Node, conf: Conf) -> None:
    """After the host is set up."""
    outcome = invoke(environment("ADD"), conf(), RecordingHost())

    assert outcome.code == 0
    assert node.asked[1:] == [
        rpc_pb2.EnforceNpRequest(
            K8S_POD_NAME="nginx", K8S_POD_NAMESPACE="default", NETWORK_POLICY_MODE=MODE, InterfaceCount=2
        )
    ]


def test_agent_is_not_asked_without_a_mode(node: Node, conf: Conf) -> None:
    """An empty mode ends ADD and DEL before the agent."""
    node.add, node.delete = added(allocation("10.0.1.9")), deleted(allocation("10.0.1.9"))

    invoke(environment("ADD"), conf(), RecordingHost())
    invoke(environment("DEL"), conf(), RecordingHost())

    assert [type(each).__name__ for each in node.asked] == ["AddNetworkRequest", "DelNetworkRequest"]


@pytest.mark.parametrize("verb", ["ADD", "DEL"])
def test_dry_run_leaves_the_agent_alone(node: Node, conf: Conf, verb: str) -> None:
    """There is no link to police."""
    outcome = invoke(environment(verb), conf(dryRun=True))

    assert outcome.code == 0
    assert len(node.asked) == 1


@pytest.mark.parametrize(
    "answer, words",
    [
        (rpc_pb2.EnforceNpReply(Success=False), "answered Success=false; see its log"),
        (Refusal(grpc.StatusCode.INTERNAL, "no map"), "rpc error: code = Internal desc = no map"),
    ],
)
def test_refusing_agent_fails_add_without_any_cleanup(node: Node, conf: Conf, answer: object, words: str) -> None:
    """The runtime is expected to send DEL."""
    node.enforce = answer

    outcome = invoke(environment("ADD"), conf(), RecordingHost())

    assert outcome.document["code"] == 999
    assert outcome.document["msg"].startswith("add cmd: failed to setup network policy: ")
    assert words in outcome.document["msg"]
    assert len(node.asked) == 2


def test_absent_agent_fails_add(node: Node, conf: Conf, tmp_path: Path) -> None:
    """The address stays assigned until DEL."""
    absent = f"unix://{tmp_path}/npa.sock"

    outcome = invoke(environment("ADD"), conf(networkPolicyAgentAddress=absent), RecordingHost())

    assert outcome.document["msg"].startswith("add cmd: failed to setup network policy: rpc error: code = Un")
    assert "no such file or directory" in outcome.document["msg"]


def test_agent_forgets_the_pod(node: Node, conf: Conf) -> None:
    """After the host is cleaned."""
    outcome = invoke(environment("DEL"), conf(), RecordingHost())

    assert outcome.code == 0
    assert node.asked[1:] == [rpc_pb2.DeleteNpRequest(K8S_POD_NAME="nginx", K8S_POD_NAMESPACE="default")]


@pytest.mark.parametrize(
    "answer", [rpc_pb2.DeleteNpReply(Success=False), Refusal(grpc.StatusCode.UNKNOWN, "no such pod")]
)
def test_forgetting_may_fail(node: Node, conf: Conf, answer: object) -> None:
    """Only the log hears of it."""
    node.forget = answer

    outcome = invoke(environment("DEL"), conf(), RecordingHost())

    assert (outcome.stdout, outcome.code) == ("", 0)
    assert "Failed to delete pod network policy for Pod Name nginx and NameSpace default" in outcome.log[0]["msg"]


def test_absent_agent_fails_del(node: Node, conf: Conf, tmp_path: Path) -> None:
    """The address is released by then; the next DEL meets an unknown pod and succeeds."""
    absent = f"unix://{tmp_path}/npa.sock"

    outcome = invoke(environment("DEL"), conf(networkPolicyAgentAddress=absent), RecordingHost())

    assert outcome.document["code"] == 999
    assert outcome.document["msg"].startswith("del cmd: failed to connect to network policy agent: rpc error: ")
