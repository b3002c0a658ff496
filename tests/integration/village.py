"""A node with the app `echo`, a raw TCP service that sleeps; what sockets and developers do with it."""

import contextlib
import json
import os
import re
import socket

import pytest

from developer import Developer
from node import free_port

SERVICE_PORT = 5432
PATIENCE = 60


class Village:
    """A node with the app `echo`, which sleeps, and developers."""

    def __init__(self, make_node, endpoint=None, idle="60s", address=None):
        self.port = free_port()
        where = address or "127.0.0.1"
        self.node = make_node(settings=f'drain_timeout = "1s"\n[wireguard]\nlisten = "{where}:{self.port}"\n'
                                       f'endpoint = "{endpoint or f"{where}:{self.port}"}"\n'
                                       f'interface = "sur{os.getpid()}"')
        self.starts_file = self.node.work / "starts"
        (self.node.folder / "apps" / "echo.toml").write_text(f"""\
app = "echo"
primary_region = "gru"
[processes]
app = "/usr/bin/python3 -B {self.node.folder}/fakes/echo_app.py {SERVICE_PORT} {self.starts_file}"
[[services]]
internal_port = {SERVICE_PORT}
protocol = "tcp"
auto_stop_machines = "stop"
auto_start_machines = true
[[services.ports]]
port = {SERVICE_PORT}
[rooster]
idle_timeout = "{idle}"
""")
        if address:
            file = self.node.folder / "rooster.toml"
            https = f'"127.0.0.1:{self.node.https}"'
            file.write_text(file.read_text().replace(https, f'{https}, "{address}:{self.node.https}"'))
        self.address = where
        self.developers = []
        self.node.start()

    def proxy(self, stack, within=()):
        self.developers.append(Developer(self.node, stack, within=within).log_in(self.address))
        return self.developers[-1].proxy("echo", f"0:{SERVICE_PORT}", seconds=60)

    def proxy_by_file(self, stack):
        self.developers.append(Developer(self.node, stack))
        file = self.developers[-1].write_peer_file()
        return self.developers[-1].proxy("echo", f"0:{SERVICE_PORT}", "--peer", str(file), seconds=60)

    def starts(self):
        return len(self.starts_file.read_text().splitlines()) if self.starts_file.exists() else 0

    def machine(self):
        listed = json.loads(self.node.command("machine", "list", "-a", "echo", "--json").stdout)
        return re.search(r'"id": ?"(\w+)"', json.dumps(listed)).group(1)

    def close(self):
        for developer in self.developers:
            developer.close()


@pytest.fixture
def make_village(make_node):
    with contextlib.ExitStack() as made:
        def make(**options):
            village = Village(make_node, **options)
            made.callback(village.close)
            return village
        yield make


def echo(sock, text=b"hello\n"):
    """True: `text` came back. False: the connection is over."""
    try:
        sock.sendall(text)
        got = b""
        while len(got) < len(text):
            piece = sock.recv(65536)
            if not piece:
                return False
            got += piece
        return got == text
    except (ConnectionError, BrokenPipeError):
        return False


def connect(port, timeout=PATIENCE):
    return socket.create_connection(("127.0.0.1", port), timeout)


def works(port, timeout=PATIENCE):
    try:
        with connect(port, timeout) as sock:
            return echo(sock)
    except OSError:
        return False
