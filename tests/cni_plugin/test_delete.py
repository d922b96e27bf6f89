"""DEL against a real gRPC server: what is asked, what is taken away, and when it succeeds all the same."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from ipamd.rpc import rpc_pb2
from tests.cni_plugin.harness import (
    NGINX,
    NGINX_1,
    FailingHost,
    Node,
    Outcome,
    RecordingHost,
    Refusal,
    allocation,
    deleted,
    environment,
    invoke,
)

Conf = Callable[..., bytes]
UNKNOWN = Refusal(grpc.StatusCode.UNKNOWN, "1 error occurred:\n\t* datastore: unknown pod\n\n")


def previous(
    mac: str = "0", sandbox: str = "2", table: str = "3", ip: str = "10.0.1.9/32", version: str = "0.4.0"
) -> dict[str, Any]:
    """The result of an ADD of default/nginx with one address."""
    return {
        "cniVersion": version,
        "interfaces": [
            {"name": f"eni{NGINX}"},
            {"name": "eth0", "mac": table, "sandbox": "/var/run/netns/cni-x"},
            {"name": f"dummy{NGINX}", "mac": mac, "sandbox": sandbox},
        ],
        "ips": [{"version": "4", "interface": 1, "address": ip}],
        "dns": {},
    }


def fine(outcome: Outcome) -> bool:
    """Whether the DEL succeeded; it prints nothing then."""
    return (outcome.stdout, outcome.code) == ("", 0)


@pytest.mark.spec("RPC-12", "RPC-43")
def test_ipamd_is_told_the_sandbox_the_pod_and_its_uid(node: Node, conf: Conf) -> None:
    """All fields of RPC-12, the reason among them."""
    outcome = invoke(environment("DEL"), conf(dryRun=True))

    assert fine(outcome)
    assert node.asked == [
        rpc_pb2.DelNetworkRequest(
            K8S_POD_NAME="nginx",
            K8S_POD_NAMESPACE="default",
            K8S_POD_INFRA_CONTAINER_ID="cafe0001",
            Reason="PodDeleted",
            IfName="eth0",
            NetworkName="aws-cni",
            ContainerID="cafe0001",
            K8S_POD_UID="uid-1",
        )
    ]


def test_addresses_of_the_reply_are_taken_away(node: Node, conf: Conf) -> None:
    """In its order, with their tables; an element without an address is passed over."""
    node.delete = deleted(allocation("10.0.1.9"), allocation(), allocation(v6="fd00:0::9", device=0, table=254))
    host = RecordingHost()

    outcome = invoke(environment("DEL"), conf(), host)

    assert fine(outcome)
    assert host.tear_downs == [([("10.0.1.9/32", 3), ("fd00::9/128", 254)], 0)]


@pytest.mark.spec("RPC-50")
def test_reply_without_an_address_is_only_a_word_in_the_log(node: Node, conf: Conf) -> None:
    """An IPv6 branch pod comes so."""
    node.delete = deleted(allocation())
    host = RecordingHost()

    outcome = invoke(environment("DEL"), conf(), host)

    assert fine(outcome)
    assert host.tear_downs == []


@pytest.mark.spec("RPC-48")
def test_branch_pod_of_the_reply_is_taken_away_with_its_vlan(node: Node, conf: Conf) -> None:
    """Its table is the VLAN id + 100."""
    node.delete = deleted(allocation("10.0.2.9", device=-1, table=0), PodVlanId=5)
    host = RecordingHost()

    outcome = invoke(environment("DEL"), conf(), host)

    assert fine(outcome)
    assert host.tear_downs == [([("10.0.2.9/32", 105)], 5)]


def test_branch_pod_without_namespace_ends_at_once(node: Node, conf: Conf) -> None:
    """Neither the host nor the policy agent is touched."""
    node.delete = deleted(allocation("10.0.2.9"), PodVlanId=5, NetworkPolicyMode="strict")
    host = RecordingHost()

    outcome = invoke(environment("DEL", CNI_NETNS=None), conf(), host)

    assert fine(outcome)
    assert (host.tear_downs, len(node.asked)) == ([], 1)


def test_normal_pod_without_namespace_is_taken_away(node: Node, conf: Conf) -> None:
    """CNI_NETNS is optional for DEL: the namespace may be gone already."""
    node.delete = deleted(allocation("10.0.1.9"))
    host = RecordingHost()

    outcome = invoke(environment("DEL", CNI_NETNS=None), conf(), host)

    assert fine(outcome)
    assert len(host.tear_downs) == 1


@pytest.mark.spec("RPC-46")
def test_unknown_pod_is_deleted_already(node: Node, conf: Conf) -> None:
    """The substring decides, wherever it stands; the host is left alone."""
    node.delete = UNKNOWN
    host = RecordingHost()

    outcome = invoke(environment("DEL"), conf(prevResult=previous()), host)

    assert fine(outcome)
    assert host.tear_downs == []


@pytest.mark.spec("RPC-61")
@pytest.mark.parametrize("code", [grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNKNOWN])
def test_any_other_error_of_ipamd_is_no_failure(node: Node, conf: Conf, code: grpc.StatusCode) -> None:
    """Without prevResult nothing is done; ipamd finds the stale address later."""
    node.delete = Refusal(code, "pod UID mismatch: got a, expected b")
    host = RecordingHost()

    outcome = invoke(environment("DEL"), conf(), host)

    assert fine(outcome)
    assert host.tear_downs == []
    assert "pod UID mismatch" in outcome.log[0]["msg"]


def test_absent_ipamd_is_no_failure(conf: Conf) -> None:
    """What prevResult tells is taken away."""
    host = RecordingHost()

    outcome = invoke(environment("DEL"), conf(prevResult=previous()), host)

    assert fine(outcome)
    assert host.tear_downs == [([("10.0.1.9/32", 3)], 0)]
    assert "no such file or directory" in outcome.log[0]["msg"]


@pytest.mark.spec("RPC-61")
def test_refusal_without_an_error_fails(node: Node, conf: Conf) -> None:
    """Upstream's server never does that."""
    node.delete = rpc_pb2.DelNetworkReply(Success=False)

    outcome = invoke(environment("DEL"), conf(dryRun=True))

    assert outcome.document["code"] == 999
    assert outcome.document["msg"].startswith("del cmd: failed to process delete request: ipamd at unix ")


def test_bad_arguments_fail_even_del(node: Node, conf: Conf) -> None:
    """ "args" here, "arg" for ADD."""
    outcome = invoke(environment("DEL", CNI_ARGS="odd"), conf(dryRun=True))

    assert outcome.document["msg"] == 'del cmd: failed to load k8s config from args: ARGS: invalid pair "odd"'
    assert node.asked == []


def test_failing_host_fails(node: Node, conf: Conf) -> None:
    """The address is released by then; a repeated DEL meets an unknown pod and succeeds."""
    node.delete = deleted(allocation("10.0.1.9"))

    outcome = invoke(environment("DEL"), conf(), FailingHost())

    message = outcome.document["msg"]
    assert message.startswith("del cmd: failed on tear down pod network: 10.0.1.9/32: cannot remove its rule")


def test_branch_pod_with_previous_result_never_asks_ipamd(node: Node, conf: Conf) -> None:
    """VLAN id from the dummy's mac, address from the interface of CNI_IFNAME."""
    host = RecordingHost()

    outcome = invoke(environment("DEL"), conf(prevResult=previous(mac="5", table="0")), host)

    assert fine(outcome)
    assert host.tear_downs == [([("10.0.1.9/32", 105)], 5)]
    assert node.asked == []


def test_branch_pod_with_previous_result_but_no_namespace_is_done(node: Node, conf: Conf) -> None:
    """Success, nothing touched."""
    host = RecordingHost()

    outcome = invoke(environment("DEL", CNI_NETNS=None), conf(prevResult=previous(mac="5")), host)

    assert fine(outcome)
    assert (host.tear_downs, node.asked) == ([], [])


def test_previous_result_with_a_malformed_vlan_fails(node: Node, conf: Conf) -> None:
    """The one thing that tells branch pods from others must be a number."""
    outcome = invoke(environment("DEL"), conf(dryRun=True, prevResult=previous(mac="02:00:00:00:00:05")))

    assert outcome.document == {
        "code": 999,
        "msg": "del cmd: failed to delete with prevResult: malformed vlanID in prevResult: 02:00:00:00:00:05",
    }
    assert node.asked == []


def test_branch_pod_needs_exactly_one_address_in_previous_result(node: Node, conf: Conf) -> None:
    """None and two are errors."""
    none, two = previous(mac="5"), previous(mac="5")
    none["ips"][0]["interface"] = 0
    two["ips"] *= 2

    outcomes = [invoke(environment("DEL"), conf(dryRun=True, prevResult=each)) for each in (none, two)]

    for outcome in outcomes:
        assert outcome.document["msg"].startswith("del cmd: failed to delete with prevResult: prevResult: want")
    assert node.asked == []


def test_branch_pod_on_a_failing_host_fails(node: Node, conf: Conf) -> None:
    """The runtime will try again."""
    outcome = invoke(environment("DEL"), conf(prevResult=previous(mac="5")), FailingHost())

    assert outcome.document["msg"].startswith("del cmd: failed to delete with prevResult: 10.0.1.9/32: cannot")


@pytest.mark.parametrize("version", ["0.4.0", "1.0.0", "1.1.0"])
def test_normal_pod_with_previous_result_asks_ipamd(node: Node, conf: Conf, version: str) -> None:
    """A VLAN id of 0 is not handled by prevResult; ipamd's reply counts."""
    node.delete = deleted(allocation("10.0.1.9", table=7))
    host = RecordingHost()

    outcome = invoke(environment("DEL"), conf(cniVersion=version, prevResult=previous(version=version)), host)

    assert fine(outcome)
    assert host.tear_downs == [([("10.0.1.9/32", 7)], 0)]


def test_previous_result_of_another_pod_is_no_help(conf: Conf) -> None:
    """The dummy's name bears the pod's digits."""
    host = RecordingHost()
    other = environment("DEL", CNI_ARGS="K8S_POD_NAME=other;K8S_POD_NAMESPACE=default")

    outcome = invoke(other, conf(prevResult=previous(mac="5")), host)

    assert fine(outcome)
    assert host.tear_downs == []


def test_tear_down_by_previous_result_takes_every_link(conf: Conf) -> None:
    """Multi-NIC; what was added behind the dummy (egress) makes one more, which is passed over."""
    document = previous()
    document["interfaces"][2:2] = [{"name": f"eni{NGINX_1}"}, {"name": "mNicIf1", "mac": "10101"}]
    document["interfaces"] += [{"name": "v4host"}, {"name": "v4if0"}]
    document["ips"].append({"version": "4", "interface": 3, "address": "10.1.1.9/32"})
    host = RecordingHost()

    outcome = invoke(environment("DEL"), conf(prevResult=document), host)

    assert fine(outcome)
    assert host.tear_downs == [([("10.0.1.9/32", 3), ("10.1.1.9/32", 10101)], 0)]


@pytest.mark.parametrize("device, table", [("0", 254), ("2", 3)])
def test_old_results_have_the_device_number_only(conf: Conf, device: str, table: int) -> None:
    """From before v1.20 the container end's mac is empty: the table follows from the device of card 0."""
    host = RecordingHost()

    invoke(environment("DEL"), conf(prevResult=previous(sandbox=device, table="")), host)

    assert host.tear_downs == [([("10.0.1.9/32", table)], 0)]


@pytest.mark.parametrize("numbers", [{"sandbox": "x"}, {"sandbox": ""}, {"table": "main"}])
def test_previous_result_with_odd_numbers_is_given_up(conf: Conf, numbers: dict[str, str]) -> None:
    """The DEL succeeds, the log says why nothing was done."""
    host = RecordingHost()

    outcome = invoke(environment("DEL"), conf(prevResult=previous(**numbers)), host)

    assert fine(outcome)
    assert host.tear_downs == []
    assert "Could not teardown pod using prevResult" in outcome.log[-1]["msg"]


def test_tear_down_by_previous_result_may_fail(conf: Conf) -> None:
    """Best effort: a DEL while ipamd is down succeeds regardless."""
    outcome = invoke(environment("DEL"), conf(prevResult=previous()), FailingHost())

    assert fine(outcome)
    assert "operation not permitted" in outcome.log[-1]["msg"]


def test_own_namespace_is_refused_unless_overridden(node: Node, conf: Conf) -> None:
    """Code 8, also for DEL; a namespace that cannot be looked at is none of ours."""
    own = environment("DEL", CNI_NETNS="/proc/self/ns/net")
    gone = environment("DEL", CNI_NETNS="/var/run/netns/gone")

    refused = invoke(own, conf(), RecordingHost())

    assert refused.document["code"] == 8
    assert fine(invoke({**own, "CNI_NETNS_OVERRIDE": "1"}, conf(), RecordingHost()))
    assert fine(invoke(own, conf(dryRun=True)))
    assert fine(invoke(gone, conf(), RecordingHost()))
