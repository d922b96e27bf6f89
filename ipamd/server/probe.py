"""One question to a gRPC health service, as grpc-health-probe asks it, with its exit codes."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

SERVING: Final = 0
UNREACHABLE: Final = 2
FAILED: Final = 3
NOT_SERVING: Final = 4
"""1 is for bad arguments."""


class Answer(NamedTuple):
    """`code` is the probe's exit code, `text` what was said."""

    code: int
    text: str


def probe(address: str, service: str = "", connect_seconds: float = 1.0, rpc_seconds: float = 1.0) -> Answer:
    """Ask `unix:///path` or `host:port` once. Nothing is raised: every end is an answer."""
    with grpc.insecure_channel(address) as channel:
        try:
            grpc.channel_ready_future(channel).result(connect_seconds)
        except grpc.FutureTimeoutError:
            return Answer(UNREACHABLE, f"{address}: no connection within {connect_seconds:g} s; is ipamd run up?")
        request = health_pb2.HealthCheckRequest(service=service)
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            reply = stub.Check(request, timeout=rpc_seconds)
        except grpc.RpcError as error:
            told: Any = error  # a Call too, which the types do not say
            code = told.code().name
            return Answer(FAILED, f"{address}: health check of {service!a}: {code}")
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)
    return Answer(SERVING if status == "SERVING" else NOT_SERVING, f"status: {status}")
