"""A bare grpc.aio server: `python -m tests.bench.echo SOCKET REPLY_HEX` answers any unary call with the same bytes."""

from __future__ import annotations

import asyncio
import json
import signal
import sys

import grpc


class _Any(grpc.GenericRpcHandler):
    """One handler for every method; nothing is decoded and nothing encoded."""

    def __init__(self, reply: bytes) -> None:
        async def answer(request: bytes, context: object) -> bytes:
            return reply

        self._handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(answer)

    def service(self, handler_call_details: object) -> grpc.RpcMethodHandler[bytes, bytes]:
        """The one handler."""
        return self._handler


async def serve(socket: str, reply: bytes) -> None:
    """Until SIGTERM."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Any(reply),))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    print(json.dumps({"ready": True, "grpc": [f"unix://{socket}"]}), flush=True)
    await over.wait()
    await server.stop(0)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], bytes.fromhex(sys.argv[2])))
