"""rpc.CNIBackend and rpc.ConfigServerBackend: the plugin asks here, the machine answers (RPC-18..58).

Refusals keep upstream's reply, Success=false and nothing else (RPC-33); why, and what to do, goes to the log and
into the trailing metadata `ipamd-reason`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Final, NoReturn, TypeAlias, assert_never

import grpc
import msgspec
from google.protobuf.empty_pb2 import Empty

from ipamd.core.assign import FIELD_MAX
from ipamd.core.commands import (
    AddNetwork,
    After,
    Answer,
    Assigned,
    BranchAssigned,
    BranchFault,
    BranchReleased,
    Command,
    DelNetwork,
    Hollow,
    NotReady,
    RefuseAdd,
    Refused,
    Released,
    UnknownPod,
)
from ipamd.core.kube import KubePod
from ipamd.core.state import State
from ipamd.core.types import Pod, Sandbox
from ipamd.core.windows_commands import PodAnswer
from ipamd.rpc.rpc_pb2 import (
    AddNetworkReply,
    AddNetworkRequest,
    DelNetworkReply,
    DelNetworkRequest,
    IPAllocationMetadata,
    NetworkPolicyAgentConfigReply,
)

from .counts import RequestCounts

Submit: TypeAlias = Callable[[Command], Awaitable[Answer]]
"""One command; the answer once it is durable. Raises when the journal cannot take it."""
VpcCidrs: TypeAlias = Callable[[], Awaitable[tuple[str, ...]]]
"""RPC-35, RPC-36: the VPC's blocks of the active family, read live. Raises when instance metadata does not answer."""
Snat: TypeAlias = Callable[[], tuple[bool, tuple[str, ...]]]
"""ENV-48: external SNAT, and the CIDRs that are excluded from SNAT, as they stand now."""
ReadPod: TypeAlias = Callable[[str, str], Awaitable[KubePod]]
"""Namespace and name to the Pod as the API server has it now. Raises PodUnread."""
GetState: TypeAlias = Callable[[], State]
Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"

REASON_KEY: Final = "ipamd-reason"
UNKNOWN_POD: Final = "1 error occurred:\n\t* datastore: unknown pod\n\n"
"""RPC-46, byte by byte: the plugin looks for the words after the asterisk."""
_ADD_FIELDS: Final = (
    "K8S_POD_NAME", "K8S_POD_NAMESPACE", "K8S_POD_INFRA_CONTAINER_ID", "Netns", "IfName", "NetworkName", "ContainerID",
    "ClientVersion",
)  # fmt: skip
_DEL_FIELDS: Final = (
    "K8S_POD_NAME", "K8S_POD_NAMESPACE", "K8S_POD_INFRA_CONTAINER_ID", "Reason", "IfName", "NetworkName", "ContainerID",
    "ClientVersion", "K8S_POD_UID",
)  # fmt: skip
_SHOWN: Final = 256
_log = logging.getLogger(__name__)


class PodUnread(Exception):
    """A Pod cannot be read: what the API server said."""


async def no_pods(namespace: str, name: str) -> KubePod:
    """Where there is no API server."""
    raise PodUnread(f"error while trying to retrieve pod info: {namespace}/{name}: there is no API server")


class Malformed(msgspec.Struct, frozen=True):
    """Bytes that are no such message."""

    message: str
    size: int
    why: str


class Backend:
    """The two services' methods, each with gRPC's signature for asyncio."""

    def __init__(
        self,
        *,
        submit: Submit,
        vpc_cidrs: VpcCidrs,
        snat: Snat,
        state: GetState,
        read_pod: ReadPod = no_pods,
        version: str = "",
        counts: RequestCounts | None = None,
    ) -> None:
        self.counts = counts if counts is not None else RequestCounts()
        self._submit = submit
        self._vpc_cidrs = vpc_cidrs
        self._snat = snat
        self._state = state
        self._read_pod = read_pod
        self._version = version
        """RPC-20: empty in upstream's builds, and so is what its plugin sends."""

    async def add_network(self, request: AddNetworkRequest | Malformed, context: Context) -> AddNetworkReply:
        """RPC-21..38, timed."""
        began = perf_counter()
        try:
            return await self._add(request, context)
        finally:
            self.counts.add_seconds.observe(perf_counter() - began)

    async def _add(self, request: AddNetworkRequest | Malformed, context: Context) -> AddNetworkReply:
        if isinstance(request, Malformed):
            self.counts.rejected["malformed"] += 1
            await _reject_bytes(request, context)
        self.counts.adds += 1
        if request.ClientVersion != self._version:
            self.counts.rejected["version"] += 1
            await self._reject_version("Add", request.ClientVersion, context)
        fault = _too_long(request, _ADD_FIELDS)
        multi_nic = request.RequiresMultiNICAttachment
        if not fault and multi_nic and not self._state().settings.multi_nic:
            fault = "RequiresMultiNICAttachment is set, but ENABLE_MULTI_NIC is off"  # RPC-29
        if fault:
            return await self._refuse(request, fault, context)
        sandbox = Sandbox(request.NetworkName, request.ContainerID, request.IfName)
        pod = Pod(request.K8S_POD_NAMESPACE, request.K8S_POD_NAME, 1)
        answer = await self._answer(AddNetwork(sandbox, pod, multi_nic, await self._pod_of(pod)), context)
        failure = ""
        if isinstance(answer, After):
            failure, answer = answer.failure, answer.answer
        match answer:
            case Assigned() | BranchAssigned():
                if isinstance(answer, Assigned) and answer.repeated:
                    _log.info("AssignPodIPv4Address: duplicate pod assign for sandbox %s", sandbox.text)
                return await self._assigned(answer, context, failure)
            case Hollow():
                return await self._assigned(None, context, failure)
            case Refused():
                return _refused(answer, context)
            case NotReady():
                self.counts.rejected["not_ready"] += 1
                await _not_ready(answer, context)
            case Released() | UnknownPod() | BranchReleased() | BranchFault() | PodAnswer() | None:
                raise AssertionError(f"AddNetwork was answered {answer!r}")
            case _:
                assert_never(answer)

    async def del_network(self, request: DelNetworkRequest | Malformed, context: Context) -> DelNetworkReply:
        """RPC-43..47, RPC-55."""
        if isinstance(request, Malformed):
            await _reject_bytes(request, context)
        self.counts.deleted(request.Reason)
        if request.ClientVersion != self._version:
            await self._reject_version("Del", request.ClientVersion, context)
        sandbox = Sandbox(request.NetworkName, request.ContainerID, request.IfName)
        fault = _too_long(request, _DEL_FIELDS)
        if fault:  # AddNetwork never took such a sandbox, so it holds nothing
            await _unknown_pod(sandbox, context, fault)
        pod = Pod(request.K8S_POD_NAMESPACE, request.K8S_POD_NAME)
        answer = await self._answer(DelNetwork(sandbox, request.Reason, pod), context)
        if isinstance(answer, UnknownPod) and self._state().settings.pod_eni:
            answer = await self._del_branch(request, DelNetwork(sandbox, request.Reason, pod), context)
        failure = ""
        if isinstance(answer, After):
            failure, answer = answer.failure, answer.answer
        match answer:
            case Released():
                if failure:  # RPC-54
                    await context.abort(grpc.StatusCode.UNKNOWN, f"1 error occurred:\n\t* {_cut(failure, 1024)}\n\n")
                return self._released((answer, *answer.others))
            case Hollow():
                return self._released(())
            case BranchReleased():
                held = IPAllocationMetadata(IPv4Addr=answer.address)  # RPC-50
                policy = self._state().settings.network_policy_mode
                return DelNetworkReply(
                    Success=True, IPAllocationMetadata=[held], PodVlanId=answer.vlan, NetworkPolicyMode=policy
                )
            case BranchFault():
                await context.abort(grpc.StatusCode.UNKNOWN, _cut(answer.text, 1024))
            case UnknownPod():
                await _unknown_pod(sandbox, context)
            case NotReady():
                await _not_ready(answer, context)
            case Assigned() | BranchAssigned() | Refused() | PodAnswer() | None:
                raise AssertionError(f"DelNetwork was answered {answer!r}")
            case _:
                assert_never(answer)

    async def get_network_policy_configs(
        self, request: Empty | Malformed, context: Context
    ) -> NetworkPolicyAgentConfigReply:
        """RPC-58. There is no version to check (RPC-18)."""
        if isinstance(request, Malformed):
            await _reject_bytes(request, context)
        state = self._state()
        return NetworkPolicyAgentConfigReply(
            NetworkPolicyMode=state.settings.network_policy_mode,
            MultiNICEnabled=state.settings.multi_nic,
            NodeIPv4="" if state.settings.ipv6 else state.node.primary_ip,
            NodeIPv6=state.node.primary_ip6 if state.settings.ipv6 else "",
            InstanceID=state.node.instance,
            Region=state.node.region,
        )

    async def _answer(self, command: Command, context: Context) -> Answer:
        """What the machine says once it is on disk; UNAVAILABLE when it cannot be recorded."""
        try:
            return await self._submit(command)
        except AssertionError:
            raise
        except Exception as error:
            if not isinstance(command, DelNetwork):
                self.counts.rejected["not_recorded"] += 1
            text = f"{type(command).__name__} could not be recorded: {error}"
            _log.error("%s", text)
            await context.abort(grpc.StatusCode.UNAVAILABLE, _cut(text, 1024))

    def _released(self, answers: tuple[Released, ...]) -> DelNetworkReply:
        """RPC-45, RPC-55."""
        policy = self._state().settings.network_policy_mode
        held = [_metadata(answer) for answer in answers]
        return DelNetworkReply(Success=True, IPAllocationMetadata=held, NetworkPolicyMode=policy)

    async def _pod_of(self, pod: Pod) -> KubePod | None:
        """With ENABLE_POD_ENI: the Pod, None where it cannot be read, which the machine refuses (RPC-22)."""
        if not self._state().settings.pod_eni:
            return None
        try:
            return await self._read_pod(pod.namespace, pod.name)
        except PodUnread as error:
            _log.error("AddNetwork: %s", _cut(str(error), 1024))
            return None

    async def _del_branch(self, request: DelNetworkRequest, command: DelNetwork, context: Context) -> Answer:
        """RPC-48: the sandbox holds nothing here; the Pod says whether it has a branch ENI. Gone: an error (RPC-49)."""
        try:
            pod = await self._read_pod(command.pod.namespace, command.pod.name)
        except PodUnread as error:
            await context.abort(grpc.StatusCode.UNKNOWN, _cut(str(error), 1024))
        asked = msgspec.structs.replace(command, uid=request.K8S_POD_UID, kube_pod=pod)
        return await self._answer(asked, context)

    async def _assigned(
        self, answer: Assigned | BranchAssigned | None, context: Context, failure: str = ""
    ) -> AddNetworkReply:
        """RPC-34..38, RPC-26, RPC-40; RPC-37 when the VPC's CIDRs cannot be read; RPC-39 when the annotation failed."""
        held = answer.address if answer is not None else "nothing"
        try:
            cidrs = await self._vpc_cidrs()
        except AssertionError:
            raise
        except Exception as error:
            self.counts.rejected["no_vpc_cidrs"] += 1
            _log.error("AddNetwork: %s stays assigned, but the VPC's CIDRs cannot be read: %s", held, error)
            await context.abort(grpc.StatusCode.UNKNOWN, _cut(str(error), 1024))
        settings = self._state().settings
        if failure:
            _log.error("AddNetwork: %s stays assigned, but the pod cannot be annotated: %s", held, failure)
        reply = AddNetworkReply(Success=not failure, NetworkPolicyMode=settings.network_policy_mode)
        if isinstance(answer, BranchAssigned):
            reply.PodVlanId, reply.PodENIMAC = answer.vlan, answer.mac
            reply.PodENISubnetGW, reply.ParentIfIndex = answer.gateway, answer.parent
            family = {"IPv6Addr" if settings.ipv6 else "IPv4Addr": answer.address}
            reply.IPAllocationMetadata.add(DeviceNumber=-1, RouteTableId=0, **family)
        elif answer is not None:
            reply.IPAllocationMetadata.extend(_metadata(one) for one in (answer, *answer.others))
        if settings.ipv6:
            reply.VPCv6CIDRs.extend(cidrs)
            return reply
        external, excluded = self._snat()
        reply.UseExternalSNAT = external
        reply.VPCv4CIDRs.extend(cidrs if external else (*cidrs, *excluded))
        return reply

    async def _refuse(self, request: AddNetworkRequest, fault: str, context: Context) -> AddNetworkReply:
        """A request that cannot name a sandbox is refused here, and recorded without what was wrong with it."""
        pod = Pod(_cut(request.K8S_POD_NAMESPACE), _cut(request.K8S_POD_NAME))
        refused = Refused("invalid", fault, "correct the request; the CNI runtime and the plugin make it")
        await self._answer(RefuseAdd(pod, refused.reason, refused.fact), context)
        return _refused(refused, context)

    async def _reject_version(self, verb: str, sent: str, context: Context) -> NoReturn:
        """RPC-18."""
        text = f'wrong client version "{_cut(sent)}" (!= "{self._version}")'
        _log.warning("Rejecting %sNetwork request: %s", verb, text)
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, text)


def _metadata(answer: Assigned | Released) -> IPAllocationMetadata:
    """RPC-34: the address in its family's field."""
    ipv6 = ":" in answer.address
    return IPAllocationMetadata(
        IPv4Addr="" if ipv6 else answer.address,
        IPv6Addr=answer.address if ipv6 else "",
        DeviceNumber=answer.device,
        RouteTableId=answer.table,
    )


def _refused(refused: Refused, context: Context) -> AddNetworkReply:
    """RPC-33."""
    _log.warning("Returning failure response for AddNetwork: %s", refused.text)
    context.set_trailing_metadata(((REASON_KEY, ascii_line(refused.text)),))
    return AddNetworkReply(Success=False)


async def _unknown_pod(sandbox: Sandbox, context: Context, fault: str = "") -> NoReturn:
    """RPC-46: gRPC drops the reply, only the status is seen (RPC-47)."""
    _log.warning("UnassignPodIPAddress: Failed to find sandbox %s", _cut(sandbox.text, 1024))
    if fault:
        context.set_trailing_metadata(((REASON_KEY, ascii_line(f"invalid: {fault}")),))
    await context.abort(grpc.StatusCode.UNKNOWN, UNKNOWN_POD)


async def _not_ready(answer: NotReady, context: Context) -> NoReturn:
    await context.abort(
        grpc.StatusCode.UNAVAILABLE, f"ipamd is not ready (phase {answer.phase}): retry when node init has ended"
    )


async def _reject_bytes(request: Malformed, context: Context) -> NoReturn:
    """INTERNAL, as grpc-go says of bytes that do not decode."""
    text = f"{request.message} of {request.size} bytes: no such protobuf message ({request.why}); want proto/rpc.proto"
    _log.warning("%s, from %s", text, context.peer())
    await context.abort(grpc.StatusCode.INTERNAL, text)


def _too_long(request: AddNetworkRequest | DelNetworkRequest, fields: tuple[str, ...]) -> str:
    """The first field that is longer than 4 KiB, as a fact; "" if there is none. Short requests cost one call."""
    if request.ByteSize() <= FIELD_MAX:
        return ""
    for name in fields:
        size = len(getattr(request, name).encode())
        if size > FIELD_MAX:
            return f"{name} has {size} bytes, at most {FIELD_MAX} are taken"
    return ""


def ascii_line(text: str) -> str:
    """One line of printable ASCII, 1 KiB at most: what a gRPC metadata value may hold."""
    safe = text.encode("ascii", "backslashreplace").decode("ascii")
    return _cut("".join(letter if letter.isprintable() else " " for letter in safe), 1024).strip()


def _cut(text: str, length: int = _SHOWN) -> str:
    return text if len(text) <= length else f"{text[:length]}..."
