"""What bench/run and bench/wake.py share: certificates, servers as process trees, their CPU time and memory."""

import http.client
import itertools
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

BENCH = Path(__file__).resolve().parent
HOST = "bench.app.dev"


_candidates = itertools.count(18000 + os.getpid() % 4000)


def free_ports(count):
    """Ports that nobody listens on now, below the ephemeral range; never the same one twice."""
    ports = []
    while len(ports) < count:
        port = next(_candidates)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                ports.append(port)
    return ports


def make_certificates(folder):
    """Root, intermediate and leaf on P-256; returns the paths every server is given."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    def key(name):
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")

    def sign(name, by, extension):
        (folder / f"{name}.ext").write_text(extension)
        openssl("req", "-new", "-key", f"{name}.key", "-subj", f"/CN={name}", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{by}.pem", "-CAkey", f"{by}.key",
                "-CAcreateserial", "-days", "30", "-extfile", f"{name}.ext", "-out", f"{name}.pem")

    for name in ("root", "intermediate", "leaf"):
        key(name)
    openssl("req", "-new", "-x509", "-key", "root.key", "-subj", "/CN=bench root", "-days", "30",
            "-out", "root.pem")
    sign("intermediate", "root", "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n")
    sign("leaf", "intermediate", f"subjectAltName=DNS:{HOST},DNS:*.app.dev\n")
    chain = (folder / "leaf.pem").read_text() + (folder / "intermediate.pem").read_text()
    (folder / "chain.pem").write_text(chain)
    (folder / "both.pem").write_text(chain + (folder / "leaf.key").read_text())
    return {"CERT": str(folder / "chain.pem"), "KEY": str(folder / "leaf.key"),
            "PEM": str(folder / "both.pem"), "CA": str(folder / "root.pem")}


def process_tree(root):
    """`root` and all its descendants, by parent pid."""
    children = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = Path("/proc", entry, "stat").read_text()
        except OSError:
            continue
        children.setdefault(int(stat[stat.rindex(")") + 2:].split()[1]), []).append(int(entry))
    tree, todo = [], [root]
    while todo:
        pid = todo.pop()
        tree.append(pid)
        todo.extend(children.get(pid, []))
    return tree


def cpu_seconds(pids):
    """User and system time of all threads of `pids`, from schedstat (nanoseconds, not ticks)."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            total += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
    return total / 1e9


def pss_kib(pids):
    """Proportional set size of `pids`: what is theirs, and their share of what is shared."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


def pin(cores):
    """A preexec function: onto `cores`, first in line, with all descriptors allowed."""

    def prepare():
        import resource
        os.sched_setaffinity(0, cores)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if os.geteuid() == 0:
            os.setpriority(os.PRIO_PROCESS, 0, -20)

    return prepare


class Server:
    """One proxy under test, started from its template in bench/peers."""

    BINARIES = {"nginx": "nginx", "haproxy": "haproxy"}

    def __init__(self, name, folder, build, fields, cores):
        self.name, self.folder, self.cores = name, folder / name, cores
        self.http, self.https = free_ports(2)
        self.binary = shutil.which(self.BINARIES.get(name, ""), path="/usr/sbin:/usr/bin")
        if name == "rooster" and os.access(build / "rooster", os.X_OK):
            self.binary = str(build / "rooster")
        self.fields = dict(fields, DIR=str(self.folder), HTTP=self.http, HTTPS=self.https)
        self.process = None

    def version(self):
        arguments = {"nginx": "-v", "haproxy": "-v", "rooster": "version"}[self.name]
        done = subprocess.run([self.binary, arguments], capture_output=True, text=True)
        return (done.stdout + done.stderr).strip().splitlines()[0] if done.stdout + done.stderr else "?"

    def _fill(self, template, to):
        text = (BENCH / "peers" / template).read_text()
        for key, value in self.fields.items():
            text = text.replace(f"@{key}@", str(value))
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(text)
        return str(to)

    def _command(self):
        if self.name == "nginx":
            return [self.binary, "-c", self._fill("nginx.conf", self.folder / "nginx.conf")]
        if self.name == "haproxy":
            return [self.binary, "-db", "-f", self._fill("haproxy.cfg", self.folder / "haproxy.cfg")]
        self._fill("bench.toml", self.folder / "apps" / "bench.toml")
        return [self.binary, "serve", "-c", self._fill("rooster.toml", self.folder / "rooster.toml")]

    def start(self):
        command = self._command()
        with open(self.folder / f"{self.name}.out", "ab") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            preexec_fn=pin(self.cores))
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=2)
                connection.request("GET", "/small", headers={"Host": HOST})
                if connection.getresponse().status == 200:
                    return
            except OSError:
                time.sleep(0.02)
        output = (self.folder / f"{self.name}.out").read_text(errors="replace")[-2000:]
        self.stop()
        raise RuntimeError(f"{self.name} did not start:\n{output}")

    def pids(self):
        return process_tree(self.process.pid)

    def stop(self):
        if self.process is None:
            return
        tree = self.pids() if self.process.poll() is None else []
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            for pid in tree:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.wait()
        self.process = None


class Origin:
    """bench_origin and its own count of what it served."""

    def __init__(self, build, port, cores):
        self.port = port
        self.process = subprocess.Popen([str(build / "bench_origin"), f"--port={port}"],
                                        preexec_fn=pin(cores))
        self.served()

    def served(self):
        for _ in range(200):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/counters")
                return int(connection.getresponse().read().decode().split(":")[1].rstrip("}"))
            except OSError:
                time.sleep(0.02)
        raise RuntimeError("the origin does not answer")

    def stop(self):
        self.process.terminate()
        self.process.wait()
