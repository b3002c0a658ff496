#!/usr/bin/python3
"""From a cold `rooster proxy` to its port being open: process, login, tunnel, target looked up; the target is awake.

    bench/setup.py [--build build/release] [--runs 50] [--stacks netns,lwip]

With a slot: a key that was enrolled by an earlier run. Enrolling: one for which the gateway makes a peer, over
HTTPS. As root the proxy runs as nobody, by setpriv (and unshare for a /dev/net/tun), whose time counts too.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path


ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "integration"), str(ROOT / "tests" / "fakes")]
TARGETS = {"slot": 300, "enrolling": 600}


def open_port(developer, command):
    """Milliseconds until `command` has said that its port is open, which then was."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, env=developer.environment, cwd=developer.folder)
    line = process.stdout.readline()
    took = (time.monotonic() - began) * 1000
    process.terminate()
    said = process.communicate(timeout=30)[1]
    if not re.match(r"Proxying localhost:\d+ to remote ", line):
        raise SystemExit(f"rooster proxy said {line!r}: {said}")
    return took


def measure(developer, stack, runs, is_enrolling):
    command = [*developer.prefix, str(harness_node.BINARY), "proxy", f"--stack={stack}", "-a", "echo", "0:5432"]
    times = []
    for run in range(runs + 1):
        if is_enrolling:
            for slot in (developer.folder / "state").glob("rooster/*/*/*"):
                if slot.name != "login.json":
                    shutil.rmtree(slot) if slot.is_dir() else slot.unlink()
        times.append(open_port(developer, command))
    return sorted(times[1:])  # the first enrols, or warms the disk


def main():
    global harness_node
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "release")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--stacks", default="netns,lwip")
    args = parser.parse_args()
    os.environ["ROOSTER_BINARY"] = str(args.build.resolve() / "rooster")
    os.environ["ROOSTER_FAKES"] = str(args.build.resolve())
    import developer as developers
    import node as harness_node
    import village as villages

    nodes, made = [], []
    def make_node(**options):
        nodes.append(harness_node.Node(**options))
        return nodes[-1]

    town = villages.Village(make_node, idle="10m")
    missed = False
    try:
        for stack in args.stacks.split(","):
            one = developers.Developer(town.node, stack).log_in()
            made.append(one)
            for kind, target in TARGETS.items():
                times = measure(one, stack, args.runs, kind == "enrolling")
                p95 = times[-(-95 * len(times) // 100) - 1]
                missed |= p95 >= target
                print(f"setup {stack:5} {kind:9} median {times[len(times) // 2]:6.1f} ms, p95 {p95:6.1f} ms, "
                      f"worst {times[-1]:6.1f} ms of {len(times)}   (p95 wanted: under {target} ms)", flush=True)
    finally:
        for one in made:
            one.close()
        for one in nodes:
            one.remove()
    return missed


if __name__ == "__main__":
    sys.exit(main())
