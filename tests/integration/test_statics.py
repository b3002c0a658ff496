"""[[statics]]: files that are served while the app sleeps."""

import os

from node import eventually

STATICS = """
[[statics]]
guest_path = "public"
url_prefix = "/static"
index_document = "index.html"
"""


def site_with_files(make_node, more=""):
    node = make_node()
    app = node.wake_app("app", more=more, rooster=f'directory = "{node.folder}/site"', top="")
    app.file.write_text(app.file.read_text() + STATICS)
    public = node.folder / "site" / "public"
    public.mkdir(parents=True)
    for path in (public.parent, public):
        os.chmod(path, 0o755)
    (public / "a.txt").write_text("hello from a file\n")
    (public / "index.html").write_text("<h1>index</h1>")
    (public / "large.bin").write_bytes(bytes(range(256)) * 20000)
    (public / ".env").write_text("SECRET=1")
    os.symlink("/etc/passwd", public / "passwd")
    node.start()
    return app, public


def test_files_come_while_the_app_sleeps(make_node):
    app, public = site_with_files(make_node)
    got = app.request("/static/a.txt")
    assert (got.status, got.body) == (200, b"hello from a file\n")
    assert got.headers["content-type"] == "text/plain; charset=utf-8"
    again = app.request("/static/a.txt", headers={"If-None-Match": got.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert app.request("/static/").body == b"<h1>index</h1>"
    large = app.request("/static/large.bin")
    assert large.body == (public / "large.bin").read_bytes()
    part = app.request("/static/large.bin", headers={"Range": "bytes=255-257"})
    assert (part.status, part.body) == (206, b"\xff\x00\x01")
    assert app.log.count("start") == 0


def test_a_changed_file_shows(make_node):
    app, public = site_with_files(make_node)
    assert app.request("/static/a.txt").body == b"hello from a file\n"
    (public / "new").write_text("another text")
    os.replace(public / "new", public / "a.txt")
    eventually(lambda: app.request("/static/a.txt").body == b"another text", what="the new text")


def test_what_is_hidden_or_leads_out_is_the_apps_to_answer(make_node):
    app, _ = site_with_files(make_node)
    for path in ("/static/.env", "/static/passwd", "/static/none", "/static/%2e%2e/x"):
        got = app.request(path)
        assert b"SECRET" not in got.body and b"root:" not in got.body, path
    assert app.log.count("start") == 1
