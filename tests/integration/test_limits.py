"""Bounds: descriptors, idle connections, slow ones. Neighbours are served. (Sources are counted in the units: loopback
is exempt.)"""

import json
import os
import subprocess
import time

from node import SCALE, FAKES, eventually
from recorder import answer

BENCH_LOAD = FAKES / "bench_load"


def fill(node, count):
    """`count` plain connections from several addresses, without a request."""
    held = []
    for number in range(count):
        try:
            held.append(node.connect("", tls=False, timeout=2, source=f"127.0.1.{1 + number // 500}"))
        except OSError:
            break
    return held


def test_out_of_descriptors_is_survived_and_the_cpu_stays_calm(make_node, make_origin):
    node = make_node()
    node.limit_descriptors = 300
    app = node.app("app", address="127.0.0.1", port=make_origin(lambda *_: answer(body=b"ok")).port)
    node.start()
    held = fill(node, 400)
    began = cpu_seconds(node)
    time.sleep(1)
    assert cpu_seconds(node) - began < 0.5, "an accept loop must not spin"
    assert node.admin_get("/metrics")[0] == 200
    for sock in held:
        sock.close()
    eventually(lambda: app.request("/", timeout=5).status == 200, 10)


def cpu_seconds(node):
    total = 0
    for pid in node.pids():
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as stat:
                total += int(stat.read().split()[0])
    return total / 1e9


def test_idle_connections_are_cheap_and_the_rest_is_served(make_node, make_origin):
    """15 000 idle TLS connections; a request is answered as before."""
    count = max(300, int(15_000 * SCALE))
    node = make_node(workers=2)
    app = node.app("app", address="127.0.0.1", port=make_origin(lambda *_: answer(body=b"ok")).port)
    node.start()
    assert app.request("/").status == 200
    before = node.memory_kib()
    holders = []
    options = {"mode": "idle", "tls": 1, "fresh": 1, "gate": 1, "port": node.https, "ca": node.ca, "host": app.host}
    command = [str(BENCH_LOAD)] + [f"--{key}={value}" for key, value in options.items()]
    for _ in range(3):
        holders.append(subprocess.Popen([*command, f"--connections={count // 3}"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True))
    for holder in holders:
        assert holder.stdout.readline() == "ready\n"
    each = (node.memory_kib() - before) / count
    print(f"{each:.1f} KiB an idle TLS connection")
    assert app.request("/").status == 200
    if SCALE == 1:
        assert each <= 16
    for holder in holders:
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert json.loads(holder.stdout.readline())["errors"] == 0
        holder.communicate("\n")
    assert app.request("/").status == 200


def test_slow_heads_and_slow_readers_do_not_hold_up_others(site):
    app, _ = site(lambda request, _: answer(body=b"x" * 3_000_000 if request.target == "/big" else b"ok"))
    slow = []
    for _ in range(100):
        sock = app.node.connect(app.host, tls=False)
        sock.sendall(f"GET / HTTP/1.1\r\nHost: {app.host}\r\nX: ".encode())
        slow.append(sock)
    for _ in range(50):
        sock = app.node.connect(app.host)
        sock.sendall(f"GET /big HTTP/1.1\r\nHost: {app.host}\r\n\r\n".encode())
        slow.append(sock)
    began = time.monotonic()
    for number in range(50):
        assert app.request(f"/{number}").body == b"ok"
    assert time.monotonic() - began < 5
    for sock in slow:
        sock.close()


def test_a_full_disk_for_the_access_log_harms_no_request(make_node, make_origin):
    node = make_node()
    toml = node.folder / "rooster.toml"
    toml.write_text(toml.read_text().replace(str(node.access_log), "/dev/full"))
    app = node.app("app", address="127.0.0.1", port=make_origin(lambda *_: answer(body=b"ok")).port)
    node.start()
    for number in range(200):
        assert app.request(f"/{number}").status == 200
    assert node.metric("fly_edge_http_responses_count", status="200") == 200


def test_an_app_that_prints_without_end_is_not_held_up_nor_kept_whole(make_node):
    node = make_node()
    script = node.work / "loud.sh"
    script.write_text(f"#!/bin/sh\nyes 'a very long line of output' &\n"
                      f"exec {node.folder}/fakes/wake_app --port=$PORT --log={node.work}/app.log\n")
    script.chmod(0o755)
    app = node.app("app", str(script))
    node.start()
    for number in range(20):
        assert app.request(f"/{number}").status == 200
    sizes = [node.memory_kib()]

    def is_full():  # what is kept has its own bound, reached after a moment: four looks without growth say that it is
        time.sleep(0.5)
        sizes.append(node.memory_kib())
        return len(sizes) > 4 and sizes[-1] - sizes[-5] < 512

    eventually(is_full, 30, "the kept output has reached its bound")
    assert sizes[-1] - sizes[0] < 32 * 1024  # 16 MiB kept and 4 MiB on their way
    time.sleep(1)
    assert app.request("/after").status == 200
    assert node.memory_kib() - sizes[-1] < 4096
