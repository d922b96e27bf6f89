"""ADD: an address from ipamd, links on the host, policy, and the result.

A failure of ipamd leaves nothing to undo. A failure on the host gives the address back (DelNetwork with
reason SetupNSFailed), and the host has undone its half-made links by then. A failure of the policy agent
undoes nothing: the runtime is expected to send DEL. A `prevResult` is not merged: aws-cni comes first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cni_plugin import backend, cniargs, errors, names, result
from cni_plugin.errors import failed
from cni_plugin.host import Branch, HostError, Link
from cni_plugin.prevresult import canonical_address
from cni_plugin.status import RpcError

if TYPE_CHECKING:
    from cni_plugin.cniargs import Pod
    from cni_plugin.env import Invocation
    from cni_plugin.host import Host
    from cni_plugin.log import Log
    from cni_plugin.netconf import NetworkConfig
    from ipamd.rpc.rpc_pb2 import AddNetworkReply, IPAllocationMetadata

MULTI_NIC_KEY, MULTI_NIC_VALUE = "k8s.amazonaws.com/nicConfig", "multi-nic-attachment"  # RPC-60


def add(call: Invocation, config: NetworkConfig, host: Host, log: Log) -> str:
    """The result document of one ADD; CniError 999 names the stage that failed."""
    log.info(f"Received CNI add request: {call.words}")
    try:
        pod = cniargs.parse(call.args)
    except ValueError as error:
        log.error(f"Failed to load k8s config from arg: {error}")
        raise failed(errors.ADD_ARGS, error) from error
    reply = _assigned(call, config, pod, log)
    try:
        links = links_of(reply, call, config, pod)
        branch = _branch_of(reply, config)
        host.set_up(links[:1] if branch else links, branch, call.netns, config.mtu)
    except (HostError, ValueError) as error:
        log.error(f"Failed SetupPodNetwork for container {call.container_id}: {error}")
        _give_back(call, config, pod, log)
        raise failed(errors.ADD_HOST, error) from error
    if config.real_macs:
        links = [_with_mac(link, call, host, log) for link in (links[:1] if branch else links)]
    if reply.NetworkPolicyMode and host.programs:
        _enforce(config, pod, reply.NetworkPolicyMode, len(links), log)
    dummy = names.dummy_interface(pod.namespace, pod.name)
    return result.render(config.version, links, branch, dummy, call.netns)


def _assigned(call: Invocation, config: NetworkConfig, pod: Pod, log: Log) -> AddNetworkReply:
    """ipamd's reply with at least one address in it."""
    wish = config.annotations.get(MULTI_NIC_KEY)
    if wish is not None and wish != MULTI_NIC_VALUE:
        log.debug(f"Annotation {MULTI_NIC_KEY}={wish!r}: want {MULTI_NIC_VALUE!r}; giving one interface")
    try:
        reply, reason = backend.add_network(call, config, pod, multi_nic=wish == MULTI_NIC_VALUE)
    except RpcError as error:
        log.error(f"Error received from AddNetwork grpc call for containerID {call.container_id}: {error}")
        raise failed(errors.ADD_RPC, error, error.metadata.get(backend.REASON_KEY, "")) from error
    log.info(
        f"Received add network response from ipamd for container {call.container_id} "
        f"interface {call.ifname}: {backend.text_of(reply)}"
    )
    if not reply.Success:
        log.error(f"Failed to assign an IP address to container {call.container_id}: {reason}")
        raise failed(errors.ADD_NO_ADDRESS, details=reason)
    if not reply.IPAllocationMetadata:
        raise failed(
            errors.ADD_NO_ADDRESS,
            f"ipamd at {config.ipamd.words} said Success=true and named no address; see its log",
            reason,
        )
    return reply


def links_of(reply: AddNetworkReply, call: Invocation, config: NetworkConfig, pod: Pod) -> list[Link]:
    """One link for each address, in the reply's order (the network cards'); ValueError for what is none."""
    prefix = names.veth_prefix(config.veth_prefix, config.enforcing_mode, reply.PodVlanId != 0)
    return [
        Link(
            host_veth=names.host_veth(prefix, pod.namespace, pod.name, index),
            container_interface=names.container_interface(call.ifname, index),
            address=host_address(each),
            table=each.RouteTableId,
            device=each.DeviceNumber,
        )
        for index, each in enumerate(reply.IPAllocationMetadata)
    ]


def host_address(allocation: IPAllocationMetadata) -> str:
    """The IPv4 address with /32, else the IPv6 address with /128; ValueError when there is neither."""
    text = allocation.IPv4Addr or allocation.IPv6Addr
    if not text:
        raise ValueError("ipamd named an allocation without an address; see its log")
    try:
        address = canonical_address(text)
    except ValueError as error:
        raise ValueError(f"ipamd named {error}; see its log") from error
    return f"{address}/{128 if ':' in address else 32}"


def _branch_of(reply: AddNetworkReply, config: NetworkConfig) -> Branch | None:
    """The branch ENI of the reply, None for a normal pod."""
    if reply.PodVlanId == 0:
        return None
    return Branch(reply.PodVlanId, reply.PodENIMAC, reply.PodENISubnetGW, reply.ParentIfIndex, config.enforcing_mode)


def _with_mac(link: Link, call: Invocation, host: Host, log: Log) -> Link:
    """The link with the MAC of the pod's end; as it was when the pod is gone by now."""
    try:
        return link._replace(mac=host.mac(call.netns, link.container_interface))
    except HostError as error:
        log.error(f"No MAC for the result of container {call.container_id}: {error}")
        return link


def _give_back(call: Invocation, config: NetworkConfig, pod: Pod, log: Log) -> None:
    """Ask ipamd to take the address back; only the log hears how that went."""
    try:
        reply, _ = backend.del_network(call, config, pod, backend.SETUP_FAILED)
    except RpcError as error:
        log.error(f"Error received from DelNetwork grpc call for container {call.container_id}: {error}")
        return
    if not reply.Success:
        log.error(f"Failed to release IP address of container {call.container_id}")


def _enforce(config: NetworkConfig, pod: Pod, mode: str, interfaces: int, log: Log) -> None:
    """Put the pod under policy; CniError when the agent cannot be reached, fails or says no."""
    try:
        if backend.enforce_policy(config, pod, mode, interfaces):
            return
        cause = f"the network policy agent at {config.policy_agent.words} answered Success=false; see its log"
    except (backend.NoConnection, RpcError) as error:
        cause = str(error)
    whose = f"Pod Name {pod.name} and NameSpace {pod.namespace}"
    log.error(f"Failed to setup default network policy for {whose}: {cause}")
    raise failed(errors.ADD_POLICY, cause)
