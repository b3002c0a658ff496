"""An app's response is vetted as strictly as a request: what is not trustworthy is a 502, and the connection to the
app is never used again."""

import time

import pytest

from recorder import answer

OK = "HTTP/1.1 200 OK\r\n"
BAD = {
    "TE and CL": OK + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "differing CLs": OK + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "CL not a number": OK + "Content-Length: five\r\n\r\nhello",
    "CL with plus": OK + "Content-Length: +5\r\n\r\nhello",
    "CL list": OK + "Content-Length: 5, 6\r\n\r\nhello!",
    "unknown TE": OK + "Transfer-Encoding: gzip\r\n\r\nhello",
    "xchunked": OK + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "fold": OK + "X-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "blank before colon": OK + "Content-Length : 0\r\n\r\n",
    "no colon": OK + "nonsense\r\nContent-Length: 0\r\n\r\n",
    "NUL in value": OK + "X: a\0b\r\nContent-Length: 0\r\n\r\n",
    "bare CR in value": OK + "X: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
    "unasked 101": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    "status of two digits": "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "status 600": "HTTP/1.1 600 No\r\nContent-Length: 0\r\n\r\n",
    "HTTP/2": "HTTP/2 200\r\nContent-Length: 0\r\n\r\n",
    "not HTTP": "SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "large head": OK + f"X: {'a' * 9000}\r\n" * 8 + "Content-Length: 0\r\n\r\n",
    "many fields": OK + "X: y\r\n" * 120 + "Content-Length: 0\r\n\r\n",
    "empty": None,
    "half a head": OK + "Content-",
}


@pytest.fixture
def bad_site(site):
    """An app whose path chooses what bytes it answers with, then closes."""
    replies = {}

    def respond(request, channel):
        reply = replies.get(request.target)
        if request.target not in replies:
            return answer(body=b"good")
        if reply is not None:
            channel.send(reply if isinstance(reply, bytes) else reply.encode("latin-1"))
        return None

    app, origin = site(respond)
    return app, origin, replies


@pytest.mark.parametrize("method", ("GET", "POST"))
def test_untrustworthy_responses_are_502_and_their_connection_is_not_reused(bad_site, method):
    app, origin, replies = bad_site
    wrong = []
    for number, (name, reply) in enumerate(BAD.items()):
        replies[f"/{number}"] = reply
        got = app.request(f"/{number}", method=method, body=b"x" if method == "POST" else None)
        if got.status != 502 or got.fault not in ("upstream_bad_response", "upstream_reset"):
            wrong.append(f"{name}: {got}")
        if b"Set-Cookie" in got.body or "set-cookie" in got.headers:
            wrong.append(f"{name}: leaked {got}")
        good = app.request("/good")
        if (good.status, good.body) != (200, b"good"):
            wrong.append(f"after {name}: {good}")
    assert not wrong, "\n".join(wrong)
    if method == "POST":
        # Contract 8: a POST that may have reached the app is sent once.
        posts = [target for target in origin.targets() if target != "/good"]
        assert len(posts) == len(BAD) and len(set(posts)) == len(BAD)


def raw_exchange(app, path, seconds=5.0, version="1.1"):
    with app.node.connect(app.host) as sock:
        sock.settimeout(seconds)
        sock.sendall(f"GET {path} HTTP/{version}\r\nHost: {app.host}\r\n\r\n".encode())
        data = b""
        try:
            while piece := sock.recv(65536):
                data += piece
        except TimeoutError:
            return data, "open"
        except OSError as error:  # TLS ended without close_notify
            return data, type(error).__name__
    return data, "closed"


def test_more_than_sixteen_interim_answers_are_a_502(bad_site):
    app, _, replies = bad_site
    replies["/many"] = "HTTP/1.1 103 Early Hints\r\n\r\n" * 17 + OK + "Content-Length: 4\r\n\r\nlate"
    data, _ = raw_exchange(app, "/many", 1.0)
    assert b"HTTP/1.1 502" in data and b"late" not in data, data
    assert app.request("/good").body == b"good"


def test_a_body_shorter_than_announced_cuts_the_client_too(bad_site):
    app, _, replies = bad_site
    replies["/short"] = OK + "Content-Length: 100\r\n\r\nonly this"
    data, end = raw_exchange(app, "/short")
    assert data.endswith(b"only this")
    assert end != "open"
    assert app.node.metric("rooster_faults_total", fault="upstream_truncated") == 1


def test_a_chunked_body_without_its_end_never_gets_one(bad_site):
    app, _, replies = bad_site
    replies["/short"] = OK + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    data, end = raw_exchange(app, "/short")
    assert b"hello" in data and not data.endswith(b"0\r\n\r\n")
    assert end != "open"


@pytest.mark.parametrize("chunk", ("x\r\n", "5\r\nhelloworld\r\n", "-1\r\n", "0x5\r\nhello\r\n",
                                   "fffffffffffffffff\r\n"))
def test_a_bad_chunk_cuts_the_client(bad_site, chunk):
    app, _, replies = bad_site
    replies["/chunk"] = OK + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" + chunk
    data, end = raw_exchange(app, "/chunk")
    assert end != "open"
    assert not data.endswith(b"0\r\n\r\n")


def test_bytes_behind_a_response_are_never_anybodys_answer(bad_site):
    app, _, replies = bad_site

    def with_more(name):
        return OK + f"Content-Length: {len(name)}\r\n\r\n{name}" + \
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"

    replies["/one"] = with_more("one")
    first = app.request("/one")
    assert first.body in (b"one",) or first.status == 502
    for number in range(5):
        assert app.request(f"/good/{number}").body == b"good"


def test_a_close_delimited_body_becomes_chunked_and_ends(bad_site):
    app, _, replies = bad_site
    replies["/close"] = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end"
    got = app.request("/close")
    assert got.body == b"until the end"
    assert got.headers.get("transfer-encoding") == "chunked"


def test_an_http_1_0_response_with_keep_alive_is_never_pooled(site):
    served = []

    def respond(request, channel):
        served.append(id(channel))
        return b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"

    app, origin = site(respond)
    for _ in range(3):
        assert app.request("/").body == b"ok"
    assert len(set(served)) == 3 and len(origin.connections) == 3


def test_bodies_that_do_not_exist(site):
    """1xx, 204 and 304 have none whatever the headers say; HEAD has a length and no body."""
    replies = {
        "/204": b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
        "/304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nETag: \"a\"\r\n\r\n",
        "/head": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
        "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    }
    app, origin = site(lambda request, _: replies.get(request.target) or answer(body=b"good"))
    for path, method, status in (("/204", "GET", 204), ("/304", "GET", 304), ("/head", "HEAD", 200),
                                 ("/chunked", "HEAD", 200)):
        got = app.request(path, method=method)
        assert (got.status, got.body) == (status, b""), path
        assert app.request("/good").body == b"good"
    assert app.request("/head", method="HEAD").headers["content-length"] == "500"
    assert "content-length" not in app.request("/204").headers
    assert len(origin.connections) <= 2  # such responses leave the connection reusable


def test_an_app_that_never_answers_is_504_in_time(site):
    app, _ = site(lambda request, _: time.sleep(30), more="[http_service.http_options]\nidle_timeout = 1")
    began = time.monotonic()
    got = app.request("/")
    assert (got.status, got.fault) == (504, "upstream_timeout"), got
    assert time.monotonic() - began < 5


def test_a_refused_connection_is_502(make_node):
    node = make_node()
    app = node.app("app", address="127.0.0.1")
    node.start()
    got = app.request("/")
    assert (got.status, got.fault) == (502, "upstream_refused"), got


def test_a_name_that_does_not_resolve_is_502(make_node):
    node = make_node()
    app = node.app("app", address="no-such-host.invalid")
    node.start()
    got = app.request("/")
    assert got.status in (502, 503), got
    assert got.fault in ("upstream_unresolved", "no_healthy_machine"), got
