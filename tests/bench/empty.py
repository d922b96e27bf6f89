"""The libraries alone: `python -m tests.bench.empty SOCKET` runs grpc.aio and aiohttp servers without use."""

from __future__ import annotations

import asyncio
import json
import signal
import sys

import grpc
from aiohttp import web


async def serve(socket: str) -> None:
    """Until SIGTERM."""
    server = grpc.aio.server()
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    print(json.dumps({"ready": True, "grpc": [f"unix://{socket}"]}), flush=True)
    await over.wait()
    await runner.cleanup()
    await server.stop(0)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
