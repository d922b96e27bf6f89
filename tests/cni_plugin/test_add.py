"""ADD against a real gRPC server: what ipamd is asked, what comes of its answers."""

from collections.abc import Callable

import grpc
import pytest

from ipamd.rpc import rpc_pb2
from tests.cni_plugin.harness import (
    NGINX,
    NGINX_1,
    FailingHost,
    Node,
    RecordingHost,
    Refusal,
    added,
    allocation,
    environment,
    invoke,
)

Conf = Callable[..., bytes]
PATCH = {"io.kubernetes.cri.pod-annotations": {"k8s.amazonaws.com/nicConfig": "multi-nic-attachment"}}
BRANCH_REPLY = added(
    allocation("10.0.2.9", device=-1, table=0),
    PodVlanId=5,
    PodENIMAC="02:c3:46:52:cb:57",
    PodENISubnetGW="10.0.2.1",
    ParentIfIndex=7,
)


def test_dry_run_gives_the_result_without_touching_the_host(node: Node, conf: Conf) -> None:
    """The whole result of the example in the protocol's description."""
    outcome = invoke(environment("ADD"), conf(dryRun=True))

    assert outcome.code == 0
    assert outcome.document == {
        "cniVersion": "0.4.0",
        "interfaces": [
            {"name": f"eni{NGINX}"},
            {"name": "eth0", "mac": "3", "sandbox": "/var/run/netns/cni-x"},
            {"name": f"dummy{NGINX}", "mac": "0", "sandbox": "2"},
        ],
        "ips": [{"version": "4", "interface": 1, "address": "10.0.1.9/32"}],
        "dns": {},
    }


@pytest.mark.spec("RPC-10", "RPC-20")
def test_ipamd_is_told_the_sandbox_and_the_pod_but_no_version(node: Node, conf: Conf) -> None:
    """All fields of RPC-10; ClientVersion stays empty, the UID is not part of ADD."""
    invoke(environment("ADD"), conf(dryRun=True))

    assert node.asked == [
        rpc_pb2.AddNetworkRequest(
            K8S_POD_NAME="nginx",
            K8S_POD_NAMESPACE="default",
            K8S_POD_INFRA_CONTAINER_ID="cafe0001",
            Netns="/var/run/netns/cni-x",
            IfName="eth0",
            NetworkName="aws-cni",
            ContainerID="cafe0001",
        )
    ]


@pytest.mark.spec("RPC-60")
@pytest.mark.parametrize("value, wanted", [("multi-nic-attachment", True), ("Multi-NIC", False), ("", False)])
def test_several_interfaces_are_asked_for_by_annotation(node: Node, conf: Conf, value: str, wanted: bool) -> None:
    """Only the exact value counts; any other is a normal pod, with a word in the log."""
    annotations = {"io.kubernetes.cri.pod-annotations": {"k8s.amazonaws.com/nicConfig": value}}

    outcome = invoke(environment("ADD"), conf(dryRun=True, runtimeConfig=annotations, pluginLogLevel="debug"))

    assert node.asked[0].RequiresMultiNICAttachment is wanted
    assert any("nicConfig" in line["msg"] and line["level"] == "debug" for line in outcome.log) is not wanted


def test_links_are_made_in_the_replys_order(node: Node, conf: Conf) -> None:
    """One veth pair for each address: names, addresses with their length, tables; the MTU and the namespace."""
    node.add = added(allocation("10.0.1.9"), allocation("10.1.1.9", device=1, table=10101))
    host = RecordingHost()

    outcome = invoke(environment("ADD"), conf(mtu="1500", runtimeConfig=PATCH), host)

    [(links, branch, netns, mtu)] = host.set_ups
    assert [tuple(link)[:5] for link in links] == [
        (f"eni{NGINX}", "eth0", "10.0.1.9/32", 3, 2),
        (f"eni{NGINX_1}", "mNicIf1", "10.1.1.9/32", 10101, 1),
    ]
    assert (branch, netns, mtu) == (None, "/var/run/netns/cni-x", 1500)
    assert [ip["interface"] for ip in outcome.document["ips"]] == [1, 3]


def test_six_is_used_when_there_is_no_four(node: Node, conf: Conf) -> None:
    """IPv4 comes first, an IPv6 address is made canonical and gets /128."""
    node.add = added(allocation(v6="FD00:0:0::0009", device=0, table=254))

    outcome = invoke(environment("ADD"), conf(dryRun=True))

    assert outcome.document["ips"] == [{"version": "6", "interface": 1, "address": "fd00::9/128"}]


@pytest.mark.spec("RPC-26")
@pytest.mark.parametrize("mode, prefix", [("strict", "vlan"), ("standard", "eni"), ("odd", "eni")])
def test_branch_pod_gets_its_vlan(node: Node, conf: Conf, mode: str, prefix: str) -> None:
    """PodVlanId leads to the branch path with the first address."""
    node.add = BRANCH_REPLY
    host = RecordingHost()

    outcome = invoke(environment("ADD"), conf(podSGEnforcingMode=mode), host)

    [(links, branch, _, _)] = host.set_ups
    assert [link.host_veth for link in links] == [f"{prefix}{NGINX}"]
    assert branch is not None
    assert tuple(branch) == (5, "02:c3:46:52:cb:57", "10.0.2.1", 7, mode)
    assert outcome.document["interfaces"][2] == {"name": f"dummy{NGINX}", "mac": "5"}
    assert outcome.document["ips"][0]["gateway"] == "10.0.2.1"


def test_branch_path_uses_the_first_address_only(node: Node, conf: Conf) -> None:
    """Further elements appear in the result, but no link is made for them."""
    node.add = added(allocation("10.0.2.9"), allocation("10.0.2.10"), PodVlanId=5)
    host = RecordingHost()

    outcome = invoke(environment("ADD"), conf(), host)

    assert [link.address for link in host.set_ups[0][0]] == ["10.0.2.9/32"]
    assert len(outcome.document["ips"]) == 2


@pytest.mark.spec("RPC-33", "RPC-42")
def test_refusal_without_an_error_is_no_address(node: Node, conf: Conf) -> None:
    """Success=false: fixed words, and nothing to give back."""
    node.add = rpc_pb2.AddNetworkReply(Success=False)

    outcome = invoke(environment("ADD"), conf(dryRun=True))

    assert outcome.document == {"code": 999, "msg": "add cmd: failed to assign an IP address to container"}
    assert len(node.asked) == 1


def test_reason_of_a_refusal_becomes_the_details(node: Node, conf: Conf) -> None:
    """Our daemon says in trailing metadata what upstream's keeps to itself."""
    node.add = rpc_pb2.AddNetworkReply(Success=False)
    node.trailers = (("ipamd-reason", "no free address: 58 of 58 assigned; raise WARM_PREFIX_TARGET"),)

    outcome = invoke(environment("ADD"), conf(dryRun=True))

    assert outcome.document == {
        "code": 999,
        "msg": "add cmd: failed to assign an IP address to container",
        "details": "no free address: 58 of 58 assigned; raise WARM_PREFIX_TARGET",
    }


@pytest.mark.spec("RPC-40", "RPC-41")
def test_success_without_an_address_is_an_error(node: Node, conf: Conf) -> None:
    """Upstream's plugin would crash here."""
    node.add = rpc_pb2.AddNetworkReply(Success=True)

    outcome = invoke(environment("ADD"), conf(dryRun=True))

    assert outcome.document["code"] == 999
    assert outcome.document["msg"].startswith("add cmd: failed to assign an IP address to container: ipamd at")


@pytest.mark.spec("RPC-18")
def test_status_of_ipamd_is_passed_on(node: Node, conf: Conf) -> None:
    """A version mismatch in the server's words."""
    node.add = Refusal(grpc.StatusCode.FAILED_PRECONDITION, 'wrong client version "" (!= "v1.2 \u00fc%")')
    node.trailers = (("ipamd-reason", "versions differ; start the daemon with --client-version"),)

    outcome = invoke(environment("ADD"), conf(dryRun=True))

    assert outcome.document == {
        "code": 999,
        "msg": "add cmd: Error received from AddNetwork gRPC call: rpc error: code = FailedPrecondition "
        'desc = wrong client version "" (!= "v1.2 \u00fc%")',
        "details": "versions differ; start the daemon with --client-version",
    }
    assert len(node.asked) == 1


def test_bad_arguments_never_reach_ipamd(node: Node, conf: Conf) -> None:
    """The stage has its own words."""
    outcome = invoke(environment("ADD", CNI_ARGS="odd=1"), conf(dryRun=True))

    assert outcome.document == {
        "code": 999,
        "msg": 'add cmd: failed to load k8s config from arg: ARGS: unknown args ["odd=1"]',
    }
    assert node.asked == []


@pytest.mark.spec("RPC-43", "RPC-51")
def test_failing_host_gives_the_address_back(node: Node, conf: Conf) -> None:
    """DelNetwork with reason SetupNSFailed and without the UID."""
    outcome = invoke(environment("ADD"), conf(), FailingHost())

    assert outcome.document == {
        "code": 999,
        "msg": f"add command: failed to setup network: eni{NGINX}: cannot create: operation not permitted; run as root",
    }
    assert node.asked[1:] == [
        rpc_pb2.DelNetworkRequest(
            K8S_POD_NAME="nginx",
            K8S_POD_NAMESPACE="default",
            K8S_POD_INFRA_CONTAINER_ID="cafe0001",
            Reason="SetupNSFailed",
            IfName="eth0",
            NetworkName="aws-cni",
            ContainerID="cafe0001",
        )
    ]


@pytest.mark.parametrize("answer", [Refusal(grpc.StatusCode.UNKNOWN, "no"), rpc_pb2.DelNetworkReply(Success=False)])
def test_address_that_cannot_be_given_back_is_only_logged(node: Node, conf: Conf, answer: object) -> None:
    """The runtime hears of the first failure alone."""
    node.delete = answer

    outcome = invoke(environment("ADD"), conf(), FailingHost())

    assert outcome.document["msg"].startswith("add command: failed to setup network: ")
    assert len(outcome.log) == 2


def test_pod_that_is_gone_gives_its_address_back(node: Node, conf: Conf) -> None:
    """The thing, the fact and the remedy; without a namespace nothing is made on the host."""
    outcome = invoke(environment("ADD", CNI_NETNS="/var/run/netns/no-such"), conf())

    message = outcome.document["msg"]
    assert outcome.document["code"] == 999
    assert message.startswith("add command: failed to setup network: CNI_NETNS '/var/run/netns/no-such': cannot open")
    assert message.endswith("no such file or directory; the pod may be gone")
    assert node.asked[1].Reason == "SetupNSFailed"


@pytest.mark.parametrize("bad", [allocation(), allocation("10.0.0.300"), allocation(v6="fd00::g")])
def test_address_that_is_none_is_given_back(node: Node, conf: Conf, bad: rpc_pb2.IPAllocationMetadata) -> None:
    """Even in a dry run: the result would be of no use."""
    node.add = added(bad)

    outcome = invoke(environment("ADD"), conf(dryRun=True))

    assert outcome.document["msg"].startswith("add command: failed to setup network: ipamd named ")
    assert node.asked[1].Reason == "SetupNSFailed"


def test_previous_result_is_not_merged(node: Node, conf: Conf) -> None:
    """aws-cni comes first in a chain."""
    previous = {"cniVersion": "0.4.0", "interfaces": [{"name": "x"}], "ips": [{"address": "10.9.9.9/32"}]}

    outcome = invoke(environment("ADD"), conf(dryRun=True, prevResult=previous))

    assert [ip["address"] for ip in outcome.document["ips"]] == ["10.0.1.9/32"]


def test_pod_without_names_is_served(node: Node, conf: Conf) -> None:
    """CNI_ARGS is optional."""
    outcome = invoke(environment("ADD", CNI_ARGS=None), conf(dryRun=True, vethPrefix=""))

    assert outcome.document["interfaces"][0] == {"name": "3a52ce78095"}
    assert node.asked[0].K8S_POD_NAME == ""


def test_name_that_is_no_text_fails_at_the_rpc(node: Node, conf: Conf) -> None:
    """Bytes that are not UTF-8 come out of the environment as lone surrogates."""
    outcome = invoke(environment("ADD", CNI_ARGS="K8S_POD_NAME=a\udc80"), conf(dryRun=True))

    assert outcome.document["msg"].startswith(
        "add cmd: Error received from AddNetwork gRPC call: rpc error: code = Internal desc = grpc: error while"
    )
    assert node.asked == []


def test_own_namespace_is_refused_before_anything_is_done(node: Node, conf: Conf) -> None:
    """Code 8; upstream says so once it has wired the pod into the host itself."""
    host = RecordingHost()

    outcome = invoke(environment("ADD", CNI_NETNS="/proc/self/ns/net"), conf(), host)

    assert outcome.document["code"] == 8
    assert outcome.document["msg"] == "plugin's netns and netns from CNI_NETNS should not be the same"
    assert (host.set_ups, node.asked) == ([], [])


@pytest.mark.parametrize("override", ["1", "true", "TRUE"])
def test_own_namespace_is_allowed_on_demand(node: Node, conf: Conf, override: str) -> None:
    """CNI_NETNS_OVERRIDE, and a dry run too, since it touches no namespace."""
    environ = environment("ADD", CNI_NETNS="/proc/self/ns/net", CNI_NETNS_OVERRIDE=override)
    plain = environment("ADD", CNI_NETNS="/proc/self/ns/net")

    overridden = invoke(environ, conf(), RecordingHost())
    dry = invoke(plain, conf(dryRun=True))

    assert (overridden.code, dry.code) == (0, 0)


def test_bug_is_reported_without_its_values(node: Node, conf: Conf) -> None:
    """stdout never carries a traceback: class and place only."""

    class BrokenHost(RecordingHost):
        def set_up(self, *args: object) -> None:
            raise KeyError("secret")

    outcome = invoke(environment("ADD"), conf(), BrokenHost())

    assert outcome.document["code"] == 999
    assert outcome.document["msg"].startswith("aws-cni: unexpected KeyError at test_add.py:")
    assert "secret" not in outcome.stdout + outcome.stderr


def test_unused_reply_fields_are_ignored(node: Node, conf: Conf) -> None:
    """CIDRs and the SNAT switch are for the host's set-up by ipamd, not for the plugin."""
    node.add = added(allocation("10.0.1.9"), UseExternalSNAT=True, VPCv4CIDRs=["10.0.0.0/16"])

    assert invoke(environment("ADD"), conf(dryRun=True)).code == 0
