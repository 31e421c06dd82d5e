#!/usr/bin/env python3
"""An echo server in Python's asyncio, as a contender: it knows nothing of muxbench.

    python3 examples/asyncio_echo.py 7000
"""

import asyncio
import sys


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    # A client that does not read is not read from: without these two, what it is owed would grow without a bound.
    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port, backlog=4096)
    print(f"listening on {port}", flush=True)
    await server.serve_forever()


asyncio.run(main(int(sys.argv[1])))
