"""http_options.compress with real clients: curl decodes what the proxy coded."""

import gzip
import http.client
import subprocess
import zlib

import pytest

from recorder import answer

PAGE = "".join(f"<p>paragraph {i} of a page</p>\n" for i in range(4000)).encode()
COMPRESS = "[http_service.http_options]\ncompress = true\n"


def page(request, _channel):
    return answer(body=PAGE, fields=[("Content-Type", "text/html; charset=utf-8"), ("ETag", '"v1"')])


def curl(app, *arguments):
    got = subprocess.run(["curl", "-sk", "--max-time", "20", "--resolve",
                          f"{app.host}:{app.node.https}:127.0.0.1", *arguments,
                          f"https://{app.host}:{app.node.https}/"], capture_output=True, check=True)
    return got.stdout


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_curl_reads_what_it_asked_for(site, coding, tmp_path):
    app, _ = site(page, more=COMPRESS)
    coded = curl(app, "-H", f"Accept-Encoding: {coding}", "-D", str(tmp_path / "head"))
    head = (tmp_path / "head").read_text().lower()
    assert f"content-encoding: {coding}" in head
    assert "vary: accept-encoding" in head
    assert 'etag: w/"v1"' in head
    assert len(coded) < len(PAGE) / 5
    if coding == "gzip":
        assert gzip.decompress(coded) == PAGE
    else:
        program = {"br": ["brotli", "-dc"], "zstd": ["zstd", "-dcq"]}[coding]
        assert subprocess.run(program, input=coded, capture_output=True, check=True).stdout == PAGE


def test_without_the_option_nothing_changes(site):
    app, _ = site(page)
    got = app.request("/", headers={"Accept-Encoding": "gzip, br, zstd"})
    assert got.body == PAGE
    assert "content-encoding" not in got.headers and "vary" not in got.headers
    assert got.headers["etag"] == '"v1"'


def test_a_client_that_takes_no_coding_gets_the_page(site):
    app, _ = site(page, more=COMPRESS)
    got = app.request("/")
    assert got.body == PAGE and got.headers["content-length"] == str(len(PAGE))
    assert got.headers["vary"] == "Accept-Encoding"


def stream(content_type):
    """Answers piece by piece; the next piece only once the test has seen the one before."""
    import threading
    seen = threading.Semaphore(0)

    def respond(request, channel):
        channel.send(answer(fields=[("Content-Type", content_type), ("Transfer-Encoding", "chunked")],
                            length=False))
        for number in range(5):
            piece = f"data: {number}\n\n".encode()
            channel.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            if not seen.acquire(timeout=10):
                return None
        return b"0\r\n\r\n"

    return respond, seen


@pytest.mark.parametrize("content_type", ["text/event-stream", "text/plain"])
def test_what_the_app_has_sent_arrives_before_it_goes_on(site, content_type):
    respond, seen = stream(content_type)
    app, _ = site(respond, more=COMPRESS)
    connection = http.client.HTTPConnection("127.0.0.1", app.node.http, timeout=10)
    connection.request("GET", "/", headers={"Host": app.host, "Accept-Encoding": "gzip"})
    response = connection.getresponse()
    coded = response.getheader("Content-Encoding") == "gzip"
    assert coded == (content_type == "text/plain")
    decoder = zlib.decompressobj(31)
    text = b""
    for number in range(5):
        while not text.endswith(f"data: {number}\n\n".encode()):
            piece = response.read1(65536)
            assert piece
            text += decoder.decompress(piece) if coded else piece
        seen.release()
    rest = response.read()
    assert coded or rest == b""
    assert text == b"".join(f"data: {number}\n\n".encode() for number in range(5))
    connection.close()
