"""A WSGI app for gunicorn's sync worker. $LOG."""

import os


def note(line):
    with open(os.environ["LOG"], "a", encoding="utf-8") as log:
        log.write(line + "\n")


note(f"start {os.getpid()}")


def app(environ, start_response):
    note(f"request {environ['PATH_INFO']}")
    body = f"{environ['PATH_INFO']} 0\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
