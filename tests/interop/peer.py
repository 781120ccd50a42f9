"""A peer on the `websockets` package: a server, and a client for each URL that comes in on a line. README.md has
the protocol that all peers speak."""

import asyncio
import sys
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)

FIELD = "Sec-WebSocket-Extensions"
MAX_SIZE = 4 << 20


async def main():
    # Each request says in its query what the server wishes.
    def configure(connection, request):
        connection.protocol.available_extensions = [ServerPerMessageDeflateFactory(**wishes(request.path, None))]

    async def answer(connection):
        await guard(connection.request.path, talk(connection))

    server = await serve(
        answer, "127.0.0.1", 0, process_request=configure, compression=None, max_size=MAX_SIZE
    )
    print(server.sockets[0].getsockname()[1], flush=True)

    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    clients = set()
    # At the end of the lines the parent has ended, or wants an end.
    while line := (await lines.readline()).decode().strip():
        client = asyncio.create_task(guard(line, call(line)))
        clients.add(client)
        client.add_done_callback(clients.discard)


async def call(url):
    factory = ClientPerMessageDeflateFactory(**wishes(url, True))
    async with connect(url, extensions=[factory], compression=None, proxy=None, max_size=MAX_SIZE) as connection:
        await talk(connection)


async def guard(url, talking):
    try:
        await talking
    except Exception as error:
        print(f"websockets: {url}: {error}", file=sys.stderr, flush=True)


def wishes(url, any_bits):
    """The parameters that the query names, as `websockets` wants them."""
    query = parse_qs(urlsplit(url).query, keep_blank_values=True)
    number = lambda name, empty: int(query[name][0] or 0) or empty if name in query else None
    return {
        "server_no_context_takeover": "server_no_context_takeover" in query,
        "client_no_context_takeover": "client_no_context_takeover" in query,
        "server_max_window_bits": number("server_max_window_bits", None),
        "client_max_window_bits": number("client_max_window_bits", any_bits),
    }


async def talk(connection):
    offer = connection.request.headers.get(FIELD, "")
    answer = connection.response.headers.get(FIELD, "")
    await connection.send("\n".join([offer, answer, describe(connection.protocol)]))
    echoed = 0
    pings = []
    async for message in connection:
        if message == "report":
            await connection.send(f"pongs {sum(ping.done() for ping in pings)}")
            continue
        style = echoed % 3
        echoed += 1
        if style == 0:
            await connection.send(message)
        else:
            await connection.send(pieces(connection, message, pings if style == 2 else None))


async def pieces(connection, message, pings):
    """The message in three fragments; if there is a list for pings, with one after each of the first two."""
    third = -(-len(message) // 3)
    for piece in range(3):
        yield message[piece * third : (piece + 1) * third]
        if pings is not None and piece < 2:
            pings.append(await connection.ping())


def describe(protocol):
    """What `websockets` believes to be agreed on, in the words of the header field, and with every window."""
    words = []
    for extension in protocol.extensions:
        words.append(extension.name)
        ends = ("client", "server") if protocol.side.name == "CLIENT" else ("server", "client")
        for end, place in zip(ends, ("local", "remote")):
            if getattr(extension, f"{place}_no_context_takeover"):
                words.append(f"{end}_no_context_takeover")
            words.append(f"{end}_max_window_bits={getattr(extension, f'{place}_max_window_bits')}")
    return "; ".join(words)


asyncio.run(main())
