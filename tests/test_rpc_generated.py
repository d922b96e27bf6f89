"""The wire: proto/rpc.proto as generated into ipamd/rpc, checked against the numbers of the VPC CNI.

Source: spec RPC-3, RPC-9..RPC-16.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor

from ipamd.rpc import rpc_pb2

ROOT = Path(__file__).resolve().parent.parent

STRING = FieldDescriptor.TYPE_STRING
BOOL = FieldDescriptor.TYPE_BOOL
INT32 = FieldDescriptor.TYPE_INT32
MESSAGE = FieldDescriptor.TYPE_MESSAGE

# message -> (field, number, type, repeated), in the order of the numbers
WIRE: dict[str, list[tuple[str, int, int, bool]]] = {
    "IPAllocationMetadata": [  # RPC-9
        ("IPv4Addr", 1, STRING, False),
        ("IPv6Addr", 2, STRING, False),
        ("DeviceNumber", 3, INT32, False),
        ("RouteTableId", 4, INT32, False),
    ],
    "AddNetworkRequest": [  # RPC-10
        ("K8S_POD_NAME", 1, STRING, False),
        ("K8S_POD_NAMESPACE", 2, STRING, False),
        ("K8S_POD_INFRA_CONTAINER_ID", 3, STRING, False),
        ("Netns", 4, STRING, False),
        ("IfName", 5, STRING, False),
        ("NetworkName", 6, STRING, False),
        ("ContainerID", 7, STRING, False),
        ("ClientVersion", 8, STRING, False),
        ("RequiresMultiNICAttachment", 9, BOOL, False),
    ],
    "AddNetworkReply": [  # RPC-11
        ("Success", 1, BOOL, False),
        ("IPAllocationMetadata", 2, MESSAGE, True),
        ("UseExternalSNAT", 5, BOOL, False),
        ("VPCv4CIDRs", 6, STRING, True),
        ("PodVlanId", 7, INT32, False),
        ("PodENIMAC", 8, STRING, False),
        ("PodENISubnetGW", 9, STRING, False),
        ("ParentIfIndex", 10, INT32, False),
        ("VPCv6CIDRs", 12, STRING, True),
        ("NetworkPolicyMode", 13, STRING, False),
    ],
    "DelNetworkRequest": [  # RPC-12
        ("K8S_POD_NAME", 1, STRING, False),
        ("K8S_POD_NAMESPACE", 2, STRING, False),
        ("K8S_POD_INFRA_CONTAINER_ID", 3, STRING, False),
        ("Reason", 5, STRING, False),
        ("IfName", 6, STRING, False),
        ("NetworkName", 7, STRING, False),
        ("ContainerID", 8, STRING, False),
        ("ClientVersion", 9, STRING, False),
        ("K8S_POD_UID", 10, STRING, False),
    ],
    "DelNetworkReply": [  # RPC-13
        ("Success", 1, BOOL, False),
        ("IPAllocationMetadata", 2, MESSAGE, True),
        ("PodVlanId", 4, INT32, False),
        ("NetworkPolicyMode", 6, STRING, False),
    ],
    "EnforceNpRequest": [  # RPC-14
        ("K8S_POD_NAME", 1, STRING, False),
        ("K8S_POD_NAMESPACE", 2, STRING, False),
        ("NETWORK_POLICY_MODE", 3, STRING, False),
        ("InterfaceCount", 4, INT32, False),
    ],
    "EnforceNpReply": [("Success", 1, BOOL, False)],
    "DeleteNpRequest": [("K8S_POD_NAME", 1, STRING, False), ("K8S_POD_NAMESPACE", 2, STRING, False)],
    "DeleteNpReply": [("Success", 1, BOOL, False)],
    "NetworkPolicyAgentConfigReply": [  # RPC-15
        ("NetworkPolicyMode", 1, STRING, False),
        ("MultiNICEnabled", 2, BOOL, False),
        ("NodeIPv4", 3, STRING, False),
        ("NodeIPv6", 4, STRING, False),
        ("InstanceID", 5, STRING, False),
        ("Region", 6, STRING, False),
    ],
}

# RPC-16: service -> method -> (request, reply), full names
SERVICES = {
    "CNIBackend": {
        "AddNetwork": ("rpc.AddNetworkRequest", "rpc.AddNetworkReply"),
        "DelNetwork": ("rpc.DelNetworkRequest", "rpc.DelNetworkReply"),
    },
    "NPBackend": {
        "EnforceNpToPod": ("rpc.EnforceNpRequest", "rpc.EnforceNpReply"),
        "DeletePodNp": ("rpc.DeleteNpRequest", "rpc.DeleteNpReply"),
    },
    "ConfigServerBackend": {
        "GetNetworkPolicyConfigs": ("google.protobuf.Empty", "rpc.NetworkPolicyAgentConfigReply"),
    },
}


@pytest.mark.spec("RPC-9..15")
@pytest.mark.parametrize("message", sorted(WIRE))
def test_message_has_the_fields_numbers_and_types_of_the_wire(message: str) -> None:
    """A field that moved would be read as another one by the other side."""
    descriptor = rpc_pb2.DESCRIPTOR.message_types_by_name[message]

    fields = [(f.name, f.number, f.type, f.is_repeated) for f in descriptor.fields]

    assert fields == WIRE[message]


@pytest.mark.spec("RPC-9..15")
def test_no_other_message_is_declared() -> None:
    """The wire has ten messages and no more."""
    assert sorted(rpc_pb2.DESCRIPTOR.message_types_by_name) == sorted(WIRE)


@pytest.mark.spec("RPC-3", "RPC-16")
def test_services_and_methods_carry_the_names_that_clients_dial() -> None:
    """Package rpc, three services, all methods unary."""
    services = rpc_pb2.DESCRIPTOR.services_by_name

    declared = {
        name: {m.name: (m.input_type.full_name, m.output_type.full_name) for m in service.methods}
        for name, service in services.items()
    }

    assert rpc_pb2.DESCRIPTOR.package == "rpc"
    assert declared == SERVICES
    assert not any(m.client_streaming or m.server_streaming for s in services.values() for m in s.methods)


@pytest.mark.spec("RPC-10")
def test_encoded_request_is_the_bytes_of_the_wire() -> None:
    """An independent encoding by hand: tag = number << 3 | 2 for strings, << 3 | 0 for bool."""
    request = rpc_pb2.AddNetworkRequest(K8S_POD_NAME="web-0", IfName="eth0", RequiresMultiNICAttachment=True)

    encoded = request.SerializeToString(deterministic=True)

    assert encoded == b"\x0a\x05web-0" + b"\x2a\x04eth0" + b"\x48\x01"


def test_fields_of_a_newer_peer_survive_the_way_through() -> None:
    """A field we do not know is kept and sent on, as proto3 asks; nothing fails."""
    encoded = b"\x08\x01" + b"\x7a\x03new"  # Success, and field 15 of some later version

    reply = rpc_pb2.AddNetworkReply.FromString(encoded)

    assert reply.Success
    assert reply.SerializeToString(deterministic=True) == encoded


def test_checked_in_modules_are_what_make_proto_writes(tmp_path: Path) -> None:
    """Generating anew gives the same bytes, so source and modules cannot drift apart."""
    command = [sys.executable, str(ROOT / "proto" / "generate.py"), str(tmp_path)]

    subprocess.run(command, check=True, timeout=60, capture_output=True)

    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    checked_in = {p.name: p.read_text() for p in (ROOT / "ipamd" / "rpc").glob("rpc_pb2*.py*")}
    assert written == checked_in


def test_message_classes_come_without_grpc() -> None:
    """The plugin's start-up is its whole cost: importing the messages must not import grpc."""
    script = "import sys, ipamd.rpc.rpc_pb2; print([m for m in sys.modules if m.split('.')[0] == 'grpc'])"

    done = subprocess.run(
        [sys.executable, "-c", script], check=True, timeout=60, capture_output=True, text=True, cwd=ROOT
    )

    assert done.stdout.strip() == "[]"
