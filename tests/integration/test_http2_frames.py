"""RFC 9113 and RFC 7541 frame by frame: each violation gets its error code, on the connection or on its stream."""

import struct

import hpack
import pytest

from recorder import answer

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK, PADDED = 1, 4, 1, 8
NO_ERROR, PROTOCOL, INTERNAL, FLOW, _, CLOSED, SIZE, REFUSED, CANCEL, COMPRESSION, _, CALM = range(12)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GET = [(":method", "GET"), (":scheme", "http"), (":authority", "app.app.dev"), (":path", "/")]
POST = [(":method", "POST"), *GET[1:]]


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def block(fields):
    return b"".join(literal(name, value) for name, value in fields)


def literal(name, value):
    def text(part):
        part = part.encode("latin-1")
        return hpack.hpack.encode_integer(len(part), 7) + part

    return b"\x00" + bytes(text(name)) + bytes(text(value))


def headers(stream=1, fields=None, flags=END_STREAM | END_HEADERS):
    return frame(HEADERS, flags, stream, block(GET if fields is None else fields))


class Raw:
    """A connection by prior knowledge, past the SETTINGS of both sides unless `preface` says otherwise."""

    def __init__(self, app, preface=None):
        self.sock = app.node.connect(app.host, tls=False)
        self.buffer, self.decoder, self.ended = b"", hpack.Decoder(), False
        self.sock.sendall(PREFACE + frame(SETTINGS) if preface is None else preface)

    def send(self, *frames):
        try:
            self.sock.sendall(b"".join(frames))
        except OSError:
            pass
        return self

    def exactly(self, count):
        while len(self.buffer) < count:
            try:
                got = self.sock.recv(65536)
            except ConnectionResetError:
                got = b""
            if not got:
                self.ended = True
                return None
            self.buffer += got
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def frames(self):
        while (head := self.exactly(9)) is not None:
            size, kind, flags, stream = int.from_bytes(head[:3], "big"), head[3], head[4], int.from_bytes(head[5:], "big")
            payload = self.exactly(size)
            if payload is None:
                return
            yield kind, flags, stream, payload

    def verdict(self):
        """The first word about an error: ("connection" | "stream", code); else the first response's status."""
        for kind, flags, stream, payload in self.frames():
            if kind == GOAWAY:
                return "connection", int.from_bytes(payload[4:8], "big")
            if kind == RST:
                return "stream", int.from_bytes(payload, "big")
            if kind == HEADERS:
                return "status", int(dict(self.decoder.decode(payload))[":status"])
        return "closed", 0


@pytest.fixture
def app(site):
    return site(lambda request, channel: answer(body=b"ok"), service="force_https = false")[0]


CASES = {
    # RFC 9113 §3.4, §4: the connection
    "data on stream 0": ([frame(DATA, 0, 0, b"x")], ("connection", PROTOCOL)),
    "headers on stream 0": ([frame(HEADERS, 5, 0, block(GET))], ("connection", PROTOCOL)),
    "an even stream": ([headers(2)], ("connection", PROTOCOL)),
    "a frame that is too large": ([frame(DATA, 0, 1, b"x" * 16385)], ("connection", SIZE)),
    "data before headers": ([frame(DATA, 0, 1, b"x")], ("connection", PROTOCOL)),
    "rst before headers": ([frame(RST, 0, 1, bytes(4))], ("connection", PROTOCOL)),
    "window before headers": ([frame(WINDOW, 0, 1, b"\0\0\0\1")], ("connection", PROTOCOL)),
    "push from a client": ([headers(1, POST, END_HEADERS), frame(PUSH, END_HEADERS, 1, bytes(4) + block(GET))],
                           ("connection", PROTOCOL)),
    # §4.3, §6.10: blocks
    "a block is not interrupted": ([frame(HEADERS, END_STREAM, 1, block(GET)), frame(PING, 0, 0, bytes(8))],
                                   ("connection", PROTOCOL)),
    "a block stays on its stream": ([frame(HEADERS, END_STREAM, 1, block(GET)), frame(CONTINUATION, 4, 3)],
                                    ("connection", PROTOCOL)),
    "continuation of nothing": ([frame(CONTINUATION, END_HEADERS, 1, block(GET))], ("connection", PROTOCOL)),
    "padding longer than the frame": ([frame(HEADERS, 5 | PADDED, 1, b"\xff" + block(GET))], ("connection", PROTOCOL)),
    # §6: sizes and values
    "rst of five bytes": ([headers(1, POST, END_HEADERS), frame(RST, 0, 1, bytes(5))], ("connection", SIZE)),
    "settings of five bytes": ([frame(SETTINGS, 0, 0, bytes(5))], ("connection", SIZE)),
    "settings ack with content": ([frame(SETTINGS, ACK, 0, bytes(6))], ("connection", SIZE)),
    "settings on a stream": ([frame(SETTINGS, 0, 1)], ("connection", PROTOCOL)),
    "enable push of two": ([frame(SETTINGS, 0, 0, struct.pack("!HI", 2, 2))], ("connection", PROTOCOL)),
    "a window beyond 2^31": ([frame(SETTINGS, 0, 0, struct.pack("!HI", 4, 1 << 31))], ("connection", FLOW)),
    "frames of 100 bytes": ([frame(SETTINGS, 0, 0, struct.pack("!HI", 5, 100))], ("connection", PROTOCOL)),
    "ping of seven bytes": ([frame(PING, 0, 0, bytes(7))], ("connection", SIZE)),
    "ping on a stream": ([frame(PING, 0, 1, bytes(8))], ("connection", PROTOCOL)),
    "goaway on a stream": ([frame(GOAWAY, 0, 1, bytes(8))], ("connection", PROTOCOL)),
    "window of three bytes": ([frame(WINDOW, 0, 0, bytes(3))], ("connection", SIZE)),
    "window of the connection by 0": ([frame(WINDOW, 0, 0, bytes(4))], ("connection", PROTOCOL)),
    # A stream's error may be the connection's (RFC 9113 §5.4.2).
    "window of a stream by 0": ([headers(1, POST, END_HEADERS), frame(WINDOW, 0, 1, bytes(4))], ("connection", PROTOCOL)),
    "window of the connection over 2^31": ([frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff")], ("connection", FLOW)),
    "window of a stream over 2^31": ([headers(1, POST, END_HEADERS), frame(WINDOW, 0, 1, b"\x7f\xff\xff\xff")],
                                     ("stream", FLOW)),
    # §8: messages
    "an upper-case name": ([headers(1, GET + [("X-A", "b")])], ("stream", PROTOCOL)),
    "a connection field": ([headers(1, GET + [("connection", "close")])], ("stream", PROTOCOL)),
    "transfer-encoding": ([headers(1, GET + [("transfer-encoding", "chunked")])], ("stream", PROTOCOL)),
    "te other than trailers": ([headers(1, GET + [("te", "gzip")])], ("stream", PROTOCOL)),
    "an unknown pseudo field": ([headers(1, GET + [(":x", "y")])], ("stream", PROTOCOL)),
    ":status in a request": ([headers(1, GET + [(":status", "200")])], ("stream", PROTOCOL)),
    "a pseudo field after others": ([headers(1, [GET[0], ("a", "b"), *GET[1:]])], ("stream", PROTOCOL)),
    "no method": ([headers(1, GET[1:])], ("stream", PROTOCOL)),
    "no path": ([headers(1, GET[:3])], ("stream", PROTOCOL)),
    "an empty path": ([headers(1, [*GET[:3], (":path", "")])], ("stream", PROTOCOL)),
    "two methods": ([headers(1, [GET[0], *GET])], ("stream", PROTOCOL)),
    "less body than its length": ([headers(1, POST + [("content-length", "3")], END_HEADERS),
                                   frame(DATA, END_STREAM, 1, b"ab")], ("stream", PROTOCOL)),
    "more body than its length": ([headers(1, POST + [("content-length", "1")], END_HEADERS),
                                   frame(DATA, END_STREAM, 1, b"ab")], ("stream", PROTOCOL)),
    "trailers that don't end": ([headers(1, POST, END_HEADERS), headers(1, [("a", "b")], END_HEADERS)],
                                ("stream", PROTOCOL)),
    "a pseudo field in trailers": ([headers(1, POST, END_HEADERS), headers(1, [(":path", "/")])], ("stream", PROTOCOL)),
    "data after the end": ([headers(1, POST), frame(DATA, 0, 1, b"x")], ("connection", CLOSED)),
    # §8.3.1, decisions of ours: answered, on that stream alone
    "host and authority differ": ([headers(1, GET + [("host", "other.app.dev")])], ("status", 400)),
    "host and authority agree": ([headers(1, GET + [("host", "APP.app.dev")])], ("status", 200)),
    "host without authority": ([headers(1, [GET[0], GET[1], GET[3], ("host", "app.app.dev")])], ("status", 200)),
    "user information": ([headers(1, [GET[0], GET[1], (":authority", "a@app.app.dev"), GET[3]])], ("status", 400)),
    "connect": ([headers(1, [(":method", "CONNECT"), (":authority", "app.app.dev:443")])], ("status", 405)),
    "trace": ([headers(1, [(":method", "TRACE"), *GET[1:]])], ("status", 405)),
    "a fragment": ([headers(1, [*GET[:3], (":path", "/a#b")])], ("status", 400)),
    "more fields than we take": ([headers(1, GET + [("a", "b")] * 101)], ("status", 431)),
    "options of all": ([headers(1, [(":method", "OPTIONS"), *GET[1:3], (":path", "*")])], ("status", 200)),
    # RFC 7541
    "index 0": ([frame(HEADERS, 5, 1, b"\x80")], ("connection", COMPRESSION)),
    "an index past the tables": ([frame(HEADERS, 5, 1, b"\xff\x80\x01")], ("connection", COMPRESSION)),
    "an integer without end": ([frame(HEADERS, 5, 1, b"\xff" + b"\xff" * 10)], ("connection", COMPRESSION)),
    "a table larger than allowed": ([frame(HEADERS, 5, 1, b"\x3f\xe2\x1f" + block(GET))], ("connection", COMPRESSION)),
    "a table size late in the block": ([frame(HEADERS, 5, 1, block(GET) + b"\x20")], ("connection", COMPRESSION)),
    "huffman padding of zeros": ([frame(HEADERS, 5, 1, b"\x00\x81\x00\x00")], ("connection", COMPRESSION)),
    "a string past the block": ([frame(HEADERS, 5, 1, b"\x00\x7f\x01a")], ("connection", COMPRESSION)),
    # and what must be borne; a number that goes back can't be told from a stream that is closed
    "a stream number that goes back": ([headers(5), headers(3)], ("status", 200)),
    "an unknown frame": ([frame(0x77, 0xff, 0, b"x" * 100), headers()], ("status", 200)),
    "an unknown setting": ([frame(SETTINGS, 0, 0, struct.pack("!HI", 0x7777, 1)), headers()], ("status", 200)),
    "priority of an idle stream": ([frame(PRIORITY, 0, 9, b"\0\0\0\0\x10"), headers()], ("status", 200)),
    "a block in pieces": ([frame(HEADERS, END_STREAM, 1, block(GET[:2])), frame(CONTINUATION, 4, 1, block(GET[2:]))],
                          ("status", 200)),
}


@pytest.mark.parametrize("name", CASES)
def test_frames(app, name):
    frames, expected = CASES[name]
    raw = Raw(app).send(*frames)
    assert raw.verdict() == expected
    if expected[0] == "connection":
        for _ in raw.frames():
            pass
        assert raw.ended, "the connection ends behind its GOAWAY"


def test_a_broken_stream_leaves_the_others_alone(app):
    raw = Raw(app).send(headers(1, GET + [("X-A", "b")]), headers(3))
    seen = {}
    for kind, _, stream, payload in raw.frames():
        if kind in (RST, HEADERS):
            seen[stream] = kind
        if len(seen) == 2:
            break
    assert seen == {1: RST, 3: HEADERS}


def test_a_preface_that_is_none_gets_no_http2(app):
    raw = Raw(app, preface=b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")
    assert raw.verdict() in (("connection", PROTOCOL), ("closed", 0))


def flood(app, frames):
    """Sends until the node has had enough; the verdict, None where the reset overtook it."""
    raw = Raw(app)
    raw.send(*frames)
    for kind, _, _, payload in raw.frames():
        if kind == GOAWAY:
            return int.from_bytes(payload[4:8], "big")
    return None


ATTACKS = {
    "rapid reset": lambda: [part for n in range(1, 4001, 2) for part in (headers(n), frame(RST, 0, n, b"\0\0\0\x08"))],
    "made you reset": lambda: [part for n in range(1, 4001, 2)
                               for part in (headers(n, POST, END_HEADERS), frame(WINDOW, 0, n, b"\x7f\xff\xff\xff"))],
    "settings": lambda: [frame(SETTINGS)] * 5000,
    "pings": lambda: [frame(PING, 0, 0, bytes(8))] * 5000,
    "priorities": lambda: [frame(PRIORITY, 0, 1, b"\0\0\0\0\x10")] * 5000,
    "empty data": lambda: [headers(1, POST, END_HEADERS)] + [frame(DATA, 0, 1)] * 5000,
    "windows": lambda: [headers(1, POST, END_HEADERS)] + [frame(WINDOW, 0, 1, b"\0\0\0\1")] * 5000,
    "continuations": lambda: [frame(HEADERS, 1, 1, block(GET))] + [frame(CONTINUATION, 0, 1, literal("a", "b"))] * 5000,
    "an hpack bomb": lambda: [frame(HEADERS, 1, 1, block(GET) + b"\x40\x01a\x7f\x81\x1e" + b"b" * 4000 + b"\xbe" * 10000)],
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_end_their_own_connection(app, name):
    neighbour = Raw(app)
    assert flood(app, ATTACKS[name]()) in (CALM, PROTOCOL, INTERNAL, None)
    assert neighbour.send(headers()).verdict() == ("status", 200)
