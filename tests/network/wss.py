"""A server of `wss://` on the `websockets` package that sends every message back, and first the field Authorization.

`wss.py CERTIFICATE KEY` prints its port, and ends with its input.
"""

import asyncio
import contextlib
import ssl
import sys

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedError


async def answer(connection: ServerConnection) -> None:
    await connection.send(connection.request.headers.get("Authorization", ""))
    # Some clients of the tests leave without a Close.
    with contextlib.suppress(ConnectionClosedError):
        async for message in connection:
            await connection.send(message)


async def main(certificate: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with serve(answer, "127.0.0.1", 0, ssl=context, subprotocols=["chat"]) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main(*sys.argv[1:]))
