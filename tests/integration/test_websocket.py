"""WebSockets: a tunnel after the app's 101, keeping its machine awake, told to go away at a frame boundary."""

import asyncio
import base64
import os
import signal
import struct
import threading
import time

import pytest
import websockets

from node import PYTHON, eventually
from recorder import answer


def uvicorn_app(node, rooster=""):
    fakes = node.folder / "fakes"
    app = node.app("app", f"{PYTHON} -B -m uvicorn fastapi_app:app --host 127.0.0.1 --port @PORT@",
                   rooster=f'directory = "{fakes}"\n{rooster}', more=f'[env]\nLOG = "{node.work}/app.log"')
    app.file.write_text(app.file.read_text().replace("@PORT@", str(app.port)))
    return app


def open_websocket(app, path="/ws"):
    return websockets.connect(f"wss://{app.host}{path}", host="127.0.0.1", port=app.node.https,
                              ssl=app.node.tls_context(), server_hostname=app.host, max_size=None,
                              ping_interval=None)


def test_a_websocket_through_a_wake_echoes_text_of_any_size(make_node):
    node = make_node()
    app = uvicorn_app(node)
    node.start()

    async def run():
        async with open_websocket(app) as websocket:
            for size in (0, 1, 125, 126, 65535, 65536, 1_000_000):
                await websocket.send("x" * size)
                assert await websocket.recv() == "x" * size
            await asyncio.gather(*[websocket.ping() for _ in range(10)])

    asyncio.run(asyncio.wait_for(run(), 30))
    assert app.log.count("start") == 1


def test_twenty_websockets_at_once_cause_one_start(make_node):
    node = make_node(workers=2)
    app = uvicorn_app(node)
    node.start()

    async def one(number):
        async with open_websocket(app) as websocket:
            await websocket.send(str(number))
            return await websocket.recv()

    async def run():
        return await asyncio.gather(*[one(number) for number in range(20)])

    assert asyncio.run(asyncio.wait_for(run(), 30)) == [str(number) for number in range(20)]
    assert app.log.count("start") == 1


def test_an_open_websocket_keeps_its_machine_awake_and_its_end_lets_it_sleep(make_node):
    node = make_node()
    app = uvicorn_app(node, 'idle_timeout = "1s"')
    node.start()

    async def run():
        async with open_websocket(app) as websocket:
            await asyncio.sleep(3)
            await websocket.send("still here")
            assert await websocket.recv() == "still here"
        assert app.log.count("exit") == 0

    asyncio.run(asyncio.wait_for(run(), 30))
    eventually(lambda: app.log.count("exit") == 1, 10)


def test_drain_sends_1001_to_both_sides(make_node):
    node = make_node()
    app = uvicorn_app(node)
    node.start()

    async def run():
        async with open_websocket(app) as websocket:
            await websocket.send("hello")
            assert await websocket.recv() == "hello"
            node.signal(signal.SIGTERM)
            with pytest.raises(websockets.ConnectionClosed):
                await asyncio.wait_for(websocket.recv(), 10)
            assert websocket.close_code == 1001

    asyncio.run(asyncio.wait_for(run(), 30))
    assert node.process.wait(15) == 0
    eventually(lambda: app.log.lines("gone") == [["1001"]])


def test_machine_stop_sends_1001(make_node):
    node = make_node()
    app = uvicorn_app(node)
    node.start()

    async def run():
        async with open_websocket(app) as websocket:
            await websocket.send("hello")
            await websocket.recv()
            machine = node.command("machine", "list", "--json").stdout
            assert "started" in machine
            stopper = threading.Thread(target=node.command, args=("machine", "stop", "-a", "app"),
                                       kwargs={"check": False})
            stopper.start()
            with pytest.raises(websockets.ConnectionClosed):
                await asyncio.wait_for(websocket.recv(), 15)
            assert websocket.close_code == 1001
            stopper.join()

    asyncio.run(asyncio.wait_for(run(), 40))


KEY = base64.b64encode(os.urandom(16)).decode()
HELLO = ("GET /ws HTTP/1.1\r\nHost: HOST\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
         f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n")


def hello(app):
    sock = app.node.connect(app.host)
    sock.sendall(HELLO.replace("HOST", app.host).encode())
    return sock


def test_no_byte_behind_the_request_reaches_the_app_before_its_101(site):
    let_go = threading.Event()

    def respond(request, channel):
        let_go.wait(5)
        channel.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        channel.send(channel.exactly(5))
        return None

    app, origin = site(respond)
    with hello(app) as sock:
        sock.sendall(b"early")
        eventually(lambda: len(origin.requests) == 1)
        time.sleep(0.3)
        assert b"early" not in origin.received
        let_go.set()
        sock.settimeout(5)
        data = b""
        while not data.endswith(b"early"):
            piece = sock.recv(1000)
            assert piece, data
            data += piece
    assert data.startswith(b"HTTP/1.1 101")


def test_a_refused_upgrade_is_an_ordinary_answer_and_opens_no_tunnel(site):
    app, origin = site(lambda request, _: answer("403 Forbidden", b"no") if request.target == "/ws"
                       else answer(body=b"ok"))
    with hello(app) as sock:
        sock.sendall(f"GET /next HTTP/1.1\r\nHost: {app.host}\r\n\r\n".encode())
        sock.settimeout(5)
        data = b""
        while b"ok" not in data:
            piece = sock.recv(1000)
            assert piece, data
            data += piece
    assert data.startswith(b"HTTP/1.1 403") and data.count(b"HTTP/1.1 200") == 1
    assert origin.targets() == ["/ws", "/next"]


def test_half_closes_pass_through_a_tunnel(site):
    def respond(_request, channel):
        channel.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        while channel.fill():
            pass
        channel.send(b"saw the end")
        return None

    app, _ = site(respond)
    sock = app.node.connect(app.host, tls=False)
    with sock:
        sock.sendall(HELLO.replace("HOST", app.host).encode() + b"")
        sock.settimeout(5)
        assert sock.recv(1000).startswith(b"HTTP/1.1 101")
        sock.sendall(b"bytes")
        sock.shutdown(1)
        assert sock.recv(1000) == b"saw the end"


def test_going_away_waits_for_a_frame_boundary(site):
    """The app is in the middle of a frame when the drain begins: the frame is completed, then comes the close."""
    middle, go_on = threading.Event(), threading.Event()

    def respond(_request, channel):
        channel.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        channel.send(b"\x82\x7e" + struct.pack(">H", 1000) + b"a" * 400)
        middle.set()
        go_on.wait(10)
        channel.send(b"a" * 600)
        channel.fill()
        return None

    app, _ = site(respond)
    node = app.node
    with hello(app) as sock:
        sock.settimeout(10)
        assert middle.wait(5)
        data = b""
        while not data.endswith(b"a" * 400):
            data += sock.recv(4096)
        node.signal(signal.SIGTERM)
        time.sleep(0.5)
        go_on.set()
        rest = b""
        while piece := sock.recv(4096):
            rest += piece
            if len(rest) >= 604:
                break
        assert rest[:600] == b"a" * 600
        assert rest[600] == 0x88 and struct.unpack(">H", rest[602:604])[0] == 1001
        mask = b"\0\0\0\0"
        sock.sendall(b"\x88\x82" + mask + struct.pack(">H", 1001))
    assert node.process.wait(15) == 0


def test_a_tunnel_carries_bulk_both_ways(site):
    size = 16 * 1024 * 1024

    def respond(_request, channel):
        channel.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: raw\r\nConnection: Upgrade\r\n\r\n")
        received = len(channel.buffer)
        while received < size:
            piece = channel.sock.recv(1 << 20)
            if not piece:
                return None
            received += len(piece)
            channel.send(piece)
        return None

    app, _ = site(respond)
    with app.node.connect(app.host) as sock:
        sock.sendall(f"GET / HTTP/1.1\r\nHost: {app.host}\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n".encode())
        sock.settimeout(10)
        data = b""
        while b"\r\n\r\n" not in data:
            data += sock.recv(1)
        total = 0
        block = b"z" * 65536
        for _ in range(size // len(block)):
            sock.sendall(block)
            got = 0
            while got < len(block):
                got += len(sock.recv(len(block) - got))
            total += got
        assert total == size
