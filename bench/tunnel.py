#!/usr/bin/env python3
"""WireGuard through the same veth pair: ours and wireguard-go, and both crosses, interleaved.

    bench/tunnel.py [--rounds 5] [--seconds 4] [--build build/release] [--mtu 1420]

Prints, for each pair of ends, the median throughput of one TCP connection and the CPU time (user and
system, both ends' processes) per byte. Needs root, ip, wg, iperf3 and wireguard-go. Everything lies
in two network namespaces that end with the script.
"""
import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import harness

OUTER = ("10.9.0.1", "10.9.0.2")
INNER = ("fdaa:0:33::1", "fdaa:0:33::2")
PORT = 51821


class Namespace:
    """A process that holds a network namespace."""

    def __init__(self):
        self.holder = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo ready; exec sleep infinity"],
                                       stdout=subprocess.PIPE, text=True)
        self.holder.stdout.readline()

    def command(self, *words):
        return ["nsenter", "-t", str(self.holder.pid), "-n", *words]

    def run(self, *words, **options):
        return subprocess.run(self.command(*words), check=True, capture_output=True, text=True, **options)

    def start(self, *words, **options):
        return subprocess.Popen(self.command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                **options)

    def close(self):
        self.holder.kill()
        self.holder.wait()


def wait_for(path):
    for _ in range(500):
        if path.exists():
            return
        time.sleep(0.01)
    raise SystemExit(f"{path} did not appear")


class End:
    """One device in its namespace."""

    def __init__(self, kind, index, namespace, build):
        self.name = f"wgb{os.getpid() % 10000}-{index}"
        self.socket = Path(f"/var/run/wireguard/{self.name}.sock")
        self.namespace = namespace
        environment = dict(os.environ, LOG_LEVEL="error")
        if kind == "go":
            words = ["wireguard-go", "-f", self.name]
        else:
            words = [str(build / "bench_wire"), self.name]
        self.process = namespace.start(*words, env=environment)
        wait_for(self.socket)
        self.private = subprocess.run(["wg", "genkey"], check=True, capture_output=True, text=True).stdout
        self.public = subprocess.run(["wg", "pubkey"], input=self.private, check=True, capture_output=True,
                                     text=True).stdout.strip()

    def configure(self, index, other, mtu):
        key = Path(f"/tmp/{self.name}.key")
        key.touch(0o600)
        key.write_text(self.private)
        self.namespace.run("wg", "set", self.name, "private-key", str(key), "listen-port", str(PORT),
                           "peer", other.public, "allowed-ips", f"{INNER[1 - index]}/128",
                           "endpoint", f"{OUTER[1 - index]}:{PORT}")
        key.unlink()
        self.namespace.run("ip", "address", "add", f"{INNER[index]}/64", "dev", self.name, "nodad")
        self.namespace.run("ip", "link", "set", self.name, "mtu", str(mtu), "up")

    def pids(self):
        return harness.process_tree(self.process.pid)

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.socket.unlink(missing_ok=True)


def measure(kinds, options):
    """One run: bytes a second and CPU nanoseconds per byte."""
    spaces = [Namespace(), Namespace()]
    ends = []
    server = None
    try:
        subprocess.run(["ip", "link", "add", "vb0", "netns", str(spaces[0].holder.pid), "type", "veth", "peer",
                        "name", "vb1", "netns", str(spaces[1].holder.pid)], check=True)
        for index, space in enumerate(spaces):
            space.run("ip", "address", "add", f"{OUTER[index]}/24", "dev", f"vb{index}")
            space.run("ip", "link", "set", f"vb{index}", "up")
            space.run("ip", "link", "set", "lo", "up")
        for index, kind in enumerate(kinds):
            ends.append(End(kind, index, spaces[index], options.build))
        for index, end in enumerate(ends):
            end.configure(index, ends[1 - index], options.mtu)
        server = spaces[1].start("iperf3", "-s", "-1", "-B", INNER[1])
        time.sleep(0.5)
        pids = [pid for end in ends for pid in end.pids()]
        before = harness.cpu_seconds(pids)
        result = json.loads(spaces[0].run("iperf3", "-c", INNER[1], "-t", str(options.seconds), "-J").stdout)
        spent = harness.cpu_seconds(pids) - before
        received = result["end"]["sum_received"]
        return received["bits_per_second"] / 8, spent * 1e9 / received["bytes"]
    finally:
        for end in ends:
            end.close()
        if server is not None:
            server.kill()
            server.wait()
        for space in spaces:
            space.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--mtu", type=int, default=1420)
    parser.add_argument("--build", type=Path, default=harness.BENCH.parent / "build/release")
    parser.add_argument("--pairs", default="go-go,ours-ours,ours-go,go-ours", help="sender-receiver, ...")
    options = parser.parse_args()
    pairs = [tuple(pair.split("-")) for pair in options.pairs.split(",")]
    rates = {pair: [] for pair in pairs}
    costs = {pair: [] for pair in pairs}
    for _ in range(options.rounds):
        for pair in pairs:
            rate, cost = measure(pair, options)
            rates[pair].append(rate)
            costs[pair].append(cost)
            print(f"  {'-'.join(pair)}: {rate * 8 / 1e6:.0f} Mbit/s, {cost:.2f} ns/byte", file=sys.stderr)
    for pair in pairs:
        print(f"{'-'.join(pair)} throughput {statistics.median(rates[pair]) * 8 / 1e6:.0f} Mbit/s")
        print(f"{'-'.join(pair)} CPU of both ends {statistics.median(costs[pair]):.2f} ns/byte")
    if ("go", "go") in rates and ("ours", "ours") in rates:
        ours, go = ("ours", "ours"), ("go", "go")
        faster = statistics.median(rates[ours]) / statistics.median(rates[go])
        cheaper = statistics.median(costs[ours]) / statistics.median(costs[go])
        print(f"ours beside wireguard-go: throughput x{faster:.2f}, CPU per byte x{cheaper:.2f}")


if __name__ == "__main__":
    main()
