#!/usr/bin/python3
"""CPU time per DNS query: Rooster's name server beside Knot DNS and dnsmasq, which hold the same names.

    bench/dns.py [--build DIR] [--apps 10000] [--rounds 5] [--seconds 3] [--rate 0] [--servers rooster,knot,dnsmasq]

All stand ready from the start on core 0; dnsperf, on core 1, asks them one after another in rotating order, over
UDP with EDNS: `hit` for apps that are there (AAAA), `miss` for such that are not. Every answer's code is checked.
--rate: that many queries a second, where nearly each one wakes the server; 0: as fast as 100 at a time go.
"""

import argparse
import datetime
import os
import platform
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import harness  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
CODES = {"hit": "NOERROR", "miss": "NXDOMAIN"}


def address(i):
    """Where app number i has its machine: as tests/fakes/dns_village.cpp lays it out."""
    number = 0x100000 + i
    return f"fdaa:2:78b0:a7b:1:{number >> 16:x}:{number & 0xffff:x}:2"


class Server:
    def __init__(self, command, version, port=None):
        self.command, self.version, self.port = command, version, port
        self.process = None

    def start(self, cores):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, preexec_fn=harness.pin(cores))
        if self.port is None:
            self.port = int(self.process.stdout.readline())

    def cpu(self):
        return harness.cpu_seconds(harness.process_tree(self.process.pid))

    def stop(self):
        self.process.terminate()
        self.process.communicate()


def first_line(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout + done.stderr).splitlines()[0]


def rooster(args, folder):
    return Server([str(args.build / "dns_village"), str(args.apps)], first_line(args.build / "rooster", "version"))


def knot(args, folder):
    port = harness.free_ports(1)[0]
    records = [f"app-{i} AAAA {address(i)}" for i in range(args.apps)]
    (folder / "internal.zone").write_text(
        "$ORIGIN internal.\n$TTL 5\n@ SOA ns hostmaster 1 3600 600 86400 5\n@ NS ns\nns AAAA ::1\n" +
        "\n".join(records) + "\n")
    (folder / "knot.conf").write_text(
        f"server:\n  listen: {HOST}@{port}\n  rundir: {folder}\n  udp-workers: 1\n  tcp-workers: 1\n"
        f"  background-workers: 1\n  dbus-event: none\n  pidfile: {folder}/knot.pid\n"
        f"database:\n  storage: {folder}/knotdb\n"
        f"zone:\n  - domain: internal\n    file: {folder}/internal.zone\n    journal-content: none\n"
        "    zonefile-load: whole\n    zonefile-sync: -1\n")
    return Server(["knotd", "-c", str(folder / "knot.conf")], first_line("knotd", "-V"), port)


def dnsmasq(args, folder):
    port = harness.free_ports(1)[0]
    (folder / "hosts").write_text("".join(f"{address(i)} app-{i}.internal\n" for i in range(args.apps)))
    return Server(["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=",
                   f"--port={port}", f"--pid-file={folder}/dnsmasq.pid", "--bind-interfaces",
                   f"--listen-address={HOST}", "--local=/internal/", f"--addn-hosts={folder}/hosts", "--local-ttl=5"],
                  first_line("dnsmasq", "--version"), port)


def dnsperf(port, questions, args, cores):
    pace = ["-Q", str(args.rate)] if args.rate else []
    out = subprocess.run(["dnsperf", "-s", HOST, "-p", str(port), "-d", str(questions), "-l", str(args.seconds), "-c",
                          "8", "-q", "100", "-e", "-t", "5", *pace], capture_output=True, text=True, check=True,
                         preexec_fn=harness.pin(cores)).stdout
    completed = int(re.search(r"Queries completed:\s+(\d+)", out).group(1))
    lost = int(re.search(r"Queries lost:\s+(\d+)", out).group(1))
    codes = {code: int(count) for code, count in re.findall(r"([A-Z]+) (\d+) \(", out)}
    rate = float(re.search(r"Queries per second:\s+([\d.]+)", out).group(1))
    return {"completed": completed, "lost": lost, "codes": codes, "rate": rate}


def write_questions(folder, apps):
    dice = random.Random(1)
    files = {}
    for kind, prefix in (("hit", "app"), ("miss", "none")):
        files[kind] = folder / f"{kind}.txt"
        files[kind].write_text("".join(f"{prefix}-{dice.randrange(apps)}.internal AAAA\n" for _ in range(20000)))
    return files


def wait_ready(server, folder):
    (folder / "one.txt").write_text("app-0.internal AAAA\n")
    for _ in range(100):
        done = subprocess.run(["dnsperf", "-s", HOST, "-p", str(server.port), "-d", str(folder / "one.txt"), "-n", "1",
                               "-t", "1"], capture_output=True, text=True)
        if "NOERROR 1 " in done.stdout:
            return
        time.sleep(0.1)
    raise RuntimeError(f"no answer from {server.command[0]}")


def measure(servers, questions, args, cores):
    """kind -> name -> figures of each round; and how many answers were wrong or missing."""
    figures = {kind: {name: [] for name in servers} for kind in questions}
    wrong = 0
    order = list(servers)
    for kind, file in questions.items():
        for number in range(args.rounds):
            turn = number % len(order)
            for name in order[turn:] + order[:turn]:
                before = servers[name].cpu()
                result = dnsperf(servers[name].port, file, args, cores)
                cpu = (servers[name].cpu() - before) / max(result["completed"], 1)
                wrong += result["lost"] + result["completed"] - result["codes"].get(CODES[kind], 0)
                figures[kind][name].append((cpu * 1e6, result["rate"]))
    return figures, wrong


def report(figures):
    print("\n| scenario | server | median CPU us/query | min to max | queries/s | Rooster's ratio to it |\n"
          "|---|---|---|---|---|---|")
    for kind, by_name in figures.items():
        for name, rounds in by_name.items():
            cpu = [round[0] for round in rounds]
            ratio = "-"
            if name != "rooster" and "rooster" in by_name:
                ratio = f"{statistics.median(a[0] / b[0] for a, b in zip(by_name['rooster'], rounds)):.2f}"
            print(f"| {kind} | {name} | {statistics.median(cpu):.2f} | {min(cpu):.2f} to {max(cpu):.2f} | "
                  f"{statistics.median(rate for _, rate in rounds):.0f} | {ratio} |")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "release")
    parser.add_argument("--apps", type=int, default=10000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rate", type=int, default=0)
    parser.add_argument("--servers", default="rooster,knot,dnsmasq")
    return parser.parse_args()


def main():
    args = parse_arguments()
    if not shutil.which("dnsperf"):
        sys.exit("dnsperf is missing: scripts/setup bench")
    makers = {"rooster": (rooster, args.build / "dns_village"), "knot": (knot, "knotd"),
              "dnsmasq": (dnsmasq, "dnsmasq")}
    cores = sorted(os.sched_getaffinity(0))
    load_cores = {cores[1]} if len(cores) > 1 else set(cores)
    with tempfile.TemporaryDirectory(prefix="rooster-bench-") as temporary:
        folder = Path(temporary)
        servers = {}
        try:
            for name in args.servers.split(","):
                maker, binary = makers[name]
                if not shutil.which(str(binary), path=f"{os.environ['PATH']}:/usr/sbin"):
                    print(f"left out: no binary of {name}", file=sys.stderr)
                    continue
                servers[name] = maker(args, folder)
                servers[name].start({cores[0]})
            for server in servers.values():
                wait_ready(server, folder)
            print(f"{datetime.date.today()}, {os.cpu_count()} cores, Linux {platform.release()}, {args.apps} apps, "
                  f"{args.rounds} rounds of {args.seconds} s\ncommand: bench/dns.py {' '.join(sys.argv[1:])}")
            for name, server in servers.items():
                print(f"{name}: {server.version}")
            figures, wrong = measure(servers, write_questions(folder, args.apps), args, load_cores)
            report(figures)
            print(f"\nanswers wrong or missing: {wrong}")
            return 1 if wrong else 0
        finally:
            for server in servers.values():
                if server.process is not None:
                    server.stop()


if __name__ == "__main__":
    sys.exit(main())
