"""The gRPC server with its four services: CNIBackend, ConfigServerBackend, health, reflection (RPC-4).

rpc.NPBackend is the policy agent's and stays unregistered: calling it here is UNIMPLEMENTED.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from ipamd.rpc import rpc_pb2

from .backend import Backend, Malformed

HEALTH_NAME: Final = "grpc.health.v1.aws-node"
"""RPC-5; the empty name serves too."""
HEALTH_SERVICE: Final = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
MESSAGE_MAX: Final = 16 * 1024 * 1024
"""Bytes. Far above any real request, so that an absurd one is refused by name and not by the transport."""
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_MAX),
    ("grpc.so_reuseport", 0),  # else a second daemon could listen on the same port unnoticed
)


async def make_server(backend: Backend) -> grpc.aio.Server:
    """A server that listens nowhere yet: see `listen`."""
    server = grpc.aio.server(options=_OPTIONS)
    services = rpc_pb2.DESCRIPTOR.services_by_name
    handlers: dict[str, dict[str, Callable[..., Awaitable[Message]]]] = {
        "CNIBackend": {"AddNetwork": backend.add_network, "DelNetwork": backend.del_network},
        "ConfigServerBackend": {"GetNetworkPolicyConfigs": backend.get_network_policy_configs},
    }
    names = [HEALTH_SERVICE, reflection.SERVICE_NAME]
    for service, methods in handlers.items():
        name = services[service].full_name
        names.append(name)
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, _table(service, methods))])
    servicer = health.aio.HealthServicer()
    await servicer.set(HEALTH_NAME, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    reflection.enable_server_reflection(tuple(names), server)
    return server


def _table(
    service: str, methods: dict[str, Callable[..., Awaitable[Message]]]
) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    """Method name -> handler, with the messages that rpc.proto names."""
    described = rpc_pb2.DESCRIPTOR.services_by_name[service].methods_by_name
    return {
        name: grpc.unary_unary_rpc_method_handler(
            method,
            request_deserializer=_reader(_message(described[name].input_type.name)),
            response_serializer=_message(described[name].output_type.name).SerializeToString,
        )
        for name, method in methods.items()
    }


def _message(name: str) -> type[Message]:
    found: type[Message] = Empty if name == "Empty" else getattr(rpc_pb2, name)
    return found


def _reader(message: type[Message]) -> Callable[[bytes], Message | Malformed]:
    """Bytes to the message, or to `Malformed`, so that the handler can say what was wrong."""
    parse = message.FromString
    name = message.DESCRIPTOR.full_name

    def read(raw: bytes) -> Message | Malformed:
        try:
            return parse(raw)
        except DecodeError as error:
            return Malformed(name, len(raw), str(error) or "it does not decode")

    return read
