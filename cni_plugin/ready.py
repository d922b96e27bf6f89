"""STATUS, when the configuration asks for a real answer: does ipamd serve?

Upstream says yes always; there the configuration file itself is the sign, for it appears once ipamd serves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cni_plugin.errors import UNAVAILABLE, CniError
from cni_plugin.status import RpcError
from cni_plugin.wire import Channel, Deadline

if TYPE_CHECKING:
    from cni_plugin.netconf import NetworkConfig

METHOD = "/grpc.health.v1.Health/Check"
SERVICE = b"grpc.health.v1.aws-node"
REQUEST = b"\x0a" + bytes([len(SERVICE)]) + SERVICE  # HealthCheckRequest: service = 1
SERVING = b"\x08\x01"  # HealthCheckResponse: status = 1


def status(config: NetworkConfig) -> None:
    """CniError 50 when an ADD would find nobody."""
    deadline = Deadline(config.deadline_seconds)
    try:
        channel = Channel(config.ipamd, deadline)
        try:
            reply = channel.call(METHOD, REQUEST, deadline)
        finally:
            channel.close()
    except RpcError as error:
        raise CniError(UNAVAILABLE, "ipamd does not answer: no pod can be added", str(error)) from error
    if reply.message != SERVING:
        raise CniError(
            UNAVAILABLE, "ipamd is not serving: no pod can be added", f"at {config.ipamd.words}; see its log"
        )
