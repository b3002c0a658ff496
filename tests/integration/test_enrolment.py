"""Members of the private network: tokens, logins, peers' files, and rooster.<domain> over real HTTPS."""

import base64
import json
import os
import re
import stat
import subprocess

import pytest

from node import BINARY, eventually

KEY = base64.b64encode(b"\x09" * 32).decode()
KEYS = [base64.b64encode(bytes([n]) * 32).decode() for n in range(20, 40)]


def settings(name):
    """A gateway on ports that are free, told as they were bound."""
    return f'[wireguard]\nlisten = "127.0.0.1:0"\nendpoint = "127.0.0.1:0"\ninterface = "{name}{os.getpid()}"'


@pytest.fixture
def gateway(make_node):
    node = make_node(settings=settings("enr"))
    node.wake_app("hello")
    return node.start()


def developer(node, *arguments, check=True, text=None):
    """A command of somebody who has nothing of the node but what it told him."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ROOSTER")}
    environment["XDG_STATE_HOME"] = str(node.folder / "state")
    done = subprocess.run([str(BINARY), *arguments], capture_output=True, text=True, timeout=60,
                          env=environment, cwd=node.work, input=text)
    assert not check or done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def make_token(node, *arguments):
    line = node.command("tokens", "create", *arguments).stdout
    return re.fullmatch(r"rooster login '(https://rooster\.app\.dev:\d+#[\w-]+\.[\w-]+)'\n", line).group(1)


def secret_of(login):
    return login.split("#")[1].split(".")[0]


def ask(node, path, method="GET", token=None, body=None, headers=None):
    headers = dict(headers or {})
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return node.request("rooster.app.dev", path, method=method, headers=headers,
                        body=json.dumps(body) if body is not None else None)


def peers(node, *arguments):
    return json.loads(node.command("wireguard", "list", *arguments, "--json").stdout)["peers"]


def test_a_login_is_verified_and_kept(gateway):
    login = make_token(gateway, "--apps", "hello", "--allow", "connect,exec", "--ttl", "1h")
    done = developer(gateway, "login", login, "--connect-to", "127.0.0.1")
    assert "Network = default" in done.stdout and "Allow   = connect,exec" in done.stdout
    kept = next((gateway.folder / "state" / "rooster").glob("*/default/login.json"))
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert json.loads(kept.read_text())["token"] == secret_of(login)
    # Also by standard input, where nobody sees it in the list of processes.
    assert developer(gateway, "login", "-", "--connect-to", "127.0.0.1", text=login + "\n").returncode == 0


def test_another_node_under_the_same_name_is_found_out(gateway):
    login = make_token(gateway)
    wrong = login[:-43] + ("A" if login[-43] != "A" else "B") + login[-42:]
    done = developer(gateway, "login", wrong, "--connect-to", "127.0.0.1", check=False)
    assert done.returncode == 1
    assert "no answer from https://rooster.app.dev" in done.stderr and "TLS" in done.stderr
    # Without a pin the system's authorities count, and this one is none of them.
    done = developer(gateway, "login", login.rsplit(".", 1)[0], "--connect-to", "127.0.0.1", check=False)
    assert done.returncode == 1 and "certificate" in done.stderr


def test_a_token_enrols_a_peer_over_https(gateway):
    token = secret_of(make_token(gateway, "--apps", "hello"))
    answer = ask(gateway, "/v1/peers", "POST", token, {"public_key": KEY, "ephemeral": True})
    assert answer.status == 200, answer
    assert answer.headers["cache-control"] == "no-store"
    peer = answer.json()["peer"]
    network = peer["network_prefix"].removesuffix("::/48")
    assert re.fullmatch(rf"{network}:a7b:2:0:a:2", peer["address"])
    assert peer["prefix"] == peer["address"] + "/120" and peer["dns"] == network + "::3"
    assert re.fullmatch(r"127\.0\.0\.1:[1-9]\d+", peer["endpoint"])
    assert peer["name"].startswith("interactive-") and peer["apps"] == ["hello"]
    status = json.loads(gateway.command("wireguard", "status", "--json").stdout)
    assert status["public_key"] == peer["gateway_public_key"]
    assert [one["name"] for one in status["peers"]] == [peer["name"]]
    # The same key again is somebody's already.
    assert ask(gateway, "/v1/peers", "POST", token, {"public_key": KEY, "ephemeral": True}).status == 409


def test_without_a_good_token_nothing_is_told(gateway):
    body = {"public_key": KEY, "ephemeral": True}
    assert ask(gateway, "/v1/peers", "POST", None, body).status == 401
    assert ask(gateway, "/v1/login").status == 401
    assert ask(gateway, "/").status == 404
    assert ask(gateway, "/metrics").status == 404
    token = secret_of(make_token(gateway))
    assert ask(gateway, "/v1/login", token=token).status == 200
    assert ask(gateway, "/v1/login", token=token, headers={"Origin": "https://evil.example"}).status == 403
    assert ask(gateway, "/v1/peers", "POST", token, {"public_key": KEY, "name": "box"}).status == 403
    # No token ever goes over a connection without TLS.
    plain = gateway.request("rooster.app.dev", "/v1/login", headers={"Authorization": f"Bearer {token}"},
                            tls=False)
    assert plain.status == 404 and plain.fault == "no_route"
    for _ in range(10):
        ask(gateway, "/v1/login", token="wrong")
    assert ask(gateway, "/v1/login", token=token).status == 429


def test_a_connection_is_kept_between_requests(gateway):
    token = secret_of(make_token(gateway))
    with gateway.connect("rooster.app.dev") as sock:
        for number in range(3):
            body = json.dumps({"public_key": KEYS[number], "ephemeral": True})
            head = (f"POST /v1/peers HTTP/1.1\r\nHost: rooster.app.dev\r\nAuthorization: Bearer {token}\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n")
            sock.sendall(head.encode())  # the body comes when the connection has left the worker
            sock.sendall(body.encode())
            answer = b""
            while b'"pin"' not in answer:
                piece = sock.recv(4096)
                assert piece, answer
                answer += piece
            assert answer.startswith(b"HTTP/1.1 200 "), answer


def test_what_was_made_outlives_the_node(gateway):
    login = make_token(gateway, "--allow", "connect,peers")
    file = gateway.folder / "laptop.conf"
    gateway.command("wireguard", "create", "default", "gru", "laptop", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = gateway.command("wireguard", "create", "default", "gru", "other", str(file), check=False)
    assert again.returncode == 1 and "exists and is not overwritten" in again.stderr
    developer(gateway, "login", login, "--connect-to", "127.0.0.1")
    developer(gateway, "wireguard", "create", "default", "gru", "box", "box.conf")
    key = gateway.folder / "data" / "wireguard.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    text, before = key.read_text(), peers(gateway)
    addresses = gateway.command("ips", "-a", "hello").stdout, gateway.command("ips", "private", "-a", "hello").stdout
    assert ":0:1::2" in addresses[0]
    gateway.stop()
    gateway.start()
    assert key.read_text() == text and peers(gateway) == before
    assert (gateway.command("ips", "-a", "hello").stdout,
            gateway.command("ips", "private", "-a", "hello").stdout) == addresses
    # The login too: it sees its own peer, not the operator's.
    own = developer(gateway, "wireguard", "list").stdout
    assert "box" in own and "laptop" not in own
    developer(gateway, "wireguard", "remove", "default", "box")
    assert [peer["name"] for peer in peers(gateway)] == ["laptop"]


def test_a_revoked_token_takes_its_peers_along(gateway):
    login = make_token(gateway, "--note", "Anna")
    token = secret_of(login)
    for key in KEYS[5:8]:
        assert ask(gateway, "/v1/peers", "POST", token, {"public_key": key, "ephemeral": True}).status == 200
    assert len(peers(gateway)) == 3
    assert "Anna" in gateway.command("tokens", "list").stdout
    gateway.command("tokens", "revoke", token.split("-")[0])
    assert peers(gateway) == []
    assert ask(gateway, "/v1/login", token=token).status == 401


def test_the_file_is_what_wireguard_takes(gateway):
    done = gateway.command("wireguard", "create", "default", "gru", "laptop", "stdout")
    assert done.stderr.startswith("!!!! WARNING: Output includes private key.")
    shape = (r"\n\[Interface\]\nPrivateKey = \S{43}=\nAddress = fdaa:\S+:a7b:2:0:a:2/120\nDNS = fdaa:\S+::3\n\n"
             r"\[Peer\]\nPublicKey = \S{43}=\nAllowedIPs = fdaa:\S+::/48\nEndpoint = 127\.0\.0\.1:\d+\n"
             r"PersistentKeepalive = 15\n\n")
    assert re.fullmatch(shape, done.stdout), done.stdout
    file = gateway.folder / "wg0.conf"
    gateway.command("wireguard", "create", "default", "gru", "second", str(file), "--split-dns", "--enrol")
    text = file.read_text()
    assert "PostUp = resolvectl dns %i fdaa:" in text and "\nDNS" not in text
    assert re.search(r"^# Rooster-Enrol = https://rooster\.app\.dev:\d+ pin=sha256:[\w-]{43} token=[\w-]+$", text, re.M)
    stripped = subprocess.run(["wg-quick", "strip", str(file)], capture_output=True, text=True, check=True).stdout
    assert "PrivateKey = " in stripped and "DNS" not in stripped and "Address" not in stripped
    reset = gateway.command("wireguard", "reset", "default", "second", str(gateway.folder / "wg1.conf"))
    assert "New WireGuard peer for network 'default': 'second'" in reset.stderr
    line = re.search(r"^Address = .*$", text, re.M).group(0)
    new = (gateway.folder / "wg1.conf").read_text()
    assert line in new and re.search(r"^PrivateKey = .*$", text, re.M).group(0) not in new


def test_without_wireguard_the_name_is_nobodys(make_node):
    node = make_node()
    node.wake_app("hello")
    node.start()
    assert ask(node, "/v1/login", token="x").status == 404
    done = node.command("tokens", "create", check=False)
    assert done.returncode == 1 and "[wireguard]" in done.stderr


def test_wg_set_goes_by_the_registry(gateway):
    interface = re.search(r'interface = "(\w+)"', (gateway.folder / "rooster.toml").read_text()).group(1)
    gateway.command("wireguard", "create", "default", "gru", "laptop", str(gateway.folder / "wg0.conf"))
    key = peers(gateway)[0]["public_key"]
    if os.geteuid() != 0:
        return  # the socket's folder is root's

    def wg(*arguments):
        return subprocess.run(["wg", *arguments], capture_output=True, text=True, timeout=10)

    assert f"{key}\tfdaa:" in wg("show", interface, "allowed-ips").stdout
    done = wg("set", interface, "peer", key, "persistent-keepalive", "25")
    assert done.returncode == 0, done
    eventually(lambda: f"{key}\t25" in wg("show", interface, "persistent-keepalive").stdout)
    # Isolation is not root's to undo by accident.
    assert wg("set", interface, "peer", key, "allowed-ips", "::/0").returncode != 0
    assert wg("set", interface, "peer", KEY, "persistent-keepalive", "25").returncode != 0
    gateway.stop()
    gateway.start()
    assert f"{key}\t25" in wg("show", interface, "persistent-keepalive").stdout
    assert wg("set", interface, "peer", key, "remove").returncode == 0
    eventually(lambda: peers(gateway) == [])
