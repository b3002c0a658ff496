"""An origin inside the test process: it keeps every byte that arrives, and answers as the test says."""

import json
import socket
import threading


class Request:
    """One request as a strict reader sees it: exact bytes of the head, fields in order, the decoded body."""

    def __init__(self, head, body, raw):
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = lines[0].split(" ")
        self.fields = [tuple(line.split(": ", 1)) if ": " in line else (line.rstrip(":"), "")
                       for line in lines[1:]]
        self.body, self.raw = body, raw
        self.trailers = []

    def values(self, name):
        return [value for field, value in self.fields if field.lower() == name.lower()]

    def value(self, name):
        return ", ".join(self.values(name)) if self.values(name) else None


class Channel:
    """The app's side of one connection."""

    def __init__(self, sock, record):
        self.sock, self.record, self.buffer = sock, record, bytearray()

    def fill(self):
        got = self.sock.recv(1 << 20)
        self.record.extend(got)
        self.buffer += got
        return bool(got)

    def until(self, mark):
        """The bytes before `mark`, which is dropped."""
        while mark not in self.buffer:
            if not self.fill():
                raise EOFError
        data, _, rest = bytes(self.buffer).partition(mark)
        self.buffer = bytearray(rest)
        return data

    def line(self):
        return self.until(b"\r\n")

    def exactly(self, count):
        while len(self.buffer) < count:
            if not self.fill():
                raise EOFError
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def head(self):
        return self.until(b"\r\n\r\n")

    def request(self, before_body=None):
        head = self.head()
        request = Request(head, b"", head + b"\r\n\r\n")
        if before_body:
            before_body(request, self)
        if request.values("transfer-encoding"):
            assert request.values("transfer-encoding") == ["chunked"] and not request.values("content-length")
            body = bytearray()
            while size := int(self.line(), 16):
                body += self.exactly(size)
                assert self.exactly(2) == b"\r\n"
            request.body = bytes(body)
            while True:
                line = self.line()
                if not line:
                    break
                request.trailers.append(line.decode("latin-1"))
        elif request.values("content-length"):
            (length,) = request.values("content-length")
            request.body = self.exactly(int(length))
        return request

    def send(self, data):
        self.sock.sendall(data)


def answer(status="200 OK", body=b"", fields=(), length=True):
    """The bytes of a response."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields)]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def mirror(request, _channel):
    """The usual answer: what arrived, as JSON."""
    body = json.dumps({"method": request.method, "target": request.target, "fields": request.fields,
                       "body": request.body.decode("latin-1"), "trailers": request.trailers}).encode()
    return answer(body=body, fields=[("Content-Type", "application/json")])


class Origin:
    """Listens on 127.0.0.1. `respond(request, channel)` gives the answer's bytes; None: close the connection.
    `before_body(request, channel)` is called with the head before the body is read."""

    def __init__(self, respond=mirror, before_body=None, backlog=128):
        self.respond, self.before_body = respond, before_body
        self.requests, self.connections, self.broken = [], [], []
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            record = bytearray()
            with self.lock:
                self.connections.append(record)
            threading.Thread(target=self._serve, args=(Channel(sock, record),), daemon=True).start()

    def _serve(self, channel):
        with channel.sock:
            try:
                while True:
                    request = channel.request(self.before_body)
                    with self.lock:
                        self.requests.append(request)
                    response = self.respond(request, channel)
                    if response is None:
                        return
                    channel.send(response)
            except (EOFError, OSError):
                return
            except (AssertionError, ValueError) as error:
                with self.lock:
                    self.broken.append((error, bytes(channel.record)))

    @property
    def received(self):
        """All bytes of all connections."""
        with self.lock:
            return b"".join(bytes(record) for record in self.connections)

    def targets(self):
        with self.lock:
            return [request.target for request in self.requests]

    def close(self):
        self.listener.close()
