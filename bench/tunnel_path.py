#!/usr/bin/python3
"""The whole way of `rooster proxy` over a long line: iperf3 -> proxy -> tunnel -> relay -> gateway -> machine.

    bench/tunnel_path.py [--seconds 30] [--delay 20] [--loss 0] [--congestion reno] [--stacks netns,lwip]

The app is iperf3's server as a process machine of a node on loopback; the relay keeps every datagram
--delay milliseconds each way and loses --loss of a thousand. Prints Mbit/s up and down for each stack. As root
the proxy runs as nobody, with /dev/net/tun for everybody in a mount namespace of its own, as on a laptop.
"""
import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import harness

sys.path.insert(0, str(harness.BENCH.parent / "tests" / "integration"))


def iperf(port, seconds, *more):
    done = subprocess.run(["iperf3", "-c", "127.0.0.1", "-p", str(port), "-t", str(seconds), "-J", *more],
                          capture_output=True, text=True)
    result = json.loads(done.stdout)
    if "error" in result:
        raise SystemExit(f"iperf3: {result['error']}")
    return result["end"]["sum_received"]["bits_per_second"] / 1e6


def control(tree, congestion):
    """Chooses the congestion control of every network namespace of these processes but our own."""
    done = {os.readlink("/proc/self/ns/net")}
    for pid in tree:
        try:
            namespace = os.readlink(f"/proc/{pid}/ns/net")
        except OSError:
            continue
        if namespace not in done:
            done.add(namespace)
            subprocess.run(["nsenter", "-t", str(pid), "-n", "sh", "-c",
                            f"echo {congestion} >/proc/sys/net/ipv4/tcp_congestion_control"], check=True)


def use_up_stock(port):
    """The proxy keeps sockets ahead of need, which were made under the old choice."""
    for _ in range(80):
        with socket.create_connection(("127.0.0.1", port)):
            time.sleep(0.01)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--delay", type=float, default=20, help="milliseconds each way")
    parser.add_argument("--loss", type=int, default=0, help="datagrams of a thousand")
    parser.add_argument("--congestion", help="reno, cubic, ... in every namespace; default: the host's; needs root")
    parser.add_argument("--stacks", default="netns,lwip")
    parser.add_argument("--build", type=Path, default=harness.BENCH.parent / "build/release")
    options = parser.parse_args()
    options.build = options.build.resolve()
    os.environ["ROOSTER_BINARY"] = str(options.build / "rooster")
    # They read the binary's place from the environment.
    from developer import Developer
    from node import Node

    port, relay_port = harness.free_ports(2)
    node = Node(settings=f'[wireguard]\nlisten = "127.0.0.1:{port}"\nendpoint = "127.0.0.1:{relay_port}"\n'
                         f'interface = "path{os.getpid() % 10000}"')
    (node.folder / "apps" / "iperf.toml").write_text("""\
app = "iperf"
primary_region = "gru"
[processes]
app = "iperf3 -s -p 5201"
[[services]]
internal_port = 5201
protocol = "tcp"
auto_stop_machines = "off"
auto_start_machines = true
[[services.ports]]
port = 5201
""")
    developer = relay = None
    try:
        node.start()
        relay = subprocess.Popen([str(options.build / "bench_relay"), str(relay_port), str(port),
                                  str(options.delay), str(options.loss)])
        for stack in options.stacks.split(","):
            developer = Developer(node, stack)
            developer.log_in()
            proxy = developer.proxy("iperf", "0:5201", seconds=60)
            if options.congestion:
                control([*harness.process_tree(node.process.pid), *harness.process_tree(proxy.pid())],
                        options.congestion)
                use_up_stock(proxy.port)
            time.sleep(1)
            for direction, more in (("up", []), ("down", ["-R"])):
                rate = iperf(proxy.port, options.seconds, *more)
                print(f"{stack} {direction}, {options.congestion or 'as the host'}, {2 * options.delay:.0f} ms, "
                      f"{options.loss / 10:.1f} % lost: {rate:.0f} Mbit/s", flush=True)
            developer.close()
            developer = None
    finally:
        if developer is not None:
            developer.close()
        node.stop()
        if relay is not None:
            relay.kill()
            relay.wait()
        shutil.rmtree(node.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
