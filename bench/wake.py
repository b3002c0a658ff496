#!/usr/bin/python3
"""Wake benches: from the app's own stamp at listen() to the first waiter's bytes at the app, over many wakes;
and the time in which requests held for one app are all answered.

    bench/wake.py [--build DIR] [--wakes 200] [--held 10000] [--workers 1] [--apps 100000]

--apps: that many further apps stand beside it, one of them changes and all are reloaded, again and again, while the
metrics page is read in a loop.
"""

import argparse
import datetime
import os
import platform
import statistics
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "release")
    parser.add_argument("--wakes", type=int, default=200)
    parser.add_argument("--held", type=int, default=10000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--apps", type=int, default=0)
    return parser.parse_args()


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Disturbance:
    """Reloads and reads of the metrics page, each in a loop of its own, until the end of the with-block."""

    def __init__(self, node, apps):
        self.node, self.apps = node, apps
        self.done = threading.Event()
        self.reloads = self.pages = 0
        self.threads = [threading.Thread(target=self.reload), threading.Thread(target=self.scrape)] if apps else []
        for number in range(apps):
            self.file(number).write_text(
                f'app = "other-{number}"\n[http_service]\ninternal_port = {1024 + number % 60000}\n'
                f'[processes]\napp = "/bin/false"\n')

    def file(self, number):
        return self.node.folder / "apps" / f"other-{number}.toml"

    def reload(self):
        while not self.done.is_set():
            file = self.file(self.reloads % self.apps)
            file.write_text(file.read_text() + "# changed\n")
            assert self.node.reload().returncode == 0
            self.reloads += 1

    def scrape(self):
        while not self.done.is_set():
            self.node.admin_get("/metrics")
            self.pages += 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join()


def measure_wakes(node_module, args):
    """The app leaves by itself after each answer, so that every request is a wake of its own."""
    node = node_module.Node(workers=args.workers)
    try:
        app = node.wake_app("wake", "--exit-after=1")
        disturbance = Disturbance(node, args.apps)
        node.start(120)
        totals = []
        with disturbance:
            for number in range(args.wakes):
                began = time.monotonic()
                response = app.request(f"/{number}")
                assert response.status == 200, response
                totals.append((time.monotonic() - began) * 1e3)
                node_module.eventually(lambda n=number: app.log.count("exit") == n + 1, what="the app left")
                node_module.eventually(lambda n=number: node.metric("rooster_exits_total", app="wake") >= n + 1,
                                       what="the node has noticed")
        listens = [int(line[0]) for line in app.log.lines("listen")]
        bytes_in = [int(line[0]) for line in app.log.lines("bytes")]
        assert len(listens) == len(bytes_in) == args.wakes
        node.stop()
        if args.apps:
            print(f"meanwhile: {disturbance.reloads} reloads of {args.apps} apps, {disturbance.pages} metrics pages read")
        return [(b - a) / 1e6 for a, b in zip(listens, bytes_in)], totals
    finally:
        node.remove()


def measure_held(node_module, args):
    node = node_module.Node(workers=args.workers)
    try:
        app = node.wake_app("held", "--gate={gate}", rooster='wake_timeout = "120s"')
        node.start()
        holder = node.holder(app, args.held)
        holder.wait_for("ready")
        memory = node.memory_kib()
        holder.go()
        holder.wait_for("asked")
        node_module.eventually(lambda: node.metric("rooster_waiting") == args.held, 30, "all are held")
        waiting_kib = node.memory_kib() - memory
        app.gate.touch()
        began = time.monotonic()
        holder.go()
        result = holder.result()
        seconds = time.monotonic() - began
        assert result["good"] == args.held, result
        assert app.log.count("start") == 1
        node.stop()
        return seconds, waiting_kib / args.held
    finally:
        node.remove()


def main():
    args = parse_arguments()
    os.environ.setdefault("ROOSTER_BINARY", str(args.build.resolve() / "rooster"))
    sys.path.insert(0, str(ROOT / "tests" / "integration"))
    import node as node_module  # reads the environment

    print(f"{datetime.date.today()}, {os.cpu_count()} cores, Linux {platform.release()}; "
          f"command: bench/wake.py {' '.join(sys.argv[1:])}")
    if args.wakes:
        gaps, totals = measure_wakes(node_module, args)
        print(f"listen() to first byte at the app: p50 {percentile(gaps, 0.5):.2f} ms, "
              f"p99 {percentile(gaps, 0.99):.2f} ms, max {max(gaps):.2f} ms over {len(gaps)} wakes")
        print(f"whole request through a wake, client's view: median {statistics.median(totals):.1f} ms")
    if args.held:
        seconds, each = measure_held(node_module, args)
        print(f"{args.held} held over TLS, released: all answered in {seconds:.2f} s "
              f"({args.held / seconds:.0f} requests/s), {each:.1f} KiB a waiter while waiting")
    return 0


if __name__ == "__main__":
    sys.exit(main())
