"""What a node leaves behind: nothing, however it ends. Each scenario has process, network and mount namespaces of its
own, in which everything that is there is the node's."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import test_isolation

PATIENCE = 30
SEED = 20261121
TOOLS = ("ip", "nft", "unshare")


def require():
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and {' '.join(missing or TOOLS)}")


@pytest.mark.parametrize("scenario", ["stop", "killed_keeper", "killed_server", "killed_hub", "stopped_early",
                                      "killed_early"])
def test_nothing_is_left(scenario):
    require()
    done = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                           sys.executable, "-B", __file__, scenario], capture_output=True, text=True, timeout=120,
                          stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# ---- in there


def stat_of(pid):
    """(state, parent, start) of a process; None: it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text[text.rindex(")") + 2:].split()
    return fields[0], int(fields[1]), fields[19]


def alive():
    """All processes but ourselves and the dead, which are taken away."""
    found = []
    for entry in os.listdir("/proc"):
        stat = stat_of(entry) if entry.isdigit() and int(entry) != os.getpid() else None
        if stat is None:
            continue
        if stat[0] == "Z":
            if stat[1] == os.getpid() and int(entry) not in started:
                os.waitpid(int(entry), os.WNOHANG)
            continue
        found.append(int(entry))
    return found


def namespaces():
    found = set()
    for pid in (*alive(), os.getpid()):
        try:
            found.update(os.readlink(f"/proc/{pid}/ns/{kind}") for kind in os.listdir(f"/proc/{pid}/ns"))
        except OSError:
            pass  # it has ended meanwhile
    return found


def output_of(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def files(folder, without=()):
    return sorted(str(path) for path in Path(folder).rglob("*") if not any(map(path.is_relative_to, without)))


def snapshot(node):
    """Everything outside the node's own folder."""
    return {
        "processes": [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in alive()],
        "namespaces": namespaces(),
        "links": [link["ifname"] for link in json.loads(output_of("ip", "-j", "link"))],
        "addresses": output_of("ip", "-o", "address"),
        "rules": output_of("ip", "rule") + output_of("ip", "-6", "rule"),
        "routes": output_of("ip", "-6", "route", "show", "table", "all"),
        "nft": output_of("nft", "list", "ruleset"),
        "mounts": Path("/proc/self/mountinfo").read_text(),
        "run": files("/run"),
        "tmp": files("/tmp", without=[node.folder]),
        "groups": [path for path in map(group_of, started.items()) if path and path.exists()],
    }


started = {}  # keepers: pid -> start


def group_of(keeper):
    """The control group that this keeper makes for its machines."""
    roots = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if line.split()[2] == "cgroup2"]
    own = Path("/proc/self/cgroup").read_text().split("0::", 1)[-1].split("\n", 1)[0].strip("/")
    for root in roots:
        for parent in (Path(root, own), Path(root)):
            path = parent / f"rooster-{keeper[0]}-{keeper[1]}"
            if path.exists():
                return path
    return None


def without(found, *keys):
    return {key: value for key, value in found.items() if key not in keys}


class Scene:
    def __init__(self):
        for folder in ("/tmp", "/run"):
            subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
        os.mkdir("/run/wireguard")
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True)
        import node as nodes
        self.nodes = nodes
        self.node = nodes.Node(listen=f'[wireguard]\nlisten = "127.0.0.1:{nodes.free_port()}"\n')
        self.apps = [self.node.wake_app(name, rooster='network = "red"') for name in ("red", "crimson")]
        self.before = snapshot(self.node)

    def start(self):
        self.node.start()
        self.note()
        name = f"peer{len(started)}"
        self.node.command("wireguard", "create", "red", "gru", name, str(self.node.folder / f"{name}.conf"))
        self.nodes.eventually(lambda: works(self), PATIENCE, "the apps answer")
        now = snapshot(self.node)
        assert len(now["namespaces"]) >= len(self.before["namespaces"]) + 3  # the hub's, two machines'
        assert now["nft"] == self.before["nft"] and now["links"] == self.before["links"]
        assert without(now, "processes", "namespaces", "run", "groups") == \
            without(self.before, "processes", "namespaces", "run", "groups")
        return now

    def note(self):
        stat = stat_of(self.node.process.pid)
        if stat:
            started[self.node.process.pid] = stat[2]

    def children(self, comm):
        keeper = self.node.process.pid
        own = [pid for pid in alive() if (stat_of(pid) or "zz0")[1] == keeper]
        return [pid for pid in own if Path(f"/proc/{pid}/comm").read_text().strip() == comm]

    def stop(self, clean=True):
        self.node.signal(signal.SIGTERM)
        status = self.node.process.wait(PATIENCE)
        assert not clean or status == 0, (status, self.node.output())

    def is_clean(self, *but):
        wanted = without(self.before, *but)
        seen = {}

        def same():
            seen.clear()
            seen.update(without(snapshot(self.node), *but))
            return seen == wanted

        try:
            self.nodes.eventually(same, PATIENCE, "as before")
        except AssertionError:
            for key, value in seen.items():
                if value != wanted[key]:
                    print(f"{key}: was {wanted[key]}\nis {value}")
            print(self.node.output())
            raise


def stop(scene):
    scene.start()
    scene.stop()
    scene.is_clean()


def killed_keeper(scene):
    scene.start()
    scene.node.process.kill()
    scene.node.process.wait(PATIENCE)
    scene.is_clean("run", "groups")  # files; the next start takes them away
    scene.start()
    scene.stop()
    scene.is_clean()


def works(scene):
    """Both ways to the apps: from outside, and from one's machine to the other's by name and address."""
    try:
        if any(app.request().status != 200 for app in scene.apps):
            return False
    except OSError:
        return False
    listed = json.loads(scene.node.command("machine", "list", "--json").stdout)
    red, crimson = (next(one for one in listed if one["app"] == app.name) for app in scene.apps)
    inside = test_isolation.Space(crimson["pid"])
    request = b"GET /private HTTP/1.1\r\nHost: red.internal\r\n\r\n"
    return (inside.ask("fdaa::3", "red.internal", seconds=2) == ("NOERROR", [red["private_ip"]])
            and inside.call(red["private_ip"], scene.apps[0].port, request, seconds=2).startswith(b"HTTP/1.1 200"))


def killed_server(scene):
    now = scene.start()
    for _ in range(2):
        old = scene.node.server_pid()
        os.kill(old, signal.SIGKILL)
        scene.nodes.eventually(lambda: old not in alive() and works(scene), PATIENCE, "a successor")
    assert len(namespaces()) == len(now["namespaces"])
    scene.stop()
    scene.is_clean()


def killed_hub(scene):
    now = scene.start()
    for _ in range(2):
        (old,) = scene.children("rooster-hub")
        os.kill(old, signal.SIGKILL)
        scene.nodes.eventually(lambda: old not in alive() and scene.children("rooster-hub") and works(scene), PATIENCE,
                               "another hub")
    assert len(namespaces()) == len(now["namespaces"])
    scene.stop()
    scene.is_clean()


def launch(scene):
    with open(scene.node.folder / "node.log", "ab") as log:
        scene.node.process = subprocess.Popen(
            [str(scene.nodes.BINARY), "serve", "-c", str(scene.node.folder / "rooster.toml")], stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, cwd=scene.node.folder)
    scene.note()


def stopped_early(scene):
    dice = random.Random(SEED)
    for _ in range(12):
        launch(scene)
        time.sleep(dice.random() / 4)
        scene.stop(clean=False)
        scene.is_clean("run")


def killed_early(scene):
    dice = random.Random(SEED)
    for round in range(12):
        launch(scene)
        time.sleep(dice.random() / 4)
        victims = {0: [scene.node.process.pid], 1: scene.children("rooster"), 2: scene.children("rooster-hub")}
        for pid in victims[round % 3]:
            os.kill(pid, signal.SIGKILL)
        if scene.node.process.poll() is None and round % 3 != 0:
            scene.stop(clean=False)
        scene.node.process.wait(PATIENCE)
        scene.is_clean("run", "groups")
    scene.start()
    scene.stop()
    scene.is_clean("groups")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    globals()[sys.argv[1]](Scene())
