"""A node of the real binary in a folder of its own, and what tests ask of it.

    ROOSTER_BINARY   the program (default build/release/rooster)
    ROOSTER_FAKES    where wake_app and holder were built (default: beside it)
    ROOSTER_SCALE    scales the big tests (default 1)
    ROOSTER_SANITIZED  set where a sanitizer's own memory would be measured
"""

import http.client
import itertools
import json
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("ROOSTER_BINARY", ROOT / "build" / "release" / "rooster"))
FAKES = Path(os.environ.get("ROOSTER_FAKES", BINARY.parent))
SCALE = float(os.environ.get("ROOSTER_SCALE", "1"))
IS_SANITIZED = bool(os.environ.get("ROOSTER_SANITIZED"))
PYTHON = "/usr/bin/python3"

_candidates = itertools.count(20000 + (os.getpid() * 37) % 9000)


def free_port():
    """A port below the ephemeral range that nobody listens on; never the same one twice."""
    while True:
        port = next(_candidates)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


def eventually(condition, seconds=10.0, what="condition"):
    """The first true value of `condition()`, asked every 20 ms; fails loudly after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def process_tree(root):
    """{pid: start time} of `root` and its descendants."""
    parents, starts = {}, {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            fields = stat[stat.rindex(")") + 2:].split()
            parents.setdefault(int(fields[1]), []).append(int(entry))
            starts[int(entry)] = fields[19]
    tree, todo = {}, [root]
    while todo:
        pid = todo.pop()
        if pid in starts:
            tree[pid] = starts[pid]
        todo.extend(parents.get(pid, []))
    return tree


def is_same_process(pid, start):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    fields = stat[stat.rindex(")") + 2:].split()
    return fields[19] == start and fields[0] != "Z"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=10):
        super().__init__("admin", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class Response:
    """Status, headers (as a list and by lower-case name) and body of one answer."""

    def __init__(self, raw, body):
        self.status = raw.status
        self.fields = raw.getheaders()
        self.headers = {}
        for name, value in self.fields:
            self.headers.setdefault(name.lower(), value)
        self.body = body

    @property
    def fault(self):
        return self.headers.get("rooster-fault")

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} fault={self.fault} {self.body[:200]!r}>"


class WakeLog:
    """What wake_app wrote down about itself."""

    def __init__(self, path):
        self.path = path

    def lines(self, word):
        try:
            text = self.path.read_text()
        except FileNotFoundError:
            return []
        return [line.split()[1:] for line in text.splitlines() if line.split()[:1] == [word]]

    def count(self, word):
        return len(self.lines(word))


class App:
    def __init__(self, node, name, port):
        self.node, self.name, self.port = node, name, port
        self.host = f"{name}.app.dev"
        self.log = WakeLog(node.work / f"{name}.log")
        self.gate = node.work / f"{name}.gate"

    @property
    def file(self):
        return self.node.folder / "apps" / f"{self.name}.toml"

    def request(self, path="/", **options):
        return self.node.request(self.host, path, **options)


class Node:
    """One `rooster serve`. Write apps, start(), ask, stop(); stop() checks that it went cleanly."""

    def __init__(self, workers=1, settings="", listen="", environment=None, log_access=True):
        # Not below pytest's private folder: as root every app runs as a user of its own.
        self.folder = Path(tempfile.mkdtemp(prefix="rooster-test-"))
        self.folder.chmod(0o755)
        self.work = self.folder / "work"
        for name in ("apps", "work", "data", "fakes"):
            (self.folder / name).mkdir()
        self.work.chmod(0o777)
        for name in ("wake_app", "holder"):
            if (FAKES / name).exists():
                shutil.copy2(FAKES / name, self.folder / "fakes" / name)
        for path in (ROOT / "tests" / "fakes").glob("*.py"):
            shutil.copy2(path, self.folder / "fakes" / path.name)
        for path in (self.folder / "fakes").iterdir():
            path.chmod(0o755)
        self.http, self.https = free_port(), free_port()
        self.admin = self.folder / "admin.sock"
        self.access_log = self.folder / "access.log"
        self.environment = dict(os.environ, **(environment or {}))
        self.process = None
        self.limit_descriptors = None
        self.user = None
        access = f'access_log = "{self.access_log}"' if log_access else 'access_log = ""'
        (self.folder / "rooster.toml").write_text(f"""\
region = "gru"
domain = "app.dev"
apps = "apps"
data = "data"
workers = {workers}
{access}
{settings}
[listen]
http = ["127.0.0.1:{self.http}"]
https = ["127.0.0.1:{self.https}"]
admin = "unix:{self.admin}"
{listen}
""")

    # Apps

    def app(self, name, command=None, service="", rooster="", port=None, address=None, more="", top=""):
        """Writes apps/<name>.toml: a command for the process driver, or the address of something that runs."""
        app = App(self, name, port or free_port())
        lines = [f'app = "{name}"', 'primary_region = "gru"', top]
        if command is not None:
            lines += ["[processes]", f"app = '''{command}'''"]
        lines += ["[http_service]", f"internal_port = {app.port}"]
        if command is not None and "auto_stop_machines" not in service:
            lines.append('auto_stop_machines = "stop"')
        lines += [service, more, "[rooster]"]
        if address is not None:
            lines += ['driver = "address"', f'address = "{address}"']
        lines.append(rooster)
        app.file.write_text("\n".join(lines) + "\n")
        return app

    def wake_app(self, name="app", options="", **more):
        """An app that runs the wake_app fake, with its log in App.log and --gate={gate} for App.gate."""
        port = more.pop("port", None) or free_port()
        options = options.replace("{gate}", str(self.work / f"{name}.gate"))
        command = f"{self.folder}/fakes/wake_app --port={port} --log={self.work}/{name}.log {options}"
        return self.app(name, command, port=port, **more)

    def run_as(self, user):
        """Started by root: the node runs as `user`, who gets its folder."""
        entry = pwd.getpwnam(user)
        self.user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, entry.pw_uid, entry.pw_gid)

    # Life

    def start(self, seconds=20.0):
        def limits():
            import resource
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            if self.limit_descriptors:
                hard = self.limit_descriptors
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard), hard))

        with open(self.folder / "node.log", "ab") as log:
            self.process = subprocess.Popen(
                [str(BINARY), "serve", "-c", str(self.folder / "rooster.toml")], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, env=self.environment, preexec_fn=limits, cwd=self.folder,
                **(self.user or {}))
        eventually(self.is_ready, seconds, "the node is ready")
        return self

    def is_ready(self):
        assert self.process.poll() is None, f"the node ended with {self.process.returncode}:\n{self.output()}"
        try:
            with socket.create_connection(("127.0.0.1", self.https), timeout=1):
                return self.admin_get("/metrics")[0] == 200
        except OSError:
            return False

    def output(self):
        path = self.folder / "node.log"
        return path.read_text(errors="replace")[-6000:] if path.exists() else ""

    def pids(self):
        return process_tree(self.process.pid)

    def server_pid(self):
        """The process that has the threads: the one that holds the https listener's clients."""
        own = [pid for pid in self.pids() if Path(f"/proc/{pid}/comm").read_text().startswith("rooster")]
        return max(own, key=lambda pid: len(os.listdir(f"/proc/{pid}/task")))

    def keeper_pid(self):
        return self.process.pid

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, seconds=10.0):
        """SIGTERM; asserts exit status 0 and that nothing of the node is left."""
        tree = self.pids()
        self.signal(signal.SIGTERM)
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill_all(tree)
            raise AssertionError(f"the node did not stop within {seconds} s:\n{self.output()}") from None
        assert status == 0, f"the node ended with {status}:\n{self.output()}"
        eventually(lambda: not any(is_same_process(*item) for item in tree.items()), 5, "no process left")
        self.process = None

    def kill_all(self, tree=None):
        for pid, start in (tree or self.pids()).items():
            if is_same_process(pid, start):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)
        self.process = None

    def remove(self):
        if self.process is not None and self.process.poll() is None:
            self.kill_all()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Operator's side

    def admin_get(self, path, timeout=10):
        connection = UnixConnection(self.admin, timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def command(self, *arguments, check=True):
        done = subprocess.run([str(BINARY), *arguments, "-c", str(self.folder / "rooster.toml")],
                              capture_output=True, text=True, timeout=30)
        assert not check or done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def reload(self):
        return self.command("reload", check=False)

    def metric(self, name, **labels):
        """Sum of the series of this name that carry these labels."""
        total = 0.0
        for line in self.admin_get("/metrics")[1].splitlines():
            match = re.fullmatch(r"([a-z_]+)(?:\{(.*)\})? ([-+.\deE]+|\+Inf|NaN)", line)
            if match and match.group(1) == name:
                found = dict(re.findall(r'(\w+)="([^"]*)"', match.group(2) or ""))
                if all(found.get(key) == value for key, value in labels.items()):
                    total += float(match.group(3))
        return total

    def access_lines(self):
        text = self.access_log.read_text() if self.access_log.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def memory_kib(self):
        """Resident memory of the server process; 0 under a sanitizer, whose memory says nothing about ours."""
        if IS_SANITIZED:
            return 0
        status = Path(f"/proc/{self.server_pid()}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.server_pid()}/fd"))

    # Clients' side

    @property
    def ca(self):
        return self.folder / "data" / "tls" / "local-ca.pem"

    def tls_context(self, alpn=("http/1.1",)):
        context = ssl.create_default_context(cafile=str(self.ca))
        context.set_alpn_protocols(list(alpn))
        return context

    def connect(self, host, tls=True, timeout=15, source="127.0.0.1"):
        """A connected socket, with TLS verified against the local CA."""
        plain = socket.create_connection(("127.0.0.1", self.https if tls else self.http), timeout,
                                         (source, 0))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.tls_context().wrap_socket(plain, server_hostname=host) if tls else plain

    def request(self, host, path="/", method="GET", headers=None, body=None, tls=True, timeout=30):
        with self.connect(host, tls, timeout) as sock:
            connection = http.client.HTTPConnection(host)
            connection.sock = sock
            headers = {"Host": host, **(headers or {})}
            connection.request(method, path, body=body, headers=headers,
                               encode_chunked="Transfer-Encoding" in headers)
            raw = connection.getresponse()
            return Response(raw, raw.read())

    def holder(self, app, connections, **options):
        """The holder fake against this node; see tests/fakes/holder.cpp."""
        options = {"port": self.https, "tls": 1, "ca": self.ca, "host": app.host, "connections": connections,
                   **options}
        command = [str(self.folder / "fakes" / "holder")] + [f"--{k}={v}" for k, v in options.items()]
        return Holder(command)


class Holder:
    def __init__(self, command):
        # It ends with its connections open: a leak checker would end it before it has said its result.
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True,
                                        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})

    def wait_for(self, word):
        line = self.process.stdout.readline().strip()
        if line != word:
            raise AssertionError(f"holder said {line!r}: {self.process.communicate()[1]}")

    def go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def result(self):
        out, errors = self.process.communicate(timeout=180)
        result = json.loads(out.splitlines()[-1])
        result["failure"] = errors
        return result
