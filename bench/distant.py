"""A registry at a distance: `python -m bench.distant PORT` relays connections to a port of loopback.

It prints its own port. Each response begins after the round trip of a network, and arrives with the bandwidth of one
connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

ROUND_TRIP_S, BYTES_PER_S = 0.02, 20_000_000
_PIECE = 1 << 18
_RELAYS = set[asyncio.Task[None] | None]()
"""The tasks of all connections: asyncio itself keeps weak references."""


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    _RELAYS.add(asyncio.current_task())
    server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
    loop, asked = asyncio.get_running_loop(), 0.0

    async def requests() -> None:
        nonlocal asked
        with contextlib.suppress(OSError):  # a client that ends resets its connections
            while data := await reader.read(_PIECE):
                asked = loop.time()
                server_writer.write(data)
                await server_writer.drain()
        server_writer.write_eof()

    sender = asyncio.create_task(requests())
    free = 0.0  # time at which the connection may send again
    with contextlib.suppress(OSError):
        while data := await server_reader.read(_PIECE):
            free = max(free, asked + ROUND_TRIP_S) + len(data) / BYTES_PER_S
            await asyncio.sleep(free - loop.time())
            writer.write(data)
            await writer.drain()
    sender.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sender
    for one in (writer, server_writer):
        one.close()


async def serve(port: int) -> None:
    """Relay until the process is ended."""
    server = await asyncio.start_server(lambda reader, writer: _relay(reader, writer, port), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
