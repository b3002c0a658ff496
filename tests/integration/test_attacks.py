"""Attacks by slowness: what they cost who attacks, what they cost us, and that a neighbour is served meanwhile. Each
prints its figures. (Floods inside HTTP/2 have a file of their own; sources are counted in the units: loopback is
exempt.)"""

import socket
import ssl
import time

from recorder import answer

def hello_begun():
    """The first half of a ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    session = context.wrap_bio(incoming, outgoing, server_hostname="app.app.dev")
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        pass
    bytes_ = outgoing.read()
    return bytes_[:len(bytes_) // 2]


def slow_head(node, host):
    sock = node.connect(host, tls=False)
    sock.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nX-Slow: ".encode())
    return sock


def slow_hello(node, _host):
    sock = socket.create_connection(("127.0.0.1", node.https), 10)
    sock.sendall(hello_begun())
    return sock


def test_places_held_by_unfinished_heads_and_hellos_go_to_who_asks(make_node, make_origin):
    """Every place of the node is taken by connections that never say what they want; who does gets one."""
    node = make_node()
    node.limit_descriptors = 300
    app = node.app("app", address="127.0.0.1", port=make_origin(lambda *_: answer(body=b"ok")).port)
    node.start()
    held = []
    for number in range(400):
        try:
            held.append((slow_head if number % 2 else slow_hello)(node, app.host))
        except OSError:
            break
    began = time.monotonic()
    times = []
    for number in range(30):
        once = time.monotonic()
        assert app.request(f"/{number}", timeout=20).status == 200
        times.append(time.monotonic() - once)
    print(f"every place taken by {len(held)} silent connections: 30 requests in {time.monotonic() - began:.2f} s, "
          f"slowest {max(times) * 1e3:.0f} ms")
    for sock in held:
        sock.close()
