"""The least that a CNI plugin in Python can do: `python tests/bench/unary.py SOCKET METHOD` makes one unary call.

The libraries are the plugin's, h2 and protobuf; the request is read from standard input as bytes. Nothing is
checked, logged or wired.
"""

from __future__ import annotations

import os
import socket
import sys

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded

from ipamd.rpc import rpc_pb2


def call(path: str, method: str, request: bytes) -> bytes:
    """The bytes of the reply."""
    http = H2Connection(H2Configuration(client_side=True, header_encoding=None))
    http.initiate_connection()
    headers = [(":method", "POST"), (":scheme", "http"), (":path", method), (":authority", "localhost"),
               ("te", "trailers"), ("content-type", "application/grpc")]  # fmt: skip
    http.send_headers(1, headers)
    http.send_data(1, b"\0" + len(request).to_bytes(4, "big") + request, end_stream=True)
    body = b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.connect(path)
        door.sendall(http.data_to_send())
        while True:
            for event in http.receive_data(door.recv(1 << 16)):
                if isinstance(event, DataReceived):
                    body += event.data
                elif isinstance(event, StreamEnded):
                    return body[5:]
            door.sendall(http.data_to_send())


if __name__ == "__main__":
    message = rpc_pb2.AddNetworkRequest.FromString(sys.stdin.buffer.read())
    reply = rpc_pb2.AddNetworkReply.FromString(call(sys.argv[1], sys.argv[2], message.SerializeToString()))
    os._exit(0 if reply.Success else 1)
