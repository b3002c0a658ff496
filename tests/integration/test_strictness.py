"""What two parsers could read differently is refused and the connection closed, or passes in one form only; shown
by a recording origin that reads strictly."""

import json
import re
import subprocess
import time

from node import FAKES, eventually

MARK = b"GET /after HTTP/1.1\r\nHost: a.b\r\n\r\n"


def corpus():
    program = FAKES / "smuggling_corpus"
    if not program.exists():
        return []
    lines = subprocess.run([program], capture_output=True, check=True, text=True).stdout.splitlines()
    cases = [json.loads(line) for line in lines]
    for case in cases:
        case["name"] = bytes.fromhex(case["name"]).decode()
        case["bytes"] = bytes.fromhex(case["bytes"])
        for key in ("must_contain", "must_lack"):
            case[key] = [bytes.fromhex(text) for text in case[key]]
    return cases


CORPUS = corpus()


def test_the_corpus_is_there():
    assert len(CORPUS) > 100


def read_all(sock, seconds=3.0):
    """All that comes until the other side closes; second value: did it close?"""
    sock.settimeout(0.25)
    data, deadline = b"", time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            piece = sock.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            return data, True
        if not piece:
            return data, True
        data += piece
    return data, False


def read_head(sock):
    sock.settimeout(3)
    data = b""
    try:
        while b"\r\n\r\n" not in data and (piece := sock.recv(65536)):
            data += piece
    except OSError:
        pass
    return data


def test_every_form_of_the_corpus_is_refused_or_unambiguous(site):
    app, origin = site(rooster='hostnames = ["a.b", "c.d"]')
    wrong = []
    for case in CORPUS:
        problem = check(app.node, origin, case)
        if problem:
            wrong.append(f"{case['name']}: {problem}")
    assert not wrong, f"{len(wrong)} of {len(CORPUS)}:\n" + "\n".join(wrong)
    assert not origin.broken, origin.broken


def check(node, origin, case):
    with origin.lock:
        before = len(origin.requests)
    with node.connect("a.b", tls=False) as sock:
        # A request behind the odd one: whoever reads the odd one longer or shorter than we do betrays himself.
        sock.sendall(case["bytes"] + (MARK if case["fault"] != "-" else b""))
        if case["fault"] == "-":
            got, closed = read_head(sock), False
        else:
            got, closed = read_all(sock)
    status = int(got[9:12]) if got.startswith(b"HTTP/1.") else None
    with origin.lock:
        seen = origin.requests[before:]
    if case["fault"] == "-":
        if status != 200:
            return f"not forwarded: {got[:160]!r}"
        if len(seen) != 1:
            return f"the origin saw {[request.target for request in seen]}"
        raw = seen[0].raw
        for text in case["must_contain"]:
            if text not in raw:
                return f"{text!r} is missing in {raw!r}"
        for text in case["must_lack"]:
            if text.lower() in raw.lower():
                return f"{text!r} stands in {raw!r}"
        return None
    if seen:
        return f"the origin saw {[request.target for request in seen]}"
    if not closed:
        return f"the connection stays open after {got[:80]!r}"
    if case["name"] == "HTTP/2 preface":  # it begins HTTP/2, whose client then says nothing of sense
        return None if got[3:4] == b"\x04" and b"HTTP/1" not in got else f"{got!r} is no HTTP/2"
    if case["in_body"] and status is None:
        return None  # cut inside the body: the origin never had a whole request
    if status != case["status"]:
        return f"{got[:80]!r} instead of {case['status']} {case['fault']}"
    if f"rooster-fault: {case['fault']}".encode() not in got.lower():
        return f"another reason than {case['fault']}: {got[:400]!r}"
    if len(re.findall(rb"HTTP/1\.1 \d\d\d ", got)) != 1:
        return f"more than one answer: {got!r}"
    return None


def test_limits_of_a_head(site):
    app, origin = site()
    cases = {
        "target": (f"GET /{'a' * 9000} HTTP/1.1\r\nHost: {app.host}\r\n\r\n", 414),
        "field": (f"GET / HTTP/1.1\r\nHost: {app.host}\r\nX: {'a' * 17000}\r\n\r\n", 431),
        "fields": (f"GET / HTTP/1.1\r\nHost: {app.host}\r\n" + "X: y\r\n" * 101 + "\r\n", 431),
        "head": (f"GET / HTTP/1.1\r\nHost: {app.host}\r\n" + f"X: {'a' * 9000}\r\n" * 8 + "\r\n", 431),
    }
    for name, (text, status) in cases.items():
        with app.node.connect(app.host) as sock:
            sock.sendall(text.encode())
            got, closed = read_all(sock)
            assert closed, name
            assert got.startswith(f"HTTP/1.1 {status} ".encode()), (name, got[:100])
    assert not origin.requests
    big = f"GET /{'a' * 8000} HTTP/1.1\r\nHost: {app.host}\r\n" + f"X: {'a' * 16000}\r\n" * 3 + "\r\n"
    with app.node.connect(app.host) as sock:
        sock.sendall(big.encode())
        assert sock.recv(100).startswith(b"HTTP/1.1 200")


def test_hosts_that_are_one_host(site):
    app, origin = site()
    for host in (app.host, app.host.upper(), app.host + ".", f"{app.host}:{app.node.http}"):
        with app.node.connect(app.host, tls=False) as sock:
            sock.sendall(f"GET /{host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert sock.recv(100).startswith(b"HTTP/1.1 200"), host
    assert [request.value("host") for request in origin.requests] == [
        app.host, app.host.upper(), app.host + ".", f"{app.host}:{app.node.http}"]


def test_a_host_of_no_app_is_not_found_and_one_of_another_certificate_is_misdirected(site):
    app, origin = site()
    assert app.node.request("nobody.app.dev").fault == "no_route"
    answer = app.node.request(app.host, headers={"Host": "example.org"})
    assert (answer.status, answer.fault) in ((421, "misdirected"), (404, "no_route")), answer
    assert not origin.requests


def test_options_asterisk_is_answered_by_the_proxy(site):
    app, origin = site()
    with app.node.connect(app.host) as sock:
        sock.sendall(f"OPTIONS * HTTP/1.1\r\nHost: {app.host}\r\n\r\n".encode())
        assert sock.recv(200).startswith(b"HTTP/1.1 200")
    assert not origin.requests


def test_a_head_that_comes_too_slowly_is_408(site):
    app, _ = site(more="[http_service.http_options]\nheaders_read_timeout = 1")
    with app.node.connect(app.host) as sock:
        sock.sendall(f"GET / HTTP/1.1\r\nHost: {app.host}\r\nX-Slow: ".encode())
        began = time.monotonic()
        got, closed = read_all(sock, 15)
        assert closed and got.startswith(b"HTTP/1.1 408"), got[:100]
        assert time.monotonic() - began < 12
    eventually(lambda: app.node.metric("rooster_faults_total", fault="head_timeout") == 1)
