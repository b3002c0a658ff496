"""Machines from outside: suspend, several of them, limits, orders, readiness, ends and successors."""

import json
import os
import pwd
import signal
import stat
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from node import PYTHON, eventually

PORT_APP = "{folder}/fakes/wake_app --port=$PORT --log={work}/{name}.log"


def machines(node, app):
    return json.loads(node.command("machine", "list", "-a", app.name, "--json").stdout)


def state(node, app, index=0):
    return machines(node, app)[index]["state"]


def port_app(node, name="app", options="", **more):
    """wake_app at $PORT, so that several machines of it find a place."""
    command = PORT_APP.format(folder=node.folder, work=node.work, name=name) + " " + options
    return node.app(name, command, **more)


def script_app(node, name, text, interpreter="/bin/sh", **more):
    path = node.work / f"{name}.script"
    path.write_text(f"#!{interpreter}\n{text}")
    path.chmod(0o755)
    return node.app(name, str(path), **more)


def can_freeze():
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if " - cgroup2 " in line:
            return os.geteuid() == 0 and os.access(line.split()[4], os.W_OK)
    return False


# Suspend

@pytest.mark.skipif(not can_freeze(), reason="no writable cgroup2: this host can't freeze machines")
def test_an_idle_machine_is_suspended_and_a_request_resumes_it(make_node):
    node = make_node()
    app = node.wake_app(service='auto_stop_machines = "suspend"', rooster='idle_timeout = "1s"')
    node.start()
    assert app.request("/1").status == 200
    pid = int(app.log.lines("start")[0][0])
    eventually(lambda: state(node, app) == "suspended")
    assert app.log.count("signal") == 0
    freezer = [line.split("::")[1] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()
               if line.startswith("0::")][0]
    events = [root / freezer.lstrip("/") / "cgroup.events"
              for root in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))]
    assert any("frozen 1" in path.read_text() for path in events if path.exists())
    explained = node.command("explain", "app").stdout
    assert "app is asleep: idle for 1s" in explained, explained
    assert app.request("/2").status == 200
    assert app.log.count("start") == 1  # the same process went on
    assert app.log.count("bytes") == 2  # over a fresh connection
    eventually(lambda: state(node, app) == "suspended")
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: app.request(f"/{number}").status, range(20)))
    assert answers == [200] * 20 and app.log.count("start") == 1


@pytest.mark.skipif(not can_freeze(), reason="no writable cgroup2: this host can't freeze machines")
def test_a_suspended_machine_does_not_outlive_its_node(make_node):
    node = make_node()
    app = node.wake_app(service='auto_stop_machines = "suspend"', rooster='idle_timeout = "1s"')
    node.start()
    assert app.request("/").status == 200
    eventually(lambda: state(node, app) == "suspended")
    node.stop()  # asserts that nothing is left


@pytest.mark.skipif(not can_freeze(), reason="no writable cgroup2: this host can't freeze machines")
def test_a_suspended_machine_is_not_checked(make_node):
    node = make_node()
    app = node.wake_app(service='auto_stop_machines = "suspend"', rooster='idle_timeout = "1s"',
                        more='[[http_service.checks]]\npath = "/check"\ninterval = "1s"\ntimeout = "500ms"')
    node.start()
    assert app.request("/").status == 200
    eventually(lambda: state(node, app) == "suspended")
    time.sleep(1.5)
    assert "has failed" not in node.output()
    assert app.request("/again").status == 200


# Several machines

def test_a_second_machine_starts_when_the_first_is_at_its_soft_limit(make_node):
    node = make_node()
    app = port_app(node, options="--answer-ms=400", rooster="machines = { gru = 2 }",
                   more='[http_service.concurrency]\ntype = "requests"\nsoft_limit = 2\n')
    node.start()
    assert app.request("/first").status == 200
    assert app.log.count("start") == 1
    stop_at = time.monotonic() + 14
    statuses = []

    def ask(lane):
        while app.log.count("start") < 2 and time.monotonic() < stop_at:
            statuses.append(app.request(f"/{lane}").status)

    lanes = [threading.Thread(target=ask, args=(lane,)) for lane in range(5)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    assert app.log.count("start") == 2 and set(statuses) == {200}
    eventually(lambda: [one["state"] for one in machines(node, app)] == ["started", "started"])
    assert app.request("/after").status == 200


def test_hard_limit_queues_what_does_not_fit(make_node):
    node = make_node(workers=2)
    server = """
import http.server, os, threading, time
now, most, lock = 0, 0, threading.Lock()
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1
        body = str(most).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
"""
    app = script_app(node, "app", server, f"{PYTHON} -B",
                     more='[http_service.concurrency]\ntype = "requests"\nhard_limit = 1\nsoft_limit = 1')
    node.start()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: app.request(f"/{number}"), range(20)))
    assert [answer.status for answer in answers] == [200] * 20, answers
    assert app.request("/most").body == b"1"


def test_two_apps_on_one_internal_port_find_a_place_if_they_take_one(make_node):
    node = make_node()
    first = port_app(node, "first")
    command = f"{node.folder}/fakes/wake_app --port={{port}} --log={node.work}/second.log"
    second = node.app("second", command, port=first.port)
    node.start()
    assert first.request("/1").status == 200
    assert second.request("/2").status == 200
    assert [line[0] for line in first.log.lines("request")] == ["/1"]
    assert [line[0] for line in second.log.lines("request")] == ["/2"]


def test_an_app_whose_port_another_app_has_is_told_so(make_node):
    node = make_node()
    first = node.wake_app("first")
    second = node.wake_app("second", port=first.port)
    node.start()
    assert first.request("/1").status == 200
    refused = second.request("/2")
    assert (refused.status, refused.fault) == (503, "port_taken"), refused
    assert "used by machine" in node.command("explain", "second").stdout
    assert first.request("/3").status == 200
    assert second.log.count("start") == 0
    assert [line[0] for line in first.log.lines("request")] == ["/1", "/3"]


# Orders

def test_an_operator_starts_stops_and_cordons(make_node):
    node = make_node()
    app = node.wake_app()
    node.start()
    machine = machines(node, app)[0]["id"]
    node.command("machine", "start", machine)
    eventually(lambda: state(node, app) == "started")
    assert app.log.count("start") == 1 and app.log.count("request") == 0
    node.command("machine", "stop", machine)
    eventually(lambda: state(node, app) == "stopped")
    assert "stopped by an operator" in node.command("explain", "app").stdout
    assert app.request("/wakes").status == 200
    node.command("machine", "cordon", machine)
    eventually(lambda: machines(node, app)[0]["cordoned"])
    refused = app.request("/cordoned", timeout=10)
    assert refused.status == 503 and refused.fault, refused
    node.command("machine", "uncordon", machine)
    eventually(lambda: app.request("/again").status == 200)
    assert node.command("machine", "stop", "nonsense", check=False).returncode == 1


@pytest.mark.skipif(not can_freeze(), reason="no writable cgroup2: this host can't freeze machines")
def test_an_operator_suspends(make_node):
    node = make_node()
    app = node.wake_app()
    node.start()
    assert app.request("/1").status == 200
    machine = machines(node, app)[0]["id"]
    node.command("machine", "suspend", machine)
    eventually(lambda: state(node, app) == "suspended")
    assert app.request("/2").status == 200
    assert app.log.count("start") == 1


def test_explain_tells_an_idle_stop_from_an_end_of_its_own(make_node):
    node = make_node()
    idle = node.wake_app("idle", rooster='idle_timeout = "1s"')
    done = node.wake_app("done", "--exit-after=1")
    node.start()
    assert idle.request("/").status == 200 and done.request("/").status == 200
    eventually(lambda: state(node, idle) == "stopped" and state(node, done) == "stopped")
    explained = node.command("explain", "idle").stdout
    assert "idle is asleep: idle for 1s" in explained, explained
    explained = node.command("explain", "done").stdout
    assert "done is asleep: its process exited with code: 0" in explained, explained


def test_heroku_habits_are_expressible(make_node):
    node = make_node()
    app = port_app(node, rooster='idle_timeout = "30m"')
    node.start()
    assert app.request("/").status == 200
    assert "of 30m" in node.command("explain", "app").stdout


# Readiness

NOTIFY = """
import os, socket, sys, time
import http.server
def tell():
    name = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.sendto(b"STATUS=warm\\nREADY=1\\n", "\\0" + name[1:] if name[0] == "@" else name)
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer)
open(os.environ["WORK"] + "/socket", "w").write(os.environ["NOTIFY_SOCKET"] + "\\n")
while not os.path.exists(os.environ["WORK"] + "/warm"): time.sleep(0.01)
tell()
server.serve_forever()
"""


def test_ready_comes_by_notify_socket_and_only_from_the_machine_itself(make_node):
    node = make_node()
    app = script_app(node, "app", NOTIFY, f"{PYTHON} -B", rooster="notify = true",
                     more=f'[env]\nWORK = "{node.work}"')
    node.start()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(app.request, "/")
        name = eventually(lambda: (node.work / "socket").exists()
                          and (node.work / "socket").read_text().strip())
        forge = ("import socket,sys; n=sys.argv[1]; "
                 "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)"
                 ".sendto(b'READY=1', '\\0'+n[1:] if n[0]=='@' else n)")
        subprocess.run([PYTHON, "-c", forge, name], check=False, stderr=subprocess.DEVNULL)
        time.sleep(0.5)  # it listens, and a stranger says READY=1: neither counts
        assert not answer.done() and state(node, app) == "starting"
        (node.work / "warm").touch()
        assert answer.result(10).status == 200


def test_an_app_that_becomes_a_daemon_is_found_and_ended(make_node):
    """Its server is no descendant of the main process any more, nor of its session."""
    node = make_node()
    log = node.work / "app.log"
    server = f"{node.folder}/fakes/wake_app --port=$PORT --log={log} --ignore-signals"
    app = script_app(node, "app", f"(setsid {server} &)\nexec sleep 1000\n",
                     top='kill_timeout = "1s"', rooster='idle_timeout = "1s"')
    node.start()
    assert app.request("/").status == 200
    pid = int(app.log.lines("start")[0][0])
    assert Path(f"/proc/{pid}/stat").read_text().split()[3] != str(node.server_pid())
    eventually(lambda: not os.path.exists(f"/proc/{pid}"), 10, "the daemon is ended with its machine")
    assert app.request("/again").status == 200


def test_an_app_that_listens_on_another_address_is_told_so(make_node):
    node = make_node()
    text = 'import os, http.server as h\nh.HTTPServer(("127.0.0.9", int(os.environ["PORT"])), ' \
           "h.SimpleHTTPRequestHandler).serve_forever()"
    app = script_app(node, "app", text, f"{PYTHON} -B", rooster='wake_timeout = "2s"')
    node.start()
    answer = app.request("/")
    assert answer.fault == "listens_elsewhere", answer
    assert "127.0.0.9" in node.command("explain", "app").stdout


def test_an_address_of_our_own_is_refused_instead_of_going_round(make_node):
    node = make_node()
    node.app("circle", address="localhost", port=node.https)
    node.app("plain", address="127.0.0.1", port=node.http)
    node.start()
    for name in ("circle", "plain"):
        answer = node.request(f"{name}.app.dev", "/", timeout=10)
        assert (answer.status, answer.fault) == (503, "no_healthy_machine"), answer
        assert "a listener of this node" in node.command("explain", name).stdout
    assert node.metric("rooster_faults_total", fault="no_healthy_machine") == 2


# Successors

def test_a_successor_adopts_the_machines_of_a_killed_server(make_node):
    node = make_node(workers=2)
    app = node.wake_app(rooster='idle_timeout = "3s"')
    node.start()
    assert app.request("/1").status == 200
    before = node.server_pid()
    assert before != node.keeper_pid()
    os.kill(before, signal.SIGKILL)
    assert app.request("/2").status == 200  # the listening sockets outlive the server: nothing is refused
    assert node.server_pid() != before
    assert app.log.count("start") == 1
    eventually(lambda: app.log.count("exit") == 1, 10, "the adopted machine stops when idle")
    assert app.log.lines("signal") == [["2"]]
    assert app.request("/3").status == 200 and app.log.count("start") == 2


@pytest.mark.skipif(not can_freeze(), reason="no writable cgroup2: this host can't freeze machines")
def test_a_successor_resumes_a_suspended_machine(make_node):
    node = make_node()
    app = node.wake_app(service='auto_stop_machines = "suspend"', rooster='idle_timeout = "1s"')
    node.start()
    assert app.request("/1").status == 200
    eventually(lambda: state(node, app) == "suspended")
    os.kill(node.server_pid(), signal.SIGKILL)
    assert app.request("/2").status == 200
    assert app.log.count("start") == 1


def test_a_successor_kills_what_the_configuration_has_no_more(make_node):
    node = make_node()
    app = node.wake_app()
    other = node.wake_app("other")
    node.start()
    assert app.request("/1").status == 200 and other.request("/1").status == 200
    pid = int(other.log.lines("start")[0][0])
    other.file.unlink()
    os.kill(node.server_pid(), signal.SIGKILL)
    assert app.request("/2").status == 200
    eventually(lambda: not os.path.exists(f"/proc/{pid}"), 5)
    assert app.log.count("start") == 1


def test_the_next_start_sweeps_what_a_killed_keeper_left(make_node):
    node = make_node()
    log = node.work / "app.log"
    server = f"{node.folder}/fakes/wake_app --port=$PORT --log={log}"
    app = script_app(node, "app", f"(setsid {server} &)\nexec sleep 1000\n")
    node.start()
    assert app.request("/").status == 200
    daemon = int(app.log.lines("start")[0][0])
    os.kill(node.keeper_pid(), signal.SIGKILL)
    node.process.wait(5)
    eventually(lambda: not node_listens(node), 5, "the server went with its keeper")
    node.start()
    eventually(lambda: not os.path.exists(f"/proc/{daemon}"), 5, "the sweep ended the daemon")
    assert app.request("/").status == 200


def node_listens(node):
    try:
        return node.admin_get("/metrics")[0] == 200
    except OSError:
        return False


# A wake at the TLS hello

def test_a_hello_alone_wakes_only_an_app_that_says_so(make_node):
    node = make_node()
    eager = node.wake_app("eager", rooster='idle_timeout = "1s"\n[rooster.wake]\nsni_prewake = true')
    calm = node.wake_app("calm")
    node.start()
    for app in (eager, calm):
        node.connect(app.host).close()  # a handshake, and no request
    eventually(lambda: eager.log.count("listen") == 1)
    assert calm.log.count("start") == 0
    eventually(lambda: eager.log.count("exit") == 1, 10)
    assert "no request followed the TLS hello" in node.command("explain", "eager").stdout
    assert eager.request("/").status == 200


# Changes while machines run

def reload(node):
    done = node.reload()
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_changed_command_replaces_an_idle_machine_and_routes_leave_it(make_node):
    node = make_node()
    app = node.wake_app()
    node.start()
    assert app.request("/1").status == 200
    app.file.write_text(app.file.read_text() + 'hostnames = ["other.example"]\n')
    reload(node)
    assert node.request("app.app.dev", "/2").status == 200
    assert app.log.count("start") == 1 and app.log.count("signal") == 0
    app.file.write_text(app.file.read_text().replace("wake_app --port", "wake_app --close --port"))
    reload(node)
    eventually(lambda: app.log.count("exit") == 1, 10, "the stale machine is stopped once idle")
    assert app.request("/3").status == 200
    assert app.log.count("start") == 2


@pytest.mark.skipif(not can_freeze(), reason="no writable cgroup2: this host can't freeze machines")
def test_a_machine_suspended_under_an_old_command_is_started_anew(make_node):
    node = make_node()
    app = node.wake_app(service='auto_stop_machines = "suspend"', rooster='idle_timeout = "1s"')
    node.start()
    assert app.request("/1").status == 200
    eventually(lambda: state(node, app) == "suspended")
    pid = int(app.log.lines("start")[0][0])
    app.file.write_text(app.file.read_text().replace("wake_app --port", "wake_app --close --port"))
    reload(node)
    assert app.request("/2").status == 200
    assert app.log.count("start") == 2
    assert not os.path.exists(f"/proc/{pid}")


@pytest.mark.skipif(not can_freeze(), reason="no writable cgroup2: this host can't freeze machines")
def test_a_removed_app_takes_its_suspended_machine_along(make_node):
    node = make_node()
    app = node.wake_app(service='auto_stop_machines = "suspend"', rooster='idle_timeout = "1s"')
    node.wake_app("stays")
    node.start()
    assert app.request("/1").status == 200
    eventually(lambda: state(node, app) == "suspended")
    pid = int(app.log.lines("start")[0][0])
    app.file.unlink()
    reload(node)
    eventually(lambda: not os.path.exists(f"/proc/{pid}"), 5)
    assert app.request("/2").status == 404


def test_a_minimum_of_one_of_two_machines_holds(make_node):
    node = make_node()
    app = port_app(node, options="--answer-ms=300", service="min_machines_running = 1",
                   rooster='machines = { gru = 2 }\nidle_timeout = "1s"',
                   more='[http_service.concurrency]\ntype = "requests"\nsoft_limit = 1\n')
    node.start()
    eventually(lambda: app.log.count("listen") == 1)
    second = [one["id"] for one in machines(node, app) if one["state"] == "stopped"][0]
    node.command("machine", "start", second)
    eventually(lambda: app.log.count("listen") == 2)
    eventually(lambda: app.log.count("exit") == 1, 10, "the one above the minimum stops")
    time.sleep(2)
    assert app.log.count("exit") == 1
    assert sorted(one["state"] for one in machines(node, app)) == ["started", "stopped"]


def test_an_app_of_the_minimum_that_crashes_is_started_again(make_node):
    node = make_node()
    app = node.wake_app(service="min_machines_running = 1")
    node.start()
    eventually(lambda: app.log.count("listen") == 1)
    os.kill(int(app.log.lines("start")[0][0]), signal.SIGKILL)
    eventually(lambda: app.log.count("listen") == 2, 10)
    assert app.request("/").status == 200


def test_stop_takes_a_signal_and_a_timeout(make_node):
    node = make_node()
    app = node.wake_app(options="--ignore-signals", top='kill_timeout = "60s"')
    node.start()
    assert app.request("/").status == 200
    machine = machines(node, app)[0]["id"]
    assert node.command("machine", "stop", machine, "--signal", "SIGNONE", check=False).returncode == 1
    node.command("machine", "stop", machine, "--signal", "SIGTERM", "--timeout", "1")
    eventually(lambda: state(node, app) == "stopped", 8)
    assert app.log.lines("signal") == [["15"]]


# Output

def test_output_is_kept_in_a_file_that_logs_fall_back_to(make_node):
    node = make_node()
    server = f"{node.folder}/fakes/wake_app --port=$PORT --log={node.work}/app.log --exit-after=1"
    app = script_app(node, "app", f"echo hello from the script\n{server}\nprintf 'no end of line'\n")
    node.start()
    assert app.request("/").status == 200
    file = node.folder / "data" / "logs" / "app.log"
    eventually(lambda: file.exists() and "no end of line\n" in file.read_text())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    shown = node.command("logs", "-a", "app", "--no-tail").stdout
    assert "hello from the script" in shown and "no end of line" in shown
    node.stop()
    node.start()
    shown = node.command("logs", "-a", "app", "--no-tail").stdout
    assert "hello from the script" in shown and "no end of line" in shown, shown
    assert shown.count("hello from the script") == 1


def test_an_app_is_not_held_up_when_its_output_can_not_be_kept(make_node):
    node = make_node()
    (node.folder / "data" / "logs").write_text("in the way")
    app = script_app(node, "app", "head -c 20000000 /dev/zero | tr '\\0' x\n"
                     f"exec {node.folder}/fakes/wake_app --port=$PORT --log={node.work}/app.log\n")
    node.start()
    assert app.request("/", timeout=20).status == 200
    assert app.request("/again").status == 200


# Without root

@pytest.mark.skipif(os.geteuid() != 0, reason="the whole run is without root already")
def test_a_node_without_root_wakes_stops_and_leaves_nothing(make_node):
    node = make_node()
    log = node.work / "app.log"
    server = f"{node.folder}/fakes/wake_app --port=$PORT --log={log} --ignore-signals"
    app = script_app(node, "app", f"(setsid {server} &)\nexec sleep 1000\n",
                     service='auto_stop_machines = "suspend"', rooster='idle_timeout = "1s"',
                     top='kill_timeout = "1s"')
    node.run_as("nobody")
    node.start()
    assert app.request("/1").status == 200
    pid = int(app.log.lines("start")[0][0])
    assert os.stat(f"/proc/{pid}").st_uid == pwd.getpwnam("nobody").pw_uid
    # No cgroup to freeze: it is stopped, and its daemon with it.
    eventually(lambda: not os.path.exists(f"/proc/{pid}"), 10, "stopped instead of suspended")
    assert app.request("/2").status == 200
    before = node.server_pid()
    os.kill(before, signal.SIGKILL)
    assert app.request("/3").status == 200
    assert app.log.count("start") == 2
    # A killed keeper's daemon carries the mark by which the next start finds it.
    daemon = int(app.log.lines("start")[1][0])
    os.kill(node.keeper_pid(), signal.SIGKILL)
    node.process.wait(5)
    eventually(lambda: not node_listens(node), 5, "the server went with its keeper")
    node.start()
    eventually(lambda: not os.path.exists(f"/proc/{daemon}"), 5, "the sweep ended the daemon")
    assert app.request("/4").status == 200
