"""Public ports of services that don't speak HTTP: raw TCP, TLS that ends here or passes, PostgreSQL, PROXY headers."""

import shutil
import socket
import ssl
import struct
import subprocess
import threading
from contextlib import contextmanager

import pytest

from developer import IS_ROOT
from node import ROOT, eventually, free_port

EXAMPLE = ROOT / "examples" / "tutorial"


class PortApp:
    def __init__(self, node, name, port):
        self.node, self.name, self.port = node, name, port
        self.host = f"{name}.app.dev"

    @property
    def file(self):
        return self.node.folder / "apps" / f"{self.name}.toml"

    def starts(self):
        lines = self.node.command("machine", "list", "-a", self.name, "--json").stdout
        return lines.count('"started"')


def port_app(node, name, ports, command=None, address=None, port=None, rooster=""):
    """An app with one TCP service; `ports` are the TOML of its [[services.ports]]. {port} is its internal port."""
    app = PortApp(node, name, port or free_port())
    run = f"[processes]\napp = '''{command.replace('{port}', str(app.port))}'''" if command else ""
    where = f'driver = "address"\naddress = "{address}"' if address else ""
    tables = "\n".join(f"[[services.ports]]\n{text}" for text in ports)
    app.file.write_text(f"""\
app = "{name}"
primary_region = "gru"
{run}
[[services]]
internal_port = {app.port}
protocol = "tcp"
auto_stop_machines = "stop"
auto_start_machines = true
{tables}
[rooster]
{where}
{rooster}
""")
    return app


def redis_app(node, name="cache", ports=("",), **more):
    command = "redis-server --port {port} --bind 0.0.0.0 --protected-mode no --save '' --dir /tmp"
    return port_app(node, name, ports, command, **more)


def redis(port, *arguments, **options):
    done = subprocess.run(["redis-cli", "-h", "127.0.0.1", "-p", str(port), *arguments], capture_output=True,
                          text=True, timeout=60, **options)
    return done.stdout.strip()


def redis_tls(node, app, port, *arguments):
    return redis(port, "--tls", "--cacert", str(node.ca), "--sni", app.host, *arguments)


def is_awake(node, app):
    return '"started"' in node.command("machine", "list", "-a", app.name, "--json").stdout


# ---- raw

def test_a_raw_port_wakes_its_app(make_node):
    node = make_node(workers=2)
    port = free_port()
    app = redis_app(node, ports=[f"port = {port}\nhandlers = []"], rooster='public = true\nidle_timeout = "1s"')
    node.start()
    assert f"tcp 127.0.0.1:{port}" in node.output()
    assert not is_awake(node, app)
    assert redis(port, "set", "color", "blue") == "OK"
    assert redis(port, "get", "color") == "blue"
    eventually(lambda: not is_awake(node, app), 30, "it sleeps again")
    assert redis(port, "ping") == "PONG"
    lines = [line for line in node.access_lines() if line["app"] == app.name]
    assert len(lines) == 3 and all(line["fault"] in (None, "-", "") for line in lines), lines
