"""The two services that the plugin calls: ipamd's `rpc.CNIBackend` and the policy agent's `rpc.NPBackend`.

Each function is one call on a connection of its own. ClientVersion stays empty, as in the released images
(RPC-20).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import DecodeError, Message

from cni_plugin.cniargs import quote
from cni_plugin.status import RpcError
from cni_plugin.wire import Channel, Deadline
from ipamd.rpc import rpc_pb2

if TYPE_CHECKING:
    from cni_plugin.cniargs import Pod
    from cni_plugin.env import Invocation
    from cni_plugin.netconf import NetworkConfig

POLICY_DIAL_SECONDS = 2.0
REASON_KEY = "ipamd-reason"  # trailing metadata in which our daemon explains a refusal
POD_DELETED = "PodDeleted"
SETUP_FAILED = "SetupNSFailed"

M = TypeVar("M", bound=Message)


class NoConnection(Exception):
    """The policy agent could not be reached in time; the text is the RPC error's."""


def add_network(
    call: Invocation, config: NetworkConfig, pod: Pod, multi_nic: bool
) -> tuple[rpc_pb2.AddNetworkReply, str]:
    """ipamd's answer to ADD, and its reason for refusing or "". RpcError when there is no answer."""
    request = _request(
        rpc_pb2.AddNetworkRequest,
        K8S_POD_NAME=pod.name,
        K8S_POD_NAMESPACE=pod.namespace,
        K8S_POD_INFRA_CONTAINER_ID=pod.infra_container_id,
        Netns=call.netns,
        IfName=call.ifname,
        NetworkName=config.name,
        ContainerID=call.container_id,
        RequiresMultiNICAttachment=multi_nic,
    )
    return _ipamd(config, "AddNetwork", request, rpc_pb2.AddNetworkReply)


def del_network(call: Invocation, config: NetworkConfig, pod: Pod, reason: str) -> tuple[rpc_pb2.DelNetworkReply, str]:
    """ipamd's answer to DEL. A rollback (SETUP_FAILED) names no pod UID, as upstream's (RPC-51)."""
    request = _request(
        rpc_pb2.DelNetworkRequest,
        K8S_POD_NAME=pod.name,
        K8S_POD_NAMESPACE=pod.namespace,
        K8S_POD_INFRA_CONTAINER_ID=pod.infra_container_id,
        Reason=reason,
        IfName=call.ifname,
        NetworkName=config.name,
        ContainerID=call.container_id,
        K8S_POD_UID="" if reason == SETUP_FAILED else pod.uid,
    )
    return _ipamd(config, "DelNetwork", request, rpc_pb2.DelNetworkReply)


def enforce_policy(config: NetworkConfig, pod: Pod, mode: str, interfaces: int) -> bool:
    """Whether the agent put the pod under policy. NoConnection or RpcError when it did not answer."""
    request = _request(
        rpc_pb2.EnforceNpRequest,
        K8S_POD_NAME=pod.name,
        K8S_POD_NAMESPACE=pod.namespace,
        NETWORK_POLICY_MODE=mode,
        InterfaceCount=interfaces,
    )
    return _agent(config, "EnforceNpToPod", request, rpc_pb2.EnforceNpReply).Success


def delete_policy(config: NetworkConfig, pod: Pod) -> bool:
    """Whether the agent forgot the pod. NoConnection or RpcError when it did not answer."""
    request = _request(rpc_pb2.DeleteNpRequest, K8S_POD_NAME=pod.name, K8S_POD_NAMESPACE=pod.namespace)
    return _agent(config, "DeletePodNp", request, rpc_pb2.DeleteNpReply).Success


def text_of(message: Message) -> str:
    """A message on one line, without unset fields: `Success:true IPAllocationMetadata:{DeviceNumber:2}`."""
    parts = []
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        parts += [f"{field.name}:{_value_text(each)}" for each in values]
    return " ".join(parts)


def _value_text(value: object) -> str:
    if isinstance(value, Message):
        return f"{{{text_of(value)}}}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return quote(value) if isinstance(value, str) else str(value)


def _request(kind: type[M], **fields: object) -> M:
    """A message of these fields; RpcError Internal when one is no valid UTF-8."""
    try:
        return kind(**fields)
    except (ValueError, UnicodeError) as error:
        cause = f"grpc: error while marshaling: {kind.__name__}: a field is not valid UTF-8"
        raise RpcError("Internal", cause) from error


def _ipamd(config: NetworkConfig, method: str, request: Message, kind: type[M]) -> tuple[M, str]:
    deadline = Deadline(config.deadline_seconds)
    channel = Channel(config.ipamd, deadline)
    try:
        reply = channel.call(f"/rpc.CNIBackend/{method}", request.SerializeToString(), deadline)
    finally:
        channel.close()
    return _parsed(kind, reply.message), reply.metadata.get(REASON_KEY, "")


def _agent(config: NetworkConfig, method: str, request: Message, kind: type[M]) -> M:
    """One call to the policy agent: 2 s for the connection, then the RPC's own deadline (upstream: none)."""
    dial = Deadline(POLICY_DIAL_SECONDS)
    try:
        channel = Channel(config.policy_agent, dial)
    except RpcError as error:
        raise NoConnection(str(error)) from error
    try:
        try:
            channel.wait_ready(dial)
        except RpcError as error:
            raise NoConnection(str(error)) from error
        deadline = Deadline(config.deadline_seconds)
        reply = channel.call(f"/rpc.NPBackend/{method}", request.SerializeToString(), deadline)
        return _parsed(kind, reply.message)
    finally:
        channel.close()


def _parsed(kind: type[M], message: bytes) -> M:
    """The message in `message`; RpcError Internal when the bytes are none."""
    try:
        return kind.FromString(message)
    except DecodeError as error:
        cause = f"grpc: failed to unmarshal the received message: {kind.__name__}"
        raise RpcError("Internal", cause) from error
