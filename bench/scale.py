#!/usr/bin/python3
"""Scale: many apps. Reloads under load with open WebSockets, what is dropped, memory, and CPU per request beside a
node of ten apps.

    bench/scale.py [--build DIR] [--apps 100000] [--reloads 1000] [--websockets 200]
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "release")
    parser.add_argument("--apps", type=int, default=100_000)
    parser.add_argument("--reloads", type=int, default=1000)
    parser.add_argument("--websockets", type=int, default=200)
    return parser.parse_args()


def make_node(nodes, origin_port, apps):
    node = nodes.Node(workers=2)
    app = node.app("app", address="127.0.0.1", port=origin_port)
    for number in range(apps):
        (node.folder / "apps" / f"other-{number}.toml").write_text(
            f'app = "other-{number}"\n[http_service]\ninternal_port = {1024 + number % 60000}\n'
            f'auto_stop_machines = "stop"\n[processes]\napp = "/bin/false"\n')
    return node, app


def load(args, node, seconds):
    """Closed-loop HTTPS load; the result of bench_load."""
    done = subprocess.run([str(args.build / "bench_load"), "--tls", f"--port={node.https}", f"--ca={node.ca}",
                           "--host=app.app.dev", f"--seconds={seconds}"], capture_output=True, text=True)
    return json.loads(done.stdout)


def cpu_per_request(args, harness, node):
    pids = harness.process_tree(node.process.pid)
    before = harness.cpu_seconds(pids)
    result = load(args, node, 2)
    assert result["errors"] == 0, result
    return (harness.cpu_seconds(pids) - before) / result["requests"] * 1e6


def open_websockets(node, app, count):
    tunnels = []
    for _ in range(count):
        sock = node.connect(app.host)
        sock.sendall(f"GET /ws HTTP/1.1\r\nHost: {app.host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
        assert sock.recv(1000).startswith(b"HTTP/1.1 101")
        tunnels.append(sock)
    return tunnels


def reload_under_load(args, node, app):
    tunnels = open_websockets(node, app, args.websockets)
    before, took, results = node.memory_kib(), [], []
    done = threading.Event()

    def keep_loading():
        while not done.is_set():
            results.append(load(args, node, 5))

    loader = threading.Thread(target=keep_loading)
    loader.start()
    for number in range(args.reloads):
        changed = node.folder / "apps" / f"other-{number * 7 % args.apps}.toml"
        changed.write_text(changed.read_text() + f"# {number}\n")
        began = time.monotonic()
        reloaded = node.reload()
        assert reloaded.returncode == 0, reloaded.stdout + reloaded.stderr
        took.append(time.monotonic() - began)
    done.set()
    loader.join()
    dropped = 0
    for sock in tunnels:
        sock.sendall(b"\x82\x85\0\0\0\0hello")
        dropped += sock.recv(100) != b"\x82\x05hello"
        sock.close()
    requests = sum(result["requests"] for result in results)
    errors = sum(result["errors"] for result in results)
    print(f"{args.reloads} reloads over {args.apps} apps: median {statistics.median(took) * 1e3:.0f} ms, "
          f"longest {max(took) * 1e3:.0f} ms; meanwhile {requests} requests, {errors} failed; "
          f"{len(tunnels)} WebSockets, {dropped} dropped; memory {before} -> {node.memory_kib()} KiB "
          f"({node.memory_kib() / before:.2f})")


def main():
    args = parse_arguments()
    args.build = args.build.resolve()
    os.environ.setdefault("ROOSTER_BINARY", str(args.build / "rooster"))
    sys.path[:0] = [str(ROOT / "tests" / "integration"), str(ROOT / "bench")]
    import harness
    import node as nodes  # reads the environment

    print(f"{datetime.date.today()}, {os.cpu_count()} cores, Linux {platform.release()}; "
          f"command: bench/scale.py {' '.join(sys.argv[1:])}")
    port = harness.free_ports(1)[0]
    origin = harness.Origin(args.build, port, set(os.sched_getaffinity(0)))
    few, _ = make_node(nodes, port, 10)
    many, app = make_node(nodes, port, args.apps)
    try:
        few.start()
        began = time.monotonic()
        many.start(120)
        print(f"a node of {args.apps} apps is ready after {time.monotonic() - began:.1f} s, "
              f"{many.memory_kib() / 1024:.0f} MiB")
        pairs = [(cpu_per_request(args, harness, many), cpu_per_request(args, harness, few)) for _ in range(7)]
        print(f"CPU per request with {args.apps} apps: {statistics.median(a for a, _ in pairs):.2f} us, with 10: "
              f"{statistics.median(b for _, b in pairs):.2f} us, "
              f"ratio {statistics.median(a / b for a, b in pairs):.3f} (median of 7 pairs)")
        began = time.monotonic()
        page = many.admin_get("/metrics", 60)[1]
        print(f"metrics page: {len(page) / 1e6:.2f} MB in {(time.monotonic() - began) * 1e3:.0f} ms")
        reload_under_load(args, many, app)
        for node in (few, many):
            node.stop()
    finally:
        origin.stop()
        for node in (few, many):
            node.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
