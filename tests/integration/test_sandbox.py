"""The server shuts itself in, says what holds, and still does all that a reload asks of it."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from node import IS_SANITIZED, eventually
from recorder import answer


def status_of(pid, field):
    text = Path(f"/proc/{pid}/status").read_text()
    return re.search(rf"^{field}:\s+(\S+)", text, re.M).group(1)


def start_lines(node):
    """What it said of its start, all of it."""
    eventually(lambda: "sandbox" in node.output() and " ready" in node.output(), 10, "the start's lines are written")
    return node.output()


def plain_app(node, make_origin):
    return node.app("app", address="127.0.0.1", port=make_origin(lambda *_: answer(body=b"ok")).port)


def test_the_server_is_shut_in_and_says_what_holds(make_node, make_origin):
    node = make_node()
    app = plain_app(node, make_origin)
    node.start()
    assert app.request("/").status == 200
    output = start_lines(node)
    server = node.server_pid()
    assert status_of(server, "NoNewPrivs") == "1"
    if "system_calls" in output and "seccomp:" not in output:
        assert status_of(server, "Seccomp") == "2"
    kept = int(status_of(server, "CapEff"), 16)
    assert kept.bit_count() <= 5
    assert not kept >> 21 & 1, "CAP_SYS_ADMIN"
    assert status_of(node.keeper_pid(), "Seccomp") == status_of("self", "Seccomp"), "machines inherit nothing of it"


def test_it_can_be_switched_off(make_node, make_origin):
    node = make_node(settings="sandbox = false")
    app = plain_app(node, make_origin)
    node.start()
    assert app.request("/").status == 200
    assert status_of(node.server_pid(), "Seccomp") == status_of("self", "Seccomp")
    assert "no sandbox" in start_lines(node)


def test_a_reload_reads_apps_and_certificates_from_places_it_never_saw(make_node, make_origin):
    node = make_node()
    app = plain_app(node, make_origin)
    node.start()
    other = Path(tempfile.mkdtemp(prefix="rooster-elsewhere-"))
    other.chmod(0o755)
    try:
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", other / "key.pem", "-out", other / "cert.pem", "-days", "30", "-subj", "/CN=new.example",
                        "-addext", "subjectAltName=DNS:new.example"], check=True, capture_output=True)
        shutil.copytree(node.folder / "apps", other / "apps")
        file = other / "apps" / "app.toml"
        file.write_text(file.read_text() + 'hostnames = ["new.example"]\n')
        toml = node.folder / "rooster.toml"
        toml.write_text(toml.read_text().replace('apps = "apps"', f'apps = "{other}/apps"') +
                        f'[tls]\ncertificates = [{{ cert = "{other}/cert.pem", key = "{other}/key.pem" }}]\n')
        assert node.reload().returncode == 0

        def is_new():
            probe = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{node.https}", "-servername",
                                    "new.example"], input=b"", capture_output=True, timeout=10)
            return b"CN = new.example" in probe.stdout or b"CN=new.example" in probe.stdout

        eventually(is_new, 15, "the new certificate is served")
        assert app.request("/", tls=False).status == 200
    finally:
        shutil.rmtree(other)


def test_a_log_moved_outside_is_said(make_node, make_origin):
    node = make_node()
    app = plain_app(node, make_origin)
    node.start()
    holds = "writes only below" in start_lines(node)
    other = Path(tempfile.mkdtemp(prefix="rooster-elsewhere-"))
    other.chmod(0o777)
    try:
        toml = node.folder / "rooster.toml"
        toml.write_text(toml.read_text().replace(str(node.access_log), str(other / "access.log")))
        node.reload()
        if holds:
            eventually(lambda: "outside the sandbox" in node.output(), 10, "the log says so")
            assert not (other / "access.log").exists()
        assert app.request("/").status == 200
    finally:
        shutil.rmtree(other)


def test_a_machine_starts_programs_as_ever(make_node):
    """What is shut in is the server: its machines come from the keeper."""
    node = make_node()
    script = node.work / "starts.sh"
    script.write_text(f"#!/bin/sh\nset -e\nunshare --help >/dev/null 2>&1 || true\nls / >{node.work}/listed\n"
                      f"exec {node.folder}/fakes/wake_app --port=$PORT --log={node.work}/app.log\n")
    script.chmod(0o755)
    app = node.app("app", str(script))
    node.start()
    assert app.request("/").status == 200
    assert (node.work / "listed").read_text()
    assert IS_SANITIZED or status_of(node.server_pid(), "NoNewPrivs") == "1"
