"""Which app, and which of its machines, gets a request."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from node import eventually
from recorder import answer


def named(name):
    return lambda request, _: answer(body=name.encode())


def test_hosts_choose_the_app(make_node, make_origin):
    node = make_node()
    for name, rooster in (("one", ""), ("two", 'hostnames = ["two.example", "*.wild.example"]'),
                          ("three", 'hostnames = ["exact.wild.example"]')):
        origin = make_origin(named(name))
        node.app(name, address="127.0.0.1", port=origin.port, rooster=rooster)
    node.start()
    for host, body in (("one.app.dev", b"one"), ("two.app.dev", b"two"), ("two.example", b"two"),
                       ("any.wild.example", b"two"), ("a.b.wild.example", b"two"),
                       ("exact.wild.example", b"three")):
        got = node.request(host, "/", tls=False)
        assert (got.status, got.body) == (200, body), host
    for host in ("wild.example", "four.app.dev", "app.dev"):
        assert node.request(host, "/", tls=False).fault == "no_route", host


def test_requests_of_several_apps_may_share_one_connection(make_node, make_origin):
    node = make_node()
    for name in ("one", "two"):
        node.app(name, address="127.0.0.1", port=make_origin(named(name)).port)
    node.start()
    with node.connect("one.app.dev") as sock:
        for name in ("one", "two", "one"):
            sock.sendall(f"GET / HTTP/1.1\r\nHost: {name}.app.dev\r\n\r\n".encode())
            data = b""
            while not data.endswith(name.encode()):
                piece = sock.recv(4096)
                assert piece
                data += piece


def test_a_hard_limit_is_never_exceeded_and_who_waits_is_served(site):
    now, most, lock = 0, 0, threading.Lock()

    def respond(_request, _channel):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with lock:
            now -= 1
        return answer(body=b"ok")

    app, _ = site(respond, workers=2,
                  more='[http_service.concurrency]\ntype = "requests"\nsoft_limit = 2\nhard_limit = 3')
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda number: app.request(f"/{number}").status, range(90)))
    assert answers == [200] * 90
    assert most <= 3, most


def test_connections_to_one_app_are_bounded_and_start_slowly(make_node):
    """300 at once on an app that has no hard_limit: at most 256 connections (decisions-edge 7)."""
    node = make_node()
    app = node.wake_app(options="--gate={gate} --backlog=512")
    node.start()
    holder = node.holder(app, 400)
    holder.wait_for("ready")
    holder.go()
    holder.wait_for("asked")
    eventually(lambda: node.metric("rooster_waiting") == 400)
    app.gate.touch()
    holder.go()
    assert holder.result()["good"] == 400
    assert app.log.count("bytes") <= 256


def test_explain_tells_where_a_request_goes(make_node, make_origin):
    node = make_node()
    node.app("one", address="127.0.0.1", port=make_origin(named("one")).port)
    node.wake_app("sleeper")
    node.start()
    assert "one" in node.command("explain", "https://one.app.dev/x").stdout
    told = node.command("explain", "sleeper").stdout.lower()
    assert "sleeper" in told and ("asleep" in told or "stopped" in told), told
    assert "sleeper" in node.command("status").stdout
