"""Reloads drop nothing: not a request, not a WebSocket on an unchanged route; a broken one changes nothing."""

import signal
import socket
import ssl
import subprocess
import threading
import time

from node import SCALE, eventually
from recorder import answer


def test_reloads_under_load_drop_nothing_and_keep_memory(make_node, make_origin):
    node = make_node(workers=2)
    origin = make_origin()
    app = node.app("app", address="127.0.0.1", port=origin.port)
    apps = max(100, int(2000 * SCALE))
    for number in range(apps):
        node.app(f"other-{number}", "/bin/false", port=30000)
    node.start(60)
    tunnels = open_tunnels(node, make_origin, max(20, int(200 * SCALE)))
    failed, done, count = [], threading.Event(), [0]

    def load():
        while not done.is_set():
            got = app.request(f"/{count[0]}")
            count[0] += 1
            if got.status != 200:
                failed.append(got)

    loader = threading.Thread(target=load)
    loader.start()
    before = node.memory_kib()
    try:
        for number in range(50):
            changed = node.folder / "apps" / f"other-{number % apps}.toml"
            changed.write_text(changed.read_text() + f"# {number}\n")
            assert node.reload().returncode == 0
    finally:
        done.set()
        loader.join()
    assert not failed, failed[:3]
    assert count[0] > 50
    assert node.memory_kib() <= before * 1.2 + 4096
    for sock in tunnels:
        sock.sendall(b"ping")
        assert sock.recv(4) == b"ping"
        sock.close()
    assert node.metric("rooster_apps") == apps + 2


def open_tunnels(node, make_origin, count):
    def respond(_request, channel):
        channel.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: raw\r\nConnection: Upgrade\r\n\r\n")
        while True:
            channel.send(channel.exactly(4))

    app = node.app("tunnel", address="127.0.0.1", port=make_origin(respond).port)
    assert node.reload().returncode == 0
    tunnels = []
    for _ in range(count):
        sock = node.connect(app.host)
        sock.sendall(f"GET / HTTP/1.1\r\nHost: {app.host}\r\nConnection: Upgrade\r\n"
                     "Upgrade: raw\r\n\r\n".encode())
        assert sock.recv(1000).startswith(b"HTTP/1.1 101")
        tunnels.append(sock)
    return tunnels


def test_a_broken_reload_changes_nothing_and_says_why_with_the_place(make_node, make_origin):
    node = make_node()
    app = node.app("app", address="127.0.0.1", port=make_origin(lambda *_: answer(body=b"old")).port)
    node.start()
    good = app.file.read_text()
    app.file.write_text(good.replace("internal_port = ", "internal_port = \"no port\" # "))
    told = node.reload()
    assert told.returncode != 0
    assert "app.toml:" in told.stdout + told.stderr
    assert app.request("/").body == b"old"
    app.file.write_text(good)
    assert node.reload().returncode == 0
    assert app.request("/").body == b"old"


def test_new_changed_and_removed_apps(make_node, make_origin):
    node = make_node()
    app = node.app("app", address="127.0.0.1", port=make_origin(lambda *_: answer(body=b"first")).port)
    node.start()
    new = node.app("new", address="127.0.0.1", port=make_origin(lambda *_: answer(body=b"new")).port)
    assert new.request("/").fault == "no_route"
    assert node.reload().returncode == 0
    assert new.request("/").body == b"new"
    node.app("app", address="127.0.0.1", port=make_origin(lambda *_: answer(body=b"second")).port)
    new.file.unlink()
    assert node.reload().returncode == 0
    eventually(lambda: app.request("/").body == b"second")
    assert new.request("/").fault == "no_route"


def test_sighup_reloads(make_node, make_origin):
    node = make_node()
    node.app("app", address="127.0.0.1", port=make_origin().port)
    node.start()
    new = node.app("new", address="127.0.0.1", port=make_origin().port)
    node.signal(signal.SIGHUP)
    eventually(lambda: new.request("/").status == 200)


def test_a_reload_that_does_not_touch_an_app_leaves_its_machine_running(make_node):
    node = make_node()
    app = node.wake_app()
    other = node.wake_app("other")
    node.start()
    assert app.request("/").status == 200
    other.file.write_text(other.file.read_text() + "\n# changed\n")
    assert node.reload().returncode == 0
    assert app.request("/").status == 200
    assert app.log.count("start") == 1


def test_a_waiter_survives_reloads(make_node):
    node = make_node()
    app = node.wake_app(options="--gate={gate}")
    node.start()
    got = []
    waiter = threading.Thread(target=lambda: got.append(app.request("/waits")))
    waiter.start()
    eventually(lambda: node.metric("rooster_waiting") == 1)
    for number in range(3):
        node.wake_app(f"other-{number}")
        assert node.reload().returncode == 0
    assert node.metric("rooster_waiting") == 1
    app.gate.touch()
    waiter.join(10)
    assert got[0].status == 200
    assert app.log.count("start") == 1


def test_certificates_are_reread_when_their_files_change(make_node, make_origin):
    node = make_node()
    app = node.app("app", address="127.0.0.1", port=make_origin().port)

    def issue(name):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                        "-nodes", "-keyout", "new.key", "-out", "new.pem", "-days", "9", "-subj", f"/CN={name}",
                        "-addext", "subjectAltName=DNS:*.app.dev"], cwd=node.folder, check=True,
                       capture_output=True)
        (node.folder / "new.key").rename(node.folder / "wild.key")
        (node.folder / "new.pem").rename(node.folder / "wild.pem")
        (node.folder / "wild.key").chmod(0o600)

    issue("first")
    toml = node.folder / "rooster.toml"
    toml.write_text(toml.read_text() + '[tls]\ncertificates = [{ cert = "wild.pem", key = "wild.key" }]\n')
    node.start()

    def served():
        context = ssl.create_default_context(cafile=str(node.folder / "wild.pem"))
        try:
            with context.wrap_socket(socket.create_connection(("127.0.0.1", node.https), 5),
                                     server_hostname=app.host) as sock:
                return dict(part[0] for part in sock.getpeercert()["subject"])["commonName"]
        except ssl.SSLError:
            return None

    assert served() == "first"
    issue("second")
    time.sleep(0.05)
    node.reload()
    eventually(lambda: served() == "second", 10)
