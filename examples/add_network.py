"""Ask ipamd for an address over gRPC, without the plugin: python examples/add_network.py ADDRESS POD

ADDRESS is one of the ready line's "grpc", such as unix:///run/ipamd.sock or 127.0.0.1:50051.
"""

import sys

import grpc

from ipamd.rpc.rpc_pb2 import AddNetworkRequest
from ipamd.rpc.rpc_pb2_grpc import CNIBackendStub


def main(address: str, pod: str) -> int:
    """Print the address, or ipamd's reason for refusing; the exit code."""
    request = AddNetworkRequest(
        NetworkName="aws-cni",
        ContainerID=f"by-hand-{pod}",
        IfName="eth0",
        K8S_POD_NAMESPACE="default",
        K8S_POD_NAME=pod,
    )
    with grpc.insecure_channel(address) as channel:
        reply, call = CNIBackendStub(channel).AddNetwork.with_call(request, timeout=10)
    if not reply.Success:
        print(dict(call.trailing_metadata()).get("ipamd-reason", "refused without a reason"), file=sys.stderr)
        return 1
    given = reply.IPAllocationMetadata[0]
    print(f"{pod} has {given.IPv4Addr}, device {given.DeviceNumber}, route table {given.RouteTableId}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
