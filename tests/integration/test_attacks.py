"""Attacks by slowness: what they cost who attacks, what they cost us, and that a neighbour is served meanwhile. Each
prints its figures. (Floods inside HTTP/2 have a file of their own; sources are counted in the units: loopback is
exempt.)"""

import socket
import ssl
import threading
import time
from pathlib import Path

from node import eventually
from recorder import answer

# Bodies and readers keep a connection to their app: as many as it has at its start. More would wait, which is that app's
# own loss and no other's.
EACH = {"hello": 40, "head": 40, "body": 7, "reader": 7, "idle": 40}


def cpu_seconds(node):
    total = 0
    for task in Path(f"/proc/{node.server_pid()}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


class Neighbour:
    """Asks again and again until it is told to stop."""

    def __init__(self, app):
        self.app, self.times, self.bad, self.over = app, [], [], threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.over.wait(0.02):
            began = time.monotonic()
            try:
                response = self.app.request("/neighbour")
                if response.status != 200:
                    self.bad.append(response)
            except OSError as error:
                self.bad.append(error)
            self.times.append(time.monotonic() - began)

    def stop(self):
        self.over.set()
        self.thread.join()
        return sorted(self.times)


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


def slow_body(node, host):
    sock = node.connect(host, tls=False)
    sock.sendall(f"POST /body HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000000\r\n\r\n".encode())
    return sock


def slow_reader(node, host):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", node.http))
    sock.sendall(f"GET /big HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    return sock


def idle(node, host):
    sock = node.connect(host, tls=False)
    sock.sendall(f"GET /idle HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    sock.recv(4096)
    return sock


PHASES = {"hello": slow_hello, "head": slow_head, "body": slow_body, "reader": slow_reader, "idle": idle}


def drip(phase, sock):
    """One byte of what the phase lacks, each second. False: the connection is over."""
    try:
        if phase == "reader":
            return sock.recv(1) != b""
        if phase in ("head", "body"):
            sock.send(b"x")
        sock.settimeout(0)
        try:
            return sock.recv(4096) != b""
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        finally:
            sock.settimeout(10)
    except OSError:
        return False


def test_slowness_in_every_phase_ends_by_itself_and_a_neighbour_is_served(make_node, make_origin):
    """Handshake, head, body, response and between requests: each connection that only drips is ended by us."""
    node = make_node()
    big = make_origin(lambda request, _: answer(body=b"x" * 8_000_000 if request.target == "/big" else b"ok"))
    app = node.app("app", address="127.0.0.1", port=big.port)
    other = node.app("other", address="127.0.0.1", port=make_origin(lambda *_: answer(body=b"ok")).port)
    node.start()
    assert app.request("/").status == other.request("/").status == 200
    descriptors, memory, cpu, began = node.descriptors(), node.memory_kib(), cpu_seconds(node), time.monotonic()
    held = [(phase, begin(node, other.host if phase == "idle" else app.host))
            for phase, begin in PHASES.items() for _ in range(EACH[phase])]
    neighbour = Neighbour(other)
    ended = {}
    grown = 0
    while held and time.monotonic() - began < 150:
        left = []
        for phase, sock in held:
            if drip(phase, sock):
                left.append((phase, sock))
            else:
                sock.close()
                ended.setdefault(phase, []).append(time.monotonic() - began)
        held = left
        grown = max(grown, node.memory_kib() - memory)
        # What a slow reader still has in its own buffers it reads for hours: ours must be gone.
        if {phase for phase, _ in held} <= {"reader"} and node.descriptors() <= descriptors + 8:
            break
        time.sleep(1)
    for _, sock in held:
        sock.close()
    times = neighbour.stop()
    assert not neighbour.bad, neighbour.bad[:3]
    assert {phase for phase, _ in held} <= {"reader"}, "ended by us"
    eventually(lambda: node.descriptors() <= descriptors + 8, 20, "nothing is left of them")
    seconds = ", ".join(f"{phase} {max(found):.0f} s" for phase, found in sorted(ended.items()))
    print(f"slowloris, {sum(EACH.values())} connections in {len(PHASES)} phases: attacker 1 byte/s each; ended after {seconds}; "
          f"ours {cpu_seconds(node) - cpu:.2f} s of CPU with the neighbour's {len(times)} requests, {grown} KiB; "
          f"neighbour p50 {times[len(times) // 2] * 1e3:.1f} ms, p99 {times[len(times) * 99 // 100] * 1e3:.1f} ms")


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
