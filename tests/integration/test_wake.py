"""A sleeping app is woken once, by its first request; everything that waits is answered."""

import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from node import PYTHON, eventually

KINDS = ("wake_app", "backlog_1", "stdlib", "uvicorn", "gunicorn")


def make_app(node, kind, **more):
    if kind == "wake_app":
        return node.wake_app(**more)
    if kind == "backlog_1":
        return node.wake_app(options="--backlog=1", **more)
    fakes = node.folder / "fakes"
    command = {
        "stdlib": f"{PYTHON} -B {fakes}/stdlib_app.py",
        "uvicorn": f"{PYTHON} -B -m uvicorn fastapi_app:app --host 127.0.0.1 --port $PORT --proxy-headers",
        "gunicorn": f"{PYTHON} -B -m gunicorn.app.wsgiapp --bind 127.0.0.1:$PORT wsgi_app:app",
    }[kind].replace("$PORT", "@PORT@")
    rooster = f'directory = "{fakes}"\n' + more.pop("rooster", "")
    app = node.app("app", command, rooster=rooster, more=f'[env]\nLOG = "{node.work}/app.log"', **more)
    app.file.write_text(app.file.read_text().replace("@PORT@", str(app.port)))
    return app


@pytest.mark.parametrize("kind", KINDS)
def test_forty_concurrent_requests_cause_one_start(make_node, kind):
    node = make_node()
    app = make_app(node, kind)
    node.start()
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda number: app.request(f"/r/{number}"), range(40)))
    assert [answer.status for answer in answers] == [200] * 40, answers[0]
    assert [answer.body for answer in answers] == [f"/r/{number} 0\n".encode() for number in range(40)]
    assert app.log.count("start") == 1
    assert sorted(line[0] for line in app.log.lines("request")) == sorted(f"/r/{n}" for n in range(40))
    assert node.metric("rooster_starts_total", app="app") == 1
    assert node.metric("rooster_wakes_total", app="app") == 1


def test_woken_response_tells_its_timeline(make_node):
    node = make_node()
    app = node.wake_app(options="--delay-ms=100")
    node.start()
    timing = app.request("/").headers["server-timing"]
    steps = {part.strip().split(";")[0]: float(part.split("dur=")[1]) for part in timing.split(",")}
    assert set(steps) >= {"queue", "start", "ready", "first-byte"}
    assert steps["ready"] >= 90 or sum(steps.values()) >= 90, timing
    assert "server-timing" not in app.request("/").headers
    line = eventually(lambda: [entry for entry in node.access_lines() if entry.get("status") == 200])[0]
    assert "wake" in line, line


@pytest.mark.parametrize("chunked", (False, True))
def test_a_mebibyte_posted_to_a_sleeping_app_arrives_byte_for_byte(make_node, chunked):
    node = make_node()
    app = node.wake_app(options="--gate={gate}")
    node.start()
    body = os.urandom(1024 * 1024)
    pieces = (body[at:at + 5000] for at in range(0, len(body), 5000)) if chunked else body
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(app.request, "/post", method="POST", body=pieces,
                             headers={"Transfer-Encoding": "chunked"} if chunked else {})
        eventually(lambda: node.metric("rooster_waiting") == 1)
        assert app.log.count("bytes") == 0
        # Contract 3: no more than what came with the head is held.
        assert node.metric("rooster_waiting_bytes") <= 64 * 1024
        app.gate.touch()
        assert answer.result().status == 200
    assert app.log.lines("request") == [["/post", str(len(body)), hashlib.sha256(body).hexdigest()]]


def test_a_client_that_leaves_stops_counting_and_never_reaches_the_app(make_node):
    node = make_node()
    app = node.wake_app(options="--gate={gate}")
    node.start()
    leaver = node.connect(app.host)
    leaver.sendall(f"GET /left HTTP/1.1\r\nHost: {app.host}\r\n\r\n".encode())
    eventually(lambda: node.metric("rooster_waiting") == 1)
    leaver.close()
    eventually(lambda: node.metric("rooster_waiting") == 0, 3)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(app.request, "/stayed")
        eventually(lambda: node.metric("rooster_waiting") == 1)
        app.gate.touch()
        assert answer.result().status == 200
    assert [line[0] for line in app.log.lines("request")] == ["/stayed"]


def test_an_idle_machine_stops_and_wakes_again(make_node):
    node = make_node()
    app = node.wake_app(rooster='idle_timeout = "1s"')
    node.start()
    assert app.request("/1").status == 200
    began = time.monotonic()
    eventually(lambda: app.log.count("exit") == 1, 10, "stopped when idle")
    assert time.monotonic() - began > 0.8
    assert app.log.lines("signal") == [["2"]]  # kill_signal's default, SIGINT
    assert app.request("/2").status == 200
    assert app.log.count("start") == 2
    eventually(lambda: node.metric("rooster_stops_total", app="app") >= 1)


def test_requests_while_stopping_wait_for_the_stop_and_a_new_start(make_node):
    node = make_node()
    app = node.wake_app(options="--stop-ms=1500", rooster='idle_timeout = "1s"', top='kill_timeout = "10s"')
    node.start()
    assert app.request("/first").status == 200
    eventually(lambda: app.log.count("signal") == 1)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: app.request(f"/{number}").status, range(20)))
    assert answers == [200] * 20
    assert app.log.count("start") == 2
    assert app.log.path.read_text().index("exit") < app.log.path.read_text().rindex("start")


def test_kill_timeout_ends_an_app_that_ignores_its_signal(make_node):
    node = make_node()
    app = node.wake_app(options="--ignore-signals", rooster='idle_timeout = "1s"',
                        top='kill_signal = "SIGTERM"\nkill_timeout = "1s"')
    node.start()
    assert app.request("/").status == 200
    pid = int(app.log.lines("start")[0][0])
    eventually(lambda: app.log.count("signal") == 1)
    assert app.log.lines("signal") == [["15"]]
    eventually(lambda: not os.path.exists(f"/proc/{pid}"), 5, "killed")
    assert app.request("/again").status == 200


def test_a_slow_download_keeps_its_machine_awake(make_node):
    node = make_node()
    app = make_app(node, "uvicorn", rooster='idle_timeout = "1s"')
    node.start()
    answer = app.request("/drip?pieces=10&pause=0.35")
    assert answer.body == b"".join(b"%d\n" % number for number in range(10))
    assert app.log.count("exit") == 0
    eventually(lambda: app.log.count("exit") == 1, 10, "stopped afterwards")


def test_an_idle_client_connection_does_not_keep_a_machine_awake(make_node):
    node = make_node()
    app = node.wake_app(rooster='idle_timeout = "1s"')
    node.start()
    client = node.connect(app.host)
    client.sendall(f"GET / HTTP/1.1\r\nHost: {app.host}\r\n\r\n".encode())
    assert client.recv(4096).startswith(b"HTTP/1.1 200")
    eventually(lambda: app.log.count("exit") == 1, 10)
    client.sendall(f"GET /again HTTP/1.1\r\nHost: {app.host}\r\n\r\n".encode())
    assert client.recv(4096).startswith(b"HTTP/1.1 200")
    client.close()


def test_min_machines_running_starts_without_a_request_and_stays(make_node):
    node = make_node()
    app = node.wake_app(service="min_machines_running = 1", rooster='idle_timeout = "1s"')
    node.start()
    eventually(lambda: app.log.count("listen") == 1)
    assert app.request("/").status == 200
    time.sleep(2.5)
    assert app.log.count("signal") == 0


def test_wake_policy_refuses_what_may_not_wake(make_node):
    node = make_node()
    app = node.wake_app(rooster='[rooster.wake]\ndeny_paths = ["/wp-*"]\ndeny_user_agents = ["*bot*"]\n'
                                'allow_methods = ["GET", "POST"]')
    node.start()
    for refused in (app.request("/wp-login.php"), app.request("/", headers={"User-Agent": "GoogleBot/2"}),
                    app.request("/", method="HEAD")):
        assert refused.status == 503
        assert refused.fault == "wake_policy"
    assert app.log.count("start") == 0
    assert app.request("/").status == 200
    assert app.request("/wp-login.php").status == 200  # awake: the policy is about waking alone


def test_no_stop_ever_hits_a_request(make_node):
    """Requests at intervals around idle_timeout: the reaper and arrivals race, nobody loses."""
    node = make_node(workers=2)
    app = node.wake_app(rooster='idle_timeout = "1s"')
    node.start()
    failed = []

    def ask(lane):
        for number in range(10):
            time.sleep(0.95 + 0.02 * ((number * 7 + lane * 3) % 8))
            answer = app.request(f"/{lane}/{number}")
            if answer.status != 200:
                failed.append(answer)

    lanes = [threading.Thread(target=ask, args=(lane,)) for lane in range(2)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    assert not failed, failed[:3]
    assert app.log.count("request") == 20


def test_framework_builds_https_urls(make_node):
    node = make_node()
    app = make_app(node, "uvicorn", service="force_https = true")
    node.start()
    where = app.request("/where").json()
    assert where["url"] == f"https://{app.host}/where", where
    assert app.request("/away").headers["location"].startswith("https://")
    assert b"openapi" in app.request("/docs").body
