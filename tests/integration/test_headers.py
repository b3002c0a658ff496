"""What is added, changed and never believed in heads, towards the app and towards the client."""

import ssl
import time

import pytest

from recorder import answer, mirror


def seen(origin):
    return origin.requests[-1]


def test_the_app_is_told_who_came_how(site):
    app, origin = site()
    app.request("/")
    request = seen(origin)
    assert request.value("fly-client-ip") == "127.0.0.1"
    assert request.value("x-forwarded-for") == "127.0.0.1"
    assert request.value("x-forwarded-proto") == "https"
    assert request.value("x-forwarded-ssl") == "on"
    assert request.value("fly-forwarded-port") == str(app.node.https)
    assert request.value("x-forwarded-port") == str(app.node.https)
    assert request.value("fly-region") == "gru"
    assert request.value("via").startswith("1.1 ")
    assert request.value("fly-request-id").endswith("-gru")
    app.request("/", tls=False)
    assert seen(origin).value("x-forwarded-proto") == "http"
    assert seen(origin).value("x-forwarded-ssl") == "off"


FORGED = {"Fly-Client-IP": "6.6.6.6", "X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "gopher",
          "X-Forwarded-Host": "evil", "X-Real-IP": "6.6.6.6", "Forwarded": "for=6.6.6.6",
          "Fly-Region": "xxx", "Fly-Forwarded-Port": "1", "Fly-Replay-Src": "instance=1", "Via": "1.0 evil"}


def test_what_a_client_claims_about_itself_is_removed_and_made_anew(site):
    app, origin = site()
    app.request("/", headers=FORGED)
    raw = seen(origin).raw.lower()
    for text in (b"6.6.6.6", b"gopher", b"x-forwarded-host", b"x-real-ip", b"fly-replay-src", b"xxx"):
        assert text not in raw, text
    assert seen(origin).values("x-forwarded-for") == ["127.0.0.1"]


def test_a_trusted_proxys_claims_are_passed_on(site):
    app, origin = site(listen='trusted_proxies = ["127.0.0.0/8"]')
    app.request("/", tls=False, headers={"X-Forwarded-For": "6.6.6.6, 9.9.9.9, 127.0.0.7",
                                         "X-Forwarded-Proto": "https"})
    request = seen(origin)
    assert request.value("fly-client-ip") == "9.9.9.9"  # right to left, to the first who isn't trusted
    assert request.value("x-forwarded-for") == "6.6.6.6, 9.9.9.9, 127.0.0.7, 127.0.0.1"
    assert request.value("x-forwarded-proto") == "https"


def test_hop_by_hop_fields_stay_with_their_hop(site):
    app, origin = site(lambda request, _: answer(body=b"ok", fields=[
        ("Connection", "X-Mine"), ("X-Mine", "1"), ("Keep-Alive", "timeout=5"), ("X-Other", "2"),
        ("Proxy-Authenticate", "Basic")]))
    got = app.request("/", headers={"Connection": "X-Hop", "X-Hop": "1", "Keep-Alive": "timeout=9", "TE": "gzip",
                                    "Proxy-Authorization": "secret", "X-Stay": "2"})
    request = seen(origin)
    for name in ("x-hop", "keep-alive", "proxy-authorization", "te"):
        assert request.value(name) is None, name
    assert request.value("x-stay") == "2"
    assert "x-mine" not in got.headers and "timeout=5" not in str(got.fields)
    assert got.headers["x-other"] == "2"


def test_end_to_end_fields_keep_their_value_and_order(site):
    app, origin = site(lambda request, _: answer(body=b"ok", fields=[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]))
    got = app.request("/x?y=%zz&z", headers={"Cookie": "a=1; b=2", "Authorization": "Bearer x", "X-Empty": "",
                                             "Accept-Encoding": "gzip, br"})
    assert [value for name, value in got.fields if name.lower() == "set-cookie"] == ["a=1", "b=2"]
    request = seen(origin)
    assert request.target == "/x?y=%zz&z"
    assert request.value("cookie") == "a=1; b=2"
    assert request.value("authorization") == "Bearer x"
    assert request.value("x-empty") == ""
    assert request.value("host") == app.host


def test_the_client_is_told_the_request_id(site):
    app, origin = site()
    got = app.request("/")
    assert got.headers["fly-request-id"] == seen(origin).value("fly-request-id")
    assert got.headers["via"].startswith("1.1 ")
    assert app.request("/").headers["fly-request-id"] != got.headers["fly-request-id"]


def test_pristine_adds_and_changes_nothing(site):
    app, _ = site(lambda request, _: answer(body=b"ok", fields=[("Server", "mine"), ("Via", "1.1 mine"),
                                                                ("Fly-Request-Id", "mine")]),
                  more="[http_service.http_options.response]\npristine = true")
    got = app.request("/")
    assert (got.headers["server"], got.headers["via"], got.headers["fly-request-id"]) == (
        "mine", "1.1 mine", "mine")


def test_response_header_rules(site):
    app, _ = site(lambda request, _: answer(body=b"ok", fields=[("X-Powered-By", "php"), ("X-Keep", "1")]),
                  more='[http_service.http_options.response.headers]\nx-powered-by = false\n'
                       'Strict-Transport-Security = "max-age=60"\nX-Many = ["a", "b"]')
    got = app.request("/")
    assert "x-powered-by" not in got.headers
    assert got.headers["strict-transport-security"] == "max-age=60"
    assert [value for name, value in got.fields if name.lower() == "x-many"] == ["a", "b"]
    assert got.headers["x-keep"] == "1"


@pytest.mark.parametrize("method", ("GET", "POST", "HEAD"))
def test_force_https_redirects_with_host_path_and_query(make_node, method):
    node = make_node()
    app = node.wake_app(service="force_https = true")
    node.start()
    got = app.request("/a/b?c=d&e", method=method, tls=False)
    assert got.status == 301
    assert got.headers["location"] in (f"https://{app.host}:{node.https}/a/b?c=d&e",
                                       f"https://{app.host}/a/b?c=d&e")
    assert app.log.count("start") == 0  # a redirect wakes nobody
    assert app.request("/").status == 200


def test_a_redirect_cannot_be_split_by_its_target(make_node):
    node = make_node()
    app = node.wake_app(service="force_https = true")
    node.start()
    with node.connect(app.host, tls=False) as sock:
        sock.sendall(f"GET //evil.example/%0d%0aX:y HTTP/1.1\r\nHost: {app.host}\r\n\r\n".encode())
        head = sock.recv(4096).decode()
    location = [line for line in head.split("\r\n") if line.lower().startswith("location:")][0]
    assert location.split(": ", 1)[1].startswith(f"https://{app.host}")
    assert location.endswith("//evil.example/%0d%0aX:y")


def test_tls_versions_and_names(site):
    app, _ = site()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = app.node.tls_context()
        context.minimum_version = context.maximum_version = version
        with context.wrap_socket(plain(app),
                                 server_hostname=app.host) as sock:
            assert sock.version() == {771: "TLSv1.2", 772: "TLSv1.3"}[version.value]
            assert "GCM" in sock.cipher()[0] or "CHACHA20" in sock.cipher()[0]
    old = app.node.tls_context()
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, OSError)):
        old.wrap_socket(plain(app), server_hostname=app.host)


def plain(app):
    import socket
    return socket.create_connection(("127.0.0.1", app.node.https), 5)


def test_tickets_resume_on_every_worker(site):
    app, _ = site(workers=2)
    context = app.node.tls_context()
    session, resumed = None, 0
    for _ in range(20):
        with context.wrap_socket(plain(app), server_hostname=app.host, session=session) as sock:
            resumed += sock.session_reused
            sock.sendall(f"GET / HTTP/1.1\r\nHost: {app.host}\r\n\r\n".encode())
            assert sock.recv(100).startswith(b"HTTP/1.1 200")
            session = sock.session
    assert resumed >= 18


def test_every_exchange_has_one_line_in_the_access_log(site):
    app, _ = site(mirror)
    for number in range(20):
        app.request(f"/line/{number}", headers={"User-Agent": 'agent "quoted"\\'})
    app.node.request("nobody.app.dev", "/line/x")
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        lines = [line for line in app.node.access_lines() if line["target"].startswith("/line/")]
        if len(lines) == 21:
            break
        time.sleep(0.05)
    assert len(lines) == 21
    assert sorted(line["target"] for line in lines) == sorted(
        [f"/line/{number}" for number in range(20)] + ["/line/x"])
    assert len({line["id"] for line in lines}) == 21
    assert [line["fault"] for line in lines if line["target"] == "/line/x"] == ["no_route"]
    assert lines[0]["agent"] == 'agent "quoted"\\'
    assert lines[0]["tls"] == "1.3"
