"""h2_backend: apps that are spoken to in HTTP/2 without TLS, from clients of HTTP/1.1."""

import hashlib
import json
import os
import socket
import threading

import pytest

from h2_app import H2App
from node import eventually

OPTIONS = "[http_service.http_options]\nh2_backend = true\n"


@pytest.fixture
def h2_site(make_node):
    apps = []

    def make(streams=100, **options):
        app = H2App(streams=streams)
        apps.append(app)
        node = make_node(**options)
        front = node.app("app", address="127.0.0.1", port=app.port, more=OPTIONS)
        node.start()
        return front, app

    yield make
    for app in apps:
        app.close()


def mirrored(front, **options):
    response = front.request("/mirror", **options)
    assert response.status == 200, response
    return response.json()


def test_a_request_reaches_the_app_as_http2(h2_site):
    front, app = h2_site()
    seen = mirrored(front, headers={"X-Thing": "One", "Connection": "x-hop", "X-Hop": "1"})
    headers = dict(seen["headers"])
    assert headers[":method"] == "GET" and headers[":path"] == "/mirror" and headers[":scheme"] == "http"
    assert headers[":authority"].split(":")[0] == front.host
    assert headers["x-thing"] == "One"
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert not {"host", "connection", "x-hop", "transfer-encoding"} & headers.keys()


def test_one_connection_serves_many_requests(h2_site):
    front, app = h2_site()
    for _ in range(20):
        mirrored(front)
    assert app.connections == 1


@pytest.mark.parametrize("size", (0, 1, 16384, 100_000, 3_000_000))
def test_bodies_pass_both_ways_byte_for_byte(h2_site, size):
    front, app = h2_site()
    body = os.urandom(size)
    seen = mirrored(front, method="POST", body=body)
    assert seen["size"] == size and seen["digest"] == hashlib.sha256(body).hexdigest()
    assert front.request("/echo", method="POST", body=body).body == body
    assert len(front.request(f"/size/{size}").body) == size


def test_trailers_pass_both_ways(h2_site):
    front, app = h2_site()
    with front.node.connect(front.host) as sock:
        sock.sendall((f"POST /mirror HTTP/1.1\r\nHost: {front.host}\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n"
                      "Connection: TE, close\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n").encode())
        sock.settimeout(5)
        data = b""
        while piece := sock.recv(65536):
            data += piece
    assert b'["x-sum", "7"]' in data
    assert b'"te", "trailers"' in data
    assert data.rstrip().endswith(b"x-seen: 3")


def test_a_response_without_a_body_ends_at_once(h2_site):
    front, _ = h2_site()
    assert front.request("/empty").status == 204
    response = front.request("/size/100", method="HEAD")
    assert (response.status, response.headers["content-length"], response.body) == (200, "100", b"")


def test_interim_responses_pass(h2_site):
    front, _ = h2_site()
    with front.node.connect(front.host) as sock:
        sock.sendall(f"GET /hints HTTP/1.1\r\nHost: {front.host}\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while piece := sock.recv(65536):
            data += piece
    assert data.startswith(b"HTTP/1.1 103 Early Hints\r\n") and b"\r\nHTTP/1.1 200 OK\r\n" in data


def in_parallel(count, work):
    results = [None] * count

    def one(number):
        results[number] = work(number)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def test_more_requests_than_streams_open_further_connections(h2_site):
    front, app = h2_site(streams=2)
    mirrored(front)  # its settings are known from now on

    def slow(_):
        sock = front.node.connect(front.host)
        sock.sendall(f"POST /echo HTTP/1.1\r\nHost: {front.host}\r\nContent-Length: 2\r\n\r\na".encode())
        sock.settimeout(10)
        data = b""
        while b"a" not in data.partition(b"\r\n\r\n")[2]:
            data += sock.recv(65536)
        return sock

    socks = in_parallel(7, slow)
    assert all(socks)
    assert app.connections == 4
    for sock in socks:
        sock.close()
    eventually(lambda: app.seen.count("reset 8") == 7, what="the app hears that the clients have left")


def test_a_refused_request_is_sent_again(h2_site):
    front, app = h2_site()
    response = front.request("/refuse", method="POST", body=b"once")
    assert (response.status, response.body) == (200, b"ok\n")
    assert app.seen.count("/refuse") == 2


def test_a_reset_is_a_502_and_a_cut_body_stays_cut(h2_site):
    front, app = h2_site()
    response = front.request("/reset", method="POST", body=b"x")
    assert (response.status, response.fault) == (502, "upstream_reset")
    assert app.seen.count("/reset") == 1
    with front.node.connect(front.host) as sock:
        sock.sendall(f"GET /cut HTTP/1.1\r\nHost: {front.host}\r\n\r\n".encode())
        data = b""
        while piece := sock.recv(65536):
            data += piece
    assert b"some bytes" in data and not data.endswith(b"0\r\n\r\n")


def test_after_goaway_a_new_connection_serves(h2_site):
    front, app = h2_site()
    assert front.request("/goaway").status == 200
    for _ in range(3):
        mirrored(front)
    assert app.connections == 2


def test_a_slow_client_holds_back_the_app_and_no_other_stream(h2_site):
    front, app = h2_site()
    sock = front.node.connect(front.host)
    sock.sendall(f"GET /size/50000000 HTTP/1.1\r\nHost: {front.host}\r\n\r\n".encode())
    sock.recv(1000)
    for _ in range(5):
        assert len(front.request("/size/1000000").body) == 1_000_000
    assert app.connections == 1
    sock.close()


def test_an_app_that_speaks_http1_is_a_clear_502(make_node):
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.recv(1000)
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            sock.close()

    threading.Thread(target=serve, daemon=True).start()
    node = make_node()
    front = node.app("app", address="127.0.0.1", port=listener.getsockname()[1], more=OPTIONS)
    node.start()
    response = front.request("/", method="POST", body=b"x")
    assert (response.status, response.fault) == (502, "upstream_bad_response")
    listener.close()


def test_a_sleeping_app_is_woken_and_answers_in_http2(make_node):
    node = make_node()
    program = node.folder / "fakes" / "h2_app.py"
    front = node.app("app", command=f"/usr/bin/python3 -B {program} {{port}}", more=OPTIONS)
    node.start()
    body = os.urandom(100_000)
    seen = json.loads(front.request("/mirror", method="POST", body=body).body)
    assert seen["digest"] == hashlib.sha256(body).hexdigest()
