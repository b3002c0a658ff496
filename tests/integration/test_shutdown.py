"""Ends: SIGTERM drains, and whatever is killed leaves nothing behind."""

import http.client
import os
import signal
import socket
import subprocess
import threading
import time

from node import BINARY, eventually, is_same_process, process_tree
from recorder import answer


def test_sigterm_lets_requests_end_and_takes_no_new_ones(site):
    let_go = threading.Event()

    def respond(request, _):
        if request.target == "/slow":
            let_go.wait(10)
        return answer(body=b"whole")

    app, origin = site(respond)
    got = []
    asker = threading.Thread(target=lambda: got.append(app.request("/slow")))
    asker.start()
    eventually(lambda: "/slow" in origin.targets())
    idle = app.node.connect(app.host)
    app.node.signal(signal.SIGTERM)
    eventually(lambda: refuses(app.node), 5, "new connections are refused")
    idle.settimeout(5)
    assert idle.recv(100) == b""  # an idle keep-alive connection is closed
    assert app.node.process.poll() is None
    let_go.set()
    asker.join(10)
    assert got[0].status == 200 and got[0].body == b"whole"
    assert app.node.process.wait(10) == 0


def refuses(node):
    try:
        socket.create_connection(("127.0.0.1", node.https), 1).close()
    except OSError:
        return True
    return False


def test_sigterm_answers_waiters_and_stops_machines(make_node):
    node = make_node()
    app = node.wake_app(options="--gate={gate}")
    awake = node.wake_app("awake")
    node.start()
    assert awake.request("/").status == 200
    got = []
    waiter = threading.Thread(target=lambda: got.append(app.request("/waits")))
    waiter.start()
    eventually(lambda: node.metric("rooster_waiting") == 1)
    node.stop()
    waiter.join(5)
    assert (got[0].status, got[0].fault) == (503, "draining"), got
    assert awake.log.lines("signal") == [["2"]] and awake.log.count("exit") == 1


def ask_and_be_cut(app):
    try:
        app.request("/slow")
    except (OSError, http.client.HTTPException):
        pass


def test_a_second_sigterm_ends_at_once(site):
    app, origin = site(lambda request, _: time.sleep(20))
    asker = threading.Thread(target=ask_and_be_cut, args=(app,))
    asker.start()
    eventually(lambda: origin.targets() == ["/slow"])
    app.node.signal(signal.SIGTERM)
    time.sleep(0.3)
    assert app.node.process.poll() is None
    app.node.signal(signal.SIGTERM)
    app.node.process.wait(5)
    asker.join(5)


def test_an_app_killed_mid_request_is_a_502_and_is_woken_by_the_next(make_node):
    node = make_node()
    app = node.wake_app(options="--answer-ms=2000")
    node.start()
    got = []
    asker = threading.Thread(target=lambda: got.append(app.request("/dies", method="POST", body=b"x")))
    asker.start()
    eventually(lambda: app.log.count("request") == 1)
    os.kill(int(app.log.lines("start")[0][0]), signal.SIGKILL)
    asker.join(10)
    assert got[0].status == 502 and got[0].fault in ("app_exited", "upstream_reset"), got
    assert app.request("/again").status == 200
    assert app.log.count("start") == 2
    assert [line[0] for line in app.log.lines("request")] == ["/dies", "/again"]  # the POST was not sent again


def test_an_app_leaves_no_children_behind(make_node):
    node = make_node()
    script = node.work / "family.sh"
    script.write_text(f"#!/bin/sh\nsleep 1000 &\nsetsid sleep 1000 &\necho $! >{node.work}/child\n"
                      f"exec {node.folder}/fakes/wake_app --port=$PORT --log={node.work}/app.log\n")
    script.chmod(0o755)
    app = node.app("app", str(script), rooster='idle_timeout = "1s"')
    node.start()
    assert app.request("/").status == 200
    child = int((node.work / "child").read_text())
    eventually(lambda: app.log.count("exit") == 1)
    eventually(lambda: not os.path.exists(f"/proc/{child}"), 8, "the app's children are gone too")


def test_killing_the_keeper_ends_everything(make_node):
    node = make_node()
    app = node.wake_app()
    node.start()
    assert app.request("/").status == 200
    tree = node.pids()
    assert len(tree) >= 3
    os.kill(node.keeper_pid(), signal.SIGKILL)
    eventually(lambda: not any(is_same_process(*item) for item in tree.items()), 15, "nothing is left")
    node.process.wait(5)
    node.process = None


def test_a_node_starts_again_after_it_was_killed(make_node):
    node = make_node()
    app = node.wake_app()
    node.start()
    assert app.request("/").status == 200
    tree = node.pids()
    for pid in tree:
        if pid in (node.keeper_pid(), node.server_pid()):
            os.kill(pid, signal.SIGKILL)
    node.process.wait(5)
    eventually(lambda: not any(is_same_process(*item) for item in tree.items()), 15, "the app is gone")
    node.start()
    assert app.request("/").status == 200
    assert node.metric("rooster_starts_total", app="app") == 1


def test_a_second_node_on_the_same_data_is_refused_and_says_why(make_node, make_origin):
    node = make_node()
    node.app("app", address="127.0.0.1", port=make_origin().port)
    node.start()
    second = subprocess.run([str(BINARY), "serve", "-c", str(node.folder / "rooster.toml")],
                            capture_output=True, text=True, timeout=20)
    assert second.returncode == 1
    assert "another rooster runs" in second.stderr
    assert node.is_ready()


def test_descriptors_and_processes_return_to_where_they_began(make_node):
    node = make_node()
    app = node.wake_app(rooster='idle_timeout = "1s"')
    node.start()
    assert app.request("/").status == 200
    eventually(lambda: app.log.count("exit") == 1)
    time.sleep(0.5)
    descriptors, processes = node.descriptors(), len(process_tree(node.process.pid))
    keeper = len(os.listdir(f"/proc/{node.keeper_pid()}/fd"))
    for round_number in range(2, 5):
        for number in range(20):
            assert app.request(f"/{number}").status == 200
        eventually(lambda n=round_number: app.log.count("exit") == n)
    eventually(lambda: node.descriptors() <= descriptors + 1, 8, "descriptors are given back")
    assert len(os.listdir(f"/proc/{node.keeper_pid()}/fd")) <= keeper + 1
    assert len(process_tree(node.process.pid)) == processes
