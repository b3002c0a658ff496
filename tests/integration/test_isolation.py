"""Two private networks on one node: what their machines and peers can't reach, whatever they send."""

import itertools
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
from pathlib import Path

import dns.message
import dns.rcode
import dns.reversename
import pytest

import node as nodes

PATIENCE = 30  # seconds for what must come
SILENCE = 1  # seconds in which nothing may come, where nothing else can show it
API = 4280
TOOLS = ("ip", "nsenter", "unshare", "wg", "wireguard-go")

# Says its app's name to everybody who connects, on each of its ports.
ECHO = """\
import socket, sys, threading
def serve(listener):
    while True:
        client, _ = listener.accept()
        client.sendall(sys.argv[1].encode() + b"\\n")
        client.close()
for port in sys.argv[2:]:
    listener = socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True)
    threading.Thread(target=serve, args=(listener,)).start()
"""

# What comes back, as hex; an empty line: refused, reset or (in the time given) nothing.
CALL = """\
import socket, sys
kind, source, host, port, seconds, data = sys.argv[1:]
family = socket.AF_INET6 if ":" in host else socket.AF_INET
call = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
call.settimeout(float(seconds))
got = b""
try:
    if source:
        call.bind((source, 0))
    call.connect((host, int(port)))
    call.sendall(bytes.fromhex(data))
    while kind == "udp" and not got or kind == "tcp":
        piece = call.recv(65535)
        if not piece:
            break
        got += piece
        if kind == "line" or got.startswith(b"HTTP/1.1 ") and b"\\r\\n\\r\\n" in got:
            break
except OSError as error:
    print(error, file=sys.stderr)
print(got.hex())
"""

# Echo requests until one is answered, or the time is over.
PING = """\
import socket, sys, time
ping = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
ping.connect((sys.argv[1], 0))
ping.settimeout(0.5)
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    try:
        ping.send(b"\\x80\\0\\0\\0\\0\\7\\0\\1rooster")
        if ping.recv(2000)[0] == 129:
            print("answered")
            break
    except OSError:
        pass
"""


class Space:
    """The network namespace of a process, seen from inside."""

    def __init__(self, pid):
        self.pid = pid

    def run(self, *words, **options):
        return subprocess.run(["nsenter", "-t", str(self.pid), "-n", "--", *map(str, words)], capture_output=True,
                              text=True, timeout=2 * PATIENCE, check=True, **options).stdout

    def call(self, host, port, data=b"", kind="tcp", source="", seconds=PATIENCE):
        out = self.run(nodes.PYTHON, "-c", CALL, kind, source, host, port, seconds, data.hex())
        return bytes.fromhex(out.strip())

    def reaches(self, host, port, **options):
        """The name that the app there says; "": nobody is there."""
        return self.call(host, port, **options).decode().strip()

    def http(self, host, head, **options):
        """(status, whole answer) of a request to the private API; 0: none."""
        answer = self.call(host, API, head.replace("\n", "\r\n").encode(), **options).decode()
        found = re.match(r"HTTP/1\.1 (\d+)", answer)
        return (int(found.group(1)) if found else 0), answer

    def ask(self, server, name, kind="AAAA", **options):
        """(code, data of the answers); None for silence."""
        query = dns.message.make_query(name, kind)
        wire = self.call(server, 53, query.to_wire(), kind="udp", **options)
        if not wire:
            return None
        reply = dns.message.from_wire(wire)
        return dns.rcode.to_text(reply.rcode()), [item.to_text() for rrset in reply.answer for item in rrset]

    def pings(self, host, seconds=PATIENCE):
        return self.run(nodes.PYTHON, "-c", PING, host, seconds).strip() == "answered"


class Laptop(Space):
    """A peer with wireguard-go: its datagrams leave from the host, its device is in a namespace of its own."""

    numbers = itertools.count()

    def __init__(self, settings):
        # A /run of their own, so that nobody else's `wg` meets them.
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        super().__init__(self.holder.pid)
        self.device = f"iso{os.getpid() % 100000}x{next(self.numbers)}"
        nodes.eventually(lambda: os.readlink(f"/proc/{self.pid}/ns/net") != os.readlink("/proc/self/ns/net"), PATIENCE)
        self.driver = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /run && mkdir /run/wireguard && exec wireguard-go "
             f"-f {self.device}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=dict(os.environ, LOG_LEVEL="silent"))
        beside = ["nsenter", "-t", str(self.driver.pid), "-m", "--"]
        ready = lambda: subprocess.run([*beside, "wg", "show", self.device], capture_output=True, check=False)
        nodes.eventually(lambda: self.driver.poll() is not None or ready().returncode == 0, PATIENCE, "wireguard-go")
        bare = "\n".join(line for line in settings.splitlines() if not re.match(r"\s*(Address|DNS|MTU|PostUp)\b", line))
        subprocess.run([*beside, "wg", "setconf", self.device, "/dev/stdin"], input=bare, text=True, check=True)
        self.address = re.search(r"Address\s*=\s*([0-9a-f:]+)", settings).group(1)
        subprocess.run(["ip", "link", "set", self.device, "netns", str(self.pid)], check=True)
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "address", "add", f"{self.address}/120", "dev", self.device, "nodad")
        self.run("ip", "link", "set", self.device, "mtu", "1280", "up")
        self.run("ip", "-6", "route", "add", "fdaa::/16", "dev", self.device)

    def close(self):
        for process in (self.driver, self.holder):
            process.kill()
            process.wait(PATIENCE)


class Village:
    """Networks red and blue, each with an awake app `<network>web` and a sleeping one `<network>db`."""

    def __init__(self):
        self.laptops = []
        wireguard = f'[wireguard]\nlisten = "127.0.0.1:{nodes.free_port()}"\nendpoint = "127.0.0.1:0"\ninterface = "iso{os.getpid() % 100000}"\n'
        self.node = nodes.Node(listen=wireguard)
        (self.node.folder / "fakes" / "echo.py").write_text(ECHO)
        self.port = nodes.free_port()
        for network in ("red", "blue"):
            self.app(f"{network}web", network, "off", 1)
            self.app(f"{network}db", network, "stop", 0)
            self.app(f"{network}cellar", network, "stop", 0)
        self.node.start()
        nodes.eventually(lambda: all(self.machine(f"{network}web").get("pid") for network in ("red", "blue")),
                         PATIENCE, "the web apps run")

    def app(self, name, network, stops, least):
        (self.node.folder / "apps" / f"{name}.toml").write_text(f"""\
app = "{name}"
primary_region = "gru"
[processes]
app = "{nodes.PYTHON} {self.node.folder}/fakes/echo.py {name} 7001 7002"
[[services]]
internal_port = 7001
protocol = "tcp"
auto_stop_machines = "{stops}"
auto_start_machines = true
min_machines_running = {least}
[[services.ports]]
port = {self.port}
[rooster]
network = "{network}"
""")

    def machine(self, app):
        listed = json.loads(self.node.command("machine", "list", "--json").stdout)
        return next(one for one in listed if one["app"] == app)

    def address(self, app):
        return self.machine(app)["private_ip"]

    def flycast(self, app):
        return re.search(r"fdaa:\S+", self.node.command("ips", "list", "-a", app).stdout).group(0)

    def infra(self, network):
        """The address of the network's own services."""
        packed = socket.inet_pton(socket.AF_INET6, self.address(f"{network}web"))[:6] + bytes(9) + b"\x03"
        return socket.inet_ntop(socket.AF_INET6, packed)

    def inside(self, app):
        return Space(self.machine(app)["pid"])

    def sleeps(self, app):
        return self.machine(app)["state"] == "stopped"

    def peer(self, network, name, *options):
        folder = tempfile.mkdtemp(dir=self.node.folder)
        self.node.command("wireguard", "create", network, "gru", name, f"{folder}/wg.conf", *options)
        laptop = Laptop(Path(folder, "wg.conf").read_text())
        self.laptops.append(laptop)
        return laptop

    def token(self, network, allow):
        """(token, what it says): as `rooster login` gets it."""
        line = self.node.command("tokens", "create", "--network", network, "--allow", allow).stdout
        return re.search(r"#([^.\s]+)", line).group(1)

    def close(self):
        for laptop in self.laptops:
            laptop.close()
        self.node.remove()


@pytest.fixture(scope="module")
def village():
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and {' '.join(missing or TOOLS)}")
    made = Village.__new__(Village)
    try:
        made.__init__()
        yield made
        for laptop in made.laptops:
            laptop.close()
        made.laptops = []
        made.node.stop()
    except BaseException:
        print(made.node.output())
        raise
    finally:
        made.close()


@pytest.fixture(scope="module")
def laptop(village):
    return village.peer("red", "laptop")


# What a network's own can do is shown beside each refusal: a test that can't reach anything proves nothing.


def test_machines_reach_their_own_network_only(village):
    red = village.inside("redweb")
    assert red.reaches(village.flycast("reddb"), village.port) == "reddb"
    assert red.reaches(village.address("reddb"), 7001) == "reddb"
    for port in (village.port, 7001, 7002, 22, API):
        assert red.reaches(village.flycast("bluedb"), port) == ""
        assert red.reaches(village.address("bluedb"), port) == ""
        assert red.reaches(village.infra("blue"), port) == ""
    assert red.reaches(village.address("blueweb"), 7001) == ""  # it runs
    assert red.pings(village.address("reddb")) and not red.pings(village.address("blueweb"), SILENCE)
    assert village.sleeps("bluedb")


def test_machines_learn_the_names_of_their_own_network_only(village):
    red, blue = village.inside("redweb"), village.inside("blueweb")
    for space, own, other in ((red, "red", "blue"), (blue, "blue", "red")):
        assert space.ask("fdaa::3", f"{own}web.internal") == ("NOERROR", [village.address(f"{own}web")])
        assert space.ask("fdaa::3", f"{own}db.flycast") == ("NOERROR", [village.flycast(f"{own}db")])
        for name in (f"{other}web.internal", f"{other}db.flycast", f"{other}db.internal"):
            assert space.ask("fdaa::3", name) == ("NXDOMAIN", [])
        assert space.ask("fdaa::3", "_apps.internal", "TXT") == ("NOERROR", [f'"{own}cellar,{own}db,{own}web"'])
        reverse = dns.reversename.from_address(village.address(f"{other}web")).to_text()
        assert space.ask("fdaa::3", reverse, "PTR") == ("NXDOMAIN", [])
        assert space.ask(village.infra(other), f"{other}web.internal", seconds=SILENCE) is None


def test_peers_reach_their_own_network_only(village, laptop):
    assert laptop.reaches(village.flycast("reddb"), village.port) == "reddb"
    assert laptop.reaches(village.address("redweb"), 7001) == "redweb"
    assert laptop.ask(village.infra("red"), "redweb.internal") == ("NOERROR", [village.address("redweb")])
    for name in ("blueweb.internal", "bluedb.flycast"):
        assert laptop.ask(village.infra("red"), name) == ("NXDOMAIN", [])
    for address in (village.flycast("bluedb"), village.address("blueweb")):
        assert laptop.reaches(address, 7001, seconds=SILENCE) == ""
        assert not laptop.pings(address, SILENCE)
    assert laptop.ask(village.infra("blue"), "blueweb.internal", seconds=SILENCE) is None
    assert laptop.ask("fdaa::3", "redweb.internal", seconds=SILENCE) is None  # the machines' own
    assert laptop.reaches("fdaa::3", API, seconds=SILENCE) == ""
    assert village.sleeps("bluedb")


def test_ping_never_wakes(village, laptop):
    for space in (laptop, village.inside("redweb")):
        assert space.pings(village.address("redcellar")) and space.pings(village.flycast("redcellar"))
    assert village.sleeps("redcellar")


def test_undeclared_ports_answer_only_while_their_machine_runs(village):
    red, cellar = village.inside("redweb"), village.address("redcellar")
    for port in (7002, 22, 1, 65535, village.port):
        assert red.reaches(cellar, port) == ""
    assert village.sleeps("redcellar")
    assert red.reaches(cellar, 7001) == "redcellar"
    assert red.reaches(village.flycast("redweb"), 7002) == ""  # a service has its own ports only
    assert red.reaches(village.address("redweb"), 7002) == "redweb"


def connect_to(name, more=""):
    return f"CONNECT {name} HTTP/1.1\nHost: {name}\n{more}\n"


def exec_in(village, app, *more, host="_api.internal"):
    body = json.dumps({"command": ["id"]})
    lines = [f"POST /v1/apps/{app}/machines/{village.machine(app)['id']}/exec HTTP/1.1", f"Host: {host}",
             "Connection: Upgrade", "Upgrade: rooster-exec/1", f"Content-Length: {len(body)}", *more]
    return "\n".join(lines) + "\n\n" + body


def test_a_peer_connects_by_name_within_its_network(village, laptop):
    api = village.infra("red")
    answer = laptop.call(api, API, connect_to("redweb.internal:7001").replace("\n", "\r\n").encode(), kind="tcp")
    assert b" 200 " in answer or answer.startswith(b"HTTP/1.1 102"), answer
    for name in ("blueweb.internal:7001", f"bluedb.flycast:{village.port}", f"[{village.address('blueweb')}]:7001",
                 "127.0.0.1:22", "169.254.169.254:80", "localhost:22", f"[{village.infra('blue')}]:{API}"):
        status, answer = laptop.http(api, connect_to(name))
        assert 400 <= status < 600, (name, answer)
    assert village.sleeps("bluedb")


def test_a_peer_of_one_app_reaches_that_app_only(village):
    guest = village.peer("red", "guest", "--apps", "reddb")
    assert guest.reaches(village.address("reddb"), 7001) == "reddb"
    assert guest.reaches(village.address("redweb"), 7001) == ""
    status, answer = guest.http(village.infra("red"), connect_to("redweb.internal:7001"))
    assert status == 403, answer


def test_machines_may_not_call_the_private_api(village):
    red, api = village.inside("redweb"), village.infra("red")
    bearer = f"Authorization: Bearer {village.token('red', 'connect,exec')}"
    requests = [connect_to("redweb.internal:7001"), connect_to("redweb.internal:7001", bearer + "\n"),
                exec_in(village, "redweb"), exec_in(village, "redweb", bearer),
                f"GET /v1/apps HTTP/1.1\nHost: _api.internal\n{bearer}\n\n"]
    for request in requests:
        status, answer = red.http(api, request)
        assert status == 0 or 400 <= status < 500, answer
        assert "redweb" not in answer.split("\r\n\r\n", 1)[-1].replace("app redweb", ""), answer


def test_exec_wants_the_token_of_its_own_peer(village, laptop):
    api = village.infra("red")
    bearer = f"Authorization: Bearer {village.token('red', 'connect,exec')}"
    for request in (exec_in(village, "redweb"), exec_in(village, "redweb", bearer),
                    exec_in(village, "redweb", "Authorization: Bearer nonsense"),
                    exec_in(village, "redweb", "Origin: http://example.com"),
                    exec_in(village, "redweb", host="rebound.example.com:4280"),
                    exec_in(village, "blueweb", bearer)):
        status, answer = laptop.http(api, request)
        assert 400 <= status < 500, answer


def test_machines_can_not_take_another_source(village):
    red = village.inside("redweb")
    own, target = village.address("redweb"), village.address("reddb")
    device = json.loads(red.run("ip", "-j", "-6", "route", "get", target))[0]["dev"]
    assert red.reaches(target, 7001, source=own) == "reddb"
    packed = socket.inet_pton(socket.AF_INET6, own)
    other_network = socket.inet_ntop(socket.AF_INET6, struct.pack(">IH", 0xFDAA0001, 0x1234) + packed[6:])
    stolen = [village.address("blueweb"), village.address("redcellar"), village.infra("red"), other_network,
              "fdaa:0:33::1", "2001:db8::7"]
    for source in stolen:
        red.run("ip", "-6", "address", "add", f"{source}/128", "dev", device, "nodad")
    try:
        for source in stolen:
            assert red.reaches(target, 7001, source=source, seconds=SILENCE) == "", source
            assert red.ask("fdaa::3", "redweb.internal", source=source, seconds=SILENCE / 2) is None, source
        blue = village.address("blueweb")
        assert red.reaches(village.address("bluedb"), 7001, source=blue, seconds=SILENCE) == ""
    finally:
        for source in stolen:
            red.run("ip", "-6", "address", "del", f"{source}/128", "dev", device)
    assert village.sleeps("bluedb")
    assert red.reaches(target, 7001) == "reddb"


def test_raw_services_are_not_public(village):
    node = village.node
    for tls in (True, False):
        answer = node.request("redcellar.app.dev", "/", tls=tls)
        assert answer.status in (301, 404, 421), answer
    for port in (village.port, 7001, 7002, API, 53):
        with socket.socket() as probe:
            assert port == 53 or probe.connect_ex(("127.0.0.1", port)) != 0
    listening = json.loads(node.command("status", "--json").stdout)["listening"]
    assert listening == [f"http 127.0.0.1:{node.http}", f"https 127.0.0.1:{node.https}"]


def host_addresses():
    links = json.loads(subprocess.run(["ip", "-j", "address"], check=True, capture_output=True, text=True).stdout)
    return [one["local"] for link in links for one in link.get("addr_info", []) if one["scope"] == "global"]


def test_the_way_out_leads_to_nothing_of_the_node(village):
    red = village.inside("redweb")
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = listener.getsockname()[1]
        denied = ["169.254.169.254", "0.0.0.1", "224.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::ffff:127.0.0.1",
                  "fd00:ec2::254", *host_addresses()]
        for host in denied:
            assert red.reaches(host, port, seconds=SILENCE) == "", host
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    seen = [line for line in village.node.access_lines() if line.get("method") == "EGRESS"]
    assert seen and {line["fault"] for line in seen} == {"egress_denied"}, seen
    # The node's loopback is not the machine's.
    assert red.reaches("127.0.0.1", village.node.https) == "" and red.reaches("::1", port) == ""
