"""Two ends in network namespaces, joined by a veth pair: WireGuard devices of ours and of others in them."""

import base64
import json
import os
import shutil
import subprocess
import textwrap
import time
from pathlib import Path

import pytest

BUILD = Path(os.environ.get("ROOSTER_FAKES", "build/release")).resolve()
OUTER = ("10.9.0.1", "10.9.0.2")
INNER = ("fdaa:0:33::1", "fdaa:0:33::2")
PORTS = (51821, 51822)
TOOLS = ("wireguard-go", "wg", "ip", "unshare", "nsenter")
PATIENCE = 60  # seconds that anything may take before a test fails
PYTHON = "/usr/bin/python3"


def wait_until(is_so, what, patience=PATIENCE):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = is_so()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {patience} s: {what}")


def require():
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {' '.join(missing)} (scripts/setup test)")
    if os.geteuid() != 0 and not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("needs root, or a /dev/net/tun that may be opened")


class Namespace:
    """A process that holds a network namespace and a /run of its own (where `wg` looks for sockets)."""

    def __init__(self, beside=None):
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        words = ["unshare", *user, "--mount", "--net"] if beside is None else [*beside.enter(), "unshare", "--net"]
        private = "mount -t tmpfs none /run && mkdir /run/wireguard && " if beside is None else ""
        self.root = beside or self
        self.holder = subprocess.Popen([*words, "sh", "-c", private + "echo ready; exec sleep infinity"],
                                       stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline() == "ready\n"
        self.run("ip", "link", "set", "lo", "up")

    def enter(self):
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", "-t", str(self.holder.pid), *user, "--mount", "--net", "--"]

    def run(self, *words, check=True, text=None):
        done = subprocess.run([*self.enter(), *words], input=text, capture_output=True, text=True, check=False,
                              timeout=PATIENCE)
        if check:
            assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return done.stdout

    def start(self, *words, **options):
        return subprocess.Popen([*self.enter(), *words], text=True, **options)

    def python(self, program, *arguments, **options):
        return self.start(PYTHON, "-c", textwrap.dedent(program), *map(str, arguments), **options)

    def close(self):
        self.holder.kill()
        self.holder.wait()


class Device:
    """One WireGuard device: kind "ours" or "go"."""

    def __init__(self, kind, index, space):
        self.kind, self.index, self.space = kind, index, space
        self.name = f"{kind}{index}"
        program = [str(BUILD / "bench_wire"), self.name, "--console"] if kind == "ours" else \
                  ["wireguard-go", "-f", self.name]
        self.process = space.start(*program, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL,
                                   env=dict(os.environ, LOG_LEVEL="silent"))
        wait_until(lambda: space.run("wg", "show", self.name, check=False), f"{self.name}'s socket")
        self.private = subprocess.run(["wg", "genkey"], check=True, capture_output=True, text=True).stdout.strip()
        self.public = subprocess.run(["wg", "pubkey"], input=self.private, check=True, capture_output=True,
                                     text=True).stdout.strip()
        self.set("private-key", "/dev/stdin", "listen-port", PORTS[index], text=self.private)
        space.run("ip", "address", "add", f"{INNER[index]}/64", "dev", self.name, "nodad")
        space.run("ip", "link", "set", self.name, "mtu", "1420", "up")

    def set(self, *words, text=None):
        self.space.run("wg", "set", self.name, *map(str, words), text=text)

    def add(self, other, endpoint=True, psk=None, keepalive=None):
        words = ["peer", other.public, "allowed-ips", f"{INNER[other.index]}/128"]
        if endpoint:
            words += ["endpoint", f"{OUTER[other.index]}:{PORTS[other.index]}"]
        if keepalive is not None:
            words += ["persistent-keepalive", keepalive]
        if psk is not None:
            words += ["preshared-key", "/dev/stdin"]
        self.set(*words, text=psk)

    def show(self, what):
        """`wg show <device> <what>` of its one peer."""
        return self.space.run("wg", "show", self.name, what).split()[-1]

    def handshake(self):
        return int(self.show("latest-handshakes"))

    def received(self):
        return int(self.space.run("wg", "show", self.name, "transfer").split()[1])

    def command(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def statistics(self):
        self.command("statistics")
        return json.loads(self.process.stdout.readline())

    def forward(self, seconds):
        """Moves its clocks."""
        self.command(f"forward {seconds}")
        self.statistics()  # it has happened when this answers

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


ECHO = """
    import socket, sys, threading
    listener = socket.create_server((sys.argv[1], 7), family=socket.AF_INET6, reuse_port=True)
    print("ready", flush=True)
    def serve(one):
        while piece := one.recv(65536):
            one.sendall(piece)
        one.close()
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""

# A connection that stays: each line of input is a number of bytes to send and get back.
TALK = """
    import socket, sys
    stream = socket.create_connection((sys.argv[1], 7), timeout=float(sys.argv[2]))
    print("open", flush=True)
    for line in sys.stdin:
        left = wanted = int(line)
        piece = bytes(range(256)) * 64
        while left:
            part = piece[:min(left, len(piece))]
            stream.sendall(part)
            got = b""
            while len(got) < len(part):
                more = stream.recv(len(part) - len(got))
                assert more, "ended early"
                got += more
            assert got == part, "other bytes came back"
            left -= len(part)
        print(wanted, flush=True)
"""


class Talk:
    """A TCP connection through the tunnel, to the other end's echo."""

    def __init__(self, space, to, patience=PATIENCE):
        self.process = space.python(TALK, to, patience, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE)
        self.opened = None

    def is_open(self):
        if self.opened is None:
            self.opened = self.process.stdout.readline() == "open\n"
        return self.opened

    def exchange(self, count):
        assert self.is_open(), self.process.stderr.read()
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line == f"{count}\n", self.process.stderr.read()

    def close(self):
        self.process.kill()
        self.process.wait()


class Link:
    """Two namespaces, the veth pair between them, a device in each, an echo behind the second."""

    def __init__(self, kinds):
        require()
        self.closers = []
        self.spaces = [self.keep(Namespace())]
        self.spaces.append(self.keep(Namespace(self.spaces[0])))
        self.spaces[0].run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns",
                           str(self.spaces[1].holder.pid))
        for index, space in enumerate(self.spaces):
            space.run("ip", "address", "add", f"{OUTER[index]}/24", "dev", f"v{index}")
            space.run("ip", "link", "set", f"v{index}", "up")
        self.devices = [self.keep(Device(kind, index, self.spaces[index])) for index, kind in enumerate(kinds)]
        echo = self.spaces[1].python(ECHO, INNER[1], stdout=subprocess.PIPE)
        self.closers.append(lambda: (echo.kill(), echo.wait()))
        assert echo.stdout.readline() == "ready\n"

    def keep(self, thing):
        self.closers.append(thing.close)
        return thing

    def join(self, psk=None, server_knows=False, keepalive=None):
        """The first is the client: it alone knows where the other is."""
        self.devices[0].add(self.devices[1], psk=psk, keepalive=keepalive)
        self.devices[1].add(self.devices[0], endpoint=server_knows, psk=psk)

    def talk(self, patience=PATIENCE):
        return self.keep(Talk(self.spaces[0], INNER[1], patience))

    def flood(self, source):
        return self.keep(Flood(self.spaces[0], source, self.devices[1]))

    def close(self):
        for closer in reversed(self.closers):
            closer()


# Initiations with a right mac1 and nothing else right: each costs the receiver a Diffie-Hellman. Until
# its standard input ends; then it prints how many cookies came back.
FLOOD = """
    import hashlib, os, select, socket, sys, time
    source, host, port, key = sys.argv[1], sys.argv[2], int(sys.argv[3]), bytes.fromhex(sys.argv[4])
    pause = float(sys.argv[5])
    mac_key = hashlib.blake2s(b"mac1----" + key).digest()
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    out.bind((source, 0))
    out.connect((host, port))
    out.setblocking(False)
    print("flooding", flush=True)
    end = time.monotonic() + 240
    cookies = 0
    while not select.select([sys.stdin], [], [], 0)[0] and time.monotonic() < end:
        time.sleep(pause)
        for _ in range(200):
            body = b"\\x01\\0\\0\\0" + os.urandom(112)
            mac = hashlib.blake2s(body, key=mac_key, digest_size=16).digest()
            try:
                out.send(body + mac + bytes(16))
            except OSError:
                pass
        try:
            while True:
                answer = out.recv(2048)
                assert len(answer) == 64 and answer[0] == 3, answer
                cookies += 1
        except BlockingIOError:
            pass
        except ConnectionRefusedError:
            pass
    print(cookies, flush=True)
"""


class Flood:
    def __init__(self, space, source, device):
        key = base64.b64decode(device.public).hex()
        # Ours asks for cookies beyond 200 initiations a second, so 4000 do; wireguard-go when its queue
        # fills, so as many as can be. Much more would only show what a full socket loses.
        pause = 0.05 if device.kind == "ours" else 0
        self.process = space.python(FLOOD, source, OUTER[device.index], PORTS[device.index], key, pause,
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == "flooding\n"

    def end(self):
        """Ends it; how many cookies it was sent."""
        assert self.process.poll() is None
        return int(self.process.communicate("", timeout=PATIENCE)[0])

    def close(self):
        self.process.kill()
        self.process.wait()


def new_psk():
    return subprocess.run(["wg", "genpsk"], check=True, capture_output=True, text=True).stdout.strip()
