"""HTTP/1.1 as it is spoken: keep-alive, pipelining, chunks and trailers both ways, 100-continue, 1xx, early answers,
half-closes, HTTP/1.0."""

import hashlib
import os
import socket
import threading
import time

import pytest

from node import eventually
from recorder import answer, mirror


def ask(app, text, tls=True):
    sock = app.node.connect(app.host, tls=tls)
    sock.sendall(text.replace("HOST", app.host).encode("latin-1"))
    return sock


def read_until(sock, mark, seconds=5.0):
    sock.settimeout(seconds)
    data = b""
    while mark not in data:
        piece = sock.recv(65536)
        assert piece, f"closed after {data!r}"
        data += piece
    return data


@pytest.mark.parametrize("tls", (True, False), ids=("tls", "plain"))
def test_many_requests_on_one_connection_use_one_connection_to_the_app(site, tls):
    app, origin = site()
    with app.node.connect(app.host, tls=tls) as sock:
        for number in range(50):
            sock.sendall(f"GET /{number} HTTP/1.1\r\nHost: {app.host}\r\n\r\n".encode())
            assert f'"target": "/{number}"'.encode() in read_until(sock, b'"trailers": []}')
    assert len(origin.connections) == 1
    assert origin.targets() == [f"/{number}" for number in range(50)]


def test_pipelined_requests_are_answered_in_order(site):
    app, origin = site()
    text = "".join(f"GET /{n} HTTP/1.1\r\nHost: HOST\r\n\r\n" if n % 2 else
                   f"POST /{n} HTTP/1.1\r\nHost: HOST\r\nContent-Length: 3\r\n\r\nabc" for n in range(20))
    with ask(app, text) as sock:
        data = read_until(sock, b'"target": "/19"')
    places = [data.index(f'"target": "/{n}"'.encode()) for n in range(20)]
    assert places == sorted(places)
    assert origin.targets() == [f"/{n}" for n in range(20)]


@pytest.mark.parametrize("size", (0, 1, 100, 16384, 65536, 1_000_000, 10_485_760))
def test_bodies_pass_both_ways_byte_for_byte(site, size):
    def respond(request, _):
        return answer(body=request.body, fields=[("X-Digest", hashlib.sha256(request.body).hexdigest())])

    app, _ = site(respond)
    body = os.urandom(size)
    for chunked in (False, True):
        got = app.request("/", method="POST",
                          body=(body[at:at + 7000] for at in range(0, size, 7000)) if chunked else body,
                          headers={"Transfer-Encoding": "chunked"} if chunked else {})
        assert got.headers["x-digest"] == hashlib.sha256(body).hexdigest()
        assert got.body == body


def test_chunked_responses_stream_through_as_they_come(site):
    let_go = threading.Event()

    def respond(_request, channel):
        channel.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        assert let_go.wait(10)
        return b"6\r\nsecond\r\n0\r\n\r\n"

    app, _ = site(respond)
    with ask(app, "GET / HTTP/1.1\r\nHost: HOST\r\n\r\n") as sock:
        read_until(sock, b"first\r\n")
        let_go.set()
        assert read_until(sock, b"0\r\n\r\n").startswith(b"6\r\nsecond")


def test_trailers_pass_when_announced_and_asked_for(site):
    def respond(request, _):
        if request.target == "/trailers":
            return (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                    b"2\r\nok\r\n0\r\nX-Sum: 12\r\n\r\n")
        return mirror(request, None)

    app, origin = site(respond)
    with ask(app, "GET /trailers HTTP/1.1\r\nHost: HOST\r\nTE: trailers\r\nConnection: TE\r\n\r\n") as sock:
        assert b"X-Sum: 12\r\n\r\n" in read_until(sock, b"0\r\nX-Sum")
    with ask(app, "POST /up HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nTrailer: X-Up\r\n\r\n"
                  "2\r\nok\r\n0\r\nX-Up: 1\r\nContent-Length: 7\r\nHost: evil\r\n\r\n") as sock:
        read_until(sock, b'"target": "/up"')
    (request,) = [request for request in origin.requests if request.target == "/up"]
    assert request.body == b"ok"
    assert not any("evil" in line or "Content-Length" in line for line in request.trailers)


def test_chunk_extensions_are_dropped(site):
    app, origin = site()
    with ask(app, "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "5;name=value;q=\"x y\"\r\nhello\r\n0;last\r\n\r\n") as sock:
        read_until(sock, b'"body": "hello"')
    assert b"name=value" not in origin.received


def test_100_continue_is_the_apps_to_give(site):
    def before_body(request, channel):
        if request.value("expect"):
            time.sleep(0.2)
            channel.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    app, origin = site(before_body=before_body)
    with ask(app, "POST / HTTP/1.1\r\nHost: HOST\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n") as sock:
        began = time.monotonic()
        assert read_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert time.monotonic() - began > 0.15
        sock.sendall(b"hello")
        assert b"HTTP/1.1 200" in read_until(sock, b'"body": "hello"')
    assert origin.requests[0].value("expect") == "100-continue"


def test_a_final_answer_instead_of_100_reaches_the_client_before_its_body(site):
    def before_body(request, channel):
        if request.value("expect"):
            channel.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
            raise EOFError

    app, _ = site(before_body=before_body)
    with ask(app, "POST / HTTP/1.1\r\nHost: HOST\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n") as sock:
        assert read_until(sock, b"no").startswith(b"HTTP/1.1 413")


def test_an_early_final_answer_arrives_while_the_body_is_still_sent(site):
    def before_body(request, channel):
        if request.method == "POST":
            channel.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
            channel.sock.shutdown(socket.SHUT_WR)
            raise EOFError

    app, _ = site(before_body=before_body)
    with ask(app, "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 100000000\r\n\r\n") as sock:
        sock.sendall(b"x" * 20000)
        data = read_until(sock, b"no")
        assert data.startswith(b"HTTP/1.1 403")
    assert app.request("/").status == 200


def test_interim_answers_pass_to_1_1_and_not_to_1_0(site):
    def respond(_request, channel):
        channel.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
        return answer(body=b"done")

    app, _ = site(respond)
    with ask(app, "GET / HTTP/1.1\r\nHost: HOST\r\n\r\n") as sock:
        data = read_until(sock, b"done")
        assert data.startswith(b"HTTP/1.1 103") and b"Link: </a.css>; rel=preload" in data
        assert b"HTTP/1.1 200" in data
    with ask(app, "GET / HTTP/1.0\r\nHost: HOST\r\n\r\n") as sock:
        assert b" 103 " not in read_until(sock, b"done")


def test_http_1_0_clients(site):
    def respond(request, _):
        if request.target == "/chunked":
            return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        return answer(body=b"hello")

    app, _ = site(respond)
    for path in ("/plain", "/chunked"):
        with ask(app, f"GET {path} HTTP/1.0\r\nHost: HOST\r\n\r\n") as sock:
            data = b""
            sock.settimeout(5)
            while piece := sock.recv(65536):
                data += piece
            assert data.endswith(b"\r\n\r\nhello"), data
            assert b"chunked" not in data.lower()
    with ask(app, "GET /plain HTTP/1.0\r\nHost: HOST\r\nConnection: keep-alive\r\n\r\n") as sock:
        assert b"connection: keep-alive" in read_until(sock, b"hello").lower()
        sock.sendall(f"GET /plain HTTP/1.0\r\nHost: {app.host}\r\n\r\n".encode())
        read_until(sock, b"hello")


def test_connection_close_is_kept(site):
    app, _ = site()
    with ask(app, "GET / HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n") as sock:
        sock.settimeout(5)
        data = b""
        while piece := sock.recv(65536):
            data += piece
    assert b"connection: close" in data.lower()


def test_a_client_that_shuts_down_its_sending_side_still_gets_its_answer(site):
    def respond(request, _):
        time.sleep(0.3)
        return mirror(request, None)

    app, _ = site(respond)
    with ask(app, "GET /half HTTP/1.1\r\nHost: HOST\r\n\r\n", tls=False) as sock:
        sock.shutdown(socket.SHUT_WR)
        assert b'"target": "/half"' in read_until(sock, b"/half")


def test_gets_are_retried_on_a_connection_that_the_app_closed_and_posts_never_twice(site):
    """The app closes each connection after one answer without saying so: the classic race of a pool."""
    def respond(request, channel):
        channel.send(mirror(request, None))
        return None

    app, origin = site(respond)
    for number in range(30):
        assert app.request(f"/get/{number}").status == 200
    statuses = [app.request(f"/post/{number}", method="POST", body=b"x").status for number in range(30)]
    assert set(statuses) <= {200, 502} and statuses.count(200) >= 28
    posts = [target for target in origin.targets() if target.startswith("/post/")]
    assert len(posts) == len(set(posts))


def test_a_slow_reader_is_served_whole_and_costs_bounded_memory(site):
    size = 64 * 1024 * 1024

    def respond(request, channel):
        if request.target == "/big":
            channel.send(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
            piece = b"x" * 65536
            for _ in range(size // 65536):
                channel.send(piece)
            return b""
        return mirror(request, None)

    app, _ = site(respond)
    app.request("/warm")
    before = app.node.memory_kib()
    with ask(app, "GET /big HTTP/1.1\r\nHost: HOST\r\n\r\n") as sock:
        time.sleep(0.7)
        assert app.node.memory_kib() - before < 8 * 1024
        got = len(read_until(sock, b"\r\n\r\n").split(b"\r\n\r\n", 1)[1])
        while got < size:
            got += len(sock.recv(1 << 20))
    assert got == size


def test_a_slow_app_holds_back_a_fast_uploader(site):
    let_go = threading.Event()

    def before_body(request, _):
        if request.method == "POST":
            let_go.wait(10)

    app, origin = site(before_body=before_body)
    app.request("/warm")
    before = app.node.memory_kib()
    size = 32 * 1024 * 1024
    with app.node.connect(app.host) as sock:
        sock.sendall(f"POST / HTTP/1.1\r\nHost: {app.host}\r\nContent-Length: {size}\r\n\r\n".encode())
        sender = threading.Thread(target=sock.sendall, args=(b"y" * size,))
        sender.start()
        time.sleep(0.7)
        assert app.node.memory_kib() - before < 8 * 1024
        let_go.set()
        sender.join(20)
        eventually(lambda: any(len(request.body) == size for request in origin.requests), 20)
