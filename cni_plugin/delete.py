"""DEL: give the address back. It succeeds whenever it can, since a failing DEL keeps the pod from going.

ipamd not answering is no failure: what `prevResult` tells is removed from the host and ipamd finds the stale
address later. Branch ENI pods with a prevResult never ask ipamd at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cni_plugin import backend, cniargs, errors, names
from cni_plugin.add import host_address
from cni_plugin.errors import failed
from cni_plugin.host import HostError, Route
from cni_plugin.prevresult import Interface, PrevResult, atoi
from cni_plugin.status import RpcError

if TYPE_CHECKING:
    from cni_plugin.cniargs import Pod
    from cni_plugin.env import Invocation
    from cni_plugin.host import Host
    from cni_plugin.log import Log
    from cni_plugin.netconf import NetworkConfig
    from ipamd.rpc.rpc_pb2 import DelNetworkReply

UNKNOWN_POD = "datastore: unknown pod"  # anywhere in the text of ipamd's error (RPC-46)


def delete(call: Invocation, config: NetworkConfig, host: Host, log: Log) -> None:
    """One DEL; CniError 999 names the stage that failed."""
    log.info(f"Received CNI del request: {call.words}")
    try:
        pod = cniargs.parse(call.args)
    except ValueError as error:
        log.error(f"Failed to load k8s config from args: {error}")
        raise failed(errors.DEL_ARGS, error) from error
    where = (
        f"ContainerID({call.container_id}) Netns({call.netns}) IfName({call.ifname}) "
        f"PodNamespace({pod.namespace}) PodName({pod.name})"
    )
    dummy = _dummy_of(config.prev_result, pod)
    if config.prev_result and dummy and _delete_branch(call, config.prev_result, dummy, host):
        log.info(f"Handled CNI del request with prevResult: {where}")
        return
    try:
        reply, _ = backend.del_network(call, config, pod, backend.POD_DELETED)
    except RpcError as error:
        if UNKNOWN_POD in str(error):
            log.info(f"Container {call.container_id} not found")
            return
        log.error(f"Error received from DelNetwork grpc call for container {call.container_id}: {error}")
        if config.prev_result and dummy:
            _delete_by_prev_result(call, config.prev_result, dummy, host, log, where)
        return
    log.info(
        f"Received del network response from ipamd for pod {pod.name} namespace {pod.namespace} "
        f"sandbox {call.container_id}: {backend.text_of(reply)}"
    )
    if not reply.Success:
        raise failed(errors.DEL_REFUSED, f"ipamd at {config.ipamd.words} answered Success=false; see its log")
    if tear_down(call, reply, host, log) and reply.NetworkPolicyMode and host.programs:
        _forget_policy(config, pod, log)


def _dummy_of(prev: PrevResult | None, pod: Pod) -> Interface | None:
    """The entry in which ADD left its numbers."""
    return prev.interface_named(names.dummy_interface(pod.namespace, pod.name)) if prev else None


def _delete_branch(call: Invocation, prev: PrevResult, dummy: Interface, host: Host) -> bool:
    """Whether this was a branch ENI pod, now handled; CniError when its prevResult is no such thing."""
    vlan_id = atoi(dummy.mac)
    if vlan_id is None:
        raise failed(errors.DEL_PREV_RESULT, f"malformed vlanID in prevResult: {dummy.mac}")
    if vlan_id == 0:
        return False
    if not call.netns:
        return True
    address = prev.only_address_on(call.ifname)
    if address is None:
        raise failed(
            errors.DEL_PREV_RESULT,
            f"prevResult: want exactly one address on interface {call.ifname}; send DEL without prevResult",
        )
    try:
        host.tear_down([Route(address, vlan_id + 100)], vlan_id)
    except HostError as error:
        raise failed(errors.DEL_PREV_RESULT, error) from error
    return True


def _delete_by_prev_result(
    call: Invocation, prev: PrevResult, dummy: Interface, host: Host, log: Log, where: str
) -> None:
    """Remove from the host what prevResult tells, as far as that goes; only the log hears of failures."""
    try:
        routes = routes_of_prev_result(call.ifname, prev, dummy)
        if routes:
            host.tear_down(routes, 0)
        log.info(f"Handled pod teardown using prevResult: {where}")
    except (HostError, ValueError) as error:
        log.error(f"Could not teardown pod using prevResult: {where} {error}")


def routes_of_prev_result(ifname: str, prev: PrevResult, dummy: Interface) -> list[Route]:
    """The addresses of a normal pod's prevResult with their tables; ValueError when its numbers are none.

    A link without exactly one address is passed over. Results from before v1.20 have no table in the
    container end's `mac`; there it follows from the device number. Where a real MAC stands there the table is 0:
    whichever it is.
    """
    device = atoi(dummy.sandbox)
    if atoi(dummy.mac) != 0 or (device is None and dummy.sandbox):
        raise ValueError(f"{dummy.name}: mac {dummy.mac!r}, sandbox {dummy.sandbox!r}: want 0 and a number")
    routes = []
    for index in range((len(prev.interfaces) - 1) // 2):
        name = names.container_interface(ifname, index)
        address, link = prev.only_address_on(name), prev.interface_named(name)
        if address is None or link is None:
            continue
        if ":" in link.mac:
            table: int | None = 0
        elif device is None:
            raise ValueError(f"{dummy.name}: sandbox {dummy.sandbox!r}: want a number")
        else:
            table = atoi(link.mac) if link.mac else names.table_of_device(device)
        if table is None:
            raise ValueError(f"{name}: mac {link.mac!r} is no route table")
        routes.append(Route(address, table))
    return routes


def tear_down(call: Invocation, reply: DelNetworkReply, host: Host, log: Log) -> bool:
    """Remove the reply's addresses from the host; False when a branch pod has no namespace: DEL ends."""
    try:
        routes = [
            Route(host_address(each), reply.PodVlanId + 100 if reply.PodVlanId else each.RouteTableId)
            for each in reply.IPAllocationMetadata
            if each.IPv4Addr or each.IPv6Addr
        ]
        if not routes:
            log.info(f"Container {call.container_id} did not have a valid IP")
            return True
        if reply.PodVlanId and not call.netns:
            return False
        host.tear_down(routes, reply.PodVlanId)
    except (HostError, ValueError) as error:
        log.error(f"Failed on TeardownPodNetwork for container {call.container_id}: {error}")
        raise failed(errors.DEL_HOST, error) from error
    return True


def _forget_policy(config: NetworkConfig, pod: Pod, log: Log) -> None:
    """Tell the policy agent; only a failing connection fails the DEL."""
    words = f"Failed to delete pod network policy for Pod Name {pod.name} and NameSpace {pod.namespace}"
    try:
        if not backend.delete_policy(config, pod):
            log.error(f"{words}: the agent answered Success=false")
    except backend.NoConnection as error:
        log.error(f"{words}: {error}")
        raise failed(errors.DEL_POLICY_DIAL, error) from error
    except RpcError as error:
        log.error(f"{words}: {error}")
