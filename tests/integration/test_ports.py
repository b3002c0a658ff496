"""Public ports of services that don't speak HTTP: raw TCP, TLS that ends here or passes, PostgreSQL, PROXY headers."""

import shutil
import socket
import ssl
import struct
import subprocess
import threading
from contextlib import contextmanager

import pytest

from developer import IS_ROOT
from node import ROOT, eventually, free_port

EXAMPLE = ROOT / "examples" / "tutorial"


class PortApp:
    def __init__(self, node, name, port):
        self.node, self.name, self.port = node, name, port
        self.host = f"{name}.app.dev"

    @property
    def file(self):
        return self.node.folder / "apps" / f"{self.name}.toml"

def port_app(node, name, ports, command=None, address=None, port=None, rooster=""):
    """An app with one TCP service; `ports` are the TOML of its [[services.ports]]. {port} is its internal port."""
    app = PortApp(node, name, port or free_port())
    run = f"[processes]\napp = '''{command.replace('{port}', str(app.port))}'''" if command else ""
    where = f'driver = "address"\naddress = "{address}"' if address else ""
    tables = "\n".join(f"[[services.ports]]\n{text}" for text in ports)
    app.file.write_text(f"""\
app = "{name}"
primary_region = "gru"
{run}
[[services]]
internal_port = {app.port}
protocol = "tcp"
auto_stop_machines = "stop"
auto_start_machines = true
{tables}
[rooster]
{where}
{rooster}
""")
    return app


def redis_app(node, name="cache", ports=("",), **more):
    command = "redis-server --port {port} --bind 0.0.0.0 --protected-mode no --save '' --dir /tmp"
    return port_app(node, name, ports, command, **more)


def redis(port, *arguments, **options):
    done = subprocess.run(["redis-cli", "-h", "127.0.0.1", "-p", str(port), *arguments], capture_output=True,
                          text=True, timeout=60, **options)
    return done.stdout.strip()


def redis_tls(node, app, port, *arguments):
    return redis(port, "--tls", "--cacert", str(node.ca), "--sni", app.host, *arguments)


def is_awake(node, app):
    return '"started"' in node.command("machine", "list", "-a", app.name, "--json").stdout


def logged(node, least):
    """The access log's lines, once there are so many."""
    lines = node.access_lines()
    return lines if len(lines) >= least else None


@contextmanager
def tcp_server(serve):
    """A server whose connections are each given to `serve` in a thread; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def one(sock):
        with sock:
            try:
                serve(sock)
            except OSError:
                pass

    def accept():
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def read_all(sock):
    got = b""
    try:
        while piece := sock.recv(65536):
            got += piece
    except ConnectionResetError:
        pass
    return got


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def say(port):
    """What a server on this port says by itself; None: nobody listens."""
    try:
        with socket.create_connection(("127.0.0.1", port), 20) as sock:
            return read_all(sock)
    except ConnectionRefusedError:
        return None


def free_ports(count):
    """The first of so many ports in a row that nobody listens on."""
    while True:
        first = free_port()
        if first + count < 32768 and not any(is_listening(port) for port in range(first, first + count + 1)):
            return first


def tls_connect(node, port, name, alpn=()):
    plain = socket.create_connection(("127.0.0.1", port), 30)
    context = ssl.create_default_context(cafile=str(node.ca))
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context.wrap_socket(plain, server_hostname=name)


def http_get(sock, host):
    sock.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    return read_all(sock)


def read_exactly(sock, count):
    got = b""
    while len(got) < count:
        piece = sock.recv(count - len(got))
        if not piece:
            raise EOFError
        got += piece
    return got


def read_proxy_header(sock):
    """((source, port), (destination, port)), and not a byte more is taken."""
    start = read_exactly(sock, 12)
    if start == b"\r\n\r\n\0\r\nQUIT\n":
        command, family, size = struct.unpack(">BBH", read_exactly(sock, 4))
        block = read_exactly(sock, size)
        assert (command, family) == (0x21, 0x11), (command, family)
        ports = struct.unpack(">HH", block[8:12])
        return (socket.inet_ntoa(block[:4]), ports[0]), (socket.inet_ntoa(block[4:8]), ports[1])
    line = start
    while not line.endswith(b"\r\n"):
        line += read_exactly(sock, 1)
    word, family, source, destination, source_port, port = line.decode().split()
    assert (word, family) == ("PROXY", "TCP4"), line
    return (source, int(source_port)), (destination, int(port))


# ---- raw

def test_a_raw_port_wakes_its_app(make_node):
    node = make_node(workers=2)
    port = free_port()
    app = redis_app(node, ports=[f"port = {port}\nhandlers = []"], rooster='public = true\nidle_timeout = "1s"')
    node.start()
    eventually(lambda: f"tcp 127.0.0.1:{port}" in node.output())
    assert not is_awake(node, app)
    assert redis(port, "set", "color", "blue") == "OK"
    assert redis(port, "get", "color") == "blue"
    eventually(lambda: not is_awake(node, app), 30, "it sleeps again")
    assert redis(port, "ping") == "PONG"
    lines = eventually(lambda: logged(node, 3))
    assert all(line["app"] == app.name and line["http"] == "tcp" and "fault" not in line for line in lines), lines
    assert lines[0]["target"] == f"127.0.0.1:{port}" and lines[0]["client"] == "127.0.0.1"


def test_without_public_a_raw_port_stays_closed(make_node):
    node = make_node()
    port = free_port()
    redis_app(node, ports=[f"port = {port}"])
    node.start()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_server_may_speak_first_and_a_half_close_is_kept(make_node):
    node = make_node()
    port = free_port()

    def serve(sock):
        sock.sendall(b"220 hello\r\n")
        got = b""
        while piece := sock.recv(4096):
            got += piece
        sock.sendall(b"got " + got)

    with tcp_server(serve) as server:
        port_app(node, "mail", [f"port = {port}"], address="127.0.0.1", port=server, rooster="public = true")
        node.start()
        with socket.create_connection(("127.0.0.1", port), 20) as sock:
            assert sock.recv(100) == b"220 hello\r\n"
            sock.sendall(b"quit")
            sock.shutdown(socket.SHUT_WR)
            assert read_all(sock) == b"got quit"


def test_a_failed_wake_is_a_reset_and_logged(make_node):
    node = make_node()
    port = free_port()
    port_app(node, "broken", [f"port = {port}"], command="/bin/false", rooster="public = true")
    node.start()
    with socket.create_connection(("127.0.0.1", port), 30) as sock:
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert eventually(lambda: logged(node, 1))[0]["fault"] in ("exited_before_ready", "wake_backoff")


# ---- ports come and go

def test_ports_come_and_go_with_a_reload(make_node):
    node = make_node(workers=2)
    first, second = free_port(), free_port()
    with tcp_server(lambda sock: sock.sendall(b"hi")) as server:
        app = port_app(node, "greeter", [f"port = {first}"], address="127.0.0.1", port=server,
                       rooster="public = true")
        node.start()
        assert say(first) == b"hi"
        app.file.write_text(app.file.read_text().replace(str(first), str(second)))
        assert node.reload().returncode == 0
        assert eventually(lambda: say(second)) == b"hi"
        eventually(lambda: say(first) is None, what="the old port is closed")
        app.file.write_text(app.file.read_text().replace("public = true", "public = false"))
        assert node.reload().returncode == 0
        eventually(lambda: say(second) is None, what="a private port is closed")
        app.file.write_text(app.file.read_text().replace("public = false", "public = true"))
        assert node.reload().returncode == 0
        assert eventually(lambda: say(second)) == b"hi"


def test_a_reload_leaves_open_connections_alone(make_node):
    node = make_node()
    port = free_port()

    def echo(sock):
        while piece := sock.recv(4096):
            sock.sendall(piece)

    with tcp_server(echo) as server:
        app = port_app(node, "echo", [f"port = {port}"], address="127.0.0.1", port=server, rooster="public = true")
        node.start()
        with socket.create_connection(("127.0.0.1", port), 20) as sock:
            sock.sendall(b"one")
            assert sock.recv(10) == b"one"
            app.file.write_text(app.file.read_text().replace("public = true", "public = false"))
            assert node.reload().returncode == 0
            eventually(lambda: say(port) is None, what="the port is closed")
            sock.sendall(b"two")
            assert sock.recv(10) == b"two"


def test_a_taken_port_is_told_and_tried_again(make_node):
    node = make_node()
    port, other = free_port(), free_port()
    with tcp_server(lambda sock: sock.sendall(b"hi")) as server:
        holder = socket.create_server(("127.0.0.1", port))
        port_app(node, "taken", [f"port = {port}"], address="127.0.0.1", port=server, rooster="public = true")
        port_app(node, "fine", [f"port = {other}"], address="127.0.0.1", port=server, rooster="public = true")
        node.start()
        assert say(other) == b"hi"
        eventually(lambda: f"tcp 127.0.0.1:{port}" in node.output())
        assert "app=taken" in node.output() and "tried again" in node.output()
        holder.close()
        assert eventually(lambda: say(port), 30) == b"hi"


def test_a_range_of_ports_keeps_the_port_where_it_is_asked_to(make_node):
    node = make_node(workers=2)
    start = free_ports(20)
    with tcp_server(lambda sock: sock.sendall(b"hi")) as server:
        port_app(node, "wide", [f"start_port = {start}\nend_port = {start + 19}"], address="127.0.0.1",
                 port=server, rooster="public = true")
        node.start()
        assert all(say(port) == b"hi" for port in range(start, start + 20))
        assert say(start + 20) is None


# ---- TLS that ends here

def test_redis_over_tls_wakes_its_app(make_node):
    node = make_node()
    port = free_port()
    app = redis_app(node, ports=[f'port = {port}\nhandlers = ["tls"]'])
    other = redis_app(node, "other", ports=[f'port = {port}\nhandlers = ["tls"]'])
    node.start()
    assert not is_awake(node, app)
    assert redis_tls(node, app, port, "set", "who", "cache") == "OK"
    assert is_awake(node, app) and not is_awake(node, other)
    assert redis_tls(node, other, port, "get", "who") == ""
    assert redis_tls(node, app, port, "get", "who") == "cache"
    line = eventually(lambda: logged(node, 3))[0]
    assert line["host"] == app.host and line["tls"] == "1.3", line


def test_a_name_that_is_nobodys_is_refused_where_apps_share_a_port(make_node):
    node = make_node()
    port = free_port()
    for name in ("one", "two"):
        redis_app(node, name, ports=[f'port = {port}\nhandlers = ["tls"]'])
    node.start()
    with pytest.raises(OSError):
        tls_connect(node, port, "three.app.dev")
    line = eventually(lambda: logged(node, 1))[0]
    assert line["fault"] == "no_route" and line["host"] == "three.app.dev", line


def test_tls_options_say_protocols_and_versions(make_node):
    node = make_node()
    port = free_port()
    with tcp_server(lambda sock: sock.sendall(b"hi")) as server:
        port_app(node, "queue", [f'port = {port}\nhandlers = ["tls"]\n'
                                 'tls_options = { alpn = ["mqtt"], versions = ["TLSv1.2"] }'],
                 address="127.0.0.1", port=server)
        node.start()
        with tls_connect(node, port, "queue.app.dev", alpn=["x", "mqtt"]) as sock:
            assert sock.selected_alpn_protocol() == "mqtt" and sock.version() == "TLSv1.2"
            assert sock.recv(10) == b"hi"
        with pytest.raises(ssl.SSLError):
            tls_connect(node, port, "queue.app.dev", alpn=["http/1.1"])


def test_mqtt_through_tls(make_node):
    node = make_node()
    port = free_port()
    config = node.work / "mosquitto.conf"
    app = port_app(node, "broker", [f'port = {port}\nhandlers = ["tls"]\ntls_options = {{ alpn = ["mqtt"] }}'],
                   command=f"mosquitto -c {config}")
    config.write_text(f"listener {app.port} 0.0.0.0\nallow_anonymous true\n")
    node.start()
    common = ["-h", app.host, "-p", str(port), "--cafile", str(node.ca), "--tls-alpn", "mqtt", "-t", "news"]
    # The client resolves names by the system: the broker's own is not there.
    common[1] = "127.0.0.1"
    common.append("--insecure")
    listener = subprocess.Popen(["mosquitto_sub", *common, "-C", "1"], stdout=subprocess.PIPE, text=True)
    try:
        def publish():
            subprocess.run(["mosquitto_pub", *common, "-m", "hello"], timeout=30, check=False)
            return listener.poll() is not None
        eventually(publish, 60, "the message arrives")
        assert listener.stdout.read().strip() == "hello"
    finally:
        listener.kill()
        listener.wait()


def test_http_on_ports_of_its_own(make_node, make_origin):
    node = make_node()
    plain, secure, both = free_port(), free_port(), free_port()
    origin = make_origin()
    port_app(node, "web", [f'port = {plain}\nhandlers = ["http"]', f'port = {secure}\nhandlers = ["tls", "http"]',
                           f'port = {both}\nhandlers = ["http"]'], address="127.0.0.1", port=origin.port)
    port_app(node, "safe", [f'port = {both}\nhandlers = ["tls", "http"]'], address="127.0.0.1", port=origin.port)
    node.start()
    for port in (plain, both):
        with socket.create_connection(("127.0.0.1", port), 20) as sock:
            assert b" 200 " in http_get(sock, "web.app.dev")
    for port, name in ((secure, "web"), (both, "safe")):
        with tls_connect(node, port, f"{name}.app.dev", alpn=["http/1.1"]) as sock:
            assert b" 200 " in http_get(sock, f"{name}.app.dev")
    with socket.create_connection(("127.0.0.1", plain), 20) as sock:
        assert b" 404 " in http_get(sock, "safe.app.dev")


# ---- TLS that passes

def test_tls_passes_by_its_name(make_node):
    node = make_node()
    port = free_port()
    certificate = node.work / "own.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                    "1", "-subj", "/CN=own.example", "-addext", "subjectAltName=DNS:own.example", "-keyout",
                    str(certificate), "-out", str(node.work / "cert.pem")], check=True, capture_output=True)
    certificate.write_text(certificate.read_text() + (node.work / "cert.pem").read_text())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve(sock):
        with context.wrap_socket(sock, server_side=True) as secure:
            secure.sendall(b"the app's own TLS")

    with tcp_server(serve) as server, tcp_server(lambda sock: sock.sendall(b"TLS ended")) as plain:
        port_app(node, "own", [f"port = {port}", "port = 443"], address="127.0.0.1", port=server,
                 rooster='public = true\nhostnames = ["own.example"]')
        port_app(node, "other", [f'port = {port}\nhandlers = ["tls"]', 'port = 443\nhandlers = ["tls"]'],
                 address="127.0.0.1", port=plain)
        node.start()
        trust = ssl.create_default_context(cafile=str(node.work / "cert.pem"))
        for at in (port, node.https):
            with trust.wrap_socket(socket.create_connection(("127.0.0.1", at), 20),
                                   server_hostname="own.example") as sock:
                assert sock.recv(100) == b"the app's own TLS"
            with tls_connect(node, at, "other.app.dev") as sock:
                assert sock.recv(100) == b"TLS ended"
        # HTTPS goes on beside them.
        assert node.request("nobody.app.dev").fault in ("no_route", "misdirected")


def test_a_hello_in_pieces_and_one_that_never_ends(make_node):
    node = make_node()
    port = free_port()
    with tcp_server(lambda sock: sock.sendall(b"hi")) as server:
        for name in ("one", "two"):
            port_app(node, name, [f'port = {port}\nhandlers = ["tls"]'], address="127.0.0.1", port=server)
        node.start()
        context = node.tls_context(alpn=())
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(incoming, outgoing, server_hostname="two.app.dev")
        with socket.create_connection(("127.0.0.1", port), 30) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                try:
                    client.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    for byte in outgoing.read():
                        sock.sendall(bytes([byte]))
                    incoming.write(sock.recv(65536))
            sock.sendall(outgoing.read())
        # Who never says anything is gone after the handshake's time.
        with socket.create_connection(("127.0.0.1", port), 40) as sock:
            sock.sendall(b"\x16\x03\x01")
            with pytest.raises(ConnectionResetError):
                sock.recv(1)


# ---- PostgreSQL

@pytest.fixture
def database(make_node):
    """(node, port) of a node with the tutorial's database behind pg_tls."""
    node = make_node()
    port, internal = free_port(), free_port()
    folder = node.folder / "database"
    shutil.copytree(EXAMPLE / "database", folder, ignore=shutil.ignore_patterns("__pycache__"))
    start = folder / "start"
    start.write_text(start.read_text().replace("exec \"$bin/postgres\"", f"exec \"$bin/postgres\" -p {internal}"))
    user = 'user = "postgres"' if IS_ROOT else ""
    if IS_ROOT:
        shutil.chown(folder, "postgres")
    port_app(node, "db", [f'port = {port}\nhandlers = ["pg_tls"]'], command="./start", port=internal,
             rooster=f'public = true\ndirectory = "{folder}"\nnotify = true\nidle_timeout = "2s"\n{user}')
    node.start()
    return node, port


def psql(node, port, mode, host="db.app.dev", query="select 6 * 7"):
    url = (f"host={host} hostaddr=127.0.0.1 port={port} user=fastzero password=fastzero dbname=fastzero "
           f"sslmode={mode} sslrootcert={node.ca} connect_timeout=60")
    return subprocess.run(["psql", "-qAtX", url, "-c", query], capture_output=True, text=True, timeout=90)


def test_psql_verifies_and_wakes_its_database(database):
    node, port = database
    done = psql(node, port, "verify-full")
    assert done.stdout.strip() == "42", done
    eventually(lambda: '"started"' not in node.command("machine", "list", "-a", "db", "--json").stdout, 30)
    assert psql(node, port, "verify-full", query="select ssl from pg_stat_ssl limit 1").stdout.strip() == "f"
    line = eventually(lambda: logged(node, 2))[0]
    assert line["host"] == "db.app.dev" and line["tls"] == "1.3" and line["app"] == "db", line


def test_psql_without_tls_is_told_so(database):
    node, port = database
    done = psql(node, port, "disable")
    assert done.returncode == 2 and "connections here need TLS" in done.stderr, done
    assert eventually(lambda: logged(node, 1))[0]["fault"] == "tls_required"
    assert '"started"' not in node.command("machine", "list", "-a", "db", "--json").stdout


def test_a_database_that_does_not_start_is_told_in_its_words(make_node):
    node = make_node()
    port = free_port()
    port_app(node, "db", [f'port = {port}\nhandlers = ["pg_tls"]'], command="/bin/false", rooster="public = true")
    node.start()
    done = psql(node, port, "verify-full")
    assert done.returncode == 2 and "the app is not reachable" in done.stderr, done


def test_tls_at_once_is_taken_on_pg_tls(make_node):
    node = make_node()
    port = free_port()
    with tcp_server(lambda sock: sock.sendall(b"R")) as server:
        port_app(node, "db", [f'port = {port}\nhandlers = ["pg_tls"]'], address="127.0.0.1", port=server,
                 rooster="public = true")
        node.start()
        with tls_connect(node, port, "db.app.dev", alpn=["postgresql"]) as sock:
            assert sock.selected_alpn_protocol() == "postgresql" and sock.recv(1) == b"R"


def test_bytes_behind_an_sslrequest_never_reach_the_app(make_node):
    """CVE-2021-23222: what was sent in the clear must not be taken for what came by TLS."""
    node = make_node()
    port = free_port()
    reached = threading.Event()
    with tcp_server(lambda sock: reached.set()) as server:
        port_app(node, "db", [f'port = {port}\nhandlers = ["pg_tls"]'], address="127.0.0.1", port=server,
                 rooster="public = true")
        node.start()
        with socket.create_connection(("127.0.0.1", port), 20) as sock:
            sock.sendall(struct.pack(">II", 8, 80877103) + b"Q" + b"\0" * 40)
            got = read_all(sock)
        assert got[:1] == b"S" and not reached.is_set()


# ---- PROXY headers

@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("handlers", ['["proxy_proto"]', '["tls", "proxy_proto"]'])
def test_an_app_is_told_whose_connection_it_is(make_node, version, handlers):
    node = make_node()
    port = free_port()
    heads = []

    def serve(sock):
        heads.append(read_proxy_header(sock))
        sock.sendall(b"hi")

    with tcp_server(serve) as server:
        port_app(node, "told", [f'port = {port}\nhandlers = {handlers}\n'
                                f'proxy_proto_options = {{ version = "{version}" }}'],
                 address="127.0.0.1", port=server, rooster="public = true")
        node.start()
        with socket.create_connection(("127.0.0.1", port), 20, ("127.0.0.9", 0)) as plain:
            own = plain.getsockname()
            sock = node.tls_context().wrap_socket(plain, server_hostname="told.app.dev") if "tls" in handlers else plain
            assert sock.recv(10) == b"hi"
            sock.close()
    assert heads == [(own, ("127.0.0.1", port))]


@contextmanager
def haproxy(node, text):
    file = node.folder / "haproxy.cfg"
    file.write_text(f"global\n maxconn 100\ndefaults\n mode tcp\n timeout connect 10s\n timeout client 60s\n"
                    f" timeout server 60s\n{text}\n")
    log = open(node.folder / "haproxy.log", "ab")
    process = subprocess.Popen(["haproxy", "-db", "-f", str(file)], stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()
        log.close()


@contextmanager
def nginx(node, stream="", http=""):
    folder = node.folder / "nginx"
    folder.mkdir()
    (folder / "nginx.conf").write_text(f"""
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; error_log {folder}/error.log; pid {folder}/pid;
{"user root;" if IS_ROOT else ""}
events {{}}
stream {{ {stream} }}
http {{ access_log off; {" ".join(f"{kind}_temp_path {folder}/{kind};" for kind in
       ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))} {http} }}
""")
    modules = "/usr/share/nginx"
    process = subprocess.Popen(["nginx", "-p", modules, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")])
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_haproxy_in_front_and_behind(make_node, version):
    """A client, HAProxy, the node, HAProxy, an app: the app sees the client."""
    node = make_node(listen='proxy_protocol_from = ["127.0.0.0/8"]')
    port, front, back = free_port(), free_port(), free_port()
    heads = []

    def serve(sock):
        heads.append(read_proxy_header(sock))
        sock.sendall(b"hi")

    send = "send-proxy" if version == "v1" else "send-proxy-v2"
    with tcp_server(serve) as server:
        port_app(node, "told", [f'port = {port}\nhandlers = ["proxy_proto"]\n'
                                f'proxy_proto_options = {{ version = "{version}" }}'],
                 address="127.0.0.1", port=back, rooster="public = true")
        node.start()
        with haproxy(node, f"listen front\n bind 127.0.0.1:{front}\n server node 127.0.0.1:{port} {send}\n"
                           f"listen back\n bind 127.0.0.1:{back} accept-proxy\n server app 127.0.0.1:{server} {send}"):
            eventually(lambda: is_listening(front) and is_listening(back))
            with socket.create_connection(("127.0.0.1", front), 20, ("127.0.0.9", 0)) as sock:
                own = sock.getsockname()
                assert sock.recv(10) == b"hi"
    assert (own, ("127.0.0.1", front)) in heads
    eventually(lambda: any(line["client"] == "127.0.0.9" for line in node.access_lines()))


def test_nginx_in_front_by_https_and_behind(make_node, make_origin):
    node = make_node(listen='proxy_protocol_from = ["127.0.0.0/8"]\ntrusted_proxies = []')
    port, front, fronts, back = free_port(), free_port(), free_port(), free_port()
    origin = make_origin()
    node.app("web", address="127.0.0.1", port=origin.port)
    port_app(node, "told", [f'port = {port}\nhandlers = ["proxy_proto"]'], address="127.0.0.1", port=back,
             rooster="public = true")
    node.start()
    stream = (f"server {{ listen 127.0.0.1:{front}; proxy_pass 127.0.0.1:{port}; proxy_protocol on; }}"
              f"server {{ listen 127.0.0.1:{fronts}; proxy_pass 127.0.0.1:{node.https}; proxy_protocol on; }}")
    http = (f"server {{ listen 127.0.0.1:{back} proxy_protocol; "
            "location / { return 200 \"client $proxy_protocol_addr\"; } }")
    with nginx(node, stream, http):
        eventually(lambda: is_listening(front) and is_listening(back))
        with socket.create_connection(("127.0.0.1", front), 20, ("127.0.0.9", 0)) as sock:
            assert b"client 127.0.0.9" in http_get(sock, "any")
        with socket.create_connection(("127.0.0.1", fronts), 20, ("127.0.0.9", 0)) as plain:
            with node.tls_context().wrap_socket(plain, server_hostname="web.app.dev") as sock:
                assert b" 200 " in http_get(sock, "web.app.dev")
    assert origin.requests[-1].value("Fly-Client-IP") == "127.0.0.9"


def test_who_must_send_a_header_and_does_not_is_refused(make_node, make_origin):
    node = make_node(listen='proxy_protocol_from = ["127.0.0.0/8"]')
    node.app("web", address="127.0.0.1", port=make_origin().port)
    node.start()
    for head in (b"GET / HTTP/1.1\r\nHost: web.app.dev\r\n\r\n", b"PROXY TCP4 1.1.1.1\r\n",
                 b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c" + b"\0" * 12):
        with socket.create_connection(("127.0.0.1", node.http), 20) as sock:
            sock.sendall(head)
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
    assert [line["fault"] for line in eventually(lambda: logged(node, 3))] == ["bad_proxy_header"] * 3
    with socket.create_connection(("127.0.0.1", node.http), 20) as sock:
        sock.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 1000 80\r\nGET / HTTP/1.1\r\nHost: web.app.dev\r\n\r\n")
        assert b" 200 " in sock.recv(4096)


def test_who_may_not_send_a_header_is_refused(make_node, make_origin):
    node = make_node()
    node.app("web", address="127.0.0.1", port=make_origin().port)
    node.start()
    with socket.create_connection(("127.0.0.1", node.http), 20) as sock:
        sock.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 1000 80\r\nGET / HTTP/1.1\r\nHost: web.app.dev\r\n\r\n")
        assert b" 400 " in sock.recv(4096)
