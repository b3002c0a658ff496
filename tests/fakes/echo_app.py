"""A TCP app that sends back what it gets. echo_app.py <port> <file that gets a line per start>"""

import asyncio
import sys


async def echo(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        pass
    finally:
        writer.close()


async def main():
    with open(sys.argv[2], "a", encoding="ascii") as starts:
        starts.write("start\n")
    server = await asyncio.start_server(echo, "0.0.0.0", int(sys.argv[1]), backlog=1024)
    async with server:
        await server.serve_forever()


asyncio.run(main())
