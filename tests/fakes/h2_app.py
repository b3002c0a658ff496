"""A small h2c app by prior knowledge (python3-h2), for tests of h2_backend.

    /mirror      what came, as JSON: headers, size and digest of the body, trailers; a trailer `x-seen` with the size
    /echo        the body as it comes, piece by piece, and its trailers
    /size/<n>    n bytes
    /slow        the head, then nothing
    /refuse      REFUSED_STREAM for the first request of each connection, then 200
    /reset       RST_STREAM instead of an answer
    /cut         the head, some bytes, RST_STREAM
    /goaway      200, and GOAWAY

A thread for each connection; `streams` is MAX_CONCURRENT_STREAMS.
"""

import hashlib
import json
import socket
import sys
import threading

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings


class Connection:
    def __init__(self, app, sock):
        self.app, self.sock = app, sock
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.local_settings = h2.settings.Settings(
            client=False, initial_values={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: app.streams})
        self.requests, self.sending, self.refused = {}, {}, False

    def run(self):
        self.h2.initiate_connection()
        self.flush()
        while True:
            try:
                data = self.sock.recv(65536)
            except OSError:
                data = b""
            if not data:
                return
            for event in self.h2.receive_data(data):
                self.on(event)
            for stream in list(self.sending):
                self.pump(stream)
            self.flush()

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            try:
                self.sock.sendall(data)
            except OSError:
                pass

    def on(self, event):
        stream = getattr(event, "stream_id", None)
        if isinstance(event, h2.events.RequestReceived):
            headers = [(str(name), str(value)) for name, value in event.headers]
            self.requests[stream] = {"headers": headers, "body": b"", "trailers": []}
            self.app.note(dict(headers)[":path"])
            self.begin(stream, dict(headers)[":path"])
        elif isinstance(event, h2.events.DataReceived):
            self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
            if stream in self.requests:
                self.requests[stream]["body"] += event.data
                if self.path(stream) == "/echo":
                    self.send(stream, event.data, more=True)
        elif isinstance(event, h2.events.TrailersReceived):
            self.requests[stream]["trailers"] = [(str(name), str(value)) for name, value in event.headers]
        elif isinstance(event, h2.events.StreamEnded):
            if stream in self.requests:
                self.finish(stream)
        elif isinstance(event, h2.events.StreamReset):
            self.app.note(f"reset {int(event.error_code)}")
            self.requests.pop(stream, None)
            self.sending.pop(stream, None)

    def path(self, stream):
        return dict(self.requests[stream]["headers"])[":path"]

    def begin(self, stream, path):
        if path == "/refuse" and not self.refused:
            self.refused = True
            self.requests.pop(stream)
            self.h2.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
        elif path == "/reset":
            self.requests.pop(stream)
            self.h2.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
        elif path in ("/echo", "/slow"):
            self.h2.send_headers(stream, [(":status", "200")])
        elif path == "/hints":
            self.h2.send_headers(stream, [(":status", "103"), ("link", "</a.css>; rel=preload")])

    def finish(self, stream):
        request, path = self.requests[stream], self.path(stream)
        if path == "/mirror":
            body = json.dumps({"headers": request["headers"], "trailers": request["trailers"],
                               "size": len(request["body"]), "streams": len(self.requests),
                               "digest": hashlib.sha256(request["body"]).hexdigest()}).encode()
            self.h2.send_headers(stream, [(":status", "200"), ("content-type", "application/json")])
            self.send(stream, body, trailers=[("x-seen", str(len(request["body"])))])
        elif path == "/echo":
            self.send(stream, b"", trailers=request["trailers"])
        elif path.startswith("/size/"):
            size = int(path.split("/")[2])
            self.h2.send_headers(stream, [(":status", "200"), ("content-length", str(size))])
            self.send(stream, (b"0123456789abcdef" * (size // 16 + 1))[:size])
        elif path == "/cut":
            self.h2.send_headers(stream, [(":status", "200")])
            self.h2.send_data(stream, b"some bytes")
            self.h2.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
            self.requests.pop(stream)
        elif path == "/empty":
            self.h2.send_headers(stream, [(":status", "204")], end_stream=True)
        elif path != "/slow":
            self.h2.send_headers(stream, [(":status", "200"), ("x-path", path)])
            self.send(stream, b"ok\n")
            if path == "/goaway":
                self.h2.close_connection(last_stream_id=stream)

    def send(self, stream, data, trailers=(), more=False):
        waiting = self.sending.setdefault(stream, [b"", None])
        waiting[0] += data
        if not more:
            waiting[1] = list(trailers)
        self.pump(stream)

    def pump(self, stream):
        waiting = self.sending.get(stream)
        while waiting and waiting[0]:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if room <= 0:
                return
            self.h2.send_data(stream, waiting[0][:room])
            waiting[0] = waiting[0][room:]
        if waiting and waiting[1] is not None:
            if waiting[1]:
                self.h2.send_headers(stream, waiting[1], end_stream=True)
            else:
                self.h2.end_stream(stream)
            self.sending.pop(stream)
            self.requests.pop(stream, None)


class H2App:
    """Listens on a port of its own; `seen` is the paths in order, `connections` how many there were."""

    def __init__(self, port=0, streams=100):
        self.streams, self.connections, self.seen = streams, 0, []
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        self.socks = []
        threading.Thread(target=self.accept, daemon=True).start()

    def note(self, what):
        self.seen.append(what)

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self.socks.append(sock)
            threading.Thread(target=Connection(self, sock).run, daemon=True).start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in self.socks:
            sock.close()


if __name__ == "__main__":
    H2App(int(sys.argv[1]))
    threading.Event().wait()
