"""HTTP/2 from clients: real ones, and frames by hand."""

import json
import os
import subprocess
import threading

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import pytest

from node import eventually


class Client:
    """One HTTP/2 connection by python3-h2, which also checks what the node sends."""

    def __init__(self, app, tls=True, settings=None, window=None):
        self.host = app.host
        self.sock = h2_socket(app) if tls else app.node.connect(app.host, tls=False)
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config=config)
        if settings:
            self.h2.local_settings.update(settings)
        self.h2.initiate_connection()
        self.events = []
        self.closed = False
        self.flush()

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.sock.sendall(data)

    def get(self, path="/", end=True, method="GET", more=(), host=None):
        stream = self.h2.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "https"), (":authority", host or self.host), (":path", path)]
        self.h2.send_headers(stream, fields + list(more), end_stream=end)
        self.flush()
        return stream

    def send(self, stream, data, end=False):
        view = memoryview(data)
        while view:
            room = min(self.h2.local_flow_control_window(stream), 16384)
            if room == 0:
                self.pump()
                continue
            self.h2.send_data(stream, bytes(view[:room]), end_stream=end and room >= len(view))
            view = view[room:]
            self.flush()
        if end and not data:
            self.h2.end_stream(stream)
            self.flush()

    def pump(self, take=True):
        data = self.sock.recv(65536)
        if not data:
            self.closed = True
            return []
        fresh = self.h2.receive_data(data)
        for event in fresh:
            if take and isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        self.flush()
        self.events += fresh
        return fresh

    def wait(self, kind, stream=None):
        def found():
            for event in self.events:
                if isinstance(event, kind) and (stream is None or event.stream_id == stream):
                    return event
            return None

        while found() is None and not self.closed:
            self.pump()
        return found()

    def answer(self, stream):
        """(status, fields, body) of a whole response."""
        while not self.closed and not any(
                isinstance(e, (h2.events.StreamEnded, h2.events.StreamReset)) and e.stream_id == stream
                for e in self.events):
            self.pump()
        head = next((e for e in self.events
                     if isinstance(e, h2.events.ResponseReceived) and e.stream_id == stream), None)
        body = b"".join(e.data for e in self.events
                        if isinstance(e, h2.events.DataReceived) and e.stream_id == stream)
        fields = dict(head.headers) if head else {}
        return int(fields.get(":status", 0)), fields, body

    def close(self):
        self.sock.close()


def h2_socket(app):
    import socket
    raw = socket.create_connection(("127.0.0.1", app.node.https), timeout=15)
    sock = app.node.tls_context(alpn=("h2",)).wrap_socket(raw, server_hostname=app.host)
    assert sock.selected_alpn_protocol() == "h2"
    return sock


def curl(app, path, *options):
    command = ["curl", "-sS", "--http2", "--max-time", "30", "--cacert", str(app.node.ca),
               "--resolve", f"{app.host}:{app.node.https}:127.0.0.1", *options,
               f"https://{app.host}:{app.node.https}{path}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def awake(make_node):
    node = make_node()
    app = node.wake_app()
    node.start()
    return app


def test_curl_is_answered_through_a_wake(awake):
    out = curl(awake, "/hello", "-w", " %{http_version} %{http_code}")
    assert out.startswith("/hello 0") and out.endswith(" 2 200"), out
    assert awake.log.count("start") == 1
    line = eventually(lambda: [entry for entry in awake.node.access_lines() if entry.get("status") == 200])[0]
    assert line["http"] == "2" and line["wake"], line


def test_prior_knowledge_without_tls(make_node):
    node = make_node()
    app = node.wake_app(service="force_https = false")
    node.start()
    out = subprocess.run(["curl", "-sS", "--http2-prior-knowledge", "--max-time", "30", "-H", f"Host: {app.host}",
                          "-w", " %{http_version}", f"http://127.0.0.1:{node.http}/plain"],
                         capture_output=True, text=True, check=True).stdout
    assert out.startswith("/plain 0") and out.endswith(" 2"), out


def test_forty_streams_of_one_connection_cause_one_start(awake):
    client = Client(awake)
    streams = [client.get(f"/r/{n}") for n in range(40)]
    for n, stream in enumerate(streams):
        status, _, body = client.answer(stream)
        assert (status, body) == (200, f"/r/{n} 0\n".encode())
    assert awake.log.count("start") == 1
    client.close()


def test_a_post_survives_the_wake_byte_for_byte(awake):
    client = Client(awake)
    body = os.urandom(1_000_000)
    stream = client.get("/up", end=False, method="POST", more=[("content-length", str(len(body)))])
    client.send(stream, body, end=True)
    status, _, answer = client.answer(stream)
    assert status == 200 and answer.split()[1] == b"1000000", answer
    client.close()


def test_h2load_loses_nothing(awake):
    out = subprocess.run(["h2load", "-n", "4000", "-c", "8", "-m", "32", f"https://{awake.host}:{awake.node.https}/l",
                          f"--connect-to=127.0.0.1:{awake.node.https}"],
                         capture_output=True, text=True, timeout=120).stdout
    assert "4000 succeeded, 0 failed, 0 errored, 0 timeout" in out, out


def test_an_app_without_h2_in_its_tls_options_speaks_http1(make_node):
    node = make_node()
    app = node.wake_app(more='[http_service.tls_options]\nalpn = ["http/1.1"]')
    node.start()
    assert curl(app, "/", "-w", " %{http_version}").endswith(" 1.1")
