"""Apps that can't serve: each a clear status, reason and hint in time, and the others are served meanwhile."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from node import PYTHON, eventually, free_port

WAKE = 'wake_timeout = "3s"'


def never_ready(node):
    node.wake_app("bad", "--never", rooster=WAKE)


def crashes(node):
    node.wake_app("bad", "--crash=3", rooster=WAKE)


def crashes_late(node):
    node.wake_app("bad", "--delay-ms=300 --crash=1", rooster=WAKE)


def no_such_command(node):
    node.app("bad", "/no/such/program --port 1", rooster=WAKE)


def not_executable(node):
    program = node.folder / "program"
    program.write_text("#!/bin/sh\nsleep 100\n")
    program.chmod(0o644)
    node.app("bad", str(program), rooster=WAKE)


def wrong_port(node):
    app = node.wake_app("bad", rooster=WAKE)
    app.file.write_text(app.file.read_text().replace(f"internal_port = {app.port}",
                                                     f"internal_port = {free_port()}"))


def nothing_to_start(node):
    node.app("bad", None, rooster=WAKE)


def autostart_off(node):
    node.wake_app("bad", service='auto_start_machines = false', rooster=WAKE)


CASES = {
    never_ready: (504, "wake_timeout"),
    crashes: (503, "exited_before_ready"),
    crashes_late: (503, "exited_before_ready"),
    no_such_command: (503, "exec_failed"),
    not_executable: (503, "exec_failed"),
    wrong_port: (503, "listens_elsewhere"),
    nothing_to_start: (503, "not_wakeable"),
    autostart_off: (503, "autostart_off"),
}


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_a_bad_app_gets_a_clear_answer_and_others_are_served(make_node, make):
    status, fault = CASES[make]
    node = make_node()
    make(node)
    good = node.wake_app("good")
    node.start()
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        bad = pool.submit(node.request, "bad.app.dev", "/", headers={"Accept": "application/json"})
        for number in range(10):
            assert good.request(f"/{number}").status == 200
        answer = bad.result()
    assert time.monotonic() - began < 3 + 2
    assert (answer.status, answer.fault) == (status, fault), f"{answer}\n{node.output()}"
    told = answer.json()
    assert told["error"] == fault and told["message"]
    if status == 503 and fault not in ("not_wakeable", "autostart_off"):
        assert int(answer.headers["retry-after"]) >= 1
    line = eventually(lambda: [entry for entry in node.access_lines() if entry.get("app") == "bad"])[0]
    assert (line["status"], line["fault"]) == (status, fault)
    assert node.metric("rooster_faults_total", fault=fault) >= 1


def test_an_app_whose_port_another_holds_is_not_mistaken_for_it(make_node):
    node = make_node()
    app = node.wake_app("bad", rooster=WAKE)
    with socket.create_server(("127.0.0.1", app.port)) as other:
        other.settimeout(0)
        node.start()
        answer = app.request("/secret")
        assert (answer.status, answer.fault) == (503, "port_taken"), answer
        # Nobody's request went to the stranger (a connection without a byte might be a probe).
        try:
            stranger, _ = other.accept()
            stranger.settimeout(0.2)
            assert stranger.recv(100) == b""
        except (BlockingIOError, TimeoutError):
            pass


def test_after_a_failed_start_requests_are_refused_at_once_until_the_backoff_ends(make_node):
    node = make_node()
    app = node.wake_app("bad", "--crash=1", rooster=WAKE)
    node.start()
    assert app.request("/").status == 503
    starts = app.log.count("start")
    began = time.monotonic()
    again = app.request("/")
    assert time.monotonic() - began < 0.5
    assert (again.status, again.fault) == (503, "wake_backoff"), again
    wait = int(again.headers["retry-after"])
    assert 1 <= wait <= 60
    assert app.log.count("start") == starts
    time.sleep(wait + 0.2)
    assert app.request("/").fault in ("exited_before_ready", "wake_backoff")
    assert app.log.count("start") > starts


def test_a_mended_app_is_served_after_a_reload(make_node):
    node = make_node()
    app = node.wake_app("bad", "--crash=1", rooster=WAKE)
    node.start()
    assert app.request("/").status == 503
    app.file.write_text(app.file.read_text().replace("--crash=1", ""))
    node.reload()
    assert app.request("/").status == 200


def test_the_last_lines_of_a_crashed_app_are_in_the_log(make_node):
    node = make_node()
    app = node.app("bad", f"{PYTHON} -c \"raise SystemExit('no database at all')\"", rooster=WAKE)
    node.start()
    assert app.request("/").status == 503
    eventually(lambda: "no database at all" in node.output() + node.command("logs", "-a", "bad").stdout)


@pytest.mark.parametrize("accept,kind", (("text/html,*/*;q=0.8", "text/html"),
                                         ("application/json", "application/json")))
def test_error_pages_are_html_or_json_as_asked(make_node, accept, kind):
    node = make_node()
    node.app("bad", None)
    node.start()
    answer = node.request("bad.app.dev", "/<script>", headers={"Accept": accept})
    assert answer.status == 503
    assert answer.headers["content-type"].startswith(kind)
    assert answer.headers["fly-request-id"].encode() in answer.body
    assert b"<script>" not in answer.body
    assert b"not_wakeable" in answer.body
